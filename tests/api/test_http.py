"""HTTP itself: methods, unknown routes, common headers, problems, versions, what nginx answers on its own."""

from __future__ import annotations

import re
import socket
import ssl
from urllib.parse import urlsplit

import httpx
import pytest
from api import Api, tls
from contract import CONTRACT_HEADERS
from stack import Stack
from walk import built_contract
from world import Org

CONTRACT = built_contract()
PATHS = sorted({op.path for op in CONTRACT.operations})
SOME_ID = "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70"


def methods_of(path: str) -> set[str]:
    return {op.method for op in CONTRACT.operations if op.path == path}


def concrete(path: str) -> str:
    return re.sub(r"\{\w+\}", SOME_ID, path)


@pytest.mark.parametrize("path", PATHS)
def test_options(anonymous: Api, path: str) -> None:
    answer = anonymous.request("OPTIONS", concrete(path), expect=204)
    allow = set(answer.headers["Allow"].split(", "))
    assert allow == methods_of(path) | {"OPTIONS"} | ({"HEAD"} if "GET" in methods_of(path) else set())


@pytest.mark.parametrize("path", PATHS)
def test_methods_that_are_not_there(anonymous: Api, path: str) -> None:
    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} - methods_of(path):
        if method == "HEAD" and "GET" in methods_of(path):
            continue
        answer = anonymous.request(method, concrete(path), expect=405)
        assert set(answer.headers["Allow"].split(", ")) >= methods_of(path)
        if method != "HEAD":
            assert answer.json()["error"] == "method_not_allowed"


@pytest.mark.parametrize("method", ["PROPFIND", "FOO", "TRACE"])
def test_methods_nobody_knows(anonymous: Api, method: str) -> None:
    answer = anonymous.request(method, "/v1/printers", check=False)
    assert answer.status_code in (400, 405, 501)
    assert answer.json()["error"] in ("method_not_allowed", "not_implemented", "bad_request")


READS = [o for o in CONTRACT.operations if o.method == "GET" and not o.path_names and o.id != "getEventStream"]  # that one is signed


@pytest.mark.parametrize("op", READS, ids=str)
def test_head_is_get_without_body(api: Api, op: object) -> None:
    get, head = api.get(op.path), api.request("HEAD", op.path)  # type: ignore[attr-defined]
    assert (head.status_code, head.content) == (200, b"")
    changing = {"date", "x-request-id", "x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit", "content-length"}
    assert set(get.headers.keys()) - changing == set(head.headers.keys()) - changing
    assert head.headers["Content-Type"] == get.headers["Content-Type"]


def test_head_of_one_printer(org: Org) -> None:
    made = org.make_printer()
    answer = org.api.request("HEAD", f"/v1/printers/{made['id']}", expect=200)
    assert answer.headers["ETag"]
    assert org.api.request("HEAD", f"/v1/printers/{SOME_ID}").status_code == 404


@pytest.mark.parametrize(
    "path",
    ["/v1", "/v1/", "/v1/nonsense", "/v1/printers/", "/v1/printers/x/y/z", "/v1/Printers", "/v2/printers", "/v1/me/",
     "/v1/printer", "/v1//printers", "/v1/printers%2f", "/v1/public", "/v1/../v1/nonsense", "/v1/printers;x=1",
     "/v1/health/x", "/v1/openapi.jsonx"],
)  # fmt: skip
def test_unknown_route(api: Api, path: str) -> None:
    answer = api.get(path, check=False)
    assert answer.status_code in (400, 404), answer.text
    if answer.status_code == 404:
        assert answer.json()["error"] == "not_found"
    for name, value in CONTRACT_HEADERS.items():
        assert answer.headers.get_list(name) == [value]
    assert answer.headers["X-Request-Id"] == answer.json()["request_id"]


@pytest.mark.parametrize(
    "path", ["/v1/public/../printers", "/v1/public/version/../../printers", "/v1/public/%2e%2e/printers",
             "/v1/printers?x=/v1/public/version", "/v1/printers#/v1/public/version"],
)  # fmt: skip
def test_path_tricks_open_nothing(stack: Stack, path: str) -> None:
    assert raw(stack, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").status in (400, 401, 404)


class Raw:
    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1]) if len(lines[0].split()) > 1 else 0
        self.headers = [tuple(line.split(": ", 1)) for line in lines[1:]]

    def header(self, name: str) -> list[str]:
        return [v for n, v in self.headers if n.lower() == name.lower()]


def raw(stack: Stack, text: str | bytes) -> Raw:
    """One HTTP/1.1 request as it stands."""
    where = urlsplit(stack.url)
    data = b""
    with socket.create_connection((where.hostname, where.port), timeout=10) as plain:
        with tls(stack.cacert).wrap_socket(plain, server_hostname=where.hostname) as s:
            s.sendall(text.encode("latin-1") if isinstance(text, str) else text)
            while chunk := s.recv(65536):
                data += chunk
    return Raw(data)


NGINX_ANSWERS = [
    ("GET /v1/me HTTP/1.1\r\n\r\n", 400, "bad_request"),
    ("GET /v1/me HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "bad_request"),
    ("GET /v1/me HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "bad_request"),
    ("GET /v1/%zz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 400, "bad_request"),
    ("POST /v1/printers HTTP/1.1\r\nHost: localhost\r\nContent-Length: +4\r\n\r\nabcd", 400, "bad_request"),
    ("POST /v1/printers HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
     "0\r\n\r\n", 400, "bad_request"),
    (f"GET /v1/{'x' * 20000} HTTP/1.1\r\nHost: localhost\r\n\r\n", 414, "uri_too_long"),
    (f"GET /v1/me HTTP/1.1\r\nHost: localhost\r\nX-Big: {'x' * 40000}\r\n\r\n", 431, "header_too_large"),
    ("POST /v1/printers HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\nConnection: close\r\n\r\n", 413,
     "payload_too_large"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "status", "code"), NGINX_ANSWERS, ids=[f"{n}-{a[1]}" for n, a in
                                                                         enumerate(NGINX_ANSWERS)])  # fmt: skip
def test_nginx_answers_in_the_contracts_shape(stack: Stack, text: str, status: int, code: str) -> None:
    answer = raw(stack, text)
    if code == "header_too_large" and answer.status == 400:
        pytest.fail("nginx answers 494 as plain 400")
    assert answer.status == status, answer.body
    import json

    body = json.loads(answer.body)
    assert body["error"] == code
    assert answer.header("Content-Type") == ["application/json"]
    assert [body["request_id"]] == answer.header("X-Request-Id")
    for name, value in CONTRACT_HEADERS.items():
        assert answer.header(name) == [value]


def test_bare_crlf_smuggling_is_refused(stack: Stack) -> None:
    text = (
        "POST /v1/printers HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nTransfer-Encoding : chunked\r\n"
        "Connection: close\r\n\r\nGET /v1/public/version HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    answer = raw(stack, text)
    assert answer.status in (400, 401)
    assert answer.body.count(b"HTTP/1.1") == 0


def test_spoofed_headers_change_nothing(api: Api, anonymous: Api, org: Org) -> None:
    spoof = {
        "REMOTE_USER": "admin", "Remote-User": "admin", "X-Forwarded-For": "198.51.100.7", "X-Real-IP": "198.51.100.7",
        "Forwarded": "for=198.51.100.7", "Proxy": "http://198.51.100.7/", "X-Original-URL": "/v1/public/version",
        "X-Rewrite-URL": "/v1/public/version", "X-HTTP-Method-Override": "DELETE", "HTTPS": "on",
    }  # fmt: skip
    anonymous.get("/v1/printers", headers=spoof, expect="missing_bearer_token")
    here_only = org.with_capabilities("operations.read", cidrs=["127.0.0.0/8", "::1/128"])
    here_only.get("/v1/printers", headers=spoof, expect=200)
    elsewhere = org.with_capabilities("operations.read", cidrs=["198.51.100.0/24"])
    elsewhere.get("/v1/printers", headers=spoof, expect="address_not_allowed")


def test_host_header_is_not_reflected(stack: Stack) -> None:
    answer = raw(stack, "GET /v1/public/version HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
    assert b"evil.example" not in answer.body
    assert not any("evil.example" in v for _, v in answer.headers)


def test_duplicate_credentials(org: Org) -> None:
    """Two Authorization headers are refused; of different kinds Authorization speaks."""
    other = org.make_key([])
    two = [("Authorization", f"Bearer {org.key}"), ("Authorization", f"Bearer {other}")]
    assert org.base.request("GET", "/v1/me", headers=two, check=False).status_code in (400, 401)


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic YWRtaW46eA==", "bearer", "Token x"])
def test_credentials_that_are_none(anonymous: Api, value: str) -> None:
    answer = anonymous.get("/v1/me", headers={"Authorization": value})
    assert answer.status_code == 401
    assert answer.json()["error"] == "missing_bearer_token"


def test_bearer_in_any_case_and_x_api_key(org: Org) -> None:
    for headers in ({"Authorization": f"bearer {org.key}"}, {"Authorization": f"BEARER {org.key}"},
                    {"X-API-Key": org.key}):  # fmt: skip
        org.base.get("/v1/me", headers=headers, expect=200)


def test_credentials_in_the_query_are_refused(anonymous: Api, org: Org) -> None:
    for name in ("api_key", "access_token", "token", "key"):
        assert anonymous.get(f"/v1/me?{name}={org.key}").status_code in (400, 401)


# --- problem+json

@pytest.mark.parametrize(
    ("accept", "problem"),
    [("application/problem+json", True), ("application/problem+json, application/json;q=0.5", True),
     ("application/json, application/problem+json;q=0.5", False), ("*/*", False), ("application/*", False),
     ("application/json", False), ("", False), ("application/problem+json;q=0", False)],
)  # fmt: skip
def test_problem_json(api: Api, accept: str, problem: bool) -> None:
    answer = api.get(f"/v1/printers/{SOME_ID}", headers={"Accept": accept}, expect=404)
    media = "application/problem+json" if problem else "application/json"
    assert answer.headers["Content-Type"].split(";")[0] == media
    body = answer.json()
    assert body["error"] == "resource_not_found"
    if problem:
        assert body["status"] == 404
        assert body["type"].endswith("#resource_not_found")
        assert body["instance"] == f"urn:request:{body['request_id']}"
        assert body["title"]
        assert body["detail"]


def test_problem_json_does_not_touch_success(api: Api) -> None:
    answer = api.get("/v1/me", headers={"Accept": "application/problem+json"}, expect=200)
    assert answer.headers["Content-Type"].split(";")[0] == "application/json"


def test_problem_names_fields_too(api: Api) -> None:
    answer = api.post("/v1/printers", {"name": 1}, headers={"Accept": "application/problem+json"}, expect=422)
    assert {f["pointer"] for f in answer.json()["details"]["fields"]} >= {"/name", "/protocol"}


# --- versions and request ids

def test_version_header(api: Api) -> None:
    api.get("/v1/me", headers={"X-SoLoPrint-API-Version": "2026-04-02"}, expect=200)
    for wrong in ("2020-01-01", "v1", "latest", "2026-04-02x"):
        answer = api.get("/v1/me", headers={"X-SoLoPrint-API-Version": wrong}, expect="unsupported_api_version")
        assert answer.status_code == 400
        assert "2026-04-02" in answer.text


def test_request_id_is_kept(api: Api) -> None:
    assert api.get("/v1/me", headers={"X-Request-Id": "Abc-1.2_3"}).headers["X-Request-Id"] == "Abc-1.2_3"


@pytest.mark.parametrize("value", ["a b", "x" * 65, "a\tb", "<script>", "é".encode(), ""])
def test_request_id_that_does_not_fit_is_replaced(api: Api, value: str | bytes) -> None:
    answer = api.get("/v1/me", headers=[("X-Request-Id", value)])  # type: ignore[list-item]
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", answer.headers["X-Request-Id"])
    assert answer.headers["X-Request-Id"].encode() != (value if isinstance(value, bytes) else value.encode())


def test_request_ids_are_unique(api: Api) -> None:
    ids = [api.get("/v1/public/version").headers["X-Request-Id"] for _ in range(50)]
    assert len(set(ids)) == 50


# --- transport

def test_tls_versions(stack: Stack) -> None:
    where = urlsplit(stack.url)
    for least, ok in ((ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True), (ssl.TLSVersion.TLSv1_1, False)):
        context = tls(stack.cacert)
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, least
        context.minimum_version = least
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        try:
            with socket.create_connection((where.hostname, where.port)) as s:
                context.wrap_socket(s, server_hostname=where.hostname).close()
            worked = True
        except (ssl.SSLError, OSError):
            worked = False
        assert worked == ok, least


def test_http2_and_security_headers(stack: Stack, http: httpx.Client) -> None:
    answer = http.get("/v1/public/version")
    assert answer.http_version == "HTTP/2"
    assert "max-age=" in answer.headers["Strict-Transport-Security"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"\d", answer.headers.get("Server", ""))


def test_plain_http_on_the_tls_port(stack: Stack) -> None:
    where = urlsplit(stack.url)
    with socket.create_connection((where.hostname, where.port), timeout=5) as s:
        s.sendall(b"GET /v1/public/version HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = Raw(s.recv(65536))
    assert answer.status in (400, 301, 308)
    assert b"series" not in answer.body


def test_responses_to_tenants_are_not_cached(api: Api) -> None:
    assert "no-cache" in api.get("/v1/me").headers["Cache-Control"]
    assert "no-store" in api.get(f"/v1/printers/{SOME_ID}").headers["Cache-Control"]


# --- the documentation that is served

def test_docs_pages(http: httpx.Client) -> None:
    for path in ("/v1/docs", "/v1/redoc"):
        answer = http.get(path, follow_redirects=True)
        assert answer.status_code == 200, path
        assert answer.headers["Content-Type"].startswith("text/html")
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy or "default-src 'self'" in policy
        assert "http:" not in policy and "https:" not in policy
        assert not re.search(r'(src|href)="https?://(?!www\.soloprint\.app)', answer.text)
        assert answer.headers["X-SoLoPrint-API-Series"] == "v1"
