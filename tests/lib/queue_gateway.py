"""A gateway without printers' protocols, and printers that are files: leases, tasks and prints by the very statements of the
real one (gateway/*.sql), fast, and to be killed. What printers were told to start is in a journal that outlives everybody.

    python queue_gateway.py CONNINFO FOLDER SEED"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import re
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

LEASE_S = 2.0
STATE, CONNECTION, PRINT = 1, 2, 16384
OURSELVES = Path(__file__).resolve()


def statements() -> dict[str, str]:
    """name → statement, whose parameters say their types."""
    text = "\n".join((OURSELVES.parents[2] / "gateway" / f).read_text() for f in ("gateway.sql", "tasks.sql"))
    out = {}
    for name, types, body in re.findall(r"^-- name: (\w+) :\w+\n(?:-- params: (.*)\n)?((?:(?!-- ).*\n)*)", text, re.M):
        kinds = types.split(", ")
        out[name] = re.sub(r"\$(\d+)", lambda m: f"(${m[1]})::{kinds[int(m[1]) - 1]}", body.strip().rstrip(";"))  # noqa: B023
    return out


class Printers:
    """Files: each printer's state, and one journal of all starts: printer, operation, item, generation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    @contextlib.contextmanager
    def open(self, printer: str) -> Iterator[dict[str, Any]]:
        with (self.folder / printer).open("a+") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            f.seek(0)
            state = json.loads(f.read() or "{}")
            before = dict(state)
            yield state
            if state != before:
                f.seek(0)
                f.truncate()
                f.write(json.dumps(state))

    def start(self, printer: str, operation: str, item: str, generation: int, shows_in: float = 0) -> bool:
        """False: it is busy. The order is on record before anything comes of it; shows_in: seconds until it shows."""
        with self.open(printer) as state:
            if state.get("operation"):
                return False
            with (self.folder / "starts").open("a") as journal:
                journal.write(f"{printer} {operation} {item} {generation}\n")
            state |= {"operation": operation, "item": item, "last": operation, "print": None, "shows_at": time.time() + shows_in}
            return True

    def shown(self, printer: str) -> dict[str, Any]:
        """What it shows of itself."""
        with self.open(printer) as state:
            return {} if state.get("shows_at", 0) > time.time() else dict(state)

    def told(self, printer: str, print_id: str) -> None:
        with self.open(printer) as state:
            state["print"] = print_id

    def over(self, printer: str) -> None:
        with self.open(printer) as state:
            state |= {"operation": None, "print": None}

    def starts(self) -> list[tuple[str, str, str, int]]:
        path = self.folder / "starts"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [(p, op, item, int(g)) for p, op, item, g in lines]


@dataclass
class Task:
    job: str
    printer: str
    fencing: int
    params: dict[str, Any]
    stage: str
    at: float  # when the next step is due
    cancelled: bool = False


@dataclass
class Session:
    org: str
    fencing: int
    until: float
    shown: tuple[str, str | None] | None = None  # state and print as last written
    ends_at: float = 0


@dataclass
class Gateway:
    conninfo: str
    printers: Printers
    lot: random.Random
    name: str = field(default_factory=lambda: f"standin-{uuid.uuid4().hex[:8]}")
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    held: dict[str, Session] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    db: psycopg.Connection[Any] | None = None
    beat_at: float = 0
    resends: bool = False  # the mutation: who takes over starts what had been marked

    def __post_init__(self) -> None:
        self.sql = statements()

    def ask(self, name: str, *parameters: Any) -> list[tuple[Any, ...]]:
        assert self.db
        with psycopg.RawCursor(self.db) as cursor:
            cursor.execute(self.sql[name], parameters)
            return cursor.fetchall() if cursor.description else []

    def turn(self) -> None:
        """Everything that is due; what the database refuses or misses is done at a later turn."""
        try:
            if self.db is None or self.db.closed:
                self.db = psycopg.connect(self.conninfo, autocommit=True, connect_timeout=2)
            self.lease()
            for row in self.ask("gw_task_take", self.id, None, [t.job for t in self.tasks.values()]):
                self.take(*row)
            for task in list(self.tasks.values()):
                if task.at <= time.monotonic():
                    self.step(task)
            for printer in list(self.held):
                self.look(printer)
        except psycopg.OperationalError as e:
            if e.sqlstate == "40P01":
                raise AssertionError(f"a deadlock: {e}") from e
            if self.db:
                self.db.close()

    def lease(self) -> None:
        if time.monotonic() < self.beat_at:
            return
        self.beat_at = time.monotonic() + 0.25
        until = time.monotonic() + LEASE_S - 0.5
        self.ask("gw_beat", self.id, self.name, len(self.held), 6000)
        mine = self.ask("gw_renew", self.id, f"{LEASE_S} s") + self.ask("gw_claim", self.id, f"{LEASE_S} s", 100)
        rows = {str(r[0]): r for r in mine}
        for gone in [p for p in self.held if p not in rows]:
            del self.held[gone]
        for printer, row in rows.items():
            session = self.held.get(printer)
            if session is None or session.fencing != row[2]:
                self.held[printer] = Session(str(row[1]), row[2], until)
            else:
                session.until = until
        self.tasks = {j: t for j, t in self.tasks.items() if t.printer in self.held and self.held[t.printer].fencing == t.fencing}

    def take(self, org: Any, job: Any, printer: Any, fencing: int, kind: str, number: int, phase: str, patience: int,
             resumed: bool, cancelled: bool, params: dict[str, Any], *_: Any) -> None:  # fmt: skip
        known = self.tasks.get(str(job))
        if known and known.fencing == fencing:
            known.cancelled |= cancelled
        elif kind == "printer.command":
            self.show(str(printer))
            self.printers.over(str(printer))
            self.ask("gw_task_end", self.id, job, fencing, "succeeded", None, None)
        else:
            stage = "upload" if phase != "starting" else "start" if self.resends else "watch"
            later = 0.1 if stage == "watch" else self.lot.uniform(0, 0.03)
            self.tasks[str(job)] = Task(str(job), str(printer), fencing, params, stage, time.monotonic() + later, cancelled)

    def end(self, task: Task, outcome: str, code: str = "") -> None:
        self.tasks.pop(task.job, None)
        error = Jsonb({"code": code, "message": "It is so."}) if code else None
        self.ask("gw_task_end", self.id, task.job, task.fencing, outcome, None, error)

    def step(self, task: Task) -> None:
        p, draw = task.printer, self.lot.random()
        if time.monotonic() > self.held[p].until:
            return  # the lease may have run out: nothing is done on it
        if task.stage == "upload":
            if task.cancelled:
                self.end(task, "cancelled")
            elif draw < 0.06:
                self.end(task, "failed", self.lot.choice(["upload_failed", "no_space", "printer_busy"]))
            else:
                task.stage = "mark"
        elif task.stage == "mark":
            may = self.ask("gw_task_starting", self.id, task.job, task.fencing)[0][0]
            if may:
                task.stage = "start"
            else:
                self.end(task, "cancelled")
        elif task.stage == "start":
            if draw < 0.04:  # the order is lost on its way
                task.stage, task.at = "watch", time.monotonic() + 0.05
            elif self.printers.start(p, task.job, task.params["queue_item_id"], task.params["generation"],
                                     0.5 if draw < 0.12 else 0):  # fmt: skip
                task.stage, task.at = "watch", time.monotonic() + self.lot.uniform(0, 0.02)
            else:
                self.end(task, "failed", "printer_busy")
        elif self.printers.shown(p).get("last") == task.job:
            self.show(p)
            self.end(task, "succeeded")
        else:  # lost, or it shows too late
            self.end(task, "failed", "start_unknown")

    def look(self, p: str) -> None:
        session, state = self.held[p], self.printers.shown(p)
        if state.get("operation") and state.get("print") and not session.ends_at:
            session.ends_at = time.monotonic() + self.lot.uniform(0.02, 0.25)
        ended = None
        if state.get("operation") and session.ends_at and time.monotonic() > session.ends_at:
            self.printers.over(p)
            ended = self.lot.choices(["completed", "failed", "cancelled", "unknown"], [10, 2, 2, 1])[0]
        self.show(p, ended, state)

    def show(self, p: str, ended: str | None = None, state: dict[str, Any] | None = None) -> None:
        """Status and print as the printer has them now, when that is news."""
        session, state = self.held[p], state or self.printers.shown(p)
        operation, print_id = state.get("operation"), state.get("print")
        stopped = None
        if session.shown and session.shown[1] and not operation:
            stopped = session.shown[1]  # by a command, or by an earlier gateway
        if operation and not print_id:
            print_id = str(uuid.uuid4())
            self.printers.told(p, print_id)
        now = ("finished" if ended or not operation else "printing", None if ended else print_id)
        if session.shown is None and not operation:
            now = ("idle", None)
            stopped = self.last_print(p, session.org)
        if now == session.shown and not ended:
            return
        prints = []
        if operation or stopped:
            end = ended or ("cancelled" if stopped else None)
            ms = int(time.time() * 1000)
            prints = [{"id": print_id or stopped, "state": end or "running", "operation": operation, "name": "cube",
                       "filename": "cube.gcode", "started": ms - 1000, "ended": ms if end else None}]  # fmt: skip
        record = {"id": p, "fencing": session.fencing, "mask": STATE | CONNECTION | PRINT, "seen": int(time.time() * 1000),
                  "state": now[0], "connection": {"state": "connected", "reason": None, "message": None, "since": None},
                  "print": now[1], "prints": prints, "events": []}  # fmt: skip
        assert self.db
        with self.db.transaction():
            self.db.execute("SELECT set_config('app.org_id', %s, true)", [session.org])
            self.ask("gw_write", session.org, self.id, Jsonb([record]))
        session.shown = now
        if ended or not operation:
            session.ends_at = 0

    def last_print(self, p: str, org: str) -> str | None:
        """That an earlier gateway left running in the books."""
        assert self.db
        with self.db.transaction():
            self.db.execute("SELECT set_config('app.org_id', %s, true)", [org])
            row = self.db.execute("SELECT id FROM app.prints WHERE printer_id = %s AND state = 'running'", [p]).fetchone()
        return str(row[0]) if row else None


def main() -> None:
    conninfo, folder, seed = sys.argv[1:]
    gateway = Gateway(conninfo, Printers(Path(folder)), random.Random(int(seed)))
    parent = os.getppid()
    while os.getppid() == parent:
        gateway.turn()
        time.sleep(0.01)  # a gateway's own pace


if __name__ == "__main__":
    main()
