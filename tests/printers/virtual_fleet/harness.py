"""A fleet as a child process, for tests."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from .broker import die_with_parent
from .control import Client

PROGRAM = Path(__file__).resolve().parent.parent / "fleet"
T = TypeVar("T")


def wait_for(
    probe: Callable[[], T], timeout_s: float = 10.0, what: str = "condition", step_s: float = 0.05
) -> T:
    """Asks until the answer is true, and returns it; fails with the last answer at the deadline."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"no {what} within {timeout_s} s; last answer: {answer!r}")
        time.sleep(step_s)


class RunningFleet:
    """Use as a context manager. printers: rows of fleet.json; ctl(op, printer, **fields) as Client.call."""

    def __init__(self, folder: Path, printers: list[dict[str, Any]], *flags: str) -> None:
        self.folder = folder
        self.specs = printers
        self.flags = flags
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RunningFleet:
        self.folder.mkdir(parents=True, exist_ok=True)
        for parent in [self.folder, *self.folder.parents]:
            if (
                parent.owner() == self.folder.owner()
                and parent.stat().st_mode & 0o005 != 0o005
                and os.geteuid() == 0
            ):
                parent.chmod(parent.stat().st_mode | 0o005)  # the broker runs as another user
        config = self.folder / "config.json"
        config.write_text(json.dumps(self.specs))
        self.log = (self.folder / "fleet.log").open("ab")
        command = [str(PROGRAM), "--dir", str(self.folder), "--config", str(config), *self.flags]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, preexec_fn=die_with_parent)
        self.printers = wait_for(self._rows, 60, "fleet.json")
        self.client = Client(self.folder)
        return self

    def _rows(self) -> list[dict[str, Any]] | None:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError("the fleet ended: " + (self.folder / "fleet.log").read_text())
        try:
            return json.loads((self.folder / "fleet.json").read_text())
        except FileNotFoundError:
            return None

    def __exit__(self, *_exc: object) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(15)
        self.log.close()

    @property
    def ca(self) -> Path:
        return self.folder / "ca" / "ca.pem"

    def ctl(self, op: str, printer: str | int | None = None, **fields: Any) -> Any:
        return self.client.call(op, printer, **fields)

    def fault(self, printer: str | int, kind: str, on: bool = True, **params: Any) -> None:
        self.ctl("fault", printer, kind=kind, on=on, params=params)

    def describe(self, printer: str | int) -> dict[str, Any]:
        return self.ctl("state", printer)
