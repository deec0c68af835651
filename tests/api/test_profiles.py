"""Slicer presets: filament profiles and printer profiles."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path
from typing import Any

import pytest
from api import fields
from world import Org

F, P = "/v1/filament-profiles", "/v1/printer-profiles"
SHIPPED = Path("/usr/share/PrusaSlicer/profiles")
ORCA = {
    "type": "filament", "name": "My PLA", "inherits": "Generic PLA", "from": "User", "filament_type": ["PLA"],
    "filament_vendor": ["Acme"], "filament_density": ["1.24"], "filament_diameter": ["1.75"], "filament_cost": ["36.29"],
    "nozzle_temperature": ["215"], "nozzle_temperature_initial_layer": ["220"], "hot_plate_temp": ["60"],
    "default_filament_colour": ["#ff8000"], "filament_start_gcode": ["; start\nG4 ; \"wait\""], "unheard_of": ["a", "b"],
    "version": "1.9.0.2",
}  # fmt: skip
ORCA_PRINTER = {
    "type": "machine", "name": "One", "printer_model": "Acme One", "printable_area": ["0x0", "250x0", "250x210", "0x210"],
    "printable_height": "200", "nozzle_diameter": ["0.4"], "gcode_flavor": "klipper", "machine_start_gcode": "G28",
}  # fmt: skip


def take_in(org: Org, path: str, content: str, filename: str = "preset.ini", query: str = "") -> Any:
    return org.api.post(f"{path}/import{query}", {"filename": filename, "content": content}, expect=200).json()


def only(org: Org, path: str) -> Any:
    data = org.api.get(path, expect=200).json()["data"]
    assert len(data) == 1
    return data[0]


@pytest.mark.parametrize("path", [F, P])
def test_crud(org: Org, path: str) -> None:
    assert org.api.get(path, expect=200).json() == {"data": [], "has_more": False, "next_cursor": None}
    answer = org.api.post(path, {"name": "Mine", "vendor": "Acme", "settings": {"a": "1", "b": ["x", "y"]}}, expect=201)
    made = answer.json()
    one = f"{path}/{made['id']}"
    assert answer.headers["Location"] == one
    assert (made["name"], made["vendor"], made["source"]) == ("Mine", "Acme", None)
    assert made["settings"] == {"a": "1", "b": ["x", "y"]}
    read = org.api.get(one, expect=200)
    assert read.json() == made
    org.api.get(one, headers={"If-None-Match": read.headers["ETag"]}, expect=304)
    after = org.api.patch(one, {"vendor": None, "notes": "n"}, headers={"If-Match": read.headers["ETag"]}, expect=200).json()
    assert (after["vendor"], after["notes"], after["version"]) == (None, "n", 2)
    org.api.patch(one, {"notes": "x"}, headers={"If-Match": read.headers["ETag"]}, expect="precondition_failed")
    other = F if path == P else P
    org.api.get(f"{other}/{made['id']}", expect="resource_not_found")
    org.api.delete(f"{other}/{made['id']}", expect="resource_not_found")
    org.api.delete(one, expect=204)
    org.api.get(one, expect="resource_not_found")
    org.api.get(f"{one}/export", expect="resource_not_found")


def test_members(org: Org) -> None:
    body = {"name": "x", "material": "PLA", "color": "#FF8000FF", "density_g_cm3": 1.24, "diameter_mm": 1.75,
            "cost_per_kg": 2550, "currency": "EUR", "nozzle_temperature_c": 215, "first_layer_nozzle_temperature_c": 220,
            "bed_temperature_c": 60, "first_layer_bed_temperature_c": 65, "max_volumetric_speed_mm3_s": 12.5}  # fmt: skip
    made = org.api.post(F, body, expect=201).json()
    assert {k: made[k] for k in body} == body
    after = org.api.patch(f"{F}/{made['id']}", {"material": "PETG", "currency": None}, expect=200).json()
    assert (after["material"], after["currency"], after["density_g_cm3"]) == ("PETG", None, 1.24)
    printer = {"name": "x", "model": "ONE", "bed_volume": {"x_mm": 250, "y_mm": 210, "z_mm": 200.5},
               "nozzles": [{"diameter_mm": 0.4}, {"diameter_mm": 0.6}], "gcode_flavor": "klipper"}  # fmt: skip
    made = org.api.post(P, printer, expect=201).json()
    assert {k: made[k] for k in printer} == printer


def test_names_are_unique_by_kind(org: Org, other_org: Org) -> None:
    for o in (org, other_org):
        for path in (F, P):
            o.api.post(path, {"name": "Mine"}, expect=201)
    second = org.api.post(F, {"name": "Other"}, expect=201).json()
    assert org.api.post(F, {"name": "mINE"}, expect="profile_already_exists").status_code == 409
    org.api.patch(f"{F}/{second['id']}", {"name": "MINE"}, expect="profile_already_exists")


@pytest.mark.parametrize(
    ("settings", "pointer"),
    [(5, "/settings"), ([], "/settings"), (None, "/settings"), ({"a": 5}, "/settings/a"), ({"a": {}}, "/settings/a"),
     ({"a": [1]}, "/settings/a"), ({"a": None}, "/settings/a")],
)  # fmt: skip
def test_settings_are_texts(org: Org, settings: Any, pointer: str) -> None:
    assert pointer in fields(org.api.post(F, {"name": "x", "settings": settings}, expect="validation_failed"))


def test_lists(org: Org) -> None:
    for name, vendor, material in (("b", "Acme", "PLA"), ("a", "Acme", "PETG"), ("c", "Bolt", "PLA")):
        org.api.post(F, {"name": name, "vendor": vendor, "material": material}, expect=201)
    org.api.post(P, {"name": "p", "model": "ONE"}, expect=201)

    def names(query: str, path: str = F) -> str:
        return "".join(p["name"] for p in org.api.get(f"{path}?{query}", expect=200).json()["data"])

    assert (names(""), names("sort=-name"), names("sort=created_at"), names("sort=-updated_at")) == ("abc", "cba", "bac", "cab")
    assert (names("vendor=Acme"), names("material=PLA"), names("search=BOL"), names("vendor=Acme&material=PLA")) == ("ab", "bc", "c", "b")
    assert (names("model=ONE", P), names("model=TWO", P)) == ("p", "")
    for sort in ("name", "-name", "created_at", "-created_at", "updated_at", "-updated_at"):
        first = org.api.get(f"{F}?limit=2&sort={sort}").json()
        rest = names(f"limit=2&sort={sort}&cursor={first['next_cursor']}")
        assert "".join(p["name"] for p in first["data"]) + rest == names(f"sort={sort}")
    assert org.api.get(f"{F}?offset=1&material=PLA").json()["total"] == 2


# --- import and export

def test_orca_round_trip(org: Org) -> None:
    got = take_in(org, F, json.dumps(ORCA), "x.json")
    assert (got["created"], got["updated"], got["existing"], got["left_out"]) == (1, 0, 0, 0)
    profile = only(org, F)
    assert got["data"] == [{"name": "My PLA", "status": "created", "id": profile["id"]}]
    assert (profile["vendor"], profile["material"], profile["color"], profile["cost_per_kg"]) == ("Acme", "PLA", "#FF8000FF", 3629)
    assert (profile["nozzle_temperature_c"], profile["first_layer_nozzle_temperature_c"], profile["bed_temperature_c"]) == (215, 220, 60)
    assert profile["source"] == {"slicer": "OrcaSlicer", "format": "json", "inherits": "Generic PLA"}
    assert profile["settings"] == ORCA
    answer = org.api.get(f"{F}/{profile['id']}/export", expect=200)
    assert answer.json() == ORCA
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="My PLA.json"')
    ini = org.api.get(f"{F}/{profile['id']}/export?format=prusaslicer", expect=200)
    assert ini.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert section(ini.text) == ("filament:My PLA", {
        "filament_type": "PLA", "filament_vendor": "Acme", "filament_density": "1.24", "filament_diameter": "1.75",
        "filament_cost": "36.29", "temperature": "215", "first_layer_temperature": "220", "bed_temperature": "60",
        "filament_colour": "#FF8000"})  # fmt: skip


def section(text: str) -> tuple[str, dict[str, str]]:
    """The only section of an INI file, as Python's parser sees it."""
    ini = configparser.RawConfigParser(strict=True, delimiters="=", comment_prefixes="#", empty_lines_in_values=False)
    ini.optionxform = str  # type: ignore[assignment,method-assign]
    ini.read_string(text)
    assert len(ini.sections()) == 1
    return ini.sections()[0], dict(ini.items(ini.sections()[0]))


def test_printer_round_trip(org: Org) -> None:
    take_in(org, P, json.dumps(ORCA_PRINTER))
    profile = only(org, P)
    assert profile["bed_volume"] == {"x_mm": 250, "y_mm": 210, "z_mm": 200}
    assert (profile["model"], profile["nozzles"], profile["gcode_flavor"]) == ("Acme One", [{"diameter_mm": 0.4}], "klipper")
    assert org.api.get(f"{P}/{profile['id']}/export?format=orcaslicer", expect=200).json() == ORCA_PRINTER
    org.api.patch(f"{P}/{profile['id']}", {"bed_volume": {"x_mm": 300, "y_mm": 300, "z_mm": 400}}, expect=200)
    got = org.api.get(f"{P}/{profile['id']}/export", expect=200).json()
    assert got == {**ORCA_PRINTER, "printable_area": ["0x0", "300x0", "300x300", "0x300"], "printable_height": "400"}


def test_changes_are_in_the_export(org: Org) -> None:
    take_in(org, F, json.dumps(ORCA))
    one = f"{F}/{only(org, F)['id']}"
    org.api.patch(one, {"name": "Renamed", "nozzle_temperature_c": 230, "cost_per_kg": None, "vendor": "Bolt"}, expect=200)
    want = {**ORCA, "name": "Renamed", "nozzle_temperature": ["230"], "filament_vendor": ["Bolt"]}
    del want["filament_cost"]
    assert org.api.get(f"{one}/export", expect=200).json() == want


def test_a_profile_of_ones_own_is_exported(org: Org) -> None:
    made = org.api.post(F, {"name": "Own [1]", "material": "ABS", "settings": {"x": "1\n2", "y": ["a"]}}, expect=201).json()
    got = org.api.get(f"{F}/{made['id']}/export", expect=200).json()
    assert got == {"type": "filament", "from": "User", "name": "Own [1]", "filament_type": ["ABS"], "x": "1\n2", "y": ["a"]}
    text = org.api.get(f"{F}/{made['id']}/export?format=prusaslicer", expect=200).text
    assert sorted(text.splitlines()) == ["filament_settings_id = Own [1]", "filament_type = ABS", "x = 1\\n2"]


def test_same_name_again(org: Org, other_org: Org) -> None:
    take_in(org, F, json.dumps(ORCA))
    take_in(other_org, F, json.dumps(ORCA))
    first = only(org, F)
    hotter = json.dumps({**ORCA, "name": "MY pla", "nozzle_temperature": ["240"]})
    got = take_in(org, F, hotter)
    assert (got["existing"], got["data"][0]["status"], got["data"][0]["id"]) == (1, "existing", first["id"])
    assert only(org, F) == first
    got = take_in(org, F, hotter, query="?replace=true")
    assert (got["updated"], got["data"][0]["status"], got["data"][0]["id"]) == (1, "updated", first["id"])
    assert (only(org, F)["nozzle_temperature_c"], only(org, F)["name"]) == (240, "MY pla")
    assert only(other_org, F)["nozzle_temperature_c"] == 215


@pytest.mark.parametrize(
    ("content", "why"),
    [("{", "This is not JSON"), ('[{"a": 1}, 2]', "A preset is a JSON object"), ("just text", "This is not a preset"),
     ("[filament: ]\nfilament_type = PLA", "Preset 1 has no usable name"),
     ('{"name": "x", "filament_type": [["PLA"]]}', "A setting is neither")],
)  # fmt: skip
def test_what_is_no_preset(org: Org, content: str, why: str) -> None:
    answer = org.api.post(f"{F}/import", {"filename": "x", "content": content}, expect="preset_unreadable")
    fault = answer.json()["details"]["fields"][0]
    assert answer.status_code == 422 and fault["pointer"] == "/content" and fault["message"].startswith(why)
    assert org.api.get(F).json()["data"] == []


def test_limits(org: Org) -> None:
    bundle = "".join(f"[filament:f{i}]\nfilament_type = PLA\n" for i in range(1001))
    answer = org.api.post(f"{F}/import", {"filename": "x", "content": bundle}, expect="preset_unreadable")
    assert "1000" in answer.json()["details"]["fields"][0]["message"]
    assert take_in(org, F, "[print:x]\nlayer_height = 0.2\n")["left_out"] == 1
    deep = "".join(f"[filament:f{i}]\ninherits = f{i + 1}; f{i + 2}; f{i + 3}\n" for i in range(900))
    assert take_in(org, F, deep)["created"] == 900


needs_prusaslicer = pytest.mark.skipif(not SHIPPED.exists(), reason="prusa-slicer is not installed")


def shipped(vendor: str, prefix: str) -> dict[str, dict[str, str]]:
    """The usable sections of a bundle, read without a parser: as lines."""
    out: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in (SHIPPED / f"{vendor}.ini").read_text().splitlines():
        if re.match(r"\s*[#;]", line):
            continue
        if head := re.match(r"\[(.*)\]\s*$", line):
            current = out.setdefault(head[1], {})
        elif pair := re.match(r"\s*(\w+)\s*=[ \t]*(.*)$", line):
            current[pair[1]] = pair[2]
    return {k.removeprefix(prefix).strip(): v for k, v in out.items() if k.startswith(prefix) and "*" not in k}


@needs_prusaslicer
@pytest.mark.parametrize(("path", "prefix"), [(F, "filament:"), (P, "printer:")])
def test_what_prusaslicer_ships(org: Org, path: str, prefix: str) -> None:
    """Its own bundle comes in whole; exports have each preset's keys as they were."""
    want = shipped("PrusaResearch", prefix)
    text = (SHIPPED / "PrusaResearch.ini").read_text()
    got = take_in(org, path, text, "PrusaResearch.ini")
    assert got["created"] == len(want) == len(got["data"]) and got["left_out"] > 0
    for row in got["data"][:: max(1, len(want) // 25)]:
        back = org.api.get(f"{path}/{row['id']}/export?format=prusaslicer", expect=200).text
        assert section(back) == (f"{prefix}{row['name']}", want[row["name"]])
    if path == F:
        found = org.api.get(f"{F}?search=Prusament%20PLA%20%40MMU2", expect=200).json()["data"]
        pla = next(p for p in found if p["name"] == "Prusament PLA @MMU2")
        assert (pla["material"], pla["vendor"], pla["cost_per_kg"], pla["diameter_mm"]) == ("PLA", "Prusa Polymers", 3629, 1.75)
        assert pla["source"] == {"slicer": "PrusaSlicer", "format": "bundle", "inherits": "*PLA MMU2*"}
    else:
        mini = [p for p in org.api.get(f"{P}?search=MINI&limit=100").json()["data"] if p["name"] == "Original Prusa MINI & MINI+"]
        assert mini[0]["bed_volume"] == {"x_mm": 180, "y_mm": 180, "z_mm": 180}
        assert (mini[0]["model"], mini[0]["gcode_flavor"]) == ("MINI", "marlin2")
    assert take_in(org, path, text, query="?replace=true")["updated"] == len(want)


def test_traces_and_permissions(org: Org) -> None:
    take_in(org, F, json.dumps(ORCA))
    one = f"{F}/{only(org, F)['id']}"
    reader = org.with_capabilities("operations.read")
    reader.get(f"{one}/export", expect=200)
    reader.post(f"{F}/import", {"filename": "x", "content": "filament_type = PLA"}, expect="insufficient_permissions")
    reader.post(f"{F}/import", {"filename": "x", "content": "nonsense"}, expect="insufficient_permissions")
    reader.patch(one, {"name": "x"}, expect="insufficient_permissions")
    org.api.patch(one, {"name": "x"}, expect=200)
    org.api.delete(one, expect=204)
    actions = org.sql("SELECT action FROM app.audit_log WHERE target_type = 'profile' ORDER BY id")
    assert [a[0] for a in actions if a] and [a[0] for a in actions][-1] == "profile.deleted"
    mine = org.sql("SELECT action FROM app.audit_log WHERE org_id = %s AND target_type = 'profile' ORDER BY id", org.id)
    assert [a[0] for a in mine] == ["profile.created", "profile.updated", "profile.deleted"]
