"""The plain reference page: the contract as HTML without scripts."""

from __future__ import annotations

import json
import re
from html import escape
from typing import Any

from contract import Contract, EventType, Operation, Schema

SKIP_HEADERS = ("X-SoLoPrint-API-Version", "X-Request-Id")


def text(source: str) -> str:
    """The little Markdown that descriptions use: paragraphs, lists, `code`, **bold**."""
    out = []
    for block in re.split(r"\n\s*\n", source.strip()):
        body = escape(block, quote=False)
        body = re.sub(r"`([^`]+)`", r"<code>\1</code>", body)
        body = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", body)
        if body.startswith("- "):
            items = re.split(r"\n- ", "\n" + body)[1:]
            out.append("<ul>" + "".join(f"<li>{i}</li>" for i in items) + "</ul>")
        elif body:
            out.append(f"<p>{body}</p>")
    return "\n".join(out)


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Cells are HTML already."""
    if not rows:
        return ""
    head = "".join(f"<th>{h}</th>" for h in heads)
    body = "\n".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n"


def code(value: Any) -> str:
    return f"<code>{escape(str(value))}</code>"


def type_of(contract: Contract, node: Schema) -> str:
    if "$ref" in node:
        name = node["$ref"].rsplit("/", 1)[-1]
        target = contract.resolve(node)
        if target.get("properties") or "discriminator" in target:
            return f'<a href="#schema-{name}">{name}</a>'
        return type_of(contract, target)
    if "oneOf" in node:
        return " or ".join(type_of(contract, n) for n in node["oneOf"])
    kinds = node.get("type", "any")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    out = " or ".join(escape(k) for k in kinds)
    if "array" in kinds and "items" in node:
        out += f" of {type_of(contract, node['items'])}"
    return out


def limits(contract: Contract, node: Schema) -> str:
    schema = contract.resolve(node)
    out = []
    if "enum" in schema:
        out.append("one of " + ", ".join(code(v) for v in schema["enum"] if v is not None))
    if "const" in schema:
        out.append(code(schema["const"]))
    if "format" in schema:
        out.append(code(schema["format"]))
    for low, high, what in (
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
        ("minProperties", "maxProperties", " members"),
    ):
        if low in schema or high in schema:
            out.append(f"{schema.get(low, '')}–{schema.get(high, '')}{what}")
    if "default" in schema:
        out.append(f"default {code(json.dumps(schema['default']))}")
    if schema.get("writeOnly"):
        out.append("write-only")
    return "; ".join(out)


def describe(contract: Contract, node: Schema) -> str:
    return text(node.get("description") or contract.resolve(node).get("description", ""))


def properties(contract: Contract, schema: Schema) -> str:
    required = schema.get("required", [])
    rows = []
    for name, node in schema.get("properties", {}).items():
        mark = "" if name not in required else " <small>required</small>"
        rows.append((code(name) + mark, type_of(contract, node), limits(contract, node), describe(contract, node)))
    return table(("Member", "Type", "Limits", ""), rows)


def nested(contract: Contract, schema: Schema) -> str:
    """The members, and those of objects that have no name of their own."""
    out = [properties(contract, schema)]
    for name, node in schema.get("properties", {}).items():
        inner = node.get("items", node) if "$ref" not in node else {}
        if inner.get("properties"):
            summary = f"<summary><code>{escape(name)}</code></summary>"
            out.append(f"<details open>{summary}{nested(contract, inner)}</details>")
    return "\n".join(out)


def parameters(contract: Contract, op: Operation) -> str:
    rows = []
    shared = contract.doc["paths"][op.path].get("parameters", [])
    for node in [*shared, *op.raw.get("parameters", [])]:
        p = contract.resolve(node)
        if p["name"] not in SKIP_HEADERS:
            kind, bounds = type_of(contract, p["schema"]), limits(contract, p["schema"])
            rows.append((code(p["name"]), escape(p["in"]), kind, bounds, text(p.get("description", ""))))
    return table(("Parameter", "In", "Type", "Limits", ""), rows)


def media(contract: Contract, content: dict[str, Any]) -> str:
    body = content.get("application/json")
    if body is None:
        return f"<p>{', '.join(code(name) for name in content)}</p>\n"
    out = f"<p>{type_of(contract, body['schema'])}</p>\n"
    if "example" in body:
        sample = json.dumps(body["example"], indent=2, ensure_ascii=False)
        out += f"<pre>{escape(sample, quote=False)}</pre>\n"
    return out


def facts(op: Operation) -> str:
    out = [f"<strong>{escape(op.raw['summary'])}</strong>", code(op.id)]
    out += [f"capability {code(op.raw['x-capability'])}", f"rate class {code(op.raw['x-rate-class'])}"]
    if op.raw.get("x-idempotent"):
        out.append("takes <code>Idempotency-Key</code>")
    if op.raw.get("x-etag"):
        out.append("answers an <code>ETag</code>")
    if op.raw.get("x-if-match"):
        out.append("takes <code>If-Match</code>")
    return f"<p>{' · '.join(out)}</p>"


def operation(contract: Contract, op: Operation) -> str:
    raw = op.raw
    head = f'<span class="method">{op.method.upper()}</span> <code>{escape(op.path)}</code>'
    out = [f'<section id="{op.id}">', f"<h3>{head}</h3>", facts(op), text(raw.get("description", ""))]
    out.append(parameters(contract, op))
    if "requestBody" in raw:
        out += ["<h4>Body</h4>", media(contract, raw["requestBody"]["content"])]
    for status, node in raw["responses"].items():
        if status[0] in "23":
            answer = contract.resolve(node)
            out.append(f"<h4>{status}</h4>\n{text(answer['description'])}")
            if answer.get("content"):
                out.append(media(contract, answer["content"]))
    links = ", ".join(f'<a href="#error-{c}"><code>{c}</code></a>' for c in op.errors)
    return "\n".join([*out, f"<p>Errors: {links}</p>", "</section>"])


def event(contract: Contract, e: EventType) -> str:
    facts = [f"capability {code(e.raw['x-capability'])}", f"severity {code(e.raw['x-severity'])}"]
    facts += ["not sent yet"] * (not e.available)
    sample = escape(json.dumps(e.raw["example"], indent=2, ensure_ascii=False), quote=False)
    return "\n".join(
        [
            f'<section id="event-{e.name}">',
            f"<h3><code>{e.name}</code></h3>",
            f"<p>{' · '.join(facts)}</p>",
            text(e.raw["summary"]),
            f"<p><code>data</code>: {type_of(contract, e.raw['data'])}</p>",
            f"<pre>{sample}</pre>",
            "</section>",
        ]
    )


def events(contract: Contract) -> str:
    """What webhooks, streams and the log carry."""
    if not contract.events:
        return ""
    intro = f"<p>Each is an {type_of(contract, {'$ref': '#/components/schemas/Event'})} whose <code>data</code> is as follows.</p>"
    rows = [
        (f'<a href="#event-{e.name}">{code(e.name)}</a>', text(e.raw["summary"]), code(e.raw["x-capability"]), e.raw["x-severity"])
        for e in contract.events
    ]
    listed = table(("Type", "", "Capability", "Severity"), rows)
    return "\n".join(["<h2>Types of events</h2>", intro, listed, *(event(contract, e) for e in contract.events)])


def choices(contract: Contract, schema: Schema) -> str:
    """What the telling member's values lead to."""
    rows = [
        (code(value), type_of(contract, {"$ref": ref}), describe(contract, {"$ref": ref}))
        for value, ref in schema["discriminator"]["mapping"].items()
    ]
    return table((code(schema["discriminator"]["propertyName"]), "Type", ""), rows)


def alternatives(schema: Schema) -> str:
    for key, words in (("anyOf", "At least one of"), ("oneOf", "Exactly one of")):
        names = [n for sub in schema.get(key, []) for n in sub.get("required", [])]
        if names:
            return f"<p>{words} {', '.join(code(n) for n in names)}.</p>"
    return ""


def schemas(contract: Contract) -> str:
    out = ["<h2>Schemas</h2>"]
    for name, schema in contract.doc["components"]["schemas"].items():
        if schema.get("properties"):
            out.append(f'<section id="schema-{name}"><h3>{name}</h3>')
            out += [text(schema.get("description", "")), nested(contract, schema), alternatives(schema), "</section>"]
        elif "discriminator" in schema:
            out.append(f'<section id="schema-{name}"><h3>{name}</h3>')
            out += [text(schema.get("description", "")), choices(contract, schema), "</section>"]
    return "\n".join(out)


def errors(contract: Contract) -> str:
    rows = [
        (f'<span id="error-{c}">{code(c)}</span>', str(e["status"]), escape(e["title"]))
        for c, e in contract.errors.items()
    ]
    return "<h2>Errors</h2>\n" + table(("Code", "Status", ""), rows)


def reference(contract: Contract) -> str:
    info = contract.doc["info"]
    menu, body = [], []
    for tag in contract.doc["tags"]:
        ops = [op for op in contract.operations if op.raw["tags"][0] == tag["name"]]
        rows = "".join(f'<li><a href="#{op.id}">{escape(op.raw["summary"])}</a></li>' for op in ops)
        menu.append(f"<li>{escape(tag['name'])}<ul>{rows}</ul></li>")
        body.append(f"<h2>{escape(tag['name'])}</h2>\n{text(tag['description'])}")
        body += [operation(contract, op) for op in ops]
    title = escape(info["title"])
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title>",
            '<link rel="icon" href="data:,">',
            '<link rel="stylesheet" href="/v1/reference/assets/reference.css"></head>',
            f"<body><nav><ul>{''.join(menu)}</ul></nav>\n<main>\n<h1>{title}</h1>",
            f"<p>Series {code(contract.series)}, version {code(info['version'])}. The same as "
            '<a href="/v1/openapi.json">OpenAPI 3.1</a>.</p>',
            text(info["description"]),
            *body,
            events(contract),
            schemas(contract),
            errors(contract),
            "</main></body></html>",
            "",
        ]
    )
