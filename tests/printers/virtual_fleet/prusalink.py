"""A PrusaLink printer imitated at the socket, in both flavours: `buddy` (the firmware of MINI, MK4, XL …) and
`link` (Prusa-Link on a Raspberry Pi). Refuses what they refuse.
"""

from __future__ import annotations

import asyncio
import collections
import hashlib
import time
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from .prusalink_auth import Guard
from .prusalink_job import BUSY, EXTENSIONS, File, Job, short_name

Json = dict[str, Any]
AMBIENT_C = 24.0
FAULTS = {
    "silence": "connections stand, no answer comes",
    "garbage": "200 with something else than JSON (`body`, `status`)",
    "lost_answer": "a command is obeyed, its answer never sent (`only` one method)",
    "unavailable": "503 to everything",
    "no_space": "507 to uploads",
    "transfer_busy": "409 to uploads: another transfer in progress",
    "no_start": "409 to starts",
    "mute_start": "a start is answered, and nothing begins",
    "slow_upload": "`bytes_s` read of an upload per second",
    "old_nonce": "401 to the next `times` uploads, whatever they carry",
    "cut_upload": "the connection is cut after `bytes` of an upload",
    "wrong_code": "password and key are others than fleet.json says",
    "no_challenge": "a server that knows keys alone: 401 without a challenge",
    "attention": "ATTENTION with `message`, job or none",
    "error": "ERROR with `message`; a print that runs fails",
}


class Refused(asyncio.Protocol):
    """One connection too many: gone before a byte."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.abort()  # type: ignore[attr-defined]


class Gate:
    """Hands connections to the server, up to `most` at a time."""

    def __init__(self, server: web.Server, most: int) -> None:
        self.server = server
        self.most = most
        self.accepted = self.refused = self.peak = 0

    def __call__(self) -> asyncio.BaseProtocol:
        self.accepted += 1
        if len(self.server.connections) >= self.most:
            self.refused += 1
            return Refused()
        self.peak = max(self.peak, len(self.server.connections) + 1)
        return self.server()


def problem(status: int, title: str, message: str, close: bool = False) -> web.Response:
    answer = web.json_response({"title": title, "message": message}, status=status)
    if close:
        answer.force_close()
    return answer


class PrusaLink:
    """Options: flavour, user, connections, nonce_s, drop_to_idle_s, camera, job {seconds, busy_s}."""

    def __init__(self, name: str, serial: str, secret: str, port: int, clock: Any, options: Json) -> None:
        self.name, self.serial, self.secret, self.port = name, serial, secret, port
        self.clock = clock
        self.options = options
        self.buddy = options.get("flavour", "buddy") == "buddy"
        self.guard = Guard(
            realm="Printer API" if self.buddy else "Administrator",
            user=options.get("user", "maker"),
            password=secret,
            key=secret if self.buddy else str(options.get("api_key", secret + "-key")),
            nonce_s=float(options.get("nonce_s", 5 if self.buddy else 300)),
            qop=not self.buddy,
            bind_agent=not self.buddy,
            wrong_key_status=401 if self.buddy else 403,
        )
        self.storage = "usb" if self.buddy else "local"
        self.state = "IDLE"
        self.problem: str | None = None
        self.job: Job | None = None
        self.last_id = int(options.get("first_job_id", 128))
        self.files: dict[str, File] = {}
        self.temps = {"nozzle": [AMBIENT_C, 0.0], "bed": [AMBIENT_C, 0.0]}
        self.warmed = time.monotonic()
        self.faults: dict[str, Json] = {}
        self.extra_status: Json = {}
        self.requests: collections.deque[Json] = collections.deque(maxlen=2000)
        self.snaps = self.garbage_sent = 0
        self.uploading = False
        self.partials = 0  # uploads that did not come to their end
        self.idle_task: asyncio.Task[None] | None = None

    # --- life ----------------------------------------------------------------------------------------
    async def start(self) -> None:
        app = web.Application(middlewares=[self._middleware], client_max_size=1 << 40)
        expect = self._expect
        for method, path, handler in self._routes():
            app.router.add_route(method, path, handler, expect_handler=expect)
        self.runner = web.AppRunner(app, access_log=None, handle_signals=False, keepalive_timeout=30)
        await self.runner.setup()
        assert self.runner.server is not None
        self.gate = Gate(self.runner.server, int(self.options.get("connections", 2)))
        loop = asyncio.get_running_loop()
        self.listener = await loop.create_server(self.gate, "127.0.0.1", self.port)

    async def stop(self) -> None:
        self.listener.close()
        if self.job is not None:
            self.job.task.cancel()
        if self.idle_task is not None:
            self.idle_task.cancel()
        await self.runner.cleanup()

    def _routes(self) -> list[tuple[str, str, Any]]:
        files = r"/api/v1/files/{storage}/{path:.+}"
        return [
            ("GET", "/api/version", self._version),
            ("GET", "/api/v1/info", self._info),
            ("GET", "/api/v1/status", self._status),
            ("GET", "/api/v1/job", self._job),
            ("GET", "/api/v1/storage", self._storage),
            ("PUT", r"/api/v1/job/{id:\d+}/{action:pause|resume}", self._control_job),
            ("DELETE", r"/api/v1/job/{id:\d+}", self._control_job),
            ("PUT", files, self._upload),
            ("POST", files, self._start),
            ("GET", files, self._file),
            ("DELETE", files, self._delete),
            ("GET", "/api/v1/cameras/snap", self._snap),
        ]

    # --- every request -------------------------------------------------------------------------------
    async def _expect(self, request: web.Request) -> web.StreamResponse | None:
        """Prusa-Link says 100 once it knows who asks; Buddy has never heard of the header."""
        if self.buddy:
            return None
        refusal = self.guard.check(request)
        if refusal is None:
            assert request.transport is not None
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")  # type: ignore[attr-defined]
        return refusal

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Any) -> web.StreamResponse:
        note = {"at": time.time(), "method": request.method, "path": request.path}
        note["headers"] = {
            name: value for name, value in request.headers.items() if name not in ("Authorization", "X-Api-Key")
        }
        self.requests.append(note)
        while "silence" in self.faults:
            await asyncio.sleep(0.05)
        if "unavailable" in self.faults:
            return problem(503, "Service unavailable", "starting")
        refusal = self.guard.check(request)
        if refusal is None and request.method == "PUT" and self._is_old(request.path):
            refusal = self.guard.refuse(request, stale=True)
        if refusal is not None:
            note["status"] = refusal.status
            if request.method == "PUT" and request.can_read_body:
                refusal.force_close()
            return refusal
        if "garbage" in self.faults and request.method == "GET":
            fault = self.faults["garbage"]
            self.garbage_sent += 1
            return web.Response(status=int(fault.get("status", 200)), body=str(fault.get("body", "<html>")))
        answer = await handler(request)
        note["status"] = answer.status
        only = self.faults.get("lost_answer", {}).get("only", request.method)
        if "lost_answer" in self.faults and request.method == only != "GET":
            assert request.transport is not None
            request.transport.abort()  # type: ignore[attr-defined]
        return answer

    # --- reports -------------------------------------------------------------------------------------
    def heat(self, nozzle_c: float, bed_c: float) -> None:
        self.temps["nozzle"][1], self.temps["bed"][1] = nozzle_c, bed_c

    def _warm(self) -> None:
        now = time.monotonic()
        passed, self.warmed = (now - self.warmed) * self.clock.scale, now
        for pair in self.temps.values():
            pair[0] += ((pair[1] or AMBIENT_C) - pair[0]) * min(1.0, 0.05 * passed)

    def _printer_json(self) -> Json:
        self._warm()
        out: Json = {"state": self.state}
        for name, pair in self.temps.items():
            out |= {f"temp_{name}": round(pair[0], 1), f"target_{name}": pair[1]}
        out |= {"axis_z": 5.0, "flow": 100, "speed": 100, "fan_hotend": 0, "fan_print": 0}
        if self.state not in ("PRINTING", "BUSY"):
            out |= {"axis_x": 10.0, "axis_y": 12.5}
        else:
            out |= {"fan_hotend": 5000, "fan_print": 2500}
        if not self.buddy or self.problem:
            good = self.problem is None
            out["status_printer"] = {"ok": good, "message": "OK" if good else self.problem}
        return out | self.extra_status

    async def _status(self, _request: web.Request) -> web.Response:
        place = {"path": f"/{self.storage}/", "name": self.storage, "read_only": False}
        if not self.buddy:
            place |= {"path": "/local", "name": "PrusaLink gcodes", "free_space": 1 << 34}
        out: Json = {"storage": place if self.buddy else [place], "printer": self._printer_json()}
        if "no_storage" in self.faults:
            del out["storage"]
        if self.job is not None:
            out["job"] = self._job_json()
        if self.uploading:
            out["transfer"] = {"id": 7, "progress": 50.0, "time_transferring": 3, "data_transferred": 1}
        if self.options.get("camera"):
            out["camera"] = {"id": "camera-1"}
        return web.json_response(out)

    def _job_json(self) -> Json:
        assert self.job is not None
        out: Json = {"id": self.job.id, "progress": self.job.progress}
        if self.state in BUSY:
            out["time_remaining"] = int(self.job.total_s - self.job.printing_s)
        return out | {"time_printing": int(self.job.printing_s)}

    async def _job(self, _request: web.Request) -> web.Response:
        if self.job is None:
            return web.Response(status=204)
        out = self._job_json() | {"state": self.state, "file": self._file_json(self.job.file)}
        return web.json_response(out)

    def _file_json(self, file: File) -> Json:
        at = f"/{file.storage}/{file.name}"
        refs = {"icon": f"/thumb/s{at}", "thumbnail": f"/thumb/l{at}", "download": at}
        out = {"refs": refs, "name": file.name, "display_name": file.display_name}
        return out | {"path": f"/{file.storage}", "size": file.size, "m_timestamp": file.m_timestamp}

    async def _version(self, _request: web.Request) -> web.Response:
        out: Json = {"api": "2.0.0", "server": "2.1.2", "text": "PrusaLink", "hostname": "PrusaXL"}
        if not self.buddy:
            out |= {"version": "0.8.1", "server": "0.8.1", "firmware": "3.14.0", "original": "PrusaLink I3MK3S"}
            out["hostname"] = "prusa-mk3"
        return web.json_response(out | {"capabilities": {"upload-by-put": True}})

    async def _info(self, _request: web.Request) -> web.Response:
        out = {"nozzle_diameter": 0.4, "mmu": False, "serial": self.serial, "hostname": "PrusaXL"}
        return web.json_response(out | {"min_extrusion_temp": 170})

    async def _storage(self, _request: web.Request) -> web.Response:
        place = {"path": f"/{self.storage}/", "name": self.storage, "type": self.storage.upper()}
        return web.json_response({"storage_list": [place | {"read_only": False, "available": True}]})

    async def _snap(self, _request: web.Request) -> web.Response:
        if not self.options.get("camera"):
            return web.Response(status=404 if self.buddy else 204)
        self.snaps += 1
        return web.Response(body=b"\xff\xd8\xff\xe0virtual\xff\xd9", content_type="image/jpeg")

    # --- files ---------------------------------------------------------------------------------------
    def _find(self, request: web.Request) -> File | None:
        if request.match_info["storage"] != self.storage:
            return None
        wanted = unquote(request.match_info["path"])
        return next(
            (each for each in self.files.values() if wanted in (each.name, each.display_name)), None
        )

    async def _file(self, request: web.Request) -> web.Response:
        file = self._find(request)
        return web.json_response(self._file_json(file)) if file else problem(404, "Not found", "no such file")

    async def _delete(self, request: web.Request) -> web.Response:
        file = self._find(request)
        if file is None:
            return problem(404, "Not found", "no such file")
        if self.state in BUSY and self.job is not None and self.job.file is file:
            return problem(409, "Conflict", "File is busy")
        del self.files[file.display_name]
        return web.Response(status=204)

    def _is_old(self, path: str) -> bool:
        fault = self.faults.get("old_nonce")
        if fault is None or not path.startswith("/api/v1/files/") or not int(fault.get("times", 1)):
            return False
        fault["times"] = int(fault.get("times", 1)) - 1
        return True

    def _refuse_upload(self, request: web.Request, name: str) -> web.Response | None:
        if request.content_length is None or "chunked" in request.headers.get("Transfer-Encoding", ""):
            return problem(411, "Length required", "Content-Length", close=True)
        if request.match_info["storage"] != self.storage:
            return problem(404, "Not found", "no such storage", close=True)
        if not name.lower().endswith(EXTENSIONS):
            return problem(415, "Unsupported media type", "Not a GCODE", close=True)
        if "no_space" in self.faults:
            return problem(507, "Insufficient storage", "USB drive full", close=True)
        if self.uploading or "transfer_busy" in self.faults:
            return problem(409, "Conflict", "Another transfer in progress", close=True)
        file = self.files.get(name)
        if file is not None and request.headers.get("Overwrite") != "?1":
            return problem(409, "Conflict", "File already exists", close=True)
        if file is not None and self.state in BUSY and self.job is not None and self.job.file is file:
            return problem(409, "Conflict", "File is busy", close=True)
        return None

    async def _upload(self, request: web.Request) -> web.Response:
        name = unquote(request.match_info["path"])
        refusal = self._refuse_upload(request, name)
        if refusal is not None:
            return refusal
        self.uploading = True
        try:
            size, digest = await self._receive(request)
        except (OSError, asyncio.CancelledError, web.HTTPException):
            self.partials += 1
            raise
        finally:
            self.uploading = False
        taken = {each.name for each in self.files.values()}
        old = self.files.get(name)
        short = old.name if old else short_name(name, taken) if self.buddy else name
        file = self.files[name] = File(short, name, self.storage, size, digest)
        if request.headers.get("Print-After-Upload") == "?1" and not self._play(file):
            return problem(409, "Conflict", "Can't print right now", close=True)
        answer = web.json_response(self._file_json(file), status=201)
        answer.force_close()
        return answer

    async def _receive(self, request: web.Request) -> tuple[int, str]:
        size, digest = 0, hashlib.sha256()
        async for chunk in request.content.iter_chunked(16384):
            size += len(chunk)
            digest.update(chunk)
            if "cut_upload" in self.faults and size >= int(self.faults["cut_upload"].get("bytes", 1)):
                assert request.transport is not None
                request.transport.abort()  # type: ignore[attr-defined]
                raise ConnectionResetError("cut")
            if "slow_upload" in self.faults:
                await asyncio.sleep(len(chunk) / float(self.faults["slow_upload"].get("bytes_s", 16384)))
        return size, digest.hexdigest()

    # --- jobs ----------------------------------------------------------------------------------------
    async def _start(self, request: web.Request) -> web.Response:
        file = self._find(request)
        if file is None:
            return problem(404, "Not found", "no such file")
        return web.Response(status=204) if self._play(file) else problem(409, "Conflict", "Can't print now")

    def _play(self, file: File) -> bool:
        if self.state in (*BUSY, "ERROR") or "no_start" in self.faults:
            return False
        if "mute_start" in self.faults:
            return True
        if self.idle_task is not None:
            self.idle_task.cancel()
        self.last_id += 1
        self.job = Job(self, self.last_id, file, self.options.get("job", {}))
        return True

    def ended(self, state: str) -> None:
        """Buddy drops the job, and the word for its end, some time after; Prusa-Link keeps both."""
        self.state = state
        after = self.options.get("drop_to_idle_s")
        if after == 0:
            self.state, self.job = "IDLE", None
        elif after is not None:
            self.idle_task = asyncio.get_running_loop().create_task(self._drop(float(after)))

    async def _drop(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        self.state, self.job = "IDLE", None

    async def _control_job(self, request: web.Request) -> web.Response:
        if self.job is None or self.job.id != int(request.match_info["id"]):
            return problem(404, "Not found", "not the current job")
        action = request.match_info.get("action", "stop")
        good = {"pause": self.job.pause, "resume": self.job.resume, "stop": self.job.stop}[action]()
        return web.Response(status=204) if good else problem(409, "Conflict", f"cannot {action} now")

    # --- control interface ---------------------------------------------------------------------------
    def describe(self) -> Json:
        out: Json = {"state": self.state, "faults": sorted(self.faults), "auth": dict(self.guard.seen)}
        out |= {"files": {each.display_name: vars(each) for each in self.files.values()}}
        out |= {"accepted_inside": self.gate.accepted, "refused": self.gate.refused, "peak": self.gate.peak}
        out |= {"garbage_sent": self.garbage_sent}
        out |= {"partials": self.partials, "snaps": self.snaps, "uploading": self.uploading}
        return out | {"job": self._job_json() if self.job is not None else None}

    async def control(self, op: str, request: Json) -> Any:
        return getattr(self, f"_op_{op}")(request)

    def _op_requests(self, request: Json) -> Any:
        prefix = str(request.get("path", ""))
        return [each for each in self.requests if each["path"].startswith(prefix)]

    def _op_print(self, request: Json) -> Any:
        job = self.options.get("job", {}) | request.get("job", {})
        long = str(job.get("file", "benchy_0.4n_PLA.gcode"))
        taken = {each.name for each in self.files.values()}
        short = short_name(long, taken) if self.buddy else long
        file = self.files.setdefault(long, File(short, long, self.storage, 754535, ""))
        self.options["job"] = job
        return self._play(file)

    def _op_pause(self, _request: Json) -> Any:
        return self.job is not None and self.job.pause()

    def _op_resume(self, _request: Json) -> Any:
        return self.job is not None and self.job.resume()

    def _op_cancel(self, _request: Json) -> Any:
        return self.job is not None and self.job.stop()

    def _op_fail(self, request: Json) -> Any:
        self.problem = str(request.get("message", "Thermal runaway"))
        return self.job is not None and self.job.stop("ERROR")

    def _op_idle(self, _request: Json) -> Any:
        """Dismissed at the panel."""
        self.state, self.job, self.problem = "IDLE", None, None

    def _op_set(self, request: Json) -> Any:
        """Fields of the status' printer object, as they are; `state` is the printer's own."""
        fields = dict(request["fields"])
        self.state = fields.pop("state", self.state)
        self.extra_status = fields

    def _op_secret(self, request: Json) -> Any:
        self.guard.password = str(request["secret"])
        self.guard.key = self.guard.password if self.buddy else str(request.get("key", self.guard.key))

    async def set_fault(self, kind: str, on: bool, params: Json) -> None:
        if kind not in FAULTS and kind != "no_storage":
            raise ValueError(f"no fault {kind}")
        self.faults.pop(kind, None)
        if on:
            self.faults[kind] = params
        if kind == "wrong_code":
            self.guard.password = self.guard.key = "changed!" if on else self.secret
            if not on and not self.buddy:
                self.guard.key = str(self.options.get("api_key", self.secret + "-key"))
        elif kind == "no_challenge":
            self.guard.challenge = not on
        elif kind == "attention":
            self._attention(on, str(params.get("message", "Filament runout")))
        elif kind == "error" and on:
            self.problem = str(params.get("message", "Thermal runaway"))
            if self.job is None or not self.job.stop("ERROR"):
                self.state = "ERROR"
        elif kind == "error":
            self._op_idle({})

    def _attention(self, on: bool, message: str) -> None:
        if not on:
            if self.job is None or not self.job.resume():
                self.state, self.problem = "IDLE", None
            return
        self.problem = message
        if self.job is None or not self.job.pause("ATTENTION"):
            self.state = "ATTENTION"
