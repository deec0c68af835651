"""Five hundred endpoints, of which a tenth is dead, slow, endless or redirects to inside: the others do not notice. Measured:
wants the machine for itself."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from internet import usable
from private_pg import Postgres, pg, template  # noqa: F401
from wait import until
from webhooks import Hook, Place, connect, emit, place
from world import Org

pytestmark = pytest.mark.skipif(bool(usable()), reason=f"no network namespace: {usable()}")
ORGS, HOOKS = 50, 10
RATE, SECONDS = 60, 8
INSIDE = quote("https://169.254.169.254/latest/meta-data/", safe="")
# Path and host; in turn.
BAD = [
    ("/hang", "web.test"), ("/trickle", "web.test"), ("/endless/none", "web.test"), (f"/to/1?url={INSIDE}", "web.test"),
    ("/hook/inside", "a-169-254-169-254.dns.test"), ("/hook/dead", "nowhere.invalid"), ("/hook/old", "expired.web.test"),
    ("/hang", "web.test"), ("/garbage", "web.test"), ("/status/500", "web.test"),
]  # fmt: skip


@pytest.fixture
def world(pg: Postgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:  # noqa: F811
    with place(pg, template, tmp_path_factory.mktemp("net")) as made:
        yield made
        assert made.net.hits() == []


class Endpoint:
    def __init__(self, world: Place, org: Org, n: int) -> None:
        self.org, self.n, self.bad, self.printer = org, n, False, str(uuid.uuid4())
        filters = f'{{"printer_ids": ["{self.printer}"]}}'
        self.hook = Hook(world, org, f"/hook/{n}", host=f"e{n}.web.test", retry_backoff_seconds=None, filters=filters)

    def spoil(self) -> None:
        self.bad = True
        path, host = BAD[self.n // 10 % len(BAD)]
        self.org.sql("UPDATE app.webhooks SET endpoint_url = %s WHERE id = %s", f"https://{host}{path}", self.hook.id)


def p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


class Run:
    """A load on all endpoints in turn; when each event's first attempt began, and when it arrived, after its commit."""

    def __init__(self, world: Place, endpoints: list[Endpoint]) -> None:
        self.world, self.endpoints, self.since = world, endpoints, datetime.now(UTC)
        self.by_hook = {e.hook.id: e for e in self.endpoints}

    def load(self) -> None:
        db = connect(self.world)
        order = random.Random(1).sample(self.endpoints, len(self.endpoints))
        begun, over = time.monotonic(), threading.Event()
        for n in range(RATE * SECONDS):
            e = order[n % len(order)]
            emit(Org(None, db, None, e.org.id, e.org.owner_id, "", ""), printer_id=e.printer)  # type: ignore[arg-type]
            over.wait(max(0.0, begun + n / RATE - time.monotonic()))
        db.close()

    def rows(self) -> list[tuple[str, bool, float]]:
        """Webhook, whether it was tried, seconds from the commit to the first attempt."""
        found = self.world.db.execute(
            "SELECT d.webhook_id, a.delivery_id IS NOT NULL, extract(epoch FROM a.at - e.created_at)"
            " FROM app.webhook_deliveries AS d JOIN app.events AS e ON e.org_id = d.org_id AND e.id = d.event_id"
            " LEFT JOIN app.webhook_attempts AS a ON a.delivery_id = d.id AND a.attempt = 1"
            " WHERE d.webhook_id = ANY (%s) AND d.created_at > %s", [list(self.by_hook), self.since]
        ).fetchall()  # fmt: skip
        return [(str(r[0]), r[1], float(r[2] or 0)) for r in found]

    def measure(self) -> tuple[list[float], list[float]]:
        """Seconds to the first attempts of all, and of the healthy ones."""
        self.load()
        until(lambda: len(r := self.rows()) == RATE * SECONDS and all(x[1] for x in r), 25, 0.3, what="all have been tried")
        rows = self.rows()
        return [r[2] for r in rows], [r[2] for r in rows if not self.by_hook[r[0]].bad]


def test_bad_endpoints_delay_nobody(world: Place) -> None:
    courier = world.courier()
    orgs = [world.org() for _ in range(ORGS)]
    endpoints = [Endpoint(world, orgs[n % ORGS], n) for n in range(ORGS * HOOKS)]
    _, alone = Run(world, endpoints).measure()
    for e in endpoints[3::10]:
        e.spoil()
    everyone, beside = Run(world, endpoints).measure()
    print(f"p99 to the first attempt: {p99(alone) * 1000:.0f} ms alone, {p99(beside) * 1000:.0f} ms beside bad ones,"
          f" {p99(everyone) * 1000:.0f} ms all")  # fmt: skip
    assert sum(e.bad for e in endpoints) == 50
    assert p99(everyone) <= 1
    assert p99(beside) <= p99(alone) + 0.05
    assert courier.said("statement failed") == []
