"""A queue that fills a fleet by itself, and gateways that die over items: every copy once, no start twice."""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from asks import Asks
from conformance import KINDS
from psycopg.types.json import Jsonb
from queue_stage import ENDED, SCALE, Courier, Orgs, Stage, printer
from rig import Postgres, World
from virtual_fleet.harness import wait_for

FLAGS = ("--time-scale", str(SCALE))
CASES = ("uploading", "uploaded", "marked", "started")
PRINTERS: list[dict[str, Any]] = [printer(protocol, f"{protocol}-auto", False) for protocol in KINDS] + [
    printer(protocol, f"{protocol}-{case}") for case in CASES for protocol in KINDS
]
SIZE = 3_000_000


@pytest.fixture(scope="module")
def world(postgres: Postgres) -> Iterator[Orgs]:
    with Orgs(postgres, PRINTERS, FLAGS) as running:
        running.start_gateway(patience="20", lease_ms="60000")  # while the database keeps it waiting
        yield running


# --- the fleet ----------------------------------------------------------------------------------------


def create(org: World, **body: Any) -> list[uuid.UUID]:
    """Three copies of something; the items."""
    row = org.db.execute("SELECT sec.queue_create(app.uuid7(), %s) AS id", [Jsonb({"copies": 3} | body)]).fetchone()
    assert row is not None
    return [each["id"] for each in org.db.execute("SELECT id FROM app.queue_items WHERE batch_id = %s", [row["id"]])]


def rows(org: World, query: str, *args: Any) -> list[dict[str, Any]]:
    return org.db.execute(query, list(args)).fetchall()


def clear_plates(org: World, cleared: Counter[uuid.UUID]) -> None:
    """Somebody walks along the printers."""
    query = "SELECT q.printer_id AS id FROM app.queue_printers AS q WHERE q.org_id = %s AND NOT q.plate_cleared"
    for each in rows(org, query, org.org):
        org.db.execute("SELECT sec.clear_plate(%s)", [each["id"]])
        cleared[each["id"]] += 1


def test_every_copy_is_printed_once(world: Orgs) -> None:
    org = world.org_of(*[f"{protocol}-auto" for protocol in KINDS])
    org.wait_connected(timeout_s=40)
    asks, of = Asks(org), {org.ids[f"{protocol}-auto"]: protocol for protocol in KINDS}
    org.db.execute("SELECT sec.queue_settings_update(%s, NULL)", [Jsonb({"auto_dispatch": True})])
    plain, sliced = (asks.file("gear.gcode", os.urandom(200_000)), asks.file("gear.gcode.3mf", os.urandom(200_000), "gcode_3mf"))
    binary = asks.file("peg.bgcode", os.urandom(200_000), "bgcode")
    may: dict[uuid.UUID, dict[str, uuid.UUID]] = {}  # of each item: on what it may be printed, and which file
    variants = {"file_id": str(plain), "alternatives": [{"file_id": str(sliced), "models": ["X1C"]}]}
    for item in create(org, file_id=str(binary)):
        may[item] = {"prusalink": binary}
    for item in create(org, requirements={"models": ["x1 carbon"]}, **variants):
        may[item] = {"bambu": sliced}
    for item in create(org, **variants):
        may[item] = {protocol: sliced if protocol == "bambu" else plain for protocol in KINDS}
    cleared = Counter[uuid.UUID]()

    def over() -> bool:
        clear_plates(org, cleared)
        return not rows(org, "SELECT id FROM app.queue_items WHERE org_id = %s AND NOT state = ANY (%s)", org.org, list(ENDED))

    with Courier(world.postgres) as one, Courier(world.postgres) as other:
        wait_for(over, 90, "the end of all copies", 0.3)
    items = rows(org, "SELECT * FROM app.queue_items WHERE org_id = %s", org.org)
    assert {each["id"]: each["state"] for each in items} == dict.fromkeys(may, "completed")
    sends = rows(org, "SELECT d.*, p.state FROM app.queue_dispatches AS d LEFT JOIN app.prints AS p "
                 "ON p.operation_id = d.operation_id AND p.printer_id = d.printer_id WHERE d.org_id = %s", org.org)  # fmt: skip
    printed = [each for each in sends if each["state"] is not None]
    assert sorted(each["item_id"] for each in printed) == sorted(may) and {each["state"] for each in printed} == {"completed"}
    for each in sends:
        assert may[each["item_id"]].get(of[each["printer_id"]]) == each["file_id"], each
    assert len({each["printer_id"] for each in printed}) == len(KINDS), "everything was put to work"
    assert one.sent + other.sent == len(sends)
    for id, protocol in of.items():
        stage = Stage(org, protocol, f"{protocol}-auto")
        n = sum(each["printer_id"] == id for each in printed)
        assert len(stage.starts()) == len(stage.prints()) == stage.queue_printer()["prints"] == n
        assert cleared[id] == n, "nothing began on a plate that was not clear"
    standing = rows(org, "SELECT detail FROM app.queue_history WHERE org_id = %s AND event = 'standing'", org.org)
    assert standing, "and it was noted why they waited"


# --- gateways that die --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def org(world: Orgs) -> World:
    twin = world.org_of(*[f"{protocol}-{case}" for case in CASES for protocol in KINDS])
    twin.wait_connected(timeout_s=40)
    return twin


def stages(org: World, case: str) -> list[Stage]:
    return [Stage(org, protocol, f"{protocol}-{case}") for protocol in KINDS]


def bring(stage: Stage) -> uuid.UUID:
    """An item whose upload takes some seconds."""
    if stage.kind.protocol == "bambu":
        stage.fault("ftps_late", delay_s=3)
    else:
        stage.slow()
    item = stage.create(stage.file(SIZE))
    stage.send(item)
    return item


def is_there(stage: Stage) -> bool:
    """All of the file is at the printer."""
    if stage.kind.protocol == "bambu":
        return SIZE in stage.ctl("files").values()
    return any(each["size"] == SIZE for each in stage.world.fleet.describe(stage.name)["files"].values())


def kill(world: Orgs) -> None:
    """And whatever it had said to the database last comes to nothing."""
    world.gateways[-1].kill()
    world.db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'soloprint_gateway'")


def judge(items: dict[Stage, uuid.UUID], *states: str, starts: int) -> None:
    for stage, item in items.items():
        row = stage.wait_printing(item) if states == ("printing",) else stage.wait(item, *states, timeout_s=60)
        assert row["generation"] == 1 and row["assigned_printer"] == stage.id
        stage.started_once(starts)


def test_a_gateway_dies_before_the_start(world: Orgs, org: World) -> None:
    uploading = {stage: stage.uploading() for stage in stages(org, "uploading")}
    uploaded = {stage: bring(stage) for stage in stages(org, "uploaded")}
    marked = {stage: bring(stage) for stage in stages(org, "marked")}
    waiting = uploaded | marked
    jobs = [stage.item(item)["operation_id"] for stage, item in waiting.items()]
    begun = "SELECT count(*) AS n FROM sec.printer_tasks WHERE job_id = ANY (%s) AND phase = 'begun'"
    wait_for(lambda: rows(org, begun, jobs)[0]["n"] == len(jobs), 20, "uploads", 0.02)
    with world.postgres.connect() as other:  # the start cannot be marked, and so not be given
        other.execute("BEGIN")
        held = other.execute("SELECT phase FROM sec.printer_tasks WHERE job_id = ANY (%s) FOR UPDATE", [jobs]).fetchall()
        assert [each["phase"] for each in held] == ["begun"] * len(jobs)
        wait_for(lambda: all(map(is_there, waiting)), 20, "the files at the printers", 0.05)
        blocked = "SELECT count(*) AS n FROM pg_stat_activity WHERE usename = 'soloprint_gateway' AND wait_event_type = 'Lock'"
        wait_for(lambda: rows(org, blocked)[0]["n"], 10, "a gateway that wants to go on", 0.05)
        kill(world)
    assert not any(stage.starts() for stage in uploading | waiting)
    # of these it was written that they start, and then it died before it could tell the printer
    jobs = [stage.item(item)["operation_id"] for stage, item in marked.items()]
    org.db.execute("UPDATE sec.printer_tasks SET phase = 'starting' WHERE job_id = ANY (%s)", [jobs])
    for stage in uploading | uploaded:
        stage.slow(on=False)
        if stage.kind.protocol == "bambu":
            stage.fault("ftps_late", on=False)
    world.start_gateway(patience="20")
    judge(uploading | uploaded, "printing", starts=1)
    judge(marked, "start_unknown", starts=0)
    for stage, item in marked.items():
        assert stage.item(item)["last_error"]["code"] == "start_unknown"
        assert stage.operation(item)["state"] == "failed"


def test_a_gateway_dies_with_every_start(world: Orgs, org: World) -> None:
    world.fleet.ctl("scale", scale=4)  # or the prints would seem to have begun long before
    items: dict[Stage, uuid.UUID] = {}
    for stage in stages(org, "started"):
        items[stage] = stage.create()
        org.wait_connected(stage.name, timeout_s=40)
        stage.send(items[stage])
        stage.wait_starts(1)
        kill(world)
        world.start_gateway(patience="20")
    judge(items, "printing", starts=1)
    for stage, item in items.items():
        seen = [(each["state"], each["source"], each["operation_id"]) for each in stage.prints()]
        assert seen == [("running", "queue", stage.item(item)["operation_id"])]
        org.wait_connected(stage.name, timeout_s=40)
        stage.act(item, "cancel")
        assert stage.wait(item, *ENDED)["state"] == "cancelled"
        stage.started_once(1)
