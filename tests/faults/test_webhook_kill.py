"""kill -9 of the whole courier, every second, while events come at 200 a second: every one arrives, and no more of them
twice than were under way when it died."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from internet import usable
from private_pg import Postgres, pg, template  # noqa: F401
from wait import until
from webhooks import Hook, Place, connect, emit, place
from world import Org

pytestmark = pytest.mark.skipif(bool(usable()), reason=f"no network namespace: {usable()}")
ENDPOINTS, PER_ENDPOINT = 4, 10  # as many are under way at most
RATE = 200
LEASE_S = 30


@pytest.fixture
def world(pg: Postgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:  # noqa: F811
    with place(pg, template, tmp_path_factory.mktemp("net")) as made:
        yield made
        assert made.net.hits() == []


class Source(threading.Thread):
    """Events of each organisation in turn, one per transaction, until told to stop."""

    def __init__(self, world: Place, orgs: list[Org]) -> None:
        super().__init__()
        self.db = connect(world)
        self.orgs = [Org(None, self.db, None, o.id, o.owner_id, o.name, o.slug) for o in orgs]  # type: ignore[arg-type]
        self.n, self.over = 0, threading.Event()

    def run(self) -> None:
        begun = time.monotonic()
        while not self.over.is_set():
            emit(self.orgs[self.n % len(self.orgs)])
            self.n += 1
            self.over.wait(max(0.0, begun + self.n / RATE - time.monotonic()))


def left(world: Place) -> int:
    """What has not been delivered."""
    row = world.db.execute("SELECT (SELECT count(*) FROM sec.outbox_index) + (SELECT count(*) FROM sec.delivery_index)").fetchone()
    assert row
    return int(row[0])


@pytest.mark.once
@pytest.mark.parametrize("seconds", [20, pytest.param(300, marks=pytest.mark.soak)])
def test_kill_every_second(world: Place, seconds: int) -> None:
    orgs = [world.org() for _ in range(ENDPOINTS)]
    hooks = [Hook(world, org, f"/hook/{n}") for n, org in enumerate(orgs)]
    source = Source(world, orgs)
    source.start()
    kills = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        at = time.monotonic()
        courier = world.courier()
        time.sleep(max(0.0, at + 1 - time.monotonic()))  # an arbitrary moment, not a wait
        courier.kill()
        kills += 1
    source.over.set()
    source.join()
    last = world.courier()
    until(lambda: left(world) == 0, LEASE_S + 60 + 2 * seconds, 0.2, what=f"{left(world)} are delivered")
    arrived = Counter(json.loads(r["body"])["id"] for r in world.net.lines("request", method="POST"))
    known = {str(r[0]) for r in world.db.execute("SELECT id FROM app.events WHERE type = 'printer.online'").fetchall()}
    twice = sum(n - 1 for n in arrived.values())
    print(f"{source.n} events, {kills} kills, {twice} duplicates, at most {ENDPOINTS * PER_ENDPOINT} under way")
    assert len(known) == source.n, "I1: every event is in the log"
    assert set(arrived) == known, f"I2: lost {len(known - set(arrived))}"
    assert twice <= ENDPOINTS * PER_ENDPOINT * kills, f"I3: {twice} duplicates"
    assert [d["status"] for h in hooks for d in h.deliveries()] == ["delivered"] * source.n
    assert source.n > RATE * seconds * 0.8, "the events came as fast as they should"
    assert kills > seconds / 2
    assert last.said("statement failed") == []
