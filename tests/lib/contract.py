"""The contract as the server publishes it, and a check of each answer against it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import httpx
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

METHODS = ("get", "post", "put", "patch", "delete")
CONTRACT_HEADERS = {
    "X-SoLoPrint-API-Series": "v1",
    "X-SoLoPrint-API-Version": "2026-04-02",
    "X-SoLoPrint-API-Docs": "https://www.soloprint.app/developers/api-docs",
    "X-SoLoPrint-API-Changelog": "https://www.soloprint.app/developers/changelog",
}
LIMIT_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit", "RateLimit-Policy")
# What any path under /v1 may answer, in the contract or not.
UNROUTED = {
    "not_found": 404, "method_not_allowed": 405, "bad_request": 400, "payload_too_large": 413, "uri_too_long": 414,
    "header_too_large": 431, "rate_limited": 429, "not_implemented": 501, "bad_gateway": 502,
    "service_unavailable": 503, "gateway_timeout": 504, "request_timeout": 408,
}  # fmt: skip


@dataclass(frozen=True)
class Operation:
    id: str
    method: str
    path: str
    doc: dict[str, Any] = field(hash=False, compare=False, repr=False)

    @property
    def capability(self) -> str:
        return str(self.doc["x-capability"])

    @property
    def public(self) -> bool:
        return self.capability == "public"

    @property
    def errors(self) -> list[str]:
        return list(self.doc["x-error-codes"])

    @property
    def path_names(self) -> list[str]:
        return re.findall(r"\{(\w+)\}", self.path)

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(self.path)) + "$")

    def __str__(self) -> str:
        return self.id


class Contract:
    def __init__(self, doc: dict[str, Any]) -> None:
        self.doc = doc
        self.operations = [
            Operation(item[m]["operationId"], m.upper(), path, {"parameters": [], **item[m], "path_item": item})
            for path, item in doc["paths"].items()
            for m in METHODS
            if m in item
        ]
        self.by_id = {op.id: op for op in self.operations}
        self._registry: Registry[Any] = Registry().with_resource(
            "urn:contract", Resource.from_contents(doc, default_specification=DRAFT202012)
        )
        self._validators: dict[str, Draft202012Validator] = {}
        self.seen: set[tuple[str, int, str]] = set()

    def resolve(self, node: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in node:
            at: Any = self.doc
            for part in node["$ref"].removeprefix("#/").split("/"):
                at = at[part.replace("~1", "/").replace("~0", "~")]
            node = at
        return node

    def parameters(self, op: Operation, where: str) -> list[dict[str, Any]]:
        every = [*op.doc["path_item"].get("parameters", []), *op.doc["parameters"]]
        return [p for p in map(self.resolve, every) if p["in"] == where]

    def body_schema(self, op: Operation) -> dict[str, Any] | None:
        """The JSON body's schema with its references resolved one level, or None."""
        body = op.doc.get("requestBody")
        if not body or op.doc.get("x-body"):
            return None
        return self.resolve(self.resolve(body)["content"]["application/json"]["schema"])

    def find(self, method: str, path: str) -> Operation | None:
        method = "GET" if method == "HEAD" else method
        hits = [op for op in self.operations if op.method == method and op.pattern.match(path)]
        return min(hits, key=lambda op: len(op.path_names)) if hits else None

    def _validator(self, pointer: str) -> Draft202012Validator:
        if pointer not in self._validators:
            self._validators[pointer] = Draft202012Validator(
                {"$ref": f"urn:contract#{pointer}"}, registry=self._registry, format_checker=FormatChecker()
            )
        return self._validators[pointer]

    def _schema_pointer(self, op: Operation, status: str, media: str) -> str | None:
        esc = lambda s: s.replace("~", "~0").replace("/", "~1")  # noqa: E731
        node = op.doc["responses"][status]
        base = f"/paths/{esc(op.path)}/{op.method.lower()}/responses/{status}"
        if "$ref" in node:
            base = node["$ref"].removeprefix("#")
            node = self.resolve(node)
        if media not in node.get("content", {}):
            return None
        return f"{base}/content/{esc(media)}/schema"

    def check_schema(self, pointer: str, value: Any) -> None:
        faults = sorted(self._validator(pointer).iter_errors(value), key=lambda e: list(e.absolute_path))
        assert not faults, "; ".join(f"/{'/'.join(map(str, e.absolute_path))}: {e.message}" for e in faults[:5])

    def check(self, answer: httpx.Response) -> None:
        """Every answer under /v1 has a documented status, its body's shape and the common headers."""
        method, path = answer.request.method, answer.request.url.raw_path.decode().split("?")[0]
        what = f"{method} {path} → {answer.status_code} {answer.content[:300]!r}"
        for name, value in CONTRACT_HEADERS.items():
            assert answer.headers.get_list(name) == [value], f"{name}: {answer.headers.get_list(name)}; {what}"
        assert len(answer.headers.get_list("X-Request-Id")) == 1, what
        assert answer.headers["X-Request-Id"], what
        assert re.fullmatch(r"nginx|", answer.headers.get("Server", "")), what
        if answer.status_code in (204, 304) or method == "HEAD":
            assert answer.content == b"", what
        op = self.find(method, path)
        error = ""
        if answer.status_code >= 400 and method != "HEAD" and not (op and op.id == "getHealth"):
            error = self._check_error(op, answer, what)
        if op is None or method == "OPTIONS":
            assert error in UNROUTED or answer.status_code in (204, 401) or method == "HEAD", what
            return
        self.seen.add((op.id, answer.status_code, error))
        status = str(answer.status_code)
        if error in UNROUTED and UNROUTED[error] == answer.status_code and status not in op.doc["responses"]:
            return
        assert status in op.doc["responses"], f"undocumented status; {what}"
        if answer.content:
            media = answer.headers["Content-Type"].split(";")[0]
            pointer = self._schema_pointer(op, status, media)
            documented = self.resolve(op.doc["responses"][status]).get("content", {})
            assert pointer or "*/*" in documented, f"undocumented media type {media}; {what}"
            if pointer and media == "application/json":
                self.check_schema(pointer, json.loads(answer.content) if "json" in media else answer.text)

    def _check_error(self, op: Operation | None, answer: httpx.Response, what: str) -> str:
        media = answer.headers["Content-Type"].split(";")[0]
        assert media in ("application/json", "application/problem+json"), what
        body = answer.json()
        error = body["error"]
        assert body["request_id"] == answer.headers["X-Request-Id"], what
        assert {"error", "details", "request_id"} <= body.keys(), what
        if answer.status_code == 401:
            assert answer.headers["WWW-Authenticate"].startswith("Bearer realm="), what
        if answer.status_code == 405:
            assert answer.headers["Allow"], what
        if answer.status_code == 429:
            assert int(answer.headers["Retry-After"]) >= 1, what
        if op is not None:
            assert error in op.errors or error in UNROUTED, f"undocumented error {error}; {what}"
        return str(error)
