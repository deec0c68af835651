"""Operations: what clients see of long work, and cancelling it. That the work is done: tests/faults/test_courier.py."""

from __future__ import annotations

from typing import Any

import pytest
from operations import FINAL, make_operation, some_id
from world import Org

STATES = ("queued", "running", *FINAL)


def get(org: Org, operation: str) -> dict[str, Any]:
    return dict(org.api.get(f"/v1/operations/{operation}", expect=200).json())


def listed(org: Org, **params: Any) -> list[str]:
    return [o["id"] for o in org.api.get("/v1/operations", params=params, expect=200).json()["data"]]


@pytest.mark.parametrize("state", STATES)
def test_get(org: Org, state: str) -> None:
    about = some_id()
    operation = make_operation(org, state, resource_type="file", resource_id=about)
    seen = get(org, operation)
    assert seen["status"] == state
    assert seen["kind"] == "test.walk"
    assert seen["resource"] == {"type": "file", "id": about}
    assert (seen["finished_at"] is None) == (state not in FINAL)
    assert (seen["started_at"] is None) == (state == "queued")
    assert "params" not in seen


@pytest.mark.parametrize(
    ("progress", "percent"),
    [
        ({"done": 0, "total": 3}, 0), ({"done": 1, "total": 3}, 33.3), ({"done": 3, "total": 3}, 100),
        ({"done": 9, "total": 3}, 100), ({"done": 7, "total": None}, None), ({"done": 0, "total": 0}, None),
        ({"done": 8_000_000_000_000, "total": 9_000_000_000_000}, 88.9),
    ],
)  # fmt: skip
def test_progress(org: Org, progress: dict[str, Any], percent: float | None) -> None:
    operation = make_operation(org, "running", progress=progress)
    assert get(org, operation)["progress"] == {**progress, "percent": percent}


def test_outcome(org: Org) -> None:
    done = get(org, make_operation(org, "succeeded", result={"file_id": "x", "n": 1}))
    assert (done["result"], done["error"], done["resource"], done["progress"]) == ({"file_id": "x", "n": 1}, None, None, None)
    failed = get(org, make_operation(org, "failed", error={"code": "http_404", "message": "The server said 404."}))
    assert failed["error"] == {"code": "http_404", "message": "The server said 404."}


def test_etag(org: Org) -> None:
    operation = make_operation(org, "running", progress={"done": 1, "total": 2})
    first = org.api.get(f"/v1/operations/{operation}", expect=200)
    same = {"If-None-Match": first.headers["ETag"]}
    assert org.api.get(f"/v1/operations/{operation}", headers=same, expect=304).content == b""
    org.sql("UPDATE app.jobs SET progress = '{\"done\": 2, \"total\": 2}' WHERE id = %s", operation)
    moved = org.api.get(f"/v1/operations/{operation}", headers=same, expect=200)
    assert moved.headers["ETag"] != first.headers["ETag"]
    assert moved.json()["progress"]["percent"] == 100


def test_what_is_no_operation(org: Org) -> None:
    """Jobs that nobody asked for are the server's own business."""
    hidden = make_operation(org, visible=False)
    org.api.get(f"/v1/operations/{hidden}", expect="resource_not_found")
    org.api.post(f"/v1/operations/{hidden}/cancel", expect="resource_not_found")
    assert listed(org) == []
    org.api.get(f"/v1/operations/{some_id()}", expect="resource_not_found")
    org.api.get("/v1/operations/1", expect="invalid_parameter")


def test_list(org: Org) -> None:
    made = {s: make_operation(org, s, kind=f"test.{s}") for s in STATES}
    newest_first = list(made.values())[::-1]
    assert listed(org) == newest_first
    assert listed(org, sort="created_at") == newest_first[::-1]
    assert listed(org, status="running") == [made["running"]]
    assert listed(org, status="queued,failed") == [made["failed"], made["queued"]]
    assert listed(org, kind="test.failed") == [made["failed"]]
    assert listed(org, kind="test.failed", status="queued") == []
    assert listed(org, resource_id=some_id()) == []


def test_list_of_one_object(org: Org) -> None:
    about = some_id()
    mine = [make_operation(org, resource_type="file", resource_id=about) for _ in range(2)]
    make_operation(org, resource_type="file", resource_id=some_id())
    assert listed(org, resource_id=about, sort="created_at") == mine


@pytest.mark.parametrize("sort", ["created_at", "-created_at"])
def test_paging(org: Org, sort: str) -> None:
    made = [make_operation(org) for _ in range(7)]
    want = made if sort == "created_at" else made[::-1]
    got: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = org.api.get("/v1/operations", params={"sort": sort, "limit": 3, **cursor}, expect=200).json()
        got += [o["id"] for o in page["data"]]
        if not page["has_more"]:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert got == want
    page = org.api.get("/v1/operations", params={"sort": sort, "limit": 2, "offset": 4}, expect=200).json()
    assert ([o["id"] for o in page["data"]], page["total"]) == (want[4:6], 7)


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"cursor": "nonsense"}, "invalid_cursor"), ({"offset": 10001}, "offset_too_large"),
        ({"status": "done"}, "invalid_parameter"), ({"kind": "x"}, "invalid_parameter"),
        ({"resource_id": "x"}, "invalid_parameter"), ({"sort": "kind"}, "invalid_parameter"),
        ({"state": "queued"}, "unknown_parameter"),
    ],
)  # fmt: skip
def test_list_refuses(org: Org, params: dict[str, Any], code: str) -> None:
    org.api.get("/v1/operations", params=params, expect=code)


def test_cancel_what_waits(org: Org) -> None:
    operation = make_operation(org)
    cancelled = org.api.post(f"/v1/operations/{operation}/cancel", expect=200).json()
    assert (cancelled["status"], cancelled["started_at"]) == ("cancelled", None)
    assert cancelled["finished_at"]
    assert get(org, operation) == cancelled
    org.api.post(f"/v1/operations/{operation}/cancel", expect="operation_finished")


def test_cancel_what_runs(org: Org) -> None:
    operation = make_operation(org, "running")
    for _ in range(2):
        assert org.api.post(f"/v1/operations/{operation}/cancel", expect=202).json()["status"] == "running"
    assert org.sql("SELECT cancel_requested_at IS NOT NULL FROM app.jobs WHERE id = %s", operation) == [(True,)]


@pytest.mark.parametrize("state", FINAL)
def test_cancel_what_has_ended(org: Org, state: str) -> None:
    operation = make_operation(org, state)
    org.api.post(f"/v1/operations/{operation}/cancel", expect="operation_finished")
    assert get(org, operation)["status"] == state


def test_cancel_is_idempotent(org: Org) -> None:
    operation, key = make_operation(org), {"Idempotency-Key": "cancel-1"}
    first = org.api.post(f"/v1/operations/{operation}/cancel", headers=key, expect=200)
    again = org.api.post(f"/v1/operations/{operation}/cancel", headers=key, expect=200)
    assert again.content == first.content
    assert again.headers["Idempotent-Replayed"] == "true"


def test_keys(org: Org) -> None:
    """Reading and managing are two rights; a key that is limited to printers sees what the organisation does."""
    operation = make_operation(org)
    reader, manager = org.with_capabilities("operations.read"), org.with_capabilities("queue.manage")
    limited = org.with_capabilities("operations.read", "queue.manage", printer_ids=[])
    for api in (reader, limited):
        assert api.get(f"/v1/operations/{operation}", expect=200).json()["id"] == operation
    reader.post(f"/v1/operations/{operation}/cancel", expect="insufficient_permissions")
    manager.get("/v1/operations", expect="insufficient_permissions")
    manager.post(f"/v1/operations/{operation}/cancel", expect=200)


def test_tenant_walls(org: Org, other_org: Org) -> None:
    theirs = make_operation(other_org, resource_type="file", resource_id=(about := some_id()))
    org.api.get(f"/v1/operations/{theirs}", expect="resource_not_found")
    org.api.post(f"/v1/operations/{theirs}/cancel", expect="resource_not_found")
    assert listed(org, resource_id=about) == []
    assert get(other_org, theirs)["status"] == "queued"


def test_health_knows_the_courier(org: Org) -> None:
    health = org.api.get("/v1/health", expect=200).json()
    assert health["components"]["courier"] == {"status": "healthy", "message": None}
