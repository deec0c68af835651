"""Bambu printers by the whole gateway: operations as the API makes them, and what becomes of them."""

from __future__ import annotations

import os
from typing import Any

import pytest
from asks import Asks
from rig import World
from virtual_fleet.harness import wait_for

JOB = {"layers": 4, "layer_s": 30, "change_every": 2}
PRINTERS: list[dict[str, Any]] = [
    {"name": name, "model": model, "job": JOB, "check_files": True, "late_code_s": 1}
    for name, model in (("a1", "A1"), ("x1c", "X1C"), ("h2d", "H2D"), ("p1s", "P1S"), ("mini", "A1 mini"))
]
FLAGS = ("--time-scale", "60")


@pytest.fixture(scope="module")
def asks(world: World) -> Asks:
    world.start_gateway()
    world.wait_connected()
    return Asks(world)


def starts(world: World, name: str) -> list[dict[str, Any]]:
    sections = [each["message"].get("print", {}) for each in world.fleet.ctl("requests", name)]
    return [each for each in sections if each.get("command") in ("project_file", "gcode_file")]


def file(asks: Asks) -> Any:
    return asks.file("Benchy (final).gcode.3mf", os.urandom(700_000), "gcode_3mf")


@pytest.mark.parametrize("name", ["a1", "x1c", "h2d"])
def test_a_file_is_sent_started_and_printed(world: World, asks: Asks, name: str) -> None:
    done = asks.succeeded(asks.send(name, file(asks)), 60)
    assert done["result"]["started"] is True
    remote, task = done["result"]["remote_name"], done["result"]["task_id"]
    assert world.fleet.ctl("files", name)[remote] == 700_000 and remote.startswith("Benchy_final-")
    assert [each["task_id"] for each in starts(world, name)] == [task]
    world.wait_state(name, "finished", 60)
    wait_for(lambda: [each["state"] for each in asks.prints(name)][-1:] == ["completed"], 15, "the print")


def test_a_running_job_obeys_and_starts_nothing_else(world: World, asks: Asks) -> None:
    world.fleet.ctl("print", "mini", job={"layers": 5000})
    world.wait_state("mini", "printing", 30)
    for command, state in (("pause", "paused"), ("resume", "printing")):
        asks.succeeded(asks.command("mini", command))
        world.wait_state("mini", state)
    asks.succeeded(asks.command("mini", "light", on=False))
    asks.succeeded(asks.command("mini", "speed", level="sport"))
    asks.succeeded(asks.command("mini", "set_temperatures", nozzle_c=215, bed_c=60))
    assert starts(world, "mini") == []
    asks.succeeded(asks.command("mini", "stop"))
    wait_for(lambda: world.status("mini")["job"]["outcome"] == "cancelled", 15, "outcome")


def test_without_developer_mode_nothing_starts(world: World, asks: Asks) -> None:
    world.fleet.fault("p1s", "developer_mode_off")
    world.wait_reason("p1s", "developer_mode_off")
    assert asks.failed(asks.send("p1s", file(asks)), 40) == "refused"
    assert asks.failed(asks.command("p1s", "set_temperatures", bed_c=50), 40) == "refused"
    world.fleet.fault("p1s", "developer_mode_off", on=False)
    wait_for(lambda: world.reason("p1s")[1] is None, what="no reason")
    assert world.status("p1s")["state"] == "idle"


def test_no_room_and_no_card(world: World, asks: Asks) -> None:
    world.fleet.fault("p1s", "ftps_full")
    assert asks.failed(asks.send("p1s", file(asks)), 40) == "no_space"
    world.fleet.fault("p1s", "ftps_full", on=False)
    world.fleet.ctl("set", "p1s", fields={"sdcard": False})
    wait_for(lambda: world.status("p1s")["extra"]["storage_present"] is False, what="no storage")
    assert asks.failed(asks.send("p1s", file(asks)), 40) == "upload_refused"
    world.fleet.ctl("set", "p1s", fields={"sdcard": True})
    wait_for(lambda: world.status("p1s")["extra"]["storage_present"], what="storage")
    asks.succeeded(asks.send("p1s", file(asks), start=False), 40)


def test_a_gateway_that_dies_over_a_start_starts_nothing_twice(world: World, asks: Asks) -> None:
    name = "p1s"
    before = len(starts(world, name))
    world.fleet.fault(name, "sticky", real_s=4)
    job = asks.send(name, file(asks))
    wait_for(lambda: len(starts(world, name)) > before, 40, "the start")
    world.gateways[-1].kill()
    world.start_gateway()
    assert asks.succeeded(job, 60)["result"]["started"] is True
    assert len(starts(world, name)) == before + 1
    world.wait_state(name, "finished", 60)
    world.fleet.fault(name, "sticky", on=False)


def test_errors_come_with_words_and_a_page(world: World, asks: Asks) -> None:
    world.fleet.ctl("hms", "h2d", entries=[{"attr": 0x07002000, "code": 0x00020001}])
    errors = wait_for(lambda: world.status("h2d")["errors"], what="errors")
    assert errors[0]["code"] == "0700_2000_0002_0001" and "run out" in errors[0]["message"]
    assert errors[0]["url"].endswith("/0700_2000_0002_0001")
    world.fleet.ctl("hms", "h2d", entries=[])
