"""Broken networks, a broker and a database that go away: the gateway outlives them all."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from rig import Gateway, World
from virtual_fleet.harness import wait_for

JOB = {"layers": 1000, "layer_s": 10}
PRINTERS: list[dict[str, Any]] = [
    {"name": "flapping", "model": "A1"},
    {"name": "slow", "model": "A1"},
    {"name": "hole", "model": "P1S"},
    {"name": "good", "model": "A1", "job": JOB},
    {"name": "good x1c", "model": "X1C", "job": JOB},
]
FLAGS = ("--time-scale", "20")
GOOD = ("good", "good x1c")
pytestmark = pytest.mark.usefixtures("unharmed")


def test_flapping(world: World, gateway: Gateway) -> None:
    world.fleet.fault("flapping", "flap")
    before = world.fleet.describe("flapping")["accepted"]
    wait_for(lambda: world.fleet.describe("flapping")["accepted"] >= before + 2, 40, "reconnects")
    world.fleet.fault("flapping", "flap", on=False)
    world.fleet.fault("flapping", "unreachable", on=False)
    world.wait_connected("flapping", timeout_s=45)
    world.wait_state("flapping", "idle")


def test_drops(world: World, gateway: Gateway) -> None:
    for _ in range(3):
        world.wait_connected("flapping", timeout_s=45)
        world.fleet.fault("flapping", "drop")
        wait_for(lambda: world.reason("flapping")[0] != "connected", what="loss")
    world.wait_connected("flapping", timeout_s=45)


def test_a_slow_network(world: World, gateway: Gateway) -> None:
    world.fleet.fault("slow", "slow", delay_s=0.4)
    world.fleet.fault("slow", "drop")
    wait_for(lambda: world.reason("slow")[0] != "connected", what="loss")
    world.wait_connected("slow", timeout_s=60)
    world.fleet.ctl("set", "slow", fields={"spd_lvl": 4, "spd_mag": 166})
    wait_for(lambda: world.status("slow")["speed"]["level"] == "ludicrous", 20, "report")
    world.fleet.fault("slow", "slow", on=False)


def test_an_address_that_swallows_everything(world: World, gateway: Gateway) -> None:
    world.fleet.fault("hole", "blackhole")
    wait_for(lambda: world.reason("hole")[0] != "connected", 15, "loss")
    wait_for(lambda: world.reason("hole")[1] == "unreachable", 90, "reason")
    world.fleet.fault("hole", "blackhole", on=False)
    world.wait_connected("hole", timeout_s=60)


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_broker_restart_all_back_in_ten_seconds(world: World, gateway: Gateway, how: str) -> None:
    names = [each["name"] for each in PRINTERS]
    world.wait_connected(*names, timeout_s=45)
    accepted = {name: world.fleet.describe(name)["accepted"] for name in names}
    if how == "kill":
        os.kill(world.fleet.ctl("broker", action="pid"), signal.SIGKILL)
    else:
        world.fleet.ctl("broker", action="restart")

    def back() -> bool:
        return all(
            world.fleet.describe(name)["accepted"] > accepted[name] and world.reason(name)[0] == "connected"
            for name in names
        )

    wait_for(back, 10, "every printer's new session")


def test_postgres_restart(world: World, gateway: Gateway) -> None:
    world.postgres.stop("immediate")
    world.postgres.start()
    world.reconnect()
    layer = world.fleet.describe("good")["record"]["layer_num"]
    wait_for(lambda: world.status("good")["job"]["layer"] > layer, 15, "reports of after the restart")


def test_what_happened_without_postgres_is_told_after(world: World, gateway: Gateway) -> None:
    world.wait_state("slow", "idle")
    seen = len(world.events("slow"))
    world.postgres.stop("fast")
    world.fleet.ctl("print", "slow", job={"layers": 3, "layer_s": 10, "trays": []})
    wait_for(lambda: world.fleet.describe("slow")["gcode_state"] == "FINISH", 60, "end of the print")
    world.postgres.start()
    world.reconnect()
    world.wait_state("slow", "finished", 20)
    assert world.status("slow")["job"]["outcome"] == "completed"
    wait_for(lambda: [e["to"] for e in world.events("slow")[seen:]][-1:] == ["finished"], what="event")


def test_sigterm_says_goodbye(world: World) -> None:
    """In a gateway of its own: leases are given back, sessions end, nothing claims to be connected."""
    for gateway in world.gateways:
        if gateway.alive:
            assert gateway.stop() == 0
    rows = world.db.execute(
        "SELECT gateway_id FROM sec.printer_index WHERE org_id = %s", [world.org]
    ).fetchall()
    assert rows and all(row["gateway_id"] is None for row in rows)
    wait_for(lambda: not any(each["sessions"] for each in world.fleet.ctl("list")), 5, "end of the sessions")
    for name in world.ids:
        assert world.reason(name) == ("disconnected", "no_gateway")
    world.start_gateway()
    world.wait_connected(*GOOD)
