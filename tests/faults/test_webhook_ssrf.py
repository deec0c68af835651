"""Webhooks and notification rules with the URLs of test_ssrf.py: no connection is made to an address that is not public,
whatever was stored as an address to send to, and wherever a receiver redirects."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from internet import usable
from private_pg import Postgres, pg, template  # noqa: F401
from test_ssrf import DIRECT, NEVER, REDIRECTS
from wait import until
from webhooks import Hook, Place, Rule, emit, place
from world import Org

pytestmark = pytest.mark.skipif(bool(usable()), reason=f"no network namespace: {usable()}")
MOST = 150  # of an organization, which may have 200
CHANNELS = ("webhook", "slack", "discord", "teams", "ntfy")


@pytest.fixture
def world(pg: Postgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:  # noqa: F811
    with place(pg, template, tmp_path_factory.mktemp("net")) as made:
        made.courier()
        yield made
        assert made.net.hits() == []


def errors(org: Org, table: str, n: int) -> list[tuple[str, str]]:
    """What stopped the first attempt at each id."""

    def tried() -> list[tuple[str, str]]:
        owner = "webhook_id" if table == "app.webhook_deliveries" else "rule_id"
        rows = org.sql(f"SELECT {owner}, last_error FROM {table} WHERE attempts > 0 AND org_id = app.org()")
        return [(str(r[0]), r[1]) for r in rows] if len(rows) >= n else []

    return until(tried, 60, 0.2, what=f"{n} attempts of {table}")


def test_webhooks(world: Place) -> None:
    assert len(set(DIRECT)) >= 120
    for urls in (DIRECT[:MOST], DIRECT[MOST:]):
        org = world.org()
        hooks = {(h := Hook(world, org, "", url=u)).id: h for u in urls}
        emit(org)
        for id_, error in errors(org, "app.webhook_deliveries", len(urls)):
            assert error in NEVER, hooks[id_].url
            if ".dns.test" in hooks[id_].url:
                assert error == "blocked_address", hooks[id_].url
    assert world.net.lines("request") == []


def test_rules(world: Place) -> None:
    # ntfy's last part is a topic.
    urls = [(CHANNELS[n % len(CHANNELS)], u) for n, u in enumerate(DIRECT)]
    urls = [(c, u.rstrip("/") + "/topic" if c == "ntfy" else u) for c, u in urls]
    for some in (urls[:MOST], urls[MOST:]):
        org = world.org()
        rules = {Rule(world, org, c, u).id: (c, u) for c, u in some}
        emit(org)
        for id_, error in errors(org, "app.notification_messages", len(some)):
            assert error in NEVER, rules[id_]
    assert world.net.lines("request") == []


def test_redirects_are_not_followed(world: Place) -> None:
    org = world.org()
    for url in REDIRECTS:
        Hook(world, org, "", url=url)
        Rule(world, org, "slack", url)
    emit(org)
    found = errors(org, "app.webhook_deliveries", len(REDIRECTS)) + errors(org, "app.notification_messages", len(REDIRECTS))
    assert {error for _, error in found} == {"http_302"}
    assert len(world.net.lines("request")) == 2 * len(REDIRECTS)
