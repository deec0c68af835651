"""Webhooks: made once, their secret shown once, bound to the rights of their maker, changed, rotated, tried, deleted."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from api import Api, fields
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hooks import DELIVERIES, QUIET, TYPES, URL, WEBHOOKS, key_bytes, make_delivery, make_webhook, opened
from keys import CAPABILITIES
from world import Org

NOBODY = "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70"
GOOD = {"name": "good", "endpoint_url": URL, "subscriptions": ["*"]}


def refused(api: Api, expect: str, **members: Any) -> dict[str, str]:
    """What is said of a good webhook with other members."""
    return fields(api.post(WEBHOOKS, {**GOOD, **members}, expect=expect))


# --- creating

def test_the_published_example(org: Org) -> None:
    """The request of the public documentation, byte by byte."""
    body = b"""{
    "name": "Operations endpoint",
    "endpoint_url": "https://example.com/webhooks/soloprint",
    "subscriptions": ["queue_item.assigned", "spool_assignment.created"],
    "max_attempts": 5,
    "retry_backoff_seconds": 300
  }"""
    answer = org.api.post(WEBHOOKS, content=body, headers={"Content-Type": "application/json"}, expect=201)
    made = answer.json()
    assert answer.headers["Location"] == f"{WEBHOOKS}/{made['id']}"
    assert answer.headers["Cache-Control"] == "no-store"
    for name, value in json.loads(body).items():
        assert made[name] == value, name
    # No courier knows example.com here; nothing happens to it before somebody prints.
    org.api.delete(answer.headers["Location"], expect=204)


def test_defaults(org: Org) -> None:
    made = make_webhook(org, name="plain")
    expected = {
        "name": "plain", "endpoint_url": URL, "subscriptions": QUIET, "filters": {"printer_ids": [], "printer_group_ids": []},
        "max_attempts": 10, "retry_backoff_seconds": None, "signature": "hmac", "public_key": None, "header_names": [],
        "notification_email": None, "enabled": True, "status": "active", "disabled_reason": None, "disabled_at": None,
        "failing_since": None, "consecutive_failures": 0, "last_attempt_at": None, "last_success_at": None, "last_error": None,
        "queued": 0, "version": 1,
    }  # fmt: skip
    assert {k: made[k] for k in expected} == expected
    assert made["created_by"] == org.sql("SELECT principal_id FROM app.api_keys WHERE id = %s", org.key_id(org.key))[0][0].__str__()


def test_every_member(org: Org) -> None:
    printer, group = org.make_printer()["id"], org.make_group()["id"]
    body = {
        "name": "Ünï 🖨", "endpoint_url": "https://hooks.nowhere.invalid:8443/a?b=c", "subscriptions": ["queue_item.*", "print.failed"],
        "filters": {"printer_ids": [printer], "printer_group_ids": [group]}, "max_attempts": 15, "retry_backoff_seconds": 86400,
        "signature": "ed25519", "headers": {"Authorization": "Bearer x", "X-Team": "lab"},
        "notification_email": "ops+hooks@example.com", "enabled": False,
    }  # fmt: skip
    made = org.api.post(WEBHOOKS, body, expect=201).json()
    for name in set(body) - {"headers"}:
        assert made[name] == body[name], name
    assert made["header_names"] == ["Authorization", "X-Team"]
    assert (made["status"], made["disabled_reason"]) == ("disabled", None)
    assert made["disabled_at"]


def test_hmac_secret_is_shown_once(org: Org) -> None:
    made = make_webhook(org)
    assert len(key_bytes(made["signing_secret"], "whsec_")) == 32
    assert make_webhook(org)["signing_secret"] != made["signing_secret"]
    for path in (WEBHOOKS, f"{WEBHOOKS}/{made['id']}"):
        text = org.api.get(path, expect=200).text
        assert "signing_secret" not in text
        assert made["signing_secret"] not in text
    assert "signing_secret" not in org.api.patch(f"{WEBHOOKS}/{made['id']}", {"name": "x"}, expect=200).text


def test_ed25519_shows_its_public_key_only(org: Org) -> None:
    made = make_webhook(org, signature="ed25519")
    assert made["signing_secret"] is None
    assert len(key_bytes(made["public_key"], "whpk_")) == 32
    assert org.api.get(f"{WEBHOOKS}/{made['id']}").json()["public_key"] == made["public_key"]
    assert "whsk_" not in json.dumps(made)


def test_nothing_secret_is_stored_or_told(org: Org) -> None:
    """Neither a signing secret nor a header's value is in the database, in audit rows, in events or in kept answers."""
    value = f"Bearer {secrets.token_hex(8)}"
    made = org.api.post(WEBHOOKS, {**GOOD, "headers": {"Authorization": value}}, headers={"Idempotency-Key": "once"}, expect=201).json()
    path = f"{WEBHOOKS}/{made['id']}"
    again = f"Token {secrets.token_hex(8)}"
    org.api.patch(path, {"headers": {"Authorization": again}}, expect=200)
    rotated = org.api.post(f"{path}/rotate-secret", headers={"Idempotency-Key": "twice"}, expect=200).json()
    hidden = [value, again, made["signing_secret"], rotated["signing_secret"], "whsk_"]
    hidden += [v.encode().hex() for v in hidden] + [key_bytes(rotated["signing_secret"], "whsec_").hex()]
    rows = org.sql(
        "SELECT string_agg(x.t, ' ') FROM (SELECT w::text AS t FROM app.webhooks w UNION ALL SELECT s::text FROM app.webhook_secrets s"
        " UNION ALL SELECT a::text FROM app.audit_log a UNION ALL SELECT o::text FROM app.outbox o"
        " UNION ALL SELECT e::text FROM app.events e UNION ALL SELECT i::text FROM app.idempotency_keys i) AS x"
    )[0][0]
    assert made["id"] in rows
    for text in hidden:
        assert text not in rows
    for answer in (org.api.get(path), org.api.get(WEBHOOKS), org.api.get(f"{WEBHOOKS}?search=nowhere")):
        assert not any(text in answer.text for text in hidden)


def secrets_of(org: Org, webhook: str) -> list[str]:
    """The live signing secrets, oldest first, as the courier opens them."""
    rows = org.sql("SELECT id::text, secret_sealed FROM app.webhook_secrets WHERE webhook_id = %s ORDER BY created_at, id", webhook)
    return [opened(org, "webhook_secrets|secret", row_id, bytes(sealed)) for row_id, sealed in rows]


def headers_of(org: Org, webhook: str) -> dict[str, str]:
    sealed = org.sql("SELECT headers_sealed FROM app.webhooks WHERE id = %s", webhook)[0][0]
    return dict(json.loads(opened(org, "webhooks|headers", webhook, bytes(sealed))))


def test_the_courier_opens_what_was_shown(org: Org) -> None:
    headers = {"Authorization": "Bearer \"x\" / y", "X-Team": "lab"}
    made = make_webhook(org, headers=headers)
    path = f"{WEBHOOKS}/{made['id']}"
    assert secrets_of(org, made["id"]) == [made["signing_secret"]]
    assert headers_of(org, made["id"]) == headers
    new = org.api.post(f"{path}/rotate-secret", expect=200).json()["signing_secret"]
    assert secrets_of(org, made["id"]) == [made["signing_secret"], new]
    org.api.patch(path, {"headers": {"X-Team": "shop"}}, expect=200)
    assert headers_of(org, made["id"]) == {"X-Team": "shop"}


def test_the_courier_has_the_public_keys_other_half(org: Org) -> None:
    made = make_webhook(org, signature="ed25519")
    shown = [made, org.api.post(f"{WEBHOOKS}/{made['id']}/rotate-secret", expect=200).json()]
    for public, private in zip(shown, secrets_of(org, made["id"]), strict=True):
        pair = key_bytes(private, "whsk_")
        mine = Ed25519PrivateKey.from_private_bytes(pair[:32]).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        assert key_bytes(public["public_key"], "whpk_") == mine == pair[32:]


@contextmanager
def unlucky(org: Org, name: str) -> Iterator[None]:
    """The database refuses webhooks of this name, for no reason that the contract knows."""
    function = f"public.unlucky_{secrets.token_hex(4)}"
    org.db.execute(f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS"
                   " $$ BEGIN RAISE EXCEPTION 'the moon is wrong'; END $$")  # fmt: skip
    org.db.execute(f"GRANT EXECUTE ON FUNCTION {function}() TO PUBLIC")
    org.db.execute(f"CREATE TRIGGER unlucky BEFORE INSERT ON app.webhooks FOR EACH ROW WHEN (NEW.name = '{name}')"
                   f" EXECUTE FUNCTION {function}()")  # fmt: skip
    try:
        yield
    finally:
        org.db.execute("DROP TRIGGER unlucky ON app.webhooks")
        org.db.execute(f"DROP FUNCTION {function}()")


def test_webhook_create_failed(org: Org) -> None:
    name = f"unlucky {secrets.token_hex(4)}"
    with unlucky(org, name):
        answer = org.api.post(WEBHOOKS, {**GOOD, "name": name}, expect="webhook_create_failed")
    assert answer.status_code == 500
    assert isinstance(answer.json()["details"], str)
    assert "moon" not in answer.text
    assert org.api.get(WEBHOOKS).json()["data"] == []


# --- what is refused

@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://nowhere.invalid/", "bad_url"),
        ("ftp://nowhere.invalid/", "bad_url"),
        ("nowhere.invalid", "bad_url"),
        ("https://user:password@nowhere.invalid/", "bad_url"),
        ("https://nowhere.invalid/#part", "bad_url"),
        ("https://nowhere.invalid:22/", "bad_url"),
        ("https://localhost/", "bad_url"),
        ("https://nowhere.invalid/a b", "bad_url"),
        ("https://127.0.0.1/", "blocked_address"),
        ("https://10.1.2.3/", "blocked_address"),
        ("https://169.254.169.254/latest/meta-data", "blocked_address"),
        ("https://[::1]/", "blocked_address"),
        ("https://[::ffff:10.0.0.1]/", "blocked_address"),
        ("https://[fd00::1]/", "blocked_address"),
    ],
)
def test_urls_that_nothing_is_sent_to(org: Org, url: str, code: str) -> None:
    assert refused(org.api, "validation_failed", endpoint_url=url) == {"/endpoint_url": code}
    made = make_webhook(org)
    answer = org.api.patch(f"{WEBHOOKS}/{made['id']}", {"endpoint_url": url}, expect="validation_failed")
    assert fields(answer) == {"/endpoint_url": code}
    assert org.api.get(f"{WEBHOOKS}/{made['id']}").json()["endpoint_url"] == URL


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": " x"}, "/name"),
        ({"name": "x" * 121}, "/name"),
        ({"endpoint_url": None}, "/endpoint_url"),
        ({"endpoint_url": "https://nowhere.invalid/" + "x" * 2048}, "/endpoint_url"),
        ({"subscriptions": []}, "/subscriptions"),
        ({"subscriptions": None}, "/subscriptions"),
        ({"subscriptions": ["*", "*"]}, "/subscriptions/1"),
        ({"subscriptions": ["queue_item"]}, "/subscriptions/0"),
        ({"subscriptions": ["*.created"]}, "/subscriptions/0"),
        ({"subscriptions": ["queue_item.a*"]}, "/subscriptions/0"),
        ({"subscriptions": ["Queue_item.created"]}, "/subscriptions/0"),
        ({"subscriptions": [f"print.x_{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(101)]}, "/subscriptions"),
        ({"max_attempts": 0}, "/max_attempts"),
        ({"max_attempts": 16}, "/max_attempts"),
        ({"max_attempts": None}, "/max_attempts"),
        ({"retry_backoff_seconds": 0}, "/retry_backoff_seconds"),
        ({"retry_backoff_seconds": 86401}, "/retry_backoff_seconds"),
        ({"signature": "rsa"}, "/signature"),
        ({"enabled": None}, "/enabled"),
        ({"filters": {"classes": []}}, "/filters/classes"),
        ({"filters": {"printer_ids": None}}, "/filters/printer_ids"),
        ({"filters": {"printer_ids": ["x"]}}, "/filters/printer_ids/0"),
        ({"notification_email": "ops"}, "/notification_email"),
        ({"notification_email": "ops@localhost"}, "/notification_email"),
        ({"notification_email": "a@b.c\nBcc: d@e.f"}, "/notification_email"),
        ({"headers": {"X A": "b"}}, "/headers/X A"),
        ({"headers": {"X-A": ""}}, "/headers/X-A"),
        ({"headers": {"X-A": "b\r\nHost: c"}}, "/headers/X-A"),
        ({"headers": {"X-A": "é"}}, "/headers/X-A"),
        ({"headers": {"X-A": "b" * 4097}}, "/headers/X-A"),
        ({"headers": {"X-A": None}}, "/headers/X-A"),
        ({"headers": {f"X-{i}": "b" for i in range(21)}}, "/headers"),
        ({"secret": "whsec_x"}, "/secret"),
        ({"public_key": "whpk_x"}, "/public_key"),
    ],
    ids=lambda v: str(v)[:50],
)
def test_members_out_of_bounds(api: Api, change: dict[str, Any], pointer: str) -> None:
    assert pointer in refused(api, "validation_failed", **change)


@pytest.mark.parametrize("name", ["name", "endpoint_url", "subscriptions"])
def test_required_members(api: Api, name: str) -> None:
    answer = api.post(WEBHOOKS, {k: v for k, v in GOOD.items() if k != name}, expect="validation_failed")
    assert fields(answer) == {f"/{name}": "required"}


@pytest.mark.parametrize(
    "name",
    ["Host", "content-length", "Content-Type", "Content-Encoding", "webhook-id", "Webhook-Signature", "Connection", "Keep-Alive",
     "Transfer-Encoding", "TE", "Trailer", "Upgrade", "Expect", "Proxy-Authorization", "Date", "Accept-Encoding", "User-Agent", "Via",
     "Forwarded", "X-Forwarded-For", "X-SoLoPrint-Anything", "Sec-Fetch-Site"],
)  # fmt: skip
def test_reserved_headers(org: Org, name: str) -> None:
    assert refused(org.api, "validation_failed", headers={"X-Good": "x", name: "x"}) == {f"/headers/{name}": "reserved"}


def test_headers_of_one_name(org: Org) -> None:
    assert refused(org.api, "validation_failed", headers={"X-A": "1", "x-a": "2"}) == {"/headers/x-a": "duplicate"}


def test_names_like_reserved_ones(org: Org) -> None:
    names = ["Hosts", "X-Host", "Te-st", "Webhook", "Proxy", "Authorization", "Cookie"]
    assert make_webhook(org, headers=dict.fromkeys(names, "x" * 4096))["header_names"] == names


def test_faults_of_url_and_headers_are_told_together(org: Org) -> None:
    said = refused(org.api, "validation_failed", endpoint_url="https://127.0.0.1/", headers={"Host": "x", "TE": "x"})
    assert said == {"/endpoint_url": "blocked_address", "/headers/Host": "reserved", "/headers/TE": "reserved"}


def test_unknown_types(org: Org) -> None:
    said = refused(org.api, "validation_failed", subscriptions=["print.failed", "print.exploded", "nothing.*"])
    assert said == {"/subscriptions/1": "unknown_event_type", "/subscriptions/2": "unknown_event_type"}
    assert org.api.get(WEBHOOKS).json()["data"] == []


def test_filters_name_what_there_is(org: Org, other_org: Org) -> None:
    theirs, group = other_org.make_printer()["id"], other_org.make_group()["id"]
    mine = org.make_printer()["id"]
    said = refused(org.api, "unknown_reference", filters={"printer_ids": [mine, theirs], "printer_group_ids": [group]})
    assert said == {"/filters/printer_ids/1": "unknown_reference", "/filters/printer_group_ids/0": "unknown_reference"}
    nobody = refused(org.api, "unknown_reference", filters={"printer_ids": [NOBODY]})
    assert nobody == {"/filters/printer_ids/0": "unknown_reference"}
    restricted = org.with_capabilities(*CAPABILITIES, printer_ids=[])
    assert refused(restricted, "unknown_reference", filters={"printer_ids": [mine]}) == {"/filters/printer_ids/0": "unknown_reference"}


# --- rights

def test_types_need_their_capability(org: Org) -> None:
    api = org.with_capabilities("integrations.manage")
    assert refused(api, "capability_not_held", subscriptions=["webhook.disabled", "print.failed"]) == {
        "/subscriptions/1": "capability_not_held"}  # fmt: skip
    assert refused(api, "capability_not_held", subscriptions=["queue_item.*"]) == {"/subscriptions/0": "capability_not_held"}
    api.post(WEBHOOKS, {**GOOD, "subscriptions": ["webhook.*", "*"]}, expect=201)


def test_wildcards_mean_what_their_maker_may_see(org: Org) -> None:
    printer = org.make_printer()["id"]
    api = org.with_capabilities("integrations.manage", "operations.read", printer_ids=[printer])
    made = api.post(WEBHOOKS, GOOD, expect=201).json()
    held = org.sql("SELECT capabilities, printer_ids::text[] FROM app.webhooks WHERE id = %s", made["id"])[0]
    assert sorted(held[0]) == ["integrations.manage", "operations.read"]
    assert held[1] == [printer]


@pytest.mark.parametrize("narrow", ["capabilities", "printers"])
def test_a_key_does_not_touch_what_has_more_rights(org: Org, narrow: str) -> None:
    """Else it would have somebody else's events sent to itself."""
    strong = make_webhook(org, subscriptions=["*"])
    weak = (org.with_capabilities("integrations.manage") if narrow == "capabilities"
            else org.with_capabilities(*CAPABILITIES, printer_ids=[org.make_printer()["id"]]))  # fmt: skip
    path = f"{WEBHOOKS}/{strong['id']}"
    weak.get(path, expect=200)
    for method, more, body in (
        ("PATCH", "", {"endpoint_url": "https://elsewhere.invalid/"}), ("PATCH", "", {"name": "mine"}), ("PATCH", "", {"enabled": False}),
        ("PATCH", "", {"headers": {"X": "y"}}), ("DELETE", "", None), ("POST", "/rotate-secret", {}), ("POST", "/test", {}),
        ("POST", "/recover", {"since": "2026-01-01T00:00:00Z"}),
    ):  # fmt: skip
        answer = weak.request(method, path + more, **({"json": body} if body is not None else {}), expect="capability_not_held")
        assert answer.status_code == 422
    assert org.api.get(path).json()["version"] == 1


def test_a_change_makes_it_its_changers(org: Org) -> None:
    weak = org.with_capabilities("integrations.manage", "operations.read")
    made = weak.post(WEBHOOKS, GOOD, expect=201).json()
    path = f"{WEBHOOKS}/{made['id']}"

    def held() -> int:
        return len(org.sql("SELECT capabilities FROM app.webhooks WHERE id = %s", made["id"])[0][0])

    org.api.patch(path, {"name": "another name"}, expect=200)
    assert held() == 2
    org.api.patch(path, {"subscriptions": ["*", "member.*"]}, expect=200)
    assert held() == len(CAPABILITIES)
    weak.patch(path, {"name": "mine again"}, expect="capability_not_held")


def test_other_organisations_webhooks_are_not_there(org: Org, other_org: Org) -> None:
    made = make_webhook(org)
    path = f"{WEBHOOKS}/{made['id']}"
    other_org.api.get(path, expect="resource_not_found")
    other_org.api.patch(path, {"name": "x"}, expect="resource_not_found")
    other_org.api.patch(path, {"subscriptions": ["no.such"]}, expect="resource_not_found")
    for more, body in (("/rotate-secret", {}), ("/test", {}), ("/recover", {"since": "2026-01-01T00:00:00Z"})):
        other_org.api.post(path + more, body, expect="resource_not_found")
    other_org.api.delete(path, expect="resource_not_found")
    assert other_org.api.get(WEBHOOKS).json()["data"] == []


# --- reading

def test_list_search_and_status(org: Org) -> None:
    one = make_webhook(org, name="Alpha", endpoint_url="https://one.invalid/")
    two = make_webhook(org, name="Beta", enabled=False)
    three = make_webhook(org, name="Gamma")
    org.sql("UPDATE app.webhook_status SET failing_since = app.now(), consecutive_failures = 3, last_error = 'timeout',"
            " last_attempt_at = app.now() WHERE webhook_id = %s", three["id"])  # fmt: skip

    def ids(query: str) -> list[str]:
        return [w["name"] for w in org.api.get(f"{WEBHOOKS}?sort=name&{query}", expect=200).json()["data"]]

    assert ids("") == ["Alpha", "Beta", "Gamma"]
    assert ids("search=alp") == ["Alpha"]
    assert ids("search=one.inv") == ["Alpha"]
    assert ids("search=%25") == []
    assert ids("status=active") == ["Alpha"]
    assert ids("status=disabled") == ["Beta"]
    assert ids("status=failing,disabled") == ["Beta", "Gamma"]
    assert org.api.get(f"{WEBHOOKS}?status=failing&offset=0").json()["total"] == 1
    org.api.get(f"{WEBHOOKS}?status=asleep", expect="invalid_parameter")
    shown = org.api.get(f"{WEBHOOKS}/{three['id']}").json()
    assert (shown["status"], shown["consecutive_failures"], shown["last_error"]) == ("failing", 3, "timeout")
    assert {one["id"], two["id"], three["id"]} == {w["id"] for w in org.api.get(WEBHOOKS).json()["data"]}


def test_queued_counts_what_waits(org: Org) -> None:
    made = make_webhook(org)
    for status in ("queued", "queued", "failed", "delivered"):
        make_delivery(org, made["id"], status=status)
    assert org.api.get(f"{WEBHOOKS}/{made['id']}").json()["queued"] == 2


# --- changing

def test_patch_merges(org: Org) -> None:
    printer, group = org.make_printer()["id"], org.make_group()["id"]
    made = make_webhook(org, filters={"printer_ids": [printer]}, headers={"X-A": "1"}, retry_backoff_seconds=60,
                        notification_email="a@example.com", max_attempts=3)  # fmt: skip
    path = f"{WEBHOOKS}/{made['id']}"
    after = org.api.patch(path, {"filters": {"printer_group_ids": [group]}, "name": "b"}, expect=200).json()
    assert after["filters"] == {"printer_ids": [printer], "printer_group_ids": [group]}
    kept = ("endpoint_url", "subscriptions", "max_attempts", "retry_backoff_seconds", "notification_email", "header_names", "signature")
    assert {k: after[k] for k in kept} == {k: made[k] for k in kept}
    assert (after["name"], after["version"]) == ("b", 2)
    after = org.api.patch(path, {"filters": None, "headers": None, "retry_backoff_seconds": None, "notification_email": None}).json()
    assert after["filters"] == {"printer_ids": [], "printer_group_ids": []}
    assert (after["header_names"], after["retry_backoff_seconds"], after["notification_email"]) == ([], None, None)
    assert org.sql("SELECT headers_sealed FROM app.webhooks WHERE id = %s", made["id"]) == [(None,)]
    after = org.api.patch(path, {"subscriptions": ["print.*"], "max_attempts": 1, "endpoint_url": "https://else.invalid/x"}).json()
    assert (after["subscriptions"], after["max_attempts"], after["endpoint_url"]) == (["print.*"], 1, "https://else.invalid/x")


def test_headers_are_replaced_as_a_whole(org: Org) -> None:
    made = make_webhook(org, headers={"X-A": "1", "X-B": "2"})
    path = f"{WEBHOOKS}/{made['id']}"
    sealed = "SELECT headers_sealed FROM app.webhooks WHERE id = %s"
    before = org.sql(sealed, made["id"])
    assert org.api.patch(path, {"name": "c"}).json()["header_names"] == ["X-A", "X-B"]
    assert org.sql(sealed, made["id"]) == before
    assert org.api.patch(path, {"headers": {"X-C": "3"}}).json()["header_names"] == ["X-C"]
    assert org.sql(sealed, made["id"]) != before
    assert org.api.patch(path, {"headers": {}}).json()["header_names"] == []


def test_empty_patch_changes_nothing(org: Org) -> None:
    made = make_webhook(org)
    assert org.api.patch(f"{WEBHOOKS}/{made['id']}", {}, expect=200).json()["version"] == 1


def test_what_cannot_be_changed(org: Org) -> None:
    path = f"{WEBHOOKS}/{make_webhook(org)['id']}"
    for body in ({"signature": "ed25519"}, {"public_key": "x"}, {"status": "active"}, {"disabled_reason": None}):
        assert set(fields(org.api.patch(path, body, expect="validation_failed"))) == {f"/{next(iter(body))}"}
    assert fields(org.api.patch(path, {"subscriptions": ["no.such"]}, expect="validation_failed")) == {
        "/subscriptions/0": "unknown_event_type"}  # fmt: skip
    assert fields(org.api.patch(path, {"filters": {"printer_ids": [NOBODY]}}, expect="unknown_reference")) == {
        "/filters/printer_ids/0": "unknown_reference"}  # fmt: skip
    assert org.api.get(path).json()["version"] == 1


def test_etag_and_if_match(org: Org) -> None:
    made = make_webhook(org)
    path = f"{WEBHOOKS}/{made['id']}"
    tag = org.api.get(path, expect=200).headers["ETag"]
    org.api.get(path, headers={"If-None-Match": tag}, expect=304)
    org.sql("UPDATE app.webhook_status SET consecutive_failures = 1, failing_since = app.now() WHERE webhook_id = %s", made["id"])
    org.api.get(path, headers={"If-None-Match": tag}, expect=304)
    after = org.api.patch(path, {"name": "b"}, headers={"If-Match": tag}, expect=200)
    assert after.headers["ETag"] != tag
    org.api.patch(path, {"name": "c"}, headers={"If-Match": tag}, expect="precondition_failed")
    org.api.patch(path, {"subscriptions": ["no.such"]}, headers={"If-Match": tag}, expect="validation_failed")
    org.api.delete(path, headers={"If-Match": tag}, expect="precondition_failed")
    org.api.delete(path, headers={"If-Match": after.headers["ETag"]}, expect=204)


def test_disable_and_enable(org: Org) -> None:
    made = make_webhook(org)
    path = f"{WEBHOOKS}/{made['id']}"
    off = org.api.patch(path, {"enabled": False}, expect=200).json()
    assert (off["status"], off["enabled"], off["disabled_reason"]) == ("disabled", False, None)
    org.sql("UPDATE app.webhooks SET disabled_reason = 'failing' WHERE id = %s", made["id"])
    org.sql("UPDATE app.webhook_status SET failing_since = app.now(), consecutive_failures = 40 WHERE webhook_id = %s", made["id"])
    assert org.api.get(path).json()["disabled_reason"] == "failing"
    on = org.api.patch(path, {"enabled": True}, expect=200).json()
    expected = {"status": "active", "enabled": True, "disabled_reason": None, "disabled_at": None, "failing_since": None,
                "consecutive_failures": 0}  # fmt: skip
    assert {k: on[k] for k in expected} == expected


def test_delete(org: Org) -> None:
    made = make_webhook(org)
    path = f"{WEBHOOKS}/{made['id']}"
    delivery = make_delivery(org, made["id"])
    org.api.delete(path, expect=204)
    for method in ("GET", "DELETE"):
        org.api.request(method, path, expect="resource_not_found")
    org.api.patch(path, {"name": "x"}, expect="resource_not_found")
    for more, body in (("/rotate-secret", {}), ("/test", {}), ("/recover", {"since": "2026-01-01T00:00:00Z"})):
        org.api.post(path + more, body, expect="resource_not_found")
    assert org.api.get(WEBHOOKS).json()["data"] == []
    assert org.api.get(f"{DELIVERIES}/{delivery}", expect=200).json()["webhook_id"] == made["id"]


def test_changes_are_audited_and_told(org: Org) -> None:
    made = make_webhook(org)
    path = f"{WEBHOOKS}/{made['id']}"
    org.api.patch(path, {"name": "b", "headers": {"X-A": "1"}}, expect=200)
    org.api.post(f"{path}/rotate-secret", expect=200)
    org.api.delete(path, expect=204)
    rows = org.sql("SELECT action, changes FROM app.audit_log WHERE target_id = %s ORDER BY id", made["id"])
    assert [r[0] for r in rows] == ["webhook.created", "webhook.updated", "webhook.updated", "webhook.deleted"]
    assert rows[1][1]["headers"] == "changed"
    assert rows[2][1] == {"secret": "changed"}


# --- rotation

@pytest.mark.parametrize("signature", ["hmac", "ed25519"])
def test_rotation_with_overlap(org: Org, signature: str) -> None:
    made = make_webhook(org, signature=signature)
    answer = org.api.post(f"{WEBHOOKS}/{made['id']}/rotate-secret", {"overlap_seconds": 3600}, expect=200)
    new = answer.json()
    assert answer.headers["Cache-Control"] == "no-store"
    shown = {"hmac": "signing_secret", "ed25519": "public_key"}[signature]
    assert new[shown] != made[shown]
    assert len(key_bytes(new[shown], {"hmac": "whsec_", "ed25519": "whpk_"}[signature])) == 32
    assert (new["signing_secret"] is None) == (signature == "ed25519")
    left = org.sql("SELECT round(extract(epoch FROM expires_at - app.now()) / 60) FROM app.webhook_secrets WHERE webhook_id = %s"
                   " ORDER BY created_at", made["id"])  # fmt: skip
    assert left == [(60,), (None,)]


def test_rotation_by_default_overlaps_a_day(org: Org) -> None:
    made = make_webhook(org)
    org.api.post(f"{WEBHOOKS}/{made['id']}/rotate-secret", expect=200)
    left = org.sql("SELECT round(extract(epoch FROM min(expires_at) - app.now()) / 3600) FROM app.webhook_secrets WHERE webhook_id = %s",
                   made["id"])  # fmt: skip
    assert left == [(24,)]


def test_rotation_at_once(org: Org) -> None:
    made = make_webhook(org)
    org.api.post(f"{WEBHOOKS}/{made['id']}/rotate-secret", {"overlap_seconds": 0}, expect=200)
    live = org.sql("SELECT count(*) FROM app.webhook_secrets WHERE webhook_id = %s AND (expires_at > app.now()) IS NOT FALSE", made["id"])
    assert live == [(1,)]


def test_too_many_secrets(org: Org) -> None:
    path = f"{WEBHOOKS}/{make_webhook(org)['id']}/rotate-secret"
    codes = [org.api.post(path, {"overlap_seconds": 600}).status_code for _ in range(11)]
    assert 200 in codes
    assert codes[-1] == 409
    org.api.post(path, {"overlap_seconds": 600}, expect="too_many_secrets")
    org.api.post(path, {"overlap_seconds": 0}, expect=200)


def test_too_many_webhooks(org: Org) -> None:
    gone = make_webhook(org)["id"]
    org.sql("INSERT INTO app.webhooks (name, endpoint_url, subscriptions) SELECT 'x', 'https://example.com/', '{*}'"
            " FROM generate_series(1, 199)")  # fmt: skip
    body = {"name": "One more", "endpoint_url": "https://example.com/", "subscriptions": ["*"]}
    org.api.post(WEBHOOKS, body, expect="too_many_webhooks")
    org.api.delete(f"{WEBHOOKS}/{gone}", expect=204)
    org.api.post(WEBHOOKS, body, expect=201)


@pytest.mark.parametrize("overlap", [-1, 604801, "1 h", None])
def test_overlap_out_of_bounds(org: Org, overlap: Any) -> None:
    path = f"{WEBHOOKS}/{make_webhook(org)['id']}/rotate-secret"
    assert set(fields(org.api.post(path, {"overlap_seconds": overlap}, expect="validation_failed"))) == {"/overlap_seconds"}


# --- trying it

def test_test_sends_an_example(org: Org) -> None:
    made = make_webhook(org, enabled=False)  # nothing but tests goes to it
    types = {t["type"]: t for t in org.api.get(TYPES, expect=200).json()["data"]}
    delivery = org.api.post(f"{WEBHOOKS}/{made['id']}/test", {"event_type": "printer.offline"}, expect=202).json()
    expected = {"webhook_id": made["id"], "event_type": "printer.offline", "sequence": None, "test": True, "replay_of": None,
                "max_attempts": 1, "status": "queued"}  # fmt: skip
    assert {k: delivery[k] for k in expected} == expected
    payload = org.api.get(f"{DELIVERIES}/{delivery['id']}", expect=200).json()["payload"]
    assert list(payload) == ["id", "type", "timestamp", "organization_id", "sequence", "data"]
    assert (payload["id"], payload["type"], payload["sequence"]) == (delivery["event_id"], "printer.offline", None)
    assert payload["organization_id"] == org.id
    assert payload["data"] == types["printer.offline"]["example"]


@pytest.mark.parametrize(
    ("subscriptions", "sent"),
    [(["print.failed", "print.started"], "print.failed"), (["queue_item.*", "file.ready"], "file.ready"),
     (["webhook.*"], "webhook.created")],
)  # fmt: skip
def test_test_of_what_it_is_subscribed_to(org: Org, subscriptions: list[str], sent: str) -> None:
    made = make_webhook(org, subscriptions=subscriptions)
    for body in ({}, None):
        assert org.api.post(f"{WEBHOOKS}/{made['id']}/test", body, expect=202).json()["event_type"] == sent


def test_test_of_an_unknown_type(org: Org) -> None:
    path = f"{WEBHOOKS}/{make_webhook(org)['id']}/test"
    answer = org.api.post(path, {"event_type": "print.exploded"}, expect="unknown_reference")
    assert fields(answer) == {"/event_type": "unknown_event_type"}
    org.api.post(path, {"event_type": "print.*"}, expect="validation_failed")


def test_test_by_a_key_that_is_bound_to_printers(org: Org) -> None:
    api = org.with_capabilities(*CAPABILITIES, printer_ids=[org.make_printer()["id"]])
    made = api.post(WEBHOOKS, {**GOOD, "enabled": False}, expect=201).json()
    delivery = api.post(f"{WEBHOOKS}/{made['id']}/test", {}, expect=202).json()
    assert api.get(f"{DELIVERIES}/{delivery['id']}", expect=200).json()["payload"]


# --- once

@pytest.mark.once
def test_create_is_idempotent_and_sealed(org: Org) -> None:
    key = {"Idempotency-Key": secrets.token_hex(8)}
    body = {**GOOD, "headers": {"X-A": "1"}}
    first = org.api.post(WEBHOOKS, body, headers=key, expect=201)
    again = org.api.post(WEBHOOKS, body, headers=key, expect=201)
    assert again.content == first.content
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(org.api.get(WEBHOOKS).json()["data"]) == 1
    org.api.post(WEBHOOKS, {**body, "headers": {"X-A": "2"}}, headers=key, expect="idempotency_key_reused")
    kept = org.sql("SELECT sealed FROM app.idempotency_keys WHERE org_id = %s", org.id)
    assert kept == [(True,)]


@pytest.mark.once
@pytest.mark.parametrize("action", ["rotate-secret", "test"])
def test_actions_are_idempotent(org: Org, action: str) -> None:
    made = make_webhook(org, enabled=False)
    key = {"Idempotency-Key": secrets.token_hex(8)}
    first = org.api.post(f"{WEBHOOKS}/{made['id']}/{action}", {}, headers=key)
    again = org.api.post(f"{WEBHOOKS}/{made['id']}/{action}", {}, headers=key)
    assert first.content == again.content
    assert first.status_code in (200, 202)
    count = "SELECT (SELECT count(*) FROM app.webhook_secrets WHERE webhook_id = w) + (SELECT count(*) FROM app.webhook_deliveries" \
            " WHERE webhook_id = w) FROM (VALUES (%s::uuid)) AS v (w)"  # fmt: skip
    assert org.sql(count, made["id"]) == [(2,)]
