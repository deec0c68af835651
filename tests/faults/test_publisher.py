"""The publisher: events get their numbers and go to nginx, in one order, whoever leads, and whatever becomes of nginx."""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from internet import usable
from private_pg import Postgres, pg, template  # noqa: F401
from wait import until
from webhooks import Courier, Place, emit, place
from world import Org

pytestmark = pytest.mark.skipif(bool(usable()), reason=f"no network namespace: {usable()}")


class Nginx:
    """Takes what is published, at a unix socket."""

    def __init__(self, path: Path) -> None:
        self.path, self.posts, self.ends = path, [], []  # type: ignore[var-annotated]
        self.firsts: dict[str, int] = {}
        self.gone = False
        self.refuse = ""  # payloads that hold this are too large
        nginx = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_args: Any) -> None:
                pass

            def address_string(self) -> str:
                return ""

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                if nginx.gone:  # on a connection that was kept
                    self.close_connection = True
                    return
                refused = bool(nginx.refuse) and nginx.refuse in body
                if not refused:
                    nginx.posts.append((self.path.lstrip("/").split(","), json.loads(body)))
                self.answer(413 if refused else 202)

            def do_DELETE(self) -> None:
                nginx.ends.append(self.path.lstrip("/"))
                self.answer(404)

            def answer(self, status: int) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True

            def get_request(self) -> Any:
                return super().get_request()[0], ("", 0)

        path.unlink(missing_ok=True)
        self.server = Server(str(path), Handler)
        path.chmod(0o666)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.gone = True
        self.server.shutdown()
        self.server.server_close()
        self.path.unlink()

    def sequences(self, org: Org) -> list[int]:
        """Of its events, counted from its first that is not about the making of the organisation."""
        found = [e for _, e in list(self.posts) if e["organization_id"] == org.id]
        numbers = [e["sequence"] for e in found if e["type"] == "printer.online"]
        if numbers:
            self.firsts.setdefault(org.id, min(numbers))
        return [n - self.firsts[org.id] + 1 for n in numbers]


@pytest.fixture(scope="module")
def world(pg: Postgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:  # noqa: F811
    with place(pg, template, tmp_path_factory.mktemp("net")) as made:
        yield made
        for courier in made.couriers:
            assert courier.said("statement failed") == []


@pytest.fixture
def nginx(world: Place) -> Iterator[Nginx]:
    made = Nginx(world.net.folder / "pub.sock")
    yield made
    with contextlib.suppress(FileNotFoundError):
        made.stop()


@pytest.fixture
def courier(world: Place, nginx: Nginx) -> Iterator[Courier]:
    made = world.courier(SOLOPRINT_EVENTS_PUBLISH=str(nginx.path))
    yield made
    made.kill()


def waiting(world: Place) -> int:
    row = world.db.execute("SELECT count(*) FROM sec.stream_queue").fetchone()
    assert row
    return int(row[0])


def published(world: Place, org: Org, n: int) -> None:
    def known() -> bool:
        row = world.db.execute("SELECT count(*) FROM app.events WHERE org_id = %s AND type = 'printer.online'", [org.id]).fetchone()
        return bool(row and row[0] == n)

    until(known, 10, what=f"{n} events are in the log")


def test_to_nginx_in_order(world: Place, nginx: Nginx, courier: Courier) -> None:
    org = world.org()
    for _ in range(10):
        emit(org, 30)
    until(lambda: len(nginx.sequences(org)) == 300, 20, what="all are posted")
    assert nginx.sequences(org) == list(range(1, 301))
    channels, event = nginx.posts[-1]
    assert channels == [f"{org.id}.operations-read", f"printer.{event['data']['printer_id']}"]
    assert list(event) == ["id", "type", "timestamp", "organization_id", "sequence", "data"]
    until(lambda: waiting(world) == 0, what="nothing is left to be posted")


def test_within_a_moment(world: Place, nginx: Nginx, courier: Courier) -> None:
    org = world.org()
    emit(org)
    until(lambda: nginx.sequences(org), what="somebody leads")
    for n in range(2, 7):
        at = time.monotonic()
        emit(org)
        until(lambda n=n: n in nginx.sequences(org), every_s=0.005)
        assert time.monotonic() - at < 1


def test_a_revoked_key_ends_its_streams(world: Place, nginx: Nginx, courier: Courier) -> None:
    org = world.org()
    key = org.make_key()
    org.sql("UPDATE app.api_keys SET revoked_at = app.now() WHERE id = %s", org.key_id(key))
    until(lambda: f"key.{org.key_id(key)}" in nginx.ends, what="its channel is deleted")


def test_nginx_is_away(world: Place, nginx: Nginx, courier: Courier) -> None:
    """Events go on into the log; what nginx missed it is told later, in order, and the log complains once."""
    org = world.org()
    emit(org)
    until(lambda: nginx.sequences(org) == [1], what="the first is posted")
    nginx.stop()
    for n in range(2, 5):
        emit(org)
        published(world, org, n)
    until(lambda: courier.said("nginx takes no messages: they wait"), what="it complains")
    again = Nginx(nginx.path)
    again.firsts = nginx.firsts
    try:
        until(lambda: again.sequences(org) == [2, 3, 4], what="they are posted")
        assert len(courier.said("nginx takes no messages: they wait")) == 1
        until(lambda: waiting(world) == 0, what="nothing is left to be posted")
    finally:
        again.stop()


def test_what_nginx_never_takes_is_left_out(world: Place, nginx: Nginx, courier: Courier) -> None:
    org = world.org()
    nginx.refuse = "TOO LARGE"
    emit(org, name="one")
    emit(org, name="TOO LARGE")
    emit(org, name="three")
    until(lambda: nginx.sequences(org) == [1, 3], what="the others are posted")
    assert courier.said("nginx refuses a message: it is left out")


def test_without_nginx(world: Place) -> None:
    org = world.org()
    courier = world.courier()
    emit(org, 5)
    published(world, org, 5)
    until(lambda: waiting(world) == 0, what="nothing waits for it")
    assert courier.said("nginx takes no messages: they wait") == []
    courier.kill()


def test_another_one_leads(world: Place, nginx: Nginx, courier: Courier) -> None:
    """The one that leads is killed: another one does within the lease, and numbers go on without a gap."""
    other = world.courier(SOLOPRINT_EVENTS_PUBLISH=str(nginx.path))
    org = world.org()
    emit(org)
    published(world, org, 1)
    courier.kill()
    emit(org)
    at = time.monotonic()
    published(world, org, 2)
    assert time.monotonic() - at < 5
    until(lambda: set(nginx.sequences(org)) == {1, 2}, what="both are posted, perhaps one twice")
    other.kill()


def test_a_stop_hands_over_at_once(world: Place, nginx: Nginx, courier: Courier) -> None:
    """At a reload nobody waits for the lease of who goes."""
    org = world.org()
    emit(org)
    published(world, org, 1)
    courier.stop()
    other = world.courier(SOLOPRINT_EVENTS_PUBLISH=str(nginx.path))
    at = time.monotonic()
    emit(org)
    published(world, org, 2)
    assert time.monotonic() - at < 1
    other.kill()
