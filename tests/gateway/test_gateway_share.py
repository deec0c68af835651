"""Two gateways share the fleet by leases; one that dies or sleeps loses them."""

from __future__ import annotations

import os
import signal
import time
import uuid
from typing import Any

from rig import Gateway, World
from virtual_fleet.harness import wait_for

PRINTERS: list[dict[str, Any]] = [
    {"name": f"p{index}", "model": ("A1", "X1C")[index % 2], "job": {"layers": 1000, "layer_s": 10}}
    for index in range(8)
]
FLAGS = ("--time-scale", "20")
NAMES = [each["name"] for each in PRINTERS]


def owners(world: World) -> dict[uuid.UUID | None, int]:
    rows = world.db.execute(
        "SELECT gateway_id, count(*) AS n FROM sec.printer_index WHERE org_id = %s"
        " AND (gateway_id IS NULL OR expires_at > now()) GROUP BY gateway_id",
        [world.org],
    ).fetchall()
    return {row["gateway_id"]: row["n"] for row in rows}


def fencing(world: World) -> dict[uuid.UUID, int]:
    rows = world.db.execute(
        "SELECT printer_id, fencing FROM sec.printer_index WHERE org_id = %s", [world.org]
    ).fetchall()
    return {row["printer_id"]: row["fencing"] for row in rows}


def owned_by_one(world: World) -> bool:
    held = owners(world)
    return None not in held and len(held) == 1 and sum(held.values()) == len(NAMES)


def all_connected(world: World) -> bool:
    return all(world.reason(name)[0] == "connected" for name in NAMES)


def in_sessions(world: World) -> bool:
    return all(each["sessions"] == 1 for each in world.fleet.ctl("list"))


def share(world: World) -> tuple[Gateway, Gateway]:
    """Two gateways, both with a fair part of the fleet."""
    for gateway in world.gateways:
        if gateway.alive:
            gateway.stop()
    first = world.start_gateway()
    world.wait_connected(*NAMES)
    second = world.start_gateway()
    fair = range(len(NAMES) // 2 - 1, len(NAMES) // 2 + 2)
    wait_for(
        lambda: len(h := owners(world)) == 2 and None not in h and all(n in fair for n in h.values()),
        30,
        "shares",
    )
    wait_for(lambda: in_sessions(world) and all_connected(world), 20, "one session per printer")
    return first, second


def test_killed_gateways_printers_are_taken_over(world: World) -> None:
    first, second = share(world)
    numbers = fencing(world)
    for name in NAMES:
        world.fleet.ctl("print", name)
    for name in NAMES:
        world.wait_state(name, "printing", 30)
    layers = {name: world.status(name)["job"]["layer"] for name in NAMES}
    first.kill()
    killed = time.monotonic()

    def taken() -> bool:
        return owned_by_one(world) and all(world.status(n)["job"]["layer"] > layers[n] + 1 for n in NAMES)

    wait_for(taken, 15, "take-over by the other gateway")
    print(f"taken over in {time.monotonic() - killed:.1f} s")
    wait_for(lambda: in_sessions(world) and all_connected(world), 5, "sessions")
    moved = [printer for printer, number in fencing(world).items() if number > numbers[printer]]
    assert len(moved) >= len(NAMES) // 2 - 1
    assert second.alive


def test_a_gateway_that_slept_through_its_leases_writes_nothing(world: World) -> None:
    first, second = share(world)
    os.kill(first.process.pid, signal.SIGSTOP)
    try:
        wait_for(lambda: owned_by_one(world), 15, "take-over")
        wait_for(lambda: all_connected(world), 15, "connections")
        numbers = fencing(world)
    finally:
        os.kill(first.process.pid, signal.SIGCONT)
    # What the sleeper still believes must not show: every row keeps following its printer.
    for name in NAMES:
        world.fleet.ctl("set", name, fields={"spd_lvl": 4, "spd_mag": 166})
    wait_for(lambda: all(world.status(n)["speed"]["percent"] == 166 for n in NAMES), 15, "truth in every row")
    wait_for(lambda: in_sessions(world), 30, "one session per printer")
    wait_for(lambda: all_connected(world), 15, "connections")
    assert all(number >= numbers[printer] for printer, number in fencing(world).items())
    assert first.alive and second.alive
    for name in NAMES:
        world.fleet.ctl("set", name, fields={"spd_lvl": 2, "spd_mag": 100})


def test_a_gateway_that_leaves_hands_over_at_once(world: World) -> None:
    first, second = share(world)
    assert first.stop() == 0
    wait_for(lambda: owned_by_one(world), 5, "hand-over")
    wait_for(lambda: in_sessions(world) and all_connected(world), 10, "sessions")
    assert second.alive


def test_gateways_are_listed_while_they_live(world: World) -> None:
    _, second = share(world)

    def listed() -> int:
        row = world.db.execute("SELECT alive FROM sec.gateway_health()").fetchone()
        return row["alive"] if row else -1

    wait_for(lambda: listed() == 2, 15, "two gateways")
    second.stop()
    wait_for(lambda: listed() == 1, 20, "one gateway")


def test_a_failure_whose_outcome_is_awaited_survives_the_gateway(world: World) -> None:
    """A cancel's code comes seconds after the failure; the gateway that saw the failure is dead by then."""
    for gateway in world.gateways:
        if gateway.alive:
            gateway.stop()
    first = world.start_gateway()
    world.wait_connected(*NAMES)
    cancelled, failed = NAMES[0], NAMES[1]
    seen = {name: len(world.events(name)) for name in (cancelled, failed)}
    for name in seen:
        if world.fleet.describe(name)["gcode_state"] != "RUNNING":
            world.fleet.ctl("print", name)
    for name in seen:
        world.wait_state(name, "printing", 30)
    world.fleet.ctl("cancel", cancelled)
    world.fleet.ctl("fail", failed, code=0)
    for name in seen:
        world.wait_state(name, "failed")
    first.kill()
    world.start_gateway()
    for name, outcome in ((cancelled, "cancelled"), (failed, "failed")):
        wait_for(lambda: (world.status(name)["job"] or {}).get("outcome") == outcome, 40, "outcome")  # noqa: B023
        told = [each for each in world.events(name)[seen[name] :] if each["to"] == "failed"]
        assert [each["job_outcome"] for each in told] == [outcome]
