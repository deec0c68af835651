"""What every driver owes its printers: the same cases for each protocol, against its virtual printer.

A protocol is one row of KINDS; what its printer cannot do is said there and nowhere else. The virtual printer answers
the fleet's operations print, pause, resume, cancel and fail, and its faults wrong_code, silence and garbage; the
network's faults (unreachable, drop, blackhole) are made by the fleet's relay.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
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
    wakes: bool = False  # silence: waking it costs some more time before it is given up


BAMBU = Kind(
    protocol="bambu",
    printer={"model": "X1C"},
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
KINDS: tuple[Kind, ...] = (BAMBU, MOONRAKER, PRUSALINK, OCTOPRINT)
IDS = [kind.protocol for kind in KINDS]
ROLES = ("job", "net", "code", "noise", "mute")
PRINTERS: list[dict[str, Any]] = [
    {"name": f"{kind.protocol}-{role}"} | kind.printer for kind in KINDS for role in ROLES
]
FLAGS = ("--time-scale", str(SCALE))


@pytest.fixture(scope="module", autouse=True)
def gateway(world: World) -> Iterator[None]:
    for kind in KINDS:
        world.fleet.fault(f"{kind.protocol}-code", "wrong_code")
    running = world.start_gateway(silence_ms=str(SILENCE_MS))
    world.wait_connected(*[each["name"] for each in PRINTERS if not each["name"].endswith("-code")])
    yield
    assert running.stop() == 0


@pytest.fixture(params=KINDS, ids=IDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


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
