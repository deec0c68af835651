"""nginx with the project's configuration in front of a FastCGI responder that says what it was told: no database needed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stack import BUILD, ROOT, free_port
from wait import until

sys.path.insert(0, str(ROOT / "deploy/local"))
from soloprint_stack import tls as certificates  # noqa: E402

BEGIN, PARAMS, STDIN, STDOUT, END = 1, 4, 5, 6, 3


def record(kind: int, request: int, data: bytes) -> bytes:
    return struct.pack("!BBHHBx", 1, kind, request, len(data), 0) + data


def pairs(data: bytes) -> list[tuple[str, str]]:
    """FastCGI name-value pairs; doubled names stay doubled."""
    out, at = [], 0
    while at < len(data):
        sizes = []
        for _ in range(2):
            size = data[at]
            at += 1
            if size > 127:
                size = int.from_bytes(data[at - 1 : at + 3], "big") & 0x7FFFFFFF
                at += 3
            sizes.append(size)
        name, value = data[at : at + sizes[0]], data[at + sizes[0] : at + sum(sizes)]
        out.append((name.decode("latin-1"), value.decode("latin-1")))
        at += sum(sizes)
    return out


class Responder:
    """Answers with its parameters and the body's length as JSON. The query string can ask for misbehaviour."""

    def __init__(self, path: Path) -> None:
        self.requests: list[list[tuple[str, str]]] = []
        self.headers: dict[str, str] = {}
        self.release = threading.Event()
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        path.chmod(0o666)
        self.socket.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    @staticmethod
    def _read(stream: Any) -> tuple[int, list[tuple[str, str]], bytes]:
        params, body, request = b"", b"", 0
        while True:
            _, kind, request, size, padding = struct.unpack("!BBHHBx", stream.read(8))
            data = stream.read(size)
            stream.read(padding)
            if kind == PARAMS:
                params += data
            elif kind == STDIN and not data:
                return request, pairs(params), body
            elif kind == STDIN:
                body += data

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            try:
                request, params, body = self._read(stream)
            except struct.error:
                return
            self.requests.append(params)
            query = dict(params).get("QUERY_STRING")
            if query == "die":
                return
            if query == "hang":
                self.release.wait(30)
            headers = {"Status": "200 OK", "Content-Type": "application/json"} | self.headers
            text = json.dumps({"params": params, "body": body.decode("latin-1")}).encode()
            head = "".join(f"{n}: {v}\r\n" for n, v in headers.items()).encode() + b"\r\n"
            out = record(STDOUT, request, head + text) + record(STDOUT, request, b"") + record(END, request, bytes(8))
            with contextlib.suppress(BrokenPipeError):
                connection.sendall(out)

    def close(self) -> None:
        self.release.set()
        self.socket.close()


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [v for n, v in self.headers if n.lower() == name.lower()]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def params(self) -> list[tuple[str, str]]:
        return [tuple(p) for p in self.json["params"]]


def parse(data: bytes) -> Answer:
    """The first answer of a connection; status 0 when there was none."""
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    status = int(lines[0].split()[1]) if len(lines[0].split()) > 1 else 0
    pairs_ = [line.partition(": ")[::2] for line in lines[1:]]
    headers = [(n, v) for n, v in pairs_]
    if ("transfer-encoding", "chunked") in [(n.lower(), v) for n, v in headers]:
        body = dechunk(body)
    return Answer(status, headers, body)


def dechunk(data: bytes) -> bytes:
    out = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        count = int(size, 16)
        if count == 0:
            break
        out, data = out + rest[:count], rest[count + 2 :]
    return out


@dataclass
class Nginx:
    options: tuple[str, ...] = ()
    realtime: bool = False  # the nginx behind it as well, which holds viewers and subscribers
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="slp-ngx-", dir="/tmp")))
    port: int = field(default_factory=free_port)

    def __enter__(self) -> Nginx:
        self.folder.chmod(0o755)
        for name in ("api", "publish", "events", "snapshots", "nginx"):
            (self.folder / "run" / name).mkdir(parents=True)
        for name in ("var/tmp", "docs/reference", "tls", "storage/tmp", "storage/staging"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "docs/reference/index.html").write_text("<!DOCTYPE html><title>API</title>")
        certificates.ensure(self.folder / "tls")
        self.responder = Responder(self.folder / "run/api/api.sock")
        self._render()
        self._start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.responder.close()
        for process in self.processes:
            process.terminate()
            process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _render(self) -> None:
        at = self.folder
        user = ["--user", "www-data www-data"] if os.geteuid() == 0 else []
        limits = ["--rate", "0", "--conns", "0"] if "--rate" not in self.options else []
        subprocess.run(
            [str(ROOT / "nginx/render"), "--out", str(at / "conf"), "--run", str(at / "run"), "--var", str(at / "var"),
             "--routes", str(BUILD / "gen/nginx-routes.conf"), "--docs", str(at / "docs"), "--workers", "1",
             "--storage", str(at / "storage"),
             "--tls-cert", str(at / "tls/server.crt"), "--tls-key", str(at / "tls/server.key"),
             "--listen", f"127.0.0.1:{self.port}", *user, *limits, *self.options],
            check=True,
        )  # fmt: skip

    def _start(self) -> None:
        self.process = self._run("nginx.conf", "access.log", "error.log")
        self.processes = [self.process]
        until(self._listens, 10, what="nginx")
        if self.realtime:
            self.processes.append(self._run("realtime.conf", "realtime.log", "realtime.log"))
            until((self.folder / "run/nginx/sub.sock").exists, 10, what="the nginx of subscribers")

    def _run(self, conf: str, out: str, errors: str) -> subprocess.Popen[bytes]:
        command = ["nginx", "-e", "stderr", "-p", str(self.folder), "-c", str(self.folder / "conf" / conf)]
        environment = {"PATH": os.environ["PATH"] + ":/usr/sbin"}
        with open(self.folder / out, "wb") as to, open(self.folder / errors, "ab") as err:
            return subprocess.Popen([*command, "-g", "daemon off;"], stdout=to, stderr=err, env=environment)

    def _listens(self) -> bool:
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def access_log(self) -> str:
        return (self.folder / "access.log").read_text()

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.folder / "tls/ca.crt"))

    def connect(self, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        return (context or self.context()).wrap_socket(plain, server_hostname="localhost")

    def send(self, text: str | bytes) -> bytes:
        """Everything that comes back until nginx closes."""
        data = b""
        with self.connect() as s:
            s.sendall(text.encode("latin-1") if isinstance(text, str) else text)
            try:
                while chunk := s.recv(65536):
                    data += chunk
            except (ConnectionResetError, ssl.SSLEOFError):
                pass
        return data

    def ask(self, target: str, *headers: str, method: str = "GET", body: str = "") -> Answer:
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return parse(self.send("\r\n".join(lines) + "\r\n\r\n" + body))
