"""The API under load while parts of it are killed, reloaded and replaced. Nothing that was acknowledged may be lost,
the service must be back within five seconds, and what is planned (reload, replacement) must not fail one request."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from journal import BACK_WITHIN_S, Journal, back, load
from signals import signal_one
from stack import Stack
from wait import until
from world import Org, make_org

Loaded = Callable[[], "contextmanager[Journal]"]

SHORT_AND_LONG = pytest.mark.parametrize("rounds", [2, pytest.param(50, marks=pytest.mark.soak)])


@pytest.fixture
def org(own_stack: Stack) -> Iterator[Org]:
    """Of this module's own stack. The superuser's connection is made anew: tests kill Postgres."""
    with own_stack.connect() as db:
        made = make_org(own_stack, db, None)  # type: ignore[arg-type]
    yield made


@contextmanager
def judged(stack: Stack, org: Org, folder: Path) -> Iterator[Journal]:
    """Load while the body runs; afterwards the journal is compared with the database."""
    with load(stack, org, folder) as journal:
        yield journal
    with stack.connect() as db:
        org.db = db
        journal.check()
    print(
        f"{len(journal.acked)} created and {len(journal.deleted)} deleted; {journal.successes} answers, slowest "
        f"{journal.slowest_s * 1000:.0f} ms; {len(journal.failures)} failures {journal.said()}, "
        f"{journal.retries} retries on a closed connection"
    )


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def age_s(pid: int) -> float:
    try:
        started = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return float(Path("/proc/uptime").read_text().split()[0]) - started / os.sysconf("SC_CLK_TCK")


def pid_of(stack: Stack, service: str) -> int:
    """Waits while the service is being restarted; its supervisor then says -1."""
    return until(lambda: max(int(stack.service("pid", service)), 0), what=f"{service} runs")


def workers(stack: Stack, pool: str = "api") -> list[int]:
    return children(pid_of(stack, f"api-{pool}"))


def log_lines(stack: Stack, msg: str) -> int:
    return stack.log("api-api").count(f'"msg":"{msg}"')


def outage(journal: Journal, at: float) -> None:
    took = back(journal, at)
    assert took <= BACK_WITHIN_S, f"back after {took:.1f} s"
    print(f"back after {took * 1000:.0f} ms")


@SHORT_AND_LONG
def test_killed_workers(own_stack: Stack, org: Org, tmp_path: Path, rounds: int) -> None:
    with judged(own_stack, org, tmp_path) as journal:
        supervisor, n = pid_of(own_stack, "api-api"), len(workers(own_stack))
        for _ in range(rounds * 3):
            before = len(journal.failures)
            # Not one that is still starting: a row of those is a crash loop, which is slowed down on purpose.
            old = until(lambda: [p for p in children(supervisor) if age_s(p) > 1], what="one has long been ready")
            signal_one(random.choice(old), signal.SIGKILL)
            outage(journal, time.monotonic())
            until(lambda: len(children(supervisor)) == n, 2, what="replaced")
            # Only what the dead worker had in hand.
            assert len(journal.failures) - before <= 2, journal.said()


@SHORT_AND_LONG
def test_killed_supervisor(own_stack: Stack, org: Org, tmp_path: Path, rounds: int) -> None:
    with judged(own_stack, org, tmp_path) as journal:
        for _ in range(rounds):
            supervisor = pid_of(own_stack, "api-api")
            orphans = children(supervisor)
            signal_one(supervisor, signal.SIGKILL)
            at = time.monotonic()
            until(lambda: not any(Path(f"/proc/{p}").exists() for p in orphans), 2, what="no orphans")  # noqa: B023
            outage(journal, at)


@SHORT_AND_LONG
def test_killed_redis(own_stack: Stack, org: Org, tmp_path: Path, rounds: int) -> None:
    with judged(own_stack, org, tmp_path) as journal:
        for _ in range(rounds):
            signal_one(pid_of(own_stack, "redis"), signal.SIGKILL)
            outage(journal, time.monotonic())
    assert not journal.failures, "limits are no reason to fail a request"


def test_hung_redis(own_stack: Stack, org: Org, tmp_path: Path) -> None:
    with judged(own_stack, org, tmp_path) as journal:
        redis = pid_of(own_stack, "redis")
        signal_one(redis, signal.SIGSTOP)
        try:
            done = journal.successes
            until(lambda: journal.successes > done + 200, 20, what="requests are served without Redis")
        finally:
            signal_one(redis, signal.SIGCONT)
    assert not journal.failures, journal.said()


def test_flushed_redis(own_stack: Stack, org: Org, tmp_path: Path) -> None:
    with judged(own_stack, org, tmp_path) as journal:
        for _ in range(10):
            done = journal.successes
            own_stack.redis("FLUSHALL")
            until(lambda: journal.successes > done + 20, what="served")  # noqa: B023
    assert not journal.failures, journal.said()


@SHORT_AND_LONG
@pytest.mark.parametrize("victim", ["postmaster", "one backend"])
def test_killed_postgres(own_stack: Stack, org: Org, tmp_path: Path, rounds: int, victim: str) -> None:
    with judged(own_stack, org, tmp_path) as journal:
        for _ in range(rounds):
            with until(lambda: reachable(own_stack), 10, what="Postgres is up") as db:
                row = db.execute(
                    "SELECT pid FROM pg_stat_activity WHERE usename = 'soloprint_api' ORDER BY random() LIMIT 1"
                ).fetchone()
            assert row
            signal_one(pid_of(own_stack, "postgres") if victim == "postmaster" else row[0], signal.SIGKILL)
            outage(journal, time.monotonic())
    assert journal.failures, "the fault was not felt: the test proves nothing"


def reachable(stack: Stack) -> psycopg.Connection | None:
    try:
        return stack.connect()
    except psycopg.OperationalError:
        return None


@SHORT_AND_LONG
def test_reload_fails_no_request(own_stack: Stack, org: Org, tmp_path: Path, rounds: int) -> None:
    with judged(own_stack, org, tmp_path) as journal:
        for _ in range(rounds * 3):
            before, old = log_lines(own_stack, "reloaded"), set(workers(own_stack))
            own_stack.service("reload", "api-api")
            until(lambda: log_lines(own_stack, "reloaded") > before, what="reloaded")  # noqa: B023
            until(lambda: not old & set(workers(own_stack)), what="old workers are gone")  # noqa: B023
    assert not journal.failures, journal.said()


@SHORT_AND_LONG
def test_nginx_reload_fails_no_request(own_stack: Stack, org: Org, tmp_path: Path, rounds: int) -> None:
    with judged(own_stack, org, tmp_path) as journal:
        master = pid_of(own_stack, "nginx")
        for _ in range(rounds * 3):
            old, done = set(children(master)), journal.successes
            own_stack.service("reload", "nginx")
            until(lambda: not old & set(children(master)), 20, what="old nginx workers are gone")  # noqa: B023
            until(lambda: journal.successes > done + 20, what="served by the new ones")  # noqa: B023
    assert not journal.failures, journal.said()


@SHORT_AND_LONG
def test_replacement_fails_no_request(own_stack: Stack, org: Org, tmp_path: Path, rounds: int) -> None:
    """Last in this module: the stack goes on with workers that are replaced after a few requests."""
    own_stack.up("--max-requests", "40")
    seen: set[int] = set()
    with judged(own_stack, org, tmp_path) as journal:

        def many() -> bool:
            seen.update(workers(own_stack))
            return len(seen) >= 15 * rounds

        until(many, 20 * rounds, what="workers are replaced")
    assert not journal.failures, journal.said()


def test_replacement_in_a_flood(own_stack: Stack) -> None:
    """A worker that is told to stop has always just taken, or is about to take, a connection."""
    own_stack.up("--max-requests", "1000")
    done = subprocess.run(
        ["wrk", "-t2", "-c32", "-d6", f"{own_stack.url}/v1/public/version"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    ended = own_stack.log("api-api").count('"worker ended"')
    assert ended > 20, "workers are replaced"
    assert "Non-2xx" not in done.stdout and "Socket errors" not in done.stdout, done.stdout
