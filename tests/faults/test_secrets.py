"""Secrets stay where they belong: with everything logged at level debug, no key and no printer's secret is found in an
answer that did not make it, in a log, in the database, in Redis or in a file of the service."""

from __future__ import annotations

import re
import secrets
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from signals import signal_one
from stack import Stack, new_stack, remove
from wait import until
from world import Org, make_org

PRINTER_SECRETS = ("Canary-printer-1", "Canary-printer-2", "Canary-refused")


@pytest.fixture(scope="module")
def debugging() -> Iterator[Stack]:
    made = new_stack()
    try:
        yield made.up("--env", "SOLOPRINT_LOG_LEVEL=debug")
    finally:
        remove(made)


@pytest.fixture(scope="module")
def told(debugging: Stack) -> list[str]:
    """Everything secret that was said to the service or by it, after a session that used all of it, wrongly too."""
    with debugging.connect() as db:
        org = make_org(debugging, db, None)  # type: ignore[arg-type]
    trust = ssl.create_default_context(cafile=debugging.cacert)
    with httpx.Client(base_url=debugging.url, verify=trust, timeout=30) as client:
        return [org.key, *PRINTER_SECRETS, *session(client, org)]


def session(client: httpx.Client, org: Org) -> list[str]:
    def ask(method: str, path: str, status: int, body: object = None, key: str = org.key, **headers: str) -> dict:
        answer = client.request(method, path, json=body, headers={"Authorization": f"Bearer {key}", **headers})
        assert answer.status_code == status, (method, path, answer.text)
        assert not any(s in answer.text + str(answer.headers) for s in PRINTER_SECRETS)
        return answer.json() if answer.content else {}

    printer = {
        "name": "p",
        "protocol": "bambu",
        "host": "127.0.0.1",
        "port": 9,
        "serial": "S1",
        "secret": PRINTER_SECRETS[0],
    }
    made = ask("POST", "/v1/printers", 201, printer, **{"Idempotency-Key": "printer"})
    ask("POST", "/v1/printers", 201, printer, **{"Idempotency-Key": "printer"})
    ask("PATCH", f"/v1/printers/{made['id']}", 200, {"secret": PRINTER_SECRETS[1]})
    ask("POST", "/v1/printers", 422, {**printer, "secret": PRINTER_SECRETS[2], "port": "x"})
    ask("POST", "/v1/printers", 409, {**printer, "secret": PRINTER_SECRETS[2]})
    wanted = {"name": "k", "capabilities": ["operations.read"]}
    created = ask("POST", "/v1/platform/api-keys", 201, wanted, **{"Idempotency-Key": "key"})
    again = ask("POST", "/v1/platform/api-keys", 201, wanted, **{"Idempotency-Key": "key"})
    assert again == created
    rotated = ask("POST", f"/v1/platform/api-keys/{created['id']}/rotate", 201)
    ask("GET", "/v1/printers", 200, key=created["key"])
    ask("GET", "/v1/platform/api-keys", 403, key=rotated["key"])
    unknown = created["key"][:-1] + ("0" if created["key"][-1] != "0" else "1")
    ask("GET", "/v1/printers", 401, key=unknown)
    ask("GET", f"/v1/printers?{secrets.token_hex(4)}=1", 400)
    return [created["key"], rotated["key"], unknown]


def assert_silent(text: str, told: list[str], where: str) -> None:
    for secret in told:
        assert secret not in text, f"{where} holds {secret[:16]}…"
        assert secret.encode().hex() not in text, f"{where} holds {secret[:16]}… in hexadecimal"


def test_logs(debugging: Stack, told: list[str]) -> None:
    for name in ("api-api", "gateway", "courier"):
        signal_one(int(debugging.service("pid", name)), 15)
    until(lambda: "stopped" in debugging.log("api-api"), what="the API's last words")
    files = [p for p in Path(debugging.facts["log"]).rglob("*") if p.is_file()]
    assert any('"level":"debug"' in p.read_text(errors="replace") for p in files)
    for path in files:
        assert_silent(path.read_text(errors="replace"), told, path.name)


def test_database(debugging: Stack, told: list[str]) -> None:
    dump = subprocess.run(
        ["pg_dump", "--data-only", "--dbname", str(debugging.facts["superuser"])],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "printer.created" in dump
    assert_silent(dump, told, "the database")


def test_redis(debugging: Stack, told: list[str]) -> None:
    keys = re.findall(r"rl:\S+", debugging.redis("KEYS", "*"))
    assert keys
    assert_silent("\n".join(keys + [debugging.redis("GET", k) for k in keys]), told, "Redis")


def test_files(debugging: Stack, told: list[str]) -> None:
    """Everything under the state's folder but the database's own files, which the dump has told about."""
    for path in Path(debugging.facts["var"]).rglob("*"):
        if path.is_file() and "pg" not in path.relative_to(debugging.facts["var"]).parts[:1]:
            assert_silent(path.read_bytes().decode("latin-1"), told, str(path))
