"""Deliveries as the API shows them: lists, attempts, payloads, replays, recovery. The sending has tests of its own, in
tests/faults."""

from __future__ import annotations

import json
import secrets
from typing import Any

import pytest
from api import Api
from hooks import DELIVERIES, WEBHOOKS, make_delivery, make_event, make_webhook
from keys import CAPABILITIES
from wait import until
from world import Org

NOBODY = "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70"


def ids(api: Api, query: str = "") -> set[str]:
    return {d["id"] for d in api.get(f"{DELIVERIES}?limit=100&{query}", expect=200).json()["data"]}


def attempt(org: Org, delivery: str, n: int, **columns: Any) -> None:
    row = {"latency_ms": 12, "status": 500, "error": "http_500", "response_head": "no", "signature_count": 1, **columns}
    org.sql(f"INSERT INTO app.webhook_attempts (org_id, delivery_id, attempt, {', '.join(row)})"
            f" VALUES (app.org(), %s, %s, {', '.join(['%s'] * len(row))})", delivery, n, *row.values())  # fmt: skip


@pytest.fixture
def hook(org: Org) -> str:
    return str(make_webhook(org)["id"])


# --- reading

def test_members(org: Org, hook: str) -> None:
    event = make_event(org)
    made = make_delivery(org, hook, event)
    got = org.api.get(f"{DELIVERIES}/{made}", expect=200).json()
    expected = {
        "id": made, "webhook_id": hook, "event_id": event["id"], "event_type": "print.failed", "sequence": event["sequence"],
        "status": "failed", "retrying": False, "attempts": 3, "max_attempts": 3, "last_status": 500, "last_error": "http_500",
        "replay_of": None, "test": False, "attempt_log": [],
    }  # fmt: skip
    assert {k: got[k] for k in expected} == expected
    assert got["finished_at"]
    listed = org.api.get(DELIVERIES, expect=200).json()["data"]
    assert listed == [{k: got[k] for k in got if k not in ("attempt_log", "payload")}]


@pytest.mark.parametrize(
    ("columns", "status", "retrying"),
    [({"status": "queued", "attempts": 0}, "queued", False), ({"status": "queued", "attempts": 2}, "queued", True),
     ({"status": "failed"}, "failed", False), ({"status": "delivered", "last_status": 200, "last_error": None}, "delivered", False)],
)  # fmt: skip
def test_states(org: Org, hook: str, columns: dict[str, Any], status: str, retrying: bool) -> None:
    got = org.api.get(f"{DELIVERIES}/{make_delivery(org, hook, **columns)}").json()
    assert (got["status"], got["retrying"]) == (status, retrying)
    assert (got["finished_at"] is None) == (status == "queued")
    assert (got["next_attempt_at"] is not None) or status != "queued"


def test_filters(org: Org, hook: str) -> None:
    other = make_webhook(org)["id"]
    event = make_event(org, "queue_item.failed")
    old = make_delivery(org, hook, created_at="2026-01-05T00:00:00Z")
    waits = make_delivery(org, hook, event, status="queued", attempts=0)
    again = make_delivery(org, other, event, status="queued", attempts=1)
    done = make_delivery(org, other, make_event(org, "file.ready"), status="delivered")
    every = {old, waits, again, done}
    for query, expected in (
        ("", every), (f"webhook_id={hook}", {old, waits}), (f"webhook_id={NOBODY}", set()), ("status=queued", {waits, again}),
        ("status=failed,delivered", {old, done}), ("retrying=true", {again}), ("retrying=false", {old, waits, done}),
        ("status=queued&retrying=false", {waits}), (f"event_id={event['id']}", {waits, again}), ("event_type=file.ready", {done}),
        ("event_type=file.*,queue_item.failed", {done, waits, again}), ("event_type=*", every),
        ("created_before=2026-02-01T00:00:00Z", {old}), ("created_after=2026-02-01T00:00:00Z", {waits, again, done}),
        ("created_after=2026-01-05T00:00:00Z&created_before=2026-01-05T00:00:01Z", {old}),
    ):  # fmt: skip
        assert ids(org.api, query) == expected, query
    assert org.api.get(f"{DELIVERIES}?status=queued&offset=0&limit=1").json()["total"] == 2


@pytest.mark.parametrize(
    "query",
    ["status=retrying", "status=", "retrying=perhaps", "event_type=queue", "webhook_id=x", "created_after=yesterday", "sort=status"],
)
def test_parameters_out_of_bounds(api: Api, query: str) -> None:
    api.get(f"{DELIVERIES}?{query}", expect="invalid_parameter")


def test_attempts(org: Org, hook: str) -> None:
    made = make_delivery(org, hook)
    attempt(org, made, 1, status=None, error="timeout", response_head=None, latency_ms=15000)
    attempt(org, made, 2, status=503, error="http_503", response_head="later \u2014 \u00e9", latency_ms=40, signature_count=2)
    attempt(org, made, 3, status=204, error=None, response_head="", latency_ms=7)
    log = org.api.get(f"{DELIVERIES}/{made}", expect=200).json()["attempt_log"]
    assert [(a["attempt"], a["status"], a["error"], a["response_head"], a["latency_ms"], a["signatures"]) for a in log] == [
        (1, None, "timeout", None, 15000, 1), (2, 503, "http_503", "later \u2014 \u00e9", 40, 2), (3, 204, None, "", 7, 1)]  # fmt: skip


def test_payload_is_the_event(org: Org, hook: str) -> None:
    event = make_event(org, data=json.dumps({"name": "x", "b": [1, None], "a": "\u00e9"}))
    payload = org.api.get(f"{DELIVERIES}/{make_delivery(org, hook, event)}").json()["payload"]
    assert list(payload) == ["id", "type", "timestamp", "organization_id", "sequence", "data"]
    assert payload["data"] == {"name": "x", "b": [1, None], "a": "\u00e9"}
    assert (payload["id"], payload["sequence"], payload["organization_id"]) == (event["id"], event["sequence"], org.id)


def test_payload_is_for_those_who_may_see_it(org: Org, hook: str) -> None:
    made = make_delivery(org, hook)
    api = org.with_capabilities("integrations.manage")
    got = api.get(f"{DELIVERIES}/{made}", expect=200).json()
    assert (got["payload"], got["event_type"]) == (None, "print.failed")
    own = make_delivery(org, hook, make_event(org, "webhook.created", capability="integrations.manage"))
    assert api.get(f"{DELIVERIES}/{own}").json()["payload"]


def test_keys_that_are_bound_to_printers(org: Org, hook: str) -> None:
    one, two = org.make_printer()["id"], org.make_printer()["id"]
    made = {p: make_delivery(org, hook, make_event(org, printer_id=p), printer_id=p) for p in (one, two)}
    free = make_delivery(org, hook)
    api = org.with_capabilities(*CAPABILITIES, printer_ids=[one])
    assert ids(api) == {made[one]}
    assert api.get(f"{DELIVERIES}/{made[one]}").json()["payload"]
    for hidden in (made[two], free):
        api.get(f"{DELIVERIES}/{hidden}", expect="resource_not_found")
        api.post(f"{DELIVERIES}/{hidden}/replay", expect="resource_not_found")


def test_other_organisations_deliveries_are_not_there(org: Org, other_org: Org, hook: str) -> None:
    made = make_delivery(org, hook)
    other_org.api.get(f"{DELIVERIES}/{made}", expect="resource_not_found")
    other_org.api.post(f"{DELIVERIES}/{made}/replay", expect="resource_not_found")
    assert ids(other_org.api) == set()
    assert ids(other_org.api, f"webhook_id={hook}") == set()


# --- again

@pytest.mark.parametrize("status", ["failed", "delivered", "queued"])
def test_replay(org: Org, hook: str, status: str) -> None:
    event = make_event(org)
    made = make_delivery(org, hook, event, status=status)
    answer = org.api.post(f"{DELIVERIES}/{made}/replay", expect=201)
    new = answer.json()
    assert answer.headers["Location"] == f"{DELIVERIES}/{new['id']}"
    expected = {"webhook_id": hook, "event_id": event["id"], "event_type": event["type"], "sequence": event["sequence"],
                "replay_of": made, "status": "queued", "retrying": False, "attempts": 0, "max_attempts": 10, "test": False}  # fmt: skip
    assert {k: new[k] for k in expected} == expected
    assert new["id"] != made
    assert org.api.get(answer.headers["Location"]).json()["payload"]["id"] == event["id"]


@pytest.mark.once
def test_replay_is_idempotent(org: Org, hook: str) -> None:
    path, key = f"{DELIVERIES}/{make_delivery(org, hook)}/replay", {"Idempotency-Key": secrets.token_hex(8)}
    first = org.api.post(path, headers=key, expect=201)
    assert org.api.post(path, headers=key, expect=201).content == first.content
    assert len(ids(org.api)) == 2


def test_nothing_is_replayed_to_a_disabled_webhook(org: Org, hook: str) -> None:
    made = make_delivery(org, hook)
    org.api.patch(f"{WEBHOOKS}/{hook}", {"enabled": False}, expect=200)
    assert org.api.post(f"{DELIVERIES}/{made}/replay", expect="webhook_disabled").status_code == 409
    org.api.post(f"{WEBHOOKS}/{hook}/recover", {"since": "2026-01-01T00:00:00Z"}, expect="webhook_disabled")
    org.api.delete(f"{WEBHOOKS}/{hook}", expect=204)
    org.api.post(f"{DELIVERIES}/{made}/replay", expect="webhook_disabled")


def test_nothing_is_replayed_of_a_forgotten_event(org: Org, hook: str) -> None:
    event = make_event(org, created_at="2026-01-01T00:00:00Z")
    made = make_delivery(org, hook, event)
    org.sql("DELETE FROM app.events WHERE id = %s", event["id"])
    assert org.api.post(f"{DELIVERIES}/{made}/replay", expect="event_not_kept").status_code == 410
    assert org.api.get(f"{DELIVERIES}/{made}", expect=200).json()["payload"] is None


def test_replay_of_a_test(org: Org) -> None:
    made = make_webhook(org, enabled=False)
    first = org.api.post(f"{WEBHOOKS}/{made['id']}/test", {"event_type": "file.ready"}, expect=202).json()
    new = org.api.post(f"{DELIVERIES}/{first['id']}/replay", expect=201).json()
    assert (new["test"], new["sequence"], new["event_id"], new["max_attempts"]) == (True, None, first["event_id"], 1)


def test_who_has_fewer_rights_replays_nothing(org: Org, hook: str) -> None:
    made = make_delivery(org, hook)
    org.with_capabilities("integrations.manage").post(f"{DELIVERIES}/{made}/replay", expect="capability_not_held")


def test_recover(org: Org, hook: str) -> None:
    """What was given up, once each; neither what is older, nor what arrived or waits, nor tests."""
    lost = [make_delivery(org, hook, make_event(org)) for _ in range(3)]
    make_delivery(org, hook, created_at="2026-01-01T00:00:00Z")
    twice = make_event(org)
    make_delivery(org, hook, twice)
    make_delivery(org, hook, twice)
    arrived = make_event(org)
    make_delivery(org, hook, arrived)
    make_delivery(org, hook, arrived, status="delivered")
    make_delivery(org, hook, make_event(org), status="queued")
    other = make_webhook(org)["id"]
    make_delivery(org, other)
    path, body = f"{WEBHOOKS}/{hook}/recover", {"since": "2026-06-01T00:00:00Z"}
    assert org.api.post(path, body, expect=202).json() == {"recovered": 4, "more": False}
    new = [d for d in org.api.get(f"{DELIVERIES}?limit=100").json()["data"] if d["replay_of"]]
    assert len({d["event_id"] for d in new}) == len(new) == 4
    assert {d["replay_of"] for d in new} > set(lost)
    assert all(d["webhook_id"] == hook and d["status"] == "queued" for d in new)
    assert org.api.post(path, body, expect=202).json() == {"recovered": 0, "more": False}
    org.api.post(f"{WEBHOOKS}/{NOBODY}/recover", body, expect="resource_not_found")


@pytest.mark.once
def test_recover_is_idempotent(org: Org, hook: str) -> None:
    make_delivery(org, hook)
    key = {"Idempotency-Key": secrets.token_hex(8)}
    body = {"since": "2026-06-01T00:00:00Z"}
    first = org.api.post(f"{WEBHOOKS}/{hook}/recover", body, headers=key, expect=202)
    assert org.api.post(f"{WEBHOOKS}/{hook}/recover", body, headers=key, expect=202).content == first.content
    assert first.json()["recovered"] == 1


@pytest.mark.parametrize(
    "body", [{}, {"since": None}, {"since": "yesterday"}, {"since": 0}, {"since": "2026-06-01T00:00:00Z", "until": "x"}])
def test_recover_out_of_bounds(org: Org, hook: str, body: dict[str, Any]) -> None:
    org.api.post(f"{WEBHOOKS}/{hook}/recover", body, expect="validation_failed")


# --- from an event to a delivery

def test_events_become_deliveries(org: Org) -> None:
    """Of those that want them: by type, by wildcard, by printer, by group; and of nobody who may not see them."""
    printer, other = org.make_printer()["id"], org.make_printer()["id"]
    group = org.make_group(printer_ids=[printer])["id"]
    hooks = {
        "all": make_webhook(org, subscriptions=["*"]), "kind": make_webhook(org, subscriptions=["printer.*"]),
        "type": make_webhook(org, subscriptions=["printer.updated"]), "else": make_webhook(org, subscriptions=["queue_item.*"]),
        "printer": make_webhook(org, subscriptions=["*"], filters={"printer_ids": [printer]}),
        "group": make_webhook(org, subscriptions=["*"], filters={"printer_group_ids": [group]}),
        "others": make_webhook(org, subscriptions=["*"], filters={"printer_ids": [other]}),
        "off": make_webhook(org, subscriptions=["*"], enabled=False),
    }  # fmt: skip
    narrow = org.with_capabilities("integrations.manage")
    hooks["blind"] = narrow.post(WEBHOOKS, {"name": "x", "endpoint_url": "https://nowhere.invalid/", "subscriptions": ["*"]}).json()
    org.api.patch(f"/v1/printers/{printer}", {"location": "there"}, expect=200)
    last = org.sql("SELECT id FROM app.outbox WHERE org_id = %s ORDER BY sequence DESC LIMIT 1", org.id)
    event = last[0][0] if last else org.sql("SELECT id FROM app.events WHERE org_id = %s ORDER BY sequence DESC LIMIT 1", org.id)[0][0]
    until(lambda: ids(org.api, f"event_id={event}"), what="deliveries of the event")
    got = {d["webhook_id"] for d in org.api.get(f"{DELIVERIES}?event_id={event}&limit=100").json()["data"]}
    assert got == {hooks[n]["id"] for n in ("all", "kind", "type", "printer", "group")}


def test_an_attempt_is_told(org: Org) -> None:
    """The courier of the stack tries it: the name is nobody's."""
    made = make_webhook(org)
    delivery = org.api.post(f"{WEBHOOKS}/{made['id']}/test", {"event_type": "print.failed"}, expect=202).json()["id"]

    def ended() -> dict[str, Any]:
        got = org.api.get(f"{DELIVERIES}/{delivery}", expect=200).json()
        return dict(got) if got["status"] == "failed" else {}

    got = until(ended, timeout_s=40, what="the end of a test")
    assert (got["attempts"], got["last_status"], got["retrying"], got["next_attempt_at"]) == (1, None, False, None)
    assert got["last_error"] in ("dns_failed", "timeout")
    assert [(a["attempt"], a["error"], a["signatures"]) for a in got["attempt_log"]] == [(1, got["last_error"], 1)]
    shown = org.api.get(f"{WEBHOOKS}/{made['id']}").json()
    assert (shown["status"], shown["consecutive_failures"], shown["queued"]) == ("active", 0, 0)
