#!/usr/bin/env python3
"""Turns .sql files into C constants: `-- name: printers_list :many`, `-- params: uuid, jsonb, text`, then one statement
ended by `;`. `-- fragment: name` up to `-- end` keeps lines that `-- include: name` repeats inside statements.

`-- name: printers :page` is a list in several orders, `-- orders: name v.name, created_at v.created_at timestamptz`: one
statement for each order and direction, printers_by_name and printers_by_name_desc, and the table printers_orders. After its
own parameters come the key and the id of the row before the page (NULL on the first), the limit and the offset. In its text
`{key}` is the sort key as text, `{after}` the condition that a row lies behind, `{order}`, `{limit}` and `{offset}` what they
say; `{key:p}` and `{order:p}` name the columns of another alias. `-- id: t._id` when the id is not <alias>.id, and
`-- also: relevance models_by_relevance` adds a statement of one's own to the table."""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

# pg_type OIDs of the types that statements take.
OIDS = {
    "bool": 16, "bytea": 17, "int8": 20, "int2": 21, "int4": 23, "text": 25, "json": 114, "float4": 700, "float8": 701,
    "cidr": 650, "inet": 869, "varchar": 1043, "date": 1082, "timestamp": 1114, "timestamptz": 1184, "interval": 1186,
    "numeric": 1700, "uuid": 2950, "jsonb": 3802,
    "bool[]": 1000, "bytea[]": 1001, "int2[]": 1005, "int4[]": 1007, "text[]": 1009, "int8[]": 1016, "float8[]": 1022,
    "inet[]": 1041, "cidr[]": 651, "timestamptz[]": 1185, "uuid[]": 2951, "jsonb[]": 3807,
}  # fmt: skip
ALIASES = {"boolean": "bool", "bigint": "int8", "integer": "int4", "int": "int4", "smallint": "int2"}
NAME = re.compile(r"^--\s*name:\s*([a-z][a-z0-9_]*)\s+:(one|many|exec|page)\s*$")
NOTE = re.compile(r"^--\s*(orders|id|also):\s*(.*?)\s*$")
PLACE = re.compile(r"\{(key|after|order|limit|offset)(?::([a-z]+))?\}")
NO_ID, LAST_ID = (f"'{'-'.join(c * n for n in (8, 4, 4, 4, 12))}'" for c in "0f")
# Of the types that a list can be ordered by: a value before and one behind all others; None: there is none.
ENDS = {"text": ("''", None), "timestamptz": ("'-infinity'", "'infinity'"), "int8": ("-1", "9223372036854775807")}
FRAGMENT = re.compile(r"^--\s*fragment:\s*([a-z][a-z0-9_]*)\s*$")
INCLUDE = re.compile(r"^--\s*include:\s*([a-z][a-z0-9_]*)\s*$")
END = re.compile(r"^--\s*end\s*$")
PARAMS = re.compile(r"^--\s*params:\s*(.*?)\s*$")


class SqlError(Exception):
    """A file breaks the format; the message names the line."""


@dataclass
class Statement:
    name: str
    kind: str
    where: str
    oids: list[int]
    lines: list[str]
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return "\n".join(self.lines).strip().removesuffix(";").rstrip()


@dataclass
class Order:
    """One order of a page, in one direction."""

    sort: str
    column: str  # v.name
    type: str
    id: str  # v.id
    first: int  # the number of the parameter that holds the key before the page
    down: bool

    def place(self, what: str, alias: str | None) -> str:
        column, row_id = (re.sub(r"\b\w+\.", f"{alias}.", c) if alias else c for c in (self.column, self.id))
        key, last, down = f"${self.first}", f"${self.first + 1}", " DESC" if self.down else ""
        return {
            "key": column if self.type == "text" else f"{column}::text",
            "order": f"{column}{down}, {row_id}{down}",
            "limit": f"${self.first + 2}",
            "offset": f"${self.first + 3}",
            "after": self.after(f"({column}, {row_id})", key, last),
        }[what]

    def after(self, row: str, key: str, last: str) -> str:
        typed = key if self.type == "text" else f"{key}::{self.type}"
        end = ENDS[self.type][self.down]
        if end is None:
            return f"({last} IS NULL OR {row} < ({typed}, {last}))"
        sign, no_id = ("<", LAST_ID) if self.down else (">", NO_ID)
        return f"{row} {sign} (coalesce({typed}, {end}), coalesce({last}, {no_id}))"


@dataclass
class Page:
    name: str
    orders: list[tuple[str, str]]  # sort, statement


def pages(found: list[Statement]) -> tuple[list[Statement], list[Page]]:
    """Puts the statements that it stands for in the place of each page."""
    out: list[Statement] = []
    lists: list[Page] = []
    for statement in found:
        if statement.kind != "page":
            out.append(statement)
            continue
        page = Page(statement.name, [])
        for order in orders_of(statement):
            name = f"{page.name}_by_{order.sort}{'_desc' if order.down else ''}"
            text = PLACE.sub(lambda m, o=order: o.place(m[1], m[2]), "\n".join(statement.lines))
            oids = [*statement.oids, OIDS["text"], OIDS["uuid"], OIDS["int8"], OIDS["int8"]]
            out.append(Statement(name, "many", statement.where, oids, text.split("\n")))
            page.orders.append((f"{'-' if order.down else ''}{order.sort}", name))
        for also in filter(None, statement.notes.get("also", "").split(",")):
            sort, name = also.split()
            page.orders.append((sort, name))
        lists.append(page)
    for statement in out:
        check(statement)
    return out, lists


def orders_of(page: Statement) -> list[Order]:
    out = []
    for text in filter(None, re.split(r",\s*(?![^(]*\))", page.notes.get("orders", ""))):
        match = re.fullmatch(r"(\w+)\s+(.+?)(?:\s+(timestamptz|int8|text))?", text)
        if not match:
            raise SqlError(f"{page.where}: order {text} is not <sort> <column> [type]")
        row_id = page.notes.get("id") or re.search(r"\b\w+\.", match[2])[0] + "id"  # type: ignore[index]
        out += [Order(match[1], match[2], match[3] or "text", row_id, len(page.oids) + 1, d) for d in (False, True)]
    if not out:
        raise SqlError(f"{page.where}: {page.name} has no orders")
    return out


def expand(path: Path) -> list[tuple[str, str]]:
    """The file's lines, each with its place, fragments taken out and put in where they are included."""
    fragments: dict[str, list[tuple[str, str]]] = {}
    out: list[tuple[str, str]] = []
    inside: list[tuple[str, str]] | None = None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        where = f"{path}:{number}"
        if match := FRAGMENT.match(line):
            inside = fragments.setdefault(match[1], [])
        elif END.match(line):
            inside = None
        elif inside is not None:
            inside.append((where, line))
        elif match := INCLUDE.match(line):
            if match[1] not in fragments:
                raise SqlError(f"{where}: there is no fragment {match[1]} above")
            out += fragments[match[1]]
        else:
            out.append((where, line))
    return out


def parse(path: Path) -> list[Statement]:
    found: list[Statement] = []
    current: Statement | None = None
    for where, line in expand(path):
        if match := NAME.match(line):
            if current:
                raise SqlError(f"{where}: {current.name} is not ended by ';'")
            current = Statement(match[1], match[2], where, [], [])
        elif match := PARAMS.match(line):
            if current is None or current.lines:
                raise SqlError(f"{where}: params stand right after the name")
            current.oids = [oid(p.strip(), where) for p in match[1].split(",") if p.strip()]
        elif current is not None and not current.lines and (match := NOTE.match(line)):
            current.notes[match[1]] = match[2]
        elif line.strip().startswith("--") or not line.strip():
            continue
        elif current is None:
            raise SqlError(f"{where}: a statement without a name")
        else:
            current.lines.append(line.rstrip())
            if line.rstrip().endswith(";"):
                found.append(current)
                current = None
    if current:
        raise SqlError(f"{path}: {current.name} is not ended by ';'")
    return found


def oid(name: str, where: str) -> int:
    base = name.removesuffix("[]")
    full = ALIASES.get(base, base) + name[len(base) :]
    if full not in OIDS:
        raise SqlError(f"{where}: parameter type {name} is not known")
    return OIDS[full]


def check(statement: Statement) -> None:
    used = {int(n) for n in re.findall(r"\$(\d+)", statement.text)}
    if used != set(range(1, len(statement.oids) + 1)):
        raise SqlError(f"{statement.where}: {statement.name} uses ${sorted(used)} with {len(statement.oids)} params")


def c_lines(text: str) -> str:
    escaped = [line.replace("\\", "\\\\").replace('"', '\\"').replace("??", "?\\?") for line in text.split("\n")]
    return "\n".join(f'\t    "{line}\\n"' for line in escaped[:-1]) + ("\n" if len(escaped) > 1 else "") + (
        f'\t    "{escaped[-1]}"'
    )


def header(name: str, statements: list[Statement], lists: list[Page]) -> str:
    guard = f"GEN_{name.upper()}_SQL_H"
    out = ["/* Generated from .sql files by schema/gen/sql2c.py. */", f"#ifndef {guard}", f"#define {guard}", ""]
    out += ['#include "db/sql.h"', ""]
    out += [f"extern const struct sql SQL_{s.name};" for s in statements]
    for page in lists:
        out.append(f"extern const struct sql_order {page.name}_orders[{len(page.orders)}];")
    out += [f"extern const struct sql_set {name}_sql;", "", "#endif", ""]
    return "\n".join(out)


def source(name: str, statements: list[Statement], lists: list[Page]) -> str:
    out = ["/* Generated from .sql files by schema/gen/sql2c.py. */", f'#include "gen/{name}_sql.h"', ""]
    for s in statements:
        oids = "NULL"
        if s.oids:
            oids = f"oids_{s.name}"
            out.append(f"static const unsigned {oids}[] = {{{', '.join(str(o) for o in s.oids)}}};")
        out += [f"const struct sql SQL_{s.name} = {{", f'\t.name = "{s.name}",', "\t.text =", c_lines(s.text) + ","]
        out += [f"\t.kind = SQL_{s.kind.upper()},", f"\t.nparams = {len(s.oids)},", f"\t.oids = {oids},", "};", ""]
    for page in lists:
        rows = "".join(f'\t{{{{"{sort}", {len(sort)}}}, &SQL_{of}}},\n' for sort, of in page.orders)
        out.append(f"const struct sql_order {page.name}_orders[] = {{\n{rows}}};\n")
    out.append("static const struct sql *const all[] = {")
    out += [f"\t&SQL_{s.name}," for s in statements] or ["\tNULL,"]
    out += ["};", f"const struct sql_set {name}_sql = {{all, {len(statements)}}};", ""]
    return "\n".join(out)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("files", type=Path, nargs="*")
    args = parser.parse_args()
    try:
        statements, lists = pages([s for path in sorted(args.files) for s in parse(path)])
        names = [s.name for s in statements]
        twice = {n for n in names if names.count(n) > 1}
        if twice:
            raise SqlError(f"defined twice: {', '.join(sorted(twice))}")
    except SqlError as e:
        print(f"sql2c: {e}", file=sys.stderr)
        return 1
    args.out.mkdir(parents=True, exist_ok=True)
    for suffix, text in ((".h", header(args.name, statements, lists)), (".c", source(args.name, statements, lists))):
        path = args.out / f"{args.name}_sql{suffix}"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
