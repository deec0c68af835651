"""What docs/webhooks.md and docs/events.md tell receivers is true: their code runs and their tables are complete."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from standardwebhooks import Webhook
from walk import built_contract

ROOT = Path(__file__).resolve().parent.parent.parent
DOC = (ROOT / "docs/webhooks.md").read_text()
# Of the standard's own tests.
SECRET, ID, AT = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
BODY, SIGNATURE = b'{"test": 2432232314}', "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOC, re.S)


def signed(at: int, signature: str = "") -> dict[str, str]:
    """The headers of a request with BODY that was signed at this time."""
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    ours = "v1," + base64.b64encode(hmac.digest(key, f"{ID}.{at}.".encode() + BODY, hashlib.sha256)).decode()
    return {"webhook-id": ID, "webhook-timestamp": str(at), "webhook-signature": signature or ours}


Verify = Callable[[str, dict[str, str], bytes], bool]


def by_python() -> Verify:
    names: dict[str, Any] = {}
    exec(next(b for b in blocks("python") if "def verify(" in b), names)  # noqa: S102 (our own documentation)
    return lambda secret, headers, body: bool(names["verify"](secret, headers, body))


def by_node() -> Verify:
    node = shutil.which("node")
    if not node:
        pytest.skip("node is not installed")

    def verify(secret: str, headers: dict[str, str], body: bytes) -> bool:
        call = "process.stdout.write(String(verify(process.argv[1], JSON.parse(process.argv[2]), Buffer.from(process.argv[3]))));"
        done = subprocess.run([node, "-e", blocks("js")[0] + call, secret, json.dumps(headers), body.decode()], capture_output=True,
                              text=True, timeout=30, check=False)  # fmt: skip
        assert done.stdout in ("true", "false"), done.stderr
        return done.stdout == "true"

    return verify


@pytest.mark.parametrize("make", [by_python, by_node])
def test_documented_verifiers(make: Callable[[], Verify]) -> None:
    verify, now = make(), int(time.time())
    good = signed(now)
    Webhook(SECRET).verify(BODY, good)  # so says the standard's own library
    assert verify(SECRET, good, BODY)
    assert verify(SECRET, {**good, "webhook-signature": f"v1,AAAA v1a,{SIGNATURE[3:]} {good['webhook-signature']}"}, BODY)
    other = "whsec_" + base64.b64encode(b"x" * 32).decode()
    for secret, headers, body in (
        (SECRET, good, BODY + b" "), (other, good, BODY), (SECRET, {**good, "webhook-id": "msg_x"}, BODY),
        (SECRET, {**good, "webhook-timestamp": str(now + 1)}, BODY), (SECRET, signed(now - 400), BODY),
        (SECRET, signed(now + 400), BODY), (SECRET, {**good, "webhook-signature": "v2" + good["webhook-signature"][2:]}, BODY),
        (SECRET, {**good, "webhook-signature": good["webhook-signature"][:-2]}, BODY),
        (SECRET, {**good, "webhook-signature": SIGNATURE}, BODY), (SECRET, {**good, "webhook-signature": ""}, BODY),
    ):  # fmt: skip
        assert not verify(secret, headers, body), (headers, body)


def test_documented_ed25519_verifier() -> None:
    names: dict[str, Any] = {}
    exec(next(b for b in blocks("python") if "def verify_ed25519(" in b), names)  # noqa: S102 (our own documentation)
    verify, now, key = names["verify_ed25519"], int(time.time()), Ed25519PrivateKey.generate()
    public = "whpk_" + base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
    signature = "v1a," + base64.b64encode(key.sign(f"{ID}.{now}.".encode() + BODY)).decode()
    good = signed(now, signature)
    assert verify(public, good, BODY)
    assert verify(public, {**good, "webhook-signature": f"{SIGNATURE} v1a,AAAA {signature}"}, BODY)
    assert not verify(public, good, BODY + b" ")
    assert not verify(public, {**good, "webhook-signature": "v1" + signature[3:]}, BODY)
    assert not verify(public, {**good, "webhook-timestamp": str(now - 400)}, BODY)


def test_documented_shell(tmp_path: Path) -> None:
    (tmp_path / "body.json").write_bytes(BODY)
    script = next(b for b in blocks("sh") if "openssl dgst" in b)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False,
                          env={**os.environ, "secret": SECRET, "id": ID, "timestamp": str(AT)})  # fmt: skip
    assert done.stdout.strip() == SIGNATURE, done.stderr


def test_every_type_is_in_the_table() -> None:
    doc = (ROOT / "docs/events.md").read_text()
    rows = re.findall(r"^\| (\*?)`([a-z_]+\.[a-z_]+)`\*? \| (.*?) \| `([a-z_.]+)` \| (\w+) \|$", doc, re.M)
    told = {name: (description, capability, severity, not star) for star, name, description, capability, severity in rows}
    posts = {name: item["post"] for name, item in built_contract().doc["webhooks"].items()}
    assert told == {n: (p["description"], p["x-capability"], p["x-severity"], p["x-available"]) for n, p in posts.items()}


def test_errors_of_webhooks_are_documented() -> None:
    contract = built_contract()
    own = {c for op in contract.operations if "webhook" in op.path for c in op.errors}
    general = {c for op in contract.operations if op.id == "listPrinters" for c in op.errors}
    general |= {c for op in contract.operations if op.id == "createPrinter" for c in op.errors} - {"unknown_reference", "validation_failed"}
    for code in own - general:
        assert f"`{code}`" in DOC, code
