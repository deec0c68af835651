"""The virtual Moonraker says what the recorded one said: the same calls, shapes and order of messages compared."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from virtual_fleet.broker import die_with_parent  # noqa: E402
from virtual_fleet.harness import RunningFleet, wait_for  # noqa: E402

PRINTERS: list[dict[str, Any]] = [{"name": "moon", "protocol": "moonraker", "job": {"seconds": 6000, "prepare_s": 5}}]
SESSION = HERE / "recordings" / "moonraker" / "batch-mcu" / "websocket_session.jsonl"
STOPPED = HERE / "recordings" / "moonraker" / "linux-mcu" / "websocket_session.jsonl"
Message = dict[str, Any]


class Talk:
    def __init__(self, port: int, key: str = "") -> None:
        words = [str(HERE / "ws_talk"), f"http://127.0.0.1:{port}/websocket", key]
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            preexec_fn=die_with_parent,
        )  # fmt: skip
        self.heard: list[Message] = []
        self.number = 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.heard.append(json.loads(line))

    def call(self, method: str, params: Any = None) -> Message:
        self.number += 1
        number = self.number
        message = {"jsonrpc": "2.0", "method": method, "id": number} | ({"params": params} if params else {})
        assert self.process.stdin
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()
        return wait_for(lambda: next((m for m in self.heard if m.get("id") == number), None), what=method)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def fleet() -> Iterator[RunningFleet]:
    folder = Path(tempfile.mkdtemp(prefix="slp-moon-", dir="/tmp"))
    folder.chmod(0o755)
    with RunningFleet(folder / "fleet", PRINTERS, "--time-scale", "10") as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def talk(fleet: RunningFleet) -> Iterator[Talk]:
    row = fleet.printers[0]
    running = Talk(row["port"], row["access_code"])
    who = {"client_name": "t", "version": "1", "type": "other", "url": "http://127.0.0.1"}
    assert "connection_id" in running.call("server.connection.identify", who)["result"]
    yield running
    running.close()
    fleet.ctl("restart", "moon")
    wait_for(lambda: fleet.describe("moon")["klippy"] == "ready", what="Klipper")


def recorded(path: Path) -> list[Message]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def reply(path: Path, method: str) -> Message:
    rows = recorded(path)
    number = next(r["msg"]["id"] for r in rows if r["dir"] == "send" and r["msg"]["method"] == method)
    return next(r["msg"] for r in rows if r["dir"] == "recv" and r["msg"].get("id") == number)


def shape(value: Any) -> Any:
    """Members and kinds of values; a number is a number."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def within(small: Any, large: Any) -> bool:
    """Nothing in small that large has not; null stands for anything."""
    if "NoneType" in (small, large):
        return True
    if isinstance(small, dict) and isinstance(large, dict):
        return all(key in large and within(each, large[key]) for key, each in small.items())
    return bool(small == large)


@pytest.mark.parametrize("method", ["server.info", "printer.info"])
def test_answers_have_the_recorded_shape(talk: Talk, method: str) -> None:
    ours, theirs = shape(talk.call(method)["result"]), shape(reply(SESSION, method)["result"])
    assert within(ours, theirs), (ours, theirs)


def test_a_subscription_has_the_recorded_shape(talk: Talk) -> None:
    wanted = next(r["msg"] for r in recorded(SESSION) if r["msg"].get("method") == "printer.objects.subscribe")
    ours = talk.call("printer.objects.subscribe", wanted["params"])["result"]
    theirs = reply(SESSION, "printer.objects.subscribe")["result"]
    assert set(ours["status"]) == set(theirs["status"])
    for name in ("webhooks", "print_stats", "extruder", "heater_bed", "fan", "virtual_sdcard"):
        assert within(shape(ours["status"][name]), shape(theirs["status"][name])), name
    listed = json.loads((SESSION.parent / "objects_list.json").read_text())["body"]["result"]["objects"]
    assert set(talk.call("printer.objects.list")["result"]["objects"]) <= set(listed)


@pytest.mark.parametrize(
    ("method", "params"), [("printer.print.start", {"filename": "missing.gcode"}), ("no.such.method", None)]
)
def test_refusals_are_the_recorded_ones(talk: Talk, method: str, params: Any) -> None:
    assert talk.call(method, params)["error"] == reply(SESSION, method)["error"]


def test_an_unknown_command_is_ok_and_a_line(talk: Talk) -> None:
    line = 'Unknown command:"BOGUS_CMD"'
    assert any(line in str(r["msg"].get("params")) for r in recorded(SESSION)), "as recorded"
    assert talk.call("printer.gcode.script", {"script": "BOGUS_CMD"})["result"] == "ok"
    assert ["// " + line] in [m.get("params") for m in talk.heard if m.get("method") == "notify_gcode_response"]


def order(messages: list[Message], known: Callable[[Message], str | None]) -> list[str]:
    return [word for word in map(known, messages) if word]


def shutdown_word(message: Message) -> str | None:
    method, params = message.get("method"), str(message.get("params"))
    if method == "notify_status_update" and "'state': 'shutdown'" in params:
        return "status"
    if method == "notify_gcode_response" and "Klipper state: Shutdown" in params:
        return "line"
    return "shutdown" if method == "notify_klippy_shutdown" and "params" not in message else None


def test_an_emergency_stop_in_the_recorded_order(talk: Talk) -> None:
    """print_stats is at standby when the shutdown is told."""
    talk.call("printer.objects.subscribe", {"objects": {"webhooks": None, "print_stats": ["state"]}})
    assert talk.call("printer.emergency_stop")["result"] == "ok"
    wait_for(lambda: "shutdown" in order(talk.heard, shutdown_word), what="notification")
    theirs = order([r["msg"] for r in recorded(STOPPED)], shutdown_word)
    assert order(talk.heard, shutdown_word) == theirs == ["line", "status", "shutdown"]
    refusal = talk.call("printer.print.start", {"filename": "cube.gcode"})["error"]
    assert (refusal["code"], refusal["message"]) == (400, "Unknown")


def test_only_what_changed_is_told(fleet: RunningFleet, talk: Talk) -> None:
    wanted = {"print_stats": ["state", "filename", "print_duration"], "extruder": ["target"]}
    talk.call("printer.objects.subscribe", {"objects": wanted})
    place = len(talk.heard)
    fleet.ctl("print", "moon")

    def deltas() -> list[Message]:
        return [m["params"][0] for m in talk.heard[place:] if m.get("method") == "notify_status_update"]

    wait_for(lambda: any("print_duration" in each.get("print_stats", {}) for each in deltas()), what="deltas")
    first, *rest = deltas()
    assert first["print_stats"]["state"] == "printing" and first["extruder"] == {"target": 215.0}
    assert all("state" not in each.get("print_stats", {}) and "extruder" not in each for each in rest)


def upload(fleet: RunningFleet, key: str | None = None, **fields: str) -> httpx.Response:
    row = fleet.printers[0]
    headers = {"X-Api-Key": row["access_code"] if key is None else key}
    files = {"file": ("cube.gcode", b"G28\n")}
    url = f"http://127.0.0.1:{row['port']}/server/files/upload"
    return httpx.post(url, headers=headers, data={"root": "gcodes"} | fields, files=files)


def test_uploads(fleet: RunningFleet, talk: Talk) -> None:
    good = upload(fleet, checksum=hashlib.sha256(b"G28\n").hexdigest())
    assert good.status_code == 201 and good.json()["item"]["path"] == "cube.gcode" and "result" not in good.json()
    assert upload(fleet, checksum="0" * 64).status_code == 422
    assert upload(fleet, key="wrong").status_code == 401
    assert talk.call("printer.print.start", {"filename": "cube.gcode"})["result"] == "ok"
    assert talk.call("printer.print.start", {"filename": "cube.gcode"})["error"]["message"] == "SD busy"
    assert upload(fleet).status_code == 403, "it is being printed"
