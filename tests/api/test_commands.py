"""Commands as far as the API goes: what is refused, what is written for the gateway, one row per printer in batches.
Nothing is carried out here: there is no gateway. That is in tests/gateway."""

from __future__ import annotations

import json
import secrets
from typing import Any

import pytest
from api import fields
from world import Org

P = "/v1/printers"
NOBODY = "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70"


def make(org: Org, **attributes: Any) -> str:
    """A printer that counts as connected."""
    made = org.make_printer(**attributes)
    org.connected(made["id"])
    return str(made["id"])


def command(org: Org, printer: str, body: dict[str, Any], expect: int | str | None = 202, **kw: Any) -> Any:
    return org.api.post(f"{P}/{printer}/command", body, expect=expect, **kw)


def task(org: Org, operation: str) -> dict[str, Any]:
    rows = org.sql(
        "SELECT jsonb_build_object('kind', j.kind, 'params', j.params, 'printer_id', t.printer_id, 'urgent', t.urgent,"
        " 'patience', extract(epoch FROM t.expires_at - j.created_at)::int) FROM app.jobs AS j"
        " JOIN sec.printer_tasks AS t ON t.job_id = j.id WHERE j.id = %s", operation,
    )  # fmt: skip
    return dict(rows[0][0])


def tasks(org: Org) -> int:
    return int(org.sql("SELECT count(*) FROM app.jobs WHERE org_id = %s AND kind LIKE 'printer.%%'", org.id)[0][0])


COMMANDS: list[dict[str, Any]] = [
    {"command": "pause"}, {"command": "resume"}, {"command": "stop"}, {"command": "emergency_stop"},
    {"command": "gcode", "lines": ["G28", "M117 hello"]},
    {"command": "set_temperatures", "nozzle_c": 215.5, "bed_c": 60, "chamber_c": 0, "nozzle": 1},
    {"command": "home"}, {"command": "home", "axes": ["x", "y"]},
    {"command": "jog", "x_mm": -10, "y_mm": 0.1, "z_mm": 5, "e_mm": -1, "feed_mm_min": 3000},
    {"command": "fans", "part_cooling_pct": 100, "auxiliary_pct": 0, "chamber_pct": 30},
    {"command": "light", "on": False}, {"command": "light", "on": True, "node": "chamber_light"},
    {"command": "speed", "percent": 120}, {"command": "speed", "level": "silent"},
    {"command": "skip_objects", "object_ids": [3, 7]}, {"command": "skip_objects", "objects": ["cube 1", "Würfel"]},
    {"command": "load_filament", "unit": 0, "slot": 2, "nozzle_c": 220, "length_mm": 100},
    {"command": "unload_filament"}, {"command": "unload_filament", "slot": 254},
    {"command": "clear_error"}, {"command": "firmware_restart"},
]  # fmt: skip


@pytest.mark.parametrize("body", COMMANDS, ids=lambda b: "-".join(map(str, [b["command"], len(b)])))
def test_every_command_reaches_the_gateway_as_it_was_given(org: Org, body: dict[str, Any]) -> None:
    printer = make(org, protocol="moonraker" if body["command"] == "firmware_restart" else "bambu")
    answer = command(org, printer, body)
    got = answer.json()
    assert got == {"operation_id": got["operation_id"], "status": "queued"}
    assert answer.headers["Location"] == f"/v1/operations/{got['operation_id']}"
    operation = org.api.get(answer.headers["Location"], expect=200).json()
    assert (operation["kind"], operation["status"]) == ("printer.command", "queued")
    assert operation["resource"] == {"type": "printer", "id": printer}
    assert task(org, got["operation_id"]) == {
        "kind": "printer.command", "params": body, "printer_id": printer, "urgent": body["command"] == "emergency_stop",
        "patience": 30,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({}, "/command", "required"),
        ({"command": "dance"}, "/command", "not_in_list"),
        ({"command": ["pause"]}, "/command", "invalid_type"),
        ({"command": "pause", "bed_c": 60}, "/bed_c", "unknown_field"),
        ({"command": "pause", "expires_in_s": 0}, "/expires_in_s", "too_small"),
        ({"command": "pause", "expires_in_s": 601}, "/expires_in_s", "too_large"),
        ({"command": "pause", "expires_in_s": None}, "/expires_in_s", "null_not_allowed"),
        ({"command": "set_temperatures"}, "", "required"),
        ({"command": "set_temperatures", "nozzle": 0}, "", "required"),
        ({"command": "set_temperatures", "nozzle_c": 501}, "/nozzle_c", "too_large"),
        ({"command": "set_temperatures", "nozzle_c": -1}, "/nozzle_c", "too_small"),
        ({"command": "set_temperatures", "bed_c": 201}, "/bed_c", "too_large"),
        ({"command": "set_temperatures", "bed_c": "60"}, "/bed_c", "invalid_type"),
        ({"command": "set_temperatures", "bed_c": None}, "/bed_c", "null_not_allowed"),
        ({"command": "set_temperatures", "chamber_c": 121}, "/chamber_c", "too_large"),
        ({"command": "home", "axes": []}, "/axes", "too_few_items"),
        ({"command": "home", "axes": ["e"]}, "/axes/0", "not_in_list"),
        ({"command": "home", "axes": ["x", "x"]}, "/axes/1", "duplicate_item"),
        ({"command": "jog", "feed_mm_min": 100}, "", "required"),
        ({"command": "jog", "x_mm": 1e9}, "/x_mm", "too_large"),
        ({"command": "fans"}, "", "required"),
        ({"command": "fans", "part_cooling_pct": 101}, "/part_cooling_pct", "too_large"),
        ({"command": "light"}, "/on", "required"),
        ({"command": "light", "on": True, "node": "a\nb"}, "/node", "pattern_mismatch"),
        ({"command": "speed"}, "", "required"),
        ({"command": "speed", "level": "sport", "percent": 100}, "", "too_many_members"),
        ({"command": "skip_objects", "object_ids": []}, "/object_ids", "too_few_items"),
        ({"command": "skip_objects", "object_ids": [1], "objects": ["a"]}, "", "too_many_members"),
        ({"command": "load_filament", "slot": 256}, "/slot", "too_large"),
        ({"command": "gcode"}, "/lines", "required"),
        ({"command": "gcode", "lines": []}, "/lines", "too_few_items"),
        ({"command": "gcode", "lines": ["G28"] * 65}, "/lines", "too_many_items"),
        ({"command": "gcode", "lines": ["G28\nM112"]}, "/lines/0", "pattern_mismatch"),
        ({"command": "gcode", "lines": ["G28\rM112"]}, "/lines/0", "pattern_mismatch"),
        ({"command": "gcode", "lines": ["G28", "M117 \u0007"]}, "/lines/1", "pattern_mismatch"),
        ({"command": "gcode", "lines": ["M117 \u00e4"]}, "/lines/0", "pattern_mismatch"),
        ({"command": "gcode", "lines": ["M117 " + "x" * 251]}, "/lines/0", "too_long"),
        ({"command": "gcode", "lines": ["G28", "N1 G28"]}, "/lines/1", "invalid_gcode"),
        ({"command": "gcode", "lines": ["G28*17"]}, "/lines/0", "invalid_gcode"),
        ({"command": "gcode", "lines": ["; nothing"]}, "/lines/0", "invalid_gcode"),
    ],
)
def test_what_the_contract_refuses(org: Org, body: dict[str, Any], pointer: str, code: str) -> None:
    printer = make(org)
    assert fields(command(org, printer, body, "validation_failed")) == {pointer: code}
    assert fields(batch(org, [printer], body, "validation_failed")) == {pointer: code}
    assert tasks(org) == 0


def test_printer_ids_belong_to_batches(org: Org) -> None:
    printer = make(org)
    answer = command(org, printer, {"command": "pause", "printer_ids": [printer]}, "validation_failed")
    assert fields(answer) == {"/printer_ids": "unknown_field"}


def test_expiry(org: Org) -> None:
    printer = make(org)
    got = command(org, printer, {"command": "pause", "expires_in_s": 5}).json()
    assert task(org, got["operation_id"])["patience"] == 5
    assert task(org, got["operation_id"])["params"] == {"command": "pause"}


def test_what_the_printer_refuses(org: Org) -> None:
    body = {"command": "pause"}
    command(org, NOBODY, body, "resource_not_found")
    command(org, org.make_printer()["id"], body, "printer_not_connected")
    prusa = make(org, protocol="prusalink")
    command(org, prusa, {"command": "light", "on": True}, "unsupported_by_printer")
    gone = make(org)
    org.api.delete(f"{P}/{gone}", expect=204)
    command(org, gone, body, "resource_not_found")
    assert tasks(org) == 0


def test_a_printer_has_only_so_many_commands_waiting(org: Org) -> None:
    printer = make(org)
    for _ in range(64):
        command(org, printer, {"command": "home"})
    command(org, printer, {"command": "home"}, "printer_busy")


def test_temperatures_are_bounded_by_the_printers_own(org: Org) -> None:
    printer = make(org, max_temperatures={"nozzle_c": 260, "bed_c": 100.5, "chamber_c": None})
    good = {"command": "set_temperatures", "nozzle_c": 260, "bed_c": 100.5, "chamber_c": 120}
    command(org, printer, good)
    bad = command(org, printer, {**good, "nozzle_c": 260.1, "bed_c": 101}, "validation_failed")
    assert fields(bad) == {"/nozzle_c": "too_large", "/bed_c": "too_large"}
    assert "at most 260" in bad.text
    bad = command(org, printer, {"command": "load_filament", "nozzle_c": 261}, "validation_failed")
    assert fields(bad) == {"/nozzle_c": "too_large"}
    assert tasks(org) == 1


# --- G-code

def gcode(org: Org, printer: str, *lines: str, expect: int | str = 202) -> Any:
    return command(org, printer, {"command": "gcode", "lines": list(lines)}, expect)


def test_without_a_list_any_command_goes(org: Org) -> None:
    printer = make(org)
    assert org.api.get(f"{P}/{printer}", expect=200).json()["gcode_allowlist"] is None
    gcode(org, printer, "M500", "MY_MACRO A=1", "G28 X M84")


def test_with_an_empty_list_none_goes(org: Org) -> None:
    printer = make(org, gcode_allowlist=[])
    assert fields(gcode(org, printer, "G28", expect="gcode_not_allowed")) == {"/lines/0": "gcode_not_allowed"}
    command(org, printer, {"command": "home"})


def test_the_list_names_commands(org: Org) -> None:
    printer = make(org, gcode_allowlist=["G28", "m104", "Print_Start"])
    gcode(org, printer, "g28 x0", "G28X0", "G 28", "M104S200", "PRINT_START BED=60", "print_start")
    answer = gcode(org, printer, "G28", "M112", "G1 X1", "G280", "G28.1", "PRINT_START2", expect="gcode_not_allowed")
    assert answer.status_code == 422
    assert fields(answer) == {f"/lines/{i}": "gcode_not_allowed" for i in (1, 2, 3, 4, 5)}
    assert fields(gcode(org, printer, "G28 M112", expect="gcode_not_allowed")) == {"/lines/0": "gcode_not_allowed"}
    assert fields(gcode(org, printer, "G28M112", expect="gcode_not_allowed")) == {"/lines/0": "gcode_not_allowed"}
    assert tasks(org) == 1


def test_the_list_is_part_of_the_configuration(org: Org) -> None:
    printer = make(org, gcode_allowlist=["G28"])
    path = f"{P}/{printer}"

    def change(value: Any, expect: int | str = 200) -> Any:
        return org.api.patch(path, {"gcode_allowlist": value}, expect=expect)

    assert change(["G28", "M84"]).json()["gcode_allowlist"] == ["G28", "M84"]
    assert org.api.patch(path, {"location": "x"}).json()["gcode_allowlist"] == ["G28", "M84"]
    assert change([]).json()["gcode_allowlist"] == []
    assert change(None).json()["gcode_allowlist"] is None
    assert org.api.get(P, expect=200).json()["data"][0]["gcode_allowlist"] is None
    for bad in (["G28 X"], [""], ["28"], ["G28*"], ["A" * 65], ["G28", "G28"], ["G1"] * 257, "G28"):
        change(bad, "validation_failed")
    row = org.sql("SELECT changes FROM app.audit_log WHERE target_id = %s AND action = 'printer.updated' ORDER BY id", printer)
    assert row[0][0] == {"gcode_allowlist": {"from": ["G28"], "to": ["G28", "M84"]}}


# --- batches

def batch(org: Org, printers: list[str], body: dict[str, Any], expect: int | str | None = 200, **kw: Any) -> Any:
    return org.api.post(f"{P}/command", {"printer_ids": printers, **body}, expect=expect, **kw)


def test_a_batch_has_one_row_for_each_printer_in_their_order(org: Org, other_org: Org) -> None:
    good, other = make(org), make(org, protocol="moonraker")
    offline, foreign = org.make_printer()["id"], make(other_org)
    hot = make(org, max_temperatures={"nozzle_c": 100})
    asked = [offline, good, NOBODY, hot, other, foreign]
    answer = batch(org, asked, {"command": "set_temperatures", "nozzle_c": 200})
    assert "Location" not in answer.headers
    rows = answer.json()["data"]
    assert [r["printer_id"] for r in rows] == asked
    assert [(r["error"] or {}).get("code") for r in rows] == [
        "printer_not_connected", None, "resource_not_found", "validation_failed", None, "resource_not_found",
    ]  # fmt: skip
    assert rows[3]["error"]["fields"] == [
        {"pointer": "/nozzle_c", "code": "too_large", "message": "this printer takes at most 100"}
    ]
    for row in rows:
        assert (row["status"] == "queued") == (row["error"] is None) == (row["operation_id"] is not None)
    for n, printer in ((1, good), (4, other)):
        assert task(org, rows[n]["operation_id"])["params"] == {"command": "set_temperatures", "nozzle_c": 200}
        assert task(org, rows[n]["operation_id"])["printer_id"] == printer
    assert tasks(org) == 2 and tasks(other_org) == 0
    assert rows[2]["error"] == rows[5]["error"]


def test_gcode_in_a_batch(org: Org) -> None:
    free, bound = make(org), make(org, gcode_allowlist=["G28"])
    rows = batch(org, [free, bound], {"command": "gcode", "lines": ["G28", "M112"]}).json()["data"]
    assert rows[0]["error"] is None
    assert rows[1]["error"]["code"] == "gcode_not_allowed"
    assert [f["pointer"] for f in rows[1]["error"]["fields"]] == ["/lines/1"]


def test_how_many_printers_a_batch_takes(org: Org) -> None:
    printer = make(org)
    for bad, pointer, code in (
        ([], "/printer_ids", "too_few_items"), ([printer, printer], "/printer_ids/1", "duplicate_item"),
        (["x"], "/printer_ids/0", "invalid_format"), ([NOBODY] * 101, "/printer_ids", "too_many_items"),
    ):  # fmt: skip
        assert fields(batch(org, bad, {"command": "pause"}, "validation_failed")) == {pointer: code}
    assert fields(org.api.post(f"{P}/command", {"command": "pause"}, expect="validation_failed")) == {"/printer_ids": "required"}
    many = [f"0193481c-6c2b-7d5e-8f3a-{i:012x}" for i in range(99)]
    rows = batch(org, [*many, printer], {"command": "pause"}).json()["data"]
    assert len(rows) == 100 and rows[99]["error"] is None


def test_a_key_for_some_printers_commands_only_those(org: Org) -> None:
    mine, hidden = make(org), make(org)
    api = org.with_capabilities("printer.manage", printer_ids=[mine])
    api.post(f"{P}/{hidden}/command", {"command": "pause"}, expect="resource_not_found")
    rows = api.post(f"{P}/command", {"printer_ids": [mine, hidden], "command": "pause"}, expect=200).json()["data"]
    assert [(r["error"] or {}).get("code") for r in rows] == [None, "resource_not_found"]


# --- once

def test_a_repeated_command_is_one_command(org: Org) -> None:
    printer, idem = make(org), {"Idempotency-Key": secrets.token_hex(8)}
    first = command(org, printer, {"command": "pause"}, headers=idem)
    again = command(org, printer, {"command": "pause"}, headers=idem)
    assert first.content == again.content and again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    command(org, printer, {"command": "resume"}, "idempotency_key_reused", headers=idem)
    assert tasks(org) == 1


def test_a_repeated_batch_is_one_batch(org: Org) -> None:
    printers, idem = [make(org), NOBODY, make(org)], {"Idempotency-Key": secrets.token_hex(8)}
    first = batch(org, printers, {"command": "pause"}, headers=idem)
    again = batch(org, printers, {"command": "pause"}, headers=idem)
    assert first.content == again.content and again.headers["Idempotent-Replayed"] == "true"
    assert tasks(org) == 2


def test_a_refused_command_leaves_its_idempotency_key_free(org: Org) -> None:
    printer, idem = make(org, gcode_allowlist=[]), {"Idempotency-Key": secrets.token_hex(8)}
    body = {"command": "gcode", "lines": ["G28"]}
    command(org, printer, body, "gcode_not_allowed", headers=idem)
    org.api.patch(f"{P}/{printer}", {"gcode_allowlist": None}, expect=200)
    assert "Idempotent-Replayed" not in command(org, printer, body, headers=idem).headers


# --- what is left of it

def test_commands_are_in_the_audit_log(org: Org) -> None:
    printer = make(org)
    got = command(org, printer, {"command": "light", "on": True}).json()
    rows = org.sql("SELECT changes FROM app.audit_log WHERE target_id = %s AND action = 'printer.commanded'", printer)
    assert rows == [({"command": "light", "on": True, "operation_id": got["operation_id"]},)]


def test_a_waiting_command_can_be_cancelled(org: Org) -> None:
    got = command(org, make(org), {"command": "home"}).json()
    ended = org.api.post(f"/v1/operations/{got['operation_id']}/cancel", expect=200).json()
    assert ended["status"] == "cancelled"
    assert org.sql("SELECT count(*) FROM sec.printer_tasks WHERE job_id = %s", got["operation_id"]) == [(0,)]


def test_the_served_contract_types_every_command(org: Org) -> None:
    doc = org.api.get("/v1/openapi.json", expect=200).json()["components"]["schemas"]
    for union in ("PrinterCommand", "PrinterBatchCommand"):
        mapping = doc[union]["discriminator"]["mapping"]
        assert {c["command"] for c in COMMANDS} == mapping.keys()
        for name, ref in mapping.items():
            variant = doc[ref.rsplit("/", 1)[-1]]
            assert variant["properties"]["command"]["const"] == name
            assert variant["additionalProperties"] is False
        assert json.dumps(doc[union]["oneOf"]).count("$ref") == len(mapping)
