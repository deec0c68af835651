"""The printers' cameras: TLS on a port of their own, a login of 80 bytes, then frames of a header and a JPEG.

Faults, set like any other of the printer's:
camera_silent     logs in, sends nothing
camera_endless    a frame of the announced size that never ends: `bytes` of it are sent
camera_length     announces `bytes`
camera_no_jpeg    frames that are no pictures
camera_slow       one byte at a time
camera_drop       ends the connection after each frame
camera_code       another access code than the printer's own holds
camera_size       pictures of `bytes`
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .printer import Printer

FAULTS = (
    "camera_silent",
    "camera_endless",
    "camera_length",
    "camera_no_jpeg",
    "camera_slow",
    "camera_drop",
    "camera_code",
    "camera_size",
)
MODELS = ("A1", "A1 mini", "A2L", "P1P", "P1S")
PICTURE = (Path(__file__).parent / "picture.jpg").read_bytes()
LOGIN = struct.pack("<4I32s", 0x40, 0x3000, 0, 0, b"bblp")


def picture(number: int, size: int = 0) -> bytes:
    """A JPEG that says in a comment which one it is; padded with comments to at least `size` bytes."""
    comment = f"frame {number}".encode()
    out = PICTURE[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment
    while len(out) + len(PICTURE) < size:
        out += b"\xff\xfe" + struct.pack(">H", 60002) + b"x" * 60000
    return out + PICTURE[2:]


def frame(jpeg: bytes, size: int | None = None) -> bytes:
    return struct.pack("<4I", len(jpeg) if size is None else size, 0, 1, 0) + jpeg


@dataclass
class Camera:
    """One printer's. connections: at the moment; accepted: ever; refused: logins with another code."""

    port: int
    certificate: Path
    key: Path
    code: Callable[[], str]
    printer: Callable[[], Printer | None]
    fps: float = 5.0
    connections: int = 0
    accepted: int = 0
    refused: int = 0
    sent: int = 0
    tasks: set[Any] = field(default_factory=set)

    async def start(self) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = self.context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.show(self.certificate)
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.context)

    def show(self, certificate: Path) -> None:
        """To whoever connects from now on."""
        self.context.load_cert_chain(certificate, self.key)

    def describe(self) -> dict[str, Any]:
        return {n: getattr(self, n) for n in ("port", "connections", "accepted", "refused", "sent")}

    def _faults(self) -> dict[str, Any]:
        printer = self.printer()
        return printer.faults if printer is not None else {}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.accepted += 1
        gone = asyncio.ensure_future(self._watch(reader, writer))
        try:
            await gone
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.connections -= 1
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()

    async def _watch(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        login = await reader.readexactly(80)
        code = "changed!" if "camera_code" in self._faults() else self.code()
        if login != LOGIN + code.encode().ljust(32, b"\0"):
            self.refused += 1
            return
        stream = asyncio.ensure_future(self._stream(writer))
        end = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait([stream, end], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stream.cancel()
            end.cancel()

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        while True:
            faults = self._faults()
            if "camera_silent" in faults:
                await asyncio.sleep(3600)
            await self._send(writer, faults)
            self.sent += 1
            await writer.drain()
            if "camera_drop" in faults:
                return
            await asyncio.sleep(1 / self.fps)

    async def _send(self, writer: asyncio.StreamWriter, faults: dict[str, Any]) -> None:
        jpeg = picture(self.sent, int(faults.get("camera_size", {}).get("bytes", 0)))
        if "camera_length" in faults:
            writer.write(frame(jpeg, int(faults["camera_length"]["bytes"])))
        elif "camera_endless" in faults:
            writer.write(frame(jpeg[:1000], int(faults["camera_endless"].get("bytes", 1 << 21))))
            await asyncio.sleep(3600)
        elif "camera_no_jpeg" in faults:
            writer.write(frame(b"<html>" * 100))
        elif "camera_slow" in faults:
            for byte in frame(jpeg):
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.05)
        else:
            writer.write(frame(jpeg))
