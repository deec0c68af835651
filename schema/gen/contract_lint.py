#!/usr/bin/env python3
"""The contract's own rules, beyond what the generator refuses. Prints every breach; the status says whether there were
any. `--api DIR` names another contract, `--sql DIR…` where the database's SQLSTATEs are raised."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contract import METHODS, Contract, ContractError, EventType, Operation, load

ROOT = Path(__file__).resolve().parent.parent.parent
SNAKE = re.compile(r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$")
CAMEL = re.compile(r"^[a-z]+([A-Z][a-z]*)*$")
SEGMENT = re.compile(r"^([a-z0-9]+([.-][a-z0-9]+)*|\{[a-z][a-z0-9_]*\})$")
CAPABILITIES = {
    "operations.read", "queue.manage", "printer.manage", "spool.manage", "integrations.manage", "org.manage_users",
    "any", "public",
}  # fmt: skip
KNOWN = {
    "operationId", "tags", "summary", "description", "parameters", "requestBody", "responses", "security", "deprecated",
    "x-capability", "x-public-because", "x-rate-class", "x-pool", "x-idempotent", "x-errors", "x-error-codes", "x-etag",
    "x-if-match", "x-secret-response", "x-body-max", "x-body", "x-blob",
}  # fmt: skip
EVENT = re.compile(r"^[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*$")
EVENT_MEMBERS = {"summary", "x-title", "x-capability", "x-severity", "x-available", "data", "example"}
SUCCESS = {"get": {"200", "206", "302"}, "post": {"200", "201", "202"}, "put": {"200", "201", "204"}, "patch": {"200"},
           "delete": {"200", "204"}}  # fmt: skip


class Lint:
    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.breaches: list[str] = []

    def need(self, good: Any, where: str, what: str) -> None:
        if not good:
            self.breaches.append(f"{where}: {what}")

    # --- references and names ---

    def references(self, node: Any, where: str) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                try:
                    self.contract.lookup(node["$ref"])
                except ContractError as e:
                    self.breaches.append(f"{where}: {e}")
            for key, value in node.items():
                self.references(value, f"{where}/{key}")
        elif isinstance(node, list):
            for i, value in enumerate(node):
                self.references(value, f"{where}/{i}")

    def unused(self) -> None:
        text = str(self.contract.doc)
        for section in ("schemas", "parameters", "headers"):
            for name in self.contract.doc["components"].get(section, {}):
                self.need(f"'#/components/{section}/{name}'" in text, f"components/{section}/{name}", "nothing uses it")

    # --- schemas ---

    def schemas_of(self, node: Any, where: str, seen: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every object schema that a schema leads to."""
        if "$ref" in node:
            if node["$ref"] in seen:
                return
            seen.add(node["$ref"])
            where = node["$ref"].rsplit("/", 1)[-1]
        schema = self.contract.resolve(node)
        yield where, schema
        for name, sub in schema.get("properties", {}).items():
            yield from self.schemas_of(sub, f"{where}.{name}", seen)
        if "items" in schema:
            yield from self.schemas_of(schema["items"], f"{where}[]", seen)
        if isinstance(schema.get("additionalProperties"), dict):
            yield from self.schemas_of(schema["additionalProperties"], f"{where}.*", seen)
        for key in ("oneOf", "anyOf", "allOf"):
            for sub in (s for s in schema.get(key, []) if set(s) != {"required"}):
                yield from self.schemas_of(sub, where, seen)

    def closed(self, node: Any, where: str) -> None:
        """Objects name their members, in snake_case, and have no others unless they say so."""
        for at, schema in self.schemas_of(node, where, set()):
            kinds = schema.get("type", [])
            if "object" in ([kinds] if isinstance(kinds, str) else kinds):
                self.need("additionalProperties" in schema or at == "Error.details", at, "additionalProperties is open")
            for name in schema.get("properties", {}):
                self.need(SNAKE.match(name) or schema.get("x-foreign"), f"{at}.{name}", "is not snake_case")
            for name in schema.get("required", []):
                self.need(name in schema.get("properties", {}), f"{at}.{name}", "is required but not described")

    def bounded(self, node: Any, where: str) -> None:
        """What clients send has limits."""
        for at, schema in self.schemas_of(node, where, set()):
            kinds = schema.get("type", [])
            kinds = [kinds] if isinstance(kinds, str) else kinds
            if "object" in kinds:
                named = isinstance(schema.get("additionalProperties"), dict)
                self.need(named or schema.get("additionalProperties") is False, at, "input takes unknown members")
                self.need(not named or {"maxProperties", "propertyNames"} <= set(schema), at, "a map without limits")
            if "string" in kinds:
                closed = "enum" in schema or "const" in schema or schema.get("format") in ("uuid", "date-time")
                self.need(closed or "maxLength" in schema, at, "has no maxLength")
            if "array" in kinds:
                self.need("maxItems" in schema, at, "has no maxItems")
            if ("integer" in kinds or "number" in kinds) and "string" not in kinds:
                self.need("minimum" in schema, at, "has no minimum")
            if "pattern" in schema:
                self.pattern(schema["pattern"], at)

    def pattern(self, text: str, where: str) -> None:
        try:
            re.compile(text)
        except re.error as e:
            self.breaches.append(f"{where}: pattern: {e}")
        self.need(text.startswith("^") and text.endswith("$"), where, "the pattern is not anchored")

    # --- operations ---

    def operation(self, op: Operation) -> None:
        raw, where = op.raw, f"{op.method.upper()} {op.path}"
        for key in raw:
            self.need(key in KNOWN, where, f"{key} is not known")
        self.need(CAMEL.match(op.id), where, f"operationId {op.id} is not camelCase")
        self.need(raw["x-capability"] in CAPABILITIES, where, f"capability {raw['x-capability']} is not known")
        self.need(raw["x-rate-class"] in ("read", "write", "control", "login", "none"), where, "unknown x-rate-class")
        self.need(raw["x-pool"] in ("api", "files", "auth"), where, "unknown x-pool")
        self.need(raw["x-rate-class"] != "none" or op.public, where, "only public routes go without a limit")
        self.need(op.method != "get" or raw["x-rate-class"] in ("read", "none"), where, "a GET is a read")
        self.need(("x-idempotent" in raw) == (op.method == "post"), where, "x-idempotent belongs on every POST, only")
        self.need(raw.get("summary"), where, "no summary")
        self.need(raw.get("description"), where, "no description")
        self.need(len(raw.get("tags", [])) == 1, where, "one tag, please")
        tags = [tag["name"] for tag in self.contract.doc["tags"]]
        self.need(set(raw.get("tags", [])) <= set(tags), where, "the tag is not described in openapi.yaml")
        for segment in op.path.split("/")[1:]:
            self.need(SEGMENT.match(segment), where, f"path segment {segment}")
        self.errors(op, where)
        self.parameters(op, where)
        self.body(op, where)
        self.responses(op, where)

    def errors(self, op: Operation, where: str) -> None:
        if op.path_names and not op.public:
            self.need("resource_not_found" in op.errors, where, "has an id in its path but no resource_not_found")
        if any(p["name"] == "cursor" for p in op.named("query")):
            paged = {"invalid_cursor"} | {"offset_too_large" for p in op.named("query") if p["name"] == "offset"}
            self.need(paged <= set(op.errors), where, "a list without its errors")
        if op.method == "delete" or (op.method == "patch" and "{" in op.path):
            self.need(op.raw.get("x-if-match"), where, "no x-if-match")
        documented = {self.contract.errors[c]["status"] for c in op.errors}
        self.need({str(s) for s in documented} <= set(op.raw["responses"]), where, "an error without its response")

    def parameters(self, op: Operation, where: str) -> None:
        names = [(p["name"], p["in"]) for p in op.parameters]
        self.need(len(names) == len(set(names)), where, "a parameter is given twice")
        for p in op.parameters:
            at = f"{where} {p['name']}"
            self.need(p["in"] not in ("path", "query") or SNAKE.match(p["name"]), at, "is not snake_case")
            self.need(p["in"] == "path" or p.get("description"), at, "no description")
            self.bounded(p["schema"], at)

    def body(self, op: Operation, where: str) -> None:
        if op.body_as:
            self.need(op.body_as in ("file", "staged") and "requestBody" in op.raw, where, "x-body without its body")
            self.need("x-body-max" in op.raw, where, "x-body without x-body-max")
            return
        if op.body_schema is None:
            self.need(op.method not in ("put", "patch"), where, "no body")
            return
        media = op.raw["requestBody"]["content"]["application/json"]
        self.need("example" in media, where, "the body has no example")
        self.bounded(op.body_schema, f"{where} body")
        self.closed(op.body_schema, f"{where} body")
        if "example" in media:
            self.example(media["example"], op.body_schema, f"{where} body's example")

    def responses(self, op: Operation, where: str) -> None:
        good = {s for s in op.raw["responses"] if s.startswith("2") or s == "302"}
        self.need(good and good <= SUCCESS[op.method], where, f"answers {sorted(good)}")
        for status in sorted(good):
            response = self.contract.resolve(op.raw["responses"][status])
            content = response.get("content", {}).get("application/json")
            other = bool(response.get("content")) and content is None
            bare = status == "204" or (status == "302" and not content) or op.body_as == "staged"
            self.need((content is None) == (bare or other), where, f"{status} and its body do not fit")
            if content:
                self.need("example" in content, where, f"{status} has no example")
                self.closed(content["schema"], f"{where} {status}")
                if "example" in content:
                    self.example(content["example"], content["schema"], f"{where} {status}'s example")

    # --- events ---

    def event(self, event: EventType) -> None:
        raw, where = event.raw, f"event {event.name}"
        self.need(EVENT.match(event.name), where, "is not two names in snake_case")
        self.need(set(raw) <= EVENT_MEMBERS, where, f"{sorted(set(raw) - EVENT_MEMBERS)} is not known")
        self.need(raw["x-capability"] in CAPABILITIES - {"any", "public"}, where, "its capability is not known")
        self.need(raw["x-severity"] in ("info", "warning", "critical"), where, "its severity is not known")
        self.need(str(raw["summary"]).endswith("."), where, "the summary is not a sentence")
        self.closed(raw["data"], f"{where} data")
        self.example(raw["example"], raw["data"], f"{where} example")
        members = self.contract.resolve(raw["data"])["properties"]
        for name in re.findall(r"\{(\w*)\}", raw["x-title"]):
            self.need(name in members, where, f"the title names {name}, which the data does not have")

    # --- examples: members, types and enums; the whole of JSON Schema is the tests' business ---

    def example(self, value: Any, node: Any, where: str) -> None:
        schema = self.contract.resolve(node)
        if "discriminator" in schema:
            tag = schema["discriminator"]["propertyName"]
            ref = schema["discriminator"]["mapping"].get(value.get(tag))
            self.need(ref, where, f"{tag} is none of the choices")
            if ref:
                self.example(value, {"$ref": ref}, where)
            return
        if "oneOf" in schema and "properties" not in schema:
            return
        kinds = schema.get("type", [])
        kinds = [kinds] if isinstance(kinds, str) else kinds
        self.need(not kinds or json_kind(value) & set(kinds), where, f"{value!r} is not {' or '.join(kinds)}")
        if "const" in schema:
            self.need(value == schema["const"], where, f"{value!r} is not {schema['const']!r}")
        if "enum" in schema:
            self.need(value in schema["enum"], where, f"{value!r} is not in the enum")
        if isinstance(value, dict):
            members = schema.get("properties", {})
            for name in schema.get("required", []):
                self.need(name in value, where, f"{name} is missing")
            for name, sub in value.items():
                if name in members:
                    self.example(sub, members[name], f"{where}.{name}")
                else:
                    self.need(schema.get("additionalProperties", True) is not False, where, f"{name} is unknown")
        if isinstance(value, list) and "items" in schema:
            for i, item in enumerate(value):
                self.example(item, schema["items"], f"{where}[{i}]")

    # --- the catalogue ---

    def catalogue(self) -> None:
        used = {c for op in self.contract.operations for c in op.errors}
        for code, entry in self.contract.errors.items():
            where = f"errors.yaml {code}"
            self.need(SNAKE.match(code), where, "is not snake_case")
            self.need(set(entry) <= {"status", "title", "sqlstate", "constraints", "retry_after_s", "implies"}, where,
                      "an unknown member")  # fmt: skip
            self.need(400 <= entry["status"] <= 599, where, "not an error's status")
            self.need(entry["title"].endswith("."), where, "the title is not a sentence")
            for state in entry.get("sqlstate", []):
                self.need(re.fullmatch(r"[0-9A-Z]{5}", state), where, f"SQLSTATE {state}")
            self.need(code in used or code in ("not_found", "not_implemented"), where, "no operation answers it")

    def sqlstates(self, folders: list[Path]) -> None:
        """Every SLPnn that SQL raises is in the catalogue, and every one there is raised."""
        known = {s for e in self.contract.errors.values() for s in e.get("sqlstate", []) if s.startswith("SLP")}
        known |= set(self.contract.internal_sqlstates)
        paths = [p for folder in folders for p in sorted(folder.rglob("*.sql")) if "tests" not in p.parts]
        text = "\n".join(p.read_text(encoding="utf-8") for p in paths)
        raised = set(re.findall(r"'(SLP\d\d)'", text))
        for name in (c for e in self.contract.errors.values() for c in e.get("constraints", [])):
            self.need(not folders or re.search(rf"\b{name}\b", text), "errors.yaml", f"no constraint is called {name}")
        self.need(raised <= known, "errors.yaml", f"SQL raises {sorted(raised - known)}, which are not there")
        self.need(not folders or known <= raised, "errors.yaml", f"nothing raises {sorted(known - raised)}")

    def everything(self, sql: list[Path]) -> list[str]:
        self.references(self.contract.doc, "#")
        self.unused()
        ids = [op.id for op in self.contract.operations]
        self.need(len(ids) == len(set(ids)), "paths", "an operationId is given twice")
        for path, item in self.contract.doc["paths"].items():
            self.need(set(item) <= {*METHODS, "parameters"}, path, "an unknown member")
            self.need(path.startswith((f"/{self.contract.series}/", "/api/")), path, "outside of the series")
        for op in self.contract.operations:
            self.operation(op)
        for event in self.contract.events:
            self.event(event)
        self.catalogue()
        self.sqlstates(sql)
        return self.breaches


def json_kind(value: Any) -> set[str]:
    if isinstance(value, bool):
        return {"boolean"}
    if isinstance(value, int):
        return {"integer", "number"}
    names = {float: "number", str: "string", list: "array", dict: "object", type(None): "null"}
    return {names[type(value)]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--api", type=Path, default=ROOT / "schema" / "api")
    parser.add_argument("--sql", type=Path, nargs="*", default=[ROOT / "schema" / "db", ROOT / "fcgi"])
    args = parser.parse_args()
    try:
        contract = load(args.api)
    except ContractError as e:
        print(f"contract_lint: {e}")
        return 1
    breaches = Lint(contract).everything(args.sql)
    for breach in breaches:
        print(breach)
    counted = f"{len(contract.operations)} operations, {len(contract.events)} events, {len(contract.errors)} errors"
    print(f"{counted}, {len(breaches)} breaches")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
