"""Webhooks and notification rules without the API: a database of its own, secrets sealed as the API seals them, couriers in
the small internet, and what its receivers saw."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from internet import Internet
from keys import CAPABILITIES
from private_pg import Ctl, Postgres
from signals import signal_one
from stack import BUILD
from standardwebhooks import Webhook
from wait import until
from world import Org, make_org

INFO = b"soloprint sealed secret v1"
RAW = (Encoding.Raw, PublicFormat.Raw)
_numbers = count(1)


# --- secrets ----------------------------------------------------------------------------------------------------------


class Key:
    """The courier's key pair."""

    def __init__(self, folder: Path) -> None:
        self.private = X25519PrivateKey.generate()
        self.path = folder / "courier.key"
        self.path.write_bytes(self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self.path.chmod(0o600)

    def seal(self, table: str, column: str, org: str, row: str, plain: str) -> bytes:
        """As lib/auth/seal.c."""
        public, once = self.private.public_key().public_bytes(*RAW), X25519PrivateKey.generate()
        mine = once.public_key().public_bytes(*RAW)
        okm = HKDF(SHA256(), 44, mine + public, INFO).derive(once.exchange(self.private.public_key()))
        digest = Hash(SHA256())
        digest.update(public)
        place = f"{table}|{column}|{org}|{row}".encode()
        sealed = AESGCM(okm[:32]).encrypt(okm[32:], plain.encode(), place)
        return b"\x01" + digest.finalize()[:4] + mine + sealed


def hmac_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def ed25519_secret() -> tuple[str, str]:
    """Secret and public key."""
    key = Ed25519PrivateKey.generate()
    seed = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    public = key.public_key().public_bytes(*RAW)
    return "whsk_" + base64.b64encode(seed + public).decode(), "whpk_" + base64.b64encode(public).decode()


def verify_ed25519(public: str, request: dict[str, Any]) -> None:
    """InvalidSignature when it is not signed by this key."""
    headers = request["headers"]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{request['body']}".encode()
    signature = next(s for s in headers["webhook-signature"].split(" ") if s.startswith("v1a,"))
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
    key.verify(base64.b64decode(signature.removeprefix("v1a,")), signed)


# --- the database -----------------------------------------------------------------------------------------------------


class Place:
    """A database of its own, an internet of its own, a key pair."""

    def __init__(self, pg: Postgres, template: str, net: Internet) -> None:
        name = f"hooks{os.getpid()}_{next(_numbers)}"
        with pg.connect("postgres") as db:
            db.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        self.pg, self.net, self.name = pg, net, name
        Ctl(pg, name).run("bootstrap", user="postgres")
        self.db = pg.connect(name)
        self.key = Key(net.folder)
        self.couriers: list[Courier] = []

    def close(self) -> None:
        for courier in self.couriers:
            courier.kill()
        self.db.close()

    def org(self) -> Org:
        return make_org(None, self.db, None)  # type: ignore[arg-type]

    def courier(self, **env: str) -> Courier:
        self.couriers.append(Courier(self, **env))
        return self.couriers[-1]


@contextlib.contextmanager
def place(pg: Postgres, template: str, folder: Path) -> Iterator[Place]:
    with Internet(folder) as net:
        made = Place(pg, template, net)
        try:
            yield made
        finally:
            made.close()


class Courier:
    """soloprint-courier in the small internet."""

    def __init__(self, place: Place, **env: str) -> None:
        self.log = place.net.folder / f"courier-{secrets.token_hex(4)}"
        settings = {
            "SOLOPRINT_DB": place.pg.conninfo(place.name, "soloprint_courier"), "SOLOPRINT_WORKERS": "1",
            "SOLOPRINT_FETCH_CA": str(place.net.ca), "SOLOPRINT_COURIER_KEY": str(place.key.path),
            "SOLOPRINT_PUBLIC_URL": "https://own.web.test",
        }  # fmt: skip
        command = place.net.command(BUILD / "bin/soloprint-courier")
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(command, env={**os.environ, **settings, **env}, stderr=out)
        until(lambda: self.said("ready"), what=f"the courier is ready: {self.log.read_text()}")

    def said(self, msg: str, **fields: Any) -> list[dict[str, Any]]:
        lines = [json.loads(x) for x in self.log.read_text().splitlines() if x.startswith("{")]
        return [x for x in lines if x["msg"] == msg and all(x.get(k) == v for k, v in fields.items())]

    def processes(self) -> list[int]:
        """Its children, in no order: publisher, senders, workers."""
        pid = self.process.pid
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def stop(self) -> float:
        """SIGTERM; how long it took."""
        at = time.monotonic()
        self.process.terminate()
        assert self.process.wait(15) == 0
        return time.monotonic() - at

    def kill(self) -> None:
        if self.process.poll() is not None:
            return
        for pid in (self.process.pid, *self.processes()):
            with contextlib.suppress(ProcessLookupError):
                signal_one(pid, signal.SIGKILL)
        self.process.wait(10)


class Hook:
    """A webhook and its secrets."""

    def __init__(self, place: Place, org: Org, path: str, host: str = "web.test", url: str = "", secret: str = "",
                 public: str | None = None, headers: dict[str, str] | None = None, **columns: Any) -> None:  # fmt: skip
        self.place, self.org, self.id = place, org, str(uuid.uuid4())
        self.url = url or f"https://{host}{path}"
        row = {
            "org_id": org.id, "id": self.id, "name": f"Hook {self.id[:8]}", "endpoint_url": self.url, "subscriptions": ["printer.*"],
            "signature": "ed25519" if public else "hmac", "public_key": public, "retry_backoff_seconds": 1,
            "capabilities": list(CAPABILITIES), **columns,
        }  # fmt: skip
        if headers:
            row["headers_sealed"] = place.key.seal("webhooks", "headers", org.id, self.id, json.dumps(headers))
            row["header_names"] = list(headers)
        names = ", ".join(row)
        org.sql(f"INSERT INTO app.webhooks ({names}) VALUES ({', '.join(['%s'] * len(row))})", *row.values())
        self.secrets: list[str] = []
        self.add_secret(secret or hmac_secret())

    def add_secret(self, secret: str) -> None:
        row = str(uuid.uuid4())
        sealed = self.place.key.seal("webhook_secrets", "secret", self.org.id, row, secret)
        self.org.sql(
            "INSERT INTO app.webhook_secrets (org_id, webhook_id, id, secret_sealed) VALUES (%s, %s, %s, %s)",
            self.org.id, self.id, row, sealed,
        )  # fmt: skip
        self.secrets.append(secret)

    def requests(self) -> list[dict[str, Any]]:
        """What came to its path."""
        return [x for x in self.place.net.lines("request", method="POST") if self.url.endswith(x["path"])]

    def deliveries(self) -> list[dict[str, Any]]:
        rows = self.org.sql("SELECT to_jsonb(d) FROM app.webhook_deliveries AS d WHERE d.webhook_id = %s ORDER BY d.id", self.id)
        return [dict(r[0]) for r in rows]

    def attempts(self, delivery: str) -> list[dict[str, Any]]:
        rows = self.org.sql("SELECT to_jsonb(a) FROM app.webhook_attempts AS a WHERE a.delivery_id = %s ORDER BY a.attempt", delivery)
        return [dict(r[0]) for r in rows]

    def hurry(self) -> None:
        """The wait between two attempts is over."""
        self.place.db.execute("UPDATE sec.delivery_index SET due_at = now() WHERE endpoint_id = %s AND courier_id IS NULL", [self.id])
        self.place.db.execute("UPDATE sec.endpoint_queue SET wake_at = now() WHERE endpoint_id = %s", [self.id])

    def ended(self, status: str, n: int = 1, timeout_s: float = 20) -> list[dict[str, Any]]:
        """Its n deliveries have ended so; attempts do not wait."""

        def over() -> list[dict[str, Any]]:
            self.hurry()
            found = self.deliveries()
            return found if len(found) == n and all(d["status"] != "queued" for d in found) else []

        found = until(over, timeout_s, 0.05, what=f"deliveries end: {self.deliveries()}")
        assert [d["status"] for d in found] == [status] * n, found
        return found

    def attempted(self, attempts: int) -> dict[str, Any]:
        """Its one delivery, after so many attempts."""
        return until(
            lambda: next((d for d in self.deliveries() if d["attempts"] >= attempts), None), 20, what=f"attempt {attempts}"
        )


class Rule:
    """A notification rule. target: the URL that it sends to; else emails."""

    def __init__(self, place: Place, org: Org, channel: str, target: str = "", name: str = "Failures", **columns: Any) -> None:
        self.place, self.org, self.id = place, org, str(uuid.uuid4())
        row = {
            "org_id": org.id, "id": self.id, "name": name, "events": ["printer.*"], "channel": channel,
            "capabilities": list(CAPABILITIES), **columns,
        }  # fmt: skip
        if target:
            row["target_sealed"] = place.key.seal("notification_rules", "target", org.id, self.id, target)
            row["target_host"] = "web.test"
        names = ", ".join(row)
        org.sql(f"INSERT INTO app.notification_rules ({names}) VALUES ({', '.join(['%s'] * len(row))})", *row.values())

    def messages(self) -> list[dict[str, Any]]:
        rows = self.org.sql("SELECT to_jsonb(m) FROM app.notification_messages AS m WHERE m.rule_id = %s ORDER BY m.id", self.id)
        return [dict(r[0]) for r in rows]

    def attempted(self, attempts: int = 1) -> dict[str, Any]:
        """Its first message, after so many attempts; they do not wait."""

        def tried() -> dict[str, Any] | None:
            found = self.messages()
            if found and found[0]["attempts"] >= attempts:
                return found[0]
            self.place.db.execute("UPDATE sec.delivery_index SET due_at = now() WHERE endpoint_id = %s AND courier_id IS NULL", [self.id])
            self.place.db.execute("UPDATE sec.endpoint_queue SET wake_at = now() WHERE endpoint_id = %s", [self.id])
            return None

        return until(tried, 20, 0.05, what=f"attempt {attempts}: {self.messages()}")


def emit(org: Org, n: int = 1, kind: str = "printer.online", capability: str = "operations.read", **data: Any) -> None:
    """Events, by the outbox."""
    said = {"printer_id": str(uuid.uuid4()), "name": "Mk4", **data}
    org.sql(
        "SELECT sec.tell(%s, %s, %s, 'printer', %s, %s) FROM generate_series(1, %s)",
        org.id, kind, capability, said["printer_id"], json.dumps(said), n,
    )  # fmt: skip


def verify(secret: str, request: dict[str, Any]) -> dict[str, Any]:
    """The event, by the library that receivers use."""
    return dict(Webhook(secret).verify(request["body"], request["headers"]))


class NodeReceiver:
    """The same in Node, with the library from npm."""

    def __init__(self) -> None:
        self.folder = BUILD / "receiver"

    def unusable(self) -> str:
        """Why it cannot be had; "" when it can."""
        if not shutil.which("npm"):
            return "npm is not installed"
        shutil.copytree(Path(__file__).with_name("receiver"), self.folder, dirs_exist_ok=True)
        if (self.folder / "node_modules/standardwebhooks").is_dir():
            return ""
        try:
            done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=self.folder,
                                  capture_output=True, text=True, timeout=120, check=False)  # fmt: skip
        except subprocess.TimeoutExpired:
            return "npm cannot get it"
        return done.stderr.strip() if done.returncode else ""

    def judge(self, *given: tuple[str, dict[str, Any]]) -> list[str]:
        """'good <type>' or 'bad <why>' for each secret and request."""
        lines = [json.dumps({"secret": s, "headers": r["headers"], "body": r["body"]}) for s, r in given]
        done = subprocess.run(["node", "verify.js"], cwd=self.folder, input="\n".join(lines) + "\n", capture_output=True,
                              text=True, timeout=60, check=True)  # fmt: skip
        return done.stdout.splitlines()


def connect(place: Place) -> psycopg.Connection[Any]:
    return place.pg.connect(place.name)
