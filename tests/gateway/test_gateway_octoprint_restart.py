"""A gateway that is killed after it told an OctoPrint to print: the next one sees that it does, and tells it nothing."""

from __future__ import annotations

from typing import Any

import pytest
from asks import Asks
from rig import World
from virtual_fleet.harness import wait_for

PRINTERS: list[dict[str, Any]] = [
    {"name": name, "protocol": "octoprint", "job": {"seconds": 100000}} for name in ("pushed", "polled")
]
FLAGS = ("--time-scale", "30")


@pytest.mark.parametrize("name", ["polled", "pushed"])
def test_started_once(world: World, name: str) -> None:
    asks = Asks(world)
    world.fleet.fault("polled", "no_websocket")
    first = world.start_gateway()
    world.wait_connected()
    job = asks.send(name, asks.file(f"{name}.gcode", b"G28\n"))

    def starts() -> int:
        path = f"/api/files/local/SoLoPrint/{name}.gcode"
        return len([each for each in world.fleet.ctl("requests", name, path=path) if each["method"] == "POST"])

    wait_for(starts, 20, "start")
    first.kill()
    last = world.start_gateway()
    assert asks.succeeded(job, 60)["id"] == job
    world.wait_state(name, "printing")
    assert starts() == 1
    wait_for(lambda: asks.prints(name), 5, "the print")
    world.fleet.ctl("cancel", name)
    row = world.wait_state(name, "failed")
    assert row["job"]["outcome"] == "cancelled" and row["job"]["file"] == f"SoLoPrint/{name}.gcode"
    assert last.stop() == 0
