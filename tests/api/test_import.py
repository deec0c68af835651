"""Imports from URLs as far as the API goes: what is refused at once, what is written, what is never told. Nothing is
fetched here: the hosts do not exist. The fetching itself is in tests/faults/test_imports.py and test_ssrf.py."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from api import fields
from stack import Stack
from world import Org

IMPORT = "/v1/files/upload-from-url"
HOST = "https://nowhere.invalid"
NOBODY = "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70"


def start(org: Org, url: str, **more: Any) -> dict[str, Any]:
    return dict(org.api.post(IMPORT, {"url": url, **more}, expect=202).json())


def job_of(org: Org, operation: str) -> dict[str, Any]:
    row = org.sql(
        "SELECT jsonb_build_object('kind', kind, 'visible', visible, 'params', params, 'resource_id', resource_id)"
        " FROM app.jobs WHERE id = %s", operation,
    )  # fmt: skip
    return dict(row[0][0])


def cancel(org: Org, operation: str) -> None:
    """Nothing shall be tried again and again."""
    org.api.post(f"/v1/operations/{operation}/cancel", check=False)


def test_accepted(org: Org) -> None:
    model = org.make_model()
    body = {"url": f"{HOST}/a/bracket.3mf?version=2", "tags": ["b", "a"], "notes": "from afar", "model_id": model["id"],
            "sha256": "0" * 64, "content_type": "model/x-mine"}  # fmt: skip
    answer = org.api.post(IMPORT, body, expect=202)
    got = answer.json()
    assert got.keys() == {"operation_id", "file_id", "status"}
    assert answer.headers["Location"] == f"/v1/operations/{got['operation_id']}"
    operation = org.api.get(answer.headers["Location"], expect=200).json()
    assert (operation["kind"], operation["resource"]) == ("file.import", {"type": "file", "id": got["file_id"]})
    cancel(org, got["operation_id"])
    file = org.api.get(f"/v1/files/{got['file_id']}", expect=200).json()
    expected = {"filename": "bracket.3mf", "kind": "3mf", "content_type": "model/x-mine", "source": "url", "notes": "from afar",
                "model_id": model["id"], "size_bytes": None, "sha256": None}  # fmt: skip
    assert {k: file[k] for k in expected} == expected
    assert sorted(file["tags"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("url", "asked", "name", "kind"),
    [
        ("/a/part.stl", None, "part.stl", "stl"),
        ("/a/part.stl?x=y.gcode", None, "part.stl", "stl"),
        ("/my%20part.gcode.3mf", None, "my part.gcode.3mf", "gcode_3mf"),
        ("/a%2f..%2fpart.step", None, "part.step", "step"),
        ("/download/4f9c2a7e81", None, "download", "other"),
        ("/part.exe", None, "download", "other"),
        ("/", None, "download", "other"),
        ("", None, "download", "other"),
        ("/part.stl", "mine.gcode", "mine.gcode", "gcode"),
    ],
)
def test_names(org: Org, url: str, asked: str | None, name: str, kind: str) -> None:
    got = start(org, HOST + url, **({"filename": asked} if asked else {}))
    cancel(org, got["operation_id"])
    file = org.api.get(f"/v1/files/{got['file_id']}", expect=200).json()
    assert (file["filename"], file["kind"]) == (name, kind)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://nowhere.invalid/a.stl", "bad_url"),
        ("ftp://nowhere.invalid/a.stl", "bad_url"),
        ("file:///etc/passwd", "bad_url"),
        ("nowhere.invalid/a.stl", "bad_url"),
        ("https://user:password@nowhere.invalid/", "bad_url"),
        ("https://nowhere.invalid/#part", "bad_url"),
        ("https://nowhere.invalid:22/", "bad_url"),
        ("https://nowhere.invalid./", "bad_url"),
        ("https://localhost/", "bad_url"),
        ("https://m\u00fcnchen.invalid/", "bad_url"),
        ("https://nowhere.invalid/a b", "bad_url"),
        ("https://nowhere.invalid/\u0001", "bad_url"),
        ("https://127.0.0.1/", "blocked_address"),
        ("https://2130706433/", "blocked_address"),
        ("https://169.254.169.254/latest/meta-data/", "blocked_address"),
        ("https://[::1]:8443/", "blocked_address"),
        ("https://[::ffff:10.0.0.1]/", "blocked_address"),
    ],
)
def test_refused_at_once(org: Org, url: str, code: str) -> None:
    answer = org.api.post(IMPORT, {"url": url}, expect="validation_failed")
    assert fields(answer) == {"/url": code}
    assert "127.0.0" not in answer.text and "password" not in answer.text
    assert org.api.get("/v1/files", expect=200).json()["data"] == []
    assert org.sql("SELECT count(*) FROM app.jobs WHERE org_id = %s", org.id) == [(0,)]


def test_what_the_contract_refuses(org: Org) -> None:
    good = {"url": f"{HOST}/a.stl"}
    for body, pointer in (
        ({}, "/url"), ({"url": ""}, "/url"), ({"url": f"{HOST}/{'a' * 2048}"}, "/url"), ({"url": 1}, "/url"),
        ({**good, "sha256": "xyz"}, "/sha256"), ({**good, "filename": "a/b.stl"}, "/filename"),
        ({**good, "content_type": "nonsense"}, "/content_type"), ({**good, "tags": ["a", "a"]}, "/tags"),
        ({**good, "model_id": "x"}, "/model_id"), ({**good, "org_id": org.id}, "/org_id"),
    ):  # fmt: skip
        assert pointer in {p[: len(pointer)] for p in fields(org.api.post(IMPORT, body, expect="validation_failed"))}, body


def test_unknown_model(org: Org, other_org: Org) -> None:
    for model in (NOBODY, other_org.make_model()["id"]):
        org.api.post(IMPORT, {"url": f"{HOST}/a.stl", "model_id": model}, expect="unknown_reference")
    assert org.sql("SELECT count(*) FROM app.jobs WHERE org_id = %s AND kind = 'file.import'", org.id) == [(0,)]


def test_a_model_of_null_is_none(org: Org) -> None:
    got = start(org, f"{HOST}/a.stl", model_id=None, notes=None)
    cancel(org, got["operation_id"])
    assert org.api.get(f"/v1/files/{got['file_id']}", expect=200).json()["model_id"] is None


def test_full_storage(org: Org) -> None:
    org.sql("UPDATE app.organizations SET storage_quota_bytes = 0 WHERE org_id = %s", org.id)
    org.api.post(IMPORT, {"url": f"{HOST}/a.stl"}, expect="storage_quota_exceeded")
    assert org.api.get("/v1/files", expect=200).json()["data"] == []


def test_too_many_at_once(org: Org) -> None:
    org.sql(
        "INSERT INTO app.jobs (org_id, kind, visible, run_after) SELECT %s, 'file.import', true,"
        " now() + interval '1 day' FROM generate_series(1, 100)", org.id,
    )  # fmt: skip
    org.api.post(IMPORT, {"url": f"{HOST}/a.stl"}, expect="too_many_imports")
    operation = org.api.get("/v1/operations?limit=1", expect=200).json()["data"][0]["id"]
    org.api.post(f"/v1/operations/{operation}/cancel", expect=200)
    cancel(org, start(org, f"{HOST}/a.stl")["operation_id"])


def test_once_per_idempotency_key(org: Org) -> None:
    body = {"url": f"{HOST}/a.stl"}
    first, again = (
        org.api.post(IMPORT, body, headers={"Idempotency-Key": "import-1"}, expect=202) for _ in range(2)
    )  # fmt: skip
    cancel(org, first.json()["operation_id"])
    assert first.content == again.content
    assert first.headers["Location"] == again.headers["Location"]
    assert org.sql("SELECT count(*) FROM app.files WHERE org_id = %s", org.id) == [(1,)]


def test_the_url_is_in_the_job_alone(org: Org, stack: Stack) -> None:
    """A URL may hold a token: it is nowhere but in the job, and goes with its end."""
    token = f"token{secrets.token_hex(8)}"
    got = start(org, f"{HOST}/{token}/a.stl?sig={token}")
    operation = f"/v1/operations/{got['operation_id']}"
    for path in (operation, "/v1/operations", f"/v1/files/{got['file_id']}", "/v1/files"):
        assert token not in org.api.get(path, expect=200).text
    cancel(org, got["operation_id"])
    tables = org.db.execute(
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p') AND n.nspname IN ('app', 'sec')"
    ).fetchall()
    found = [t for (t,) in tables if org.sql(f"SELECT 1 FROM {t} AS t WHERE t::text LIKE %s LIMIT 1", f"%{token}%")]
    assert set(found) <= {"app.jobs"}
    for log in ("api-api", "nginx"):
        assert token not in stack.log(log)


def test_the_api_cannot_read_it_back(org: Org, stack: Stack) -> None:
    got = start(org, f"{HOST}/a.stl")
    assert job_of(org, got["operation_id"])["visible"] is True
    cancel(org, got["operation_id"])
    granted = org.db.execute("SELECT has_column_privilege('soloprint_api', 'app.jobs', 'params', 'SELECT')").fetchone()
    assert granted == (False,)
