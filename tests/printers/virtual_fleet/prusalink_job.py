"""A print of a virtual PrusaLink, in virtual seconds; and the files on its drive."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .prusalink import PrusaLink

SLICE_S = 0.25
BUSY = ("BUSY", "PRINTING", "PAUSED", "ATTENTION")
EXTENSIONS = (".gcode", ".gco", ".g", ".bgcode", ".bgc")


@dataclasses.dataclass
class File:
    name: str  # 8.3 on Buddy
    display_name: str
    storage: str
    size: int
    sha256: str
    m_timestamp: int = dataclasses.field(default_factory=lambda: int(time.time()))


def short_name(long: str, taken: set[str]) -> str:
    """As FAT has it: eight characters and three, upper case, numbered when something was cut."""
    stem, _, extension = long.rpartition(".")
    clean = re.sub(r"[^A-Z0-9_~\-]", "", stem.upper())
    end = re.sub(r"[^A-Z0-9]", "", extension.upper())[:3]
    if clean == stem.upper() and len(clean) <= 8 and len(extension) <= 3:
        return f"{clean}.{end}"
    for number in range(1, 1000):
        tail = f"~{number}"
        name = f"{clean[: 8 - len(tail)]}{tail}.{end}"
        if name not in taken:
            return name
    raise ValueError("full")


class Job:
    """One print. `state` is what /api/v1/status says of the printer while it lasts."""

    def __init__(self, printer: PrusaLink, number: int, file: File, options: dict[str, Any]) -> None:
        self.printer = printer
        self.id = number
        self.file = file
        self.total_s = float(options.get("seconds", 2400))
        self.printing_s = 0.0
        self.running = asyncio.Event()
        self.running.set()
        self.task = asyncio.get_running_loop().create_task(self._play(float(options.get("busy_s", 20))))

    @property
    def progress(self) -> float:
        return min(100.0, round(100.0 * self.printing_s / self.total_s, 1))

    async def _play(self, busy_s: float) -> None:
        self.printer.state = "BUSY"
        self.printer.heat(215.0, 60.0)
        await self._pass(busy_s, 0)
        self.printer.state = "PRINTING"
        await self._pass(self.total_s, 1)
        self._end("FINISHED")

    async def _pass(self, seconds: float, counts: int) -> None:
        left = seconds
        while left > 0:
            real = min(SLICE_S, left / self.printer.clock.scale)
            await asyncio.sleep(real)
            await self.running.wait()
            left -= real * self.printer.clock.scale
            self.printing_s = min(
                self.total_s, self.printing_s + counts * real * self.printer.clock.scale
            )

    def _end(self, state: str) -> None:
        self.printer.heat(0.0, 0.0)
        self.printer.ended(state)

    def pause(self, state: str = "PAUSED") -> bool:
        if self.printer.state != "PRINTING":
            return False
        self.running.clear()
        self.printer.state = state
        return True

    def resume(self) -> bool:
        if self.printer.state not in ("PAUSED", "ATTENTION"):
            return False
        self.printer.state = "PRINTING"
        self.printer.problem = None
        self.running.set()
        return True

    def stop(self, state: str = "STOPPED") -> bool:
        if self.printer.state not in BUSY:
            return False
        self.task.cancel()
        self._end(state)
        return True
