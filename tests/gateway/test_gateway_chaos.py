"""Many faults at once, drawn by lot, and two gateways that are killed now and then: in the end all is true.

The lot's seed is printed; SOLOPRINT_SEED=<number> draws the same again."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from rig import World
from virtual_fleet.harness import wait_for

JOB = {"layers": 2000, "layer_s": 15}
MODELS = ("A1", "X1C", "P1S", "H2D", "A1 mini", "P2S")
PRINTERS: list[dict[str, Any]] = [
    {"name": f"c{n}", "model": MODELS[n % len(MODELS)], "job": JOB} for n in range(12)
]
FLAGS = ("--time-scale", "30")
NAMES = [each["name"] for each in PRINTERS]
LASTING = ("silence", "garbage", "flap", "unreachable", "slow", "blackhole", "wrong_code", "wrong_cert")
GATEWAYS = 2


class Chaos:
    def __init__(self, world: World, lot: random.Random) -> None:
        self.world = world
        self.lot = lot
        self.on: dict[tuple[str, str], float] = {}

    def step(self) -> None:
        for key in [key for key, until in self.on.items() if until < time.monotonic()]:
            self.clear(*key)
        act: Callable[[], None] = self.lot.choices(
            (self.fault, self.drop, self.job, self.kill_broker, self.kill_gateway), weights=(10, 5, 5, 1, 1)
        )[0]
        act()
        while sum(each.alive for each in self.world.gateways) < GATEWAYS:
            self.world.start_gateway()

    def fault(self) -> None:
        key = (self.lot.choice(NAMES), self.lot.choice(LASTING))
        if key not in self.on:
            self.world.fleet.fault(key[0], key[1])
            self.on[key] = time.monotonic() + self.lot.uniform(0.2, 4)

    def clear(self, name: str, kind: str) -> None:
        del self.on[name, kind]
        self.world.fleet.fault(name, kind, on=False)

    def drop(self) -> None:
        self.world.fleet.fault(self.lot.choice(NAMES), "drop")

    def job(self) -> None:
        name = self.lot.choice(NAMES)
        state = self.world.fleet.describe(name)["gcode_state"]
        busy = state in ("PREPARE", "RUNNING", "PAUSE")
        self.world.fleet.ctl(
            self.lot.choice(("pause", "resume", "cancel", "fail")) if busy else "print", name
        )

    def kill_broker(self) -> None:
        pid = self.world.fleet.ctl("broker", action="pid")
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill_gateway(self) -> None:
        self.lot.choice([each for each in self.world.gateways if each.alive]).kill()

    def calm(self) -> None:
        for key in list(self.on):
            self.clear(*key)


def settle(world: World) -> None:
    """No job running, one session each, and every printer says everything once more."""
    for name in NAMES:
        world.fleet.ctl("cancel", name)
        row = next(each for each in world.fleet.printers if each["name"] == name)
        world.update(name, secret=row["access_code"])
        world.fleet.fault(name, "drop")


def untrue(world: World, name: str) -> list[Any]:
    """What the row says otherwise than the printer."""
    record, row = world.fleet.describe(name)["record"], world.status(name)
    states = {"IDLE": "idle", "FINISH": "finished", "FAILED": "failed"}
    units = (row["ams"] or {"units": []})["units"]
    slots = [slot["present"] for unit in units for slot in unit["slots"]]
    pairs = [
        (row["connection"]["state"], "connected"),
        (row["state"], states.get(record["gcode_state"])),
        ((row["speed"] or {}).get("percent"), record["spd_mag"]),
        (slots, [True] * 4 * len(record["ams"]["ams"])),
    ]
    wrong = [pair for pair in pairs if pair[0] != pair[1]]
    return [*wrong, row["connection"]] if wrong else []


def wait_true(world: World, name: str) -> None:
    try:
        wait_for(lambda: not untrue(world, name), 60, "truth", 0.2)
    except AssertionError:
        raise AssertionError((name, untrue(world, name), world.fleet.describe(name)["faults"])) from None


def run(world: World, seconds: float) -> None:
    seed = int(os.environ.get("SOLOPRINT_SEED") or random.SystemRandom().randrange(10**6))
    print(f"SOLOPRINT_SEED={seed}")
    chaos = Chaos(world, random.Random(seed))
    for _ in range(GATEWAYS):
        world.start_gateway()
    world.wait_connected()
    deadline = time.monotonic() + seconds

    def on() -> bool:
        chaos.step()
        return time.monotonic() > deadline

    wait_for(on, seconds + 30, "end of the chaos", 0.15)
    chaos.calm()
    wait_for(lambda: world.fleet.ctl("broker", action="pid"), 15, "broker")
    settle(world)
    for name in NAMES:
        world.fleet.ctl("set", name, fields={"spd_lvl": 4, "spd_mag": 166})
    for name in NAMES:
        wait_true(world, name)
    wait_for(lambda: all(each["sessions"] == 1 for each in world.fleet.ctl("list")), 30, "one session each")
    for name in NAMES:
        assert not gaps(world.events(name)), (name, gaps(world.events(name)))


def gaps(changes: list[dict[str, Any]]) -> list[Any]:
    """Where one event does not begin as the one before it ended."""
    return [(a, b) for a, b in zip(changes, changes[1:], strict=False) if a["to"] != b["from"]]


def test_half_a_minute(world: World) -> None:
    run(world, 25)


@pytest.mark.soak
def test_ten_minutes(world: World) -> None:
    run(world, 600)
