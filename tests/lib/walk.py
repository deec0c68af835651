"""How to call every operation of the contract with objects that exist. An operation that is not here fails the walk."""

from __future__ import annotations

import json
import os
import secrets
import uuid
from pathlib import Path
from typing import Any

import files
import hooks
import httpx
import notices
import pictures
import queues
from api import Api
from contract import Contract, Operation
from operations import make_operation
from stack import BUILD
from world import Org

# In a body: the id of an object that `objects_of` makes.
NOBODY = "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70"

# Bodies by operation. Called for each request, so that names stay unique.
BODIES: dict[str, Any] = {
    "createApiKey": lambda: {"name": "walk", "capabilities": ["operations.read"]},
    "updateApiKey": lambda: {"name": f"walk {secrets.token_hex(3)}"},
    "rotateApiKey": lambda: {"grace_seconds": 60},
    "createPrinter": lambda: {"name": f"walk {secrets.token_hex(4)}", "protocol": "bambu", "enabled": False},
    "updatePrinter": lambda: {"location": f"shelf {secrets.token_hex(3)}"},
    "commandPrinter": lambda: {"command": "set_temperatures", "nozzle_c": 100 + secrets.randbelow(100)},
    "commandPrinters": lambda: {"printer_ids": [NOBODY], "command": "jog", "z_mm": 10 + secrets.randbelow(90)},
    "sendToPrinter": lambda: {"file_id": NOBODY, "start": False},
    "testPrinterConnection": lambda: {"protocol": "bambu", "host": "nowhere.invalid", "serial": secrets.token_hex(6)},
    "discoverPrinters": lambda: {"seconds": 1},
    "createPrinterGroup": lambda: {"name": f"walk {secrets.token_hex(6)}"},
    "createFilamentProfile": lambda: {"name": f"walk {secrets.token_hex(4)}"},
    "updateFilamentProfile": lambda: {"notes": f"shelf {secrets.token_hex(3)}"},
    "importFilamentProfiles": lambda: {"filename": f"{secrets.token_hex(4)}.ini", "content": "filament_type = PLA"},
    "createPrinterProfile": lambda: {"name": f"walk {secrets.token_hex(4)}"},
    "updatePrinterProfile": lambda: {"notes": f"shelf {secrets.token_hex(3)}"},
    "importPrinterProfiles": lambda: {"filename": f"{secrets.token_hex(4)}.ini", "content": "bed_shape = 0x0"},
    "createModel": lambda: {"name": f"walk {secrets.token_hex(4)}"},
    "updateModel": lambda: {"notes": f"shelf {secrets.token_hex(3)}"},
    "createCollection": lambda: {"name": f"walk {secrets.token_hex(6)}"},
    "updateCollection": lambda: {"description": f"shelf {secrets.token_hex(3)}"},
    "renameTag": lambda: {"tag": f"walk-{secrets.token_hex(3)}", "name": "walked"},
    "deleteTag": lambda: {"tag": f"walk-{secrets.token_hex(3)}"},
    "updatePrinterGroup": lambda: {"description": f"shelf {secrets.token_hex(3)}"},
    "uploadFileFromUrl": lambda: {"url": f"https://nowhere.invalid/walk-{secrets.token_hex(3)}.stl"},
    "registerFile": lambda: {"filename": f"walk {secrets.token_hex(4)}.gcode", "size_bytes": 100},
    "updateFile": lambda: {"notes": f"shelf {secrets.token_hex(3)}"},
    "completeFileUpload": lambda: {},
    "uploadFilePart": lambda: b"G28\n",
    "createQueueItem": lambda: {"name": f"walk {secrets.token_hex(4)}"},
    "updateQueueItem": lambda: {"notes": f"shelf {secrets.token_hex(3)}"},
    "completeQueueItem": lambda: {"outcome": "completed"},
    "resolveQueueItem": lambda: {"outcome": "not_started"},
    "reorderQueue": lambda: {"order": [NOBODY]},
    "bulkUpdateQueue": lambda: {"ids": [NOBODY], "action": "hold"},
    "assignQueueItem": lambda: {"printer_id": NOBODY, "start": False},
    "dispatchQueue": lambda: {"limit": 1},
    "updateQueueSettings": lambda: {"stagger_seconds": 0},
    "createWebhook": lambda: {"name": f"walk {secrets.token_hex(4)}", "endpoint_url": hooks.URL, "subscriptions": hooks.QUIET},
    "updateWebhook": lambda: {"name": f"walk {secrets.token_hex(4)}"},
    "rotateWebhookSecret": lambda: {"overlap_seconds": 0},
    "testWebhook": lambda: {"event_type": "spool.empty"},
    "recoverWebhook": lambda: {"since": "2026-01-01T00:00:00Z"},
    "createEventStreamUrl": dict,
    "createNotificationRule": lambda: {"name": f"walk {secrets.token_hex(4)}", "events": ["spool.empty"], "channel": "in_app"},
    "updateNotificationRule": lambda: {"name": f"walk {secrets.token_hex(4)}"},
    "updateNotification": lambda: {"read": True},
    # A tuple is the part `file` of a form.
    "ingestFile": lambda: (f"walk {secrets.token_hex(4)}.gcode", files.gcode(100)),
    "uploadOctoPrintFile": lambda: (f"walk {secrets.token_hex(4)}.gcode", files.gcode(100)),
}
# Members of bodies that name other objects, and the kind of object.
BODY_REFERENCES: dict[str, list[tuple[str, str]]] = {
    "createApiKey": [("printer_ids", "printer_id")],
    "updateApiKey": [("printer_ids", "printer_id")],
    "createPrinter": [("group_ids", "printer_group_id")],
    "updatePrinter": [("group_ids", "printer_group_id")],
    "createModel": [("collection_ids", "collection_id")],
    "uploadFileFromUrl": [("model_id", "model_id")],
    "updateModel": [("collection_ids", "collection_id")],
    "createCollection": [("model_ids", "model_id")],
    "updateCollection": [("model_ids", "model_id"), ("add_model_ids", "model_id")],
    "createPrinterGroup": [("printer_ids", "printer_id")],
    "updatePrinterGroup": [("printer_ids", "printer_id")],
    "sendToPrinter": [("file_id", "file_id")],
    "createQueueItem": [("file_id", "file_id")],
    "updateQueueItem": [("file_id", "file_id")],
}
# Members of bodies that must name an object for the operation to go well.
BODY_OBJECTS: dict[str, list[tuple[str, str]]] = {
    "commandPrinters": [("printer_ids", "printer_id")],
    "sendToPrinter": [("file_id", "file_id")],
    "reorderQueue": [("order", "queue_item_id")],
    "bulkUpdateQueue": [("ids", "queue_item_id")],
    "assignQueueItem": [("printer_id", "printer_id")],
}
QUERY_REFERENCES: dict[str, list[tuple[str, str]]] = {
    "listPrinters": [("group", "printer_group_id")],
    "listModels": [("collection", "collection_id")],
    "listOperations": [("resource_id", "file_id")],
    "listQueueItems": [("file_id", "file_id"), ("printer_id", "printer_id")],
    "listWebhookDeliveries": [("webhook_id", "webhook_id")],
    "listEvents": [("printer_id", "printer_id"), ("queue_item_id", "queue_item_id")],
}
# Every id that a path may hold, and how to make the object in an organisation.
OBJECTS = ("printer_id", "printer_group_id", "api_key_id", "model_id", "collection_id",
           "filament_profile_id", "printer_profile_id", "file_id", "operation_id", "n",
           "part", "octoprint_filename", "queue_item_id", "notification_rule_id", "notification_id",
           "webhook_id", "webhook_delivery_id")  # fmt: skip
# What numbers in paths stand for; files have these.
NUMBERS = {"n": "0", "part": "1"}


def built_contract() -> Contract:
    """The contract that was built, for parametrization before a server runs."""
    return Contract(json.loads((Path(os.environ.get("SOLOPRINT_BUILD", BUILD)) / "gen/openapi.json").read_text()))


def make_object(org: Org, kind: str, canary: str) -> str:
    if kind == "printer_id":
        made = org.make_printer(name=f"{canary} {secrets.token_hex(3)}", notes=canary, tags=[canary])
        org.connected(made["id"])
        return str(made["id"])
    if kind == "printer_group_id":
        return str(org.make_group(name=f"{canary} {secrets.token_hex(3)}", description=canary)["id"])
    if kind == "api_key_id":
        return org.key_id(org.make_key(["operations.read"], name=f"{canary} key"))
    if kind == "model_id":
        return str(org.make_model(name=f"{canary} {secrets.token_hex(3)}", notes=canary, tags=[canary, f"{canary} b"])["id"])
    if kind in ("filament_profile_id", "printer_profile_id"):
        resource = kind.removesuffix("_id").replace("_", "-") + "s"
        body = {"name": f"{canary} {secrets.token_hex(3)}", "notes": canary}
        return str(org.api.post(f"/v1/{resource}", body, expect=201).json()["id"])
    if kind == "collection_id":
        return str(org.make_collection(name=f"{canary} {secrets.token_hex(3)}", description=canary)["id"])
    if kind == "file_id":
        made_file = files.make_file(org, f"{canary} {secrets.token_hex(3)}.gcode", notes=canary, tags=[canary])
        files.make_thumbnail(org, made_file)
        return made_file
    if kind == "octoprint_filename":
        name = f"{canary} {secrets.token_hex(3)}.gcode"
        files.make_file(org, name)
        return name
    if kind == "operation_id":
        return make_operation(org, error={"code": "busy", "message": canary})
    if kind == "queue_item_id":
        return str(queues.make_item(org, name=f"{canary} {secrets.token_hex(3)}", notes=canary, metadata={"k": canary})["id"])
    if kind == "webhook_id":
        return str(make_webhook(org, canary)["id"])
    if kind == "webhook_delivery_id":
        event = hooks.make_event(org, "file.ready", data=json.dumps({"filename": canary}))
        return hooks.make_delivery(org, make_webhook(org, canary)["id"], event)
    if kind == "notification_rule_id":
        rule = notices.make_rule(org, name=f"{canary} {secrets.token_hex(3)}", events=["spool.empty"], channel="webhook",
                                 url=f"https://{canary}.invalid/{canary}")  # fmt: skip
        org.api.post(f"{notices.RULES}/{rule['id']}/test", expect=202)
        return str(rule["id"])
    if kind == "notification_id":
        return notices.put_into_inbox(org, title=f"{canary} {secrets.token_hex(3)}")
    if kind in NUMBERS:
        return NUMBERS[kind]
    raise AssertionError(f"no way to make a {kind}: add one to walk.make_object")


def make_webhook(org: Org, canary: str) -> dict[str, Any]:
    return hooks.make_webhook(org, name=f"{canary} {secrets.token_hex(3)}", endpoint_url=f"https://{canary}.invalid/{canary}",
                              headers={f"X-{canary}": canary})  # fmt: skip


def make_objects(org: Org, canary: str) -> dict[str, str]:
    return {kind: make_object(org, kind, canary) for kind in OBJECTS}


def objects_of(org: Org, op: Operation, canary: str) -> dict[str, str]:
    """What the operation's path names, made in the organisation; for a signed URL also its query."""
    if op.id == "uploadFilePart":
        made = files.register(org, len(BODIES[op.id]()))
        return {"file_id": made["file_id"], "part": "1", "?": files.path_of(made["upload"]["url"]).split("?")[1]}
    if op.id == "dispatchNextQueueItem":
        make_object(org, "queue_item_id", canary)
        return {"printer_id": queues.ready_printer(org, name=canary)}
    if op.id == "resolveQueueItem":
        return {"queue_item_id": queues.lost_item(org)["id"]}
    ids = {name: make_object(org, name, canary) for name in op.path_names}
    if op.id in ("unassignQueueItem", "completeQueueItem"):
        queues.assign(org, ids["queue_item_id"], make_object(org, "printer_id", canary), start=False)
    if op.id == "retryQueueItem":
        queues.act(org, ids["queue_item_id"], "cancel")
    if op.id in ("getCameraSnapshot", "getCameraStream"):
        pictures.serve_once(org.stack, ids["printer_id"])
    if op.id == "getCameraStream":
        signed = org.api.get(f"/v1/printers/{ids['printer_id']}/camera/stream", expect=302).json()["url"]
        ids["?"] = files.path_of(signed).split("?")[1]
    if op.id == "getEventStream":
        ids["?"] = files.path_of(org.api.post("/v1/events/token", {}, expect=200).json()["url"]).split("?")[1]
    for member, kind in BODY_OBJECTS.get(op.id, []):
        ids[f"@{member}"] = make_object(org, kind, canary)
    if op.id == "getStoredFile":
        signed = org.api.get(f"/v1/files/{ids['file_id']}/download", expect=200).json()["url"]
        ids["?"] = files.path_of(signed).split("?")[1]
    return ids


def strangers(names: list[str]) -> dict[str, str]:
    """Ids of nothing."""
    return {name: NUMBERS.get(name) or str(uuid.uuid4()) for name in names}


def with_object(value: Any, made: str | None) -> Any:
    if made and value == NOBODY:
        return made
    return [made] if made and value == [NOBODY] else value


def call(api: Api, op: Operation, ids: dict[str, str], body: Any = ..., **kw: Any) -> httpx.Response:
    """One request to the operation; body: instead of the one in BODIES."""
    path = op.path
    for name in op.path_names:
        path = path.replace("{" + name + "}", ids[name])
    if "?" in ids:
        path += "?" + ids["?"]
    if body is ...:
        if op.id in BODIES:
            body = BODIES[op.id]()
        else:
            assert "requestBody" not in op.doc, f"{op.id} takes a body: add one to walk.BODIES"
            body = None
    if isinstance(body, dict):
        body = {name: with_object(value, ids.get(f"@{name}")) for name, value in body.items()}
    sent: dict[str, Any] = {} if body is None else {"content" if isinstance(body, bytes) else "json": body}
    if isinstance(body, tuple):
        sent = {"files": {"file": body}}
    return api.request(op.method, path, **sent, **kw)


CHANGING = {"date", "x-request-id", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit"}


def shape_of(answer: httpx.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    """What must be equal for two answers to be the same one: status, the body's bytes, headers. Both requests must
    have been sent with the same X-Request-Id."""
    headers = [(n.lower(), v) for n, v in answer.headers.multi_items() if n.lower() not in CHANGING]
    return answer.status_code, answer.content, sorted(headers)
