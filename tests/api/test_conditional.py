"""ETag, If-None-Match and If-Match."""

from __future__ import annotations

import re
from typing import Any

import hooks
import pytest
from world import Org


def core(tag: str) -> str:
    """nginx makes a tag weak when it compresses the answer."""
    return tag.removeprefix("W/")


def paths(org: Org) -> dict[str, str]:
    made = org.make_printer()
    return {
        "printer": f"/v1/printers/{made['id']}",
        "status": f"/v1/printers/{made['id']}/status",
        "group": f"/v1/printer-groups/{org.make_group()['id']}",
        "key": f"/v1/platform/api-keys/{org.key_id(org.make_key(['operations.read']))}",
        "webhook": f"{hooks.WEBHOOKS}/{hooks.make_webhook(org)['id']}",
        "openapi": "/v1/openapi.json",
    }


CHANGES: dict[str, dict[str, Any]] = {
    "printer": {"location": "there"}, "group": {"description": "d"}, "key": {"name": "n"},
    "webhook": {"name": "n"},
}  # fmt: skip


@pytest.mark.parametrize("what", ["printer", "status", "group", "key", "webhook", "openapi"])
def test_not_modified(org: Org, what: str) -> None:
    path = paths(org)[what]
    first = org.api.get(path, expect=200)
    tag = first.headers["ETag"]
    assert re.fullmatch(r'(W/)?"[!#-~]+"', tag)
    for value in (tag, f'"other", {tag}', f"W/{core(tag)}", core(tag), "*", f'"a","b",W/{core(tag)}'):
        answer = org.api.get(path, headers={"If-None-Match": value}, expect=304)
        assert core(answer.headers["ETag"]) == core(tag)
        assert "X-RateLimit-Limit" in answer.headers or what == "openapi"
        assert "Content-Type" not in answer.headers or answer.content == b""
    for value in ('"other"', 'W/"x"', core(tag).strip('"'), '""'):
        org.api.get(path, headers={"If-None-Match": value}, expect=200)
    assert org.api.request("HEAD", path, headers={"If-None-Match": tag}).status_code == 304


@pytest.mark.parametrize("what", ["printer", "group", "key", "webhook"])
def test_a_change_changes_the_tag(org: Org, what: str) -> None:
    path = paths(org)[what]
    tag = org.api.get(path).headers["ETag"]
    answer = org.api.patch(path, CHANGES[what], expect=200)
    now = org.api.get(path, headers={"If-None-Match": tag}, expect=200).headers["ETag"]
    assert now != tag
    if "ETag" in answer.headers:
        assert core(answer.headers["ETag"]) == core(now)


@pytest.mark.parametrize("what", ["printer", "group", "key", "webhook"])
def test_if_match(org: Org, what: str) -> None:
    path = paths(org)[what]
    old = org.api.get(path).headers["ETag"]
    org.api.patch(path, CHANGES[what], headers={"If-Match": old}, expect=200)
    before = org.api.get(path).json()
    answer = org.api.patch(path, {"name": "lost update"}, headers={"If-Match": old}, expect="precondition_failed")
    assert answer.status_code == 412
    assert org.api.get(path).json() == before
    org.api.patch(path, {"name": "x"}, headers={"If-Match": "*"}, expect=200)
    new = org.api.get(path).headers["ETag"]
    org.api.patch(path, {"name": "y"}, headers={"If-Match": f'"other", {new}'}, expect=200)
    org.api.delete(path, headers={"If-Match": new}, expect="precondition_failed")
    org.api.delete(path, headers={"If-Match": org.api.get(path).headers["ETag"]}, expect=204)


@pytest.mark.parametrize("value", ["x", '"', "c1", '"c1', '"nonsense"', '"c0"', '"c99999999999999999999"'])
def test_if_match_that_matches_nothing(org: Org, value: str) -> None:
    path = f"/v1/printers/{org.make_printer()['id']}"
    answer = org.api.patch(path, {"location": "x"}, headers={"If-Match": value})
    assert answer.status_code in (400, 412), answer.text
    assert org.api.get(path).json()["location"] is None


def test_a_printers_tag_has_two_parts(org: Org) -> None:
    """If-Match compares the configuration only: a report in between does not refuse a change."""
    made = org.make_printer()
    path = f"/v1/printers/{made['id']}"
    tag = core(org.api.get(path).headers["ETag"])
    config, state = re.fullmatch(r'"c(\d+)\.s(\d+)"', tag).groups()  # type: ignore[union-attr]
    org.connected(made["id"])
    now = core(org.api.get(path).headers["ETag"])
    assert now == f'"c{config}.s{int(state) + 1}"'
    org.api.get(path, headers={"If-None-Match": tag}, expect=200)
    org.api.patch(path, {"location": "x"}, headers={"If-Match": tag}, expect=200)
    assert core(org.api.get(path).headers["ETag"]) == f'"c{int(config) + 1}.s{int(state) + 1}"'


def test_compression_does_not_break_if_match(org: Org) -> None:
    path = paths(org)["printer"]
    tag = core(org.api.get(path).headers["ETag"])
    org.api.patch(path, {"location": "x"}, headers={"If-Match": f"W/{tag}"}, expect=200)
    org.api.patch(path, {"location": "y"}, headers={"If-Match": f"W/{tag}"}, expect="precondition_failed")


def test_lists_are_not_conditional(org: Org) -> None:
    org.api.get("/v1/printers", headers={"If-None-Match": "*"}, expect=200)
