"""A driver alone, by build/stub/driver_probe: orders in, what it tells out."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

from rig import BUILD
from virtual_fleet.broker import die_with_parent
from virtual_fleet.harness import wait_for

Event = dict[str, Any]


class Probe:
    """protocol and a row of fleet.json. Events are kept in the order they came."""

    def __init__(self, row: dict[str, Any], protocol: str = "bambu", ftps: str | None = None) -> None:
        if ftps is None:
            ftps = f"+{row['ftps_port'] - row['port']}" if row.get("ftps_port") else "990"
        words = [protocol, row["host"], row["port"], row["serial"], row["model"], row["ca"], ftps]
        self.events: list[Event] = []
        self.process = subprocess.Popen(
            [str(BUILD / "stub" / "driver_probe"), *map(str, words)],
            env=os.environ | {"DRIVER_SECRET": row["access_code"]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=die_with_parent,
        )
        self.log: list[str] = []
        self.threads = [threading.Thread(target=each, daemon=True) for each in (self._read, self._read_log)]
        for each in self.threads:
            each.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def _read_log(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.log.append(line.decode(errors="replace"))

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *exc: object) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        code = self.process.wait(20)
        for each in self.threads:
            each.join(5)
        assert exc[0] is not None or code == 0, self.log[-20:]

    def do(self, order: str, **fields: Any) -> int:
        """Gives the place in events from which on its consequences stand."""
        assert self.process.stdin
        place = len(self.events)
        self.process.stdin.write(json.dumps({"do": order} | fields).encode() + b"\n")
        self.process.stdin.flush()
        return place

    def of(self, event: str, since: int = 0) -> list[Event]:
        return [each for each in self.events[since:] if each["event"] == event]

    def wait(self, event: str, since: int = 0, timeout_s: float = 15, **fields: Any) -> Event:
        def found() -> Event | None:
            assert self.process.poll() is None, self.log[-20:]
            return next((e for e in self.of(event, since) if fields.items() <= e.items()), None)

        try:
            found_event = wait_for(found, timeout_s, f"{event} {fields}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.events[-10:]}\n{''.join(self.log[-10:])}") from None
        assert found_event is not None
        return found_event

    def ready(self) -> None:
        self.wait("report")

    def command(self, command: str, timeout_s: float = 15, **parameters: Any) -> Event:
        place = self.do("command", command={"command": command} | parameters)
        return self.wait("answer", place, timeout_s)

    def upload(self, path: Path, timeout_s: float = 60, task_id: int = 1, **fields: Any) -> Event:
        place = self.begin_upload(path, task_id, **fields)
        return self.wait("uploaded", place, timeout_s)

    def begin_upload(self, path: Path, task_id: int = 1, **fields: Any) -> int:
        known = {"path": str(path), "filename": path.name, "kind": "gcode_3mf", "task_id": task_id}
        return self.do("upload", **(known | fields))

    def start(self, timeout_s: float = 15) -> Event:
        return self.wait("answer", self.do("start"), timeout_s)
