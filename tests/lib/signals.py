"""Signals to exactly one process."""

from __future__ import annotations

import os
import signal


def signal_one(pid: int, number: signal.Signals) -> None:
    """Through a pidfd: unlike kill(2), where 0 and -1 mean whole groups of processes, it refuses any such number.
    A process that has ended meanwhile is ProcessLookupError."""
    fd = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(fd, number)
    finally:
        os.close(fd)
