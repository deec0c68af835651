"""A demo organisation with a key and the virtual fleet's printers, made through the API like anybody's."""

from __future__ import annotations

import json
import os
from pathlib import Path

from . import database
from .client import Client
from .layout import REPO, Layout
from .ui import StackError, wait_for

SLUG = "demo"
LIMITS = "read=100000,write=100000,control=100000,burst=1000"


def remembered_key(at: Layout, url: str) -> str:
    """The key of an earlier run while it still works, else ''."""
    try:
        key = str(json.loads((at.var / "demo.json").read_text())["key"])
    except (OSError, ValueError, KeyError):
        return ""
    return key if Client(url, at.ca, key).status("/v1/me") == 200 else ""


def ensure_organization(at: Layout) -> None:
    listed = json.loads(database.ctl(at, "org", "list", "--json") or "[]")
    if not any(org.get("slug") == SLUG for org in listed):
        database.ctl(at, "org", "create", "Demo", "--slug", SLUG)


def ensure_key(at: Layout, url: str) -> tuple[str, str]:
    key = remembered_key(at, url)
    if key:
        return key, "kept"
    ensure_organization(at)
    words = ["key", "create", "--org", SLUG, "--name", "Demo", "--capabilities", "all", "--expires", "never"]
    key = database.ctl(at, *words, "--rate-limits", LIMITS).strip()
    write_secret(at.var / "demo.json", json.dumps({"key": key}) + "\n")
    return key, "made"


def write_secret(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as f:
        f.write(text)
    caller = os.environ.get("SUDO_UID", "")
    if os.geteuid() == 0 and caller.isdigit():
        os.chown(path, int(caller), -1)


def env_file(at: Layout, default: bool) -> Path:
    """Always in the repository's var/ for the stack of `make up`."""
    return (REPO / "var" if default else at.var) / "demo.env"


def write_env(path: Path, url: str, key: str, ca: Path) -> None:
    write_secret(path, f"SOLOPRINT_URL={url}\nSOLOPRINT_KEY={key}\nSOLOPRINT_CACERT={ca}\n")


def fleet_printers(at: Layout) -> list[dict[str, object]]:
    wait_for("the virtual fleet", lambda: (at.fleet / "fleet.json").exists(), 60, at.log("fleet"))
    return json.loads((at.fleet / "fleet.json").read_text())


def known_printers(client: Client) -> dict[str, dict[str, object]]:
    status, page = client.call("GET", "/v1/printers?limit=100")
    if status != 200:
        raise StackError(f"GET /v1/printers answered {status}: {page}")
    return {p["serial"]: p for p in page["data"]}


def ensure_printers(at: Layout, client: Client) -> str:
    known = known_printers(client)
    added = 0
    for p in fleet_printers(at):
        where = {"host": p["host"], "port": p["port"]}
        old = known.get(str(p["serial"]))
        if old is None:
            body = {"name": p["name"], "protocol": p["protocol"], "model": p["model"], "serial": p["serial"]}
            expect(client.call("POST", "/v1/printers", body | where | {"secret": p["access_code"]}), 201, "POST /v1/printers")
            added += 1
        elif {k: old[k] for k in where} != where:
            expect(client.call("PATCH", f"/v1/printers/{old['id']}", where), 200, "PATCH /v1/printers/…")
    return f"{added} printers added" if added else "printers kept"


def expect(answer: tuple[int, object], status: int, what: str) -> None:
    if answer[0] != status:
        raise StackError(f"{what} answered {answer[0]}: {answer[1]}")


def reporting(client: Client) -> int:
    _, page = client.call("GET", "/v1/printers?limit=100")
    printers = page["data"] if page and "data" in page else []
    return sum(1 for p in printers if (p.get("status") or {}).get("connection_state") == "connected")


def first_printer(client: Client) -> str:
    _, page = client.call("GET", "/v1/printers?limit=1&status=printing,preparing,idle,finished,paused")
    return page["data"][0]["id"] if page and page.get("data") else "PRINTER_ID"


def goodbye(at: Layout, url: str, key: str, env: Path, printer: str) -> str:
    curl = f'curl --cacert {at.ca} -H "Authorization: Bearer $SOLOPRINT_KEY"'
    return f"""
  SoLoPrint is up:   {url}   (documentation: {url}/v1/docs)
  Demo key:          {key}
  Settings as file:  {env}

  Try it:
    . {env}
    curl --cacert {at.ca} {url}/v1/health
    {curl} '{url}/v1/printers?sort=name&limit=2'
    {curl} {url}/v1/printers/{printer}/status
"""
