"""Loads schema/api: merges the files, adds what follows by rule (headers, error answers), checks references.

The YAML files say only what is particular to an operation. What every operation of a kind shares is added here, so that
the served document is complete and no file repeats it."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

METHODS = ("get", "post", "put", "patch", "delete")
BODY_MAX = 256 * 1024
Schema = dict[str, Any]


class ContractError(Exception):
    """The contract contradicts itself; the message names the place."""


@dataclass
class Operation:
    path: str
    method: str
    raw: dict[str, Any]
    parameters: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        return self.raw["operationId"]

    @property
    def public(self) -> bool:
        return self.raw["x-capability"] == "public"

    @property
    def body_schema(self) -> Schema | None:
        """Of a JSON body; a body that comes as a file has none."""
        body = self.raw.get("requestBody")
        if not body or self.body_as:
            return None
        return body["content"]["application/json"]["schema"]

    @property
    def body_as(self) -> str:
        """"": JSON; "file": any bytes, for the worker to read from a file; "staged": nginx keeps them itself."""
        return self.raw.get("x-body", "")

    @property
    def body_most(self) -> int:
        return int(self.raw.get("x-body-max", BODY_MAX)) if "requestBody" in self.raw else 0

    def named(self, where: str) -> list[dict[str, Any]]:
        return [p for p in self.parameters if p["in"] == where]

    @property
    def path_names(self) -> list[str]:
        return [s[1:-1] for s in self.path.split("/") if s.startswith("{")]


@dataclass
class EventType:
    """What is sent to webhooks and streams, as events.yaml has it."""

    name: str
    raw: dict[str, Any]

    @property
    def operation_id(self) -> str:
        return "on" + "".join(part.capitalize() for part in self.name.replace(".", "_").split("_"))

    @property
    def available(self) -> bool:
        return bool(self.raw.get("x-available", True))


@dataclass
class Contract:
    doc: dict[str, Any]
    errors: dict[str, dict[str, Any]]
    internal_sqlstates: list[str]
    operations: list[Operation]
    events: list[EventType] = field(default_factory=list)

    def resolve(self, node: Any) -> Any:
        """Follows $ref until there is none."""
        while isinstance(node, dict) and "$ref" in node:
            node = self.lookup(node["$ref"])
        return node

    def lookup(self, ref: str) -> Any:
        if not ref.startswith("#/"):
            raise ContractError(f"reference {ref}: only references inside the merged document")
        node: Any = self.doc
        for part in ref[2:].split("/"):
            part = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(node, dict) or part not in node:
                raise ContractError(f"reference {ref}: nothing there")
            node = node[part]
        return node

    @property
    def series(self) -> str:
        return self.doc["info"]["x-series"]


class UniqueLoader(yaml.SafeLoader):
    """Refuses a mapping that names a key twice."""


def _unique_mapping(loader: UniqueLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = loader.construct_object(key_node)
        if key in seen:
            raise ContractError(f"{key_node.start_mark}: {key} is given twice")
        seen.add(key)
    loader.flatten_mapping(node)
    return {loader.construct_object(k, deep=True): loader.construct_object(v, deep=True) for k, v in node.value}


UniqueLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def read_yaml(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=UniqueLoader)  # noqa: S506 (a SafeLoader)


def _merge(into: dict[str, Any], part: dict[str, Any], where: str) -> None:
    for key, value in part.items():
        if key not in into:
            into[key] = value
        elif isinstance(value, dict) and isinstance(into[key], dict) and key in ("paths", "webhooks", "components", *_SECTIONS):
            _merge(into[key], value, f"{where}/{key}")
        else:
            raise ContractError(f"{where}/{key}: defined in two files")


_SECTIONS = ("schemas", "parameters", "headers", "examples", "responses")


def load(api: Path) -> Contract:
    """Reads openapi.yaml first and then every other file of the folder, errors.yaml apart."""
    doc = read_yaml(api / "openapi.yaml")
    for path in sorted(api.glob("*.yaml")):
        if path.name not in ("openapi.yaml", "errors.yaml"):
            _merge(doc, read_yaml(path), path.name)
    catalogue = read_yaml(api / "errors.yaml")
    contract = Contract(copy.deepcopy(doc), catalogue["errors"], catalogue.get("internal_sqlstates", []), [])
    for path, item in contract.doc["paths"].items():
        for method in METHODS:
            if method in item:
                contract.operations.append(_operation(contract, path, method, item))
    _add_catalogue(contract)
    for name, schema in contract.doc["components"].get("schemas", {}).items():
        if "discriminator" in schema:
            _map_variants(contract, name, schema)
    for op in contract.operations:
        _complete(contract, op)
    for name, raw in contract.doc.get("webhooks", {}).items():
        contract.events.append(EventType(name, raw))
        contract.doc["webhooks"][name] = {"post": _webhook(contract.events[-1])}
    return contract


def _operation(contract: Contract, path: str, method: str, item: dict[str, Any]) -> Operation:
    raw = item[method]
    for needed in ("operationId", "x-capability", "x-rate-class", "x-pool"):
        if needed not in raw:
            raise ContractError(f"{method.upper()} {path}: {needed} is missing")
    if raw["x-capability"] == "public" and not raw.get("x-public-because"):
        raise ContractError(f"{method.upper()} {path}: a public route says why in x-public-because")
    op = Operation(path, method, raw)
    shared = item.get("parameters", [])
    op.parameters = [contract.resolve(p) for p in [*shared, *raw.get("parameters", [])]]
    declared = [p["name"] for p in op.named("path")]
    if sorted(declared) != sorted(op.path_names):
        raise ContractError(f"{op.id}: path parameters {declared} do not fit {path}")
    op.errors = _errors_of(contract, op)
    return op


def _errors_of(contract: Contract, op: Operation) -> list[str]:
    kinds = {"every"}
    if not op.public:
        kinds.add("keyed")
    if op.body_schema is not None:
        kinds.add("body")
    if op.raw.get("x-idempotent"):
        kinds.add("idempotent")
    if op.raw.get("x-if-match"):
        kinds.add("if_match")
    if op.body_as:
        kinds.add("file")
    named = op.raw.get("x-errors", [])
    for code in named:
        if code not in contract.errors:
            raise ContractError(f"{op.id}: {code} is not in errors.yaml")
    return [c for c, e in contract.errors.items() if c in named or e.get("implies") in kinds]


def _map_variants(contract: Contract, name: str, schema: Schema) -> None:
    """A choice of objects: each says by a constant which value of the telling member is its own."""
    tag = schema["discriminator"]["propertyName"]
    mapping: dict[str, str] = {}
    for node in schema.get("oneOf", []):
        variant = contract.resolve(node)
        value = variant.get("properties", {}).get(tag, {}).get("const")
        if "$ref" not in node or not value or value in mapping or tag not in variant.get("required", []):
            raise ContractError(f"{name}: every choice is a $ref to an object with a constant of its own as required {tag}")
        mapping[value] = node["$ref"]
    schema["discriminator"]["mapping"] = mapping


def _add_catalogue(contract: Contract) -> None:
    components = contract.doc["components"]
    components["schemas"]["ErrorCode"] = {
        "type": "string",
        "enum": list(contract.errors),
        "description": "What went wrong, for programs. New codes may be added.",
    }
    examples = components.setdefault("examples", {})
    for code, entry in contract.errors.items():
        value = {"error": code, "details": entry["title"], "request_id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70"}
        examples[f"error_{code}"] = {"summary": entry["title"], "value": value}
    components.setdefault("responses", {})


def _ref(section: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{section}/{name}"}


ALWAYS_HEADERS = (
    "X-SoLoPrint-API-Series",
    "X-SoLoPrint-API-Version",
    "X-SoLoPrint-API-Docs",
    "X-SoLoPrint-API-Changelog",
    "X-Request-Id",
)
LIMIT_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit", "RateLimit-Policy")


def _complete(contract: Contract, op: Operation) -> None:
    """Adds header parameters, the headers of answers, and every error answer."""
    raw = op.raw
    headers = ["X-SoLoPrint-API-Version", "X-Request-Id"]
    if raw.get("x-idempotent"):
        headers.append("Idempotency-Key")
    if raw.get("x-etag"):
        headers.append("If-None-Match")
    if raw.get("x-if-match"):
        headers.append("If-Match")
    raw.setdefault("parameters", []).extend(_ref("parameters", f"header_{h.replace('-', '_')}") for h in headers)
    raw["security"] = [] if op.public else [{"bearer": []}, {"api_key": []}]
    _complete_body(op)
    for status, response in raw["responses"].items():
        _add_headers(op, str(status), response)
    if raw.get("x-etag"):
        raw["responses"]["304"] = {"description": "Not changed since the version named in If-None-Match."}
        _add_headers(op, "304", raw["responses"]["304"])
    raw["x-error-codes"] = op.errors
    raw.pop("x-errors", None)
    by_status: dict[int, list[str]] = {}
    for code in op.errors:
        by_status.setdefault(contract.errors[code]["status"], []).append(code)
    for status, codes in sorted(by_status.items()):
        if str(status) in raw["responses"]:
            continue  # the operation describes this answer itself
        raw["responses"][str(status)] = _ref("responses", _error_response(contract, status, codes))


def _complete_body(op: Operation) -> None:
    if op.method == "patch" and op.body_schema is not None:
        content = op.raw["requestBody"]["content"]
        content["application/merge-patch+json"] = copy.deepcopy(content["application/json"])


def _add_headers(op: Operation, status: str, response: dict[str, Any]) -> None:
    names = list(ALWAYS_HEADERS)
    if not op.public:
        names += LIMIT_HEADERS
    if op.raw.get("x-etag") or op.raw.get("x-if-match"):
        names.append("ETag")
    if status == "201" or (status == "202" and "OperationAccepted" in str(response)):
        names.append("Location")
    if op.raw.get("x-idempotent"):
        names.append("Idempotent-Replayed")
    response["headers"] = {h: _ref("headers", h) for h in names}


def _error_response(contract: Contract, status: int, codes: list[str]) -> str:
    responses = contract.doc["components"]["responses"]
    name = f"Error{status}_" + "_".join(codes)
    if name in responses:
        return name
    headers = {h: _ref("headers", h) for h in ALWAYS_HEADERS}
    extra = {401: "WWW-Authenticate", 403: "WWW-Authenticate", 405: "Allow", 429: "Retry-After", 503: "Retry-After"}
    if status in extra:
        headers[extra[status]] = _ref("headers", extra[status])
    examples = {code: _ref("examples", f"error_{code}") for code in codes}
    responses[name] = {
        "description": " ".join(contract.errors[c]["title"] for c in codes),
        "headers": headers,
        "content": {
            "application/json": {"schema": _ref("schemas", "Error"), "examples": examples},
            "application/problem+json": {"schema": _ref("schemas", "Problem")},
        },
    }
    return name


def _webhook(event: EventType) -> dict[str, Any]:
    """The request that a receiver gets."""
    for needed in ("summary", "x-title", "x-capability", "x-severity", "data", "example"):
        if needed not in event.raw:
            raise ContractError(f"{event.name}: {needed} is missing")
    schema = {
        "allOf": [
            _ref("schemas", "Event"),
            {"type": "object", "properties": {"type": {"const": event.name}, "data": event.raw["data"]}},
        ]
    }
    return {
        "operationId": event.operation_id,
        "tags": ["Events"],
        "summary": event.name,
        "description": event.raw["summary"],
        **{key: event.raw[key] for key in ("x-title", "x-capability", "x-severity")},
        "x-available": event.available,
        "security": [],
        "parameters": [_ref("parameters", f"webhook_header_{name}") for name in ("id", "timestamp", "signature")],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": event_example(event)}},
        },
        "responses": {
            "2XX": {"description": "It has arrived. Whatever else is answered, and no answer within 15 seconds, is a failure."},
            "410": {"description": "Nobody wants events here any more: the webhook is disabled."},
        },
    }


def event_example(event: EventType) -> dict[str, Any]:
    return {
        "id": "0193481c-bb13-7c4d-9b1e-0a1b2c3d4e5f",
        "type": event.name,
        "timestamp": "2026-11-20T20:31:02.456Z",
        "organization_id": "0193481c-0000-7000-8000-000000000001",
        "sequence": 1042,
        "data": event.raw["example"],
    }
