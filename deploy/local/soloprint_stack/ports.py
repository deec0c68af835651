"""Is a port free, and who has it if not."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from .ui import StackError


def bindable(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((address, port))
    except PermissionError as e:
        raise StackError(f"port {port} needs root; choose one above 1023, for example: make up PORT=8443") from e
    except OSError:
        return False
    return True


def has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
    except OSError:
        return False
    return True


def listener_inodes(port: int) -> set[str]:
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            if columns[3] == "0A" and int(columns[1].rsplit(":", 1)[1], 16) == port:
                found.add(f"socket:[{columns[9]}]")
    return found


def holds(process: Path, inodes: set[str]) -> bool:
    try:
        return any(os.readlink(fd) in inodes for fd in (process / "fd").iterdir())
    except OSError:
        return False


def holder(port: int) -> str:
    """`nginx (process 123)`, or what can be said without the right to look."""
    inodes = listener_inodes(port)
    for process in Path("/proc").glob("[0-9]*"):
        if holds(process, inodes):
            return f"{(process / 'comm').read_text().strip()} (process {process.name})"
    return "another user's process"


def require_free(addresses: list[str], port: int) -> None:
    for address in addresses:
        if not bindable(address, port):
            raise StackError(
                f"port {port} on {address} is taken by {holder(port)}. Stop it, or choose another port:"
                f" make up PORT={next_free(addresses, port + 1000)}"
            )


def next_free(addresses: list[str], start: int) -> int:
    for port in range(start, start + 1000):
        if port < 65536 and all(bindable(a, port) for a in addresses):
            return port
    return start


def free_run(count: int) -> int:
    """The first of `count` ports in a row that are free on 127.0.0.1, below the ephemeral range."""
    start = 20000 + os.getpid() % 5000
    for base in range(start, 32000, count):
        if all(bindable("127.0.0.1", p) for p in range(base, base + count)):
            return base
    raise StackError(f"no {count} free ports in a row on 127.0.0.1")
