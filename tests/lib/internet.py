"""A small internet of one machine: a network namespace in which every address of the world leads to one server, which
serves as the public ones of WEB and is a tripwire at all others. Nothing leaves it. Names come from a DNS server of its
own. Needs root or user namespaces.

    with Internet(folder) as net:
        net.popen([...])                  # a program in there
        net.hits()                        # connections that nobody should have made
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from wait import until

WEB = ("93.184.216.34", "93.184.216.35", "2606:2800:220:1:248:1893:25c8:1946")
PORTS = (80, 443, 8443, 22, 25, 3306, 5432, 6379, 8080, 9200, 11211)
MARKS = ("127.9.9.9", "fd00::9:9:9")
GOOD_NAMES = ("web.test", "*.web.test", "*.dns.test", "*.a-93-184-216-34.dns.test")
SERVER = Path(__file__).with_name("internet_server.py")


@functools.cache
def usable() -> str:
    """Why there can be none here; "" when it can."""
    if not all(shutil.which(p) for p in ("unshare", "nsenter", "ip")):
        return "unshare, nsenter or ip is missing"
    probe = subprocess.run([*_unshare(), "true"], capture_output=True, text=True, check=False)
    return probe.stderr.strip() if probe.returncode else ""


def _unshare() -> list[str]:
    more = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *more, "--net", "--mount"]


class Internet:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log, self.ca = folder / "log", folder / "ca.pem"
        self.seen = 0

    def __enter__(self) -> Internet:
        self.folder.mkdir(parents=True, exist_ok=True)
        make_certificates(self.folder)
        self.log.touch()
        self.errors = (self.folder / "errors").open("wb")
        command = [*_unshare(), sys.executable, "-B", str(SERVER), str(self.folder)]
        self.process = subprocess.Popen(command, stderr=self.errors)
        until(self._ready, 20, what=f"the small internet: {(self.folder / 'errors').read_text()}")
        return self

    def __exit__(self, *_exc: object) -> None:
        self.process.kill()
        self.process.wait(10)
        self.errors.close()

    def _ready(self) -> bool:
        assert self.process.poll() is None, (self.folder / "errors").read_text()
        return (self.folder / "ready").exists()

    def command(self, *words: str | Path) -> list[str]:
        """The command as one that is run in there."""
        more = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", "-t", str(self.process.pid), *more, "--net", "--mount", *map(str, words)]

    def lines(self, what: str, **fields: Any) -> list[dict[str, Any]]:
        """What the server noted: what is "hit", "request" or "query"."""
        found = [json.loads(x) for x in self.log.read_text().splitlines()[self.seen :]]
        return [x for x in found if x["what"] == what and all(x.get(k) == v for k, v in fields.items())]

    def hits(self) -> list[dict[str, Any]]:
        """All that were made before this call: marks made now have been noted at each port."""
        before = len(self._marks())
        program = f"import socket\nfor a in {MARKS}:\n for p in {PORTS}:\n  socket.create_connection((a, p), 5).close()"
        subprocess.run(self.command("python3", "-c", program), check=True)
        until(lambda: len(self._marks()) == before + len(MARKS) * len(PORTS), what="the marks are noted")
        return [x for x in self.lines("hit") if x["address"] not in MARKS]

    def _marks(self) -> list[dict[str, Any]]:
        return [x for x in self.lines("hit") if x["address"] in MARKS]

    def forget(self) -> None:
        """What was noted up to now counts no more."""
        self.seen = len(self.log.read_text().splitlines())

    def set(self, name: str, *answers: list[str]) -> None:
        """What a name is, query by query; the last answer stays. Addresses of both families, or one other name."""
        zone = self.folder / "zone" / name
        new = zone.with_suffix(".new")
        new.write_text(json.dumps({"answers": list(answers), "asked": 0}))
        new.rename(zone)


def make_certificates(folder: Path) -> None:
    """A CA and the servers' certificates: good, expired, of another name, self-signed, of an unknown CA."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)

    def name(text: str) -> Any:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    def make(subject: str, names: list[str], signer: Any = None, until: dt.datetime = now + 30 * day) -> tuple[Any, Any]:
        key = ec.generate_private_key(ec.SECP256R1())
        issuer, issuer_key = signer or (None, key)
        builder = x509.CertificateBuilder().subject_name(name(subject)).public_key(key.public_key())
        builder = builder.issuer_name(issuer.subject if issuer else name(subject)).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(until - 60 * day).not_valid_after(until)
        builder = builder.add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
        if names:
            alternatives: list[x509.GeneralName] = []
            for n in names:
                with contextlib.suppress(ValueError):
                    alternatives.append(x509.IPAddress(ip_address(n)))
                    continue
                alternatives.append(x509.DNSName(n))
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return builder.sign(issuer_key, hashes.SHA256()), key

    def write(file: str, cert: Any, key: Any) -> None:
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) if key else b""
        (folder / file).write_bytes(pem + cert.public_bytes(Encoding.PEM))

    ca = make("test CA", [])
    write("ca.pem", ca[0], None)
    write("good.pem", *make("web.test", [*GOOD_NAMES, *WEB], ca))
    write("expired.pem", *make("expired", ["expired.web.test"], ca, now - day))
    write("wrong.pem", *make("wrong", ["another.test"], ca))
    write("selfsigned.pem", *make("self", ["selfsigned.web.test"]))
    write("unknown.pem", *make("unknown", ["unknown.web.test"], make("another CA", [])))
    (folder / "zone").mkdir(exist_ok=True)


def stop(process: subprocess.Popen[Any]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
