"""Printers nearby, through a gateway: real multicast, on the loopback interface alone."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asks import Asks
from psycopg.types.json import Jsonb
from rig import Gateway, World

sys.path.append(str(Path(__file__).resolve().parent.parent / "unit" / "peers"))

from discover_peer import answer, ssdp  # noqa: E402

PRINTERS: list[dict[str, Any]] = [{"name": "bystander", "model": "A1"}]
SSDP, MDNS = ("239.255.255.250", 2021), ("224.0.0.251", 5353)


ADDRESS = "127.0.0.1"


class Nearby:
    """A Bambu printer that announces itself, and whatever discover_peer has for mDNS."""

    def __init__(self, own: str) -> None:
        self.own = own
        self.serial = f"01P00A{uuid.uuid4().hex[:10].upper()}"
        self.stopping = threading.Event()

    def __enter__(self) -> Nearby:
        self.threads = [threading.Thread(target=each) for each in (self._announce, self._answer)]
        for each in self.threads:
            each.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stopping.set()
        for each in self.threads:
            each.join(10)

    def _announce(self) -> None:
        kind = {"NT": "urn:bambulab-com:device:3dprinter:1", "NTS": "ssdp:alive", "Location": self.own}
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(self.own))
            while not self.stopping.wait(0.3):
                sock.sendto(ssdp("NOTIFY * HTTP/1.1", self.serial, **kind), SSDP)

    def _answer(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("", MDNS[1]))
            group = socket.inet_aton(MDNS[0]) + socket.inet_aton(self.own)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
            sock.settimeout(0.3)
            while not self.stopping.is_set():
                with contextlib.suppress(TimeoutError):
                    packet, peer = sock.recvfrom(4096)
                    reply = answer(packet) if peer[1] != MDNS[1] else None
                    if reply is not None:
                        sock.sendto(reply, peer)


@pytest.fixture(scope="module", autouse=True)
def gateway(world: World) -> Iterator[Gateway]:
    running = world.start_gateway(discovery=f"{uuid.uuid4()},{world.org}", discovery_interface=ADDRESS)
    world.wait_connected()
    yield running
    assert running.stop() == 0


def discover(world: World, seconds: int) -> dict[str, Any]:
    asks, job = Asks(world), uuid.uuid4()
    world.db.execute("SELECT sec.task_create_any(%s, 'printer.discover', %s, '1 minute')",
                     [job, Jsonb({"seconds": seconds})])  # fmt: skip
    return asks.succeeded(job, seconds + 20)["result"]


def test_printers_nearby(world: World) -> None:
    with Nearby(ADDRESS) as nearby:
        printers = discover(world, 4)["printers"]
    ours = [each for each in printers if each["serial"] == nearby.serial]
    assert ours == [
        {"protocol": "bambu", "host": ADDRESS, "port": None, "serial": nearby.serial, "model": "P1S",
         "name": "Werkstatt", "firmware": "01.08.00.00"}
    ]  # fmt: skip
    found = {(each["protocol"], each["name"]): each for each in printers}
    assert found["octoprint", "OctoPrint instance on octopi"]["port"] == 5000
    assert found["moonraker", "voron"]["port"] == 7125 and found["prusalink", "PrusaLink MK4"]["port"] == 80
    assert len([each for each in printers if each["name"] == "voron"]) == 1


def test_nobody_nearby(world: World) -> None:
    assert discover(world, 1)["printers"] == []
