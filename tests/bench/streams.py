#!/usr/bin/env python3
"""Live streams: 2,000 subscribers over TLS, half of them readers of Server-Sent Events, half WebSockets. How long an event takes
from its publisher, and from its commit, to every one of them; and what a subscriber costs nginx in memory. Most
subscribers are held by a second process that only drains them; the others, spread among them, are looked at."""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import re
import resource
import selectors
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

import httpx  # noqa: E402
from api import Api, Http2  # noqa: E402
from contract import Contract  # noqa: E402
from stack import Stack, new_stack, remove  # noqa: E402
from streams import nginx_channel  # noqa: E402
from wait import until  # noqa: E402
from world import Org, make_org  # noqa: E402

LOOKED_AT = 100
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
PING, PONG = b"\x89\x00", b"\x8a\x80\0\0\0\0"
KIB_GOAL, P99_GOAL_MS = 96, 250
MARK = re.compile(rb'"mark":\s?(\d+)')


def opened(url: str, cacert: str, key: str, websocket: bool) -> ssl.SSLSocket:
    """A stream whose snapshot has come."""
    at = urlsplit(url)
    context = ssl.create_default_context(cafile=cacert)
    s = context.wrap_socket(socket.create_connection((at.hostname, at.port)), server_hostname=at.hostname)
    lines = ["GET /v1/events HTTP/1.1", f"Host: {at.hostname}", f"Authorization: Bearer {key}", *(UPGRADE if websocket else ())]
    s.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    data = b""
    while b"stream.snapshot" not in data:
        piece = s.recv(65536)
        assert piece, data
        data += piece
    s.setblocking(False)
    return s


def selector_of(sockets: list[ssl.SSLSocket]) -> selectors.DefaultSelector:
    made = selectors.DefaultSelector()
    for s in sockets:
        made.register(s, selectors.EVENT_READ)
    return made


def pieces(selector: selectors.DefaultSelector, timeout_s: float) -> Iterator[tuple[ssl.SSLSocket, bytes]]:
    for ready, _ in selector.select(timeout_s):
        s: Any = ready.fileobj
        with contextlib.suppress(ssl.SSLWantReadError):
            while True:
                data = s.recv(65536)
                if not data:
                    selector.unregister(s)
                    break
                if PING in data:  # who does not answer is dropped
                    s.send(PONG)
                yield s, data


def hold(url: str, cacert: str, key: str, websocket: bool, n: int, line: Any) -> None:
    """The process that drains: says when all are there, ends when told."""
    sockets = [opened(url, cacert, key, websocket) for _ in range(n)]
    line.send(n)
    selector = selector_of(sockets)
    while not line.poll():
        for _ in pieces(selector, 0.2):
            pass
    line.send(len(selector.get_map()))


def workers(stack: Stack) -> list[int]:
    masters = "|".join(stack.service("pid", name) for name in ("nginx", "realtime"))
    found = []
    for path in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            if re.search(rf"^PPid:\t({masters})$", path.read_text(), re.M):
                found.append(int(path.parent.name))
    return found


def rss_kib(pids: list[int]) -> int:
    return sum(int(n) for pid in pids for n in re.findall(r"^Rss(?:Anon|Shmem):\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M))


class Looked:
    """The subscribers whose arrivals are noted."""

    def __init__(self, sockets: list[ssl.SSLSocket]) -> None:
        self.selector, self.n = selector_of(sockets), len(sockets)

    def arrivals(self, mark: int, sent: float) -> list[float]:
        """Milliseconds from `sent` to each."""
        got: dict[int, float] = {}
        deadline = time.monotonic() + 10
        while len(got) < self.n:
            assert time.monotonic() < deadline, f"{len(got)} of {self.n} have message {mark}"
            for s, data in pieces(self.selector, 0.1):
                if str(mark).encode() in MARK.findall(data):
                    got.setdefault(s.fileno(), (time.monotonic() - sent) * 1000)
        return list(got.values())


def posted(org: Org, mark: int) -> None:
    body = {"id": f"{mark}", "type": "printer.updated", "sequence": mark, "data": {"mark": mark, "x": "x" * 500}}
    nginx_channel(org.stack.facts["run"], "events", f"{org.id}.operations-read", json.dumps(body, separators=(",", ":")).encode())


def committed(org: Org, mark: int) -> None:
    org.sql("INSERT INTO app.outbox (org_id, type, capability, data, resource_type, resource_id) VALUES (%s, 'printer.updated',"
            " 'operations.read', json_build_object('mark', %s::int, 'x', repeat('x', 500)), 'printer', app.uuid7())",
            org.id, mark)  # fmt: skip


def settle(org: Org) -> None:
    waiting = "SELECT (SELECT count(*) FROM app.outbox) + (SELECT count(*) FROM sec.stream_queue)"
    until(lambda: org.sql(waiting)[0][0] == 0, 20, what="the publisher")


def answers(stack: Stack) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{stack.url}/v1/health", verify=ssl.create_default_context(cafile=stack.cacert)).status_code == 200
    return False


def measure(org: Org, websocket: bool, n: int, rounds: int) -> dict[str, float]:
    stack = org.stack
    key = org.make_key(["operations.read"])
    settle(org)
    for service in ("realtime", "nginx"):  # no memory that was had before
        stack.service("restart", service)
    until(lambda: answers(stack), 20, what="nginx")
    nginx = workers(stack)
    before = rss_kib(nginx)
    ours, theirs = multiprocessing.Pipe()
    holder = multiprocessing.Process(target=hold, args=(stack.url, stack.cacert, key, websocket, n - LOOKED_AT, theirs),
                                     daemon=True)  # fmt: skip
    holder.start()
    began = time.monotonic()
    sockets = [opened(stack.url, stack.cacert, key, websocket) for _ in range(LOOKED_AT // 2)]
    ours.recv()
    sockets += [opened(stack.url, stack.cacert, key, websocket) for _ in range(LOOKED_AT - LOOKED_AT // 2)]
    opening_s = time.monotonic() - began
    time.sleep(1)  # until what the opening left behind is gone
    held = (rss_kib(nginx) - before) / n
    looked = Looked(sockets)
    out = {"kib": held, "open_per_s": n / opening_s}
    for name, tell in (("post", posted), ("commit", committed)):
        took: list[float] = []
        for i in range(rounds):
            mark = int(time.time() * 1000) % 10**9
            sent = time.monotonic()
            tell(org, mark)
            took += looked.arrivals(mark, sent)
            time.sleep(0.2 if i else 0.5)
        cuts = quantiles(took, n=100)
        out |= {f"{name}_median": median(took), f"{name}_p99": cuts[98]}
    ours.send("end")
    assert ours.recv() == n - LOOKED_AT, "some streams have ended"
    holder.join()
    for s in sockets:
        s.close()
    return out


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--subscribers", type=int, default=2000)
    p.add_argument("--rounds", type=int, default=40)
    args = p.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    stack, good = new_stack(), True
    try:
        stack.up("--gateways", "0")
        with stack.connect() as db, httpx.Client(base_url=stack.url, transport=Http2(stack.cacert), timeout=30) as http:
            org = make_org(stack, db, Api(http, Contract(http.get("/v1/openapi.json").json())))
            print(f"# {args.subscribers} subscribers over TLS, {os.cpu_count()} cores, clients on the same machine")
            for way in ("sse", "websocket"):
                got = measure(org, way == "websocket", args.subscribers, args.rounds)
                print(f"{way}: opened {got['open_per_s']:.0f}/s, {got['kib']:.1f} KiB each (goal {KIB_GOAL}); "
                      f"from the publisher median {got['post_median']:.0f} ms, p99 {got['post_p99']:.0f} ms (goal {P99_GOAL_MS}); "
                      f"from the commit median {got['commit_median']:.0f} ms, p99 {got['commit_p99']:.0f} ms")  # fmt: skip
                good &= got["kib"] <= KIB_GOAL and got["post_p99"] <= P99_GOAL_MS
    finally:
        remove(stack)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
