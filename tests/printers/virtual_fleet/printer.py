"""One Bambu printer: its record, what it reports when, and how it answers requests."""

from __future__ import annotations

import asyncio
import collections
import copy
import itertools
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import camera, ftps, garbage
from .delta import delta
from .job import Job, Player
from .models import FUN, SIGNATURE_REQUIRED, Json, Model, first_report, modules

AMBIENT_C = 26.0
WARMING = {"nozzle": 0.12, "left": 0.12, "bed": 0.02, "chamber": 0.005}  # share of the gap closed per virtual second
UNSIGNED = {"reason": "mqtt message verify failed", "err_code": 0x05024007}
HMS_UNSIGNED = {"attr": 0x05000500, "code": 0x00010007}
BUSY = ("PREPARE", "RUNNING", "PAUSE", "SLICING")
ERROR_BUSY = 0x05004004
FAULTS = (
    "silence",
    "garbage",
    "wrong_serial",
    "developer_mode_off",
    "mute_start",
    "no_acks",
    "busy",
    "sticky",
    *camera.FAULTS,
    *ftps.FAULTS,
)
Send = Callable[[bytes], None]


class Clock:
    """Virtual seconds pass `scale` times as fast as real ones."""

    def __init__(self, scale: float) -> None:
        self.scale = scale


class Printer:
    """Everything runs on the event loop. send(serial, payload) publishes on that serial's report topic."""

    def __init__(
        self, model: Model, serial: str, clock: Clock, publish: Callable[[str, bytes], None], options: Json
    ) -> None:
        self.model = model
        self.serial = serial
        self.clock = clock
        self.publish = publish
        self.options = options
        self.record = first_report(model)
        self.sent: Json = {}
        self.storage: Path | None = None  # None: what is to be printed is not looked for
        self.temps = {each: [AMBIENT_C, 0.0] for each in WARMING}
        self.faults: dict[str, Json] = {}
        self.requests: collections.deque[Json] = collections.deque(maxlen=20000)
        self.reports = 0
        self.garbage_sent = 0
        self.wake = asyncio.Event()
        self.counter = itertools.count(1)
        self.random = random.Random(serial)
        self.player = Player(self)
        self.tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self.tasks.append(loop.create_task(self._report_loop()))
        if "autoplay" in self.options:
            self.tasks.append(loop.create_task(self.player.autoplay(self.options["autoplay"])))

    def stop(self) -> None:
        self.player.abort()
        for task in self.tasks:
            task.cancel()

    # --- reports -----------------------------------------------------------------------------------
    def interval_s(self) -> float:
        least = float(self.options.get("min_interval_s", 0.2))
        return max(least, self.model.interval_s / max(self.clock.scale, 1.0))

    async def _report_loop(self) -> None:
        last = time.monotonic()
        while True:
            try:
                await asyncio.wait_for(self.wake.wait(), self.interval_s())
            except TimeoutError:
                pass
            self.wake.clear()
            now = time.monotonic()
            self._physics((now - last) * self.clock.scale)
            last = now
            self.report()

    def _physics(self, seconds: float) -> None:
        for name, pair in self.temps.items():
            goal = pair[1] or (30.0 if name == "chamber" and self.temps["bed"][1] else AMBIENT_C)
            pair[0] += (goal - pair[0]) * min(1.0, WARMING[name] * seconds)
        if self.random.random() < 0.2:
            self.record["wifi_signal"] = f"-{self.random.randint(48, 61)}dBm"
        self._render_temps()

    def _render_temps(self) -> None:
        step = self.model.temper_step
        actual = {name: round(pair[0] / step) * step for name, pair in self.temps.items()}
        if self.model.packed:
            self._render_packed(actual)
            return
        self.record["nozzle_temper"] = actual["nozzle"]
        self.record["nozzle_target_temper"] = self.temps["nozzle"][1]
        self.record["bed_temper"] = actual["bed"]
        self.record["bed_target_temper"] = self.temps["bed"][1]
        if self.model.chamber:
            self.record["chamber_temper"] = actual["chamber"]

    def _render_packed(self, actual: dict[str, float]) -> None:
        device = self.record["device"]
        packed = {name: int(actual[name]) | int(pair[1]) << 16 for name, pair in self.temps.items()}
        for head, name in zip(device["extruder"]["info"], ("nozzle", "left"), strict=False):
            head["temp"] = packed[name]
        device["bed"]["info"]["temp"] = device["bed_temp"] = packed["bed"]
        device["ctc"]["info"]["temp"] = packed["chamber"]

    def touch(self) -> None:
        """Something worth an immediate report changed."""
        self.wake.set()

    def report(self, full: bool = False) -> None:
        body = {"command": "push_status", "sequence_id": str(next(self.counter))}
        if full or self.model.style == "full" or not self.sent:
            body = copy.deepcopy(self.record) | body
            if self.model.full_msg is not None:
                body["msg"] = self.model.full_msg
        else:
            change = delta(self.sent, self.record)
            if not change:
                return
            body = copy.deepcopy(change) | body | {"msg": 1}
        self.sent = copy.deepcopy(self.record)
        self.say({"print": body})

    def say(self, message: Json) -> None:
        if "silence" in self.faults:
            return
        self.reports += 1
        serial = self.faults.get("wrong_serial", {}).get("serial", self.serial.lower() + "x")
        target = serial if "wrong_serial" in self.faults else self.serial
        self.publish(target, json.dumps(message, separators=(",", ":")).encode())

    # --- requests ----------------------------------------------------------------------------------
    def request(self, message: Json, qos: int = 0) -> None:
        self.requests.append({"at": time.time(), "message": message, "qos": qos})
        for section, body in message.items():
            if isinstance(body, dict):
                self._request_section(section, body)

    def _request_section(self, section: str, body: Json) -> None:
        handler = getattr(self, f"_on_{section}", None)
        if handler is not None:
            handler(str(body.get("command", "")), body)

    def _on_info(self, command: str, body: Json) -> None:
        if command == "get_version":
            self.say({"info": body | {"module": modules(self.model, self.serial), "result": "success"}})

    def _on_pushing(self, command: str, _body: Json) -> None:
        if self.faults.get("silence", {}).get("until_start"):
            self.faults.pop("silence")
        if command in ("pushall", "start"):
            self._render_temps()
            self.report(full=True)

    def _on_system(self, command: str, body: Json) -> None:
        if command == "ledctrl":
            for light in self.record["lights_report"]:
                if light["node"] == body.get("led_node"):
                    light["mode"] = body.get("led_mode", "on")
        self._ack("system", body, True)

    def _ack(self, section: str, body: Json, good: bool, **more: Any) -> None:
        if "no_acks" in self.faults:
            self.touch()
            return
        word = "success" if good else "fail"
        if self.model.name == "X1C":
            word = word.upper()
        self.say({section: body | {"result": word, "reason": word} | more})
        self.touch()

    def _on_print(self, command: str, body: Json) -> None:
        if "developer_mode_off" in self.faults:
            self._refuse(body)
            return
        action = getattr(self, f"_do_{command}", None)
        good = action(body) if action is not None else True
        if good is None:
            return
        more = {} if good or self.record["print_error"] != ERROR_BUSY else {"err_code": ERROR_BUSY}
        self._ack("print", body, good, **more)

    def _refuse(self, body: Json) -> None:
        if self.model.refusal_ack:
            self.say({"print": body | {"result": "failed"} | UNSIGNED})
        if self.model.refusal_hms and HMS_UNSIGNED not in self.record["hms"]:
            self.record["hms"] = self.record["hms"] + [dict(HMS_UNSIGNED)]
            self.touch()

    def _do_project_file(self, body: Json) -> bool | None:
        """None: no answer."""
        if "mute_start" in self.faults:
            if self.faults["mute_start"].get("taken"):
                self._play(body)
            return None
        if self.record["gcode_state"] in BUSY or "busy" in self.faults:
            self.record["print_error"] = ERROR_BUSY
            if self.model.name == "A1 mini" and self.player.active:
                self.player.fail(ERROR_BUSY)
            return False
        self._play(body)
        return True

    def _play(self, body: Json) -> None:
        job = Job.from_request(body, self.options.get("job", {}))
        sticky = self.faults.get("sticky")
        self.player.play(job, float(sticky.get("real_s", 1)) if sticky is not None else 0, self._lacks(body))

    def _lacks(self, body: Json) -> bool:
        """The file is not where the command says."""
        if self.storage is None or not self.options.get("check_files"):
            return False
        place = str(body.get("url") or body.get("param") or "")
        for prefix in ("ftp:///", "ftp://", "file:///sdcard/", "/"):
            if place.startswith(prefix):
                return not (self.storage / place.removeprefix(prefix)).is_file()
        return True

    _do_gcode_file = _do_project_file

    def _do_pause(self, _body: Json) -> bool:
        return self.player.pause(16)

    def _do_resume(self, _body: Json) -> bool:
        return self.player.resume()

    def _do_stop(self, _body: Json) -> bool:
        return self.player.cancel()

    def _do_print_speed(self, body: Json) -> bool:
        level = {"1": 50, "2": 100, "3": 124, "4": 166}
        if str(body.get("param")) not in level:
            return False
        self.record["spd_lvl"] = int(body["param"])
        self.record["spd_mag"] = level[str(body["param"])]
        return True

    def _do_clean_print_error(self, _body: Json) -> bool:
        self.record |= {"print_error": 0, "mc_print_error_code": "0", "fail_reason": "0"}
        return True

    def _do_gcode_line(self, body: Json) -> bool:
        for line in str(body.get("param", "")).splitlines():
            word, *rest = line.split()
            values = {each[:1]: each[1:] for each in rest}
            target = {"M104": "nozzle", "M109": "nozzle", "M140": "bed", "M141": "chamber", "M190": "bed"}.get(word)
            if target == "nozzle" and values.get("T") == "1":
                target = "left"
            if target and "S" in values:
                self.temps[target][1] = float(values["S"])
            elif word == "M106":
                self._fan(int(values.get("P", "1")), int(values.get("S", "255")))
            elif word == "M112":
                self.player.fail(0x03000000)
        return True

    def _fan(self, which: int, speed: int) -> None:
        key = {1: "cooling_fan_speed", 2: "big_fan1_speed", 3: "big_fan2_speed"}.get(which)
        if key:
            self.record[key] = str(round(speed * 15 / 255))

    def _do_ams_change_filament(self, body: Json) -> bool:
        target = int(body.get("target", 255))
        self.record["ams"]["tray_now"] = self.record["ams"]["tray_tar"] = str(target)
        if self.model.packed:
            head = self.record["device"]["extruder"]["info"][0]
            head["snow"] = {255: 0xFFFF, 254: 0xFEFF}.get(target, (target // 4) << 8 | target % 4)
        return True

    def _do_skip_objects(self, body: Json) -> bool:
        self.record["s_obj"] = list(body.get("obj_list", []))
        return True

    # --- faults ------------------------------------------------------------------------------------
    def set_fault(self, kind: str, on: bool, params: Json) -> None:
        self.faults.pop(kind, None)
        if on:
            self.faults[kind] = params
        if kind == "developer_mode_off":
            self._developer_mode(not on)
        elif kind == "garbage" and on:
            self.tasks.append(asyncio.get_running_loop().create_task(self._garbage_loop(params)))
        self.touch()

    def _developer_mode(self, on: bool) -> None:
        if self.model.reports_fun:
            self.record["fun"] = f"{FUN & ~SIGNATURE_REQUIRED if on else FUN | SIGNATURE_REQUIRED:X}"
        if self.model.refusal_hms:
            rest = [each for each in self.record["hms"] if each != HMS_UNSIGNED]
            self.record["hms"] = rest if on else rest + [dict(HMS_UNSIGNED)]

    async def _garbage_loop(self, params: Json) -> None:
        kinds = params.get("kinds") or list(garbage.KINDS)
        for kind in itertools.cycle(kinds):
            if self.faults.get("garbage") is not params:
                return
            self.publish(self.serial, garbage.KINDS[kind]())
            self.garbage_sent += 1
            await asyncio.sleep(float(params.get("interval_s", 0.1)))
