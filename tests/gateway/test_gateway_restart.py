"""A killed gateway that is started again goes on at once: it does not wait for its own old leases to end."""

from __future__ import annotations

from typing import Any

from rig import World
from virtual_fleet.harness import wait_for

PRINTERS: list[dict[str, Any]] = [
    {"name": "a1", "model": "A1", "job": {"layers": 1000, "layer_s": 10}},
    {"name": "x1c", "model": "X1C"},
]
FLAGS = ("--time-scale", "20")


def test_back_in_five_seconds(world: World) -> None:
    first = world.start_gateway()
    world.wait_connected()
    world.fleet.ctl("print", "a1")
    world.wait_state("a1", "printing", 30)
    started, told = world.status("a1")["job"]["started_at"], len(world.events("a1"))
    first.kill()
    layer = world.fleet.describe("a1")["record"]["layer_num"]
    second = world.start_gateway()
    wait_for(lambda: world.status("a1")["job"]["layer"] > layer, 5, "a layer of after the restart")
    assert len(world.events("a1")) == told, "nothing happened to the printer"
    assert world.status("a1")["job"]["started_at"] == started
    rows = world.db.execute(
        "SELECT count(DISTINCT gateway_id) AS n, min(fencing) AS fencing FROM sec.printer_index WHERE org_id = %s",
        [world.org],
    ).fetchone()
    assert rows is not None and rows["n"] == 1 and rows["fencing"] >= 2
    assert second.stop() == 0
