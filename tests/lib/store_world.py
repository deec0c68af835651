"""A database, a file store, an S3 service and couriers, without the rest of the service: what moving, sweeping and
verifying content needs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from signals import signal_one
from stack import BUILD
from wait import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from private_pg import Ctl

COURIER = BUILD / "bin" / "soloprint-courier"
LEASE_MS = 1000


def key(blob: str) -> str:
    return f"{blob[-4:-2]}/{blob[-2:]}/{blob}"


class Courier:
    """The real courier, on this world's database."""

    def __init__(self, world: World, n: int, workers: int, **env: str) -> None:
        self.log = world.folder / f"courier-{n}.log"
        settings = {
            "PATH": os.environ["PATH"], "SOLOPRINT_DB": world.ctl.pg.conninfo(world.ctl.database, "soloprint_courier"),
            "SOLOPRINT_WORKERS": str(workers), "SOLOPRINT_COURIER_LEASE_MS": str(LEASE_MS), "SOLOPRINT_DRAIN_MS": "5000",
            **world.settings, **env,
        }  # fmt: skip
        settings |= {k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS") or k.startswith("GCOV")}
        with self.log.open("wb") as out:
            self.process = subprocess.Popen([COURIER], env=settings, stderr=out)
        until(lambda: self.said("ready"), timeout_s=20, what="the courier is ready")

    def said(self, msg: str, **fields: Any) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [x for x in lines if x["msg"] == msg and all(x.get(k) == v for k, v in fields.items())]

    def workers(self) -> list[int]:
        pid = self.process.pid
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def kill_all(self) -> None:
        """kill -9 of the supervisor and its workers at once."""
        for pid in [self.process.pid, *self.workers()]:
            with suppress(ProcessLookupError):
                signal_one(pid, signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)


@dataclass
class World:
    ctl: Ctl
    service: Any
    folder: Path
    couriers: list[Courier] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.store = self.folder / "storage"
        self.settings = {"SOLOPRINT_STORAGE": str(self.store), **(self.service.settings() if self.service else {})}
        self.ctl.run("org", "create", "North High")
        self.ctl.run("org", "create", "South High")
        self.ctl.run("storage", "status", **self.settings)  # makes the layout
        with self.ctl.connect() as db:
            db.execute("UPDATE sec.timers SET next_at = app.now() + every")  # nothing is swept before it is wanted
            self.orgs = {str(s): str(i) for i, s in db.execute("SELECT org_id, slug FROM sec.org_index")}

    def sql(self, text: str, *args: Any, org: str = "north-high") -> list[tuple[Any, ...]]:
        """As superuser, speaking for an organisation."""
        with self.ctl.connect(autocommit=False) as db:
            db.execute("SELECT set_config('app.org_id', %s, true)", [self.orgs[org]])
            done = db.execute(text, args)
            return done.fetchall() if done.description else []

    def path(self, blob: str) -> Path:
        return self.store / "blobs" / key(blob)

    def s3_key(self, blob: str) -> str:
        return f"slp/blobs/{key(blob)}"

    def lay(self, blob: str, body: bytes, location: str = "local", age_s: int = 0) -> None:
        """The object alone."""
        if location == "s3":
            self.service.put(self.s3_key(blob), body)
            return
        path = self.path(blob)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        at = path.stat().st_mtime - age_s
        os.utime(path, (at, at))

    def blob(self, body: bytes, location: str = "local", org: str = "north-high", age_s: int = 0) -> str:
        """Object and row."""
        blob = self.blob_id()
        self.lay(blob, body, location, age_s)
        self.sql("INSERT INTO app.blobs (id, sha256, size_bytes, location) VALUES (%s, %s, %s, %s)",
                 blob, hashlib.sha256(body).digest(), len(body), location, org=org)  # fmt: skip
        return blob

    def blob_id(self) -> str:
        with self.ctl.connect() as db:
            return str(db.execute("SELECT app.uuid7()").fetchall()[0][0])

    def location(self, blob: str, org: str = "north-high") -> str | None:
        rows = self.sql("SELECT location FROM app.blobs WHERE id = %s", blob, org=org)
        return str(rows[0][0]) if rows else None

    def move(self, blob: str, to: str = "s3", org: str = "north-high") -> bool:
        return bool(self.sql("SELECT app.queue_blob_move(%s, %s)", blob, to, org=org)[0][0])

    def jobs(self, kind: str, state: str | None = None, org: str = "north-high") -> int:
        where = "kind = %s AND (%s::text IS NULL OR state = %s)"
        return int(self.sql(f"SELECT count(*) FROM app.jobs WHERE {where}", kind, state, state, org=org)[0][0])

    def at_s3(self, blob: str) -> bytes | None:
        try:
            return bytes(self.service.get(self.s3_key(blob)))
        except self.service.client.exceptions.NoSuchKey:
            return None

    def courier(self, workers: int = 1, **env: str) -> Courier:
        self.couriers.append(Courier(self, len(self.couriers), workers, **env))
        return self.couriers[-1]

    def tool(self, *args: str, expect: int = 0, **env: str) -> Any:
        """soloprintctl storage …, as JSON."""
        return self.ctl.json("storage", *args, expect=expect, **{**self.settings, **env})

    @contextmanager
    def later(self, interval: str) -> Iterator[None]:
        """app.now() of connections made from now on."""
        with self.ctl.connect() as db:
            db.execute(f"ALTER DATABASE {self.ctl.database} SET app.clock_offset = '{interval}'")
            try:
                yield
            finally:
                db.execute(f"ALTER DATABASE {self.ctl.database} RESET app.clock_offset")

    def sweep(self) -> None:
        """Makes the timer due and waits until it ran."""
        made = self.courier()
        with self.ctl.connect() as db:
            db.execute("UPDATE sec.timers SET next_at = '-infinity' WHERE name = 'store_sweep'")
        until(lambda: made.said("timer ran", timer="store_sweep"), timeout_s=60, what="the sweep ran")
        made.stop()

    def close(self) -> None:
        for courier in self.couriers:
            if courier.process.poll() is None:
                courier.kill_all()
        shutil.rmtree(self.folder, ignore_errors=True)

