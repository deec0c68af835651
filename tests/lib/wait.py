"""Waiting for a condition with a deadline, never for time to pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], timeout_s: float = 10, every_s: float = 0.02, what: str = "") -> T:
    """The condition's first true value; AssertionError with its last value after timeout_s."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what or condition} (last: {value!r})"
        time.sleep(every_s)
