"""What is asked of printers while gateways die: nothing twice, nothing out of order, everything with an end."""

from __future__ import annotations

import os
import random
import time
import uuid
from collections import Counter
from typing import Any

import pytest
from asks import ENDED, Asks
from rig import World
from virtual_fleet.harness import wait_for

NAMES = ("a1", "x1c", "p1s", "h2d", "mini", "spare")
MODELS = ("A1", "X1C", "P1S", "H2D", "A1 mini", "X1C")
PRINTERS: list[dict[str, Any]] = [
    {"name": name, "model": model, "job": {"layers": 4, "layer_s": 30}}
    for name, model in zip(NAMES, MODELS, strict=True)
]
FLAGS = ("--time-scale", "60")
pytestmark = pytest.mark.once


def messages(world: World, name: str, command: str) -> list[dict[str, Any]]:
    sections = [each["message"].get("print", {}) for each in world.fleet.ctl("requests", name)]
    return [each for each in sections if each.get("command") == command]


def marks(world: World, name: str) -> list[int]:
    """The numbers that came to a printer as M117, in the order in which they came."""
    lines = "".join(each["param"] for each in messages(world, name, "gcode_line")).split("\n")
    return [int(line.split()[1]) for line in lines if line.startswith("M117 ")]


def keep_two(world: World, dice: random.Random) -> None:
    """Kills one of the gateways now and then; there are always two, or soon again."""
    alive = [gateway for gateway in world.gateways if gateway.alive]
    if len(alive) == 2:
        dice.choice(alive).kill()
    world.start_gateway()


def hammer(world: World, asks: Asks, seconds: float) -> dict[uuid.UUID, tuple[str, int]]:
    seed = int(os.environ.get("SEED", random.SystemRandom().randrange(1 << 30)))
    print(f"seed {seed}")
    dice, jobs, number = random.Random(seed), {}, 0
    end = time.monotonic() + seconds
    kill_at = time.monotonic() + 1.0
    while time.monotonic() < end:
        if time.monotonic() > kill_at:
            keep_two(world, dice)
            kill_at = time.monotonic() + dice.uniform(0.8, 2.0)
        number += 1
        name = dice.choice(NAMES)
        try:
            job = asks.command(name, "gcode", lines=[f"M117 {number}"])
        except Exception as error:  # noqa: BLE001
            assert getattr(error, "sqlstate", "") in ("SLP20", "SLP51"), error  # not connected, too many
            time.sleep(0.02)  # a client that tries again a little later
            continue
        jobs[job] = (name, number)
    return jobs


def settle(world: World, asks: Asks, jobs: dict[uuid.UUID, tuple[str, int]]) -> None:
    while sum(gateway.alive for gateway in world.gateways) < 2:
        world.start_gateway()
    open_ = "SELECT count(*) AS n FROM app.jobs WHERE id = ANY (%s) AND NOT state = ANY (%s)"
    wait_for(
        lambda: world.db.execute(open_, [list(jobs), list(ENDED)]).fetchone()["n"] == 0,  # type: ignore[index]
        120,
        "the end of every operation",
        0.5,
    )


def judge(world: World, asks: Asks, jobs: dict[uuid.UUID, tuple[str, int]]) -> Counter[str]:
    ends: Counter[str] = Counter()
    seen = {name: marks(world, name) for name in NAMES}
    for name, numbers in seen.items():
        assert len(set(numbers)) == len(numbers), f"{name}: something was done twice"
        assert numbers == sorted(numbers), f"{name}: something was done out of order"
    for job, (name, number) in jobs.items():
        row = asks.job(job)
        ends[row["state"] if row["state"] != "failed" else row["error"]["code"]] += 1
        if row["state"] == "succeeded":
            assert number in seen[name], f"{number} never came to {name}"
        else:
            assert row["error"]["code"] in ("outcome_unknown", "expired"), row["error"]
            assert row["error"]["code"] != "expired" or number not in seen[name], "late, and yet done"
    left = world.db.execute("SELECT count(*) AS n FROM sec.printer_tasks").fetchone()
    assert left is not None and left["n"] == 0
    return ends


def run(world: World, seconds: float) -> None:
    asks = Asks(world)
    for _ in range(2):
        world.start_gateway(patience="10")
    world.wait_connected(timeout_s=40)
    jobs = hammer(world, asks, seconds)
    settle(world, asks, jobs)
    ends = judge(world, asks, jobs)
    print(f"{len(jobs)} commands, {sum(not g.alive for g in world.gateways)} gateways killed: {dict(ends)}")
    assert ends["succeeded"] > len(jobs) / 2


def test_commands_while_gateways_are_killed(world: World) -> None:
    run(world, 10)


@pytest.mark.soak
def test_commands_while_gateways_are_killed_for_minutes(world: World) -> None:
    run(world, 300)


def test_sends_while_gateways_are_killed(world: World) -> None:
    asks = Asks(world)
    while sum(gateway.alive for gateway in world.gateways) < 2:
        world.start_gateway()
    world.wait_connected(timeout_s=40)
    dice = random.Random(os.environ.get("SEED"))
    jobs = {name: asks.send(name, asks.file("boat.gcode.3mf", os.urandom(900_000), "gcode_3mf")) for name in NAMES}
    for _ in range(3):
        before = [asks.job(job)["progress"] for job in jobs.values()]
        wait_for(
            lambda: [asks.job(job)["progress"] for job in jobs.values()] != before  # noqa: B023
            or all(asks.job(job)["state"] in ENDED for job in jobs.values()),
            60,  # a takeover, then an upload from its start
            "something to happen",
        )
        keep_two(world, dice)
    for name, job in jobs.items():
        row = asks.wait(job, 180)
        tasks = [each["task_id"] for each in messages(world, name, "project_file")]
        assert len(set(tasks)) == len(tasks) <= 1, f"{name} was started more than once"
        if row["state"] == "succeeded":
            assert tasks == [row["result"]["task_id"]]
        else:
            assert row["error"]["code"] in ("start_unknown", "not_started", "upload_failed"), row["error"]
