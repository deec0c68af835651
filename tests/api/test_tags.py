"""Tags across the organization."""

from __future__ import annotations

from typing import Any

from world import Org

T = "/v1/tags"


def rows(org: Org, query: str = "") -> list[tuple[Any, ...]]:
    data = org.api.get(f"{T}?{query}", expect=200).json()["data"]
    return [(t["name"], t["count"], t["model_count"], t["file_count"], t["printer_count"]) for t in data]


def add_file(org: Org, *tags: str, deleted: bool = False) -> None:
    org.sql("INSERT INTO app.files (org_id, filename, kind, content_type, tags) VALUES (app.org(), 'x.stl', 'stl',"
            " 'model/stl', %s)", list(tags))  # fmt: skip
    if deleted:
        org.sql("UPDATE app.files SET deleted_at = app.now() WHERE tags = %s", list(tags))


def test_counts(org: Org, other_org: Org) -> None:
    assert org.api.get(T, expect=200).json() == {"data": [], "has_more": False, "next_cursor": None}
    other_org.make_model(tags=["a", "theirs"])
    org.make_model(tags=["a", "b"])
    org.make_model(tags=["a"])
    org.make_printer(tags=["a", "lab"])
    add_file(org, "b", "f")
    add_file(org, "b", "trash", deleted=True)
    assert rows(org) == [("a", 3, 2, 0, 1), ("b", 2, 1, 1, 0), ("f", 1, 0, 1, 0), ("lab", 1, 0, 0, 1)]
    assert [r[0] for r in rows(org, "sort=-name")] == ["lab", "f", "b", "a"]
    assert [r[0] for r in rows(org, "sort=-count")][:2] == ["a", "b"]
    assert [r[0] for r in rows(org, "sort=count")][2:] == ["b", "a"]
    assert [r[0] for r in rows(org, "search=LA")] == ["lab"]
    assert org.api.get(f"{T}?offset=1&limit=1").json()["total"] == 4


def test_paging(org: Org) -> None:
    org.make_model(tags=[f"t{i}" for i in range(7)])
    org.make_model(tags=["t3", "t5"])
    for sort in ("name", "-name", "count", "-count"):
        seen: list[str] = []
        cursor = ""
        while True:
            page = org.api.get(f"{T}?limit=2&sort={sort}{cursor}", expect=200).json()
            seen += [t["name"] for t in page["data"]]
            if not page["has_more"]:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert seen == [r[0] for r in rows(org, f"sort={sort}")]
        assert len(seen) == 7
    org.api.get(f"{T}?cursor=x", expect="invalid_cursor")
    org.api.get(f"{T}?offset=10001", expect="offset_too_large")


def test_rename(org: Org, other_org: Org) -> None:
    theirs = other_org.make_model(tags=["old"])
    one, two = org.make_model(tags=["x", "old", "y"]), org.make_model(tags=["new", "old"])
    org.make_printer(tags=["old"])
    add_file(org, "old")
    assert org.api.post(f"{T}/rename", {"tag": "old", "name": "new"}, expect=200).json() == {"models": 2, "files": 1}
    assert org.api.get(f"/v1/models/{one['id']}").json()["tags"] == ["x", "new", "y"]
    assert org.api.get(f"/v1/models/{two['id']}").json()["tags"] == ["new"]
    assert rows(org) == [("new", 3, 2, 1, 0), ("old", 1, 0, 0, 1), ("x", 1, 1, 0, 0), ("y", 1, 1, 0, 0)]
    assert org.api.post(f"{T}/rename", {"tag": "old", "name": "new"}, expect=200).json() == {"models": 0, "files": 0}
    assert other_org.api.get(f"/v1/models/{theirs['id']}").json()["tags"] == ["old"]
    assert [m["id"] for m in org.api.get("/v1/models?search=new&tag=new,x").json()["data"]] == [one["id"]]


def test_delete(org: Org) -> None:
    one = org.make_model(tags=["x", "old"])
    add_file(org, "old")
    assert org.api.post(f"{T}/delete", {"tag": "old"}, expect=200).json() == {"models": 1, "files": 1}
    assert org.api.get(f"/v1/models/{one['id']}").json()["tags"] == ["x"]
    assert rows(org) == [("x", 1, 1, 0, 0)]


def test_permissions(org: Org) -> None:
    reader = org.with_capabilities("operations.read")
    reader.get(T, expect=200)
    reader.post(f"{T}/rename", {"tag": "a", "name": "b"}, expect="insufficient_permissions")
    reader.post(f"{T}/delete", {"tag": "a"}, expect="insufficient_permissions")
    org.api.post(f"{T}/delete", {"tag": "a,b"}, expect="validation_failed")
