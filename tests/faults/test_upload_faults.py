"""Uploads while parts of the service are killed. What was acknowledged – a part, a complete file – is never lost; a file is
seen whole or not at all; and after the sweep nothing is left that belongs to no file."""

from __future__ import annotations

import hashlib
import random
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import files
import httpx
import pytest
from api import tls
from files import PART
from signals import signal_one
from stack import Stack
from wait import until
from world import Org, make_org

STORED = ("uploaded", "analyzing", "ready")
PATIENCE_S = 60


@pytest.fixture
def org(own_stack: Stack) -> Iterator[Org]:
    with own_stack.connect() as db:
        made = make_org(own_stack, db, None)  # type: ignore[arg-type]
    yield made


@dataclass
class Uploader:
    """One client after the other's heart: it tries again whatever fails, and believes what it was told."""

    stack: Stack
    org: Org
    sizes: tuple[int, ...]
    stop: threading.Event
    done: dict[str, str] = field(default_factory=dict)  # file id → SHA-256, of what was acknowledged
    broken: list[str] = field(default_factory=list)  # promises that were not kept
    failures: int = 0

    def __post_init__(self) -> None:
        self.http = self.client()

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.stack.url, verify=tls(self.stack.cacert), timeout=20)

    def ask(self, method: str, path: str, wanted: tuple[int, ...], **kw: Any) -> httpx.Response:
        """Until one of the wanted statuses or another refusal comes; the service being away is no answer."""
        headers = {"Authorization": f"Bearer {self.org.key}", **kw.pop("headers", {})}
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                answer = self.http.request(method, path, headers=headers, **kw)
                if answer.status_code in wanted or (answer.status_code < 500 and answer.status_code != 429):
                    return answer
                what = answer.text
            except httpx.HTTPError as e:
                what = repr(e)
                self.http.close()
                self.http = self.client()
            self.failures += 1
            assert time.monotonic() < deadline, f"{method} {path.split('?')[0]}: {what}"

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                self.one(random.choice(self.sizes))
        except Exception as e:  # noqa: BLE001
            self.broken.append(repr(e))

    def one(self, size: int) -> None:
        data = secrets.token_bytes(1 << 16) * (size // (1 << 16) + 1)
        data = secrets.token_bytes(16) + data[: size - 16]
        body = {"filename": f"{secrets.token_hex(4)}.stl", "size_bytes": size, "sha256": files.sha256(data)}
        made = self.ask("POST", "/v1/files/register", (201,), json=body, headers={"Idempotency-Key": secrets.token_hex(8)}).json()
        for part in made["upload"]["parts"]:
            piece = data[(part["n"] - 1) * PART :][: part["size"]]
            answer = self.ask("PUT", files.path_of(part["url"]), (201, 204), content=piece)
            assert answer.status_code in (201, 204), answer.text
        if self.complete(made["file_id"]):
            self.done[made["file_id"]] = body["sha256"]

    def complete(self, file_id: str) -> bool:
        answer = self.ask("POST", f"/v1/files/{file_id}/complete", (200, 202))
        if answer.status_code == 202:
            return self.ended(answer.json()["operation_id"])
        if answer.status_code != 200:
            self.broken.append(f"complete of {file_id}, whose parts had all arrived: {answer.text}")
        return answer.status_code == 200

    def ended(self, operation: str) -> bool:
        found: dict[str, Any] = {}

        def over() -> bool:
            found.update(self.ask("GET", f"/v1/operations/{operation}", (200,)).json())
            return found["status"] in ("succeeded", "failed", "cancelled")

        until(over, PATIENCE_S, 0.1, what=f"operation {operation} ends")
        if found["status"] != "succeeded":
            self.broken.append(f"operation {operation}: {found}")
        return bool(found["status"] == "succeeded")


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def a_worker_of(service: str) -> Callable[[Stack], None]:
    def kill(stack: Stack) -> None:
        parent = until(lambda: max(int(stack.service("pid", service)), 0), what=f"{service} runs")
        signal_one(random.choice(until(lambda: children(parent), what=f"{service} has workers")), signal.SIGKILL)

    return kill


def the_whole(service: str) -> Callable[[Stack], None]:
    def kill(stack: Stack) -> None:
        stack.service("kill", service)
        until(lambda: int(stack.service("pid", service)) > 0, 20, what=f"{service} is back")

    return kill


SMALL, LARGE = (5000, 300_000, 2_000_000), (PART + 1000,)
VICTIMS: dict[str, tuple[Callable[[Stack], None], list[tuple[int, ...]], int]] = {
    "api-files worker": (a_worker_of("api-files"), [SMALL, SMALL, SMALL, LARGE], 12),
    "api-files": (the_whole("api-files"), [SMALL, SMALL], 3),
    "nginx worker": (a_worker_of("nginx"), [SMALL, SMALL, LARGE], 8),
    "courier worker": (a_worker_of("courier"), [SMALL, LARGE, LARGE], 8),
    "courier": (the_whole("courier"), [LARGE, LARGE], 3),
    "postgres": (the_whole("postgres"), [SMALL, SMALL, LARGE], 3),
}


@pytest.mark.parametrize("victim", VICTIMS)
def test_nothing_acknowledged_is_lost(own_stack: Stack, org: Org, victim: str) -> None:
    kill, sizes, times = VICTIMS[victim]
    stop = threading.Event()
    clients = [Uploader(own_stack, org, s, stop) for s in sizes]
    threads = [threading.Thread(target=c.run) for c in clients]
    for t in threads:
        t.start()

    def finished() -> int:
        return sum(len(c.done) for c in clients)

    try:
        for _ in range(times):
            before = finished()
            until(lambda b=before: finished() > b or any(c.broken for c in clients), PATIENCE_S, what="work goes on")
            kill(own_stack)
        before = finished()
        until(lambda: finished() > before or any(c.broken for c in clients), PATIENCE_S, what="work goes on at the end")
    finally:
        stop.set()
        for t in threads:
            t.join(2 * PATIENCE_S)
    assert [b for c in clients for b in c.broken] == []
    print(f"{finished()} files; {sum(c.failures for c in clients)} requests failed")
    with own_stack.connect() as db:
        org.db = db
        done = {k: v for c in clients for k, v in c.done.items()}
        all_there(org, done)
        nothing_half(org)


def all_there(org: Org, done: dict[str, str]) -> None:
    rows = org.sql("SELECT id::text, status, encode(sha256, 'hex') FROM app.files WHERE org_id = %s", org.id)
    stored = {r[0]: (r[1], r[2]) for r in rows}
    for file_id, digest in done.items():
        status, sha256 = stored[file_id]
        assert (status in STORED, sha256) == (True, digest), file_id


def nothing_half(org: Org) -> None:
    """Every object that a row tells of is whole; what is counted is what is there."""
    rows = org.sql("SELECT id::text, size_bytes, encode(sha256, 'hex') FROM app.blobs WHERE org_id = %s", org.id)
    for blob, size, digest in rows:
        content = files.object_path(org.stack, blob).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (size, digest), blob
    sums = "SELECT coalesce((SELECT sum(size_bytes) FROM app.{}), 0)"
    used = org.sql("SELECT stored_bytes, reserved_bytes FROM app.storage_usage WHERE org_id = %s", org.id)[0]
    mine = [org.sql(sums.format(f"{t} WHERE org_id = %s"), org.id)[0][0] for t in ("blobs", "uploads")]
    assert list(used) == mine


def test_retention_by_the_clock(own_stack: Stack, org: Org) -> None:
    """A month later the trash is empty, and what was announced and never came has expired."""
    with own_stack.connect() as db:
        org.db = db
        trashed, kept = files.make_file(org), files.make_file(org)
        objects = {f: files.object_path(own_stack, files.blob_of(org, f)) for f in (trashed, kept)}
        ask = Uploader(own_stack, org, SMALL, threading.Event()).ask
        assert ask("DELETE", f"/v1/files/{trashed}", (204,)).status_code == 204
        made = ask("POST", "/v1/files/register", (201,), json={"filename": "x.stl", "size_bytes": 10}).json()
        assert ask("PUT", files.path_of(made["upload"]["url"]), (201,), content=b"x" * 10).status_code == 201
        status = "SELECT status FROM app.files WHERE id = %s"
        with own_stack.clock_offset("31 days"):
            own_stack.service("restart", "courier")
            until(lambda: org.sql(status, trashed) == [], 60, what="the trash is emptied")
            until(lambda: not objects[trashed].exists(), 60, what="with its content")
            until(lambda: org.sql(status, made["file_id"]) in ([("expired",)], []), 60, what="the placeholder expires")
            until(lambda: files.staged(own_stack, made["file_id"]) == [], 60, what="with what arrived of it")
        assert org.sql(status, kept) == [("ready",)]
        assert objects[kept].exists()
        own_stack.service("restart", "courier")


def test_nothing_is_left_after_the_sweep(own_stack: Stack, org: Org) -> None:
    """What the tests before left behind: parts whose file was never completed, objects without a row. Two days later the
    sweep has been there."""
    with own_stack.connect() as db:
        org.db = db
        orphan = files.put_object(own_stack, files.gcode())
        open_upload = org.sql("INSERT INTO app.files (filename, kind, content_type, size_bytes) VALUES ('x', 'other', 'a/b', 9)"
                              " RETURNING id::text")[0][0]  # fmt: skip
        org.sql("INSERT INTO app.uploads (file_id, size_bytes, part_bytes, expires_at) VALUES (%s, 9, 9, app.now() + interval '30 d')",
                open_upload)  # fmt: skip
        staging = files.storage(own_stack) / "staging"
        for name in (f"{open_upload}.1", f"{secrets.token_hex(4)}-0000-7000-8000-000000000000.1"):
            (staging / name).write_bytes(b"x" * 9)
        with own_stack.clock_offset("3 days"):
            own_stack.service("restart", "courier")
            with own_stack.connect() as later:
                later.execute("UPDATE sec.timers SET next_at = app.now() WHERE name = 'store_sweep'")
                until(lambda: not files.object_path(own_stack, orphan).exists(), 60, what="the orphan goes")
                until(lambda: [p.name for p in staging.iterdir()] == [f"{open_upload}.1"], 60, what="staging is swept")
                known = {r[0] for r in later.execute("SELECT blob_id::text FROM sec.blob_index WHERE location = 'local'")}
        assert files.objects(own_stack) == known
        own_stack.service("restart", "courier")
