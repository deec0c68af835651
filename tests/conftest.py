"""Fixtures of all integration tests. One stack serves a whole run, also of several pytest workers; it starts when the
first test asks for it and is taken down at the end. SOLOPRINT_TEST_STACK=<folder> uses one that is up already."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))

import httpx  # noqa: E402
import psycopg  # noqa: E402
from api import Api, Http2  # noqa: E402
from contract import Contract  # noqa: E402
from filelock import FileLock  # noqa: E402
from stack import Stack, new_stack, remove  # noqa: E402
from world import Org, make_org  # noqa: E402

RUN = "SOLOPRINT_TEST_RUN"


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        os.environ[RUN] = tempfile.mkdtemp(prefix="slp-run-")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Takes the stack down. What a sanitizer had to say fails the run, also when it came at the very end."""
    if hasattr(session.config, "workerinput") or RUN not in os.environ:
        return
    note = Path(os.environ[RUN]) / "stack.json"
    if not note.exists():
        return
    known = json.loads(note.read_text())
    stack = Stack(Path(known["folder"]), known["port"])
    stack.down()
    for log in sorted((stack.var / "log").rglob("*")):
        if log.is_file() and "Sanitizer" in (text := log.read_text(errors="replace")):
            print(f"\n{log}:\n{text[max(0, text.index('Sanitizer') - 200):][:4000]}")
            session.exitstatus = 1
    remove(stack)


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(RUN, ""), ignore_errors=True)


@pytest.fixture(scope="session")
def stack() -> Stack:
    """The run's shared stack, without a gateway: tests say themselves what printers report.
    Tests that kill or reconfigure parts of it make their own: own_stack."""
    ready = os.environ.get("SOLOPRINT_TEST_STACK")
    if ready:
        return Stack(Path(ready), 0)
    run = Path(os.environ[RUN])
    note = run / "stack.json"
    with FileLock(run / "lock"):
        if note.exists():
            known = json.loads(note.read_text())
            assert not known.get("failed"), f"the stack did not start:\n{known['failed']}"
            return Stack(Path(known["folder"]), known["port"])
        made = new_stack()
        # Written first: what was started halfway is taken down as well.
        known = {"folder": str(made.folder), "port": made.port}
        note.write_text(json.dumps(known))
        try:
            return made.up("--gateways", "0")
        except AssertionError as e:
            note.write_text(json.dumps({**known, "failed": str(e)}))
            raise


@pytest.fixture(scope="module")
def own_stack() -> Iterator[Stack]:
    """A stack for one module, to be broken at will."""
    made = new_stack()
    try:
        yield made.up()
    finally:
        remove(made)


@pytest.fixture(scope="session")
def db(stack: Stack) -> Iterator[psycopg.Connection[Any]]:
    """The database as superuser."""
    with stack.connect() as connection:
        yield connection


@pytest.fixture(scope="session")
def http(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, transport=Http2(stack.cacert), timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def contract(http: httpx.Client) -> Iterator[Contract]:
    made = Contract(http.get("/v1/openapi.json").raise_for_status().json())
    yield made
    seen = Path(os.environ.get(RUN, tempfile.gettempdir())) / f"seen-{os.getpid()}.json"
    seen.write_text(json.dumps(sorted(made.seen)))


@pytest.fixture(scope="session")
def anonymous(http: httpx.Client, contract: Contract) -> Api:
    """A client without a credential."""
    return Api(http, contract)


MakeOrg = Callable[..., Org]


@pytest.fixture(scope="session")
def make_organisation(stack: Stack, db: psycopg.Connection[Any], anonymous: Api) -> MakeOrg:
    return lambda name="": make_org(stack, db, anonymous, name)


@pytest.fixture
def org(make_organisation: MakeOrg) -> Org:
    """A fresh organisation with a key that may do everything."""
    return make_organisation()


@pytest.fixture
def other_org(make_organisation: MakeOrg) -> Org:
    return make_organisation()


@pytest.fixture
def api(org: Org) -> Api:
    return org.api


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Which operations and documented error codes of the contract this run has seen."""
    run = Path(os.environ.get(RUN, "/nonexistent"))
    files = list(run.glob("seen-*.json"))
    generated = Path(os.environ.get("BUILD", "build")) / "gen" / "openapi.json"
    if not files or not generated.exists():
        return
    seen = {tuple(row) for f in files for row in json.loads(f.read_text())}
    contract = Contract(json.loads(generated.read_text()))
    silent = [op.id for op in contract.operations if not any(s[0] == op.id and s[1] < 400 for s in seen)]
    codes = {code for op in contract.operations for code in op.errors}
    unseen = sorted(codes - {s[2] for s in seen})
    terminalreporter.write_line(
        f"contract: {len(contract.operations) - len(silent)} of {len(contract.operations)} operations answered, "
        f"{len(codes) - len(unseen)} of {len(codes)} error codes seen"
        + (f"; silent operations: {', '.join(silent)}" if silent else "")
        + (f"; unseen here: {', '.join(unseen)}" if unseen else "")
    )
