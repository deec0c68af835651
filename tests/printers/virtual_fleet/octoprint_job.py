"""What stands behind a virtual OctoPrint: the printer's states, a print in virtual seconds, heaters."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .octoprint import OctoPrint

Json = dict[str, Any]
SLICE_S = 0.2
AMBIENT_C = 21.3
FLAGS = (
    "operational printing cancelling pausing resuming finishing closedOrError error paused ready sdReady".split()
)
PRINTING = {"STARTING", "PRINTING", "CANCELLING", "PAUSING", "RESUMING", "FINISHING"}
OPERATIONAL = PRINTING | {"OPERATIONAL", "PAUSED", "TRANSFERING_FILE"}
TEXTS = {
    "NONE": "Offline",
    "OFFLINE": "Offline",
    "DETECT_SERIAL": "Detecting serial connection",
    "CLOSED_WITH_ERROR": "Offline after error",
    "OPERATIONAL": "Operational",
    "STARTING": "Starting",
    "PRINTING": "Printing",
    "PAUSING": "Pausing",
    "PAUSED": "Paused",
    "RESUMING": "Resuming",
    "FINISHING": "Finishing",
    "CANCELLING": "Cancelling",
    "ERROR": "Error",
}
NO_JOB: Json = {
    "file": {"name": None, "path": None, "display": None, "origin": None, "size": None, "date": None},
    "estimatedPrintTime": None,
    "averagePrintTime": None,
    "lastPrintTime": None,
    "filament": None,
    "user": None,
}
NO_PROGRESS: Json = dict.fromkeys(
    ("completion", "filepos", "printTime", "printTimeLeft", "printTimeLeftOrigin")
)


def flags(state: str) -> Json:
    on = {"sdReady": state in OPERATIONAL, "operational": state in OPERATIONAL, "printing": state in PRINTING}
    on |= {"ready": state == "OPERATIONAL", "paused": state == "PAUSED", "error": state == "ERROR"}
    on |= {
        name.lower(): state == name.upper() for name in ("cancelling", "pausing", "resuming", "finishing")
    }
    on["closedOrError"] = state in ("NONE", "OFFLINE", "CLOSED_WITH_ERROR", "ERROR")
    return {name: on[name] for name in FLAGS}


class Machine:
    """The printer: `state` is an id of OctoPrint's; what changes is told by server.event and server.touch."""

    def __init__(self, server: OctoPrint, scale: float, options: Json) -> None:
        self.server = server
        self.scale = scale
        self.options = options
        self.state, self.error = "OFFLINE", ""
        self.heaters: dict[str, list[float]] = {"tool0": [AMBIENT_C, 0.0], "bed": [AMBIENT_C, 0.0]}
        for i in range(1, int(options.get("tools", 1))):
            self.heaters[f"tool{i}"] = [AMBIENT_C, 0.0]
        if options.get("chamber"):
            self.heaters["chamber"] = [AMBIENT_C, 0.0]
        self.warmed = time.monotonic()
        self.file: Json | None = None  # selected
        self.total_s, self.done_s = 0.0, 0.0
        self.done: float | None = None  # completion, also after the end
        self.task: asyncio.Task[None] | None = None
        self.running = asyncio.Event()

    @property
    def operational(self) -> bool:
        return self.state in OPERATIONAL

    @property
    def active(self) -> bool:
        return self.state in PRINTING or self.state == "PAUSED"

    def go(self, state: str, error: str = "") -> None:
        self.state, self.error = state, error
        # Lost with an error, the id is OFFLINE as well: only the text and the error tell it.
        told = "OFFLINE" if state == "CLOSED_WITH_ERROR" else state
        self.server.event("PrinterStateChanged", {"state_id": told, "state_string": self.server.text(told)})

    # --- the line to the printer ---------------------------------------------------------------------
    def connect(self) -> None:
        if self.operational:
            self.close()
        self.server.event("Connecting", None)
        self.go("DETECT_SERIAL")
        self.go("OPERATIONAL")
        self.server.event("Connected", {"port": "VIRTUAL", "baudrate": 0})
        self.server.event("FirmwareData", {"name": "Virtual Marlin 1.0", "data": {}})

    def close(self, error: str = "") -> None:
        if self.task is not None:
            self.task.cancel()
        if self.active:
            self.server.event("PrintFailed", self.payload() | {"reason": "error"})
        self.file, self.done = None, None
        for pair in self.heaters.values():
            pair[1] = 0.0
        self.server.event("Disconnected", None)
        self.go("CLOSED_WITH_ERROR" if error else "OFFLINE", error)

    def send(self, line: str) -> None:
        """One line of G-code on its way to the printer."""
        self.server.line(f"Send: {line}")
        words = line.split()
        if words[:1] == ["M112"]:
            self.close("Closing serial port due to emergency stop M112.")
        targets = {"M104": "tool0", "M109": "tool0", "M140": "bed", "M190": "bed"}
        if words and words[0] in targets and len(words) > 1 and words[1].startswith("S"):
            self.heaters[targets[words[0]]][1] = float(words[1][1:])

    def temperatures(self) -> Json:
        now = time.monotonic()
        passed, self.warmed = (now - self.warmed) * self.scale, now
        for pair in self.heaters.values():
            pair[0] += ((pair[1] or AMBIENT_C) - pair[0]) * min(1.0, 0.05 * passed)
        return {
            name: {"actual": round(actual, 2), "target": target}
            for name, (actual, target) in self.heaters.items()
        }

    # --- prints --------------------------------------------------------------------------------------
    def payload(self) -> Json:
        assert self.file is not None
        known = ("name", "path", "origin", "size")
        return {name: self.file.get(name) for name in known} | {"owner": "_api", "user": "_api"}

    def start(self) -> None:
        assert self.file is not None
        self.total_s = float(self.options.get("job", {}).get("seconds", 600))
        self.done_s, self.done = 0.0, 0.0
        self.running.set()
        self.go("STARTING")
        self.server.event("PrintStarted", self.payload())
        self.go("PRINTING")
        self.task = asyncio.get_running_loop().create_task(self._play())

    async def _play(self) -> None:
        self.send("M104 S210")
        self.send("M106 S255")
        while self.done_s < self.total_s:
            await asyncio.sleep(min(SLICE_S, (self.total_s - self.done_s) / self.scale))
            if self.state == "PAUSING":
                self.running.clear()
                self.server.event("PrintPaused", self.payload())
                self.go("PAUSED")
            await self.running.wait()
            self.done_s = min(self.total_s, self.done_s + SLICE_S * self.scale)
            self.done = 100.0 * self.done_s / self.total_s
        self.send("M107")
        self.send("M104 S0")
        self.go("FINISHING")
        self.done = 100.0
        self.server.event("PrintDone", self.payload() | {"time": self.done_s})
        self.go("OPERATIONAL")

    def pause(self) -> None:
        if self.state == "PRINTING":
            self.go("PAUSING")

    def resume(self) -> None:
        """Accepted, and lost, while it is still pausing."""
        if self.state != "PAUSED":
            return
        self.go("RESUMING")
        self.server.event("PrintResumed", self.payload())
        self.go("PRINTING")
        self.running.set()

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()
        self.go("CANCELLING")
        self.server.event("PrintCancelled", self.payload() | {"time": self.done_s})
        self.server.event("PrintFailed", self.payload() | {"time": self.done_s, "reason": "cancelled"})
        self.done = None
        self.go("OPERATIONAL")

    # --- as JSON -------------------------------------------------------------------------------------
    def state_json(self) -> Json:
        return {"text": self.server.text(self.state), "flags": flags(self.state), "error": self.error}

    def job_json(self) -> Json:
        if self.file is None:
            return NO_JOB
        return NO_JOB | {"file": NO_JOB["file"] | self.file, "user": "_api"}

    def progress_json(self) -> Json:
        if self.file is None or self.done is None:
            return NO_PROGRESS
        left = None if not self.active else round((self.total_s - self.done_s) / 1)
        return {
            "completion": self.done,
            "filepos": int((self.file["size"] or 0) * self.done / 100),
            "printTime": int(self.done_s),
            "printTimeLeft": left if self.active else 0,
            "printTimeLeftOrigin": "linear" if self.active else None,
        }
