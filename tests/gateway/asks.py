"""Asking gateways for something as the API does: commands and files for printers, and what became of it."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from psycopg.types.json import Jsonb
from rig import World
from virtual_fleet.harness import wait_for

ENDED = ("succeeded", "failed", "cancelled")


class Asks:
    def __init__(self, world: World) -> None:
        self.world = world
        self.store = world.folder / "store"

    def create(self, name: str, kind: str, params: dict[str, Any], urgent: bool = False) -> uuid.UUID:
        query = "SELECT sec.task_create(%s, %s, %s, '1 minute', %s) AS id"
        row = self.world.db.execute(query, [self.world.ids[name], kind, Jsonb(params), urgent]).fetchone()
        assert row is not None
        return row["id"]

    def command(self, name: str, command: str, **params: Any) -> uuid.UUID:
        return self.create(
            name, "printer.command", {"command": command} | params, urgent=command == "emergency_stop"
        )

    def file(self, filename: str, content: bytes, kind: str = "gcode") -> uuid.UUID:
        """A file of the organisation, as uploaded."""
        blob, file, digest = uuid.uuid4(), uuid.uuid4(), hashlib.sha256(content).digest()
        db = self.world.db
        row = db.execute("SELECT id FROM app.blobs WHERE org_id = %s AND sha256 = %s",
                         [self.world.org, digest]).fetchone()  # fmt: skip
        if row is not None:
            blob = row["id"]
        else:
            db.execute("INSERT INTO app.blobs (id, sha256, size_bytes) VALUES (%s, %s, %s)",
                       [blob, digest, len(content)])  # fmt: skip
            folder = self.store / "blobs" / blob.hex[-4:-2] / blob.hex[-2:]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / str(blob)).write_bytes(content)
        db.execute(
            "INSERT INTO app.files (id, filename, kind, content_type, size_bytes, sha256, blob_id, status) "
            "VALUES (%s, %s, %s, 'application/octet-stream', %s, %s, %s, 'ready')",
            [file, filename, kind, len(content), digest, blob],
        )
        return file

    def send(self, name: str, file: uuid.UUID, **params: Any) -> uuid.UUID:
        return self.create(name, "printer.send", {"file_id": str(file)} | params)

    def cancel(self, job: uuid.UUID) -> None:
        self.world.db.execute("SELECT sec.job_cancel(%s)", [job])

    def job(self, job: uuid.UUID) -> dict[str, Any]:
        row = self.world.db.execute("SELECT * FROM app.jobs WHERE id = %s", [job]).fetchone()
        assert row is not None
        return row

    def wait(self, job: uuid.UUID, timeout_s: float = 20.0) -> dict[str, Any]:
        wait_for(lambda: self.job(job)["state"] in ENDED, timeout_s, f"end of operation {job}")
        return self.job(job)

    def succeeded(self, job: uuid.UUID, timeout_s: float = 20.0) -> dict[str, Any]:
        row = self.wait(job, timeout_s)
        assert row["state"] == "succeeded", row["error"]
        return row

    def failed(self, job: uuid.UUID, timeout_s: float = 20.0) -> str:
        """The code it failed with."""
        row = self.wait(job, timeout_s)
        assert row["state"] == "failed", row
        return row["error"]["code"]

    def prints(self, name: str) -> list[dict[str, Any]]:
        query = "SELECT * FROM app.prints WHERE printer_id = %s ORDER BY started_at"
        return self.world.db.execute(query, [self.world.ids[name]]).fetchall()
