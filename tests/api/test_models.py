"""Models: the library's shelves, search, figures and export."""

from __future__ import annotations

import csv
import io
import json
import secrets
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from api import fields
from world import Org

M = "/v1/models"
METADATA = {
    "slicer": {"name": "PrusaSlicer", "version": "2.8.0"}, "printer_model": "MK4", "estimated_time_s": 3120,
    "filament_weight_mg": 11040, "filaments": [{"slot": 0, "material": "PLA", "weight_mg": 11040}],
}  # fmt: skip
NOBODY = "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70"


def add_file(org: Org, model_id: str | None, filename: str = "part.gcode", kind: str = "gcode", **columns: Any) -> str:
    """A stored file, as if it had been uploaded and read."""
    digest = secrets.token_bytes(32)
    blob = org.sql("INSERT INTO app.blobs (org_id, sha256, size_bytes) VALUES (%s, %s, 1000) RETURNING id", org.id, digest)
    row = {"filename": filename, "kind": kind, "content_type": "application/octet-stream", "size_bytes": 1000,
           "sha256": digest, "blob_id": blob[0][0], "status": "ready", "model_id": model_id, **columns}  # fmt: skip
    values = {k: json.dumps(v) if isinstance(v, dict | list) and k != "tags" else v for k, v in row.items()}
    names = ", ".join(values)
    marks = ", ".join(["%s"] * len(values))
    made = org.sql(f"INSERT INTO app.files (org_id, {names}) VALUES ('{org.id}', {marks}) RETURNING id", *values.values())
    return str(made[0][0])


def names(answer: Any) -> list[str]:
    return [m["name"] for m in answer.json()["data"]]


# --- one model

def test_create_and_read(org: Org) -> None:
    shelf = org.make_collection()
    body = {"name": "Benchy", "description": "A boat", "notes": "n", "tags": ["b", "a"], "favorite": True,
            "collection_ids": [shelf["id"]]}  # fmt: skip
    answer = org.api.post(M, body, expect=201)
    made = answer.json()
    assert answer.headers["Location"] == f"{M}/{made['id']}"
    assert {k: made[k] for k in body} == body
    assert (made["files"], made["file_count"], made["size_bytes"], made["kinds"]) == ([], 0, 0, [])
    assert made["thumbnail_url"] is None and made["version"] == 1
    read = org.api.get(f"{M}/{made['id']}", expect=200)
    assert read.json() == made
    assert read.headers["ETag"].startswith('"c1.s')
    listed = org.api.get(M, expect=200).json()["data"]
    assert listed == [{k: v for k, v in made.items() if k != "files"}]


def test_an_empty_library(org: Org) -> None:
    for query in ("", "?search=benchy", "?sort=name", "?offset=0", "?search=x&offset=0"):
        answer = org.api.get(M + query, expect=200).json()
        assert (answer["data"], answer["has_more"], answer["next_cursor"]) == ([], False, None)


def test_patch_is_a_merge_patch(org: Org) -> None:
    one, two = org.make_collection()["id"], org.make_collection()["id"]
    made = org.make_model(name="Old", notes="n", tags=["a"], collection_ids=[one])
    path = f"{M}/{made['id']}"
    after = org.api.patch(path, {"name": "New", "notes": None, "favorite": True, "collection_ids": [two]}).json()
    assert (after["name"], after["notes"], after["favorite"]) == ("New", None, True)
    assert (after["tags"], after["collection_ids"], after["version"]) == (["a"], [two], 2)
    assert org.api.patch(path, {"collection_ids": []}).json()["collection_ids"] == []
    assert org.api.patch(path, {"favorite": True}).json()["version"] == 2
    assert names(org.api.get(f"{M}?search=old")) == []
    assert names(org.api.get(f"{M}?search=new")) == ["New"]


def test_if_match_and_etag(org: Org) -> None:
    made = org.make_model()
    path = f"{M}/{made['id']}"
    first = org.api.get(path).headers["ETag"]
    org.api.get(path, headers={"If-None-Match": first}, expect=304)
    add_file(org, made["id"])
    second = org.api.get(path, headers={"If-None-Match": first}, expect=200).headers["ETag"]
    assert second != first
    org.api.patch(path, {"notes": "x"}, headers={"If-Match": first}, expect=200)
    org.api.patch(path, {"notes": "y"}, headers={"If-Match": first}, expect="precondition_failed")
    org.api.delete(path, headers={"If-Match": first}, expect="precondition_failed")
    shelf = org.make_collection(model_ids=[made["id"]])
    third = org.api.get(path).headers["ETag"]
    org.api.delete(f"/v1/collections/{shelf['id']}", expect=204)
    assert org.api.get(path).headers["ETag"] not in (first, second, third)


def test_references_must_exist(org: Org, other_org: Org) -> None:
    theirs = other_org.make_collection()["id"]
    made = org.make_model()
    for nobody in (NOBODY, theirs):
        org.api.post(M, {"name": "x", "collection_ids": [nobody]}, expect="unknown_reference")
        org.api.patch(f"{M}/{made['id']}", {"collection_ids": [nobody]}, expect="unknown_reference")
    assert len(org.api.get(M).json()["data"]) == 1


def test_permissions(org: Org) -> None:
    made = org.make_model()
    reader = org.with_capabilities("operations.read")
    reader.get(f"{M}/{made['id']}", expect=200)
    reader.get(f"{M}/stats", expect=200)
    reader.get(f"{M}/export", expect=200)
    for call in (lambda: reader.post(M, {"name": "x"}), lambda: reader.patch(f"{M}/{made['id']}", {"name": "x"}),
                 lambda: reader.delete(f"{M}/{made['id']}")):  # fmt: skip
        assert call().json()["error"] == "insufficient_permissions"


def test_changes_are_audited(org: Org) -> None:
    made = org.make_model(name="first")
    path = f"{M}/{made['id']}"
    org.api.patch(path, {"name": "second"}, headers={"X-Request-Id": "audit-model"}, expect=200)
    org.api.patch(path, {"name": "second"}, expect=200)
    org.api.delete(path, expect=204)
    rows = org.sql("SELECT action, request_id, changes FROM app.audit_log WHERE target_id = %s ORDER BY id", made["id"])
    assert [r[0] for r in rows] == ["model.created", "model.updated", "model.deleted"]
    assert rows[1][1:] == ("audit-model", {"name": {"from": "first", "to": "second"}})
    assert set(rows[0][2]) <= {"name", "tags", "favorite", "created_by"}


# --- its files

def test_files_newest_first(org: Org) -> None:
    made = org.make_model()
    ids = [add_file(org, made["id"], f"v{i}.gcode") for i in range(3)]
    thumbs = [{"n": 0, "width": 16, "height": 16}, {"n": 1, "width": 220, "height": 124}]
    stl = add_file(org, made["id"], "v.stl", "stl", thumbnails=thumbs, metadata=METADATA)
    gone = add_file(org, made["id"], "gone.stl", "stl")
    org.sql("UPDATE app.files SET deleted_at = app.now() WHERE id = %s", gone)
    got = org.api.get(f"{M}/{made['id']}", expect=200).json()
    assert [f["id"] for f in got["files"]] == [stl, *reversed(ids)]
    assert [f["revision"] for f in got["files"]] == [1, 3, 2, 1]
    assert (got["file_count"], got["size_bytes"], got["kinds"]) == (4, 4000, ["gcode", "stl"])
    assert got["thumbnail_url"] == f"/v1/files/{stl}/thumbnails/1" == got["files"][0]["thumbnail_url"]
    assert (got["files"][0]["estimated_time_s"], got["files"][0]["filament_weight_mg"]) == (3120, 11040)
    assert got["files"][1]["estimated_time_s"] is None


def test_revisions_are_numbered_apart(org: Org) -> None:
    """Two at once get two numbers; a file that moves is numbered anew; one without a model has none."""
    made, other = org.make_model()["id"], org.make_model()["id"]

    def revision(file_id: str) -> Any:
        return org.sql("SELECT revision FROM app.files WHERE id = %s", file_id)[0][0]

    threads = at_once(8, lambda i: own_connection(org, "INSERT INTO app.files (org_id, filename, kind, content_type, model_id)"
                      " VALUES (app.org(), 'x.gcode', 'gcode', 'text/plain', %s)", made))  # fmt: skip
    assert threads == []
    assert sorted(r[0] for r in org.sql("SELECT revision FROM app.files WHERE model_id = %s", made)) == list(range(1, 9))
    stray = add_file(org, None)
    assert revision(stray) is None
    org.sql("UPDATE app.files SET model_id = %s WHERE id = %s", made, stray)
    assert revision(stray) == 9
    org.sql("UPDATE app.files SET model_id = %s WHERE id = %s", other, stray)
    assert revision(stray) == 1


def test_delete_needs_a_word_about_files(org: Org) -> None:
    made = org.make_model()
    path = f"{M}/{made['id']}"
    file_id = add_file(org, made["id"])
    assert org.api.delete(path, expect="model_not_empty").status_code == 409
    org.api.delete(f"{path}?files=burn", expect="invalid_parameter")
    org.api.delete(f"{path}?files=keep", expect=204)
    org.api.get(path, expect="resource_not_found")
    org.api.delete(f"{path}?files=keep", expect="resource_not_found")
    assert org.sql("SELECT model_id, revision, deleted_at FROM app.files WHERE id = %s", file_id) == [(None, None, None)]


def test_delete_with_its_files(org: Org) -> None:
    made = org.make_model()
    ids = [add_file(org, made["id"]) for _ in range(3)]
    org.sql("UPDATE app.files SET deleted_at = app.now() - interval '1 day', purge_after = app.now() WHERE id = %s", ids[0])
    org.api.delete(f"{M}/{made['id']}?files=trash", expect=204)
    rows = org.sql("SELECT deleted_at IS NOT NULL, model_id, purge_after > deleted_at FROM app.files WHERE id = ANY (%s::uuid[])", ids)
    assert rows == [(True, None, True)] * 3
    only_trash = org.make_model()["id"]
    last = add_file(org, only_trash)
    org.sql("UPDATE app.files SET deleted_at = app.now() WHERE id = %s", last)
    org.api.delete(f"{M}/{only_trash}", expect=204)


# --- lists

ORDERS = ("name", "created_at", "updated_at")


@pytest.mark.parametrize("sort", [*ORDERS, *(f"-{o}" for o in ORDERS)])
def test_orders_and_paging(shelf: tuple[Org, dict[str, str]], sort: str) -> None:
    org, _ = shelf
    whole = org.api.get(f"{M}?sort={sort}&limit=100").json()["data"]
    key = sort.removeprefix("-")
    assert whole == sorted(whole, key=lambda m: (m[key], m["id"]), reverse=sort.startswith("-"))
    assert walk(org, f"sort={sort}") == [m["id"] for m in whole]


def walk(org: Org, query: str, limit: int = 2) -> list[str]:
    """All ids, page by page, by cursor; by offset they are the same."""
    seen: list[str] = []
    cursor = ""
    while True:
        page = org.api.get(f"{M}?limit={limit}&{query}{cursor}", expect=200).json()
        seen += [m["id"] for m in page["data"]]
        if not page["has_more"]:
            break
        cursor = f"&cursor={page['next_cursor']}"
    by_offset = [m["id"] for n in range(0, len(seen) + 1, limit)
                 for m in org.api.get(f"{M}?limit={limit}&offset={n}&{query}", expect=200).json()["data"]]  # fmt: skip
    assert by_offset == seen
    return seen


@pytest.fixture(scope="module")
def shelf(make_organisation: Callable[..., Org]) -> tuple[Org, dict[str, str]]:
    """A small library to look things up in."""
    org = make_organisation()
    made = {
        "benchy": org.make_model(name="3DBenchy", tags=["calibration", "boat"], favorite=True),
        "bracket": org.make_model(name="Wall bracket", description="Holds a shelf"),
        "gear": org.make_model(name="Planetary gear-set v2", tags=["mechanics"], notes="Print the Bracket first"),
        "cable": org.make_model(name="Cable clip", tags=["desk"]),
        "vase": org.make_model(name="Délicate vase", tags=["art"]),
        "calib": org.make_model(name="Calibration cube", tags=["calibration"]),
    }
    found = {k: m["id"] for k, m in made.items()}
    add_file(org, found["cable"], "usb_holder_0.2mm_PLA.gcode", metadata=METADATA)
    add_file(org, found["bracket"], "wall-bracket.stl", "stl")
    found["A"] = org.make_collection(name="A", model_ids=[found["benchy"], found["bracket"]])["id"]
    found["B"] = org.make_collection(name="B", model_ids=[found["gear"]])["id"]
    org.sql("UPDATE app.models SET created_at = created_at - interval '30 days' WHERE id = %s", found["vase"])
    return org, found


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("tag=calibration", "benchy calib"), ("tag=calibration,boat", "benchy"), ("tag=none", ""), ("favorite=true", "benchy"),
        ("favorite=false&tag=calibration", "calib"), ("kind=stl", "bracket"), ("kind=stl,gcode", "bracket cable"),
        ("kind=3mf", ""), ("collection={A}", "benchy bracket"), ("collection={A},{B}", "benchy bracket gear"),
        ("collection={A}&search=bracket", "bracket"), ("created_before=2026-01-01T00:00:00Z", ""),
        ("search=usb", "cable"), ("search=holder", "cable"), ("search=gear%20planetary", "gear"), ("search=d%C3%A9licate", "vase"),
        ("search=D%C3%89LICATE", "vase"), ("search=delicate", "vase"), ("search=%25", ""), ("search='", ""),
        ("search=%26%20%7C%20!", ""), ("search=mechanics", "gear"), ("search=planet", "gear"), ("search=shelf", "bracket"),
    ],
)  # fmt: skip
def test_filters(shelf: tuple[Org, dict[str, str]], query: str, expected: str) -> None:
    org, known = shelf
    query = query.format(**known)
    answer = org.api.get(f"{M}?{query}", expect=200).json()
    assert {m["id"] for m in answer["data"]} == {known[k] for k in expected.split()}
    assert org.api.get(f"{M}?offset=0&{query}", expect=200).json()["total"] == len(expected.split())


@pytest.mark.parametrize(
    ("search", "first"),
    [
        ("3dbenchy", "benchy"), ("3dbency", "benchy"), ("bencjy", "benchy"), ("braket", "bracket"), ("brakcet", "bracket"),
        ("wall braket", "bracket"), ("planetery", "gear"), ("calbration cube", "calib"), ("usb hodler", "cable"),
        ("caable clip", "cable"), ("vaze", "vase"), ("calibratoin", "calib"), ("gaer set", "gear"),
    ],
)  # fmt: skip
def test_slips_of_the_keyboard(shelf: tuple[Org, dict[str, str]], search: str, first: str) -> None:
    org, known = shelf
    found = [m["id"] for m in org.api.get(M, params={"search": search}, expect=200).json()["data"]]
    assert found[:1] == [known[first]]


def test_relevance(shelf: tuple[Org, dict[str, str]]) -> None:
    """The name before the tag, the name before the notes; the order is kept page by page."""
    org, known = shelf
    assert [m["id"] for m in org.api.get(f"{M}?search=calibration").json()["data"]] == [known["calib"], known["benchy"]]
    assert [m["id"] for m in org.api.get(f"{M}?search=bracket").json()["data"]] == [known["bracket"], known["gear"]]
    assert walk(org, "search=bracket", 1) == [known["bracket"], known["gear"]]
    assert walk(org, "search=calibration&sort=name", 1) == [known["benchy"], known["calib"]]
    assert fields(org.api.get(f"{M}?sort=relevance", expect="invalid_parameter")) == {"/query/sort": "conflict"}


def test_created_ranges(shelf: tuple[Org, dict[str, str]]) -> None:
    org, known = shelf
    when = org.sql("SELECT to_char(now() - interval '1 day', 'YYYY-MM-DD\"T\"HH24:MI:SSZ')")[0][0]
    assert [m["id"] for m in org.api.get(f"{M}?created_before={when}").json()["data"]] == [known["vase"]]
    assert len(org.api.get(f"{M}?created_after={when}").json()["data"]) == 5


# --- attaching

def own_connection(org: Org, statement: str, *parameters: Any) -> Any:
    """One transaction of this organisation on a connection of its own."""
    with psycopg.connect(org.db.info.dsn) as db:
        db.execute("SELECT set_config('app.org_id', %s, true)", [org.id])
        cursor = db.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else None


def at_once(n: int, call: Callable[[int], Any]) -> list[BaseException]:
    """Calls in n threads that start together; what they raised."""
    failures: list[BaseException] = []
    gate = threading.Barrier(n)

    def run(i: int) -> None:
        try:
            gate.wait(timeout=10)
            call(i)
        except BaseException as e:  # noqa: BLE001 (handed to the test)
            failures.append(e)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(timeout=30)
    return failures


def test_two_at_once_end_as_one(org: Org) -> None:
    got: list[str] = []
    attach = "SELECT app.attach_model(%s, 'bracket')"
    keys = ["mesh:" + "a" * 64, "stem:bracket"]
    assert at_once(8, lambda i: got.append(own_connection(org, attach, keys if i % 2 else keys[::-1])[0][0])) == []
    assert len(got) == 8 and len(set(got)) == 1
    assert names(org.api.get(M)) == ["bracket"]


def test_a_mesh_is_known_under_another_name(org: Org, other_org: Org) -> None:
    def attach(o: Org, keys: list[str], name: str) -> str:
        return str(own_connection(o, "SELECT app.attach_model(%s, %s)", keys, name)[0][0])

    first = attach(org, ["mesh:1", "stem:boat"], "boat")
    assert attach(org, ["mesh:1", "stem:ship"], "ship") == first
    assert attach(org, ["stem:ship"], "ship") == first
    assert attach(org, ["mesh:2", "stem:car"], "car") != first
    assert attach(other_org, ["mesh:1", "stem:boat"], "boat") != first
    org.api.delete(f"{M}/{first}", expect=204)
    assert attach(org, ["mesh:1"], "boat") != first


# --- figures and export

def test_stats(org: Org) -> None:
    assert org.api.get(f"{M}/stats", expect=200).json()["models"] == 0
    one = org.make_model(tags=["a", "b"], favorite=True)["id"]
    org.make_model(tags=["b"])
    org.make_collection()
    add_file(org, one, metadata=METADATA)
    add_file(org, one, metadata=METADATA)
    add_file(org, one, "x.stl", "stl")
    gone = add_file(org, one, "y.stl", "stl")
    org.sql("UPDATE app.files SET deleted_at = app.now() WHERE id = %s", gone)
    add_file(org, None, "z.stl", "stl")
    got = org.api.get(f"{M}/stats", expect=200).json()
    counts = {k: got[k] for k in ("models", "favorites", "collections", "tags", "files", "size_bytes")}
    assert counts == {"models": 2, "favorites": 1, "collections": 1, "tags": 2, "files": 3, "size_bytes": 3000}
    assert got["by_kind"] == [{"kind": "gcode", "files": 2, "size_bytes": 2000}, {"kind": "stl", "files": 1, "size_bytes": 1000}]
    assert got["by_slicer"] == [{"slicer": "PrusaSlicer", "files": 2}]
    assert got["by_printer_model"] == [{"printer_model": "MK4", "files": 2}]
    assert got["by_material"] == [{"material": "PLA", "files": 2, "weight_mg": 22080}]
    assert len(got["per_month"]) == 12
    assert (got["per_month"][-1]["models"], got["per_month"][-1]["files"]) == (2, 3)


def test_export_as_json(org: Org) -> None:
    assert org.api.get(f"{M}/export", expect=200).json() == {"data": [], "has_more": False, "next_cursor": None}
    one = org.make_model(name="one", tags=["a"])["id"]
    org.make_model(name="two")
    org.make_collection(name="Shelf", model_ids=[one])
    add_file(org, one, metadata=METADATA)
    answer = org.api.get(f"{M}/export", expect=200)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="models.json"'
    data = answer.json()["data"]
    assert [m["name"] for m in data] == ["one", "two"]
    assert (data[0]["collections"], data[0]["tags"], data[1]["files"]) == (["Shelf"], ["a"], [])
    line = data[0]["files"][0]
    assert (line["slicer"], line["printer_model"], line["material"], line["revision"]) == ("PrusaSlicer", "MK4", "PLA", 1)


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def test_export_as_csv(org: Org) -> None:
    evil = '=HYPERLINK("http://x","y")'
    one = org.make_model(name=evil, notes='two\nlines, "quoted"', tags=["a", "b"])["id"]
    org.make_model(name="+1")
    org.make_model(name="@x", description="\ttab")
    org.make_model(name="plain - name")
    add_file(org, one, "-f.gcode", metadata=METADATA)
    add_file(org, one, "g.gcode")
    answer = org.api.get(f"{M}/export?format=csv", expect=200)
    assert answer.headers["Content-Type"].startswith("text/csv; charset=utf-8")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="models.csv"'
    assert all(line.endswith("\r\n") for line in answer.text.replace("two\nlines", "").splitlines(keepends=True))
    rows = read_csv(answer.text)
    assert [r["model_name"] for r in rows] == ["'" + evil, "'" + evil, "'+1", "'@x", "plain - name"]
    assert (rows[0]["notes"], rows[0]["tags"], rows[3]["description"]) == ('two\nlines, "quoted"', "a,b", "'\ttab")
    assert [r["filename"] for r in rows[:3]] == ["g.gcode", "'-f.gcode", ""]
    assert (rows[1]["estimated_time_s"], rows[1]["material"]) == ("3120", "PLA")
    assert read_csv(org.api.get(f"{M}/export?format=csv&limit=1").text)[0]["model_id"] == one


@pytest.mark.parametrize("form", ["json", "csv"])
def test_export_goes_on_where_it_ended(org: Org, other_org: Org, form: str) -> None:
    for i in range(5):
        add_file(org, org.make_model(name=f"m{i}")["id"])
    seen: list[str] = []
    cursor = ""
    for _ in range(3):
        answer = org.api.get(f"{M}/export?limit=2&format={form}{cursor}", expect=200)
        if form == "json":
            seen += names(answer)
            after = answer.json()["next_cursor"]
        else:
            seen += [r["model_name"] for r in read_csv(answer.text)]
            after = answer.headers.get("X-Next-Cursor")
        cursor = f"&cursor={after}"
    assert seen == [f"m{i}" for i in range(5)] and after is None
    org.api.get(f"{M}/export?cursor=abc", expect="invalid_cursor")
    assert other_org.api.get(f"{M}/export").json()["data"] == []


def test_ten_thousand_models(org: Org) -> None:
    """They are all in one export, and a search still finds the one."""
    org.sql("INSERT INTO app.models (org_id, name, tags) SELECT app.org(), 'Part ' || md5(i::text), ARRAY['t' || i %% 50]"
            " FROM generate_series(1, 9999) AS i")  # fmt: skip
    org.make_model(name="Articulated dragon")
    assert len(org.api.get(f"{M}/export", expect=200).json()["data"]) == 10000
    rows = read_csv(org.api.get(f"{M}/export?format=csv", expect=200).text)
    assert len({r["model_id"] for r in rows}) == 10000
    assert names(org.api.get(f"{M}?search=articulatd%20dragn"))[0] == "Articulated dragon"
    assert org.api.get(f"{M}?search=part&offset=0&limit=1").json()["total"] >= 9999
