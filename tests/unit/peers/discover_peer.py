"""Printers that can be found, on loopback: prints its ports of SSDP and mDNS, ends when its standard input does.

The argument is the port that announcements go to.
"""

from __future__ import annotations

import socket
import struct
import sys
import threading

A, PTR, TXT, SRV = 1, 12, 16, 33
SERVICES = {
    "_octoprint._tcp.local": ("OctoPrint instance on octopi", 5000, {"version": "1.10.2", "model": "MK3"}),
    "_moonraker._tcp.local": ("voron", 7125, {"path": "/"}),
    "_prusalink._tcp.local": ("PrusaLink MK4", 80, {}),
    "_http._tcp.local": ("Router", 80, {}),
}


def ssdp(first: str, serial: str, **headers: str) -> bytes:
    lines = {"Server": "UPnP/1.0", "Location": "127.0.0.1", "USN": serial, "Cache-Control": "max-age=1800"}
    lines |= {"DevModel.bambu.com": "C12", "DevName.bambu.com": "Werkstatt", "DevVersion.bambu.com": "01.08.00.00"}
    return "".join([first, "\r\n", *[f"{k}: {v}\r\n" for k, v in (lines | headers).items()], "\r\n"]).encode()


def name(text: str) -> bytes:
    labels = [each.encode() for each in text.split(".")] if text else []
    return b"".join(bytes([len(each)]) + each for each in labels) + b"\0"


def record(owner: bytes, kind: int, data: bytes, flush: bool = True) -> bytes:
    return owner + struct.pack("!HHIH", kind, 0x8001 if flush else 1, 10, len(data)) + data


def answer(query: bytes) -> bytes | None:
    """As RFC 6762, section 6.7 has it for a port of one's own: the question and the id come back."""
    (ident,) = struct.unpack("!H", query[:2])
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    service = ".".join(labels)
    if service not in SERVICES:
        return None
    instance, port, texts = SERVICES[service]
    head = struct.pack("!HHHHHH", ident, 0x8400, 1, 1, 0, 3)
    question = query[12 : at + 5]
    pointer = struct.pack("!H", 0xC000 | 12)  # the service, at the question
    one = bytes([len(instance)]) + instance.encode()
    start = 12 + len(question) + 2 + 10
    own = struct.pack("!H", 0xC000 | start)
    text = b"".join(bytes([len(f"{k}={v}")]) + f"{k}={v}".encode() for k, v in texts.items()) or b"\0"
    return b"".join([
        head, question, record(pointer, PTR, one + pointer, flush=False),
        record(own, SRV, struct.pack("!HHH", 0, 0, port) + name("octopi.local")),
        record(own, TXT, text), record(name("octopi.local"), A, bytes([127, 0, 0, 1])),
    ])  # fmt: skip


def serve_ssdp(sock: socket.socket, listener: int) -> None:
    while True:
        packet, peer = sock.recvfrom(4096)
        if not packet.startswith(b"M-SEARCH * HTTP/1.1\r\n") or b'MAN: "ssdp:discover"' not in packet:
            continue
        kind = {"ST": "urn:bambulab-com:device:3dprinter:1"}
        for each in (
            ssdp("HTTP/1.1 200 OK", "01P00A000000001", **kind),
            ssdp("HTTP/1.1 200 OK", "01P00A000000001", **kind),
            ssdp("HTTP/1.1 200 OK", "", ST="upnp:rootdevice"),
            b"\xff" * 100,
        ):
            sock.sendto(each, peer)
        kind = {"NT": kind["ST"], "NTS": "ssdp:alive", "DevModel.bambu.com": "N1"}
        sock.sendto(ssdp("NOTIFY * HTTP/1.1", "0300AA000000002", **kind), ("127.0.0.1", listener))


def serve_mdns(sock: socket.socket) -> None:
    while True:
        packet, peer = sock.recvfrom(4096)
        reply = answer(packet)
        if reply is not None:
            sock.sendto(reply, peer)
            sock.sendto(reply[: len(reply) // 2], peer)


def main() -> None:
    socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for sock in socks:
        sock.bind(("127.0.0.1", 0))
    threading.Thread(target=serve_ssdp, args=(socks[0], int(sys.argv[1])), daemon=True).start()
    threading.Thread(target=serve_mdns, args=(socks[1],), daemon=True).start()
    print(*[sock.getsockname()[1] for sock in socks], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
