"""API keys: made once, shown once, restricted, rotated, revoked, watched."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from api import Api
from contract import Contract
from keys import CAPABILITIES, key_hash, with_checksum
from wait import until
from world import Org

KEYS = "/v1/platform/api-keys"


def create(api: Api, **attributes: Any) -> dict[str, Any]:
    body = {"name": "made", "capabilities": ["operations.read"], **attributes}
    return dict(api.post(KEYS, body, expect=201).json())


def test_create_shows_the_key_once(org: Org) -> None:
    answer = org.api.post(KEYS, {"name": "one", "capabilities": ["operations.read"]}, expect=201)
    made = answer.json()
    assert answer.headers["Location"] == f"{KEYS}/{made['id']}"
    assert answer.headers["Cache-Control"] == "no-store"
    assert re.fullmatch(r"slp_live_[0-9A-Za-z]{49}", made["key"])
    assert with_checksum(made["key"][:-6]) == made["key"]
    assert made["key"].startswith(made["prefix"])
    assert org.base.with_key(made["key"]).get("/v1/me", expect=200).json()["key"]["id"] == made["id"]
    for path in (KEYS, f"{KEYS}/{made['id']}"):
        assert made["key"][14:] not in org.api.get(path).text


def test_only_the_hash_is_stored(org: Org) -> None:
    made = create(org.api)
    row = org.sql("SELECT key_hash, prefix, k::text FROM app.api_keys k WHERE id = %s", made["id"])[0]
    assert bytes(row[0]) == key_hash(made["key"])
    assert made["key"] not in row[2]
    assert len(row[1]) <= 14


@pytest.mark.parametrize("kind", ["live", "dev"])
def test_kinds(org: Org, kind: str) -> None:
    made = create(org.api, kind=kind)
    assert made["kind"] == kind
    assert made["key"].startswith(f"slp_{kind}_")
    me = org.base.with_key(made["key"]).get("/v1/me", expect=200).json()
    assert me["principal"]["kind"] == {"live": "key", "dev": "device"}[kind]


def test_list_and_filter(org: Org) -> None:
    live = create(org.api, name="alive")
    gone = create(org.api, name="gone")
    org.api.delete(f"{KEYS}/{gone['id']}", expect=204)
    expired = org.key_id(org.make_key(name="late", expires_at="2026-01-01T00:00:00Z"))
    status = {k["id"]: k["status"] for k in org.api.get(KEYS).json()["data"]}
    assert (status[live["id"]], status[gone["id"]], status[expired]) == ("active", "revoked", "expired")
    for state, expected in (("revoked", {gone["id"]}), ("expired", {expired}), ("expired,revoked",
                                                                              {gone["id"], expired})):  # fmt: skip
        assert {k["id"] for k in org.api.get(f"{KEYS}?status={state}").json()["data"]} == expected


def test_detail_lists_the_surfaces(org: Org, contract: Contract) -> None:
    made = create(org.api, capabilities=["printer.manage"])
    surfaces = org.api.get(f"{KEYS}/{made['id']}", expect=200).json()["surfaces"]
    expected = {op.id for op in contract.operations if op.capability in ("printer.manage", "any", "public")}
    assert {s["operation"] for s in surfaces} in (
        expected, {op.id for op in contract.operations if op.capability in ("printer.manage", "any")},
    )  # fmt: skip
    for s in surfaces:
        op = contract.by_id[s["operation"]]
        assert (s["method"], s["path"], s["capability"]) == (op.method, op.path, op.capability)


def test_revocation_holds_from_the_next_request(org: Org) -> None:
    for _ in range(10):
        made = create(org.api)
        api = org.base.with_key(made["key"])
        api.get("/v1/printers", expect=200)
        org.api.delete(f"{KEYS}/{made['id']}", expect=204)
        api.get("/v1/printers", expect="revoked_api_key")
    org.api.delete(f"{KEYS}/{made['id']}", expect="api_key_already_revoked")
    assert org.api.get(f"{KEYS}/{made['id']}").json()["revoked_at"]


def test_a_key_can_revoke_itself(org: Org) -> None:
    me = org.api.get("/v1/me").json()["key"]["id"]
    org.api.delete(f"{KEYS}/{me}", expect=204)
    org.api.get("/v1/me", expect="revoked_api_key")


def test_capabilities_change_from_the_next_request(org: Org) -> None:
    made = create(org.api, capabilities=["operations.read"])
    api = org.base.with_key(made["key"])
    api.get("/v1/printers", expect=200)
    org.api.patch(f"{KEYS}/{made['id']}", {"capabilities": ["queue.manage"]}, expect=200)
    api.get("/v1/printers", expect="insufficient_permissions")


def test_expiry(org: Org) -> None:
    made = create(org.api, expires_at="2099-01-01T00:00:00Z")
    assert made["expires_at"].startswith("2099-01-01T00:00:00")
    api = org.base.with_key(made["key"])
    api.get("/v1/me", expect=200)
    org.sql("UPDATE app.api_keys SET expires_at = app.now() - interval '1 second' WHERE id = %s", made["id"])
    api.get("/v1/me", expect="expired_api_key")


def test_patch_clears_with_null(org: Org) -> None:
    made = create(org.api, expires_at="2099-01-01T00:00:00Z", cidrs=["127.0.0.0/8"], rate_limits={"read": 7})
    after = org.api.patch(f"{KEYS}/{made['id']}", {"expires_at": None, "cidrs": None, "rate_limits": None}).json()
    assert (after["expires_at"], after["cidrs"], after["rate_limits"]) == (None, None, None)
    assert after["capabilities"] == ["operations.read"]


# --- restrictions

def test_networks(org: Org) -> None:
    here = org.with_capabilities("operations.read", cidrs=["198.51.100.0/24", "127.0.0.0/8", "::1/128"])
    here.get("/v1/printers", expect=200)
    away = org.with_capabilities("operations.read", cidrs=["198.51.100.0/24", "2001:db8::/32"])
    assert away.get("/v1/printers", expect="address_not_allowed").status_code == 403
    away.get("/v1/me", expect="address_not_allowed")


def test_single_addresses_become_networks(org: Org) -> None:
    made = create(org.api, cidrs=["198.51.100.7", "2001:db8::1"])
    assert made["cidrs"] == ["198.51.100.7/32", "2001:db8::1/128"]


def test_printer_restriction(org: Org) -> None:
    one, two = org.make_printer(name="one"), org.make_printer(name="two")
    group = org.make_group(printer_ids=[one["id"], two["id"]])
    api = org.with_capabilities(*CAPABILITIES, printer_ids=[one["id"]])
    assert [p["id"] for p in api.get("/v1/printers").json()["data"]] == [one["id"]]
    assert api.get("/v1/printers?offset=0").json()["total"] == 1
    api.get(f"/v1/printers/{one['id']}", expect=200)
    for method, path in (("GET", ""), ("GET", "/status"), ("POST", "/refresh-status"), ("DELETE", "")):
        api.request(method, f"/v1/printers/{two['id']}{path}", expect="resource_not_found")
    api.patch(f"/v1/printers/{two['id']}", {"location": "x"}, expect="resource_not_found")
    assert api.get(f"/v1/printer-groups/{group['id']}").json()["printer_ids"] == [one["id"]]
    assert api.get("/v1/org/context").json()["printer_ids"] == [one["id"]]


def test_printer_restriction_null_is_all_and_empty_is_none(org: Org) -> None:
    made = org.make_printer()
    assert len(org.with_capabilities("operations.read").get("/v1/printers").json()["data"]) == 1
    none = org.with_capabilities("operations.read", printer_ids=[])
    assert none.get("/v1/printers").json()["data"] == []
    none.get(f"/v1/printers/{made['id']}", expect="resource_not_found")
    assert create(org.api, printer_ids=[])["printer_ids"] == []
    assert create(org.api)["printer_ids"] is None


def test_restricted_key_adds_no_printers(org: Org) -> None:
    api = org.with_capabilities("printer.manage", printer_ids=[])
    answer = api.post("/v1/printers", {"name": "x", "protocol": "bambu"})
    assert answer.status_code == 403


# --- minting

@pytest.mark.parametrize("wanted", CAPABILITIES)
def test_minting_within_own_capabilities(org: Org, wanted: str) -> None:
    api = org.with_capabilities("integrations.manage", "operations.read")
    body = {"name": "minted", "capabilities": [wanted]}
    if wanted in ("integrations.manage", "operations.read"):
        api.post(KEYS, body, expect=201)
    else:
        assert api.post(KEYS, body, expect="capability_not_held").status_code == 422


def test_minting_within_own_restrictions(org: Org) -> None:
    one, two = org.make_printer()["id"], org.make_printer()["id"]
    api = org.with_capabilities("integrations.manage", "operations.read", printer_ids=[one])
    assert create(api, printer_ids=[one])["printer_ids"] == [one]
    assert create(api, printer_ids=[])["printer_ids"] == []
    for beyond in (None, [one, two]):
        answer = api.post(KEYS, {"name": "x", "capabilities": [], "printer_ids": beyond})
        assert answer.status_code == 422, answer.text
    narrow = org.with_capabilities("integrations.manage", cidrs=["127.0.0.0/8", "::1/128"])
    assert create(narrow, capabilities=[], cidrs=["127.0.0.0/16"])
    narrow.post(KEYS, {"name": "x", "capabilities": [], "cidrs": None}, expect="capability_not_held")
    slow = org.with_capabilities("integrations.manage", rate_limits=json.dumps({"read": 50, "write": 50, "burst": 50}))
    slow.post(KEYS, {"name": "x", "capabilities": [], "rate_limits": {"read": 51}}, expect="capability_not_held")


def test_a_key_cannot_raise_itself_or_stronger_ones(org: Org) -> None:
    weak = org.make_key(["integrations.manage"])
    api = org.base.with_key(weak)
    strong = org.key_id(org.key)
    api.patch(f"{KEYS}/{org.key_id(weak)}", {"capabilities": list(CAPABILITIES)}, expect="capability_not_held")
    for method, path, body in (("PATCH", "", {"name": "mine now"}), ("DELETE", "", None), ("POST", "/rotate", {})):
        answer = api.request(method, f"{KEYS}/{strong}{path}", **({"json": body} if body is not None else {}))
        assert (answer.status_code, answer.json()["error"]) == (422, "capability_not_held"), answer.text
    org.api.get("/v1/me", expect=200)


def test_unknown_printers_in_a_restriction(org: Org) -> None:
    body = {"name": "x", "capabilities": [], "printer_ids": ["0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70"]}
    org.api.post(KEYS, body, expect="unknown_reference")


# --- rotation

def test_rotation_with_overlap(org: Org) -> None:
    made = create(org.api, cidrs=["127.0.0.0/8", "::1/128"], rate_limits={"read": 777})
    answer = org.api.post(f"{KEYS}/{made['id']}/rotate", {"grace_seconds": 3600}, expect=201)
    new = answer.json()
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Location"] == f"{KEYS}/{new['id']}"
    assert new["key"] != made["key"]
    for same in ("name", "capabilities", "cidrs", "rate_limits", "printer_ids", "kind", "owner"):
        assert new[same] == made[same], same
    assert new["rotated_from"] == made["id"]
    old = org.api.get(f"{KEYS}/{made['id']}").json()
    assert (old["status"], old["replaced_by"]) == ("rotating", new["id"])
    for key in (made["key"], new["key"]):
        org.base.with_key(key).get("/v1/printers", expect=200)
    org.api.post(f"{KEYS}/{made['id']}/rotate", expect="api_key_already_rotated")
    org.sql("UPDATE app.api_keys SET expires_at = app.now() - interval '1 s' WHERE id = %s", made["id"])
    org.base.with_key(made["key"]).get("/v1/printers", expect="expired_api_key")
    org.base.with_key(new["key"]).get("/v1/printers", expect=200)


def test_rotation_without_overlap(org: Org) -> None:
    made = create(org.api)
    new = org.api.post(f"{KEYS}/{made['id']}/rotate", {"grace_seconds": 0}, expect=201).json()
    org.base.with_key(made["key"]).get("/v1/printers", expect="expired_api_key")
    org.base.with_key(new["key"]).get("/v1/printers", expect=200)


def test_rotation_does_not_lengthen_a_life(org: Org) -> None:
    made = create(org.api)
    org.sql("UPDATE app.api_keys SET expires_at = app.now() + interval '60 s' WHERE id = %s", made["id"])
    before = org.api.get(f"{KEYS}/{made['id']}").json()["expires_at"]
    org.api.post(f"{KEYS}/{made['id']}/rotate", {"grace_seconds": 604800}, expect=201)
    assert org.api.get(f"{KEYS}/{made['id']}").json()["expires_at"] == before


def test_revoked_keys_do_not_rotate(org: Org) -> None:
    made = create(org.api)
    org.api.delete(f"{KEYS}/{made['id']}", expect=204)
    org.api.post(f"{KEYS}/{made['id']}/rotate", expect="api_key_already_revoked")
    org.api.patch(f"{KEYS}/{made['id']}", {"name": "x"}, expect="api_key_already_revoked")


# --- what it was used for

def test_usage_and_last_use(org: Org) -> None:
    key = org.make_key(["operations.read"])
    api, path = org.base.with_key(key), f"{KEYS}/{org.key_id(key)}"
    assert org.api.get(path).json()["last_used_at"] is None
    api.get("/v1/printers", expect=200)
    api.get("/v1/me", expect=200)

    def reached() -> dict[str, Any]:
        return {u["operation"]: u for u in org.api.get(f"{path}/usage").json()["data"]}

    usage = until(lambda: reached() if {"listPrinters", "getMe"} <= reached().keys() else None, what="usage rows")
    assert usage["listPrinters"]["count"] >= 1
    assert (usage["listPrinters"]["method"], usage["listPrinters"]["path"]) == ("GET", "/v1/printers")
    assert org.api.get(path).json()["last_used_at"]


def test_last_use_is_coarse_and_changes_no_version(org: Org) -> None:
    key = org.make_key(["operations.read"])
    api, path = org.base.with_key(key), f"{KEYS}/{org.key_id(key)}"
    api.get("/v1/printers", expect=200)
    until(lambda: org.api.get(path).json()["last_used_at"])
    first = org.api.get(path)
    for _ in range(20):
        api.get("/v1/printers", expect=200)
    again = org.api.get(path)
    assert again.json()["last_used_at"] == first.json()["last_used_at"]
    version = org.sql("SELECT version FROM app.api_keys WHERE id = %s", org.key_id(key))
    assert version == [(1,)]


def test_refused_requests_are_not_used(org: Org) -> None:
    key = org.make_key([])
    org.base.with_key(key).get("/v1/printers", expect="insufficient_permissions")
    assert org.api.get(f"{KEYS}/{org.key_id(key)}/usage").json()["data"] == []


def test_keys_are_audited_without_secrets(org: Org) -> None:
    made = create(org.api, name="audited")
    org.api.delete(f"{KEYS}/{made['id']}", expect=204)
    rows = org.sql("SELECT action, a::text FROM app.audit_log a WHERE target_id = %s ORDER BY at", made["id"])
    assert [r[0] for r in rows] == ["api_key.created", "api_key.revoked"]
    for _, text in rows:
        assert made["key"] not in text
        assert key_hash(made["key"]).hex() not in text
