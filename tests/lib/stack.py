"""A private copy of the whole service: own database, Redis, nginx and port, in one temporary folder."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("SOLOPRINT_BUILD") or os.environ.get("BUILD") or "build")
BUILD = BUILD if BUILD.is_absolute() else ROOT / BUILD
# Tests are one address and many requests: nginx' limits per address have tests of their own.
QUIET = ("--no-demo", "--quiet", "--rate", "0", "--conns", "0", "--workers", "4")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Stack:
    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.var, self.run_dir = folder / "var", folder / "run"

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What `stack up` wrote about itself: url, cacert, scan, log, ctl, superuser, redis, fleet …"""
        return dict(json.loads((self.var / "stack.json").read_text()))

    @property
    def url(self) -> str:
        return str(self.facts["url"])

    @property
    def cacert(self) -> str:
        return str(self.facts["cacert"])

    def log(self, service: str) -> str:
        return (Path(self.facts["log"]) / service / "current").read_text(errors="replace")

    def tool(self, command: str, *args: str, timeout_s: float = 240) -> str:
        place = ["--var", str(self.var), "--run", str(self.run_dir), "--build", str(BUILD)]
        done = subprocess.run(
            [str(ROOT / "deploy/local/stack"), command, *args, *place],
            cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"stack {command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def up(self, *args: str) -> Stack:
        self.tool("up", "--port", str(self.port), *QUIET, *args)
        self.__dict__.pop("facts", None)
        return self

    def down(self) -> None:
        if self.var.exists():
            self.tool("down")

    def service(self, action: str, name: str) -> str:
        """start, stop, restart, reload, kill or pid."""
        return self.tool("service", action, name).strip()

    def ctl(self, *args: str, role: str = "migrator", expect: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
        """soloprintctl with this stack's settings."""
        settings = {
            "SOLOPRINT_DB": str(self.facts[role]),
            "SOLOPRINT_REDIS": str(self.facts["redis"]),
            "SOLOPRINT_GATEWAY_PUBKEY": str(self.facts["gateway_pubkey"]),
            "SOLOPRINT_COURIER_PUBKEY": str(self.facts["courier_pubkey"]),
            "SOLOPRINT_SCHEMA": str(ROOT / "schema/db"),
        }
        done = subprocess.run(
            [str(self.facts["ctl"]), *args],
            env={**os.environ, **settings, **env}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == expect, f"soloprintctl {args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def connect(self) -> psycopg.Connection[Any]:
        """As superuser."""
        return psycopg.connect(str(self.facts["superuser"]), autocommit=True)

    def redis(self, *words: str) -> str:
        """One command; its raw answer."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5)
            s.connect(str(self.facts["redis"]))
            parts = [f"*{len(words)}\r\n", *(f"${len(w.encode())}\r\n{w}\r\n" for w in words)]
            s.sendall("".join(parts).encode())
            return s.recv(65536).decode()

    def forgive_address(self) -> None:
        """Forgets how many unknown keys came from here: all tests are one address, and a new key counts as unknown
        until its first answer."""
        self.redis("EVAL", "for _, k in ipairs(redis.call('KEYS', 'rl:unknown:*')) do redis.call('DEL', k) end", "0")

    @contextmanager
    def clock_offset(self, interval: str) -> Iterator[None]:
        """Moves app.now() for connections made from now on."""
        with self.connect() as db:
            db.execute(f"ALTER DATABASE soloprint SET app.clock_offset = '{interval}'")
            try:
                yield
            finally:
                db.execute("ALTER DATABASE soloprint RESET app.clock_offset")


def new_stack() -> Stack:
    """Not started. The folder is short: socket paths end at 107 bytes. Other users must be able to walk into it."""
    folder = Path(tempfile.mkdtemp(prefix="slp-", dir="/tmp"))
    folder.chmod(0o755)
    return Stack(folder, free_port())


def remove(stack: Stack) -> None:
    try:
        stack.down()
    finally:
        if not os.environ.get("SOLOPRINT_TEST_KEEP"):
            shutil.rmtree(stack.folder, ignore_errors=True)
