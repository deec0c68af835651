"""Rate limits. Each test has its own key: a bucket is a key's."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest
from api import Api
from contract import LIMIT_HEADERS
from world import Org


def limited(org: Org, *capabilities: str, **limits: int) -> Api:
    rates = {"read": 1000, "write": 1000, "control": 1000, "burst": 1000, **limits}
    return org.with_capabilities(*(capabilities or ("operations.read",)), rate_limits=json.dumps(rates))


def exhaust(api: Api, method: str, path: str, most: int, **kw: Any) -> tuple[int, httpx.Response]:
    """How many requests went through, and the first refused answer."""
    for n in range(most):
        answer = api.request(method, path, **kw)
        if answer.status_code == 429:
            return n, answer
    raise AssertionError(f"{most} requests were not refused")


def test_headers_of_three_families(org: Org) -> None:
    answer = limited(org, read=100).get("/v1/printers", expect=200)
    for name in LIMIT_HEADERS:
        assert len(answer.headers.get_list(name)) == 1, name
    assert answer.headers["X-RateLimit-Limit"] == "100"
    assert 0 <= int(answer.headers["X-RateLimit-Remaining"]) < 100
    assert time.time() - 5 <= int(answer.headers["X-RateLimit-Reset"]) <= time.time() + 65
    assert '"read";q=100;w=60' in answer.headers["RateLimit-Policy"]
    assert answer.headers["RateLimit"].startswith('"')
    assert ";r=" in answer.headers["RateLimit"] and ";t=" in answer.headers["RateLimit"]


def test_read_limit(org: Org) -> None:
    n, answer = exhaust(limited(org, read=8), "GET", "/v1/printers", 30)
    assert 8 <= n <= 10  # the first request may be measured by the defaults
    assert answer.json()["error"] == "rate_limited"
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert answer.headers["X-RateLimit-Remaining"] == "0" or "X-RateLimit-Remaining" not in answer.headers


def test_classes_are_apart(org: Org) -> None:
    api = limited(org, "operations.read", "printer.manage", read=5, write=5, control=3)
    exhaust(api, "GET", "/v1/printers", 30)
    api.post("/v1/printer-groups", {"name": "still"}, expect=201)
    exhaust(api, "POST", "/v1/printer-groups", 30, json={"name": "still"})
    made = org.make_printer()
    org.connected(made["id"])
    path = f"/v1/printers/{made['id']}/refresh-status"
    api.post(path, expect=202)
    exhaust(api, "POST", path, 30)


def test_refused_write_has_no_effect(org: Org) -> None:
    api = limited(org, "printer.manage", write=4)
    names = [f"n{i}" for i in range(20)]
    done = [n for n in names if api.post("/v1/printer-groups", {"name": n}).status_code == 201]
    assert 4 <= len(done) <= 6
    assert {g["name"] for g in org.api.get("/v1/printer-groups").json()["data"]} == set(done)


def test_burst(org: Org) -> None:
    api = limited(org, read=100000, burst=5)
    api.get("/v1/printers")  # from here on the key's own limits hold
    answers = [api.get("/v1/printers") for _ in range(60)]
    refused = [a for a in answers if a.status_code == 429]
    assert refused
    assert int(refused[0].headers["Retry-After"]) == 1


def test_organisations_override(org: Org) -> None:
    limits = json.dumps({"read": 6, "burst": 1000})
    org.sql("UPDATE app.organizations SET rate_limits = %s WHERE org_id = %s", limits, org.id)
    api = org.with_capabilities("operations.read", rate_limits=None)
    n, _ = exhaust(api, "GET", "/v1/me", 40)
    assert 6 <= n <= 8


def test_defaults(org: Org) -> None:
    org.sql("UPDATE app.organizations SET rate_limits = %s WHERE org_id = %s", json.dumps({"burst": 100000}), org.id)
    api = org.with_capabilities("operations.read", rate_limits=None)
    assert api.get("/v1/me").headers["X-RateLimit-Limit"] == "100"
    n, _ = exhaust(api, "GET", "/v1/me", 140)
    assert 95 <= n <= 115


def test_keys_have_their_own_buckets(org: Org) -> None:
    one, two = limited(org, read=3), limited(org, read=3)
    exhaust(one, "GET", "/v1/me", 20)
    two.get("/v1/me", expect=200)


def test_not_modified_and_errors_count_too(org: Org) -> None:
    api = limited(org, read=5)
    n, _ = exhaust(api, "GET", "/v1/printers/0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70", 30)
    assert n <= 7


def test_public_routes_are_not_limited_by_keys(anonymous: Api) -> None:
    for _ in range(60):
        assert anonymous.get("/v1/public/version").status_code == 200


def test_both_header_spellings_share_a_bucket(org: Org) -> None:
    key = org.make_key(["operations.read"], rate_limits=json.dumps({"read": 6, "burst": 1000}))
    n = 0
    for i in range(30):
        headers = {"X-API-Key": key} if i % 2 else {"Authorization": f"Bearer {key}"}
        if org.base.get("/v1/me", headers=headers).status_code == 429:
            break
        n += 1
    assert n <= 8


def test_it_recovers(org: Org) -> None:
    """600 a minute are 10 a second: the bucket has room again within the announced time."""
    api = limited(org, read=600, burst=4)
    api.get("/v1/me")
    _, answer = exhaust(api, "GET", "/v1/me", 100)
    deadline = time.monotonic() + int(answer.headers["Retry-After"]) + 2
    while api.get("/v1/me").status_code == 429:
        assert time.monotonic() < deadline


@pytest.mark.parametrize("change", [{"read": 3}, {"read": 500}])
def test_changed_limits_hold_soon(org: Org, change: dict[str, int]) -> None:
    key = org.make_key(["operations.read"], rate_limits=json.dumps({"read": 50, "burst": 1000}))
    api = org.base.with_key(key)
    assert api.get("/v1/me").headers["X-RateLimit-Limit"] in ("50", "100")
    org.api.patch(f"/v1/platform/api-keys/{org.key_id(key)}", {"rate_limits": {**change, "burst": 1000}}, expect=200)
    seen = [api.get("/v1/me") for _ in range(3)]
    assert seen[-1].headers["X-RateLimit-Limit"] == str(change["read"])
