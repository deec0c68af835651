"""The virtual printers themselves, seen by an MQTT client as the gateway is one."""

from __future__ import annotations

import copy
import json
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from virtual_fleet.harness import RunningFleet, wait_for  # noqa: E402

QUICK = {"layers": 4, "layer_s": 30, "change_every": 2}
PRINTERS: list[dict[str, Any]] = [
    {"name": "a1", "model": "A1", "job": QUICK, "late_code_s": 0.6},
    {"name": "x1c", "model": "X1C", "job": QUICK},
    {"name": "p1s", "model": "P1S", "job": QUICK},
    {"name": "h2d", "model": "H2D", "job": QUICK},
    {"name": "mini", "model": "A1 mini", "job": QUICK},
    {"name": "rec", "model": "A1 mini", "recording": "bambu-a1mini"},
]


@pytest.fixture(scope="module")
def fleet() -> Iterator[RunningFleet]:
    """Not in pytest's own folder: each run of pytest closes that to the broker's user again."""
    folder = Path(tempfile.mkdtemp(prefix="slp-fleet-", dir="/tmp"))
    folder.chmod(0o755)
    with RunningFleet(folder, PRINTERS, "--time-scale", "200") as running:
        yield running
    shutil.rmtree(folder)


class Watcher:
    """A client of one printer; keeps every message and the merged record."""

    def __init__(self, row: dict[str, Any], code: str | None = None, topic: str = "report") -> None:
        self.row = row
        self.messages: list[dict[str, Any]] = []
        self.connack: int | None = None
        self.down = 0
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
        self.client.username_pw_set("bblp", code or row["access_code"])
        self.client.reconnect_delay_set(1, 2)
        context = ssl.create_default_context(cafile=row["ca"])
        context.check_hostname = False
        self.client.tls_set_context(context)
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = self._on_disconnect
        self.client.on_message = self._on_message
        self.topic = f"device/{row['serial']}/{topic}"

    def __enter__(self) -> Watcher:
        self.client.connect("127.0.0.1", self.row["port"], 30)
        self.client.loop_start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        self.connack = code.value
        if not code.is_failure:
            client.subscribe(self.topic)
            self.send({"pushing": {"sequence_id": "2", "command": "pushall"}})

    def _on_disconnect(self, *_args: Any) -> None:
        self.down += 1

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        try:
            self.messages.append(json.loads(message.payload))
        except (ValueError, RecursionError):
            self.messages.append({"garbage": message.payload[:40]})

    def send(self, body: dict[str, Any]) -> None:
        self.client.publish(f"device/{self.row['serial']}/request", json.dumps(body))

    def prints(self) -> list[dict[str, Any]]:
        return [each["print"] for each in self.messages if isinstance(each.get("print"), dict)]

    def reports(self) -> list[dict[str, Any]]:
        return [each for each in self.prints() if each.get("command") == "push_status"]

    def states(self) -> list[str]:
        out: list[str] = []
        for each in self.reports():
            state = each.get("gcode_state")
            if state is not None and out[-1:] != [state]:
                out.append(state)
        return out


def merge(old: Any, new: Any, key: str = "") -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {name: merge(old.get(name), value, name) for name, value in new.items()}
    if key in ("ams", "tray") and isinstance(old, list) and isinstance(new, list):
        out = {each["id"]: each for each in copy.deepcopy(old)}
        for each in new:
            out[each["id"]] = merge(out.get(each["id"], {}), each)
        return list(out.values())
    return new


def row(fleet: RunningFleet, name: str) -> dict[str, Any]:
    return next(each for each in fleet.printers if each["name"] == name)


def test_certificate_names_the_serial_and_tls_is_1_2_only(fleet: RunningFleet) -> None:
    printer = row(fleet, "x1c")
    context = ssl.create_default_context(cafile=printer["ca"])
    context.check_hostname = False
    with socket.create_connection(("127.0.0.1", printer["port"])) as raw, context.wrap_socket(raw) as tls:
        subject = dict(pair[0] for pair in tls.getpeercert()["subject"])
        assert subject["commonName"] == printer["serial"]
        assert tls.version() == "TLSv1.2"
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with socket.create_connection(("127.0.0.1", printer["port"])) as raw, pytest.raises(ssl.SSLError):
        context.wrap_socket(raw)


def test_wrong_access_code_is_refused(fleet: RunningFleet) -> None:
    with Watcher(row(fleet, "a1"), code="00000000") as watcher:
        wait_for(lambda: watcher.connack in (5, 135), what="refusal")
    fleet.fault("a1", "wrong_code")
    with Watcher(row(fleet, "a1")) as watcher:
        wait_for(lambda: watcher.connack in (5, 135), what="refusal after the code changed")
        fleet.fault("a1", "wrong_code", on=False)
        wait_for(lambda: watcher.connack == 0, what="connection with the old code")


def test_subscribing_to_requests_costs_the_session(fleet: RunningFleet) -> None:
    with Watcher(row(fleet, "p1s"), topic="request") as watcher:
        wait_for(lambda: watcher.down, what="disconnect")


@pytest.mark.parametrize(("name", "msg"), [("a1", 0), ("x1c", None), ("h2d", 0)])
def test_pushall_brings_a_full_report(fleet: RunningFleet, name: str, msg: int | None) -> None:
    with Watcher(row(fleet, name)) as watcher:
        full = wait_for(
            lambda: next((e for e in watcher.reports() if "ams" in e and "stg" in e), None), what="report"
        )
    assert full.get("msg") == msg
    assert len(full) > 45


def test_version_and_acks_echo_the_sequence_id(fleet: RunningFleet) -> None:
    with Watcher(row(fleet, "a1")) as watcher:
        wait_for(watcher.reports, what="report")
        watcher.send({"info": {"sequence_id": "41", "command": "get_version"}})
        watcher.send({"print": {"sequence_id": "42", "command": "print_speed", "param": "3"}})
        info = wait_for(lambda: [e["info"] for e in watcher.messages if "info" in e], what="version")[0]
        ack = wait_for(
            lambda: [e for e in watcher.prints() if e["sequence_id"] == "42" and "param" in e], what="ack"
        )[0]
        wait_for(lambda: any(e.get("spd_lvl") == 3 for e in watcher.reports()), what="changed speed")
    assert info["sequence_id"] == "41"
    assert info["module"][0] | {"name": "ota", "product_name": "Bambu Lab A1"} == info["module"][0]
    assert ack["result"] == "success"


@pytest.mark.parametrize("name", ["a1", "p1s"])
def test_deltas_add_up_to_the_full_record(fleet: RunningFleet, name: str) -> None:
    with Watcher(row(fleet, name)) as watcher:
        wait_for(watcher.reports, what="report")
        fleet.ctl("print", name)
        wait_for(lambda: watcher.states()[-1:] == ["FINISH"], 20, "end of the print")
        reports = watcher.reports()
        merged = reports[0]
        for each in reports[1:]:
            merged = merge(merged, each)
        watcher.send({"pushing": {"sequence_id": "3", "command": "pushall"}})
        again = wait_for(
            lambda: [e for e in watcher.reports()[len(reports) :] if e.get("msg") == 0], what="full"
        )[0]
    partial = [e for e in reports[1:] if e.get("msg") == 1]
    assert len(partial) > 10 and max(len(e) for e in partial) < 25
    assert any("ams" in e and "ams" not in e["ams"] for e in partial)
    moving = {"wifi_signal", "nozzle_temper", "bed_temper", "sequence_id", "msg"}
    assert {k: v for k, v in merged.items() if k not in moving} == {
        k: v for k, v in again.items() if k not in moving
    }


@pytest.mark.parametrize("name", ["x1c", "h2d", "mini"])
def test_a_whole_print_by_project_file(fleet: RunningFleet, name: str) -> None:
    command = {
        "sequence_id": "101",
        "command": "project_file",
        "param": "Metadata/plate_1.gcode",
        "url": "ftp:///cube.gcode.3mf",
        "file": "cube.gcode.3mf",
        "subtask_name": "cube",
        "subtask_id": "77",
        "task_id": "78",
        "ams_mapping": [1, 2],
    }
    with Watcher(row(fleet, name)) as watcher:
        wait_for(watcher.reports, what="report")
        watcher.send({"print": command})
        wait_for(lambda: watcher.states()[-1:] == ["FINISH"], 20, "end of the print")
        last = watcher.reports()
    assert watcher.states()[-2:] == ["RUNNING", "FINISH"]
    merged: dict[str, Any] = {}
    for each in last:
        merged = merge(merged, each)
    assert merged["subtask_name"] == "cube" and merged["task_id"] == "78"
    assert merged["layer_num"] == merged["total_layer_num"] == 4 and merged["mc_percent"] == 100
    assert {e["ams"]["tray_tar"] for e in last if "tray_tar" in e.get("ams", {})} >= {"1", "2"}


def test_packed_temperatures(fleet: RunningFleet) -> None:
    fleet.ctl("temps", "h2d", temps={"nozzle": [140, 140], "bed": [55, 55]})
    with Watcher(row(fleet, "h2d")) as watcher:
        report = wait_for(watcher.reports, what="report")[-1]
    assert report["device"]["extruder"]["info"][0]["temp"] == 9175180
    assert report["device"]["bed_temp"] == 3604535
    assert "nozzle_temper" not in report


def test_cancel_tells_its_code_late(fleet: RunningFleet) -> None:
    with Watcher(row(fleet, "a1")) as watcher:
        wait_for(watcher.reports, what="report")
        fleet.ctl("print", "a1", job={"layers": 500})
        wait_for(lambda: watcher.states()[-1:] == ["RUNNING"], 10, "start")
        watcher.send({"print": {"sequence_id": "9", "command": "stop", "param": ""}})
        wait_for(lambda: watcher.states()[-1:] == ["FAILED"], what="FAILED")
        assert not any(e.get("print_error") for e in watcher.reports())
        wait_for(lambda: watcher.reports()[-1].get("print_error") == 0x0300400C, 5, "code")


def test_pause_runout_and_resume(fleet: RunningFleet) -> None:
    with Watcher(row(fleet, "x1c")) as watcher:
        wait_for(watcher.reports, what="report")
        fleet.ctl("print", "x1c", job={"layers": 500})
        wait_for(lambda: watcher.states()[-1:] == ["RUNNING"], 10, "start")
        fleet.ctl("runout", "x1c")
        wait_for(lambda: watcher.states()[-1:] == ["PAUSE"], what="PAUSE")
        assert watcher.reports()[-1]["stg_cur"] == 6 and watcher.reports()[-1]["hms"]
        watcher.send({"print": {"sequence_id": "9", "command": "resume", "param": ""}})
        wait_for(lambda: watcher.states()[-1:] == ["RUNNING"], what="RUNNING")
        fleet.ctl("fail", "x1c")
        wait_for(lambda: watcher.states()[-1:] == ["FAILED"], what="FAILED")


@pytest.mark.parametrize("name", ["a1", "p1s", "x1c"])
def test_developer_mode_off_shows_the_models_sign(fleet: RunningFleet, name: str) -> None:
    fleet.fault(name, "developer_mode_off")
    try:
        with Watcher(row(fleet, name)) as watcher:
            wait_for(watcher.reports, what="report")
            watcher.send({"print": {"sequence_id": "5", "command": "pause", "param": ""}})
            if name == "p1s":
                unsigned = {"attr": 0x05000500, "code": 0x00010007}
                wait_for(lambda: any(unsigned in e.get("hms", []) for e in watcher.reports()), what="HMS")
                return
            reason = "mqtt message verify failed"
            wait_for(lambda: any(e.get("reason") == reason for e in watcher.prints()), what="refusal")
            if name == "x1c":
                assert int(watcher.reports()[-1]["fun"], 16) & 0x20000000
    finally:
        fleet.fault(name, "developer_mode_off", on=False)


def test_network_faults(fleet: RunningFleet) -> None:
    with Watcher(row(fleet, "mini")) as watcher:
        wait_for(watcher.reports, what="report")
        fleet.fault("mini", "drop")
        wait_for(lambda: watcher.down == 1, what="disconnect")
        wait_for(lambda: watcher.connack == 0 and watcher.client.is_connected(), 10, "reconnect")
        fleet.fault("mini", "unreachable")
        wait_for(lambda: watcher.down >= 2, what="disconnect")
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", watcher.row["port"]), 1)
        fleet.fault("mini", "unreachable", on=False)
        wait_for(watcher.client.is_connected, 10, "reconnect")


def test_silence_keeps_the_session(fleet: RunningFleet) -> None:
    fleet.fault("x1c", "silence", until_start=True)
    with Watcher(row(fleet, "x1c")) as watcher:
        wait_for(watcher.reports, what="report after pushall ended the silence")
    fleet.fault("x1c", "silence")
    try:
        before = fleet.describe("x1c")["reports"]
        with Watcher(row(fleet, "x1c")) as watcher:
            wait_for(
                lambda: any("pushing" in e["message"] for e in fleet.ctl("requests", "x1c")), what="request"
            )
            deadline = time.monotonic() + 1.5
            wait_for(lambda: time.monotonic() > deadline, what="time")
            assert watcher.messages == [] and watcher.client.is_connected()
        assert fleet.describe("x1c")["reports"] == before
    finally:
        fleet.fault("x1c", "silence", on=False)


def test_wrong_certificate(fleet: RunningFleet) -> None:
    fleet.fault("a1", "wrong_cert")
    printer = row(fleet, "a1")
    context = ssl.create_default_context(cafile=printer["ca"])
    context.check_hostname = False
    with socket.create_connection(("127.0.0.1", printer["port"])) as raw, context.wrap_socket(raw) as tls:
        assert (
            dict(pair[0] for pair in tls.getpeercert()["subject"])["commonName"]
            == row(fleet, "x1c")["serial"]
        )
    fleet.fault("a1", "wrong_cert", on=False)


def test_garbage_of_every_kind_arrives(fleet: RunningFleet) -> None:
    kinds = fleet.ctl("garbage_kinds")
    with Watcher(row(fleet, "a1")) as watcher:
        wait_for(watcher.reports, what="report")
        fleet.fault("a1", "garbage", interval_s=0.02)
        wait_for(lambda: fleet.describe("a1")["garbage_sent"] >= len(kinds), 20, "garbage")
        fleet.fault("a1", "garbage", on=False)
        wait_for(
            lambda: sum("garbage" in e for e in watcher.messages if isinstance(e, dict)) >= 3, 10, "garbage"
        )


def test_recording_is_replayed_unchanged(fleet: RunningFleet) -> None:
    folder = Path(__file__).resolve().parent / "recordings" / "bambu-a1mini"
    recorded = json.loads((folder / "pushall-n1-idle.json").read_text())["message"]
    with Watcher(row(fleet, "rec")) as watcher:
        wait_for(watcher.reports, what="report")
        assert watcher.messages[0] == recorded


def test_broker_restart(fleet: RunningFleet) -> None:
    with Watcher(row(fleet, "h2d")) as watcher:
        wait_for(watcher.reports, what="report")
        fleet.ctl("broker", action="restart")
        wait_for(lambda: watcher.down, what="disconnect")
        try:
            wait_for(watcher.client.is_connected, 15, "reconnect")
        except AssertionError:
            raise AssertionError((fleet.ctl("list"), (fleet.folder / "fleet.log").read_text())) from None
        seen = len(watcher.messages)
        wait_for(lambda: len(watcher.messages) > seen + 2, 10, "reports after the restart")


def test_sigterm_leaves_nothing(tmp_path: Path) -> None:
    with RunningFleet(tmp_path, [{"name": "one", "model": "A1"}]) as running:
        assert running.process is not None
        children = subprocess.run(
            ["pgrep", "-P", str(running.process.pid)], capture_output=True, text=True, check=True
        )
        pids = children.stdout.split()
        assert len(pids) == 1
    assert running.process.returncode == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not (tmp_path / "fleet.json").exists()
