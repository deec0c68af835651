"""The schema under two sessions at once, and every statement of the programs against it."""

from __future__ import annotations

import hashlib
import sys
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest
from conftest import Ctl
from psycopg import pq
from stack import ROOT

sys.path.insert(0, str(ROOT / "schema/gen"))
import sql2c  # noqa: E402

ROLES = {"fcgi": "soloprint_api", "gateway": "soloprint_gateway", "courier": "soloprint_courier",
         "deploy/ctl": "soloprint_owner"}
STATEMENTS = [
    pytest.param(s, role, id=f"{folder}-{s.name}")
    for folder, role in ROLES.items()
    for path in sorted((ROOT / folder).glob("*.sql"))
    for s in sql2c.pages(sql2c.parse(Path(path)))[0]
]
# Not statements that can be explained.
UTILITY = ("BEGIN", "COMMIT", "ROLLBACK", "SET", "LISTEN", "NOTIFY")


@pytest.fixture(scope="module")
def schema(pg: Any, template: str) -> Ctl:
    name = "statements"
    with pg.connect("postgres") as db:
        db.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    return Ctl(pg, name)


@pytest.mark.parametrize(("statement", "role"), STATEMENTS)
def test_statement_prepares_and_is_permitted(schema: Ctl, statement: Any, role: str) -> None:
    """Names and types exist, and the role has every right that it takes: EXPLAIN checks them as running does."""
    with schema.connect() as db:
        db.execute(f"SET ROLE {role}")
        db.execute("SET search_path = pg_catalog")
        db.execute("SET plan_cache_mode = force_generic_plan")
        done = db.pgconn.prepare(b"s", statement.text.encode(), statement.oids)
        assert done.status == pq.ExecStatus.COMMAND_OK, done.error_message.decode()
        if not statement.text.upper().startswith(UTILITY):
            args = f"({', '.join(['NULL'] * len(statement.oids))})" if statement.oids else ""
            db.execute(f"EXPLAIN EXECUTE s{args}")


class World:
    """One organisation, its key, and connections that speak for it."""

    def __init__(self, ctl: Ctl) -> None:
        self.ctl = ctl
        ctl.run("org", "create", "One")
        self.key = ctl.run("key", "create", "--org", "one", "--name", "k", "--capabilities", "all").stdout.strip()

    def begin(self) -> psycopg.Connection[Any]:
        """A transaction of the API's that has passed begin_request."""
        db = self.ctl.connect("soloprint_api", autocommit=False)
        known = hashlib.sha256(self.key.encode()).digest()
        db.execute("SELECT * FROM sec.begin_request(%s, 'any', 'test', '192.0.2.1', 'r')", (known,))
        return db


@pytest.fixture
def world(ctl: Ctl) -> World:
    return World(ctl)


CLAIM = "SELECT app.idem_claim('createPrinter', 'k', 'f')"
STORE = "SELECT app.idem_store('createPrinter', 'k', 201, '{}', 'b', false)"


def test_a_second_claim_does_not_wait(world: World) -> None:
    first, second = world.begin(), world.begin()
    with first, second:
        first.execute(CLAIM)
        with pytest.raises(psycopg.Error) as caught:
            second.execute(CLAIM)
        assert caught.value.sqlstate == "SLP31"


def test_a_claim_that_failed_leaves_nothing(world: World) -> None:
    with world.begin() as first:
        first.execute(CLAIM)
        first.rollback()
    with world.begin() as second:
        second.execute(CLAIM)
        second.execute(STORE)
        second.commit()
    with world.begin() as third, pytest.raises(psycopg.Error) as caught:
        third.execute(CLAIM)
    assert caught.value.sqlstate == "SLP30"


def test_one_of_many_claims_wins(world: World) -> None:
    """However they meet: one effect; the others are told to wait or to replay."""
    outcomes: list[str] = []
    start = threading.Barrier(8)

    def attempt() -> None:
        with world.begin() as db:
            start.wait()
            try:
                db.execute(CLAIM)
                db.execute("INSERT INTO app.printers (name, protocol) VALUES ('p', 'bambu')")
                db.execute(STORE)
                db.commit()
                outcomes.append("done")
            except psycopg.Error as e:
                db.rollback()
                outcomes.append(str(e.sqlstate))

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert outcomes.count("done") == 1
    assert set(outcomes) <= {"done", "SLP30", "SLP31"}
    with world.ctl.connect() as db:
        assert db.execute("SELECT count(*) FROM app.printers").fetchone() == (1,)


def test_two_rotations_at_once(world: World) -> None:
    first, second = world.begin(), world.begin()
    retire = "UPDATE app.api_keys SET replaced_by = id WHERE id = app.key()"
    change = "UPDATE app.api_keys SET replaced_by = (SELECT app.uuid7()) WHERE id = app.key()"
    outcome: list[str] = []

    def later() -> None:
        try:
            second.execute(change)
            outcome.append("done")
        except psycopg.Error as e:
            outcome.append(str(e.sqlstate))

    with first, second:
        first.execute(retire)
        waiting = threading.Thread(target=later)
        waiting.start()
        first.commit()
        waiting.join()
    assert outcome == ["SLP23"]


def test_a_revoked_key_is_refused_from_the_next_transaction(world: World) -> None:
    with world.begin() as db:
        db.execute("UPDATE app.api_keys SET revoked_at = app.now() WHERE id = app.key()")
        db.commit()
    with pytest.raises(psycopg.Error) as caught:
        world.begin()
    assert caught.value.sqlstate == "SLP03"


def test_nothing_is_left_for_the_next_transaction(world: World) -> None:
    with world.begin() as db:
        db.execute("INSERT INTO app.printers (name, protocol) VALUES ('p', 'bambu')")
        db.commit()
        assert db.execute("SELECT count(*) FROM app.printers").fetchone() == (0,)
        assert db.execute("SELECT app.org(), app.key()").fetchone() == (None, None)


def test_printers_tell_the_gateways(world: World) -> None:
    with world.ctl.connect("soloprint_gateway") as listener, world.begin() as db:
        listener.execute("LISTEN printer_changed")
        row = db.execute(
            "INSERT INTO app.printers (name, protocol) VALUES ('p', 'bambu') RETURNING id::text"
        ).fetchone()
        assert row is not None
        db.commit()
        notes = listener.notifies(timeout=10, stop_after=1)
        assert [(n.channel, n.payload) for n in notes] == [("printer_changed", row[0])]
