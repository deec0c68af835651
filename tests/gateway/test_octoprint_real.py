"""The OctoPrint driver against a real OctoPrint with its Virtual Printer."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from real_octoprint import MISSING, RealOctoPrint, available, slow_gcode
from rig import Gateway, World
from virtual_fleet.harness import wait_for

pytestmark = pytest.mark.skipif(not available(), reason=MISSING)
PRINTERS: list[dict[str, Any]] = [{"name": "bystander", "model": "A1"}]


@pytest.fixture(scope="module")
def octo() -> Iterator[RealOctoPrint]:
    with RealOctoPrint() as running:
        yield running


def add(world: World, octo: RealOctoPrint, name: str, **other: Any) -> uuid.UUID:
    row = {"name": name, "model": "MK3S", "host": "127.0.0.1", "port": octo.port, "access_code": octo.key}
    return world.add(row | {"serial": None}, protocol="octoprint", **other)


@pytest.fixture(scope="module", autouse=True)
def gateway(world: World, octo: RealOctoPrint) -> Iterator[Gateway]:
    add(world, octo, "octo")
    running = world.start_gateway()
    yield running
    assert running.stop() == 0


def upload(octo: RealOctoPrint, name: str, seconds: float) -> None:
    folder = octo.folder / "uploads"
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(slow_gcode(seconds))


def select_and_print(octo: RealOctoPrint, name: str) -> None:
    status, answer = octo.call("POST", f"/api/files/local/{name}", {"command": "select", "print": True})
    assert status == 204, answer


def test_no_printer_behind_it(world: World, octo: RealOctoPrint) -> None:
    connection = world.wait_reason("octo", "printer_not_connected")
    assert connection["state"] == "connected" and "connection to the printer" in connection["message"]
    assert world.status("octo")["state"] == "offline"
    octo.connect_printer()
    world.wait_state("octo", "idle")
    assert world.reason("octo") == ("connected", None)


def test_what_it_reports(world: World, octo: RealOctoPrint) -> None:
    world.wait_state("octo", "idle")
    wait_for(lambda: world.status("octo")["temperatures"], 15, "temperatures")
    status = world.status("octo")
    assert status["temperatures"]["nozzles"][0]["id"] == 0
    assert 20 < status["temperatures"]["nozzles"][0]["actual_c"] < 30
    assert status["temperatures"]["chamber"] is None
    assert status["firmware"]["modules"] == [{"name": "octoprint", "version": octo.call("GET", "/api/version")[1]["server"]}]
    assert status["job"] is None and status["errors"] == [] and status["lights"] is None


def test_a_print_that_was_started_elsewhere(world: World, octo: RealOctoPrint) -> None:
    seen = len(world.events("octo"))
    upload(octo, "elsewhere.gcode", 8)
    select_and_print(octo, "elsewhere.gcode")
    job = world.wait_state("octo", "printing")["job"]
    assert job["file"] == job["name"] == "elsewhere.gcode" and job["started_at"] and job["outcome"] is None
    wait_for(lambda: (world.status("octo")["job"]["progress"] or 0) > 10, 15, "progress")
    wait_for(lambda: (world.status("octo")["fans"] or {}).get("part_cooling_pct") == 50, 5, "the fan as the print sets it")
    octo.call("POST", "/api/job", {"command": "pause", "action": "pause"})
    world.wait_state("octo", "paused")
    octo.call("POST", "/api/job", {"command": "pause", "action": "resume"})
    world.wait_state("octo", "printing")
    job = world.wait_state("octo", "finished", 30)["job"]
    assert job["outcome"] == "completed" and job["progress"] == 100
    told = [(e["to"], e.get("job_outcome")) for e in world.events("octo")[seen:] if e["to"] != "preparing"]
    assert told == [("printing", None), ("paused", None), ("printing", None), ("finished", "completed")]


def test_a_cancelled_print(world: World, octo: RealOctoPrint) -> None:
    select_and_print(octo, "elsewhere.gcode")
    world.wait_state("octo", "printing")
    wait_for(lambda: (world.status("octo")["job"]["progress"] or 0) > 10, 15, "progress")
    octo.call("POST", "/api/job", {"command": "cancel"})
    job = world.wait_state("octo", "failed")["job"]
    assert job["outcome"] == "cancelled" and 10 < job["progress"] < 100
    assert world.events("octo")[-1]["job_outcome"] == "cancelled"


def test_emergency_stop_during_a_print(world: World, octo: RealOctoPrint) -> None:
    select_and_print(octo, "elsewhere.gcode")
    world.wait_state("octo", "printing")
    octo.call("POST", "/api/printer/command", {"commands": ["M112"]})
    status = world.wait_state("octo", "error")
    assert status["job"]["outcome"] == "failed"
    assert [each["code"] for each in status["errors"]] == ["octoprint_error"]
    assert world.reason("octo")[1] == "printer_not_connected"
    octo.connect_printer()
    status = world.wait_state("octo", "idle")
    assert status["job"] is None and status["errors"] == []


def test_a_wrong_key(world: World, octo: RealOctoPrint) -> None:
    world.update("octo", secret="wrong")
    world.wait_reason("octo", "wrong_access_code")
    world.update("octo", secret=octo.key)
    world.wait_connected("octo")


def test_octoprint_restarts(world: World, octo: RealOctoPrint) -> None:
    octo.stop()
    wait_for(lambda: world.reason("octo")[1] in ("connection_lost", "unreachable"), 15, "loss")
    octo.start()
    octo.connect_printer()
    world.wait_connected("octo", timeout_s=45)
    world.wait_state("octo", "idle")
