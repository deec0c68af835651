"""soloprint-api behind pgbouncer in transaction mode: more workers than server connections, two organisations at once."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from pooler import pgbouncer
from stack import BUILD, Stack
from wait import until
from world import Org

CONNECTIONS = 3
WORKERS = 6


@pytest.fixture(scope="module")
def pooler(stack: Stack) -> Iterator[str]:
    with pgbouncer(stack, "soloprint_api", CONNECTIONS) as conninfo:
        yield conninfo


@dataclass
class Pool:
    socket: str
    log: Path

    def ask(self, method: str, path: str, key: str, body: str = "", **headers: str) -> tuple[int, dict]:
        """One request as nginx would hand it over, spoken by libfcgi's own client."""
        params = {
            "REQUEST_METHOD": method, "REQUEST_URI": path, "REMOTE_ADDR": "127.0.0.1", "SLP_REQID": "pooler",
            "HTTP_AUTHORIZATION": f"Bearer {key}", "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(body)), "PATH": os.environ["PATH"], **headers,
        }  # fmt: skip
        done = subprocess.run(
            ["cgi-fcgi", "-bind", "-connect", self.socket], env=params, input=body, text=True,
            capture_output=True, timeout=20, check=True,
        )  # fmt: skip
        head, _, text = done.stdout.partition("\n\n")
        return int(re.search(r"^Status: (\d+)", head, re.M)[1]), json.loads(text)


@pytest.fixture(scope="module")
def pool(stack: Stack, pooler: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    folder = tmp_path_factory.mktemp("pool")
    for name in ("cursor.key", "url.key"):
        (folder / name).write_bytes(secrets.token_bytes(32))
    (folder / "storage").mkdir()
    env = {
        "PATH": os.environ["PATH"], "SOLOPRINT_DB": pooler, "SOLOPRINT_STATEMENTS": "unnamed",
        "SOLOPRINT_REDIS": str(stack.facts["redis"]), "SOLOPRINT_SOCKET": f"{folder}/api.sock",
        "SOLOPRINT_WORKERS": str(WORKERS), "SOLOPRINT_CURSOR_KEY": f"{folder}/cursor.key",
        "SOLOPRINT_URL_KEY": f"{folder}/url.key", "SOLOPRINT_STORAGE": f"{folder}/storage",
        "SOLOPRINT_GATEWAY_PUBKEY": str(stack.facts["gateway_pubkey"]),
        "SOLOPRINT_COURIER_PUBKEY": str(stack.facts["courier_pubkey"]),
    }  # fmt: skip
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen([BUILD / "bin" / "soloprint-api"], env=env, stderr=out)
    try:
        until(lambda: '"ready"' in log.read_text(), what="the pool is ready")
        yield Pool(f"{folder}/api.sock", log)
    finally:
        process.terminate()
        process.wait(15)


def test_no_tenant_sees_the_other(pool: Pool, org: Org, other_org: Org) -> None:
    orgs = [org, other_org]
    for n, one in enumerate(orgs):
        for i in range(3):
            status, _ = pool.ask("POST", "/v1/printers", one.key, json.dumps({"name": f"{n}-{i}", "protocol": "bambu"}))
            assert status == 201

    def names(i: int) -> tuple[int, set[str]]:
        status, answer = pool.ask("GET", "/v1/printers", orgs[i % 2].key)
        return status, {p["name"][0] for p in answer["data"]}

    with ThreadPoolExecutor(4 * WORKERS) as threads:
        seen = list(threads.map(names, range(120)))
    assert all(got == (200, {str(i % 2)}) for i, got in enumerate(seen)), seen


def test_transactions_of_two_round_trips(pool: Pool, org: Org) -> None:
    """Idempotent requests with a secret: authenticate, then an explicit transaction."""
    body = json.dumps({"name": "sealed", "protocol": "bambu", "secret": "12345678"})

    def create(i: int) -> tuple[int, str]:
        status, answer = pool.ask("POST", "/v1/printers", org.key, body, HTTP_IDEMPOTENCY_KEY=f"key-{i % 5}")
        return status, answer.get("id", answer.get("error"))

    with ThreadPoolExecutor(4 * WORKERS) as threads:
        answers = list(threads.map(create, range(40)))
    made = {i for status, i in answers if status == 201}
    assert len(made) == 5
    assert {e for status, e in answers if status != 201} <= {"idempotency_request_in_progress"}
    assert len(pool.ask("GET", "/v1/printers", org.key)[1]["data"]) == 5


def test_refusals_leave_connections_clean(pool: Pool, org: Org) -> None:
    wrong = org.key[:-1] + ("0" if org.key[-1] != "0" else "1")
    weak = org.make_key([])
    for _ in range(2 * CONNECTIONS):
        assert pool.ask("GET", "/v1/printers", wrong)[0] == 401
        assert pool.ask("GET", "/v1/printers", weak)[0] == 403
        assert pool.ask("GET", "/v1/me", org.key)[0] == 200
    assert '"level":"error"' not in pool.log.read_text()
