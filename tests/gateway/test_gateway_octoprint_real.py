"""The OctoPrint driver against a real OctoPrint with its Virtual Printer."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from asks import Asks
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


def test_a_file_is_sent_and_printed(world: World, octo: RealOctoPrint) -> None:
    asks = Asks(world)
    file = asks.file("Gehäuse (v2).gcode", slow_gcode(20))
    row = asks.succeeded(asks.send("octo", file), 40)
    assert row["result"]["remote_name"] == "SoLoPrint/Gehäuse (v2).gcode" in octo.files()
    assert (octo.folder / "uploads" / row["result"]["remote_name"]).read_bytes() == slow_gcode(20)
    status = world.wait_state("octo", "printing")
    assert status["job"]["file"] == row["result"]["remote_name"]
    assert asks.prints("octo")[-1]["operation_id"] == row["id"]
    asks.succeeded(asks.command("octo", "pause"))
    world.wait_state("octo", "paused", 5)
    assert octo.state() == "Paused"
    asks.succeeded(asks.command("octo", "resume"))
    asks.succeeded(asks.command("octo", "speed", percent=130))
    wait_for(lambda: (world.status("octo")["speed"] or {}).get("percent") == 130, 5, "speed")
    asks.succeeded(asks.command("octo", "stop"))
    assert octo.state() == "Operational"
    wait_for(lambda: asks.prints("octo")[-1]["state"] == "cancelled", 5, "the print's end")


def test_a_file_is_sent_and_left_there(world: World, octo: RealOctoPrint) -> None:
    asks = Asks(world)
    row = asks.succeeded(asks.send("octo", asks.file("later.gcode", slow_gcode(1)), start=False))
    assert row["result"]["started"] is False and "SoLoPrint/later.gcode" in octo.files()
    assert octo.state() == "Operational"


def targets(world: World) -> tuple[float, float]:
    temperatures = world.status("octo")["temperatures"]
    return temperatures["nozzles"][0]["target_c"], temperatures["bed"]["target_c"]


def test_commands_of_a_printer_at_rest(world: World, octo: RealOctoPrint) -> None:
    asks = Asks(world)
    asks.succeeded(asks.command("octo", "set_temperatures", nozzle_c=60, bed_c=42))
    wait_for(lambda: targets(world) == (60, 42), 5, "targets")
    asks.succeeded(asks.command("octo", "set_temperatures", nozzle_c=0, bed_c=0))
    assert asks.failed(asks.command("octo", "set_temperatures", chamber_c=40)) == "unsupported_by_printer"
    asks.succeeded(asks.command("octo", "fans", part_cooling_pct=30))
    wait_for(lambda: (world.status("octo")["fans"] or {}).get("part_cooling_pct") == 30, 5, "fan")
    asks.succeeded(asks.command("octo", "fans", part_cooling_pct=0))
    assert asks.failed(asks.command("octo", "fans", chamber_pct=30)) == "unsupported_by_printer"
    asks.succeeded(asks.command("octo", "home", axes=["x", "y"]))
    asks.succeeded(asks.command("octo", "jog", x_mm=10.5, z_mm=2, feed_mm_min=3000))
    asks.succeeded(asks.command("octo", "gcode", lines=["M106 S255", "G4 P10"]))
    wait_for(lambda: (world.status("octo")["fans"] or {}).get("part_cooling_pct") == 100, 10, "the fan as G-code sets it")
    assert asks.failed(asks.command("octo", "pause")) == "printer_state_conflict"


def test_a_printer_is_connected_anew(world: World, octo: RealOctoPrint) -> None:
    asks = Asks(world)
    asks.succeeded(asks.command("octo", "firmware_restart"), 40)
    world.wait_state("octo", "idle")


def test_keys_with_fewer_rights(world: World, octo: RealOctoPrint) -> None:
    asks = Asks(world)
    for name in ("narrow", "onlooker"):
        add(world, octo, name, secret=octo.keys[name])
        world.wait_connected(name)
        world.wait_state(name, "idle")
    asks.succeeded(asks.command("narrow", "fans", part_cooling_pct=60))
    wait_for(lambda: (world.status("narrow")["fans"] or {}).get("part_cooling_pct") == 60, 5, "fan")
    asks.succeeded(asks.send("narrow", asks.file("narrow.gcode", slow_gcode(60))), 30)
    world.wait_state("onlooker", "printing")
    assert asks.failed(asks.command("onlooker", "stop")) == "refused"
    asks.succeeded(asks.command("narrow", "stop"))
    world.wait_state("onlooker", "failed")
    for name in ("narrow", "onlooker"):
        world.update(name, enabled=False)
        world.wait_reason(name, "disabled")


def test_emergency_stop_during_a_print(world: World, octo: RealOctoPrint) -> None:
    asks = Asks(world)
    select_and_print(octo, "elsewhere.gcode")
    world.wait_state("octo", "printing")
    asks.succeeded(asks.command("octo", "emergency_stop"))
    status = world.wait_state("octo", "error")
    assert status["job"]["outcome"] == "failed"
    assert [each["code"] for each in status["errors"]] == ["octoprint_error"]
    assert world.reason("octo")[1] == "printer_not_connected"
    wait_for(lambda: asks.prints("octo")[-1]["state"] == "failed", 5, "the print's end")
    asks.succeeded(asks.command("octo", "clear_error"))
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
