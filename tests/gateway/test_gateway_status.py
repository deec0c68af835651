"""From a printer's report to its row: models, deltas, whole prints, outcomes, refresh, batching."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from rig import World
from virtual_fleet.harness import wait_for

JOB = {"layers": 6, "layer_s": 30, "change_every": 3}
PRINTERS: list[dict[str, Any]] = [
    {"name": "a1", "model": "A1", "job": JOB},
    {"name": "x1c", "model": "X1C", "job": JOB},
    {"name": "p1s", "model": "P1S", "job": JOB},
    {"name": "h2d", "model": "H2D", "job": JOB},
    {"name": "mini", "model": "A1 mini", "job": JOB},
    {"name": "idle", "model": "X1C"},
    {"name": "busy", "model": "X1C", "min_interval_s": 0.02, "job": {"layers": 5000, "layer_s": 2.0}},
]
FLAGS = ("--time-scale", "60")
FULL = ("a1", "x1c", "p1s", "h2d", "mini")
CANCEL = 0x0300400C


@pytest.fixture(scope="module", autouse=True)
def gateway(world: World) -> Iterator[None]:
    running = world.start_gateway()
    world.wait_connected()
    yield
    assert running.stop() == 0


def start(world: World, printer: str, **job: Any) -> int:
    """Starts a print; the number of events there were before."""
    seen = len(world.events(printer))
    world.fleet.ctl("print", printer, job=job)
    return seen


def path(world: World, name: str, seen: int) -> list[str]:
    return [each["to"] for each in world.events(name)[seen:]]


def end(world: World, name: str) -> None:
    """Leaves the printer without a job, whatever it was doing."""
    if world.fleet.describe(name)["gcode_state"] in ("PREPARE", "RUNNING", "PAUSE"):
        world.fleet.ctl("cancel", name)


@pytest.mark.parametrize("name", FULL)
def test_a_report_reaches_the_row(world: World, name: str) -> None:
    row = wait_for(lambda: (s := world.status(name))["state"] == "idle" and s["firmware"] and s, what="row")
    record = world.fleet.describe(name)["record"]
    assert row["connection"]["state"] == "connected" and row["connection"]["reason"] is None
    nozzle, bed = row["temperatures"]["nozzles"][0], row["temperatures"]["bed"]
    assert 25 <= nozzle["actual_c"] <= 28 and nozzle["target_c"] == 0 and 25 <= bed["actual_c"] <= 28
    assert (row["temperatures"]["chamber"] is not None) == (name in ("x1c", "h2d"))
    units = row["ams"]["units"]
    assert len(units) == len(record["ams"]["ams"]) and all(len(unit["slots"]) == 4 for unit in units)
    slot, tray = units[0]["slots"][0], record["ams"]["ams"][0]["tray"][0]
    assert slot["material"] == "PLA" and slot["name"] == "PLA Matte" and slot["color"] == "#DE4343FF"
    assert slot["remaining_pct"] == tray["remain"] and slot["filament_id"] == "GFA01" and slot["present"]
    assert row["speed"] == {"level": "standard", "percent": 100}
    assert {"node": "chamber_light", "mode": "on"} in row["lights"]
    assert row["errors"] == [] and row["last_seen_at"] is not None
    assert row["firmware"]["version"] in (
        "01.07.00.00",
        "01.11.02.00",
        "01.08.02.00",
        "01.03.00.00",
        "01.07.02.00",
    )
    assert -70 < row["wifi"]["signal_dbm"] < -40


def test_both_nozzles_of_a_dual_printer(world: World) -> None:
    row = world.status("h2d")
    assert [each["id"] for each in row["temperatures"]["nozzles"]] == [0, 1]
    assert [each["id"] for each in row["ams"]["external"]] == [254, 255]


def test_packed_temperatures_are_unpacked(world: World) -> None:
    world.fleet.ctl("temps", "h2d", temps={"nozzle": [140, 140], "bed": [55, 55], "chamber": [40, 40]})

    def seen() -> bool:
        t = world.status("h2d")["temperatures"]
        heat = {"actual_c": 140, "target_c": 140}
        return (
            t["nozzles"][0] == {"id": 0} | heat
            and t["bed"] == {"actual_c": 55, "target_c": 55}
            and t["chamber"] == {"actual_c": 40, "target_c": 40}
        )

    wait_for(seen, what="temperatures")
    world.fleet.ctl("temps", "h2d", temps={"nozzle": [26, 0], "bed": [26, 0], "chamber": [26, 0]})


@pytest.mark.parametrize("name", FULL)
def test_a_whole_print(world: World, name: str) -> None:
    seen = start(world, name, name="cube", file="cube.gcode.3mf")
    wait_for(lambda: world.status(name)["state"] == "printing", 20, "printing")
    row = wait_for(lambda: (s := world.status(name))["job"]["layer"] == 4 and s, 20, "layer 4")
    job = row["job"]
    assert job["file"] == "cube.gcode.3mf" and job["name"] == "cube" and job["total_layers"] == 6
    assert 40 <= job["progress"] <= 70 and job["remaining_s"] in (60, 120) and job["outcome"] is None
    assert (
        row["temperatures"]["nozzles"][0]["target_c"] == 220 and row["temperatures"]["bed"]["target_c"] == 55
    )
    assert row["fans"]["part_cooling_pct"] == 100
    assert row["ams"]["active"] == {"unit": 0, "slot": 1}
    assert len(row["ams"]["units"][0]["slots"]) == 4, "a delta of one tray must not lose the others"
    row = world.wait_state(name, "finished", 20)
    assert row["job"]["progress"] == 100 and row["job"]["outcome"] == "completed" and row["job"]["layer"] == 6
    wait_for(lambda: path(world, name, seen)[-1:] == ["finished"], what="event")
    assert path(world, name, seen) in (
        ["preparing", "printing", "finished"],
        ["idle", "preparing", "printing", "finished"],
    )
    last = world.events(name)[-1]
    assert last["from"] == "printing" and last["job_outcome"] == "completed"
    assert last["printer_id"] == str(world.ids[name]) and last["name"] == name


@pytest.mark.parametrize("name", ["a1", "x1c"])
def test_a_cancel_is_told_late_but_is_no_failure(world: World, name: str) -> None:
    seen = start(world, name, layers=500)
    world.wait_state(name, "printing", 20)
    world.fleet.ctl("cancel", name)
    row = wait_for(lambda: (s := world.status(name))["job"]["outcome"] and s, 20, "outcome")
    assert row["job"]["outcome"] == "cancelled"
    ends = [each.get("job_outcome") for each in world.events(name)[seen:] if each["to"] in ("failed", "idle")]
    assert "failed" not in ends and ends[-1] == "cancelled"


def test_a_failure_without_a_cancels_code(world: World) -> None:
    seen = start(world, "p1s", layers=500)
    world.wait_state("p1s", "printing", 20)
    world.fleet.ctl("fail", "p1s", code=0x03008008)
    row = wait_for(lambda: (s := world.status("p1s"))["job"]["outcome"] and s, 25, "outcome")
    assert row["state"] == "failed" and row["job"]["outcome"] == "failed"
    assert "0300_8008" in [each["code"] for each in row["errors"]]
    assert world.events("p1s")[seen:][-1]["job_outcome"] == "failed"


def test_a_failure_that_never_says_why(world: World) -> None:
    start(world, "mini", layers=500)
    world.wait_state("mini", "printing", 20)
    world.fleet.ctl("fail", "mini", code=0)
    row = wait_for(lambda: (s := world.status("mini"))["job"]["outcome"] and s, 25, "outcome")
    assert row["job"]["outcome"] == "failed"


def test_pause_runout_resume(world: World) -> None:
    start(world, "x1c", layers=500)
    world.wait_state("x1c", "printing", 20)
    world.fleet.ctl("runout", "x1c")
    row = world.wait_state("x1c", "paused")
    wait_for(lambda: "0700_8011" in [each["code"] for each in world.status("x1c")["errors"]], what="error")
    assert row["job"]["stage"]
    world.fleet.ctl("resume", "x1c")
    world.wait_state("x1c", "printing")
    wait_for(lambda: world.status("x1c")["errors"] == [], what="no error")
    end(world, "x1c")


@pytest.mark.parametrize("name", ["a1", "h2d"])
def test_health_messages_come_and_go(world: World, name: str) -> None:
    world.fleet.ctl(
        "hms", name, entries=[{"attr": 0x05000500, "code": 0x00030007}, {"attr": 0x07002000, "code": 0x20001}]
    )
    errors = wait_for(lambda: (e := world.status(name)["errors"]) and len(e) >= 2 and e, what="errors")
    found = {each["code"]: (each["severity"], each["module"], each["source"]) for each in errors}
    assert found["0500_0500_0003_0007"] == ("common", "mainboard", "hms")
    assert found["0700_2000_0002_0001"] == ("serious", "ams", "hms")
    world.fleet.ctl("hms", name, entries=[])
    wait_for(lambda: world.status(name)["errors"] == [], what="no errors")


def test_a_spool_taken_out_leaves_an_empty_slot(world: World) -> None:
    ams = world.fleet.describe("a1")["record"]["ams"]
    full = json.loads(json.dumps(ams))
    ams["tray_exist_bits"] = "b"
    ams["ams"][0]["tray"][2] |= {"state": 9}
    world.fleet.ctl("set", "a1", fields={"ams": ams})
    wait_for(lambda: not world.status("a1")["ams"]["units"][0]["slots"][2]["present"], what="empty slot")
    slots = world.status("a1")["ams"]["units"][0]["slots"]
    assert slots[2]["material"] is None and slots[2]["color"] is None
    assert [each["present"] for each in slots] == [True, True, False, True]
    world.fleet.ctl("set", "a1", fields={"ams": full})
    wait_for(lambda: world.status("a1")["ams"]["units"][0]["slots"][2]["material"] == "PETG", what="spool")


def test_refresh_asks_for_a_full_report(world: World) -> None:
    def pushalls() -> int:
        messages = [each["message"] for each in world.fleet.ctl("requests", "idle")]
        return sum(each.get("pushing", {}).get("command") == "pushall" for each in messages)

    before = pushalls()
    assert before >= 1, "there is one at connect"
    world.db.execute("SELECT sec.request_refresh(%s)", [world.ids["idle"]])
    wait_for(lambda: pushalls() == before + 1, 5, "pushall")
    requests = world.fleet.ctl("requests", "idle")
    numbers = [str(s["sequence_id"]) for r in requests for s in r["message"].values() if isinstance(s, dict)]
    assert len(set(numbers)) == len(numbers), "each request has its own sequence_id"


def test_the_gateway_only_asks_what_is_harmless(world: World) -> None:
    """No printer gets a command from a gateway that nobody told to send one."""
    for name in FULL:
        sent = {
            (s, m[s].get("command"))
            for m in (r["message"] for r in world.fleet.ctl("requests", name))
            for s in m
        }
        assert sent <= {("info", "get_version"), ("pushing", "pushall"), ("pushing", "start")}, sent


def count_versions(world: World, name: str, seconds: float) -> tuple[int, int]:
    """How often the row was written, and how many reports the printer sent, within some seconds."""
    version, reports = world.status(name)["version"], world.fleet.describe(name)["reports"]
    deadline = time.monotonic() + seconds
    wait_for(lambda: time.monotonic() > deadline, seconds + 5, "time")
    return world.status(name)["version"] - version, world.fleet.describe(name)["reports"] - reports


def test_writes_are_batched(world: World) -> None:
    start(world, "busy")
    world.wait_state("busy", "printing", 20)
    writes, reports = count_versions(world, "busy", 4)
    end(world, "busy")
    assert reports > 80, "the printer reports far oftener than four times a second"
    assert 4 <= writes <= 4 / 0.25 + 1


def test_reports_without_a_change_are_not_written(world: World) -> None:
    world.wait_state("idle", "idle")
    writes, reports = count_versions(world, "idle", 4)
    assert reports >= 10 and writes <= 1


def test_telemetry_stays_out_of_the_outbox(world: World) -> None:
    wait_for(lambda: sum(each["reports"] for each in world.fleet.ctl("list")) > 100, 30, "a hundred reports")
    rows = world.db.execute(
        "SELECT type, count(*) AS n, bool_and(capability = 'operations.read') AS read FROM app.outbox"
        " WHERE org_id = %s AND resource_type = 'printer' GROUP BY type",
        [world.org],
    ).fetchall()
    kinds = {row["type"]: row["n"] for row in rows}
    assert set(kinds) <= {"printer.created", "printer.state_changed", "printer.online", "printer.offline", "printer.error"}
    assert all(row["read"] for row in rows)
    assert sum(kinds.values()) < 100
    for name in world.ids:
        changes = world.events(name)
        assert all(each["from"] != each["to"] for each in changes)
        assert all(a["to"] == b["from"] for a, b in zip(changes, changes[1:], strict=False)), name
