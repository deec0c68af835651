"""The log of events and their types: one catalogue in the contract, in the database and in the API; sequences without gaps."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from api import Api, fields
from contract import Contract
from hooks import EVENTS, TYPES, make_event
from jsonschema import Draft202012Validator, FormatChecker
from keys import CAPABILITIES
from wait import until
from world import Org

NOBODY = "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70"


def log(api: Api, query: str = "") -> list[dict[str, Any]]:
    return list(api.get(f"{EVENTS}?limit=100&{query}", expect=200).json()["data"])


def told(org: Org, kind: str, **members: Any) -> dict[str, Any]:
    """The first event of this type with these members, once it is published."""
    return dict(until(
        lambda: next((e for e in log(org.api, f"types={kind}") if all(e["data"].get(k) == v for k, v in members.items())), None),
        what=f"{kind} {members}",
    ))  # fmt: skip


# --- the catalogue

def declared(contract: Contract) -> dict[str, dict[str, Any]]:
    return {name: item["post"] for name, item in contract.doc["webhooks"].items()}


def test_one_catalogue(org: Org, contract: Contract) -> None:
    """What the contract declares is what the service lists, word by word."""
    listed = org.api.get(TYPES, expect=200).json()["data"]
    assert [t["type"] for t in listed] == sorted(t["type"] for t in listed)
    ours = declared(contract)
    assert {t["type"] for t in listed} == set(ours)
    for t in listed:
        post = ours[t["type"]]
        assert (t["title"], t["description"], t["capability"], t["severity"], t["available"]) == (
            post["x-title"], post["description"], post["x-capability"], post["x-severity"], post["x-available"])  # fmt: skip
        assert t["example"] == post["requestBody"]["content"]["application/json"]["example"]["data"], t["type"]
        assert t["permitted"] is True


def validator(contract: Contract, kind: str) -> Draft202012Validator:
    pointer = f"/webhooks/{kind}/post/requestBody/content/application~1json/schema"
    return Draft202012Validator({"$ref": f"urn:contract#{pointer}"}, registry=contract._registry, format_checker=FormatChecker())


def test_examples_are_as_their_schemas_say(contract: Contract) -> None:
    for kind, post in declared(contract).items():
        example = post["requestBody"]["content"]["application/json"]["example"]
        assert list(example) == ["id", "type", "timestamp", "organization_id", "sequence", "data"]
        validator(contract, kind).validate(example)
        for broken in ({**example, "type": "other.type"}, {**example, "data": {**example["data"], "nonsense": 1}},
                       {k: v for k, v in example.items() if k != "sequence"}, {**example, "more": 1}):  # fmt: skip
            assert list(validator(contract, kind).iter_errors(broken)), (kind, broken)


def test_titles_name_members_of_the_data(contract: Contract) -> None:
    for kind, post in declared(contract).items():
        example = post["requestBody"]["content"]["application/json"]["example"]["data"]
        post["x-title"].format(**example)
        assert post["parameters"], kind


def test_permitted_follows_the_credential(org: Org) -> None:
    api = org.with_capabilities("integrations.manage")
    permitted = {t["type"] for t in api.get(TYPES, expect=200).json()["data"] if t["permitted"]}
    assert "webhook.disabled" in permitted
    assert not permitted & {"print.failed", "member.joined"}


def test_types_that_were_promised(contract: Contract) -> None:
    kinds = set(declared(contract))
    assert kinds >= {"queue_item.assigned", "spool_assignment.created", "spool.low_stock", "spool.empty", "member.joined",
                     "print.started", "print.progress", "print.completed", "print.failed", "print.cancelled", "printer.state_changed",
                     "printer.online", "printer.offline", "printer.error", "file.ready", "file.failed", "webhook.disabled"}  # fmt: skip
    unsent = {k for k, post in declared(contract).items() if not post["x-available"]}
    assert {k.split(".")[0] for k in unsent} == {"spool", "spool_assignment", "member"}


# --- the log

def test_an_event_of_every_day(org: Org, contract: Contract) -> None:
    made = org.make_printer(name="Bench")
    event = told(org, "printer.created", printer_id=made["id"])
    assert list(event) == ["id", "type", "timestamp", "organization_id", "sequence", "data"]
    assert event["organization_id"] == org.id
    assert event["data"] == {"printer_id": made["id"], "name": "Bench"}
    validator(contract, "printer.created").validate(event)


def everyday(org: Org) -> None:
    """A little of everything that needs neither a printer nor a file's bytes."""
    one = org.make_printer()["id"]
    org.api.patch(f"/v1/printers/{one}", {"location": "there"}, expect=200)
    group = org.make_group(printer_ids=[one])["id"]
    org.api.patch(f"/v1/printer-groups/{group}", {"name": "other"}, expect=200)
    org.api.delete(f"/v1/printer-groups/{group}", expect=204)
    org.api.delete(f"/v1/models/{org.make_model()['id']}", expect=204)
    org.api.delete(f"/v1/collections/{org.make_collection()['id']}", expect=204)
    item = org.api.post("/v1/platform/queue", {"name": "x"}, expect=201).json()["id"]
    for action in ("hold", "release", "cancel", "retry"):
        org.api.post(f"/v1/platform/queue/{item}/{action}", check=False)
    org.api.patch(f"/v1/platform/queue/{item}", {"notes": "x"}, expect=200)
    file = org.api.post("/v1/files/register", {"filename": "a.gcode", "size_bytes": 4}, expect=201).json()["file_id"]
    org.api.delete(f"/v1/files/{file}", expect=204)
    key = org.api.post("/v1/platform/api-keys", {"name": "k", "capabilities": []}, expect=201).json()["id"]
    new = org.api.post(f"/v1/platform/api-keys/{key}/rotate", expect=201).json()["id"]
    org.api.delete(f"/v1/platform/api-keys/{new}", expect=204)
    hook = {"name": "h", "endpoint_url": "https://nowhere.invalid/", "subscriptions": ["spool.empty"]}
    hook_id = org.api.post("/v1/platform/webhooks", hook, expect=201).json()["id"]
    org.api.patch(f"/v1/platform/webhooks/{hook_id}", {"name": "i"}, expect=200)
    org.api.delete(f"/v1/platform/webhooks/{hook_id}", expect=204)
    org.api.delete(f"/v1/printers/{one}", expect=204)


def test_what_is_told_is_as_the_contract_says(org: Org, contract: Contract) -> None:
    """Every event of an ordinary day against the schema of its type, and none of a type that nobody declared."""
    everyday(org)
    told(org, "printer.deleted")
    events = log(org.api)
    for event in events:
        assert event["type"] in contract.doc["webhooks"], event["type"]
        validator(contract, event["type"]).validate(event)
    assert {e["type"] for e in events} >= {
        "printer.created", "printer.updated", "printer.deleted", "printer_group.created", "printer_group.updated",
        "printer_group.deleted", "model.created", "model.deleted", "collection.created", "collection.deleted", "queue_item.created",
        "queue_item.held", "queue_item.released", "queue_item.cancelled", "queue_item.requeued", "queue_item.updated", "file.created",
        "file.deleted", "api_key.created", "api_key.rotated", "api_key.revoked", "webhook.created", "webhook.updated", "webhook.deleted",
    }  # fmt: skip


def test_prints_and_errors_are_as_the_contract_says(org: Org, contract: Contract) -> None:
    """What gateways write, by SQL."""
    printer = org.make_printer(name="P")["id"]
    begun = org.sql(
        "INSERT INTO app.prints (org_id, printer_id, source, name, filename, started_at)"
        " VALUES (app.org(), %s, 'printer', 'x', 'x.gcode', app.now() - '10 min'::interval) RETURNING id", printer,
    )[0][0]  # fmt: skip
    for progress in (10, 30, 55, 80):
        org.connected(printer, state="'printing'", print_id=f"'{begun}'",
                      job=f"'{json.dumps({'file': 'x.gcode', 'name': 'x', 'progress': progress, 'remaining_s': 60})}'")  # fmt: skip
    error = [{"code": "0300_0100_0001_0001", "severity": "serious", "module": "mainboard", "source": "hms", "message": "hot", "url": None}]
    org.connected(printer, errors=f"'{json.dumps(error)}'")
    org.sql("UPDATE app.prints SET state = 'failed', ended_at = app.now() WHERE id = %s", begun)
    failed = told(org, "print.failed", print_id=str(begun))
    assert (failed["data"]["printer_name"], failed["data"]["filename"], failed["data"]["status"]) == ("P", "x.gcode", "failed")
    assert failed["data"]["duration_s"] >= 600
    for event in log(org.api):
        validator(contract, event["type"]).validate(event)
    assert [e["data"]["milestone"] for e in reversed(log(org.api, "types=print.progress"))] == [25, 50, 75]
    assert told(org, "printer.error", printer_id=printer)["data"]["code"] == "0300_0100_0001_0001"
    assert told(org, "print.started", print_id=str(begun))["data"]["ended_at"] is None


def test_sequences_have_no_gaps(org: Org) -> None:
    for _ in range(5):
        org.make_group()
    until(lambda: len(log(org.api, "types=printer_group.created")) == 5)
    events = log(org.api, "after=0")
    assert [e["sequence"] for e in events] == list(range(1, len(events) + 1))
    assert [e["sequence"] for e in log(org.api)] == list(range(len(events), 0, -1))


def test_after_reads_on(org: Org) -> None:
    """As a client does that was away: page by page, each from the last sequence of the one before."""
    made = [make_event(org)["sequence"] for _ in range(25)]
    seen: list[int] = []
    last = made[4]
    while True:
        page = org.api.get(f"{EVENTS}?after={last}&limit=7&types=print.failed", expect=200).json()
        seen += [e["sequence"] for e in page["data"]]
        last = seen[-1]
        if not page["has_more"]:
            break
    assert seen == made[5:]
    assert org.api.get(f"{EVENTS}?after={last}&types=print.failed").json() == {"data": [], "has_more": False, "next_cursor": None}


@pytest.mark.parametrize("after", ["", "&after=0"])
def test_cursors_and_offsets(org: Org, after: str) -> None:
    made = [make_event(org)["sequence"] for _ in range(9)]
    expected = made if after else made[::-1]
    seen: list[int] = []
    cursor = ""
    while cursor is not None:
        page = org.api.get(f"{EVENTS}?limit=4&types=print.failed{after}{cursor and f'&cursor={cursor}'}", expect=200).json()
        seen += [e["sequence"] for e in page["data"]]
        cursor = page["next_cursor"]
    assert seen == expected
    page = org.api.get(f"{EVENTS}?offset=2&limit=3&types=print.failed{after}", expect=200).json()
    assert ([e["sequence"] for e in page["data"]], page["total"], page["has_more"]) == (expected[2:5], 9, True)
    first = org.api.get(f"{EVENTS}?limit=4{after}").json()["next_cursor"]
    org.api.get(f"{EVENTS}?limit=4&types=print.failed{after}&cursor={first}", expect="invalid_cursor")
    org.api.get(f"{EVENTS}?offset=10001", expect="offset_too_large")


def test_filters(org: Org) -> None:
    printer = org.make_printer()["id"]
    item = org.api.post("/v1/platform/queue", {"name": "x"}, expect=201).json()["id"]
    one = make_event(org, "print.failed", printer_id=printer)["sequence"]
    two = make_event(org, "queue_item.failed", printer_id=printer, item_id=item)["sequence"]
    three = make_event(org, "file.ready", created_at="2026-01-05T00:00:00Z")["sequence"]

    def got(query: str) -> list[int]:
        events = log(org.api, query if "after=" in query else f"after=0&{query}")
        return [e["sequence"] for e in events if e["sequence"] in (one, two, three)]

    for query, expected in (
        ("", [one, two, three]), ("types=print.failed", [one]), ("types=print.*,queue_item.failed", [one, two]),
        ("types=*", [one, two, three]),
        ("types=nothing.ever", []), (f"printer_id={printer}", [one, two]), (f"printer_id={NOBODY}", []), (f"queue_item_id={item}", [two]),
        ("after=0&created_before=2026-02-01T00:00:00Z", [three]), ("after=0&created_after=2026-02-01T00:00:00Z", [one, two]),
        (f"after={two}", [three]), (f"types=print.*&printer_id={printer}", [one]),
    ):  # fmt: skip
        assert got(query) == expected, query


@pytest.mark.parametrize(
    "query",
    ["after=-1", "after=x", "after=1.5", "types=", "types=print", "types=*.failed", "printer_id=x", "limit=0", "limit=101",
     "created_after=x"],  # fmt: skip
)
def test_parameters_out_of_bounds(api: Api, query: str) -> None:
    assert set(fields(api.get(f"{EVENTS}?{query}", expect="invalid_parameter")))
    api.get(f"{EVENTS}?sort=sequence", expect="unknown_parameter")


def test_what_is_forgotten_is_said(org: Org) -> None:
    """Nobody takes a log with a hole for a whole one."""
    made = [make_event(org, created_at="2026-01-01T00:00:00Z")["sequence"] for _ in range(4)]
    org.sql("DELETE FROM app.events WHERE org_id = %s AND sequence <= %s", org.id, made[1])
    org.sql("UPDATE sec.event_heads SET forgotten = %s WHERE org_id = %s", made[1], org.id)
    for after in (0, made[0]):
        assert org.api.get(f"{EVENTS}?after={after}", expect="event_not_kept").status_code == 410
    for after in (made[1], made[2], made[3], made[3] + 1000):
        org.api.get(f"{EVENTS}?after={after}", expect=200)
    assert [e["sequence"] for e in log(org.api, f"after={made[1]}&types=print.failed")] == made[2:]
    assert [e["sequence"] for e in log(org.api, "types=print.failed")] == made[:1:-1]


# --- who sees what

OF_CAPABILITIES = {"operations.read": "print.failed", "integrations.manage": "webhook.disabled", "org.manage_users": "member.joined"}


@pytest.mark.parametrize("capability", OF_CAPABILITIES)
def test_each_capability_sees_its_own(org: Org, capability: str) -> None:
    for other, kind in OF_CAPABILITIES.items():
        make_event(org, kind, capability=other)
    api = org.with_capabilities("integrations.manage", capability)
    seen = {e["type"] for e in log(api)} & set(OF_CAPABILITIES.values())
    assert seen == {"webhook.disabled", OF_CAPABILITIES[capability]}
    assert log(api, "types=print.failed,member.joined&offset=0") == log(api, "types=print.failed,member.joined")
    assert len(log(org.api, "types=print.failed,member.joined,webhook.disabled")) == 3


def test_keys_that_are_bound_to_printers(org: Org) -> None:
    one, two = org.make_printer()["id"], org.make_printer()["id"]
    mine = make_event(org, printer_id=one)["sequence"]
    hidden = [make_event(org, printer_id=two)["sequence"], make_event(org, "file.ready")["sequence"]]
    api = org.with_capabilities(*CAPABILITIES, printer_ids=[one])
    seen = [e["sequence"] for e in log(api)]
    assert mine in seen
    assert not set(seen) & set(hidden)
    assert [e["sequence"] for e in log(api, f"printer_id={two}")] == []
    assert {e["data"].get("printer_id") for e in log(api, "types=printer.*")} <= {one}
    none = org.with_capabilities(*CAPABILITIES, printer_ids=[])
    assert log(none) == []


def test_other_organisations_events_are_not_there(org: Org, make_organisation: Callable[[], Org]) -> None:
    other = make_organisation()
    printer = other.make_printer()["id"]
    make_event(other, printer_id=printer)
    until(lambda: log(other.api, "types=printer.created"))
    assert all(e["organization_id"] == org.id for e in log(org.api))
    assert log(org.api, f"printer_id={printer}") == []
