"""A client that checks every answer against the contract."""

from __future__ import annotations

import ssl
from typing import Any

import httpx
from contract import Contract

NO_KEY = ""


class Http2(httpx.BaseTransport):
    """HTTP/2, on a new connection every 500 requests: nginx ends one after 1,000 and httpx does not expect it."""

    def __init__(self, cacert: str) -> None:
        self.cacert, self.used, self.inner = cacert, 0, httpx.HTTPTransport(http2=True, verify=tls(cacert))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.used += 1
        if self.used % 500 == 0:
            self.inner.close()
            self.inner = httpx.HTTPTransport(http2=True, verify=tls(self.cacert))
        return self.inner.handle_request(request)

    def close(self) -> None:
        self.inner.close()


def ask(http: httpx.Client, method: str, path: str, **kw: Any) -> httpx.Response:
    """The whole answer. A live stream, which has no end, is asked for on a connection of its own, and its first message read."""
    request = http.build_request(method, path, **kw)
    if method != "GET" or not request.url.path.startswith(("/v1/events", "/v1/streams/")):
        return http.send(request)
    with httpx.Client(http2=True, verify=tls(str(getattr(http._transport, "cacert", "")))) as alone:
        answer = alone.send(request, stream=True)
        if not answer.headers.get("Content-Type", "").startswith("text/event-stream"):
            answer.read()
            return answer
        first = b""
        for piece in answer.iter_raw():
            first += piece
            if b"\ndata:" in first:
                break
        answer._content = first
        return answer


class Api:
    """One credential's view of the API. All views of a process share one HTTP/2 connection pool."""

    def __init__(self, http: httpx.Client, contract: Contract, key: str = NO_KEY) -> None:
        self.http, self.contract, self.key = http, contract, key

    def with_key(self, key: str) -> Api:
        return Api(self.http, self.contract, key)

    def request(
        self, method: str, path: str, *, expect: int | str | None = None, check: bool = True,
        headers: dict[str, str] | list[tuple[str, str]] | None = None, **kw: Any,
    ) -> httpx.Response:  # fmt: skip
        """expect: the status, or the error code, that the answer must have."""
        sent = list(headers.items()) if isinstance(headers, dict) else list(headers or [])
        if self.key and not any(n.lower() in ("authorization", "x-api-key") for n, _ in sent):
            sent.append(("Authorization", f"Bearer {self.key}"))
        answer = ask(self.http, method, path, headers=sent, **kw)
        if check and path.startswith(("/v1", "/api/")):
            self.contract.check(answer)
        what = f"{method} {path} → {answer.status_code} {answer.text[:600]}"
        if isinstance(expect, int):
            assert answer.status_code == expect, what
        elif isinstance(expect, str):
            assert answer.headers.get("Content-Type", "").startswith("application/"), what
            assert answer.json().get("error") == expect, what
        return answer

    def _ask(self, method: str, path: str, headers: list[tuple[str, str]], **kw: Any) -> httpx.Response:
        """The whole answer; of a stream of events the first message, which is all there may be for a long time."""
        request = self.http.build_request(method, path, headers=headers, **kw)
        answer = self.http.send(request, stream=True)
        if not answer.headers.get("Content-Type", "").startswith("text/event-stream"):
            answer.read()
            return answer
        text = b""
        for chunk in answer.iter_bytes():
            text += chunk
            if b"\ndata: " in text and text.endswith(b"\n\n"):
                break
        answer.close()
        return httpx.Response(answer.status_code, headers=answer.headers, content=text, request=request)

    def get(self, path: str, **kw: Any) -> httpx.Response:
        return self.request("GET", path, **kw)

    def post(self, path: str, json: Any = None, **kw: Any) -> httpx.Response:
        return self.request("POST", path, **({"json": json} if json is not None else {}), **kw)

    def patch(self, path: str, json: Any = None, **kw: Any) -> httpx.Response:
        return self.request("PATCH", path, **({"json": json} if json is not None else {}), **kw)

    def delete(self, path: str, **kw: Any) -> httpx.Response:
        return self.request("DELETE", path, **kw)


def tls(cacert: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=cacert)


def fields(answer: httpx.Response) -> dict[str, str]:
    """pointer → code of an error's details.fields."""
    return {f["pointer"]: f["code"] for f in answer.json()["details"]["fields"]}
