"""Why a printer is not connected: each cause its own reason, and each reason goes when its cause does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from rig import Gateway, World
from virtual_fleet.harness import wait_for

PRINTERS: list[dict[str, Any]] = [
    {"name": "code", "model": "A1"},
    {"name": "serial", "model": "X1C"},
    {"name": "cert", "model": "X1C"},
    {"name": "away", "model": "A1"},
    {"name": "cut", "model": "P1S"},
    {"name": "fun", "model": "X1C"},
    {"name": "sign", "model": "P1S"},
    {"name": "ack", "model": "A1"},
    {"name": "mute", "model": "X1C"},
    {"name": "nudge", "model": "A1"},
    {"name": "config", "model": "A1"},
    {"name": "twin", "model": "A1"},
    {"name": "plain", "model": "A1"},
]
FLAGS = ("--time-scale", "20")


@pytest.fixture(scope="module", autouse=True)
def gateway(world: World) -> Iterator[Gateway]:
    world.fleet.fault("code", "wrong_code")
    world.fleet.fault("away", "unreachable")
    world.fleet.fault("mute", "silence")
    world.fleet.fault("nudge", "silence", until_start=True)
    world.update("serial", serial="00M0000WRONG0000")
    world.fleet.fault("cert", "wrong_cert")
    running = world.start_gateway()
    world.wait_connected("cut", "fun", "sign", "ack", "config", "twin", "plain")
    yield running
    assert running.stop() == 0


def row(world: World, name: str) -> dict[str, Any]:
    return next(each for each in world.fleet.printers if each["name"] == name)


def test_wrong_access_code(world: World) -> None:
    connection = world.wait_reason("code", "wrong_access_code")
    assert connection["state"] == "disconnected" and connection["message"]
    assert world.status("code")["state"] == "offline"
    accepted = world.fleet.describe("code")["accepted"]
    world.update("code", secret="changed!")
    world.wait_connected("code")
    assert world.fleet.describe("code")["accepted"] >= accepted + 1
    assert world.reason("code")[1] is None


def test_wrong_code_is_not_hammered(world: World) -> None:
    """A refused code is tried again only when the settings change, or rarely."""
    world.fleet.fault("plain", "wrong_code")
    world.fleet.fault("plain", "drop")
    world.wait_reason("plain", "wrong_access_code")
    accepted = world.fleet.describe("plain")["accepted"]
    world.wait_connected("twin")
    world.fleet.fault("twin", "drop")
    world.wait_reason("twin", "connection_lost")
    world.wait_connected("twin")
    assert world.fleet.describe("plain")["accepted"] <= accepted + 1
    world.fleet.fault("plain", "wrong_code", on=False)
    world.update("plain", secret=row(world, "plain")["access_code"])
    world.wait_connected("plain")


def test_wrong_serial(world: World) -> None:
    connection = world.wait_reason("serial", "wrong_serial")
    assert connection["state"] == "disconnected"
    world.update("serial", serial=row(world, "serial")["serial"])
    world.wait_connected("serial")


def test_another_printers_certificate(world: World) -> None:
    connection = world.wait_reason("cert", "wrong_serial")
    assert connection["state"] == "disconnected"
    world.fleet.fault("cert", "wrong_cert", on=False)
    world.wait_connected("cert", timeout_s=60)


def test_unreachable(world: World) -> None:
    connection = world.wait_reason("away", "unreachable")
    assert connection["state"] in ("disconnected", "connecting")
    world.fleet.fault("away", "unreachable", on=False)
    world.wait_connected("away", timeout_s=45)
    assert world.status("away")["state"] == "idle"


def test_lost_connection_comes_back(world: World) -> None:
    world.wait_state("cut", "idle")
    seen = len(world.events("cut"))
    world.fleet.fault("cut", "unreachable")
    wait_for(lambda: world.reason("cut")[1] in ("connection_lost", "unreachable"), what="reason")
    world.wait_state("cut", "offline")
    world.fleet.fault("cut", "unreachable", on=False)
    world.wait_connected("cut", timeout_s=45)
    world.wait_state("cut", "idle")
    changes = [(each["from"], each["to"]) for each in world.events("cut")[seen:]]
    assert changes == [("idle", "offline"), ("offline", "idle")]


@pytest.mark.parametrize("name", ["fun", "sign", "ack"])
def test_developer_mode_off(world: World, name: str) -> None:
    """Three signs: the `fun` bit (X1, H2), a health message (P1), the refusal of anyone's command (A1)."""
    world.fleet.fault(name, "developer_mode_off")
    if name == "ack":
        message = {"print": {"sequence_id": "20017", "command": "pause", "param": ""}}
        world.fleet.ctl("request", name, message=message)
    connection = world.wait_reason(name, "developer_mode_off")
    assert connection["state"] == "connected" and world.status(name)["state"] == "idle"
    world.fleet.fault(name, "developer_mode_off", on=False)
    if name != "ack":
        wait_for(lambda: world.reason(name)[1] is None, what="no reason")


def test_settings_that_cannot_work(world: World) -> None:
    plain = row(world, "plain")
    world.add(plain | {"name": "keyless", "serial": "0390000000000AA"}, secret=None)
    world.add(plain | {"name": "off", "serial": "0390000000000CC"}, enabled=False)
    world.wait_reason("keyless", "no_secret")
    assert world.reason("off") == ("disabled", "disabled")


def test_a_secret_sealed_for_another_row_does_not_open(world: World) -> None:
    plain = row(world, "plain") | {"name": "moved", "serial": "0390000000000DD"}
    world.add(plain, secret_sealed=world.keys.seal(world.org, world.ids["plain"], "12345678"))
    wait_for(lambda: world.reason("moved")[1] not in (None, "no_gateway"), what="reason")
    assert world.reason("moved")[0] == "disconnected"


def test_disabling_ends_the_session(world: World) -> None:
    wait_for(lambda: world.fleet.describe("config")["sessions"] == 1, what="session")
    world.update("config", enabled=False)
    world.wait_reason("config", "disabled")
    wait_for(lambda: world.fleet.describe("config")["sessions"] == 0, what="end of the session")
    assert world.status("config")["state"] == "offline"
    world.update("config", enabled=True)
    world.wait_connected("config")


def test_a_new_address_is_taken_up(world: World) -> None:
    world.update("config", host="127.0.0.1", port=1)
    world.wait_reason("config", "unreachable")
    world.update("config", port=row(world, "config")["port"])
    world.wait_connected("config")


def test_a_new_name_does_not_cost_the_session(world: World) -> None:
    world.wait_connected("config")
    accepted = world.fleet.describe("config")["accepted"]
    world.update("config", notes="moved to shelf 3", tags=["shelf"])
    wait_for(lambda: world.fleet.describe("twin")["reports"] > 0, what="time for the notification")
    world.db.execute("SELECT sec.request_refresh(%s)", [world.ids["config"]])
    wait_for(
        lambda: sum("pushing" in e["message"] for e in world.fleet.ctl("requests", "config")) >= 2,
        what="pushall",
    )
    assert world.fleet.describe("config")["accepted"] == accepted


def test_a_deleted_printer_is_left_alone(world: World) -> None:
    wait_for(lambda: world.fleet.describe("twin")["sessions"] == 1, 20, "session")
    world.db.execute("UPDATE app.printers SET deleted_at = now() WHERE id = %s", [world.ids["twin"]])
    wait_for(lambda: world.fleet.describe("twin")["sessions"] == 0, what="end of the session")


def test_one_session_per_printer(world: World) -> None:
    for each in world.fleet.ctl("list"):
        assert each["sessions"] <= 1, each


def test_silent_printers(world: World) -> None:
    """The slowest last: 60 s without a report and 30 s after the nudge."""
    world.wait_reason("mute", "no_reports", 120)
    assert world.status("mute")["state"] == "offline"
    world.wait_connected("nudge", timeout_s=10)
    world.fleet.fault("mute", "silence", on=False)
    world.wait_state("mute", "idle", 60)
    assert world.reason("mute") == ("connected", None)
