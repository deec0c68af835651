"""Puts a fleet together: certificates, broker, relays, printers, control interface."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import camera as pictures
from . import ftps, rtsp
from . import printer as behaviour
from . import relay as network
from .broker import Broker, Listener
from .bus import Bus
from .certs import Authority
from .control import Server
from .garbage import KINDS
from .job import Job
from .models import MODELS, Json
from .moonraker import Moonraker
from .octoprint import OctoPrint
from .printer import Clock, Printer
from .prusalink import PrusaLink
from .recorded import RecordedPrinter

ORDER = ("A1", "X1C", "P1S", "H2D", "A1 mini", "P2S")
FIRST_PORT, BLOCK, BLOCKS = 16000, 32, 480  # below the ports that connections come from
# Protocols whose printers are servers of their own: start, stop, describe, control, set_fault.
DEVICES: dict[str, Any] = {"moonraker": Moonraker, "octoprint": OctoPrint, "prusalink": PrusaLink}
RECORDINGS = Path(__file__).resolve().parent.parent / "recordings"


@dataclass
class Options:
    folder: Path
    printers: list[Json]  # each: name, model, and what Printer takes as options
    port_base: int = 0
    mosquitto_user: str = "mosquitto"
    time_scale: float = 1.0
    direct: bool = False
    mute: bool = False
    seed: str = "fleet"


@dataclass
class Entry:
    name: str
    model: str
    serial: str
    access_code: str
    port: int
    inner_port: int
    ftps_port: int = 0  # 0: no storage
    camera_port: int = 0  # 0: no camera of its own
    protocol: str = "bambu"


def default_printers(count: int, models: list[str] | None = None) -> list[Json]:
    names = models or list(ORDER)
    return [
        {"name": f"{names[i % len(names)]} {i + 1}", "model": names[i % len(names)]} for i in range(count)
    ]


def mixed_printers(count: int) -> list[Json]:
    """The first two of Bambu, one of each other protocol, then more of Bambu."""
    bambu = default_printers(max(count - len(DEVICES), min(count, 2)))
    others = [{"name": f"{kind.__name__} {i}", "protocol": name} for i, (name, kind) in enumerate(DEVICES.items(), 3)]
    return (bambu[:2] + others + bambu[2:])[:count]


def free_run(length: int) -> tuple[int, list[socket.socket]]:
    """First port of a run of free ports, and what keeps other fleets off it while this process lives."""
    blocks = -(-length // BLOCK)
    places = list(range(BLOCKS - blocks))
    if length < 1000:  # large ones stand side by side, or a second one finds no room
        random.shuffle(places)
    for first in places:
        base, held = FIRST_PORT + first * BLOCK, claim(range(first, first + blocks))
        if held and all(_free(port) for port in range(base, base + length)):
            return base, held
        for sock in held:
            sock.close()
    raise SystemExit("fleet: no run of free ports")


def claim(blocks: range) -> list[socket.socket]:
    """One name in the abstract namespace per block; empty when another fleet has one of them."""
    held: list[socket.socket] = []
    for block in blocks:
        sock = socket.socket(socket.AF_UNIX)
        held.append(sock)
        try:
            sock.bind(f"\0virtual-fleet-{block}")
        except OSError:
            for each in held:
                each.close()
            return []
    return held


def _free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Fleet:
    """Ports: base + i is printer i; then one for the fleet and, unless direct, one listener per printer and
    one of each printer's storage and of its camera."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.clock = Clock(options.time_scale)
        count = len(options.printers)
        base, self.claimed = options.port_base, []
        if not base:
            base, self.claimed = free_run(count + 1 if options.direct else 4 * count + 1)
        inner = base if options.direct else base + count + 1
        stores = not options.direct and not options.mute and ftps.available()
        if not stores and not options.direct:
            print("fleet: no FTPS (python3-pyftpdlib, python3-openssl)", file=sys.stderr, flush=True)
        self.entries = [self._entry(i, spec, base + i, inner + i) for i, spec in enumerate(options.printers)]
        self.authority = Authority(options.folder / "ca")
        self.broker = Broker(options.folder / "broker", self.authority, base + count, options.mosquitto_user)
        self.broker.listeners = [
            Listener(e.serial, e.access_code, e.inner_port) for e in self.entries if e.protocol == "bambu"
        ]
        self.relays = (
            {} if options.direct else {e.serial: network.Relay(e.port, e.inner_port) for e in self.entries}
        )
        for index, entry in enumerate(self.entries):
            bambu = entry.protocol == "bambu"
            entry.ftps_port = base + 2 * count + 1 + index if stores and bambu else 0
            spec = options.printers[index]
            sends = entry.model in pictures.MODELS or bool(spec.get("liveview") and rtsp.available())
            sends = sends and bambu and not options.direct and not options.mute
            entry.camera_port = base + 3 * count + 1 + index if sends else 0
        self.cameras: dict[str, pictures.Camera | rtsp.Video] = {}
        self.storages: ftps.Servers | None = None
        self.printers: dict[str, Printer] = {}
        self.changed_codes: dict[str, str] = {}
        self.devices: dict[str, Any] = {}  # by serial, of protocols in DEVICES
        self.asked: set[str] = set()
        self.broker_wanted = True
        self.came_up = asyncio.Event()
        self.stopping = asyncio.Event()

    def _entry(self, index: int, spec: Json, port: int, inner: int) -> Entry:
        protocol = str(spec.get("protocol", "bambu"))
        if protocol in DEVICES:
            model, prefix = str(spec.get("model", protocol)), protocol[:2].upper()
        else:
            model, prefix = MODELS[spec.get("model", "A1")].name, MODELS[spec.get("model", "A1")].serial_prefix
        serial = spec.get("serial") or f"{prefix}9V{index:010d}"
        digest = hashlib.sha256(f"{self.options.seed}/{serial}".encode()).hexdigest()
        code = spec.get("access_code") or f"{int(digest[:12], 16) % 10**8:08d}"
        return Entry(spec.get("name", serial), model, serial, code, port, inner, protocol=protocol)

    def _printer(self, entry: Entry, spec: Json) -> Printer:
        kind = RecordedPrinter if "recording" in spec else Printer
        spec = dict(spec)
        if "recording" in spec:
            spec["recording"] = str(RECORDINGS / spec["recording"])
        printer = kind(MODELS[entry.model], entry.serial, self.clock, self.bus.publish, spec)
        if entry.ftps_port:
            printer.storage = self._folder(entry)
        return printer

    def _folder(self, entry: Entry) -> Path:
        return self.options.folder / "storage" / entry.serial

    def _code(self, entry: Entry) -> str:
        return self.changed_codes.get(entry.serial, entry.access_code)

    def _open_storages(self) -> None:
        if not any(entry.ftps_port for entry in self.entries):
            return
        self.storages = ftps.Servers(
            [
                ftps.Storage(
                    entry.serial,
                    entry.ftps_port,
                    self._folder(entry),
                    self.authority.leaf(entry.serial),
                    self.authority.leaf_key_path,
                    functools.partial(self._code, entry),
                    functools.partial(self.printers.get, entry.serial),
                )
                for entry in self.entries
                if entry.ftps_port
            ]
        )

    async def _open_cameras(self) -> None:
        for entry in self.entries:
            if entry.camera_port and entry.model not in pictures.MODELS:
                self.cameras[entry.serial] = rtsp.Video(
                    entry.camera_port,
                    self.authority.leaf(entry.serial),
                    self.authority.leaf_key_path,
                    functools.partial(self._code, entry),
                    functools.partial(self.printers.get, entry.serial),
                )
                await self.cameras[entry.serial].start()
            elif entry.camera_port:
                self.cameras[entry.serial] = pictures.Camera(
                    entry.camera_port,
                    self.authority.leaf(entry.serial),
                    self.authority.leaf_key_path,
                    functools.partial(self._code, entry),
                    functools.partial(self.printers.get, entry.serial),
                )
                await self.cameras[entry.serial].start()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        (self.options.folder / "fleet.json").unlink(missing_ok=True)
        self.broker.write_conf()
        self.bus = Bus(self.broker.inner_port, self.broker.inner_password, self._request)
        keeper = loop.create_task(self._keep_broker())
        try:
            await self._while_broker_lives(keeper, self._bring_up())
            await self._while_broker_lives(keeper, self.stopping.wait())
        finally:
            for device in self.devices.values():
                await device.stop()
            self._tear_down(keeper)

    async def _while_broker_lives(self, keeper: asyncio.Task[None], work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.ensure_future(work)
        await asyncio.wait([task, keeper], return_when=asyncio.FIRST_COMPLETED)
        if keeper.done():
            task.cancel()
            raise SystemExit(f"fleet: no broker: {keeper.exception()}")
        task.result()

    async def _bring_up(self) -> None:
        self.bus.start()
        await asyncio.wait_for(self.came_up.wait(), 60)
        self._set_impostors()
        if not self.options.mute:
            for entry, spec in zip(self.entries, self.options.printers, strict=True):
                await self._start_one(entry, spec)
            self._open_storages()
            await self._open_cameras()
        await Server(self.options.folder, self._control).start()
        self._write_fleet_json()

    async def _start_one(self, entry: Entry, spec: Json) -> None:
        if entry.protocol in DEVICES:
            kind, secret = DEVICES[entry.protocol], entry.access_code
            device = kind(entry.name, entry.serial, secret, entry.inner_port, self.clock, dict(spec))
            self.devices[entry.serial] = device
            await device.start()
            return
        self.printers[entry.serial] = self._printer(entry, spec)
        self.printers[entry.serial].start()

    def _set_impostors(self) -> None:
        for entry, other in zip(self.entries, self.entries[1:] + self.entries[:1], strict=True):
            if entry.serial in self.relays and other is not entry:
                self.relays[entry.serial].impostor = other.inner_port

    def _write_fleet_json(self) -> None:
        rows = [
            {"name": e.name, "model": e.model, "host": "127.0.0.1", "port": e.port, "serial": e.serial}
            | {"access_code": e.access_code, "ca": str(self.authority.path), "protocol": e.protocol}
            | {"ftps_port": e.ftps_port, "camera_port": e.camera_port}
            for e in self.entries
        ]
        path = self.options.folder / "fleet.json"
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(rows, indent=1) + "\n")
        temporary.rename(path)

    def _tear_down(self, keeper: asyncio.Task[None]) -> None:
        self.broker_wanted = False
        keeper.cancel()
        for printer in self.printers.values():
            printer.stop()
        if self.storages is not None:
            self.storages.stop()
        self.bus.stop()
        self.broker.stop()
        (self.options.folder / "fleet.json").unlink(missing_ok=True)

    # --- the broker process --------------------------------------------------------------------------
    async def _keep_broker(self) -> None:
        """Starts mosquitto and starts it again whenever it ends, unless it was stopped on purpose."""
        while True:
            if not self.broker_wanted:
                await asyncio.sleep(0.05)
                continue
            process = self.broker.start()
            back = asyncio.create_task(self._open_when_served())
            await self._read_log(process)
            back.cancel()
            self.bus.ready.clear()
            for relay in self.relays.values():
                await relay.power(False)
            code = await asyncio.to_thread(process.wait)
            if not self.came_up.is_set():
                raise RuntimeError(f"mosquitto ended with {code}")
            if self.broker.process is process:
                print(f"fleet: mosquitto ended with {code}; starting it again", file=sys.stderr, flush=True)
                await asyncio.sleep(0.2)

    async def _open_when_served(self) -> None:
        """Printers answer the network only when they also answer requests, as real ones."""
        await self.bus.ready.wait()
        for relay in self.relays.values():
            await relay.power(True)
        self.came_up.set()

    async def _read_log(self, process: subprocess.Popen[bytes]) -> None:
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), process.stderr
        )
        while line := await reader.readline():
            self._log_line(line.decode(errors="replace").strip())

    def _log_line(self, line: str) -> None:
        """A client that subscribes to a request topic loses its session, as on real printers."""
        words = line.split()
        if len(words) == 4 and words[3].startswith("device/") and words[3].endswith("/request"):
            relay = self.relays.get(words[3].split("/")[1])
            if relay is not None and words[1] != "fleet":
                relay.drop()
        elif "rror" in line and "SSL" not in line and "failed" not in line:
            print(f"mosquitto: {line}", file=sys.stderr, flush=True)

    def _request(self, serial: str, message: Json, qos: int) -> None:
        self.asked.add(serial)
        printer = self.printers.get(serial)
        if printer is not None:
            printer.request(message, qos)

    # --- control interface ---------------------------------------------------------------------------
    def _find(self, request: Json) -> Entry:
        wanted = str(request["printer"])
        for index, entry in enumerate(self.entries):
            if wanted in (entry.serial, entry.name, str(index)):
                return entry
        raise KeyError(f"no printer {wanted}")

    async def _control(self, request: Json) -> Any:
        device = self.devices.get(self._find(request).serial) if "printer" in request else None
        if device is not None and request["op"] not in ("state", "fault"):
            return await device.control(str(request["op"]), request)
        operation = getattr(self, "_op_" + str(request["op"]))
        return await operation(request)

    async def _op_list(self, _request: Json) -> Any:
        return [self._describe(entry) for entry in self.entries]

    async def _op_asked(self, _request: Json) -> Any:
        """How many printers were ever sent a request: sessions that got as far as talking."""
        return len(self.asked)

    async def _op_connects(self, _request: Json) -> Any:
        """When printers were connected to, in order, in seconds of the monotonic clock."""
        return sorted(at for relay in self.relays.values() for at in relay.times)

    async def _op_state(self, request: Json) -> Any:
        entry = self._find(request)
        printer = self.printers.get(entry.serial)
        return self._describe(entry) | ({"record": printer.record} if printer is not None else {})

    def _describe(self, entry: Entry) -> Json:
        printer, relay = self.printers.get(entry.serial), self.relays.get(entry.serial)
        device = self.devices.get(entry.serial)
        out: Json = {"name": entry.name, "model": entry.model, "serial": entry.serial, "port": entry.port}
        if device is not None:
            out |= {"protocol": entry.protocol} | device.describe()
        if printer is not None:
            out |= {"gcode_state": printer.record["gcode_state"], "reports": printer.reports}
            out |= {"garbage_sent": printer.garbage_sent, "faults": sorted(printer.faults)}
        if entry.serial in self.cameras:
            out["camera"] = self.cameras[entry.serial].describe()
        if relay is not None:
            out |= {"sessions": relay.sessions, "accepted": relay.accepted}
            out["faults"] = sorted(out.get("faults", []) + list(relay.faults))
        return out

    async def _op_requests(self, request: Json) -> Any:
        return list(self.printers[self._find(request).serial].requests)

    async def _op_request(self, request: Json) -> Any:
        """A request as another client of the printer would send it."""
        self.printers[self._find(request).serial].request(request["message"])

    async def _op_files(self, request: Json) -> Any:
        """What lies in its storage: names and sizes."""
        folder = self._folder(self._find(request))
        return {each.name: each.stat().st_size for each in sorted(folder.iterdir())} if folder.exists() else {}

    async def _op_publish(self, request: Json) -> Any:
        """Any text on the report topic; retain: the broker keeps it for those who come later."""
        payload, retain = str(request["payload"]).encode(), bool(request.get("retain"))
        self.bus.publish(self._find(request).serial, payload, retain)

    async def _op_set(self, request: Json) -> Any:
        printer = self.printers[self._find(request).serial]
        printer.record |= request["fields"]
        printer.touch()

    async def _op_temps(self, request: Json) -> Any:
        printer = self.printers[self._find(request).serial]
        for name, pair in request["temps"].items():
            printer.temps[name][:] = pair
        printer.touch()

    async def _op_print(self, request: Json) -> Any:
        printer = self.printers[self._find(request).serial]
        return printer.player.play(Job.from_options(printer.options.get("job", {}) | request.get("job", {})))

    async def _op_pause(self, request: Json) -> Any:
        return self.printers[self._find(request).serial].player.pause(int(request.get("stage", 16)))

    async def _op_resume(self, request: Json) -> Any:
        return self.printers[self._find(request).serial].player.resume()

    async def _op_runout(self, request: Json) -> Any:
        return self.printers[self._find(request).serial].player.runout()

    async def _op_cancel(self, request: Json) -> Any:
        return self.printers[self._find(request).serial].player.cancel()

    async def _op_fail(self, request: Json) -> Any:
        return self.printers[self._find(request).serial].player.fail(int(request.get("code", 0x03008008)))

    async def _op_hms(self, request: Json) -> Any:
        printer = self.printers[self._find(request).serial]
        printer.record["hms"] = [{"attr": int(e["attr"]), "code": int(e["code"])} for e in request["entries"]]
        printer.touch()

    async def _op_camera(self, request: Json) -> Any:
        """fps: pictures per second; show: the certificate of another serial number."""
        camera = self.cameras[self._find(request).serial]
        if isinstance(camera, pictures.Camera):
            camera.fps = float(request.get("fps", camera.fps))
        if "show" in request:
            camera.show(self.authority.leaf(request["show"]))

    async def _op_scale(self, request: Json) -> Any:
        self.clock.scale = float(request["scale"])

    async def _op_garbage_kinds(self, _request: Json) -> Any:
        return list(KINDS)

    async def _op_fault(self, request: Json) -> Any:
        entry, kind, on = self._find(request), request["kind"], bool(request.get("on", True))
        params = request.get("params", {})
        if entry.serial in self.devices and kind not in network.FAULTS:
            await self.devices[entry.serial].set_fault(kind, on, params)
        elif kind == "wrong_code":
            self._wrong_code(entry, on)
        elif kind in behaviour.FAULTS:
            self.printers[entry.serial].set_fault(kind, on, params)
        elif kind in network.FAULTS:
            await self.relays[entry.serial].set_fault(kind, on, params)
        else:
            raise ValueError(f"no fault {kind}")

    def _wrong_code(self, entry: Entry, on: bool) -> None:
        """The printer's code is another one than fleet.json says, as after toggling LAN mode."""
        listener = next(each for each in self.broker.listeners if each.serial == entry.serial)
        self.changed_codes.pop(entry.serial, None)
        if on:
            self.changed_codes[entry.serial] = "changed!"
        self.broker.set_password(listener, self._code(entry))
        self.broker.reload()

    async def _op_broker(self, request: Json) -> Any:
        """stop, start, restart the broker (every printer goes away at once), or just its pid."""
        action = request["action"]
        if action in ("stop", "restart"):
            self.broker_wanted = False
            self.broker.stop()
        if action in ("start", "restart"):
            self.broker_wanted = True
        return self.broker.process.pid if self.broker.process else None
