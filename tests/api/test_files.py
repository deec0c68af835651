"""Files: what is listed, what can be said of them, the trash."""

from __future__ import annotations

import json
import secrets
from typing import Any

import files
import pytest
from api import Api, fields
from world import Org


def listed(org: Org, **params: Any) -> list[str]:
    return [f["id"] for f in org.api.get("/v1/files", params=params, expect=200).json()["data"]]


# --- lists ----------------------------------------------------------------------------------------------------------


def test_a_stored_file_says_everything(org: Org) -> None:
    data = files.gcode(300)
    made = files.upload(org, data, "Bracket v2.GCODE")
    got = files.status_becomes(org, made["id"], "ready")
    assert got["filename"] == "Bracket v2.GCODE"
    assert (got["size_bytes"], got["sha256"]) == (300, files.sha256(data))
    assert (got["source"], got["revision_status"]) == ("upload", "needs_test")
    assert got["usable_for"] == ["queue"]
    assert got["uploaded_by"] == org.api.get("/v1/me").json()["principal"]["id"]
    assert got["deleted_at"] is None
    assert got["purge_after"] is None
    assert org.api.get(f"/v1/files/{made['id']}").headers["ETag"] == f'"{got["version"]}"'


SORTS = {
    "name": ["b", "c", "a"], "-name": ["a", "c", "b"], "size": ["c", "b", "a"], "-size": ["a", "b", "c"],
    "created_at": ["a", "b", "c"], "-created_at": ["c", "b", "a"], "updated_at": ["b", "c", "a"],
    "-updated_at": ["a", "c", "b"],
}  # fmt: skip


@pytest.fixture
def three(org: Org) -> dict[str, str]:
    """a, b, c in the order of their making; see SORTS for the others."""
    made = {
        "a": files.make_file(org, "z.gcode", files.gcode(900)),
        "b": files.make_file(org, "x.gcode", files.gcode(500)),
        "c": files.make_file(org, "y.gcode", files.gcode(100)),
    }
    for name in "bca":
        org.api.patch(f"/v1/files/{made[name]}", {"notes": "touched"}, expect=200)
    return made


@pytest.mark.parametrize("sort", SORTS)
def test_orders(org: Org, three: dict[str, str], sort: str) -> None:
    want = [three[n] for n in SORTS[sort]]
    assert listed(org, sort=sort) == want
    page, got = org.api.get("/v1/files", params={"sort": sort, "limit": 1}).json(), []
    while True:
        got += [f["id"] for f in page["data"]]
        if not page["next_cursor"]:
            break
        page = org.api.get("/v1/files", params={"sort": sort, "limit": 1, "cursor": page["next_cursor"]}).json()
    assert got == want
    assert listed(org, sort=sort, offset=1, limit=1) == want[1:2]


def test_an_unknown_size_sorts_first(org: Org, three: dict[str, str]) -> None:
    pending = org.sql(
        "INSERT INTO app.files (filename, kind, content_type, source) VALUES ('u', 'other', 'text/plain', 'url') RETURNING id"
    )
    assert listed(org, sort="size") == [str(pending[0][0]), three["c"], three["b"], three["a"]]
    assert listed(org, sort="-size") == [three["a"], three["b"], three["c"], str(pending[0][0])]
    page = org.api.get("/v1/files", params={"sort": "size", "limit": 1}).json()
    assert listed(org, sort="size", cursor=page["next_cursor"]) == [three["c"], three["b"], three["a"]]


def test_filters(org: Org) -> None:
    gcode = files.make_file(org, "bracket.gcode", tags=["lab", "pla"], notes="for the shelf")
    mesh = files.make_file(org, "bracket.stl", kind="stl", tags=["lab"])
    sliced = files.make_file(org, "plate.gcode.3mf", kind="gcode_3mf")
    other = files.make_file(org, "readme_50%.txt", kind="other")
    fresh = files.make_file(org, "new.gcode", status="uploaded")
    pending = files.register(org, 10, "pending.gcode")["file_id"]
    model = org.sql("INSERT INTO app.models (name) VALUES ('m') RETURNING id")[0][0]
    org.api.patch(f"/v1/files/{mesh}", {"model_id": str(model)}, expect=200)
    every = {gcode, mesh, sliced, other, fresh, pending}
    cases: list[tuple[dict[str, Any], set[str]]] = [
        ({}, every),
        ({"kind": "stl"}, {mesh}),
        ({"kind": "stl,gcode_3mf"}, {mesh, sliced}),
        ({"status": "pending_upload,uploaded"}, {pending, fresh}),
        ({"tag": "lab"}, {gcode, mesh}),
        ({"tag": "lab,pla"}, {gcode}),
        ({"search": "BRACKET"}, {gcode, mesh}),
        ({"search": "shelf"}, {gcode}),
        ({"search": "50%"}, {other}),
        ({"search": "%"}, {other}),
        ({"search": "_"}, {other}),
        ({"usable_for": "queue"}, {gcode, sliced}),
        ({"usable_for": "slice"}, {mesh}),
        ({"model_id": str(model)}, {mesh}),
        ({"model_id": "00000000-0000-0000-0000-000000000000"}, set()),
        ({"uploader": org.api.get("/v1/me").json()["principal"]["id"]}, {pending}),
        ({"uploader": org.owner_id}, {gcode, mesh, sliced, other, fresh}),
        ({"kind": "gcode", "status": "ready", "tag": "pla", "search": "brack"}, {gcode}),
    ]
    for params, want in cases:
        assert set(listed(org, **params)) == want, params
        total = org.api.get("/v1/files", params={**params, "offset": 0}).json()["total"]
        assert total == len(want), params


@pytest.mark.parametrize("params", [
    {"kind": "exe"}, {"status": "gone"}, {"usable_for": "eat"}, {"deleted": "yes"}, {"uploader": "me"}, {"sort": "sha256"},
    {"model_id": "x"}, {"limit": 101}, {"kind": ""},
])  # fmt: skip
def test_bad_filters_are_refused(org: Org, params: dict[str, Any]) -> None:
    answer = org.api.get("/v1/files", params=params, expect="invalid_parameter")
    assert list(fields(answer)) == [f"/query/{next(iter(params))}"]


def test_cursor_of_another_order(org: Org, three: dict[str, str]) -> None:
    cursor = org.api.get("/v1/files", params={"limit": 1, "sort": "name"}).json()["next_cursor"]
    org.api.get("/v1/files", params={"cursor": cursor, "sort": "size"}, expect="invalid_cursor")
    org.api.get("/v1/files", params={"offset": 10001}, expect="offset_too_large")


# --- changing what is said of a file --------------------------------------------------------------------------------


def test_patch(org: Org) -> None:
    file_id = files.make_file(org)
    before = org.api.get(f"/v1/files/{file_id}")
    body = {
        "filename": "Träger „2“.gcode", "content_type": "text/plain", "tags": ["a", "b"], "notes": "line\nline",
        "revision_status": "known_good",
    }  # fmt: skip
    after = org.api.patch(f"/v1/files/{file_id}", body, headers={"If-Match": before.headers["ETag"]}, expect=200)
    assert {k: after.json()[k] for k in body} == body
    assert after.json()["version"] == before.json()["version"] + 1
    assert after.json()["sha256"] == before.json()["sha256"]
    org.api.patch(f"/v1/files/{file_id}", {"notes": None}, headers={"If-Match": before.headers["ETag"]},
                  expect="precondition_failed")  # fmt: skip
    assert org.api.patch(f"/v1/files/{file_id}", {"notes": None, "tags": []}, expect=200).json()["notes"] is None
    got = org.api.get(f"/v1/files/{file_id}", headers={"If-None-Match": after.headers["ETag"]}, expect=200)
    assert got.json()["tags"] == []
    org.api.get(f"/v1/files/{file_id}", headers={"If-None-Match": got.headers["ETag"]}, expect=304)


def test_patch_model(org: Org, other_org: Org) -> None:
    file_id = files.make_file(org)
    model = str(org.sql("INSERT INTO app.models (name) VALUES ('m') RETURNING id")[0][0])
    theirs = str(other_org.sql("INSERT INTO app.models (name) VALUES ('m') RETURNING id")[0][0])
    got = org.api.patch(f"/v1/files/{file_id}", {"model_id": model}, expect=200).json()
    assert (got["model_id"], got["revision"]) == (model, 1)
    org.api.patch(f"/v1/files/{file_id}", {"model_id": theirs}, expect="unknown_reference")
    assert org.api.get(f"/v1/files/{file_id}").json()["model_id"] == model
    got = org.api.patch(f"/v1/files/{file_id}", {"model_id": None}, expect=200).json()
    assert (got["model_id"], got["revision"]) == (None, None)


@pytest.mark.parametrize(("body", "pointer"), [
    ({"filename": ""}, "/filename"), ({"filename": "a/b"}, "/filename"), ({"filename": "a\\b"}, "/filename"),
    ({"filename": " a"}, "/filename"), ({"filename": "a\nb"}, "/filename"), ({"filename": "x" * 256}, "/filename"),
    ({"filename": None}, "/filename"), ({"content_type": "text/html; charset=x"}, "/content_type"),
    ({"content_type": "nonsense"}, "/content_type"), ({"tags": ["a", "a"]}, "/tags/1"), ({"tags": ["a,b"]}, "/tags/0"),
    ({"revision_status": "good"}, "/revision_status"), ({"model_id": "x"}, "/model_id"), ({"notes": ""}, "/notes"),
    ({"sha256": "0" * 64}, "/sha256"), ({"status": "ready"}, "/status"), ({"kind": "stl"}, "/kind"),
])  # fmt: skip
def test_bad_patches_name_the_field(org: Org, body: dict[str, Any], pointer: str) -> None:
    answer = org.api.patch(f"/v1/files/{files.make_file(org)}", body, expect="validation_failed")
    assert list(fields(answer)) == [pointer]


# --- the trash ------------------------------------------------------------------------------------------------------


def test_trash_and_restore(org: Org) -> None:
    file_id, stays = files.make_file(org), files.make_file(org)
    before = org.api.get(f"/v1/files/{file_id}").json()
    org.api.delete(f"/v1/files/{file_id}", headers={"If-Match": '"99"'}, expect="precondition_failed")
    org.api.delete(f"/v1/files/{file_id}", headers={"If-Match": f'"{before["version"]}"'}, expect=204)
    assert listed(org) == [stays]
    assert listed(org, deleted="only") == [file_id]
    assert set(listed(org, deleted="all")) == {file_id, stays}
    trashed = org.api.get(f"/v1/files/{file_id}", expect=200).json()
    assert trashed["usable_for"] == []
    assert trashed["deleted_at"]
    days = org.sql("SELECT (purge_after - deleted_at) = '30 days'::interval FROM app.files WHERE id = %s", file_id)
    assert days == [(True,)]
    org.api.delete(f"/v1/files/{file_id}", expect=204)
    assert org.api.get(f"/v1/files/{file_id}").json()["purge_after"] == trashed["purge_after"]
    org.api.patch(f"/v1/files/{file_id}", {"notes": "x"}, expect="file_status_conflict")
    org.api.get(f"/v1/files/{file_id}/download", expect="file_status_conflict")
    back = org.api.post(f"/v1/files/{file_id}/restore", expect=200).json()
    assert (back["deleted_at"], back["purge_after"], back["usable_for"]) == (None, None, ["queue"])
    assert org.api.post(f"/v1/files/{file_id}/restore", expect=200).json()["version"] == back["version"]
    assert set(listed(org)) == {file_id, stays}


def test_permanent_goes_at_once(org: Org) -> None:
    data = files.gcode(700)
    file_id = files.make_file(org, data=data)
    files.make_thumbnail(org, file_id)
    blobs = [files.blob_of(org, file_id)]
    blobs += [str(r[0]) for r in org.sql("SELECT blob_id FROM app.file_thumbnails WHERE file_id = %s", file_id)]
    assert all(files.object_path(org.stack, b).exists() for b in blobs)
    org.api.delete(f"/v1/files/{file_id}", params={"permanent": "true"}, expect=204)
    org.api.get(f"/v1/files/{file_id}", expect="resource_not_found")
    assert files.usage(org)["stored_bytes"] == 0
    files.jobs_done(org, "blob.delete")
    assert not any(files.object_path(org.stack, b).exists() for b in blobs)


def test_permanent_from_the_trash(org: Org) -> None:
    file_id = files.make_file(org)
    org.api.delete(f"/v1/files/{file_id}", expect=204)
    org.api.delete(f"/v1/files/{file_id}", params={"permanent": "true"}, expect=204)
    org.api.delete(f"/v1/files/{file_id}", expect="resource_not_found")
    org.api.post(f"/v1/files/{file_id}/restore", expect="resource_not_found")


def test_content_stays_while_another_file_has_it(org: Org) -> None:
    data = files.gcode()
    first, second = files.upload(org, data)["id"], files.upload(org, data)["id"]
    assert files.blob_of(org, first) == files.blob_of(org, second)
    org.api.delete(f"/v1/files/{first}", params={"permanent": "true"}, expect=204)
    files.jobs_done(org, "blob.delete")
    url = org.api.get(f"/v1/files/{second}/download", expect=200).json()["url"]
    assert org.base.get(files.path_of(url), expect=200).content == data
    assert files.usage(org)["stored_bytes"] >= len(data)


def test_what_has_no_content_does_not_go_into_the_trash(org: Org) -> None:
    made = files.register(org, 100)
    files.put(org, made["upload"]["url"], b"x" * 100, 201)
    assert files.usage(org)["reserved_bytes"] == 100
    org.api.delete(f"/v1/files/{made['file_id']}", expect=204)
    org.api.get(f"/v1/files/{made['file_id']}", expect="resource_not_found")
    assert files.usage(org)["reserved_bytes"] == 0
    files.put(org, made["upload"]["url"], b"x" * 100, "resource_not_found")
    files.jobs_done(org, "file.expire")
    assert files.staged(org.stack, made["file_id"]) == []


def test_every_change_is_recorded(org: Org) -> None:
    file_id = files.make_file(org)
    org.api.patch(f"/v1/files/{file_id}", {"notes": "x"}, expect=200)
    org.api.delete(f"/v1/files/{file_id}", expect=204)
    org.api.post(f"/v1/files/{file_id}/restore", expect=200)
    actions = org.sql("SELECT action FROM app.audit_log WHERE target_id = %s ORDER BY id", file_id)
    assert [a[0] for a in actions] == ["file.created", "file.updated", "file.deleted", "file.updated"]


def test_capabilities(org: Org, anonymous: Api) -> None:
    """Reading is not writing; what only reads can download."""
    file_id = files.make_file(org)
    reader = org.with_capabilities("operations.read")
    reader.get(f"/v1/files/{file_id}/download", expect=200)
    reader.patch(f"/v1/files/{file_id}", {"notes": "x"}, expect="insufficient_permissions")
    reader.post("/v1/files/register", {"filename": "a.stl", "size_bytes": 1}, expect="insufficient_permissions")
    writer = org.with_capabilities("queue.manage")
    writer.get(f"/v1/files/{file_id}", expect="insufficient_permissions")
    writer.patch(f"/v1/files/{file_id}", {"notes": "x"}, expect=200)


# --- pictures -------------------------------------------------------------------------------------------------------


def test_thumbnails(org: Org, other_org: Org) -> None:
    file_id = files.make_file(org)
    for n in (0, 1):
        files.make_thumbnail(org, file_id, n)
    shown = org.api.get(f"/v1/files/{file_id}").json()["thumbnails"]
    assert [t["url"] for t in shown] == [f"/v1/files/{file_id}/thumbnails/{n}" for n in (0, 1)]
    for t in shown:
        answer = org.api.get(t["url"], expect=200)
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert len(answer.content) == t["size_bytes"]
        assert answer.content.startswith(files.PNG)
        org.api.get(t["url"], headers={"If-None-Match": answer.headers["ETag"]}, expect=304)
        assert org.api.get(t["url"], headers={"Range": "bytes=0-7"}, expect=206).content == files.PNG[:8]
        assert org.api.get(t["url"], headers={"Range": "bytes=9999-"}, expect=416).json()["error"] == "range_not_satisfiable"
        org.api.get(t["url"], headers={"If-Match": '"other"'}, expect="precondition_failed")
        assert org.api.request("HEAD", t["url"], expect=200).headers["Content-Length"] == str(t["size_bytes"])
        other_org.api.get(t["url"], expect="resource_not_found")
    org.api.get(f"/v1/files/{file_id}/thumbnails/2", expect="resource_not_found")
    org.api.get(f"/v1/files/{file_id}/thumbnails/x", expect="invalid_parameter")


# --- storage --------------------------------------------------------------------------------------------------------


def test_storage_of_the_organization(org: Org) -> None:
    quota = 107374182400
    assert files.usage(org) == {"quota_bytes": quota, "stored_bytes": 0, "reserved_bytes": 0}
    made = files.register(org, 500)
    assert files.usage(org) == {"quota_bytes": quota, "stored_bytes": 0, "reserved_bytes": 500}
    files.put(org, made["upload"]["url"], files.gcode(500), 201)
    files.complete(org, made["file_id"])
    assert files.usage(org) == {"quota_bytes": quota, "stored_bytes": 500, "reserved_bytes": 0}


def test_metadata_as_a_scan_leaves_it(org: Org) -> None:
    """Whatever is stored has the contract's shape, also with everything null."""
    file_id = files.make_file(org)
    every = {
        "slicer": {"name": "PrusaSlicer", "version": "2.7.4"}, "printer_model": "MK4", "printer_profile": None,
        "print_profile": "0.20", "estimated_time_s": 60, "layer_height_mm": 0.2, "first_layer_height_mm": 0.2,
        "layer_count": 1, "max_z_mm": 0.2, "nozzle_diameters_mm": [0.4], "bed_type": None,
        "temperatures": {"nozzle_c": [215], "nozzle_first_layer_c": None, "bed_c": 60, "bed_first_layer_c": None,
                         "chamber_c": None},
        "filaments": [{"slot": 0, "material": "PLA", "color": "#FF8000FF", "vendor": None, "profile": None,
                       "weight_mg": 1, "length_mm": 0.5}],
        "filament_weight_mg": 1, "filament_length_mm": 0.5,
        "bounding_box": {"min": {"x_mm": 0, "y_mm": 0, "z_mm": 0}, "max": {"x_mm": 1, "y_mm": 1, "z_mm": 1}},
        "triangle_count": 12, "objects": [{"name": "cube", "plate": 1}],
        "plates": [{"index": 1, "name": None, "estimated_time_s": 60, "filament_weight_mg": 1, "bed_type": None,
                    "filaments": [], "objects": [], "thumbnail": 0}],
    }  # fmt: skip
    for metadata in (every, {}, dict.fromkeys(every)):
        org.sql("UPDATE app.files SET metadata = %s WHERE id = %s", json.dumps(metadata), file_id)
        assert org.api.get(f"/v1/files/{file_id}", expect=200).json()["metadata"] == metadata


def test_names_stay_as_they_are(org: Org) -> None:
    for name in ("ä.stl", "日本語.3mf", "a'b\"c.gcode", "%2e%2e.stl", "..", ".stl", "x" * 251 + ".stl", secrets.token_hex(4)):
        made = files.register(org, 1, name)
        assert org.api.get(f"/v1/files/{made['file_id']}").json()["filename"] == name
