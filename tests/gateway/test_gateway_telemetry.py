"""What printers report, for those who look on: to nginx' subscribers, at most once a second of a kind, kept nowhere; and
next to nothing for an organisation at which nobody looks."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from itertools import pairwise
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any

import pytest
from nginx_rig import Nginx
from rig import World
from virtual_fleet.harness import wait_for

JOB = {"layers": 5000, "layer_s": 60.0}
PRINTERS: list[dict[str, Any]] = [
    {"name": "busy", "model": "X1C", "min_interval_s": 0.02, "job": JOB},
    {"name": "other", "model": "A1", "job": JOB},
]
FLAGS = ("--time-scale", "60")
PORTION_S = 5.0  # how long the gateway may not know that somebody came


class Subscriber:
    """Listens at the socket of the public nginx, as that does."""

    def __init__(self, nginx: Nginx, *channels: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(nginx.folder / "run/nginx/sub.sock"))
        self.socket.sendall(
            f"GET /events/{','.join(channels)} HTTP/1.1\r\nHost: n\r\nAccept: text/event-stream\r\n\r\n".encode()
        )
        self.got: list[tuple[float, dict[str, Any]]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with self.socket.makefile("rb") as stream:
            for line in stream:
                if line.startswith(b"data: {"):
                    self.got.append((time.monotonic(), json.loads(line[6:])))

    def of(self, kind: str, printer: str = "") -> list[tuple[float, dict[str, Any]]]:
        return [(at, m) for at, m in list(self.got) if m["type"] == kind and printer in m["data"]["printer_id"]]

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


@pytest.fixture(scope="module")
def nginx() -> Iterator[Nginx]:
    with Nginx(realtime=True) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def gateway(world: World, nginx: Nginx) -> Iterator[None]:
    running = world.start_gateway(publish=str(nginx.folder / "run/publish/pub.sock"))
    world.wait_connected()
    for name in ("busy", "other"):
        world.fleet.ctl("print", name)
        world.wait_state(name, "printing", 30)
    yield
    assert running.stop() == 0


def test_who_looks_at_the_organisation_is_told_of_all(world: World, nginx: Nginx) -> None:
    org, ids = str(world.org), {name: str(id_) for name, id_ in world.ids.items()}
    all_, one = (Subscriber(nginx, channel, f"org.{org}") for channel in (f"{org}.operations-read", f"printer.{ids['other']}"))
    message = wait_for(lambda: all_.of("print.progress", ids["busy"]), PORTION_S + 2, "a first message")[-1][1]
    wait_for(lambda: one.of("print.progress"), PORTION_S + 2, "a first message of the other")
    assert list(message) == ["type", "timestamp", "organization_id", "data"]
    assert message["organization_id"] == org
    data = message["data"]
    assert 0 <= data["progress"] <= 100 and data["layer"] >= 0 and data["print_id"] and data["printer_name"] == "busy"
    assert {m["data"]["printer_id"] for _, m in one.got} == {ids["other"]}
    # The printer reports fifty times a second.
    began, seen = time.monotonic(), len(all_.of("print.progress", ids["busy"]))
    wait_for(lambda: time.monotonic() - began > 4, 6, "some seconds")
    got = [at for at, _ in all_.of("print.progress", ids["busy"])[seen:]]
    assert 2 <= len(got) <= 5
    assert min(b - a for a, b in pairwise(got)) > 0.8
    all_.close()
    one.close()


def test_a_change_arrives_within_two_seconds(world: World, nginx: Nginx) -> None:
    watching = Subscriber(nginx, f"{world.org}.operations-read", f"org.{world.org}")
    other = str(world.ids["other"])
    wait_for(lambda: watching.of("print.progress", other), PORTION_S + 2, "a first message")
    began = time.monotonic()
    world.fleet.ctl("pause", "other")
    at, message = wait_for(
        lambda: [(t, m) for t, m in watching.of("printer.status", other) if m["data"]["state"] == "paused"], 5, "paused"
    )[0]
    assert at - began <= 2
    assert message["data"]["connection"] == "connected" and message["data"]["printer_name"] == "other"
    assert message["data"]["temperatures"]["nozzles"] and message["data"]["job"]["name"]
    world.fleet.ctl("resume", "other")
    watching.close()


def test_of_the_material_units(world: World, nginx: Nginx) -> None:
    watching = Subscriber(nginx, f"printer.{world.ids['busy']}", f"org.{world.org}")
    wait_for(lambda: watching.of("print.progress"), PORTION_S + 2, "a first message")
    units = {"ams": {"ams": [{"id": "0", "tray": [{"id": "1", "remain": 33}]}]}}
    world.fleet.ctl("publish", "busy", payload=json.dumps({"print": {"command": "push_status", **units}}))
    # What is told is how it is when its turn comes: this printer may have said something else by then.
    got = wait_for(lambda: watching.of("ams.update"), 5, "the units")[0][1]["data"]["ams"]
    assert {"material", "color", "remaining_pct"} <= set(got["units"][0]["slots"][0])
    watching.close()


def test_nothing_of_it_is_kept(world: World) -> None:
    types = {row["type"] for row in world.db.execute("SELECT type FROM app.outbox WHERE org_id = %s", [world.org])}
    assert types and not types & {"printer.status", "ams.update"}


# --- nobody looks ---------------------------------------------------------------------------------


class Listening(BaseHTTPRequestHandler):
    """Counts what it is asked, and says that nobody is there."""

    protocol_version = "HTTP/1.1"
    asked: Counter[str]
    there: bool

    def answer(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"] or "0"))
        cls = type(self)
        cls.asked[f"{self.command} {self.path}"] += 1
        body = json.dumps({"messages": 0, "requested": 0, "subscribers": int(cls.there and self.command == "GET")}).encode()
        self.send_response(200 if self.command != "POST" else 202)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = answer

    def address_string(self) -> str:
        return "nginx"

    def log_message(self, *_args: object) -> None:
        pass


def test_an_organisation_at_which_nobody_looks(world: World, tmp_path: Path) -> None:
    class Handler(Listening):
        asked, there = Counter[str](), False

    path = Path(f"/tmp/slp-tele-{id(tmp_path)}.sock")
    with ThreadingUnixStreamServer(str(path), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        server.daemon_threads = True
        for running in world.gateways:
            running.stop()
        gateway = world.start_gateway(publish=str(path))
        world.wait_connected()
        began = time.monotonic()
        wait_for(lambda: time.monotonic() - began > 11, 15, "two questions")
        questions = Handler.asked.copy()
        assert set(questions) == {f"GET /org.{world.org}"}, questions
        assert 2 <= questions[f"GET /org.{world.org}"] <= 4
        # Somebody looks at something else of this organisation: each printer's messages rest when nobody hears them.
        Handler.there = True
        wait_for(lambda: any(x.startswith("POST") for x in Handler.asked), PORTION_S + 2, "messages")
        Handler.asked.clear()
        began = time.monotonic()
        wait_for(lambda: time.monotonic() - began > 6, 10, "a rest")
        posts = sum(n for what, n in Handler.asked.items() if what.startswith("POST"))
        assert 2 <= posts <= 12, Handler.asked  # two printers, three kinds, twice at most
        assert gateway.alive
        server.shutdown()
    path.unlink()
