#!/usr/bin/env python3
"""Turns .sql files into C constants: `-- name: printers_list :many`, `-- params: uuid, jsonb, text`, then one statement
ended by `;`. `-- fragment: name` up to `-- end` keeps lines that `-- include: name` repeats inside statements."""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
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
NAME = re.compile(r"^--\s*name:\s*([a-z][a-z0-9_]*)\s+:(one|many|exec)\s*$")
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

    @property
    def text(self) -> str:
        return "\n".join(self.lines).strip().removesuffix(";").rstrip()


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
        elif line.strip().startswith("--") or not line.strip():
            continue
        elif current is None:
            raise SqlError(f"{where}: a statement without a name")
        else:
            current.lines.append(line.rstrip())
            if line.rstrip().endswith(";"):
                check(current)
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


def header(name: str, statements: list[Statement]) -> str:
    guard = f"GEN_{name.upper()}_SQL_H"
    out = ["/* Generated from .sql files by schema/gen/sql2c.py. */", f"#ifndef {guard}", f"#define {guard}", ""]
    out += ['#include "db/sql.h"', ""]
    out += [f"extern const struct sql SQL_{s.name};" for s in statements]
    out += [f"extern const struct sql_set {name}_sql;", "", "#endif", ""]
    return "\n".join(out)


def source(name: str, statements: list[Statement]) -> str:
    out = ["/* Generated from .sql files by schema/gen/sql2c.py. */", f'#include "gen/{name}_sql.h"', ""]
    for s in statements:
        oids = "NULL"
        if s.oids:
            oids = f"oids_{s.name}"
            out.append(f"static const unsigned {oids}[] = {{{', '.join(str(o) for o in s.oids)}}};")
        out += [f"const struct sql SQL_{s.name} = {{", f'\t.name = "{s.name}",', "\t.text =", c_lines(s.text) + ","]
        out += [f"\t.kind = SQL_{s.kind.upper()},", f"\t.nparams = {len(s.oids)},", f"\t.oids = {oids},", "};", ""]
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
        statements = [s for path in sorted(args.files) for s in parse(path)]
        names = [s.name for s in statements]
        twice = {n for n in names if names.count(n) > 1}
        if twice:
            raise SqlError(f"defined twice: {', '.join(sorted(twice))}")
    except SqlError as e:
        print(f"sql2c: {e}", file=sys.stderr)
        return 1
    args.out.mkdir(parents=True, exist_ok=True)
    for suffix, text in ((".h", header(args.name, statements)), (".c", source(args.name, statements))):
        path = args.out / f"{args.name}_sql{suffix}"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
