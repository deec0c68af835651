"""An S3 service for tests: moto, which verifies the signatures of headers, behind a proxy that verifies every signature
by botocore, also those of presigned URLs, and breaks answers on demand."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import boto3
import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from stack import free_port
from wait import until

REGION, BUCKET = "eu-central-1", "blobs"
SETUP_ACTIONS = 4  # what Service.start does before signatures count
POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


class At:
    """botocore's clock, held."""

    def __init__(self, stamp: str) -> None:
        self.now = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)

    def __enter__(self) -> None:
        self.patch = patch.object(botocore.auth, "get_current_datetime", lambda **_: self.now)
        self.patch.start()

    def __exit__(self, *_: object) -> None:
        self.patch.stop()


_clock = threading.Lock()  # the patch is the whole process'


def presign(credentials: Credentials, method: str, url: str, headers: dict[str, str], stamp: str, expires: int) -> str:
    """What botocore makes of it."""
    request = AWSRequest(method=method, url=url, headers=headers)
    with _clock, At(stamp):
        botocore.auth.S3SigV4QueryAuth(credentials, "s3", REGION, expires=expires).add_auth(request)
    return str(request.url)


def authorization(credentials: Credentials, method: str, url: str, headers: dict[str, str], stamp: str) -> str:
    request = AWSRequest(method=method, url=url, headers=headers)
    request.context["client_config"] = Config(s3={"payload_signing_enabled": True})
    signer = botocore.auth.S3SigV4Auth(credentials, "s3", REGION)
    with _clock, At(stamp), patch.object(signer, "payload", lambda _: headers["x-amz-content-sha256"]):
        signer.add_auth(request)
    return str(request.headers["Authorization"])


@dataclass
class Rule:
    """What to do to requests: the first `times` whose "METHOD path?query" matches."""

    match: str
    act: Callable[[Handler, bytes], bool]  # True: it has answered
    times: int = 1


@dataclass
class Service:
    folder: Path
    credentials: Credentials = field(default_factory=lambda: Credentials("none", "none"))
    rules: list[Rule] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        self.moto_port = free_port()
        env = {**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": str(SETUP_ACTIONS)}
        log = (self.folder / "moto.log").open("wb")
        command = [str(Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", "-p", str(self.moto_port)]
        self.moto = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        log.close()
        until(self._listens, timeout_s=30, what="moto listens")
        iam = self._client("iam", Credentials("none", "none"))
        iam.create_user(UserName="soloprint")
        key = iam.create_access_key(UserName="soloprint")["AccessKey"]
        iam.put_user_policy(UserName="soloprint", PolicyName="all", PolicyDocument=json.dumps(POLICY))
        self.credentials = Credentials(key["AccessKeyId"], key["SecretAccessKey"])
        self.client = self._client("s3", self.credentials)
        self.client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        self.secret = self.folder / "secret"
        self.secret.write_text(key["SecretAccessKey"] + "\n")
        self.secret.chmod(0o644)  # the programs under test may be other users'
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.service = self  # type: ignore[attr-defined]
        self.server.daemon_threads = True
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def _listens(self) -> bool:
        with suppress(OSError):
            http.client.HTTPConnection("127.0.0.1", self.moto_port, timeout=1).connect()
            return True
        return False

    def _client(self, name: str, credentials: Credentials) -> Any:
        return boto3.client(
            name, endpoint_url=f"http://127.0.0.1:{self.moto_port}", region_name=REGION,
            aws_access_key_id=credentials.access_key, aws_secret_access_key=credentials.secret_key,
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}),
        )  # fmt: skip

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.moto.kill()
        self.moto.wait()

    def settings(self, **more: str) -> dict[str, str]:
        return {
            "SOLOPRINT_S3_ENDPOINT": f"http://127.0.0.1:{self.port}", "SOLOPRINT_S3_HTTP": "1",
            "SOLOPRINT_S3_REGION": REGION, "SOLOPRINT_S3_BUCKET": BUCKET, "SOLOPRINT_S3_PREFIX": "slp/",
            "SOLOPRINT_S3_ACCESS_KEY_ID": self.credentials.access_key, "SOLOPRINT_S3_SECRET_KEY": str(self.secret),
            "SOLOPRINT_S3_TIMEOUT_S": "5", **more,
        }  # fmt: skip

    def when(self, match: str, act: Callable[[Handler, bytes], bool], times: int = 1) -> None:
        with self.lock:
            self.rules.append(Rule(match, act, times))

    def rule_for(self, what: str) -> Rule | None:
        with self.lock:
            self.seen.append(what)
            for rule in self.rules:
                if rule.times > 0 and re.search(rule.match, what):
                    rule.times -= 1
                    return rule
        return None

    def keys(self, prefix: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [o["Key"] for page in pages for o in page.get("Contents", []) if o["Key"].startswith(prefix)]

    def get(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def put(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=key, Body=body)

    def uploads(self) -> list[str]:
        return [u["Key"] for u in self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])]


class Handler(BaseHTTPRequestHandler):
    """Verifies, breaks or passes on."""

    protocol_version = "HTTP/1.1"

    @property
    def service(self) -> Service:
        return self.server.service  # type: ignore[attr-defined,no-any-return]

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, status: int, code: str) -> bool:
        self.answer(status, f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>test</Message></Error>".encode())
        return True

    def url(self) -> str:
        return f"http://{self.headers['host']}{self.path}"

    def verify_query(self, query: dict[str, str]) -> bool:
        names = [n for n in query["X-Amz-SignedHeaders"].split(";") if n != "host"]
        headers = {n: self.headers[n] or "" for n in names}
        bare = [(k, v) for k, v in query.items() if not k.startswith("X-Amz-")]
        url = self.url().split("?")[0] + ("?" if bare else "") + "&".join(f"{quote(k)}={quote(v, safe='')}" for k, v in bare)
        stamp, expires = query["X-Amz-Date"], int(query["X-Amz-Expires"])
        want = presign(self.service.credentials, self.command, url, headers, stamp, expires)
        born = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        return dict(parse_qsl(urlsplit(want).query, keep_blank_values=True)) == query and time.time() < born + expires

    def verify_header(self) -> bool:
        given = self.headers["authorization"] or ""
        found = re.search(r"SignedHeaders=([^,]*)", given)
        if not found:
            return False
        headers = {n: self.headers[n] or "" for n in found[1].split(";") if n not in ("host", "x-amz-date")}
        want = authorization(self.service.credentials, self.command, self.url(), headers, self.headers["x-amz-date"])
        return want.replace(", ", ",") == given

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"] or 0))
        query = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        good = self.verify_query(query) if "X-Amz-Signature" in query else self.verify_header()
        what = f"{self.command} {self.path}"
        if not good:
            self.service.refused.append(what)
            self.error(403, "SignatureDoesNotMatch")
            return
        self.service.headers.append({k.lower(): v for k, v in self.headers.items()})
        rule = self.service.rule_for(what)
        if not rule or not rule.act(self, body):
            status, headers, answer = self.forward(body, query)
            self.pass_on(status, headers, answer)

    def forward(self, body: bytes, query: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """Asks moto, which verifies again; what it cannot verify (presigned URLs, virtual hosts, escapes) is signed anew."""
        host, path = self.headers["host"], self.path
        headers = {k.lower(): v for k, v in self.headers.items() if k.lower() not in ("connection", "expect")}
        virtual = host.startswith(f"{BUCKET}.")
        if "X-Amz-Signature" in query or virtual or "%" in path:
            bare = [(k, v) for k, v in query.items() if not k.startswith(("X-Amz-", "response-"))]
            path = (f"/{BUCKET}" if virtual else "") + path.split("?")[0]
            path += ("?" if bare else "") + "&".join(f"{quote(k)}={quote(v, safe='')}" for k, v in bare)
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            signed = {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
            headers |= signed | {"host": f"127.0.0.1:{self.service.moto_port}", "x-amz-date": stamp}
            url = f"http://{headers['host']}{unquote(path)}"
            headers["authorization"] = authorization(self.service.credentials, self.command, url, signed, stamp)
        upstream = http.client.HTTPConnection("127.0.0.1", self.service.moto_port, timeout=60)
        upstream.request(self.command, path, body, headers)
        got = upstream.getresponse()
        answer = got.read()
        kept = {k: v for k, v in got.getheaders() if k.lower() not in ("connection", "transfer-encoding", "date", "server")}
        upstream.close()
        wished = {k.removeprefix("response-").title(): v for k, v in query.items() if k.startswith("response-")}
        kept = {k: v for k, v in kept.items() if k.title() not in wished} | wished
        return got.status, kept, answer

    def pass_on(self, status: int, headers: dict[str, str], body: bytes, cut: int | None = None) -> None:
        """cut: the connection is closed after so many bytes."""
        self.send_response(status)
        if not any(k.lower() == "content-length" for k in headers) and status not in (204, 304):
            headers["Content-Length"] = str(len(body))
        for k, v in headers.items():
            self.send_header(k, v)
        self.end_headers()
        with suppress(OSError):  # the client may have been killed
            if self.command != "HEAD":
                self.wfile.write(body[:cut])
        self.close_connection = self.close_connection or cut is not None

    def relay(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        return self.forward(body, dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True)))

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any


# --- what may go wrong ---


def fail(status: int, code: str) -> Callable[[Handler, bytes], bool]:
    return lambda handler, body: handler.error(status, code)


def garbage(handler: Handler, body: bytes) -> bool:
    handler.answer(200, b"<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>")
    return True


def truncate(after: int) -> Callable[[Handler, bytes], bool]:
    def act(handler: Handler, body: bytes) -> bool:
        handler.pass_on(*handler.relay(body), cut=after)
        return True

    return act


def corrupt(handler: Handler, body: bytes) -> bool:
    """An answer with another last byte."""
    status, headers, answer = handler.relay(body)
    handler.pass_on(status, headers, answer[:-1] + bytes([answer[-1] ^ 1]) if answer else b"")
    return True


def spoil(handler: Handler, body: bytes) -> bool:
    """Other bytes than those that were sent are stored."""
    handler.pass_on(*handler.relay(body[:-1] + bytes([body[-1] ^ 1])))
    return True


def lose_answer(handler: Handler, body: bytes) -> bool:
    """It is done, but nobody hears of it."""
    handler.relay(body)
    handler.close_connection = True
    return True


def hold(reached: threading.Event, go: threading.Event, before: bool = True) -> Callable[[Handler, bytes], bool]:
    """Waits before, or after, the request has its effect."""

    def act(handler: Handler, body: bytes) -> bool:
        got = None if before else handler.relay(body)
        reached.set()
        go.wait(60)
        handler.pass_on(*(got or handler.relay(body)))
        return True

    return act


@contextmanager
def service(folder: Path) -> Iterator[Service]:
    made = Service(folder)
    made.start()
    try:
        yield made
    finally:
        made.stop()
