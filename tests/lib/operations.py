"""Operations for tests, in any state, of kinds that no courier takes up."""

from __future__ import annotations

import json
import secrets
import uuid
from typing import Any

from world import Org

FINAL = ("succeeded", "failed", "cancelled")


def make_operation(org: Org, state: str = "queued", kind: str = "test.walk", **columns: Any) -> str:
    """Its id. columns: more of app.jobs; dictionaries are JSON."""
    row: dict[str, Any] = {"kind": kind, "visible": True, "params": {"secret": secrets.token_hex(8)}, **columns}
    row = {c: json.dumps(v) if isinstance(v, dict) else v for c, v in row.items()}
    names = ", ".join(row)
    values = ", ".join(f"%({c})s" for c in row)
    with org.db.transaction():
        org._enter()
        got = org.db.execute(f"INSERT INTO app.jobs ({names}) VALUES ({values}) RETURNING id", row).fetchone()
        assert got
        for step in steps_to(state):
            org.db.execute(
                "UPDATE app.jobs SET state = %s, finished_at = CASE WHEN %s THEN app.now() END,"
                " started_at = coalesce(started_at, app.now()) WHERE id = %s", [step, step in FINAL, got[0]],
            )  # fmt: skip
    return str(got[0])


def steps_to(state: str) -> list[str]:
    return {"queued": [], "running": ["running"]}.get(state, ["running", state])


def some_id() -> str:
    return str(uuid.uuid4())
