"""Cameras that send video: RTSPS with digest authentication (RFC 2326, 2617), H.264 in RTP interleaved with the
answers (RFC 2326 10.12, RFC 6184). One client at a time is served like any number."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import re
import shutil
import ssl
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATH = "/streaming/live/1"
REALM, NONCE = "printer", "5f1e5f1e5f1e"
MTU = 1200


def available() -> bool:
    return shutil.which("ffmpeg") is not None


def video() -> list[list[bytes]]:
    """Some seconds of a test picture: NAL units by picture."""
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=320x180:rate=10", "-t", "2", "-c:v",
               "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", "5", "-bsf:v",
               "h264_metadata=aud=insert,dump_extra", "-f", "h264", "-"]  # fmt: skip
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    units = [u for u in re.split(rb"\x00\x00\x00?\x01", raw) if u]
    pictures: list[list[bytes]] = []
    for unit in units:
        if unit[0] & 31 == 9:  # an access unit's delimiter
            pictures.append([])
        elif pictures:
            pictures[-1].append(unit)
    return pictures


def parameter_sets(pictures: list[list[bytes]]) -> str:
    found = [u for p in pictures for u in p if u[0] & 31 in (7, 8)][:2]
    return ",".join(base64.b64encode(u).decode() for u in found)


def packets(unit: bytes) -> list[bytes]:
    """Payloads of a NAL unit: itself, or FU-A fragments."""
    if len(unit) <= MTU:
        return [unit]
    indicator, kind, body = unit[0] & 0xE0 | 28, unit[0] & 31, unit[1:]
    pieces = [body[i : i + MTU] for i in range(0, len(body), MTU)]
    flags = [(0x80 if i == 0 else 0) | (0x40 if i == len(pieces) - 1 else 0) for i in range(len(pieces))]
    return [bytes([indicator, f | kind]) + p for f, p in zip(flags, pieces, strict=True)]


@dataclass
class Video:
    port: int
    certificate: Path
    key: Path
    code: Callable[[], str]
    printer: Callable[[], Any]
    connections: int = 0
    accepted: int = 0
    refused: int = 0
    sent: int = 0

    async def start(self) -> None:
        self.pictures = await asyncio.to_thread(video)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        self.context = context
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=context)

    def show(self, certificate: Path) -> None:
        self.context.load_cert_chain(certificate, self.key)

    def describe(self) -> dict[str, int]:
        return {n: getattr(self, n) for n in ("port", "connections", "accepted", "refused", "sent")}

    def _knows(self, method: str, header: str) -> bool:
        said = dict(re.findall(r'(\w+)="([^"]*)"', header))
        printer = self.printer()
        code = "changed!" if printer is not None and "camera_code" in printer.faults else self.code()
        inner = hashlib.md5(f"bblp:{REALM}:{code}".encode()).hexdigest()
        outer = hashlib.md5(f"{method}:{said.get('uri', '')}".encode()).hexdigest()
        return said.get("response") == hashlib.md5(f"{inner}:{NONCE}:{outer}".encode()).hexdigest()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.accepted += 1
        playing: asyncio.Task[None] | None = None
        try:
            while True:
                request = (await reader.readuntil(b"\r\n\r\n")).decode()
                if request.startswith("$"):
                    continue
                method, _, _ = request.split(" ", 2)
                headers = dict(re.findall(r"(?m)^([\w-]+): ?(.*?)\r?$", request))
                self._answer(writer, method, headers)
                await writer.drain()
                if method == "PLAY":
                    playing = asyncio.ensure_future(self._play(writer))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            if playing:
                playing.cancel()
            self.connections -= 1
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()

    def _answer(self, writer: asyncio.StreamWriter, method: str, headers: dict[str, str]) -> None:
        lines, body, status = [f"CSeq: {headers.get('CSeq', '0')}"], "", "200 OK"
        if method != "OPTIONS" and not self._knows(method, headers.get("Authorization", "")):
            self.refused += "Authorization" in headers
            status = "401 Unauthorized"
            lines.append(f'WWW-Authenticate: Digest realm="{REALM}", nonce="{NONCE}"')
        elif method == "DESCRIBE":
            body = (
                "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=live\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
                f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={parameter_sets(self.pictures)}\r\n"
                "a=control:track1\r\n"
            )
            lines += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        elif method == "SETUP":
            lines += ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 1"]
        else:
            lines += ["Session: 1", "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"]
        writer.write("\r\n".join([f"RTSP/1.0 {status}", *lines, "", body]).encode())

    async def _play(self, writer: asyncio.StreamWriter) -> None:
        sequence = 0
        while True:
            for picture in self.pictures:
                stamp = (self.sent * 9000) & 0xFFFFFFFF
                payloads = [p for unit in picture for p in packets(unit)]
                for i, payload in enumerate(payloads):
                    marker = 0x80 if i == len(payloads) - 1 else 0
                    rtp = struct.pack(">BBHII", 0x80, marker | 96, sequence & 0xFFFF, stamp, 1) + payload
                    writer.write(struct.pack(">BBH", 0x24, 0, len(rtp)) + rtp)
                    sequence += 1
                self.sent += 1
                await writer.drain()
                await asyncio.sleep(0.1)
