"""mosquitto as the printers' broker: one TLS 1.2 listener per printer, one plain one for the fleet itself."""

from __future__ import annotations

import base64
import ctypes
import hashlib
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .certs import Authority

PR_SET_PDEATHSIG = 1
# mosquitto's tls_version is a lower bound; real printers refuse TLS 1.3.
OPENSSL_CONF = """\
openssl_conf = init
[init]
ssl_conf = modules
[modules]
system_default = defaults
[defaults]
MinProtocol = TLSv1.2
MaxProtocol = TLSv1.2
"""
LIBC = ctypes.CDLL(None)


@dataclass
class Listener:
    serial: str
    access_code: str
    port: int


def password_line(user: str, password: str) -> str:
    """A line of a mosquitto 2 password file: PBKDF2-SHA512, 101 rounds."""
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    return f"{user}:$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}\n"


def find_mosquitto() -> str:
    path = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if path is None:
        raise SystemExit("fleet: mosquitto is not installed")
    return path


def die_with_parent(number: int = signal.SIGTERM) -> None:
    LIBC.prctl(PR_SET_PDEATHSIG, number)


class Broker:
    """Owns the mosquitto process. start() belongs on the main thread: the child dies with that thread."""

    def __init__(self, folder: Path, authority: Authority, inner_port: int, user: str | None) -> None:
        self.folder = folder
        self.authority = authority
        self.inner_port = inner_port
        self.inner_password = secrets.token_urlsafe(18)
        self.user = user if os.geteuid() == 0 else None
        self.listeners: list[Listener] = []
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def _write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def set_password(self, listener: Listener, access_code: str) -> None:
        """Changes what the broker accepts; takes effect at reload()."""
        self._own(self._write(f"{listener.serial}.passwd", password_line("bblp", access_code)))

    def _own(self, path: Path) -> None:
        if self.user is not None:
            entry = pwd.getpwnam(self.user)
            os.chown(path, entry.pw_uid, entry.pw_gid)

    def _printer_conf(self, listener: Listener) -> list[str]:
        self.set_password(listener, listener.access_code)
        serial = listener.serial
        acl = self._write(
            f"{serial}.acl",
            f"user bblp\ntopic read device/{serial}/report\ntopic write device/{serial}/request\n",
        )
        return [
            f"listener {listener.port} 127.0.0.1",
            f"certfile {self.authority.leaf(serial)}",
            f"keyfile {self.authority.leaf_key_path}",
            "tls_version tlsv1.2",
            "allow_anonymous false",
            f"password_file {self.folder / (serial + '.passwd')}",
            f"acl_file {acl}",
        ]

    def write_conf(self) -> None:
        acl = self._write("fleet.acl", "user fleet\ntopic readwrite #\ntopic read $SYS/#\n")
        passwd = self._write("fleet.passwd", password_line("fleet", self.inner_password))
        lines = [
            "per_listener_settings true",
            "persistence false",
            "sys_interval 0",
            "max_queued_messages 200",
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            "log_type subscribe",
            f"listener {self.inner_port} 127.0.0.1",
            "allow_anonymous false",
            f"password_file {passwd}",
            f"acl_file {acl}",
        ]
        for listener in self.listeners:
            lines += self._printer_conf(listener)
        self._write("mosquitto.conf", "\n".join(lines) + "\n")
        self._write("openssl.cnf", OPENSSL_CONF)
        self._write("inner.json", json.dumps({"port": self.inner_port, "password": self.inner_password}))
        for root in (self.folder, self.authority.folder):
            self._own(root)
            for path in root.iterdir():
                self._own(path)
        self.authority.folder.chmod(0o755)
        self.authority.path.chmod(0o644)

    def start(self) -> subprocess.Popen[bytes]:
        entry = pwd.getpwnam(self.user) if self.user is not None else None
        self.process = subprocess.Popen(
            [find_mosquitto(), "-c", str(self.folder / "mosquitto.conf")],
            env=os.environ | {"OPENSSL_CONF": str(self.folder / "openssl.cnf")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            user=entry.pw_uid if entry else None,
            group=entry.pw_gid if entry else None,
            extra_groups=[] if entry else None,
            preexec_fn=die_with_parent,
        )
        return self.process

    def reload(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
