"""Lists: cursors, offsets, orders. One set of tests for every list of the contract."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from api import Api
from walk import built_contract
from world import Org

CONTRACT = built_contract()
SORTS = {
    op.id: [p["schema"]["enum"] for p in CONTRACT.parameters(op, "query") if p["name"] == "sort"]
    for op in CONTRACT.operations
    if "cursor" in [p["name"] for p in CONTRACT.parameters(op, "query")]
}
# Relevance is an order of searches only, and has tests of its own, as lists within an object have.
LISTS = {op: [s for s in sorts[0] if s != "relevance"] for op, sorts in SORTS.items()
         if sorts and not CONTRACT.by_id[op].path_names}  # fmt: skip
# What an order goes by, when it is not called so.
MEMBERS = {("listFiles", "name"): "filename", ("listFiles", "size"): "size_bytes"}
N = 23


@pytest.fixture(scope="module")
def full(make_organisation: Callable[[], Org]) -> Org:
    """An organisation with N of everything, several with equal names."""
    org = make_organisation()
    for i in range(N):
        org.make_printer(name=f"Name {i % 7} {'é' if i % 2 else 'e'}", tags=[f"t{i % 3}"])
        org.make_group(name=f"Group {i:02} {'a' if i % 2 else 'B'}")
        item = {"name": f"Item {i % 6}", "due_at": f"2027-01-0{1 + i % 7}T00:00:00Z"}
        org.api.post("/v1/platform/queue", item, expect=201)
    for i in range(N - 1):
        org.make_key(["operations.read"], name=f"Key {i % 5}")
    for statement in MADE_BY_SQL:
        org.sql(statement, N)
    return org


# Rows that only differ in what lists show. A tag is there because a model carries it; printers carry three.
MADE_BY_SQL = (
    "INSERT INTO app.files (org_id, filename, kind, content_type, size_bytes)"
    " SELECT app.org(), 'File ' || mod(i, 6), 'other', 'application/octet-stream', mod(i, 5) FROM generate_series(1, %s) AS i",
    "INSERT INTO app.models (org_id, name, tags)"
    " SELECT app.org(), 'Model ' || mod(i, 6), CASE WHEN i > 3 THEN ARRAY['tag-' || i] ELSE '{}' END FROM generate_series(1, %s) AS i",
    "INSERT INTO app.collections (org_id, name) SELECT app.org(), 'Collection ' || i FROM generate_series(1, %s) AS i",
    "INSERT INTO app.profiles (org_id, kind, name)"
    " SELECT app.org(), k, 'Preset ' || i FROM generate_series(1, %s) AS i, unnest(ARRAY['filament', 'printer']) AS k",
    "INSERT INTO app.jobs (org_id, kind, visible, run_after)"
    " SELECT app.org(), 'file.import', true, app.now() + '1 day'::interval FROM generate_series(1, %s)",
    "INSERT INTO app.webhooks (org_id, name, endpoint_url, subscriptions)"
    " SELECT app.org(), 'Hook ' || mod(i, 6), 'https://nowhere.invalid/', '{spool.empty}' FROM generate_series(1, %s) AS i",
    "INSERT INTO app.webhook_deliveries (org_id, webhook_id, event_id, event_type, capability, max_attempts, status, finished_at)"
    " SELECT w.org_id, w.id, app.uuid7(), 'spool.empty', 'operations.read', 1, 'failed', app.now() FROM app.webhooks AS w"
    " WHERE w.org_id = app.org() LIMIT %s",
    "INSERT INTO app.notification_rules (org_id, name, events, channel, principal_ids)"
    " SELECT app.org(), 'Rule ' || mod(i, 6), ARRAY['print.*'], 'in_app', ARRAY[app.principal()] FROM generate_series(1, %s) AS i",
    "INSERT INTO app.notifications (org_id, principal_id, event_id, sequence, type, capability, severity, title, data)"
    " SELECT k.org_id, k.principal_id, app.uuid7(), i, 'print.failed', 'operations.read', 'warning', 'Print ' || i, '{}'"
    " FROM generate_series(1, %s) AS i, app.api_keys AS k WHERE k.org_id = app.org() AND k.name = 'everything'",
)


def id_of(item: dict[str, Any]) -> Any:
    return item.get("id", item.get("name"))


def key_of(operation: str, sort: str, item: dict[str, Any]) -> Any:
    value = item[MEMBERS.get((operation, sort.removeprefix("-")), sort.removeprefix("-"))]
    return value.encode() if isinstance(value, str) else value


def path_of(operation: str) -> str:
    return CONTRACT.by_id[operation].path


def walk_pages(api: Api, path: str, limit: int, **params: Any) -> list[dict[str, Any]]:
    got: list[dict[str, Any]] = []
    cursor = None
    for _ in range(100):
        page = api.get(path, params={**params, "limit": limit, **({"cursor": cursor} if cursor else {})}).json()
        assert len(page["data"]) <= limit
        got += page["data"]
        cursor = page["next_cursor"]
        assert page["has_more"] == (cursor is not None)
        if not cursor:
            return got
    raise AssertionError("the pages do not end")


@pytest.mark.parametrize("operation", LISTS)
@pytest.mark.parametrize("limit", [1, 7, N, 100])
def test_every_item_once(full: Org, operation: str, limit: int) -> None:
    ids = [id_of(x) for x in walk_pages(full.api, path_of(operation), limit)]
    assert len(ids) == len(set(ids)) == N


@pytest.mark.parametrize(("operation", "sort"), [(o, s) for o, sorts in LISTS.items() for s in sorts])
def test_orders(full: Org, operation: str, sort: str) -> None:
    items = walk_pages(full.api, path_of(operation), 5, sort=sort)
    assert len(items) == N
    keys = [key_of(operation, sort, x) for x in items]
    assert keys == sorted(keys, reverse=sort.startswith("-"))
    whole = full.api.get(path_of(operation), params={"sort": sort, "limit": 100}).json()["data"]
    assert [id_of(x) for x in whole] == [id_of(x) for x in items]


@pytest.mark.parametrize("operation", LISTS)
def test_default_limit_is_50(full: Org, operation: str) -> None:
    schema = [p for p in CONTRACT.parameters(CONTRACT.by_id[operation], "query") if p["name"] == "limit"][0]["schema"]
    assert (schema["default"], schema["minimum"], schema["maximum"]) == (50, 1, 100)
    assert len(full.api.get(path_of(operation)).json()["data"]) == N


@pytest.mark.parametrize("operation", LISTS)
@pytest.mark.parametrize("name", ["offset", "skip"])
def test_offset(full: Org, operation: str, name: str) -> None:
    path = path_of(operation)
    every = [id_of(x) for x in full.api.get(path, params={"limit": 100}).json()["data"]]
    assert "total" not in full.api.get(path).json()
    answer = full.api.get(path, params={name: 5, "limit": 4})
    page = answer.json()
    assert [id_of(x) for x in page["data"]] == every[5:9]
    assert (page["total"], page["has_more"], page["next_cursor"]) == (N, True, None)
    assert answer.headers["X-Total-Count"] == str(N)
    last = full.api.get(path, params={name: N - 2, "limit": 4}).json()
    assert (len(last["data"]), last["has_more"]) == (2, False)
    beyond = full.api.get(path, params={name: 10000}).json()
    assert (beyond["data"], beyond["total"], beyond["has_more"]) == ([], N, False)


@pytest.mark.parametrize("operation", LISTS)
def test_cursor_belongs_to_its_list(full: Org, operation: str) -> None:
    path, sorts = path_of(operation), LISTS[operation]
    cursor = full.api.get(path, params={"limit": 2, "sort": sorts[0]}).json()["next_cursor"]
    full.api.get(path, params={"cursor": cursor, "sort": sorts[0], "limit": 9}, expect=200)
    full.api.get(path, params={"cursor": cursor, "sort": sorts[1]}, expect="invalid_cursor")
    for other in LISTS:
        if other != operation:
            full.api.get(path_of(other), params={"cursor": cursor}, expect="invalid_cursor")


def test_cursor_belongs_to_its_filter(full: Org) -> None:
    cursor = full.api.get("/v1/printers?tag=t1&limit=2").json()["next_cursor"]
    assert cursor
    full.api.get("/v1/printers", params={"tag": "t1", "cursor": cursor}, expect=200)
    full.api.get("/v1/printers", params={"tag": "t2", "cursor": cursor}, expect="invalid_cursor")
    full.api.get("/v1/printers", params={"cursor": cursor}, expect="invalid_cursor")


@pytest.mark.parametrize("operation", LISTS)
def test_tampered_cursors(full: Org, operation: str) -> None:
    path = path_of(operation)
    cursor = full.api.get(path, params={"limit": 2}).json()["next_cursor"]
    raw = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    bad = [cursor[:-1], cursor + "A", cursor[1:], cursor.swapcase(), "AAAA", "%", "x" * 1024, cursor + "=="]
    for at in range(0, len(raw), max(1, len(raw) // 16)):
        raw[at] ^= 1
        bad.append(base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("="))
        raw[at] ^= 1
    for text in bad:
        answer = full.api.get(path, params={"cursor": text})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_cursor"), text


def test_items_that_come_and_go(org: Org) -> None:
    """Paging by cursor neither repeats nor skips what stays."""
    kept = [org.make_printer(name=f"n{i}")["id"] for i in range(6)]
    first = org.api.get("/v1/printers?limit=3").json()
    org.api.delete(f"/v1/printers/{kept[0]}", expect=204)
    org.api.delete(f"/v1/printers/{kept[2]}", expect=204)
    org.make_printer(name="a new first")
    rest = org.api.get("/v1/printers", params={"limit": 100, "cursor": first["next_cursor"]}).json()
    assert [p["id"] for p in rest["data"]] == kept[3:]


def test_filter_and_total(full: Org) -> None:
    page = full.api.get("/v1/printers?tag=t0&offset=0&limit=100").json()
    assert page["total"] == len(page["data"]) == len([i for i in range(N) if i % 3 == 0])
