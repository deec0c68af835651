"""A Moonraker with its Klipper imitated at the socket: shapes, refusals and the order of messages as recorded from the
real one (recordings/moonraker). One printer per server.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import hashlib
import json
import secrets
import time
from typing import Any

from aiohttp import WSMsgType, web

from .moonraker_klipper import Klipper, Refused

Json = dict[str, Any]
FAULTS = {
    "silence": "connections stand, nothing comes, not even a pong",
    "garbage": "hostile messages between the others",
    "wrong_code": "the key is another one than fleet.json says",
    "late_key": "the upgrade is let in without a key; the calls are not",
    "shutdown": "Klipper has shut down (`message`)",
    "config_error": "Klipper does not start: its configuration is wrong",
    "klippy_gone": "Klipper's process has ended",
    "starting": "Klipper is starting",
    "lost_answer": "a call is obeyed, then the connection is cut instead of the answer",
    "mute_start": "a start is answered, and nothing begins",
    "no_space": "uploads end with 500, no space left",
    "bad_checksum": "uploads end with 422",
    "cut_upload": "the connection is cut after `bytes` of an upload",
    "slow_upload": "`bytes_s` read of an upload per second",
    "upload_forbidden": "uploads end with 403",
}
VERSION = "v0.10.0-31-gd5ee171"
EXTENSIONS = (".gcode", ".g", ".gco", ".ufp", ".nc")
TICK_S = 0.25
HOSTILE: tuple[str | bytes, ...] = (
    "", "nothing of the kind", "[]", "null", "{", '{"jsonrpc":"2.0"}', '{"method":7,"params":{}}', b"\x00\xff\xfe",
    '{"jsonrpc":"2.0","result":[],"id":1}', '{"jsonrpc":"2.0","result":{"status":7},"id":99999}',
    '{"method":"notify_status_update"}', '{"method":"notify_status_update","params":[]}',
    '{"method":"notify_status_update","params":{"a":1}}', '{"method":"notify_status_update","params":[[1]]}',
    '{"method":"notify_gcode_response","params":[{}]}', '{"method":"notify_history_changed","params":[1]}',
    '{"method":"notify_status_update","params":[{"print_stats":{"state":7,"filename":[],"info":3},"extruder":"hot",'
    '"virtual_sdcard":{"progress":1e300},"heater_bed":{"temperature":1e999},"gcode_move":null}]}',
    '{"method":"notify_status_update","params":[{"print_stats":{"state":"dancing","print_duration":-5,"info":'
    '{"total_layer":1e18,"current_layer":-1}},"fan":{"speed":77}}]}',
    '{"method":"notify_status_update","params":[' + '{"a":' * 200 + "1" + "}" * 200 + "]}",
    '{"method":"' + "n" * 70000 + '"}', '{"error":{"code":[],"message":{}},"id":"x"}', "x" * 200000,
)  # fmt: skip


class Peer:
    """One WebSocket."""

    def __init__(self, ws: web.WebSocketResponse, known: bool) -> None:
        self.ws = ws
        self.known = known  # its key was right, or none is needed
        self.identified = False
        self.wanted: dict[str, list[str] | None] = {}
        self.seen: Json = {}


class Moonraker:
    """Options: needs_key, objects (more of them), webcams, job {file, seconds, prepare_s, layers}."""

    def __init__(self, name: str, serial: str, secret: str, port: int, clock: Any, options: Json) -> None:
        self.name, self.serial, self.secret, self.port = name, serial, secret, port
        self.clock, self.options = clock, options
        self.key = secret
        self.klipper = Klipper(clock, options, self.notify)
        self.peers: set[Peer] = set()
        self.faults: dict[str, Json] = {}
        self.requests: collections.deque[Json] = collections.deque(maxlen=2000)
        self.files: dict[str, Json] = {}
        self.history: list[Json] = []
        self.garbage_sent = self.partials = self.jobs = 0
        self.uploading = False
        self.tasks: list[asyncio.Task[None]] = []
        self.restart: asyncio.Task[None] | None = None

    # --- life ----------------------------------------------------------------------------------------
    async def start(self) -> None:
        app = web.Application(client_max_size=1 << 40)
        app.router.add_get("/websocket", self._websocket)
        app.router.add_post("/server/files/upload", self._upload)
        app.router.add_get("/server/info", self._get_info)
        self.runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port).start()
        loop = asyncio.get_running_loop()
        self.tasks = [loop.create_task(each()) for each in (self._tick, self._statistics, self._make_garbage)]

    async def stop(self) -> None:
        for task in [*self.tasks, *([self.restart] if self.restart else [])]:
            task.cancel()
        self.klipper.stop()
        for peer in list(self.peers):
            with contextlib.suppress(Exception):
                await asyncio.wait_for(peer.ws.close(), 1)
        await self.runner.cleanup()

    # --- what goes out -------------------------------------------------------------------------------
    async def _send(self, peer: Peer, message: Json | str | bytes) -> None:
        if "silence" in self.faults:
            return
        with contextlib.suppress(ConnectionError, RuntimeError):
            if isinstance(message, bytes):
                await peer.ws.send_bytes(message)
            else:
                await peer.ws.send_str(message if isinstance(message, str) else json.dumps(message))

    def _post(self, peer: Peer, message: Json) -> None:
        """In the order of the calls."""
        asyncio.ensure_future(self._send(peer, message))

    def notify(self, method: str, *params: Any) -> None:
        if method == "job":
            self._history(*params)
            return
        message: Json = {"jsonrpc": "2.0", "method": method}
        if params:
            message["params"] = list(params)
        for peer in list(self.peers):
            if peer.identified or peer.known:
                self._post(peer, message)

    def _history(self, action: str, job: Json) -> None:
        if action == "added":
            self.jobs += 1
            self.history.insert(0, job | {"job_id": f"{self.jobs:06d}"})
        elif self.history:
            self.history[0] |= job
        if self.history:
            self.notify("notify_history_changed", {"action": action, "job": self.history[0]})

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            await self.push_status()

    async def push_status(self) -> None:
        """What changed of what each peer wanted."""
        if self.klipper.state == "disconnected":
            return
        now = self.klipper.objects()
        for peer in list(self.peers):
            delta: Json = {}
            for name, fields in self._pick(now, peer.wanted).items():
                before = peer.seen.setdefault(name, {})
                changed = {key: value for key, value in fields.items() if before.get(key, self) != value}
                if changed:
                    delta[name] = changed
                    before |= changed
            if delta:
                params = [delta, time.monotonic()]
                self._post(peer, {"jsonrpc": "2.0", "method": "notify_status_update", "params": params})

    @staticmethod
    def _pick(objects: Json, wanted: dict[str, list[str] | None]) -> Json:
        out: Json = {}
        for name, fields in wanted.items():
            value = objects.get(name, {})
            out[name] = {k: v for k, v in value.items() if fields is None or k in fields}
        return json.loads(json.dumps(out))

    async def _statistics(self) -> None:
        while True:
            await asyncio.sleep(1)
            self.notify("notify_proc_stat_update", {"cpu_temp": None, "websocket_connections": len(self.peers)})

    async def _make_garbage(self) -> None:
        while True:
            await asyncio.sleep(0.02)
            if "garbage" in self.faults:
                for peer in list(self.peers):
                    await self._send(peer, HOSTILE[self.garbage_sent % len(HOSTILE)])
                    self.garbage_sent += 1

    # --- WebSocket -----------------------------------------------------------------------------------
    def _knows(self, request: web.Request) -> bool | None:
        """None: a wrong key."""
        given = request.headers.get("X-Api-Key")
        if given is not None:
            return True if secrets.compare_digest(given, self.key) else None
        return not self.options.get("needs_key", True)

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        known = self._knows(request)
        if "late_key" in self.faults:
            known = False
        elif known is None or not known:
            message = {"code": 401, "message": "Unauthorized", "traceback": ""}
            return web.json_response({"error": message}, status=401)
        ws = web.WebSocketResponse(autoping=False)
        await ws.prepare(request)
        peer = Peer(ws, known)
        self.peers.add(peer)
        try:
            async for message in ws:
                if message.type == WSMsgType.PING and "silence" not in self.faults:
                    await ws.pong(message.data)
                elif message.type == WSMsgType.TEXT:
                    # calls overlap: a script that lasts holds up nothing else
                    asyncio.ensure_future(self._message(peer, message.data))
        finally:
            self.peers.discard(peer)
        return ws

    async def _message(self, peer: Peer, text: str) -> None:
        try:
            call = json.loads(text)
            method, number = str(call["method"]), call["id"]
        except (ValueError, KeyError, TypeError):
            await self._send(peer, {"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}, "id": None})
            return
        self.requests.append({"at": time.time(), "method": method, "params": call.get("params")})
        answer: Json = {"jsonrpc": "2.0"}
        try:
            answer["result"] = await self._call(peer, method, call.get("params") or {})
        except Refused as refusal:
            answer["error"] = {"code": refusal.code, "message": refusal.message}
        if "lost_answer" in self.faults and method.startswith("printer.") and "objects" not in method:
            if peer.ws._req is not None and peer.ws._req.transport is not None:
                peer.ws._req.transport.abort()  # type: ignore[attr-defined]
            return
        self._post(peer, answer | {"id": number})

    async def _call(self, peer: Peer, method: str, params: Json) -> Any:
        if method == "server.connection.identify":
            return self._identify(peer, params)
        if not peer.known:
            raise Refused(401, "Unauthorized")
        handler = getattr(self, "_rpc_" + method.replace(".", "_"), None)
        if handler is None:
            raise Refused(-32601, "Method not found")
        if method.startswith("printer.") and self.klipper.state == "disconnected":
            raise Refused(503, "Klippy Host not connected")
        return await handler(peer, params)

    def _identify(self, peer: Peer, params: Json) -> Json:
        for field in ("client_name", "version", "type", "url"):
            if not isinstance(params.get(field), str):
                raise Refused(400, f"No data for argument: {field}")
        if peer.identified:
            raise Refused(400, "Connection already identified")
        if "api_key" in params:
            if params["api_key"] != self.key:
                raise Refused(401, "Invalid API Key")
            peer.known = True
        peer.identified = True
        return {"connection_id": id(peer)}

    async def _rpc_server_info(self, _peer: Peer, _params: Json) -> Json:
        return self.info()

    def info(self) -> Json:
        state = self.klipper.state
        return {
            "klippy_connected": state != "disconnected", "klippy_state": state, "components": ["webcam", "history"],
            "failed_components": [], "registered_directories": ["config", "logs", "gcodes"], "warnings": [],
            "websocket_count": len(self.peers), "moonraker_version": VERSION, "api_version": [1, 5, 0],
            "missing_klippy_requirements": [], "api_version_string": "1.5.0",
        }  # fmt: skip

    async def _get_info(self, request: web.Request) -> web.Response:
        if not self._knows(request):
            return web.json_response({"error": {"code": 401, "message": "Unauthorized"}}, status=401)
        return web.json_response({"result": self.info()})

    async def _rpc_printer_info(self, _peer: Peer, _params: Json) -> Json:
        return {"state": self.klipper.state, "state_message": self.klipper.message, "hostname": "vm",
                "software_version": "v0.13.0-730-g84104bbbd", "cpu_info": "2 core"}  # fmt: skip

    async def _rpc_printer_objects_list(self, _peer: Peer, _params: Json) -> Json:
        return {"objects": list(self.klipper.objects())}

    async def _rpc_printer_objects_query(self, _peer: Peer, params: Json) -> Json:
        picked = self._pick(self.klipper.objects(), params["objects"])
        return {"eventtime": time.monotonic(), "status": picked}

    async def _rpc_printer_objects_subscribe(self, peer: Peer, params: Json) -> Json:
        peer.wanted = params["objects"]
        peer.seen = self._pick(self.klipper.objects(), peer.wanted)
        return {"eventtime": time.monotonic(), "status": peer.seen}

    async def _rpc_server_webcams_list(self, _peer: Peer, _params: Json) -> Json:
        return {"webcams": self.options.get("webcams", [])}

    async def _rpc_server_history_list(self, _peer: Peer, params: Json) -> Json:
        return {"count": len(self.history), "jobs": self.history[: int(params.get("limit", 50))]}

    async def _rpc_server_files_metadata(self, _peer: Peer, params: Json) -> Json:
        file = self.files.get(str(params.get("filename")))
        if file is None:
            raise Refused(404, f"Metadata not available for <{params.get('filename')}>")
        return {"filename": params["filename"], "size": file["size"], "slicer": "OrcaSlicer"} | file.get("metadata", {})

    async def _rpc_printer_print_start(self, _peer: Peer, params: Json) -> str:
        file = str(params["filename"])
        if self.klipper.state != "ready":
            raise Refused(400, "Unknown")
        if self.klipper.busy:
            raise Refused(400, "SD busy")
        if file not in self.files:
            self.klipper.reset()
            self.notify("notify_gcode_response", "!! Unable to open file")
            raise Refused(400, "Unable to open file")
        if "mute_start" not in self.faults:
            self.klipper.play(file, self.options.get("job", {}))
        return "ok"

    async def _rpc_printer_print_pause(self, _peer: Peer, _params: Json) -> str:
        self.klipper.ready()
        self.klipper.pause()
        return "ok"

    async def _rpc_printer_print_resume(self, _peer: Peer, _params: Json) -> str:
        self.klipper.ready()
        self.klipper.resume()
        return "ok"

    async def _rpc_printer_print_cancel(self, _peer: Peer, _params: Json) -> str:
        self.klipper.ready()
        self.klipper.cancel()
        return "ok"

    async def _rpc_printer_gcode_script(self, _peer: Peer, params: Json) -> str:
        await self.klipper.script(str(params["script"]))
        return "ok"

    async def _rpc_printer_emergency_stop(self, _peer: Peer, _params: Json) -> str:
        await self._shut_down("Shutdown due to webhooks request")
        return "ok"

    async def _rpc_printer_firmware_restart(self, _peer: Peer, _params: Json) -> str:
        if self.restart is None or self.restart.done():
            self.restart = asyncio.get_running_loop().create_task(self._restart())
        return "ok"

    # --- Klipper's comings and goings ----------------------------------------------------------------
    async def _shut_down(self, why: str) -> None:
        """print_stats falls back at once; the notification comes after the update."""
        self.klipper.shut_down(why)
        self.notify("notify_gcode_response", "// Klipper state: Shutdown")
        await self.push_status()
        self.notify("notify_klippy_shutdown")

    async def _leave(self) -> None:
        self.klipper.gone()
        for peer in self.peers:
            peer.wanted, peer.seen = {}, {}
        self.notify("notify_gcode_response", "// Klipper state: Disconnect")
        self.notify("notify_klippy_disconnected")

    async def _restart(self) -> None:
        await self._leave()
        await asyncio.sleep(float(self.options.get("restart_s", 0.5)))
        self.klipper.state = "startup"
        await asyncio.sleep(float(self.options.get("restart_s", 0.5)))
        self.klipper.come_up()
        self.notify("notify_klippy_ready")

    # --- uploads -------------------------------------------------------------------------------------
    @staticmethod
    def _no(status: int, message: str) -> web.Response:
        answer = web.json_response({"error": {"code": status, "message": message, "traceback": ""}}, status=status)
        answer.force_close()
        return answer

    async def _upload(self, request: web.Request) -> web.Response:
        if not self._knows(request):
            return self._no(401, "Unauthorized")
        self.requests.append({"at": time.time(), "method": "upload", "length": request.content_length})
        fields: dict[str, str] = {}
        name, size, digest = "", 0, hashlib.sha256()
        self.uploading = True
        try:
            async for part in await request.multipart():
                if part.filename is None:
                    fields[str(part.name)] = (await part.read()).decode()
                    continue
                name = part.filename
                while chunk := await part.read_chunk(16384):
                    size += len(chunk)
                    digest.update(chunk)
                    await self._hinder(request, size, len(chunk))
        except (OSError, asyncio.CancelledError, AssertionError):
            self.partials += 1
            raise
        finally:
            self.uploading = False
        return self._take(fields, name, size, digest.hexdigest())

    async def _hinder(self, request: web.Request, size: int, step: int) -> None:
        if "cut_upload" in self.faults and size >= int(self.faults["cut_upload"].get("bytes", 1)):
            assert request.transport is not None
            request.transport.abort()  # type: ignore[attr-defined]
            raise ConnectionResetError("cut")
        if "slow_upload" in self.faults:
            await asyncio.sleep(step / float(self.faults["slow_upload"].get("bytes_s", 65536)))

    def _take(self, fields: dict[str, str], name: str, size: int, digest: str) -> web.Response:
        if not name:
            return self._no(400, "No file name specifed in upload form")
        if fields.get("root", "gcodes") != "gcodes":
            return self._no(400, "Invalid root request")
        if not name.lower().endswith(EXTENSIONS):
            return self._no(403, f"Invalid file extension for file {name}")
        name = "/".join(each for each in (fields.get("path", "").strip("/"), name) if each)
        if fields.get("checksum", digest) != digest or "bad_checksum" in self.faults:
            return self._no(422, "File checksum mismatch")
        if "no_space" in self.faults:
            return self._no(500, "[Errno 28] No space left on device")
        if "upload_forbidden" in self.faults or (self.klipper.busy and self.klipper.file == name):
            return self._no(403, "File is loaded, upload not permitted")
        known = name in self.files
        self.files[name] = {"size": size, "sha256": digest, "metadata": {"estimated_time": 1200, "layer_count": 50}}
        item = {"modified": time.time(), "size": size, "permissions": "rw", "path": name, "root": "gcodes"}
        self.notify("notify_filelist_changed", {"action": "modify_file" if known else "create_file", "item": item})
        body = {"action": "create_file", "item": item, "print_started": False, "print_queued": False}
        return web.json_response(body, status=201)

    # --- control interface ---------------------------------------------------------------------------
    def describe(self) -> Json:
        out: Json = {"state": self.klipper.print_state, "klippy": self.klipper.state, "faults": sorted(self.faults)}
        out |= {"files": self.files, "garbage_sent": self.garbage_sent, "partials": self.partials}
        out |= {"peers": len(self.peers), "uploading": self.uploading, "scripts": list(self.klipper.scripts)}
        out |= {"targets": self.klipper.targets(), "wanted": [each.wanted for each in self.peers]}
        return out

    async def control(self, op: str, request: Json) -> Any:
        return await getattr(self, f"_op_{op}")(request)

    async def _op_requests(self, request: Json) -> Any:
        wanted = str(request.get("method", ""))
        return [each for each in self.requests if each["method"].startswith(wanted)]

    async def _op_print(self, request: Json) -> Any:
        job = self.options.get("job", {}) | request.get("job", {})
        file = str(job.get("file", "benchy.gcode"))
        self.files.setdefault(file, {"size": 623, "sha256": "", "metadata": {"layer_count": 50}})
        return self.klipper.play(file, job)

    async def _op_pause(self, _request: Json) -> Any:
        return self.klipper.pause()

    async def _op_resume(self, _request: Json) -> Any:
        return self.klipper.resume()

    async def _op_cancel(self, _request: Json) -> Any:
        return self.klipper.cancel()

    async def _op_fail(self, request: Json) -> Any:
        return self.klipper.fail(str(request.get("message", "Move out of range")))

    async def _op_stop_hard(self, _request: Json) -> Any:
        """Somebody's emergency stop."""
        await self._shut_down("Shutdown due to M112 command")

    async def _op_restart(self, _request: Json) -> Any:
        await self._rpc_printer_firmware_restart(Peer(web.WebSocketResponse(), True), {})

    async def _op_reset(self, _request: Json) -> Any:
        """SDCARD_RESET_FILE by somebody."""
        self.klipper.reset()

    async def _op_temps(self, request: Json) -> Any:
        for name, pair in request["temps"].items():
            self.klipper.heaters[name][:] = pair

    async def set_fault(self, kind: str, on: bool, params: Json) -> None:
        if kind not in FAULTS:
            raise ValueError(f"no fault {kind}")
        self.faults.pop(kind, None)
        if on:
            self.faults[kind] = params
        if kind == "wrong_code":
            self.key = "changed!" if on else self.secret
        elif kind in ("shutdown", "config_error", "klippy_gone", "starting"):
            await self._klippy_fault(kind, on, params)

    async def _klippy_fault(self, kind: str, on: bool, params: Json) -> None:
        if not on:
            await self._restart()
        elif kind == "shutdown":
            await self._shut_down(str(params.get("message", "MCU 'mcu' shutdown: Timer too close")))
        else:
            await self._leave()
            if kind != "klippy_gone":
                self.klipper.state = "startup" if kind == "starting" else "error"
                self.klipper.message = "Option 'x' is not valid in section 'y'\n"
