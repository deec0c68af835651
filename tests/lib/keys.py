"""API keys as clients hold them, made without the product's code."""

from __future__ import annotations

import hashlib
import secrets
import string
import zlib

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
CAPABILITIES = (
    "operations.read", "queue.manage", "printer.manage", "spool.manage", "integrations.manage", "org.manage_users",
)  # fmt: skip


def base62(n: int, width: int) -> str:
    digits = ""
    while n:
        n, rest = divmod(n, 62)
        digits = BASE62[rest] + digits
    return digits.rjust(width, "0")


def with_checksum(text: str) -> str:
    return text + base62(zlib.crc32(text.encode()), 6)


def new_key(kind: str = "live") -> str:
    return with_checksum(f"slp_{kind}_" + base62(int.from_bytes(secrets.token_bytes(32)), 43))


def key_hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
