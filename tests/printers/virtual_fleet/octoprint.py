"""An OctoPrint imitated at the socket: REST and the raw websocket. Refuses what the real one refuses;
tests/printers/test_virtual_octoprint.py asks both the same.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import hashlib
import json
import re
import secrets
import time
from typing import Any
from urllib.parse import unquote

from aiohttp import BodyPartReader, WSMsgType, web

from .octoprint_job import OPERATIONAL, TEXTS, Machine

Json = dict[str, Any]
FAULTS = {
    "starting": "the server that stands in while OctoPrint starts: \"Not found\" without a header",
    "unavailable": "503 to everything, of a web server in front",
    "silence": "connections stand, no answer comes",
    "garbage": "hostile messages on the websocket (`messages`), hostile answers (`body`, `status`) to GET",
    "mute_start": "a start is answered, and nothing begins",
    "lost_answer": "a command is obeyed, its answer never sent",
    "wrong_code": "the key is another one",
    "no_websocket": "the upgrade is refused (`status`, 400)",
    "localised": "texts of states in another language, with something behind",
    "lost_printer": "the serial line fails with `message`",
    "no_space": "507 to uploads",
    "slow_upload": "`bytes_s` read of an upload per second",
    "cut_upload": "the connection is cut after `bytes` of an upload, `times` times",
}
HOSTILE = [
    "",
    "nothing",
    "[1, 2",
    "null",
    "[]",
    "{}",
    '{"current": 1}',
    '{"current": {"state": {"flags": {}}}}',
    '{"current": {"state": {"flags": {"operational": "maybe"}}, "job": 3}}',
    '{"current": {"state": {"flags": {"operational": true, "printing": true}}, "job": [], "progress": 1e999}}',
    '{"event": {"type": 7, "payload": null}}',
    '{"event": {"type": "PrinterStateChanged", "payload": {"state_id": ["PRINTING"]}}}',
    '{"event": {"type": "FirmwareData", "payload": {"name": "' + "\\u0007x" * 200 + '"}}}',
    '{"history": ' + '{"a":' * 40 + "1" + "}" * 40 + "}",
    '{"plugin": {"data": "' + "x" * 50000 + '"}}',
]
GERMAN = {"Operational": "Betriebsbereit (bereit)", "Printing": "Druckt von SD", "Paused": "Angehalten: Pause"}
DENIED = (
    "You don't have the permission to access the requested resource. It is either read-protected or not "
    "readable by the server."
)
EXTENSIONS = (".gcode", ".gco", ".g")


class Refusal(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class Listener:
    """One websocket."""

    def __init__(self, ws: web.WebSocketResponse) -> None:
        self.ws = ws
        self.authed = False
        self.throttle = 1
        self.events: Any = True  # all, none, or those of a list
        self.logs: re.Pattern[str] | None = None
        self.lines: list[str] = []
        self.dirty = True
        self.sent_at = 0.0

    def subscribe(self, wanted: Json) -> None:
        self.events = wanted.get("events", False)
        state = wanted.get("state", False)
        logs = state.get("logs", False) if isinstance(state, dict) else state
        self.logs = re.compile(logs if isinstance(logs, str) else ".") if logs else None


class OctoPrint:
    """Options: connected (the printer, at first), tools, chamber, camera {stream, snapshot}, job {seconds},
    autoplay."""

    def __init__(self, name: str, serial: str, secret: str, port: int, clock: Any, options: Json) -> None:
        self.name, self.serial, self.secret, self.key, self.port = name, serial, secret, secret, port
        self.options = options
        self.faults: dict[str, Json] = {}
        self.machine = Machine(self, clock.scale, options)
        self.files: dict[str, Json] = {}
        self.sessions: set[str] = set()
        self.listeners: list[Listener] = []
        self.requests: collections.deque[Json] = collections.deque(maxlen=2000)
        self.partials = self.logins = self.garbage_sent = 0
        self.uploading = False

    # --- life ----------------------------------------------------------------------------------------
    async def start(self) -> None:
        app = web.Application(middlewares=[self._middleware], client_max_size=1 << 40)
        for method, path, handler in self._routes():
            app.router.add_route(method, path, handler)
        self.runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port).start()
        self.pusher = asyncio.get_running_loop().create_task(self._push())
        if self.options.get("connected", True):
            self.machine.connect()
        if "autoplay" in self.options:
            self.player = asyncio.get_running_loop().create_task(self._autoplay(self.options["autoplay"]))

    async def stop(self) -> None:
        self.pusher.cancel()
        for each in list(self.listeners):
            with contextlib.suppress(Exception):
                await each.ws.close()
        await self.runner.cleanup()

    async def _autoplay(self, options: Json) -> None:
        await asyncio.sleep(float(options.get("delay_s", 1)))
        while True:
            self._op_print({"file": f"{options.get('name', 'demo')}.gcode"})
            while self.machine.active:
                await asyncio.sleep(0.5)
            await asyncio.sleep(float(options.get("rest_s", 60)))

    def _routes(self) -> list[tuple[str, str, Any]]:
        return [
            ("GET", "/api/version", self._version),
            ("POST", "/api/login", self._login),
            ("GET", "/api/settings", self._settings),
            ("GET", "/api/connection", self._connection),
            ("POST", "/api/connection", self._connect),
            ("GET", "/api/printer", self._printer),
            ("GET", "/api/printer/error", self._error),
            ("POST", "/api/printer/command", self._command),
            ("POST", "/api/printer/printhead", self._printhead),
            ("POST", "/api/printer/tool", self._tool),
            ("POST", "/api/printer/bed", self._heater),
            ("POST", "/api/printer/chamber", self._heater),
            ("GET", "/api/job", self._job),
            ("POST", "/api/job", self._control),
            ("GET", "/api/files/local", self._list),
            ("POST", "/api/files/local", self._upload),
            ("POST", "/api/files/local/{path:.+}", self._file_command),
            ("GET", "/api/files/local/{path:.+}", self._file),
            ("GET", "/sockjs/websocket", self._websocket),
        ]

    # --- every request -------------------------------------------------------------------------------
    @web.middleware
    async def _middleware(self, request: web.Request, handler: Any) -> web.StreamResponse:
        note: Json = {"at": time.time(), "method": request.method, "path": request.path}
        note["headers"] = {k: v for k, v in request.headers.items() if k != "X-Api-Key"}
        self.requests.append(note)
        assert request.transport is not None
        while "silence" in self.faults:
            await asyncio.sleep(0.05)
        if "starting" in self.faults:
            request.transport.write(b"Not found")  # type: ignore[attr-defined]
            request.transport.close()
            await asyncio.sleep(0.05)
        if "unavailable" in self.faults:
            return web.Response(status=503, text="<html>503 Service Unavailable</html>", content_type="text/html")
        try:
            if handler != self._websocket:
                self._check_key(request)
            if "garbage" in self.faults and request.method == "GET" and handler != self._websocket:
                fault = self.faults["garbage"]
                self.garbage_sent += 1
                return web.Response(status=int(fault.get("status", 200)), body=str(fault.get("body", "<html>")))
            answer = await handler(request)
        except Refusal as refusal:
            answer = web.json_response({"error": refusal.text}, status=refusal.status)
        except web.HTTPNotFound:
            answer = web.json_response({"error": "The requested URL was not found on the server."}, status=404)
        note["status"] = answer.status
        if "lost_answer" in self.faults and request.method != "GET":
            request.transport.abort()  # type: ignore[attr-defined]
        return answer

    def _check_key(self, request: web.Request) -> None:
        if secrets.compare_digest(request.headers.get("X-Api-Key", ""), self.key):
            return
        if request.method == "POST":
            raise Refusal(400, "CSRF validation failed")
        raise Refusal(403, DENIED)

    async def _body(self, request: web.Request, commands: dict[str, tuple[str, ...]]) -> Json:
        """The JSON of a command, checked as far as the real one checks before it acts."""
        if "json" not in request.content_type:
            raise Refusal(400, "Expected content-type JSON")
        try:
            body = json.loads(await request.text())
        except ValueError:
            raise Refusal(400, "The browser (or proxy) sent a request that this server could not understand.") from None
        command = body.get("command") if isinstance(body, dict) else None
        if command not in commands:
            raise Refusal(400, "command is invalid")
        for name in commands[command]:
            if name not in body:
                raise Refusal(400, f"Mandatory parameter {name} missing for command {command}")
        return body

    def _need_printer(self) -> None:
        if not self.machine.operational:
            raise Refusal(409, "Printer is not operational")

    # --- what it says --------------------------------------------------------------------------------
    def text(self, state: str) -> str:
        plain = TEXTS.get(state, state)
        return GERMAN.get(plain, plain + " *") if "localised" in self.faults else plain

    async def _version(self, _request: web.Request) -> web.Response:
        return web.json_response({"api": "0.1", "server": "1.11.8", "text": "OctoPrint 1.11.8"})

    async def _login(self, _request: web.Request) -> web.Response:
        session = secrets.token_hex(32)
        self.sessions.add(session)
        self.logins += 1
        return web.json_response(
            {"name": "_api", "session": session, "active": True, "admin": True, "user": True}
            | {"_is_external_client": False, "_login_mechanism": "apikey", "apikey": None, "settings": {}}
        )

    async def _settings(self, _request: web.Request) -> web.Response:
        camera = self.options.get("camera")
        webcam: Json = {"webcamEnabled": True, "streamUrl": None, "snapshotUrl": None, "webcams": []}
        if camera:
            webcam |= {"streamUrl": camera.get("stream"), "snapshotUrl": camera.get("snapshot")}
            webcam["webcams"] = [{"name": "classic", "compat": camera}]
        return web.json_response({"webcam": webcam, "feature": {"sdSupport": True}})

    async def _connection(self, _request: web.Request) -> web.Response:
        on = self.machine.operational
        current = {"state": self.text(self.machine.state) if on else "Closed", "printerProfile": "_default"}
        current |= {"port": "VIRTUAL" if on else None, "baudrate": 0 if on else None}
        return web.json_response({"current": current, "options": {"ports": ["VIRTUAL"]}})

    async def _printer(self, request: web.Request) -> web.Response:
        self._need_printer()
        out: Json = {"state": self.machine.state_json()}
        out["temperature"] = {k: v | {"offset": 0} for k, v in self.machine.temperatures().items()}
        if "sd" not in request.query.get("exclude", ""):
            out["sd"] = {"ready": True}
        return web.json_response(out)

    async def _error(self, _request: web.Request) -> web.Response:
        return web.json_response({"error": "", "reason": ""})

    async def _job(self, _request: web.Request) -> web.Response:
        m = self.machine
        out = {"job": m.job_json(), "progress": m.progress_json(), "state": self.text(m.state)}
        return web.json_response(out | ({"error": m.error} if m.error else {}))

    # --- commands ------------------------------------------------------------------------------------
    async def _connect(self, request: web.Request) -> web.Response:
        body = await self._body(request, {"connect": (), "disconnect": (), "fake_ack": ()})
        if body["command"] == "connect":
            self.machine.connect()
        elif body["command"] == "disconnect":
            self.machine.close()
        return web.Response(status=204)

    async def _control(self, request: web.Request) -> web.Response:
        self._need_printer()
        body = await self._body(request, {"start": (), "restart": (), "pause": (), "cancel": ()})
        command, m = body["command"], self.machine
        if command == "start":
            if m.active:
                raise Refusal(409, "Printer already has an active print job, did you mean 'restart'?")
            if m.file is not None:
                m.start()
            return web.Response(status=204)
        if not m.active or (command == "restart" and m.state != "PAUSED"):
            raise Refusal(409, f"Printer is neither printing nor paused, '{command}' command cannot be performed")
        action = body.get("action", "toggle") if command == "pause" else command
        if action not in ("pause", "resume", "toggle", "cancel", "restart"):
            raise Refusal(400, "Unknown action")
        if action == "toggle":
            action = "resume" if m.state == "PAUSED" else "pause"
        {"pause": m.pause, "resume": m.resume, "cancel": m.cancel, "restart": m.cancel}[action]()
        return web.Response(status=204)

    async def _command(self, request: web.Request) -> web.Response:
        self._need_printer()
        try:
            body = json.loads(await request.text())
        except ValueError:
            raise Refusal(400, "The browser (or proxy) sent a request that this server could not understand.") from None
        lines = body.get("commands", [body["command"]] if "command" in body else None)
        if lines is None:
            raise Refusal(400, "Need one of 'command', 'commands' or 'script'")
        for line in lines:
            self.machine.send(str(line))
        return web.Response(status=204)

    async def _printhead(self, request: web.Request) -> web.Response:
        body = await self._body(request, {"jog": (), "home": ("axes",), "feedrate": ("factor",)})
        if not self.machine.operational or (self.machine.state != "PAUSED" and self.machine.active
                                            and body["command"] != "feedrate"):  # fmt: skip
            raise Refusal(409, "Printer is not operational or currently printing")
        if body["command"] == "feedrate":
            if not isinstance(body["factor"], int | float) or body["factor"] < 1:
                raise Refusal(400, "factor is invalid")
            self.machine.send(f"M220 S{int(body['factor'])}")
        elif body["command"] == "home":
            if any(axis not in ("x", "y", "z") for axis in body["axes"]):
                raise Refusal(400, "axis is invalid")
            self.machine.send("G28 " + " ".join(f"{axis.upper()}0" for axis in body["axes"]))
        else:
            axes = {axis: body[axis] for axis in ("x", "y", "z") if axis in body}
            if not all(isinstance(v, int | float) for v in axes.values()):
                raise Refusal(400, "axis value is invalid")
            self.machine.send("G0 " + " ".join(f"{axis.upper()}{v}" for axis, v in axes.items()))
        return web.Response(status=204)

    async def _tool(self, request: web.Request) -> web.Response:
        self._need_printer()
        body = await self._body(request, {"select": ("tool",), "target": ("targets",), "offset": ("offsets",),
                                          "extrude": ("amount",), "flowrate": ("factor",)})  # fmt: skip
        if body["command"] == "extrude":
            if self.machine.active and self.machine.state != "PAUSED":
                raise Refusal(409, "Printer is currently printing")
            if not isinstance(body["amount"], int | float):
                raise Refusal(400, "amount is invalid")
            self.machine.send(f"G1 E{body['amount']}")
        for tool, value in body.get("targets", {}).items():
            if not re.match(r"tool\d*", tool):
                raise Refusal(400, "targets contains invalid tool")
            if not isinstance(value, int | float):
                raise Refusal(400, "targets contains invalid value")
            if tool in self.machine.heaters:
                self.machine.heaters[tool][1] = float(value)
        return web.Response(status=204)

    async def _heater(self, request: web.Request) -> web.Response:
        self._need_printer()
        name = request.path.rpartition("/")[2]
        if name not in self.machine.heaters:
            raise Refusal(409, f"Printer does not have a heated {name}")
        body = await self._body(request, {"target": ("target",), "offset": ("offset",)})
        if not isinstance(body.get("target", 0), int | float):
            raise Refusal(400, "target is invalid")
        self.machine.heaters[name][1] = float(body.get("target", 0))
        return web.Response(status=204)

    # --- files ---------------------------------------------------------------------------------------
    def _entry(self, path: str) -> Json:
        if path not in self.files:
            raise Refusal(404, "The requested URL was not found on the server.")
        return self.files[path]

    async def _list(self, _request: web.Request) -> web.Response:
        return web.json_response({"files": list(self.files.values()), "free": 1 << 34, "total": 1 << 35})

    async def _file(self, request: web.Request) -> web.Response:
        return web.json_response(self._entry(unquote(request.match_info["path"])))

    async def _upload(self, request: web.Request) -> web.Response:
        if "no_space" in self.faults:
            raise Refusal(507, "Insufficient storage")
        if not request.content_type.startswith("multipart/"):
            raise Refusal(400, "No file to upload and no folder to create")
        self.uploading, good = True, False
        try:
            fields, name, size, digest = await self._receive(request)
            good = True
        finally:
            self.uploading = False
            self.partials += not good
        if name is None:
            raise Refusal(400, "No file to upload and no folder to create")
        if not name.lower().endswith(EXTENSIONS):
            raise Refusal(415, "Could not upload file, invalid type")
        path = f"{fields['path'].strip('/')}/{name}" if fields.get("path") else name
        file = self.machine.file
        if self.machine.active and file is not None and file["path"] == path:
            raise Refusal(409, "Trying to overwrite file that is currently being printed")
        self._store(path, size, digest)
        return web.json_response(self._stored(path), status=201, headers={"Location": "/api/files/local/" + path})

    def _refs(self, path: str) -> Json:
        return {"resource": f"/api/files/local/{path}", "download": f"/downloads/files/local/{path}"}

    def _store(self, path: str, size: int, digest: str) -> Json:
        name = path.rpartition("/")[2]
        entry = {"name": name, "path": path, "display": name, "origin": "local", "size": size}
        self.files[path] = entry | {"date": int(time.time()), "hash": digest, "type": "machinecode"}
        self.files[path] |= {"typePath": ["machinecode", "gcode"], "user": "_api", "refs": self._refs(path)}
        return self.files[path]

    def _stored(self, path: str) -> Json:
        local = {"name": path.rpartition("/")[2], "path": path, "origin": "local", "refs": self._refs(path)}
        return {"done": True, "effectiveSelect": False, "effectivePrint": False, "files": {"local": local}}

    async def _receive(self, request: web.Request) -> tuple[Json, str | None, int, str]:
        fields: Json = {}
        name, size, digest = None, 0, hashlib.sha1()
        async for part in await request.multipart():
            assert isinstance(part, BodyPartReader)
            if part.filename is None:
                fields[str(part.name)] = await part.text()
                continue
            name = part.filename.replace("\\", "/").rpartition("/")[2]
            while chunk := await part.read_chunk(16384):
                size += len(chunk)
                digest.update(chunk)
                await self._upload_fault(request, size, len(chunk))
        return fields, name, size, digest.hexdigest()

    async def _upload_fault(self, request: web.Request, size: int, n: int) -> None:
        cut = self.faults.get("cut_upload", {"times": 0})
        if cut.get("times", 1) > 0 and size >= int(cut.get("bytes", 1)):
            cut["times"] = cut.get("times", 1) - 1
            assert request.transport is not None
            request.transport.abort()  # type: ignore[attr-defined]
            raise ConnectionResetError("cut")
        if "slow_upload" in self.faults:
            await asyncio.sleep(n / float(self.faults["slow_upload"].get("bytes_s", 16384)))

    async def _file_command(self, request: web.Request) -> web.Response:
        entry = self._entry(unquote(request.match_info["path"]))
        body = await self._body(request, {"select": (), "unselect": (), "slice": (), "copy": (), "move": ()})
        if body["command"] == "select":
            if self.machine.state != "OPERATIONAL":
                raise Refusal(409, "Printer is already printing, cannot select a new file")
            self._select(entry)
            if body.get("print") and "mute_start" not in self.faults:
                self.machine.start()
        return web.Response(status=204)

    def _select(self, entry: Json) -> None:
        known = ("name", "path", "display", "origin", "size", "date")
        self.machine.file, self.machine.done = {name: entry[name] for name in known}, None
        self.event("FileSelected", {"name": entry["name"], "path": entry["path"], "origin": "local"})

    # --- the websocket -------------------------------------------------------------------------------
    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        if "no_websocket" in self.faults:
            raise Refusal(int(self.faults["no_websocket"].get("status", 400)), "no websocket here")
        ws = web.WebSocketResponse()
        if not ws.can_prepare(request):
            return web.Response(status=400, text='Can "Upgrade" only to "WebSocket".')
        await ws.prepare(request)
        listener = Listener(ws)
        self.listeners.append(listener)
        await self._send(listener, "connected", {"version": "1.11.8", "display_version": "1.11.8"})
        try:
            async for message in ws:
                if message.type == WSMsgType.TEXT:
                    await self._hear(listener, message.data)
        finally:
            self.listeners.remove(listener)
        return ws

    async def _hear(self, listener: Listener, text: str) -> None:
        try:
            message = json.loads(text)
        except ValueError:
            return
        if "auth" in message:
            session = str(message["auth"]).rpartition(":")[2]
            listener.authed = session in self.sessions
            if not listener.authed:
                await self._send(listener, "reauthRequired", {"reason": "stale"})
                return
            await self._send(listener, "history", self._current([]) | {"logs": []})
        elif "throttle" in message:
            listener.throttle = max(1, int(message["throttle"]))
        elif "subscribe" in message:
            listener.subscribe(message["subscribe"])

    async def _send(self, listener: Listener, kind: str, payload: Any) -> None:
        with contextlib.suppress(ConnectionError, RuntimeError):
            await listener.ws.send_str(json.dumps({kind: payload}))

    def _current(self, lines: list[str]) -> Json:
        m = self.machine
        now = {"time": int(time.time())} | (m.temperatures() if m.operational else {})
        out = {"state": m.state_json(), "job": m.job_json(), "progress": m.progress_json(), "currentZ": None}
        out |= {"offsets": {}, "resends": {"count": 0, "transmitted": 8, "ratio": 0}, "serverTime": time.time()}
        return out | {"temps": [now], "busyFiles": [], "markings": [], "logs": lines, "messages": []}

    def event(self, kind: str, payload: Any) -> None:
        for each in self.listeners:
            each.dirty = True
            wanted = each.events is True or (isinstance(each.events, list) and kind in each.events)
            if each.authed and wanted:
                message = {"type": kind, "payload": payload}
                asyncio.get_running_loop().create_task(self._send(each, "event", message))

    def line(self, text: str) -> None:
        for each in self.listeners:
            if each.logs is not None and each.logs.search(text):
                each.lines.append(text)

    async def _push(self) -> None:
        """"current" comes as often as the throttle allows while there is a printer; else after changes only."""
        while True:
            await asyncio.sleep(0.1)
            now = time.monotonic()
            for each in list(self.listeners):
                due = (each.dirty or self.machine.state in OPERATIONAL) and "silence" not in self.faults
                if not each.authed or not due or now - each.sent_at < 0.5 * each.throttle:
                    continue
                each.sent_at, each.dirty = now, False
                lines, each.lines = each.lines, []
                await self._send(each, "current", self._current(lines))
                await self._garbage(each)

    async def _garbage(self, listener: Listener) -> None:
        if "garbage" not in self.faults:
            return
        for text in self.faults["garbage"].get("messages", HOSTILE):
            with contextlib.suppress(ConnectionError, RuntimeError):
                await listener.ws.send_str(text)
            self.garbage_sent += 1

    # --- control interface ---------------------------------------------------------------------------
    def describe(self) -> Json:
        out: Json = {"state": self.machine.state, "faults": sorted(self.faults), "logins": self.logins}
        out["garbage_sent"] = self.garbage_sent
        out |= {"files": dict(self.files), "partials": self.partials, "uploading": self.uploading, "file": self.machine.file}
        out |= {"heaters": self.machine.heaters, "completion": self.machine.done}
        return out | {"listeners": [each.authed for each in self.listeners]}

    async def control(self, op: str, request: Json) -> Any:
        return getattr(self, f"_op_{op}")(request)

    def _op_requests(self, request: Json) -> Any:
        prefix = str(request.get("path", ""))
        return [each for each in self.requests if each["path"].startswith(prefix)]

    def _op_print(self, request: Json) -> Any:
        """Somebody else's print, begun at OctoPrint's own pages."""
        if not self.machine.operational or self.machine.active:
            return False
        self.options["job"] = self.options.get("job", {}) | request.get("job", {})
        path = str(request.get("file", "benchy.gcode"))
        self._select(self.files.get(path) or self._store(path, 754535, ""))
        self.machine.start()
        return True

    def _op_pause(self, _request: Json) -> Any:
        self.machine.pause()

    def _op_resume(self, _request: Json) -> Any:
        self.machine.resume()

    def _op_cancel(self, _request: Json) -> Any:
        if self.machine.active:
            self.machine.cancel()

    def _op_fail(self, request: Json) -> Any:
        self.machine.close(str(request.get("message", "Printer halted: thermal runaway")))

    def _op_connect(self, _request: Json) -> Any:
        self.machine.connect()

    def _op_disconnect(self, _request: Json) -> Any:
        self.machine.close()

    def _op_select(self, request: Json) -> Any:
        path = str(request["file"])
        self._select(self.files.get(path) or self._store(path, 100, ""))

    async def _reauth(self) -> None:
        self.sessions.clear()
        for each in self.listeners:
            each.authed = False
            await self._send(each, "reauthRequired", {"reason": "logout"})

    def _op_reauth(self, _request: Json) -> Any:
        """Sessions end: whoever listens has to log in again."""
        asyncio.get_running_loop().create_task(self._reauth())

    async def set_fault(self, kind: str, on: bool, params: Json) -> None:
        if kind not in FAULTS:
            raise ValueError(f"no fault {kind}")
        self.faults.pop(kind, None)
        if on:
            self.faults[kind] = params
        if kind == "wrong_code":
            self.key = "another" if on else self.secret
        elif kind == "lost_printer" and on:
            self.machine.close(str(params.get("message", "SerialException: device disconnected")))
        elif kind == "lost_printer":
            self.machine.connect()
        elif kind == "no_websocket" and on:
            for each in list(self.listeners):
                await each.ws.close()
