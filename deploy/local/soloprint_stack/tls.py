"""A certificate authority of this stack's own, and nginx's certificate."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

CA_EXT = """\
basicConstraints=critical,CA:TRUE,pathlen:0
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash
"""
LEAF_EXT = """\
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
"""
RENEW_BEFORE_S = 30 * 86400


def openssl(*args: str | Path) -> None:
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)


def new_key(path: Path) -> None:
    path.unlink(missing_ok=True)
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)
    path.chmod(0o400)


def sign(name: str, folder: Path, ext: str, subject: str, days: int, signer: list[str | Path]) -> None:
    request, extensions = folder / f"{name}.csr", folder / f"{name}.ext"
    extensions.write_text(ext)
    openssl("req", "-new", "-key", folder / f"{name}.key", "-subj", subject, "-out", request)
    out = folder / f"{name}.crt"
    openssl("x509", "-req", "-in", request, "-days", str(days), "-extfile", extensions, "-out", out, *signer)
    out.chmod(0o644)
    request.unlink()
    extensions.unlink()


def alt_names() -> str:
    names = dict.fromkeys(["localhost", socket.gethostname()])
    return ",".join([f"DNS:{n}" for n in names if n] + ["IP:127.0.0.1", "IP:::1"])


def fresh(folder: Path, names: str) -> bool:
    """True when the certificate is there, names this machine and is not about to end."""
    recorded = folder / "names"
    if not (folder / "server.crt").exists() or not recorded.exists() or recorded.read_text() != names:
        return False
    check = ["openssl", "x509", "-checkend", str(RENEW_BEFORE_S), "-noout", "-in", str(folder / "server.crt")]
    return subprocess.run(check, capture_output=True).returncode == 0


def ensure(folder: Path) -> str:
    names = alt_names()
    if fresh(folder, names):
        return "kept"
    ca_key = folder / "ca.key"
    old = os.umask(0o077)
    try:
        if not (folder / "ca.crt").exists():
            new_key(ca_key)
            sign("ca", folder, CA_EXT, "/CN=SoLoPrint local CA", 3650, ["-signkey", ca_key])
        new_key(folder / "server.key")
        signer: list[str | Path] = ["-CA", folder / "ca.crt", "-CAkey", ca_key, "-CAcreateserial"]
        sign("server", folder, LEAF_EXT + f"subjectAltName={names}\n", "/CN=localhost", 820, signer)
    finally:
        os.umask(old)
    (folder / "names").write_text(names)
    return "made"
