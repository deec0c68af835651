"""OctoPrints that misbehave: starting, without a websocket, in another language, cut off, unplugged; each on its own."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from asks import Asks
from rig import Gateway, World
from virtual_fleet.harness import wait_for

PRINTERS: list[dict[str, Any]] = [
    {"name": name, "protocol": "octoprint", "job": {"seconds": 300}}
    for name in ("starting", "proxied", "polled", "polled2", "session", "language", "unplugged", "switched", "cut", "slow",
                 "full", "deaf", "panel", "stranger", "two")
]  # fmt: skip
PRINTERS[-1] |= {"tools": 2, "chamber": True}
FLAGS = ("--time-scale", "30")
LONG = {"seconds": 100000}


@pytest.fixture(scope="module", autouse=True)
def gateway(world: World) -> Iterator[Gateway]:
    world.fleet.fault("starting", "starting")
    world.fleet.fault("proxied", "unavailable")
    for name in ("polled", "polled2"):
        world.fleet.fault(name, "no_websocket")
    world.fleet.fault("language", "localised")
    running = world.start_gateway()
    world.wait_connected("polled", "polled2", "session", "language", "cut", "panel", "two")
    yield running
    assert running.stop() == 0
    log = running.log_path.read_text()
    for row in world.fleet.printers:
        assert row["access_code"] not in log, "a key in the log"


@pytest.fixture
def asks(world: World) -> Asks:
    return Asks(world)


def requests(world: World, name: str, path: str, method: str = "") -> list[dict[str, Any]]:
    return [
        each
        for each in world.fleet.ctl("requests", name, path=path)
        if each["path"] == path and method in ("", each["method"])
    ]


def listens(world: World, name: str) -> bool:
    return world.fleet.describe(name)["listeners"] == [True]


def outcome(world: World, name: str, wanted: str) -> dict[str, Any]:
    wait_for(lambda: (world.status(name)["job"] or {}).get("outcome") == wanted, 20, f"outcome of {name}")
    return world.status(name)


def begin(world: World, name: str, **job: Any) -> None:
    assert world.fleet.ctl("print", name, job=job or LONG)
    world.wait_state(name, "printing")


# --- connection --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "fault"), [("starting", "starting"), ("proxied", "unavailable")])
def test_it_is_waited_for_while_it_starts(world: World, name: str, fault: str) -> None:
    connection = world.wait_reason(name, "starting")
    assert connection["state"] == "disconnected" and "starting" in connection["message"]
    world.fleet.fault(name, fault, on=False)
    world.wait_connected(name, timeout_s=45)
    world.wait_state(name, "idle")


def test_a_wrong_key_is_not_hammered(world: World) -> None:
    world.wait_connected("stranger")
    world.fleet.fault("stranger", "wrong_code")
    world.fleet.fault("stranger", "drop")
    world.wait_reason("stranger", "wrong_access_code")
    tried = len(requests(world, "stranger", "/api/version"))
    accepted = world.fleet.describe("two")["accepted"]
    world.fleet.fault("two", "unreachable")
    world.wait_reason("two", "connection_lost")
    world.fleet.fault("two", "unreachable", on=False)
    world.wait_connected("two", timeout_s=30)
    assert world.fleet.describe("two")["accepted"] > accepted
    assert len(requests(world, "stranger", "/api/version")) == tried


def test_the_websocket_saves_questions(world: World) -> None:
    wait_for(lambda: listens(world, "panel"), 20, "websocket")
    before = len(requests(world, "panel", "/api/printer"))
    begin(world, "panel", seconds=240)
    world.wait_state("panel", "finished", 30)
    assert len(requests(world, "panel", "/api/printer")) <= before + 1


def test_a_session_that_ended_is_renewed(world: World) -> None:
    wait_for(lambda: listens(world, "session"), 20, "websocket")
    logins = world.fleet.describe("session")["logins"]
    world.fleet.ctl("reauth", "session")
    wait_for(lambda: world.fleet.describe("session")["logins"] == logins + 1, 10, "login")
    wait_for(lambda: listens(world, "session"), 10, "websocket")
    begin(world, "session")
    assert world.status("session")["job"]["started_at"]


# --- states ------------------------------------------------------------------------------------------


def test_texts_in_another_language(world: World) -> None:
    world.wait_state("language", "idle")
    begin(world, "language", seconds=240)
    world.fleet.ctl("pause", "language")
    world.wait_state("language", "paused")
    world.fleet.ctl("resume", "language")
    world.wait_state("language", "finished", 30)


def test_without_a_websocket_ends_are_guessed(world: World) -> None:
    for name in ("polled", "polled2"):
        assert world.fleet.describe(name)["listeners"] == []
    begin(world, "polled", seconds=240)
    begin(world, "polled2")
    world.fleet.ctl("cancel", "polled2")
    assert outcome(world, "polled2", "cancelled")["state"] == "failed"
    row = outcome(world, "polled", "completed")
    assert row["state"] == "finished" and row["job"]["progress"] == 100
    begin(world, "polled2")
    world.fleet.ctl("fail", "polled2")
    assert outcome(world, "polled2", "failed")["state"] == "error"


def test_polls_leave_the_server_in_peace(world: World) -> None:
    wait_for(lambda: len(requests(world, "polled", "/api/printer")) > 4, 20, "polls")
    times = [each["at"] for each in requests(world, "polled", "/api/printer")]
    gaps = sorted(b - a for a, b in itertools.pairwise(times))
    assert gaps[len(gaps) // 2] > 1.9
    wait_for(lambda: (world.status("polled")["link"] or {}).get("round_trip_ms"), 40, "round trip")


def test_a_printer_that_is_unplugged(world: World, asks: Asks) -> None:
    begin(world, "unplugged")
    world.fleet.fault("unplugged", "lost_printer", message="SerialException: gone")
    row = world.wait_state("unplugged", "error")
    assert world.reason("unplugged") == ("connected", "printer_not_connected")
    assert row["job"]["outcome"] == "failed" and row["temperatures"] is None
    assert [each["module"] for each in row["errors"]] == ["octoprint"]
    wait_for(lambda: asks.prints("unplugged")[-1]["state"] == "failed", 5, "the print's end")
    asks.succeeded(asks.command("unplugged", "clear_error"))
    row = world.wait_state("unplugged", "idle")
    assert row["errors"] == [] and row["job"] is None
    assert world.reason("unplugged") == ("connected", None)


def test_a_printer_that_is_disconnected_by_somebody(world: World, asks: Asks) -> None:
    begin(world, "switched")
    world.fleet.ctl("disconnect", "switched")
    row = world.wait_state("switched", "offline")
    assert world.reason("switched")[1] == "printer_not_connected" and row["errors"] == []
    assert asks.failed(asks.send("switched", asks.file("idle.gcode", gcode(100)))) == "refused"
    assert requests(world, "switched", "/api/files/local/SoLoPrint/idle.gcode") == []
    world.fleet.ctl("connect", "switched")
    world.wait_state("switched", "idle")
    wait_for(lambda: asks.prints("switched")[-1]["state"] == "failed", 5, "the print's end")


def test_two_nozzles_and_a_chamber(world: World, asks: Asks) -> None:
    world.wait_state("two", "idle")
    asks.succeeded(asks.command("two", "set_temperatures", nozzle=1, nozzle_c=200, chamber_c=50))
    wait_for(lambda: world.status("two")["temperatures"]["chamber"]["target_c"] == 50, 5, "target")
    nozzles = world.status("two")["temperatures"]["nozzles"]
    assert [(each["id"], each["target_c"]) for each in nozzles] == [(0, 0), (1, 200)]


# --- files -------------------------------------------------------------------------------------------


def gcode(size: int) -> bytes:
    return b"; " + uuid.uuid4().hex.encode() + b"\n" + b"G1 X1\n" * (size // 6)


def test_an_upload_that_is_cut_is_repeated(world: World, asks: Asks) -> None:
    world.fleet.fault("cut", "cut_upload", bytes=100000, times=2)
    job = asks.send("cut", asks.file("cut.gcode", gcode(3000000)))
    asks.succeeded(job, 60)
    assert world.fleet.describe("cut")["partials"] == 2
    assert world.fleet.describe("cut")["file"]["path"] == "SoLoPrint/cut.gcode"
    assert len(requests(world, "cut", "/api/files/local/SoLoPrint/cut.gcode", "POST")) == 1
    wait_for(lambda: asks.prints("cut"), 5, "the print")
    assert asks.prints("cut")[-1]["operation_id"] == job and asks.prints("cut")[-1]["source"] == "send"


def test_an_upload_that_is_cut_each_time_fails(world: World, asks: Asks) -> None:
    world.wait_connected("full")
    world.fleet.fault("full", "cut_upload", bytes=1000, times=100)
    assert asks.failed(asks.send("full", asks.file("never.gcode", gcode(3000000))), 90) == "upload_failed"
    assert world.fleet.describe("full")["partials"] >= 3 and world.fleet.describe("full")["files"] == {}
    world.fleet.fault("full", "cut_upload", on=False)


def test_no_room(world: World, asks: Asks) -> None:
    world.wait_connected("full")
    world.fleet.fault("full", "no_space")
    assert asks.failed(asks.send("full", asks.file("big.gcode", gcode(1000)))) == "no_space"
    world.fleet.fault("full", "no_space", on=False)


def test_an_upload_that_is_given_up(world: World, asks: Asks) -> None:
    world.wait_connected("slow")
    world.fleet.fault("slow", "slow_upload", bytes_s=2000000)
    job = asks.send("slow", asks.file("slow.gcode", gcode(40000000)))
    wait_for(lambda: asks.job(job)["progress"], 20, "progress")
    asks.cancel(job)
    assert asks.wait(job)["state"] == "cancelled"
    wait_for(lambda: world.fleet.describe("slow")["partials"] == 1, 30, "the end of the upload")
    assert world.fleet.describe("slow")["files"] == {}
    world.wait_state("slow", "idle")


def test_what_octoprint_cannot_print_is_not_sent(world: World, asks: Asks) -> None:
    before = len(requests(world, "panel", "/api/files/local"))
    file = asks.file("plate.gcode.3mf", gcode(100), kind="gcode_3mf")
    row = asks.wait(asks.send("panel", file))
    assert row["error"]["code"] == "upload_refused" and ".gcode" in row["error"]["message"]
    assert len(requests(world, "panel", "/api/files/local")) == before


# --- answers that are lost ---------------------------------------------------------------------------


def test_a_start_whose_answer_is_lost_is_seen(world: World, asks: Asks) -> None:
    world.wait_connected("deaf")
    row = asks.succeeded(asks.send("deaf", asks.file("deaf.gcode", gcode(1000)), start=False), 30)
    assert row["result"]["remote_name"] == "SoLoPrint/deaf.gcode"
    world.fleet.fault("deaf", "lost_answer")
    asks.succeeded(asks.command("deaf", "set_temperatures", bed_c=60), 40)
    assert asks.failed(asks.command("deaf", "home")) == "outcome_unknown"
    assert len(requests(world, "deaf", "/api/printer/printhead")) == 1
    world.fleet.fault("deaf", "lost_answer", on=False)


def test_a_print_of_the_same_file_is_another_job(world: World, asks: Asks) -> None:
    """Begun at the printer itself after ours: its print is not ours."""
    world.wait_state("panel", "finished", 30)
    job = asks.send("panel", asks.file("same.gcode", gcode(1000)))
    asks.succeeded(job, 30)
    world.wait_state("panel", "printing")
    world.fleet.ctl("cancel", "panel")
    outcome(world, "panel", "cancelled")
    assert world.fleet.ctl("print", "panel", file="SoLoPrint/same.gcode", job=LONG)
    world.wait_state("panel", "printing")
    wait_for(lambda: len(asks.prints("panel")) >= 3, 10, "another print")
    assert [each["operation_id"] for each in asks.prints("panel")][-2:] == [job, None]
    assert asks.prints("panel")[-1]["source"] == "printer"
