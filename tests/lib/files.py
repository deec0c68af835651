"""Files for tests: through the API as clients do it, signed URLs without the product's code, and what lies on the disk."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from stack import Stack
from wait import until
from world import Org

PART = 64 << 20
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def gcode(size: int = 2000) -> bytes:
    """Bytes that no other test has."""
    line = f"; {secrets.token_hex(16)}\nG28\n".encode()
    return (line * (size // len(line) + 1))[:size]


def register(org: Org, size: int, filename: str = "", **members: Any) -> dict[str, Any]:
    body = {"filename": filename or f"{secrets.token_hex(4)}.gcode", "size_bytes": size, **members}
    return dict(org.api.post("/v1/files/register", body, expect=201).json())


def put(org: Org, url: str, data: bytes, expect: int | str | None = None, **kw: Any) -> httpx.Response:
    """To a signed URL, without a key."""
    return org.base.request("PUT", path_of(url), content=data, expect=expect, **kw)


def path_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def complete(org: Org, file_id: str, expect: int | str | None = 200, **kw: Any) -> httpx.Response:
    return org.api.post(f"/v1/files/{file_id}/complete", expect=expect, **kw)


def upload(org: Org, data: bytes, filename: str = "", **members: Any) -> dict[str, Any]:
    """A file of one part, from register to complete."""
    made = register(org, len(data), filename, **members)
    put(org, made["upload"]["url"], data, 201)
    return dict(complete(org, made["file_id"]).json())


def upload_parts(org: Org, data: bytes, filename: str = "") -> dict[str, Any]:
    """A file of several parts, up to the operation."""
    made = register(org, len(data), filename)
    for part in made["upload"]["parts"]:
        put(org, part["url"], data[(part["n"] - 1) * PART :][: part["size"]], 201)
    return made


def operation_ended(org: Org, operation_id: str, timeout_s: float = 30) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = dict(org.api.get(f"/v1/operations/{operation_id}", expect=200).json())
        return found if found["status"] in ("succeeded", "failed", "cancelled") else None

    return until(look, timeout_s, what=f"operation {operation_id} ends") or {}


def status_becomes(org: Org, file_id: str, *wanted: str, timeout_s: float = 30) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = dict(org.api.get(f"/v1/files/{file_id}", expect=200).json())
        return found if found["status"] in wanted else None

    return until(look, timeout_s, what=f"file {file_id} becomes {wanted}") or {}


def jobs_done(org: Org, *kinds: str, timeout_s: float = 30) -> None:
    """No job of these kinds is due or running in the organisation."""
    sql = "SELECT count(*) FROM app.jobs WHERE org_id = %s AND kind = ANY (%s) AND finished_at IS NULL AND run_after <= app.now()"
    until(lambda: org.sql(sql, org.id, list(kinds)) == [(0,)], timeout_s, what=f"jobs of {kinds} end")


def make_file(org: Org, filename: str = "", data: bytes = b"", **columns: Any) -> str:
    """A stored file, beside the API and without waiting for its analysis; its id. columns: more of app.files."""
    data = data or gcode(200)
    digest = hashlib.sha256(data).digest()
    blob = org.sql("SELECT sec.keep_blob(%s, %s, %s, 'local')", put_object(org.stack, data), digest, len(data))[0][0]
    row = {
        "filename": filename or f"{secrets.token_hex(4)}.gcode", "kind": "gcode", "content_type": "text/x.gcode",
        "size_bytes": len(data), "sha256": digest, "blob_id": blob, "status": "ready", **columns,
    }  # fmt: skip
    names, values = ", ".join(row), ", ".join(["%s"] * len(row))
    return str(org.sql(f"INSERT INTO app.files ({names}) VALUES ({values}) RETURNING id", *row.values())[0][0])


def make_thumbnail(org: Org, file_id: str, n: int = 0, picture: bytes = PNG) -> None:
    """As if a scan had found it: the blob's object is put into the store by hand."""
    data = picture + secrets.token_bytes(8)
    blob = put_object(org.stack, data)
    org.sql("SELECT sec.keep_blob(%s, %s, %s, 'local')", blob, hashlib.sha256(data).digest(), len(data))
    org.sql("INSERT INTO app.file_thumbnails (org_id, file_id, n, blob_id, content_type) VALUES (%s, %s, %s, %s, 'image/png')",
            org.id, file_id, n, blob)  # fmt: skip
    described = [{"n": n, "plate": 0, "width": 1, "height": 1, "content_type": "image/png", "size_bytes": len(data)}]
    org.sql("UPDATE app.files SET thumbnails = thumbnails || %s::jsonb WHERE id = %s", json.dumps(described), file_id)


def put_object(stack: Stack, data: bytes) -> str:
    """A new object of the local store; its id."""
    with stack.connect() as db:
        row = db.execute("SELECT app.uuid7()::text").fetchone()
    assert row
    path = object_path(stack, row[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    for folder in (path.parent, path.parent.parent):
        folder.chmod(0o2777)
    path.write_bytes(data)
    path.chmod(0o644)
    return str(row[0])


# --- the disk -------------------------------------------------------------------------------------------------------


def storage(stack: Stack) -> Path:
    return stack.var / "storage"


def object_path(stack: Stack, blob_id: str) -> Path:
    return storage(stack) / "blobs" / blob_id[-4:-2] / blob_id[-2:] / blob_id


def staged(stack: Stack, file_id: str) -> list[str]:
    """The parts that arrived, by name."""
    return sorted(p.name for p in (storage(stack) / "staging").glob(f"{file_id}.*"))


def objects(stack: Stack) -> set[str]:
    return {p.name for p in (storage(stack) / "blobs").rglob("*") if p.is_file()}


def blob_of(org: Org, file_id: str) -> str:
    return str(org.sql("SELECT blob_id FROM app.files WHERE id = %s", file_id)[0][0])


def usage(org: Org) -> dict[str, int]:
    return dict(org.api.get("/v1/org/context", expect=200).json()["storage"])


# --- signatures -----------------------------------------------------------------------------------------------------


@dataclass
class Signer:
    """Signs what it is told to, with the server's key."""

    key: bytes

    @staticmethod
    def of(stack: Stack) -> Signer:
        return Signer((stack.var / "keys" / "url.key").read_bytes())

    def sign(self, purpose: str, org: str, file: str, part: int, size: int, exp: int, extra: str = "") -> str:
        text = f"soloprint {purpose} 1\n{org}\n{file}\n{part}\n{size}\n{exp}\n{extra}".encode()
        return base64.urlsafe_b64encode(
            hashlib.sha256(self.key).digest()[:4] + hmac.digest(self.key, text, "sha256")
        ).decode()

    def upload(self, org: str, file: str, part: int, size: int, lasts_s: int = 600) -> str:
        exp = int(time.time()) + lasts_s
        sig = self.sign("upload", org, file, part, size, exp)
        return f"/v1/uploads/{file}/{part}?org={org}&exp={exp}&size={size}&sig={sig}"

    def download(self, org: str, file: str, disposition: str = "attachment", lasts_s: int = 200) -> str:
        exp = int(time.time()) + lasts_s
        sig = self.sign("download", org, file, 0, 0, exp, disposition)
        return f"/v1/downloads/{file}?org={org}&exp={exp}&disposition={disposition}&sig={sig}"


def no_orphans(org: Org, before: set[str]) -> None:
    """Nothing has come since `before` that no row refers to. Other tests' objects may still be on their way."""
    def look() -> bool:
        found = objects(org.stack) - before
        known = {str(row[0]) for row in org.db.execute("SELECT blob_id FROM sec.blob_index").fetchall()}
        return found <= known

    until(look, what="every new object has its row")
