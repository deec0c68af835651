"""The stack tool itself: what `make up` promises on one machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from signals import signal_one
from stack import BUILD, ROOT, Stack, free_port, new_stack, remove
from wait import until

SERVICES = ["postgres", "redis", "realtime", "api-api", "api-files", "api-auth", "gateway", "courier", "nginx"]
BACK_WITHIN_S = 5


@pytest.fixture(scope="module")
def mine() -> Iterator[Stack]:
    made = new_stack()
    try:
        yield made.up()
    finally:
        remove(made)


def pids(stack: Stack) -> dict[str, int]:
    return {name: int(stack.service("pid", name)) for name in SERVICES}


def health(stack: Stack) -> str:
    """What the service says of itself; "" when it does not answer, or not with 200."""
    try:
        answer = httpx.get(f"{stack.url}/v1/health", verify=False, timeout=5)
    except httpx.HTTPError:
        return ""
    return str(answer.json()["status"]) if answer.status_code == 200 else ""


def healthy(stack: Stack) -> bool:
    return health(stack) == "healthy"


def try_up(stack: Stack, *args: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "deploy/local/stack"), "up", "--no-demo", "--var", str(stack.var), "--run", str(stack.run_dir)]
    return subprocess.run(
        [*command, "--build", str(BUILD), *args], capture_output=True, text=True, timeout=120, check=False
    )


def processes(stack: Stack) -> list[int]:
    """Every process of this stack: its folder is in the command line or is where the process stands."""
    out = []
    for p in Path("/proc").glob("[0-9]*"):
        try:
            words = (p / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            where = os.readlink(p / "cwd")
        except OSError:
            continue
        if str(stack.folder) in words or where.startswith(str(stack.folder)):
            out.append(int(p.name))
    return out


def test_a_second_up_changes_nothing(mine: Stack) -> None:
    until(lambda: healthy(mine), 20)
    before, start = pids(mine), time.monotonic()
    mine.up()
    assert time.monotonic() - start < 15
    assert pids(mine) == before
    assert all(before.values())


@pytest.mark.parametrize("service", SERVICES)
def test_what_is_killed_comes_back(mine: Stack, service: str) -> None:
    until(lambda: healthy(mine), 20)
    old = int(mine.service("pid", service))
    signal_one(old, signal.SIGKILL)
    until(
        lambda: health(mine) and int(mine.service("pid", service)) not in (0, old),
        BACK_WITHIN_S,
        what=f"{service} is back",
    )
    until(lambda: healthy(mine), 20, what="every component is well")


def test_a_killed_supervisor_of_one_service_takes_it_along(mine: Stack) -> None:
    old = pids(mine)["nginx"]
    keeper = int(Path(f"/proc/{old}/stat").read_text().rsplit(") ", 1)[1].split()[1])
    signal_one(keeper, signal.SIGKILL)
    until(lambda: pids(mine)["nginx"] not in (0, old) and healthy(mine), 10, what="nginx is back")
    until(lambda: not Path(f"/proc/{old}").exists(), 10)


def test_up_heals_after_the_scanners_death(mine: Stack) -> None:
    scanner = next(
        p for p in processes(mine) if Path(f"/proc/{p}/cmdline").read_bytes().startswith(b"s6-svscan\0")
    )
    signal_one(scanner, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{scanner}").exists() or b"" == Path(f"/proc/{scanner}/cmdline").read_bytes(), 5)
    mine.up()
    until(lambda: healthy(mine), 20)
    workers = [p for p in processes(mine) if b"s6-supervise\0postgres\0" == Path(f"/proc/{p}/cmdline").read_bytes()]
    assert len(workers) == 1


def test_up_works_again_after_a_power_cut(mine: Stack) -> None:
    """Everything ends at once and what was in /run is gone; lock files and process ids stay behind."""
    while alive := processes(mine):
        for pid in alive:
            try:
                signal_one(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    subprocess.run(["rm", "-rf", str(mine.run_dir)], check=True)
    (mine.var / "pg/postmaster.pid").write_text(f"{os.getpid()}\n{mine.var}/pg\n")
    mine.up()
    until(lambda: healthy(mine), 20)


def test_a_taken_port_is_refused_politely(mine: Stack) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        other = new_stack()
        try:
            done = try_up(other, "--port", str(port))
        finally:
            remove(other)
    assert done.returncode == 1
    assert f"port {port}" in done.stderr and f"(process {os.getpid()})" in done.stderr
    assert "make up PORT=" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_path_too_long_for_sockets_is_no_obstacle() -> None:
    made = new_stack()
    made.var = made.folder / ("long-" * 20) / "var"
    command = [str(ROOT / "deploy/local/stack"), "up", "--no-demo", "--port", str(free_port())]
    place = ["--var", str(made.var), "--build", str(BUILD)]
    try:
        done = subprocess.run([*command, *place], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        assert "107 bytes" in done.stdout
        assert len(str(made.facts["run"])) < 90
    finally:
        subprocess.run([command[0], "down", *place], check=False, capture_output=True, timeout=60)
        subprocess.run(["rm", "-rf", str(made.folder), str(made.facts["run"])], check=False)


def test_down_leaves_nothing_running(mine: Stack) -> None:
    mine.down()
    until(lambda: not processes(mine), 10, what="everything has ended")
    assert mine.tool("down").strip() == "nothing runs"
