"""What the user sees: one line per step with its time, and errors in words."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class StackError(Exception):
    """Something the user can mend; the message says how."""


class Progress:
    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet

    def say(self, text: str = "") -> None:
        if not self.quiet:
            print(text, flush=True)

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Prints `  name ..... note  1.2 s`; the body may put a note into the list it is given."""
        notes: list[str] = []
        start = time.monotonic()
        if not self.quiet:
            print(f"  {name + ' ':.<16} ", end="", flush=True)
        try:
            yield notes
        except BaseException:
            self.say("failed")
            raise
        self.say(f"{', '.join(notes) or 'ok':<44} {time.monotonic() - start:5.1f} s")


def wait_for(what: str, probe: Callable[[], bool], seconds: float = 60, log: Path | None = None) -> None:
    """Returns when probe() is true; after the deadline it raises with the tail of the log."""
    deadline = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > deadline:
            raise StackError(f"{what} did not come up within {seconds:.0f} s{tail(log)}")
        time.sleep(0.05)


def tail(log: Path | None, lines: int = 15) -> str:
    if log is None or not log.exists():
        return ""
    text = log.read_text(errors="replace").splitlines()[-lines:]
    return f"\nThe end of {log}:\n  " + "\n  ".join(text)


def complain(text: str) -> None:
    print(f"stack: {text}", file=sys.stderr)
