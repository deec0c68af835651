"""Opens sealed secrets as the process does that they are for; lib/auth/seal.h describes the form."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from world import Org


def courier_opens(org: Org, place: str, row: Any, sealed: bytes) -> str:
    """place: table|column, "webhooks|headers". InvalidTag when it was sealed for another place."""
    pem = Path(str(org.stack.facts["courier_key"])).read_bytes()
    key = serialization.load_pem_private_key(pem, None)
    assert isinstance(key, X25519PrivateKey)
    point = key.public_key().public_bytes_raw()
    ephemeral, body = sealed[5:37], sealed[37:]
    assert sealed[:5] == b"\x01" + hashlib.sha256(point).digest()[:4], "sealed for another key"
    stretch = HKDF(hashes.SHA256(), 44, salt=ephemeral + point, info=b"soloprint sealed secret v1")
    secret = stretch.derive(key.exchange(X25519PublicKey.from_public_bytes(ephemeral)))
    table, column = place.split("|")
    return AESGCM(secret[:32]).decrypt(secret[32:], body, f"{table}|{column}|{org.id}|{row}".encode()).decode()
