"""A real OctoPrint with its bundled Virtual Printer, for tests. Made by `make octoprint`."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from virtual_fleet.broker import die_with_parent
from virtual_fleet.harness import wait_for

VENV = Path(__file__).resolve().parent.parent / ".octoprint"
PROGRAM = VENV / "bin" / "octoprint"
MISSING = f"no OctoPrint in {VENV}: run make octoprint"
# API keys, by user: what SoLoPrint's has is what docs/gateway.md asks for.
BASIC = ["STATUS", "CONNECTION", "CONTROL", "PRINT", "FILES_LIST", "FILES_SELECT", "FILES_UPLOAD"]
USERS: dict[str, list[str]] = {
    "soloprint": [*BASIC, "SETTINGS_READ", "WEBCAM", "MONITOR_TERMINAL"],
    "narrow": BASIC,
    "onlooker": ["STATUS"],
    "admin": ["ADMIN"],
}
# What has nothing to do with printing, or asks the internet.
UNWANTED = [
    "achievements",
    "action_command_notification",
    "action_command_prompt",
    "announcements",
    "backup",
    "corewizard",
    "discovery",
    "errortracking",
    "eventmanager",
    "file_check",
    "firmware_check",
    "gcodeviewer",
    "health_check",
    "logging",
    "pi_support",
    "pluginmanager",
    "softwareupdate",
    "tracking",
    "uploadmanager",
]


def available() -> bool:
    return PROGRAM.exists()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class RealOctoPrint:
    """Use as a context manager. `printer`: settings of the Virtual Printer plugin."""

    def __init__(self, **printer: Any) -> None:
        self.keys = {name: f"{name}-{secrets.token_hex(12)}" for name in USERS}
        self.key = self.keys["soloprint"]
        self.port = free_port()
        self.printer = printer
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RealOctoPrint:
        self.folder = Path(tempfile.mkdtemp(prefix="slp-octo-", dir="/tmp"))
        (self.folder / "config.yaml").write_text(json.dumps(self._config()))  # JSON is YAML
        (self.folder / "users.yaml").write_text(json.dumps(self._users()))
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _users(self) -> dict[str, Any]:
        rest: dict[str, Any] = {"active": True, "groups": [], "password": "none", "settings": {}}
        return {name: rest | {"permissions": USERS[name], "apikey": key} for name, key in self.keys.items()}

    def _config(self) -> dict[str, Any]:
        webcam = {"stream": "/webcam/?action=stream", "snapshot": "http://127.0.0.1:8080/?action=snapshot"}
        return {
            "accessControl": {"salt": "salt-of-the-tests"},
            "server": {
                "firstRun": False,
                "onlineCheck": {"enabled": False},
                "pluginBlacklist": {"enabled": False},
                "seenWizards": {"corewizard": 4, "classicwebcam": 1},
            },
            "plugins": {
                "_disabled": UNWANTED,
                "virtual_printer": {"enabled": True} | self.printer,
                "classicwebcam": webcam,
            },
            "serial": {"port": "VIRTUAL", "autoconnect": False},
        }

    def start(self, wait: bool = True) -> None:
        command = [str(PROGRAM), "serve", "--iknowwhatimdoing", "--basedir", str(self.folder)]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=os.environ | {"HOME": str(self.folder)},
                preexec_fn=die_with_parent,
            )  # fmt: skip
        if wait:
            wait_for(self._ready, 60, "OctoPrint")

    def _ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError("OctoPrint ended: " + (self.folder / "log").read_text()[-3000:])
        try:
            return self.call("GET", "/api/version")[0] == 200
        except (OSError, http.client.HTTPException):  # while it starts, another server answers "Not found", bare
            return False

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def call(self, method: str, path: str, body: Any = None, key: str | None = None) -> tuple[int, Any]:
        """Status and JSON, None when the answer is none."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        request.add_header("X-Api-Key", self.keys["admin"] if key is None else key)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, None

    def state(self) -> str:
        return str(self.call("GET", "/api/job")[1]["state"])

    def connect_printer(self) -> None:
        assert self.call("POST", "/api/connection", {"command": "connect"})[0] == 204
        wait_for(lambda: self.state() == "Operational", 20, "printer behind OctoPrint")

    def disconnect_printer(self) -> None:
        assert self.call("POST", "/api/connection", {"command": "disconnect"})[0] == 204
        wait_for(lambda: self.state().startswith("Offline"), 10, "no printer")

    def files(self) -> list[str]:
        """Paths of all files in its uploads."""
        root = self.folder / "uploads"
        return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and p.name[0] != ".")


def slow_gcode(seconds: float, dwell_ms: int = 200) -> bytes:
    """Moves and waits that take the Virtual Printer about so long."""
    n = max(1, int(seconds * 1000 / dwell_ms))
    lines = ["G28", "M106 S128"]
    lines += [f"G1 X{i % 100} Y{i % 90} F6000\nG4 P{dwell_ms}" for i in range(n)]
    return ("\n".join(lines) + "\n").encode()
