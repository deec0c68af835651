"""What printers print is recorded, whoever started it: one row per job, through restarts and outages."""

from __future__ import annotations

from typing import Any

import pytest
from asks import Asks
from rig import World
from virtual_fleet.harness import wait_for

PRINTERS: list[dict[str, Any]] = [
    {"name": "bambu", "model": "P1S", "job": {"layers": 4, "layer_s": 30}},
    {"name": "klipper", "protocol": "moonraker"},
    {"name": "octo", "protocol": "octoprint"},
    {"name": "prusa", "protocol": "prusalink", "model": "MK4"},
]
FLAGS = ("--time-scale", "60")
LONG = {
    "bambu": {"layers": 5000, "layer_s": 60},
    "klipper": {"seconds": 100000},
    "octo": {"seconds": 500000},
    "prusa": {"seconds": 360000},
}
NAMES = tuple(LONG)


@pytest.fixture(scope="module")
def asks(world: World) -> Asks:
    world.start_gateway()
    world.wait_connected(timeout_s=30)
    return Asks(world)


def last(asks: Asks, name: str) -> dict[str, Any]:
    rows = asks.prints(name)
    return rows[-1] if rows else {"state": None}


def wait_last(asks: Asks, name: str, state: str, timeout_s: float = 30) -> dict[str, Any]:
    wait_for(lambda: last(asks, name)["state"] == state, timeout_s, f"a print of {name} that is {state}")
    return last(asks, name)


@pytest.mark.parametrize("name", NAMES)
def test_a_print_started_at_the_printer_is_recorded(world: World, asks: Asks, name: str) -> None:
    before = len(asks.prints(name))
    world.fleet.ctl("print", name, job=LONG[name])
    row = wait_last(asks, name, "running")
    assert (row["source"], row["operation_id"], row["file_id"]) == ("printer", None, None)
    wait_for(lambda: last(asks, name)["filename"], 10, "its file's name")
    assert row["ended_at"] is None and len(asks.prints(name)) == before + 1
    status = world.db.execute(
        "SELECT print_id FROM app.printer_status WHERE printer_id = %s", [world.ids[name]]
    ).fetchone()
    assert status is not None and status["print_id"] == row["id"]


def test_another_gateway_goes_on_with_it(world: World, asks: Asks) -> None:
    before = {name: asks.prints(name) for name in NAMES}
    world.gateways[-1].kill()
    world.start_gateway()
    seen = {name: world.status(name)["last_seen_at"] for name in NAMES}
    for name in NAMES:
        wait_for(lambda: world.status(name)["last_seen_at"] > seen[name], 30, f"a report of {name}")  # noqa: B023
        rows = asks.prints(name)
        assert [row["id"] for row in rows] == [row["id"] for row in before[name]]
        assert rows[-1]["state"] == "running"


@pytest.mark.parametrize("name", NAMES)
def test_a_cancelled_print_is_told_from_a_failed_one(world: World, asks: Asks, name: str) -> None:
    running = last(asks, name)["id"]
    world.fleet.ctl("cancel", name)
    row = wait_last(asks, name, "cancelled")
    assert row["id"] == running and row["ended_at"] > row["started_at"]
    status = world.db.execute(
        "SELECT print_id FROM app.printer_status WHERE printer_id = %s", [world.ids[name]]
    ).fetchone()
    assert status is not None and status["print_id"] is None


def test_a_job_that_took_another_ones_place_unseen(world: World, asks: Asks) -> None:
    name = "bambu"
    world.fleet.ctl("print", name, job=LONG[name] | {"name": "first"})
    first = wait_last(asks, name, "running")
    wait_for(lambda: last(asks, name)["name"] == "first", 10, "its name")
    world.gateways[-1].stop()
    world.fleet.ctl("cancel", name)
    world.fleet.ctl("print", name, job=LONG[name] | {"name": "second"})
    world.start_gateway()
    wait_for(lambda: last(asks, name)["name"] == "second", 30, "the second job")
    rows = asks.prints(name)
    assert rows[-2]["id"] == first["id"] and rows[-2]["state"] == "unknown"
    assert rows[-1]["state"] == "running"


def test_a_print_that_was_sent_says_so(world: World, asks: Asks) -> None:
    name = "octo"
    world.wait_connected(name, timeout_s=30)
    file = asks.file("boat.gcode", b"G28\n" * 1000)
    job = asks.send(name, file)
    asks.succeeded(job, 40)
    row = wait_last(asks, name, "running")
    assert (row["source"], row["operation_id"], row["file_id"]) == ("send", job, file)
