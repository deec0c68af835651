"""The whole service with its content in an S3 service: uploads go straight to it, what reaches the API is moved there,
downloads are redirects to it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import files
import httpx
import psycopg
import pytest
from api import Api, Http2
from contract import Contract
from files import PART
from stack import Stack, new_stack, remove
from wait import until
from world import Org, make_org

s3 = pytest.importorskip("s3_service", reason="needs moto and botocore")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with s3.service(tmp_path_factory.mktemp("s3")) as made:
        yield made


@pytest.fixture(scope="module")
def stack(service: Any) -> Iterator[Stack]:
    made = new_stack()
    secret = Path(made.folder) / "s3-secret"  # where the services' users can read it
    shutil.copy(service.secret, secret)
    secret.chmod(0o644)
    settings = service.settings(SOLOPRINT_STORE="s3", SOLOPRINT_S3_SECRET_KEY=str(secret), SOLOPRINT_S3_SSE="AES256")
    try:
        yield made.up("--gateways", "0", *(w for k, v in settings.items() for w in ("--env", f"{k}={v}")))
    finally:
        remove(made)


@pytest.fixture(scope="module")
def db(stack: Stack) -> Iterator[psycopg.Connection[Any]]:
    with stack.connect() as connection:
        yield connection


@pytest.fixture
def org(stack: Stack, db: psycopg.Connection[Any]) -> Iterator[Org]:
    with httpx.Client(base_url=stack.url, transport=Http2(stack.cacert), timeout=30) as http:
        contract = Contract(http.get("/v1/openapi.json").raise_for_status().json())
        yield make_org(stack, db, Api(http, contract))


def send(upload: dict[str, Any], data: bytes) -> list[httpx.Response]:
    """As a client does it: each part to its URL, with the headers that it was told."""
    return [
        httpx.put(part["url"], content=data[(part["n"] - 1) * PART :][: part["size"]], headers=upload["headers"], timeout=120)
        for part in upload["parts"]
    ]


def finished(org: Org, file_id: str) -> dict[str, Any]:
    answer = files.complete(org, file_id, expect=202).json()
    ended = files.operation_ended(org, answer["operation_id"], timeout_s=60)
    assert ended["status"] == "succeeded", ended
    return files.status_becomes(org, file_id, "ready", timeout_s=60)


def download(org: Org, file_id: str, **headers: str) -> httpx.Response:
    url = org.api.get(f"/v1/files/{file_id}/download", expect=200).json()["url"]
    found = org.base.request("GET", files.path_of(url), expect=302)
    return httpx.get(found.headers["Location"], headers=headers)


def keys_of(service: Any, org: Org) -> list[str]:
    """The organisation's objects at the service."""
    blobs = [str(b) for (b,) in org.sql("SELECT id FROM app.blobs WHERE org_id = %s", org.id)]
    return [f"slp/blobs/{b[-4:-2]}/{b[-2:]}/{b}" for b in blobs]


def test_upload_and_download(org: Org, service: Any) -> None:
    data = files.gcode(300_000)
    made = files.register(org, len(data), filename="part ü.gcode")
    assert urlsplit(made["upload"]["url"]).netloc == f"127.0.0.1:{service.port}"
    assert made["upload"]["headers"] == {"x-amz-server-side-encryption": "AES256"}
    assert [r.status_code for r in send(made["upload"], data)] == [200]
    got = finished(org, made["file_id"])
    assert got["sha256"] == files.sha256(data)
    [key] = keys_of(service, org)
    assert service.get(key) == data
    assert service.client.head_object(Bucket=s3.BUCKET, Key=key)["ServerSideEncryption"] == "AES256"
    assert service.keys(f"slp/staging/{made['file_id']}") == []
    answer = download(org, made["file_id"])
    assert answer.content == data
    assert "attachment" in answer.headers["content-disposition"]
    assert "%C3%BC.gcode" in answer.headers["content-disposition"]
    part = download(org, made["file_id"], Range="bytes=10-19")
    assert (part.status_code, part.content) == (206, data[10:20])


def test_parts_are_put_together_inside_of_the_service(org: Org, service: Any) -> None:
    data = os.urandom(1 << 20) * 65
    made = files.register(org, len(data), filename="large.stl")
    assert [r.status_code for r in send(made["upload"], data)] == [200, 200]
    got = finished(org, made["file_id"])
    assert got["sha256"] == files.sha256(data)
    [key] = keys_of(service, org)
    assert files.sha256(service.get(key)) == files.sha256(data)
    assert service.uploads() == []


def test_only_what_was_announced(org: Org, service: Any) -> None:
    data = files.gcode(5000)
    made = files.register(org, len(data))
    url = made["upload"]["url"]
    assert httpx.put(url, content=data + b"x", headers=made["upload"]["headers"]).status_code == 403
    assert httpx.put(url, content=data).status_code == 403  # without encryption
    assert httpx.get(url).status_code == 403
    assert service.keys(f"slp/staging/{made['file_id']}") == []


def test_another_digest_than_declared(org: Org, service: Any) -> None:
    data = files.gcode(5000)
    made = files.register(org, len(data), sha256=files.sha256(b"something else"))
    send(made["upload"], data)
    answer = files.complete(org, made["file_id"], expect=202).json()
    assert files.operation_ended(org, answer["operation_id"])["status"] == "failed"
    assert keys_of(service, org) == []


def test_what_reaches_the_api_is_moved(org: Org, service: Any) -> None:
    """And serves downloads from where it is at each moment."""
    data = files.gcode(4000)
    answer = org.api.request("POST", "/v1/ingest", files={"file": ("small.gcode", data)}, expect=201)
    file_id = answer.json()["file_id"]
    until(lambda: org.sql("SELECT location FROM app.blobs WHERE org_id = %s", org.id) == [("s3",)], 30, what="moved")
    [key] = keys_of(service, org)
    assert service.get(key) == data
    assert download(org, file_id).content == data


def test_the_secret_is_nowhere(stack: Stack, service: Any) -> None:
    secret = service.credentials.secret_key
    for log in Path(stack.facts["log"]).rglob("current"):
        assert secret not in log.read_text(errors="replace"), log
    with stack.connect() as db:
        assert not db.execute("SELECT 1 FROM app.jobs WHERE jobs::text LIKE %s", [f"%{secret}%"]).fetchall()


def test_the_store_is_whole(org: Org, stack: Stack, service: Any) -> None:
    storage = str(files.storage(stack))
    done = stack.ctl("storage", "verify", "--digests", "--json", SOLOPRINT_STORAGE=storage, **service.settings())
    assert '"wrong":0' in done.stdout
