"""Viewers of cameras: multipart/x-mixed-replace, read as it comes, on a thread of its own. Listeners to events."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from wait import until
from websockets.sync.client import connect as websocket_connect
from websockets.typing import Subprotocol


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


# --- events ---------------------------------------------------------------------------------------


@dataclass
class Message:
    at: float  # monotonic
    body: dict[str, Any]
    id: str = ""  # the stream's own

    @property
    def type(self) -> str:
        return str(self.body["type"])

    @property
    def data(self) -> dict[str, Any]:
        return dict(self.body["data"])


class Listener:
    """What both kinds of streams have in common. Messages come in on a thread of their own."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.pings: list[float] = []
        self.ended_at = 0.0
        self.error = ""

    def start(self) -> None:
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.read()
        except Exception as e:  # noqa: BLE001 – how it ended is for the test to judge
            self.error = repr(e)
        self.ended_at = time.monotonic()

    def read(self) -> None:
        raise NotImplementedError

    @property
    def snapshot(self) -> Message:
        until(lambda: self.messages, 5, what=f"the snapshot ({self.error})")
        assert self.messages[0].type == "stream.snapshot"
        return self.messages[0]

    @property
    def events(self) -> list[Message]:
        """Those that are kept, each once, also those of the snapshot, by their sequence."""
        found: dict[str, Message] = {}
        for m in list(self.messages):
            missed = [Message(m.at, body) for body in m.data["missed"]] if m.type == "stream.snapshot" else [m]
            found |= {str(x.body["id"]): x for x in missed if "sequence" in x.body}
        return sorted(found.values(), key=lambda x: int(x.body["sequence"]))

    @property
    def types(self) -> list[str]:
        return [m.type for m in self.events]

    def wait(self, type_: str, timeout_s: float = 5, **data: Any) -> Message:
        def found() -> Message | None:
            fits = (m for m in self.events if m.type == type_ and data.items() <= m.data.items())
            return next(fits, None)

        got = until(found, timeout_s, what=f"{type_} {data} among {self.types} ({self.error})")
        assert got
        return got

    def wait_ended(self, timeout_s: float) -> None:
        until(lambda: self.ended_at, timeout_s, what="the end of the stream")


class EventStream(Listener):
    """Server-Sent Events, read by the rules of the HTML standard (9.2.6)."""

    def __init__(self, url: str, cacert: str, key: str = "", **headers: str) -> None:
        super().__init__()
        parts = urlsplit(url)
        assert parts.hostname
        self.connection = http.client.HTTPSConnection(
            parts.hostname, parts.port, context=ssl.create_default_context(cafile=cacert), timeout=60
        )
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key:
            sent["Authorization"] = f"Bearer {key}"
        self.connection.request("GET", f"{parts.path}?{parts.query}" if parts.query else parts.path, headers=sent)
        self.answer, self.sock = self.connection.getresponse(), self.connection.sock
        self.status, self.headers = self.answer.status, {k.lower(): v for k, v in self.answer.getheaders()}
        self.last_id, self.body = "", b""
        if self.status != 200:
            self.body = self.answer.read()
            return
        self.start()

    def read(self) -> None:
        name, data, ident = "", [], ""
        while raw := self.answer.readline():
            line = raw.decode().rstrip("\r\n")
            field_, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                if name == "ping":
                    self.pings.append(time.monotonic())
                elif data:
                    self.last_id = ident or self.last_id
                    self.messages.append(Message(time.monotonic(), json.loads("\n".join(data)), self.last_id))
                name, data, ident = "", [], ""
            elif field_ == "event":
                name = value
            elif field_ == "data":
                data.append(value)
            elif field_ == "id":
                ident = value

    def close(self) -> None:
        if self.sock is not None:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)
        if self.status == 200:
            self.thread.join(10)
        self.connection.close()


class EventSocket(Listener):
    """The same by a WebSocket."""

    def __init__(self, url: str, cacert: str, key: str = "", subprotocol: str = "") -> None:
        super().__init__()
        self.meta = subprotocol
        self.opened = websocket_connect(
            "wss" + url.removeprefix("https"), ssl=ssl.create_default_context(cafile=cacert), compression=None,
            subprotocols=[Subprotocol(subprotocol)] if subprotocol else None, max_size=16 << 20,
            additional_headers={"Authorization": f"Bearer {key}"} if key else None, ping_interval=None,
        )  # fmt: skip
        self.ws = self.opened.__enter__()
        self.start()

    def read(self) -> None:
        for raw in self.ws:
            ident, text = "", raw if isinstance(raw, str) else raw.decode()
            if self.meta:
                head, _, text = text.partition("\n\n")
                ident = head.split("\n")[0].removeprefix("id: ")
            self.messages.append(Message(time.monotonic(), json.loads(text), ident))

    def close(self) -> None:
        self.ws.close()
        self.thread.join(10)


class Follower:
    """Does what EventSource does: when the stream ends, opens it again with Last-Event-ID."""

    def __init__(self, url: str, cacert: str, key: str) -> None:
        self.url, self.cacert, self.key = url, cacert, key
        self.ended: list[EventStream] = []
        self.now: EventStream | None = None
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        until(lambda: self.now, 10, what="the first stream")

    def _run(self) -> None:
        last_id = ""
        while not self.stop.is_set():
            try:
                stream = EventStream(self.url, self.cacert, self.key, **({"Last_Event_ID": last_id} if last_id else {}))
            except (OSError, http.client.HTTPException):
                self.stop.wait(0.1)
                continue
            if stream.status != 200:
                self.stop.wait(0.1)
                continue
            self.now = stream
            stream.thread.join()
            self.ended.append(stream)
            last_id = stream.last_id or last_id

    @property
    def messages(self) -> list[Message]:
        streams = [*self.ended, *([self.now] if self.now and self.now not in self.ended else [])]
        return [m for stream in streams for m in list(stream.messages)]

    @property
    def events(self) -> list[Message]:
        whole = Listener()
        whole.messages = self.messages
        return whole.events

    def close(self) -> None:
        self.stop.set()
        if self.now:
            self.now.close()
        self.thread.join(10)


def nginx_channel(run: str | Path, whose: str, channels: str, body: bytes | None = None, method: str = "POST") -> httpx.Response:
    """What publishers do, at the socket of the one who may: events, publish or snapshots."""
    with httpx.Client(transport=httpx.HTTPTransport(uds=f"{run}/{whose}/pub.sock"), timeout=5) as client:
        return client.request(method, f"http://nginx/{channels}", content=body, headers={"Accept": "application/json"})
