"""Live streams: who is shown what, how a stream begins, goes on and ends; by Server-Sent Events and by WebSocket."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import queues
import websockets.exceptions
from api import fields
from streams import EventSocket, EventStream, Listener, nginx_channel
from wait import until
from world import Org

Opened = EventStream | EventSocket
Listen = Callable[..., Any]


@pytest.fixture(params=["sse", "websocket"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def listen(org: Org) -> Iterator[Listen]:
    """listen(key, query, way="sse"): an open stream, closed in the end."""
    made: list[Opened] = []

    def open_(key: str, query: str = "", way: str = "sse", url: str = "", **headers: str) -> Opened:
        url = url or f"{org.stack.url}/v1/events{'?' if query else ''}{query}"
        kind: type[Any] = EventSocket if way == "websocket" else EventStream
        made.append(kind(url, org.stack.cacert, key, **headers))
        return made[-1]

    yield open_
    for each in made:
        each.close()


def settled(org: Org) -> int:
    """The highest sequence, when everything that was told has been published and nginx has it."""
    waiting = "SELECT (SELECT count(*) FROM app.outbox WHERE org_id = %s) + (SELECT count(*) FROM sec.stream_queue)"
    until(lambda: org.sql(waiting, org.id)[0][0] == 0, 10, what="the publisher")
    return int(org.sql("SELECT coalesce(max(sequence), 0) FROM app.events WHERE org_id = %s", org.id)[0][0])


# --- how it begins and goes on --------------------------------------------------------------------


def test_first_what_there_is_then_what_happens(org: Org, listen: Listen, way: str) -> None:
    there = org.make_printer(name="was there")
    head = settled(org)
    stream = listen(org.key, way=way)
    first = stream.snapshot
    assert [p["printer_id"] for p in first.data["printers"]] == [there["id"]]
    assert first.body["sequence"] == head and first.body["organization_id"] == org.id
    assert first.data["missed"] == [] and first.data["gap"] is False and first.data["queue_item"] is None
    for i in range(5):
        org.make_printer(name=f"new {i}")
    got = stream.wait("printer.created", name="new 4")
    assert list(got.body) == ["id", "type", "timestamp", "organization_id", "sequence", "data"]
    fresh = [m for m in stream.events if m.body["sequence"] > head]
    assert [m.data["name"] for m in fresh] == [f"new {i}" for i in range(5)]
    assert [m.body["sequence"] for m in fresh] == list(range(head + 1, head + 6))
    assert first is stream.messages[0]


def test_what_a_stream_says_is_what_the_log_says(org: Org, listen: Listen) -> None:
    stream = listen(org.key)
    org.make_printer()
    live = stream.wait("printer.created").body
    assert live in org.api.get("/v1/platform/events", expect=200).json()["data"]


def test_the_answer_has_the_contracts_headers(org: Org, listen: Listen) -> None:
    stream = listen(org.key, X_Request_Id="stream-1", Accept="*/*")
    assert stream.status == 200
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.headers["x-request-id"] == "stream-1"
    assert stream.headers["cache-control"] == "private, no-cache"
    for name in ("x-soloprint-api-version", "x-ratelimit-limit", "ratelimit", "strict-transport-security"):
        assert name in stream.headers
    assert "access-control-allow-origin" not in stream.headers
    head = org.api.request("HEAD", "/v1/events", check=False)
    assert head.status_code == 200 and head.content == b""


def test_hostile_headers_do_not_reach_nchan(org: Org, listen: Listen) -> None:
    stream = listen(
        org.key, If_Modified_Since="Sat, 28 Nov 2020 20:47:48 GMT", If_None_Match="0,[4],3,4,5", X_SLP_Since="1:[[[",
        Accept="application/json", Origin="https://elsewhere.example",
    )  # fmt: skip
    assert stream.snapshot
    assert "access-control-allow-origin" not in stream.headers


def test_websocket_with_ids(org: Org, listen: Listen) -> None:
    stream = listen(org.key, way="websocket", subprotocol="ws+meta.nchan")
    assert stream.ws.subprotocol == "ws+meta.nchan"
    assert stream.snapshot.id
    org.make_printer()
    seen = stream.wait("printer.created").id
    org.make_printer(name="later")
    stream.close()
    assert listen(org.key, Last_Event_ID=seen).wait("printer.created", name="later")


def test_a_broken_websocket_request_is_refused_in_our_words(org: Org, listen: Listen) -> None:
    broken = listen(org.key, Connection="Upgrade", Upgrade="websocket")
    assert (broken.status, json.loads(broken.body)["error"]) == (400, "bad_request")
    with pytest.raises(websockets.exceptions.InvalidStatus) as e:
        EventSocket(f"{org.stack.url}/v1/events", org.stack.cacert)
    assert e.value.response.status_code == 401
    assert json.loads(e.value.response.body)["error"] == "missing_bearer_token"


def test_heartbeats(org: Org, listen: Listen) -> None:
    sse, ws = listen(org.key), listen(org.key, way="websocket")
    frames: list[float] = []
    protocol = ws.ws.protocol
    take = protocol.recv_frame

    def recv_frame(frame: Any) -> None:
        if frame.opcode.name == "PING":
            frames.append(time.monotonic())
        take(frame)

    protocol.recv_frame = recv_frame
    began = time.monotonic()
    until(lambda: sse.pings and frames, 40, what="a ping each")
    assert sse.pings[0] - began > 10 and frames[0] - began > 10, "no more often than needed"
    assert not sse.ended_at and not ws.ended_at


# --- who is shown what ----------------------------------------------------------------------------


def test_capabilities_choose(org: Org, listen: Listen) -> None:
    reader = listen(org.make_key(["operations.read"]))
    manager = listen(org.make_key(["integrations.manage"]))
    nobody = listen(org.make_key(["org.manage_users"]))
    everything = listen(org.key)
    assert nobody.snapshot.data["printers"] == manager.snapshot.data["printers"] == []
    org.api.post("/v1/platform/api-keys", {"name": "made", "capabilities": ["operations.read"]}, expect=201)
    org.make_printer()
    everything.wait("printer.created")
    everything.wait("api_key.created", name="made")
    assert reader.wait("printer.created") and manager.wait("api_key.created", name="made")
    # Whatever comes later has come behind what they must not see.
    org.make_printer(name="last")
    org.api.post("/v1/platform/api-keys", {"name": "last", "capabilities": ["operations.read"]}, expect=201)
    assert reader.wait("printer.created", name="last") and manager.wait("api_key.created", name="last")
    assert {t.split(".")[0] for t in reader.types} == {"printer"}
    assert {t.split(".")[0] for t in manager.types} == {"api_key"}
    assert nobody.types == []


def test_a_key_of_some_printers_sees_those(org: Org, listen: Listen, way: str) -> None:
    mine, other = org.make_printer(name="mine"), org.make_printer(name="other")
    settled(org)
    stream = listen(org.make_key(["operations.read"], printer_ids=[mine["id"]]), "after=0", way=way)
    assert [p["name"] for p in stream.snapshot.data["printers"]] == ["mine"]
    for printer in (other, mine):
        org.api.patch(f"/v1/printers/{printer['id']}", {"location": "Lab 3"}, expect=200)
    stream.wait("printer.updated")
    assert {m.data["printer_id"] for m in stream.events} == {mine["id"]}


def test_of_one_printer(org: Org, listen: Listen, way: str) -> None:
    mine, other = org.make_printer(name="mine"), org.make_printer(name="other")
    stream = listen(org.key, f"printer_id={mine['id']}", way=way)
    assert [p["name"] for p in stream.snapshot.data["printers"]] == ["mine"]
    for printer in (other, mine):
        org.api.patch(f"/v1/printers/{printer['id']}", {"location": "Lab 3"}, expect=200)
    assert stream.wait("printer.updated")
    assert {m.data["printer_id"] for m in stream.events} == {mine["id"]}


def test_of_one_item(org: Org, listen: Listen) -> None:
    mine, other = (queues.make_item(org, name=n) for n in ("mine", "other"))
    stream = listen(org.key, f"queue_item_id={mine['id']}")
    assert stream.snapshot.data["queue_item"]["queue_item_id"] == mine["id"]
    for item in (other, mine):
        queues.act(org, item["id"], "cancel")
    assert stream.wait("queue_item.cancelled", name="mine")
    assert {m.data["queue_item_id"] for m in stream.events} == {mine["id"]}


def test_what_is_not_there_is_not_found(org: Org, other_org: Org) -> None:
    theirs, item = other_org.make_printer()["id"], queues.make_item(other_org)["id"]
    limited = org.with_capabilities("operations.read", printer_ids=[org.make_printer()["id"]])
    blind = org.with_capabilities("org.manage_users")
    own = org.make_printer()["id"]
    for api, query in (
        (org.api, f"printer_id={theirs}"), (org.api, f"printer_id={uuid.uuid4()}"), (org.api, f"queue_item_id={item}"),
        (limited, f"printer_id={own}"), (blind, f"printer_id={own}"),
    ):  # fmt: skip
        api.get(f"/v1/events?{query}", expect="resource_not_found")
        name, value = query.split("=")
        api.post("/v1/events/token", {name: value}, expect="resource_not_found")


def test_one_dimension_only(org: Org) -> None:
    printer, item = org.make_printer()["id"], queues.make_item(org)["id"]
    answer = org.api.get(f"/v1/events?printer_id={printer}&queue_item_id={item}", expect="invalid_parameter")
    assert fields(answer) == {"/query/queue_item_id": "conflict"}
    body = {"printer_id": printer, "queue_item_id": item}
    answer = org.api.post("/v1/events/token", body, expect="validation_failed")
    assert fields(answer) == {"/queue_item_id": "conflict"}


@pytest.mark.once
def test_two_organisations_never_see_each_others(org: Org, other_org: Org, listen: Listen, way: str) -> None:
    mine, theirs = listen(org.key, way=way), listen(other_org.key, way=way)
    assert mine.snapshot and theirs.snapshot
    for i in range(20):
        org.make_printer(name=f"mine {i}")
        other_org.make_printer(name=f"theirs {i}")
    mine.wait("printer.created", name="mine 19")
    theirs.wait("printer.created", name="theirs 19")
    for stream, owner in ((mine, org), (theirs, other_org)):
        assert {m.body["organization_id"] for m in stream.messages} == {owner.id}


# --- what was missed ------------------------------------------------------------------------------


def test_resume_by_last_event_id(org: Org, listen: Listen) -> None:
    first = listen(org.key)
    org.make_printer(name="seen")
    first.wait("printer.created", name="seen")
    last_id = first.last_id
    first.close()
    for i in range(3):
        org.make_printer(name=f"missed {i}")
    settled(org)
    again = listen(org.key, Last_Event_ID=last_id)
    org.make_printer(name="live")
    again.wait("printer.created", name="live")
    names = [m.data["name"] for m in again.events if m.type == "printer.created"]
    assert names[-4:] == ["missed 0", "missed 1", "missed 2", "live"]
    assert again.snapshot.data["gap"] is False


def test_last_event_id_goes_before_after(org: Org, listen: Listen) -> None:
    """EventSource opens the same URL again: what stands there is old by then."""
    with_old = listen(org.key, "after=0")
    org.make_printer(name="seen")
    with_old.wait("printer.created", name="seen")
    again = listen(org.key, "after=999999", Last_Event_ID=with_old.last_id)
    assert "printer.created" in [e["type"] for e in again.snapshot.data["missed"]]


def test_a_last_event_id_that_is_none(org: Org, listen: Listen) -> None:
    for wrong in ("x", "[0]:1", "-5:[0]", "99999999999999999999:0", f"{int(time.time()) + 9999}:0"):
        first = listen(org.key, Last_Event_ID=wrong).snapshot
        assert first.data["missed"] == [] and first.data["gap"] is True


def test_after(org: Org, listen: Listen, way: str) -> None:
    for i in range(3):
        org.make_printer(name=f"p {i}")
    head = settled(org)
    stream = listen(org.key, f"after={head - 2}", way=way)
    missed = [e["sequence"] for e in stream.snapshot.data["missed"]]
    assert missed[-2:] == [head - 1, head] and missed == sorted(missed)
    again = listen(org.key, f"after={head}").snapshot
    assert all(e["sequence"] <= head for e in again.data["missed"]), "only what a moment ago may have changed places"
    assert again.data["gap"] is False


def test_after_with_capabilities(org: Org, listen: Listen) -> None:
    org.make_printer()
    settled(org)
    manager = listen(org.make_key(["integrations.manage"]), "after=0").snapshot
    assert {e["type"] for e in manager.data["missed"]} <= {"api_key.created"}


def test_more_than_fits_is_a_gap_that_the_log_closes(org: Org, listen: Listen) -> None:
    with org.db.transaction():
        org._enter()
        org.db.execute(
            "INSERT INTO app.outbox (org_id, type, capability, data, resource_type, resource_id)"
            " SELECT %s, 'printer.updated', 'operations.read', jsonb_build_object('n', n), 'printer', app.uuid7()"
            " FROM generate_series(1, 700) AS n", [org.id])  # fmt: skip
    head = settled(org)
    first = listen(org.key, "after=0").snapshot
    assert first.data["gap"] is True and first.body["sequence"] == head
    got = [e["sequence"] for e in first.data["missed"]]
    assert got == list(range(1, 501))
    rest: list[int] = []
    while page := org.api.get(f"/v1/platform/events?after={(got + rest)[-1]}&limit=100", expect=200).json()["data"]:
        rest += [e["sequence"] for e in page]
    assert got + rest == list(range(1, head + 1))


def test_large_events_are_cut_by_their_bytes(org: Org, listen: Listen) -> None:
    with org.db.transaction():
        org._enter()
        org.db.execute(
            "INSERT INTO app.outbox (org_id, type, capability, data, resource_type, resource_id)"
            " SELECT %s, 'printer.updated', 'operations.read', jsonb_build_object('t', repeat('x', 7000)), 'printer', app.uuid7()"
            " FROM generate_series(1, 100) AS n", [org.id])  # fmt: skip
    settled(org)
    first = listen(org.key, "after=0", way="websocket").snapshot
    assert first.data["gap"] is True
    assert 60 < len(first.data["missed"]) < 90


def test_nothing_is_lost_while_streams_come_and_go(org: Org, listen: Listen) -> None:
    """Opened anew all the time, with `after` and with Last-Event-ID, while events happen."""
    stop, sequence, last_id = time.monotonic() + 6, settled(org), ""
    got: set[str] = set()
    made, turns = 0, 0
    while time.monotonic() < stop:
        turns += 1
        if turns % 2:
            stream = listen(org.key, f"after={sequence}")
        else:
            stream = listen(org.key, Last_Event_ID=last_id)
        for _ in range(3):
            org.make_printer(name=f"n {made}")
            made += 1
        if turns % 3:
            stream.wait("printer.created", name=f"n {made - 2}")
        assert stream.snapshot
        stream.close()
        names = [m.data["name"] for m in stream.events if m.type == "printer.created"]
        got |= set(names)
        sequence = max([sequence, *(m.body["sequence"] for m in stream.events)])
        last_id = stream.last_id
    settled(org)
    last = listen(org.key, f"after={sequence}")
    last.wait("printer.created", name=f"n {made - 1}") if f"n {made - 1}" not in got else None
    got |= {m.data["name"] for m in last.events if m.type == "printer.created"}
    assert {f"n {i}" for i in range(made)} <= got
    assert turns > 5


# --- how it ends ----------------------------------------------------------------------------------


def ends_within(stream: Listener, timeout_s: float) -> None:
    began = time.monotonic()
    stream.wait_ended(timeout_s + 5)
    assert stream.ended_at - began <= timeout_s


def test_a_revoked_keys_streams_end(org: Org, listen: Listen) -> None:
    key = org.make_key(["operations.read"])
    streams = [listen(key, way="sse"), listen(key, way="websocket"), listen(key, f"printer_id={org.make_printer()['id']}")]
    other = listen(org.key)
    for stream in (*streams, other):
        assert stream.snapshot
    org.api.delete(f"/v1/platform/api-keys/{org.key_id(key)}", expect=204)
    for stream in streams:
        ends_within(stream, 1)
    org.make_printer(name="afterwards")
    assert other.wait("printer.created", name="afterwards")
    assert not other.ended_at
    assert json.loads(listen(key).body)["error"] == "revoked_api_key"


def test_a_changed_keys_streams_end(org: Org, listen: Listen) -> None:
    key = org.make_key(["operations.read", "integrations.manage"])
    stream = listen(key)
    assert stream.snapshot
    org.api.patch(f"/v1/platform/api-keys/{org.key_id(key)}", {"capabilities": ["operations.read"]}, expect=200)
    ends_within(stream, 1)
    again = listen(key)
    org.api.post("/v1/platform/api-keys", {"name": "hidden", "capabilities": ["operations.read"]}, expect=201)
    org.make_printer(name="shown")
    again.wait("printer.created", name="shown")
    assert {t.split(".")[0] for t in again.types} == {"printer"}


def test_an_expired_keys_streams_end(org: Org, listen: Listen) -> None:
    end = datetime.now(UTC) + timedelta(seconds=3)
    key = org.make_key(["operations.read"], expires_at=end)
    settled(org)
    stream = listen(key)
    assert stream.snapshot
    stream.wait_ended(5)
    assert -0.1 <= datetime.now(UTC).timestamp() - end.timestamp() <= 1.2


def test_a_suspended_organisations_streams_end(org: Org, listen: Listen) -> None:
    stream = listen(org.key)
    assert stream.snapshot
    org.sql("UPDATE app.organizations SET state = 'suspended' WHERE org_id = %s", org.id)
    ends_within(stream, 1)


def test_a_stream_ends_with_its_time(org: Org, listen: Listen) -> None:
    """It listens to a channel that says when; whoever publishes ends it then."""
    stream = listen(org.key)
    assert stream.snapshot
    now = int(time.time())
    due = range((now + 800) // 10, (now + 910) // 10)
    nginx_channel(org.stack.facts["run"], "events", ",".join(f"until.{n}" for n in range(due[0] - 9, due[0] - 1)), method="DELETE")
    org.make_printer()
    assert stream.wait("printer.created") and not stream.ended_at
    nginx_channel(org.stack.facts["run"], "publish", ",".join(f"until.{n}" for n in due), method="DELETE")
    ends_within(stream, 1)


# --- signed URLs ----------------------------------------------------------------------------------


def token(org: Org, **body: Any) -> str:
    made = org.api.post("/v1/events/token", body, expect=200).json()
    assert 55 < datetime.fromisoformat(made["expires_at"]).timestamp() - time.time() <= 60
    return str(made["url"])


def test_a_signed_url_needs_no_key(org: Org, listen: Listen, way: str) -> None:
    printer = org.make_printer(name="mine")["id"]
    head = settled(org)
    stream = listen("", url=token(org), way=way)
    of_one = listen("", url=token(org, printer_id=printer, after=0), way=way)
    assert stream.snapshot.body["sequence"] == head and stream.snapshot.data["missed"] == []
    assert [e["data"]["printer_id"] for e in of_one.snapshot.data["missed"]] == [printer]
    org.make_printer(name="other")
    assert stream.wait("printer.created", name="other")
    org.api.patch(f"/v1/printers/{printer}", {"location": "Lab"}, expect=200)
    assert of_one.wait("printer.updated")
    assert {m.data["printer_id"] for m in of_one.events} == {printer}


def test_a_signed_url_may_be_opened_from_other_origins(org: Org, listen: Listen) -> None:
    stream = listen("", url=token(org), Origin="https://elsewhere.example")
    assert stream.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in stream.headers


def sign(org: Org, key_id: str, of: str, expires: int, after: str = "") -> str:
    """A URL as the server signs it (lib/auth/sign.h), written a second time."""
    secret = (Path(org.stack.facts["var"]) / "keys" / "url.key").read_bytes()[:32]
    nothing = uuid.UUID(int=0)
    text = f"soloprint stream 1\n{org.id}\n{nothing}\n{key_id}\n0\n{after or -1}\n{expires}\n{of}".encode()
    raw = hashlib.sha256(secret).digest()[:4] + hmac.new(secret, text, hashlib.sha256).digest()
    sig = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    return f"{org.stack.url}/v1/streams/events?org={org.id}&exp={expires}&key={key_id}&of={of}&after={after}&sig={sig}"


def test_other_urls_are_refused(org: Org, other_org: Org, listen: Listen) -> None:
    good, key, now = token(org, after=5), org.key_id(org.key), int(time.time())
    assert listen("", url=sign(org, key, "all", now + 30)).snapshot
    wrong = [
        good.replace("of=all", f"of=printer.{uuid.uuid4()}"), good.replace("after=5", "after=4"), good + "&x=1",
        good.replace(org.id, other_org.id), good.replace(key, other_org.key_id(other_org.key)), good[:-2] + "AA",
        good.split("?")[0], good.replace("after=5", "after=05"),
    ]  # fmt: skip
    for url in wrong:
        stream = listen("", url=url)
        assert stream.status in (400, 403) and json.loads(stream.body)["error"] in ("invalid_signature", "unknown_parameter"), url
    late = listen("", url=sign(org, key, "all", now - 1))
    assert (late.status, json.loads(late.body)["error"]) == (403, "signature_expired")


def test_a_url_falls_with_its_key(org: Org, listen: Listen) -> None:
    key = org.make_key(["operations.read"])
    url = str(org.base.with_key(key).post("/v1/events/token", expect=200).json()["url"])
    stream = listen("", url=url)
    assert stream.snapshot
    org.api.delete(f"/v1/platform/api-keys/{org.key_id(key)}", expect=204)
    ends_within(stream, 1)
    refused = listen("", url=url)
    assert (refused.status, json.loads(refused.body)["error"]) == (401, "revoked_api_key")


def test_urls_are_in_no_log(org: Org, listen: Listen) -> None:
    url = token(org)
    assert listen("", url=url).snapshot
    sig = parse_qs(urlsplit(url).query)["sig"][0]
    for log in ("nginx", "realtime", "api-api"):
        assert sig not in org.stack.log(log)
