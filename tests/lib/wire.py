"""One HTTP/1.1 request over TLS, byte by byte: for tests of what happens before a body has been sent."""

from __future__ import annotations

import json
import socket
import ssl
from typing import Any
from urllib.parse import urlsplit

from stack import Stack


class Wire:
    def __init__(self, stack: Stack, timeout_s: float = 10) -> None:
        parts = urlsplit(stack.url)
        context = ssl.create_default_context(cafile=stack.cacert)
        context.set_alpn_protocols(["http/1.1"])
        plain = socket.create_connection((str(parts.hostname), parts.port), timeout=timeout_s)
        self.host = f"{parts.hostname}:{parts.port}"
        self.tls = context.wrap_socket(plain, server_hostname=parts.hostname)

    def send_head(self, method: str, target: str, **headers: str) -> None:
        """Header names have _ for -."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self.host}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.tls.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())

    def send(self, data: bytes) -> None:
        self.tls.sendall(data)

    def status_line(self) -> str:
        return self.read_head()[0]

    def read_head(self) -> list[str]:
        """The next answer's status line and headers, an interim one included."""
        got = b""
        while not got.endswith(b"\r\n\r\n"):
            piece = self.tls.recv(1)
            assert piece, f"the connection ended after {got!r}"
            got += piece
        return got.decode().split("\r\n")[:-2]

    def answer(self) -> tuple[int, Any]:
        """The next final answer, its JSON parsed."""
        lines = self.read_head()
        while lines[0].startswith("HTTP/1.1 100"):
            lines = self.read_head()
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        body = b""
        if "content-length" in headers:
            while len(body) < int(headers["content-length"]):
                body += self.tls.recv(65536)
        else:
            while size := int(self.line(), 16):
                chunk = b""
                while len(chunk) < size + 2:
                    chunk += self.tls.recv(size + 2 - len(chunk))
                body += chunk[:-2]
        return int(lines[0].split()[1]), json.loads(body) if body else None

    def line(self) -> bytes:
        got = b""
        while not got.endswith(b"\r\n"):
            got += self.tls.recv(1)
        return got

    def close(self) -> None:
        self.tls.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
