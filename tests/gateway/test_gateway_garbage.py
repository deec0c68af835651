"""Hostile printers: what they send harms neither the gateway nor other printers' reports."""

from __future__ import annotations

from typing import Any

import pytest
from rig import SANITIZED, Gateway, World
from virtual_fleet.harness import wait_for

JOB = {"layers": 1000, "layer_s": 10}
PRINTERS: list[dict[str, Any]] = [
    {"name": "hostile", "model": "X1C", "min_interval_s": 0.2},
    {"name": "hostile a1", "model": "A1"},
    {"name": "good", "model": "A1", "job": JOB},
    {"name": "good x1c", "model": "X1C", "job": JOB},
]
FLAGS = ("--time-scale", "20")
GOOD = ("good", "good x1c")
pytestmark = pytest.mark.usefixtures("unharmed")


@pytest.mark.parametrize("name", ["hostile", "hostile a1"])
def test_garbage(world: World, gateway: Gateway, name: str) -> None:
    kinds = world.fleet.ctl("garbage_kinds")
    before = gateway.private_kib()
    world.fleet.fault(name, "garbage", interval_s=0.05)
    rounds = world.fleet.describe(name)["garbage_sent"] + 3 * len(kinds)
    wait_for(lambda: world.fleet.describe(name)["garbage_sent"] >= rounds, 60, "garbage")
    world.fleet.fault(name, "garbage", on=False)
    world.fleet.ctl("set", name, fields={"spd_lvl": 3, "spd_mag": 124})
    if world.reason(name)[0] == "connected":
        world.db.execute("SELECT sec.request_refresh(%s)", [world.ids[name]])
    wait_for(lambda: (world.status(name)["speed"] or {}).get("percent") == 124, 60, "the true record")
    assert world.status(name)["state"] == "idle"
    if not SANITIZED:
        assert gateway.private_kib() - before < 64 * 1024


@pytest.mark.parametrize("kind", ["huge", "deep_arrays", "many_trays", "many_hms", "long_string"])
def test_a_flood_of_one_kind(world: World, gateway: Gateway, kind: str) -> None:
    world.fleet.fault("hostile", "garbage", kinds=[kind], interval_s=0.02)
    sent = world.fleet.describe("hostile")["garbage_sent"]
    wait_for(lambda: world.fleet.describe("hostile")["garbage_sent"] > sent + 20, 60, "garbage")
    layer = world.status("good")["job"]["layer"]
    wait_for(lambda: world.status("good")["job"]["layer"] > layer, 15, "another printer's progress meanwhile")
    world.fleet.fault("hostile", "garbage", on=False)
    wait_for(lambda: world.reason("hostile")[0] == "connected", 40, "connection")
