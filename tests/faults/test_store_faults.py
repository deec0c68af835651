"""Content that is moved and swept while couriers are killed and the S3 service fails. What was stored stays readable all
the time, byte for byte, and in the end nothing is where it does not belong."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from private_pg import Ctl, ctl, org, pg, template  # noqa: F401  (fixtures)
from wait import until

s3 = pytest.importorskip("s3_service", reason="needs moto and botocore")
from store_world import Courier, World  # noqa: E402

HOUR = 3600
PATIENCE_S = 60


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with s3.service(tmp_path_factory.mktemp("s3")) as made:
        yield made


@pytest.fixture
def world(ctl: Ctl, service: Any, tmp_path: Path) -> Iterator[World]:  # noqa: F811
    service.rules.clear()
    for name in service.keys():
        service.client.delete_object(Bucket=s3.BUCKET, Key=name)
    made = World(ctl, service, tmp_path / "world")
    try:
        yield made
    finally:
        service.rules.clear()
        made.close()


def read(world: World, blob: str) -> bytes:
    """As a download: to where the row says."""
    where = world.location(blob)
    return world.path(blob).read_bytes() if where == "local" else world.service.get(world.s3_key(blob))


def all_is_well(world: World, blobs: dict[str, bytes]) -> None:
    """Also when everything that waits for its time has had it."""
    for blob, body in blobs.items():
        assert read(world, blob) == body
    with world.later("61 minutes"):
        made = world.courier(workers=2)
        until(lambda: world.jobs("blob.delete", "queued") + world.jobs("blob.delete", "running") == 0, PATIENCE_S)
        made.stop()
    with world.later("50 hours"):
        world.sweep()
        report = world.tool("verify", "--digests")
    assert (report["checked"], report["objects"], report["wrong"]) == (len(blobs), len(blobs), 0)
    assert world.service.uploads() == []
    assert list((world.store / "tmp").iterdir()) == []


def moved(world: World, blobs: dict[str, bytes], to: str) -> bool:
    return all(world.location(b) == to for b in blobs) and world.jobs("blob.move", "queued") == 0


def soon(world: World) -> None:
    """Jobs that wait for another try, or for a dead worker's lease, are due."""
    with world.ctl.connect() as db:
        db.execute("UPDATE app.jobs SET run_after = app.now() WHERE kind = 'blob.move' AND state = 'queued'")
        db.execute("UPDATE sec.job_index SET run_after = app.now() WHERE kind = 'blob.move' AND courier_id IS NULL")


# Where a courier is killed: at which request, before or after it has its effect.
PLACES = [
    ("s3", "PUT", True), ("s3", "PUT", False), ("s3", "HEAD", True), ("s3", "GET", True), ("s3", "GET", False),
    ("local", "GET", True), ("local", "GET", False),
]  # fmt: skip


@pytest.mark.parametrize(("to", "method", "before"), PLACES)
def test_killed_while_moving(world: World, service: Any, to: str, method: str, before: bool) -> None:
    body = os.urandom(50_000)
    blobs = {world.blob(body, "local" if to == "s3" else "s3"): body}
    [blob] = blobs
    reached, go = threading.Event(), threading.Event()
    service.when(f"{method} .*{blob}", s3.hold(reached, go, before))
    first = world.courier()
    world.move(blob, to)
    assert reached.wait(20)
    first.kill_all()
    go.set()
    assert read(world, blob) == body
    world.courier()
    until(lambda: moved(world, blobs, to), PATIENCE_S, what="another courier moved it")
    assert world.jobs("blob.delete") == 1
    world.couriers[-1].stop()
    all_is_well(world, blobs)


def test_killed_while_removing(world: World, service: Any) -> None:
    body = b"content"
    blobs = {world.blob(body): body}
    [blob] = blobs
    world.lay(blob, body, "s3")
    reached, go = threading.Event(), threading.Event()
    service.when("DELETE", s3.hold(reached, go))
    first = world.courier()
    world.sql("SELECT app.queue_blob_delete(%s, 's3', '0')", blob)
    assert reached.wait(20)
    first.kill_all()
    go.set()
    world.courier()
    until(lambda: world.jobs("blob.delete", "succeeded") == 1, PATIENCE_S)
    world.couriers[-1].stop()
    all_is_well(world, blobs)


def test_killed_in_a_large_file(world: World, service: Any) -> None:
    """The parts that were sent are forgotten."""
    body = os.urandom(1 << 20) * 65
    blobs = {world.blob(body): body}
    [blob] = blobs
    reached, go = threading.Event(), threading.Event()
    service.when("PUT .*partNumber=2", s3.hold(reached, go))
    first = world.courier()
    world.move(blob)
    assert reached.wait(30)
    first.kill_all()
    go.set()
    assert len(service.uploads()) == 1
    world.courier()
    until(lambda: moved(world, blobs, "s3"), PATIENCE_S)
    world.couriers[-1].stop()
    all_is_well(world, blobs)


def test_killed_while_sweeping(world: World, service: Any) -> None:
    blobs = {world.blob(f"{i}".encode(), "s3" if i % 2 else "local", age_s=2 * HOUR): f"{i}".encode() for i in range(10)}
    orphans = [world.blob_id() for _ in range(20)]
    for i, blob in enumerate(orphans):
        world.lay(blob, b"nobody's", "s3" if i % 2 else "local", age_s=2 * HOUR)
    reached, go = threading.Event(), threading.Event()
    service.when("DELETE", s3.hold(reached, go))
    with world.later("61 minutes"):
        made = world.courier()
        with world.ctl.connect() as db:
            db.execute("UPDATE sec.timers SET next_at = '-infinity' WHERE name = 'store_sweep'")
        assert reached.wait(30)
        made.kill_all()
        go.set()
        for blob, body in blobs.items():
            assert read(world, blob) == body
        world.sweep()
    assert not any(world.path(b).exists() or world.s3_key(b) in service.keys() for b in orphans)
    all_is_well(world, blobs)


class Readers(threading.Thread):
    """Read content all the time, each time where it is."""

    def __init__(self, world: World, blobs: dict[str, bytes]) -> None:
        super().__init__(daemon=True)
        self.world, self.blobs, self.reads = world, blobs, 0
        self.wrong: list[str] = []
        self.stop = threading.Event()

    def run(self) -> None:
        chance = random.Random(1)
        while not self.stop.is_set():
            blob, body = chance.choice(list(self.blobs.items()))
            try:
                if read(self.world, blob) != body:
                    self.wrong.append(f"{blob}: other bytes")
            except Exception as e:
                self.wrong.append(f"{blob}: {e!r}")
            self.reads += 1

    def finish(self) -> None:
        self.stop.set()
        self.join(20)
        assert not self.wrong, self.wrong[:5]
        assert self.reads > 10


def some(world: World, n: int, location: str = "local") -> dict[str, bytes]:
    return {world.blob(body, location): body for body in (os.urandom(random.Random(i).randrange(1, 9000)) for i in range(n))}


class Turnstile:
    """Lets as many requests through as it was told to, then all."""

    def __init__(self) -> None:
        self.permits = threading.Semaphore(0)
        self.open = False

    def __call__(self, handler: Any, body: bytes) -> bool:
        while not self.open and not self.permits.acquire(timeout=0.05):
            pass
        return False

    def one(self) -> bool:
        self.permits.release()
        return False


def kill_now_and_then(world: World, courier: Courier, blobs: dict[str, bytes], gate: Turnstile, kills: int) -> None:
    """Kills and replaces the courier each time a few more objects are in S3."""
    seen = 0
    for _ in range(kills):
        until(lambda least=seen + 3: gate.one() or sum(world.location(b) == "s3" for b in blobs) > least,
              PATIENCE_S, every_s=0.1, what=f"more than {seen + 3} of {len(blobs)} moved")  # fmt: skip
        seen = sum(world.location(b) == "s3" for b in blobs)
        assert seen < len(blobs)
        courier.kill_all()
        courier = world.courier(workers=2)
        soon(world)
    gate.open = True


def test_migration_while_serving(world: World, service: Any) -> None:
    """Downloads and uploads go on; couriers are killed."""
    blobs = some(world, 40)
    readers = Readers(world, blobs)
    readers.start()
    gate = Turnstile()
    service.when("PUT", gate, times=10**6)
    courier = world.courier(workers=2)
    world.ctl.run("storage", "migrate", "--to", "s3", "--no-wait", **world.settings)
    for _ in range(5):  # uploads while it goes on
        body = os.urandom(3000)
        blob = world.blob(body)
        assert world.move(blob)
        blobs = readers.blobs = {**readers.blobs, blob: body}
    kill_now_and_then(world, courier, blobs, gate, 3)
    until(lambda: soon(world) or moved(world, blobs, "s3"), PATIENCE_S, every_s=0.5, what="all moved")
    readers.finish()
    world.couriers[-1].stop()
    all_is_well(world, blobs)


def test_there_and_back_with_a_service_that_fails(world: World, service: Any) -> None:
    """Errors, lost answers, truncated and slow ones."""
    chance = random.Random(7)
    faults = [s3.fail(500, "InternalError"), s3.fail(503, "SlowDown"), s3.lose_answer, s3.truncate(20), s3.garbage]

    def sometimes(handler: Any, body: bytes) -> bool:
        return chance.random() < 0.3 and bool(chance.choice(faults)(handler, body))

    blobs = some(world, 25)
    readers = Readers(world, blobs)  # they read past the faults
    readers.start()
    service.when("/slp/", sometimes, times=10**6)
    courier = world.courier(workers=3)
    for blob in blobs:
        world.move(blob)
    until(lambda: soon(world) or moved(world, blobs, "s3"), PATIENCE_S, every_s=0.5, what="all moved")
    courier.stop()
    with world.later("61 minutes"):
        courier = world.courier(workers=3)
        until(lambda: world.jobs("blob.delete", "queued") + world.jobs("blob.delete", "running") == 0, PATIENCE_S)
        for blob in blobs:
            assert world.move(blob, "local")
        until(lambda: soon(world) or moved(world, blobs, "local"), PATIENCE_S, every_s=0.5, what="all moved back")
        courier.stop()
        readers.finish()
    service.rules.clear()
    with world.later("130 minutes"):
        courier = world.courier(workers=2)
        until(lambda: not service.keys(), PATIENCE_S, what="the service is empty")
        courier.stop()
    all_is_well(world, blobs)


def test_a_slow_service_holds_the_lease(world: World, service: Any) -> None:
    """The move takes several times the lease, and nobody else begins it."""
    blobs = {world.blob(b"slow"): b"slow"}
    [blob] = blobs
    reached, go = threading.Event(), threading.Event()
    service.when("PUT", s3.hold(reached, go))
    courier = world.courier(workers=2, SOLOPRINT_COURIER_LEASE_MS="3000")
    world.move(blob)
    assert reached.wait(20)
    with world.ctl.connect() as db:
        renewed = "SELECT expires_at FROM sec.job_index WHERE kind = 'blob.move'"
        seen = {db.execute(renewed).fetchone()}  # type: ignore[var-annotated]
        until(lambda: seen.add(db.execute(renewed).fetchone()) or len(seen) > 3, 20, what="the lease is renewed")
    go.set()
    until(lambda: moved(world, blobs, "s3"), PATIENCE_S)
    assert len([x for x in courier.said("job ended", kind="blob.move") if x["outcome"] != "lost"]) == 1
    courier.stop()
    all_is_well(world, blobs)


def test_spoilt_on_the_way(world: World, service: Any) -> None:
    """What arrived is compared with what was stored before anything refers to it."""
    blobs = some(world, 1)
    [blob] = blobs
    service.when("PUT", s3.spoil, times=2)
    world.courier()
    world.move(blob)
    until(lambda: world.sql("SELECT 1 FROM app.jobs WHERE error ->> 'code' = 'content_corrupt'"), PATIENCE_S, what="seen")
    assert world.location(blob) == "local"
    until(lambda: soon(world) or moved(world, blobs, "s3"), PATIENCE_S, every_s=0.5, what="in the end it arrived")
    world.couriers[-1].stop()
    all_is_well(world, blobs)


def test_a_stopped_courier_gives_moves_back(world: World, service: Any) -> None:
    """SIGTERM during a transfer: it is broken off and another courier does it."""
    blobs = some(world, 1)
    [blob] = blobs
    reached, go = threading.Event(), threading.Event()
    service.when("PUT", s3.hold(reached, go))
    courier = world.courier()
    world.move(blob)
    assert reached.wait(20)
    courier.process.terminate()
    courier.process.wait(10)
    assert world.location(blob) == "local"
    go.set()
    world.courier()
    until(lambda: moved(world, blobs, "s3"), PATIENCE_S)
    world.couriers[-1].stop()
    all_is_well(world, blobs)
