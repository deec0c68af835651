"""The inside of internet.py: makes the namespace the world, then is its DNS and web servers."""

from __future__ import annotations

import gzip
import json
import os
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

FOLDER = Path(sys.argv[1])
# As in internet.py.
WEB = ("93.184.216.34", "93.184.216.35", "2606:2800:220:1:248:1893:25c8:1946")
TLS_PORTS, PORTS = (443, 8443), (80, 443, 8443, 22, 25, 3306, 5432, 6379, 8080, 9200, 11211)
LOCK = threading.Lock()


def note(what: str, **fields: Any) -> None:
    with LOCK, (FOLDER / "log").open("a") as f:
        f.write(json.dumps({"what": what, **fields}) + "\n")


def prepare() -> None:
    resolv = FOLDER / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\noptions attempts:2 timeout:2\n")
    for command in (
        ["mount", "--make-rprivate", "/"],
        ["mount", "--bind", str(resolv), os.path.realpath("/etc/resolv.conf")],
        ["ip", "link", "set", "lo", "up"],
        ["ip", "route", "add", "local", "0.0.0.0/0", "dev", "lo"],
        ["ip", "-6", "route", "add", "local", "::/0", "dev", "lo"],
    ):
        subprocess.run(command, check=True)


# --- names ------------------------------------------------------------------------------------------------------------


def answers_of(name: str) -> list[str] | None:
    """Addresses, or one other name. a-1-2-3-4.dns.test is 1.2.3.4, c3.a-1-2-3-4.dns.test leads there by three CNAMEs,
    x-<32 hexadecimal digits>.dns.test is an IPv6 address; others are as internet.set() says."""
    zone = FOLDER / "zone" / name
    if zone.exists():
        with LOCK:
            known = json.loads(zone.read_text())
            zone.write_text(json.dumps({**known, "asked": known["asked"] + 1}))
        return list(known["answers"][min(known["asked"], len(known["answers"]) - 1)])
    if m := re.fullmatch(r"c(\d)\.(.+\.dns\.test)", name):
        return [m[2] if m[1] == "1" else f"c{int(m[1]) - 1}.{m[2]}"]
    if m := re.fullmatch(r"a-(\d+)-(\d+)-(\d+)-(\d+)\.dns\.test", name):
        return [".".join(m.groups())]
    if m := re.fullmatch(r"x-([0-9a-f]{32})\.dns\.test", name):
        return [socket.inet_ntop(socket.AF_INET6, bytes.fromhex(m[1]))]
    if name == "web.test" or name.endswith(".web.test"):
        return [WEB[0]]
    return None


def encode_name(name: str) -> bytes:
    return b"".join(bytes([len(x)]) + x.encode() for x in name.split(".")) + b"\0"


def records(name: str, kind: int) -> list[tuple[str, int, bytes]] | None:
    """Type 1 is A, 5 CNAME, 28 AAAA."""
    answers = answers_of(name)
    if answers is None:
        return None
    out: list[tuple[str, int, bytes]] = []
    for a in answers:
        family = socket.AF_INET6 if ":" in a else socket.AF_INET
        if re.fullmatch(r"[0-9.]+|.*:.*", a):
            if kind == (28 if ":" in a else 1):
                out.append((name, kind, socket.inet_pton(family, a)))
        else:
            out += [(name, 5, encode_name(a)), *(records(a, kind) or [])]
    return out


def answer_query(data: bytes) -> bytes:
    at, labels = 12, []
    while data[at]:
        labels.append(data[at + 1 : at + 1 + data[at]].decode("latin-1").lower())
        at += 1 + data[at]
    name, kind = ".".join(labels), struct.unpack("!H", data[at + 1 : at + 3])[0]
    found = records(name, kind)
    note("query", name=name, kind=kind, found=[(r[0], r[1]) for r in found or []])
    head = data[:2] + struct.pack("!HHHHH", 0x8183 if found is None else 0x8180, 1, len(found or []), 0, 0)
    body = b"".join(encode_name(n) + struct.pack("!HHIH", k, 1, 0, len(v)) + v for n, k, v in found or [])
    return head + data[12 : at + 5] + body


def serve_dns(s: socket.socket) -> None:
    while True:
        data, peer = s.recvfrom(4096)
        s.sendto(answer_query(data), peer)


# --- the web ----------------------------------------------------------------------------------------------------------


class Web(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, *_args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.serve("")

    def do_POST(self) -> None:
        self.serve(self.rfile.read(int(self.headers["Content-Length"] or "0")).decode())

    def serve(self, body: str) -> None:
        url = urlsplit(self.path)
        query = {k: v[0] for k, v in parse_qs(url.query).items()}
        sent = {k.lower(): v for k, v in self.headers.items()}
        more = {"body": body, "at": time.time()} if self.command == "POST" else {}
        note("request", path=self.path, host=sent.get("host"), headers=sent, to=self.server, method=self.command, **more)
        first, *rest = url.path.strip("/").split("/")
        getattr(self, f"get_{first}", self.get_missing)(rest, query)

    def say(self, status: int, *headers: tuple[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in (*headers, ("Connection", "close")):
            self.send_header(name, value)
        if not any(h[0].lower() in ("content-length", "transfer-encoding") for h in headers):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def get_missing(self, *_args: Any) -> None:
        self.say(404, body=b"no such page")

    def get_file(self, rest: list[str], query: dict[str, str]) -> None:
        """/file/<bytes>/<name>?disposition=…"""
        more = [("Content-Disposition", query["disposition"])] if "disposition" in query else []
        body = (f"; {'/'.join(rest)}\n".encode() * int(rest[0]))[: int(rest[0])]
        self.say(200, ("Content-Type", "text/plain"), *more, body=body)

    def get_status(self, rest: list[str], _query: dict[str, str]) -> None:
        self.say(int(rest[0]), body=b"as asked")

    def get_hook(self, _rest: list[str], _query: dict[str, str]) -> None:
        """/hook/…: takes whatever comes."""
        self.say(200, ("Content-Type", "text/plain"), body=b"thanks")

    def get_later(self, rest: list[str], query: dict[str, str]) -> None:
        """/later/<status>/<name>?after=<Retry-After>: once, then as /hook."""
        mark = FOLDER / f"later-{rest[1]}"
        if mark.exists():
            self.get_hook(rest, query)
        else:
            mark.touch()
            self.say(int(rest[0]), ("Retry-After", query["after"]))

    def get_held(self, rest: list[str], query: dict[str, str]) -> None:
        """/held/<name>: answers once internet's folder has a file of that name."""
        while not (FOLDER / rest[0]).exists():
            time.sleep(0.02)
        self.get_hook(rest, query)

    def get_flaky(self, rest: list[str], query: dict[str, str]) -> None:
        """/flaky/<times>/…: as often 503, then the file."""
        mark = FOLDER / f"flaky-{'-'.join(rest)}"
        n = int(mark.read_text()) if mark.exists() else 0
        mark.write_text(str(n + 1))
        if n < int(rest[0]):
            self.say(503)
        else:
            self.get_file(["100", *rest[1:]], query)

    def get_to(self, rest: list[str], query: dict[str, str]) -> None:
        """/to/<hops>?url=…: redirects to itself, at last to the URL."""
        left, status = int(rest[0]), int(query.get("status", "302"))
        here = f"https://{self.headers['Host']}/to/{left - 1}?{urlsplit(self.path).query}"
        location = here if left > 1 else query["url"]
        self.say(status, ("Location", location), ("Set-Cookie", "a=b"), body=b"not this")

    def get_loop(self, _rest: list[str], _query: dict[str, str]) -> None:
        self.say(302, ("Location", "/loop"))

    def get_redirect_nowhere(self, _rest: list[str], _query: dict[str, str]) -> None:
        self.say(302)

    def get_lie(self, rest: list[str], _query: dict[str, str]) -> None:
        """/lie/<told>/<sent>"""
        self.say(200, ("Content-Length", rest[0]), body=b"x" * int(rest[1]))

    def chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def get_chunked(self, rest: list[str], _query: dict[str, str]) -> None:
        self.say(200, ("Transfer-Encoding", "chunked"))
        for _ in range(int(rest[0]) // 65536 + 1):
            self.chunk(b"y" * 65536)
        self.wfile.write(b"0\r\n\r\n")

    def get_endless(self, rest: list[str], _query: dict[str, str]) -> None:
        """/endless/length tells 10 GB, /endless/none nothing."""
        told = [("Content-Length", str(10 << 30))] if rest[0] == "length" else [("Transfer-Encoding", "chunked")]
        self.say(200, *told)
        for _ in range(10 << 14):
            (self.wfile.write if rest[0] == "length" else self.chunk)(b"z" * 65536)

    def get_gzip(self, rest: list[str], _query: dict[str, str]) -> None:
        """/gzip/content-encoding/<MB>, /gzip/transfer-encoding/<MB>"""
        bomb = gzip.compress(b"\0" * (int(rest[1]) << 20))
        if rest[0] == "content-encoding":
            self.say(200, ("Content-Encoding", "gzip"), body=bomb)
        else:
            self.say(200, ("Transfer-Encoding", "gzip, chunked"))
            self.chunk(bomb)
            self.wfile.write(b"0\r\n\r\n")

    def get_hang(self, _rest: list[str], _query: dict[str, str]) -> None:
        self.connection.recv(1)

    def get_trickle(self, _rest: list[str], _query: dict[str, str]) -> None:
        self.say(200, ("Content-Length", "1000000"))
        while True:
            self.wfile.write(b".")
            time.sleep(0.2)

    def get_gate(self, rest: list[str], _query: dict[str, str]) -> None:
        """/gate/<name>: half of the file, and the rest when internet's folder has a file of that name."""
        self.say(200, ("Content-Length", str(4 << 20)))
        self.wfile.write(b"1" * (2 << 20))
        self.wfile.flush()
        while not (FOLDER / rest[0]).exists():
            time.sleep(0.02)
        self.wfile.write(b"2" * (2 << 20))

    def get_garbage(self, _rest: list[str], _query: dict[str, str]) -> None:
        self.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        self.close_connection = True

    def get_headers(self, _rest: list[str], _query: dict[str, str]) -> None:
        """More headers than anybody takes."""
        self.say(200, *((f"X-{n}", "h" * 4000) for n in range(200)))


def contexts() -> dict[str, ssl.SSLContext]:
    out = {}
    for which in ("good", "expired", "wrong", "selfsigned", "unknown"):
        out[which] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        out[which].load_cert_chain(FOLDER / f"{which}.pem")
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.load_cert_chain(FOLDER / "good.pem")
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    out["old"] = old
    return out


def choose(s: Any, name: str | None, _context: ssl.SSLContext) -> None:
    s.context = CONTEXTS.get((name or "").split(".")[0], CONTEXTS["good"])


def serve(s: socket.socket, address: str, port: int) -> None:
    s.settimeout(60)
    try:
        if port in TLS_PORTS:
            entry = CONTEXTS["old"] if address == WEB[1] else CONTEXTS["entry"]
            s = entry.wrap_socket(s, server_side=True)
        Web(s, ("", 0), address)  # type: ignore[arg-type]
    except OSError:
        pass
    finally:
        s.close()


def listen(family: int, port: int) -> None:
    s = socket.socket(family)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
    s.listen(128)

    def accept() -> None:
        while True:
            peer = s.accept()[0]
            address = peer.getsockname()[0]
            if address in WEB and port in (80, *TLS_PORTS):
                threading.Thread(target=serve, args=(peer, address, port), daemon=True).start()
            else:  # noted in the order of the connections
                note("hit", address=address, port=port)
                peer.close()

    threading.Thread(target=accept, daemon=True).start()


def main() -> None:
    prepare()
    for port in PORTS:
        listen(socket.AF_INET, port)
        listen(socket.AF_INET6, port)
    dns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    dns.bind(("127.0.0.1", 53))
    (FOLDER / "ready").touch()
    serve_dns(dns)


CONTEXTS = contexts()
CONTEXTS["entry"] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
CONTEXTS["entry"].load_cert_chain(FOLDER / "good.pem")
CONTEXTS["entry"].sni_callback = choose
if __name__ == "__main__":
    main()
