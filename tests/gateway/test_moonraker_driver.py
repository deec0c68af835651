"""The Moonraker driver against the virtual one: commands and their answers, uploads, starts, Klipper's comings and
goings. Recordings of the real one are replayed in tests/unit/test_gw_moonraker.c.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from probe import Probe
from rig import short_folder
from virtual_fleet.harness import RunningFleet, wait_for

OBJECTS = ["temperature_sensor chamber", "gcode_macro LOAD_FILAMENT", "fan_generic aux_fan"]
CAM = {"name": "bed", "enabled": True, "service": "mjpegstreamer-adaptive", "stream_url": "/webcam/?action=stream"}
PRINTERS: list[dict[str, Any]] = [
    {"name": "full", "protocol": "moonraker", "objects": OBJECTS, "pins": ["caselight"], "webcams": [CAM], "tools": 2,
     "job": {"seconds": 4000, "prepare_s": 30}},
    {"name": "bare", "protocol": "moonraker", "needs_key": False},
]  # fmt: skip
SIZE = 1_500_000
IDLE = ("idle", "finished", "failed", "error")


@pytest.fixture(scope="module")
def fleet() -> Iterator[RunningFleet]:
    with RunningFleet(short_folder("slp-moon-"), PRINTERS, "--time-scale", "100") as running:
        yield running


@pytest.fixture
def file(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / f"{request.node.name[:40]} \u00fc.gcode"
    path.write_bytes(os.urandom(SIZE))
    return path


def row(fleet: RunningFleet, name: str) -> dict[str, Any]:
    return next(each for each in fleet.printers if each["name"] == name)


@pytest.fixture
def probe(fleet: RunningFleet, request: pytest.FixtureRequest) -> Iterator[Probe]:
    """On the printer `full`, idle; whatever the test has set is taken back."""
    name = getattr(request, "param", "full")
    with Probe(row(fleet, name), protocol="moonraker") as running:
        running.wait("report", state="idle")
        yield running
    for kind in fleet.describe(name)["faults"]:
        fleet.fault(name, kind, on=False)
    fleet.ctl("cancel", name)
    fleet.ctl("restart", name)
    wait_for(lambda: fleet.describe(name)["klippy"] == "ready", what="Klipper")


def last_script(fleet: RunningFleet) -> str:
    return fleet.describe("full")["scripts"][-1]


def begin(fleet: RunningFleet, probe: Probe) -> int:
    place = len(probe.events)
    assert fleet.ctl("print", "full", job={"file": "ours.gcode"})
    probe.wait("report", place, state="printing")
    return place


# --- commands ----------------------------------------------------------------------------------------
def test_pause_resume_stop(fleet: RunningFleet, probe: Probe) -> None:
    place = begin(fleet, probe)
    for command, state in (("pause", "paused"), ("resume", "printing"), ("stop", "idle")):
        assert probe.command(command)["what"] == "accepted"
        probe.wait("report", place, state=state)
        place = len(probe.events)
    assert probe.of("report")[-1]["job"]["outcome"] == "cancelled"


def test_emergency_stop_fails_the_job(fleet: RunningFleet, probe: Probe) -> None:
    """print_stats is back at standby before anybody says why: the job is not taken for one that ended well."""
    place = begin(fleet, probe)
    assert probe.command("emergency_stop")["what"] == "accepted"
    report = probe.wait("report", place, state="error")
    assert report["job"]["outcome"] == "failed" and report["job"]["file"] == "ours.gcode"
    assert probe.command("pause")["what"] == "refused"
    place = len(probe.events)
    assert probe.command("clear_error")["what"] == "accepted"
    assert probe.wait("report", place, state="idle")["job"]["outcome"] == "failed"


def test_firmware_restart(fleet: RunningFleet, probe: Probe) -> None:
    fleet.fault("full", "shutdown")
    place = len(probe.events)
    probe.wait("report", state="error")
    assert probe.command("firmware_restart")["what"] == "accepted"
    probe.wait("report", place, state="idle")
    wanted = fleet.describe("full")["wanted"]
    assert any("print_stats" in each for each in wanted), "subscribed anew"
    probe.do("command", command={"command": "set_temperatures", "bed_c": 45})
    wait_for(lambda: fleet.describe("full")["targets"]["heater_bed"] == 45, what="bed")


def test_gcode_and_what_klipper_says_of_it(fleet: RunningFleet, probe: Probe) -> None:
    """ "ok" for an unknown command is none."""
    assert probe.command("gcode", lines=["G28", "M117 hi"])["what"] == "accepted"
    assert last_script(fleet) == "G28\nM117 hi"
    answer = probe.command("gcode", lines=["G28", "bogus_cmd A=1"])
    assert answer["what"] == "refused" and 'Unknown command:"BOGUS_CMD"' in answer["words"]
    answer = probe.command("gcode", lines=["M104 S999"])
    assert answer["what"] == "refused" and "out of range" in answer["words"]


def test_temperatures(fleet: RunningFleet, probe: Probe) -> None:
    assert probe.command("set_temperatures", nozzle_c=210.5, bed_c=60)["what"] == "accepted"
    assert probe.command("set_temperatures", nozzle=1, nozzle_c=180)["what"] == "accepted"
    targets = fleet.describe("full")["targets"]
    assert (targets["extruder"], targets["extruder1"], targets["heater_bed"]) == (210.5, 180, 60)
    assert probe.command("set_temperatures", nozzle=3, nozzle_c=180)["what"] == "unsupported"
    assert probe.command("set_temperatures", chamber_c=40)["what"] == "unsupported"


def test_moves(fleet: RunningFleet, probe: Probe) -> None:
    answer = probe.command("jog", x_mm=10)
    assert answer["what"] == "refused" and "Must home" in answer["words"]
    wait_for(lambda: last_script(fleet) == "G90", what="absolute again after a move that was refused")
    assert probe.command("home", axes=["x", "y"])["what"] == "accepted" and last_script(fleet) == "G28 X Y"
    assert probe.command("home")["what"] == "accepted" and last_script(fleet) == "G28"
    assert probe.command("jog", x_mm=10, z_mm=-0.05, feed_mm_min=3000)["what"] == "accepted"
    assert last_script(fleet) == "G91\nG1 X10.000 Z-0.050 F3000\nG90"


def test_fans_speed_light_objects_filament(fleet: RunningFleet, probe: Probe) -> None:
    assert probe.command("fans", part_cooling_pct=50)["what"] == "accepted" and last_script(fleet) == "M106 S128"
    assert probe.command("fans", chamber_pct=50)["what"] == "unsupported"
    assert probe.command("speed", percent=120)["what"] == "accepted" and last_script(fleet) == "M220 S120"
    assert probe.command("speed", level="sport")["what"] == "unsupported"
    assert probe.command("light", on=True)["what"] == "accepted"
    assert last_script(fleet) == "SET_PIN PIN=caselight VALUE=1"
    assert probe.command("light", node="nothing", on=True)["what"] == "unsupported"
    answer = probe.command("skip_objects", objects=["CUBE_1"])
    assert answer["what"] == "accepted" and last_script(fleet) == "EXCLUDE_OBJECT NAME=CUBE_1"
    assert probe.command("skip_objects", objects=["A\nM112"])["what"] == "accepted"
    assert "\n" not in last_script(fleet), "no second line comes out of a name"
    assert probe.command("skip_objects", objects=["A B"])["what"] == "unsupported"
    assert probe.command("load_filament")["what"] == "accepted" and last_script(fleet) == "LOAD_FILAMENT"
    assert probe.command("unload_filament")["what"] == "unsupported"


def test_an_answer_that_never_comes(fleet: RunningFleet, probe: Probe) -> None:
    begin(fleet, probe)
    fleet.fault("full", "lost_answer")
    assert probe.command("pause")["what"] == "lost"
    assert [each["method"] for each in fleet.ctl("requests", "full", method="printer.print.pause")][-1:], "sent"
    fleet.fault("full", "lost_answer", on=False)
    probe.wait("report", len(probe.events) - 1, state="paused", timeout_s=20)


# --- files -------------------------------------------------------------------------------------------
def test_upload_and_start(fleet: RunningFleet, probe: Probe, file: Path) -> None:
    assert probe.upload(file, kind="gcode")["what"] == "done"
    assert fleet.describe("full")["files"][f"SoLoPrint/{file.name}"]["size"] == SIZE
    assert 0 < probe.of("progress")[-1]["sent"] <= SIZE
    place = len(probe.events)
    assert probe.start()["what"] == "accepted"
    report = probe.wait("report", place, state="printing")
    assert report["ours"] and report["job"]["file"] == f"SoLoPrint/{file.name}"
    assert report["job"]["total_layers"] == 50
    assert probe.start()["what"] in ("busy", "refused")


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        ("no_space", "no_space"), ("bad_checksum", "broken"), ("upload_forbidden", "busy"), ("cut_upload", "broken"),
        ("wrong_code", "refused"),
    ],
)  # fmt: skip
def test_uploads_that_fail(fleet: RunningFleet, probe: Probe, file: Path, fault: str, what: str) -> None:
    fleet.fault("full", fault, **({"bytes": 100_000} if fault == "cut_upload" else {}))
    answer = probe.upload(file, kind="gcode")
    assert answer["what"] == what, answer
    assert file.name not in fleet.describe("full")["files"]


def test_no_such_extension(fleet: RunningFleet, probe: Probe, file: Path) -> None:
    answer = probe.upload(file, kind="gcode", filename="model.stl")
    assert answer["what"] == "refused" and "extension" in answer["words"]


def test_an_upload_is_given_up(fleet: RunningFleet, probe: Probe, file: Path) -> None:
    fleet.fault("full", "slow_upload", bytes_s=200_000)
    place = probe.begin_upload(file, kind="gcode")
    wait_for(lambda: fleet.describe("full")["uploading"], what="upload")
    partials = fleet.describe("full")["partials"]
    probe.do("abort")
    probe.wait("aborted", place)
    wait_for(lambda: fleet.describe("full")["partials"] > partials, what="the end of the upload")
    assert file.name not in fleet.describe("full")["files"] and not probe.of("uploaded", place)


def test_a_lost_connection_during_an_upload(fleet: RunningFleet, probe: Probe, file: Path) -> None:
    fleet.fault("full", "slow_upload", bytes_s=200_000)
    place = probe.begin_upload(file, kind="gcode")
    wait_for(lambda: fleet.describe("full")["uploading"], what="upload")
    fleet.fault("full", "drop")
    assert probe.wait("uploaded", place)["what"] == "broken"


def test_starts_that_are_refused(fleet: RunningFleet, probe: Probe, file: Path) -> None:
    assert probe.upload(file, kind="gcode")["what"] == "done"
    fleet.fault("full", "shutdown")
    probe.wait("report", state="error")
    assert probe.start()["what"] == "refused"


# --- Klipper's comings and goings --------------------------------------------------------------------
def test_klipper_is_away_for_a_moment(fleet: RunningFleet, probe: Probe) -> None:
    """A restart makes no other state than the one it had."""
    place = len(probe.events)
    fleet.ctl("restart", "full")
    probe.wait("report", place, limits="printer_not_connected")
    wait_for(lambda: probe.of("report", place)[-1]["limits"] in ("", "none", None), what="ready")
    assert {each["state"] for each in probe.of("report", place)} == {"idle"}


def test_klipper_goes_while_it_prints(fleet: RunningFleet, probe: Probe) -> None:
    place = begin(fleet, probe)
    fleet.fault("full", "klippy_gone")
    report = probe.wait("report", place, state="error")
    assert report["job"]["outcome"] == "failed"
    probe.wait("report", place, state="offline", timeout_s=20)


@pytest.mark.parametrize(("fault", "state"), [("config_error", "error"), ("shutdown", "error")])
def test_klipper_is_ill_before_we_come(fleet: RunningFleet, fault: str, state: str) -> None:
    fleet.fault("full", fault)
    try:
        with Probe(row(fleet, "full"), protocol="moonraker") as probe:
            probe.wait("report", state=state)
            place = len(probe.events)
            fleet.fault("full", fault, on=False)
            probe.wait("report", place, state="idle")
    finally:
        fleet.fault("full", fault, on=False)


def test_a_job_put_away_by_somebody_else(fleet: RunningFleet, probe: Probe) -> None:
    """SDCARD_RESET_FILE during a print: the state says nothing of it, the history does."""
    begin(fleet, probe)
    place = len(probe.events)
    assert probe.command("gcode", lines=["SDCARD_RESET_FILE"])["what"] == "accepted"
    probe.wait("report", place, state="idle")
    wait_for(lambda: probe.of("report")[-1]["job"]["outcome"] == "cancelled", what="outcome")


# --- credentials and camera --------------------------------------------------------------------------
def test_a_key_that_is_asked_for_late(fleet: RunningFleet, probe: Probe) -> None:
    """The upgrade is open to everybody, the calls are not: the key comes with the identification."""
    fleet.fault("full", "late_key")
    fleet.fault("full", "drop")
    place = len(probe.events)
    probe.wait("up", place, timeout_s=20)
    probe.wait("report", place, state="idle")
    fleet.fault("full", "wrong_code")
    fleet.fault("full", "drop")
    probe.wait("failed", place, what="wrong_access_code")


def test_no_key_is_needed(fleet: RunningFleet) -> None:
    with Probe(row(fleet, "bare") | {"access_code": ""}, protocol="moonraker") as probe:
        probe.wait("report", state="idle")


def test_camera(fleet: RunningFleet, probe: Probe) -> None:
    """Its address is relative to the web front end's."""
    wait_for(lambda: probe.wait("camera", probe.do("camera"))["url"], what="camera")
    found = probe.wait("camera", probe.do("camera"))
    assert found["url"] == "http://127.0.0.1:80/webcam/?action=stream"
