"""What happened to printers stands in their history, once, whatever becomes of the connection that brings it there."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from typing import Any

from rig import BUILD, Gateway, World
from virtual_fleet.harness import wait_for

PRINTERS: list[dict[str, Any]] = [
    {"name": "a1", "model": "A1", "job": {"layers": 1000, "layer_s": 10}},
    {"name": "x1c", "model": "X1C"},
    {"name": "p1s", "model": "P1S"},
]
FLAGS = ("--time-scale", "20")
NAMES = [each["name"] for each in PRINTERS]
ATTR, CODE = 0x03000100, 0x00010007
HMS = "0300_0100_0001_0007"
WRITER = "SELECT pid, wait_event FROM pg_stat_activity WHERE usename = 'soloprint_gateway' AND query LIKE 'COPY%'"


def errors(world: World, name: str) -> list[tuple[str, bool]]:
    return [(row["code"], row["active"]) for row in world.history(name, "error")]


def show(world: World, name: str, there: bool) -> None:
    world.fleet.ctl("hms", name, entries=[{"attr": ATTR, "code": CODE}] if there else [])
    wait_for(lambda: bool(world.status(name)["errors"]) == there, 20, f"errors of {name}: {there}")


def told(world: World, name: str, there: bool) -> int:
    """Shows or clears an error; how many rows there are once history has it."""
    show(world, name, there)
    wait_for(lambda: (errors(world, name) or [(HMS, False)])[-1] == (HMS, there), 20, f"history of {name}: {there}")
    return len(errors(world, name))


def test_states_errors_and_connections(world: World, gateway: Gateway) -> None:
    world.wait_state("a1", "idle")
    world.fleet.ctl("print", "a1")
    world.wait_state("a1", "printing", 30)
    wait_for(lambda: world.history("a1", "state") == states(world, "a1"), 5, "the same states as the events'")
    assert [row["to"] for row in world.history("a1", "state")][-1] == "printing"
    show(world, "x1c", True)
    wait_for(lambda: errors(world, "x1c") == [(HMS, True)], 5, "an error that appeared")
    assert world.history("x1c", "error")[0]["severity"] in ("fatal", "serious", "common", "info")
    show(world, "x1c", False)
    wait_for(lambda: errors(world, "x1c") == [(HMS, True), (HMS, False)], 5, "an error that went")
    world.fleet.fault("p1s", "drop")
    wait_for(lambda: world.history("p1s", "connection")[-1]["reason"] == "connection_lost", 20, "a loss")
    world.wait_connected("p1s", timeout_s=20)
    wait_for(lambda: world.history("p1s", "connection")[-1] == {"state": "connected", "reason": None}, 5, "its end")


def states(world: World, name: str) -> list[dict[str, Any]]:
    """What the events say of its states, as history has it."""
    told = world.events(name)
    return [{"from": e["from"], "to": e["to"], "outcome": e.get("job_outcome")} for e in told]


def test_a_lost_connection_costs_no_row(world: World, gateway: Gateway) -> None:
    seen = told(world, "x1c", False)
    row = world.db.execute(WRITER).fetchone()
    assert row is not None
    world.db.execute("SELECT pg_terminate_backend(%s)", [row["pid"]])
    show(world, "x1c", True)
    show(world, "x1c", False)
    wait_for(lambda: errors(world, "x1c")[seen:] == [(HMS, True), (HMS, False)], 15, "both rows, once")


def test_a_batch_whose_fate_is_unknown_is_there_once(world: World, gateway: Gateway) -> None:
    """The server commits it and goes before it says so: its commit waits for a standby that does not exist."""
    for _ in range(5):  # it may be faster than we are
        told(world, "x1c", False)
        if cut_off_commit(world):
            break
    else:
        raise AssertionError("every batch was faster")
    wait_for(lambda: "duplicate key" in gateway.log_path.read_text(), 15, "its second attempt")
    show(world, "x1c", False)
    wait_for(lambda: errors(world, "x1c")[-1:] == [(HMS, False)], 10, "what comes after")
    rows = errors(world, "x1c")
    assert all(a != b for a, b in zip(rows, rows[1:], strict=False)), rows
    assert "rows of history were refused" not in gateway.log_path.read_text()


def cut_off_commit(world: World) -> bool:
    """Ends the writer's connection while its commit, done already, waits. False: there was no such moment."""
    seen = len(errors(world, "x1c"))
    show(world, "x1c", True)
    set_standby(world, "nobody")

    def caught() -> int:
        waits = [row["pid"] for row in world.db.execute(WRITER) if row["wait_event"] == "SyncRep"]
        return waits[0] if waits else -(len(errors(world, "x1c")) > seen)

    try:
        pid = wait_for(caught, 15, "a commit that waits", 0.01)
        if pid > 0:
            world.db.execute("SELECT pg_terminate_backend(%s)", [pid])
        return pid > 0
    finally:
        set_standby(world, "")


def set_standby(world: World, name: str) -> None:
    world.db.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
    world.db.execute("SELECT pg_reload_conf()")


def test_history_without_the_database(world: World, gateway: Gateway) -> None:
    """It is away for less than a lease: what happened meanwhile is told after."""
    seen = told(world, "x1c", False)
    world.postgres.stop("immediate")
    reports = world.fleet.describe("x1c")["reports"]
    world.fleet.ctl("hms", "x1c", entries=[{"attr": ATTR, "code": CODE}])
    wait_for(lambda: world.fleet.describe("x1c")["reports"] > reports, 5, "a report meanwhile", 0.02)
    world.postgres.start()
    world.reconnect()
    wait_for(lambda: errors(world, "x1c")[seen:] == [(HMS, True)], 20, "the row of the time without it")
    show(world, "x1c", False)
    assert gateway.alive


def test_errors_that_were_there_before_are_no_news_to_a_new_gateway(world: World, gateway: Gateway) -> None:
    told(world, "x1c", False)
    seen = told(world, "x1c", True)
    assert gateway.stop() == 0
    wait_for(lambda: world.history("x1c", "connection")[-1]["reason"] == "no_gateway", 5, "the goodbye's row")
    second = world.start_gateway()
    world.wait_connected()
    show(world, "x1c", False)
    wait_for(lambda: errors(world, "x1c")[seen:], 5, "a row")
    assert errors(world, "x1c")[seen:] == [(HMS, False)], "only that it went"
    assert second.alive


def test_a_gateway_that_lost_its_leases_adds_nothing(world: World, gateway: Gateway) -> None:
    sleeper = next(each for each in world.gateways if each.alive)
    row = world.db.execute("SELECT id FROM sec.gateways ORDER BY heartbeat_at DESC LIMIT 1").fetchone()
    assert row is not None
    os.kill(sleeper.process.pid, signal.SIGSTOP)
    try:
        other = world.start_gateway()
        left = "SELECT count(*) AS n FROM sec.printer_index WHERE org_id = %s AND gateway_id = %s"
        wait_for(lambda: world.db.execute(left, [world.org, row["id"]]).fetchone()["n"] == 0, 20, "take-over")  # type: ignore[index]
        wait_for(lambda: all(each["sessions"] == 1 for each in world.fleet.ctl("list")), 15, "sessions")
        world.wait_connected()
        woken = world.db.execute("SELECT now() AS at").fetchone()
        assert woken is not None
    finally:
        os.kill(sleeper.process.pid, signal.SIGCONT)
    wait_for(lambda: "leases ran out" in sleeper.log_path.read_text(), 15, "the sleeper notices")
    # Its own connections were broken off by the printers, of which it must not tell.
    told(world, "x1c", True)
    told(world, "x1c", False)
    query = "SELECT detail FROM app.printer_history WHERE org_id = %s AND kind = 'connection' AND at > %s"
    rows = [row["detail"] for row in world.db.execute(query, [world.org, woken["at"]])]
    assert not [row for row in rows if row["reason"] == "connection_lost"], rows
    assert other.stop() == 0


def test_what_a_lost_lease_kept_from_being_written_is_no_history(world: World) -> None:
    """The printer is another's when the error comes: the row is refused, and only who holds it next tells of it."""
    for gateway in world.gateways:
        if gateway.alive:
            assert gateway.stop() == 0
    world.start_gateway()
    world.wait_connected()
    seen = told(world, "x1c", False)
    other = uuid.uuid4()
    world.db.execute(
        "INSERT INTO sec.gateways (id, name, started_at, heartbeat_at) VALUES (%s, 'x', now(), now())", [other]
    )
    world.db.execute(
        "UPDATE sec.printer_index SET gateway_id = %s, fencing = fencing + 1, expires_at = now() + interval '3 s'"
        " WHERE printer_id = %s",
        [other, world.ids["x1c"]],
    )
    world.fleet.ctl("hms", "x1c", entries=[{"attr": ATTR, "code": CODE}])
    wait_for(lambda: world.fleet.describe("x1c")["sessions"] == 0, 10, "end of the session")
    assert not world.status("x1c")["errors"]
    world.db.execute("DELETE FROM sec.gateways WHERE id = %s", [other])
    wait_for(lambda: world.status("x1c")["errors"], 30, "the error, from who holds it again")
    told(world, "x1c", False)
    assert errors(world, "x1c")[seen:] == [(HMS, True), (HMS, False)]


def test_the_courier_keeps_the_months(world: World) -> None:
    """One month is missing, another is old: the timer sees to both."""
    db = world.db
    old = "sec.printer_history_" + time.strftime("%Y_%m", time.gmtime(time.time() - 200 * 86400))
    begin = time.strftime("%Y-%m-01", time.gmtime(time.time() - 200 * 86400))
    db.execute(f"CREATE TABLE {old} PARTITION OF sec.printer_history FOR VALUES FROM ('{begin}')"
               f" TO ('{begin}'::timestamptz + interval '1 month')")  # fmt: skip
    db.execute(f"ALTER TABLE {old} OWNER TO soloprint_owner")
    last = db.execute(
        "SELECT max(i.inhrelid::regclass::text) AS t FROM pg_inherits AS i WHERE i.inhparent = 'sec.printer_history'::regclass"
    ).fetchone()
    assert last is not None
    db.execute(f"DROP TABLE {last['t']}")
    db.execute("UPDATE sec.timers SET next_at = now() WHERE name = 'printer_history'")
    environment = {"PATH": os.environ["PATH"], "SOLOPRINT_DB": world.postgres.conninfo("soloprint_courier")}
    courier = subprocess.Popen([str(BUILD / "bin" / "soloprint-courier")], env=environment, stderr=subprocess.DEVNULL)
    try:
        there = "SELECT to_regclass(%s) IS NULL AND to_regclass(%s) IS NOT NULL AS yes"
        wait_for(lambda: db.execute(there, [old, last["t"]]).fetchone()["yes"], 15, "months as they should be")  # type: ignore[index]
    finally:
        courier.terminate()
        courier.wait(15)
