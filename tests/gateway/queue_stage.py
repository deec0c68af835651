"""A virtual printer and the queue in front of it, as tests of whole prints see them."""

from __future__ import annotations

import concurrent.futures
import copy
import os
import threading
import uuid
from typing import Any

import psycopg
from asks import Asks
from conformance import BUSY, KINDS
from psycopg.types.json import Jsonb
from rig import Postgres, World
from virtual_fleet.harness import wait_for

SCALE = 60
SHORT: dict[str, dict[str, Any]] = {
    "bambu": {"layers": 3, "layer_s": 30},
    "moonraker": {"seconds": 240, "prepare_s": 60, "layers": 8},
    "octoprint": {"seconds": 400},
    "prusalink": {"seconds": 240, "busy_s": 60},
}
ENDED = ("completed", "failed", "cancelled", "rejected")


def printer(protocol: str, name: str, long: bool = True) -> dict[str, Any]:
    """A row of PRINTERS. long: its prints outlast the tests."""
    kind = KINDS[protocol]
    job = SHORT[protocol] | (kind.long if long else {})
    return {"name": name} | kind.printer | {"job": job, "late_code_s": 1}


class Orgs(World):
    """The fleet's printers belong to nobody until somebody takes them over."""

    def __enter__(self) -> Orgs:
        self.twins: list[World] = []
        super().__enter__()
        return self

    def add(self, row: dict[str, Any], **other: Any) -> uuid.UUID:
        return uuid.UUID(int=0)

    def org_of(self, *names: str) -> World:
        """An organisation that has these printers, with a connection of its own."""
        twin = copy.copy(self)
        twin.db, twin.ids = self.postgres.connect(), {}
        twin.org = twin._make_org()
        for row in self.fleet.printers:
            if row["name"] in names:
                World.add(twin, row)
        self.twins.append(twin)
        return twin

    def __exit__(self, *exc: object) -> None:
        for twin in self.twins:
            with twin.db:
                twin.db.execute("UPDATE app.printers SET deleted_at = now() WHERE org_id = %s", [twin.org])
        super().__exit__(*exc)


class Courier:
    """Looks after every organisation's queue, round and round, as soloprint-courier's timer does."""

    def __init__(self, postgres: Postgres) -> None:
        self.postgres = postgres
        self.over = threading.Event()
        self.sent = 0

    def __enter__(self) -> Courier:
        self.pool = concurrent.futures.ThreadPoolExecutor(1)
        self.running = self.pool.submit(self._run)
        return self

    def __exit__(self, *_exc: object) -> None:
        self.over.set()
        self.running.result(30)
        self.pool.shutdown()

    def _run(self) -> None:
        with psycopg.connect(self.postgres.conninfo("soloprint_courier"), autocommit=True) as db:
            after: uuid.UUID | None = None
            while not self.over.wait(0.1 if after is None else 0):
                row = db.execute("SELECT next, sent, failure FROM sec.queue_tick(%s)", [after]).fetchone()
                assert row is not None and row[2] is None, row
                after = row[0]
                self.sent += row[1]


def drivers_starts(world: World, protocol: str, name: str) -> list[Any]:
    """Every start that the printer was ever asked for, from its own journal."""
    ctl = world.fleet.ctl
    if protocol == "bambu":
        told = [each["message"].get("print", {}) for each in ctl("requests", name)]
        return [each for each in told if each.get("command") in ("project_file", "gcode_file")]
    if protocol == "moonraker":
        return ctl("requests", name, method="printer.print.start")
    path = "/api/files/local/" if protocol == "octoprint" else "/api/v1/files/"
    return [each for each in ctl("requests", name, path=path) if each["method"] == "POST"]


class Stage:
    """One printer; its items are for it alone."""

    def __init__(self, world: World, protocol: str, name: str) -> None:
        self.world, self.kind, self.name = world, KINDS[protocol], name
        self.asks = Asks(world)
        self.id = world.ids[name]

    def one(self, query: str, *args: Any) -> dict[str, Any]:
        row = self.world.db.execute(query, list(args)).fetchone()
        assert row is not None, query
        return row

    # --- the printer -------------------------------------------------------------------------------
    def ctl(self, op: str, **fields: Any) -> Any:
        return self.world.fleet.ctl(op, self.name, **fields)

    def fault(self, kind: str, on: bool = True, **params: Any) -> None:
        self.world.fleet.fault(self.name, kind, on, **params)

    def slow(self, on: bool = True) -> None:
        """Uploads come to no end for a while."""
        fault = dict(self.kind.slow_upload)
        self.fault(fault.pop("kind"), on, **fault)

    def starts(self) -> list[Any]:
        return drivers_starts(self.world, self.kind.protocol, self.name)

    @property
    def state(self) -> str:
        return self.world.status(self.name)["state"]

    def wait_rest(self) -> None:
        wait_for(lambda: self.state not in (*BUSY, "offline"), 30, f"rest of {self.name}", 0.1)

    def wait_starts(self, n: int, timeout_s: float = 40) -> None:
        wait_for(lambda: len(self.starts()) >= n, timeout_s, f"start {n} of {self.name}", 0.02)

    def queue_printer(self) -> dict[str, Any]:
        return self.one("SELECT * FROM app.queue_printers WHERE printer_id = %s", self.id)

    def prints(self) -> list[dict[str, Any]]:
        return self.asks.prints(self.name)

    # --- the queue ---------------------------------------------------------------------------------
    def file(self, size: int = 200_000, name: str | None = None) -> uuid.UUID:
        filename, kind = self.kind.file
        return self.asks.file(name or filename, os.urandom(size), kind)

    def create(self, file: uuid.UUID | None = None, **body: Any) -> uuid.UUID:
        body = {"file_id": str(file or self.file()), "requirements": {"printer_ids": [str(self.id)]}} | body
        return self.one("SELECT sec.queue_create(app.uuid7(), %s) AS id", Jsonb(body))["id"]

    def dispatch(self) -> dict[str, Any]:
        return self.one("SELECT * FROM sec.dispatch_next(%s)", self.id)

    def send(self, item: uuid.UUID) -> dict[str, Any]:
        """dispatch-next, which gives this item to the printer."""
        row = self.dispatch()
        assert row["queue_item_id"] == item and row["operation_id"], row
        return row

    def refused(self) -> dict[str, int]:
        """dispatch-next, which has nothing: codes and how many items each is about."""
        row = self.dispatch()
        assert row["queue_item_id"] is None and row["operation_id"] is None, row
        return {each["code"]: each["items"] for each in row["counts"]["reasons"]}

    def act(self, item: uuid.UUID, action: str, **args: Any) -> None:
        assert self.one("SELECT sec.queue_act(%s, %s, %s) AS id", item, action, Jsonb(args))["id"] == item

    def clear_plate(self) -> None:
        assert self.one("SELECT * FROM sec.clear_plate(%s)", self.id)["plate_cleared"] is True

    def item(self, item: uuid.UUID) -> dict[str, Any]:
        return self.one("SELECT * FROM app.queue_items WHERE id = %s", item)

    def path(self, item: uuid.UUID) -> list[str]:
        """The states the item has had."""
        query = "SELECT to_state FROM app.queue_history WHERE item_id = %s AND to_state IS DISTINCT FROM from_state ORDER BY at, id"
        return [row["to_state"] for row in self.world.db.execute(query, [item]).fetchall()]

    def operation(self, item: uuid.UUID) -> dict[str, Any]:
        return self.asks.job(self.item(item)["operation_id"])

    def wait(self, item: uuid.UUID, *states: str, timeout_s: float = 40) -> dict[str, Any]:
        try:
            wait_for(lambda: self.item(item)["state"] in states, timeout_s, f"{states}", 0.1)
        except AssertionError as error:
            row = {key: self.item(item)[key] for key in ("generation", "attempts", "last_error", "cancel_requested_at")}
            seen = [(each["name"], each["state"], each["started_at"], each["operation_id"]) for each in self.prints()]
            told = f"{self.path(item)}, {row}; the printer is {self.state}; prints: {seen}"
            raise AssertionError(f"{self.name}: {error}; {told}") from None
        return self.item(item)

    def wait_printing(self, item: uuid.UUID) -> dict[str, Any]:
        """On its printer, and known which print it is."""
        self.wait(item, "printing")
        wait_for(lambda: self.item(item)["print_id"], 15, f"the print of {self.name}", 0.1)
        return self.item(item)

    def printing(self, **body: Any) -> uuid.UUID:
        """An item that is being printed, and not just prepared."""
        item = self.create(**body)
        self.send(item)
        self.wait_printing(item)
        self.world.wait_state(self.name, "printing", 30)
        return item

    def uploading(self, size: int = 8_000_000) -> uuid.UUID:
        """An item whose file is on its way, slowly."""
        self.slow()
        item = self.create(self.file(size))
        self.send(item)
        wait_for(lambda: (self.operation(item)["progress"] or {}).get("done"), 20, f"upload to {self.name}", 0.05)
        return item

    def pass_time(self, item: uuid.UUID) -> None:
        """As if the pause after a failed send were over."""
        self.world.db.execute("UPDATE app.queue_items SET not_before = NULL WHERE id = %s", [item])

    def started_once(self, n: int | None = None) -> None:
        """No generation was started twice; n: how many starts there were."""
        sent = self.one("SELECT count(*) AS n FROM app.queue_dispatches WHERE printer_id = %s", self.id)["n"]
        starts = self.starts()
        assert len(starts) <= sent and n in (None, len(starts)), (self.name, sent, starts)


