"""Debian's vsftpd set up as Bambu's X1 and P1 printers have it: implicit TLS, user bblp, the data connection must resume
the control connection's TLS session. It runs in a mount namespace of its own, which has such a user."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

from rig import short_folder
from virtual_fleet.broker import die_with_parent
from virtual_fleet.harness import wait_for

CONF = """\
background=NO
listen=YES
listen_address=127.0.0.1
listen_port={port}
seccomp_sandbox=NO
secure_chroot_dir={folder}/empty
nopriv_user=nobody
pam_service_name=printer
anonymous_enable=NO
local_enable=YES
local_root={folder}/storage
chroot_local_user=YES
allow_writeable_chroot=YES
write_enable=YES
local_umask=022
connect_from_port_20=NO
xferlog_enable=YES
log_ftp_protocol=YES
vsftpd_log_file={folder}/log
ssl_enable=YES
implicit_ssl=YES
ssl_tlsv1=YES
ssl_ciphers=HIGH
require_ssl_reuse=YES
force_local_data_ssl=YES
force_local_logins_ssl=YES
debug_ssl=YES
rsa_cert_file={certificate}
rsa_private_key_file={key}
"""
PAM = """\
auth required pam_unix.so
account required pam_permit.so
"""
ETC = ("passwd", "shadow", "pam.d")
IN_NAMESPACE = " && ".join(f'mount --bind "$1/{name}" /etc/{name}' for name in ETC) + ' && exec "$2" "$3"'


def why_not() -> str | None:
    """Why it cannot run here; None: it can."""
    program = shutil.which("vsftpd", path="/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", ""))
    if program is None:
        return "vsftpd is not installed"
    if os.geteuid() != 0:
        return "vsftpd needs root"
    tried = subprocess.run(["unshare", "-m", "true"], capture_output=True, text=True)
    return None if tried.returncode == 0 else f"no mount namespaces here: {tried.stderr.strip()}"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Vsftpd:
    """Use as a context manager. row: of fleet.json, whose serial and code it has; options: lines of its settings."""

    def __init__(self, row: dict[str, Any], certificate: Path, key: Path, **options: str) -> None:
        self.folder = short_folder("slp-vsftpd-")
        self.storage = self.folder / "storage"
        self.port = free_port()
        self.code = row["access_code"]
        conf = CONF.format(folder=self.folder, port=self.port, certificate=certificate, key=key)
        self.conf = conf + "".join(f"{name}={value}\n" for name, value in options.items())

    def __enter__(self) -> Vsftpd:
        for name in ("storage", "empty", "pam.d"):
            (self.folder / name).mkdir()
            (self.folder / name).chmod(0o755)  # whatever the umask: vsftpd insists
        shutil.chown(self.storage, "ftp")
        owner = self.storage.stat()
        user = f"bblp:x:{owner.st_uid}:{owner.st_gid}::{self.storage}:/bin/sh\n"
        (self.folder / "passwd").write_text(Path("/etc/passwd").read_text() + user)
        self.set_code(self.code)
        (self.folder / "pam.d" / "printer").write_text(PAM)
        (self.folder / "vsftpd.conf").write_text(self.conf)
        for path in (self.folder / "passwd", self.folder / "pam.d" / "printer", self.folder / "vsftpd.conf"):
            path.chmod(0o644)
        words = [str(self.folder), "/usr/sbin/vsftpd", str(self.folder / "vsftpd.conf")]
        self.process = subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", "sh", "-c", IN_NAMESPACE, "sh", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,
        )
        wait_for(self._listens, 10, "vsftpd")
        return self

    def set_code(self, code: str) -> None:
        command = ["openssl", "passwd", "-6", "-stdin"]
        known = subprocess.run(command, input=code, capture_output=True, text=True, check=True).stdout.strip()
        path = self.folder / "shadow"
        path.touch(mode=0o600)
        path.write_text(f"bblp:{known}:20000:0:99999:7:::\n")

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.process.stdout and self.process.stdout.read()
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def __exit__(self, *_exc: object) -> None:
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def files(self) -> dict[str, int]:
        return {each.name: each.stat().st_size for each in self.storage.iterdir()}
