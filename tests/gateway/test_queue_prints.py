"""Whole prints from an item in the queue to its end, with every driver.

What a case tells of one printer is a story; all the stories are told side by side, each on a printer of its own, and
every test waits for the end of one of them."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from conformance import BUSY, KINDS
from queue_stage import ENDED, SCALE, Courier, Orgs, Stage, printer
from rig import Postgres
from virtual_fleet.harness import wait_for

FLAGS = ("--time-scale", str(SCALE))
Story = Callable[[Stage], None]
STORIES: dict[str, Story] = {}
UNKNOWN = ("start_unknown", "not_confirmed")


def story(tell: Story) -> Story:
    STORIES[tell.__name__] = tell
    return tell


# --- what is told -------------------------------------------------------------------------------------


@story
def completed(stage: Stage) -> None:
    first, second = stage.create(), stage.create()
    row = stage.send(first)
    item = stage.item(first)
    assert (item["state"], item["generation"], item["operation_id"]) == ("dispatching", 1, row["operation_id"])
    assert stage.refused().keys() >= {"printer_reserved"}
    item = stage.wait_printing(first)
    printed = stage.prints()[-1]
    assert (item["print_id"], printed["operation_id"]) == (printed["id"], row["operation_id"])
    assert printed["source"] == "queue" and printed["file_id"] is not None
    progress = stage.operation(first)["progress"]
    assert progress["done"] == progress["total"] == 200_000
    item = stage.wait(first, *ENDED)
    assert item["state"] == "completed" and item["ended_at"] and item["last_error"] is None and item["need_id"] is None
    assert stage.path(first) == ["queued", "assigned", "dispatching", "printing", "completed"]
    assert stage.prints()[-1]["state"] == "completed"
    plate = stage.queue_printer()
    assert (plate["plate_cleared"], plate["prints"], plate["last_outcome"]) == (False, 1, "completed")
    stage.wait_rest()
    assert stage.refused() == {"plate_not_cleared": 1} and stage.item(second)["state"] == "queued"
    stage.clear_plate()
    stage.send(second)
    item = stage.wait_printing(second)
    assert item["print_id"] != printed["id"] and stage.item(first)["state"] == "completed"
    stage.started_once(2)


@story
def paused(stage: Stage) -> None:
    item = stage.printing()
    stage.ctl("pause")
    stage.wait(item, "paused")
    assert stage.refused() == {}, "nothing waits"
    stage.ctl("resume")
    stage.wait(item, "printing")
    assert stage.path(item)[-3:] == ["printing", "paused", "printing"]
    assert [each["state"] for each in stage.prints()] == ["running"]


@story
def cancelled_while_printing(stage: Stage) -> None:
    item = stage.printing()
    stage.act(item, "cancel")
    assert stage.item(item)["cancel_requested_at"] and stage.item(item)["state"] == "printing"
    row = stage.wait(item, *ENDED)
    assert row["state"] == "cancelled" and row["last_error"] is None
    assert stage.prints()[-1]["state"] == "cancelled" and stage.state not in BUSY
    assert stage.queue_printer()["plate_cleared"] is False
    stage.started_once(1)


@story
def cancelled_while_uploading(stage: Stage) -> None:
    item = stage.uploading()
    row = stage.item(item)
    progress = stage.operation(item)["progress"]
    assert row["state"] == "dispatching" and 0 < progress["done"] <= progress["total"] == 8_000_000
    stage.act(item, "cancel")
    row = stage.wait(item, *ENDED)
    assert row["state"] == "cancelled" and stage.asks.job(row["operation_id"])["state"] == "cancelled"
    stage.slow(on=False)
    assert stage.starts() == [] and stage.state not in BUSY and stage.prints() == []
    assert stage.queue_printer()["plate_cleared"] is True
    stage.printing()
    assert stage.item(item)["state"] == "cancelled"
    stage.started_once(1)


@story
def cancelled_when_started(stage: Stage) -> None:
    item = stage.create()
    operation = stage.send(item)["operation_id"]
    phase = "SELECT count(*) AS n FROM sec.printer_tasks WHERE job_id = %s AND phase <> 'starting'"
    wait_for(lambda: not stage.one(phase, operation)["n"], 40, f"start of {stage.name}", 0.01)
    stage.act(item, "cancel")
    row = stage.wait(item, *ENDED)
    assert row["state"] == "cancelled" and row["last_error"] is None
    stage.wait_rest()
    assert [each["state"] for each in stage.prints()] == ["cancelled"]
    stage.started_once(1)


@story
def cancelled_at_the_printer(stage: Stage) -> None:
    item = stage.printing()
    stage.ctl("cancel")
    row = stage.wait(item, *ENDED)
    assert row["state"] == "cancelled" and row["last_error"] is None and row["cancel_requested_at"] is None
    assert stage.queue_printer()["last_outcome"] == "cancelled"


@story
def failed_by_the_printer(stage: Stage) -> None:
    item = stage.printing()
    stage.ctl("fail", **stage.kind.fail)
    row = stage.wait(item, *ENDED)
    assert row["state"] == "failed" and row["last_error"]["code"] == "print_failed" and row["last_error"]["at"]
    assert stage.queue_printer()["last_outcome"] == "failed"
    stage.act(item, "retry")
    row = stage.item(item)
    assert (row["state"], row["generation"], row["assigned_printer"]) == ("queued", 1, None)
    assert row["last_error"] is None and row["need_id"]
    assert "plate_not_cleared" in stage.refused()
    stage.started_once(1)


def cut_power(stage: Stage) -> None:
    """Without a goodbye; when it is back it knows of no job."""
    stage.fault("unreachable")
    if stage.kind.protocol == "bambu":
        stage.ctl("fail")
        none = {"gcode_state": "IDLE", "print_error": 0, "mc_print_error_code": "0", "fail_reason": "0"}
        stage.ctl("set", fields=none | {"subtask_name": "", "task_id": "0", "gcode_file": "", "mc_percent": 0})
    elif stage.kind.protocol == "moonraker":
        stage.ctl("restart")
    elif stage.kind.protocol == "octoprint":
        stage.fault("lost_printer")
        stage.fault("lost_printer", on=False)
    else:
        stage.ctl("cancel")
        stage.ctl("idle")


@story
def power_cut(stage: Stage) -> None:
    item, waiting = stage.printing(), stage.create()
    cut_power(stage)
    wait_for(lambda: stage.world.reason(stage.name)[0] != "connected", 20, f"end of the connection of {stage.name}")
    assert stage.item(item)["state"] == "printing", "nobody knows yet"
    stage.fault("unreachable", on=False)
    row = stage.wait(item, "start_unknown", *ENDED, timeout_s=60)
    if stage.kind.protocol == "prusalink":  # back within a minute it looks as if stopped at its screen
        assert row["state"] in ("cancelled", "failed")
    else:
        assert row["last_error"]["code"] == {"failed": "print_failed", "start_unknown": "outcome_unknown"}[row["state"]]
    stage.wait_rest()
    assert stage.refused().keys() & {"printer_reserved", "plate_not_cleared"}
    if row["state"] == "start_unknown":
        assert stage.prints()[-1]["state"] == "unknown"
        stage.act(item, "resolve", outcome="failed")
        assert stage.item(item)["state"] == "failed"
    assert stage.item(waiting)["state"] == "queued"
    stage.started_once(1)


def mute(stage: Stage) -> Any:
    """An item whose start the printer never showed."""
    stage.fault("mute_start")
    item = stage.create()
    stage.send(item)
    row = stage.wait(item, "start_unknown", *ENDED, timeout_s=60)
    assert row["state"] == "start_unknown" and row["last_error"]["code"] in UNKNOWN, row
    assert row["assigned_printer"] == stage.id and row["ended_at"] is None
    stage.fault("mute_start", on=False)
    return item


@story
def not_started(stage: Stage) -> None:
    item, next_one = mute(stage), stage.create()
    assert stage.refused() == {"printer_reserved": 1}, "it is held until somebody has looked"
    stage.act(item, "resolve", outcome="not_started")
    row = stage.item(item)
    assert (row["state"], row["generation"], row["assigned_printer"]) == ("queued", 1, None)

    def printing() -> bool:  # for a while after a start nothing else is started
        row = stage.item(item)
        if row["state"] == "queued":
            assert row["generation"] == 1 or row["last_error"]["code"] == "printer_busy", row
            stage.pass_time(item)
            stage.send(item)
        return row["state"] == "printing"

    wait_for(printing, 60, f"print of {stage.name}", 0.5)
    row = stage.wait_printing(item)
    assert row["generation"] >= 2 and row["attempts"] == 0 and stage.item(next_one)["state"] == "queued"
    sent = [row["n"] for row in stage.world.db.execute(
        "SELECT generation AS n FROM app.queue_dispatches WHERE item_id = %s ORDER BY 1", [item])]  # fmt: skip
    assert sent == list(range(1, row["generation"] + 1))
    stage.started_once(2)


@story
def resolved(stage: Stage) -> None:
    item = mute(stage)
    with pytest.raises(psycopg.Error, match="shows no print"):
        stage.act(item, "resolve", outcome="printing")
    for outcome in ("completed", "failed", "cancelled"):
        with stage.world.db.transaction(force_rollback=True):
            stage.act(item, "resolve", outcome=outcome)
            row = stage.item(item)
            assert row["state"] == outcome and row["ended_at"] and row["generation"] == 1
            with pytest.raises(psycopg.Error, match="not while the item is"), stage.world.db.transaction():
                stage.act(item, "resolve", outcome="printing")
    assert stage.item(item)["state"] == "start_unknown"
    stage.ctl("print")  # what somebody sees there may be it, whatever it is called
    stage.world.wait_state(stage.name, "printing", 30)
    wait_for(lambda: stage.world.status(stage.name)["print_id"], 10, "the print")
    assert stage.item(item)["state"] == "start_unknown" and stage.item(item)["print_id"] is None
    stage.act(item, "resolve", outcome="printing")
    row = stage.item(item)
    assert (row["state"], row["print_id"]) == ("printing", stage.prints()[-1]["id"]) and row["last_error"] is None
    stage.ctl("cancel")
    assert stage.wait(item, *ENDED)["state"] == "cancelled"
    assert stage.prints()[-1]["source"] == "printer"
    stage.started_once(1)


def brought(stage: Stage) -> dict[str, Any]:
    """A job of the file that lies at the printer."""
    if stage.kind.protocol == "bambu":
        (file,) = stage.ctl("files")
        return {"file": file, "name": file.removesuffix(".gcode.3mf")}
    (file,) = stage.world.fleet.describe(stage.name)["files"]
    return {"file": file, "busy_s": 600}  # so that it does not seem to have begun long before


@story
def started_late(stage: Stage) -> None:
    """Given up, and yet it begins: it is the item's, by the name of its file."""
    stage.fault("mute_start")
    item = stage.create(stage.file(name="Gehäuse (Oben) V2." + stage.kind.file[0].partition(".")[2]))
    stage.send(item)
    stage.wait(item, "start_unknown", timeout_s=60)
    stage.fault("mute_start", on=False)
    job = brought(stage)
    assert stage.ctl("print", job=job, **({"file": job["file"]} if stage.kind.protocol == "octoprint" else {}))
    row = stage.wait_printing(item)
    seen = stage.prints()[-1]
    assert row["print_id"] == seen["id"] and row["last_error"] is None
    assert seen["source"] == "queue" and seen["operation_id"] == row["operation_id"] and seen["file_id"]
    stage.act(item, "cancel")
    assert stage.wait(item, *ENDED)["state"] == "cancelled"
    stage.started_once(1)


@story
def file_gone(stage: Stage) -> None:
    db = stage.world.db
    file = stage.file()
    deleted = stage.create(file)
    db.execute("UPDATE app.files SET deleted_at = now(), purge_after = now() + '1 day' WHERE id = %s", [file])
    assert stage.refused() == {"file_missing": 1}
    assert stage.item(deleted)["state"] == "queued" and stage.item(deleted)["generation"] == 0
    purged = stage.create(stage.file())
    with db.transaction():
        stage.send(purged)
        db.execute("DELETE FROM app.files AS f USING app.queue_item_files AS q WHERE q.file_id = f.id AND q.item_id = %s",
                   [purged])  # fmt: skip
    row = stage.wait(purged, *ENDED)
    assert row["state"] == "failed" and row["last_error"]["code"] == "file_gone"
    stage.act(purged, "retry")
    assert stage.refused() == {"file_missing": 2}
    lost = stage.create(stage.file())
    (blob,) = db.execute("SELECT f.blob_id AS id FROM app.files AS f JOIN app.queue_item_files AS q ON q.file_id = f.id "
                         "WHERE q.item_id = %s", [lost]).fetchall()  # fmt: skip
    next(stage.asks.store.rglob(str(blob["id"]))).unlink()
    stage.send(lost)
    row = stage.wait(lost, *ENDED)
    assert row["state"] == "failed" and row["last_error"]["code"] == "file_gone"
    assert stage.queue_printer()["plate_cleared"] is True
    stage.started_once(0)


@story
def busy_at_the_panel(stage: Stage) -> None:
    item = stage.create()
    stage.ctl("print")
    stage.world.wait_state(stage.name, "printing", 30)
    assert stage.refused() == {"printer_busy": 1}
    assert stage.item(item)["state"] == "queued" and stage.item(item)["generation"] == 0
    stage.ctl("cancel")
    wait_for(lambda: [each["state"] for each in stage.prints()] == ["cancelled"], 20, "the print's end")
    stage.wait_rest()
    assert stage.refused() == {"plate_not_cleared": 1}, "whoever printed there"
    stage.clear_plate()
    # and once more, when the item is on its way already
    stage.world.db.execute("DELETE FROM app.queue_items WHERE id = %s", [item])
    if stage.kind.protocol == "bambu":
        stage.fault("ftps_late", delay_s=4)
        item = stage.create()
        stage.send(item)
        wait_for(lambda: stage.ctl("files"), 20, "the upload", 0.05)
    else:
        item = stage.uploading(4_000_000)
    assert stage.ctl("print")
    row = stage.wait(item, "queued", "printing", *ENDED, timeout_s=60)
    assert row["state"] == "queued" and row["last_error"]["code"] == "printer_busy", row
    assert (row["attempts"], row["generation"], row["assigned_printer"]) == (0, 1, None)
    assert stage.one("SELECT not_before > now() AS later FROM app.queue_items WHERE id = %s", item)["later"]
    stage.world.wait_state(stage.name, "printing", 30)
    assert stage.refused() == {"printer_busy": 1, "scheduled_later": 1}
    seen = sorted((each["state"], each["source"]) for each in stage.prints())
    assert seen == [("cancelled", "printer"), ("running", "printer")]
    assert len(stage.starts()) <= 1


# --- the telling --------------------------------------------------------------------------------------

PRINTERS: list[dict[str, Any]] = [
    printer(protocol, f"{protocol}-{name}", name != "completed") for name in STORIES for protocol in KINDS
]


@pytest.fixture(scope="module")
def world(postgres: Postgres) -> Iterator[Orgs]:
    with Orgs(postgres, PRINTERS, FLAGS) as running:
        yield running


def tell(world: Orgs, protocol: str, name: str) -> None:
    """With an organisation, and a connection, of its own."""
    org = world.org_of(f"{protocol}-{name}")
    org.wait_connected(timeout_s=60)
    STORIES[name](Stage(org, protocol, f"{protocol}-{name}"))


@pytest.fixture(scope="module")
def stories(world: Orgs, request: pytest.FixtureRequest) -> Iterator[dict[tuple[str, str], Any]]:
    """Those that are asked for, all begun at once."""
    tests = [each for each in request.session.items if getattr(each, "module", None) is request.module]
    wanted = [tuple(each.callspec.params[key] for key in ("protocol", "name")) for each in tests]  # type: ignore[attr-defined]
    gateway = world.start_gateway(patience="20", offline_ms="3000")
    with Courier(world.postgres), concurrent.futures.ThreadPoolExecutor(40) as pool:
        yield {each: pool.submit(tell, world, *each) for each in wanted}
        pool.shutdown(cancel_futures=True)
    assert gateway.alive

@pytest.mark.parametrize("protocol", KINDS)
@pytest.mark.parametrize("name", STORIES)
def test_print(stories: dict[tuple[str, str], Any], name: str, protocol: str) -> None:
    stories[protocol, name].result(120)
