"""A pool of stub workers under the real supervisor, and a load generator for its socket."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path


def until(what: str, check: Callable[[], object], seconds: float = 5.0) -> object:
    """Waits for a condition, with a deadline; gives what the check gave."""
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.005)


@dataclass
class Answer:
    pid: int
    generation: int
    size: int


@dataclass
class Pool:
    program: Path
    path: Path
    workers: int = 2
    drain_ms: int = 2000
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    log_path: Path | None = None

    def start(self) -> Pool:
        self.log_path = self.path.with_suffix(".log")
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [self.program, self.path, str(self.workers), str(self.drain_ms)],
                stderr=log,
                env={**os.environ, **self.env},
            )
        return self

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def logs(self) -> list[dict]:
        assert self.log_path
        return [json.loads(line) for line in self.log_path.read_text().splitlines() if line.startswith("{")]

    def said(self, msg: str) -> list[dict]:
        return [line for line in self.logs() if line["msg"] == msg]

    def ready(self) -> Pool:
        until("pool is ready", lambda: self.said("ready"))
        return self

    def children(self) -> set[int]:
        text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return {int(pid) for pid in text.split()}

    def ask(self, line: str = "ping", timeout: float = 5.0) -> Answer:
        """One request; raises when it fails."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(timeout)
            s.connect(str(self.path))
            s.sendall(line.encode() + b"\n")
            text = s.makefile().readline()
        if not text.endswith("\n"):
            raise ConnectionError(f"no answer to {line!r}")
        pid, generation, size = text.split()
        return Answer(int(pid), int(generation), int(size))

    def signal(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)

    def stop(self) -> int:
        assert self.process
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@dataclass
class Load:
    answers: list[Answer] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@contextlib.contextmanager
def load(pool: Pool, clients: int = 4, line: str = "slow 5") -> Iterator[Load]:
    """Asks all the time while the body runs."""
    done = threading.Event()
    result = Load()

    def client() -> None:
        while not done.is_set():
            try:
                result.answers.append(pool.ask(line))
            except OSError as e:
                result.failures.append(f"{type(e).__name__}: {e}")

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for t in threads:
        t.start()
    try:
        yield result
    finally:
        done.set()
        for t in threads:
            t.join()
