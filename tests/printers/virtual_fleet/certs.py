"""The fleet's certificate authority and one certificate per printer (CN = serial, no SAN)."""

from __future__ import annotations

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LIFETIME = datetime.timedelta(days=3650)
PEM = serialization.Encoding.PEM


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The key in path; made when there is none."""
    if path.exists():
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.touch(mode=0o600)
    path.write_bytes(pem)
    return key


class Authority:
    """Keeps its files in one folder, so that a restarted fleet has the same CA and the same certificates."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.key = _load_key(folder / "ca.key")
        self.leaf_key_path = folder / "printer.key"
        self.leaf_key = _load_key(self.leaf_key_path)
        self.path = folder / "ca.pem"
        self.subject = _name("Virtual Fleet CA")
        if not self.path.exists():
            builder = self._builder("Virtual Fleet CA", self.key)
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            self.path.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(PEM))

    def _builder(self, common_name: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.utcnow() - datetime.timedelta(minutes=5)
        return (
            x509.CertificateBuilder()
            .subject_name(_name(common_name))
            .issuer_name(self.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + LIFETIME)
        )

    def leaf(self, common_name: str) -> Path:
        """Certificate file for one printer. All printers share one key: making keys is the slow part."""
        path = self.folder / f"{common_name}.pem"
        if not path.exists():
            cert = self._builder(common_name, self.leaf_key).sign(self.key, hashes.SHA256())
            path.write_bytes(cert.public_bytes(PEM))
        return path
