"""The virtual OctoPrint answers as a real one does: the same requests to both, statuses and shapes compared."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from real_octoprint import MISSING, RealOctoPrint, available, slow_gcode  # noqa: E402
from virtual_fleet.harness import RunningFleet, wait_for  # noqa: E402

PRINTERS: list[dict[str, Any]] = [
    {"name": "twin", "protocol": "octoprint", "connected": False, "job": {"seconds": 600}},
    {"name": "lone", "protocol": "octoprint", "job": {"seconds": 600}},
]
# What the imitation leaves out of an answer, being of no interest.
LEFT_OUT = {"options", "needs", "groups", "permissions", "roles", "_credentials_seen", "sd"}
# What the real one says only once it has had a printer.
SOMETIMES = {"averagePrintTime", "display"}
Step = tuple[str, str, Any]


class Peer:
    def __init__(self, base: str, key: str) -> None:
        self.web = httpx.Client(base_url=base, headers={"X-Api-Key": key}, timeout=20)

    def ask(self, method: str, path: str, body: Any = None, **other: Any) -> httpx.Response:
        return self.web.request(method, path, json=body, **other)

    def state(self) -> str:
        return str(self.ask("GET", "/api/job").json()["state"])

    def reach(self, state: str) -> None:
        wait_for(lambda: self.state() == state, 20, state)


@pytest.fixture(scope="module")
def fleet() -> Iterator[RunningFleet]:
    folder = Path(tempfile.mkdtemp(prefix="slp-fleet-", dir="/tmp"))
    folder.chmod(0o755)
    with RunningFleet(folder, PRINTERS, "--time-scale", "1") as running:
        yield running
    shutil.rmtree(folder)


def virtual(fleet: RunningFleet, name: str) -> Peer:
    row = next(each for each in fleet.printers if each["name"] == name)
    return Peer(f"http://127.0.0.1:{row['port']}", row["access_code"])


@pytest.fixture(scope="module")
def pair(fleet: RunningFleet) -> Iterator[tuple[Peer, Peer]]:
    if not available():
        pytest.skip(MISSING)
    with RealOctoPrint() as real:
        yield Peer(f"http://127.0.0.1:{real.port}", real.keys["admin"]), virtual(fleet, "twin")


def fits(real: Any, imitated: Any, at: str = "") -> list[str]:
    """Where the imitation has what the real one has not, or has it in another type."""
    if isinstance(imitated, dict) and isinstance(real, dict):
        out = [f"{at}.{name} is made up" for name in imitated if name not in real and name not in SOMETIMES]
        return out + [
            error
            for name in imitated
            if name in real
            for error in fits(real[name], imitated[name], f"{at}.{name}")
        ]
    if real is None or imitated is None or isinstance(real, list):
        return []
    numbers = (int, float)
    if isinstance(real, numbers) and isinstance(imitated, numbers):
        return []
    return [] if type(real) is type(imitated) else [f"{at}: {type(real).__name__} {type(imitated).__name__}"]


def compare(pair: tuple[Peer, Peer], method: str, path: str, body: Any = None, **other: Any) -> int:
    """The status, which is the same of both."""
    real, imitated = (peer.ask(method, path, body, **other) for peer in pair)
    place = f"{method} {path} {body}"
    assert imitated.status_code == real.status_code, (place, real.text, imitated.text)
    try:
        want = real.json()
    except ValueError:
        return real.status_code
    got = imitated.json()
    assert fits(want, got) == [], place
    missing = set(want) - set(got) - LEFT_OUT
    assert not missing or path in ("/api/settings", "/api/login"), (place, missing)
    if real.status_code == 409:
        assert want["error"] == got["error"], place
    return real.status_code


def job(command: str, **other: Any) -> Step:
    return "POST", "/api/job", {"command": command} | other


def head(command: str, **other: Any) -> Step:
    return "POST", "/api/printer/printhead", {"command": command} | other


def select(name: str) -> Step:
    return "POST", f"/api/files/local/{name}", {"command": "select", "print": True}


READS: list[Step] = [
    ("GET", path, None)
    for path in (
        "/api/version",
        "/api/connection",
        "/api/printer?exclude=sd",
        "/api/printer",
        "/api/printer/error",
        "/api/job",
        "/api/settings",
        "/api/files/local/nothing.gcode",
        "/api/nothing",
        "/sockjs/websocket",
    )
]
ACTS: list[Step] = [
    job("pause", action="pause"),
    job("pause", action="resume"),
    job("cancel"),
    job("dance"),
    ("POST", "/api/printer/command", {"commands": ["M105"]}),
    ("POST", "/api/printer/command", {}),
    ("POST", "/api/printer/tool", {"command": "target", "targets": {"tool0": 50}}),
    ("POST", "/api/printer/tool", {"command": "target", "targets": {"nose": 50}}),
    ("POST", "/api/printer/tool", {"command": "target", "targets": {"tool0": "hot"}}),
    ("POST", "/api/printer/tool", {"command": "target"}),
    ("POST", "/api/printer/tool", {"command": "extrude", "amount": 1.5, "speed": 300}),
    ("POST", "/api/printer/bed", {"command": "target", "target": 40.5}),
    ("POST", "/api/printer/bed", {"command": "target", "target": "hot"}),
    ("POST", "/api/printer/chamber", {"command": "target", "target": 40}),
    head("home", axes=["x", "y"]),
    head("home", axes=["w"]),
    head("home"),
    head("jog", x=1.5, speed=3000),
    head("jog", x="far"),
    head("feedrate", factor=150),
    head("feedrate", factor="fast"),
    select("nothing.gcode"),
    ("POST", "/api/connection", {"command": "dance"}),
]


def test_without_a_printer(pair: tuple[Peer, Peer]) -> None:
    statuses = [compare(pair, *step) for step in READS + ACTS]
    assert statuses[2] == 409 and 204 not in statuses
    compare(pair, "POST", "/api/login", {"passive": True})


def test_with_a_printer(pair: tuple[Peer, Peer]) -> None:
    for peer in pair:
        assert peer.ask("POST", "/api/connection", {"command": "connect"}).status_code == 204
        peer.reach("Operational")
        wait_for(lambda: peer.ask("GET", "/api/printer").json()["temperature"], 10, "temperatures")  # noqa: B023
    statuses = [compare(pair, *step) for step in READS + ACTS]
    assert statuses[2] == 200 and statuses.count(204) > 5


def test_a_wrong_key(pair: tuple[Peer, Peer]) -> None:
    headers = {"X-Api-Key": "wrong"}
    for step in READS[:7]:
        assert compare(pair, *step, headers=headers) == 403
    for step in (("POST", "/api/login", {"passive": True}), job("cancel")):
        assert compare(pair, *step, headers=headers) in (400, 403)


def test_bodies_that_are_none(pair: tuple[Peer, Peer]) -> None:
    for path in ("/api/job", "/api/printer/command", "/api/printer/printhead"):
        compare(pair, "POST", path, content=b"{bad", headers={"Content-Type": "application/json"})


def send(peer: Peer, name: str, content: bytes, folder: str | None = None) -> httpx.Response:
    data = {} if folder is None else {"path": folder}
    return peer.web.post("/api/files/local", files={"file": (name, content)}, data=data)


def test_files(pair: tuple[Peer, Peer]) -> None:
    for name, folder in (("a b (1).gcode", "SoLoPrint"), ("ä.gco", None), ("x.3mf", None), ("x.txt", None)):
        real, imitated = (send(peer, name, b"G28\n", folder) for peer in pair)
        assert real.status_code == imitated.status_code, (name, real.text, imitated.text)
        assert fits(real.json(), imitated.json()) == []
        if real.status_code == 201:
            assert [each.json()["files"]["local"]["path"] for each in (real, imitated)] == [
                f"{folder}/{name}" if folder else name
            ] * 2
    compare(pair, "GET", "/api/files/local/SoLoPrint/a%20b%20%281%29.gcode")
    real, imitated = (peer.web.post("/api/files/local", data={"path": "x"}) for peer in pair)
    assert real.status_code == imitated.status_code


def test_a_print(pair: tuple[Peer, Peer]) -> None:
    for peer in pair:
        assert send(peer, "long.gcode", slow_gcode(60)).status_code == 201
    assert compare(pair, *select("long.gcode")) == 204
    for peer in pair:
        peer.reach("Printing")
    busy = [*READS[:7], *ACTS, select("long.gcode")]
    statuses = [compare(pair, *step) for step in busy if step[2] not in ({"command": "cancel"},)
                and (step[2] or {}).get("action") is None]  # fmt: skip
    assert 409 in statuses
    for peer in pair:
        refused = send(peer, "long.gcode", slow_gcode(60))
        assert refused.status_code == 409, refused.text
    for action, state in (("pause", "Paused"), ("resume", "Printing")):
        assert compare(pair, *job("pause", action=action)) == 204
        for peer in pair:
            peer.reach(state)
    assert compare(pair, *job("cancel")) == 204
    for peer in pair:
        peer.reach("Operational")
        assert peer.ask("GET", "/api/job").json()["progress"]["completion"] is None


def test_an_emergency_stop(pair: tuple[Peer, Peer]) -> None:
    assert compare(pair, "POST", "/api/printer/command", {"commands": ["M112"]}) == 204
    for peer in pair:
        peer.reach("Offline after error")
    compare(pair, "GET", "/api/job")
    compare(pair, "GET", "/api/connection")


def test_while_it_starts(fleet: RunningFleet) -> None:
    """The real one's stand-in says "Not found" and no header at all."""
    fleet.fault("lone", "starting")
    with pytest.raises(httpx.RemoteProtocolError):
        virtual(fleet, "lone").ask("GET", "/api/version")
    fleet.fault("lone", "starting", on=False)
    assert virtual(fleet, "lone").ask("GET", "/api/version").status_code == 200


def test_a_job_of_the_panel(fleet: RunningFleet) -> None:
    assert fleet.ctl("print", "lone", file="panel.gcode")
    peer = virtual(fleet, "lone")
    peer.reach("Printing")
    assert peer.ask("GET", "/api/job").json()["job"]["file"]["path"] == "panel.gcode"
    assert not fleet.ctl("print", "lone")
    fleet.fault("lone", "localised")
    assert peer.state() == "Druckt von SD"
    fleet.fault("lone", "localised", on=False)
    fleet.ctl("fail", "lone", message="Halted")
    answer = peer.ask("GET", "/api/job").json()
    assert (answer["state"], answer["error"]) == ("Offline after error", "Halted"), json.dumps(answer)
