"""The Bambu driver against the virtual printers: commands and their answers, uploads, starts."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mute_broker import MuteBroker
from probe import Probe
from rig import short_folder
from virtual_fleet.certs import Authority
from virtual_fleet.harness import RunningFleet, wait_for

QUICK = {"layers": 4, "layer_s": 30, "change_every": 2}
PRINTERS: list[dict[str, Any]] = [
    {"name": name, "model": model, "job": QUICK, "check_files": True, "late_code_s": 1}
    for name, model in (
        ("a1", "A1"),
        ("mini", "A1 mini"),
        ("p1s", "P1S"),
        ("x1c", "X1C"),
        ("h2d", "H2D"),
        ("p2s", "P2S"),
    )
]
SIZE = 1_500_000


@pytest.fixture(scope="module")
def fleet() -> Iterator[RunningFleet]:
    with RunningFleet(short_folder("slp-bambu-"), PRINTERS, "--time-scale", "100") as running:
        yield running


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "cube.gcode.3mf"
    path.write_bytes(os.urandom(SIZE))
    return path


def row(fleet: RunningFleet, name: str) -> dict[str, Any]:
    return next(each for each in fleet.printers if each["name"] == name)


@pytest.fixture
def printer(fleet: RunningFleet, request: pytest.FixtureRequest) -> Iterator[tuple[str, Probe]]:
    """Name and probe; whatever the test has set is taken back."""
    name = request.param
    with Probe(row(fleet, name)) as probe:
        probe.ready()
        yield name, probe
    for kind in fleet.describe(name)["faults"]:
        fleet.fault(name, kind, on=False)
    fleet.ctl("cancel", name)
    fleet.ctl("set", name, fields={"sdcard": True})


def on(*names: str) -> Any:
    return pytest.mark.parametrize("printer", names, indirect=True)


def requests(fleet: RunningFleet, name: str, command: str) -> list[dict[str, Any]]:
    out = []
    for each in fleet.ctl("requests", name):
        for section in each["message"].values():
            if isinstance(section, dict) and section.get("command") == command:
                out.append(section | {"qos": each["qos"]})
    return out


# --- commands --------------------------------------------------------------------------------------
@on("a1", "p1s", "x1c", "h2d")
def test_a_job_is_paused_resumed_and_stopped(fleet: RunningFleet, printer: tuple[str, Probe]) -> None:
    name, probe = printer
    fleet.ctl("print", name, job={"layers": 5000})
    probe.wait("report", state="printing")
    for command, state in (("pause", "paused"), ("resume", "printing"), ("stop", "failed")):
        place = len(probe.events)
        assert probe.command(command)["what"] == "accepted"
        probe.wait("report", place, state=state)
        sent = requests(fleet, name, command)[-1]
        assert sent["qos"] == 1 and int(sent["sequence_id"]) > 1 << 24
    assert len(probe.of("round_trip")) == 3
    wait_for(lambda: probe.of("report")[-1]["job"]["outcome"] == "cancelled", 15, "the late code")


@on("x1c", "h2d")
def test_what_can_be_set_shows(fleet: RunningFleet, printer: tuple[str, Probe]) -> None:
    name, probe = printer
    commands: list[dict[str, Any]] = [
        {"command": "set_temperatures", "nozzle_c": 200, "bed_c": 55},
        {"command": "fans", "part_cooling_pct": 40, "auxiliary_pct": 100},
        {"command": "light", "on": False},
        {"command": "speed", "level": "sport"},
        {"command": "gcode", "lines": ["M104 S0", "M140 S0"]},
        {"command": "home"},
        {"command": "jog", "z_mm": 5},
        {"command": "skip_objects", "object_ids": [3, 4]},
        {"command": "load_filament", "unit": 1, "slot": 2},
        {"command": "unload_filament"},
        {"command": "clear_error"},
    ]
    for each in commands:
        assert probe.command(**each)["what"] == "accepted", each
    record = fleet.describe(name)["record"]
    assert record["cooling_fan_speed"] == "6" and record["big_fan1_speed"] == "15"
    assert {light["node"]: light["mode"] for light in record["lights_report"]}["chamber_light"] == "off"
    assert all(e["mode"] == "off" for e in record["lights_report"] if e["node"].startswith("chamber"))
    assert record["spd_lvl"] == 3 and record["s_obj"] == [3, 4]
    assert requests(fleet, name, "ams_change_filament")[-2]["target"] == 6
    lines = [each["param"] for each in requests(fleet, name, "gcode_line")]
    assert "M104 S200\nM140 S55\n" in lines or "M104 T0 S200\nM140 S55\n" in lines
    assert "M104 S0\nM140 S0\n" in lines and "G28\n" in lines and "G91\nG1 Z5 F600\nG90\n" in lines


@on("mini")
def test_what_the_model_lacks_is_not_sent(fleet: RunningFleet, printer: tuple[str, Probe]) -> None:
    name, probe = printer
    before = len(fleet.ctl("requests", name))
    for each in (
        {"command": "set_temperatures", "chamber_c": 40},
        {"command": "fans", "chamber_pct": 40},
        {"command": "firmware_restart"},
        {"command": "light", "node": "laser", "on": True},
    ):
        assert probe.command(**each)["what"] == "unsupported"
    assert len(fleet.ctl("requests", name)) == before


@on("x1c")
def test_answers_to_other_clients_are_not_taken_for_ours(fleet: RunningFleet, printer: tuple[str, Probe]) -> None:
    name, probe = printer
    fleet.fault(name, "no_acks")
    place = probe.do("command", command={"command": "speed", "level": "silent"})
    sent = wait_for(lambda: requests(fleet, name, "print_speed"), what="the command")[-1]
    number = int(sent["sequence_id"])
    for other in ("20001", str(number - 1), str(number + 1)):
        ack = f'{{"print":{{"command":"print_speed","sequence_id":"{other}","result":"success"}}}}'
        fleet.ctl("publish", name, payload=ack)
    mine = f'{{"system":{{"command":"print_speed","sequence_id":"{number}","result":"success"}}}}'
    fleet.ctl("publish", name, payload=mine)
    assert probe.wait("answer", place)["what"] == "lost"  # after the ten seconds, not before


@on("a1", "p1s", "x1c")
def test_without_developer_mode_commands_are_refused_in_words(
    fleet: RunningFleet, printer: tuple[str, Probe]
) -> None:
    """P1 never answers: its health message is all there is."""
    name, probe = printer
    fleet.fault(name, "developer_mode_off")
    answer = probe.command("speed", level="silent")
    assert answer["what"] == "refused" and "Developer Mode" in answer["words"]
    assert probe.of("report")[-1]["limits"] == "developer_mode_off"
    assert probe.command("light", on=True)["what"] == "accepted"  # needs no signature


@on("p1s")
def test_the_sign_that_comes_with_the_command_ends_the_wait(
    fleet: RunningFleet, printer: tuple[str, Probe]
) -> None:
    name, probe = printer
    fleet.fault(name, "no_acks")
    place = probe.do("command", command={"command": "speed", "level": "silent"})
    wait_for(lambda: requests(fleet, name, "print_speed"), what="the command")
    began = time.monotonic()
    fleet.ctl("hms", name, entries=[{"attr": 0x05000500, "code": 0x00010007}])
    assert probe.wait("answer", place)["what"] == "refused" and time.monotonic() - began < 2.5
    fleet.ctl("hms", name, entries=[])


@on("p2s")
def test_a_lost_connection_leaves_the_answer_open(fleet: RunningFleet, printer: tuple[str, Probe]) -> None:
    name, probe = printer
    fleet.fault(name, "no_acks")
    place = probe.do("command", command={"command": "pause"})
    wait_for(lambda: requests(fleet, name, "pause"), what="the command")
    fleet.fault(name, "drop")
    assert probe.wait("answer", place)["what"] == "lost"
    probe.wait("failed", place)
    probe.wait("up", place)
    assert len(requests(fleet, name, "pause")) == 1, "never sent twice"


@on("a1")
def test_emergency_stop_halts_and_cancels(fleet: RunningFleet, printer: tuple[str, Probe]) -> None:
    name, probe = printer
    fleet.ctl("print", name, job={"layers": 5000})
    probe.wait("report", state="printing")
    place = len(probe.events)
    probe.command("emergency_stop")
    probe.wait("report", place, state="failed")
    assert requests(fleet, name, "gcode_line")[-1]["param"] == "M112\n" and requests(fleet, name, "stop")


# --- cameras ---------------------------------------------------------------------------------------
@on("p1s", "x1c")
def test_where_pictures_come_from(fleet: RunningFleet, printer: tuple[str, Probe]) -> None:
    name, probe = printer
    camera = probe.wait("camera", probe.do("camera"))
    if name == "p1s":
        assert camera["kind"] == 1 and camera["port"] == 6000 and camera["user"] == "bblp"
        return
    assert camera["kind"] == 0
    ipcam = fleet.describe(name)["record"]["ipcam"]
    for url, kind in (("disable", 0), ("rtsps://203.0.113.9:322/streaming/live/1", 4)):
        fleet.ctl("set", name, fields={"ipcam": ipcam | {"rtsp_url": url}})
        wait_for(
            lambda: probe.wait("camera", probe.do("camera"))["kind"] == kind,  # noqa: B023
            what=f"camera by {url}",
        )
    assert probe.of("camera")[-1]["url"] == "rtsps://127.0.0.1:322/streaming/live/1", "not the printer's word"


# --- uploads ---------------------------------------------------------------------------------------
def stored(fleet: RunningFleet, name: str) -> dict[str, int]:
    return fleet.ctl("files", name)


@on("a1", "p1s", "x1c", "h2d")
def test_an_uploaded_file_is_started_and_recognized(
    fleet: RunningFleet, printer: tuple[str, Probe], file: Path
) -> None:
    name, probe = printer
    place = len(probe.events)
    assert probe.upload(file, task_id=1001)["what"] == "done"
    assert stored(fleet, name)["cube-1001.gcode.3mf"] == SIZE
    assert probe.of("progress", place)
    assert probe.start()["what"] == "accepted"
    probe.wait("report", place, state="printing", ours=True)
    probe.wait("report", place, state="finished", ours=True)
    started = requests(fleet, name, "project_file")[-1]
    assert started["qos"] == 1 and started["task_id"] == started["subtask_id"] == "1001"
    assert started["url"] == ("ftp://" if name == "a1" else "ftp:///") + "cube-1001.gcode.3mf"
    assert started["bed_leveling"] is False and started["timelapse"] is False


@on("p1s")
def test_plain_gcode(fleet: RunningFleet, printer: tuple[str, Probe], file: Path) -> None:
    name, probe = printer
    assert probe.upload(file, task_id=1002, filename="Übung 1.gcode", kind="gcode")["what"] == "done"
    assert probe.start()["what"] == "accepted"
    assert requests(fleet, name, "gcode_file")[-1]["param"] == "/bung_1-1002.gcode"
    probe.wait("report", state="printing", ours=True)


@on("a1")
def test_plain_gcode_is_refused_where_the_model_cannot(printer: tuple[str, Probe], file: Path) -> None:
    _, probe = printer
    assert probe.upload(file, filename="x.gcode", kind="gcode")["what"] == "refused"
    assert probe.upload(file, filename="x.bgcode", kind="bgcode")["what"] == "refused"


@on("x1c")
def test_no_storage_no_upload(fleet: RunningFleet, printer: tuple[str, Probe], file: Path) -> None:
    name, probe = printer
    fleet.ctl("set", name, fields={"sdcard": False})
    answer = wait_for(lambda: (e := probe.upload(file, task_id=7))["what"] == "refused" and e, what="refusal")
    assert "no storage" in answer["words"] or "storage there" in answer["words"]
    assert "cube-7.gcode.3mf" not in stored(fleet, name)


@on("a1", "mini")
def test_firmware_that_cannot_encrypt_data(fleet: RunningFleet, printer: tuple[str, Probe], file: Path) -> None:
    """Nothing moves on the encrypted data connection; the clear one is remembered."""
    name, probe = printer
    fleet.fault(name, "ftps_clear_data")
    assert probe.upload(file, task_id=1003)["what"] == "done"
    assert stored(fleet, name)["cube-1003.gcode.3mf"] == SIZE
    began = time.monotonic()
    assert probe.upload(file, task_id=1004)["what"] == "done"
    assert time.monotonic() - began < 10


@on("x1c")
def test_no_model_but_those_sends_data_in_the_clear(
    fleet: RunningFleet, printer: tuple[str, Probe], file: Path
) -> None:
    name, probe = printer
    fleet.fault(name, "ftps_clear_data")
    assert probe.upload(file, task_id=1005)["what"] == "broken"
    assert stored(fleet, name).get("cube-1005.gcode.3mf", 0) == 0


@on("h2d")
def test_a_late_answer_is_waited_for(fleet: RunningFleet, printer: tuple[str, Probe], file: Path) -> None:
    name, probe = printer
    fleet.fault(name, "ftps_late", delay_s=4)
    assert probe.upload(file, task_id=1006)["what"] == "done"


@on("p2s")
def test_a_lost_answer_is_no_failure_when_the_size_is_right(
    fleet: RunningFleet, printer: tuple[str, Probe], file: Path
) -> None:
    name, probe = printer
    fleet.fault(name, "ftps_lost_answer")
    assert probe.upload(file, task_id=1007)["what"] == "done"
    assert stored(fleet, name)["cube-1007.gcode.3mf"] == SIZE


@on("x1c")
@pytest.mark.parametrize(
    ("kind", "fields", "end"),
    [
        ("ftps_short", {"bytes": 1_000_000}, "broken"),
        ("ftps_drop", {"bytes": 500_000}, "broken"),
        ("ftps_full", {}, "no_space"),
        ("ftps_refused", {}, "refused"),
    ],
)
def test_a_failed_upload_says_why_and_leaves_nothing(
    fleet: RunningFleet, printer: tuple[str, Probe], file: Path, kind: str, fields: dict[str, Any], end: str
) -> None:
    name, probe = printer
    fleet.fault(name, kind, **fields)
    answer = probe.upload(file, task_id=1008)
    assert answer["what"] == end and answer["words"]
    assert "cube-1008.gcode.3mf" not in stored(fleet, name)


@on("x1c")
def test_an_upload_that_is_given_up_leaves_nothing(
    fleet: RunningFleet, printer: tuple[str, Probe], file: Path
) -> None:
    name, probe = printer
    fleet.fault(name, "ftps_stall", bytes=400_000)
    place = probe.begin_upload(file, task_id=1009)
    wait_for(lambda: stored(fleet, name).get("cube-1009.gcode.3mf"), what="a partial file")
    probe.wait("aborted", probe.do("abort"))
    wait_for(lambda: "cube-1009.gcode.3mf" not in stored(fleet, name), what="removal")
    fleet.fault(name, "ftps_stall", on=False)
    assert probe.upload(file, task_id=1010)["what"] == "done"
    assert len(probe.of("uploaded", place)) == 1, "nothing is told of what was given up"


@on("x1c")
def test_the_removal_of_a_part_does_not_meet_the_next_try(
    fleet: RunningFleet, printer: tuple[str, Probe], file: Path
) -> None:
    """The session breaks; the upload is begun again while its first part is still being removed."""
    name, probe = printer
    fleet.fault(name, "ftps_stall", bytes=400_000)
    place = probe.begin_upload(file, task_id=1013)
    wait_for(lambda: stored(fleet, name).get("cube-1013.gcode.3mf"), what="a partial file")
    fleet.fault(name, "ftps_stall", on=False)
    fleet.fault(name, "ftps_slow_delete", delay_s=3)
    fleet.fault(name, "drop")
    assert probe.wait("uploaded", place)["what"] == "broken"
    probe.wait("up", place)
    probe.wait("report", place)
    assert probe.upload(file, task_id=1013)["what"] == "done"
    fleet.fault(name, "ftps_slow_delete", on=False)
    began = time.monotonic()
    wait_for(lambda: time.monotonic() - began > 3.5, what="the delay of the removal")
    assert stored(fleet, name)["cube-1013.gcode.3mf"] == SIZE


@on("x1c")
def test_a_wrong_code_is_told(fleet: RunningFleet, printer: tuple[str, Probe], file: Path) -> None:
    """The code has changed, and the session has not noticed yet."""
    name, probe = printer
    fleet.fault(name, "silence")
    fleet.fault(name, "wrong_code")
    try:
        answer = probe.upload(file, task_id=1011)
        assert answer["what"] in ("refused", "broken")
        assert row(fleet, name)["access_code"] not in "".join(probe.log)
    finally:
        fleet.fault(name, "wrong_code", on=False)


def test_a_certificate_of_another_printer_gets_no_code(fleet: RunningFleet, file: Path) -> None:
    mine, other = row(fleet, "x1c"), row(fleet, "h2d")
    with Probe(mine | {"ftps_port": other["ftps_port"]}) as probe:
        probe.ready()
        answer = probe.upload(file, task_id=1012)
        assert answer["what"] == "refused" and "another printer" in answer["words"]
    assert "cube-1012.gcode.3mf" not in stored(fleet, "h2d")


# --- starts ----------------------------------------------------------------------------------------
@on("mini")
def test_a_start_never_reaches_a_busy_printer(fleet: RunningFleet, printer: tuple[str, Probe], file: Path) -> None:
    """It would kill the job that runs."""
    name, probe = printer
    assert probe.upload(file, task_id=2001)["what"] == "done"
    for state in ("preparing", "printing", "paused"):
        if state == "preparing":
            fleet.ctl("print", name, job={"layers": 5000})
        elif state == "paused":
            fleet.ctl("pause", name)
        probe.wait("report", state=state)
        assert probe.start()["what"] == "busy"
    assert not requests(fleet, name, "project_file")
    assert fleet.describe(name)["gcode_state"] == "PAUSE"


@on("a1")
def test_no_second_start_while_the_first_does_not_show(
    fleet: RunningFleet, printer: tuple[str, Probe], file: Path
) -> None:
    """FINISH stays for a while, beside the new job's numbers; then IDLE, then PREPARE."""
    name, probe = printer
    place = len(probe.events)
    fleet.ctl("print", name)
    probe.wait("report", place, state="printing")
    probe.wait("report", place, state="finished", timeout_s=30)
    assert probe.upload(file, task_id=2002)["what"] == "done"
    fleet.fault(name, "sticky", real_s=3)
    place = len(probe.events)
    assert probe.start()["what"] == "accepted"
    wait_for(lambda: fleet.describe(name)["record"]["task_id"] == "2002", what="the new job's number")
    assert fleet.describe(name)["gcode_state"] == "FINISH"
    assert probe.start()["what"] == "busy"
    probe.wait("report", place, state="printing", ours=True)
    before = [e for e in probe.of("report", place) if e["state"] in ("finished", "idle")]
    assert before and not any(e["ours"] for e in before), "the old FINISH is not the new job's"
    count = len(requests(fleet, name, "project_file"))
    probe.wait("report", place, state="finished", ours=True, timeout_s=30)
    probe.upload(file, task_id=2003)
    assert probe.start()["what"] == "accepted", "the job was seen: there may be another"
    assert len(requests(fleet, name, "project_file")) == count + 1


@on("x1c")
def test_a_busy_answer_is_told_as_such(fleet: RunningFleet, printer: tuple[str, Probe], file: Path) -> None:
    name, probe = printer
    probe.upload(file, task_id=2004)
    fleet.fault(name, "busy")
    assert probe.start()["what"] == "busy"
    fleet.fault(name, "busy", on=False)
    assert probe.start()["what"] == "accepted", "a refused start guards nothing"


@on("h2d")
def test_an_unanswered_start_is_not_repeated(fleet: RunningFleet, printer: tuple[str, Probe], file: Path) -> None:
    """The session may be half dead: another client comes instead."""
    name, probe = printer
    probe.upload(file, task_id=2005)
    fleet.fault(name, "mute_start")
    count = len(requests(fleet, name, "project_file"))
    place = probe.do("start")
    assert probe.wait("answer", place)["what"] == "lost"
    probe.wait("failed", place)
    probe.wait("up", place)
    probe.wait("report", place)
    assert probe.start()["what"] == "busy", "whether it was taken is not known yet"
    assert len(requests(fleet, name, "project_file")) == count + 1


@on("p2s")
def test_a_start_that_shows_needs_no_answer(fleet: RunningFleet, printer: tuple[str, Probe], file: Path) -> None:
    name, probe = printer
    probe.upload(file, task_id=2006)
    fleet.fault(name, "mute_start", taken=True)
    place = probe.do("start")
    assert probe.wait("answer", place)["what"] == "accepted"
    assert not probe.of("failed", place)


# --- a broker that forgets to confirm --------------------------------------------------------------
@pytest.fixture
def broker(fleet: RunningFleet) -> Iterator[MuteBroker]:
    serial = row(fleet, "x1c")["serial"]
    authority = Authority(fleet.folder / "ca")
    with MuteBroker("X1C", serial, authority.leaf(serial), authority.leaf_key_path) as running:
        yield running


def test_commands_go_on_when_the_broker_confirms_none(fleet: RunningFleet, broker: MuteBroker) -> None:
    """A window of 20 would be full for ever."""
    with Probe(row(fleet, "x1c") | {"port": broker.port, "ftps_port": 0}) as probe:
        probe.ready()
        for _ in range(30):
            assert probe.command("pause", timeout_s=3)["what"] == "accepted"
        sent = broker.of("pause")
        assert len(sent) == 30 and {qos for qos, _ in sent} == {1}
        assert len({body["sequence_id"] for _, body in sent}) == 30


def test_a_half_dead_session_is_left_under_another_name(
    fleet: RunningFleet, broker: MuteBroker, file: Path
) -> None:
    with Probe(row(fleet, "x1c") | {"port": broker.port}, ftps=str(row(fleet, "x1c")["ftps_port"])) as probe:
        probe.ready()
        assert probe.upload(file, task_id=3001)["what"] == "done"
        place = probe.do("start")
        assert probe.wait("answer", place)["what"] == "lost"
        probe.wait("up", place)
        wait_for(lambda: len(broker.of("pushall")) >= 2, what="the question of the new session")
        assert len(set(broker.clients)) == 2, broker.clients
        assert len(broker.of("project_file")) == 1
