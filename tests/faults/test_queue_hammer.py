"""The print queue under everything at once: clients, gateways, killed workers, killed gateways, a killed Postgres. What no
printer may ever see is looked for all the time, in snapshots, and afterwards, in what is left: the dispatches, the printers'
journal of starts, the history. Then the same with safeguards taken out, which must be noticed.

SOLOPRINT_SEED=<number> draws the same lots again."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import files
import psycopg
import pytest
import queue_gateway
from api import tls
from journal import Client
from private_pg import Ctl, Postgres, pg, template  # noqa: F401
from psycopg.types.json import Jsonb
from queue_gateway import Gateway, Printers
from queue_model import HOLDS, LEGAL, NOBODY_KNOWS, Printer, Queue
from signals import signal_one
from stack import ROOT, Stack
from wait import until
from world import Org, make_org

sys.path.insert(0, str(ROOT / "tests" / "printers"))
from virtual_fleet.harness import RunningFleet  # noqa: E402

SEED = int(os.environ.get("SOLOPRINT_SEED") or random.SystemRandom().randrange(10**9))
Q = "/v1/platform/queue"
CLIENTS, PRINTERS, ITEMS = 64, 8, 48
# What a client may hear while something is dead; 429 too: a worker that is new, and cannot ask Redis in time, judges by its share
# of the default limits.
GONE = (429, 502, 503, 504)

SNAPSHOT = {
    "I1: sent twice": "SELECT item_id, generation FROM app.queue_dispatches WHERE org_id = %(org)s GROUP BY 1, 2 HAVING count(*) > 1",
    "I2: held twice": "SELECT assigned_printer FROM app.queue_items WHERE org_id = %(org)s AND app.queue_holds(state)"
    " GROUP BY 1 HAVING count(*) > 1",
    "I1: under way without a dispatch": "SELECT i.id FROM app.queue_items AS i WHERE i.org_id = %(org)s AND i.state = 'dispatching'"
    " AND NOT EXISTS (SELECT FROM app.queue_dispatches AS d WHERE (d.org_id, d.item_id, d.generation, d.operation_id)"
    " = (i.org_id, i.id, i.generation, i.operation_id))",
}


def broken_now(db: psycopg.Connection[Any], org: str) -> list[str]:
    """In one snapshot."""
    found = []
    with db.transaction():
        db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        for what, statement in SNAPSHOT.items():
            found += [f"{what}: {row}" for row in db.execute(statement, {"org": org}).fetchall()]
    return found


def broken_starts(db: psycopg.Connection[Any], org: str, printers: Printers) -> list[str]:
    """I1, I3: the printers' journal against the dispatches and what was told of them."""
    starts = printers.starts()
    found = [f"I1: started {n} times: {key}" for key, n in Counter((i, g) for _, _, i, g in starts).items() if n > 1]
    rows = db.execute(
        "SELECT d.printer_id::text, d.operation_id::text, d.item_id::text, d.generation, j.state, j.error ->> 'code'"
        " FROM app.queue_dispatches AS d JOIN app.jobs AS j ON j.org_id = d.org_id AND j.id = d.operation_id WHERE d.org_id = %s",
        [org],
    ).fetchall()
    told = {tuple(r[:4]): (r[4], r[5]) for r in rows}
    found += [f"I3: started and never sent: {s}" for s in starts if s not in told]
    for sent, (state, code) in told.items():
        if sent in starts and state in ("cancelled", "failed") and code not in NOBODY_KNOWS:
            found.append(f"I3: started, told as {state} {code}: {sent}")
        if sent not in starts and state == "succeeded":
            found.append(f"I3: told as started: {sent}")
    return found


def broken_history(db: psycopg.Connection[Any], org: str, printers: Printers) -> list[str]:
    """I9: each step follows from the one before and is legal; nothing that was started goes back by itself."""
    rows = db.execute(
        "SELECT item_id::text, from_state, to_state, generation, principal_id IS NOT NULL FROM app.queue_history"
        " WHERE org_id = %s AND item_id IS NOT NULL AND from_state IS DISTINCT FROM to_state ORDER BY id", [org]
    ).fetchall()  # fmt: skip
    started = {(i, g) for _, _, i, g in printers.starts()}
    state: dict[str, str | None] = defaultdict(lambda: None)
    at: dict[str, int] = defaultdict(int)
    found = []
    for item, was, now, generation, by_somebody in rows:
        step = f"{item}: {was} → {now}, generation {at[item]} → {generation}"
        if was != state[item] or now is not None and now not in LEGAL[was]:
            found.append(f"I9: {step} after {state[item]}")
        if generation != at[item] + (now == "assigned"):
            found.append(f"I9: {step}")
        if (was, now) == ("dispatching", "queued") and (item, generation) in started:
            found.append(f"a blind second start: {step}")
        if (was, now) == ("start_unknown", "queued") and not by_somebody:
            found.append(f"a start that nobody looked at: {step}")
        state[item], at[item] = now, generation
    changes = db.execute(
        "SELECT changes -> 'state' ->> 'from', changes -> 'state' ->> 'to' FROM app.audit_log WHERE org_id = %s"
        " AND target_type = 'queue_item' AND jsonb_typeof(changes -> 'state') = 'object'", [org]
    ).fetchall()  # fmt: skip
    return found + [f"I9: audited {a} → {b}" for a, b in set(changes) if b not in LEGAL[a]]


def untouched(db: psycopg.Connection[Any], org: str) -> Any:
    return db.execute("SELECT md5(string_agg(f::text || b::text, ',' ORDER BY f.id)) FROM app.files AS f JOIN app.blobs AS b"
                      " ON b.org_id = f.org_id AND b.id = f.blob_id WHERE f.org_id = %s", [org]).fetchone()  # fmt: skip


class Sampler(threading.Thread):
    """A reader that looks every 10 ms."""

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]], org: str) -> None:
        super().__init__(name="sampler")
        self.connect, self.org, self.over, self.found, self.looks = connect, org, threading.Event(), [], 0  # type: ignore[var-annotated]

    def run(self) -> None:
        db = None
        while not self.over.wait(0.01):
            try:
                db = db or self.connect()
                self.found += broken_now(db, self.org)
                self.looks += 1
            except psycopg.OperationalError:  # Postgres is being killed
                db = None
        if db:
            db.close()


# --- over HTTP ------------------------------------------------------------------------------------


@dataclass
class Load:
    """What the clients share."""

    stack: Stack
    org: Org
    files: Iterator[str]
    over: threading.Event = field(default_factory=threading.Event)
    printers: list[str] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    down: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Listener(Client):
    """Also hears when to come again."""

    retry_after: str | None = None

    def _once(self, method: str, path: str, data: str | None, headers: dict[str, str]) -> tuple[int, bytes]:
        try:
            self.connection.request(method, path, data, {**self.headers, **headers})
            answer = self.connection.getresponse()
            self.retry_after = answer.headers.get("Retry-After")
            return answer.status, answer.read()
        except BaseException:
            self.connection.close()
            raise


class Hand(threading.Thread):
    """One client."""

    def __init__(self, load: Load, n: int) -> None:
        super().__init__(name=f"client-{n}")
        self.load, self.lot = load, random.Random(SEED + n)
        self.client = Listener(load.stack.url, tls(load.stack.cacert), load.org.key)

    def run(self) -> None:
        try:
            while not self.load.over.is_set():
                getattr(self, self.lot.choice(HANDS))()
        except Exception as e:  # noqa: BLE001 - told to the test
            self.load.wrong.append(f"{type(e).__name__}: {e}")
        finally:
            self.client.close()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's body; None when there was none. A 5xx is wrong, but for the time in which something is dead."""
        try:
            status, raw = self.client.request(method, path, body)
        except (OSError, http.client.HTTPException) as e:
            self.load.down[type(e).__name__] += 1
            self.load.over.wait(0.02)
            return None
        answer = json.loads(raw) if raw else {}
        what = f"{method} {re.sub('[0-9a-f-]{36}', '…', path)} → {status} {answer.get('error', '') if status > 399 else ''}"
        with self.load.lock:
            self.load.answers[what] += 1
        if status in GONE:
            self.load.down[f"{status} {answer.get('error')}"] += 1
            self.load.over.wait(0.02)
            if status == 503 and not self.client.retry_after:
                self.load.wrong.append(f"I10: {what} without Retry-After")
        elif status >= 500 or answer.get("error") == "state_conflict" or status in (400, 401, 403, 422):
            self.load.wrong.append(f"I10: {what} {raw[:300]!r}")
        return answer if status < 300 else None

    def item(self) -> str:
        return self.lot.choice(self.load.items)

    def printer(self) -> str:
        return self.lot.choice(self.load.printers)

    def next(self) -> None:
        self.call("POST", f"/v1/platform/printers/{self.printer()}/dispatch-next")

    def fleet(self) -> None:
        self.call("POST", f"{Q}/dispatch", {"limit": self.lot.randrange(1, 9)})

    def assign(self) -> None:
        body = {"printer_id": self.printer(), "start": self.lot.random() < 0.6}
        self.call("POST", f"{Q}/{self.item()}/assign", body)

    def act(self) -> None:
        action = self.lot.choice(["cancel", "retry", "retry", "unassign", "complete", "hold", "release", "release"])
        self.call("POST", f"{Q}/{self.item()}/{action}", {} if action == "complete" else None)

    def resolve(self) -> None:
        page = self.call("GET", f"{Q}?status=start_unknown&limit=20")
        for item in (page or {"data": []})["data"]:
            outcome = self.lot.choice(["not_started", "failed", "completed", "cancelled", "printing"])
            self.call("POST", f"{Q}/{item['id']}/resolve", {"outcome": outcome})

    def again(self) -> None:
        """What has ended is no work: a copy of it is."""
        page = self.call("GET", f"{Q}?status=queued&limit=100")
        if page and len(page["data"]) < 20:
            made = self.call("POST", Q, {"file_id": next(self.load.files), "priority": self.lot.randrange(-2, 3)})
            if made:
                self.load.items[self.lot.randrange(len(self.load.items))] = made["id"]

    def reorder(self) -> None:
        self.call("POST", f"{Q}/reorder", {"order": list({self.item() for _ in range(self.lot.randrange(1, 5))})})

    def bulk(self) -> None:
        body = {"ids": list({self.item() for _ in range(4)}), "action": self.lot.choice(["cancel", "hold", "release", "retry"])}
        self.call("POST", f"{Q}/bulk", body)

    def plate(self) -> None:
        self.call("POST", f"/v1/printers/{self.printer()}/clear-plate")

    def replace(self) -> None:
        if self.lot.random() < 0.1:
            at = self.lot.randrange(len(self.load.printers))
            old = self.load.printers[at]
            if made := self.call("POST", "/v1/printers", NEW | {"name": f"p-{uuid.uuid4().hex[:8]}"}):
                self.load.printers[at] = made["id"]
                self.call("DELETE", f"/v1/printers/{old}")


NEW = {"protocol": "moonraker", "host": "192.0.2.1", "enabled": True}
HANDS = ("next", "next", "next", "plate", "plate", "assign", "assign", "act", "act", "act", "act", "again", "again", "fleet", "bulk",
         "resolve", "reorder", "replace")  # fmt: skip


class Standins:
    """Processes of gateways, begun again when they are killed."""

    def __init__(self, conninfo: str, folder: Path, n: int) -> None:
        self.words = [sys.executable, queue_gateway.__file__, conninfo, str(folder)]
        self.log = (folder.parent / "gateways.log").open("ab")
        self.seeds = itertools.count(SEED)
        self.all = [self.one() for _ in range(n)]

    def one(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*self.words, str(next(self.seeds))], stdout=self.log, stderr=self.log)

    def kill(self, n: int) -> None:
        self.all[n].kill()
        self.all[n].wait()
        self.all[n] = self.one()

    def stop(self) -> None:
        for each in self.all:
            each.kill()
            each.wait()
        self.log.close()

    def said(self) -> str:
        return Path(self.log.name).read_text(errors="replace")


@pytest.fixture(scope="module")
def queue_stack(own_stack: Stack) -> Stack:
    return own_stack.up("--gateways", "0")


@pytest.fixture
def org(queue_stack: Stack) -> Iterator[Org]:
    with queue_stack.connect() as db:
        yield make_org(queue_stack, db, None)  # type: ignore[arg-type]


def connected(stack: Stack, org: Org) -> Org:
    """Anew, after a Postgres that was killed."""

    def look() -> bool:
        try:
            org.db = stack.connect()
            return True
        except psycopg.OperationalError:
            return False

    until(look, 20, what="Postgres is up")
    return org


def children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def pid_of(stack: Stack, service: str) -> int:
    return until(lambda: max(int(stack.service("pid", service)), 0), 20, what=f"{service} runs")


def kill_one(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal_one(pid, signal.SIGKILL)


def killer(stack: Stack, kill_gateway: Callable[[int], None], over: threading.Event, killed: Counter[str]) -> None:
    """A worker, a gateway, now and then Postgres, at random moments."""
    lot = random.Random(SEED)
    names = ["worker", "gateway", "postgres", *["worker", "gateway"] * 6]
    for name in itertools.cycle(names):
        if over.wait(lot.uniform(0.4, 1.2)):
            return
        if name == "worker":
            workers = children(pid_of(stack, "api-api"))
            kill_one(lot.choice(workers) if workers else 0)
        elif name == "gateway":
            kill_gateway(lot.randrange(2))
        else:
            kill_one(pid_of(stack, "postgres"))
        killed[name] += 1


@pytest.mark.parametrize("seconds", [10, pytest.param(60, marks=pytest.mark.soak)])
def test_hammer(queue_stack: Stack, org: Org, tmp_path: Path, seconds: float) -> None:
    print(f"SOLOPRINT_SEED={SEED}")
    stack, machines = queue_stack, Printers(tmp_path / "printers")
    load = Load(stack, org, itertools.cycle([files.make_file(org, "cube.gcode")]))
    before = untouched(org.db, org.id)
    admin = Hand(load, 10**6)
    for n in range(PRINTERS):
        load.printers.append(admin.call("POST", "/v1/printers", NEW | {"name": f"first {n}"})["id"])
    for n in range(ITEMS):
        load.items.append(admin.call("POST", Q, {"file_id": next(load.files), "priority": n % 3})["id"])
    log_at = len(stack.log("postgres"))
    standins = Standins(str(stack.facts["superuser"]).replace("user=postgres", "user=soloprint_gateway"), machines.folder, 2)
    sampler = Sampler(stack.connect, org.id)
    hands = [Hand(load, n) for n in range(CLIENTS)]
    killed: Counter[str] = Counter()
    reaper = threading.Thread(target=killer, args=(stack, standins.kill, load.over, killed))
    try:
        until(lambda: machines.starts() or admin.next(), 20, what="something is started")
        for thread in (sampler, *hands, reaper):
            thread.start()
        threading.Event().wait(seconds)  # as long as it shall last
        load.over.set()
        for thread in (*hands, reaper):
            thread.join(60)
        connected(stack, org)
        settled(org)
    finally:
        load.over.set()
        sampler.over.set()
        standins.stop()
        if sampler.ident:
            sampler.join(20)
    said = stack.log("postgres")[log_at:]
    print(f"{sum(load.answers.values())} answers, {len(machines.starts())} starts, {sampler.looks} looks, killed {dict(killed)}, down "
          f"{dict(load.down)}")  # fmt: skip
    print("\n".join(f"{n:6d} {what}" for what, n in load.answers.most_common(60)))
    found = (load.wrong[:20] + sampler.found[:20] + broken_now(org.db, org.id) + broken_starts(org.db, org.id, machines)
             + broken_history(org.db, org.id, machines))  # fmt: skip
    assert not found, "\n".join(found)
    assert untouched(org.db, org.id) == before, "I7: a file was touched"
    refused = re.findall(".*(?:deadlock detected|duplicate key value).*\n(?:.*\n){12}", said)
    assert not refused, "\n".join(refused[:3])
    assert "Traceback" not in standins.said(), standins.said()[-3000:]
    assert len(machines.starts()) > seconds and sampler.looks > 10 * seconds and len(killed) == 3, "too little happened"
    assert Counter(org.sql("SELECT state FROM app.queue_items WHERE org_id = %s", org.id)).total() >= ITEMS


def settled(org: Org, timeout_s: float = 20) -> None:
    """What gateways still have in hand is done; not that of printers that are gone."""
    until(lambda: not org.sql("SELECT 1 FROM sec.printer_tasks AS t WHERE t.org_id = %s AND t.kind = 'printer.send'"
                              " AND EXISTS (SELECT FROM sec.printer_index AS i WHERE i.printer_id = t.printer_id)", org.id),
          timeout_s, what="all sends have ended")  # fmt: skip


# --- some at once, and one after the other ----------------------------------------------------------


@dataclass
class Call:
    """What was asked, what was answered, and when."""

    name: str
    args: tuple[Any, ...]
    touches: int | None
    began: float = 0
    ended: float = 0
    answer: Any = None


class Small:
    """A queue small enough to be understood: three printers that nobody serves, five items."""

    def __init__(self, stack: Stack, org: Org, file: str, lot: random.Random) -> None:
        self.stack, self.org, self.lot, self.file = stack, org, lot, file
        self.clients = [Client(stack.url, tls(stack.cacert), org.key) for _ in range(8)]
        self.q = Queue()
        self.printers: list[str] = []
        self.items: list[str] = []

    def fill(self) -> None:
        """Starts over: other items, other printers."""
        self.org.sql("UPDATE app.printers SET deleted_at = app.now() WHERE org_id = %s AND deleted_at IS NULL", self.org.id)
        self.org.sql("UPDATE app.queue_items SET state = 'cancelled', ended_at = app.now()"
                     " WHERE org_id = %s AND NOT app.queue_ended(state)", self.org.id)  # fmt: skip
        self.q, self.printers, self.items = Queue(), [], []
        for n in range(3):
            row = self.org.sql("INSERT INTO app.printers (name, protocol, host) VALUES (%s, 'moonraker', 'h') RETURNING id::text", f"s{n}")
            self.org.connected(row[0][0], state="'idle'")
            self.printers.append(row[0][0])
            self.q.printers.append(Printer(n))
        for _ in range(5):
            priority = self.lot.randrange(2)
            body = Jsonb({"name": "x", "file_id": self.file, "priority": priority})
            self.items.append(str(self.org.sql("SELECT sec.queue_create(app.uuid7(), %s)", body)[0][0]))
            self.q.create(1, priority=priority)
        for n in self.lot.sample(range(5), 2):
            self.do(self.clients[0], self.draw("assign", n, n % 3))
            self.q.assign(n, n % 3, False, self.last.answer == "dispatching")

    def draw(self, name: str = "", item: int | None = None, printer: int | None = None) -> Call:
        of = self.lot.choice
        name = name or of(["dispatch_next", "dispatch_next", "assign", "cancel", "cancel", "retry", "unassign", "complete", "hold",
                           "release", "update", "delete_printer"])  # fmt: skip
        i = self.lot.randrange(5) if item is None else item
        m = self.lot.randrange(3) if printer is None else printer
        if name in ("dispatch_next", "delete_printer"):
            return Call(name, (m,), None)
        if name == "assign":
            return Call(name, (i, m, of([True, False])), i)
        return Call(name, (i, of([-1, 0, 2])) if name == "update" else (i,), i)

    def do(self, client: Client, call: Call) -> None:
        self.last = call
        item = f"{Q}/{self.items[call.args[0]]}" if call.touches is not None else ""
        words: dict[str, tuple[Any, ...]] = {
            "dispatch_next": ("POST", f"/v1/platform/printers/{self.printers[call.args[0] % 3]}/dispatch-next"),
            "delete_printer": ("DELETE", f"/v1/printers/{self.printers[call.args[0] % 3]}"),
            "update": ("PATCH", item, {"priority": call.args[-1]}),
            "complete": ("POST", f"{item}/complete", {"outcome": "failed"}),
        }
        if call.name == "assign":
            words["assign"] = ("POST", f"{item}/assign", {"printer_id": self.printers[call.args[1]], "start": call.args[2]})
        method, path, *body = words.get(call.name, ("POST", f"{item}/{call.name}"))
        headers = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else {}
        call.began = time.monotonic()
        status, raw = client.request(method, path, *body, **headers)
        call.ended = time.monotonic()
        answer = json.loads(raw) if raw else {}
        if status == 409 and call.name == "assign":
            call.answer = sorted(r["code"] for r in answer["details"]["reasons"])
        elif call.name == "dispatch_next" and status == 200:
            call.answer = (self.items.index(answer["id"]), answer["assignment"]["generation"])
        elif call.name == "assign" and status == 200:
            call.answer = answer["state"]
        else:
            call.answer = status if status < 400 else answer["error"]

    def at_once(self, n: int) -> list[Call]:
        calls = [self.draw() for _ in range(n)]
        gate = threading.Barrier(n)
        wrong: list[BaseException] = []

        def run(client: Client, call: Call) -> None:
            try:
                gate.wait(10)
                self.do(client, call)
            except BaseException as e:  # noqa: BLE001 - told to the test
                wrong.append(e)

        threads = [threading.Thread(target=run, args=pair) for pair in zip(self.clients, calls, strict=False)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(30)
        assert not wrong, wrong
        return calls

    def seen(self) -> Any:
        rows = self.org.sql("SELECT id::text, state, held, priority, generation, assigned_printer::text FROM app.queue_items"
                            " WHERE id = ANY (%s::uuid[]) ORDER BY id", self.items)  # fmt: skip
        by = {r[0]: r[1:] for r in rows}
        return [(by[i][0], by[i][1], by[i][2], by[i][3], self.printers.index(by[i][4]) if by[i][0] in HOLDS else None) for i in self.items]


def said(q: Queue) -> Any:
    return [(i.state, i.held, i.priority, i.generation, i.printer if i.state in HOLDS else None) for i in q.items.values()]


def applied(q: Queue, call: Call, busy: set[int | None]) -> Queue | None:
    """The queue after the call, when it could have answered so. busy: items that others touch at the same time, which
    dispatch_next may pass over."""
    q = deepcopy(q)
    q.moment += 1
    n = call.args[0]
    if call.name == "dispatch_next":
        p = q.printers[n]
        fit = [i for i in q.line() if q.startable(i, p)]
        if isinstance(call.answer, tuple) and not p.deleted and q.ready(p) and not q.holder(p) and call.answer[0] in [i.n for i in fit]:
            i = q.items[call.answer[0]]
            if {x.n for x in fit[: fit.index(i)]} <= busy:
                q.claim(i, p, True)
                q.send(i, p)
                return q if i.generation == call.answer[1] else None
        got = q.dispatch_next(n)
        return q if call.answer == {None: "resource_not_found", False: "no_eligible_queue_item"}.get(got, got) else None
    if call.name == "delete_printer":
        if q.printers[n].deleted:
            return q if call.answer == "resource_not_found" else None
        q.printer_deleted(n)
        return q if call.answer == 204 else None
    if call.name == "assign":
        got = q.assign(n, call.args[1], False, call.args[2])
        got = "resource_not_found" if got is None else got if isinstance(got, list) else "dispatching" if got else "assigned"
        return q if got == call.answer else None
    if call.name == "update":
        got = q.update(n, priority=call.args[1])
    else:
        got = q.act(n, call.name, "failed")
    return q if call.answer == (200 if got is None else "queue_item_state_conflict") else None


def in_some_order(q: Queue, calls: list[Call], seen: Any, busy: Callable[[Call], set[int | None]]) -> bool:
    """Is there an order, in which nothing comes before what had ended when it began, that explains all answers and the end?"""
    if not calls:
        return bool(said(q) == seen)
    for call in calls:
        others = [c for c in calls if c is not call]
        if any(c.ended < call.began for c in others):
            continue
        after = applied(q, call, busy(call))
        if after is not None and in_some_order(after, others, seen, busy):
            return True
    return False


@pytest.mark.parametrize("rounds", [40, pytest.param(400, marks=pytest.mark.soak)])
def test_what_happens_at_once_happens_in_some_order(queue_stack: Stack, org: Org, rounds: int) -> None:
    """I8: linearisable."""
    print(f"SOLOPRINT_SEED={SEED}")
    lot = random.Random(SEED)
    small = Small(queue_stack, connected(queue_stack, org), files.make_file(org, "cube.gcode"), lot)
    overlapping = 0
    for _ in range(rounds):
        small.fill()
        assert said(small.q) == small.seen()
        calls = small.at_once(lot.randrange(4, 9))
        beside = {id(c): [d for d in calls if d is not c and d.began < c.ended and c.began < d.ended] for c in calls}
        overlapping += sum(map(len, beside.values()))
        seen = small.seen()
        assert in_some_order(small.q, calls, seen, lambda c: {d.touches for d in beside[id(c)]}), "I8: in no order\n" + "\n".join(  # noqa: B023
            ["no order explains", *map(str, said(small.q)), "→", *map(str, sorted(calls, key=lambda c: c.began)), "→", *map(str, seen)]
        )  # fmt: skip
        if len(calls) <= 5:
            lie = [(state, held, priority, generation + 1, at) for state, held, priority, generation, at in seen]
            assert not in_some_order(small.q, calls, lie, lambda c: {d.touches for d in beside[id(c)]})  # noqa: B023
    for client in small.clients:
        client.close()
    assert overlapping > rounds * 4, "they did not happen at once"


# --- with safeguards taken out ----------------------------------------------------------------------


class Bare:
    """The same at the level of SQL, on a database of its own: clients' threads and gateways that come and go."""

    def __init__(self, ctl: Ctl, folder: Path) -> None:
        self.ctl, self.machines = ctl, Printers(folder / f"printers-{ctl.database}")
        self.db = ctl.connect()
        name = f"o-{uuid.uuid4().hex}"
        self.org, self.principal = map(str, self.db.execute("SELECT * FROM sec.create_org(%s, %s)", [name, name]).fetchone() or ())
        self.enter(self.db)
        self.resends = False
        self.over = threading.Event()
        self.wrong: list[str] = []
        self.file = self.db.execute(
            "WITH b AS (INSERT INTO app.blobs (sha256, size_bytes) VALUES (sha256('a'), 1) RETURNING id)"
            " INSERT INTO app.files (filename, kind, content_type, size_bytes, sha256, blob_id, status, metadata)"
            " SELECT 'cube.gcode', 'gcode', 'x', 1, sha256('a'), b.id, 'ready', '{}' FROM b RETURNING id"
        ).fetchone()[0]  # type: ignore[index]
        self.printers = [self.one("INSERT INTO app.printers (name, protocol, host) VALUES (%s, 'moonraker', 'h') RETURNING id", f"p{n}")
                         for n in range(4)]  # fmt: skip
        body = Jsonb({"file_id": str(self.file), "copies": 30})
        self.one("SELECT sec.queue_create(app.uuid7(), %s)", body)
        self.one("SELECT sec.queue_settings_update(%s, NULL)::text", Jsonb({"plate_clear_required": False, "max_attempts": 20}))
        self.items = [r[0] for r in self.db.execute("SELECT id FROM app.queue_items WHERE org_id = %s", [self.org])]

    def enter(self, db: psycopg.Connection[Any]) -> None:
        db.execute("SET synchronous_commit = off")
        db.execute("SELECT set_config('app.org_id', %s, false), set_config('app.principal_id', %s, false)", [self.org, self.principal])

    def one(self, statement: str, *parameters: Any) -> Any:
        return (self.db.execute(statement, parameters).fetchone() or [None])[0]

    def mutate(self, function: str, *changes: tuple[str, str]) -> None:
        """Text of a function, anew. What is not found is a mutation that has come to nothing."""
        text = str(self.one("SELECT pg_get_functiondef(%s::regprocedure)", function))
        for old, new in changes:
            assert old in text, f"{function} has no {old!r} any more"
            text = text.replace(old, new)
        self.db.execute(text)

    def client(self, n: int) -> None:
        lot = random.Random(SEED + n)
        with self.ctl.connect("soloprint_api") as db:
            self.enter(db)
            while not self.over.is_set():
                item, printer = lot.choice(self.items), lot.choice(self.printers)
                one_that = ("FROM app.queue_items AS i WHERE i.id = (SELECT x.id FROM app.queue_items AS x WHERE x.state = %s"
                            " ORDER BY random() LIMIT 1)")  # fmt: skip
                statement, *parameters = lot.choice([
                    *[("SELECT sec.dispatch_next(%s)", printer)] * 3,
                    ("SELECT sec.queue_assign(%s, %s, false, true)", item, printer), ("SELECT sec.queue_act(%s, 'cancel', '{}')", item),
                    (f"SELECT sec.queue_act(i.id, 'retry', '{{}}') {one_that}", "cancelled"),
                    (f"SELECT sec.queue_duplicate(i.id, app.uuid7()) {one_that}", "completed"),
                    (f"SELECT sec.queue_act(i.id, 'resolve', '{{\"outcome\": \"failed\"}}') {one_that}", "start_unknown"),
                    ("UPDATE app.printers SET notes = 'x' WHERE id = %s", printer),
                ])  # fmt: skip
                try:
                    db.execute(statement, parameters)
                except psycopg.Error as e:
                    if not (e.sqlstate or "").startswith("SLP") and e.sqlstate != "40001":
                        self.wrong.append(f"I10: {e.sqlstate} {statement}: {e}")

    def gateways(self) -> None:
        """Each for a moment; the next one takes over what it leaves."""
        lot = random.Random(SEED)
        conninfo = self.ctl.pg.conninfo(self.ctl.database, "soloprint_gateway")
        try:
            while not self.over.is_set():
                gateway = Gateway(conninfo, self.machines, lot, resends=self.resends)
                until = time.monotonic() + lot.uniform(0.1, 0.8)
                while time.monotonic() < until and not self.over.is_set():
                    gateway.turn()
                if gateway.db:
                    gateway.db.close()
                with self.ctl.connect() as db:
                    db.execute("UPDATE sec.printer_index SET gateway_id = NULL, expires_at = NULL")
        except Exception as e:  # noqa: BLE001 - told to the test
            self.wrong.append(f"gateway: {type(e).__name__}: {e}")

    def broken(self) -> list[str]:
        return (self.wrong + broken_now(self.db, self.org) + broken_starts(self.db, self.org, self.machines)
                + broken_history(self.db, self.org, self.machines))  # fmt: skip

    def hammer(self, seconds: float) -> list[str]:
        """What is broken, as soon as something is."""
        threads = [threading.Thread(target=self.gateways), *(threading.Thread(target=self.client, args=(n,)) for n in range(6))]
        for t in threads:
            t.start()
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end and not self.broken():
                self.over.wait(0.05)
        finally:
            self.over.set()
            for t in threads:
                t.join(20)
        return self.broken()


def nothing(bare: Bare) -> None:
    pass


def no_lock_no_index(bare: Bare) -> None:
    bare.db.execute("DROP INDEX app.queue_items_one_per_printer")
    bare.mutate("sec.queue_lock_printer(uuid)", ("FOR NO KEY UPDATE OF p", ""))


def no_lock(bare: Bare) -> None:
    """The index holds; but who comes second hears of it as an error."""
    bare.mutate("sec.queue_lock_printer(uuid)", ("FOR NO KEY UPDATE OF p", ""))


def no_state_check(bare: Bare) -> None:
    """Nor the guard, nor the lock of the item: any of the three is enough."""
    bare.mutate("sec.queue_claim(uuid, uuid, boolean, boolean)", ("AND x.state = 'queued'", ""))
    bare.mutate("sec.queue_pick(uuid, app.queue_settings)", ("FOR NO KEY UPDATE SKIP LOCKED", ""), ("FOR NO KEY UPDATE", ""))
    bare.db.execute("DROP TRIGGER a_guard ON app.queue_items")


def no_memory_of_dispatches(bare: Bare) -> None:
    """An assigned item is sent by everybody who asks, and no key says that it was already."""
    bare.db.execute("ALTER TABLE app.queue_dispatches DROP CONSTRAINT queue_dispatches_pkey")
    bare.mutate("sec.queue_send(app.queue_items)", ("SET state = 'dispatching', operation_id", "SET operation_id"))
    bare.mutate("sec.task_create(uuid, text, jsonb, interval, boolean)", ("t.kind = 'printer.send'", "false"))


def resend(bare: Bare) -> None:
    bare.resends = True


def blind(bare: Bare) -> None:
    bare.mutate("sec.queue_follow_send()", ("'start_unknown', 'not_confirmed', 'outcome_unknown', 'printer_gone', 'gateway_lost'", "''"))


@pytest.fixture(scope="module")
def databases(pg: Postgres, template: str) -> Iterator[Callable[[], Ctl]]:  # noqa: F811
    numbers = itertools.count(1)

    def make() -> Ctl:
        made = Ctl(pg, f"bare{next(numbers)}")
        with pg.connect("postgres") as db:
            db.execute(f"CREATE DATABASE {made.database} TEMPLATE {template}")
        made.run("bootstrap", user="postgres")
        return made

    yield make


@pytest.mark.parametrize(
    ("mutate", "red"),
    [
        (nothing, ""),
        (no_lock, "I10: 23505"),
        (no_lock_no_index, "I2"),
        (no_state_check, "I9"),
        (no_memory_of_dispatches, "I1"),
        (resend, "I[13]"),
        (blind, "blind second start"),
    ],
)
def test_a_missing_safeguard_is_noticed(databases: Callable[[], Ctl], tmp_path: Path, mutate: Callable[[Bare], None], red: str) -> None:
    print(f"SOLOPRINT_SEED={SEED}")
    bare = Bare(databases(), tmp_path)
    mutate(bare)
    found = bare.hammer(8 if red else 2)
    print(f"{mutate.__name__}: {len(bare.machines.starts())} starts, {found[:2]}")
    bare.db.close()
    if red:
        assert any(re.search(red, each) for each in found), found or "nobody noticed"
    else:
        assert not found, "\n".join(found)
        assert len(bare.machines.starts()) > 3


# --- last, since a real gateway takes every printer there is ---------------------------------------------


@pytest.mark.parametrize("seconds", [8, pytest.param(60, marks=pytest.mark.soak)])
def test_hammer_with_a_real_gateway(queue_stack: Stack, org: Org, tmp_path: Path, seconds: float) -> None:
    """And printers that speak: slower, and each file has an item of its own, so that the printers' requests tell whose start it was."""
    print(f"SOLOPRINT_SEED={SEED}")
    stack = queue_stack.up("--gateways", "1", "--env", "SOLOPRINT_GATEWAY_PATIENCE=5")  # per cent of the times that printers get
    connected(stack, org)
    names = {f"part-{n}.gcode": files.make_file(org, f"part-{n}.gcode") for n in range(60)}
    load = Load(stack, org, itertools.cycle(names.values()))
    before = untouched(org.db, org.id)
    admin, killed = Hand(load, 10**6), Counter[str]()
    printers = [{"name": f"m{n}", "protocol": "moonraker", "needs_key": False, "job": {"seconds": 40, "prepare_s": 5}} for n in range(4)]
    with RunningFleet(Path(tempfile.mkdtemp(prefix="slp-", dir=stack.folder)), printers, "--time-scale", "60") as fleet:
        for p in fleet.printers:
            body = {k: p[k] for k in ("name", "protocol", "host", "port")}
            load.printers.append(admin.call("POST", "/v1/printers", body)["id"])
        for n in range(20):
            load.items.append(admin.call("POST", Q, {"file_id": next(load.files), "priority": n % 3})["id"])
        sampler = Sampler(stack.connect, org.id)
        hands = [Hand(load, n) for n in range(16)]
        reaper = threading.Thread(target=killer, args=(stack, lambda _: kill_one(pid_of(stack, "gateway")), load.over, killed))
        for hand in hands:
            hand.replace = lambda: None  # type: ignore[method-assign]
        try:
            until(lambda: org.sql("SELECT count(*) FROM app.printer_status WHERE org_id = %s AND connection ->> 'state' = 'connected'",
                                  org.id)[0][0] == len(printers), 20, what="all are connected")  # fmt: skip
            for thread in (sampler, *hands, reaper):
                thread.start()
            threading.Event().wait(seconds)  # as long as it shall last
            load.over.set()
            for thread in (*hands, reaper):
                thread.join(60)
            connected(stack, org)
            settled(org, 30)
        finally:
            load.over.set()
            sampler.over.set()
            if sampler.ident:
                sampler.join(20)
        asked = [fleet.ctl("requests", p["name"], method="printer.print.start") for p in fleet.printers]
    starts = Counter(Path(r["params"]["filename"]).name for each in asked for r in each)
    rows = org.sql("SELECT f.filename, count(*), count(*) FILTER (WHERE j.state = 'succeeded'),"
                   " count(*) FILTER (WHERE j.state = 'succeeded' OR j.error ->> 'code' = ANY (%s))"
                   " FROM app.queue_dispatches AS d JOIN app.jobs AS j ON j.org_id = d.org_id"
                   " AND j.id = d.operation_id JOIN app.files AS f ON f.org_id = d.org_id AND f.id = d.file_id"
                   " WHERE d.org_id = %s GROUP BY 1", [*NOBODY_KNOWS, "refused", "printer_state_conflict"], org.id)  # fmt: skip
    print(f"{sum(load.answers.values())} answers, {starts.total()} starts, {sum(r[1] for r in rows)} sends, killed {dict(killed)}, down "
          f"{dict(load.down)}")  # fmt: skip
    found = load.wrong[:20] + sampler.found[:20] + broken_now(org.db, org.id) + broken_history(org.db, org.id, Printers(tmp_path / "none"))
    told = {name: (sure, perhaps) for name, _, sure, perhaps in rows}
    found += [f"I3: {name}: {starts[name]} starts, {a} to {b} told" for name, (a, b) in told.items() if not a <= starts[name] <= b]
    assert not found, "\n".join(found)
    assert set(starts) <= {r[0] for r in rows}
    assert untouched(org.db, org.id) == before, "I7: a file was touched"
    assert starts.total() > seconds / 3 and len(killed) == 3, "too little happened"
