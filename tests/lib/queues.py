"""The queue for tests: printers that could take something, items, and what a gateway would tell of them."""

from __future__ import annotations

import json
import secrets
from typing import Any

import files
from world import Org

Q = "/v1/platform/queue"


def ready_printer(org: Org, state: str = "idle", **attributes: Any) -> str:
    """Connected, with nothing to do and a free plate."""
    made = org.make_printer(enabled=True, **attributes)
    org.connected(made["id"], state=f"'{state}'")
    return str(made["id"])


def sliced(org: Org, metadata: dict[str, Any] | None = None, **columns: Any) -> str:
    """A G-code file that says this of itself."""
    return files.make_file(org, f"{secrets.token_hex(4)}.gcode", metadata=json.dumps(metadata or {}), **columns)


def make_item(org: Org, **members: Any) -> dict[str, Any]:
    """With a file that asks for nothing, unless said otherwise."""
    if "file_id" not in members:
        members["file_id"] = sliced(org)
    return dict(org.api.post(Q, members, expect=201).json())


def read(org: Org, item: str) -> dict[str, Any]:
    return dict(org.api.get(f"{Q}/{item}", expect=200).json())


def act(org: Org, item: str, action: str, body: Any = None, expect: int | str | None = 200) -> Any:
    return org.api.post(f"{Q}/{item}/{action}", body, expect=expect)


def assign(org: Org, item: str, printer: str, expect: int | str | None = 200, **members: Any) -> Any:
    return act(org, item, "assign", {"printer_id": printer, **members}, expect)


def sent_item(org: Org, printer: str | None = None, **members: Any) -> dict[str, Any]:
    """An item that is on its way to a printer."""
    made = make_item(org, **members)
    return dict(assign(org, made["id"], printer or ready_printer(org)).json())


def send_ended(org: Org, item: dict[str, Any], outcome: str, code: str = "") -> dict[str, Any]:
    """As if the gateway had told how the item's send ended."""
    error = json.dumps({"code": code, "message": "told by a test"}) if code else None
    org.sql("SELECT sec.task_settle(t, %s, NULL, %s::jsonb) FROM sec.printer_tasks AS t WHERE t.job_id = %s",
            outcome, error, item["assignment"]["operation_id"])  # fmt: skip
    return read(org, item["id"])


def printing_item(org: Org, printer: str | None = None) -> dict[str, Any]:
    """An item that its printer prints."""
    item = sent_item(org, printer)
    printer_id = item["assignment"]["printer_id"]
    print_id = org.sql(
        "INSERT INTO app.prints (org_id, printer_id, source, name, operation_id, started_at)"
        " VALUES (app.org(), %s, 'send', 'x', %s, app.now()) RETURNING id",
        printer_id, item["assignment"]["operation_id"])[0][0]  # fmt: skip
    org.sql("UPDATE app.printer_status SET state = 'printing', print_id = %s, version = version + 1 WHERE printer_id = %s",
            print_id, printer_id)  # fmt: skip
    return send_ended(org, item, "succeeded")


def print_ended(org: Org, item: dict[str, Any], state: str) -> dict[str, Any]:
    printer, print_id = item["assignment"]["printer_id"], item["assignment"]["print_id"]
    org.sql("UPDATE app.prints SET state = %s, ended_at = app.now() WHERE id = %s", state, print_id)
    org.sql("UPDATE app.printer_status SET state = 'finished', print_id = NULL, version = version + 1 WHERE printer_id = %s",
            printer)  # fmt: skip
    return read(org, item["id"])


def lost_item(org: Org, printer: str | None = None) -> dict[str, Any]:
    """An item of which nobody knows whether it was started."""
    return send_ended(org, sent_item(org, printer), "failed", "start_unknown")


def ids(answer: Any) -> list[str]:
    return [row.get("id") or row["queue_item_id"] for row in answer.json()["data"]]
