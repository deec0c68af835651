"""Collections of models."""

from __future__ import annotations

from world import Org

C = "/v1/collections"
NOBODY = "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70"


def in_it(org: Org, collection_id: str) -> set[str]:
    return {m["id"] for m in org.api.get(f"/v1/models?collection={collection_id}", expect=200).json()["data"]}


def test_crud(org: Org) -> None:
    model = org.make_model()["id"]
    answer = org.api.post(C, {"name": "Tests", "description": "d", "model_ids": [model]}, expect=201)
    made = answer.json()
    path = f"{C}/{made['id']}"
    assert answer.headers["Location"] == path
    assert (made["name"], made["description"], made["model_count"]) == ("Tests", "d", 1)
    assert org.api.get(path, expect=200).json() == made
    after = org.api.patch(path, {"name": "Trials", "description": None}, expect=200).json()
    assert (after["name"], after["description"], after["model_count"]) == ("Trials", None, 1)
    org.api.delete(path, expect=204)
    org.api.get(path, expect="resource_not_found")
    org.api.patch(path, {"name": "x"}, expect="resource_not_found")
    org.api.delete(path, expect="resource_not_found")
    org.api.get(f"/v1/models/{model}", expect=200)


def test_models_come_and_go(org: Org) -> None:
    a, b, c = (org.make_model()["id"] for _ in range(3))
    path = f"{C}/{org.make_collection(name='x', model_ids=[a])['id']}"
    collection = path.rsplit("/", 1)[1]
    assert org.api.patch(path, {"add_model_ids": [a, b]}, expect=200).json()["model_count"] == 2
    assert org.api.patch(path, {"remove_model_ids": [a, c]}, expect=200).json()["model_count"] == 1
    assert in_it(org, collection) == {b}
    org.api.patch(path, {"add_model_ids": [c], "remove_model_ids": [b]}, expect=200)
    assert in_it(org, collection) == {c}
    org.api.patch(path, {"model_ids": [a, b]}, expect=200)
    assert in_it(org, collection) == {a, b}
    org.api.delete(f"/v1/models/{a}", expect=204)
    assert org.api.get(path).json()["model_count"] == 1
    assert org.api.patch(path, {"model_ids": []}, expect=200).json()["model_count"] == 0


def test_etag_follows_its_models(org: Org) -> None:
    model = org.make_model()["id"]
    path = f"{C}/{org.make_collection()['id']}"
    first = org.api.get(path).headers["ETag"]
    org.api.get(path, headers={"If-None-Match": first}, expect=304)
    org.api.patch(path, {"add_model_ids": [model]}, headers={"If-Match": first}, expect=200)
    assert org.api.get(path, headers={"If-None-Match": first}, expect=200).headers["ETag"] != first
    org.api.patch(path, {"name": "late"}, headers={"If-Match": first}, expect="precondition_failed")
    org.api.delete(path, headers={"If-Match": first}, expect="precondition_failed")


def test_names_are_unique_without_case(org: Org, other_org: Org) -> None:
    org.make_collection(name="Tests")
    other_org.make_collection(name="Tests")
    assert org.api.post(C, {"name": "tESTS"}, expect="collection_already_exists").status_code == 409
    second = org.make_collection(name="Other")
    org.api.patch(f"{C}/{second['id']}", {"name": "TESTS"}, expect="collection_already_exists")


def test_references_must_exist(org: Org, other_org: Org) -> None:
    path = f"{C}/{org.make_collection()['id']}"
    for nobody in (NOBODY, other_org.make_model()["id"]):
        org.api.post(C, {"name": "x", "model_ids": [nobody]}, expect="unknown_reference")
        org.api.patch(path, {"model_ids": [nobody]}, expect="unknown_reference")
        org.api.patch(path, {"add_model_ids": [nobody]}, expect="unknown_reference")
    assert len(org.api.get(C).json()["data"]) == 1


def test_lists(org: Org) -> None:
    assert org.api.get(C, expect=200).json() == {"data": [], "has_more": False, "next_cursor": None}
    for name in ("b", "a", "d", "c"):
        org.make_collection(name=name)

    def names(query: str) -> list[str]:
        return [c["name"] for c in org.api.get(f"{C}?{query}", expect=200).json()["data"]]

    assert names("") == ["a", "b", "c", "d"]
    assert names("sort=-name") == ["d", "c", "b", "a"]
    assert names("sort=created_at") == ["b", "a", "d", "c"]
    assert names("sort=-created_at") == ["c", "d", "a", "b"]
    assert names("search=B") == ["b"]
    for sort in ("name", "-name", "created_at", "-created_at"):
        page = org.api.get(f"{C}?limit=3&sort={sort}").json()
        rest = names(f"limit=3&sort={sort}&cursor={page['next_cursor']}")
        assert [c["name"] for c in page["data"]] + rest == names(f"sort={sort}")
    assert org.api.get(f"{C}?offset=3").json()["total"] == 4


def test_changes_are_audited(org: Org) -> None:
    model = org.make_model()["id"]
    made = org.make_collection(name="x", model_ids=[model])
    path = f"{C}/{made['id']}"
    org.api.patch(path, {"name": "y", "remove_model_ids": [model]}, expect=200)
    org.api.delete(path, expect=204)
    rows = org.sql("SELECT action, changes FROM app.audit_log WHERE target_id = %s ORDER BY id", made["id"])
    assert [r[0] for r in rows] == ["collection.created", "collection.updated", "collection.updated",
                                    "collection.updated", "collection.deleted"]  # fmt: skip
    assert [r[1] for r in rows[1:4]] == [{"model_ids": {"added": [model]}}, {"name": {"from": "x", "to": "y"}},
                                         {"model_ids": {"removed": [model]}}]  # fmt: skip


def test_permissions(org: Org) -> None:
    path = f"{C}/{org.make_collection()['id']}"
    reader = org.with_capabilities("operations.read")
    reader.get(path, expect=200)
    reader.post(C, {"name": "x"}, expect="insufficient_permissions")
    reader.patch(path, {"name": "x"}, expect="insufficient_permissions")
    reader.delete(path, expect="insufficient_permissions")
