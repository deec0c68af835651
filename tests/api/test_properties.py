"""Property tests against the published contract: whatever is sent, no 5xx and no undocumented answer.
Bounded in time: SOLOPRINT_EXAMPLES sets the examples per operation."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import httpx
import hypothesis
import pytest
import schemathesis
import walk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from world import Org

CONTRACT = walk.built_contract()
EXAMPLES = int(os.environ.get("SOLOPRINT_EXAMPLES", "40"))
SETTINGS = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=not os.environ.get("SOLOPRINT_RANDOM"), database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip

schema = schemathesis.openapi.from_dict(CONTRACT.doc)
schema.config.generation.update(modes=list(schemathesis.GenerationMode))


@pytest.fixture(scope="module")
def world(make_organisation: Callable[[], Org]) -> tuple[Org, dict[str, str]]:
    org = make_organisation()
    return org, walk.make_objects(org, "seed")


# What describes the request and not the operation: a key that was taken away must not be answered by 2xx.
HARMLESS = ("content-length", "host", "connection", "transfer-encoding", "authorization", "x-api-key")


# What is made anew when it was deleted.
GONE = {"deletePrinter": "printer_id", "deleteFile": "file_id", "deletePrinterGroup": "printer_group_id",
        "deleteQueueItem": "queue_item_id", "deleteWebhook": "webhook_id"}  # fmt: skip

# What waits for a picture that no camera of these printers will send.
SLOW = ("getCameraSnapshot",)


@schema.parametrize()
@SETTINGS
def test_contract_driven(case: Any, world: tuple[Org, dict[str, str]]) -> None:
    """schemathesis' cases, valid and invalid, for each operation."""
    org, known = world
    method = case.method.upper()
    op = next((o for o in CONTRACT.operations if (o.path, o.method) == (case.operation.path, method)), None)
    for name in op.path_names if op and op.id not in SLOW else ():
        # Half of the cases reach an object.
        if hash(str(case.body)) % 2 == 0:
            case.path_parameters[name] = known[name]
    kwargs = case.as_transport_kwargs(base_url="")
    headers = {
        k: v for k, v in (kwargs.get("headers") or {}).items() if str(k).lower() not in HARMLESS and sendable(k, v)
    }  # fmt: skip
    headers["Authorization"] = f"Bearer {org.key}"
    sent = {k: kwargs[k] for k in ("params", "json", "data") if kwargs.get(k) is not None}
    if isinstance(sent.get("data"), bytes | str):
        sent["content"] = sent.pop("data")
    if "data" in sent and not isinstance(sent["data"], dict):
        sent["content"] = str(sent.pop("data")).encode()
    try:
        answer = org.base.request(method, kwargs["url"] or "/", headers=headers, check=False, **sent)
    except (ValueError, TypeError, UnicodeError):
        hypothesis.reject()
    except httpx.RemoteProtocolError as e:
        # Over HTTP/2 nginx ends the connection of whoever sends headers beyond its limits.
        assert "error_code:11" in str(e), e
        return
    if not answer.request.url.path.startswith(("/v1", "/api/")):
        hypothesis.reject()
    assert answer.status_code < 500 or answer.status_code == 501, answer.text
    org.base.contract.check(answer)
    if op is None:
        return
    if op.id in GONE and answer.status_code == 204:
        known[GONE[op.id]] = walk.make_object(org, GONE[op.id], "seed")


def sendable(name: Any, value: Any) -> bool:
    try:
        str(name).encode("ascii")
        return not any(c in str(value) for c in "\r\n\0") and bool(str(value).encode("latin-1") or True)
    except UnicodeError:
        return False


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=12,
)
WITH_BODY = [op for op in CONTRACT.operations if CONTRACT.body_schema(op)]
WITH_FILE = [op for op in CONTRACT.operations if op.doc.get("x-body") == "file"]


@pytest.mark.parametrize("op", WITH_BODY, ids=str)
@SETTINGS
@given(data=st.data())
def test_mutated_bodies(op: Any, data: Any, world: tuple[Org, dict[str, str]]) -> None:
    """A good body with members replaced, removed and added."""
    org, known = world
    schema = CONTRACT.body_schema(op) or {}
    variants = [CONTRACT.resolve(v) for v in [schema, *schema.get("oneOf", [])]]
    properties = sorted({name for v in variants for name in v.get("properties", {})}) + ["nonsense", ""]
    body = walk.BODIES[op.id]()
    body.update(data.draw(st.dictionaries(st.sampled_from(properties), ANY_JSON, max_size=4)))
    for gone in data.draw(st.lists(st.sampled_from(properties), max_size=2)):
        body.pop(gone, None)
    answer = walk.call(org.api, op, known, body=body)
    assert answer.status_code < 500, answer.text


@pytest.mark.parametrize("op", WITH_BODY, ids=str)
@SETTINGS
@given(data=st.data())
def test_damaged_bytes(op: Any, data: Any, world: tuple[Org, dict[str, str]]) -> None:
    """A good body's bytes with some of them changed, doubled or cut."""
    org, known = world
    raw = bytearray(json.dumps(walk.BODIES[op.id]()).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(0, len(raw) - 1)))
        raw[at:at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    path = op.path
    for name in op.path_names:
        path = path.replace("{" + name + "}", known[name])
    answer = org.api.request(op.method, path, content=bytes(raw), headers={"Content-Type": "application/json"})
    assert answer.status_code < 500, answer.text


@pytest.mark.parametrize("op", WITH_FILE, ids=str)
@SETTINGS
@given(data=st.data())
def test_damaged_forms(op: Any, data: Any, world: tuple[Org, dict[str, str]]) -> None:
    org, known = world
    head = '--b\r\nContent-Disposition: form-data; name="tags"\r\n\r\na,b\r\n--b\r\nContent-Disposition: form-data; name="file"'
    raw = bytearray(f'{head}; filename="a.gcode"\r\nContent-Type: text/plain\r\n\r\nG1 X1\r\n--b--\r\n'.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(0, len(raw) - 1)))
        raw[at:at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    answer = walk.call(org.api, op, known, body=bytes(raw), headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert answer.status_code in (200, 201, 422), answer.text


@SETTINGS
@given(path=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60))
def test_any_path(path: str, world: tuple[Org, dict[str, str]]) -> None:
    org, _ = world
    answer = org.api.get("/v1/" + path.replace("#", "%23"), check=False)
    assert answer.status_code < 500, answer.text


@SETTINGS
@given(query=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=80))
def test_any_query(query: str, world: tuple[Org, dict[str, str]]) -> None:
    org, _ = world
    answer = org.api.get("/v1/printers?" + query.replace("#", "%23"))
    assert answer.status_code in (200, 400), answer.text


@SETTINGS
@given(
    name=st.sampled_from(["Accept", "If-None-Match", "If-Match", "X-SoLoPrint-API-Version", "X-Request-Id",
                          "Idempotency-Key", "Content-Type", "X-API-Key", "Authorization", "Range", "Expect-Not"]),
    value=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60).map(str.strip),
)  # fmt: skip
def test_any_header(name: str, value: str, world: tuple[Org, dict[str, str]]) -> None:
    org, known = world
    answer = org.api.get(f"/v1/printers/{known['printer_id']}", headers={name: value})
    assert answer.status_code < 500, answer.text
