"""What nginx lets through to a worker, and what it answers itself. Runs without the service: see lib/nginx_rig.py."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator

import httpx
import pytest
import yaml
from nginx_rig import Answer, Nginx, parse
from stack import ROOT
from wait import until

CONTRACT_HEADERS = {
    "X-SoLoPrint-API-Series": "v1",
    "X-SoLoPrint-API-Version": "2026-04-02",
    "X-SoLoPrint-API-Docs": "https://www.soloprint.app/developers/api-docs",
    "X-SoLoPrint-API-Changelog": "https://www.soloprint.app/developers/changelog",
}
ALWAYS = {
    "REQUEST_METHOD": "GET", "REQUEST_URI": "/v1/me?a=1", "QUERY_STRING": "a=1", "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "127.0.0.1", "SLP_SCHEME": "https", "SLP_HOST": "",
}  # fmt: skip
PASSED_ON = [
    "Accept", "Access-Control-Request-Headers", "Access-Control-Request-Method", "Authorization", "Cookie",
    "Idempotency-Key", "If-Match", "If-None-Match", "Last-Event-Id", "Origin", "Range", "Traceparent", "User-Agent",
    "X-API-Key", "X-SoLoPrint-API-Version",
]  # fmt: skip


@pytest.fixture(autouse=True)
def forgiven() -> None:
    """The service's own limits play no part here."""


@pytest.fixture(scope="module")
def nginx() -> Iterator[Nginx]:
    with Nginx(("--read-timeout", "1s")) as running:
        yield running


def check_error(answer: Answer, status: int, code: str) -> None:
    """The contract's shape, its headers once each, and nothing of nginx."""
    assert answer.status == status, answer
    assert answer.json["error"] == code
    assert answer.all("X-Request-Id") == [answer.json["request_id"]]
    assert answer.all("Content-Type") == ["application/json"]
    assert answer.all("Server") == ["nginx"]
    assert answer.all("Cache-Control") == ["no-store"]
    for name, value in CONTRACT_HEADERS.items():
        assert answer.all(name) == [value]


# --- what a worker is told ---------------------------------------------------------------------------


def test_a_worker_is_told_the_list_and_nothing_else(nginx: Nginx) -> None:
    answer = nginx.ask("/v1/me?a=1")
    told = dict(answer.params)
    assert len(told) == len(answer.params)
    assert len(told.pop("SLP_REQID")) == 32
    assert told == ALWAYS


def test_every_header_of_the_list_is_passed_on_once(nginx: Nginx) -> None:
    told = nginx.ask("/v1/me?a=1", *(f"{name}: value of {name}" for name in PASSED_ON)).params
    for name in PASSED_ON:
        assert told.count(("HTTP_" + name.upper().replace("-", "_"), f"value of {name}")) == 1
    assert len(told) == len(ALWAYS) + 1 + len(PASSED_ON)


@pytest.mark.parametrize(
    "header",
    [
        "Proxy: http://192.0.2.1", "Remote-User: admin", "REMOTE_USER: admin", "X-Forwarded-For: 192.0.2.1",
        "X-Real-IP: 192.0.2.1", "X-Forwarded-Host: evil.example", "HTTPS: off", "X_API_KEY: slp", "SLP-Reqid: mine",
        "SLP_REQID: mine", "Content_Length: 5", "X-HTTP-Method-Override: DELETE", "X-Original-URL: /v1/keys",
        "Script-Filename: /etc/passwd", "X-Accel-Redirect: /x", "Transfer-Coding: x",
    ],
)  # fmt: skip
def test_other_headers_never_arrive(nginx: Nginx, header: str) -> None:
    told = dict(nginx.ask("/v1/me?a=1", header).params)
    told.pop("SLP_REQID")
    assert told == ALWAYS


def test_basic_credentials_make_no_remote_user(nginx: Nginx) -> None:
    told = dict(nginx.ask("/v1/me", "Authorization: Basic YWRtaW46eA==").params)
    assert "REMOTE_USER" not in told
    assert told["HTTP_AUTHORIZATION"] == "Basic YWRtaW46eA=="


def test_of_a_doubled_header_the_first_counts(nginx: Nginx) -> None:
    told = nginx.ask("/v1/me", "Idempotency-Key: one", "Idempotency-Key: two").params
    assert [v for n, v in told if n == "HTTP_IDEMPOTENCY_KEY"] == ["one"]


def test_three_hundred_headers_are_three_hundred_nothings(nginx: Nginx) -> None:
    told = nginx.ask("/v1/me?a=1", *(f"X-Filler-{i}: {i}" for i in range(300))).params
    assert len(told) == len(ALWAYS) + 1


@pytest.mark.parametrize("wish", ["abc-123", "A.b_c", "x" * 64])
def test_a_harmless_request_id_is_kept(nginx: Nginx, wish: str) -> None:
    assert dict(nginx.ask("/v1/me", f"X-Request-Id: {wish}").params)["SLP_REQID"] == wish


@pytest.mark.parametrize("wish", ['a"b', "a b", "x" * 65, "a/b", "\u00e9", "<b>"])
def test_any_other_request_id_is_replaced(nginx: Nginx, wish: str) -> None:
    assert len(dict(nginx.ask("/v1/me", f"X-Request-Id: {wish}").params)["SLP_REQID"]) == 32


def test_a_chunked_body_arrives_with_its_length(nginx: Nginx) -> None:
    text = (
        "POST /v1/printers HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    answer = parse(nginx.send(text))
    assert answer.json["body"] == "abcde"
    assert dict(answer.params)["CONTENT_LENGTH"] == "5"


# --- what a worker answers ---------------------------------------------------------------------------


def test_a_workers_own_headers_are_not_doubled(nginx: Nginx) -> None:
    nginx.responder.headers = CONTRACT_HEADERS | {
        "X-Request-Id": "mine", "X-Content-Type-Options": "nosniff", "Server": "w", "X-Powered-By": "w",
        "Strict-Transport-Security": "max-age=1", "Referrer-Policy": "unsafe-url",
    }  # fmt: skip
    try:
        answer = nginx.ask("/v1/me")
    finally:
        nginx.responder.headers = {}
    for name, value in CONTRACT_HEADERS.items():
        assert answer.all(name) == [value]
    assert answer.all("X-Request-Id") == ["mine"]
    assert answer.all("X-Content-Type-Options") == ["nosniff"]
    assert answer.all("Strict-Transport-Security") == ["max-age=31536000"]
    assert answer.all("Referrer-Policy") == ["no-referrer"]
    assert answer.all("Server") == ["nginx"]
    assert not answer.all("X-Powered-By")


@pytest.mark.parametrize("status", ["404 Not Found", "413 Too Large", "429 Too Many", "500 Error", "503 Busy"])
def test_a_workers_error_passes_unchanged(nginx: Nginx, status: str) -> None:
    nginx.responder.headers = {"Status": status}
    try:
        answer = nginx.ask("/v1/me")
    finally:
        nginx.responder.headers = {}
    assert answer.status == int(status[:3])
    assert "params" in answer.json


def test_a_worker_cannot_redirect_inside_nginx(nginx: Nginx) -> None:
    nginx.responder.headers = {"X-Accel-Redirect": "/v1/docs", "X-Accel-Limit-Rate": "1"}
    try:
        answer = nginx.ask("/v1/me")
    finally:
        nginx.responder.headers = {}
    assert "params" in answer.json
    assert not [n for n, _ in answer.headers if n.lower().startswith("x-accel")]


def test_a_request_that_a_worker_broke_off_is_not_sent_again(nginx: Nginx) -> None:
    before = len(nginx.responder.requests)
    answer = nginx.ask("/v1/printers?die", method="POST", body="{}")
    check_error(answer, 502, "bad_gateway")
    assert answer.all("Retry-After") == ["1"]
    assert len(nginx.responder.requests) == before + 1


def test_a_worker_that_takes_too_long(nginx: Nginx) -> None:
    answer = nginx.ask("/v1/me?hang")
    check_error(answer, 504, "gateway_timeout")
    assert answer.all("Retry-After") == ["1"]


def test_no_worker_at_all(nginx: Nginx) -> None:
    path = nginx.folder / "run/api/api.sock"
    path.rename(path.with_suffix(".away"))
    try:
        check_error(nginx.ask("/v1/me"), 502, "bad_gateway")
    finally:
        path.with_suffix(".away").rename(path)


# --- ambiguity and smuggling -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "/v1/a%2fb", "/v1/a%2Fb", "/v1/a%5cb", "/v1/a%00b", "/v1//me", "//v1/me", "/v1/./me", "/v1/../me", "/v1/me/..",
        "/v1/me/.", "/v1/%2e%2e/me", "/v1/me;x=1", "/v1/me%3bx", "/v1/.hidden", "/v1/a\\b", "/v1/me#x", "/v1/%zz",
        "/../../etc/passwd", "v1/me", "/v1/public/version/..%2f..%2fme",
    ],
)  # fmt: skip
def test_ambiguous_targets_are_refused(nginx: Nginx, target: str) -> None:
    before = len(nginx.responder.requests)
    check_error(nginx.ask(target), 400, "bad_request")
    assert len(nginx.responder.requests) == before


@pytest.mark.parametrize("query", ["a=%2f%5c", "a=//", "a=/../", "a=;b", "a=.", "a=%00"])
def test_a_query_may_hold_anything(nginx: Nginx, query: str) -> None:
    assert dict(nginx.ask(f"/v1/me?{query}").params)["REQUEST_URI"] == f"/v1/me?{query}"


def test_the_worker_sees_the_target_as_it_was_sent(nginx: Nginx) -> None:
    assert dict(nginx.ask("/v1/%6de").params)["REQUEST_URI"] == "/v1/%6de"
    absolute = dict(nginx.ask("http://evil.example/v1/me").params)
    assert absolute["REQUEST_URI"] == "/v1/me"
    assert "evil" not in json.dumps(absolute)


HOST = "Host: localhost\r\n"
REFUSED = {
    "no host": ("GET /v1/me HTTP/1.1\r\n\r\n", 400),
    "two hosts": (f"GET /v1/me HTTP/1.1\r\n{HOST}Host: b\r\n\r\n", 400),
    "two authorizations": (f"GET /v1/me HTTP/1.1\r\n{HOST}Authorization: a\r\nAuthorization: b\r\n\r\n", 400),
    "two lengths": (f"POST /v1/me HTTP/1.1\r\n{HOST}Content-Length: 1\r\nContent-Length: 1\r\n\r\na", 400),
    "length and chunks": (
        f"POST /v1/me HTTP/1.1\r\n{HOST}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "signed length": (f"POST /v1/me HTTP/1.1\r\n{HOST}Content-Length: +4\r\n\r\nabcd", 400),
    "negative length": (f"POST /v1/me HTTP/1.1\r\n{HOST}Content-Length: -1\r\n\r\n", 400),
    "hex length": (f"POST /v1/me HTTP/1.1\r\n{HOST}Content-Length: 0x4\r\n\r\nabcd", 400),
    "space before colon": (f"POST /v1/me HTTP/1.1\r\n{HOST}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    "unknown coding": (f"POST /v1/me HTTP/1.1\r\n{HOST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
    "two codings": (f"POST /v1/me HTTP/1.1\r\n{HOST}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "bad chunk": (f"POST /v1/me HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", 400),
    "NUL in a header": (f"GET /v1/me HTTP/1.1\r\n{HOST}X-A: a\0b\r\n\r\n", 400),
    "NUL in the target": (f"GET /v1/m\0e HTTP/1.1\r\n{HOST}\r\n", 400),
    "space in the target": (f"GET /v1/m e HTTP/1.1\r\n{HOST}\r\n", 400),
    "a version to come": (f"GET /v1/me HTTP/3.7\r\n{HOST}\r\n", 400),
    "not HTTP": ("hello\r\n\r\n", 400),
    "lower-case method": (f"get /v1/me HTTP/1.1\r\n{HOST}\r\n", 400),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_malformed_requests_are_refused(nginx: Nginx, name: str) -> None:
    text, status = REFUSED[name]
    before = len(nginx.responder.requests)
    data = nginx.send(text.replace(HOST, HOST + "Connection: close\r\n"))
    check_error(parse(data), status, {400: "bad_request", 501: "not_implemented"}[status])
    assert data.count(b"HTTP/1.1 ") == 1
    assert len(nginx.responder.requests) == before


def test_a_body_is_never_a_second_request(nginx: Nginx) -> None:
    inner = "GET /v1/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
    before = len(nginx.responder.requests)
    answer = nginx.ask("/v1/printers", method="POST", body=inner)
    assert answer.json["body"] == inner
    assert len(nginx.responder.requests) == before + 1


# --- sizes, methods, limits --------------------------------------------------------------------------


def test_too_large(nginx: Nginx) -> None:
    check_error(nginx.ask("/v1/" + "x" * 9000), 414, "uri_too_long")
    check_error(nginx.ask("/v1/me", "X-Big: " + "x" * 9000), 431, "header_too_large")
    check_error(nginx.ask("/v1/me", *(f"X-{i}: {'x' * 4000}" for i in range(12))), 431, "header_too_large")
    lengthy = f"POST /v1/printers HTTP/1.1\r\n{HOST}Content-Length: 10000000\r\n\r\n"
    check_error(parse(nginx.send(lengthy)), 413, "payload_too_large")
    body = "x" * 300_000
    endless = f"POST /v1/printers HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n{len(body):x}\r\n{body}\r\n0\r\n\r\n"
    check_error(parse(nginx.send(endless)), 413, "payload_too_large")


@pytest.mark.parametrize(
    ("method", "target", "allow"),
    [
        ("TRACE", "/v1/me", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),
        ("POST", "/v1/docs", "GET, HEAD"),
        ("DELETE", "/v1/reference", "GET, HEAD"),
    ],
)
def test_methods_that_nginx_refuses(nginx: Nginx, method: str, target: str, allow: str) -> None:
    answer = nginx.ask(target, method=method)
    check_error(answer, 405, "method_not_allowed")
    assert answer.all("Allow") == [allow]


def test_outside_of_the_api_there_is_nothing(nginx: Nginx) -> None:
    check_error(nginx.ask("/v2/me"), 404, "not_found")
    check_error(nginx.ask("/__error/json/400"), 404, "not_found")
    check_error(nginx.ask("/v1/docs/assets/missing.js"), 404, "not_found")
    front = nginx.ask("/")
    assert (front.status, front.all("Location")) == (302, ["/v1/docs"])


def test_head_has_no_body(nginx: Nginx) -> None:
    answer = nginx.ask("/nothing", method="HEAD")
    assert (answer.status, answer.body) == (404, b"")


def test_problem_json_when_asked_for_by_name(nginx: Nginx) -> None:
    answer = nginx.ask("/nothing", "Accept: application/problem+json")
    assert answer.all("Content-Type") == ["application/problem+json"]
    assert answer.json["status"] == 404
    assert answer.json["error"] == "not_found"
    assert answer.json["instance"] == f"urn:request:{answer.json['request_id']}"


def test_requests_per_address() -> None:
    with Nginx(("--rate", "1", "--burst", "2", "--conns", "0")) as limited:
        answers = [limited.ask("/v1/me") for _ in range(8)]
        assert [a.status for a in answers[:3]] == [200] * 3
        refused = [a for a in answers if a.status != 200]
        assert len(refused) >= 4
        check_error(refused[0], 429, "rate_limited")
        assert refused[0].all("Retry-After") == ["1"]
        assert refused[0].json["details"] == {"policy": "address", "retry_after": 1}
        assert len(limited.responder.requests) == 8 - len(refused)


def test_connections_per_address() -> None:
    with Nginx(("--rate", "0", "--conns", "2")) as limited:
        held = [limited.connect() for _ in range(2)]
        for s in held:
            s.sendall(f"GET /v1/me?hang HTTP/1.1\r\n{HOST}\r\n".encode())
        until(lambda: len(limited.responder.requests) == 2)
        check_error(limited.ask("/v1/me"), 429, "rate_limited")
        limited.responder.release.set()
        for s in held:
            s.close()


# --- TLS, HTTP/2, names, logs ------------------------------------------------------------------------


def handshake(nginx: Nginx, version: ssl.TLSVersion) -> str | None:
    context = nginx.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = version
    try:
        with nginx.connect(context) as s:
            return s.version()
    except ssl.SSLError:
        return None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_versions(nginx: Nginx) -> None:
    got = {v.name: handshake(nginx, v) for v in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)}
    assert got == {"TLSv1": None, "TLSv1_1": None}
    assert handshake(nginx, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    assert handshake(nginx, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"


def test_plain_http_is_not_served(nginx: Nginx) -> None:
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=10) as s:
        s.sendall(f"GET /v1/me HTTP/1.1\r\n{HOST}\r\n".encode())
        data = b""
        while chunk := s.recv(65536):
            data += chunk
    check_error(parse(data), 400, "bad_request")


def test_http2(nginx: Nginx) -> None:
    with httpx.Client(http2=True, verify=nginx.context(), base_url=f"https://localhost:{nginx.port}") as client:
        good, bad = client.get("/v1/me"), client.get("/v1/a%2fb")
        assert (good.http_version, good.status_code) == ("HTTP/2", 200)
        assert dict(good.json()["params"])["SERVER_PROTOCOL"] == "HTTP/2.0"
        assert (bad.status_code, bad.json()["error"]) == (400, "bad_request")
        assert bad.headers["x-soloprint-api-series"] == "v1"
        # Too much for HTTP/2's own tables: the connection ends, with ENHANCE_YOUR_CALM.
        with pytest.raises(httpx.RemoteProtocolError, match="error_code:11"):
            client.get("/v1/me", headers={"x-big": "x" * 20000})


def test_another_name_gets_no_answer() -> None:
    with Nginx(("--server-name", "localhost")) as named:
        assert named.ask("/v1/me").status == 200
        text = "GET /v1/me HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
        assert named.send(text) == b""
        assert dict(named.ask("/v1/me").params)["SLP_HOST"] == "localhost"


def test_json_is_compressed_on_demand(nginx: Nginx) -> None:
    headers = [f"Cookie: {'x' * 2000}", "Accept-Encoding: gzip"]
    answer = nginx.ask("/v1/me", *headers)
    assert answer.all("Content-Encoding") == ["gzip"]
    assert "Accept-Encoding" in answer.all("Vary")


def test_the_log_holds_no_query_and_no_secret(nginx: Nginx) -> None:
    nginx.ask("/v1/me?secret=CANARY-query", "Authorization: Bearer CANARY-key", "Cookie: CANARY-cookie",
              "X-Request-Id: of-this-test")  # fmt: skip
    until(lambda: "of-this-test" in nginx.access_log, 10)
    assert "CANARY" not in nginx.access_log
    lines = [json.loads(line) for line in nginx.access_log.splitlines()]
    mine = next(line for line in lines if line["request_id"] == "of-this-test")
    assert (mine["path"], mine["status"], mine["method"]) == ("/v1/me", 200, "GET")


def test_pages_are_strict(nginx: Nginx) -> None:
    for page in ("/v1/docs", "/v1/redoc", "/v1/reference"):
        answer = nginx.ask(page)
        assert answer.status == 200
        policy = answer.all("Content-Security-Policy")
        assert len(policy) == 1 and policy[0].startswith("default-src 'none'")
        assert "unsafe-eval" not in policy[0] and "script-src 'unsafe-inline'" not in policy[0]
        for name, value in CONTRACT_HEADERS.items():
            assert answer.all(name) == [value]


# --- the catalogue and the configuration -------------------------------------------------------------


def test_nginx_errors_are_the_catalogues() -> None:
    catalogue = yaml.safe_load((ROOT / "schema/api/errors.yaml").read_text())["errors"]
    for entry in json.loads((ROOT / "nginx/errors.json").read_text()):
        known = catalogue[entry["error"]]
        assert (entry["status"], entry["title"]) == (known["status"], known["title"])
        assert entry.get("retry_after_s") == known.get("retry_after_s")


def test_a_reload_changes_nothing_for_clients(nginx: Nginx) -> None:
    nginx.process.send_signal(1)
    assert [nginx.ask("/v1/me").status for _ in range(20)] == [200] * 20


def test_no_module_that_is_not_needed(nginx: Nginx) -> None:
    done = subprocess.run(
        ["nginx", "-e", "stderr", "-T", "-p", str(nginx.folder), "-c", str(nginx.folder / "conf/nginx.conf")],
        capture_output=True, text=True, env={"PATH": "/usr/sbin:/usr/bin:/bin"}, check=True,
    )  # fmt: skip
    assert re.findall("load_module.*/(.*);", done.stdout) == []
    for word in ("autoindex", "ssi on", "mp4", "perl", "fastcgi_params"):
        assert word not in done.stdout
    assert re.findall("dav_methods.*;", done.stdout) == ["dav_methods PUT;"]  # of parts, to signed URLs
