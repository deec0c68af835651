"""Webhooks, events and deliveries by the API and beside it; no courier acts on what is made here."""

from __future__ import annotations

import base64
import json
import secrets
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from world import Org

WEBHOOKS = "/v1/platform/webhooks"
DELIVERIES = "/v1/platform/webhook-deliveries"
EVENTS = "/v1/platform/events"
TYPES = "/v1/platform/webhook-event-types"
# Names that end in .invalid are nowhere.
URL = "https://nowhere.invalid/hook"
# What nobody sends yet.
QUIET = ["spool.empty"]


def make_webhook(org: Org, **attributes: Any) -> dict[str, Any]:
    """By the API; with its signing secret. Nothing is sent to it by itself, unless it asks for it."""
    body = {"name": f"Hook {secrets.token_hex(4)}", "endpoint_url": URL, "subscriptions": QUIET, **attributes}
    return dict(org.api.post(WEBHOOKS, body, expect=201).json())


def make_event(org: Org, kind: str = "print.failed", **columns: Any) -> dict[str, Any]:
    """A row of the log, as the publisher makes it; with its sequence."""
    row = {"capability": "operations.read", "data": json.dumps({"name": secrets.token_hex(4)}), "printer_id": None,
           "item_id": None, "created_at": None, **columns}  # fmt: skip
    made = org.sql(
        "WITH head AS (INSERT INTO sec.event_heads AS h (org_id, last) VALUES (app.org(), 1)"
        " ON CONFLICT (org_id) DO UPDATE SET last = h.last + 1 RETURNING last)"
        " INSERT INTO app.events (org_id, sequence, id, type, capability, data, resource_type, resource_id, printer_id, item_id,"
        " created_at, published_at) SELECT app.org(), last, app.uuid7(), %s, %s, %s, split_part(%s, '.', 1), app.uuid7(), %s, %s,"
        " coalesce(%s, app.now()), coalesce(%s, app.now()) FROM head RETURNING id, sequence",
        kind, row["capability"], row["data"], kind, row["printer_id"], row["item_id"], row["created_at"], row["created_at"],
    )[0]  # fmt: skip
    return {"id": str(made[0]), "sequence": made[1], "type": kind, "data": json.loads(row["data"])}


def make_delivery(org: Org, webhook_id: str, event: dict[str, Any] | None = None, **columns: Any) -> str:
    """A delivery that has ended already, or begins tomorrow. columns: SQL values."""
    event = event or make_event(org)
    row = {"status": "failed", "attempts": 3, "max_attempts": 3, "last_status": 500, "last_error": "http_500",
           "capability": "operations.read", "printer_id": None, "created_at": None, **columns}  # fmt: skip
    made = org.sql(
        "INSERT INTO app.webhook_deliveries (org_id, webhook_id, event_id, event_type, sequence, capability, printer_id, status,"
        " attempts, max_attempts, next_attempt_at, last_status, last_error, created_at, finished_at)"
        " SELECT app.org(), %s, %s, %s, %s, %s, %s, s, %s, %s, app.now() + '1 day'::interval, %s, %s, coalesce(%s, app.now()),"
        " CASE WHEN s <> 'queued' THEN app.now() END FROM (VALUES (%s)) AS v (s) RETURNING id",
        webhook_id, event["id"], event["type"], event["sequence"], row["capability"], row["printer_id"], row["attempts"],
        row["max_attempts"], row["last_status"], row["last_error"], row["created_at"], row["status"],
    )  # fmt: skip
    return str(made[0][0])


def key_bytes(text: str, start: str) -> bytes:
    """Of a secret or a public key."""
    assert text.startswith(start), text[:8]
    return base64.b64decode(text.removeprefix(start), validate=True)


def opened(org: Org, place: str, row: str, sealed: bytes) -> str:
    """What the API sealed for the courier, with the courier's key. place: "webhooks|headers"."""
    key = load_pem_private_key((org.stack.var / "keys/courier.key").read_bytes(), None)
    assert isinstance(key, X25519PrivateKey)
    assert sealed[0] == 1
    once, reader = sealed[5:37], key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    shared = key.exchange(X25519PublicKey.from_public_bytes(once))
    okm = HKDF(SHA256(), 44, once + reader, b"soloprint sealed secret v1").derive(shared)
    return AESGCM(okm[:32]).decrypt(okm[32:], sealed[37:], f"{place}|{org.id}|{row}".encode()).decode()
