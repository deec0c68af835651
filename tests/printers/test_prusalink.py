"""The virtual PrusaLink, seen by a client of its own: what it answers, and what it refuses as the real ones do."""

from __future__ import annotations

import json
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from virtual_fleet.harness import RunningFleet, wait_for  # noqa: E402

RECORDED = HERE / "recordings" / "prusalink"
JOB = {"seconds": 600, "busy_s": 20}
PRINTERS: list[dict[str, Any]] = [
    {"name": "buddy", "protocol": "prusalink", "model": "MK4", "job": JOB},
    {"name": "link", "protocol": "prusalink", "model": "MK3S", "flavour": "link", "camera": True, "job": JOB},
    {"name": "aged", "protocol": "prusalink", "nonce_s": 0.2},
    {"name": "narrow", "protocol": "prusalink", "connections": 1},
    {"name": "drops", "protocol": "prusalink", "drop_to_idle_s": 0.2, "job": {"seconds": 100}},
    {"name": "a1", "model": "A1"},
]


@pytest.fixture(scope="module")
def fleet() -> Iterator[RunningFleet]:
    folder = Path(tempfile.mkdtemp(prefix="slp-fleet-", dir="/tmp"))
    folder.chmod(0o755)
    with RunningFleet(folder, PRINTERS, "--time-scale", "200") as running:
        yield running
    shutil.rmtree(folder)


def row(fleet: RunningFleet, name: str) -> dict[str, Any]:
    return next(each for each in fleet.printers if each["name"] == name)


def client(fleet: RunningFleet, name: str, **other: Any) -> httpx.Client:
    at = row(fleet, name)
    auth = other.pop("auth", httpx.DigestAuth("maker", at["access_code"]))
    return httpx.Client(base_url=f"http://127.0.0.1:{at['port']}", auth=auth, timeout=20, **other)


def put(web: httpx.Client, path: str, body: bytes = b"G28\n", **headers: str) -> httpx.Response:
    return web.put(f"/api/v1/files/{path}", content=body, headers=headers)


def shape(value: Any) -> Any:
    """Names and types; whole numbers and fractions are one."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def test_rows_say_the_protocol(fleet: RunningFleet) -> None:
    assert row(fleet, "buddy")["protocol"] == "prusalink" and row(fleet, "a1")["protocol"] == "bambu"


@pytest.mark.parametrize("name", ["buddy", "link"])
def test_digest_lets_in_and_key_too(fleet: RunningFleet, name: str) -> None:
    with client(fleet, name) as web:
        assert web.get("/api/version").json()["text"] == "PrusaLink"
    secret = row(fleet, name)["access_code"] + ("" if name == "buddy" else "-key")
    with client(fleet, name, auth=None, headers={"X-Api-Key": secret}) as web:
        assert web.get("/api/v1/info").json()["serial"] == row(fleet, name)["serial"]


@pytest.mark.parametrize(("name", "status"), [("buddy", 401), ("link", 403)])
def test_a_wrong_key_is_refused_in_each_ones_way(fleet: RunningFleet, name: str, status: int) -> None:
    with client(fleet, name, auth=None, headers={"X-Api-Key": "wrong"}) as web:
        answer = web.get("/api/v1/status")
        assert answer.status_code == status
        assert "Digest" not in answer.headers.get("WWW-Authenticate", "")


@pytest.mark.parametrize(("name", "realm"), [("buddy", "Printer API"), ("link", "Administrator")])
def test_challenge(fleet: RunningFleet, name: str, realm: str) -> None:
    with client(fleet, name, auth=None) as web:
        challenge = web.get("/api/v1/status").headers["WWW-Authenticate"]
    assert challenge.startswith("Digest ") and f'realm="{realm}"' in challenge
    assert ("qop" in challenge) == (name == "link") and "stale=false" in challenge
    with client(fleet, name, auth=httpx.DigestAuth("maker", "wrong")) as web:
        answer = web.get("/api/v1/status")
        assert answer.status_code == 401 and "stale=false" in answer.headers["WWW-Authenticate"]


def test_an_old_nonce_is_stale(fleet: RunningFleet) -> None:
    with client(fleet, "aged") as web:
        first = web.get("/api/v1/status")
        header = first.request.headers["Authorization"]
        answers = wait_for(
            lambda: [
                each
                for each in [web.get("/api/v1/status", auth=None, headers={"Authorization": header})]
                if each.status_code == 401
            ],
            10,
            "stale nonce",
        )
    assert "stale=true" in answers[0].headers["WWW-Authenticate"]


def test_a_nonce_belongs_to_a_user_agent(fleet: RunningFleet) -> None:
    with client(fleet, "link") as web:
        header = web.get("/api/v1/status").request.headers["Authorization"]
        other = {"Authorization": header, "User-Agent": "other"}
        answer = web.get("/api/v1/status", auth=None, headers=other)
    assert answer.status_code == 401 and "stale=true" in answer.headers["WWW-Authenticate"]


def test_status_has_the_recorded_shape(fleet: RunningFleet) -> None:
    with client(fleet, "buddy") as web:
        fleet.ctl("idle", "buddy")
        got = web.get("/api/v1/status").json()
        assert shape(got) == shape(json.loads((RECORDED / "v1_status_idle.json").read_text()))
        assert web.get("/api/v1/job").status_code == 204
        fleet.ctl("print", "buddy", job={"seconds": 6000})
        wait_for(lambda: fleet.describe("buddy")["state"] == "PRINTING", 10, "printing")
        got = web.get("/api/v1/status").json()
        assert shape(got) == shape(json.loads((RECORDED / "v1_status_printing.json").read_text()))
        got = web.get("/api/v1/job").json()
        assert shape(got) == shape(json.loads((RECORDED / "v1_job_printing.json").read_text()))
        assert got["file"]["name"] != got["file"]["display_name"]
        assert web.delete(f"/api/v1/job/{got['id']}").status_code == 204
        assert web.get("/api/v1/status").json()["printer"]["state"] == "STOPPED"
    with client(fleet, "link") as web:
        assert isinstance(web.get("/api/v1/status").json()["storage"], list)


@pytest.mark.parametrize(("name", "storage"), [("buddy", "usb"), ("link", "local")])
def test_upload_and_start(fleet: RunningFleet, name: str, storage: str) -> None:
    long, body = f"{storage}/A rather long name.gcode", b"G28\n" * 5000
    with client(fleet, name) as web:
        fleet.ctl("idle", name)
        made = put(web, long, body)
        assert made.status_code == 201 and made.json()["display_name"] == "A rather long name.gcode"
        short = made.json()["name"]
        assert short == ("ARATHE~1.GCO" if name == "buddy" else "A rather long name.gcode")
        assert put(web, long).status_code == 409
        assert put(web, long, Overwrite="true").status_code == 409
        assert put(web, long, Overwrite="?1").status_code == 201
        assert put(web, f"{storage}/x.stl").status_code == 415
        assert put(web, "nowhere/x.gcode").status_code == 404
        chunks = web.put(f"/api/v1/files/{storage}/y.gcode", content=iter([b"G28\n"]))
        assert chunks.status_code == 411
        assert web.post(f"/api/v1/files/{storage}/none.gcode").status_code == 404
        assert web.post(f"/api/v1/files/{storage}/{short}").status_code == 204
        assert web.post(f"/api/v1/files/{storage}/{short}").status_code == 409
        busy = put(web, long, Overwrite="?1")
        assert busy.status_code == 409 and busy.json()["message"] == "File is busy"


@pytest.mark.parametrize("name", ["buddy", "link"])
def test_jobs_are_controlled_by_id(fleet: RunningFleet, name: str) -> None:
    fleet.ctl("idle", name)
    fleet.ctl("print", name, job={"seconds": 60000})
    wait_for(lambda: fleet.describe(name)["state"] == "PRINTING", 10, "printing")
    number = fleet.describe(name)["job"]["id"]
    with client(fleet, name) as web:
        assert web.put(f"/api/v1/job/{number}/resume").status_code == 409
        assert web.put(f"/api/v1/job/{number + 1}/pause").status_code == 404
        assert web.put(f"/api/v1/job/{number}/pause").status_code == 204
        assert fleet.describe(name)["state"] == "PAUSED"
        assert web.put(f"/api/v1/job/{number}/resume").status_code == 204
        assert web.delete(f"/api/v1/job/{number}").status_code == 204
        assert fleet.describe(name)["state"] == "STOPPED"


def test_print_after_upload(fleet: RunningFleet) -> None:
    fleet.ctl("idle", "link")
    with client(fleet, "link") as web:
        head = {"Print-After-Upload": "?1", "Overwrite": "?1"}
        assert put(web, "local/now.gcode", b"G28\n", **head).status_code == 201
    assert fleet.describe("link")["state"] in ("BUSY", "PRINTING")


def test_one_connection_too_many_is_cut(fleet: RunningFleet) -> None:
    with client(fleet, "narrow") as web, client(fleet, "narrow") as other:
        assert web.get("/api/v1/status").status_code == 200
        with pytest.raises(httpx.TransportError):
            other.get("/api/v1/status")
        assert web.get("/api/v1/status").status_code == 200
    assert fleet.describe("narrow")["refused"] == 1


def test_finished_drops_to_idle(fleet: RunningFleet) -> None:
    fleet.ctl("print", "drops")
    wait_for(lambda: fleet.describe("drops")["state"] == "FINISHED", 10, "end", step_s=0.02)
    wait_for(lambda: fleet.describe("drops")["state"] == "IDLE", 10, "idle")


def test_camera(fleet: RunningFleet) -> None:
    with client(fleet, "link") as web:
        assert web.get("/api/v1/cameras/snap").headers["Content-Type"] == "image/jpeg"
    with client(fleet, "buddy") as web:
        assert web.get("/api/v1/cameras/snap").status_code == 404


def test_faults(fleet: RunningFleet) -> None:
    with client(fleet, "link") as web:
        fleet.fault("link", "garbage", body="[1]")
        assert web.get("/api/v1/status").text == "[1]"
        fleet.fault("link", "garbage", on=False)
        fleet.fault("link", "unavailable")
        assert web.get("/api/v1/status").status_code == 503
        fleet.fault("link", "unavailable", on=False)
        fleet.fault("link", "no_space")
        assert put(web, "local/z.gcode").status_code == 507
        fleet.fault("link", "no_space", on=False)
        fleet.fault("link", "wrong_code")
        assert web.get("/api/v1/status").status_code == 401
        fleet.fault("link", "wrong_code", on=False)
        fleet.fault("link", "error", message="Thermal runaway")
        assert web.get("/api/v1/status").json()["printer"]["status_printer"]["ok"] is False
        fleet.fault("link", "error", on=False)
        fleet.fault("link", "attention")
        assert web.get("/api/v1/status").json()["printer"]["state"] == "ATTENTION"
        fleet.fault("link", "attention", on=False)
        assert web.get("/api/v1/status").json()["printer"]["state"] == "IDLE"


def test_an_upload_can_be_cut(fleet: RunningFleet) -> None:
    fleet.fault("buddy", "cut_upload", bytes=1000)
    before = fleet.describe("buddy")["partials"]
    with client(fleet, "buddy") as web, pytest.raises(httpx.TransportError):
        put(web, "usb/cut.gcode", b"G1 X1\n" * 100000)
    fleet.fault("buddy", "cut_upload", on=False)
    assert fleet.describe("buddy")["partials"] == before + 1
    assert "cut.gcode" not in fleet.describe("buddy")["files"]


def test_an_answer_can_get_lost(fleet: RunningFleet) -> None:
    fleet.ctl("idle", "link")
    fleet.ctl("print", "link", job={"seconds": 60000})
    wait_for(lambda: fleet.describe("link")["state"] == "PRINTING", 10, "printing")
    fleet.fault("link", "lost_answer")
    with client(fleet, "link") as web, pytest.raises(httpx.TransportError):
        web.put(f"/api/v1/job/{fleet.describe('link')['job']['id']}/pause")
    fleet.fault("link", "lost_answer", on=False)
    assert fleet.describe("link")["state"] == "PAUSED"


def test_network_faults_reach_it(fleet: RunningFleet) -> None:
    fleet.fault("narrow", "unreachable")
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", row(fleet, "narrow")["port"]), 2).close()
    fleet.fault("narrow", "unreachable", on=False)
    with client(fleet, "narrow") as web:
        assert web.get("/api/v1/status").status_code == 200
