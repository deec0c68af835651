"""Reports that are old, repeated, oversized, or cut off every second: none of them makes an event of its own."""

from __future__ import annotations

import json
from typing import Any

from rig import Gateway, World
from virtual_fleet.harness import wait_for

PRINTERS: list[dict[str, Any]] = [
    {"name": "kept", "model": "X1C"},
    {"name": "flap", "model": "A1"},
    {"name": "twice", "model": "A1", "job": {"layers": 5, "layer_s": 2}},
    {"name": "big", "model": "X1C", "job": {"layers": 1000, "layer_s": 10}},
]
FLAGS = ("--time-scale", "20")


def publish(world: World, name: str, fields: dict[str, Any], retain: bool = False) -> None:
    message = {"print": {"command": "push_status", "msg": 1, "sequence_id": "1"} | fields}
    world.fleet.ctl("publish", name, payload=json.dumps(message), retain=retain)


def accepted(world: World, name: str) -> int:
    return int(world.fleet.describe(name)["accepted"])


def test_what_the_broker_has_kept_is_no_report(world: World, gateway: Gateway) -> None:
    """A whole report of last week's print, and garbage: both are handed to whoever subscribes."""
    world.wait_state("kept", "idle")
    seen = len(world.events("kept"))
    old = world.fleet.describe("kept")["record"] | {"gcode_state": "RUNNING", "layer_num": 77, "mc_percent": 50}
    world.fleet.fault("kept", "unreachable")
    wait_for(lambda: world.fleet.describe("kept")["sessions"] == 0, what="end of the session")
    world.fleet.ctl("publish", "kept", payload=json.dumps({"print": old | {"msg": 0}}), retain=True)
    before = accepted(world, "kept")
    world.fleet.fault("kept", "unreachable", on=False)
    wait_for(lambda: accepted(world, "kept") > before, 30, "a new session")
    world.wait_connected("kept", timeout_s=30)
    world.fleet.ctl("set", "kept", fields={"spd_lvl": 4, "spd_mag": 166})
    wait_for(lambda: (world.status("kept")["speed"] or {}).get("percent") == 166, 20, "a report of now")
    world.fleet.ctl("publish", "kept", payload='{"print": [', retain=True)
    world.fleet.fault("kept", "drop")
    wait_for(lambda: accepted(world, "kept") > before + 1, 30, "another session")
    world.wait_connected("kept", timeout_s=30)
    assert world.status("kept")["state"] == "idle"
    told = {event["to"] for event in world.events("kept")[seen:]}
    assert not told & {"printing", "preparing", "finished"}, told
    world.fleet.ctl("publish", "kept", payload="", retain=True)


def test_flapping_every_second_is_no_event(world: World, gateway: Gateway) -> None:
    world.wait_state("flap", "idle")
    seen = len(world.events("flap"))
    first = accepted(world, "flap")
    world.fleet.fault("flap", "flap")
    wait_for(lambda: accepted(world, "flap") >= first + 2, 60, "connections between the gaps")
    world.fleet.fault("flap", "flap", on=False)
    world.fleet.fault("flap", "unreachable", on=False)
    world.wait_connected("flap", timeout_s=45)
    world.wait_state("flap", "idle")
    states = [(event["from"], event["to"]) for event in world.events("flap")[seen:]]
    assert states in ([], [("idle", "offline"), ("offline", "idle")]), "at most one, if it was away for 15 s"
    rows = world.history("flap", "connection")
    assert len(rows) < 40, "its history is bounded by the pauses between attempts"


def test_a_report_that_comes_again_and_again_ends_a_print_once(world: World, gateway: Gateway) -> None:
    world.wait_state("twice", "idle")
    seen = len(world.events("twice"))
    world.fleet.ctl("print", "twice")
    world.wait_state("twice", "printing", 30)
    started = world.status("twice")["job"]["started_at"]
    for _ in range(5):
        publish(world, "twice", {"gcode_state": "RUNNING", "mc_percent": 40})
    world.wait_state("twice", "finished", 60)
    for _ in range(5):
        publish(world, "twice", {"gcode_state": "FINISH", "mc_percent": 100})
    publish(world, "twice", {"mc_percent": 90})  # a late one that says nothing of the state
    world.fleet.ctl("set", "twice", fields={"spd_lvl": 1, "spd_mag": 50})
    wait_for(lambda: world.status("twice")["speed"]["percent"] == 50, 20, "a report of after")
    told = [event["to"] for event in world.events("twice")[seen:]]
    assert told.count("finished") == 1 and told.count("printing") == 1, told
    assert world.status("twice")["job"]["outcome"] == "completed"
    assert world.status("twice")["job"]["started_at"] == started
    rows = [row["to"] for row in world.history("twice", "state")]
    wait_for(lambda: [r["to"] for r in world.history("twice", "state")].count("finished") == 1, 5, f"one row; {rows}")


def test_a_report_of_a_megabyte(world: World, gateway: Gateway) -> None:
    """It is read past: the session stays, and what comes after it is heard."""
    world.wait_state("big", "idle")
    world.fleet.ctl("print", "big")
    world.wait_state("big", "printing", 30)
    sessions, memory = accepted(world, "big"), gateway.private_kib()
    for _ in range(20):
        world.fleet.ctl("publish", "big", payload=json.dumps({"print": {"gcode_state": "IDLE", "x": "y" * (1 << 20)}}))
    layer = world.status("big")["job"]["layer"]
    wait_for(lambda: world.status("big")["job"]["layer"] > layer + 1, 20, "layers meanwhile")
    assert world.status("big")["state"] == "printing", "nothing of it was believed"
    assert accepted(world, "big") == sessions, "the session stayed"
    assert gateway.private_kib() - memory < 16 * 1024
    assert gateway.alive
