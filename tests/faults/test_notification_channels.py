"""Notifications from the event to each channel: chats that get what their makers document, mails that a server takes and
a mail program can read. Whatever the names in an event are, they stay text."""

from __future__ import annotations

import email.policy
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from internet import usable
from private_pg import Postgres, pg, template  # noqa: F401
from wait import until
from webhooks import Courier, Place, Rule, emit, place
from world import Org

pytestmark = pytest.mark.skipif(bool(usable()), reason=f"no network namespace: {usable()}")
SERVER = Path(__file__).resolve().parents[1] / "lib/mail_server.py"
EVIL = '</b><script>x</script> "quotes" <!channel> @everyone [x](https://e.test) *b* B\u00e4r\r\nBcc: x@evil.test'
FLAT = EVIL.replace("\r\n", "  ")


@pytest.fixture(scope="module")
def world(pg: Postgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:  # noqa: F811
    with place(pg, template, tmp_path_factory.mktemp("net")) as made:
        yield made
        assert made.net.hits() == []
        for courier in made.couriers:
            assert courier.said("statement failed") == []
            assert all(x not in courier.log.read_text() for x in ("Sanitizer", "CANARY"))


class Mail:
    def __init__(self, world: Place) -> None:
        self.folder = world.net.folder
        self.process = [
            subprocess.Popen(world.net.command(sys.executable, "-B", SERVER, self.folder, str(port), how))
            for port, how in ((587, "starttls"), (2525, "plain"))
        ]
        until(lambda: all((self.folder / f"mail-{p}").exists() for p in (587, 2525)), what="the mail servers listen")

    def to(self, address: str) -> list[dict[str, Any]]:
        file = self.folder / "mails"
        lines = file.read_text().splitlines() if file.exists() else []
        return [m for m in map(json.loads, lines) if address in m["to"]]


@pytest.fixture(scope="module")
def mail(world: Place) -> Iterator[Mail]:
    made = Mail(world)
    yield made
    for process in made.process:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def courier(world: Place, mail: Mail) -> Courier:
    return world.courier(
        SOLOPRINT_SMTP_URL="smtp://print:CANARY-mail@mail.web.test:587", SOLOPRINT_SMTP_CA=str(world.net.ca),
        SOLOPRINT_MAIL_FROM="SoLoPrint f\u00fcr alle <print@web.test>",
    )  # fmt: skip


@pytest.fixture
def org(world: Place, courier: Courier) -> Org:
    assert courier.process.poll() is None
    return world.org()


def sent(world: Place, org: Org, channel: str, n: int = 1, kind: str = "printer.error") -> tuple[dict[str, Any], dict[str, Any]]:
    """The request that came of n events, and its body."""
    name = secrets.token_hex(6)
    rule = Rule(world, org, channel, f"https://web.test/hook/{name}")
    with org.db.transaction():
        for _ in range(n):
            emit(org, kind=kind, name="Mk4", message=EVIL)
    want = "/hook/" if channel == "ntfy" else f"/hook/{name}"
    found = until(lambda: [r for r in world.net.lines("request", path=want) if channel != "ntfy" or name in r["body"]], what=channel)
    assert rule.attempted()["status"] == "delivered"
    assert found[0]["headers"]["content-type"] == "application/json"
    return found[0], json.loads(found[0]["body"])


# --- chats ------------------------------------------------------------------------------------------------------------


def test_webhook(world: Place, org: Org) -> None:
    request, body = sent(world, org, "webhook", 3)
    assert (body["type"], body["rule"], body["organization"], body["more"]) == ("notification", "Failures", org.name, 0)
    assert [e["type"] for e in body["events"]] == ["printer.error"] * 3
    assert body["events"][0]["data"]["message"] == EVIL
    assert body["subject"] == "Failures: 3 events"
    assert request["headers"]["webhook-id"]


def test_slack(world: Place, org: Org) -> None:
    _, body = sent(world, org, "slack")
    texts = [body["blocks"][0]["text"], body["blocks"][1]["text"], *body["blocks"][2]["elements"]]
    assert all(t["type"] == "plain_text" for t in texts)
    shown = FLAT.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert shown in texts[1]["text"]
    assert "<" not in body["text"]
    assert body["mrkdwn"] is False


def test_discord(world: Place, org: Org) -> None:
    _, body = sent(world, org, "discord")
    assert body["allowed_mentions"] == {"parse": []}
    text = body["embeds"][0]["description"]
    assert "\\@everyone" in text
    assert "\\[x\\]\\(https" in text
    assert body["embeds"][0]["color"] == 0xDC2626


def test_teams(world: Place, org: Org) -> None:
    _, body = sent(world, org, "teams", 2)
    card = body["attachments"][0]["content"]
    assert (body["type"], card["type"]) == ("message", "AdaptiveCard")
    runs = [r for block in card["body"] for r in block["inlines"]]
    assert {r["type"] for r in runs} == {"TextRun"}
    assert sum(FLAT in r["text"] for r in runs) == 2


def test_ntfy(world: Place, org: Org) -> None:
    _, body = sent(world, org, "ntfy")
    assert FLAT in body["message"]
    assert body["priority"] == 5
    assert set(body) == {"topic", "title", "message", "priority"}


def test_what_a_chat_refuses_is_not_tried_again(world: Place, org: Org) -> None:
    rule = Rule(world, org, "slack", "https://web.test/status/404")
    emit(org)
    message = rule.attempted()
    assert (message["status"], message["last_error"]) == ("failed", "http_404")


def test_what_may_pass_is(world: Place, org: Org) -> None:
    rule = Rule(world, org, "discord", f"https://web.test/flaky/2/{secrets.token_hex(4)}")
    emit(org)
    assert rule.attempted(3)["status"] == "delivered"


# --- mail -------------------------------------------------------------------------------------------------------------


def address() -> str:
    return f"kim-{secrets.token_hex(4)}@web.test"


def read(mail: dict[str, Any]) -> EmailMessage:
    parsed = email.message_from_bytes(mail["data"].encode("latin-1"), policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    assert not parsed.defects
    return parsed


def test_mail(world: Place, org: Org, mail: Mail) -> None:
    to = [address(), address()]
    rule = Rule(world, org, "email", emails=to)
    emit(org, kind="printer.error", name="Mk4", message=EVIL)
    got = until(lambda: mail.to(to[0]), what="the mail")[0]
    assert (got["from"], got["to"], got["tls"], got["user"]) == ("print@web.test", to, True, True)
    m = read(got)
    assert m["From"] == "SoLoPrint f\u00fcr alle <print@web.test>"
    assert [a.addr_spec for a in m["To"].addresses] == to
    assert m["Subject"] == f"Mk4: {FLAT}"
    assert "Bcc" not in m
    assert m["Message-ID"] == f"<{rule.attempted()['id']}@web.test>"
    assert m["Date"].datetime.tzinfo is not None
    assert m["Auto-Submitted"] == "auto-generated"
    assert m.get_content_type() == "multipart/alternative"
    plain, html = m.get_body(("plain",)), m.get_body(("html",))
    assert plain and html
    assert FLAT in plain.get_content()
    assert "<script" not in html.get_content()
    assert "&lt;script&gt;" in html.get_content()
    assert all(len(line) <= 998 for line in got["data"].split("\r\n"))
    assert rule.attempted()["status"] == "delivered"


def test_a_digest_in_one_mail(world: Place, org: Org, mail: Mail) -> None:
    to = address()
    Rule(world, org, "email", emails=[to])
    with org.db.transaction():
        for n in range(60):
            emit(org, kind="printer.error", name=f"Printer {n}", message="x" * 150)
    m = read(until(lambda: mail.to(to), what="the mail")[0])
    text = m.get_body(("plain",))
    assert text
    assert m["Subject"] == "Failures: 60 events"
    assert "Printer 49: " in text.get_content()
    assert "and 10 more" in text.get_content()


def test_recipients_that_are_refused(world: Place, org: Org, mail: Mail) -> None:
    """One of two gets it all the same; nobody at all is a failure for good."""
    to = address()
    both = Rule(world, org, "email", emails=["refused@web.test", to])
    nobody = Rule(world, org, "email", emails=["refused@web.test"])
    emit(org)
    assert until(lambda: mail.to(to), what="the mail")[0]["to"] == [to]
    assert both.attempted()["status"] == "delivered"
    assert (nobody.attempted()["status"], nobody.attempted()["last_error"]) == ("failed", "mail_refused")


def test_a_server_that_says_later(world: Place, org: Org, mail: Mail) -> None:
    rule = Rule(world, org, "email", emails=["later@web.test"])
    emit(org)
    first = rule.attempted(1)
    assert (first["status"], first["last_error"]) == ("queued", "mail_deferred")
    assert rule.attempted(2)["status"] == "delivered"
    assert len(mail.to("later@web.test")) == 1


ODD = [
    ({}, "mail_not_configured"),
    ({"SOLOPRINT_SMTP_URL": "smtp://print:wrong@mail.web.test:587", "SOLOPRINT_MAIL_FROM": "print@web.test"}, "mail_login_failed"),
    ({"SOLOPRINT_SMTP_URL": "smtp://print:x@mail.web.test:2525", "SOLOPRINT_MAIL_FROM": "print@web.test"}, "tls_failed"),
    ({"SOLOPRINT_SMTP_URL": "smtp://expired.other.test:587", "SOLOPRINT_MAIL_FROM": "print@web.test"}, "dns_failed"),
    ({"SOLOPRINT_SMTP_URL": "smtp://web.test:2626", "SOLOPRINT_MAIL_FROM": "print@web.test"}, "connect_failed"),
    ({"SOLOPRINT_SMTP_URL": "smtp://other.test.dns.test:587", "SOLOPRINT_MAIL_FROM": "nobody"}, "mail_not_configured"),
    ({"SOLOPRINT_SMTP_URL": "smtp://web.test:2525", "SOLOPRINT_MAIL_FROM": "print@web.test"}, None),
]


@pytest.mark.parametrize(("settings", "error"), ODD, ids=[str(x[1]) for x in ODD])
def test_servers_of_all_sorts(world: Place, org: Org, courier: Courier, mail: Mail, settings: dict[str, str], error: str | None) -> None:
    """A password goes nowhere without TLS; a relay without one is used as it is."""
    courier.stop()
    other = world.courier(**{"SOLOPRINT_SMTP_CA": str(world.net.ca), **settings})
    try:
        rule = Rule(world, org, "email", emails=[address()])
        emit(org)
        message = rule.attempted()
        assert message["last_error"] == error
        assert message["status"] == ("queued" if error else "delivered")
        org.sql("DELETE FROM app.notification_rules WHERE id = %s", rule.id)
    finally:
        other.stop()
        again = world.courier(
            SOLOPRINT_SMTP_URL="smtp://print:CANARY-mail@mail.web.test:587", SOLOPRINT_SMTP_CA=str(world.net.ca),
            SOLOPRINT_MAIL_FROM="print@web.test",
        )  # fmt: skip
        courier.process, courier.log = again.process, again.log
