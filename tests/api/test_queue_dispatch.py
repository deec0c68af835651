"""Which printer takes which queue item: who could and why not, by hand, by itself, what comes next, and the rules. Nothing is
brought anywhere here: there is no gateway; what one would tell is told by tests/lib/queues.py."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import files
import pytest
import queues
from api import fields
from queues import Q, act, assign, ids, make_item, read, ready_printer
from wait import until
from world import EVENTS, Org

P = "/v1/printers"
NOBODY = "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70"
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LOADED = {
    "units": [{"id": 0, "humidity": None, "humidity_pct": None, "temperature_c": None, "drying_remaining_s": 0, "slots": [
        {"slot": n, "present": True, "material": material, "name": None, "color": color, "colors": [color], "remaining_pct": 64,
         "rfid": False, "filament_id": None, "nozzle_min_c": None, "nozzle_max_c": None}
        for n, (material, color) in enumerate([("PLA", "#DE4343FF"), ("PETG", "#000000FF"), ("PLA", "#FFFFFFFF")])]}],
    "active": None, "external": [],
}  # fmt: skip


def load(org: Org, printer: str, ams: dict[str, Any]) -> None:
    org.sql("UPDATE app.printer_status SET ams = %s, version = version + 1 WHERE printer_id = %s", json.dumps(ams), printer)


def report(org: Org, printer: str, **columns: str) -> None:
    org.connected(printer, **columns)


def matches(org: Org, item: str, query: str = "") -> list[dict[str, Any]]:
    return list(org.api.get(f"{Q}/{item}/eligibility{query}", expect=200).json()["data"])


def match(org: Org, item: str, printer: str) -> dict[str, Any]:
    return next(m for m in matches(org, item) if m["printer_id"] == printer)


def codes(reasons: list[dict[str, Any]]) -> list[str]:
    return [r["code"] for r in reasons]


def settings(org: Org, **members: Any) -> dict[str, Any]:
    return dict(org.api.patch(f"{Q}/settings", members, expect=200).json())


def next_item(org: Org, printer: str, expect: int | str = 200) -> Any:
    return org.api.post(f"/v1/platform/printers/{printer}/dispatch-next", expect=expect)


def job(org: Org, item: dict[str, Any]) -> dict[str, Any]:
    return dict(org.sql("SELECT params FROM app.jobs WHERE id = %s", item["assignment"]["operation_id"])[0][0])


# --- who could

CASES: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], list[tuple[Any, ...]]]] = [
    ({}, {}, {}, []),
    ({"models": ["X1C"]}, {}, {"model": "X1C"}, []),
    ({"models": ["Bambu Lab X1 Carbon"]}, {}, {"model": "X1C"}, []),
    ({"models": ["X1C", "P1P"]}, {}, {"model": "P1S"}, [("model_mismatch", "hard", None, ["X1C", "P1P"], "P1S")]),
    ({"models": ["X1C"]}, {}, {}, [("model_mismatch", "hard", None, ["X1C"], None)]),
    ({"tags": ["a"]}, {}, {"tags": ["a", "b"]}, []),
    ({"tags": ["a", "c"]}, {}, {"tags": ["a", "b"]}, [("missing_tags", "hard", None, ["a", "c"], ["a", "b"])]),
    ({"nozzle_diameter_mm": 0.6}, {}, {"nozzles": [{"diameter_mm": 0.4}, {"diameter_mm": 0.6}]}, []),
    ({"nozzle_diameter_mm": 0.6}, {}, {"nozzles": [{"diameter_mm": 0.4}]}, [("nozzle_mismatch", "hard", None, 0.6, [0.4])]),
    ({"nozzle_diameter_mm": 0.6}, {}, {}, [("nozzle_unknown", "soft", None, 0.6, None)]),
    ({"nozzle_diameter_mm": 0.4, "nozzle_material": "Brass"}, {}, {"nozzles": [{"diameter_mm": 0.4, "material": "brass"}]}, []),
    ({"nozzle_diameter_mm": 0.4, "nozzle_material": "steel"}, {}, {"nozzles": [{"diameter_mm": 0.4, "material": "brass"}]},
     [("nozzle_mismatch", "hard", None, {"diameter_mm": 0.4, "material": "steel"}, [{"diameter_mm": 0.4, "material": "brass"}])]),
    ({}, {"nozzle_diameters_mm": [0.6]}, {"nozzles": [{"diameter_mm": 0.4}]}, [("nozzle_mismatch", "hard", None, 0.6, [0.4])]),
    ({"nozzle_diameter_mm": 0.4}, {"nozzle_diameters_mm": [0.6]}, {"nozzles": [{"diameter_mm": 0.4}]}, []),
    ({"bed_size": {"x_mm": 250, "z_mm": 300}}, {}, {"bed_volume": {"x_mm": 256, "y_mm": 256, "z_mm": 256}},
     [("volume_exceeded", "hard", None, 300, 256)]),
    ({"bed_size": {"y_mm": 10}}, {}, {}, [("volume_unknown", "soft", None, 10, None)]),
    ({}, {"max_z_mm": 300}, {"bed_volume": {"x_mm": 256, "y_mm": 256, "z_mm": 256}}, [("volume_exceeded", "hard", None, 300, 256)]),
    ({"temperatures": {"nozzle_c": 290}}, {}, {"max_temperatures": {"nozzle_c": 260}}, [("temp_exceeded", "hard", None, 290, 260)]),
    ({"temperatures": {"chamber_c": 50}}, {}, {"max_temperatures": {"nozzle_c": 260}}, [("temp_unknown", "soft", None, 50, None)]),
    ({}, {"temperatures": {"nozzle_c": [215, 290], "bed_c": 60}}, {"max_temperatures": {"nozzle_c": 260}},
     [("temp_exceeded", "hard", None, 290, 260)]),
    ({"enclosure": True}, {}, {"enclosure": True}, []),
    ({"enclosure": True}, {}, {"enclosure": False}, [("enclosure_missing", "hard", None, True, False)]),
    ({"enclosure": True}, {}, {}, [("enclosure_unknown", "soft", None, True, None)]),
    ({"enclosure": False}, {}, {}, []),
    ({"bed_type": "textured"}, {}, {}, [("bed_plate_unknown", "soft", None, "textured", None)]),
    ({}, {"printer_model": "X1C"}, {"model": "X1C"}, []),
    ({}, {"printer_model": "Bambu Lab X1 Carbon"}, {"model": "X1C"}, []),
    ({}, {"printer_model": "X1C"}, {"model": "P1S"}, [("model_mismatch", "hard", None, "X1C", "P1S")]),
    ({}, {"printer_model": "Voron"}, {"model": "P1S"}, [("model_unverified", "soft", None, "Voron", "P1S")]),
    ({"slots": [{"material": "PLA"}]}, {}, {}, [("material_unknown", "soft", None, ["PLA"], None)]),
]  # fmt: skip


@pytest.mark.parametrize(("wishes", "metadata", "attributes", "want"), CASES, ids=lambda v: str(v)[:50])
def test_what_lasts(
    org: Org, wishes: dict[str, Any], metadata: dict[str, Any], attributes: dict[str, Any], want: list[tuple[Any, ...]],
) -> None:  # fmt: skip
    printer = ready_printer(org, **attributes)
    item = make_item(org, file_id=queues.sliced(org, metadata), requirements=wishes)
    got = match(org, item["id"], printer)
    assert [(r["code"], r["severity"], r["slot"], r["expected"], r["actual"]) for r in got["reasons"]] == want
    severities = {w[1] for w in want}
    assert got["state"] == ("blocked" if "hard" in severities else "unknown" if severities else "eligible")
    assert got["ready"] == (got["state"] != "blocked")
    assert read(org, item["id"])["eligibility"]["state"] == got["state"]


SLOTS: list[tuple[list[Any], list[tuple[Any, ...]]]] = [
    ([{"material": "PLA"}, {"material": "petg"}], []),
    ([{"material": "PLA Basic"}, None], []),
    ([{"color": "#de4343"}], []),
    ([{"material": "TPU"}], [("material_mismatch", "hard", 0, "TPU", ["PLA", "PETG", "PLA"])]),
    ([None, {"material": "TPU"}], [("material_mismatch", "hard", 1, "TPU", ["PLA", "PETG", "PLA"])]),
    ([{"material": "PLA", "color": "#DE4343", "color_match": "exact"}], []),
    ([{"material": "PLA", "color": "#DE4350", "color_match": "exact"}],
     [("color_mismatch", "hard", 0, "#DE4350", ["#DE4343FF", "#FFFFFFFF"])]),
    ([{"material": "PLA", "color": "#DE4350", "color_match": "similar"}], []),
    ([{"material": "PLA", "color": "#0000FF", "color_match": "similar"}],
     [("color_mismatch", "hard", 0, "#0000FF", ["#DE4343FF", "#FFFFFFFF"])]),
    ([{"material": "PLA", "color": "#0000FF"}], []),
    ([{"material": "PLA", "minimum_mg": 5000}], [("filament_unknown", "soft", 0, 5000, None)]),
    ([], []),
]  # fmt: skip


@pytest.mark.parametrize(("slots", "want"), SLOTS, ids=lambda v: str(v)[:50])
def test_filaments(org: Org, slots: list[Any], want: list[tuple[Any, ...]]) -> None:
    printer = ready_printer(org)
    load(org, printer, LOADED)
    got = match(org, make_item(org, requirements={"slots": slots})["id"], printer)
    assert [(r["code"], r["severity"], r["slot"], r["expected"], r["actual"]) for r in got["reasons"]] == want


def test_filaments_of_the_file(org: Org) -> None:
    printer = ready_printer(org)
    load(org, printer, LOADED)
    filaments = [{"slot": 0, "material": "PLA", "color": "#FFFFFF"}, {"slot": 2, "material": "ABS", "color": None}]
    file = queues.sliced(org, {"filaments": filaments})
    got = match(org, make_item(org, file_id=file)["id"], printer)
    assert [(r["code"], r["slot"], r["expected"]) for r in got["reasons"]] == [("material_mismatch", 2, "ABS")]
    asked = make_item(org, file_id=file, requirements={"slots": [{"material": "PETG"}]})
    assert match(org, asked["id"], printer)["state"] == "eligible", "what is asked for wins over what the file says"


def test_an_empty_changer(org: Org) -> None:
    printer = ready_printer(org)
    load(org, printer, {"units": [], "active": None, "external": []})
    got = match(org, make_item(org, requirements={"slots": [{"material": "PLA"}]})["id"], printer)
    assert [(r["code"], r["severity"]) for r in got["reasons"]] == [("slot_missing", "hard")]


def test_which_printers_are_meant(org: Org) -> None:
    a, b = ready_printer(org, name="a", model="X1C"), ready_printer(org, name="b")
    group = org.make_group(printer_ids=[b])["id"]
    for wishes, want in (
        ({}, [[], []]),
        ({"printer_ids": [a]}, [[], ["printer_not_targeted"]]),
        ({"group_ids": [group]}, [["group_mismatch"], []]),
        ({"models": ["x1c"]}, [[], ["model_mismatch"]]),
        ({"printer_ids": [a], "group_ids": [group]}, [[], []]),
        ({"models": ["P1S"], "printer_ids": [b]}, [["model_mismatch"], []]),
    ):  # fmt: skip
        rows = matches(org, make_item(org, requirements=wishes)["id"])
        assert [m["printer_id"] for m in rows] == [a, b]
        assert [codes(m["reasons"]) for m in rows] == want, wishes


def test_kinds_of_files(org: Org) -> None:
    plate = files.make_file(org, "a.gcode.3mf", kind="gcode_3mf")
    binary = files.make_file(org, "a.bgcode", kind="bgcode")
    taken = {"bambu": {plate}, "moonraker": set(), "octoprint": set(), "prusalink": {binary}}
    for protocol, kinds in taken.items():
        printer = ready_printer(org, protocol=protocol)
        for file in (plate, binary):
            got = match(org, make_item(org, file_id=file)["id"], printer)
            assert codes(got["reasons"]) == ([] if file in kinds else ["file_format_mismatch"]), (protocol, file)


def test_alternatives_are_for_their_models(org: Org) -> None:
    small, large, other = (ready_printer(org, name=n, model=m) for n, m in (("a", "X1"), ("b", "X1C"), ("c", "P1S")))
    for_small, for_large = queues.sliced(org, {"printer_model": "X1"}), queues.sliced(org, {"printer_model": "X1C"})
    item = make_item(org, name="x", file_id=None, alternatives=[
        {"file_id": for_small, "models": ["X1"]}, {"file_id": for_large, "models": ["X1C"]}])  # fmt: skip
    assert [codes(m["reasons"]) for m in matches(org, item["id"])] == [[], [], ["model_mismatch"]]
    assert match(org, item["id"], other)["state"] == "blocked"
    assert job(org, assign(org, item["id"], large).json())["file_id"] == for_large
    again = act(org, item["id"], "duplicate", expect=201).json()
    assert job(org, assign(org, again["id"], small).json())["file_id"] == for_small


PASSING: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    ("printer_in_maintenance", {"maintenance": True}, {}),
    ("printer_draining", {"drain": True}, {}),
    ("printer_disabled", {"enabled": False}, {}),
    ("printer_busy", {}, {"state": "'printing'"}),
    ("printer_busy", {}, {"state": "'preparing'"}),
    ("printer_busy", {}, {"state": "'paused'"}),
    ("printer_error", {}, {"state": "'error'"}),
    ("printer_offline", {}, {"state": "'offline'"}),
]


@pytest.mark.parametrize(("code", "attributes", "columns"), PASSING)
def test_what_passes(org: Org, code: str, attributes: dict[str, Any], columns: dict[str, str]) -> None:
    made = org.make_printer(**{"enabled": True, **attributes})
    report(org, made["id"], **{"state": "'idle'", **columns})
    item = make_item(org)["id"]
    got = match(org, item, made["id"])
    assert [(r["code"], r["severity"]) for r in got["reasons"]] == [(code, "transient")]
    assert (got["state"], got["ready"]) == ("eligible", False)


def test_offline_says_why(org: Org) -> None:
    printer = org.make_printer(enabled=True)["id"]
    got = match(org, make_item(org)["id"], printer)
    assert [(r["code"], r["actual"]) for r in got["reasons"]] == [("printer_offline", "no_gateway")]


def test_what_speaks_against_the_item_itself(org: Org) -> None:
    printer = ready_printer(org)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    someday = DAYS[(datetime.now(UTC).weekday() + 3) % 7]
    for members, code, severity in (
        ({"held": True}, "item_held", "hard"), ({"draft": True}, "item_draft", "hard"), ({"file_id": None}, "no_file", "hard"),
        ({"file_id": queues.sliced(org, status="uploaded")}, "file_not_ready", "transient"),
        ({"start_after": tomorrow}, "scheduled_later", "transient"),
        ({"windows": [{"days": [someday], "from": "08:00", "to": "09:00"}]}, "outside_window", "transient"),
    ):  # fmt: skip
        item = make_item(org, **members)
        assert [(r["code"], r["severity"]) for r in item["eligibility"]["reasons"]] == [(code, severity)]
        got = match(org, item["id"], printer)
        assert (codes(got["reasons"]), got["ready"]) == ([code], False)
        org.api.delete(f"{Q}/{item['id']}", expect=204)


def test_windows_are_in_the_settings_time_zone(org: Org) -> None:
    """From an hour ago to an hour from now, in UTC; elsewhere it is another time."""
    began, ends = datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1)
    now = {"days": [DAYS[began.weekday()]], "from": began.strftime("%H:%M"), "to": ends.strftime("%H:%M")}
    item = make_item(org, windows=[now])["id"]
    assert read(org, item)["eligibility"]["reasons"] == []
    settings(org, timezone="Asia/Kathmandu")
    assert codes(read(org, item)["eligibility"]["reasons"]) == ["outside_window"]


def test_a_trashed_file_is_missing(org: Org) -> None:
    file = queues.sliced(org)
    item = make_item(org, file_id=file)["id"]
    org.api.delete(f"/v1/files/{file}", expect=204)
    assert codes(read(org, item)["eligibility"]["reasons"]) == ["file_missing"]
    org.api.post(f"/v1/files/{file}/restore", expect=200)
    assert read(org, item)["eligibility"]["reasons"] == []


def test_eligibility_follows_every_change(org: Org) -> None:
    printer = ready_printer(org)
    item = make_item(org, requirements={"nozzle_diameter_mm": 0.6, "tags": ["lab"]})["id"]

    def state() -> tuple[str, str]:
        return read(org, item)["eligibility"]["state"], match(org, item, printer)["input_version"]

    seen = [state()]
    for change in ({"tags": ["lab"]}, {"nozzles": [{"diameter_mm": 0.4}]}, {"nozzles": [{"diameter_mm": 0.6}]}):
        org.api.patch(f"{P}/{printer}", change, expect=200)
        seen.append(state())
    assert [s for s, _ in seen] == ["blocked", "unknown", "blocked", "eligible"]
    assert len({v for _, v in seen}) == 4
    org.api.patch(f"{Q}/{item}", {"requirements": {"slots": [{"material": "PETG"}]}}, expect=200)
    assert read(org, item)["eligibility"]["state"] == "unknown"
    load(org, printer, LOADED)
    assert read(org, item)["eligibility"]["state"] == "eligible"
    org.api.delete(f"{P}/{printer}", expect=204)
    counts = read(org, item)["eligibility"]
    assert (counts["state"], counts["eligible_count"], counts["blocked_count"], counts["unknown_count"]) == ("blocked", 0, 0, 0)
    assert matches(org, item) == []


def test_counts_and_top_reasons(org: Org) -> None:
    for n in range(3):
        ready_printer(org, model="P1S", nozzles=[{"diameter_mm": 0.4}] if n else [{"diameter_mm": 0.6}])
    item = make_item(org, requirements={"models": ["X1C"], "nozzle_diameter_mm": 0.4})["id"]
    got = read(org, item)["eligibility"]
    assert {k: got[k] for k in ("state", "eligible_count", "unknown_count", "blocked_count")} == {
        "state": "blocked", "eligible_count": 0, "unknown_count": 0, "blocked_count": 3}  # fmt: skip
    assert got["top_reasons"] == [{"code": "model_mismatch", "severity": "hard", "printers": 3},
                                  {"code": "nozzle_mismatch", "severity": "hard", "printers": 1}]  # fmt: skip
    ready_printer(org, model="X1C")
    got = read(org, item)["eligibility"]
    assert (got["state"], got["unknown_count"]) == ("unknown", 1)


def test_recompute_says_the_same(org: Org) -> None:
    ready_printer(org)
    item = make_item(org, requirements={"nozzle_diameter_mm": 0.4})
    after = act(org, item["id"], "recompute").json()
    assert after["eligibility"]["state"] == item["eligibility"]["state"] == "unknown"
    org.sql("DELETE FROM app.queue_matches WHERE org_id = %s", org.id)
    assert act(org, item["id"], "recompute").json()["eligibility"]["unknown_count"] == 1


def test_an_item_that_does_not_wait_has_no_eligibility(org: Org) -> None:
    item = queues.sent_item(org)
    assert (item["eligibility"], matches(org, item["id"])) == (None, [])


def test_the_list_of_printers(org: Org) -> None:
    named = {name: ready_printer(org, name=name, model=model)
             for name, model in (("c", "X1C"), ("a", "X1C"), ("b", "P1S"), ("d", None), ("a2", "X1C"))}  # fmt: skip
    item = make_item(org, requirements={"models": ["X1C"]})["id"]
    path = f"{Q}/{item}/eligibility"

    def names(query: str) -> list[str]:
        return [m["printer_name"] for m in org.api.get(f"{path}{query}", expect=200).json()["data"]]

    assert names("") == ["a", "a2", "b", "c", "d"]
    assert names("?sort=-printer_name") == ["d", "c", "b", "a2", "a"]
    assert names("?state=eligible") == ["a", "a2", "c"]
    assert names("?state=blocked") == ["b", "d"]
    assert names("?state=unknown") == []
    first = org.api.get(f"{path}?limit=2", expect=200).json()
    rest = org.api.get(path, params={"limit": 9, "cursor": first["next_cursor"]}, expect=200).json()
    assert [m["printer_name"] for m in first["data"] + rest["data"]] == ["a", "a2", "b", "c", "d"]
    page = org.api.get(f"{path}?offset=1&limit=2&state=eligible", expect=200).json()
    assert (page["total"], [m["printer_name"] for m in page["data"]]) == (3, ["a2", "c"])
    row = page["data"][0]
    assert (row["queue_item_id"], row["printer_id"]) == (item, named["a2"])
    org.api.get(f"{path}?state=maybe", expect="invalid_parameter")
    org.api.get(f"{Q}/{NOBODY}/eligibility", expect="resource_not_found")


def test_the_list_of_items(org: Org, other_org: Org) -> None:
    printer = ready_printer(org, model="X1C")
    a, b, c, d = (make_item(org, name=n, priority=p, requirements=w)["id"] for n, p, w in (
        ("a", 0, {}), ("b", 5, {"models": ["P1S"]}), ("c", 0, {"nozzle_diameter_mm": 0.4}), ("d", -5, {})))  # fmt: skip
    path = f"{P}/{printer}/eligible"
    assert ids(org.api.get(path, expect=200)) == [b, a, c, d]
    assert ids(org.api.get(f"{path}?sort=-position", expect=200)) == [d, c, a, b]
    assert ids(org.api.get(f"{path}?state=eligible", expect=200)) == [a, d]
    assert ids(org.api.get(f"{path}?state=unknown", expect=200)) == [c]
    first = org.api.get(f"{path}?limit=1", expect=200).json()
    rest = org.api.get(path, params={"limit": 9, "cursor": first["next_cursor"]}, expect=200)
    assert [first["data"][0]["queue_item_id"], *ids(rest)] == [b, a, c, d]
    assert org.api.get(f"{path}?offset=0&state=blocked", expect=200).json()["total"] == 1
    assert first["data"][0]["item_name"] == "b"
    other = ready_printer(org)
    org.api.get(f"{P}/{other}/eligible", params={"cursor": first["next_cursor"], "limit": 1}, expect="invalid_cursor")
    for nobody in (NOBODY, ready_printer(other_org)):
        org.api.get(f"{P}/{nobody}/eligible", expect="resource_not_found")


# --- by hand

def test_assign_sends(org: Org) -> None:
    printer, file = ready_printer(org), queues.sliced(org)
    item = make_item(org, file_id=file, options={"timelapse": True})
    answer = assign(org, item["id"], printer)
    got = answer.json()
    assert got["state"] == "dispatching"
    want = {"printer_id": printer, "generation": 1, "override": False, "auto_start": True, "print_id": None}
    assert {k: got["assignment"][k] for k in want} == want
    operation = org.api.get(f"/v1/operations/{got['assignment']['operation_id']}", expect=200).json()
    assert (operation["kind"], operation["status"]) == ("printer.send", "queued")
    assert operation["resource"] == {"type": "printer", "id": printer}
    assert job(org, got) == {"file_id": file, "plate": 1, "start": True, "queue_item_id": item["id"], "generation": 1,
                             "options": {"timelapse": True}}  # fmt: skip
    rows = org.sql("SELECT changes FROM app.audit_log WHERE target_id = %s AND action = 'printer.sent'", printer)
    assert rows[0][0]["queue_item_id"] == item["id"]


def test_slots_are_found_or_given(org: Org) -> None:
    file = files.make_file(org, "a.gcode.3mf", kind="gcode_3mf", metadata=json.dumps(
        {"plates": [{"index": 3}], "filaments": [{"slot": 0, "material": "PETG", "color": "#101010"}, {"slot": 1, "material": "PLA",
         "color": "#F0F0F0"}]}))  # fmt: skip
    own = [{"unit": 0, "slot": 0}, None]
    for given, want in ((None, [{"unit": 0, "slot": 1}, {"unit": 0, "slot": 2}]), (own, own)):
        printer = ready_printer(org)
        load(org, printer, LOADED)
        sent = assign(org, make_item(org, file_id=file, slot_mapping=given)["id"], printer).json()
        assert (job(org, sent)["slot_mapping"], job(org, sent)["plate"]) == (want, 3)


def test_assign_waits_for_the_printer(org: Org) -> None:
    printer = ready_printer(org, state="printing")
    got = assign(org, make_item(org)["id"], printer).json()
    assert (got["state"], got["assignment"]["auto_start"], got["assignment"]["operation_id"]) == ("assigned", True, None)
    report(org, printer, state="'finished'")
    until(lambda: read(org, got["id"])["state"] == "dispatching", what="a courier sends what is assigned")


def test_assign_without_start_keeps_the_printer(org: Org) -> None:
    printer = ready_printer(org)
    item, other = make_item(org)["id"], make_item(org)["id"]
    got = assign(org, item, printer, start=False).json()
    assert (got["state"], got["assignment"]["auto_start"], got["eligibility"]) == ("assigned", False, None)
    assert codes(match(org, other, printer)["reasons"]) == ["printer_reserved"]
    answer = assign(org, other, printer, "queue_item_not_assignable")
    assert codes(answer.json()["details"]["reasons"]) == ["printer_reserved"]
    assert assign(org, other, printer, "queue_item_not_assignable", override=True)
    assert next_item(org, printer).json()["id"] == item, "what is assigned comes first"
    assert read(org, item)["state"] == "dispatching"


def test_unassign(org: Org) -> None:
    printer = ready_printer(org)
    item = make_item(org)
    assign(org, item["id"], printer, start=False)
    after = act(org, item["id"], "unassign").json()
    assert (after["state"], after["assignment"], after["position"]) == ("queued", None, item["position"])
    again = assign(org, item["id"], printer, start=False).json()
    assert again["assignment"]["generation"] == 2
    act(org, item["id"], "unassign")
    act(org, queues.sent_item(org)["id"], "unassign", expect="queue_item_state_conflict")


def test_what_speaks_against_an_assignment(org: Org) -> None:
    printer = ready_printer(org, model="P1S", nozzles=[{"diameter_mm": 0.4}])
    item = make_item(org, requirements={"models": ["X1C"], "nozzle_diameter_mm": 0.6, "bed_type": "smooth"})
    answer = assign(org, item["id"], printer, "queue_item_not_assignable")
    assert answer.status_code == 409
    assert answer.json()["details"] == {"reasons": [
        {"code": "model_mismatch", "severity": "hard", "slot": None, "expected": ["X1C"], "actual": "P1S"},
        {"code": "nozzle_mismatch", "severity": "hard", "slot": None, "expected": 0.6, "actual": [0.4]}]}  # fmt: skip
    after = read(org, item["id"])
    assert (after["state"], after["version"]) == ("queued", item["version"])
    problem = org.api.post(f"{Q}/{item['id']}/assign", {"printer_id": printer}, headers={"Accept": "application/problem+json"})
    assert problem.headers["Content-Type"].startswith("application/problem+json")
    assert problem.json()["details"] == answer.json()["details"]
    assert problem.json()["detail"] == problem.json()["title"]
    got = assign(org, item["id"], printer, override=True).json()
    assert (got["state"], got["assignment"]["override"]) == ("dispatching", True)


def test_what_cannot_be_overridden(org: Org) -> None:
    printer = ready_printer(org)
    for members, code in (
        ({"file_id": files.make_file(org, "a.bgcode", kind="bgcode")}, "file_format_mismatch"), ({"held": True}, "item_held"),
        ({"draft": True}, "item_draft"),
    ):  # fmt: skip
        item = make_item(org, **members)["id"]
        for override in (False, True):
            answer = assign(org, item, printer, "queue_item_not_assignable", override=override)
            assert codes(answer.json()["details"]["reasons"]) == [code]
    ended = act(org, make_item(org)["id"], "cancel").json()["id"]
    answer = assign(org, ended, printer, "queue_item_not_assignable", override=True)
    assert [(r["code"], r["actual"]) for r in answer.json()["details"]["reasons"]] == [("item_not_queued", "cancelled")]


def test_an_item_without_a_file_can_be_assigned(org: Org) -> None:
    printer = ready_printer(org)
    got = assign(org, make_item(org, file_id=None, name="by hand")["id"], printer).json()
    assert (got["state"], got["assignment"]["auto_start"]) == ("assigned", False)
    next_item(org, printer, "no_eligible_queue_item")
    assert act(org, got["id"], "complete").json()["state"] == "completed"


def test_printers_that_are_not_there(org: Org, other_org: Org) -> None:
    item = make_item(org)["id"]
    gone = ready_printer(org)
    org.api.delete(f"{P}/{gone}", expect=204)
    for printer in (NOBODY, gone, ready_printer(other_org)):
        assign(org, item, printer, "resource_not_found")
        next_item(org, printer, "resource_not_found")
        org.api.post(f"{P}/{printer}/clear-plate", expect="resource_not_found")
    for body, pointer in (({}, "/printer_id"), ({"printer_id": "x"}, "/printer_id"), ({"printer_id": NOBODY, "start": 1}, "/start"),
                          ({"printer_id": NOBODY, "generation": 1}, "/generation")):  # fmt: skip
        assert list(fields(act(org, item, "assign", body, "validation_failed"))) == [pointer]


def test_a_repeated_assignment_is_one(org: Org) -> None:
    item, printer, idem = make_item(org)["id"], ready_printer(org), {"Idempotency-Key": secrets.token_hex(8)}
    first = org.api.post(f"{Q}/{item}/assign", {"printer_id": printer}, headers=idem, expect=200)
    again = org.api.post(f"{Q}/{item}/assign", {"printer_id": printer}, headers=idem, expect=200)
    assert first.content == again.content and again.headers["Idempotent-Replayed"] == "true"
    assert org.sql("SELECT count(*) FROM app.jobs WHERE org_id = %s AND kind = 'printer.send'", org.id) == [(1,)]
    assert org.sql("SELECT generation FROM app.queue_dispatches WHERE item_id = %s", item) == [(1,)]


def test_a_refused_assignment_leaves_its_key_free(org: Org) -> None:
    item, printer, idem = make_item(org, held=True)["id"], ready_printer(org), {"Idempotency-Key": secrets.token_hex(8)}
    body = {"printer_id": printer}
    refused = org.api.post(f"{Q}/{item}/assign", body, headers=idem, expect="queue_item_not_assignable")
    assert codes(refused.json()["details"]["reasons"]) == ["item_held"]
    act(org, item, "release")
    assert "Idempotent-Replayed" not in org.api.post(f"{Q}/{item}/assign", body, headers=idem, expect=200).headers


def test_keys_for_some_printers_use_only_those(org: Org) -> None:
    mine, hidden = ready_printer(org, name="mine"), ready_printer(org, name="hidden")
    api = org.with_capabilities("queue.manage", "operations.read", "printer.manage", printer_ids=[mine])
    item = make_item(org)["id"]
    api.post(f"{Q}/{item}/assign", {"printer_id": hidden}, expect="resource_not_found")
    api.post(f"/v1/platform/printers/{hidden}/dispatch-next", expect="resource_not_found")
    api.post(f"{P}/{hidden}/clear-plate", expect="resource_not_found")
    api.get(f"{P}/{hidden}/eligible", expect="resource_not_found")
    assert [m["printer_id"] for m in api.get(f"{Q}/{item}/eligibility", expect=200).json()["data"]] == [mine]
    assert [p["printer_id"] for p in api.get(f"{Q}/forecast", expect=200).json()["printers"]] == [mine]
    make_item(org)
    assert [d["printer_id"] for d in api.post(f"{Q}/dispatch", expect=200).json()["data"]] == [mine]
    assign(org, make_item(org)["id"], hidden)
    seen = [i["assignment"]["printer_name"] for i in api.get(f"{Q}?status=dispatching", expect=200).json()["data"]]
    assert sorted(seen, key=str) == [None, "mine"]


# --- the next one

def test_next_is_by_priority_then_position(org: Org) -> None:
    a, b, c = (make_item(org, priority=p)["id"] for p in (0, 5, 0))
    got = [next_item(org, ready_printer(org)).json() for _ in range(3)]
    assert [g["id"] for g in got] == [b, a, c]
    assert all(g["state"] == "dispatching" and g["assignment"]["operation_id"] for g in got)


def test_next_passes_over_what_does_not_fit(org: Org) -> None:
    printer = ready_printer(org, model="X1C")
    make_item(org, requirements={"models": ["P1S"]}, priority=50)
    make_item(org, held=True, priority=40)
    make_item(org, file_id=None, priority=30)
    make_item(org, start_after="2099-01-01T00:00:00Z", priority=20)
    good = make_item(org, requirements={"models": ["X1C"]})["id"]
    assert next_item(org, printer).json()["id"] == good
    answer = next_item(org, printer, "no_eligible_queue_item")
    details = answer.json()["details"]
    assert (answer.status_code, details["waiting"]) == (409, 4)
    counted = {(r["code"], r["severity"]): r["items"] for r in details["reasons"]}
    assert counted == {("printer_reserved", "transient"): 4, ("model_mismatch", "hard"): 1, ("item_held", "hard"): 1,
                       ("no_file", "hard"): 1, ("scheduled_later", "transient"): 1}  # fmt: skip
    assert [r["items"] for r in details["reasons"]] == sorted((r["items"] for r in details["reasons"]), reverse=True)


def test_next_of_an_empty_queue(org: Org) -> None:
    answer = next_item(org, ready_printer(org), "no_eligible_queue_item")
    assert answer.json()["details"] == {"waiting": 0, "reasons": []}
    assert org.api.post(f"/v1/platform/printers/{ready_printer(org)}/dispatch-next", headers={"Accept": "application/problem+json"},
                        ).json()["details"] == {"waiting": 0, "reasons": []}  # fmt: skip


@pytest.mark.parametrize(("code", "attributes", "columns"), PASSING)
def test_next_needs_a_ready_printer(org: Org, code: str, attributes: dict[str, Any], columns: dict[str, str]) -> None:
    made = org.make_printer(**{"enabled": True, **attributes})
    report(org, made["id"], **{"state": "'idle'", **columns})
    make_item(org)
    details = next_item(org, made["id"], "no_eligible_queue_item").json()["details"]
    assert [(r["code"], r["items"]) for r in details["reasons"]] == [(code, 1)]


def test_a_repeated_next_is_one(org: Org) -> None:
    printer, idem = ready_printer(org), {"Idempotency-Key": secrets.token_hex(8)}
    for _ in range(2):
        make_item(org)
    path = f"/v1/platform/printers/{printer}/dispatch-next"
    first = org.api.post(path, headers=idem, expect=200)
    again = org.api.post(path, headers=idem, expect=200)
    assert first.content == again.content and again.headers["Idempotent-Replayed"] == "true"
    assert org.sql("SELECT count(*) FROM app.queue_dispatches WHERE org_id = %s", org.id) == [(1,)]


def test_what_cannot_be_told_counts_unless_said_otherwise(org: Org) -> None:
    item = make_item(org, requirements={"nozzle_diameter_mm": 0.4})["id"]
    settings(org, dispatch_unknown=False)
    details = next_item(org, ready_printer(org), "no_eligible_queue_item").json()["details"]
    assert [(r["code"], r["severity"], r["items"]) for r in details["reasons"]] == [("nozzle_unknown", "soft", 1)]
    settings(org, dispatch_unknown=True)
    assert next_item(org, ready_printer(org)).json()["id"] == item


def test_previous_success(org: Org) -> None:
    printer = ready_printer(org)
    queues.print_ended(org, queues.printing_item(org, printer), "failed")
    org.api.post(f"{P}/{printer}/clear-plate", expect=200)
    item = make_item(org, require_previous_success=True)["id"]
    assert [(r["code"], r["actual"]) for r in match(org, item, printer)["reasons"]] == [("previous_failed", "failed")]
    details = next_item(org, printer, "no_eligible_queue_item").json()["details"]
    assert codes(details["reasons"]) == ["previous_failed"]
    fresh = ready_printer(org)
    assert next_item(org, fresh).json()["id"] == item


# --- the whole fleet

def dispatch(org: Org, body: Any = None) -> list[dict[str, Any]]:
    return list(org.api.post(f"{Q}/dispatch", body, expect=200).json()["data"])


def test_dispatch(org: Org) -> None:
    small, large = ready_printer(org, model="X1"), ready_printer(org, model="X1C")
    busy = ready_printer(org, state="printing")
    a = make_item(org, requirements={"models": ["X1C"]})["id"]
    b = make_item(org, requirements={"models": ["X1C"]})["id"]
    c = make_item(org, requirements={"models": ["X1"]})["id"]
    rows = dispatch(org)
    assert {r["queue_item_id"]: r["printer_id"] for r in rows} == {a: large, c: small}
    assert {r["generation"] for r in rows} == {1}
    for row in rows:
        item = read(org, row["queue_item_id"])
        assert (item["state"], item["assignment"]["operation_id"]) == ("dispatching", row["operation_id"])
    assert read(org, b)["state"] == "queued"
    assert dispatch(org) == []
    report(org, busy, state="'idle'")
    assert dispatch(org) == []


def test_dispatch_up_to_a_limit(org: Org) -> None:
    for _ in range(4):
        ready_printer(org)
        make_item(org)
    assert len(dispatch(org, {"limit": 1})) == 1
    assert len(dispatch(org, {"limit": 100})) == 3
    for bad in (0, 101, "all"):
        assert list(fields(org.api.post(f"{Q}/dispatch", {"limit": bad}, expect="validation_failed"))) == ["/limit"]


def test_dispatch_prefers_what_is_sure(org: Org) -> None:
    ready_printer(org, name="a")
    sure = ready_printer(org, name="b", nozzles=[{"diameter_mm": 0.4}])
    make_item(org, requirements={"nozzle_diameter_mm": 0.4})
    assert [r["printer_id"] for r in dispatch(org)] == [sure]


def test_printers_may_be_left_to_hands(org: Org) -> None:
    """By itself the queue leaves a printer alone that says so; who asks gets it."""
    left = ready_printer(org, auto_dispatch=False)
    item = make_item(org)["id"]
    settings(org, auto_dispatch=True)
    used = ready_printer(org)
    until(lambda: read(org, item)["state"] == "dispatching", what="the queue dispatches by itself")
    assert read(org, item)["assignment"]["printer_id"] == used
    other = make_item(org)["id"]
    assert [r["printer_id"] for r in dispatch(org)] == [left]
    assert read(org, other)["assignment"]["printer_id"] == left


def test_the_queue_does_nothing_by_itself_unless_told(org: Org) -> None:
    assert org.api.get(f"{Q}/settings", expect=200).json()["auto_dispatch"] is False
    ready_printer(org)
    item = make_item(org)["id"]
    told = "SELECT count(*) FROM app.queue_needs WHERE org_id = %s AND told_at IS NOT NULL"
    until(lambda: org.sql(told, org.id)[0][0], what="a courier was here")
    assert read(org, item)["state"] == "queued"


@pytest.mark.parametrize(("order", "want"), [("priority", "cabd"), ("first_in", "abcd"), ("shortest_first", "dbca"), ("due_date", "bdca")])
def test_orders_of_items(org: Org, order: str, want: str) -> None:
    made = {}
    for name, priority, seconds, due in (("a", 0, 400, None), ("b", 0, 200, "2027-01-01T00:00:00Z"),
                                         ("c", 9, 300, None), ("d", 0, 100, "2027-02-01T00:00:00Z")):  # fmt: skip
        file = queues.sliced(org, {"estimated_time_s": seconds})
        made[make_item(org, file_id=file, priority=priority, due_at=due)["id"]] = name
    settings(org, item_order=order)
    got = [made[next_item(org, ready_printer(org)).json()["id"]] for _ in range(4)]
    assert "".join(got) == want


def test_shortest_first_lets_nobody_starve(org: Org) -> None:
    long = make_item(org, file_id=queues.sliced(org, {"estimated_time_s": 90000}))["id"]
    make_item(org, file_id=queues.sliced(org, {"estimated_time_s": 60}))
    settings(org, item_order="shortest_first", starvation_after_seconds=60)
    org.sql("UPDATE app.queue_items SET queued_at = app.now() - interval '61 s' WHERE id = %s", long)
    assert next_item(org, ready_printer(org)).json()["id"] == long


@pytest.mark.parametrize(("choice", "want"), [("least_busy", "c"), ("least_worn", "b"), ("fewest_changes", "a")])
def test_choices_of_printers(org: Org, choice: str, want: str) -> None:
    made = {n: ready_printer(org, name=n) for n in "abc"}
    for name, sent, printed in (("a", "1 min", 300), ("b", "2 min", 100), ("c", "3 min", 200)):
        org.sql("UPDATE app.queue_printers SET last_sent_at = app.now() - %s::interval, printed_s = %s WHERE printer_id = %s",
                sent, printed, made[name])  # fmt: skip
        load(org, made[name], LOADED)
    for name in "bc":
        grey = json.loads(json.dumps(LOADED).replace("#FFFFFFFF", "#808080FF"))
        load(org, made[name], grey)
    settings(org, printer_choice=choice)
    make_item(org, requirements={"slots": [{"material": "PLA", "color": "#FFFFFF"}]})
    assert [r["printer_id"] for r in dispatch(org)] == [made[want]]


def test_starts_are_apart(org: Org) -> None:
    a, b = ready_printer(org), ready_printer(org)
    for _ in range(3):
        make_item(org)
    settings(org, stagger_seconds=3600)
    assert len(dispatch(org)) == 1
    free = b if read_assigned(org) == {a} else a
    details = next_item(org, free, "no_eligible_queue_item").json()["details"]
    assert codes(details["reasons"]) == ["staggered_start"]
    assert dispatch(org) == []
    settings(org, stagger_seconds=0)
    assert len(dispatch(org)) == 1


def read_assigned(org: Org) -> set[str]:
    rows = org.api.get(f"{Q}?status=dispatching", expect=200).json()["data"]
    return {r["assignment"]["printer_id"] for r in rows}


# --- the plate

def plate(org: Org, printer: str) -> dict[str, Any]:
    return dict(org.api.get(f"{P}/{printer}", expect=200).json()["plate"])


def test_the_plate_is_cleared_by_somebody(org: Org) -> None:
    printer = ready_printer(org)
    assert plate(org, printer)["cleared"] is True
    queues.print_ended(org, queues.printing_item(org, printer), "completed")
    occupied = plate(org, printer)
    assert occupied["cleared"] is False
    item = make_item(org)["id"]
    assert [(r["code"], r["actual"]) for r in match(org, item, printer)["reasons"]] == [("plate_not_cleared", occupied["since"])]
    assert codes(next_item(org, printer, "no_eligible_queue_item").json()["details"]["reasons"]) == ["plate_not_cleared"]
    answer = org.api.post(f"{P}/{printer}/clear-plate", expect=200).json()
    assert (answer["printer_id"], answer["plate_cleared"]) == (printer, True)
    assert plate(org, printer) == {"cleared": True, "since": answer["cleared_at"]}
    assert org.api.post(f"{P}/{printer}/clear-plate", expect=200).json() == answer, "once more does no harm"
    assert next_item(org, printer).json()["id"] == item
    events = org.sql(f"SELECT type FROM {EVENTS} WHERE resource_id = %s AND type = 'printer.plate_cleared'", printer)
    assert events == [("printer.plate_cleared",)]


def test_prints_from_elsewhere_occupy_the_plate_too(org: Org) -> None:
    printer = ready_printer(org)
    org.sql("INSERT INTO app.prints (org_id, printer_id, state, source, name, started_at, ended_at)"
            " VALUES (app.org(), %s, 'cancelled', 'printer', 'x', app.now(), app.now())", printer)  # fmt: skip
    assert plate(org, printer)["cleared"] is False


def test_the_plate_need_not_count(org: Org) -> None:
    printer = ready_printer(org)
    queues.print_ended(org, queues.printing_item(org, printer), "completed")
    settings(org, plate_clear_required=False)
    item = make_item(org)["id"]
    assert match(org, item, printer)["ready"] is True
    assert next_item(org, printer).json()["id"] == item


def test_clearing_is_the_printers_business(org: Org) -> None:
    printer = ready_printer(org)
    org.with_capabilities("queue.manage").post(f"{P}/{printer}/clear-plate", expect="insufficient_permissions")
    org.with_capabilities("printer.manage").post(f"{P}/{printer}/clear-plate", expect=200)
    assert fields(org.api.patch(f"{P}/{printer}", {"plate": {"cleared": True}}, expect="validation_failed")) == {"/plate": "unknown_field"}


def test_auto_dispatch_of_a_printer(org: Org) -> None:
    made = org.make_printer()
    assert made["auto_dispatch"] is True
    after = org.api.patch(f"{P}/{made['id']}", {"auto_dispatch": False}, expect=200).json()
    assert (after["auto_dispatch"], after["version"]) == (False, made["version"] + 1)
    assert org.api.patch(f"{P}/{made['id']}", {"notes": "x"}, expect=200).json()["auto_dispatch"] is False
    assert org.make_printer(auto_dispatch=False)["auto_dispatch"] is False
    for bad in (None, "no", 1):
        assert list(fields(org.api.patch(f"{P}/{made['id']}", {"auto_dispatch": bad}, expect="validation_failed"))) == ["/auto_dispatch"]


# --- what becomes of a send

def test_a_failed_send_comes_back(org: Org) -> None:
    settings(org, max_attempts=2)
    item = queues.sent_item(org)
    after = queues.send_ended(org, item, "failed", "upload_failed")
    assert (after["state"], after["attempts"], after["assignment"]) == ("queued", 1, None)
    assert (after["last_error"]["code"], codes(after["eligibility"]["reasons"])) == ("upload_failed", ["scheduled_later"])
    again = assign(org, item["id"], item["assignment"]["printer_id"]).json()
    assert again["assignment"]["generation"] == 2
    ended = queues.send_ended(org, again, "failed", "upload_failed")
    assert (ended["state"], ended["attempts"], ended["last_error"]["code"]) == ("failed", 2, "upload_failed")
    assert act(org, item["id"], "retry").json()["attempts"] == 0


def test_nothing_is_sent_twice_when_nobody_knows(org: Org) -> None:
    settings(org, auto_dispatch=True)
    item = queues.lost_item(org)
    printer = item["assignment"]["printer_id"]
    other = make_item(org)["id"]
    details = next_item(org, printer, "no_eligible_queue_item").json()["details"]
    assert codes(details["reasons"]) == ["printer_reserved"]
    assert dispatch(org) == []
    assert (read(org, item["id"])["state"], read(org, other)["state"]) == ("start_unknown", "queued")
    assert org.sql("SELECT count(*) FROM app.queue_dispatches WHERE item_id = %s", item["id"]) == [(1,)]
    act(org, item["id"], "resolve", {"outcome": "failed"})
    until(lambda: read(org, other)["state"] == "dispatching", what="the printer is free again")


# --- what is likely to happen

def forecast(org: Org, query: str = "") -> dict[str, Any]:
    return dict(org.api.get(f"{Q}/forecast{query}", expect=200).json())


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_forecast(org: Org) -> None:
    printer = ready_printer(org, model="X1C")
    hour = queues.sliced(org, {"estimated_time_s": 3600})
    a, b = (make_item(org, file_id=hour)["id"] for _ in range(2))
    stuck = make_item(org, file_id=hour, requirements={"models": ["P1S"]})["id"]
    held = make_item(org, held=True)["id"]
    got = forecast(org)
    assert [i["queue_item_id"] for i in got["items"]] == [a, b, stuck, held]
    first, second, third, fourth = got["items"]
    assert (first["printer_id"], second["printer_id"], third["printer_id"], fourth["printer_id"]) == (printer, printer, None, None)
    assert at(first["ends_at"]) - at(first["starts_at"]) == timedelta(hours=1)
    assert at(second["starts_at"]) == at(first["ends_at"])
    assert (codes(third["reasons"]), third["starts_at"]) == (["model_mismatch"], None)
    assert codes(fourth["reasons"]) == ["item_held"]
    assert [p["printer_id"] for p in got["printers"]] == [printer]
    assert [(x["code"], x["expected"], x["items"], x["printers"], x["estimated_time_s"]) for x in got["blockers"]] == [
        ("model_mismatch", ["P1S"], 1, 1, 3600)]  # fmt: skip
    assert len(forecast(org, "?limit=1")["items"]) == 1


def test_forecast_reckons_with_what_prints(org: Org) -> None:
    busy, off = ready_printer(org, state="printing"), org.make_printer(enabled=True)["id"]
    report(org, busy, state="'printing'", job="'{\"remaining_s\": 1800}'::jsonb")
    item = make_item(org)["id"]
    got = forecast(org)
    free = {p["printer_id"]: p["free_at"] for p in got["printers"]}
    assert free[off] is None
    assert at(free[busy]) - at(got["computed_at"]) == timedelta(seconds=1800)
    assert (got["items"][0]["queue_item_id"], got["items"][0]["printer_id"], got["items"][0]["starts_at"]) == (item, busy, free[busy])
    assert got["items"][0]["ends_at"] is None, "nothing says how long it takes"
    assert ("printer_offline", 1) in [(x["code"], x["items"]) for x in got["blockers"]]


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "sort=at"])
def test_forecast_of_nothing(org: Org, query: str) -> None:
    got = forecast(org)
    assert (got["items"], got["printers"], got["blockers"]) == ([], [], [])
    assert org.api.get(f"{Q}/forecast?{query}").status_code == 400


# --- the rules

DEFAULTS = {
    "auto_dispatch": False, "item_order": "priority", "printer_choice": "least_busy", "stagger_seconds": 0,
    "plate_clear_required": True, "dispatch_unknown": True, "timezone": "UTC", "max_attempts": 3,
    "starvation_after_seconds": 14400, "order_version": 1, "version": 1,
}  # fmt: skip


def test_settings(org: Org, other_org: Org) -> None:
    got = org.api.get(f"{Q}/settings", expect=200).json()
    assert {k: v for k, v in got.items() if k != "updated_at"} == DEFAULTS
    change = {"auto_dispatch": True, "item_order": "due_date", "printer_choice": "fewest_changes", "stagger_seconds": 30,
              "plate_clear_required": False, "dispatch_unknown": False, "timezone": "America/Argentina/Buenos_Aires",
              "max_attempts": 20, "starvation_after_seconds": 60}  # fmt: skip
    after = settings(org, **change)
    assert {k: after[k] for k in change} == change
    assert after == org.api.get(f"{Q}/settings", expect=200).json()
    assert settings(org, max_attempts=1)["stagger_seconds"] == 30
    assert other_org.api.get(f"{Q}/settings", expect=200).json()["auto_dispatch"] is False
    rows = org.sql("SELECT action, changes FROM app.audit_log WHERE org_id = %s AND target_type = 'queue_settings' ORDER BY id", org.id)
    assert rows[-1] == ("queue_settings.updated", {"max_attempts": {"from": 20, "to": 1}})


def test_settings_are_conditional(org: Org) -> None:
    path = f"{Q}/settings"
    tag = org.api.get(path, expect=200).headers["ETag"].removeprefix("W/")
    org.api.get(path, headers={"If-None-Match": tag}, expect=304)
    org.api.patch(path, {"max_attempts": 5}, headers={"If-Match": tag}, expect=200)
    org.api.patch(path, {"max_attempts": 6}, headers={"If-Match": tag}, expect="precondition_failed")
    assert org.api.get(path, headers={"If-None-Match": tag}, expect=200).json()["max_attempts"] == 5


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"timezone": "Mars/Olympus"}, "unknown_timezone"), ({"timezone": ""}, "too_short"), ({"timezone": "x" * 65}, "too_long"),
        ({"timezone": "'; DROP"}, "pattern_mismatch"), ({"item_order": "random"}, "not_in_list"), ({"printer_choice": 1}, "invalid_type"),
        ({"stagger_seconds": -1}, "too_small"), ({"stagger_seconds": 3601}, "too_large"), ({"max_attempts": 0}, "too_small"),
        ({"max_attempts": 21}, "too_large"), ({"starvation_after_seconds": 59}, "too_small"), ({"auto_dispatch": None}, "null_not_allowed"),
        ({"order_version": 2}, "unknown_field"), ({"version": 2}, "unknown_field"),
    ],
)  # fmt: skip
def test_settings_that_are_refused(org: Org, change: dict[str, Any], code: str) -> None:
    answer = org.api.patch(f"{Q}/settings", {"max_attempts": 9, **change}, expect="validation_failed")
    assert fields(answer) == {f"/{next(iter(change))}": code}
    assert org.api.get(f"{Q}/settings", expect=200).json()["max_attempts"] == 3
