"""soloprintctl: what it makes, what it prints, what it refuses."""

from __future__ import annotations

import hashlib
import re
import stat
import zlib
from pathlib import Path
from typing import Any

import psycopg
import pytest
from conftest import Ctl, Postgres
from stack import ROOT

ALL = ["operations.read", "queue.manage", "printer.manage", "spool.manage", "integrations.manage", "org.manage_users"]
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def begin(ctl: Ctl, key: str, capability: str = "any", addr: str = "192.0.2.1") -> dict[str, Any]:
    """What a request with this key is told by the database."""
    with ctl.connect("soloprint_api") as db:
        db.row_factory = psycopg.rows.dict_row
        known = hashlib.sha256(key.encode()).digest()
        row = db.execute(
            "SELECT * FROM sec.begin_request(%s, %s, 'test', %s, 'r')", (known, capability, addr)
        ).fetchone()
        assert row is not None
        return row


def refused(ctl: Ctl, key: str, **kwargs: str) -> str:
    with pytest.raises(psycopg.Error) as caught:
        begin(ctl, key, **kwargs)
    return str(caught.value.sqlstate)


def make_key(ctl: Ctl, org: str, *args: str) -> str:
    return ctl.run("key", "create", "--org", org, "--name", "Test", "--capabilities", "all", *args).stdout.strip()


# Bootstrap and migrations


def test_bootstrap_is_repeatable_and_mends_roles(pg: Postgres, ctl: Ctl) -> None:
    with pg.connect("postgres") as db:
        db.execute("ALTER ROLE soloprint_courier SUPERUSER BYPASSRLS INHERIT")
        ctl.run("bootstrap", user="postgres")
        row = db.execute(
            "SELECT rolsuper, rolbypassrls, rolinherit FROM pg_roles WHERE rolname = 'soloprint_courier'"
        ).fetchone()
    assert row == (False, False, False)


def test_bootstrap_needs_a_superuser(ctl: Ctl) -> None:
    done = ctl.run("bootstrap", expect=1)
    assert "superuser" in done.stderr


def test_bootstrap_makes_the_database_it_is_told(pg: Postgres, ctl: Ctl) -> None:
    ctl.run("bootstrap", "--database", "other", user="postgres")
    with pg.connect("other") as db:
        row = db.execute(
            "SELECT datdba::regrole::text, datcollate, datctype FROM pg_database WHERE datname = current_database()"
        ).fetchone()
    assert row == ("soloprint_owner", "C", "C.UTF-8")
    assert "letters" in ctl.run("bootstrap", "--database", 'x"; DROP', user="postgres", expect=1).stderr


def test_migrate_is_repeatable_and_tells_where_it_is(ctl: Ctl) -> None:
    assert "up-to-date" in ctl.run("migrate").stdout
    last = (ROOT / "schema/db/sqitch.plan").read_text().strip().splitlines()[-1].split()[0]
    assert last in ctl.run("migrate", "--status").stdout


def test_migrate_makes_nothing_that_a_login_role_owns(ctl: Ctl) -> None:
    with ctl.connect() as db:
        rows = db.execute(
            "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'sqitch'::regnamespace"
        ).fetchall()
    assert rows == [("soloprint_owner",)]


def test_migrate_says_why_it_cannot(pg: Postgres, ctl: Ctl, tmp_path: Path) -> None:
    assert "--schema" in ctl.run("migrate", "--schema", str(tmp_path), expect=1).stderr
    assert "soloprint_migrator" in ctl.run("migrate", user="soloprint_api", expect=1).stderr
    assert "No such file" in ctl.run("migrate", "--db", f"host={tmp_path}", expect=1).stderr


def test_a_conninfo_may_be_a_uri(pg: Postgres, ctl: Ctl) -> None:
    uri = f"postgresql:///{ctl.database}?host={pg.folder}&user=soloprint_migrator"
    assert "up-to-date" in ctl.run("migrate", "--db", uri).stdout


# Organisations


def test_org_create_makes_an_owner(ctl: Ctl) -> None:
    made = ctl.json("org", "create", "Große Halle & Söhne, 2nd")
    assert made["slug"] == "gro-e-halle-s-hne-2nd"
    with ctl.connect() as db:
        row = db.execute(
            "SELECT kind, role, org_id::text FROM app.principals WHERE id = %s", (made["owner_id"],)
        ).fetchone()
    assert row == ("user", "owner", made["org_id"])
    plain = ctl.run("org", "create", "Plain", "--slug", "p").stdout.strip()
    assert re.fullmatch(r"[0-9a-f-]{36}", plain)
    assert [o["slug"] for o in ctl.json("org", "list")] == ["gro-e-halle-s-hne-2nd", "p"]


@pytest.mark.parametrize(("args", "words"), [
    (["North High"], "--slug"),
    (["Übung", "--slug", "Not A Slug"], "violates check"),
    (["…"], "slug"),
])  # fmt: skip
def test_org_create_refuses(ctl: Ctl, org: str, args: list[str], words: str) -> None:
    assert words in ctl.run("org", "create", *args, expect=1).stderr


# Keys


def test_a_key_has_its_form_and_is_stored_as_a_hash(ctl: Ctl, org: str) -> None:
    key = make_key(ctl, org)
    assert re.fullmatch(r"slp_live_[0-9A-Za-z]{49}", key)
    crc = zlib.crc32(key[:-6].encode())
    assert key[-6:] == "".join(DIGITS[crc // 62**i % 62] for i in range(5, -1, -1))
    with ctl.connect() as db:
        row = db.execute("SELECT key_hash, prefix, to_jsonb(k)::text FROM app.api_keys AS k").fetchone()
    assert row is not None
    assert row[0] == hashlib.sha256(key.encode()).digest()
    assert row[1] == key[:14]
    assert key not in row[2]


def test_a_key_opens_what_it_was_given(ctl: Ctl, org: str) -> None:
    told = begin(ctl, make_key(ctl, org, "--expires", "never"))
    assert told["capabilities"] == ALL
    assert told["expires_at"] is None
    assert (told["limit_read"], told["limit_burst"]) == (100, 20)


def test_options_of_a_key(ctl: Ctl, org: str) -> None:
    printer = "0193481c-0000-7000-8000-000000000001"
    made = ctl.json(
        "key", "create", "--org", org, "--name", 'A "quoted" name', "--capabilities", "operations.read,spool.manage",
        "--printers", printer, "--cidrs", "198.51.100.0/24,2001:db8::/32", "--expires", "12h", "--kind", "dev",
        "--rate-limits", "read=5,control=2",
    )  # fmt: skip
    assert made["name"] == 'A "quoted" name'
    assert made["capabilities"] == ["operations.read", "spool.manage"]
    assert made["printer_ids"] == [printer]
    assert made["cidrs"] == ["198.51.100.0/24", "2001:db8::/32"]
    assert made["rate_limits"] == {"read": 5, "control": 2}
    assert made["key"].startswith("slp_dev_")
    told = begin(ctl, made["key"], addr="198.51.100.7")
    assert [str(p) for p in told["printer_ids"]] == [printer]
    assert (told["limit_read"], told["limit_write"], told["limit_control"]) == (5, 30, 2)
    assert refused(ctl, made["key"], addr="192.0.2.1") == "SLP05"
    assert refused(ctl, made["key"], addr="198.51.100.7", capability="queue.manage") == "SLP04"


def test_no_printers_is_not_all_printers(ctl: Ctl, org: str) -> None:
    assert begin(ctl, make_key(ctl, org, "--printers", "none"))["printer_ids"] == []
    assert begin(ctl, make_key(ctl, org))["printer_ids"] is None


@pytest.mark.parametrize(("args", "words"), [
    (["--capabilities", "everything"], "there is no capability 'everything'"),
    (["--capabilities", "operations.read,"], "list"),
    (["--capabilities", "all", "--kind", "scim"], "--kind"),
    (["--capabilities", "all", "--kind", "root"], "--kind"),
    (["--capabilities", "all", "--expires", "soon"], "--expires"),
    (["--capabilities", "all", "--expires", "-3d"], "--expires"),
    (["--capabilities", "all", "--printers", "x'y"], "--printers"),
    (["--capabilities", "all", "--cidrs", "10.0.0.0/8,"], "--cidrs"),
    (["--capabilities", "all", "--rate-limits", "read"], "--rate-limits"),
    (["--capabilities", "all", "--rate-limits", "speed=5"], "--rate-limits"),
    (["--capabilities", "all", "--rate-limits", "read=0"], "--rate-limits"),
    (["--capabilities"], "--capabilities needs a value"),
    ([], "--capabilities is required"),
    (["--capabilities", "all", "--frobnicate"], "no option"),
    (["--capabilities", "all", "extra"], "one argument too many"),
])  # fmt: skip
def test_key_create_says_what_is_wrong(ctl: Ctl, org: str, args: list[str], words: str) -> None:
    done = ctl.run("key", "create", "--org", org, "--name", "x", *args, expect=2)
    assert words in done.stderr
    assert "usage:" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(("args", "words"), [
    (["--cidrs", "10.0.0.1/8"], "cidr"),
    (["--cidrs", "999.0.0.0/8"], "cidr"),
    (["--printers", "abc"], "uuid"),
])  # fmt: skip
def test_values_that_the_database_refuses(ctl: Ctl, org: str, args: list[str], words: str) -> None:
    done = ctl.run("key", "create", "--org", org, "--name", "x", "--capabilities", "all", *args, expect=1)
    assert words in done.stderr
    assert done.stdout == ""


def test_keys_of_an_organisation_that_is_not_there(ctl: Ctl) -> None:
    done = ctl.run("key", "create", "--org", "nope", "--name", "x", "--capabilities", "all", expect=1)
    assert "no organisation 'nope'" in done.stderr


def test_revocation(ctl: Ctl, org: str) -> None:
    key = make_key(ctl, org)
    ident = str(begin(ctl, key)["key_id"])
    ctl.run("key", "revoke", ident, "--org", org)
    assert refused(ctl, key) == "SLP03"
    assert [k["status"] for k in ctl.json("key", "list", "--org", org)] == ["revoked"]
    assert "no live key" in ctl.run("key", "revoke", ident, "--org", org, expect=1).stderr
    ctl.run("key", "revoke", "not-an-id", "--org", org, expect=2)


def test_rotation_overlaps(ctl: Ctl, org: str) -> None:
    old = make_key(ctl, org, "--rate-limits", "read=7")
    told = begin(ctl, old)
    new = ctl.json("key", "rotate", str(told["key_id"]), "--org", org, "--grace", "2h")
    assert new["rotated_from"] == str(told["key_id"])
    assert begin(ctl, old)["limit_read"] == begin(ctl, new["key"])["limit_read"] == 7
    assert [k["status"] for k in ctl.json("key", "list", "--org", org)] == ["rotating", "active"]
    with ctl.connect() as db:
        db.execute(f"ALTER DATABASE {ctl.database} SET app.clock_offset = '2 hours 1 second'")
    assert refused(ctl, old) == "SLP02"
    begin(ctl, new["key"])
    done = ctl.run("key", "rotate", str(told["key_id"]), "--org", org, expect=1)
    assert "no live key" in done.stderr


def test_a_key_is_rotated_once(ctl: Ctl, org: str) -> None:
    ident = str(begin(ctl, make_key(ctl, org))["key_id"])
    ctl.run("key", "rotate", ident, "--org", org)
    done = ctl.run("key", "rotate", ident, "--org", org, expect=1)
    assert "has been rotated" in done.stderr
    assert done.stdout == ""
    assert len(ctl.json("key", "list", "--org", org)) == 2
    assert "--grace" in ctl.run("key", "rotate", ident, "--org", org, "--grace", "x", expect=2).stderr


def test_rotating_keeps_the_term(ctl: Ctl, org: str) -> None:
    made = ctl.json("key", "create", "--org", org, "--name", "x", "--capabilities", "all", "--expires", "30d")
    new = ctl.json("key", "rotate", made["id"], "--org", org)
    with ctl.connect() as db:
        row = db.execute(
            "SELECT expires_at - created_at = '30 days' FROM app.api_keys WHERE id = %s", (new["id"],)
        ).fetchone()
    assert row == (True,)


def test_another_organisations_key_is_not_there(ctl: Ctl, org: str) -> None:
    ident = str(begin(ctl, make_key(ctl, org))["key_id"])
    ctl.run("org", "create", "Other")
    assert "no live key" in ctl.run("key", "revoke", ident, "--org", "other", expect=1).stderr
    assert "no live key" in ctl.run("key", "rotate", ident, "--org", "other", expect=1).stderr
    assert ctl.json("key", "list", "--org", "other") == []


def test_tables_for_people(ctl: Ctl, org: str) -> None:
    make_key(ctl, org)
    text = ctl.run("key", "list", "--org", org).stdout
    assert "Test" in text and "active" in text and "slp_live_" in text
    assert "north-high" in ctl.run("org", "list").stdout


# Key pairs that seal secrets


@pytest.mark.parametrize("reader", ["gateway", "courier"])
def test_seal_keys(ctl: Ctl, tmp_path: Path, reader: str) -> None:
    priv, pub = tmp_path / "private.pem", tmp_path / "public.pem"
    command = (f"{reader}-key", "create")
    assert f"the {reader}'s alone" in ctl.run(*command, str(priv), str(pub)).stderr
    assert priv.read_text().startswith("-----BEGIN PRIVATE KEY-----")
    assert pub.read_text().startswith("-----BEGIN PUBLIC KEY-----")
    assert stat.S_IMODE(priv.stat().st_mode) == 0o400
    assert stat.S_IMODE(pub.stat().st_mode) == 0o444
    was = priv.read_text()
    assert "exists" in ctl.run(*command, str(priv), str(pub), expect=1).stderr
    assert priv.read_text() == was
    pub2 = tmp_path / "no/folder"
    ctl.run(*command, str(tmp_path / "p2"), str(pub2), expect=1)
    assert not (tmp_path / "p2").exists(), "half a pair is no pair"


# Usage


@pytest.mark.parametrize("args", [[], ["bogus"], ["key"], ["key", "bogus"], ["org", "create"]])
def test_wrong_usage(ctl: Ctl, args: list[str]) -> None:
    ctl.run(*args, expect=2)


@pytest.mark.parametrize("args", [["help"], ["--help"], ["-h"]])
def test_help_names_every_command(ctl: Ctl, args: list[str]) -> None:
    text = ctl.run(*args).stdout
    for name in ("bootstrap", "migrate", "org create", "org list", "key create", "key list", "key revoke", "key rotate",
                 "gateway-key create", "courier-key create", "doctor"):  # fmt: skip
        assert f"\n  {name}" in text


def test_help_of_one_command(ctl: Ctl) -> None:
    assert "--capabilities" in ctl.run("key", "create", "--help").stdout


def test_without_a_database(ctl: Ctl) -> None:
    assert "SOLOPRINT_DB is not set" in ctl.run("org", "list", SOLOPRINT_DB="", expect=1).stderr


def test_an_empty_database(pg: Postgres, ctl: Ctl) -> None:
    ctl.run("bootstrap", "--database", "empty", user="postgres")
    done = ctl.run("org", "list", "--db", pg.conninfo("empty", "soloprint_migrator"), expect=1)
    assert "soloprintctl migrate" in done.stderr
