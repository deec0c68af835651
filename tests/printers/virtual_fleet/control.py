"""Control interface: one JSON object per line over a unix socket, one answer per line.

{"op": "fault", "printer": "<serial, name or index>", "kind": "silence", "on": true}
→ {"ok": true, "result": …}
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

NAME = "control.sock"
LINE_LIMIT = 64 << 20
Handler = Callable[[dict[str, Any]], Awaitable[Any]]


@contextlib.contextmanager
def _short_path(folder: Path) -> Iterator[str]:
    """A path to the socket that fits into sockaddr_un however long the folder's own path is."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{fd}/{NAME}"
    finally:
        os.close(fd)


class Server:
    def __init__(self, folder: Path, handler: Handler) -> None:
        self.folder = folder
        self.handler = handler

    async def start(self) -> None:
        (self.folder / NAME).unlink(missing_ok=True)
        with _short_path(self.folder) as path:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.bind(path)
        self.server = await asyncio.start_unix_server(self._serve, sock=sock, limit=LINE_LIMIT)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            try:
                answer = {"ok": True, "result": await self.handler(json.loads(line))}
            except (KeyError, ValueError, TypeError, AttributeError) as error:
                answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
            writer.write(json.dumps(answer).encode() + b"\n")
            with contextlib.suppress(ConnectionError):
                await writer.drain()
        writer.close()


class Client:
    """Blocking client; every call is one connection, so that it survives a restart of the fleet."""

    def __init__(self, folder: str | Path, timeout_s: float = 30.0) -> None:
        self.folder = Path(folder)
        self.timeout_s = timeout_s

    def call(self, op: str, printer: str | int | None = None, **fields: Any) -> Any:
        request = {"op": op, **fields} | ({} if printer is None else {"printer": str(printer)})
        with _short_path(self.folder) as path, socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(self.timeout_s)
            sock.connect(path)
            sock.sendall(json.dumps(request).encode() + b"\n")
            with sock.makefile("rb") as stream:
                answer = json.loads(stream.readline())
        if not answer["ok"]:
            raise ValueError(answer["error"])
        return answer["result"]
