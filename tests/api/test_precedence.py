"""Which refusal comes first when a request has several faults: 404/405 of the route, 401, 429, 403, 400/415/422,
404 of the object, 409/412."""

from __future__ import annotations

import json
import uuid

import pytest
from api import Api
from keys import new_key
from world import Org

MISSING = f"/v1/printers/{uuid.uuid4()}"
BAD_BODY = {"name": 7, "nonsense": True}


def test_unknown_route_before_401(anonymous: Api) -> None:
    anonymous.get("/v1/nonsense", expect=404)


def test_wrong_method_before_401(anonymous: Api) -> None:
    answer = anonymous.request("PUT", "/v1/printers", expect=405)
    assert "GET" in answer.headers["Allow"]


def test_401_before_422(anonymous: Api) -> None:
    anonymous.post("/v1/printers", BAD_BODY, expect="missing_bearer_token")
    anonymous.with_key(new_key()).post("/v1/printers", BAD_BODY, expect="invalid_api_key")


def test_401_before_429(org: Org) -> None:
    """An unknown key learns nothing of limits."""
    api = org.base.with_key(new_key())
    answer = api.get("/v1/printers", expect="invalid_api_key")
    assert "X-RateLimit-Limit" not in answer.headers


def test_429_before_403(org: Org) -> None:
    api = org.with_capabilities(rate_limits=json.dumps({"write": 3, "burst": 1000}))
    errors = [api.post("/v1/printers", {"name": "a", "protocol": "bambu"}).json()["error"] for _ in range(40)]
    assert errors[0] == "insufficient_permissions"
    assert "rate_limited" in errors  # not all the rest: when Redis is slow each worker judges by its own share


@pytest.mark.parametrize("body", [b"{", b'{"nonsense":1}', b"[]"])
def test_403_before_the_bodys_faults(org: Org, body: bytes) -> None:
    api = org.with_capabilities("operations.read")
    api.post("/v1/printers", content=body, headers={"Content-Type": "application/json"},
             expect="insufficient_permissions")  # fmt: skip


def test_403_before_unknown_parameter_and_bad_id(org: Org) -> None:
    api = org.with_capabilities("queue.manage")
    api.get("/v1/printers?nonsense=1", expect="insufficient_permissions")
    api.get("/v1/printers/not-a-uuid", expect="insufficient_permissions")


def test_403_before_415(org: Org) -> None:
    api = org.with_capabilities("operations.read")
    api.post("/v1/printers", content=b"x", headers={"Content-Type": "text/plain"}, expect="insufficient_permissions")


def test_415_before_the_body_is_read(api: Api) -> None:
    api.post("/v1/printers", content=b"{", headers={"Content-Type": "text/plain"}, expect="unsupported_media_type")


def test_400_of_the_query_before_the_body(api: Api) -> None:
    api.post("/v1/printers?nonsense=1", BAD_BODY, expect="unknown_parameter")


def test_400_of_the_path_before_422(api: Api) -> None:
    api.patch("/v1/printers/not-a-uuid", BAD_BODY, expect="invalid_parameter")


def test_422_before_404_of_the_object(api: Api) -> None:
    api.patch(MISSING, BAD_BODY, expect="validation_failed")


def test_404_before_412(api: Api) -> None:
    api.patch(MISSING, {"location": "x"}, headers={"If-Match": '"c1.s1"'}, expect="resource_not_found")


def test_422_before_412(org: Org) -> None:
    made = org.make_printer()
    org.api.patch(f"/v1/printers/{made['id']}", BAD_BODY, headers={"If-Match": '"c99.s1"'}, expect="validation_failed")
