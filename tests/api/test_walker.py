"""The two-organisation walker: every route of the contract, with every kind of credential, and with another
organisation's objects. Generated from the contract, so that a new route is walked or fails."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import walk
from api import Api
from contract import Contract, Operation
from keys import CAPABILITIES, new_key
from streams import Follower
from wait import until
from world import EVENTS, Org

pytestmark = pytest.mark.once

CONTRACT = walk.built_contract()
OPERATIONS = CONTRACT.operations
KEYED = [op for op in OPERATIONS if not op.public]
WITH_IDS = [op for op in KEYED if op.path_names]
CANARY = "canary-5f1e"
TABLES = ("printers", "printer_groups", "printer_group_members", "models", "collections", "collection_models",
          "profiles", "queue_items", "queue_item_files", "queue_settings", "queue_orders",
          "webhooks", "webhook_secrets", "notification_rules", "notifications",
          "files", "file_thumbnails")  # fmt: skip


class Pair:
    """Organisation A owns objects that carry the canary; B looks for them."""

    def __init__(self, make: Callable[[str], Org]) -> None:
        self.a, self.b = make(f"A {CANARY}"), make("B")
        for org in (self.a, self.b):
            org.api.get("/v1/me", expect=200)  # a new key's first request is judged by the default limits
        self.heard: list[tuple[str, str]] = []
        # Both look on all the time.
        self.streams = {org.id: Follower(f"{org.stack.url}/v1/events", org.stack.cacert, org.key) for org in (self.a, self.b)}

    def of_a(self, op: Operation) -> dict[str, str]:
        return walk.objects_of(self.a, op, CANARY)

    def of_b(self, op: Operation) -> dict[str, str]:
        return walk.objects_of(self.b, op, "own")

    def as_b(self, op: Operation, ids: dict[str, str], **kw: Any) -> httpx.Response:
        answer = walk.call(self.b.api, op, ids, **kw)
        said = answer.text + str(answer.headers)
        assert CANARY not in said, f"{op}: B reads A's canary: {said[:500]}"
        return answer

    def checksum(self) -> list[tuple[Any, ...]]:
        """A's rows. A key's last use is not one of its contents."""
        sums = [
            self.a.sql(f"SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM app.{table} t WHERE org_id = %s",
                       self.a.id)[0]
            for table in TABLES
        ]  # fmt: skip
        keys = self.a.sql(
            "SELECT md5(string_agg(concat(id, name, capabilities, printer_ids, expires_at, revoked_at, replaced_by,"
            " version), ',' ORDER BY id)) FROM app.api_keys WHERE org_id = %s", self.a.id)  # fmt: skip
        return [*sums, *keys]


@pytest.fixture(scope="module")
def pair(make_organisation: Callable[[str], Org]) -> Iterator[Pair]:
    made = Pair(make_organisation)
    yield made
    for stream in made.streams.values():
        stream.close()


@pytest.mark.parametrize("op", OPERATIONS, ids=str)
def test_own_key_reaches_own_objects(pair: Pair, op: Operation) -> None:
    answer = walk.call(pair.b.api, op, pair.of_b(op))
    assert answer.status_code < 300 or str(answer.status_code) == "302" in op.doc["responses"], answer.text


@pytest.mark.parametrize("op", WITH_IDS, ids=str)
def test_other_organisations_object_is_a_missing_one(pair: Pair, op: Operation) -> None:
    body = walk.BODIES[op.id]() if op.id in walk.BODIES else None
    ids, request_id = pair.of_a(op), {"X-Request-Id": f"walk-{secrets.token_hex(4)}"}
    before = pair.checksum()
    other = pair.as_b(op, ids, body=body, headers=request_id)
    missing = pair.as_b(op, walk.strangers(op.path_names), body=body, headers=request_id)
    assert other.status_code == 404
    assert other.json()["error"] == "resource_not_found"
    assert walk.shape_of(other) == walk.shape_of(missing)
    assert pair.checksum() == before


@pytest.mark.parametrize("op", WITH_IDS, ids=str)
def test_wrong_if_match_does_not_tell_of_other_organisations(pair: Pair, op: Operation) -> None:
    headers = {"X-Request-Id": "walk-if-match", "If-Match": '"c1.s1"', "If-None-Match": "*"}
    body = walk.BODIES[op.id]() if op.id in walk.BODIES else None
    other = pair.as_b(op, pair.of_a(op), body=body, headers=headers)
    missing = pair.as_b(op, walk.strangers(op.path_names), body=body, headers=headers)
    assert walk.shape_of(other) == walk.shape_of(missing)
    assert other.status_code == 404


@pytest.mark.parametrize(
    ("op", "member", "kind"),
    [(CONTRACT.by_id[o], m, k) for o, refs in walk.BODY_REFERENCES.items() for m, k in refs], ids=str,
)  # fmt: skip
def test_ids_in_bodies_do_not_reach_over(pair: Pair, op: Operation, member: str, kind: str) -> None:
    theirs = walk.make_object(pair.a, kind, CANARY)
    nobodys = walk.strangers([kind])[kind]
    before = pair.checksum()
    own = pair.of_b(op)
    body = walk.BODIES[op.id]()
    request_id = {"X-Request-Id": "walk-reference"}
    several = member.endswith("_ids")
    other = pair.as_b(op, own, body={**body, member: [theirs] if several else theirs}, headers=request_id)
    missing = pair.as_b(op, own, body={**body, member: [nobodys] if several else nobodys}, headers=request_id)
    assert other.status_code == 422, other.text
    assert other.json()["error"] in ("unknown_reference", "capability_not_held")
    assert other.content.replace(theirs.encode(), b"") == missing.content.replace(nobodys.encode(), b"")
    assert pair.checksum() == before


@pytest.mark.parametrize(
    ("op", "name", "kind"),
    [(CONTRACT.by_id[o], n, k) for o, refs in walk.QUERY_REFERENCES.items() for n, k in refs], ids=str,
)  # fmt: skip
def test_ids_in_queries_do_not_reach_over(pair: Pair, op: Operation, name: str, kind: str) -> None:
    theirs = walk.make_object(pair.a, kind, CANARY)
    other = pair.as_b(op, {}, params={name: theirs})
    missing = pair.as_b(op, {}, params={name: walk.strangers([kind])[kind]})
    assert other.content == missing.content
    assert other.json()["data"] == []


LISTS = [op for op in KEYED if "cursor" in [p["name"] for p in CONTRACT.parameters(op, "query")]]
WHOLE_LISTS = [op for op in LISTS if not op.path_names]


@pytest.mark.parametrize("op", LISTS, ids=str)
def test_lists_hold_nothing_of_others(pair: Pair, op: Operation) -> None:
    walk.make_objects(pair.a, CANARY)
    walk.make_objects(pair.b, "own")
    mine = pair.as_b(op, pair.of_b(op), params={"limit": 100})
    assert mine.json()["data"], "B's own list is empty: the test shows nothing"
    if any(p["name"] == "search" for p in CONTRACT.parameters(op, "query")):
        # The query echoes nowhere, so a canary in the answer would be A's.
        assert pair.as_b(op, {}, params={"search": CANARY}).json()["data"] == []


@pytest.mark.parametrize("op", WHOLE_LISTS, ids=str)
def test_cursors_do_not_reach_over(pair: Pair, op: Operation) -> None:
    for _ in range(3):
        walk.make_objects(pair.a, CANARY)
    walk.make_objects(pair.b, "own")
    cursor = walk.call(pair.a.api, op, {}, params={"limit": 1}).json()["next_cursor"]
    assert cursor
    answer = pair.as_b(op, {}, params={"limit": 100, "cursor": cursor})
    assert answer.status_code in (200, 400)


@pytest.mark.parametrize("op", [o for o in KEYED if o.doc.get("x-idempotent")], ids=str)
def test_idempotency_keys_do_not_reach_over(pair: Pair, op: Operation) -> None:
    idem = {"Idempotency-Key": secrets.token_hex(8)}
    body = walk.BODIES[op.id]() if op.id in walk.BODIES else None
    first = walk.call(pair.a.api, op, pair.of_a(op), body=body, headers=idem)
    again = pair.as_b(op, pair.of_b(op), body=body, headers=idem)
    assert first.status_code == again.status_code
    assert "Idempotent-Replayed" not in again.headers
    if op.id.startswith("create"):
        assert first.json()["id"] != again.json()["id"]


@pytest.mark.parametrize("op", KEYED, ids=str)
def test_no_key(pair: Pair, anonymous: Api, op: Operation) -> None:
    answer = walk.call(anonymous, op, pair.of_a(op), expect="missing_bearer_token")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="soloprint"'


@pytest.mark.parametrize("op", KEYED, ids=str)
def test_key_without_capabilities(pair: Pair, op: Operation) -> None:
    nothing = pair.a.with_capabilities()
    if op.capability == "any":
        answer = walk.call(nothing, op, walk.strangers(op.path_names))
        assert answer.status_code == (404 if op.path_names else 200)
        return
    request_id = {"X-Request-Id": "walk-nothing"}
    body = walk.BODIES[op.id]() if op.id in walk.BODIES else None
    ids = pair.of_a(op)
    before = pair.checksum()
    there = walk.call(nothing, op, ids, body=body, headers=request_id, expect="insufficient_permissions")
    missing = walk.call(nothing, op, walk.strangers(op.path_names), body=body, headers=request_id)
    assert walk.shape_of(there) == walk.shape_of(missing)
    assert f'scope="{op.capability}"' in there.headers["WWW-Authenticate"]
    if not op.path_names:
        assert pair.checksum() == before


REFUSED = {
    "unknown": (lambda org: new_key(), "invalid_api_key"),
    "malformed": (lambda org: "slp_live_nonsense", "invalid_api_key"),
    "checksum": (lambda org: org.key[:-1] + ("a" if org.key[-1] != "a" else "b"), "invalid_api_key"),
    "expired": (lambda org: org.make_key(expires_at="2026-01-01T00:00:00Z"), "expired_api_key"),
    "revoked": (lambda org: org.make_key(revoked_at="2026-01-01T00:00:00Z"), "revoked_api_key"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("op", KEYED, ids=str)
def test_refused_keys(pair: Pair, anonymous: Api, op: Operation, kind: str) -> None:
    make, code = REFUSED[kind]
    before = pair.checksum()
    key = make(pair.a)
    ids = walk.strangers(op.path_names)
    answer = walk.call(anonymous.with_key(key), op, ids, expect=code)
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    if kind not in ("expired", "revoked"):
        assert pair.checksum() == before


@pytest.mark.parametrize("op", KEYED, ids=str)
def test_suspended_organisation(make_organisation: Callable[[str], Org], op: Operation) -> None:
    org = make_organisation("")
    org.sql("UPDATE app.organizations SET state = 'suspended' WHERE org_id = %s", org.id)
    walk.call(org.api, op, walk.strangers(op.path_names), expect="organization_suspended")


@pytest.mark.parametrize("op", [o for o in OPERATIONS if o.public], ids=str)
def test_public_routes_ignore_credentials(pair: Pair, anonymous: Api, op: Operation) -> None:
    assert op.doc["x-public-because"]
    for api in (anonymous, pair.a.api, anonymous.with_key("nonsense")):
        assert walk.call(api, op, pair.of_a(op)).status_code in (200, 201)


@pytest.mark.parametrize("op", [o for o in KEYED if o.capability != "any"], ids=str)
def test_the_other_five_capabilities_open_nothing(pair: Pair, op: Operation) -> None:
    assert op.capability in CAPABILITIES
    key = pair.b.make_key([c for c in CAPABILITIES if c != op.capability])
    walk.call(pair.b.base.with_key(key), op, pair.of_b(op), expect="insufficient_permissions")


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("op", [o for o in KEYED if o.capability != "any"], ids=str)
def test_one_capability_opens_its_own_routes_only(pair: Pair, op: Operation, capability: str) -> None:
    answer = walk.call(pair.b.with_capabilities(capability), op, walk.strangers(op.path_names))
    assert (answer.status_code != 403) == (op.capability == capability), answer.text


def test_every_route_of_the_server_is_walked(contract: Contract) -> None:
    """What the server publishes is what this file was generated from, and every route has a probe."""
    walked = {(op.method, op.path, op.id) for op in OPERATIONS}
    assert {(op.method, op.path, op.id) for op in contract.operations} == walked
    for op in contract.operations:
        assert set(op.path_names) <= set(walk.OBJECTS), f"{op}: add its id to walk.OBJECTS"
        assert ("requestBody" in op.doc) == (op.id in walk.BODIES), f"{op}: add a body to walk.BODIES"
        assert op.doc["x-capability"] in (*CAPABILITIES, "any", "public")


def test_streams_hold_nothing_of_others(pair: Pair) -> None:
    """Last of all: everything that was told of either organisation meanwhile is in its own stream, nothing in the other's."""
    for org, canary in ((pair.a, CANARY), (pair.b, "own")):
        org.make_printer(name=f"{canary} at last")
    for org, other in ((pair.a, pair.b), (pair.b, pair.a)):
        stream = pair.streams[org.id]
        name = f"{CANARY if org is pair.a else 'own'} at last"
        until(lambda s=stream, n=name: any(m.data.get("name") == n for m in s.events), 10, what="the last event")
        told = {str(row[0]) for row in org.sql(f"SELECT e.id FROM {EVENTS} WHERE e.org_id = %s AND e.capability = ANY (%s)",
                                               org.id, list(CAPABILITIES))}  # fmt: skip
        got = {str(m.body["id"]) for m in stream.events}
        assert got <= told and len(got) > 1
        assert {m.body["organization_id"] for m in stream.messages} == {org.id}
        assert other.id not in json.dumps([m.body for m in stream.messages])
    assert CANARY not in json.dumps([m.body for m in pair.streams[pair.b.id].messages])
    assert CANARY in json.dumps([m.body for m in pair.streams[pair.a.id].messages])
