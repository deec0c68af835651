"""The generators refuse what must not become a program: a route without a capability, a public one without a reason, an
unknown error, a list in the wrong style, SQL whose parameters do not add up. The lint refuses the rest."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
GEN = ROOT / "schema" / "gen"


def run(script: str, *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(GEN / script), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def spoiled(tmp_path: Path) -> Path:
    """A copy of the contract to spoil."""
    return Path(shutil.copytree(ROOT / "schema" / "api", tmp_path / "api"))


def spoil(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


GENERATOR = [
    ("system.yaml", "      x-capability: public\n", "", "x-capability is missing"),
    ("printers.yaml", "      x-capability: operations.read\n", "", "x-capability is missing"),
    ("printers.yaml", "      x-rate-class: read\n", "", "x-rate-class is missing"),
    ("printers.yaml", "      x-pool: api\n", "", "x-pool is missing"),
    ("system.yaml", "      x-public-because: Clients record what they talk to before they have a key.\n", "", "says why"),
    ("printers.yaml", "[invalid_cursor, offset_too_large]", "[no_such_error]", "no_such_error is not in errors.yaml"),
    ("printers.yaml", "'#/components/parameters/limit'", "'#/components/parameters/nope'", "nothing there"),
    ("printers.yaml", "/v1/printers/{printer_id}/status:", "/v1/printers/{id}/status:", "do not fit"),
    ("printers.yaml", "          explode: false\n", "          explode: true\n", "comma-separated"),
    ("printers.yaml", "            format: host\n", "            format: hoost\n", "format hoost is not known"),
    ("printers.yaml", "      tags: [Printers]\n", "      tags: [Printers]\n      tags: [Printers]\n", "given twice"),
    ("groups.yaml", "/v1/printer-groups:", "/v1/printers:", "defined in two files"),
    ("errors.yaml", "sqlstate: [SLP02]", "sqlstate: [SLP01]", "mapped twice"),
    ("commands.yaml", "command: {type: string, const: resume}", "command: {type: string, const: pause}", "a constant of its own"),
    ("commands.yaml", "command: {type: string, const: resume}", "command: {type: string}", "a constant of its own"),
    ("commands.yaml", "      required: [command, lines]\n", "      required: [lines]\n", "a constant of its own"),
    ("commands.yaml", "axes:\n          type: array", "lines:\n          type: integer", "is F_I64 and F_STR_LIST"),
    ("commands.yaml", "oneOf: [{required: [percent]}", "oneOf: [{required: [slowness]}", "one required member each"),
    ("commands.yaml", "oneOf: [{required: [percent]}", "oneOf: [{type: object}", "one required member each"),
    ("queue.yaml", "anyOf: [{required: [name]}", "anyOf: [{required: [title]}", "one required member each"),
    ("events.yaml", "    x-capability: operations.read\n", "", "printer.created: x-capability is missing"),
    ("events.yaml", "  printer.updated:\n", "  printer.created:\n", "given twice"),
]


@pytest.mark.parametrize(("name", "old", "new", "says"), GENERATOR, ids=[row[3] + "/" + row[0] for row in GENERATOR])
def test_generator_refuses(spoiled: Path, tmp_path: Path, name: str, old: str, new: str, says: str) -> None:
    spoil(spoiled / name, old, new)
    answer = run("contract2c.py", "--api", spoiled, "--out", tmp_path / "out")
    assert answer.returncode == 1
    assert says in answer.stderr
    assert not (tmp_path / "out" / "routes.c").exists()


LINT = [
    ("printers.yaml", "      x-capability: operations.read\n", "      x-capability: printers.read\n", "not known"),
    ("printers.yaml", "      x-idempotent: true\n", "", "x-idempotent belongs on every POST"),
    ("printers.yaml", "      x-errors: [resource_not_found]\n", "", "no resource_not_found"),
    ("printers.yaml", "      x-if-match: true\n", "", "no x-if-match"),
    ("printers.yaml", "            example: {location: Lab 3, maintenance: true, notes: null}\n", "", "no example"),
    ("printers.yaml", "            example: {location: Lab 3,", "            example: {location: 3,", "is not string or null"),
    ("printers.yaml", "            example: {location: Lab 3,", "            example: {place: x,", "place is unknown"),
    ("printers.yaml", "operationId: listPrinters", "operationId: list_printers", "not camelCase"),
    ("printers.yaml", "        - name: model\n", "        - name: Model\n", "not snake_case"),
    ("printers.yaml", "            maxLength: 64\n", "", "has no maxLength"),
    ("groups.yaml", "      additionalProperties: false\n      properties: &group", "      properties: &group", "unknown members"),
    ("commands.yaml", "example: {command: set_temperatures,", "example: {command: dance,", "none of the choices"),
    ("commands.yaml", "example: {command: set_temperatures,", "example: {command: pause,", "nozzle_c is unknown"),
    ("commands.yaml", "      additionalProperties: false\n      properties: &jog_members", "      properties: &jog_members",
     "unknown members"),
    ("queue.yaml", "      maxProperties: 50\n", "", "a map without limits"),
    ("queue.yaml", "        maxLength: 500\n", "", "has no maxLength"),
    ("events.yaml", "  printer.created:\n", "  printer_created:\n", "is not two names in snake_case"),
    ("events.yaml", "    x-capability: operations.read\n", "    x-capability: any\n", "its capability is not known"),
    ("events.yaml", "    x-severity: info\n", "    x-severity: loud\n", "its severity is not known"),
    ("events.yaml", "    x-severity: info\n", "    x-severity: info\n    x-colour: red\n", "['x-colour'] is not known"),
    ("events.yaml", "x-title: 'Printer {name} was added'", "x-title: 'Printer {label} was added'", "the title names label"),
    ("events.yaml", "    summary: A printer was added.\n", "    summary: A printer was added\n", "not a sentence"),
    ("events.yaml", ", name: Prusa MK4 1}", "}", "name is missing"),
    ("errors.yaml", "sqlstate: [SLP02]", "sqlstate: [SLP99]", "SQL raises ['SLP02']"),
    ("errors.yaml", "constraints: [printers_serial_key]", "constraints: [printers_sn]", "no constraint is called"),
]


@pytest.mark.parametrize(("name", "old", "new", "says"), LINT, ids=[row[3] + "/" + row[0] for row in LINT])
def test_lint_refuses(spoiled: Path, name: str, old: str, new: str, says: str) -> None:
    spoil(spoiled / name, old, new)
    answer = run("contract_lint.py", "--api", spoiled)
    assert answer.returncode == 1
    assert says in answer.stdout


def test_contract_is_clean(tmp_path: Path) -> None:
    lint = run("contract_lint.py")
    assert lint.returncode == 0, lint.stdout
    made = run("contract2c.py", "--api", ROOT / "schema" / "api", "--out", tmp_path)
    assert made.returncode == 0, made.stderr


def test_bodies_of_several_kinds_are_described(tmp_path: Path) -> None:
    run("contract2c.py", "--api", ROOT / "schema" / "api", "--out", tmp_path)
    served = json.loads((tmp_path / "openapi.json").read_text())["components"]["schemas"]["PrinterCommand"]
    assert served["discriminator"]["mapping"]["pause"] == "#/components/schemas/CommandPause"
    page = (tmp_path / "reference.html").read_text()
    assert '<section id="schema-PrinterCommand">' in page and '<a href="#schema-CommandJog">CommandJog</a>' in page
    assert "Exactly one of <code>percent</code>, <code>level</code>." in page


def test_events_become_webhooks(tmp_path: Path) -> None:
    run("contract2c.py", "--api", ROOT / "schema" / "api", "--out", tmp_path)
    served = json.loads((tmp_path / "openapi.json").read_text())
    post = served["webhooks"]["print.failed"]["post"]
    media = post["requestBody"]["content"]["application/json"]
    assert (post["operationId"], post["x-capability"], post["x-available"]) == ("onPrintFailed", "operations.read", True)
    assert media["schema"]["allOf"][0] == {"$ref": "#/components/schemas/Event"}
    assert media["schema"]["allOf"][1]["properties"]["type"] == {"const": "print.failed"}
    assert list(media["example"]) == ["id", "type", "timestamp", "organization_id", "sequence", "data"]
    assert {"2XX", "410"} == set(post["responses"])
    page = (tmp_path / "reference.html").read_text()
    assert '<section id="event-print.failed">' in page and '<a href="#event-print.failed">' in page
    assert "not sent yet" in page


def test_generator_leaves_unchanged_files_alone(tmp_path: Path) -> None:
    def make() -> dict[str, int]:
        assert run("contract2c.py", "--api", ROOT / "schema" / "api", "--out", tmp_path).returncode == 0
        return {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}

    assert make() == make()


SQL = [
    ("-- name: a :one\nSELECT 1", "is not ended"),
    ("-- name: a :one\n-- params: text\nSELECT 1;", "uses"),
    ("-- name: a :one\n-- params: text\nSELECT $1, $2;", "uses"),
    ("-- name: a :one\n-- params: txt\nSELECT $1;", "type txt is not known"),
    ("SELECT 1;", "without a name"),
    ("-- name: a :one\nSELECT 1;\n-- name: a :one\nSELECT 2;", "defined twice"),
    ("-- name: a :one\nSELECT 1\n-- params: text\n;", "right after the name"),
    ("-- name: a :one\n-- include: nope\nSELECT 1;", "no fragment nope"),
]


@pytest.mark.parametrize(("text", "says"), SQL, ids=[row[1] for row in SQL])
def test_sql_generator_refuses(tmp_path: Path, text: str, says: str) -> None:
    source = tmp_path / "a.sql"
    source.write_text(text + "\n")
    answer = run("sql2c.py", "--out", tmp_path, "--name", "a", source)
    assert answer.returncode == 1
    assert says in answer.stderr


def test_sql_generator_makes_a_page_in_every_order(tmp_path: Path) -> None:
    source = tmp_path / "a.sql"
    source.write_text(
        "-- name: a :page\n-- params: text\n-- orders: name x.name, at x.at timestamptz, size coalesce(x.n, 0) int8\n"
        "-- also: best a_by_hand\n"
        "SELECT {key:p} FROM (SELECT * FROM x WHERE $1 = x.u AND {after}\n"
        "\tORDER BY {order} LIMIT {limit} OFFSET {offset}) AS p ORDER BY {order:p};\n"
        "-- name: a_by_hand :one\nSELECT 1;\n"
    )
    done = run("sql2c.py", "--out", tmp_path, "--name", "a", source)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "a_sql.c").read_text()
    names = ["name", "name_desc", "at", "at_desc", "size", "size_desc"]
    assert re.findall(r"const struct sql SQL_a_by_(\w+) = ", text) == [*names, "hand"]
    rows = re.findall(r'\{\{"(\S+)", (\d+)\}, &SQL_(\w+)\}', text)
    assert [r[0] for r in rows] == ["name", "-name", "at", "-at", "size", "-size", "best"]
    assert all(int(n) == len(sort) for sort, n, _ in rows)
    assert "(x.name, x.id) > (coalesce($2, ''), coalesce($3, '00000000-0000-0000-0000-000000000000'))" in text
    assert "($3 IS NULL OR (x.name, x.id) < ($2, $3))" in text
    assert "(x.at, x.id) < (coalesce($2::timestamptz, 'infinity'), coalesce($3, 'ffffffff-" in text
    assert "SELECT coalesce(p.n, 0)::text" in text
    assert "ORDER BY x.at DESC, x.id DESC LIMIT $4 OFFSET $5) AS p ORDER BY p.at DESC, p.id DESC" in text


def test_sql_generator_keeps_the_text(tmp_path: Path) -> None:
    source = tmp_path / "a.sql"
    source.write_text('-- name: a_b :many\n-- params: uuid, text[]\nSELECT "x\\y", $1\n\tFROM t WHERE u = $2;\n')
    assert run("sql2c.py", "--out", tmp_path, "--name", "a", source).returncode == 0
    text = (tmp_path / "a_sql.c").read_text()
    assert r'"SELECT \"x\\y\", $1\n"' in text
    assert "{2950, 1009}" in text
    assert "SQL_MANY" in text
