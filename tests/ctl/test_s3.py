"""The S3 client against an independent service that verifies signatures, and presigned URLs against botocore."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from stack import BUILD

s3 = pytest.importorskip("s3_service", reason="needs moto and botocore")
httpx = pytest.importorskip("httpx")

TOOL = BUILD / "stub" / "s3_tool"
DONE, MISSING, REFUSED, UNAVAILABLE, CORRUPT, STOPPED = range(6)
PART = 64 << 20


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with s3.service(tmp_path_factory.mktemp("s3")) as made:
        yield made


@pytest.fixture
def service(running: Any) -> Any:
    running.rules.clear()
    running.seen.clear()
    running.headers.clear()
    running.refused.clear()
    for key in running.keys():
        running.client.delete_object(Bucket=s3.BUCKET, Key=key)
    return running


class Tool:
    def __init__(self, settings: dict[str, str]) -> None:
        self.settings = settings

    def __call__(self, *args: str | Path, expect: int = DONE) -> list[dict[str, str]]:
        done = self.run(*args)
        assert done.returncode == expect, f"{args}: {done.returncode} {done.stderr}"
        return [json.loads(line) for line in done.stdout.splitlines()]

    def run(self, *args: str | Path) -> subprocess.CompletedProcess[str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith("SOLOPRINT_")} | self.settings
        return subprocess.run([TOOL, *map(str, args)], env=env, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def tool(service: Any) -> Tool:
    return Tool(service.settings())


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small"
    path.write_bytes(os.urandom(100_000))
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part and a bit."""
    path = tmp_path_factory.mktemp("large") / "file"
    path.write_bytes(os.urandom(1 << 20) * 65)
    return path


def test_put_get_head_delete(service: Any, tool: Tool, small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    tool("put", "slp/a", small)
    assert service.get("slp/a") == small.read_bytes()
    [head] = tool("head", "slp/a")
    assert head["size"] == "100000"
    tool("get", "slp/a", "10", "100", out)
    assert out.read_bytes() == small.read_bytes()[10:110]
    tool("get", "slp/a", "99990", "-1", out)
    assert out.read_bytes() == small.read_bytes()[-10:]
    tool("verify", "slp/a", small)
    tool("delete", "slp/a")
    tool("delete", "slp/a")
    tool("head", "slp/a", expect=MISSING)
    tool("get", "slp/a", "0", "-1", out, expect=MISSING)
    assert not service.refused


def test_empty_file(service: Any, tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    tool("put", "slp/empty", tmp_path / "empty")
    assert service.get("slp/empty") == b""
    tool("get", "slp/empty", "0", "-1", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b""


def test_bytes_are_signed_and_have_a_checksum(service: Any, tool: Tool, small: Path) -> None:
    import base64

    tool("put", "slp/a", small)
    digest = hashlib.sha256(small.read_bytes())
    put = next(h for h, what in zip(service.headers, service.seen, strict=True) if what.startswith("PUT"))
    assert put["x-amz-content-sha256"] == digest.hexdigest()
    assert put["x-amz-checksum-sha256"] == base64.b64encode(digest.digest()).decode()
    assert "x-amz-server-side-encryption" not in put


def test_encryption_is_asked_for(service: Any, small: Path, large: Path) -> None:
    tool = Tool(service.settings(SOLOPRINT_S3_SSE="AES256"))
    tool("put", "slp/a", small)
    tool("put", "slp/b", large)
    tool("compose", "slp/c", "slp/b", "slp/a")
    for key in ("slp/a", "slp/b", "slp/c"):
        assert service.client.head_object(Bucket=s3.BUCKET, Key=key)["ServerSideEncryption"] == "AES256"


def test_large_file_goes_in_parts(service: Any, tool: Tool, large: Path) -> None:
    tool("put", "slp/large", large)
    parts = [what for what in service.seen if "partNumber" in what]
    assert len(parts) == 2
    assert hashlib.sha256(service.get("slp/large")).digest() == hashlib.sha256(large.read_bytes()).digest()
    assert service.uploads() == []


def test_compose(service: Any, tool: Tool, small: Path, large: Path) -> None:
    tool("put", "slp/1", large)
    tool("put", "slp/2", small)
    tool("compose", "slp/both", "slp/1", "slp/2")
    assert service.get("slp/both") == large.read_bytes() + small.read_bytes()
    tool("compose", "slp/one", "slp/2")
    assert service.get("slp/one") == small.read_bytes()
    tool("compose", "slp/none", "slp/missing", "slp/2", expect=MISSING)
    assert service.uploads() == []


def short_page(handler: Any, body: bytes) -> bool:
    handler.path = handler.path.replace("max-keys=1000", "max-keys=7")
    handler.pass_on(*handler.relay(body))
    return True


def test_lists_go_over_pages(service: Any, tool: Tool) -> None:
    names = [f"slp/list/{i:04}" for i in range(24)]
    for name in names:
        service.put(name, b"x")
    service.when("GET .*max-keys=1000", short_page, times=99)
    assert [row["key"] for row in tool("list", "slp/list/")] == names
    assert sum("continuation-token" in what for what in service.seen) == 3
    assert [row["key"] for row in tool("list", "slp/list/", names[9])] == names[10:]
    assert tool("list", "nothing/") == []


def test_uploads_are_listed_and_aborted(service: Any, tool: Tool) -> None:
    upload = service.client.create_multipart_upload(Bucket=s3.BUCKET, Key="slp/x")
    [row] = tool("uploads", "slp/")
    assert (row["key"], row["upload_id"]) == ("slp/x", upload["UploadId"])
    tool("abort", "slp/x", row["upload_id"])
    tool("abort", "slp/x", row["upload_id"])
    assert tool("uploads", "slp/") == []


def test_virtual_host_style(service: Any, small: Path) -> None:
    endpoint = f"http://localhost:{service.port}"
    tool = Tool(service.settings(SOLOPRINT_S3_STYLE="virtual", SOLOPRINT_S3_ENDPOINT=endpoint))
    tool("put", "slp/v", small)
    assert service.headers[0]["host"] == f"{s3.BUCKET}.localhost:{service.port}"
    assert service.get("slp/v") == small.read_bytes()
    tool("verify", "slp/v", small)
    tool("probe")


def test_wrong_secret_is_refused(service: Any, tmp_path: Path, small: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("not the secret\n")
    tool = Tool(service.settings(SOLOPRINT_S3_SECRET_KEY=str(secret)))
    tool("probe", expect=REFUSED)
    tool("put", "slp/a", small, expect=REFUSED)
    assert service.keys() == []
    # moto alone says the same
    direct = service.settings(SOLOPRINT_S3_ENDPOINT=f"http://127.0.0.1:{service.moto_port}")
    Tool(direct)("put", "slp/a", small)
    Tool(direct | {"SOLOPRINT_S3_SECRET_KEY": str(secret)})("put", "slp/b", small, expect=REFUSED)
    assert service.keys() == ["slp/a"]


def test_secrets_are_not_said(service: Any, tool: Tool, small: Path) -> None:
    service.when("PUT", s3.fail(403, "AccessDenied"))
    done = tool.run("put", "slp/a", small)
    assert done.returncode == REFUSED
    assert "AccessDenied" in done.stderr
    assert service.credentials.secret_key not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "value", "setting"),
    [
        ("SOLOPRINT_S3_HTTP", "0", "SOLOPRINT_S3_ENDPOINT"),
        ("SOLOPRINT_S3_ENDPOINT", "ftp://x", "SOLOPRINT_S3_ENDPOINT"),
        ("SOLOPRINT_S3_ENDPOINT", "http://u:p@x", "SOLOPRINT_S3_ENDPOINT"),
        ("SOLOPRINT_S3_BUCKET", "", "SOLOPRINT_S3_BUCKET"),
        ("SOLOPRINT_S3_BUCKET", "a/b", "SOLOPRINT_S3_BUCKET"),
        ("SOLOPRINT_S3_PREFIX", "/x", "SOLOPRINT_S3_PREFIX"),
        ("SOLOPRINT_S3_STYLE", "other", "SOLOPRINT_S3_STYLE"),
        ("SOLOPRINT_S3_ACCESS_KEY_ID", "", "SOLOPRINT_S3_ACCESS_KEY_ID"),
        ("SOLOPRINT_S3_SECRET_KEY", "/nonexistent", "SOLOPRINT_S3_SECRET_KEY"),
        ("SOLOPRINT_S3_TIMEOUT_S", "0", "SOLOPRINT_S3_TIMEOUT_S"),
        ("SOLOPRINT_STORE", "tape", "SOLOPRINT_STORE"),
    ],
)
def test_settings_are_checked(service: Any, name: str, value: str, setting: str) -> None:
    done = Tool(service.settings(**{name: value})).run("probe")
    assert done.returncode == 64
    assert setting in done.stderr


# --- presigned URLs ---


def unsigned(url: str) -> tuple[str, dict[str, str]]:
    """The URL before it was signed, and what the signature's parameters say."""
    parts = urlsplit(url)
    query = parts.query.split("&")
    bare = "&".join(q for q in query if not q.startswith("X-Amz-"))
    return f"{parts.scheme}://{parts.netloc}{parts.path}" + (f"?{bare}" if bare else ""), {
        k: v[0] for k, v in parse_qs(parts.query, keep_blank_values=True).items() if k.startswith("X-Amz-")
    }


KEYS = ["slp/blobs/c3/d4/0192d3a4-b5c6-7d8e-9f01-23456789c3d4", "slp/a b/ä+(1)&=~*'!.3mf", "x"]
CASES = [
    ("GET", "-1", []),
    ("HEAD", "-1", []),
    ("GET", "-1", ["model/3mf", "attachment; filename=\"a b.3mf\"; filename*=UTF-8''%C3%A4%20b.3mf"]),
    ("PUT", "-1", []),
    ("PUT", "67108864", []),
]


@pytest.mark.parametrize("style", ["path", "virtual"])
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(("method", "size", "more"), CASES)
def test_presigned_is_botocores(service: Any, style: str, key: str, method: str, size: str, more: list[str]) -> None:
    tool = Tool(service.settings(SOLOPRINT_S3_STYLE=style, SOLOPRINT_S3_SSE="AES256"))
    url, headers = tool("presign", method, key, "900", size, *more)
    bare, params = unsigned(url["url"])
    signed = headers if size == "-1" else {**headers, "content-length": size}
    want = s3.presign(service.credentials, method, bare, signed, params["X-Amz-Date"], 900)
    # botocore puts its own parameters behind the caller's; the signature is of the sorted ones.
    assert sorted(urlsplit(url["url"]).query.split("&")) == sorted(urlsplit(want).query.split("&"))
    assert urlsplit(url["url"]).path == urlsplit(want).path
    assert ("x-amz-server-side-encryption" in headers) == (method == "PUT")
    assert ("content-length" in params["X-Amz-SignedHeaders"]) == (size != "-1")


def test_presigned_urls_work(service: Any, small: Path) -> None:
    tool = Tool(service.settings(SOLOPRINT_S3_SSE="AES256"))
    body = small.read_bytes()
    put, headers = tool("presign", "PUT", "slp/up", "60", str(len(body)))
    assert httpx.put(put["url"], content=body, headers=headers).status_code == 200
    assert service.get("slp/up") == body
    get, _ = tool("presign", "GET", "slp/up", "60", "-1", "model/3mf", 'attachment; filename="a.3mf"')
    got = httpx.get(get["url"])
    assert got.content == body
    assert got.headers["content-type"] == "model/3mf"
    assert got.headers["content-disposition"] == 'attachment; filename="a.3mf"'
    got = httpx.get(get["url"], headers={"Range": "bytes=5-9"})
    assert (got.status_code, got.content) == (206, body[5:10])


def test_presigned_urls_are_good_for_what_they_say_only(service: Any, tool: Tool, small: Path) -> None:
    body = small.read_bytes()
    put, headers = tool("presign", "PUT", "slp/up", "60", str(len(body)))
    service.put("slp/up", body)
    get, _ = tool("presign", "GET", "slp/up", "60", "-1")
    assert httpx.put(put["url"], content=body[1:]).status_code == 403  # another length
    assert httpx.get(put["url"]).status_code == 403  # another method
    assert httpx.get(get["url"].replace("slp/up", "slp/other")).status_code == 403
    assert httpx.get(re.sub("Expires=60", "Expires=600", get["url"])).status_code == 403
    assert httpx.get(get["url"] + "&response-content-type=text/html").status_code == 403


# --- a service that fails ---


@pytest.mark.parametrize(("status", "code"), [(500, "InternalError"), (503, "SlowDown"), (503, "ServiceUnavailable")])
def test_tries_again(service: Any, tool: Tool, small: Path, status: int, code: str) -> None:
    service.when("PUT", s3.fail(status, code), times=2)
    service.when("HEAD", s3.fail(status, code), times=1)
    tool("put", "slp/a", small)
    assert sum(what.startswith("PUT") for what in service.seen) == 3
    assert service.get("slp/a") == small.read_bytes()


def test_gives_up(service: Any, tool: Tool, small: Path) -> None:
    service.when("PUT", s3.fail(503, "SlowDown"), times=100)
    tool("put", "slp/a", small, expect=UNAVAILABLE)
    assert sum(what.startswith("PUT") for what in service.seen) == 5


def test_does_not_try_again_what_is_refused(service: Any, tool: Tool, small: Path) -> None:
    service.when("PUT", s3.fail(403, "AccessDenied"), times=100)
    tool("put", "slp/a", small, expect=REFUSED)
    assert len(service.seen) == 1


def test_error_in_a_good_answer(service: Any, tool: Tool, small: Path, large: Path) -> None:
    """Calls that take long answer 200 before they know."""
    service.when(r"POST .*uploadId", s3.fail(200, "InternalError"), times=1)
    tool("put", "slp/large", large)
    assert len(service.get("slp/large")) == large.stat().st_size
    service.put("slp/a", small.read_bytes())
    service.when("PUT", s3.fail(200, "InternalError"), times=100)
    tool("compose", "slp/b", "slp/a", expect=UNAVAILABLE)


def test_a_lost_answer_to_complete(service: Any, tool: Tool, large: Path) -> None:
    service.when(r"POST .*uploadId", s3.lose_answer)
    tool("put", "slp/large", large)
    assert hashlib.sha256(service.get("slp/large")).digest() == hashlib.sha256(large.read_bytes()).digest()


def test_failed_parts_are_aborted(service: Any, tool: Tool, large: Path) -> None:
    service.when("partNumber=2", s3.fail(500, "InternalError"), times=100)
    tool("put", "slp/large", large, expect=UNAVAILABLE)
    assert service.uploads() == []
    assert service.keys() == []


def test_a_part_is_sent_again(service: Any, tool: Tool, large: Path) -> None:
    service.when("partNumber=2", s3.fail(500, "InternalError"), times=2)
    tool("put", "slp/large", large)
    assert hashlib.sha256(service.get("slp/large")).digest() == hashlib.sha256(large.read_bytes()).digest()


def test_stopped_upload_is_aborted(service: Any, tool: Tool, large: Path) -> None:
    tool("put", "slp/large", large, str((64 << 20) + 65536), expect=STOPPED)
    assert service.uploads() == []
    assert service.keys() == []


def test_download_goes_on_where_it_was_cut(service: Any, tool: Tool, small: Path, tmp_path: Path) -> None:
    service.put("slp/a", small.read_bytes())
    service.when("GET", s3.truncate(30_000), times=2)
    tool("get", "slp/a", "0", "-1", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == small.read_bytes()
    ranges = [h.get("range") for h in service.headers]
    assert ranges == [None, "bytes=30000-", "bytes=60000-"]


def test_changed_object_is_not_mixed(service: Any, tool: Tool, small: Path, tmp_path: Path) -> None:
    service.put("slp/a", small.read_bytes())

    def swap(handler: Any, body: bytes) -> bool:
        s3.truncate(30_000)(handler, body)
        service.put("slp/a", b"y" * 100_000)
        return True

    service.when("GET", swap)
    tool("get", "slp/a", "0", "-1", tmp_path / "out", expect=CORRUPT)


def test_corrupt_answers_are_seen(service: Any, tool: Tool, small: Path) -> None:
    service.put("slp/a", small.read_bytes())
    service.when("GET", s3.corrupt)
    tool("verify", "slp/a", small, expect=CORRUPT)
    tool("verify", "slp/a", small)
    service.when("GET", s3.corrupt)  # how put looks at what arrived, when the service keeps no checksum
    tool("put", "slp/a", small, expect=CORRUPT)


def test_slow_service_is_a_failure(service: Any, small: Path) -> None:
    import threading

    go = threading.Event()
    service.when("PUT", s3.hold(threading.Event(), go), times=1)
    tool = Tool(service.settings(SOLOPRINT_S3_TIMEOUT_S="1"))
    tool("put", "slp/a", small)  # the second attempt is answered
    go.set()
    assert sum(what.startswith("PUT") for what in service.seen) == 2


def test_hostile_xml(service: Any, tool: Tool) -> None:
    service.when("GET", s3.garbage, times=100)
    tool("list", "slp/", expect=UNAVAILABLE)


def test_list_that_does_not_go_on(service: Any, tool: Tool) -> None:
    page = b"<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>slp/a</Key></Contents></ListBucketResult>"
    service.when("GET", lambda h, _: (h.answer(200, page), True)[1], times=100)
    tool("list", "slp/", expect=UNAVAILABLE)


def test_unreachable(service: Any, small: Path) -> None:
    from stack import free_port

    tool = Tool(service.settings(SOLOPRINT_S3_ENDPOINT=f"http://127.0.0.1:{free_port()}"))
    tool("probe", expect=UNAVAILABLE)
