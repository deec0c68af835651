"""What clients send is checked against the contract, and every refusal names the field by its pointer."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from api import Api, fields
from world import Org

JSON = {"Content-Type": "application/json"}
GOOD = {"name": "Bench", "protocol": "bambu", "enabled": False}


def send(api: Api, body: bytes, headers: dict[str, str] | None = None, path: str = "/v1/printers") -> Any:
    return api.post(path, content=body, headers=headers or JSON)


# --- members of the body: what is changed in a good printer, and the pointer that must be named

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"nonsense": 1}, "/nonsense"),
    ({"a/b~c": 1}, "/a~1b~0c"),
    ({"": 1}, "/"),
    ({"org_id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70"}, "/org_id"),
    ({"id": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70"}, "/id"),
    ({"created_by": "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70"}, "/created_by"),
    ({"version": 9}, "/version"),
    ({"has_secret": True}, "/has_secret"),
    ({"name": 7}, "/name"),
    ({"name": None}, "/name"),
    ({"name": True}, "/name"),
    ({"name": ["a"]}, "/name"),
    ({"name": {}}, "/name"),
    ({"name": ""}, "/name"),
    ({"name": "x" * 121}, "/name"),
    ({"name": "é" * 121}, "/name"),
    ({"name": " blank"}, "/name"),
    ({"name": "a\nb"}, "/name"),
    ({"name": "a\u007fb"}, "/name"),
    ({"protocol": "telnet"}, "/protocol"),
    ({"protocol": None}, "/protocol"),
    ({"protocol": "Bambu"}, "/protocol"),
    ({"model": ""}, "/model"),
    ({"model": 1}, "/model"),
    ({"host": "a b"}, "/host"),
    ({"host": "http://192.0.2.1/"}, "/host"),
    ({"host": "x" * 254}, "/host"),
    ({"port": 0}, "/port"),
    ({"port": 65536}, "/port"),
    ({"port": -1}, "/port"),
    ({"port": "80"}, "/port"),
    ({"port": 80.5}, "/port"),
    ({"port": 1e30}, "/port"),
    ({"port": True}, "/port"),
    ({"serial": "a b"}, "/serial"),
    ({"serial": "x" * 65}, "/serial"),
    ({"secret": ""}, "/secret"),
    ({"secret": "x" * 513}, "/secret"),
    ({"secret": 12345678}, "/secret"),
    ({"bed_volume": 5}, "/bed_volume"),
    ({"bed_volume": []}, "/bed_volume"),
    ({"bed_volume": {"x_mm": 1, "y_mm": 1}}, "/bed_volume/z_mm"),
    ({"bed_volume": {"x_mm": 0, "y_mm": 1, "z_mm": 1}}, "/bed_volume/x_mm"),
    ({"bed_volume": {"x_mm": 10001, "y_mm": 1, "z_mm": 1}}, "/bed_volume/x_mm"),
    ({"bed_volume": {"x_mm": "1", "y_mm": 1, "z_mm": 1}}, "/bed_volume/x_mm"),
    ({"bed_volume": {"x_mm": 1, "y_mm": 1, "z_mm": 1, "w": 1}}, "/bed_volume/w"),
    ({"nozzles": {}}, "/nozzles"),
    ({"nozzles": None}, "/nozzles"),
    ({"nozzles": [{"diameter_mm": 0.4}, {"diameter_mm": 11}]}, "/nozzles/1/diameter_mm"),
    ({"nozzles": [{"material": "brass"}]}, "/nozzles/0/diameter_mm"),
    ({"nozzles": [{"diameter_mm": 0.4, "flow": 1}]}, "/nozzles/0/flow"),
    ({"nozzles": [7]}, "/nozzles/0"),
    ({"nozzles": [{"diameter_mm": 0.4}] * 17}, "/nozzles"),
    ({"enclosure": "yes"}, "/enclosure"),
    ({"enclosure": 1}, "/enclosure"),
    ({"max_temperatures": {"nozzle_c": -1}}, "/max_temperatures/nozzle_c"),
    ({"max_temperatures": {"oven_c": 1}}, "/max_temperatures/oven_c"),
    ({"location": "x" * 201}, "/location"),
    ({"notes": "x" * 4001}, "/notes"),
    ({"notes": "a\u0007"}, "/notes"),
    ({"tags": "lab"}, "/tags"),
    ({"tags": ["a"] * 2}, "/tags/1"),
    ({"tags": ["a", ""]}, "/tags/1"),
    ({"tags": ["a,b"]}, "/tags/0"),
    ({"tags": [None]}, "/tags/0"),
    ({"tags": [str(i) for i in range(33)]}, "/tags"),
    ({"group_ids": ["not-a-uuid"]}, "/group_ids/0"),
    ({"group_ids": [7]}, "/group_ids/0"),
    ({"group_ids": ["0193481c6c2b7d5e8f3a2b1c4d5e6f70"]}, "/group_ids/0"),
    ({"enabled": None}, "/enabled"),
    ({"enabled": "true"}, "/enabled"),
    ({"drain": 0}, "/drain"),
    ({"maintenance": []}, "/maintenance"),
]


@pytest.mark.parametrize(("change", "pointer"), WRONG, ids=lambda v: str(v)[:40])
def test_body_member(api: Api, change: dict[str, Any], pointer: str) -> None:
    answer = api.post("/v1/printers", {**GOOD, **change}, expect="validation_failed")
    assert answer.status_code == 422
    assert pointer in fields(answer), answer.text


@pytest.mark.parametrize("missing", ["name", "protocol"])
def test_required_member(api: Api, missing: str) -> None:
    answer = api.post("/v1/printers", {k: v for k, v in GOOD.items() if k != missing}, expect="validation_failed")
    assert fields(answer) == {f"/{missing}": "required"}


def test_several_faults_are_all_named(api: Api) -> None:
    answer = api.post("/v1/printers", {"name": 1, "port": 0, "x": 1, "tags": [""]}, expect="validation_failed")
    assert set(fields(answer)) >= {"/name", "/port", "/x", "/tags/0", "/protocol"}


def test_very_many_faults_are_cut(api: Api) -> None:
    answer = api.post("/v1/printers", {f"x{i}": 1 for i in range(500)}, expect="validation_failed")
    assert len(answer.json()["details"]["fields"]) == 20


@pytest.mark.parametrize("body", [b"[]", b"7", b'"x"', b"null", b"true"])
def test_body_that_is_no_object(api: Api, body: bytes) -> None:
    answer = send(api, body)
    assert (answer.status_code, answer.json()["error"]) == (422, "validation_failed")


def test_length_counts_characters(api: Api) -> None:
    api.post("/v1/printers", {**GOOD, "name": "é" * 120}, expect=201)
    api.post("/v1/printers", {**GOOD, "name": "🖨" * 120}, expect=201)


def test_everything_that_is_allowed(org: Org) -> None:
    group = org.make_group()
    body = {
        "name": "Ünï 🖨 'quoted' \\ <b>", "protocol": "bambu", "model": "X1C", "host": "192.0.2.14", "port": 8883,
        "serial": "00M09A350100123", "secret": "12345678", "bed_volume": {"x_mm": 256, "y_mm": 256.5, "z_mm": 256},
        "nozzles": [{"diameter_mm": 0.4, "material": "hardened_steel"}], "enclosure": True,
        "max_temperatures": {"nozzle_c": 300, "bed_c": 120, "chamber_c": None}, "location": "Lab 2",
        "notes": "two\nlines\tand a tab", "tags": ["lab-2", "größe"], "group_ids": [group["id"]],
        "enabled": False, "drain": True, "maintenance": True,
    }  # fmt: skip
    made = org.api.post("/v1/printers", body, expect=201).json()
    for name in set(body) - {"secret", "group_ids"}:
        assert made[name] == body[name], name
    assert made["has_secret"] is True
    assert made["groups"] == [{"id": group["id"], "name": group["name"]}]


@pytest.mark.parametrize("port", [b"8883.0", b"8.883e3", b"88830E-1"])
def test_integers_in_other_spellings(org: Org, port: bytes) -> None:
    made = send(org.api, b'{"name":"a","protocol":"bambu","enabled":false,"port":' + port + b"}").json()
    assert made["port"] == 8883
    body = b'{"name":"k","capabilities":["operations.read"],"rate_limits":{"read":' + port + b"}}"
    key = send(org.api, body, path="/v1/platform/api-keys").json()
    assert key["rate_limits"] == {"read": 8883}
    org.base.with_key(key["key"]).get("/v1/me", expect=200)


# --- JSON itself

MALFORMED = [
    b"{", b"", b"{]", b'{"name":}', b'{"name":"a",}', b"{'name':'a'}", b'{"name":"a"} x', b'{"name":"a"}{"name":"b"}',
    b'{"name":NaN}', b'{"name":"a","port":0123}', b'{"name":"a" /* c */}', b'{"name":"\\x"}',
    b'{"name":tru}', b"\xef\xbb\xbf{}",
]  # fmt: skip


@pytest.mark.parametrize("body", MALFORMED, ids=repr)
def test_malformed_json(api: Api, body: bytes) -> None:
    answer = send(api, body)
    assert (answer.status_code, answer.json()["error"]) == (400, "malformed_json"), answer.text


@pytest.mark.parametrize(
    "text", [b"\xff", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"], ids=repr
)
def test_invalid_utf8(api: Api, text: bytes) -> None:
    answer = send(api, b'{"name":"a' + text + b'","protocol":"bambu"}')
    assert (answer.status_code, answer.json()["error"]) == (400, "malformed_json"), answer.text


@pytest.mark.parametrize("body", [b'{"name":"a\\u0000b","protocol":"bambu"}', b'{"name":"a\x00b","protocol":"bambu"}'])
def test_nul(api: Api, body: bytes) -> None:
    answer = send(api, body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"] == "malformed_json"


def test_nul_names_the_field(api: Api) -> None:
    answer = send(api, b'{"protocol":"bambu","name":"a\\u0000b"}')
    assert "/name" in fields(answer)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"name":"a","name":"b","protocol":"bambu"}', "/name"),
        (b'{"name":"a","protocol":"bambu","bed_volume":{"x_mm":1,"x_mm":2,"y_mm":1,"z_mm":1}}', "/bed_volume/x_mm"),
        (b'{"name":"a","protocol":"bambu","nozzles":[{"diameter_mm":1},{"diameter_mm":1,"diameter_mm":2}]}',
         "/nozzles/1/diameter_mm"),
        (b'{"na\\u006de":"a","name":"b","protocol":"bambu"}', "/name"),
    ],
)  # fmt: skip
def test_duplicate_keys(api: Api, body: bytes, pointer: str) -> None:
    answer = send(api, body)
    assert (answer.status_code, answer.json()["error"]) == (400, "malformed_json"), answer.text
    assert pointer in fields(answer)


@pytest.mark.parametrize("depth", [33, 100, 5000])
def test_deep_json(api: Api, depth: int) -> None:
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        answer = send(api, b'{"x":' + opening * depth + b"1" + closing * depth + b"}")
        assert (answer.status_code, answer.json()["error"]) == (400, "malformed_json"), answer.text


def test_depth_that_is_allowed(api: Api) -> None:
    answer = send(api, b'{"name":"a","protocol":"bambu","x":' + b"[" * 20 + b"]" * 20 + b"}")
    assert answer.json()["error"] == "validation_failed"


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
@pytest.mark.parametrize("size", [262145, 300_000, 5_000_000])
def test_too_large(org: Org, tmp_path: Path, size: int, version: str) -> None:
    """By curl, which reads an answer that comes before the body is through."""
    (tmp_path / "body").write_text(json.dumps({**GOOD, "notes": "x" * size}))
    command = ["curl", "-s", version, "--cacert", org.stack.cacert, "-X", "POST", "--max-time", "20"]
    command += ["-H", f"Authorization: Bearer {org.key}", "-H", "Content-Type: application/json"]
    command += ["-w", "\n%{http_code}", "--data-binary", f"@{tmp_path}/body", f"{org.stack.url}/v1/printers"]
    text, status = subprocess.run(command, capture_output=True, text=True, check=False).stdout.rsplit("\n", 1)
    assert status == "413"
    assert json.loads(text)["error"] == "payload_too_large"


def test_large_but_allowed(api: Api) -> None:
    body = json.dumps({**GOOD, "notes": "x" * 200_000}).encode()
    assert send(api, body).json()["error"] == "validation_failed"


@pytest.mark.parametrize("number", ["1e400", "-1e400", "123456789012345678901234567890"])
def test_numbers_out_of_range(api: Api, number: str) -> None:
    answer = send(api, b'{"name":"a","protocol":"bambu","port":' + number.encode() + b"}")
    assert answer.status_code in (400, 422), answer.text
    assert "/port" in fields(answer)


# --- content types

@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp",
                                          "multipart/form-data; boundary=x", "application/json5", "json"])  # fmt: skip
def test_wrong_content_type(api: Api, content_type: str) -> None:
    answer = send(api, json.dumps(GOOD).encode(), {"Content-Type": content_type})
    assert (answer.status_code, answer.json()["error"]) == (415, "unsupported_media_type")


def test_no_content_type(api: Api) -> None:
    answer = send(api, json.dumps(GOOD).encode(), {"X-Nothing": "1"})
    assert (answer.status_code, answer.json()["error"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON",
                                          "application/merge-patch+json"])  # fmt: skip
def test_content_types_that_are_json(org: Org, content_type: str) -> None:
    made = org.make_printer()
    org.api.patch(f"/v1/printers/{made['id']}", content=b'{"location":"x"}', headers={"Content-Type": content_type},
                  expect=200)  # fmt: skip


def test_optional_body(org: Org) -> None:
    key_id = org.key_id(org.make_key(["operations.read"]))
    org.api.post(f"/v1/platform/api-keys/{key_id}/rotate", expect=201)


def test_empty_body_where_one_is_required(api: Api) -> None:
    for headers in (JSON, {"X-Nothing": "1"}):
        answer = send(api, b"", headers)
        assert answer.status_code in (400, 415), answer.text


def test_empty_patch_changes_nothing(org: Org) -> None:
    made = org.make_printer()
    after = org.api.patch(f"/v1/printers/{made['id']}", {}, expect=200).json()
    assert after["name"] == made["name"]


# --- queries and paths

@pytest.mark.parametrize(
    ("query", "code", "pointer"),
    [
        ("nonsense=1", "unknown_parameter", "/query/nonsense"),
        ("Limit=1", "unknown_parameter", "/query/Limit"),
        ("limit=0", "invalid_parameter", "/query/limit"),
        ("limit=101", "invalid_parameter", "/query/limit"),
        ("limit=-1", "invalid_parameter", "/query/limit"),
        ("limit=ten", "invalid_parameter", "/query/limit"),
        ("limit=", "invalid_parameter", "/query/limit"),
        ("limit=1.0", "invalid_parameter", "/query/limit"),
        ("limit=%31%30x", "invalid_parameter", "/query/limit"),
        ("limit=99999999999999999999", "invalid_parameter", "/query/limit"),
        ("limit=5&limit=6", "invalid_parameter", "/query/limit"),
        ("offset=-1", "invalid_parameter", "/query/offset"),
        ("sort=serial", "invalid_parameter", "/query/sort"),
        ("sort=name%27--", "invalid_parameter", "/query/sort"),
        ("status=broken", "invalid_parameter", "/query/status/0"),
        ("status=idle,broken", "invalid_parameter", "/query/status/1"),
        ("group=nonsense", "invalid_parameter", "/query/group/0"),
        ("search=", "invalid_parameter", "/query/search"),
        ("search=" + "x" * 101, "invalid_parameter", "/query/search"),
        ("search=%ff", "invalid_parameter", "/query/search"),
        ("search=a%00b", "invalid_parameter", "/query/search"),
        ("model=" + "x" * 61, "invalid_parameter", "/query/model"),
        ("offset=0&cursor=abc", "invalid_parameter", "/query/cursor"),
        ("cursor=abc", "invalid_cursor", "/query/cursor"),
        ("offset=10001", "offset_too_large", "/query/offset"),
        ("skip=10001", "offset_too_large", "/query/skip"),
    ],
)  # fmt: skip
def test_query(api: Api, query: str, code: str, pointer: str) -> None:
    answer = api.get(f"/v1/printers?{query}", expect=code)
    assert answer.status_code == 400
    named = list(fields(answer))
    assert any(p == pointer or (p == pointer.rsplit("/", 1)[0] and pointer[-1].isdigit()) for p in named), named


def test_offset_and_skip_exclude_each_other(api: Api) -> None:
    answer = api.get("/v1/printers?offset=1&skip=1")
    assert answer.status_code in (200, 400)


@pytest.mark.parametrize("path", ["/v1/me", "/v1/org/context", "/v1/health", "/v1/public/version"])
def test_routes_without_parameters_refuse_any(api: Api, path: str) -> None:
    api.get(f"{path}?x=1", expect="unknown_parameter")


@pytest.mark.parametrize("query", ["", "?", "?&", "?limit=5&", "?search=a+b", "?search=a%20b"])
def test_queries_that_are_fine(api: Api, query: str) -> None:
    api.get(f"/v1/printers{query}", expect=200)


@pytest.mark.parametrize(
    "segment",
    ["x", "0", "null", "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f7", "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f700",
     "0193481c6c2b7d5e8f3a2b1c4d5e6f70", "g193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70", "%00", "'%20OR%201=1--", "%ff"],
)  # fmt: skip
@pytest.mark.parametrize("route", ["/v1/printers/{}", "/v1/printers/{}/status", "/v1/printer-groups/{}",
                                   "/v1/platform/api-keys/{}"])  # fmt: skip
def test_bad_uuid_in_the_path(api: Api, route: str, segment: str) -> None:
    answer = api.get(route.format(segment))
    assert answer.status_code == 400, answer.text
    if answer.json()["error"] != "bad_request":
        assert answer.json()["error"] == "invalid_parameter"
        assert next(iter(fields(answer))).startswith("/path/")


def test_upper_case_uuid_is_the_same(org: Org) -> None:
    made = org.make_printer()
    assert org.api.get(f"/v1/printers/{made['id'].upper()}", expect=200).json()["id"] == made["id"]


# --- the other resources

@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"capabilities": ["operations.read"]}, "/name"),
        ({"name": "k"}, "/capabilities"),
        ({"name": "k", "capabilities": ["everything"]}, "/capabilities/0"),
        ({"name": "k", "capabilities": ["operations.read", "operations.read"]}, "/capabilities/1"),
        ({"name": "k", "capabilities": [], "cidrs": []}, "/cidrs"),
        ({"name": "k", "capabilities": [], "cidrs": ["198.51.100.1/24"]}, "/cidrs/0"),
        ({"name": "k", "capabilities": [], "cidrs": ["300.1.1.1"]}, "/cidrs/0"),
        ({"name": "k", "capabilities": [], "cidrs": ["10.0.0.0/33"]}, "/cidrs/0"),
        ({"name": "k", "capabilities": [], "expires_at": "tomorrow"}, "/expires_at"),
        ({"name": "k", "capabilities": [], "expires_at": "2027-02-30T00:00:00Z"}, "/expires_at"),
        ({"name": "k", "capabilities": [], "expires_at": 1800000000}, "/expires_at"),
        ({"name": "k", "capabilities": [], "kind": "scim"}, "/kind"),
        ({"name": "k", "capabilities": [], "printer_ids": "all"}, "/printer_ids"),
        ({"name": "k", "capabilities": [], "rate_limits": {"read": 0}}, "/rate_limits/read"),
        ({"name": "k", "capabilities": [], "rate_limits": {"reads": 1}}, "/rate_limits/reads"),
        ({"name": "k", "capabilities": [], "key": "slp_live_x"}, "/key"),
        ({"name": "k", "capabilities": [], "owner": {}}, "/owner"),
    ],
)  # fmt: skip
def test_key_members(api: Api, body: dict[str, Any], pointer: str) -> None:
    answer = api.post("/v1/platform/api-keys", body, expect="validation_failed")
    assert pointer in fields(answer), answer.text


def test_key_that_has_expired_already(api: Api) -> None:
    body = {"name": "k", "capabilities": [], "expires_at": "2020-01-01T00:00:00Z"}
    answer = api.post("/v1/platform/api-keys", body, expect="validation_failed")
    assert "/expires_at" in fields(answer)


@pytest.mark.parametrize("grace", [-1, 604801, "1", 1.5, None])
def test_rotation_grace(org: Org, grace: Any) -> None:
    key_id = org.key_id(org.make_key(["operations.read"]))
    answer = org.api.post(f"/v1/platform/api-keys/{key_id}/rotate", {"grace_seconds": grace},
                          expect="validation_failed")  # fmt: skip
    assert "/grace_seconds" in fields(answer)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [({}, "/name"), ({"name": ""}, "/name"), ({"name": "g", "printer_ids": ["x"]}, "/printer_ids/0"),
     ({"name": "g", "description": ""}, "/description"), ({"name": "g", "color": "red"}, "/color")],
)  # fmt: skip
def test_group_members(api: Api, body: dict[str, Any], pointer: str) -> None:
    answer = api.post("/v1/printer-groups", body, expect="validation_failed")
    assert pointer in fields(answer)
