"""Webhooks and notification rules as clients use them: made through the API, sent by the real courier, in the small internet.
What the API seals the courier opens."""

from __future__ import annotations

import json
import os
import pwd
import secrets
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from api import Api, Http2
from contract import Contract
from internet import Internet, stop, usable
from stack import BUILD, Stack, new_stack, remove
from standardwebhooks import WebhookVerificationError
from wait import until
from webhooks import verify, verify_ed25519
from world import Org, make_org

pytestmark = pytest.mark.skipif(bool(usable()), reason=f"no network namespace: {usable()}")
HOOKS, DELIVERIES, RULES = "/v1/platform/webhooks", "/v1/platform/webhook-deliveries", "/v1/platform/notification-rules"
CANARY = "CANARY-header"


@pytest.fixture(scope="module")
def place() -> Iterator[Stack]:
    made = new_stack()
    try:
        yield made.up("--gateways", "0", "--couriers", "0")
    finally:
        remove(made)


@pytest.fixture(scope="module")
def net(place: Stack) -> Iterator[Internet]:
    with Internet(place.folder / "net") as made:
        yield made
        assert made.hits() == []


@pytest.fixture(scope="module", autouse=True)
def courier(place: Stack, net: Internet) -> Iterator[None]:
    """soloprint-courier as its own user, with the stack's key."""
    user, as_user = "soloprint-courier", []
    if os.geteuid() == 0:
        as_user = ["setpriv", f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--init-groups"]
    env = {
        "SOLOPRINT_DB": str(place.facts["superuser"]).replace("user=postgres", "user=soloprint_courier"),
        "SOLOPRINT_COURIER_KEY": str(place.facts["courier_key"]), "SOLOPRINT_FETCH_CA": str(net.ca),
    }  # fmt: skip
    log = place.folder / "courier.log"
    with log.open("wb") as out:
        process = subprocess.Popen(net.command(*as_user, BUILD / "bin/soloprint-courier"), env={**os.environ, **env}, stderr=out)
    until(lambda: '"ready"' in log.read_text(), what=f"the courier is ready: {log.read_text()}")
    yield
    stop(process)
    assert all(x not in log.read_text() for x in ("Sanitizer", "whsec_", CANARY, "statement failed"))


@pytest.fixture(scope="module")
def base(place: Stack) -> Iterator[Api]:
    with httpx.Client(base_url=place.url, transport=Http2(place.cacert), timeout=30) as client:
        yield Api(client, Contract(client.get("/v1/openapi.json").raise_for_status().json()))


@pytest.fixture
def org(place: Stack, base: Api) -> Iterator[Org]:
    with place.connect() as db:
        yield make_org(place, db, base)


def hook(org: Org, path: str, **more: Any) -> dict[str, Any]:
    body = {"name": "Hook", "endpoint_url": f"https://web.test{path}", "subscriptions": ["printer.*"], **more}
    return dict(org.api.post(HOOKS, body, expect=201).json())


def path() -> str:
    return f"/hook/{secrets.token_hex(6)}"


def request(net: Internet, to: str, n: int = 1) -> dict[str, Any]:
    return until(lambda: net.lines("request", path=to, method="POST")[n - 1 : n], 15, what=f"request {n} to {to}")[0]


def delivered(org: Org, id_: str) -> dict[str, Any]:
    def over() -> dict[str, Any] | None:
        now = dict(org.api.get(f"{DELIVERIES}/{id_}", expect=200).json())
        return now if now["status"] != "queued" else None

    return until(over, 15, 0.1, what="the delivery ends")


def test_a_change_reaches_its_receiver(net: Internet, org: Org) -> None:
    to = path()
    made = hook(org, to, headers={"Authorization": f"Bearer {CANARY}"})
    printer = org.make_printer(name="Mk4")
    got = request(net, to)
    event = verify(made["signing_secret"], got)
    assert (event["type"], event["data"]["printer_id"], event["organization_id"]) == ("printer.created", printer["id"], org.id)
    assert got["headers"]["authorization"] == f"Bearer {CANARY}"
    row = org.api.get(f"{DELIVERIES}?webhook_id={made['id']}", expect=200).json()["data"][0]
    seen = delivered(org, row["id"])
    assert (seen["status"], seen["attempts"], seen["event_id"]) == ("delivered", 1, event["id"])
    assert (seen["attempt_log"][0]["status"], seen["attempt_log"][0]["response_head"]) == (200, "thanks")
    assert json.loads(got["body"]) == seen["payload"]
    assert org.api.get(f"{HOOKS}/{made['id']}", expect=200).json()["status"] == "active"


def test_rotation(net: Internet, org: Org) -> None:
    to = path()
    made = hook(org, to)
    new = org.api.post(f"{HOOKS}/{made['id']}/rotate-secret", {"overlap_seconds": 3600}, expect=200).json()["signing_secret"]
    org.make_printer()
    got = request(net, to)
    for secret in (made["signing_secret"], new):
        verify(secret, got)
    org.api.post(f"{HOOKS}/{made['id']}/rotate-secret", {"overlap_seconds": 0}, expect=200)
    org.make_printer()
    with pytest.raises(WebhookVerificationError):
        verify(made["signing_secret"], request(net, to, 2))


def test_ed25519(net: Internet, org: Org) -> None:
    to = path()
    made = hook(org, to, signature="ed25519")
    org.make_printer()
    verify_ed25519(made["public_key"], request(net, to))


def test_test_replay_and_recover(net: Internet, org: Org) -> None:
    to = path()
    made = hook(org, to)
    test = org.api.post(f"{HOOKS}/{made['id']}/test", {"event_type": "print.failed"}, expect=202).json()
    assert verify(made["signing_secret"], request(net, to))["type"] == "print.failed"
    assert delivered(org, test["id"])["test"] is True
    org.make_printer()
    first = verify(made["signing_secret"], request(net, to, 2))
    row = next(d for d in org.api.get(f"{DELIVERIES}?webhook_id={made['id']}", expect=200).json()["data"] if not d["test"])
    delivered(org, row["id"])
    again = org.api.post(f"{DELIVERIES}/{row['id']}/replay", expect=201).json()
    assert verify(made["signing_secret"], request(net, to, 3))["id"] == first["id"]
    assert delivered(org, again["id"])["replay_of"] == row["id"]


def test_recover(net: Internet, org: Org) -> None:
    made = hook(org, "/status/500", max_attempts=1)
    org.make_printer()
    org.make_printer()
    failed = until(
        lambda: (d := org.api.get(f"{DELIVERIES}?webhook_id={made['id']}&status=failed", expect=200).json()["data"])[1:] and d,
        15, what="both have failed",
    )  # fmt: skip
    assert [d["last_error"] for d in failed] == ["http_500"] * 2
    to = path()
    org.api.patch(f"{HOOKS}/{made['id']}", {"endpoint_url": f"https://web.test{to}"}, expect=200)
    since = min(d["created_at"] for d in failed)
    got = org.api.post(f"{HOOKS}/{made['id']}/recover", {"since": since}, expect=202).json()
    assert got == {"recovered": 2, "more": False}
    ids = {verify(made["signing_secret"], request(net, to, n))["id"] for n in (1, 2)}
    assert ids == {d["event_id"] for d in failed}


@pytest.mark.parametrize("channel", ["webhook", "slack", "discord", "teams"])
def test_notifications(net: Internet, org: Org, channel: str) -> None:
    to = path()
    body = {"name": "Printers", "events": ["printer.*"], "channel": channel, "url": f"https://web.test{to}"}
    rule = org.api.post(RULES, body, expect=201).json()
    org.api.post(f"{RULES}/{rule['id']}/test", expect=202)
    assert json.loads(request(net, to)["body"])
    org.make_printer(name="Mk4 <b>")
    assert "Mk4" in request(net, to, 2)["body"]
    until(
        lambda: [m["status"] for m in org.api.get(f"{RULES}/{rule['id']}/messages", expect=200).json()["data"]] == ["delivered"] * 2,
        what="both are delivered",
    )  # fmt: skip
