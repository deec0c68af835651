"""Notification rules and what is in inboxes."""

from __future__ import annotations

import json
import uuid
from typing import Any

from world import Org

RULES = "/v1/platform/notification-rules"
INBOX = "/v1/notifications"


def make_rule(org: Org, **attributes: Any) -> dict[str, Any]:
    """Of the channel in_app, for the organisation's key, unless said otherwise."""
    body = {"name": "made", "events": ["print.*"], "channel": "in_app", **attributes}
    return dict(org.api.post(RULES, body, expect=201).json())


def principal_of(org: Org, key: str = "") -> str:
    return str(org.sql("SELECT principal_id FROM app.api_keys WHERE id = %s", org.key_id(key or org.key))[0][0])


def put_into_inbox(org: Org, key: str = "", *, title: str = "made", **columns: Any) -> str:
    """As the courier does, for the key's principal. columns: of app.notifications."""
    row = {
        "id": str(uuid.uuid4()), "principal_id": principal_of(org, key), "event_id": str(uuid.uuid4()), "sequence": 1,
        "type": "print.failed", "capability": "operations.read", "severity": "warning", "title": title,
        "data": {"name": title}, **columns,
    }  # fmt: skip
    names = ", ".join(row)
    values = [json.dumps(v) if isinstance(v, dict) else v for v in row.values()]
    org.sql(f"INSERT INTO app.notifications ({names}) VALUES ({', '.join(['%s'] * len(row))})", *values)
    return str(row["id"])
