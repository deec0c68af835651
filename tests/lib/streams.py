"""Viewers of cameras: multipart/x-mixed-replace, read as it comes, on a thread of its own."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Picture:
    at: float  # monotonic
    jpeg: bytes

    @property
    def number(self) -> int:
        """Which one it is, as the virtual camera wrote into it."""
        found = re.search(rb"frame (\d+)", self.jpeg[:64])
        assert found, self.jpeg[:64]
        return int(found[1])


@dataclass
class Viewer:
    """Opens the URL; close() or the server's end stops it."""

    url: str
    cacert: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""  # of a refusal
    pictures: list[Picture] = field(default_factory=list)
    ended_at: float = 0.0
    error: str = ""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        context = ssl.create_default_context(cafile=self.cacert)
        assert parts.hostname
        self.connection = http.client.HTTPSConnection(parts.hostname, parts.port, context=context, timeout=60)
        self.connection.request("GET", f"{parts.path}?{parts.query}")
        self.answer = self.connection.getresponse()
        self.sock = self.connection.sock
        self.status, self.headers = self.answer.status, {k.lower(): v for k, v in self.answer.getheaders()}
        if self.status != 200:
            self.body = self.answer.read()
            return
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _line(self) -> bytes:
        return self.answer.readline(1000)

    def _read(self) -> None:
        try:
            while self._part():
                pass
        except (OSError, ValueError, AssertionError, http.client.HTTPException) as e:
            self.error = repr(e)
        self.ended_at = time.monotonic()

    def _part(self) -> bool:
        first = self._line()
        if not first:
            return False
        assert first == b"--frame\r\n", first
        assert self._line() == b"Content-Type: image/jpeg\r\n"
        size = re.fullmatch(rb"Content-Length: (\d+)\r\n", self._line())
        assert size and self._line() == b"\r\n"
        jpeg = b""
        while len(jpeg) < int(size[1]):
            piece = self.answer.read(int(size[1]) - len(jpeg))
            if not piece:
                return False
            jpeg += piece
        assert jpeg[:2] == b"\xff\xd8" and jpeg[-2:] == b"\xff\xd9"
        self.pictures.append(Picture(time.monotonic(), jpeg))
        return self._line() == b"\r\n"

    def close(self) -> None:
        if self.sock is not None:
            try:
                self.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        if self.status == 200:
            self.thread.join(10)
        self.connection.close()
