"""A recording of a real printer goes in, a record known by heart comes out."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from rig import World
from virtual_fleet.harness import wait_for

PRINTERS: list[dict[str, Any]] = [{"name": "rec", "model": "A1 mini", "recording": "bambu-a1mini"}]
GOLDEN = Path(__file__).resolve().parent / "golden"
SECTIONS = (
    "state",
    "job",
    "temperatures",
    "fans",
    "speed",
    "lights",
    "ams",
    "errors",
    "wifi",
    "firmware",
    "extra",
)


def test_recorded_a1_mini(world: World) -> None:
    """SOLOPRINT_GOLDEN=write stores what is there now, to be read before it is committed."""
    gateway = world.start_gateway()
    world.wait_state("rec", "idle")
    row = wait_for(lambda: (s := world.status("rec"))["firmware"] and s, what="firmware")
    got = {section: row[section] for section in SECTIONS}
    path = GOLDEN / "bambu-a1mini.json"
    if os.environ.get("SOLOPRINT_GOLDEN") == "write":
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(json.dumps(got, indent=1, sort_keys=True) + "\n")
    assert got == json.loads(path.read_text())
    gateway.stop()
