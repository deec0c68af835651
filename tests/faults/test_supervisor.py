"""The prefork supervisor, with workers that do what the test tells them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from signals import signal_one
from stub_pool import Pool, load, until

BUILD = Path(os.environ.get("SOLOPRINT_BUILD") or os.environ.get("BUILD") or "build")
STUB = (Path(__file__).parents[2] / BUILD / "stub" / "pool_stub").resolve()

SLOW = "workers die young, waiting before the next start"

PoolMaker = Callable[..., Pool]


@pytest.fixture
def make_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoolMaker]:
    pools: list[Pool] = []

    def make(**kw: object) -> Pool:
        where = tmp_path_factory.mktemp("pool")
        program = where / "pool_stub"
        shutil.copy(STUB, program)
        pools.append(Pool(program=program, path=where / "s", **kw))  # type: ignore[arg-type]
        return pools[-1].start()

    yield make
    for pool in pools:
        assert pool.process
        pool.process.kill()
        pool.process.wait()


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def replace_program(pool: Pool, source: Path, extra: bytes = b"") -> None:
    new = pool.program.with_suffix(".new")
    shutil.copy(source, new)
    with new.open("ab") as f:
        f.write(extra)
    new.rename(pool.program)


def test_ready_only_when_every_worker_said_so(make_pool: PoolMaker) -> None:
    pool = make_pool(workers=3).ready()
    assert len(pool.children()) == 3
    assert {a.pid for a in (pool.ask() for _ in range(20))} <= pool.children()
    assert pool.path.stat().st_mode & 0o777 == 0o660


def test_sd_notify(make_pool: PoolMaker, tmp_path: Path) -> None:
    inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    inbox.bind(str(tmp_path / "n"))
    inbox.settimeout(5)
    pool = make_pool(env={"NOTIFY_SOCKET": str(tmp_path / "n")})
    assert inbox.recv(4096).startswith(b"READY=1\n")
    pool.signal(signal.SIGHUP)
    assert inbox.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    assert inbox.recv(4096).startswith(b"READY=1\n")
    pool.signal(signal.SIGTERM)
    assert inbox.recv(4096).startswith(b"STOPPING=1\n")
    inbox.close()


@pytest.mark.parametrize("signo", [signal.SIGKILL, signal.SIGSEGV])
def test_killed_worker_is_back_within_100_ms(make_pool: PoolMaker, signo: int) -> None:
    pool = make_pool(workers=1).ready()
    took = []
    for _ in range(2):
        (victim,) = pool.children()
        signal_one(victim, signo)
        until("it is dead", lambda victim=victim: gone(victim))
        at = time.monotonic()
        answer = pool.ask()
        took.append(time.monotonic() - at)
        assert answer.pid != victim
        # Many at once would be a crash loop: let this one grow old.
        until("old enough", lambda at=at: time.monotonic() - at > 1.1)
    assert min(took) < 0.1, took


def test_crash_loop_slows_down_and_recovers(make_pool: PoolMaker, tmp_path: Path) -> None:
    fail = tmp_path / "fail"
    fail.touch()
    pool = make_pool(workers=2, env={"STUB_FAIL_FILE": str(fail)})

    def waits() -> list[int]:
        return [line["wait_ms"] for line in pool.said(SLOW)]

    until("slowed down", lambda: len(waits()) >= 4)
    assert waits()[:4] == [100, 200, 400, 800]
    assert not pool.said("ready")
    fail.unlink()
    pool.ready()
    assert pool.ask().pid in pool.children()


def test_poison_leaves_the_service_up(make_pool: PoolMaker) -> None:
    """Requests that kill their worker, faster than workers grow old: nobody else's request fails."""
    pool = make_pool(workers=3).ready()
    slowest = 0.0
    with load(pool, clients=2, line="ping") as result:
        for _ in range(40):
            with pytest.raises(ConnectionError):
                pool.ask("die")
            at, answered = time.monotonic(), len(result.answers)
            until("the others are served", lambda n=answered: len(result.answers) > n, 1)
            slowest = max(slowest, time.monotonic() - at)
    assert not result.failures
    assert not pool.said(SLOW)
    print(f"longest wait of the others {slowest * 1000:.0f} ms")


def test_reload_under_load_fails_nothing(make_pool: PoolMaker) -> None:
    pool = make_pool(workers=3).ready()
    with load(pool) as result:
        for n in range(2, 7):
            pool.signal(signal.SIGHUP)
            until(f"generation {n}", lambda n=n: result.answers and result.answers[-1].generation == n)
    assert not result.failures
    until("old workers are gone", lambda: len(pool.children()) == 3)


def test_reloads_that_overlap_end_in_the_last_one(make_pool: PoolMaker) -> None:
    pool = make_pool(workers=2).ready()
    with load(pool) as result:
        for _ in range(20):
            pool.signal(signal.SIGHUP)
            pool.ask()

    def quiet() -> bool:
        return len(pool.children()) == 2 and len(pool.said("reloading")) == len(pool.said("reloaded"))

    until("quiet", quiet)
    assert not result.failures


def test_reload_takes_the_new_program(make_pool: PoolMaker) -> None:
    pool = make_pool(workers=2).ready()
    before = pool.ask().size
    replace_program(pool, STUB, b"x" * 77)
    victim = next(iter(pool.children()))
    signal_one(victim, signal.SIGKILL)  # a replacement is of the same generation
    until("replaced", lambda: gone(victim) and victim not in pool.children() and len(pool.children()) == 2)
    assert {pool.ask().size for _ in range(10)} == {before}
    pool.signal(signal.SIGHUP)
    until("reloaded", lambda: pool.said("reloaded"))
    assert pool.ask().size == before + 77


def test_reload_of_a_broken_program_changes_nothing(make_pool: PoolMaker) -> None:
    pool = make_pool(workers=2).ready()
    before = pool.children()
    replace_program(pool, Path("/bin/false"))
    with load(pool) as result:
        pool.signal(signal.SIGHUP)
        until("reload failed", lambda: pool.said("reload failed, the workers in charge stay"))
        until("only the old are left", lambda: pool.children() == before)
    assert not result.failures
    assert {a.generation for a in result.answers} == {1}
    replace_program(pool, STUB)
    pool.signal(signal.SIGHUP)
    until("reloaded", lambda: pool.said("reloaded"))
    assert pool.ask().generation == 3


def test_retired_worker_serves_until_its_replacement_is_ready(make_pool: PoolMaker) -> None:
    pool = make_pool(workers=1).ready()
    with load(pool) as result:
        for _ in range(10):
            pid = pool.ask("retire").pid
            until("replaced", lambda pid=pid: gone(pid))
    assert not result.failures
    assert len({a.pid for a in result.answers}) >= 10
    assert not pool.said(SLOW)


def test_stop_finishes_the_request(make_pool: PoolMaker) -> None:
    pool = make_pool(workers=2).ready()
    with load(pool, clients=1, line="slow 300") as result:
        until("in the middle of a request", lambda: len(result.answers) >= 1)
        workers = pool.children()
        assert pool.stop() == 0
    # What came before the stop was answered; after it nobody listens.
    assert all("refused" in f or "reset" in f.lower() or "no answer" in f for f in result.failures)
    assert all(gone(pid) for pid in workers)


def test_request_under_way_at_stop_is_answered(make_pool: PoolMaker) -> None:
    pool = make_pool(workers=1).ready()
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(pool.path))
        s.sendall(b"slow 500\n")
        (worker,) = pool.children()
        until("in the request", lambda: "nanosleep" in Path(f"/proc/{worker}/wchan").read_text())
        pool.signal(signal.SIGTERM)
        s.settimeout(5)
        assert s.recv(100).endswith(b"\n")
    assert pool.process and pool.process.wait(5) == 0


def test_deaf_worker_is_killed_at_the_deadline(make_pool: PoolMaker) -> None:
    pool = make_pool(workers=1, drain_ms=300).ready()
    pool.ask("deaf")
    at = time.monotonic()
    assert pool.stop() == 0
    assert 0.25 < time.monotonic() - at < 2
    assert pool.said("worker is late, killing it")


def test_workers_die_with_the_supervisor(make_pool: PoolMaker) -> None:
    pool = make_pool(workers=3).ready()
    workers = pool.children()
    pool.signal(signal.SIGKILL)
    until("orphans are gone", lambda: all(gone(pid) for pid in workers), 1)


def test_next_supervisor_takes_over_a_dead_ones_socket(make_pool: PoolMaker) -> None:
    pool = make_pool(workers=2).ready()
    pool.signal(signal.SIGKILL)
    assert pool.process
    pool.process.wait()
    assert pool.log_path
    pool.log_path.unlink()
    pool.start().ready()
    assert pool.ask().pid in pool.children()


def test_live_socket_is_never_stolen(make_pool: PoolMaker, tmp_path: Path) -> None:
    pool = make_pool(workers=1).ready()
    again = subprocess.run([STUB, pool.path, "1", "100"], capture_output=True, timeout=5)
    assert again.returncode == 1 and b"Address already in use" in again.stderr
    assert pool.ask().pid in pool.children()
    # A listener that knows nothing of the lock.
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "other"))
        other.listen()
        again = subprocess.run([STUB, tmp_path / "other", "1", "100"], capture_output=True, timeout=5)
        assert again.returncode == 1 and b"Address already in use" in again.stderr


def test_path_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    out = subprocess.run([STUB, tmp_path / "file", "1", "100"], capture_output=True, timeout=5)
    assert out.returncode == 1
    assert (tmp_path / "file").read_text() == "precious"


def test_too_long_a_path_is_refused(tmp_path: Path) -> None:
    out = subprocess.run([STUB, tmp_path / ("x" * 108), "1", "100"], capture_output=True, timeout=5)
    assert out.returncode == 1 and b"too long" in out.stderr


def test_no_core_files(make_pool: PoolMaker) -> None:
    pool = make_pool(workers=1).ready()
    for pid in {pool.pid, *pool.children()}:
        limits = Path(f"/proc/{pid}/limits").read_text()
        (core,) = [line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core file size")]
        assert core == ["0", "0"]
