"""A printer's broker at its worst: it takes messages of QoS 1 and never says so. Just enough MQTT 3.1.1 for one driver."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

from virtual_fleet.models import MODELS, first_report

CONNECT, PUBLISH, SUBSCRIBE, PINGREQ = 1, 3, 8, 12


def packet(kind: int, flags: int, body: bytes) -> bytes:
    length, out = len(body), bytearray([kind << 4 | flags])
    while True:
        out.append(length % 128 | (128 if length > 127 else 0))
        length //= 128
        if not length:
            return bytes(out) + body


def text(raw: bytes) -> tuple[str, bytes]:
    n = int.from_bytes(raw[:2], "big")
    return raw[2 : 2 + n].decode(), raw[2 + n :]


class MuteBroker:
    """Use as a context manager. clients: their ids; requests: (QoS, message)."""

    def __init__(self, model: str, serial: str, certificate: Path, key: Path) -> None:
        self.serial = serial
        self.report = {"print": first_report(MODELS[model]) | {"command": "push_status", "msg": 0}}
        self.clients: list[str] = []
        self.requests: list[tuple[int, dict[str, Any]]] = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.context.load_cert_chain(certificate, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]

    def __enter__(self) -> MuteBroker:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.listener.close()

    def of(self, command: str) -> list[tuple[int, dict[str, Any]]]:
        return [(qos, body) for qos, body in self.requests if body.get("command") == command]

    def _accept(self) -> None:
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        try:
            with self.context.wrap_socket(raw, server_side=True) as sock, sock.makefile("rb") as stream:
                while head := stream.read(1):
                    length = shift = 0
                    while (byte := stream.read(1)[0]) & 128:
                        length, shift = length | (byte & 127) << shift, shift + 7
                    body = stream.read(length | byte << shift)
                    self._take(sock, head[0], body)
        except (OSError, IndexError):
            return

    def _take(self, sock: ssl.SSLSocket, head: int, body: bytes) -> None:
        if head >> 4 == CONNECT:
            self.clients.append(text(body[10:])[0])
            sock.sendall(packet(2, 0, b"\0\0"))
        elif head >> 4 == SUBSCRIBE:
            sock.sendall(packet(9, 0, body[:2] + b"\0"))
        elif head >> 4 == PINGREQ:
            sock.sendall(packet(13, 0, b""))
        elif head >> 4 == PUBLISH:
            qos = head >> 1 & 3
            payload = text(body)[1][2 if qos else 0 :]
            message = json.loads(payload)
            self.requests += [(qos, section) for section in message.values()]
            if message.get("pushing", {}).get("command") == "pushall":
                self._say(sock, self.report)
            for section in message.values():
                if qos and section["command"] == "pause":
                    self._say(sock, {"print": section | {"result": "success"}})

    def _say(self, sock: ssl.SSLSocket, message: dict[str, Any]) -> None:
        topic = f"device/{self.serial}/report".encode()
        sock.sendall(packet(PUBLISH, 0, len(topic).to_bytes(2, "big") + topic + json.dumps(message).encode()))
