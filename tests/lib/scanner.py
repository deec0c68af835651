"""Runs the real soloprint-scan over a file, as lib/media/scan.c does, and measures it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BUILD = Path(os.environ.get("SOLOPRINT_BUILD", Path(__file__).resolve().parents[2] / "build"))
SANITIZED = "san" in BUILD.name or "fuzz" in BUILD.name
FD_IN, FD_ANSWER, FD_OUT = 3, 4, 5
DEADLINE_S = 10.0
MEMORY_MIB = 256


@dataclass
class Scanned:
    answer: dict[str, Any]
    out: bytes
    status: int
    seconds: float  # of processor time: others may be at work
    rss_mib: float

    @property
    def code(self) -> str | None:
        return self.answer["reason_code"]

    @property
    def meta(self) -> dict[str, Any]:
        return self.answer["metadata"] or {}

    @property
    def keys(self) -> list[str]:
        return self.answer["keys"]

    def is_within_limits(self) -> bool:
        factor = 8 if SANITIZED else 1
        return self.seconds < DEADLINE_S * factor and (SANITIZED or self.rss_mib < MEMORY_MIB)


def _child(fds: tuple[int, int, int], argv: list[str]) -> None:
    high = [os.dup2(fd, 40 + i) for i, fd in enumerate(fds)]
    for i, fd in enumerate(high):
        os.dup2(fd, FD_IN + i, inheritable=True)
    os.closerange(6, 256)
    os.execv(argv[0], argv)


def _high_water_kib(pid: int) -> int:
    """Of the program alone: what wait4 tells includes what this process was when it forked."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text()
        if "soloprint-scan" in status and (m := re.search(r"VmHWM:\s+(\d+)", status)):
            return int(m[1])
    return 0


def _answer(reader: int, pid: int) -> tuple[bytes, int]:
    text, most = b"", 0
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        while True:
            ready, _, _ = select.select([pipe], [], [], 0.01)
            most = max(most, _high_water_kib(pid))
            if ready:
                piece = pipe.read(65536)
                if not piece:
                    return text, most
                text += piece


def _run(mode: str, hint: str, path: Path) -> Scanned:
    argv = [str(BUILD / "bin" / "soloprint-scan"), mode, hint]
    with path.open("rb") as source, tempfile.TemporaryFile() as out:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                _child((source.fileno(), writer, out.fileno()), argv)
            finally:
                os._exit(127)
        os.close(writer)
        text, rss_kib = _answer(reader, pid)
        _, status, usage = os.wait4(pid, 0)
        seconds = usage.ru_utime + usage.ru_stime
        out.seek(0)
        return Scanned(json.loads(text) if text else {}, out.read(), status, seconds, rss_kib / 1024)


def scan(path: Path, filename: str | None = None) -> Scanned:
    """The file's kind, metadata, keys and pictures; its filename is only a hint."""
    return _run("file", filename if filename is not None else path.name, path)


def scan_form(path: Path, content_type: str) -> Scanned:
    """The multipart/form-data body in the file; .out is its part `file`."""
    return _run("form", content_type, path)
