"""PrusaLink through the gateway: who is let in and how, states, outcomes, names, and a printer that misbehaves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from rig import Gateway, World
from virtual_fleet.harness import wait_for


def printer(name: str, **other: Any) -> dict[str, Any]:
    return {"name": name, "protocol": "prusalink", "model": "MK4", "job": {"seconds": 6000}} | other


PRINTERS: list[dict[str, Any]] = [
    printer("buddy"),
    printer("link", flavour="link", model="MK3S", camera=True),
    printer("user", flavour="link", user="anna"),
    printer("key", flavour="link"),
    printer("forced", flavour="link"),
    printer("keys-only"),
    printer("wrong"),
    printer("serial"),
    printer("aged", nonce_s=0.5),
    printer("narrow", connections=1),
    printer("drops", drop_to_idle_s=0.5),
    printer("never", drop_to_idle_s=0),
    printer("ends"),
    printer("alarm"),
    printer("garbage"),
    printer("mute"),
    printer("cut"),
    printer("away"),
    printer("boots"),
    printer("other", protocol="bambu", model="A1", job={}),
]
FLAGS = ("--time-scale", "60")


def row(world: World, name: str) -> dict[str, Any]:
    return next(each for each in world.fleet.printers if each["name"] == name)


def auth(world: World, name: str) -> dict[str, int]:
    return world.fleet.describe(name)["auth"]


@pytest.fixture(scope="module", autouse=True)
def gateway(world: World) -> Iterator[Gateway]:
    for name in ("key", "forced"):
        code = row(world, name)["access_code"] + "-key"
        world.update(name, secret=code if name == "key" else ":" + code)
    world.update("user", secret="anna:" + row(world, "user")["access_code"])
    world.update("wrong", secret="nonsense")
    world.update("serial", serial="OTHER")
    world.fleet.fault("keys-only", "no_challenge")
    world.fleet.fault("away", "unreachable")
    world.fleet.fault("boots", "unavailable")
    running = world.start_gateway()
    yield running
    assert running.stop() == 0


def test_a_password_goes_as_digest(world: World) -> None:
    for name in ("buddy", "link", "user"):
        world.wait_connected(name)
        assert not {"key", "wrong_key", "basic"} & set(auth(world, name)), name
        assert world.status(name)["state"] == "idle"


def test_a_key_goes_as_key_once_digest_is_refused(world: World) -> None:
    world.wait_connected("key", "keys-only")
    assert auth(world, "key")["wrong"] == 1
    assert auth(world, "keys-only")["key"] > 0
    world.wait_connected("forced")
    assert set(auth(world, "forced")) == {"key"}


def test_what_let_us_in_is_remembered(world: World) -> None:
    world.wait_connected("key")
    refused = auth(world, "key")["wrong"]
    world.fleet.fault("key", "drop")
    world.fleet.fault("key", "unreachable")
    world.wait_reason("key", "connection_lost")
    world.fleet.fault("key", "unreachable", on=False)
    world.wait_connected("key")
    assert auth(world, "key")["wrong"] == refused


def test_neither_password_nor_key(world: World) -> None:
    connection = world.wait_reason("wrong", "wrong_access_code")
    assert connection["state"] == "disconnected"
    seen = auth(world, "wrong")
    assert seen["wrong"] == 1 and seen["wrong_key"] == 1  # and not again until the settings change
    world.update("wrong", secret=row(world, "wrong")["access_code"])
    world.wait_connected("wrong")


def test_the_secret_changes_at_the_printer(world: World) -> None:
    world.wait_connected("wrong")
    world.fleet.ctl("secret", "wrong", secret="changed!")
    world.wait_reason("wrong", "wrong_access_code")
    world.update("wrong", secret="maker:changed!")
    world.wait_connected("wrong")


def test_another_printer_at_the_address(world: World) -> None:
    world.wait_reason("serial", "wrong_serial")
    world.update("serial", serial=row(world, "serial")["serial"].lower())
    world.wait_connected("serial")


def test_nonces_age(world: World) -> None:
    world.wait_connected("aged")
    wait_for(lambda: auth(world, "aged").get("stale", 0) >= 3, 30, "old nonces")
    assert world.reason("aged") == ("connected", None)
    assert auth(world, "aged").get("wrong", 0) == 0


def test_one_connection_is_enough(world: World) -> None:
    world.wait_connected("narrow")
    world.fleet.ctl("print", "narrow")
    world.wait_state("narrow", "printing", 30)
    seen = world.fleet.describe("narrow")
    assert seen["refused"] == 0 and seen["peak"] == 1


def test_questions_carry_one_agent_and_no_secret(world: World) -> None:
    asked = world.fleet.ctl("requests", "link")
    assert len({each["headers"]["User-Agent"] for each in asked}) == 1
    assert {each["method"] for each in asked} == {"GET"}
    once = [each["path"] for each in asked if each["path"] in ("/api/version", "/api/v1/info")]
    assert len(once) == 3  # the version twice: the challenge comes in between


def test_a_job_from_start_to_end(world: World) -> None:
    world.wait_connected("ends")
    world.fleet.ctl("print", "ends", job={"seconds": 600, "file": "A rather long name.gcode"})
    world.wait_state("ends", "printing", 30)
    status = world.status("ends")
    job = status["job"]
    assert job["file"] == "usb/ARATHE~1.GCO" and job["name"] == "A rather long name.gcode"
    assert job["task_id"] == str(world.fleet.describe("ends")["job"]["id"])
    assert status["temperatures"]["nozzles"][0]["target_c"] == 215
    wait_for(lambda: (world.status("ends")["job"]["progress"] or 0) > 20, 30, "progress")
    job = world.wait_state("ends", "finished", 40)["job"]
    assert job["outcome"] == "completed" and job["progress"] == 100 and job["name"] == "A rather long name.gcode"
    world.fleet.ctl("idle", "ends")
    world.wait_state("ends", "idle")
    assert world.status("ends")["job"] is None


def test_stopped_is_cancelled(world: World) -> None:
    world.wait_connected("buddy")
    world.fleet.ctl("print", "buddy")
    world.wait_state("buddy", "printing", 30)
    world.fleet.ctl("pause", "buddy")
    world.wait_state("buddy", "paused")
    world.fleet.ctl("cancel", "buddy")
    assert world.wait_state("buddy", "failed")["job"]["outcome"] == "cancelled"
    assert world.events("buddy")[-1]["job_outcome"] == "cancelled"


def test_the_word_for_the_end_may_be_missed(world: World) -> None:
    """A printer that goes back to idle at once: the job still ends, once, with an outcome."""
    world.wait_connected("never", "drops")
    for name in ("never", "drops"):
        world.fleet.ctl("print", name)
        world.wait_state(name, "printing", 30)
        world.fleet.ctl("cancel", name)
        world.wait_state(name, "idle")
        told = [each for each in world.events(name) if each.get("job_outcome")]
        assert [each["job_outcome"] for each in told] == ["cancelled"], name


def test_attention_pauses_and_raises_an_alarm(world: World) -> None:
    world.wait_connected("alarm")
    world.fleet.fault("alarm", "attention")
    world.wait_state("alarm", "error")
    world.fleet.fault("alarm", "attention", on=False)
    world.wait_state("alarm", "idle")
    world.fleet.ctl("print", "alarm")
    world.wait_state("alarm", "printing", 30)
    world.fleet.fault("alarm", "attention")
    assert [each["code"] for each in world.wait_state("alarm", "paused")["errors"]] == ["ATTENTION"]
    world.fleet.fault("alarm", "attention", on=False)
    world.wait_state("alarm", "printing")
    assert world.status("alarm")["errors"] == []
    world.fleet.fault("alarm", "error")
    world.wait_state("alarm", "error")
    assert world.events("alarm")[-2]["job_outcome"] == "failed"
    assert [each["code"] for each in world.status("alarm")["errors"]] == ["ERROR"]


def test_garbage_harms_nobody(world: World, gateway: Gateway) -> None:
    world.wait_connected("garbage")
    for body in ("<html>", "[]", "{}", '{"printer":{"state":[]}}', "{" * 5000, "x" * 500000):
        world.fleet.fault("garbage", "garbage", body=body)
        asked = len(world.fleet.ctl("requests", "garbage"))
        wait_for(lambda: len(world.fleet.ctl("requests", "garbage")) > asked + 1, 20, "questions")  # noqa: B023
    assert gateway.alive
    assert world.status("garbage")["state"] in ("idle", "offline")
    world.fleet.fault("garbage", "garbage", on=False)
    world.wait_connected("garbage", timeout_s=40)
    world.wait_state("garbage", "idle")


def test_no_answers(world: World) -> None:
    world.wait_connected("mute")
    world.fleet.fault("mute", "silence")
    world.wait_reason("mute", "connection_lost", 60)
    world.fleet.fault("mute", "silence", on=False)
    world.wait_connected("mute", timeout_s=40)


def test_a_cut_connection_is_no_news(world: World) -> None:
    """The printer drops idle connections as it likes: the next question opens another."""
    world.wait_connected("cut")
    since = world.status("cut")["connection"]["since"]
    asked = len(world.fleet.ctl("requests", "cut"))
    world.fleet.fault("cut", "drop")
    wait_for(lambda: len(world.fleet.ctl("requests", "cut")) > asked + 2, 20, "further questions")
    assert world.status("cut")["connection"]["since"] == since


def test_its_server_starts(world: World) -> None:
    world.wait_reason("boots", "starting", 40)
    world.fleet.fault("boots", "unavailable", on=False)
    world.wait_connected("boots", timeout_s=45)


def test_unreachable(world: World) -> None:
    world.wait_reason("away", "unreachable")
    world.fleet.fault("away", "unreachable", on=False)
    world.wait_connected("away", timeout_s=40)
