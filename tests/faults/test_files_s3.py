"""Files on an S3 service, end to end: clients send to it and fetch from it by presigned URLs, which an independent server
checks; the courier puts together and compares."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import files
import httpx
import pytest
from api import Api, Http2
from contract import Contract
from files import PART
from stack import Stack, new_stack, remove
from wait import until
from world import Org, make_org

s3 = pytest.importorskip("s3_service", reason="needs moto and botocore")


@pytest.fixture(scope="module")
def service() -> Iterator[Any]:
    stack = new_stack()  # for its folder, which other users can walk into
    try:
        with s3.service(stack.folder) as made:
            yield made
    finally:
        remove(stack)


@pytest.fixture(scope="module")
def s3_stack(service: Any) -> Iterator[Stack]:
    made = new_stack()
    settings = service.settings(SOLOPRINT_STORE="s3", SOLOPRINT_S3_SSE="AES256")
    try:
        yield made.up("--gateways", "0", *(w for k, v in settings.items() for w in ("--env", f"{k}={v}")))
    finally:
        remove(made)


@pytest.fixture
def org(s3_stack: Stack) -> Iterator[Org]:
    with s3_stack.connect() as db, httpx.Client(base_url=s3_stack.url, transport=Http2(s3_stack.cacert), timeout=30) as http:
        contract = Contract(http.get("/v1/openapi.json").raise_for_status().json())
        yield make_org(s3_stack, db, Api(http, contract))


def keys(service: Any, part: str) -> list[str]:
    return [k for k in service.keys() if part in k]


def send(url: str, data: bytes, headers: dict[str, str]) -> int:
    return httpx.put(url, content=data, headers=headers, timeout=60).status_code


def upload(org: Org, data: bytes, **members: Any) -> dict[str, Any]:
    made = files.register(org, len(data), **members)
    for part in made["upload"]["parts"]:
        piece = data[(part["n"] - 1) * PART :][: part["size"]]
        assert send(part["url"], piece, made["upload"]["headers"]) == 200
    return made


def completed(org: Org, file_id: str) -> dict[str, Any]:
    return files.operation_ended(org, files.complete(org, file_id, 202).json()["operation_id"], 60)


def test_there_and_back(org: Org, service: Any) -> None:
    data = files.gcode(50_000)
    made = upload(org, data, filename="ä b.gcode", sha256=files.sha256(data))
    target = urlsplit(made["upload"]["url"])
    assert f"{target.scheme}://{target.netloc}" == service.settings()["SOLOPRINT_S3_ENDPOINT"]
    assert "content-length" in parse_qs(target.query)["X-Amz-SignedHeaders"][0].split(";")
    assert made["upload"]["headers"] == {"x-amz-server-side-encryption": "AES256"}
    assert completed(org, made["file_id"])["status"] == "succeeded"
    got = files.status_becomes(org, made["file_id"], "ready", timeout_s=60)
    assert (got["sha256"], got["size_bytes"]) == (files.sha256(data), len(data))
    blob = files.blob_of(org, made["file_id"])
    key = f"slp/blobs/{blob[-4:-2]}/{blob[-2:]}/{blob}"
    assert service.get(key) == data
    until(lambda: keys(service, "slp/staging/") == [], what="the parts are removed")
    assert files.objects(org.stack) == set()
    url = org.api.get(f"/v1/files/{made['file_id']}/download", expect=200).json()["url"]
    answer = org.base.get(files.path_of(url), expect=302)
    there = httpx.get(answer.headers["Location"], headers={"Range": "bytes=0-9"})
    assert (there.status_code, there.content) == (206, data[:10])
    whole = httpx.get(answer.headers["Location"])
    assert whole.content == data
    assert whole.headers["Content-Type"].startswith("text/x.gcode")
    assert "filename*=UTF-8''%C3%A4%20b.gcode" in whole.headers["Content-Disposition"]


def test_in_parts(org: Org, service: Any) -> None:
    data = secrets.token_bytes(1 << 20) * 64 + secrets.token_bytes(5000)
    made = upload(org, data, sha256=files.sha256(data))
    assert len(made["upload"]["parts"]) == 2
    assert completed(org, made["file_id"])["status"] == "succeeded"
    blob = files.blob_of(org, made["file_id"])
    assert service.get(f"slp/blobs/{blob[-4:-2]}/{blob[-2:]}/{blob}") == data
    assert service.uploads() == []


def test_presigned_urls_fix_the_length(org: Org) -> None:
    made = files.register(org, 100)
    assert send(made["upload"]["url"], b"x" * 101, made["upload"]["headers"]) == 403


def test_what_does_not_fit_stays_open(org: Org, service: Any) -> None:
    right, wrong = files.gcode(3000), files.gcode(3000)
    made = upload(org, wrong, sha256=files.sha256(right))
    ended = completed(org, made["file_id"])
    assert (ended["status"], ended["error"]["code"]) == ("failed", "upload_digest_mismatch")
    assert org.api.get(f"/v1/files/{made['file_id']}").json()["status"] == "pending_upload"
    assert send(made["upload"]["url"], right, made["upload"]["headers"]) == 200
    assert completed(org, made["file_id"])["status"] == "succeeded"
    blob = files.blob_of(org, made["file_id"])
    assert keys(service, blob)
    assert keys(service, made["file_id"]) == []


def test_what_has_not_arrived(org: Org) -> None:
    made = files.register(org, 100)
    ended = completed(org, made["file_id"])
    assert (ended["status"], ended["error"]["code"]) == ("failed", "upload_incomplete")


def test_the_same_content_is_kept_once(org: Org, service: Any) -> None:
    data = files.gcode(4000)
    one, two = upload(org, data), upload(org, data)
    assert completed(org, one["file_id"])["status"] == completed(org, two["file_id"])["status"] == "succeeded"
    blob = files.blob_of(org, one["file_id"])
    assert files.blob_of(org, two["file_id"]) == blob
    known = {r[0] for r in org.sql("SELECT id::text FROM app.blobs WHERE org_id = %s", org.id)}
    assert blob in known
    for file_id in (one["file_id"], two["file_id"]):
        files.status_becomes(org, file_id, "ready", timeout_s=60)
        org.api.delete(f"/v1/files/{file_id}", params={"permanent": "true"}, expect=204)
    files.jobs_done(org, "blob.delete")
    assert keys(service, blob) == []


def test_expired_uploads_leave_nothing(org: Org, service: Any) -> None:
    made = upload(org, files.gcode(200))
    assert keys(service, made["file_id"])
    org.sql("UPDATE app.uploads SET expires_at = app.now() - interval '1 s' WHERE file_id = %s", made["file_id"])
    org.sql("INSERT INTO app.jobs (kind, params, resource_type, resource_id) SELECT kind, params, resource_type, resource_id"
            " FROM app.jobs WHERE kind = 'file.expire' AND resource_id = %s", made["file_id"])  # fmt: skip
    files.status_becomes(org, made["file_id"], "expired")
    until(lambda: keys(service, made["file_id"]) == [], what="what arrived is removed")


def test_an_upload_of_the_other_place_is_refused(org: Org) -> None:
    """A URL of ours for a file that goes to the service."""
    made = files.register(org, 20)
    signer = files.Signer.of(org.stack)
    files.put(org, signer.upload(org.id, made["file_id"], 1, 20), b"x" * 20, "invalid_signature")
