"""What every driver owes its printers: the same cases for each protocol, against its virtual printer.

A protocol is one row of KINDS and a file test_conformance_<protocol>.py that says so; what its printer cannot do is
said here and nowhere else. The virtual printer answers
the fleet's operations print, pause, resume, cancel and fail, and its faults wrong_code, silence and garbage; the
network's faults (unreachable, drop, blackhole) are made by the fleet's relay.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from asks import Asks
from rig import World
from virtual_fleet.harness import wait_for

SILENCE_MS, SCALE = 4000, 60
BUSY = ("preparing", "printing", "paused")


@dataclasses.dataclass(frozen=True)
class Kind:
    """One protocol."""

    protocol: str
    printer: dict[str, Any]  # the row of fleet.json without its name
    short: dict[str, Any]  # a job of some seconds
    long: dict[str, Any]  # one that lasts as long as the tests
    job_name: str  # what the record calls it
    nozzle_c: tuple[float, float] = (150.0, 250.0)  # what its target is while it prints
    outcome_s: float = 15.0  # until an outcome is decided
    fail: dict[str, Any] = dataclasses.field(default_factory=dict)
    failed_state: tuple[str, ...] = ("failed",)
    cancelled_state: tuple[str, ...] = ("failed",)
    garbage: dict[str, Any] = dataclasses.field(default_factory=dict)
    garbage_least: int = 20  # how much of it is enough: one piece per question where questions are asked
    can_heat: bool = True
    can_gcode: bool = True
    unsupported: dict[str, Any] = dataclasses.field(default_factory=lambda: {"command": "fans", "chamber_pct": 30})
    file: tuple[str, str] = ("cube.gcode", "gcode")  # what it prints: name, kind
    slow_upload: dict[str, Any] = dataclasses.field(
        default_factory=lambda: {"kind": "slow_upload", "bytes_s": 1_000_000}
    )


BAMBU = Kind(
    protocol="bambu",
    printer={"model": "X1C", "check_files": True},
    unsupported={"command": "firmware_restart"},
    file=("cube.gcode.3mf", "gcode_3mf"),
    slow_upload={"kind": "ftps_stall"},
    short={"layers": 3, "layer_s": 30},
    long={"layers": 5000, "layer_s": 60},
    job_name="benchy",
)
MOONRAKER = Kind(
    protocol="moonraker",
    printer={"protocol": "moonraker", "model": "voron"},
    short={"seconds": 240, "prepare_s": 60, "layers": 8},
    long={"seconds": 300000},
    job_name="benchy",
    cancelled_state=("idle",),
)
PRUSALINK = Kind(
    protocol="prusalink",
    printer={"protocol": "prusalink", "model": "MK4", "job": {"busy_s": 300}},
    short={"seconds": 900},
    long={"seconds": 360000},
    job_name="benchy_0.4n_PLA.gcode",
    failed_state=("failed", "error"),
    can_heat=False,
    can_gcode=False,
    garbage_least=3,
)
OCTOPRINT = Kind(
    protocol="octoprint",
    printer={"protocol": "octoprint"},
    short={"seconds": 400},
    long={"seconds": 500000},
    job_name="benchy.gcode",
    failed_state=("error",),
)
KINDS = {kind.protocol: kind for kind in (BAMBU, MOONRAKER, PRUSALINK, OCTOPRINT)}
ROLES = ("job", "net", "code", "noise", "mute", "send")
FLAGS = ("--time-scale", str(SCALE))


def printers(kind: Kind) -> list[dict[str, Any]]:
    """One for each role, for PRINTERS of the protocol's file."""
    return [{"name": f"{kind.protocol}-{role}"} | kind.printer for role in ROLES]


@pytest.fixture(scope="module")
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.module.KIND


@pytest.fixture(scope="module", autouse=True)
def gateway(world: World, kind: Kind) -> Iterator[None]:
    world.fleet.fault(f"{kind.protocol}-code", "wrong_code")
    running = world.start_gateway(silence_ms=str(SILENCE_MS), patience="20")
    world.wait_connected(*[f"{kind.protocol}-{role}" for role in ROLES if role != "code"])
    yield
    assert running.stop() == 0


def path(world: World, name: str, seen: int) -> list[str]:
    """The states since there were `seen` events, repetitions left out."""
    out: list[str] = []
    for event in world.events(name)[seen:]:
        if not out or out[-1] != event["to"]:
            out.append(event["to"])
    return out


def begin(world: World, kind: Kind, name: str, job: dict[str, Any]) -> int:
    """Starts a job at the printer itself; the number of events there were before."""
    if world.status(name)["state"] in BUSY:
        world.fleet.ctl("cancel", name)
        wait_for(
            lambda: world.status(name)["state"] not in BUSY,
            20,
            "the end of the last job",
        )
    seen = len(world.events(name))
    assert world.fleet.ctl("print", name, job=job)
    return seen


def wait_status(
    world: World,
    name: str,
    probe: Callable[[dict[str, Any]], Any],
    what: str,
    timeout_s: float = 20.0,
) -> dict[str, Any]:
    wait_for(lambda: probe(world.status(name)), timeout_s, f"{what} of {name}")
    return world.status(name)


def outcome(row: dict[str, Any]) -> str | None:
    return (row["job"] or {}).get("outcome")


# --- connection --------------------------------------------------------------------------------------


def test_connects_and_reports(world: World, kind: Kind) -> None:
    name = f"{kind.protocol}-job"
    row = wait_status(world, name, lambda row: row["temperatures"], "temperatures")
    assert world.reason(name) == ("connected", None)
    assert 15 <= row["temperatures"]["nozzles"][0]["actual_c"] <= 40
    assert 15 <= row["temperatures"]["bed"]["actual_c"] <= 40


def test_wrong_credentials(world: World, kind: Kind) -> None:
    name = f"{kind.protocol}-code"
    assert world.wait_reason(name, "wrong_access_code")["state"] == "disconnected"
    assert world.status(name)["state"] == "offline"
    world.fleet.fault(name, "wrong_code", on=False)
    row = next(each for each in world.fleet.printers if each["name"] == name)
    world.update(name, secret=row["access_code"])
    world.wait_connected(name)
    wait_status(world, name, lambda row: row["state"] == "idle", "idle")


def test_gone_and_back(world: World, kind: Kind) -> None:
    """Only what happened is told: no state is made up while nobody knows."""
    name = f"{kind.protocol}-net"
    world.wait_state(name, "idle")
    seen = len(world.events(name))
    world.fleet.fault(name, "unreachable")
    wait_for(
        lambda: world.reason(name)[1] in ("connection_lost", "unreachable"),
        what="reason",
    )
    row = world.wait_state(name, "offline", 30)
    assert row["temperatures"], "the last that was known stays"
    world.fleet.fault(name, "unreachable", on=False)
    world.wait_connected(name, timeout_s=45)
    world.wait_state(name, "idle")
    assert path(world, name, seen) == ["offline", "idle"]


def test_a_lost_connection_leaves_the_job_alone(world: World, kind: Kind) -> None:
    # one that has been connected for a while: nothing has made its patience longer
    name = f"{kind.protocol}-mute"
    begin(world, kind, name, kind.long)
    row = world.wait_state(name, "printing", 30)
    seen, job = len(world.events(name)), row["job"]
    accepted = world.fleet.describe(name)["accepted"]
    world.fleet.fault(name, "drop")
    wait_for(
        lambda: world.fleet.describe(name)["accepted"] > accepted,
        30,
        "a new connection",
    )
    world.wait_connected(name, timeout_s=45)
    row = world.wait_state(name, "printing")
    assert path(world, name, seen) == []
    assert (row["job"]["name"], row["job"]["started_at"]) == (
        job["name"],
        job["started_at"],
    )
    world.fleet.ctl("cancel", name)
    wait_status(world, name, lambda row: row["state"] not in BUSY, "the job's end")


def test_garbage_ends_nothing(world: World, kind: Kind) -> None:
    """While garbage comes and after it, the process lives and fresh reports arrive in the end."""
    name = f"{kind.protocol}-noise"
    begin(world, kind, name, kind.long)
    world.wait_state(name, "printing", 30)
    world.fleet.fault(name, "garbage", **kind.garbage)
    wait_for(lambda: world.fleet.describe(name)["garbage_sent"] > kind.garbage_least, 40, "garbage")
    world.fleet.fault(name, "garbage", on=False)
    world.wait_connected(name, timeout_s=45)
    world.wait_state(name, "printing", 30)
    assert world.gateways[-1].alive
    world.fleet.ctl("cancel", name)
    wait_status(world, name, lambda row: row["state"] not in BUSY, "the job's end")


def test_silence_is_noticed(world: World, kind: Kind) -> None:
    name = f"{kind.protocol}-mute"
    world.wait_connected(name)
    before = world.status(name)["state"]
    world.fleet.fault(name, "silence")
    wait_for(lambda: world.reason(name)[0] != "connected", 30, "the end of the connection")
    world.wait_state(name, "offline", 40)
    world.fleet.fault(name, "silence", on=False)
    world.wait_connected(name, timeout_s=45)
    world.wait_state(name, before)


# --- jobs --------------------------------------------------------------------------------------------


def test_a_job_from_start_to_end(world: World, kind: Kind) -> None:
    name = f"{kind.protocol}-job"
    seen = begin(world, kind, name, kind.short)
    row = world.wait_state(name, "printing", 30)
    assert row["job"]["name"] == kind.job_name and row["job"]["started_at"]
    low, high = kind.nozzle_c
    wait_status(
        world,
        name,
        lambda row: low <= (row["temperatures"]["nozzles"][0]["target_c"] or 0) <= high,
        "target",
    )
    wait_status(world, name, lambda row: (row["job"]["progress"] or 0) > 0, "progress")
    row = world.wait_state(name, "finished", 40)
    assert outcome(row) == "completed" and row["job"]["progress"] == 100
    assert [each for each in path(world, name, seen) if each != "idle"] == [
        "preparing",
        "printing",
        "finished",
    ]


def test_paused_and_resumed(world: World, kind: Kind) -> None:
    name = f"{kind.protocol}-job"
    seen = begin(world, kind, name, kind.long)
    world.wait_state(name, "printing", 30)
    world.fleet.ctl("pause", name)
    row = world.wait_state(name, "paused")
    assert row["job"]["name"] == kind.job_name and outcome(row) is None
    world.fleet.ctl("resume", name)
    world.wait_state(name, "printing")
    assert [each for each in path(world, name, seen) if each != "idle"][1:] == [
        "printing",
        "paused",
        "printing",
    ]


def test_cancelled_by_its_user(world: World, kind: Kind) -> None:
    name = f"{kind.protocol}-job"
    begin(world, kind, name, kind.long)
    world.wait_state(name, "printing", 30)
    world.fleet.ctl("cancel", name)
    row = wait_status(world, name, outcome, "outcome", kind.outcome_s)
    assert outcome(row) == "cancelled" and row["state"] in kind.cancelled_state


def test_failed(world: World, kind: Kind) -> None:
    name = f"{kind.protocol}-job"
    begin(world, kind, name, kind.long)
    world.wait_state(name, "printing", 30)
    world.fleet.ctl("fail", name, **kind.fail)
    row = wait_status(world, name, outcome, "outcome", kind.outcome_s)
    assert outcome(row) == "failed" and row["state"] in kind.failed_state


# --- commands ----------------------------------------------------------------------------------------


@pytest.fixture
def asks(world: World) -> Asks:
    return Asks(world)


def test_pause_resume_stop(world: World, kind: Kind, asks: Asks) -> None:
    name = f"{kind.protocol}-send"
    begin(world, kind, name, kind.long)
    world.wait_state(name, "printing", 30)
    for command, state in (("pause", "paused"), ("resume", "printing")):
        asks.succeeded(asks.command(name, command), 40)
        world.wait_state(name, state)
    asks.succeeded(asks.command(name, "stop"), 40)
    row = wait_status(world, name, outcome, "outcome", kind.outcome_s)
    assert outcome(row) == "cancelled"
    assert asks.failed(asks.command(name, "pause")) == "printer_state_conflict"


def cannot(asks: Asks, name: str, command: str, **params: Any) -> None:
    """Refused at once when no printer of the protocol can, else by the gateway."""
    try:
        job = asks.command(name, command, **params)
    except psycopg.Error as error:
        assert "cannot do this" in str(error)
        return
    assert asks.failed(job) == "unsupported_by_printer"


def test_targets(world: World, kind: Kind, asks: Asks) -> None:
    name = f"{kind.protocol}-send"
    if not kind.can_heat:
        cannot(asks, name, "set_temperatures", nozzle_c=185, bed_c=52)
        return
    asks.succeeded(asks.command(name, "set_temperatures", nozzle_c=185, bed_c=52), 40)

    def shown(row: dict[str, Any]) -> bool:
        both = row["temperatures"]["nozzles"][0]["target_c"], row["temperatures"]["bed"]["target_c"]
        return both == (185, 52)

    wait_status(world, name, shown, "targets")
    asks.succeeded(asks.command(name, "set_temperatures", nozzle_c=0, bed_c=0), 40)


def test_gcode(world: World, kind: Kind, asks: Asks) -> None:
    name, lines = f"{kind.protocol}-send", ["G28", "M117 hello"]
    if kind.can_gcode:
        asks.succeeded(asks.command(name, "gcode", lines=lines), 40)
    else:
        cannot(asks, name, "gcode", lines=lines)


def test_what_it_cannot_do(world: World, kind: Kind, asks: Asks) -> None:
    command = dict(kind.unsupported)
    cannot(asks, f"{kind.protocol}-send", command.pop("command"), **command)


# --- files -------------------------------------------------------------------------------------------


def send(kind: Kind, asks: Asks, role: str = "send", size: int = 700_000) -> Any:
    name, what = kind.file
    asks.world.wait_connected(f"{kind.protocol}-{role}", timeout_s=40)
    return asks.send(f"{kind.protocol}-{role}", asks.file(name, os.urandom(size), what))


def test_a_file_is_brought_and_started(world: World, kind: Kind, asks: Asks) -> None:
    name = f"{kind.protocol}-send"
    done = asks.succeeded(send(kind, asks), 60)
    assert done["result"]["started"] is True
    world.wait_state(name, "printing", 60)
    with pytest.raises(psycopg.Error, match="busy"):
        send(kind, asks)
    assert world.status(name)["state"] == "printing"
    asks.succeeded(asks.command(name, "stop"), 40)
    wait_status(world, name, lambda row: row["state"] not in BUSY, "the job's end")
    wait_for(lambda: [p["state"] for p in asks.prints(name)][-1:] == ["cancelled"], 20, "the print")


def test_a_start_that_shows_nothing_is_not_repeated(world: World, kind: Kind, asks: Asks) -> None:
    name = f"{kind.protocol}-send"
    world.fleet.fault(name, "mute_start")
    assert asks.failed(send(kind, asks), 90) in ("start_unknown", "not_confirmed")
    world.fleet.fault(name, "mute_start", on=False)
    assert world.status(name)["state"] not in BUSY


def test_a_lost_connection_during_an_upload(world: World, kind: Kind, asks: Asks) -> None:
    """It begins anew once the printer is back, or is given up; whatever comes of it, it is told."""
    name = f"{kind.protocol}-net"
    wait_status(world, name, lambda row: row["state"] not in (*BUSY, "offline"), "rest")
    fault = dict(kind.slow_upload)
    slow = fault.pop("kind")
    world.fleet.fault(name, slow, **fault)
    job = send(kind, asks, "net", 8_000_000)
    wait_for(lambda: asks.job(job)["progress"], 20, "the upload")
    world.fleet.fault(name, "drop")
    world.fleet.fault(name, slow, on=False)
    done = asks.wait(job, 90)
    if done["state"] == "succeeded":
        asks.succeeded(asks.command(name, "stop"), 40)
    else:
        assert done["error"]["code"] in ("upload_failed", "printer_busy"), done["error"]
        assert world.status(name)["state"] not in BUSY
