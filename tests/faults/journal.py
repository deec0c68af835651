"""Writers that keep a journal of what the service acknowledged, and the judge who compares it with the database.

Every write carries an Idempotency-Key and is repeated until it is acknowledged: what failed is told apart from what is
merely unknown. The judge first makes sure that everything is up, so that a service that is still away is never taken
for one that lost data."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from api import tls
from stack import Stack
from wait import until
from world import EVENTS, Org

BACK_WITHIN_S = 5.0


class Client:
    """One keep-alive connection. Retries once when the server has closed it while it was idle."""

    def __init__(self, url: str, context: ssl.SSLContext, key: str) -> None:
        parts = urlsplit(url)
        self.connection = http.client.HTTPSConnection(str(parts.hostname), parts.port, context=context, timeout=10)
        self.headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self.retries = 0

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
        data = json.dumps(body) if body is not None else None
        reused = self.connection.sock is not None
        try:
            return self._once(method, path, data, headers)
        except (http.client.RemoteDisconnected, ConnectionError, ssl.SSLError):
            self.connection.close()
            if not reused:
                raise
        self.retries += 1
        return self._once(method, path, data, headers)

    def _once(self, method: str, path: str, data: str | None, headers: dict[str, str]) -> tuple[int, bytes]:
        try:
            self.connection.request(method, path, data, {**self.headers, **headers})
            answer = self.connection.getresponse()
            return answer.status, answer.read()
        except BaseException:
            self.connection.close()
            raise

    def close(self) -> None:
        self.connection.close()


@dataclass
class Failure:
    at: float
    what: str


@dataclass
class Journal:
    """acked: name → id, on disk before the next write begins. Times are monotonic."""

    stack: Stack
    org: Org
    file: Path
    acked: dict[str, str] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    failures: list[Failure] = field(default_factory=list)
    successes: int = 0
    last_success: float = 0.0
    slowest_s: float = 0.0
    retries: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ack(self, kind: str, name: str, id: str) -> None:
        with self.lock, self.file.open("a") as f:
            f.write(json.dumps([kind, name, id]) + "\n")
            f.flush()
            os.fsync(f.fileno())
            self.unknown.discard(name)
            if kind == "created":
                self.acked[name] = id
            else:
                self.deleted.add(name)

    def succeeded(self, took_s: float) -> None:
        with self.lock:
            self.successes += 1
            self.last_success = time.monotonic()
            self.slowest_s = max(self.slowest_s, took_s)

    def failed(self, what: str) -> None:
        with self.lock:
            self.failures.append(Failure(time.monotonic(), what))

    def said(self) -> list[str]:
        return sorted({f.what for f in self.failures})

    # --- the judge ---

    def wait_healthy(self) -> None:
        until(lambda: healthy(self.stack), 30, what="every component is healthy")

    def check(self) -> None:
        """Every acknowledged write is there, once; what was never acknowledged is there once or not at all."""
        self.wait_healthy()
        assert self.successes and self.acked, "nothing was acknowledged: the test proves nothing"
        on_disk = [json.loads(line) for line in self.file.read_text().splitlines()]
        assert {name for kind, name, _ in on_disk if kind == "created"} == set(self.acked)
        rows = self.org.sql(
            "SELECT name, array_agg(id::text), bool_and(deleted_at IS NOT NULL) FROM app.printers"
            " WHERE org_id = %s GROUP BY name",
            self.org.id,
        )
        there = {str(name): (list(ids), bool(gone)) for name, ids, gone in rows}
        lost = [n for n, i in self.acked.items() if n not in there or there[n][0] != [i]]
        assert not lost, f"{len(lost)} of {len(self.acked)} acknowledged writes are lost or doubled: {lost[:5]}"
        undone = [n for n in self.deleted if not there[n][1]]
        assert not undone, f"acknowledged deletions undone: {undone[:5]}"
        strangers = set(there) - set(self.acked) - self.unknown
        assert not strangers, f"rows nobody asked for: {sorted(strangers)[:5]}"
        self.check_events(there)

    def check_events(self, there: dict[str, tuple[list[str], bool]]) -> None:
        """The event is in the same transaction as the change."""
        rows = self.org.sql(
            f"SELECT resource_id::text, count(*) FROM {EVENTS} WHERE type = 'printer.created' AND org_id = %s GROUP BY 1",
            self.org.id,
        )
        assert dict(rows) == {ids[0]: 1 for ids, _ in there.values()}


def healthy(stack: Stack) -> bool:
    try:
        components = health(stack)["components"]
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        return False
    return all(components[c]["status"] == "healthy" for c in ("database", "redis", "storage"))


def health(stack: Stack) -> dict[str, Any]:
    client = Client(stack.url, tls(stack.cacert), "")
    client.headers = {}
    try:
        return dict(json.loads(client.request("GET", "/v1/health")[1]))
    finally:
        client.close()


class Writer(threading.Thread):
    """Creates, reads, deletes; repeats what failed with the same Idempotency-Key."""

    def __init__(self, journal: Journal, done: threading.Event, n: int) -> None:
        super().__init__(name=f"writer-{n}")
        self.journal, self.done = journal, done
        self.client = Client(journal.stack.url, tls(journal.stack.cacert), journal.org.key)

    def run(self) -> None:
        try:
            while not self.done.is_set():
                self.round()
        finally:
            self.journal.retries += self.client.retries
            self.client.close()

    def round(self) -> None:
        name = f"p-{secrets.token_hex(8)}"
        self.journal.unknown.add(name)
        body = {"name": name, "protocol": "bambu", "enabled": False}
        answer = self.insist(201, "POST", "/v1/printers", body, **{"Idempotency-Key": name})
        if answer is None:
            return
        id = json.loads(answer)["id"]
        self.journal.ack("created", name, id)
        if self.insist(200, "GET", f"/v1/printers/{id}") is None:
            return
        # A deletion that was carried out without an answer says 404 when repeated.
        if secrets.randbelow(4) == 0 and self.insist((204, 404), "DELETE", f"/v1/printers/{id}") is not None:
            self.journal.ack("deleted", name, id)

    def insist(
        self, want: int | tuple[int, ...], method: str, path: str, body: Any = None, **headers: str
    ) -> bytes | None:
        """Until it has a wanted status; None when the load ends first."""
        wanted = want if isinstance(want, tuple) else (want,)
        while True:
            start = time.monotonic()
            try:
                status, answer = self.client.request(method, path, body, **headers)
                if status in wanted:
                    self.journal.succeeded(time.monotonic() - start)
                    return answer
                self.journal.failed(f"{method}: {status} {json.loads(answer or b'{}').get('error')}")
            except (OSError, http.client.HTTPException, ValueError) as e:
                self.journal.failed(f"{method}: {type(e).__name__}")
            if self.done.wait(0.02):
                return None


@contextlib.contextmanager
def load(stack: Stack, org: Org, folder: Path, writers: int = 6) -> Iterator[Journal]:
    journal = Journal(stack, org, folder / "journal")
    journal.wait_healthy()
    done = threading.Event()
    threads = [Writer(journal, done, n) for n in range(writers)]
    for t in threads:
        t.start()
    try:
        until(lambda: journal.successes > 3 * writers, 10, what="the load runs")
        assert not journal.failures, journal.said()
        yield journal
    finally:
        done.set()
        for t in threads:
            t.join()


def back(journal: Journal, fault_at: float, more: int = 30) -> float:
    """Seconds from the fault until the last failure; then `more` requests in a row have succeeded."""

    def steady() -> bool:
        with journal.lock:
            last = journal.failures[-1].at if journal.failures else 0.0
            mark = marks.setdefault(last, journal.successes)
            return journal.successes >= mark + more

    marks: dict[float, int] = {}
    until(steady, 30, what="the service is back")
    last = journal.failures[-1].at if journal.failures else fault_at
    return max(0.0, last - fault_at)
