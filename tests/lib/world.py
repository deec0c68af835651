"""Organisations, keys and objects for tests, made beside the API so that tests can have what it would refuse."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import psycopg
from api import Api
from keys import CAPABILITIES, key_hash, new_key
from stack import Stack

GENEROUS = {"read": 1000000, "write": 1000000, "control": 1000000, "burst": 1000000}


@dataclass
class Org:
    """An organisation with a key that may do everything."""

    stack: Stack
    db: psycopg.Connection[Any]
    base: Api
    id: str
    owner_id: str
    name: str
    slug: str
    key: str = ""
    made: dict[str, str] = field(default_factory=dict)

    @property
    def api(self) -> Api:
        return self.base.with_key(self.key)

    def _enter(self) -> None:
        self.db.execute(
            "SELECT set_config('app.org_id', %s, true), set_config('app.principal_id', %s, true)",
            [self.id, self.owner_id],
        )

    def make_key(
        self, capabilities: list[str] | tuple[str, ...] = CAPABILITIES, *, name: str = "test key", kind: str = "live",
        **columns: Any,
    ) -> str:  # fmt: skip
        """A key by SQL. columns: printer_ids, cidrs, rate_limits, expires_at, revoked_at as SQL values."""
        key = new_key(kind)
        columns.setdefault("rate_limits", json.dumps(GENEROUS))
        late = {c: columns.pop(c) for c in ("expires_at", "revoked_at") if c in columns}
        row = {
            "name": name, "kind": kind, "prefix": key[:14], "key_hash": key_hash(key),
            "capabilities": list(capabilities), **columns,
        }  # fmt: skip
        casts = {"printer_ids": "uuid[]", "cidrs": "cidr[]", "rate_limits": "jsonb", "capabilities": "text[]"}
        values = ", ".join(f"%({c})s::{casts[c]}" if c in casts else f"%({c})s" for c in row)
        with self.db.transaction():
            self._enter()
            got = self.db.execute(
                f"INSERT INTO app.api_keys (org_id, {', '.join(row)}) VALUES ('{self.id}', {values}) RETURNING id", row
            ).fetchone()
            assert got
            for column, value in late.items():
                self.db.execute(f"UPDATE app.api_keys SET {column} = %s WHERE id = %s", [value, got[0]])
        self.made[key] = str(got[0])
        return key

    def key_id(self, key: str) -> str:
        return self.made[key]

    def with_capabilities(self, *capabilities: str, **columns: Any) -> Api:
        return self.base.with_key(self.make_key(capabilities, **columns))

    def make_printer(self, **attributes: Any) -> dict[str, Any]:
        """By the API. Not enabled unless asked for: the gateway leaves it alone."""
        body = {"name": f"Printer {secrets.token_hex(4)}", "protocol": "bambu", "enabled": False, **attributes}
        return dict(self.api.post("/v1/printers", body, expect=201).json())

    def make_group(self, **attributes: Any) -> dict[str, Any]:
        body = {"name": f"Group {secrets.token_hex(4)}", **attributes}
        return dict(self.api.post("/v1/printer-groups", body, expect=201).json())

    def make_model(self, **attributes: Any) -> dict[str, Any]:
        body = {"name": f"Model {secrets.token_hex(4)}", **attributes}
        return dict(self.api.post("/v1/models", body, expect=201).json())

    def make_collection(self, **attributes: Any) -> dict[str, Any]:
        body = {"name": f"Collection {secrets.token_hex(4)}", **attributes}
        return dict(self.api.post("/v1/collections", body, expect=201).json())

    def connected(self, printer_id: str, **columns: str) -> None:
        """The printer counts as connected, without a gateway. columns: more of app.printer_status, as SQL."""
        more = "".join(f", {c} = {v}" for c, v in columns.items())
        self.sql(
            "UPDATE app.printer_status SET connection = jsonb_set(connection, '{state}', '\"connected\"'),"
            f" last_seen_at = app.now(), version = version + 1{more} WHERE printer_id = %s",
            printer_id,
        )

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """As superuser, in this organisation."""
        with self.db.transaction():
            self._enter()
            cursor = self.db.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []


# Events, wherever they are: written, or published already; n is their order.
EVENTS = (
    "(SELECT sequence AS n, org_id, id, type, capability, data, resource_type, resource_id FROM app.events UNION ALL"
    " SELECT sequence + 1000000000000, org_id, id, type, capability, data, resource_type, resource_id FROM app.outbox) AS e"
)


def make_org(stack: Stack, db: psycopg.Connection[Any], base: Api, name: str = "") -> Org:
    slug = f"org-{secrets.token_hex(6)}"
    name = name or f"Org {slug[4:]}"
    row = db.execute("SELECT * FROM sec.create_org(%s, %s)", [name, slug]).fetchone()
    assert row
    org = Org(stack, db, base, str(row[0]), str(row[1]), name, slug)
    org.sql("UPDATE app.organizations SET rate_limits = %s WHERE org_id = %s", json.dumps(GENEROUS), org.id)
    org.key = org.make_key(name="everything")
    return org
