"""Commands and files for PrusaLink printers: each reaches the printer once, whatever becomes of the answer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from asks import Asks
from rig import Gateway, World
from virtual_fleet.harness import wait_for

JOB = {"seconds": 360000, "busy_s": 20}
PRINTERS: list[dict[str, Any]] = [
    {"name": name, "protocol": "prusalink", "model": "MK4", "job": JOB} | other
    for name, other in (
        ("buddy", {}),
        ("link", {"flavour": "link", "model": "MK3S"}),
        ("narrow", {"connections": 1}),
        ("twice", {"job": {"seconds": 300, "busy_s": 20}}),
        ("lost", {}),
        ("full", {}),
        ("cut", {}),
        ("slow", {}),
        ("aged", {}),
        ("orders", {}),
    )
]
FLAGS = ("--time-scale", "60")
CONTENT = b"G1 X1 Y2 E0.1\n" * 50000


@pytest.fixture(scope="module", autouse=True)
def gateway(world: World) -> Iterator[Gateway]:
    running = world.start_gateway()
    world.wait_connected()
    yield running
    assert running.stop() == 0


@pytest.fixture
def asks(world: World) -> Asks:
    return Asks(world)


def orders(world: World, name: str) -> list[tuple[str, str, int | None]]:
    """What was asked of the printer besides questions."""
    asked = world.fleet.ctl("requests", name)
    return [(each["method"], each["path"], each.get("status")) for each in asked if each["method"] != "GET"]


@pytest.mark.parametrize(("name", "folder"), [("buddy", "usb"), ("link", "local"), ("narrow", "usb")])
def test_a_file_is_sent_and_printed(world: World, asks: Asks, name: str, folder: str) -> None:
    row = asks.succeeded(asks.send(name, asks.file("Gehäuse: oben (v2).gcode", CONTENT)), 40)
    short = "Gehäuse_ oben (v2).gcode" if name == "link" else "GEHUSE~1.GCO"
    assert row["result"]["remote_name"] == f"{folder}/{short}" and row["result"]["started"] is True
    (file,) = world.fleet.describe(name)["files"].values()
    assert file["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert file["display_name"] == "Gehäuse_ oben (v2).gcode"
    upload = next(each for each in world.fleet.ctl("requests", name) if each["method"] == "PUT")
    assert upload["headers"]["Content-Length"] == str(len(CONTENT)) and upload["headers"]["Overwrite"] == "?1"
    assert "Print-After-Upload" not in upload["headers"] and "Transfer-Encoding" not in upload["headers"]
    assert [each[0] for each in orders(world, name)] == ["PUT", "POST"]
    job = world.wait_state(name, "printing", 30)["job"]
    assert job["file"] == f"{folder}/{short}" and job["name"] == file["display_name"]
    assert asks.prints(name)[-1]["operation_id"] == row["id"]
    seen = world.fleet.describe(name)
    assert seen["refused"] == 0 and seen["auth"].get("wrong", 0) == 0
    asks.succeeded(asks.command(name, "stop"))


def test_a_file_is_left_there(world: World, asks: Asks) -> None:
    wait_for(lambda: world.status("link")["state"] in ("idle", "failed"), 20, "rest")
    row = asks.succeeded(asks.send("link", asks.file("later.gcode", CONTENT), start=False))
    assert row["result"] == row["result"] | {"started": False, "remote_name": "local/later.gcode"}
    assert world.fleet.describe("link")["state"] in ("IDLE", "STOPPED")


def test_the_same_file_once_more(world: World, asks: Asks) -> None:
    """The job that is over has the same name: it does not pass for the new one."""
    file, numbers = asks.file("again.gcode", CONTENT), []
    for _ in range(2):
        asks.succeeded(asks.send("twice", file), 40)
        world.wait_state("twice", "printing", 30)
        numbers.append(world.wait_state("twice", "finished", 40)["job"]["task_id"])
    assert len(set(numbers)) == 2
    world.fleet.fault("twice", "no_start")
    assert asks.failed(asks.send("twice", file), 40) == "printer_busy"
    assert [each["state"] for each in asks.prints("twice")] == ["completed", "completed"]


def test_orders_of_a_print(world: World, asks: Asks) -> None:
    world.fleet.ctl("print", "orders")
    world.wait_state("orders", "printing", 30)
    asks.succeeded(asks.command("orders", "pause"))
    assert world.fleet.describe("orders")["state"] == "PAUSED"
    asks.succeeded(asks.command("orders", "resume"))
    assert world.fleet.describe("orders")["state"] == "PRINTING"
    asks.succeeded(asks.command("orders", "stop"))
    assert world.fleet.describe("orders")["state"] == "STOPPED"
    number = world.fleet.describe("orders")["job"]["id"]
    job = f"/api/v1/job/{number}"
    assert orders(world, "orders") == [
        ("PUT", f"{job}/pause", 204), ("PUT", f"{job}/resume", 204), ("DELETE", job, 204)
    ]  # fmt: skip
    for command in ("gcode", "emergency_stop", "set_temperatures", "home", "light"):
        with pytest.raises(psycopg.Error, match="cannot do this"):
            asks.command("orders", command)


def test_an_answer_is_lost(world: World, asks: Asks) -> None:
    """libcurl would send the request again; the printer sees it once, and its state tells how it went."""
    world.fleet.fault("lost", "lost_answer", only="POST")
    asks.succeeded(asks.send("lost", asks.file("lost.gcode", CONTENT)), 60)
    world.fleet.fault("lost", "lost_answer")
    world.wait_state("lost", "printing", 30)
    asks.succeeded(asks.command("lost", "pause"), 30)
    world.fleet.fault("lost", "lost_answer", on=False)
    assert world.fleet.describe("lost")["state"] == "PAUSED"
    assert [each[0] for each in orders(world, "lost")] == ["PUT", "POST", "PUT"]


def test_no_room(world: World, asks: Asks) -> None:
    file = asks.file("full.gcode", CONTENT)
    world.fleet.fault("full", "no_space")
    assert asks.failed(asks.send("full", file), 40) == "no_space"
    world.fleet.fault("full", "no_space", on=False)
    world.fleet.fault("full", "transfer_busy")
    assert asks.failed(asks.send("full", file), 40) == "printer_busy"
    world.fleet.fault("full", "transfer_busy", on=False)
    world.fleet.fault("full", "no_storage")
    assert asks.failed(asks.send("full", file), 40) == "no_space"
    world.fleet.fault("full", "no_storage", on=False)
    assert asks.failed(asks.send("full", asks.file("model.stl", CONTENT, "stl")), 40) == "upload_refused"
    assert world.reason("full") == ("connected", None)


def test_an_upload_is_cut_and_begun_again(world: World, asks: Asks) -> None:
    world.fleet.fault("cut", "cut_upload", bytes=100000)
    job = asks.send("cut", asks.file("cut.gcode", CONTENT))
    wait_for(lambda: world.fleet.describe("cut")["partials"] >= 1, 20, "a cut")
    world.fleet.fault("cut", "cut_upload", on=False)
    asks.succeeded(job, 60)
    assert world.fleet.describe("cut")["files"]["cut.gcode"]["size"] == len(CONTENT)
    assert [each[0] for each in orders(world, "cut")].count("POST") == 1


def test_a_nonce_that_aged_on_the_way(world: World, asks: Asks) -> None:
    """libcurl answers the first refusal itself; after the second the upload begins anew."""
    world.fleet.fault("aged", "old_nonce", times=2)
    asks.succeeded(asks.send("aged", asks.file("aged.gcode", CONTENT)), 60)
    puts = [each[2] for each in orders(world, "aged") if each[0] == "PUT"]
    assert puts == [401, 401, 201]
    assert world.reason("aged") == ("connected", None)


def test_an_upload_is_given_up(world: World, asks: Asks) -> None:
    """A slow printer takes its time, reports go on, and a cancelled upload leaves nothing."""
    world.fleet.fault("slow", "slow_upload", bytes_s=50000)
    job = asks.send("slow", asks.file("slow.gcode", CONTENT))
    wait_for(lambda: world.fleet.describe("slow")["uploading"], 20, "upload")
    wait_for(lambda: (asks.job(job)["progress"] or {}).get("done"), 20, "progress")
    asks.cancel(job)
    assert asks.wait(job)["state"] == "cancelled"
    wait_for(lambda: not world.fleet.describe("slow")["uploading"], 20, "end of the upload")
    assert world.fleet.describe("slow")["files"] == {} and world.fleet.describe("slow")["partials"] == 1
    assert world.reason("slow") == ("connected", None)
