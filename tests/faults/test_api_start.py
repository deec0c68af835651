"""How soloprint-api starts: what it refuses, and that nothing it needs has to be up before it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from stack import BUILD
from wait import until

PROGRAM = BUILD / "bin" / "soloprint-api"


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """Complete settings; neither Postgres nor Redis is there."""
    for name in ("cursor.key", "url.key"):
        (tmp_path / name).write_bytes(secrets.token_bytes(32))
    (tmp_path / "storage").mkdir()
    for name in ("gateway.pub", "courier.pub"):
        private = subprocess.run(["openssl", "genpkey", "-algorithm", "x25519"], capture_output=True, check=True)
        public = subprocess.run(["openssl", "pkey", "-pubout"], input=private.stdout, capture_output=True, check=True)
        (tmp_path / name).write_bytes(public.stdout)
    return {
        "PATH": os.environ["PATH"],
        "SOLOPRINT_DB": f"host={tmp_path} dbname=soloprint user=soloprint_api",
        "SOLOPRINT_REDIS": f"{tmp_path}/redis.sock",
        "SOLOPRINT_SOCKET": f"{tmp_path}/api.sock",
        "SOLOPRINT_POOL": "api",
        "SOLOPRINT_WORKERS": "2",
        "SOLOPRINT_CURSOR_KEY": f"{tmp_path}/cursor.key",
        "SOLOPRINT_URL_KEY": f"{tmp_path}/url.key",
        "SOLOPRINT_STORAGE": f"{tmp_path}/storage",
        "SOLOPRINT_GATEWAY_PUBKEY": f"{tmp_path}/gateway.pub",
        "SOLOPRINT_COURIER_PUBKEY": f"{tmp_path}/courier.pub",
    }


@contextmanager
def running(settings: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen([PROGRAM], env=settings, stderr=out)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def lines(log: Path) -> list[dict]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


@pytest.mark.parametrize(
    "name",
    ["SOLOPRINT_DB", "SOLOPRINT_REDIS", "SOLOPRINT_SOCKET", "SOLOPRINT_CURSOR_KEY", "SOLOPRINT_URL_KEY", "SOLOPRINT_STORAGE",
     "SOLOPRINT_GATEWAY_PUBKEY", "SOLOPRINT_COURIER_PUBKEY"],  # fmt: skip
)
def test_missing_setting_is_named(settings: dict[str, str], name: str) -> None:
    del settings[name]
    done = subprocess.run([PROGRAM], env=settings, capture_output=True, timeout=5)
    said = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 1
    assert [(s["msg"], s["name"]) for s in said] == [("setting is missing", name)]
    assert not Path(settings.get("SOLOPRINT_SOCKET", "/nonexistent")).exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SOLOPRINT_POOL", "apis"),
        ("SOLOPRINT_WORKERS", "0"),
        ("SOLOPRINT_WORKERS", "many"),
        ("SOLOPRINT_MAX_REQUESTS", "-1"),
        ("SOLOPRINT_DRAIN_MS", "1s"),
        ("SOLOPRINT_LOG_LEVEL", "loud"),
        ("SOLOPRINT_STATEMENTS", "none"),
    ],
)
def test_malformed_setting_is_named(settings: dict[str, str], name: str, value: str) -> None:
    done = subprocess.run([PROGRAM], env={**settings, name: value}, capture_output=True, timeout=5)
    said = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 1
    assert [(s["msg"], s["name"]) for s in said] == [("setting is malformed", name)]
    assert set(said[0]) <= {"at", "level", "proc", "pid", "msg", "name", "help"}, "the value is not logged"
    assert not Path(settings["SOLOPRINT_SOCKET"]).exists()


def test_starts_without_postgres_and_redis(settings: dict[str, str], tmp_path: Path) -> None:
    with running(settings, tmp_path / "log") as process:
        until(lambda: any(line["msg"] == "ready" for line in lines(tmp_path / "log")), what="ready")
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0


@pytest.mark.parametrize("size", [0, 31, 33])
def test_cursor_key_must_have_its_length(settings: dict[str, str], tmp_path: Path, size: int) -> None:
    Path(settings["SOLOPRINT_CURSOR_KEY"]).write_bytes(b"k" * size)
    with running(settings, tmp_path / "log"):

        def complained() -> bool:
            return any("cursor key" in line["msg"] for line in lines(tmp_path / "log"))

        until(complained, what="the log says so")
        assert not any(line["msg"] == "ready" for line in lines(tmp_path / "log"))


def test_socket_in_use_is_refused(settings: dict[str, str]) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(settings["SOLOPRINT_SOCKET"])
        other.listen()
        done = subprocess.run([PROGRAM], env=settings, capture_output=True, timeout=5)
    assert done.returncode == 1 and b"cannot listen" in done.stderr
