"""Sends as far as the API goes: which files go to which printers, and what is written for the gateway. Nothing is brought
anywhere here: there is no gateway. That is in tests/gateway."""

from __future__ import annotations

import json
import secrets
from typing import Any

import files
import pytest
from api import fields
from world import Org

P = "/v1/printers"
NOBODY = "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70"
PLATES = {"plates": [{"index": 2, "name": "a"}, {"index": 5, "name": "b"}]}


def make(org: Org, state: str = "idle", **attributes: Any) -> str:
    made = org.make_printer(**attributes)
    org.connected(made["id"], state=f"'{state}'")
    return str(made["id"])


def send(org: Org, printer: str, file: str, expect: int | str | None = 202, headers: dict[str, str] | None = None,
         **members: Any) -> Any:  # fmt: skip
    return org.api.post(f"{P}/{printer}/send", {"file_id": file, **members}, expect=expect, headers=headers)


def params(org: Org, operation: str) -> dict[str, Any]:
    return dict(org.sql("SELECT params FROM app.jobs WHERE id = %s", operation)[0][0])


def sends(org: Org) -> int:
    return int(org.sql("SELECT count(*) FROM app.jobs WHERE org_id = %s AND kind = 'printer.send'", org.id)[0][0])


def test_accepted(org: Org) -> None:
    printer, file = make(org), files.make_file(org, "cube.gcode")
    answer = send(org, printer, file)
    got = answer.json()
    assert got == {"operation_id": got["operation_id"], "status": "queued"}
    assert answer.headers["Location"] == f"/v1/operations/{got['operation_id']}"
    operation = org.api.get(answer.headers["Location"], expect=200).json()
    assert (operation["kind"], operation["status"]) == ("printer.send", "queued")
    assert operation["resource"] == {"type": "printer", "id": printer}
    assert params(org, got["operation_id"]) == {"file_id": file, "plate": 1, "start": True}
    assert org.sql("SELECT urgent FROM sec.printer_tasks WHERE job_id = %s", got["operation_id"]) == [(False,)]


def test_everything_that_can_be_said_reaches_the_gateway(org: Org) -> None:
    printer = make(org)
    file = files.make_file(org, "cube.gcode.3mf", kind="gcode_3mf", metadata=json.dumps(PLATES))
    said = {
        "plate": 5, "slot_mapping": [{"unit": 0, "slot": 3}, None, {"unit": None, "slot": 254}], "start": False,
        "options": {"timelapse": True, "bed_leveling": False, "flow_calibration": True, "vibration_calibration": False},
    }  # fmt: skip
    got = send(org, printer, file, **said).json()
    assert params(org, got["operation_id"]) == {"file_id": file, **said}


KINDS = ("gcode", "bgcode", "gcode_3mf", "3mf", "stl", "step", "obj", "other")
TAKEN = {"bambu": {"gcode", "gcode_3mf"}, "moonraker": {"gcode"}, "octoprint": {"gcode"}, "prusalink": {"gcode", "bgcode"}}


@pytest.mark.parametrize("protocol", TAKEN)
def test_kinds_of_files(org: Org, protocol: str) -> None:
    for kind in KINDS:
        printer, file = make(org, protocol=protocol), files.make_file(org, f"{secrets.token_hex(4)}.x", kind=kind)
        send(org, printer, file, 202 if kind in TAKEN[protocol] else "file_kind_not_supported")


def test_plates(org: Org) -> None:
    known = files.make_file(org, "a.gcode.3mf", kind="gcode_3mf", metadata=json.dumps(PLATES))
    unknown = files.make_file(org, "b.gcode.3mf", kind="gcode_3mf")
    plain = files.make_file(org, "c.gcode")
    for file, plate, good in ((known, 2, True), (known, 1, False), (known, 3, False), (unknown, 1, True), (unknown, 2, False),
                              (plain, 1, True), (plain, 2, False)):  # fmt: skip
        answer = send(org, make(org), file, None, plate=plate)
        if good:
            assert answer.status_code == 202, answer.text
        else:
            assert (answer.status_code, fields(answer)) == (422, {"/plate": "unknown_plate"})
    assert params(org, send(org, make(org), known).json()["operation_id"])["plate"] == 2, "the first is meant"


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"plate": 0}, "/plate"), ({"plate": 1001}, "/plate"), ({"start": 1}, "/start"), ({"options": {"x": 1}}, "/options/x"),
        ({"options": {"timelapse": "yes"}}, "/options/timelapse"), ({"slot_mapping": []}, "/slot_mapping"),
        ({"slot_mapping": [{}]}, "/slot_mapping/0/unit"), ({"slot_mapping": [{"unit": 0, "slot": 256}]}, "/slot_mapping/0/slot"),
        ({"slot_mapping": [7]}, "/slot_mapping/0"), ({"slot_mapping": [None] * 33}, "/slot_mapping"),
        ({"file_id": "x"}, "/file_id"), ({"file_id": None}, "/file_id"), ({"printer": "x"}, "/printer"),
    ],
)  # fmt: skip
def test_what_the_contract_refuses(org: Org, members: dict[str, Any], pointer: str) -> None:
    answer = org.api.post(f"{P}/{make(org)}/send", {"file_id": NOBODY, **members}, expect="validation_failed")
    assert pointer in fields(answer)
    assert sends(org) == 0


def test_slots_where_there_are_none(org: Org) -> None:
    printer = make(org, protocol="prusalink")
    answer = send(org, printer, files.make_file(org), "validation_failed", slot_mapping=[{"unit": 0, "slot": 0}])
    assert fields(answer) == {"/slot_mapping": "not_supported"}


def test_files_that_are_not_there(org: Org, other_org: Org) -> None:
    printer = make(org)
    send(org, printer, NOBODY, "unknown_reference")
    send(org, printer, files.make_file(other_org), "unknown_reference")
    trashed = files.make_file(org)
    org.api.delete(f"/v1/files/{trashed}", expect=204)
    send(org, printer, trashed, "unknown_reference")
    send(org, printer, files.register(org, 100)["file_id"], "file_status_conflict")
    send(org, printer, files.make_file(org, status="analyzing"), "file_status_conflict")
    send(org, printer, files.make_file(org, status="failed"), "file_status_conflict")
    assert sends(org) == 0


def test_printers_that_cannot(org: Org) -> None:
    file = files.make_file(org)
    send(org, NOBODY, file, "resource_not_found")
    send(org, org.make_printer()["id"], file, "printer_not_connected")
    send(org, make(org, maintenance=True), file, "printer_in_maintenance")
    send(org, make(org, maintenance=True), file, start=False)
    for state in ("preparing", "printing", "paused"):
        send(org, make(org, state), file, "printer_busy")
        send(org, make(org, state), file, start=False)
    for state in ("idle", "finished", "failed"):
        send(org, make(org, state), file)


def test_one_send_at_a_time(org: Org) -> None:
    printer, file = make(org), files.make_file(org)
    send(org, printer, file, start=False)
    send(org, printer, file, "printer_busy", start=False)


def test_a_repeated_send_is_one_send(org: Org) -> None:
    printer, file, idem = make(org), files.make_file(org), {"Idempotency-Key": secrets.token_hex(8)}
    first = send(org, printer, file, headers=idem)
    again = send(org, printer, file, headers=idem)
    assert first.content == again.content and again.headers["Idempotent-Replayed"] == "true"
    assert sends(org) == 1
    send(org, printer, file, "printer_busy")


def test_it_needs_queue_manage_alone(org: Org) -> None:
    printer, file = make(org), files.make_file(org)
    body = {"file_id": file}
    org.with_capabilities("printer.manage").post(f"{P}/{printer}/send", body, expect="insufficient_permissions")
    org.with_capabilities("queue.manage").post(f"{P}/{printer}/send", body, expect=202)


def test_sends_are_in_the_audit_log(org: Org) -> None:
    printer, file = make(org), files.make_file(org)
    got = send(org, printer, file).json()
    rows = org.sql("SELECT changes FROM app.audit_log WHERE target_id = %s AND action = 'printer.sent'", printer)
    assert rows == [({"file_id": file, "plate": 1, "start": True, "operation_id": got["operation_id"]},)]
