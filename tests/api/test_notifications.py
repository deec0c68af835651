"""Notification rules and the inbox, as far as the API goes. What is sent, and when, is in tests/faults/test_webhook_*.py
and schema/db/tests/."""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from api import Api, fields
from keys import CAPABILITIES
from notices import INBOX, RULES, make_rule, principal_of, put_into_inbox
from seals import courier_opens
from wait import until
from world import Org

NOBODY = "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70"
HOST = "https://nowhere.invalid"
NIGHT = {"start": "22:00", "end": "07:00"}
URL_CHANNELS = ("webhook", "slack", "discord", "teams", "ntfy")
# What each channel needs.
NEEDS: dict[str, dict[str, Any]] = {
    "email": {"recipients": {"emails": ["a@example.org"]}}, "in_app": {},
    **{c: {"url": f"{HOST}/hook"} for c in URL_CHANNELS},
}  # fmt: skip
# May do nothing but this file's.
MANAGER = ("operations.read", "integrations.manage")


def rule_of(channel: str, **attributes: Any) -> dict[str, Any]:
    return {"name": "made", "events": ["print.failed"], "channel": channel, **NEEDS[channel], **attributes}


def path_of(rule: dict[str, Any]) -> str:
    return f"{RULES}/{rule['id']}"


def sealed_of(org: Org, rule: dict[str, Any]) -> bytes | None:
    got = org.sql("SELECT target_sealed FROM app.notification_rules WHERE id = %s", rule["id"])[0][0]
    return None if got is None else bytes(got)


def url_of(org: Org, rule: dict[str, Any]) -> str:
    sealed = sealed_of(org, rule)
    assert sealed
    return courier_opens(org, "notification_rules|target", rule["id"], sealed)


# --- what a rule is


def test_all_members(org: Org) -> None:
    printer, group = org.make_printer(), org.make_group()
    body = {
        "name": "Failures", "enabled": False, "events": ["print.failed", "queue_item.*", "*"],
        "filters": {"printer_ids": [printer["id"]], "printer_group_ids": [group["id"]]}, "min_severity": "warning",
        "channel": "email", "recipients": {"emails": ["b@example.org", "a+x@example.org"]}, "throttle_seconds": 86400,
        "quiet_hours": {**NIGHT, "timezone": "Europe/Berlin", "except_critical": False},
        "digest": {"every": "week", "at": "07:30", "weekday": 5, "timezone": "America/New_York"},
    }  # fmt: skip
    answer = org.api.post(RULES, body, expect=201)
    made = answer.json()
    assert answer.headers["Location"] == path_of(made)
    assert {k: made[k] for k in body} == {**body, "recipients": {**body["recipients"], "principal_ids": []}}
    assert (made["url_host"], made["last_delivery"], made["version"]) == (None, None, 1)
    assert made["created_by"] == principal_of(org)
    assert org.api.get(path_of(made), expect=200).json() == made
    assert org.api.get(RULES, expect=200).json()["data"] == [made]


def test_defaults(org: Org) -> None:
    made = org.api.post(RULES, {"name": "n", "events": ["print.*"], "channel": "in_app"}, expect=201).json()
    expected = {
        "enabled": True, "filters": {"printer_ids": [], "printer_group_ids": []}, "min_severity": "info",
        "recipients": {"emails": [], "principal_ids": [principal_of(org)]}, "throttle_seconds": 0, "quiet_hours": None,
        "digest": None,
    }  # fmt: skip
    assert {k: made[k] for k in expected} == expected


@pytest.mark.parametrize("channel", NEEDS)
def test_every_channel(org: Org, channel: str) -> None:
    made = org.api.post(RULES, rule_of(channel), expect=201).json()
    assert made["channel"] == channel
    assert made["url_host"] == ("nowhere.invalid" if channel in URL_CHANNELS else None)


def test_others_inboxes(org: Org) -> None:
    other = principal_of(org, org.make_key(["operations.read"]))
    made = make_rule(org, recipients={"principal_ids": [other, principal_of(org)]})
    assert made["recipients"]["principal_ids"] == [other, principal_of(org)]
    assert make_rule(org, recipients={"principal_ids": None})["recipients"]["principal_ids"] == [principal_of(org)]


@pytest.mark.parametrize(("channel", "wrong", "pointer", "code"), [
    ("email", {"recipients": {}}, "/recipients/emails", "required"),
    ("email", {"recipients": {"emails": []}}, "/recipients/emails", "required"),
    ("email", {"recipients": {"emails": None}}, "/recipients/emails", "required"),
    ("email", {"recipients": {"emails": ["a@example.org"], "principal_ids": [NOBODY]}}, "/recipients/principal_ids",
     "not_of_this_channel"),
    ("email", {"url": HOST}, "/url", "not_of_this_channel"),
    ("in_app", {"url": HOST}, "/url", "not_of_this_channel"),
    ("in_app", {"recipients": {"emails": ["a@example.org"]}}, "/recipients/emails", "not_of_this_channel"),
    ("in_app", {"quiet_hours": NIGHT}, "/quiet_hours", "not_of_this_channel"),
    ("in_app", {"digest": {"every": "hour"}}, "/digest", "not_of_this_channel"),
    ("in_app", {"throttle_seconds": 1}, "/throttle_seconds", "not_of_this_channel"),
    *[(c, {"recipients": {"emails": ["a@example.org"]}}, "/recipients/emails", "not_of_this_channel") for c in URL_CHANNELS],
])  # fmt: skip
def test_what_a_channel_needs(org: Org, channel: str, wrong: dict[str, Any], pointer: str, code: str) -> None:
    found = fields(org.api.post(RULES, rule_of(channel, **wrong)))
    assert found[pointer] == code
    assert org.api.get(RULES).json()["data"] == []


@pytest.mark.parametrize("channel", URL_CHANNELS)
def test_a_url_is_needed(org: Org, channel: str) -> None:
    body = {"name": "n", "events": ["*"], "channel": channel}
    assert fields(org.api.post(RULES, body, expect="validation_failed")) == {"/url": "required"}


def test_an_inbox_needs_principals_that_are_there(org: Org, other_org: Org) -> None:
    for nobody in (NOBODY, principal_of(other_org)):
        body = rule_of("in_app", recipients={"principal_ids": [principal_of(org), nobody]})
        found = fields(org.api.post(RULES, body, expect="unknown_reference"))
        assert found == {"/recipients/principal_ids/1": "unknown_reference"}


def test_what_the_contract_refuses(org: Org) -> None:
    for wrong, pointer in (
        ({"name": ""}, "/name"), ({"name": "a\nb"}, "/name"), ({"events": []}, "/events"), ({"events": ["a", "a"]}, "/events"),
        ({"events": ["Print.failed"]}, "/events/0"), ({"events": ["print"]}, "/events/0"), ({"events": ["*.failed"]}, "/events/0"),
        ({"channel": "pager"}, "/channel"), ({"min_severity": "fatal"}, "/min_severity"), ({"enabled": "yes"}, "/enabled"),
        ({"throttle_seconds": 86401}, "/throttle_seconds"), ({"throttle_seconds": -1}, "/throttle_seconds"),
        ({"filters": {"class_ids": []}}, "/filters/class_ids"), ({"filters": {"printer_ids": ["x"]}}, "/filters/printer_ids/0"),
        ({"recipients": {"users": []}}, "/recipients/users"), ({"recipients": None}, "/recipients"),
        ({"recipients": {"principal_ids": []}}, "/recipients/principal_ids"),
        ({"recipients": {"emails": [f"{i}@example.org" for i in range(51)]}}, "/recipients/emails"),
        ({"url": None}, "/url"), ({"url": "https://a" + "a" * 2048}, "/url"), ({"target_host": "x"}, "/target_host"),
        ({"capabilities": ["org.manage_users"]}, "/capabilities"),
    ):  # fmt: skip
        answer = org.api.post(RULES, {**rule_of("email"), **wrong}, expect="validation_failed")
        assert pointer in {p[: len(pointer)] for p in fields(answer)}, wrong


@pytest.mark.parametrize("address", [
    "", "a", "a@", "@example.org", "a@example", "a b@example.org", "a@example.org\n", "a@example.org\r\nBcc: b@example.org",
    "a@-example.org", "a@example..org", "<a@example.org>", "A <a@example.org>", "a@example.org,b@example.org", "a@[192.0.2.1]",
    '"a"@example.org', "ä@example.org", "a" * 65 + "@example.org", "a@" + "a." * 126 + "org",
])  # fmt: skip
def test_no_mail_address(org: Org, address: str) -> None:
    body = rule_of("email", recipients={"emails": ["good@example.org", address]})
    assert "/recipients/emails/1" in fields(org.api.post(RULES, body, expect="validation_failed"))


# --- events and filters


def test_types_that_do_not_exist(org: Org) -> None:
    body = rule_of("in_app", events=["print.failed", "print.exploded", "nothing.*", "*"])
    found = fields(org.api.post(RULES, body, expect="validation_failed"))
    assert found == {"/events/1": "unknown_event_type", "/events/2": "unknown_event_type"}


def test_types_need_the_creators_capabilities(org: Org) -> None:
    api = org.with_capabilities("integrations.manage")
    for events in (["print.failed"], ["print.*"], ["member.joined"]):
        answer = api.post(RULES, rule_of("in_app", events=events), expect="capability_not_held")
        assert answer.status_code == 422
        assert fields(answer) == {"/events/0": "capability_not_held"}
    made = api.post(RULES, rule_of("in_app", events=["*", "api_key.*"]), expect=201).json()
    api.patch(path_of(made), {"events": ["api_key.created", "print.failed"]}, expect="capability_not_held")
    assert api.get(path_of(made)).json()["events"] == ["*", "api_key.*"]
    org.api.post(RULES, rule_of("in_app", events=["print.*", "member.*"]), expect=201)


def test_filters_name_what_is_there(org: Org, other_org: Org) -> None:
    own = org.make_printer()["id"]
    for nobody in (NOBODY, other_org.make_printer()["id"]):
        answer = org.api.post(RULES, rule_of("in_app", filters={"printer_ids": [own, nobody]}), expect="unknown_reference")
        assert fields(answer) == {"/filters/printer_ids/1": "unknown_reference"}
    for nobody in (NOBODY, other_org.make_group()["id"]):
        answer = org.api.post(RULES, rule_of("in_app", filters={"printer_group_ids": [nobody]}), expect="unknown_reference")
        assert fields(answer) == {"/filters/printer_group_ids/0": "unknown_reference"}


def test_a_bound_key_names_its_own_printers(org: Org) -> None:
    mine, other = org.make_printer()["id"], org.make_printer()["id"]
    api = org.with_capabilities(*CAPABILITIES, printer_ids=[mine])
    api.post(RULES, rule_of("in_app", filters={"printer_ids": [other]}), expect="unknown_reference")
    made = api.post(RULES, rule_of("in_app", filters={"printer_ids": [mine]}), expect=201).json()
    assert org.sql("SELECT printer_ids::text[] FROM app.notification_rules WHERE id = %s", made["id"]) == [([mine],)]


# --- the URL


@pytest.mark.parametrize(("url", "code"), [
    ("http://nowhere.invalid/a", "bad_url"), ("ftp://nowhere.invalid/a", "bad_url"), ("nowhere.invalid/a", "bad_url"),
    ("https://user:password@nowhere.invalid/", "bad_url"), ("https://nowhere.invalid:22/", "bad_url"),
    ("https://nowhere.invalid/#part", "bad_url"), ("https://localhost/", "bad_url"),
    ("https://127.0.0.1/", "blocked_address"), ("https://[::1]:8443/", "blocked_address"),
    ("https://169.254.169.254/latest/meta-data/", "blocked_address"), ("https://2130706433/", "blocked_address"),
])  # fmt: skip
def test_urls_that_are_refused(org: Org, url: str, code: str) -> None:
    rule = make_rule(org, **rule_of("slack"))
    for answer in (
        org.api.post(RULES, rule_of("slack", url=url), expect="validation_failed"),
        org.api.patch(path_of(rule), {"url": url}, expect="validation_failed"),
    ):
        assert fields(answer) == {"/url": code}
        assert "password" not in answer.text
    assert url_of(org, rule) == f"{HOST}/hook"


def test_the_own_host_is_refused(org: Org) -> None:
    assert fields(org.api.post(RULES, rule_of("webhook", url=f"{org.stack.url}/v1/health")))["/url"] in ("bad_url", "blocked_address")


def test_the_url_is_the_couriers_alone(org: Org) -> None:
    token = f"Zz{secrets.token_hex(12)}"
    idem = {"Idempotency-Key": token[::-1]}
    body = rule_of("slack", url=f"{HOST}/services/{token}")
    made = org.api.post(RULES, body, headers=idem, expect=201)
    rule = made.json()
    assert url_of(org, rule) == f"{HOST}/services/{token}"
    other = org.api.post(RULES, rule_of("slack", name=1, url=f"{HOST}/{token}"), expect="validation_failed")
    changed = org.api.patch(path_of(rule), {"url": f"https://other.invalid/{token}"}, expect=200)
    assert changed.json()["url_host"] == "other.invalid"
    assert url_of(org, rule) == f"https://other.invalid/{token}"
    for answer in (made, other, changed, org.api.get(path_of(rule)), org.api.get(RULES), org.api.post(RULES, body, headers=idem)):
        assert token not in answer.text
    everything = org.sql(
        "SELECT string_agg(t::text, ' ') FROM (SELECT r::text t FROM app.notification_rules r UNION ALL SELECT a::text"
        " FROM app.audit_log a UNION ALL SELECT o::text FROM app.outbox o UNION ALL SELECT e::text FROM app.events e UNION ALL"
        " SELECT i::text FROM app.idempotency_keys i) x"
    )[0][0]  # fmt: skip
    assert token not in everything and token.encode().hex() not in everything
    assert token not in org.stack.log("api-api")


# --- quiet hours and digests


def test_what_they_have_without_being_told(org: Org) -> None:
    made = make_rule(org, **rule_of("email", quiet_hours=NIGHT, digest={"every": "day", "at": "00:00"}))
    assert made["quiet_hours"] == {**NIGHT, "timezone": "UTC", "except_critical": True}
    assert made["digest"] == {"every": "day", "at": "00:00", "weekday": None, "timezone": "UTC"}
    made = make_rule(org, **rule_of("email", digest={"every": "hour"}))
    assert made["digest"] == {"every": "hour", "at": None, "weekday": None, "timezone": "UTC"}


@pytest.mark.parametrize(("member", "value", "pointer", "code"), [
    ("quiet_hours", {}, "/quiet_hours/start", "required"),
    ("quiet_hours", {"start": "22:00"}, "/quiet_hours/end", "required"),
    ("quiet_hours", {"end": "22:00"}, "/quiet_hours/start", "required"),
    ("quiet_hours", {"start": "22:00", "end": "22:00"}, "/quiet_hours/end", "same_as_start"),
    ("quiet_hours", {**NIGHT, "timezone": "Mars/Olympus"}, "/quiet_hours/timezone", "unknown_timezone"),
    ("quiet_hours", {**NIGHT, "timezone": "+02:00"}, "/quiet_hours/timezone", None),
    ("quiet_hours", {**NIGHT, "start": "24:00"}, "/quiet_hours/start", None),
    ("quiet_hours", {**NIGHT, "start": "7:00"}, "/quiet_hours/start", None),
    ("quiet_hours", {**NIGHT, "end": "07:60"}, "/quiet_hours/end", None),
    ("quiet_hours", {**NIGHT, "days": []}, "/quiet_hours/days", "unknown_field"),
    ("quiet_hours", "night", "/quiet_hours", "invalid_type"),
    ("digest", {}, "/digest/every", "required"),
    ("digest", {"every": "month"}, "/digest/every", None),
    ("digest", {"every": "day"}, "/digest/at", "required"),
    ("digest", {"every": "week", "at": "07:00"}, "/digest/weekday", "required"),
    ("digest", {"every": "week", "weekday": 1}, "/digest/at", "required"),
    ("digest", {"every": "week", "at": "07:00", "weekday": 0}, "/digest/weekday", None),
    ("digest", {"every": "week", "at": "07:00", "weekday": 8}, "/digest/weekday", None),
    ("digest", {"every": "hour", "at": "07:00"}, "/digest/at", "not_of_this_digest"),
    ("digest", {"every": "hour", "weekday": 1}, "/digest/weekday", "not_of_this_digest"),
    ("digest", {"every": "day", "at": "07:00", "weekday": 1}, "/digest/weekday", "not_of_this_digest"),
    ("digest", {"every": "hour", "timezone": "Nowhere"}, "/digest/timezone", "unknown_timezone"),
])  # fmt: skip
def test_hours_that_are_none(org: Org, member: str, value: Any, pointer: str, code: str | None) -> None:
    rule = make_rule(org, **rule_of("slack"))
    for answer in (
        org.api.post(RULES, rule_of("slack", **{member: value}), expect="validation_failed"),
        org.api.patch(path_of(rule), {member: value}, expect="validation_failed"),
    ):
        found = fields(answer)
        assert pointer in found and code in (None, found[pointer]), found


# --- changes


def test_a_patch_merges(org: Org) -> None:
    one, two = org.make_printer()["id"], org.make_printer()["id"]
    group = org.make_group()["id"]
    rule = make_rule(org, **rule_of("email", filters={"printer_ids": [one]}, quiet_hours={**NIGHT, "timezone": "Europe/Berlin"}))
    path = path_of(rule)
    now = org.api.patch(path, {"filters": {"printer_group_ids": [group]}}, expect=200).json()
    assert now["filters"] == {"printer_ids": [one], "printer_group_ids": [group]}
    now = org.api.patch(path, {"filters": {"printer_ids": [two], "printer_group_ids": None}}, expect=200).json()
    assert now["filters"] == {"printer_ids": [two], "printer_group_ids": []}
    now = org.api.patch(path, {"quiet_hours": {"end": "06:00", "except_critical": False}}, expect=200).json()
    assert now["quiet_hours"] == {"start": "22:00", "end": "06:00", "timezone": "Europe/Berlin", "except_critical": False}
    org.api.patch(path, {"digest": {"every": "week", "at": "07:00", "weekday": 1}}, expect=200)
    assert fields(org.api.patch(path, {"digest": {"every": "day"}})) == {"/digest/weekday": "not_of_this_digest"}
    now = org.api.patch(path, {"digest": {"every": "day", "weekday": None}}, expect=200).json()
    assert now["digest"] == {"every": "day", "at": "07:00", "weekday": None, "timezone": "UTC"}
    now = org.api.patch(path, {"filters": None, "quiet_hours": None, "digest": None}, expect=200).json()
    assert now["filters"] == {"printer_ids": [], "printer_group_ids": []}
    assert (now["quiet_hours"], now["digest"]) == (None, None)
    same = {k for k in rule if k not in ("filters", "quiet_hours", "digest", "version", "updated_at")}
    assert {k: now[k] for k in same} == {k: rule[k] for k in same}


def test_every_member_can_be_changed(org: Org) -> None:
    path = path_of(make_rule(org, **rule_of("email")))
    change = {
        "name": "other", "enabled": False, "events": ["*", "file.ready"], "min_severity": "critical", "throttle_seconds": 60,
        "recipients": {"emails": ["c@example.org", "b@example.org"]},
    }  # fmt: skip
    now = org.api.patch(path, change, expect=200).json()
    assert {k: now[k] for k in change} == {**change, "recipients": {**change["recipients"], "principal_ids": []}}
    assert now["version"] == 2
    assert org.api.patch(path, change, expect=200).json()["version"] == 2


def test_another_channel_needs_its_own(org: Org) -> None:
    rule = make_rule(org, **rule_of("slack"))
    path = path_of(rule)
    assert fields(org.api.patch(path, {"channel": "discord"}, expect="validation_failed")) == {"/url": "required"}
    assert fields(org.api.patch(path, {"channel": "email"}, expect="validation_failed")) == {"/recipients/emails": "required"}
    assert url_of(org, rule) == f"{HOST}/hook"
    now = org.api.patch(path, {"channel": "email", "recipients": {"emails": ["a@example.org"]}}, expect=200).json()
    assert (now["channel"], now["url_host"], now["recipients"]["emails"]) == ("email", None, ["a@example.org"])
    assert sealed_of(org, rule) is None
    assert fields(org.api.patch(path, {"channel": "ntfy", "url": f"{HOST}/topic", "recipients": {"emails": ["a@example.org"]}})) == {
        "/recipients/emails": "not_of_this_channel"}  # fmt: skip
    now = org.api.patch(path, {"channel": "ntfy", "url": f"{HOST}/topic"}, expect=200).json()
    assert (now["url_host"], now["recipients"]) == ("nowhere.invalid", {"emails": [], "principal_ids": []})
    assert url_of(org, rule) == f"{HOST}/topic"
    now = org.api.patch(path, {"channel": "in_app"}, expect=200).json()
    assert (now["url_host"], now["recipients"]["principal_ids"]) == (None, [principal_of(org)])
    assert sealed_of(org, rule) is None


def test_a_faulty_patch_changes_nothing(org: Org) -> None:
    rule = make_rule(org, **rule_of("slack"))
    for wrong in (
        {"name": "other", "events": ["no.such"]}, {"name": "other", "url": f"{HOST}/b", "filters": {"printer_ids": [NOBODY]}},
        {"url": f"{HOST}/b", "quiet_hours": {"start": "22:00"}},
    ):  # fmt: skip
        org.api.patch(path_of(rule), wrong)
        assert org.api.get(path_of(rule)).json() == rule
        assert url_of(org, rule) == f"{HOST}/hook"


def test_a_printer_that_is_gone_is_in_nobodys_way(org: Org) -> None:
    printer = org.make_printer()["id"]
    rule = make_rule(org, filters={"printer_ids": [printer]})
    org.api.delete(f"/v1/printers/{printer}", expect=204)
    org.api.patch(path_of(rule), {"enabled": False}, expect=200)
    org.api.patch(path_of(rule), {"filters": {"printer_group_ids": []}}, expect="unknown_reference")
    org.api.patch(path_of(rule), {"filters": None}, expect=200)


def test_etag_and_if_match(org: Org) -> None:
    path = path_of(make_rule(org))
    tag = org.api.get(path, expect=200).headers["ETag"]
    org.api.get(path, headers={"If-None-Match": tag}, expect=304)
    answer = org.api.patch(path, {"name": "other"}, headers={"If-Match": tag}, expect=200)
    assert answer.headers["ETag"] != tag
    org.api.get(path, headers={"If-None-Match": tag}, expect=200)
    for method, body in (("PATCH", {"name": "third"}), ("PATCH", {"events": ["no.such"]}), ("DELETE", None)):
        org.api.request(method, path, json=body, headers={"If-Match": tag}, expect="precondition_failed")
    assert org.api.get(path).json()["name"] == "other"
    org.api.delete(path, headers={"If-Match": answer.headers["ETag"]}, expect=204)
    org.api.get(path, expect="resource_not_found")


def test_less_than_a_rules_rights_change_nothing(org: Org) -> None:
    printer = org.make_printer()["id"]
    rule = org.with_capabilities(*MANAGER, "queue.manage").post(RULES, rule_of("in_app"), expect=201).json()
    less = org.with_capabilities(*MANAGER)
    bound = org.with_capabilities(*CAPABILITIES, printer_ids=[printer])
    for api in (less, bound):
        api.get(path_of(rule), expect=200)
        for change in ({"name": "x"}, {"enabled": False}, {"recipients": {"principal_ids": [rule["created_by"]]}}):
            api.patch(path_of(rule), change, expect="capability_not_held")
        api.delete(path_of(rule), expect="capability_not_held")
    assert org.api.get(path_of(rule)).json() == rule
    org.with_capabilities(*MANAGER, "queue.manage", "spool.manage").patch(path_of(rule), {"name": "x"}, expect=200)


def test_who_may(org: Org) -> None:
    reader = org.with_capabilities("operations.read", "queue.manage", "printer.manage")
    path = path_of(make_rule(org))
    for method, where in (("GET", RULES), ("GET", path), ("DELETE", path), ("POST", f"{path}/test"), ("GET", f"{path}/messages")):
        reader.request(method, where, expect="insufficient_permissions")
    reader.post(RULES, rule_of("in_app"), expect="insufficient_permissions")
    reader.patch(path, {"enabled": False}, expect="insufficient_permissions")


def test_lists(org: Org) -> None:
    made = {
        name: make_rule(org, **rule_of(channel, name=name, enabled=enabled))["id"]
        for name, channel, enabled in (("Alpha", "email", True), ("beta 100%", "slack", False), ("Gamma", "slack", True))
    }

    def found(query: str) -> set[str]:
        return {r["name"] for r in org.api.get(f"{RULES}?{query}", expect=200).json()["data"]}

    assert found("channel=slack") == {"beta 100%", "Gamma"}
    assert found("channel=slack,email&enabled=true") == {"Alpha", "Gamma"}
    assert found("enabled=false") == {"beta 100%"}
    assert found("search=ALPHA") == {"Alpha"} and found("search=100%25") == {"beta 100%"} and found("search=%25") == {"beta 100%"}
    assert org.api.get(f"{RULES}?offset=0&channel=slack").json()["total"] == 2
    assert [r["id"] for r in org.api.get(f"{RULES}?sort=created_at").json()["data"]] == list(made.values())
    for query in ("channel=pager", "enabled=maybe", "sort=channel", "severity=info"):
        assert org.api.get(f"{RULES}?{query}").status_code == 400


# --- tests and messages


def test_a_test_of_an_inbox(org: Org) -> None:
    rule = make_rule(org, enabled=False, events=["print.failed"])
    message = org.api.post(f"{path_of(rule)}/test", expect=202).json()
    assert (message["status"], message["test"], message["events"]) == ("delivered", True, 1)
    (got,) = org.api.get(INBOX, expect=200).json()["data"]
    assert got["id"] == message["id"]
    assert (got["type"], got["severity"], got["rule_id"], got["sequence"]) == ("print.failed", "warning", rule["id"], None)
    assert got["title"] and "{" not in got["title"]
    assert org.api.get(f"{path_of(rule)}/messages").json()["data"] == []


@pytest.mark.parametrize("channel", [c for c in NEEDS if c != "in_app"])
def test_a_test_is_a_message(org: Org, channel: str) -> None:
    rule = make_rule(org, **rule_of(channel, enabled=False, quiet_hours={"start": "00:00", "end": "23:59"}))
    idem = {"Idempotency-Key": secrets.token_hex(8)}
    message = org.api.post(f"{path_of(rule)}/test", headers=idem, expect=202).json()
    assert (message["test"], message["events"]) == (True, 1)
    assert org.api.post(f"{path_of(rule)}/test", headers=idem, expect=202).json() == message
    (listed,) = org.api.get(f"{path_of(rule)}/messages", expect=200).json()["data"]
    assert listed["id"] == message["id"] and listed["status"] in ("queued", "failed")
    assert org.api.get(path_of(rule)).json()["last_delivery"]["id"] == message["id"]


def add_message(org: Org, rule: dict[str, Any], status: str, age: str, **columns: Any) -> str:
    """One that was sent, or is under way in a hundred years."""
    row = {"status": status, "rule_id": rule["id"], "endpoint_id": rule["id"], "id": str(uuid.uuid4()), **columns}
    names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
    org.sql(
        f"INSERT INTO app.notification_messages ({names}, created_at, finished_at, due_at) VALUES ({marks},"
        " app.now() - %s::interval, CASE WHEN %s <> 'queued' THEN app.now() END, app.now() + '100 years'::interval)",
        *row.values(), age, status,
    )  # fmt: skip
    return str(row["id"])


def test_messages(org: Org) -> None:
    rule, other = make_rule(org, **rule_of("email")), make_rule(org, **rule_of("email"))
    path = f"{path_of(rule)}/messages"
    failed = add_message(org, rule, "failed", "3 h", last_error="http_404", attempts=5, sequences=[1, 2], more=4)
    sent = add_message(org, rule, "delivered", "2 h", attempts=1, sequences=[3])
    waits = add_message(org, rule, "queued", "1 h", sequences=[4])
    add_message(org, other, "queued", "1 h")
    rows = org.api.get(path, expect=200).json()["data"]
    assert [m["id"] for m in rows] == [waits, sent, failed]
    assert [m["events"] for m in rows] == [1, 1, 6]
    assert (rows[2]["error"], rows[2]["attempts"], rows[2]["due_at"]) == ("http_404", 5, None)
    assert (rows[0]["finished_at"], rows[0]["error"]) == (None, None) and rows[0]["due_at"] > rows[0]["created_at"]
    assert [m["id"] for m in org.api.get(f"{path}?status=failed,delivered").json()["data"]] == [sent, failed]
    assert [m["id"] for m in org.api.get(f"{path}?sort=created_at&limit=1").json()["data"]] == [failed]
    assert org.api.get(f"{path}?status=queued&offset=0").json()["total"] == 1
    page = org.api.get(f"{path}?limit=2").json()
    assert [m["id"] for m in org.api.get(f"{path}?limit=2&cursor={page['next_cursor']}").json()["data"]] == [failed]
    last = org.api.get(path_of(rule)).json()["last_delivery"]
    assert (last["id"], last["status"], last["error"]) == (waits, "queued", None)
    org.api.get(f"{path}?status=lost", expect="invalid_parameter")
    org.api.get(f"{RULES}/{NOBODY}/messages", expect="resource_not_found")
    org.api.post(f"{RULES}/{NOBODY}/test", expect="resource_not_found")


def test_a_deleted_rule_leaves_inboxes_alone(org: Org) -> None:
    rule = make_rule(org)
    put_into_inbox(org, rule_id=rule["id"])
    mails = make_rule(org, **rule_of("email"))
    add_message(org, mails, "queued", "0 s")
    for one in (rule, mails):
        org.api.delete(path_of(one), expect=204)
        org.api.delete(path_of(one), expect="resource_not_found")
    (got,) = org.api.get(INBOX).json()["data"]
    assert got["rule_id"] is None
    assert org.sql("SELECT count(*) FROM app.notification_messages WHERE rule_id = %s", mails["id"]) == [(0,)]


# --- which events, and when


def fail(org: Org, printer: dict[str, Any]) -> None:
    """The printer reports an error: a critical event, `printer.error`."""
    errors = json.dumps([{"code": secrets.token_hex(4), "severity": "serious", "message": "Hot", "url": None}])
    org.connected(printer["id"], errors=f"'{errors}'")


def test_which_events(org: Org) -> None:
    """Once the last event is in the inbox of somebody who wants everything, all the others have been judged."""
    one, two, three = (org.make_printer(name=name) for name in ("one", "two", "three"))
    group = org.make_group(printer_ids=[three["id"]])
    until(lambda: org.sql("SELECT count(*) FROM app.outbox WHERE org_id = app.org()") == [(0,)], what="their making is told already")
    bound = org.base.with_key(org.make_key(CAPABILITIES, printer_ids=[one["id"]]))
    wants: dict[str, dict[str, Any]] = {
        "all": {}, "critical": {"min_severity": "critical"}, "one": {"filters": {"printer_ids": [one["id"]]}},
        "either": {"filters": {"printer_ids": [one["id"]], "printer_group_ids": [group["id"]]}},
        "files": {"events": ["file.*"]}, "off": {"enabled": False},
    }  # fmt: skip
    keys = {name: org.make_key(CAPABILITIES) for name in (*wants, "bound")}
    for name, more in wants.items():
        body = {"events": ["printer.*"], "recipients": {"principal_ids": [principal_of(org, keys[name])]}, **more}
        make_rule(org, name=name, **body)
    body = rule_of("in_app", events=["*"], recipients={"principal_ids": [principal_of(org, keys["bound"])]})
    bound.post(RULES, body, expect=201)
    for printer in (one, two, three):
        org.api.patch(f"/v1/printers/{printer['id']}", {"location": "there"}, expect=200)
        fail(org, printer)
    org.make_printer(name="last")

    def told(name: str) -> list[str]:
        rows = org.base.with_key(keys[name]).get(f"{INBOX}?sort=created_at").json()["data"]
        return sorted({f"{n['data']['name']} {n['type'].split('.')[1]}" for n in rows})

    until(lambda: "last created" in told("all"), what="the last event is told")
    everything = [f"{name} {what}" for name in ("one", "three", "two") for what in ("error", "updated")]
    assert [x for x in told("all") if x.endswith(("error", "updated"))] == everything
    assert told("critical") == ["one error", "three error", "two error"]
    assert told("one") == ["one error", "one updated"]
    assert told("either") == ["one error", "one updated", "three error", "three updated"]
    assert told("bound") == ["one error", "one updated"]
    assert told("files") == [] and told("off") == []


def messages_of(org: Org, rule: dict[str, Any]) -> list[dict[str, Any]]:
    return list(org.api.get(f"{path_of(rule)}/messages?sort=created_at").json()["data"])


def gathered(org: Org, rule: dict[str, Any], n: int) -> list[dict[str, Any]]:
    """The rule's messages, once they tell of n events."""

    def whole() -> list[dict[str, Any]]:
        found = messages_of(org, rule)
        return found if sum(m["events"] for m in found) == n else []

    return until(whole, what=f"{n} events are in messages")


def clock(at: datetime, zone: str) -> str:
    return at.astimezone(ZoneInfo(zone)).strftime("%H:%M")


def test_a_digest_gathers(org: Org) -> None:
    zone = "Australia/Darwin"
    due = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(hours=9)
    weekday = due.astimezone(ZoneInfo(zone)).isoweekday()
    digests = {
        "hour": {"every": "hour"}, "day": {"every": "day", "at": clock(due, zone), "timezone": zone},
        "week": {"every": "week", "at": clock(due, zone), "weekday": weekday, "timezone": zone},
    }  # fmt: skip
    rules = {e: make_rule(org, **rule_of("email", events=["printer.created"], digest=d)) for e, d in digests.items()}
    for _ in range(3):
        org.make_printer()
    for every, rule in rules.items():
        (message,) = gathered(org, rule, 3)
        assert (message["status"], message["attempts"]) == ("queued", 0)
        at = datetime.fromisoformat(message["due_at"])
        if every == "hour":
            assert (at.minute, at.second) == (0, 0) and at - datetime.now(UTC) <= timedelta(hours=1)
        else:
            assert at == due


def test_quiet_hours_wait_and_critical_events_do_not(org: Org) -> None:
    zone, now = "Asia/Kathmandu", datetime.now(UTC).replace(second=0, microsecond=0)
    until_then = now + timedelta(hours=1)
    quiet = {"start": clock(now - timedelta(hours=1), zone), "end": clock(until_then, zone), "timezone": zone}
    events = ["printer.created", "printer.error"]
    strict = make_rule(org, **rule_of("email", events=events, quiet_hours={**quiet, "except_critical": False}))
    usual = make_rule(org, **rule_of("email", events=events, quiet_hours=quiet, digest={"every": "hour"}, throttle_seconds=86400))
    over = make_rule(org, **rule_of("email", events=events, quiet_hours={**quiet, "start": quiet["end"], "end": quiet["start"]}))
    printer = org.make_printer()
    for rule in (strict, usual):
        (message,) = gathered(org, rule, 1)
        assert message["status"] == "queued"
        if rule is strict:
            assert datetime.fromisoformat(message["due_at"]) == until_then
    (message,) = gathered(org, over, 1)
    assert message["due_at"] is None or datetime.fromisoformat(message["due_at"]) < until_then
    fail(org, printer)
    (message,) = gathered(org, strict, 2)
    assert datetime.fromisoformat(message["due_at"]) == until_then
    until(lambda: all(m["attempts"] for m in messages_of(org, usual)), what="the critical event takes along what waits")


def test_a_throttle_spaces(org: Org) -> None:
    rule = make_rule(org, **rule_of("email", events=["printer.created"], throttle_seconds=3600))
    org.make_printer()
    until(lambda: [m for m in messages_of(org, rule) if m["attempts"]], what="the first is sent at once")
    for _ in range(2):
        org.make_printer()
    first, second = gathered(org, rule, 3)
    assert (first["events"], second["events"], second["attempts"]) == (1, 2, 0)
    wait = datetime.fromisoformat(second["due_at"]) - datetime.fromisoformat(first["created_at"])
    assert timedelta(seconds=3595) < wait < timedelta(seconds=3900), "an hour after the last attempt"


# --- the inbox


def ids(api: Api, query: str = "") -> list[str]:
    return [n["id"] for n in api.get(f"{INBOX}{query}", expect=200).json()["data"]]


def test_events_come_in(org: Org) -> None:
    make_rule(org, events=["printer.created"])
    reader = org.make_key(["operations.read"])
    make_rule(org, events=["printer.*"], recipients={"principal_ids": [principal_of(org, reader)]})
    printer = org.make_printer(name="Prusa 7")
    (got,) = until(lambda: org.api.get(INBOX).json()["data"], what="the event is in the inbox")
    assert (got["type"], got["title"], got["data"]["printer_id"]) == ("printer.created", "Printer Prusa 7 was added", printer["id"])
    event = org.sql("SELECT id, sequence FROM app.events WHERE type = 'printer.created' AND org_id = %s", org.id)[0]
    assert (got["event_id"], got["sequence"]) == (str(event[0]), event[1])
    assert [n["title"] for n in org.base.with_key(reader).get(INBOX).json()["data"]] == ["Printer Prusa 7 was added"]


def test_nobody_sees_anothers_inbox(org: Org) -> None:
    mine = put_into_inbox(org)
    other = org.make_key(CAPABILITIES)
    theirs = put_into_inbox(org, other)
    api = org.base.with_key(other)
    assert (ids(org.api), ids(api)) == ([mine], [theirs])
    assert org.api.get(f"{INBOX}?offset=0").json()["total"] == 1
    for method, body in (("GET", None), ("PATCH", {"read": True})):
        org.api.request(method, f"{INBOX}/{theirs}", json=body, expect="resource_not_found")
    assert org.api.post(f"{INBOX}/read-all", expect=200).json() == {"read": 1}
    assert api.get(f"{INBOX}/{theirs}", expect=200).json()["read"] is False


def test_a_key_sees_what_it_may_see(org: Org) -> None:
    printer, other = org.make_printer()["id"], org.make_printer()["id"]
    key = org.make_key(CAPABILITIES)
    seen = put_into_inbox(org, key, printer_id=printer, created_at="2026-01-03T00:00:00Z")
    hidden = put_into_inbox(org, key, printer_id=other, created_at="2026-01-02T00:00:00Z")
    people = put_into_inbox(org, key, type="member.joined", capability="org.manage_users", created_at="2026-01-01T00:00:00Z")
    api = org.base.with_key(key)
    assert ids(api) == [seen, hidden, people]
    org.sql("UPDATE app.api_keys SET printer_ids = ARRAY[%s]::uuid[] WHERE id = %s", printer, org.key_id(key))
    assert ids(api) == [seen]
    org.sql("UPDATE app.api_keys SET printer_ids = NULL, capabilities = ARRAY['org.manage_users'] WHERE id = %s", org.key_id(key))
    assert ids(api) == [people]
    for hides in (seen, hidden):
        api.get(f"{INBOX}/{hides}", expect="resource_not_found")
        api.patch(f"{INBOX}/{hides}", {"read": True}, expect="resource_not_found")
    assert api.post(f"{INBOX}/read-all", expect=200).json() == {"read": 1}
    org.sql("UPDATE app.api_keys SET capabilities = '{}' WHERE id = %s", org.key_id(key))
    assert ids(api) == []


def test_filters_and_orders(org: Org) -> None:
    made = {
        name: put_into_inbox(org, title=name, severity=severity, type=kind, created_at=f"2026-11-0{day}T00:00:00Z", read_at=read)
        for name, severity, kind, day, read in (
            ("a", "info", "print.completed", 1, None), ("b", "warning", "print.failed", 2, "2026-11-05T00:00:00Z"),
            ("c", "critical", "printer.error", 3, None),
        )
    }  # fmt: skip

    def found(query: str) -> str:
        return "".join(n["title"] for n in org.api.get(f"{INBOX}?{query}", expect=200).json()["data"])

    assert found("") == "cba" and found("sort=created_at") == "abc"
    assert found("unread=true") == "ca" and found("unread=false") == "b"
    assert found("severity=warning,critical") == "cb" and found("severity=info&unread=false") == ""
    assert found("type=print.failed") == "b" and found("type=print.*") == "ba" and found("type=print.failed,printer.*") == "cb"
    assert found("type=*") == "cba" and found("type=queue_item.*") == ""
    assert org.api.get(f"{INBOX}?unread=true&offset=0").json()["total"] == 2
    page = org.api.get(f"{INBOX}?limit=1&unread=true").json()
    assert ids(org.api, f"?limit=1&unread=true&cursor={page['next_cursor']}") == [made["a"]]
    org.api.get(f"{INBOX}?unread=false&cursor={page['next_cursor']}&limit=1")
    for query in ("unread=x", "severity=fatal", "type=Print", "sort=title", "principal_id=" + NOBODY):
        assert org.api.get(f"{INBOX}?{query}").status_code == 400


def test_reading(org: Org) -> None:
    path = f"{INBOX}/{put_into_inbox(org)}"
    first = org.api.get(path, expect=200)
    assert (first.json()["read"], first.json()["read_at"]) == (False, None)
    tag = first.headers["ETag"]
    org.api.get(path, headers={"If-None-Match": tag}, expect=304)
    read = org.api.patch(path, {"read": True}, headers={"If-Match": tag}, expect=200)
    assert read.json()["read"] is True and read.json()["read_at"]
    assert read.headers["ETag"] != tag
    assert org.api.patch(path, {"read": True}, expect=200).json() == read.json()
    org.api.patch(path, {"read": False}, headers={"If-Match": tag}, expect="precondition_failed")
    again = org.api.patch(path, {"read": False}, headers={"If-Match": read.headers["ETag"]}, expect=200)
    assert again.json() == first.json()
    for body, pointer in (({}, "/read"), ({"read": None}, "/read"), ({"read": True, "title": "x"}, "/title")):
        assert pointer in fields(org.api.patch(path, body, expect="validation_failed"))
    org.api.patch(f"{INBOX}/{NOBODY}", {"read": True}, expect="resource_not_found")


def test_reading_everything(org: Org) -> None:
    for _ in range(3):
        put_into_inbox(org)
    org.api.patch(f"{INBOX}/{put_into_inbox(org)}", {"read": True}, expect=200)
    idem = {"Idempotency-Key": secrets.token_hex(8)}
    assert org.api.post(f"{INBOX}/read-all", headers=idem, expect=200).json() == {"read": 3}
    put_into_inbox(org)
    assert org.api.post(f"{INBOX}/read-all", headers=idem, expect=200).json() == {"read": 3}
    assert len(ids(org.api, "?unread=true")) == 1
    assert org.api.post(f"{INBOX}/read-all", expect=200).json() == {"read": 1}
    assert org.api.post(f"{INBOX}/read-all", expect=200).json() == {"read": 0}


def test_other_organisations(make_organisation: Callable[[], Org], org: Org) -> None:
    stranger = make_organisation()
    rule = make_rule(org)
    put_into_inbox(org)
    assert stranger.api.get(RULES).json()["data"] == [] and ids(stranger.api) == []
    stranger.api.patch(path_of(rule), {"name": "x"}, expect="resource_not_found")
    assert stranger.api.post(f"{INBOX}/read-all").json() == {"read": 0}


def test_too_many_rules(org: Org) -> None:
    gone = make_rule(org)["id"]
    org.sql("INSERT INTO app.notification_rules (name, events, channel, emails) SELECT 'x', '{*}', 'email', '{a@example.com}'"
            " FROM generate_series(1, 199)")  # fmt: skip
    body = {"name": "One more", "events": ["*"], "channel": "in_app"}
    org.api.post("/v1/platform/notification-rules", body, expect="too_many_notification_rules")
    org.api.delete(f"/v1/platform/notification-rules/{gone}", expect=204)
    org.api.post("/v1/platform/notification-rules", body, expect=201)
