"""Printers: configuration, filters, groups, status, secrets."""

from __future__ import annotations

import json
import secrets
from typing import Any

import pytest
from api import Api, fields
from wait import until
from world import EVENTS, Org

P = "/v1/printers"
AMS = {
    "units": [{"id": 0, "humidity": 4, "humidity_pct": 22, "temperature_c": 24.5, "drying_remaining_s": 0, "slots": [
        {"slot": 0, "present": False, "material": None, "name": None, "color": None, "colors": [],
         "remaining_pct": None, "rfid": False, "filament_id": None, "nozzle_min_c": None, "nozzle_max_c": None},
        {"slot": 1, "present": True, "material": "PLA", "name": "PLA Matte", "color": "#DE4343FF",
         "colors": ["#DE4343FF"], "remaining_pct": 64, "rfid": True, "filament_id": "GFA01", "nozzle_min_c": 190,
         "nozzle_max_c": 230}]}],
    "active": {"unit": 0, "slot": 1},
    "external": [{"id": 254, "present": True, "material": "PETG", "name": None, "color": "#FFFFFFFF",
                  "colors": ["#FFFFFFFF"], "remaining_pct": None, "rfid": False, "filament_id": None,
                  "nozzle_min_c": 220, "nozzle_max_c": 260}],
}  # fmt: skip
JOB = {"file": "benchy.3mf", "name": "benchy", "progress": 42, "remaining_s": 3120, "layer": 81, "total_layers": 240,
       "outcome": None, "stage": "printing", "started_at": "2026-11-20T19:40:00.000Z", "task_id": "7"}  # fmt: skip


def lit(value: Any) -> str:
    return "'" + json.dumps(value).replace("'", "''") + "'::jsonb"


def ids(answer: Any) -> set[str]:
    return {p["id"] for p in answer.json()["data"]}


def test_create_and_read(org: Org) -> None:
    answer = org.api.post(P, {"name": "Bench 4", "protocol": "bambu", "model": "X1C", "enabled": False}, expect=201)
    made = answer.json()
    assert answer.headers["Location"] == f"{P}/{made['id']}"
    assert org.api.get(f"{P}/{made['id']}", expect=200).json() == made
    assert made["tags"] == [] and made["groups"] == [] and made["nozzles"] == []
    assert made["version"] == 1
    assert made["material_context"] == {"slots": []}
    assert made["status"]["state"] == "offline"
    assert made["status"]["stale"] is True


def test_capabilities_follow_the_model(org: Org) -> None:
    x1c = org.make_printer(model="X1C")["capabilities"]
    a1 = org.make_printer(model="A1 mini")["capabilities"]
    moonraker = org.make_printer(protocol="moonraker")["capabilities"]
    assert (x1c["camera"], a1["camera"]) == ("rtsp", "jpeg")
    assert x1c["ams"] is True
    assert moonraker["ams"] is False
    assert org.make_printer(model="Unheard of 9000")["capabilities"]["status"] is True


def test_patch_is_a_merge_patch(org: Org) -> None:
    made = org.make_printer(notes="n", location="l", tags=["a"], nozzles=[{"diameter_mm": 0.4}])
    after = org.api.patch(f"{P}/{made['id']}", {"notes": None, "tags": ["b", "c"], "maintenance": True}).json()
    assert after["notes"] is None
    assert after["location"] == "l"
    assert after["tags"] == ["b", "c"]
    assert after["maintenance"] is True
    assert after["nozzles"] == [{"diameter_mm": 0.4}] or after["nozzles"][0]["diameter_mm"] == 0.4
    assert after["version"] == made["version"] + 1
    assert after["created_at"] == made["created_at"]


def test_nothing_defaults_in_a_patch(org: Org) -> None:
    made = org.make_printer(drain=True, maintenance=True)
    after = org.api.patch(f"{P}/{made['id']}", {"name": "renamed"}).json()
    assert (after["enabled"], after["drain"], after["maintenance"]) == (False, True, True)


def test_delete_hides_it_everywhere(org: Org) -> None:
    made = org.make_printer(name="doomed", serial="S1")
    group = org.make_group(printer_ids=[made["id"]])
    path = f"{P}/{made['id']}"
    org.api.delete(path, expect=204)
    org.api.get(path, expect="resource_not_found")
    org.api.get(f"{path}/status", expect="resource_not_found")
    org.api.delete(path, expect="resource_not_found")
    org.api.patch(path, {"name": "x"}, expect="resource_not_found")
    assert made["id"] not in ids(org.api.get(P))
    assert org.api.get(f"{P}?offset=0").json()["total"] == 0
    assert org.api.get(f"/v1/printer-groups/{group['id']}").json()["printer_ids"] == []
    org.make_printer(serial="S1")


def test_serial_is_unique_in_the_organization(org: Org, other_org: Org) -> None:
    serial = secrets.token_hex(6)
    org.make_printer(serial=serial)
    second = org.make_printer()
    other_org.make_printer(serial=serial)
    body = {"name": "again", "protocol": "bambu", "serial": serial}
    assert org.api.post(P, body, expect="printer_already_exists").status_code == 409
    org.api.patch(f"{P}/{second['id']}", {"serial": serial}, expect="printer_already_exists")


# --- the secret

def test_secret_is_never_returned(org: Org) -> None:
    secret = f"Zz{secrets.token_hex(8)}"
    made = org.make_printer(secret=secret)
    assert made["has_secret"] is True
    path = f"{P}/{made['id']}"
    answers = [
        org.api.get(path), org.api.get(P), org.api.get(f"{path}/status"), org.api.get(f"{P}?search={secret}"),
        org.api.patch(path, {"name": "x"}),
        org.api.post(P, {"name": 1, "protocol": "bambu", "secret": secret}),
        org.api.post(P, {"name": "x", "protocol": "bambu", "secret": secret + "\n"}),
    ]  # fmt: skip
    for answer in answers:
        assert secret not in answer.text.replace(f"search={secret}", "")
        assert "secret_sealed" not in answer.text


def test_secret_is_sealed_at_rest(org: Org) -> None:
    secret = f"Zz{secrets.token_hex(8)}"
    made, twin = org.make_printer(secret=secret), org.make_printer(secret=secret)
    rows = org.sql("SELECT p.id::text, secret_sealed FROM app.printers p WHERE id IN (%s, %s)", made["id"], twin["id"])
    sealed = {r[0]: bytes(r[1]) for r in rows}
    assert secret.encode() not in sealed[made["id"]]
    assert sealed[made["id"]] != sealed[twin["id"]]
    everything = org.sql(
        "SELECT string_agg(t::text, ' ') FROM (SELECT a::text t FROM app.audit_log a UNION ALL"
        f" SELECT e::text FROM {EVENTS} UNION ALL SELECT i::text FROM app.idempotency_keys i) x"
    )[0][0]
    assert secret not in everything
    assert secret.encode().hex() not in everything


def test_secret_changes_and_clears(org: Org) -> None:
    made = org.make_printer(secret="one")
    path = f"{P}/{made['id']}"

    def sealed() -> Any:
        return org.sql("SELECT secret_sealed FROM app.printers WHERE id = %s", made["id"])[0][0]

    first = sealed()
    assert org.api.patch(path, {"secret": "two"}).json()["has_secret"] is True
    assert sealed() != first
    second = sealed()
    org.api.patch(path, {"location": "x"}, expect=200)
    assert sealed() == second
    assert org.api.patch(path, {"secret": None}).json()["has_secret"] is False
    assert sealed() is None


# --- filters

@pytest.fixture(scope="module")
def fleet(make_organisation: Any) -> tuple[Org, dict[str, str]]:
    org = make_organisation()
    made = {
        "a": org.make_printer(name="Alpha", model="X1C", tags=["lab", "fast"], location="Room 7", serial="SER-1"),
        "b": org.make_printer(name="beta 100%", model="A1", tags=["lab"]),
        "c": org.make_printer(name="Gamma_x", model="X1C", tags=["hall"]),
        "d": org.make_printer(name="Délta", protocol="moonraker"),
    }
    found = {k: p["id"] for k, p in made.items()}
    org.sql("UPDATE app.printer_status SET state = 'printing' WHERE printer_id = %s", found["a"])
    org.sql("UPDATE app.printer_status SET state = 'idle' WHERE printer_id = %s", found["b"])
    found["g1"] = org.make_group(name="G1", printer_ids=[found["a"], found["b"]])["id"]
    found["g2"] = org.make_group(name="G2", printer_ids=[found["b"], found["c"]])["id"]
    return org, found


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "abcd"), ("status=printing", "a"), ("status=printing,idle", "ab"), ("status=error", ""),
        ("status=offline", "cd"), ("tag=lab", "ab"), ("tag=lab,fast", "a"), ("tag=nowhere", ""), ("tag=Lab", ""),
        ("model=X1C", "ac"), ("model=x1c", ""), ("search=alp", "a"), ("search=ALPHA", "a"), ("search=room", "a"),
        ("search=ser-1", "a"), ("search=d%C3%A9l", "d"), ("search=D%C3%89L", "d"), ("search=%25", "b"),
        ("search=_", "c"), ("search=100%25", "b"), ("search=%5C", ""), ("search=a1", "b"),
        ("group={g1}", "ab"), ("group={g1},{g2}", "abc"), ("group={g2}&status=idle", "b"),
        ("tag=lab&model=X1C&search=alpha&status=printing&group={g1}", "a"),
    ],
)  # fmt: skip
def test_filters(fleet: tuple[Org, dict[str, str]], query: str, expected: str) -> None:
    org, known = fleet
    answer = org.api.get(f"{P}?{query.format(**known)}", expect=200)
    assert ids(answer) == {known[c] for c in expected}
    counted = org.api.get(f"{P}?offset=0&{query.format(**known)}", expect=200).json()["total"]
    assert counted == len(expected)


# --- status

def test_status_of_a_new_printer(org: Org) -> None:
    made = org.make_printer()
    status = org.api.get(f"{P}/{made['id']}/status", expect=200).json()
    assert status["printer_id"] == made["id"]
    assert status["state"] == "offline"
    assert status["job"] is None
    assert status["stale"] is True
    assert status["last_seen_at"] is None
    assert status["connection"]["state"] in ("disabled", "disconnected")


def test_status_shows_what_was_reported(org: Org) -> None:
    made = org.make_printer()
    temperatures = {"nozzles": [{"id": 0, "actual_c": 219.8, "target_c": 220}],
                    "bed": {"actual_c": 54.9, "target_c": 55}, "chamber": None}  # fmt: skip
    org.connected(made["id"], state="'printing'", job=lit(JOB), temperatures=lit(temperatures), ams=lit(AMS))
    status = org.api.get(f"{P}/{made['id']}/status", expect=200).json()
    assert (status["state"], status["stale"]) == ("printing", False)
    assert status["job"] == JOB
    assert status["temperatures"] == temperatures
    assert status["ams"] == AMS
    seen = org.api.get(f"{P}/{made['id']}").json()
    summary = {"state": "printing", "connection_state": "connected", "progress": 42, "remaining_s": 3120,
               "file": "benchy.3mf", "stale": False}  # fmt: skip
    assert {k: seen["status"][k] for k in summary} == summary
    assert seen["material_context"]["slots"] == [
        {"unit": 0, "slot": 1, "material": "PLA", "color": "#DE4343FF", "remaining_pct": 64},
        {"unit": None, "slot": 254, "material": "PETG", "color": "#FFFFFFFF", "remaining_pct": None},
    ]


def test_status_grows_stale(org: Org) -> None:
    made = org.make_printer()
    org.connected(made["id"])
    path = f"{P}/{made['id']}/status"
    assert org.api.get(path).json()["stale"] is False
    org.sql("UPDATE app.printer_status SET last_seen_at = app.now() - '61 s'::interval WHERE printer_id = %s", made["id"])
    assert org.api.get(path).json()["stale"] is True


def test_refresh(org: Org) -> None:
    made = org.make_printer()
    path = f"{P}/{made['id']}/refresh-status"
    assert org.api.post(path, expect="printer_not_connected").status_code == 409
    org.connected(made["id"])
    assert org.api.post(path, expect=202).json() == {"status": "refresh_requested"}
    asked = org.sql("SELECT refresh_requested_at FROM sec.printer_index WHERE printer_id = %s", made["id"])
    assert asked[0][0] is not None


# --- groups

def test_group_crud(org: Org) -> None:
    one, two = org.make_printer()["id"], org.make_printer()["id"]
    answer = org.api.post("/v1/printer-groups", {"name": "Lab", "printer_ids": [one]}, expect=201)
    group = answer.json()
    path = f"/v1/printer-groups/{group['id']}"
    assert answer.headers["Location"] == path
    assert org.api.get(path).json() == group
    after = org.api.patch(path, {"printer_ids": [two], "description": "d"}).json()
    assert (after["printer_ids"], after["description"], after["name"]) == ([two], "d", "Lab")
    assert [g["id"] for g in org.api.get(f"{P}/{two}").json()["groups"]] == [group["id"]]
    assert org.api.get(f"{P}/{one}").json()["groups"] == []
    org.api.delete(path, expect=204)
    org.api.get(path, expect="resource_not_found")
    assert org.api.get(f"{P}/{two}").json()["groups"] == []


def test_group_names_are_unique_without_case(org: Org, other_org: Org) -> None:
    org.make_group(name="Lab")
    other_org.make_group(name="Lab")
    assert org.api.post("/v1/printer-groups", {"name": "lAB"}, expect="printer_group_already_exists").status_code == 409
    second = org.make_group(name="Other")
    org.api.patch(f"/v1/printer-groups/{second['id']}", {"name": "LAB"}, expect="printer_group_already_exists")


def test_printers_name_their_groups(org: Org) -> None:
    g1, g2 = org.make_group(name="b"), org.make_group(name="a")
    made = org.make_printer(group_ids=[g1["id"], g2["id"]])
    assert [g["name"] for g in made["groups"]] == ["a", "b"]
    after = org.api.patch(f"{P}/{made['id']}", {"group_ids": [g1["id"]]}).json()
    assert [g["id"] for g in after["groups"]] == [g1["id"]]
    after = org.api.patch(f"{P}/{made['id']}", {"group_ids": []}).json()
    assert after["groups"] == []


def test_references_must_exist(org: Org) -> None:
    nobody = "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70"
    made = org.make_printer()
    org.api.post(P, {"name": "x", "protocol": "bambu", "group_ids": [nobody]}, expect="unknown_reference")
    org.api.patch(f"{P}/{made['id']}", {"group_ids": [nobody]}, expect="unknown_reference")
    org.api.post("/v1/printer-groups", {"name": "x", "printer_ids": [nobody]}, expect="unknown_reference")
    assert ids(org.api.get(P)) == {made["id"]}
    assert org.api.get("/v1/printer-groups").json()["data"] == []


# --- traces

def test_changes_are_audited_and_announced(org: Org) -> None:
    made = org.make_printer(secret="geheim-1234")
    path = f"{P}/{made['id']}"
    org.api.patch(path, {"location": "x"}, headers={"X-Request-Id": "audit-me"}, expect=200)
    org.api.delete(path, expect=204)
    rows = org.sql("SELECT action, request_id, key_id::text, a::text FROM app.audit_log a WHERE target_id = %s"
                   " ORDER BY id", made["id"])  # fmt: skip
    assert [r[0] for r in rows][0] == "printer.created"
    assert [r[0] for r in rows][-1] == "printer.deleted"
    assert ("printer.updated", "audit-me", org.key_id(org.key)) in [r[:3] for r in rows]
    assert not any("geheim-1234" in r[3] for r in rows)
    events = org.sql(f"SELECT type FROM {EVENTS} WHERE resource_id = %s ORDER BY n", made["id"])
    assert (events[0], events[-1]) == (("printer.created",), ("printer.deleted",))


def test_a_refused_change_leaves_no_trace(org: Org) -> None:
    made = org.make_printer(serial="T1")
    before = org.sql("SELECT count(*) FROM app.audit_log WHERE org_id = %s", org.id)
    org.api.post(P, {"name": "x", "protocol": "bambu", "serial": "T1"}, expect=409)
    org.api.patch(f"{P}/{made['id']}", {"name": "x"}, headers={"If-Match": '"c99.s0"'}, expect=412)
    assert org.sql("SELECT count(*) FROM app.audit_log WHERE org_id = %s", org.id) == before


# --- hostile text

HOSTILE = ["<script>alert(1)</script>", "'; DROP TABLE app.printers; --", "\\", '"', "%s%n", "${jndi:x}",
           "../../etc/passwd", "a‮b", "é́", "😀" * 20, "null", "0", "{{7*7}}", "%00", "x" * 120]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda t: ascii(t)[:30])
def test_text_comes_back_as_it_was(org: Org, text: str) -> None:
    made = org.make_printer(name=text, notes=text, tags=[text.replace(",", "")[:50]])
    seen = org.api.get(f"{P}/{made['id']}")
    assert (seen.json()["name"], seen.json()["notes"]) == (text, text)
    assert seen.headers["Content-Type"] == "application/json"
    assert made["id"] in ids(org.api.get(P, params={"search": text[:100]}))


def test_concurrent_changes_are_all_counted(org: Org) -> None:
    made = org.make_printer()
    path = f"{P}/{made['id']}"
    for i in range(10):
        org.api.patch(path, {"location": f"l{i}"}, expect=200)
    assert org.api.get(path).json()["version"] == made["version"] + 10


def test_error_of_a_list_item_is_named(api: Api) -> None:
    answer = api.post(P, {"name": "x", "protocol": "bambu", "tags": ["ok", ""]}, expect=422)
    assert list(fields(answer)) == ["/tags/1"]


def test_disabled_printers_say_so(org: Org) -> None:
    made = org.make_printer(enabled=False)
    state = until(lambda: org.api.get(f"{P}/{made['id']}/status").json()["connection"]["state"])
    assert state in ("disabled", "disconnected")
