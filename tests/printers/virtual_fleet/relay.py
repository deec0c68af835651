"""TCP relay in front of a printer's TLS listener: the place where network faults are made."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from typing import Any

FAULTS = ("drop", "flap", "unreachable", "slow", "blackhole", "wrong_cert")
FLAP_HALF_PERIOD_S = 0.5
CHUNK = 65536


class Relay:
    """Relays port → target bytewise, so TLS ends in the broker. Several faults can be on at a time."""

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.target = target
        self.impostor: int | None = None  # another printer's listener, for wrong_cert
        self.accepted = 0
        self.times: deque[float] = deque(maxlen=64)  # monotonic seconds, of the latest connections
        self.faults: dict[str, dict[str, Any]] = {}
        self.powered = False
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._flapper: asyncio.Task[None] | None = None

    @property
    def sessions(self) -> int:
        return len(self._links)

    async def power(self, on: bool) -> None:
        """Off: nothing listens, whatever the faults say."""
        self.powered = on
        await (self.open() if on else self.close())

    async def open(self) -> None:
        if self._server is None and self.powered and "unreachable" not in self.faults:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=128)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self.drop()

    def drop(self) -> None:
        """Closes every connection as a power cut does: without a goodbye of the protocol."""
        for link in list(self._links):
            link.cancel()

    async def set_fault(self, kind: str, on: bool, params: dict[str, Any]) -> None:
        if kind == "drop":
            self.drop()
            return
        self.faults.pop(kind, None)
        if on:
            self.faults[kind] = params
        if kind == "unreachable":
            await (self.close() if on else self.open())
        elif kind == "flap":
            self._flap(on)
            await self.open()
        elif kind in ("wrong_cert", "blackhole"):
            self.drop()

    def _flap(self, on: bool) -> None:
        if self._flapper is not None:
            self._flapper.cancel()
            self._flapper = None
        if on:
            self._flapper = asyncio.get_running_loop().create_task(self._flap_loop())

    async def _flap_loop(self) -> None:
        while True:
            await self.close()
            await asyncio.sleep(FLAP_HALF_PERIOD_S)
            await self.open()
            await asyncio.sleep(FLAP_HALF_PERIOD_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        self.accepted += 1
        self.times.append(time.monotonic())
        try:
            await self._link(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._links.discard(task)
            writer.close()

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = self.impostor if "wrong_cert" in self.faults and self.impostor else self.target
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        pumps = [
            asyncio.ensure_future(self._pump(reader, inner_writer)),
            asyncio.ensure_future(self._pump(inner_reader, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            inner_writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK):
                while "blackhole" in self.faults:
                    await asyncio.sleep(0.1)
                if "slow" in self.faults:
                    await asyncio.sleep(float(self.faults["slow"].get("delay_s", 0.5)))
                writer.write(chunk)
                await writer.drain()
