"""The queue's items: what is taken in and shown, which changes which state allows, their order, many at once, and what is
left of it in the books. Which printer takes what is in test_queue_dispatch.py. Nothing is sent here: there is no gateway;
what one would tell is told by tests/lib/queues.py."""

from __future__ import annotations

import json
import secrets
from typing import Any

import files
import pytest
import queues
from api import fields
from queues import Q, act, assign, ids, make_item, read
from wait import until
from world import EVENTS, Org

NOBODY = "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70"
PLATES = {"plates": [{"index": 2, "name": "a"}, {"index": 5, "name": "b"}]}
WAITING = {"name", "file_id", "plate", "alternatives", "priority", "requirements", "start_after", "due_at", "windows",
           "require_previous_success", "slot_mapping", "options", "notes", "metadata", "held"}  # fmt: skip


def plates(org: Org) -> str:
    return files.make_file(org, f"{secrets.token_hex(4)}.gcode.3mf", kind="gcode_3mf", metadata=json.dumps(PLATES))


def me(org: Org) -> str:
    """The key's principal."""
    return str(org.sql("SELECT principal_id FROM app.api_keys WHERE id = %s", org.key_id(org.key))[0][0])


def in_state(org: Org, state: str) -> dict[str, Any]:
    """An item that came into the state by the way that items come there."""
    if state == "draft":
        return make_item(org, draft=True)
    if state == "queued":
        return make_item(org)
    if state == "assigned":
        made = make_item(org)
        return dict(assign(org, made["id"], queues.ready_printer(org), start=False).json())
    if state == "dispatching":
        return queues.sent_item(org)
    if state == "printing":
        return queues.printing_item(org)
    if state == "paused":
        item = queues.printing_item(org)
        org.sql("UPDATE app.printer_status SET state = 'paused', version = version + 1 WHERE printer_id = %s",
                item["assignment"]["printer_id"])  # fmt: skip
        return read(org, item["id"])
    if state == "start_unknown":
        return queues.lost_item(org)
    if state == "cancelled":
        return dict(act(org, make_item(org)["id"], "cancel").json())
    outcome = {"completed": "completed", "failed": "failed"}[state]
    return queues.print_ended(org, queues.printing_item(org), outcome)


STATES = ("draft", "queued", "assigned", "dispatching", "printing", "paused", "start_unknown", "completed", "failed", "cancelled")


@pytest.mark.parametrize("state", STATES)
def test_every_state_is_reached_and_shown(org: Org, state: str) -> None:
    item = in_state(org, state)
    assert item["state"] == state
    waits = state in ("draft", "queued")
    assert (item["eligibility"] is not None) == waits
    assert (item["assignment"] is None) == (waits or state == "cancelled")
    assert (item["ended_at"] is not None) == (state in ("completed", "failed", "cancelled"))
    assert ids(org.api.get(f"{Q}?status={state}", expect=200)) == [item["id"]]


# --- creating

def test_every_member_comes_back(org: Org) -> None:
    group, printer = org.make_group()["id"], org.make_printer()["id"]
    file, other = plates(org), plates(org)
    body = {
        "name": "Ünï 🖨 'quoted'", "file_id": file, "plate": 5, "priority": -7,
        "alternatives": [{"file_id": other, "plate": 2, "models": ["X1C", "P1S"]}],
        "requirements": {
            "printer_ids": [printer], "models": ["X1C"], "group_ids": [group], "tags": ["größe"], "nozzle_diameter_mm": 0.4,
            "nozzle_material": "brass", "bed_type": "smooth", "enclosure": True,
            "slots": [{"material": "PETG", "color": "#00ff00", "color_match": "exact", "minimum_mg": 1000}, None,
                      {"material": None, "color": "#00FF00AA"}],
            "bed_size": {"x_mm": 100, "y_mm": 100.5, "z_mm": 30}, "temperatures": {"nozzle_c": 250, "bed_c": 80, "chamber_c": 45},
        },
        "start_after": "2026-12-01T08:00:00.000Z", "due_at": "2026-12-24T16:00:00.000Z",
        "windows": [{"days": ["mon", "sun"], "from": "22:00", "to": "06:00"}], "require_previous_success": True,
        "slot_mapping": [{"unit": 0, "slot": 3}, None, {"unit": None, "slot": 254}],
        "options": {"timelapse": True, "bed_leveling": False, "flow_calibration": True, "vibration_calibration": False},
        "notes": "two\nlines", "metadata": {"order": "A-1", "n": 7, "x": 0.5, "paid": True, "empty": ""}, "held": True,
    }  # fmt: skip
    answer = org.api.post(Q, body, expect=201)
    made = answer.json()
    assert answer.headers["Location"] == f"{Q}/{made['id']}"
    assert org.api.get(answer.headers["Location"], expect=200).json() == made
    for name in set(body) - {"file_id", "alternatives"}:
        assert made[name] == body[name], name
    assert made["file"]["id"] == file and made["file"]["kind"] == "gcode_3mf" and made["file"]["status"] == "ready"
    assert [(a["file_id"], a["plate"], a["models"]) for a in made["alternatives"]] == [(other, 2, ["X1C", "P1S"])]
    assert made["requested_by"] == me(org)
    assert (made["state"], made["version"] >= 1) == ("queued", True)


def test_defaults(org: Org) -> None:
    made = make_item(org, name="x", file_id=None)
    want = {
        "name": "x", "state": "queued", "held": False, "priority": 0, "file": None, "plate": None, "alternatives": [],
        "batch_id": None, "copy_index": 1, "copies": 1, "requirements": {}, "start_after": None, "due_at": None, "windows": [],
        "require_previous_success": False, "slot_mapping": None, "options": None, "notes": None, "metadata": {},
        "assignment": None, "estimated_time_s": None, "filament_weight_mg": None, "attempts": 0, "last_error": None,
        "started_at": None, "ended_at": None, "cancel_requested_at": None,
    }  # fmt: skip
    assert {k: made[k] for k in want} == want
    assert made["queued_at"] is not None
    assert [r["code"] for r in made["eligibility"]["reasons"]] == ["no_file"]


def test_names(org: Org) -> None:
    file = files.make_file(org, "bracket v2.gcode")
    assert make_item(org, file_id=file)["name"] == "bracket v2.gcode"
    assert make_item(org, file_id=file, name="Bracket")["name"] == "Bracket"
    assert make_item(org, file_id=None)["name"] == "Item"
    assert fields(org.api.post(Q, {"notes": "x"}, expect="validation_failed")) == {"": "required"}


def test_what_the_file_says(org: Org) -> None:
    file = queues.sliced(org, {"estimated_time_s": 5400.4, "filament_weight_mg": 41200})
    made = make_item(org, file_id=file)
    assert (made["estimated_time_s"], made["filament_weight_mg"]) == (5400, 41200)
    org.sql("UPDATE app.files SET metadata = '{\"estimated_time_s\": 60}' WHERE id = %s", file)
    assert read(org, made["id"])["estimated_time_s"] == 60


def test_copies(org: Org) -> None:
    first = make_item(org, name="many", copies=5, due_at="2026-12-24T16:00:00Z")
    made = org.api.get(f"{Q}?batch_id={first['batch_id']}", expect=200).json()["data"]
    assert [x["copy_index"] for x in made] == [1, 2, 3, 4, 5]
    assert made[0]["id"] == first["id"]
    assert {(x["copies"], x["name"], x["file"]["id"]) for x in made} == {(5, "many", first["file"]["id"])}
    assert len({x["id"] for x in made}) == 5


def test_a_draft_is_not_in_the_queue(org: Org) -> None:
    made = make_item(org, draft=True)
    assert (made["state"], made["queued_at"]) == ("draft", None)
    assert [r["code"] for r in made["eligibility"]["reasons"]] == ["item_draft"]


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"nonsense": 1}, "/nonsense", "unknown_field"),
    ({"id": NOBODY}, "/id", "unknown_field"),
    ({"state": "printing"}, "/state", "unknown_field"),
    ({"position": 1}, "/position", "unknown_field"),
    ({"name": ""}, "/name", "too_short"),
    ({"name": "x" * 201}, "/name", "too_long"),
    ({"name": " x"}, "/name", "pattern_mismatch"),
    ({"name": None}, "/name", "null_not_allowed"),
    ({"file_id": "x"}, "/file_id", "invalid_format"),
    ({"plate": 0}, "/plate", "too_small"),
    ({"plate": 1001}, "/plate", "too_large"),
    ({"copies": 0}, "/copies", "too_small"),
    ({"copies": 101}, "/copies", "too_large"),
    ({"priority": -101}, "/priority", "too_small"),
    ({"priority": 101}, "/priority", "too_large"),
    ({"priority": 1.5}, "/priority", "invalid_type"),
    ({"alternatives": [{"file_id": NOBODY}]}, "/alternatives/0/models", "required"),
    ({"alternatives": [{"file_id": NOBODY, "models": []}]}, "/alternatives/0/models", "too_few_items"),
    ({"alternatives": [{"models": ["X1C"]}]}, "/alternatives/0/file_id", "required"),
    ({"alternatives": [{"file_id": NOBODY, "models": ["X1C"], "plate": 0}]}, "/alternatives/0/plate", "too_small"),
    ({"alternatives": [{"file_id": NOBODY, "models": ["X1C"]}] * 21}, "/alternatives", "too_many_items"),
    ({"requirements": []}, "/requirements", "invalid_type"),
    ({"requirements": {"speed": 1}}, "/requirements/speed", "unknown_field"),
    ({"requirements": {"printer_ids": ["x"]}}, "/requirements/printer_ids/0", "invalid_format"),
    ({"requirements": {"printer_ids": [NOBODY] * 2}}, "/requirements/printer_ids/1", "duplicate_item"),
    ({"requirements": {"models": [""]}}, "/requirements/models/0", "too_short"),
    ({"requirements": {"models": [str(i) for i in range(101)]}}, "/requirements/models", "too_many_items"),
    ({"requirements": {"tags": ["a,b"]}}, "/requirements/tags/0", "pattern_mismatch"),
    ({"requirements": {"nozzle_diameter_mm": 0.04}}, "/requirements/nozzle_diameter_mm", "too_small"),
    ({"requirements": {"nozzle_diameter_mm": 5.1}}, "/requirements/nozzle_diameter_mm", "too_large"),
    ({"requirements": {"slots": [None] * 33}}, "/requirements/slots", "too_many_items"),
    ({"requirements": {"slots": [7]}}, "/requirements/slots/0", "invalid_type"),
    ({"requirements": {"slots": [{}, {"color": "red"}]}}, "/requirements/slots/1/color", "too_short"),
    ({"requirements": {"slots": [{"color": "#12345G"}]}}, "/requirements/slots/0/color", "pattern_mismatch"),
    ({"requirements": {"slots": [{"color_match": "close"}]}}, "/requirements/slots/0/color_match", "not_in_list"),
    ({"requirements": {"slots": [{"minimum_mg": -1}]}}, "/requirements/slots/0/minimum_mg", "too_small"),
    ({"requirements": {"bed_size": {"w_mm": 1}}}, "/requirements/bed_size/w_mm", "unknown_field"),
    ({"requirements": {"bed_size": {"x_mm": 0}}}, "/requirements/bed_size/x_mm", "too_small"),
    ({"requirements": {"temperatures": {"nozzle_c": 1001}}}, "/requirements/temperatures/nozzle_c", "too_large"),
    ({"requirements": {"enclosure": "yes"}}, "/requirements/enclosure", "invalid_type"),
    ({"start_after": "tomorrow"}, "/start_after", "invalid_format"),
    ({"due_at": 1800000000}, "/due_at", "invalid_type"),
    ({"windows": [{"days": ["mon"], "from": "08:00"}]}, "/windows/0/to", "required"),
    ({"windows": [{"days": [], "from": "08:00", "to": "09:00"}]}, "/windows/0/days", "too_few_items"),
    ({"windows": [{"days": ["mon", "mon"], "from": "08:00", "to": "09:00"}]}, "/windows/0/days/1", "duplicate_item"),
    ({"windows": [{"days": ["today"], "from": "08:00", "to": "09:00"}]}, "/windows/0/days/0", "not_in_list"),
    ({"windows": [{"days": ["mon"], "from": "24:00", "to": "09:00"}]}, "/windows/0/from", "pattern_mismatch"),
    ({"windows": [{"days": ["mon"], "from": "8:00", "to": "09:00"}]}, "/windows/0/from", "too_short"),
    ({"windows": [{"days": ["mon"], "from": "08:00", "to": "09:00"}] * 51}, "/windows", "too_many_items"),
    ({"require_previous_success": 1}, "/require_previous_success", "invalid_type"),
    ({"slot_mapping": []}, "/slot_mapping", "too_few_items"),
    ({"slot_mapping": [{"unit": 0}]}, "/slot_mapping/0/slot", "required"),
    ({"options": {"speed": True}}, "/options/speed", "unknown_field"),
    ({"options": {"timelapse": "yes"}}, "/options/timelapse", "invalid_type"),
    ({"notes": "x" * 4001}, "/notes", "too_long"),
    ({"notes": "a\u0007"}, "/notes", "pattern_mismatch"),
    ({"metadata": []}, "/metadata", "invalid_type"),
    ({"metadata": {"a": {}}}, "/metadata/a", "invalid_type"),
    ({"metadata": {"a": ["b"]}}, "/metadata/a", "invalid_type"),
    ({"metadata": {"a": "x" * 501}}, "/metadata/a", "too_long"),
    ({"metadata": {"x" * 65: 1}}, f"/metadata/{'x' * 65}", "pattern_mismatch"),
    ({"metadata": {"": 1}}, "/metadata/", "pattern_mismatch"),
    ({"metadata": {"a/b\n": 1}}, "/metadata/a~1b\n", "pattern_mismatch"),
    ({"metadata": {str(i): i for i in range(51)}}, "/metadata", "too_many_items"),
    ({"held": None}, "/held", "null_not_allowed"),
    ({"draft": "no"}, "/draft", "invalid_type"),
]


@pytest.mark.parametrize(("change", "pointer", "code"), WRONG, ids=lambda v: str(v)[:40])
def test_what_the_contract_refuses(org: Org, change: dict[str, Any], pointer: str, code: str) -> None:
    answer = org.api.post(Q, {"name": "x", **change}, expect="validation_failed")
    assert fields(answer) == {pointer: code}
    if pointer not in ("/copies", "/draft"):
        answer = org.api.patch(f"{Q}/{NOBODY}", change, expect="validation_failed")
        assert fields(answer) == {pointer: code}
    assert ids(org.api.get(Q, expect=200)) == []


def test_what_may_not_be_patched(org: Org) -> None:
    path = f"{Q}/{make_item(org)['id']}"
    for member, value in (("copies", 2), ("draft", True), ("batch_id", NOBODY)):
        assert fields(org.api.patch(path, {member: value}, expect="validation_failed")) == {f"/{member}": "unknown_field"}


def test_limits_that_are_allowed(org: Org) -> None:
    metadata = {**{str(i): "x" for i in range(49)}, "ä" * 64: "😀" * 500}
    made = make_item(org, name="x" * 200, notes="x" * 4000, metadata=metadata, priority=-100,
                     requirements={"slots": [None] * 32, "models": [str(i) for i in range(100)]})  # fmt: skip
    assert made["metadata"] == metadata


# --- references

def test_references_must_exist(org: Org, other_org: Org) -> None:
    good = queues.sliced(org)
    trashed = files.make_file(org)
    org.api.delete(f"/v1/files/{trashed}", expect=204)
    item = make_item(org)
    other_printer, other_group = other_org.make_printer()["id"], other_org.make_group()["id"]
    for body, pointer in (
        ({"file_id": NOBODY}, "/file_id"), ({"file_id": files.make_file(other_org)}, "/file_id"), ({"file_id": trashed}, "/file_id"),
        ({"alternatives": [{"file_id": good, "models": ["a"]}, {"file_id": NOBODY, "models": ["b"]}]}, "/alternatives/1/file_id"),
        ({"requirements": {"printer_ids": [org.make_printer()["id"], other_printer]}}, "/requirements/printer_ids/1"),
        ({"requirements": {"group_ids": [other_group]}}, "/requirements/group_ids/0"),
    ):  # fmt: skip
        for answer in (org.api.post(Q, {"name": "x", **body}, expect="unknown_reference"),
                       org.api.patch(f"{Q}/{item['id']}", body, expect="unknown_reference")):  # fmt: skip
            assert (answer.status_code, fields(answer)) == (422, {pointer: "unknown_reference"})
    assert read(org, item["id"])["version"] == item["version"]
    assert len(ids(org.api.get(Q, expect=200))) == 1


def test_plates_must_exist(org: Org) -> None:
    file, plain = plates(org), queues.sliced(org)
    for body, pointer in (
        ({"file_id": file, "plate": 1}, "/plate"), ({"file_id": plain, "plate": 2}, "/plate"), ({"name": "x", "plate": 1}, "/plate"),
        ({"name": "x", "alternatives": [{"file_id": file, "plate": 3, "models": ["a"]}]}, "/alternatives/0/plate"),
    ):  # fmt: skip
        assert fields(org.api.post(Q, body, expect="validation_failed")) == {pointer: "unknown_plate"}
    item = make_item(org, file_id=file, plate=5)
    assert fields(org.api.patch(f"{Q}/{item['id']}", {"plate": 4}, expect="validation_failed")) == {"/plate": "unknown_plate"}
    assert org.api.patch(f"{Q}/{item['id']}", {"plate": 2}, expect=200).json()["plate"] == 2
    assert org.api.patch(f"{Q}/{item['id']}", {"plate": None}, expect=200).json()["plate"] is None


def test_files_that_no_printer_prints(org: Org) -> None:
    for kind in ("3mf", "stl", "step", "obj", "other"):
        file = files.make_file(org, f"{secrets.token_hex(4)}.x", kind=kind)
        assert fields(org.api.post(Q, {"file_id": file}, expect="file_kind_not_supported")) == {"/file_id": "file_kind_not_supported"}
    answer = org.api.post(Q, {"file_id": files.make_file(org, status="failed")}, expect="file_status_conflict")
    assert (answer.status_code, fields(answer)) == (409, {"/file_id": "file_status_conflict"})


def test_a_file_that_is_still_coming(org: Org) -> None:
    file = queues.sliced(org, status="analyzing")
    made = make_item(org, file_id=file)
    assert [(r["code"], r["severity"]) for r in made["eligibility"]["reasons"]] == [("file_not_ready", "transient")]
    org.sql("UPDATE app.files SET status = 'ready' WHERE id = %s", file)
    assert read(org, made["id"])["eligibility"]["reasons"] == []


# --- changing

def test_a_patch_merges(org: Org) -> None:
    item = make_item(org, name="a", notes="n", priority=3, metadata={"a": 1, "b": 2}, due_at="2026-12-24T16:00:00Z",
                     requirements={"models": ["X1C"], "nozzle_diameter_mm": 0.4, "bed_size": {"x_mm": 10, "y_mm": 10}},
                     options={"timelapse": True}, windows=[{"days": ["mon"], "from": "08:00", "to": "09:00"}],
                     slot_mapping=[None], start_after="2026-12-01T08:00:00Z")  # fmt: skip
    path = f"{Q}/{item['id']}"
    after = org.api.patch(path, {
        "metadata": {"a": None, "c": "x"}, "requirements": {"nozzle_diameter_mm": None, "tags": ["t"], "bed_size": {"z_mm": 5}},
        "options": {"bed_leveling": False}, "notes": None, "due_at": None,
    }, expect=200).json()  # fmt: skip
    assert after["metadata"] == {"b": 2, "c": "x"}
    assert after["requirements"] == {"models": ["X1C"], "tags": ["t"], "bed_size": {"z_mm": 5}}
    assert after["options"] == {"timelapse": True, "bed_leveling": False}
    assert (after["notes"], after["due_at"], after["name"], after["priority"]) == (None, None, "a", 3)
    assert after["start_after"] == "2026-12-01T08:00:00.000Z"
    assert after["version"] > item["version"]
    after = org.api.patch(path, {"requirements": None, "metadata": None, "options": None, "windows": [], "slot_mapping": None,
                                 "start_after": None}, expect=200).json()  # fmt: skip
    cleared = {"requirements": {}, "metadata": {}, "options": None, "windows": [], "slot_mapping": None, "start_after": None}
    assert {k: after[k] for k in cleared} == cleared


def test_files_are_changed(org: Org) -> None:
    item = make_item(org)
    path, other = f"{Q}/{item['id']}", queues.sliced(org, {"estimated_time_s": 7})
    after = org.api.patch(path, {"file_id": other, "alternatives": [{"file_id": other, "models": ["X1C"]}]}, expect=200).json()
    assert (after["file"]["id"], after["estimated_time_s"], len(after["alternatives"])) == (other, 7, 1)
    assert org.api.patch(path, {"name": "x"}, expect=200).json()["file"]["id"] == other
    after = org.api.patch(path, {"file_id": None}, expect=200).json()
    assert (after["file"], len(after["alternatives"])) == (None, 1)
    assert org.api.patch(path, {"alternatives": []}, expect=200).json()["alternatives"] == []


CHANGES: dict[str, Any] = {
    "name": "n", "file_id": None, "plate": None, "alternatives": [], "priority": 9, "requirements": {"tags": []},
    "start_after": None, "due_at": "2026-12-24T16:00:00Z", "windows": [], "require_previous_success": True, "slot_mapping": None,
    "options": {"timelapse": True}, "notes": "x", "metadata": {"a": 1}, "held": True,
}  # fmt: skip


@pytest.mark.parametrize("state", [s for s in STATES if s not in ("paused", "failed")])
def test_what_a_state_lets_be_changed(org: Org, state: str) -> None:
    assert CHANGES.keys() == WAITING
    item = in_state(org, state)
    allowed = {"name", "notes", "metadata"}
    if state in ("draft", "queued"):
        allowed = WAITING
    elif state not in ("completed", "cancelled"):
        allowed |= {"priority", "due_at"}
    for member, value in CHANGES.items():
        answer = org.api.patch(f"{Q}/{item['id']}", {member: value})
        if member in allowed:
            assert answer.status_code == 200, answer.text
        else:
            assert (answer.status_code, answer.json()["error"]) == (409, "queue_item_state_conflict"), (state, member)
    assert read(org, item["id"])["state"] == state


@pytest.mark.parametrize("state", STATES)
def test_what_can_be_deleted(org: Org, state: str) -> None:
    path = f"{Q}/{in_state(org, state)['id']}"
    if state in ("draft", "queued", "completed", "failed", "cancelled"):
        org.api.delete(path, expect=204)
        org.api.get(path, expect="resource_not_found")
        org.api.get(f"{path}/history", expect="resource_not_found")
        org.api.delete(path, expect="resource_not_found")
    else:
        org.api.delete(path, expect="queue_item_state_conflict")
        org.api.get(path, expect=200)


def test_missing_before_faults(org: Org) -> None:
    org.api.patch(f"{Q}/{NOBODY}", {"file_id": NOBODY}, expect="resource_not_found")


def test_etag_and_if_match(org: Org) -> None:
    item = make_item(org)
    path = f"{Q}/{item['id']}"
    tag = org.api.get(path, expect=200).headers["ETag"].removeprefix("W/")
    assert tag == f'"{item["version"]}"'
    org.api.get(path, headers={"If-None-Match": tag}, expect=304)
    after = org.api.patch(path, {"name": "x"}, headers={"If-Match": tag}, expect=200)
    org.api.patch(path, {"name": "y"}, headers={"If-Match": tag}, expect="precondition_failed")
    org.api.delete(path, headers={"If-Match": tag}, expect="precondition_failed")
    org.api.get(path, headers={"If-None-Match": tag}, expect=200)
    assert after.json()["version"] == item["version"] + 1
    org.api.patch(path, {}, headers={"If-Match": "*"}, expect=200)
    org.api.delete(path, headers={"If-Match": f'"{item["version"] + 1}"'}, expect=204)


# --- lists

@pytest.fixture(scope="module")
def shelf(make_organisation: Any) -> tuple[Org, dict[str, str]]:
    org = make_organisation()
    file, printer = queues.sliced(org), queues.ready_printer(org, model="X1C")
    other = org.with_capabilities("queue.manage")
    made = {
        "a": make_item(org, name="Alpha", file_id=file, due_at="2026-12-01T00:00:00Z"),
        "b": make_item(org, name="beta 100%", notes="for the ALPHA team", priority=5, due_at="2026-11-30T00:00:00Z"),
        "c": make_item(org, name="Gamma_x", file_id=None, alternatives=[{"file_id": file, "models": ["X1C"]}], held=True),
        "d": make_item(org, name="Délta", requirements={"models": ["P1S"]}, draft=True),
        "e": make_item(org, name="Eps", requirements={"nozzle_diameter_mm": 0.4}, priority=-5),
        "f": dict(other.post(Q, {"name": "F", "copies": 2}, expect=201).json()),
    }  # fmt: skip
    assign(org, made["a"]["id"], printer, start=False)
    known = {k: item["id"] for k, item in made.items()}
    known.update(file=file, printer=printer, batch=made["f"]["batch_id"], me=me(org))
    known["g"] = ids(org.api.get(f"{Q}?batch_id={known['batch']}"))[1]
    return org, known


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "bacdfge"), ("status=queued", "bcfge"), ("status=draft,assigned", "ad"), ("status=printing", ""),
        ("search=alpha", "ba"), ("search=ALPHA", "ba"), ("search=d%C3%89l", "d"), ("search=%25", "b"), ("search=_", "c"),
        ("printer_id={printer}", "a"), ("printer_id={file}", ""), ("file_id={file}", "ac"), ("batch_id={batch}", "fg"),
        ("batch_id={file}", ""), ("requested_by={me}", "bacde"), ("requested_by={file}", ""),
        ("due_before=2026-12-01T00:00:00Z", "b"), ("due_before=2026-12-01T00:00:01Z", "ba"),
        ("due_before=2026-12-01T02:00:00%2B02:00", "b"), ("eligibility=blocked", "d"), ("eligibility=unknown", "e"),
        ("eligibility=eligible", "bcfg"), ("eligibility=eligible&status=queued&search=f", "bfg"),
        ("sort=name&search=a", "adcb"), ("sort=created_at", "abcdefg"), ("sort=-created_at", "gfedcba"), ("sort=due_at&limit=2", "ba"),
    ],
)  # fmt: skip
def test_filters_and_orders(shelf: tuple[Org, dict[str, str]], query: str, expected: str) -> None:
    org, known = shelf
    query = query.format(**known)
    assert ids(org.api.get(f"{Q}?{query}", expect=200)) == [known[c] for c in expected]
    if "limit" not in query:
        assert org.api.get(f"{Q}?offset=0&{query}", expect=200).json()["total"] == len(expected)


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("status=broken", "/query/status"), ("status=", "/query/status"), ("printer_id=x", "/query/printer_id"),
        ("due_before=now", "/query/due_before"), ("eligibility=maybe", "/query/eligibility"), ("sort=-name", "/query/sort"),
        ("sort=-position", "/query/sort"), ("limit=101", "/query/limit"), ("state=queued", "/query/state"),
    ],
)  # fmt: skip
def test_bad_queries(org: Org, query: str, pointer: str) -> None:
    answer = org.api.get(f"{Q}?{query}")
    assert answer.status_code == 400
    assert all(p.startswith(pointer) for p in fields(answer))


@pytest.mark.parametrize("sort", ["position", "created_at", "-created_at", "due_at", "updated_at", "-updated_at", "name"])
def test_pages(shelf: tuple[Org, dict[str, str]], sort: str) -> None:
    org, _ = shelf
    whole = ids(org.api.get(f"{Q}?sort={sort}", expect=200))
    got: list[str] = []
    page = org.api.get(f"{Q}?sort={sort}&limit=2", expect=200).json()
    while True:
        got += [x["id"] for x in page["data"]]
        if not page["has_more"]:
            break
        page = org.api.get(Q, params={"sort": sort, "limit": 2, "cursor": page["next_cursor"]}, expect=200).json()
    assert got == whole and len(whole) == 7


# --- one step

def test_hold_and_release(org: Org) -> None:
    item = make_item(org)["id"]
    held = act(org, item, "hold").json()
    assert (held["held"], held["state"]) == (True, "queued")
    assert [r["code"] for r in held["eligibility"]["reasons"]] == ["item_held"]
    assert act(org, item, "hold").json()["version"] == held["version"]
    free = act(org, item, "release").json()
    assert (free["held"], free["eligibility"]["reasons"], free["position"]) == (False, [], held["position"])


def test_releasing_a_draft_queues_it(org: Org) -> None:
    item = make_item(org, draft=True, held=True)["id"]
    after = act(org, item, "release").json()
    assert (after["state"], after["held"]) == ("queued", False)
    assert after["queued_at"] is not None


ALLOWED = {
    "hold": {"draft", "queued"}, "release": {"draft", "queued"}, "retry": {"failed", "cancelled"}, "unassign": {"assigned"},
    "complete": {"assigned"}, "resolve": {"start_unknown"}, "recompute": set(STATES), "duplicate": set(STATES),
    "cancel": {"draft", "queued", "assigned", "dispatching", "printing", "paused", "cancelled"},
}  # fmt: skip


@pytest.mark.parametrize("state", STATES)
def test_what_a_state_lets_be_done(org: Org, state: str) -> None:
    for action, states in ALLOWED.items():
        item = in_state(org, state)
        answer = act(org, item["id"], action, {"outcome": "failed"} if action == "resolve" else None, None)
        if state in states:
            assert answer.status_code in (200, 201), (action, answer.text)
        else:
            assert (answer.status_code, answer.json()["error"]) == (409, "queue_item_state_conflict"), action
            assert read(org, item["id"])["state"] == state


def test_cancel_what_waits(org: Org) -> None:
    after = act(org, make_item(org)["id"], "cancel").json()
    assert (after["state"], after["assignment"], after["eligibility"]) == ("cancelled", None, None)
    assert after["ended_at"] is not None


def test_cancel_frees_the_printer(org: Org) -> None:
    printer = queues.ready_printer(org)
    item = make_item(org)["id"]
    assign(org, item, printer, start=False)
    assert act(org, item, "cancel").json()["state"] == "cancelled"
    assign(org, make_item(org)["id"], printer, start=False)


def test_cancel_what_is_being_sent(org: Org) -> None:
    item = in_state(org, "dispatching")
    after = act(org, item["id"], "cancel").json()
    assert after["state"] == "cancelled", "no gateway had begun it"
    operation = item["assignment"]["operation_id"]
    assert org.api.get(f"/v1/operations/{operation}", expect=200).json()["status"] == "cancelled"


def test_cancel_what_is_sent_by_a_gateway_already(org: Org) -> None:
    item = in_state(org, "dispatching")
    operation = item["assignment"]["operation_id"]
    org.sql("UPDATE app.jobs SET state = 'running', started_at = app.now() WHERE id = %s", operation)
    after = act(org, item["id"], "cancel").json()
    assert after["state"] == "dispatching" and after["cancel_requested_at"] is not None
    assert queues.send_ended(org, item, "cancelled")["state"] == "cancelled"


def test_cancel_what_prints(org: Org) -> None:
    item = in_state(org, "printing")
    after = act(org, item["id"], "cancel").json()
    assert after["state"] == "printing" and after["cancel_requested_at"] is not None
    asked = org.sql("SELECT params ->> 'command' FROM app.jobs WHERE org_id = %s AND kind = 'printer.command'", org.id)
    assert asked == [("stop",)]
    act(org, item["id"], "cancel")
    again = org.sql("SELECT params ->> 'command' FROM app.jobs WHERE org_id = %s AND kind = 'printer.command'", org.id)
    assert again == asked, "once is enough"
    after = queues.print_ended(org, item, "cancelled")
    assert after["state"] == "cancelled" and after["ended_at"] is not None


def test_cancel_needs_the_printer(org: Org) -> None:
    item = in_state(org, "printing")
    org.sql("UPDATE app.printer_status SET connection = jsonb_set(connection, '{state}', '\"disconnected\"') WHERE printer_id = %s",
            item["assignment"]["printer_id"])  # fmt: skip
    act(org, item["id"], "cancel", expect="printer_not_connected")
    assert read(org, item["id"])["cancel_requested_at"] is None


def test_retry_begins_anew(org: Org) -> None:
    item = in_state(org, "failed")
    assert item["last_error"]["code"] == "print_failed"
    after = act(org, item["id"], "retry").json()
    want = {"state": "queued", "attempts": 0, "last_error": None, "assignment": None, "started_at": None, "ended_at": None}
    assert {k: after[k] for k in want} == want
    assert after["position"] == item["position"]
    assert after["eligibility"] is not None


def test_duplicate(org: Org) -> None:
    first = make_item(org, name="one", copies=2, priority=4, requirements={"tags": ["t"]}, metadata={"a": 1}, notes="n",
                      alternatives=[{"file_id": queues.sliced(org), "models": ["X1C"]}])  # fmt: skip
    act(org, first["id"], "cancel")
    answer = act(org, first["id"], "duplicate", expect=201)
    made = answer.json()
    assert answer.headers["Location"] == f"{Q}/{made['id']}" and made["id"] != first["id"]
    for member in ("name", "priority", "requirements", "metadata", "notes", "file", "alternatives"):
        assert made[member] == first[member], member
    assert (made["state"], made["batch_id"], made["copies"], made["copy_index"]) == ("queued", None, 1, 1)
    assert made["position"] > first["position"]


def test_complete_by_hand(org: Org) -> None:
    item = in_state(org, "assigned")
    assert act(org, item["id"], "complete").json()["state"] == "completed"
    item = in_state(org, "assigned")
    after = act(org, item["id"], "complete", {"outcome": "failed"}).json()
    assert (after["state"], after["assignment"]["printer_id"]) == ("failed", item["assignment"]["printer_id"])
    answer = act(org, item["id"], "complete", {"outcome": "printing"}, "validation_failed")
    assert fields(answer) == {"/outcome": "not_in_list"}


@pytest.mark.parametrize(("outcome", "state"), [("not_started", "queued"), ("completed", "completed"), ("failed", "failed"),
                                                ("cancelled", "cancelled")])  # fmt: skip
def test_resolve(org: Org, outcome: str, state: str) -> None:
    item = in_state(org, "start_unknown")
    assert item["last_error"]["code"] == "start_unknown"
    after = act(org, item["id"], "resolve", {"outcome": outcome}).json()
    assert after["state"] == state
    if state == "queued":
        assert (after["assignment"], after["ended_at"]) == (None, None)
        again = assign(org, item["id"], item["assignment"]["printer_id"]).json()
        assert again["assignment"]["generation"] == item["assignment"]["generation"] + 1


def test_resolve_as_printing_needs_a_print(org: Org) -> None:
    printer = queues.ready_printer(org)
    item = queues.lost_item(org, printer)
    act(org, item["id"], "resolve", {"outcome": "printing"}, "queue_item_state_conflict")
    print_id = org.sql("INSERT INTO app.prints (org_id, printer_id, source, name, started_at)"
                       " VALUES (app.org(), %s, 'printer', 'x', app.now()) RETURNING id", printer)[0][0]  # fmt: skip
    org.sql("UPDATE app.printer_status SET print_id = %s, state = 'printing', version = version + 1 WHERE printer_id = %s",
            print_id, printer)  # fmt: skip
    after = act(org, item["id"], "resolve", {"outcome": "printing"}).json()
    assert (after["state"], after["assignment"]["print_id"]) == ("printing", str(print_id))


@pytest.mark.parametrize("body", [{}, {"outcome": "dispatching"}, {"outcome": None}])
def test_resolve_says_an_outcome(org: Org, body: dict[str, Any]) -> None:
    answer = act(org, make_item(org)["id"], "resolve", body, "validation_failed")
    assert list(fields(answer)) == ["/outcome"]


@pytest.mark.parametrize("action", [*ALLOWED, "assign"])
def test_steps_of_items_that_are_not_there(org: Org, other_org: Org, action: str) -> None:
    body = {"resolve": {"outcome": "failed"}, "assign": {"printer_id": queues.ready_printer(org)}}.get(action)
    for item in (NOBODY, make_item(other_org)["id"]):
        act(org, item, action, body, "resource_not_found")


# --- the order

def order(org: Org) -> list[str]:
    return ids(org.api.get(Q, expect=200))


def reorder(org: Org, wanted: list[str], expect: int | str = 200, **members: Any) -> Any:
    return org.api.post(f"{Q}/reorder", {"order": wanted, **members}, expect=expect)


def test_first_come_first_served_within_a_priority(org: Org) -> None:
    a, b, c = (make_item(org, priority=p)["id"] for p in (0, 10, 0))
    assert order(org) == [b, a, c]
    org.api.patch(f"{Q}/{c}", {"priority": 10}, expect=200)
    assert order(org) == [b, c, a]


def test_reorder(org: Org) -> None:
    a, b, c, d = (make_item(org, file_id=None)["id"] for _ in range(4))
    version = org.api.get(f"{Q}/settings", expect=200).json()["order_version"]
    now = reorder(org, [d, b, a]).json()["order_version"]
    assert now == version + 1
    assert order(org) == [d, b, c, a], "the third keeps its place"
    assert reorder(org, [a], order_version=now).json()["order_version"] == now + 1
    assert org.api.get(f"{Q}/settings", expect=200).json()["order_version"] == now + 1


def test_a_stale_order_changes_nothing(org: Org) -> None:
    a, b = make_item(org)["id"], make_item(org)["id"]
    version = reorder(org, [b, a]).json()["order_version"]
    answer = reorder(org, [a, b], "queue_changed", order_version=version - 1)
    assert answer.status_code == 409
    assert order(org) == [b, a]
    reorder(org, [a, b], order_version=version)
    assert order(org) == [a, b]


def test_reorder_takes_priorities_along(org: Org) -> None:
    low, high = make_item(org, priority=0)["id"], make_item(org, priority=50)["id"]
    reorder(org, [low, high])
    assert order(org) == [low, high]
    assert (read(org, low)["priority"], read(org, high)["priority"]) == (50, 0)


def test_only_what_waits_has_a_place(org: Org, other_org: Org) -> None:
    a, b = make_item(org)["id"], in_state(org, "cancelled")["id"]
    for wrong in (b, NOBODY, make_item(other_org)["id"]):
        reorder(org, [wrong, a], "queue_changed")
    for bad, pointer in (([], "/order"), ([a, a], "/order/1"), (["x"], "/order/0"), ([NOBODY] * 1001, "/order")):
        assert list(fields(reorder(org, bad, "validation_failed"))) == [pointer]


# --- many at once

def bulk(org: Org, items: list[str], expect: int | str = 200, **members: Any) -> Any:
    return org.api.post(f"{Q}/bulk", {"ids": items, **members}, expect=expect)


def test_a_bulk_has_one_row_for_each_item_in_their_order(org: Org, other_org: Org) -> None:
    good, ended, other = make_item(org)["id"], in_state(org, "completed")["id"], make_item(org)["id"]
    asked = [ended, good, NOBODY, other, make_item(other_org)["id"]]
    rows = bulk(org, asked, action="hold").json()["data"]
    assert [r["queue_item_id"] for r in rows] == asked
    assert [(r["error"] or {}).get("code") for r in rows] == [
        "queue_item_state_conflict", None, "resource_not_found", None, "resource_not_found",
    ]  # fmt: skip
    assert rows[0]["error"]["message"] == "The queue item's state does not allow this."
    assert read(org, good)["held"] and read(org, other)["held"]


def test_every_bulk_action(org: Org) -> None:
    items = [make_item(org)["id"] for _ in range(3)]
    for action, state, held in (("hold", "queued", True), ("release", "queued", False), ("cancel", "cancelled", False),
                                ("retry", "queued", False)):  # fmt: skip
        assert all(r["error"] is None for r in bulk(org, items, action=action).json()["data"])
        assert {(read(org, i)["state"], read(org, i)["held"]) for i in items} == {(state, held)}
    bulk(org, items, action="delete")
    assert order(org) == []


def test_a_bulk_patch(org: Org) -> None:
    a, b = make_item(org, metadata={"x": 1})["id"], in_state(org, "dispatching")["id"]
    patch = {"priority": 7, "due_at": "2026-12-24T16:00:00Z", "notes": "n", "metadata": {"y": 2}}
    assert all(r["error"] is None for r in bulk(org, [a, b], patch=patch).json()["data"])
    assert read(org, a)["metadata"] == {"x": 1, "y": 2}
    assert read(org, b)["priority"] == 7
    rows = bulk(org, [a, b], patch={"held": True, "start_after": None}).json()["data"]
    assert [(r["error"] or {}).get("code") for r in rows] == [None, "queue_item_state_conflict"]


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"ids": [NOBODY]}, "", "required"), ({"ids": [NOBODY], "action": "hold", "patch": {}}, "", "too_many_members"),
        ({"action": "hold"}, "/ids", "required"), ({"ids": [], "action": "hold"}, "/ids", "too_few_items"),
        ({"ids": [NOBODY] * 101, "action": "hold"}, "/ids", "too_many_items"),
        ({"ids": [NOBODY] * 2, "action": "hold"}, "/ids/1", "duplicate_item"),
        ({"ids": [NOBODY], "action": "print"}, "/action", "not_in_list"),
        ({"ids": [NOBODY], "patch": {"name": "x"}}, "/patch/name", "unknown_field"),
        ({"ids": [NOBODY], "patch": {"priority": 101}}, "/patch/priority", "too_large"),
        ({"ids": [NOBODY], "patch": {"metadata": {"a": []}}}, "/patch/metadata/a", "invalid_type"),
        ({"ids": [NOBODY], "patch": None}, "/patch", "null_not_allowed"),
    ],
)  # fmt: skip
def test_what_a_bulk_does_not_take(org: Org, body: dict[str, Any], pointer: str, code: str) -> None:
    assert fields(org.api.post(f"{Q}/bulk", body, expect="validation_failed")) == {pointer: code}


# --- once

def test_a_repeated_creation_is_one(org: Org) -> None:
    idem, body = {"Idempotency-Key": secrets.token_hex(8)}, {"name": "x", "copies": 3}
    first = org.api.post(Q, body, headers=idem, expect=201)
    again = org.api.post(Q, body, headers=idem, expect=201)
    assert first.content == again.content and again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert len(order(org)) == 3
    org.api.post(Q, {"name": "y"}, headers=idem, expect="idempotency_key_reused")


@pytest.mark.parametrize("action", ["hold", "cancel", "duplicate", "recompute"])
def test_a_repeated_step_is_one(org: Org, action: str) -> None:
    item, idem = make_item(org)["id"], {"Idempotency-Key": secrets.token_hex(8)}
    first = org.api.post(f"{Q}/{item}/{action}", headers=idem)
    again = org.api.post(f"{Q}/{item}/{action}", headers=idem)
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(order(org)) == (2 if action == "duplicate" else 1)


def test_a_repeated_bulk_is_one(org: Org) -> None:
    item, idem = make_item(org)["id"], {"Idempotency-Key": secrets.token_hex(8)}
    body = {"ids": [item, NOBODY], "action": "cancel"}
    first = org.api.post(f"{Q}/bulk", body, headers=idem, expect=200)
    assert org.api.post(f"{Q}/bulk", body, headers=idem, expect=200).content == first.content


def test_a_refused_creation_leaves_its_key_free(org: Org) -> None:
    idem = {"Idempotency-Key": secrets.token_hex(8)}
    org.api.post(Q, {"file_id": NOBODY}, headers=idem, expect="unknown_reference")
    org.api.post(Q, {"name": "x"}, headers=idem, expect=201)


# --- how many

def test_there_is_an_end_to_it(org: Org) -> None:
    """99,998 items beside the API and without what is noted of them."""
    need = org.sql("SELECT need_id FROM app.queue_items WHERE id = %s", make_item(org)["id"])[0][0]
    try:
        org.sql("SET LOCAL session_replication_role = replica; INSERT INTO app.queue_items (org_id, name, state, position, need_id)"
                f" SELECT app.org(), 'x', 'draft', n, '{need}' FROM generate_series(1, 99998) AS n")  # fmt: skip
        org.api.post(Q, {"name": "x", "copies": 2}, expect="queue_full")
        org.api.post(Q, {"name": "x"}, expect=201)
        answer = org.api.post(Q, {"name": "x"}, expect="queue_full")
        assert answer.status_code == 409
        assert len(org.api.get(Q, expect=200).json()["data"]) == 50
    finally:
        org.sql("SET LOCAL session_replication_role = replica; DELETE FROM app.queue_items WHERE org_id = app.org()")


# --- what is left of it

def events(org: Org, item: str) -> list[str]:
    rows = org.sql(f"SELECT type FROM {EVENTS} WHERE resource_id = %s ORDER BY n", item)
    return [r[0].removeprefix("queue_item.") for r in rows]


def told(org: Org, item: str) -> list[dict[str, Any]]:
    rows = org.api.get(f"{Q}/{item}/history", expect=200).json()["data"]
    return [r for r in rows if r["event"] != "standing"]


def test_changes_are_audited_and_announced(org: Org) -> None:
    item = make_item(org)["id"]
    org.api.patch(f"{Q}/{item}", {"priority": 3}, headers={"X-Request-Id": "audit-me"}, expect=200)
    act(org, item, "hold")
    act(org, item, "cancel")
    org.api.delete(f"{Q}/{item}", expect=204)
    rows = org.sql("SELECT action, request_id, changes FROM app.audit_log WHERE target_id = %s ORDER BY id", item)
    assert [r[0] for r in rows] == [f"queue_item.{a}" for a in ("created", "updated", "held", "cancelled", "deleted")]
    assert (rows[1][1], rows[1][2]) == ("audit-me", {"priority": {"from": 0, "to": 3}})
    assert events(org, item) == ["created", "updated", "held", "cancelled", "deleted"]
    data = org.sql(f"SELECT data FROM {EVENTS} WHERE resource_id = %s ORDER BY n", item)[1][0]
    assert (data["queue_item_id"], data["state"], data["changed"]) == (item, "queued", ["priority"])


def test_a_refused_change_leaves_no_trace(org: Org) -> None:
    item = in_state(org, "completed")
    printer = queues.ready_printer(org, model="P1S")
    picky = make_item(org, requirements={"models": ["X1C"]})["id"]

    def traces() -> list[tuple[Any, ...]]:
        tables = ("app.audit_log AS e", EVENTS, "app.queue_items AS e")
        return [org.sql(f"SELECT count(*) FROM {t} WHERE e.org_id = %s", org.id)[0] for t in tables]

    before = traces()
    org.api.patch(f"{Q}/{item['id']}", {"priority": 1}, expect="queue_item_state_conflict")
    act(org, item["id"], "hold", expect="queue_item_state_conflict")
    assign(org, picky, printer, "queue_item_not_assignable")
    org.api.post(Q, {"file_id": NOBODY}, expect="unknown_reference")
    org.api.patch(f"{Q}/{picky}", {"plate": 7}, expect="validation_failed")
    reorder(org, [item["id"], picky], "queue_changed")
    assert traces() == before


def test_the_life_of_an_item(org: Org) -> None:
    item = queues.print_ended(org, queues.printing_item(org), "completed")
    assert events(org, item["id"]) == ["created", "assigned", "dispatched", "started", "completed"]
    rows = told(org, item["id"])
    assert [r["event"] for r in rows] == events(org, item["id"])
    assert [(r["from_state"], r["to_state"]) for r in rows] == [
        (None, "queued"), ("queued", "assigned"), ("assigned", "dispatching"), ("dispatching", "printing"), ("printing", "completed"),
    ]  # fmt: skip
    assert rows[-1]["printer_id"] == item["assignment"]["printer_id"] and rows[-1]["generation"] == 1
    assert rows[0]["principal_id"] == me(org)


def test_history_is_a_list(org: Org) -> None:
    item = make_item(org)["id"]
    for i in range(5):
        org.api.patch(f"{Q}/{item}", {"priority": i + 1}, expect=200)
    path = f"{Q}/{item}/history"
    whole = org.api.get(f"{path}?limit=100", expect=200).json()["data"]
    assert [r["at"] for r in whole] == sorted(r["at"] for r in whole)
    down = org.api.get(f"{path}?sort=-at", expect=200).json()["data"]
    assert {r["id"] for r in down} >= {r["id"] for r in whole} and down[-1]["event"] == "created"
    first = org.api.get(f"{path}?limit=3", expect=200).json()
    rest = org.api.get(path, params={"limit": 100, "cursor": first["next_cursor"]}, expect=200).json()
    assert {r["id"] for r in first["data"] + rest["data"]} >= {r["id"] for r in whole}
    assert org.api.get(f"{path}?offset=0", expect=200).json()["total"] >= len(whole)
    other = make_item(org)["id"]
    org.api.get(f"{Q}/{other}/history", params={"limit": 100, "cursor": first["next_cursor"]}, expect="invalid_cursor")
    org.api.get(f"{Q}/{NOBODY}/history", expect="resource_not_found")
    org.api.get(f"{Q}/{NOBODY}/history?sort=event", expect="invalid_parameter")


def test_the_history_says_why_an_item_waits(org: Org) -> None:
    org.make_printer(model="P1S")
    item = make_item(org, requirements={"models": ["X1C"]})["id"]

    def standing() -> list[dict[str, Any]]:
        rows = org.api.get(f"{Q}/{item}/history", expect=200).json()["data"]
        return [r["detail"] for r in rows if r["event"] == "standing"]

    found = until(standing, what="a courier notes how it stands")
    assert found[-1]["blocked"] == 1
    assert [r["code"] for r in found[-1]["reasons"]] == ["model_mismatch"]


def test_requesters_who_see_only_some_printers(org: Org) -> None:
    mine, hidden = queues.ready_printer(org, name="mine"), queues.ready_printer(org, name="hidden")
    api = org.with_capabilities("queue.manage", "operations.read", printer_ids=[mine])
    item = api.post(Q, {"file_id": queues.sliced(org)}, expect=201).json()
    rows = api.get(f"{Q}/{item['id']}/eligibility", expect=200).json()["data"]
    assert [r["printer_id"] for r in rows] == [mine]
    api.post(Q, {"name": "x", "requirements": {"printer_ids": [hidden]}}, expect="unknown_reference")
    answer = assign(org, item["id"], hidden, "queue_item_not_assignable")
    assert [r["code"] for r in answer.json()["details"]["reasons"]] == ["requester_not_allowed"]
    rows = org.api.get(f"{Q}/{item['id']}/eligibility?sort=-printer_name", expect=200).json()["data"]
    assert [(r["printer_id"], r["state"]) for r in rows] == [(mine, "eligible"), (hidden, "blocked")]
