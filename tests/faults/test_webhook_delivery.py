"""Webhooks from the event to the receiver: a real database and the real courier, receivers in the small internet."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from internet import usable
from private_pg import Postgres, pg, template  # noqa: F401
from standardwebhooks import WebhookVerificationError
from wait import until
from webhooks import (
    Courier,
    Hook,
    NodeReceiver,
    Place,
    ed25519_secret,
    emit,
    hmac_secret,
    place,
    verify,
    verify_ed25519,
)
from world import Org

pytestmark = pytest.mark.skipif(bool(usable()), reason=f"no network namespace: {usable()}")


@pytest.fixture(scope="module")
def world(pg: Postgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:  # noqa: F811
    with place(pg, template, tmp_path_factory.mktemp("net")) as made:
        yield made
        assert made.net.hits() == []
        for courier in made.couriers:
            assert courier.said("statement failed") == []
            assert "Sanitizer" not in courier.log.read_text()


@pytest.fixture(scope="module")
def shared(world: Place) -> Courier:
    return world.courier()


@pytest.fixture
def courier(world: Place, shared: Courier) -> Courier:
    """The module's courier, or another one where a test has ended it."""
    running = [c for c in world.couriers if c.process.poll() is None]
    return running[0] if running else world.courier()


@pytest.fixture
def org(world: Place, courier: Courier) -> Org:
    return world.org()


def path() -> str:
    return f"/hook/{secrets.token_hex(6)}"


def one(hook: Hook, n: int = 1) -> dict[str, Any]:
    """The n-th request that came."""
    return until(lambda: hook.requests()[n - 1 : n], 15, what=f"request {n}")[0]


# --- it arrives -------------------------------------------------------------------------------------------------------


def test_from_the_event_to_the_receiver(world: Place, org: Org) -> None:
    hook = Hook(world, org, path())
    at = time.time()
    emit(org, name="B\u00e4r \U0001f600")
    got = one(hook)
    event = verify(hook.secrets[0], got)
    assert got["at"] - at < 1
    assert list(event) == ["id", "type", "timestamp", "organization_id", "sequence", "data"]
    assert (event["type"], event["organization_id"], event["data"]["name"]) == ("printer.online", org.id, "B\u00e4r \U0001f600")
    assert got["headers"]["webhook-id"] == event["id"]
    assert abs(int(got["headers"]["webhook-timestamp"]) - time.time()) < 5
    assert got["headers"]["content-type"] == "application/json"
    assert got["headers"]["user-agent"] == "SoLoPrint-Webhooks/1"
    delivery = hook.ended("delivered")[0]
    assert (delivery["attempts"], delivery["last_status"], delivery["last_error"]) == (1, 200, None)
    attempt = hook.attempts(delivery["id"])[0]
    assert (attempt["status"], attempt["response_head"], attempt["signature_count"]) == (200, "thanks", 1)
    assert 0 <= attempt["latency_ms"] < 5000


def test_every_event_once_and_in_its_sequence(world: Place, org: Org) -> None:
    """Nobody promises the order of requests; the sequence tells it, without gaps."""
    hook = Hook(world, org, path())
    for _ in range(20):
        emit(org, 10)
    hook.ended("delivered", 200)
    events = [json.loads(r["body"]) for r in hook.requests()]
    assert len({e["id"] for e in events}) == len(events) == 200
    numbers = sorted(e["sequence"] for e in events)
    assert numbers == list(range(numbers[0], numbers[0] + 200))


def test_a_forged_request_is_not_believed(world: Place, org: Org) -> None:
    hook = Hook(world, org, path())
    emit(org)
    got = one(hook)
    verify(hook.secrets[0], got)
    for forged in (
        {**got, "body": got["body"] + " "},
        {**got, "headers": {**got["headers"], "webhook-id": secrets.token_hex(8)}},
        {**got, "headers": {**got["headers"], "webhook-timestamp": str(int(got["headers"]["webhook-timestamp"]) + 1)}},
    ):
        with pytest.raises(WebhookVerificationError):
            verify(hook.secrets[0], forged)
    with pytest.raises(WebhookVerificationError):
        verify(hmac_secret(), got)


def test_rotation(world: Place, org: Org) -> None:
    """While two secrets are good there are two signatures: a receiver that knows either believes it."""
    hook = Hook(world, org, path())
    hook.add_secret(hmac_secret())
    emit(org)
    got = one(hook)
    assert len(got["headers"]["webhook-signature"].split(" ")) == 2
    for secret in hook.secrets:
        assert verify(secret, got)["type"] == "printer.online"
    org.sql("UPDATE app.webhook_secrets SET expires_at = app.now() WHERE webhook_id = %s AND expires_at IS NULL"
            " AND created_at = (SELECT min(created_at) FROM app.webhook_secrets WHERE webhook_id = %s)", hook.id, hook.id)  # fmt: skip
    emit(org)
    got = one(hook, 2)
    verify(hook.secrets[1], got)
    with pytest.raises(WebhookVerificationError):
        verify(hook.secrets[0], got)


def test_ed25519(world: Place, org: Org) -> None:
    secret, public = ed25519_secret()
    hook = Hook(world, org, path(), secret=secret, public=public)
    emit(org)
    got = one(hook)
    assert got["headers"]["webhook-signature"].startswith("v1a,")
    verify_ed25519(public, got)
    with pytest.raises(Exception, match="^$"):  # InvalidSignature says no more
        verify_ed25519(public, {**got, "body": got["body"] + " "})


def test_receivers_in_node(world: Place, org: Org) -> None:
    node = NodeReceiver()
    if why := node.unusable():
        pytest.skip(why)
    secret, public = ed25519_secret()
    plain, rotated, ed = Hook(world, org, path()), Hook(world, org, path()), Hook(world, org, path(), secret=secret, public=public)
    rotated.add_secret(hmac_secret())
    emit(org, name="\u00fcml\u00e4ut \u2028 \\u0041")
    first, second, third = one(plain), one(rotated), one(ed)
    good = [(plain.secrets[0], first), *((s, second) for s in rotated.secrets), (public, third)]
    assert node.judge(*good) == ["good printer.online"] * 4
    forged = [(s, {**r, "body": r["body"].replace("printer", "plotter")}) for s, r in good]
    assert all(x.startswith("bad ") for x in node.judge(*forged, (hmac_secret(), first)))


def test_headers_of_their_own(world: Place, org: Org) -> None:
    theirs = {"Authorization": "Bearer CANARY", "X-Empty": "", "webhook-id": "mine", "Host": "evil.test", "X-Bad": "a\r\nB: c"}
    hook = Hook(world, org, path(), headers=theirs)
    emit(org)
    got = one(hook)
    verify(hook.secrets[0], got)
    assert got["headers"]["authorization"] == "Bearer CANARY"
    assert got["headers"]["x-empty"] == ""
    assert (got["headers"]["host"], "x-bad" in got["headers"], "b" in got["headers"]) == ("web.test", False, False)
    assert all("CANARY" not in c.log.read_text() for c in world.couriers)


# --- it is tried again ------------------------------------------------------------------------------------------------


def test_the_same_id_on_every_attempt(world: Place, org: Org) -> None:
    hook = Hook(world, org, f"/flaky/2/{secrets.token_hex(4)}")
    emit(org)
    delivery = hook.ended("delivered")[0]
    requests = hook.requests()
    assert len(requests) == delivery["attempts"] == 3
    assert len({r["headers"]["webhook-id"] for r in requests}) == 1
    assert len({r["body"] for r in requests}) == 1
    for r in requests:
        verify(hook.secrets[0], r)
    assert [a["error"] for a in hook.attempts(delivery["id"])] == ["http_503", "http_503", None]


def test_the_time_is_each_attempts_own(world: Place, org: Org) -> None:
    hook = Hook(world, org, f"/status/500?{secrets.token_hex(4)}", retry_backoff_seconds=600)
    emit(org)
    hook.attempted(1)
    until(lambda: time.time() > int(one(hook)["headers"]["webhook-timestamp"]) + 1, what="the next second")
    hook.hurry()
    first, second = one(hook), one(hook, 2)
    assert int(second["headers"]["webhook-timestamp"]) > int(first["headers"]["webhook-timestamp"])
    verify(hook.secrets[0], second)


def test_it_ends_after_its_attempts(world: Place, org: Org) -> None:
    hook = Hook(world, org, "/status/500?e", max_attempts=3)
    emit(org)
    delivery = hook.ended("failed")[0]
    assert (delivery["attempts"], delivery["last_status"], delivery["last_error"]) == (3, 500, "http_500")
    assert hook.attempts(delivery["id"])[0]["response_head"] is None  # no content type was said


@pytest.mark.parametrize("date", [False, True])
def test_retry_after(world: Place, org: Org, date: bool) -> None:
    after = format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True) if date else "600"
    hook = Hook(world, org, f"/later/429/{secrets.token_hex(4)}?after={quote(after)}")
    emit(org)
    delivery = hook.attempted(1)
    wait = datetime.fromisoformat(delivery["next_attempt_at"]) - datetime.now(UTC)
    assert timedelta(seconds=580) < wait <= timedelta(seconds=600)
    assert hook.ended("delivered")[0]["attempts"] == 2


def test_gone_disables(world: Place, org: Org) -> None:
    hook = Hook(world, org, f"/status/410?{secrets.token_hex(4)}")
    emit(org)
    delivery = hook.ended("failed")[0]
    assert (delivery["attempts"], delivery["last_error"]) == (1, "http_410")
    assert org.sql("SELECT enabled, disabled_reason FROM app.webhooks WHERE id = %s", hook.id) == [(False, "gone")]
    emit(org)
    assert len(hook.requests()) == 1


REFUSALS = [
    ("/to/1?url=" + quote("https://web.test/hook/never", safe=""), "http_302", 302),
    ("/to/1?status=307&url=" + quote("https://web.test/hook/never", safe=""), "http_307", 307),
    ("/to/1?url=" + quote("https://169.254.169.254/", safe=""), "http_302", 302),
    ("/status/404", "http_404", 404),
    ("/garbage", "broken_answer", None),
    ("/lie/1000/10", "broken_answer", 200),
]


@pytest.mark.parametrize(("to", "error", "status"), REFUSALS, ids=[f"{r[1]}-{n}" for n, r in enumerate(REFUSALS)])
def test_refusals(world: Place, org: Org, to: str, error: str, status: int | None) -> None:
    hook = Hook(world, org, to)
    emit(org)
    delivery = hook.attempted(1)
    assert (delivery["status"], delivery["last_error"], delivery["last_status"]) == ("queued", error, status)
    org.sql("UPDATE app.webhooks SET deleted_at = app.now() WHERE id = %s", hook.id)
    assert not [r for r in world.net.lines("request") if r["path"] == "/hook/never"]


HOSTS = [
    ("expired.web.test", "tls_failed"), ("wrong.web.test", "tls_failed"), ("selfsigned.web.test", "tls_failed"),
    ("unknown.web.test", "tls_failed"), ("93.184.216.35", "tls_failed"), ("nowhere.invalid", "dns_failed"),
]  # fmt: skip


@pytest.mark.parametrize(("host", "error"), HOSTS)
def test_servers_that_cannot_be_talked_to(world: Place, org: Org, host: str, error: str) -> None:
    """They may be mended: each is tried again."""
    hook = Hook(world, org, path(), host=host)
    emit(org)
    delivery = hook.attempted(1)
    assert (delivery["status"], delivery["last_error"], delivery["last_status"]) == ("queued", error, None)
    org.sql("UPDATE app.webhooks SET deleted_at = app.now() WHERE id = %s", hook.id)


@pytest.mark.parametrize("url", ["https://127.0.0.1/", "https://own.web.test/", "http://web.test/", "https://a-10-0-0-1.dns.test/"])
def test_addresses_that_are_never_sent_to(world: Place, org: Org, url: str) -> None:
    hook = Hook(world, org, "", url=url)
    emit(org)
    delivery = hook.ended("failed")[0]
    assert (delivery["attempts"], delivery["last_error"]) == (1, "bad_url" if url.startswith("http:") else "blocked_address")


def test_slow_receivers(world: Place, org: Org) -> None:
    """One says nothing, one drips: each costs 15 s, side by side, and delays nobody."""
    hang, drip, other = Hook(world, org, "/hang"), Hook(world, org, "/trickle"), Hook(world, org, path())
    emit(org)
    at = time.monotonic()
    one(other)
    assert time.monotonic() - at < 2
    for hook in (hang, drip):
        delivery = hook.attempted(1)
        assert delivery["last_error"] == "timeout"
        assert 14000 < hook.attempts(delivery["id"])[0]["latency_ms"] < 17000
        org.sql("UPDATE app.webhooks SET deleted_at = app.now() WHERE id = %s", hook.id)


@pytest.mark.parametrize("how", ["length", "none"])
def test_an_endless_answer_is_cut(world: Place, org: Org, courier: Courier, how: str) -> None:
    """The receiver has said that it took it; the 10 GB that follow are nobody's business."""
    hook = Hook(world, org, f"/endless/{how}")
    before = memory_kb(courier)
    emit(org)
    delivery = hook.ended("delivered")[0]
    attempt = hook.attempts(delivery["id"])[0]
    assert attempt["latency_ms"] < 5000
    assert attempt["response_head"] is None
    assert memory_kb(courier) - before < 16 << 10


def memory_kb(courier: Courier) -> int:
    """At most so far, of the largest of its processes."""
    status = [Path(f"/proc/{p}/status").read_text() for p in courier.processes()]
    return max(int(line.split()[1]) for s in status for line in s.splitlines() if line.startswith("VmHWM"))


def test_secrets_that_cannot_be_opened(world: Place, org: Org) -> None:
    hook = Hook(world, org, path())
    org.sql("UPDATE app.webhook_secrets SET secret_sealed = %s WHERE webhook_id = %s", b"\x01" + b"x" * 80, hook.id)
    emit(org)
    delivery = hook.attempted(1)
    assert (delivery["status"], delivery["last_error"]) == ("queued", "misconfigured")
    org.sql("DELETE FROM app.webhook_secrets WHERE webhook_id = %s", hook.id)
    hook.add_secret(hmac_secret())
    hook.ended("delivered")
    verify(hook.secrets[-1], one(hook))


def test_replay(world: Place, org: Org) -> None:
    """The same event under a new delivery, with its id."""
    hook = Hook(world, org, path())
    emit(org)
    first = hook.ended("delivered")[0]
    key = org.make_key()
    with world.db.transaction():
        org._enter()
        world.db.execute("SELECT set_config('app.key_id', %s, true)", [org.key_id(key)])
        new = world.db.execute("SELECT sec.webhook_replay(%s, app.uuid7())", [first["id"]]).fetchone()
    assert new and new[0]
    hook.ended("delivered", 2)
    one(hook, 2)
    ids = {r["headers"]["webhook-id"] for r in hook.requests()}
    assert ids == {first["event_id"]}
    for r in hook.requests():
        verify(hook.secrets[0], r)


def test_rules_of_addresses_that_cannot_be_used(world: Place, org: Org, courier: Courier) -> None:
    """Without the certificates it would trust nobody, or everybody: nothing is sent until they are there."""
    courier.stop()
    other = world.courier(SOLOPRINT_FETCH_CA="/nonexistent")
    hook = Hook(world, org, path())
    emit(org)
    assert hook.attempted(1)["last_error"] == "misconfigured"
    other.stop()
    world.courier()
    hook.ended("delivered")


# --- couriers come and go ---------------------------------------------------------------------------------------------


def test_a_stop_waits_for_what_is_under_way(world: Place, org: Org, courier: Courier) -> None:
    name = secrets.token_hex(4)
    hook = Hook(world, org, f"/held/{name}")
    emit(org)
    one(hook)
    courier.process.terminate()
    until(lambda: courier.said("stopping") or courier.process.poll() is not None, what="it stops")
    (world.net.folder / name).touch()
    assert courier.process.wait(15) == 0
    delivery = hook.deliveries()[0]
    assert (delivery["status"], delivery["attempts"], len(hook.requests())) == ("delivered", 1, 1)


def test_a_stop_gives_back_what_does_not_end(world: Place, org: Org, courier: Courier) -> None:
    courier.stop()
    short = world.courier(SOLOPRINT_DRAIN_MS="2000")
    name = secrets.token_hex(4)
    hook = Hook(world, org, f"/held/{name}")
    emit(org)
    one(hook)
    assert short.stop() < 3
    delivery = hook.deliveries()[0]
    assert (delivery["status"], delivery["attempts"]) == ("queued", 0)
    (world.net.folder / name).touch()
    at = time.monotonic()
    world.courier()
    until(lambda: hook.deliveries()[0]["status"] == "delivered", what="it is sent again")
    assert time.monotonic() - at < 6
    assert {r["headers"]["webhook-id"] for r in hook.requests()} == {delivery["event_id"]}


def test_two_couriers(world: Place, org: Org) -> None:
    """They share the work, and nothing is sent twice."""
    others = [world.courier(SOLOPRINT_SENDERS="2"), world.courier()]
    hooks = [Hook(world, org, path()) for _ in range(10)]
    for _ in range(10):
        emit(org, 5)
    for hook in hooks:
        hook.ended("delivered", 50, 40)
        ids = [r["headers"]["webhook-id"] for r in hook.requests()]
        assert len(ids) == len(set(ids)) == 50
    for other in others:
        other.stop()


def test_results_wait_for_the_database(world: Place, org: Org, courier: Courier) -> None:
    """It is away while a request is under way: the result is written later, and the request not made again."""
    name = secrets.token_hex(4)
    hook = Hook(world, org, f"/held/{name}")
    emit(org)
    one(hook)
    world.db.execute("ALTER ROLE soloprint_courier NOLOGIN")
    try:
        world.db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'soloprint_courier'")
        (world.net.folder / name).touch()
        before = len(courier.said("database connection failed"))
        until(lambda: len(courier.said("database connection failed")) > before + 5, what="it tries to come back")
    finally:
        world.db.execute("ALTER ROLE soloprint_courier LOGIN")
    until(lambda: hook.deliveries()[0]["status"] == "delivered", 20, what="the result is written")
    assert (hook.deliveries()[0]["attempts"], len(hook.requests())) == (1, 1)
