"""How to call every operation of the contract with objects that exist. An operation that is not here fails the walk."""

from __future__ import annotations

import json
import os
import secrets
import uuid
from pathlib import Path
from typing import Any

import httpx
from api import Api
from contract import Contract, Operation
from stack import BUILD
from world import Org

# Bodies by operation. Called for each request, so that names stay unique.
BODIES: dict[str, Any] = {
    "createApiKey": lambda: {"name": "walk", "capabilities": ["operations.read"]},
    "updateApiKey": lambda: {"name": f"walk {secrets.token_hex(3)}"},
    "rotateApiKey": lambda: {"grace_seconds": 60},
    "createPrinter": lambda: {"name": f"walk {secrets.token_hex(4)}", "protocol": "bambu", "enabled": False},
    "updatePrinter": lambda: {"location": f"shelf {secrets.token_hex(3)}"},
    "createPrinterGroup": lambda: {"name": f"walk {secrets.token_hex(6)}"},
    "createModel": lambda: {"name": f"walk {secrets.token_hex(4)}"},
    "updateModel": lambda: {"notes": f"shelf {secrets.token_hex(3)}"},
    "createCollection": lambda: {"name": f"walk {secrets.token_hex(6)}"},
    "updateCollection": lambda: {"description": f"shelf {secrets.token_hex(3)}"},
    "renameTag": lambda: {"tag": f"walk-{secrets.token_hex(3)}", "name": "walked"},
    "deleteTag": lambda: {"tag": f"walk-{secrets.token_hex(3)}"},
    "updatePrinterGroup": lambda: {"description": f"shelf {secrets.token_hex(3)}"},
}
# Members of bodies that name other objects, and the kind of object.
BODY_REFERENCES: dict[str, list[tuple[str, str]]] = {
    "createApiKey": [("printer_ids", "printer_id")],
    "updateApiKey": [("printer_ids", "printer_id")],
    "createPrinter": [("group_ids", "printer_group_id")],
    "updatePrinter": [("group_ids", "printer_group_id")],
    "createModel": [("collection_ids", "collection_id")],
    "updateModel": [("collection_ids", "collection_id")],
    "createCollection": [("model_ids", "model_id")],
    "updateCollection": [("model_ids", "model_id"), ("add_model_ids", "model_id")],
    "createPrinterGroup": [("printer_ids", "printer_id")],
    "updatePrinterGroup": [("printer_ids", "printer_id")],
}
QUERY_REFERENCES: dict[str, list[tuple[str, str]]] = {
    "listPrinters": [("group", "printer_group_id")],
    "listModels": [("collection", "collection_id")],
}
# Every id that a path may hold, and how to make the object in an organisation.
OBJECTS = ("printer_id", "printer_group_id", "api_key_id", "model_id", "collection_id")


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
    if kind == "collection_id":
        return str(org.make_collection(name=f"{canary} {secrets.token_hex(3)}", description=canary)["id"])
    raise AssertionError(f"no way to make a {kind}: add one to walk.make_object")


def make_objects(org: Org, canary: str) -> dict[str, str]:
    return {kind: make_object(org, kind, canary) for kind in OBJECTS}


def strangers(names: list[str]) -> dict[str, str]:
    """Ids of nothing."""
    return {name: str(uuid.uuid4()) for name in names}


def call(api: Api, op: Operation, ids: dict[str, str], body: Any = ..., **kw: Any) -> httpx.Response:
    """One request to the operation; body: instead of the one in BODIES."""
    path = op.path
    for name in op.path_names:
        path = path.replace("{" + name + "}", ids[name])
    if body is ...:
        if op.id in BODIES:
            body = BODIES[op.id]()
        else:
            assert "requestBody" not in op.doc, f"{op.id} takes a body: add one to walk.BODIES"
            body = None
    return api.request(op.method, path, **({"json": body} if body is not None else {}), **kw)


CHANGING = {"date", "x-request-id", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit"}


def shape_of(answer: httpx.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    """What must be equal for two answers to be the same one: status, the body's bytes, headers. Both requests must
    have been sent with the same X-Request-Id."""
    headers = [(n.lower(), v) for n, v in answer.headers.multi_items() if n.lower() not in CHANGING]
    return answer.status_code, answer.content, sorted(headers)
