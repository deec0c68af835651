"""Couriers that are killed, stopped, starved and cheated. What a job did is told by two witnesses: the journal that its
kind writes to a file (what happened outside of the database, perhaps more than once) and rows of the kind test.effect
(what was committed with the job's end, once)."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import secrets
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from api import tls
from pooler import pgbouncer
from signals import signal_one
from stack import BUILD, Stack
from wait import until
from world import Org, make_org

STUB = BUILD / "stub" / "courier_kinds"
LEASE_MS = 1000
ROLE = "soloprint_courier"


class Courier:
    """The stub courier: the real one with kinds of the tests' own."""

    def __init__(self, stack: Stack, folder: Path, workers: int = 1, **env: str) -> None:
        self.log, self.name = folder / "log", f"courier-{secrets.token_hex(4)}"
        conninfo = str(stack.facts["superuser"]).replace("user=postgres", f"user={ROLE}")
        settings = {
            "SOLOPRINT_DB": conninfo, "SOLOPRINT_WORKERS": str(workers), "SOLOPRINT_COURIER_NAME": self.name,
            "SOLOPRINT_COURIER_LEASE_MS": str(LEASE_MS), "SOLOPRINT_DRAIN_MS": "5000",
        }  # fmt: skip
        with self.log.open("wb") as out:
            self.process = subprocess.Popen([STUB], env={**os.environ, **settings, **env}, stderr=out)
        until(lambda: self.said("ready"), what="the courier is ready")

    def said(self, msg: str, **fields: Any) -> list[dict[str, Any]]:
        """Its log lines with this message and these fields."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [x for x in lines if x["msg"] == msg and all(x.get(k) == v for k, v in fields.items())]

    def workers(self) -> list[int]:
        pid = self.process.pid
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def stop(self) -> float:
        """SIGTERM; how long it took."""
        at = time.monotonic()
        self.process.terminate()
        assert self.process.wait(10) == 0
        return time.monotonic() - at

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


class World:
    """One test's organisation, couriers, journal and gate: jobs of the kind test.work wait for the gate's file."""

    def __init__(self, stack: Stack, db: psycopg.Connection[Any], folder: Path) -> None:
        self.stack, self.db, self.folder = stack, db, folder
        self.org = self.new_org()
        self.journal, self.gate = folder / "journal", folder / "gate"
        self.couriers: list[Courier] = []

    def new_org(self) -> Org:
        return make_org(self.stack, self.db, None)  # type: ignore[arg-type]

    def courier(self, workers: int = 1, **env: str) -> Courier:
        folder = self.folder / f"courier-{len(self.couriers)}"
        folder.mkdir()
        self.couriers.append(Courier(self.stack, folder, workers, **env))
        return self.couriers[-1]

    def job(self, kind: str = "test.work", *, org: Org | None = None, n: int = 1, columns: str = "", values: str = "",
            **params: Any) -> list[str]:  # fmt: skip
        """Ids of new jobs. columns, values: more of app.jobs, as SQL."""
        rows = (org or self.org).sql(
            f"INSERT INTO app.jobs (kind, visible, params{columns})"
            f" SELECT %s, true, %s{values} FROM generate_series(1, %s) RETURNING id",
            kind, json.dumps({"journal": str(self.journal), "token": "canary", **params}), n,
        )  # fmt: skip
        return [str(r[0]) for r in rows]

    def held(self, **more: Any) -> str:
        """A job that waits for the gate."""
        return self.job("test.work", until=str(self.gate), **more)[0]

    def open(self) -> None:
        self.gate.touch()

    def row(self, job: str) -> dict[str, Any]:
        got = self.org.sql(
            "SELECT jsonb_build_object('state', state, 'attempts', attempts, 'params', params, 'result', result,"
            " 'error', error, 'progress', progress, 'finished', finished_at IS NOT NULL) FROM app.jobs WHERE id = %s", job
        )  # fmt: skip
        return dict(got[0][0])

    def done(self, job: str, state: str = "succeeded", timeout_s: float = 15) -> dict[str, Any]:
        until(lambda: self.row(job)["state"] == state, timeout_s, what=f"{job} is {state}: {self.row(job)}")
        until(lambda: not self.leased(job), what="the index forgets the job")
        row = self.row(job)
        assert row["params"] == {}
        assert row["finished"]
        return row

    def leased(self, job: str) -> list[tuple[Any, ...]]:
        return self.db.execute("SELECT courier_id, fencing FROM sec.job_index WHERE job_id = %s", [job]).fetchall()

    def told(self, job: str) -> list[str]:
        """What the job has done, in order."""
        return [x[1] for x in self.lines() if x[0] == job]

    def lines(self) -> list[list[str]]:
        return [line.split() for line in self.journal.read_text().splitlines()] if self.journal.exists() else []

    def begun(self, job: str, attempt: int = 1) -> int:
        """Waits for the attempt; the process that makes it."""
        line = until(lambda: [x for x in self.lines() if x[0] == job and x[1:3] == ["begin", str(attempt)]])
        return int(line[0][3])

    def effects(self, job: str) -> int:
        return int(
            self.org.sql("SELECT count(*) FROM app.jobs WHERE kind = 'test.effect' AND params ->> 'of' = %s", job)[0][0]
        )


@pytest.fixture(scope="module")
def courier_stack(own_stack: Stack) -> Stack:
    return own_stack


@pytest.fixture
def world(courier_stack: Stack, tmp_path: Path) -> Iterator[World]:
    with courier_stack.connect() as db:
        made = World(courier_stack, db, tmp_path)
        try:
            yield made
        finally:
            for courier in made.couriers:
                courier.kill()
    errors = [x for c in made.couriers for x in c.said("statement failed")]
    assert not errors


def test_a_job_runs_to_its_end(world: World) -> None:
    world.courier()
    job = world.held(total=1000)
    world.begun(job)
    until(lambda: (world.row(job)["progress"] or {}).get("total") == 1000, what="progress is told")
    assert world.row(job)["state"] == "running"
    assert world.row(job)["params"]["token"] == "canary"
    world.open()
    row = world.done(job)
    assert row["result"] == {"attempt": 1}
    assert row["attempts"] == 1
    assert world.told(job) == ["begin", "end"]
    assert world.effects(job) == 1


def test_it_begins_at_once(world: World) -> None:
    """Idle workers are woken by the database."""
    world.courier()
    for _ in range(5):
        at = time.monotonic()
        job = world.job()[0]
        until(lambda j=job: world.told(j), every_s=0.005)
        assert time.monotonic() - at < 0.5
        world.done(job)


def test_behind_a_pooler(world: World) -> None:
    """In transaction mode, which passes no notifications on, and with more workers than server connections."""
    with pgbouncer(world.stack, ROLE, 2) as conninfo:
        world.courier(6, SOLOPRINT_STATEMENTS="unnamed", SOLOPRINT_DB=conninfo)
        at = time.monotonic()
        job = world.job()[0]
        world.done(job)
        assert time.monotonic() - at < 3
        jobs = world.job(n=100)
        for each in jobs:
            world.done(each)
        assert all(world.told(j) == ["begin", "end"] and world.effects(j) == 1 for j in jobs)
        world.couriers[0].stop()


def test_not_before_its_time(world: World) -> None:
    world.courier()
    job = world.job(columns=", run_after", values=", app.now() + '2 seconds'::interval")[0]
    other = world.job()[0]
    world.done(other)
    assert world.told(job) == []
    row = world.done(job)
    assert row["attempts"] == 1


def test_stop_gives_it_back_at_once(world: World) -> None:
    first = world.courier()
    job = world.held()
    world.begun(job)
    assert first.stop() < 2
    row = world.row(job)
    assert (row["state"], row["attempts"], row["params"]["token"]) == ("queued", 0, "canary")
    assert world.leased(job)[0][0] is None
    assert world.told(job) == ["begin", "stop"]
    world.open()
    world.courier()
    assert world.done(job)["attempts"] == 1
    assert world.effects(job) == 1


def test_stop_while_idle(world: World) -> None:
    courier = world.courier(3)
    assert courier.stop() < 1
    left = world.db.execute("SELECT count(*) FROM sec.couriers WHERE name LIKE %s", [f"%/{courier.name}/%"]).fetchone()
    assert left == (0,)


def test_reload(world: World) -> None:
    """The new generation takes over what the old one gives back."""
    courier = world.courier()
    job = world.held()
    old = world.begun(job)
    signal_one(courier.process.pid, signal.SIGHUP)
    until(lambda: len([x for x in world.lines() if x[1] == "begin"]) == 2, what="it is begun again")
    assert world.told(job) == ["begin", "stop", "begin"]
    assert int(world.lines()[-1][3]) != old
    world.open()
    assert world.done(job)["attempts"] == 1
    assert world.effects(job) == 1


@pytest.mark.parametrize("whom", ["worker", "supervisor"])
def test_kill(world: World, whom: str) -> None:
    courier = world.courier()
    job = world.held()
    pid = world.begun(job)
    if whom == "worker":
        signal_one(pid, signal.SIGKILL)
    else:
        workers = courier.workers()
        courier.kill()
        until(lambda: not any(Path(f"/proc/{w}/exe").exists() for w in workers), what="the workers end with it")
        world.courier()
    world.begun(job, 2)
    world.open()
    assert world.done(job)["attempts"] == 2
    assert world.told(job) == ["begin", "begin", "end"]
    assert world.effects(job) == 1


def test_lost_lease(world: World) -> None:
    """A worker sleeps through its lease, another one does the job; the sleeper wakes and must change nothing."""
    first, second = world.courier(), None
    job = world.held()
    sleeper = world.begun(job)
    signal_one(sleeper, signal.SIGSTOP)
    second = world.courier()
    world.begun(job, 2)
    world.open()
    assert world.done(job)["result"] == {"attempt": 2}
    signal_one(sleeper, signal.SIGCONT)
    until(lambda: first.said("job ended", job=job, outcome="lost"), what="the sleeper sees that it lost the lease")
    assert second.said("job ended", job=job, outcome="succeeded")
    assert world.row(job)["result"] == {"attempt": 2}
    assert world.effects(job) == 1


def test_lost_lease_before_the_other_is_done(world: World) -> None:
    """The sleeper wakes while the other one works: it stops at the next beat and does not disturb."""
    world.courier()
    job = world.held()
    sleeper = world.begun(job)
    signal_one(sleeper, signal.SIGSTOP)
    world.courier()
    world.begun(job, 2)
    signal_one(sleeper, signal.SIGCONT)
    until(lambda: "stop" in world.told(job), what="the sleeper stops")
    assert world.row(job)["state"] == "running"
    world.open()
    assert world.done(job)["result"] == {"attempt": 2}
    assert world.effects(job) == 1


@pytest.mark.parametrize("rounds", [20, pytest.param(300, marks=pytest.mark.soak)])
def test_hammer(world: World, rounds: int) -> None:
    """Workers and supervisors killed at random moments while jobs begin and end: each job ends once, with one effect."""
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    couriers = [world.courier(2), world.courier(2)]
    jobs: list[str] = []
    for n in range(rounds):
        jobs += world.job(n=10, columns=", max_attempts", values=", 100")
        time.sleep(rng.uniform(0, 0.2))  # a random moment, not a wait
        victim = rng.randrange(2)
        if n % 5 == 4:
            couriers[victim].kill()
            couriers[victim] = world.courier(2)
        elif workers := couriers[victim].workers():
            with contextlib.suppress(ProcessLookupError):
                signal_one(rng.choice(workers), signal.SIGKILL)
    until(lambda: not world.db.execute("SELECT 1 FROM sec.job_index WHERE kind = 'test.work' AND org_id = %s",
                                       [world.org.id]).fetchall(), 60, what="all jobs have ended")  # fmt: skip
    rows = world.org.sql("SELECT kind, state, params ->> 'of' FROM app.jobs WHERE org_id = %s", world.org.id)
    assert Counter(r[1] for r in rows if r[0] == "test.work") == {"succeeded": len(jobs)}
    effects = Counter(r[2] for r in rows if r[0] == "test.effect")
    assert effects == Counter(jobs)


@pytest.mark.parametrize(("again", "given_up"), [(False, 1), (True, 3)])
def test_poison(world: World, again: bool, given_up: int) -> None:
    """It kills its worker each time, in the second case also when it is cleared up after; others are done meanwhile."""
    courier = world.courier()
    params = {"crash_again": "yes"} if again else {}
    job = world.job("test.crash", columns=", max_attempts", values=", 2", **params)[0]
    others = world.job(n=20)
    row = world.done(job, "failed", 30)
    assert row["error"] == {"code": "crashed", "message": "The job ended its process each time it was tried."}
    assert row["attempts"] == 2
    assert Counter(world.told(job)) == {"crash": 2, "given_up": given_up}
    for other in others:
        world.done(other)
    assert courier.process.poll() is None


def test_retries_end(world: World) -> None:
    world.courier()
    job = world.job("test.retry", columns=", max_attempts", values=", 3")[0]
    row = world.done(job, "failed")
    assert row["error"] == {"code": "busy", "message": "The other side is busy (3)."}
    assert row["attempts"] == 3
    assert world.told(job) == ["retry"] * 3 + ["given_up"]
    assert world.effects(job) == 0


def test_between_retries(world: World) -> None:
    world.courier()
    job = world.job("test.retry", columns=", max_attempts", values=", 100")[0]
    until(lambda: len(world.told(job)) >= 3)
    until(lambda: world.row(job)["state"] == "queued")
    assert world.row(job)["error"]["code"] == "busy"
    assert world.row(job)["params"]["token"] == "canary"


def test_failure_keeps_its_statements(world: World) -> None:
    world.courier()
    job = world.job("test.fail")[0]
    row = world.done(job, "failed")
    assert row["error"] == {"code": "hopeless", "message": "It will never be."}
    assert world.told(job) == ["fail", "given_up"]
    assert world.effects(job) == 1


def test_statements_that_are_refused(world: World) -> None:
    """The job's end is one transaction: what the database refuses takes the success with it."""
    world.courier()
    job = world.job("test.refused", columns=", max_attempts", values=", 2")[0]
    row = world.done(job, "failed")
    assert row["error"]["code"] == "storage_quota_exceeded"
    assert row["result"] is None
    assert world.told(job) == ["refused", "refused", "given_up"]
    assert world.effects(job) == 0


def cancel(world: World, job: str) -> httpx.Response:
    with httpx.Client(base_url=world.stack.url, verify=tls(world.stack.cacert)) as client:
        headers = {"Authorization": f"Bearer {world.org.key}"}
        return client.post(f"/v1/operations/{job}/cancel", headers=headers)


def test_cancel_while_it_runs(world: World) -> None:
    world.courier()
    job = world.held()
    world.begun(job)
    answer = cancel(world, job)
    assert (answer.status_code, answer.json()["status"]) == (202, "running")
    row = world.done(job, "cancelled")
    assert row["error"] is None
    assert world.told(job) == ["begin", "stop", "given_up"]
    assert world.effects(job) == 0
    assert cancel(world, job).json()["error"] == "operation_finished"


def test_cancel_while_it_waits(world: World) -> None:
    """Cancelled at once, cleared up after as soon as there is a courier, never run."""
    job = world.held()
    answer = cancel(world, job)
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    world.courier()
    row = world.done(job, "cancelled")
    assert row["attempts"] == 0
    assert world.told(job) == ["given_up"]


def test_cancel_of_one_whose_courier_has_died(world: World) -> None:
    courier = world.courier()
    job = world.held()
    world.begun(job)
    courier.kill()
    assert cancel(world, job).status_code == 202
    world.courier()
    world.done(job, "cancelled")
    assert world.told(job) == ["begin", "given_up"]


def test_nobody_starves(world: World) -> None:
    """One organisation queues 10,000 jobs, then another one five: they do not wait for the 10,000."""
    other = world.new_org()
    world.job(n=10000)
    few = world.job(org=other, n=5)
    world.courier(2)
    until(lambda: {x[0] for x in world.lines()} >= set(few), 20, what="the few are done")
    order = [x[0] for x in world.lines() if x[1] == "begin"]
    assert max(order.index(j) for j in few) < 200


def test_two_couriers_share(world: World) -> None:
    jobs = world.job(n=300)
    for courier in [world.courier(2), world.courier(2)]:
        until(lambda c=courier: c.said("job ended"), what="each gets some")
    until(lambda: not world.db.execute("SELECT 1 FROM sec.job_index WHERE kind = 'test.work' AND org_id = %s",
                                       [world.org.id]).fetchall(), 30)  # fmt: skip
    assert Counter((x[0], x[1]) for x in world.lines()) == Counter((j, w) for j in jobs for w in ("begin", "end"))
    assert all(world.effects(j) == 1 for j in jobs[::30])


def test_postgres_restarts(world: World) -> None:
    """In the middle of a job: it goes on, and its end is written once the database is back."""
    courier = world.courier(2)
    job = world.held()
    world.begun(job)
    world.stack.service("kill", "postgres")
    until(lambda: courier.said("database connection failed") or courier.said("database connection lost"))

    def back() -> bool:
        try:
            world.db = world.org.db = world.stack.connect()
        except psycopg.OperationalError:
            return False
        return True

    until(back, 30, what="Postgres is back")
    world.open()
    world.done(job)
    assert world.effects(job) == 1
    after = world.job()[0]
    world.done(after)
    world.db.close()


def test_what_is_old_is_forgotten(world: World) -> None:
    world.courier()
    old, new = world.job()[0], world.job()[0]
    for job in (old, new):
        world.done(job)
    world.couriers[0].kill()
    world.org.sql("UPDATE app.jobs SET finished_at = app.now() - '31 days'::interval WHERE id = %s", old)
    world.db.execute("UPDATE sec.timers SET next_at = now() WHERE name = 'jobs_prune'")
    courier = world.courier()
    until(lambda: courier.said("forgotten"))
    assert not world.org.sql("SELECT 1 FROM app.jobs WHERE id = %s", old)
    assert world.org.sql("SELECT 1 FROM app.jobs WHERE id = %s", new)


def test_nothing_of_params_in_the_log(world: World) -> None:
    courier = world.courier()
    for job, state in ((world.job()[0], "succeeded"), (world.job("test.fail")[0], "failed")):
        world.done(job, state)
    assert "canary" not in courier.log.read_text()
    assert re.search(r'"kind":"test.work"', courier.log.read_text())
