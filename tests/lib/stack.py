"""A private copy of the whole service: own database, Redis, broker, nginx and ports, in one temporary folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("SOLOPRINT_BUILD") or os.environ.get("BUILD") or "build")
BUILD = BUILD if BUILD.is_absolute() else ROOT / BUILD


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Stack:
    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.var, self.run_dir = folder / "var", folder / "run"

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def cacert(self) -> str:
        return str(self.var / "tls" / "ca.crt")

    def tool(self, command: str, *args: str, timeout_s: float = 240, **env: str) -> str:
        done = subprocess.run(
            [str(ROOT / "deploy/local/stack"), command, "--var", str(self.var), "--run", str(self.run_dir),
             "--port", str(self.port), "--build", str(BUILD), *args],
            cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"stack {command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def up(self, *args: str, **env: str) -> Stack:
        self.tool("up", "--no-demo", *args, **env)
        return self

    def down(self) -> None:
        self.tool("down")

    def ctl(self, *args: str, stdin: str = "", expect: int = 0) -> str:
        """soloprintctl in the stack's own surroundings; its standard output."""
        done = subprocess.run(
            [str(ROOT / "deploy/local/stack"), "ctl", "--var", str(self.var), "--run", str(self.run_dir),
             "--port", str(self.port), "--build", str(BUILD), "--", *args],
            cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == expect, f"soloprintctl {args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def connect(self, user: str = "postgres") -> psycopg.Connection[Any]:
        return psycopg.connect(f"host={self.run_dir}/pg dbname=soloprint user={user}", autocommit=True)

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
