"""Diagnoses of connections, trying settings and looking for printers, as far as the API goes. There is no gateway here: what
it would have written is written by hand."""

from __future__ import annotations

import json
import re
import secrets
from pathlib import Path
from typing import Any

import pytest
from api import fields
from world import EVENTS, Org

P = "/v1/printers"
ROOT = Path(__file__).resolve().parents[2]
REASONS = re.findall(r"\{\"(\w+)\",", (ROOT / "gateway/status.c").read_text().split("reasons[] = {")[1].split("};")[0])


def diagnose(org: Org, printer: str) -> dict[str, Any]:
    return dict(org.api.get(f"{P}/{printer}/diagnostics", expect=200).json())


def checks(found: dict[str, Any]) -> dict[str, bool | None]:
    return {c["code"]: c["ok"] for c in found["checks"]}


def connection(org: Org, printer: str, state: str, reason: str | None, seen: str = "NULL") -> None:
    org.sql(
        "UPDATE app.printer_status SET last_seen_at = " + seen + ", connection = jsonb_build_object('state', %s::text, 'reason',"
        " %s::text, 'message', %s::text, 'since', '2026-11-20T18:00:01.000Z') WHERE printer_id = %s",
        state, reason, reason and f"because of {reason}", printer,
    )  # fmt: skip


def happened(org: Org, printer: str, kind: str, n: int, **detail: Any) -> None:
    org.sql(
        "INSERT INTO sec.printer_history (org_id, printer_id, at, id, kind, detail)"
        " VALUES (%s, %s, app.now() - make_interval(secs => %s), app.uuid7(), %s, %s)",
        org.id, printer, 1000 - n, kind, json.dumps(detail),
    )  # fmt: skip


def full(org: Org, **attributes: Any) -> str:
    """A printer with all its settings."""
    made = org.make_printer(**{"host": "192.0.2.1", "serial": secrets.token_hex(6), "secret": "s", **attributes})
    org.sql("UPDATE app.printers SET enabled = true WHERE id = %s", made["id"])
    return str(made["id"])


def test_every_reason_that_the_gateway_knows_has_a_remedy(org: Org) -> None:
    header = (ROOT / "gateway/status.h").read_text().split("enum conn_reason {")[1].split("};")[0]
    assert len(REASONS) == len(re.findall(r"REASON_\w+", header)) - 1, "status.h and status.c name the same reasons"
    printer = full(org)
    for reason in REASONS:
        connection(org, printer, "disabled" if reason == "disabled" else "disconnected", reason)
        found = diagnose(org, printer)
        assert found["connection"]["reason"] == reason
        assert found["connection"]["message"] == f"because of {reason}"
        assert found["connection"]["remedy"], f"{reason} has no remedy"


def test_a_connection_that_works(org: Org) -> None:
    printer = full(org, model="X1C")
    connection(org, printer, "connected", None, "app.now()")
    org.sql("UPDATE app.printer_status SET link = '{\"round_trip_ms\": 12.5, \"reports_per_min\": 60}',"
            " firmware = '{\"version\": \"01.08\", \"modules\": []}' WHERE printer_id = %s", printer)  # fmt: skip
    found = diagnose(org, printer)
    assert found["connection"] == {
        "state": "connected", "reason": None, "message": None, "since": "2026-11-20T18:00:01.000Z", "remedy": None,
    }  # fmt: skip
    assert (found["protocol"], found["model"], found["capabilities"]["camera"]) == ("bambu", "X1C", "rtsp")
    assert (found["round_trip_ms"], found["report_rate_per_min"], found["firmware_version"]) == (12.5, 60, "01.08")
    assert found["stale"] is False
    assert set(checks(found).values()) == {True}
    assert [c["remedy"] for c in found["checks"]] == [None] * len(found["checks"])
    assert found["connection_history"] == found["errors"] == []


FAULTS: list[tuple[str, str, dict[str, bool]]] = [
    ("disconnected", "wrong_access_code", {"reachable": True, "credential": False}),
    ("disconnected", "wrong_serial", {"reachable": True, "identity": False}),
    ("disconnected", "certificate_mismatch", {"reachable": True, "identity": False}),
    ("connected", "developer_mode_off", {"reachable": True, "mode": False, "credential": True}),
    ("disconnected", "unreachable", {"reachable": False}),
    ("connecting", "connection_lost", {"reachable": False}),
    ("connecting", "no_reports", {"reachable": True, "reports": False}),
    ("disconnected", "no_gateway", {"gateway": False}),
    ("disconnected", "no_secret", {"settings": False}),
    ("disconnected", "protocol_not_supported", {"protocol": False}),
]


@pytest.mark.parametrize(("state", "reason", "wanted"), FAULTS, ids=[f[1] for f in FAULTS])
def test_the_check_that_fails_has_the_remedy(org: Org, state: str, reason: str, wanted: dict[str, bool]) -> None:
    printer = full(org)
    connection(org, printer, state, reason, "app.now()")
    found = diagnose(org, printer)
    got = checks(found)
    assert {code: got[code] for code in wanted} == wanted
    failed = [c for c in found["checks"] if c["ok"] is False]
    assert [c["code"] for c in failed] == [code for code, ok in wanted.items() if not ok]
    assert failed[0]["remedy"] == found["connection"]["remedy"]


def test_what_is_missing_is_named(org: Org) -> None:
    made = org.make_printer(host="192.0.2.1")
    found = {c["code"]: c for c in diagnose(org, made["id"])["checks"]}
    assert found["enabled"]["ok"] is False and found["enabled"]["remedy"] == "Set `enabled` to true."
    assert found["settings"]["message"] == "Missing: serial, secret."
    moonraker = org.make_printer(protocol="moonraker", host="192.0.2.1")
    assert checks(diagnose(org, moonraker["id"]))["settings"] is True


def test_a_silent_printer(org: Org) -> None:
    printer = full(org)
    connection(org, printer, "connected", None, "app.now() - interval '2 minutes'")
    found = diagnose(org, printer)
    assert found["stale"] is True and checks(found)["reports"] is False
    assert next(c for c in found["checks"] if c["code"] == "reports")["remedy"]


def test_history_shows_the_last_changes_newest_first(org: Org, other_org: Org) -> None:
    printer, other = full(org), full(org)
    for n in range(60):
        state, reason = (("disconnected", "unreachable"), ("connected", None))[n % 2]
        happened(org, printer, "connection", n, state=state, reason=reason)
    happened(org, other, "connection", 99, state="connecting", reason=None)
    happened(org, printer, "state", 70, **{"from": "idle", "to": "printing"})
    history = diagnose(org, printer)["connection_history"]
    assert len(history) == 50
    assert [(h["state"], h["reason"]) for h in history[:2]] == [("connected", None), ("disconnected", "unreachable")]
    assert [h["at"] for h in history] == sorted((h["at"] for h in history), reverse=True)
    assert diagnose(org, full(org))["connection_history"] == []


def test_errors_that_were(org: Org) -> None:
    printer = full(org)
    shown = {"code": "0300_0100", "severity": "serious", "module": "mainboard", "source": "hms", "message": "Too hot.",
             "url": None}  # fmt: skip
    connection(org, printer, "connected", None, "app.now()")
    org.sql("UPDATE app.printer_status SET errors = %s WHERE printer_id = %s", json.dumps([shown]), printer)
    happened(org, printer, "error", 1, code="0500_0200", severity="common", active=True)
    happened(org, printer, "error", 2, code="0500_0200", severity="common", active=False)
    happened(org, printer, "error", 3, code="0300_0100", severity="serious", active=True)
    found = diagnose(org, printer)
    assert [{k: e[k] for k in e if k != "at"} for e in found["errors"]] == [
        {"code": "0300_0100", "severity": "serious", "message": "Too hot.", "active": True},
        {"code": "0500_0200", "severity": "common", "message": None, "active": False},
    ]
    assert checks(found)["no_errors"] is False
    for n in range(30):
        happened(org, printer, "error", 10 + n, code=f"{n}", severity=None, active=True)
    assert [e["code"] for e in diagnose(org, printer)["errors"]] == [f"{n}" for n in range(29, 9, -1)]


def test_nobody_elses_printer(org: Org, other_org: Org) -> None:
    hidden = full(other_org)
    org.api.get(f"{P}/{hidden}/diagnostics", expect="resource_not_found")
    mine, other = full(org), full(org)
    org.with_capabilities("operations.read", printer_ids=[mine]).get(f"{P}/{other}/diagnostics", expect="resource_not_found")


# --- trying settings, looking around

def job(org: Org, operation: str) -> dict[str, Any]:
    row = org.sql(
        "SELECT jsonb_build_object('kind', j.kind, 'params', j.params, 'printer_id', t.printer_id, 'resource_id',"
        " j.resource_id) FROM app.jobs AS j JOIN sec.printer_tasks AS t ON t.job_id = j.id WHERE j.id = %s", operation,
    )  # fmt: skip
    return dict(row[0][0])


def test_settings_are_tried(org: Org) -> None:
    said = {"protocol": "octoprint", "host": "192.0.2.7", "port": 5000, "model": "MK3"}
    secret = f"Zz{secrets.token_hex(8)}"
    answer = org.api.post(f"{P}/test-connection", {**said, "secret": secret}, expect=202)
    got = answer.json()
    assert answer.headers["Location"] == f"/v1/operations/{got['operation_id']}"
    operation = org.api.get(answer.headers["Location"], expect=200)
    assert (operation.json()["kind"], operation.json()["resource"]) == ("printer.test", None)
    made = job(org, got["operation_id"])
    sealed = bytes.fromhex(made["params"].pop("secret"))
    assert made == {"kind": "printer.test", "params": said, "printer_id": None, "resource_id": None}
    assert sealed[0] == 1 and len(sealed) == 53 + len(secret)
    assert secret not in answer.text + operation.text
    everything = org.sql(
        f"SELECT string_agg(t::text, ' ') FROM (SELECT a::text t FROM app.audit_log a UNION ALL SELECT e::text FROM {EVENTS}"
        " UNION ALL SELECT j::text FROM app.jobs j UNION ALL SELECT i::text FROM app.idempotency_keys i) x"
    )[0][0]
    assert secret not in everything and secret.encode().hex() not in everything
    assert org.api.get(P, expect=200).json()["data"] == [], "nothing was added"


def test_settings_without_a_secret(org: Org) -> None:
    got = org.api.post(f"{P}/test-connection", {"protocol": "moonraker", "host": "printer.local"}, expect=202).json()
    assert job(org, got["operation_id"])["params"] == {"protocol": "moonraker", "host": "printer.local"}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/protocol"), ({"protocol": "bambu"}, "/host"), ({"protocol": "x", "host": "a"}, "/protocol"),
        ({"protocol": "bambu", "host": "http://a"}, "/host"), ({"protocol": "bambu", "host": None}, "/host"),
        ({"protocol": "bambu", "host": "a", "port": 0}, "/port"), ({"protocol": "bambu", "host": "a", "secret": ""}, "/secret"),
        ({"protocol": "bambu", "host": "a", "name": "x"}, "/name"),
    ],
)  # fmt: skip
def test_settings_that_the_contract_refuses(org: Org, body: dict[str, Any], pointer: str) -> None:
    assert pointer in fields(org.api.post(f"{P}/test-connection", body, expect="validation_failed"))


def test_a_test_is_tried_once(org: Org) -> None:
    body, idem = {"protocol": "bambu", "host": "192.0.2.7", "secret": "s"}, {"Idempotency-Key": secrets.token_hex(8)}
    first = org.api.post(f"{P}/test-connection", body, expect=202, headers=idem)
    again = org.api.post(f"{P}/test-connection", body, expect=202, headers=idem)
    assert first.content == again.content and again.headers["Idempotent-Replayed"] == "true"


def test_printers_are_looked_for(org: Org) -> None:
    answer = org.api.post(f"{P}/discover", {"seconds": 12}, expect=202)
    assert answer.headers["Location"] == f"/v1/operations/{answer.json()['operation_id']}"
    assert job(org, answer.json()["operation_id"]) == {
        "kind": "printer.discover", "params": {"seconds": 12}, "printer_id": None, "resource_id": None,
    }  # fmt: skip
    bare = org.api.post(f"{P}/discover", expect=202).json()
    assert job(org, bare["operation_id"])["params"] == {"seconds": 5}
    for bad in (0, 31, "x"):
        assert fields(org.api.post(f"{P}/discover", {"seconds": bad}, expect="validation_failed")).keys() == {"/seconds"}


def test_only_so_many_at_a_time(org: Org) -> None:
    for _ in range(8):
        org.api.post(f"{P}/discover", expect=202)
    org.api.post(f"{P}/discover", expect="too_many_operations")
    org.api.post(f"{P}/test-connection", {"protocol": "bambu", "host": "a"}, expect="too_many_operations")
