"""Live streams while nginx is reloaded, killed, away, and while clients do not read."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from api import Api, Http2
from contract import Contract
from stack import Stack, new_stack, remove
from streams import EventStream, Follower, nginx_channel
from wait import until
from world import Org, make_org

UPGRADE = "".join(f"{line}\r\n" for line in (
    "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
))  # fmt: skip
TALK_S = float(os.environ.get("SOAK", "0")) * 60 or 6


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    made = new_stack()
    try:
        yield made.up("--gateways", "0")
    finally:
        remove(made)


@pytest.fixture(scope="module")
def org(stack: Stack) -> Iterator[Org]:
    with stack.connect() as db, httpx.Client(base_url=stack.url, transport=Http2(stack.cacert), timeout=30) as http:
        yield make_org(stack, db, Api(http, Contract(http.get("/v1/openapi.json").json())))


class Talk:
    """Events of this organisation, twenty a second, straight into the outbox."""

    def __init__(self, org: Org) -> None:
        self.org, self.said, self.stop = org, 0, threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        with self.org.stack.connect() as db:
            while not self.stop.wait(0.05):
                with db.transaction():
                    db.execute("SELECT set_config('app.org_id', %s, true)", [self.org.id])
                    db.execute(
                        "INSERT INTO app.outbox (org_id, type, capability, data, resource_type, resource_id) VALUES"
                        " (%s, 'printer.updated', 'operations.read', jsonb_build_object('n', %s::int), 'printer', app.uuid7())",
                        [self.org.id, self.said])  # fmt: skip
                self.said += 1

    def __enter__(self) -> Talk:
        self.thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop.set()
        self.thread.join(10)


@pytest.mark.once
@pytest.mark.parametrize(("service", "how"), [("nginx", "reload"), ("nginx", "kill"), ("realtime", "reload"), ("realtime", "kill"),
                                              ("courier", "kill"), ("courier", "restart")])  # fmt: skip
def test_nothing_is_lost(org: Org, service: str, how: str) -> None:
    followers = [Follower(f"{org.stack.url}/v1/events", org.stack.cacert, org.key) for _ in range(4)]
    with Talk(org) as talk:
        began = time.monotonic()
        while time.monotonic() - began < TALK_S:
            until(lambda n=talk.said + 30: talk.said >= n, 20, what="events")
            org.stack.service(how, service)

    def missing(follower: Follower) -> set[int]:
        return set(range(talk.said)) - {int(m.data["n"]) for m in follower.events if m.type == "printer.updated"}

    for follower in followers:
        with contextlib.suppress(AssertionError):
            until(lambda f=follower: not missing(f), 45, every_s=0.2)
        follower.close()
        lost = sorted(missing(follower))
        assert not lost, f"lost {len(lost)} of {talk.said}: {lost[:20]}; opened {len(follower.ended)} times"
        assert not any(m.data["gap"] for m in follower.messages if m.type == "stream.snapshot")


def test_streams_are_refused_while_there_are_none(org: Org) -> None:
    org.stack.service("stop", "realtime")
    try:
        answer = org.api.get("/v1/events", expect="streams_unavailable")
        assert answer.status_code == 503 and answer.headers["Retry-After"] == "2"
        assert org.api.get("/v1/platform/events", expect=200)
    finally:
        org.stack.service("start", "realtime")

    def opens() -> bool:
        stream = EventStream(f"{org.stack.url}/v1/events", org.stack.cacert, org.key)
        stream.close()
        return stream.status == 200

    until(opens, 10, what="a stream")


def workers_rss_kib(stack: Stack) -> int:
    """Of both nginx."""
    masters = [stack.service("pid", name) for name in ("nginx", "realtime")]
    total = 0
    for stat in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            text = stat.read_text()
            if re.search(rf"^PPid:\t({'|'.join(masters)})$", text, re.MULTILINE):
                total += sum(int(n) for n in re.findall(r"^Rss(?:Anon|Shmem):\s+(\d+)", text, re.MULTILINE))
    return total


def test_who_does_not_read_is_dropped(org: Org) -> None:
    """Others get everything meanwhile, and nginx keeps no more than what is under way."""
    host, port = re.fullmatch(r"https://([^:]+):(\d+)", org.stack.url).groups()  # type: ignore[union-attr]
    context = ssl.create_default_context(cafile=org.stack.cacert)
    reader = EventStream(f"{org.stack.url}/v1/events", org.stack.cacert, org.key)
    assert reader.snapshot
    lazy = []
    for upgrade in ("", UPGRADE):
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.connect((host, int(port)))
        s = context.wrap_socket(plain, server_hostname=host)
        s.sendall(f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {org.key}\r\n{upgrade}\r\n".encode())
        assert s.recv(12).startswith(b"HTTP/1.1 ")
        lazy.append(s)
    listening = nginx_channel(org.stack.facts["run"], "publish", f"org.{org.id}", method="GET").json()["subscribers"]
    assert listening == 3
    before, body, sent = workers_rss_kib(org.stack), "x" * 60_000, 0
    began = time.monotonic()
    while nginx_channel(org.stack.facts["run"], "publish", f"org.{org.id}", method="GET").json()["subscribers"] > 1:
        assert time.monotonic() - began < 60, "they are still there"
        message = {"id": f"{sent}", "type": "printer.updated", "sequence": sent, "data": {"n": sent, "x": body}}
        nginx_channel(org.stack.facts["run"], "events", f"{org.id}.operations-read", json.dumps(message).encode())
        sent += 1
        until(lambda n=sent: len([m for m in reader.messages if "x" in m.body["data"]]) >= n, 10, what="the message")
    took, grown = time.monotonic() - began, workers_rss_kib(org.stack) - before
    print(f"dropped after {took:.1f} s and {sent * 60 / 1000:.0f} MB; the workers grew by {grown} KiB")
    assert took > 5
    for s in lazy:
        s.close()
    reader.close()
