#!/usr/bin/env python3
"""Turns the contract (schema/api) into C: error catalogue, route table, input structs and their validation tables,
the served openapi.json, nginx locations and the plain reference page."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import contract_pages
import contract_reference
from contract import Contract, ContractError, Operation, Schema, load

NOTE = "/* Generated from schema/api by schema/gen/contract2c.py. */\n"
KEYWORDS = frozenset(
    "auto break case char const continue default do double else enum extern float for goto if inline int long register "
    "restrict return short signed sizeof static struct switch typedef union unsigned void volatile while bool true "
    "false set null".split()
)
RATES = {"read": "RATE_READ", "write": "RATE_WRITE", "control": "RATE_CONTROL", "login": "RATE_LOGIN", "none": "RATE_NONE"}
POOLS = {"api": "POOL_API", "files": "POOL_FILES", "auth": "POOL_AUTH"}
C_TYPES = {
    "F_STR": "struct str ",
    "F_I64": "int64_t ",
    "F_F64": "double ",
    "F_BOOL": "bool ",
    "F_UUID": "struct uuid ",
    "F_TIME": "struct str ",
    "F_STR_LIST": "struct str_list ",
    "F_UUID_LIST": "struct uuid_list ",
    "F_OBJECT": "struct json_object *",
    "F_OBJECT_LIST": "struct json_object *",
    "F_JSON": "struct json_object *",
    "F_MAP": "struct json_object *",
    "F_SCALAR": "struct json_object *",
}
FORMATS = frozenset(["uuid", "date-time", "uri", "host", "hostname", "ipv4", "ipv6", "cidr"])


def c_string(text: str) -> str:
    out = []
    for byte in text.encode():
        char = chr(byte)
        if char in '"\\':
            out.append("\\" + char)
        elif 32 <= byte < 127 and char != "?":
            out.append(char)
        else:
            out.append(f"\\{byte:03o}")
    return '"' + "".join(out) + '"'


def c_member(name: str) -> str:
    if name in KEYWORDS or not name.isidentifier():
        raise ContractError(f"{name} cannot be a member of a C struct")
    return name


# --- errors ---------------------------------------------------------------------------------------------------------


def errors_h(contract: Contract) -> str:
    lines = [NOTE, "#ifndef GEN_ERRORS_H", "#define GEN_ERRORS_H", "", '#include "base/err.h"', '#include "base/str.h"', ""]
    lines += [f"extern const struct err err_{code};" for code in contract.errors]
    lines += [
        "",
        "/* The whole catalogue, in its order. */",
        "extern const struct err *const err_all[];",
        "extern const size_t err_all_n;",
        "",
        "/* What a SQLSTATE means to a client; a violated constraint's name, when known, speaks first. NULL: unmapped. */",
        "const struct err *err_by_sqlstate(const char *sqlstate, const char *constraint);",
        "const struct err *err_by_code(struct str code);",
        "",
        "#endif",
        "",
    ]
    return "\n".join(lines)


def errors_c(contract: Contract) -> str:
    out = [NOTE, '#include "gen/errors.h"', "", "#include <string.h>", ""]
    by_state: list[tuple[str, str]] = []
    by_constraint: list[tuple[str, str]] = []
    for code, entry in contract.errors.items():
        states = entry.get("sqlstate", [])
        by_state += [(s, code) for s in states]
        by_constraint += [(c, code) for c in entry.get("constraints", [])]
        state = c_string(states[0]) if states else "NULL"
        out.append(
            f"const struct err err_{code} = {{{c_string(code)}, {entry['status']}, {c_string(entry['title'])}, "
            f"{state}, {entry.get('retry_after_s', 0)}}};"
        )
    out += ["", "const struct err *const err_all[] = {"]
    out += [f"\t&err_{code}," for code in contract.errors]
    out += ["};", "const size_t err_all_n = sizeof(err_all) / sizeof(err_all[0]);", ""]
    out += ["struct mapping {", "\tconst char *name;", "\tconst struct err *err;", "};", ""]
    for table, rows in (("sqlstates", by_state), ("constraints", by_constraint)):
        names = [n for n, _ in rows]
        if len(set(names)) != len(names):
            raise ContractError(f"errors.yaml: an entry of {table} is mapped twice")
        out.append(f"static const struct mapping {table}[] = {{")
        out += [f"\t{{{c_string(n)}, &err_{c}}}," for n, c in sorted(rows)]
        out += ["\t{NULL, NULL},", "};", ""]
    out.append(ERRORS_FUNCTIONS)
    return "\n".join(out)


ERRORS_FUNCTIONS = """\
static const struct err *
find(const struct mapping *m, const char *name)
{
	while (m->name && strcmp(m->name, name) != 0)
		m++;
	return m->err;
}

const struct err *
err_by_sqlstate(const char *sqlstate, const char *constraint)
{
	const struct err *e = constraint ? find(constraints, constraint) : NULL;

	return e ? e : find(sqlstates, sqlstate);
}

const struct err *
err_by_code(struct str code)
{
	for (size_t i = 0; i < err_all_n; i++) {
		if (str_eq(code, str_from(err_all[i]->code)))
			return err_all[i];
	}
	return NULL;
}
"""


# --- input structs and their tables -----------------------------------------------------------------------------------


class Inputs:
    """Collects inputs.h and inputs.c."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.header: list[str] = []
        self.tables: list[str] = []
        self.known: dict[str, str] = {}
        self.serial = 0

    def fresh(self, kind: str) -> str:
        self.serial += 1
        return f"{kind}_{self.serial}"

    def once(self, key: str, kind: str, make: Any) -> str:
        """The name of a static table; equal tables share one."""
        if key not in self.known:
            name = self.fresh(kind)
            self.known[key] = name
            self.tables.append(make(name))
        return self.known[key]

    def field_type(self, schema: Schema, where: str) -> str:
        kind = json_type(schema)
        if is_scalar(schema):
            return "F_SCALAR"
        if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
            return "F_MAP"
        if kind == "string":
            return {"uuid": "F_UUID", "date-time": "F_TIME"}.get(schema.get("format", ""), "F_STR")
        if kind == "array":
            item = self.field_type(self.contract.resolve(schema["items"]), where)
            lists = {
                "F_STR": "F_STR_LIST", "F_UUID": "F_UUID_LIST", "F_OBJECT": "F_OBJECT_LIST", "F_I64": "F_OBJECT_LIST",
            }  # fmt: skip
            if item not in lists:
                raise ContractError(f"{where}: a list of {item} is not supported")
            return lists[item]
        plain = {"integer": "F_I64", "number": "F_F64", "boolean": "F_BOOL", "object": "F_OBJECT", None: "F_JSON"}
        return plain[kind]

    def choices(self, values: list[Any]) -> str:
        names = ", ".join(c_string(v) for v in values if v is not None)
        return self.once(f"choices:{names}", "choices", lambda n: f"static const char *const {n}[] = {{{names}, NULL}};")

    def pattern(self, text: str) -> str:
        return self.once(
            f"pattern:{text}", "pattern", lambda n: f"static struct pattern {n} = {{{c_string(text)}, NULL}};"
        )

    def field(self, name: str, node: Any, required: bool, struct: str | None, where: str) -> str:
        schema = self.contract.resolve(node)
        kind = self.field_type(schema, where)
        members = [f".name = {c_string(name)}", f".type = {kind}"]
        flags = ["F_REQUIRED"] * required + ["F_NULLABLE"] * nullable(schema)
        flags += ["F_UNIQUE"] * bool(schema.get("uniqueItems"))
        if flags:
            members.append(f".flags = {' | '.join(flags)}")
        if struct:
            members.append(f".offset = offsetof(struct {struct}, {c_member(name)})")
        members += self.bounds(kind, schema)
        members += self.rules(kind, schema, node, where)
        return "{" + ", ".join(members) + "}"

    def bounds(self, kind: str, schema: Schema) -> list[str]:
        if kind == "F_F64":
            low, high = schema.get("minimum", "-HUGE_VAL"), schema.get("maximum", "HUGE_VAL")
            return [f".fleast = {low}", f".fmost = {high}"]
        low_name, high_name, least = {
            "F_I64": ("minimum", "maximum", "INT64_MIN"),
            "F_STR": ("minLength", "maxLength", "0"),
            "F_STR_LIST": ("minItems", "maxItems", "0"),
            "F_UUID_LIST": ("minItems", "maxItems", "0"),
            "F_OBJECT_LIST": ("minItems", "maxItems", "0"),
            "F_MAP": ("minProperties", "maxProperties", "0"),
            "F_SCALAR": ("minLength", "maxLength", "0"),
        }.get(kind, ("", "", ""))
        if not low_name:
            return []
        return [f".least = {schema.get(low_name, least)}", f".most = {schema.get(high_name, 'INT64_MAX')}"]

    def rules(self, kind: str, schema: Schema, node: Any, where: str) -> list[str]:
        out = []
        pattern = schema.get("propertyNames", {}).get("pattern") if kind == "F_MAP" else schema.get("pattern")
        if pattern:
            out.append(f".pattern = &{self.pattern(pattern)}")
        if "enum" in schema or "const" in schema:
            out.append(f".choices = {self.choices(schema.get('enum', [schema.get('const')]))}")
        if "format" in schema:
            if schema["format"] not in FORMATS and kind == "F_STR":
                raise ContractError(f"{where}: format {schema['format']} is not known")
            if kind in ("F_STR", "F_UUID", "F_TIME"):
                out.append(f".format = {c_string(schema['format'])}")
        default = schema.get("default")
        if default is not None and default != []:
            if isinstance(default, list | dict):
                raise ContractError(f"{where}: only plain defaults and the empty list")
            out.append(f".dflt = {c_string(str(default).lower() if isinstance(default, bool) else str(default))}")
        if kind.endswith("_LIST") or kind == "F_MAP":
            item = schema["additionalProperties"] if kind == "F_MAP" else schema["items"]
            init = self.field("", item, False, None, f"{where}[]")
            out.append(f".item = &{self.once(f'item:{init}', 'item', lambda n: f'static const struct field {n} = {init};')}")
        if kind == "F_OBJECT":
            out.append(f".shape = &{self.nested(schema, where)}")
        return out

    def nested(self, schema: Schema, where: str) -> str:
        if not schema.get("properties"):
            raise ContractError(f"{where}: an object without properties")
        required = schema.get("required", [])
        rows = [
            "\t" + self.field(name, sub, name in required, None, f"{where}.{name}") + ","
            for name, sub in schema["properties"].items()
        ]
        body = "\n".join(rows)

        def make(name: str) -> str:
            return (
                f"static const struct field {name}_fields[] = {{\n{body}\n}};\n"
                f'static const struct shape {name} = {{.name = "{name}", .fields = {name}_fields, .n = {len(rows)}}};'
            )

        return self.once(f"shape:{body}", "shape", make)

    def declare(self, struct: str, prefix: str, members: list[tuple[str, Any]], with_null: bool) -> None:
        if len(members) > 64:
            raise ContractError(f"{struct}: more than 64 members")
        lines = [f"struct {struct} {{", "\tuint64_t set;"] + ["\tuint64_t null;"] * with_null
        for name, node in members:
            kind = self.field_type(self.contract.resolve(node), f"{struct}.{name}")
            lines.append(f"\t{C_TYPES[kind]}{c_member(name)};")
        lines += ["};", f"enum {struct}_index {{"]
        lines += [f"\t{prefix}_{name.upper()} = {i}," for i, (name, _) in enumerate(members)]
        lines += ["};", f"extern const struct shape {struct}_shape;", ""]
        self.header += lines

    def fields_of(self, struct: str, members: list[tuple[str, Any, bool]], table: str) -> None:
        rows = "".join(f"\t{self.field(n, s, r, struct, f'{struct}.{n}')},\n" for n, s, r in members)
        self.tables.append(f"static const struct field {table}[] = {{\n{rows}}};")

    def shape(self, struct: str, name: str, storage: str, with_null: bool, members: list[str]) -> None:
        null = f"offsetof(struct {struct}, null)" if with_null else "SIZE_MAX"
        members = [
            *members, f".size = sizeof(struct {struct})", f".set_offset = offsetof(struct {struct}, set)",
            f".null_offset = {null}",
        ]  # fmt: skip
        body = "".join(f"\t{m},\n" for m in members)
        self.tables.append(f"{storage}const struct shape {name} = {{\n{body}}};\n")

    def bound(self, struct: str, prefix: str, members: list[tuple[str, Any, bool]], with_null: bool, schema: Schema) -> None:
        """One input struct with its shape."""
        self.declare(struct, prefix, [(n, s) for n, s, _ in members], with_null)
        self.fields_of(struct, members, f"{struct}_fields")
        described = [f".name = {c_string(struct)}", f".fields = {struct}_fields", f".n = {len(members)}"]
        described += one_of_these(schema, [n for n, _, _ in members], struct)
        self.shape(struct, f"{struct}_shape", "", with_null, described)

    def union(self, struct: str, prefix: str, schema: Schema) -> None:
        """One struct for every member of several objects, and a shape for each of them."""
        tag = schema["discriminator"]["propertyName"]
        variants = [self.contract.resolve(v) for v in schema["oneOf"]]
        every = self.members_of_all(struct, variants)
        names = list(every)
        self.declare(struct, prefix, list(every.items()), True)
        shapes = [self.variant(struct, tag, names, v) for v in variants]
        values = [v["properties"][tag]["const"] for v in variants]
        choice = self.field(tag, {"type": "string", "enum": values}, True, None, struct)
        self.tables.append(f"static const struct field {struct}_tag = {choice};")
        listed = "".join(f"\t&{s},\n" for s in shapes)
        self.tables.append(f"static const struct shape *const {struct}_variants[] = {{\n{listed}\tNULL,\n}};")
        described = [f".name = {c_string(struct)}", f".tag = &{struct}_tag", f".variants = {struct}_variants"]
        self.shape(struct, f"{struct}_shape", "", True, described)

    def members_of_all(self, struct: str, variants: list[Schema]) -> dict[str, Any]:
        every: dict[str, Any] = {}
        for schema in variants:
            for name, node in schema["properties"].items():
                kinds = {self.field_type(self.contract.resolve(n), struct) for n in (node, every.setdefault(name, node))}
                if len(kinds) > 1:
                    raise ContractError(f"{struct}.{name}: is {' and '.join(sorted(kinds))}")
        return every

    def variant(self, struct: str, tag: str, names: list[str], schema: Schema) -> str:
        value, required = schema["properties"][tag]["const"], schema.get("required", [])
        shape = f"{struct}_{value}"
        members = [(n, s, n in required) for n, s in schema["properties"].items()]
        self.fields_of(struct, members, f"{shape}_fields")
        bits = ", ".join(str(names.index(n)) for n, _, _ in members)
        self.tables.append(f"static const uint8_t {shape}_bits[] = {{{bits}}};")
        described = [f".name = {c_string(value)}", f".fields = {shape}_fields", f".n = {len(members)}", f".bits = {shape}_bits"]
        described += one_of_these(schema, [n for n, _, _ in members], shape)
        self.shape(struct, shape, "static ", True, described)
        return shape

    def operation(self, op: Operation) -> None:
        query = op.named("query")
        if query:
            members = [(p["name"], parameter_schema(p), bool(p.get("required"))) for p in query]
            self.bound(f"{op.id}_query", f"{op.id.upper()}_Q", members, False, {})
        if op.body_schema is not None:
            self.body(f"{op.id}_body", f"{op.id.upper()}_B", self.contract.resolve(op.body_schema))
        if op.path_names:
            by_name = {p["name"]: p for p in op.named("path")}
            rows = [self.field(n, by_name[n]["schema"], True, "path_params", f"{op.id}.{n}") for n in op.path_names]
            body = "".join(f"\t{row},\n" for row in rows)
            self.header += [f"extern const struct field {op.id}_path[{len(rows)}];", ""]
            self.tables.append(f"const struct field {op.id}_path[{len(rows)}] = {{\n{body}}};\n")

    def body(self, struct: str, prefix: str, schema: Schema) -> None:
        if "discriminator" in schema:
            self.union(struct, prefix, schema)
            return
        required = schema.get("required", [])
        self.bound(struct, prefix, [(n, s, n in required) for n, s in schema["properties"].items()], True, schema)

    def path_params(self) -> None:
        names: dict[str, str] = {}
        for op in self.contract.operations:
            for p in op.named("path"):
                names[p["name"]] = C_TYPES[self.field_type(self.contract.resolve(p["schema"]), op.id)]
        self.header += ["/* Every path parameter of the contract. */", "struct path_params {"]
        self.header += [f"\t{kind}{c_member(name)};" for name, kind in sorted(names.items())]
        self.header += ["};", ""]

    def list_of_shapes(self, kind: str, ids: list[str]) -> None:
        """What tests and fuzz targets walk."""
        self.header += [f"/* Every operation's {kind}; ends with NULL. */"]
        self.header += [f"extern const struct shape *const {kind}_shapes[];", ""]
        rows = "".join(f"\t&{i}_{kind}_shape,\n" for i in ids)
        self.tables.append(f"const struct shape *const {kind}_shapes[] = {{\n{rows}\tNULL,\n}};\n")

    def emit(self) -> tuple[str, str]:
        self.path_params()
        for op in self.contract.operations:
            self.operation(op)
        self.list_of_shapes("query", [op.id for op in self.contract.operations if op.named("query")])
        self.list_of_shapes("body", [op.id for op in self.contract.operations if op.body_schema is not None])
        header = [NOTE, "#ifndef GEN_INPUTS_H", "#define GEN_INPUTS_H", "", '#include "http/validate.h"', ""]
        header += [
            "/* set: bit i says that member i was given; null: that it was given as null. The enum constants are the i's,",
            " * for FIELD_SET and FIELD_NULL. */",
            "",
            *self.header,
            "#endif",
            "",
        ]
        body = [NOTE, '#include "gen/inputs.h"', "", "#include <math.h>", "#include <stddef.h>", "", *self.tables, ""]
        return "\n".join(header), "\n".join(body)


def one_of_these(schema: Schema, names: list[str], where: str) -> list[str]:
    """`anyOf: [{required: [a]}, {required: [b]}]`: at least one of them; with `oneOf` only one."""
    for key in ("anyOf", "oneOf"):
        if key in schema:
            wanted = [sub.get("required", []) for sub in schema[key]]
            if any(len(w) != 1 or w[0] not in names for w in wanted) or any(set(sub) != {"required"} for sub in schema[key]):
                raise ContractError(f"{where}: {key} can only name one required member each")
            mask = sum(1 << names.index(w[0]) for w in wanted)
            return [f".any_of = UINT64_C({mask})"] + [".only_one = true"] * (key == "oneOf")
    return []


def json_type(schema: Schema) -> str | None:
    kind = schema.get("type")
    if isinstance(kind, list):
        plain = [k for k in kind if k != "null"]
        return plain[0] if len(plain) == 1 else None
    return kind


def is_scalar(schema: Schema) -> bool:
    """A string, a number or a boolean."""
    kinds = schema.get("type")
    return isinstance(kinds, list) and set(kinds) - {"null"} == {"string", "number", "boolean"}


def nullable(schema: Schema) -> bool:
    return isinstance(schema.get("type"), list) and "null" in schema["type"]


def parameter_schema(param: dict[str, Any]) -> Schema:
    schema = param["schema"]
    if schema.get("type") == "array" and (param.get("style"), param.get("explode")) != ("form", False):
        raise ContractError(f"query parameter {param['name']}: lists are comma-separated (style: form, explode: false)")
    return schema


# --- routes -----------------------------------------------------------------------------------------------------------


def routes_h(contract: Contract) -> str:
    lines = [NOTE, "#ifndef GEN_ROUTES_H", "#define GEN_ROUTES_H", "", '#include "http/route.h"', ""]
    lines += ["extern const struct route routes[];", "extern const size_t n_routes;", "", "/* The handlers. */"]
    lines += [f"const struct err *{op.id}(struct req *r); /* {op.method.upper()} {op.path} */" for op in contract.operations]
    lines += ["", "/* X(handler) for each of them. */", "#define FOR_EACH_OPERATION(X) \\"]
    lines += [" \\\n".join(f"\tX({op.id})" for op in contract.operations)]
    lines += ["", "/* The contract as served at /v1/openapi.json; its strong ETag, quotes included. */"]
    lines += ["extern const unsigned char openapi_json[];", "extern const size_t openapi_json_len;"]
    lines += ["extern const char openapi_json_etag[];", "", "#endif", ""]
    return "\n".join(lines)


def route_flags(op: Operation) -> str:
    names = {
        "x-idempotent": "ROUTE_IDEMPOTENT",
        "x-secret-response": "ROUTE_SECRET_RESPONSE",
        "x-etag": "ROUTE_ETAG",
        "x-if-match": "ROUTE_IF_MATCH",
    }
    flags = ["ROUTE_PUBLIC"] * op.public + [flag for key, flag in names.items() if op.raw.get(key)]
    flags += {"": [], "file": ["ROUTE_BODY_FILE"], "staged": ["ROUTE_BODY_STAGED"]}[op.body_as]
    return " | ".join(flags) or "0"


def routes_c(contract: Contract) -> str:
    out = [NOTE, '#include "gen/routes.h"', "", '#include "gen/inputs.h"', "", "const struct route routes[] = {"]
    for op in contract.operations:
        body = op.body_schema is not None
        rows = [
            f".operation = {c_string(op.id)}",
            f".method = {c_string(op.method.upper())}",
            f".path = {{{c_string(op.path)}, {len(op.path)}}}",
            f".handler = {op.id}",
            f".capability = {c_string(op.raw['x-capability'])}",
            f".rate = {RATES[op.raw['x-rate-class']]}",
            f".pool = {POOLS[op.raw['x-pool']]}",
            f".flags = {route_flags(op)}",
        ]
        if body:
            required = "true" if op.raw["requestBody"].get("required") else "false"
            rows += [f".body_most = {op.body_most}", f".body_required = {required}", f".body = &{op.id}_body_shape"]
        elif op.body_as:
            rows.append(f".body_most = {op.body_most}")
        if op.named("query"):
            rows.append(f".query = &{op.id}_query_shape")
        if op.path_names:
            rows += [f".path_fields = {op.id}_path", f".n_path_fields = {len(op.path_names)}"]
        out.append("\t{" + ",\n\t    ".join(rows) + "},")
    out += ["};", "const size_t n_routes = sizeof(routes) / sizeof(routes[0]);", ""]
    return "\n".join(out)


def openapi_c(text: bytes) -> str:
    out = [NOTE, '#include "gen/routes.h"', "", "const unsigned char openapi_json[] = {"]
    out += ["\t" + ",".join(str(b) for b in text[i : i + 32]) + "," for i in range(0, len(text), 32)]
    digest = hashlib.sha256(text).hexdigest()[:32]
    out += ["};", "const size_t openapi_json_len = sizeof(openapi_json);"]
    out += [f"const char openapi_json_etag[] = {c_string(chr(34) + digest + chr(34))};", ""]
    return "\n".join(out)


def write(path: Path, text: str | bytes) -> None:
    """Leaves an unchanged file alone, so that make does not rebuild what depends on it."""
    data = text.encode() if isinstance(text, str) else text
    if not path.exists() or path.read_bytes() != data:
        path.write_bytes(data)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--api", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    try:
        contract = load(args.api)
        header, tables = Inputs(contract).emit()
        files = {
            "errors.h": errors_h(contract),
            "errors.c": errors_c(contract),
            "inputs.h": header,
            "inputs.c": tables,
            "routes.h": routes_h(contract),
            "routes.c": routes_c(contract),
            "nginx-routes.conf": contract_pages.nginx_routes(contract),
            "reference.html": contract_reference.reference(contract),
        }
    except ContractError as e:
        print(f"contract2c: {e}", file=sys.stderr)
        return 1
    text = json.dumps(contract.doc, ensure_ascii=False, separators=(",", ":")).encode()
    files["openapi_json.c"] = openapi_c(text)
    args.out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write(args.out / name, content)
    write(args.out / "openapi.json", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
