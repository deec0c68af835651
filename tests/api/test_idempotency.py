"""Idempotency-Key on POST: an effect happens once, its answer is kept, secrets in it only for their owner."""

from __future__ import annotations

import secrets
import threading
from typing import Any

import httpx
import pytest
from api import Api, tls
from world import Org

KEYS = "/v1/platform/api-keys"


def idem(value: str | None = None) -> dict[str, str]:
    return {"Idempotency-Key": value or secrets.token_hex(8)}


def printer() -> dict[str, Any]:
    return {"name": f"idem {secrets.token_hex(4)}", "protocol": "bambu", "enabled": False}


def replayable(answer: httpx.Response) -> tuple[int, bytes, str | None, str | None]:
    return answer.status_code, answer.content, answer.headers.get("Location"), answer.headers.get("ETag")


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/printers", {"name": "p", "protocol": "bambu", "enabled": False}), ("/v1/printer-groups", {"name": "g"}),
     (KEYS, {"name": "k", "capabilities": ["operations.read"]})],
)  # fmt: skip
def test_replay_is_byte_identical(org: Org, path: str, body: dict[str, Any]) -> None:
    headers = idem()
    first = org.api.post(path, body, headers=headers, expect=201)
    again = org.api.post(path, body, headers=headers, expect=201)
    assert replayable(first) == replayable(again)
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len([x for x in org.api.get(path).json()["data"] if x["name"] == body["name"]]) == 1


def test_replay_of_rotation(org: Org) -> None:
    key_id = org.key_id(org.make_key(["operations.read"]))
    headers = idem()
    first = org.api.post(f"{KEYS}/{key_id}/rotate", {}, headers=headers, expect=201)
    again = org.api.post(f"{KEYS}/{key_id}/rotate", {}, headers=headers, expect=201)
    assert first.content == again.content


def test_quotes_around_the_key_do_not_count(org: Org) -> None:
    body, value = printer(), secrets.token_hex(8)
    first = org.api.post("/v1/printers", body, headers=idem(f'"{value}"'), expect=201)
    assert org.api.post("/v1/printers", body, headers=idem(value), expect=201).content == first.content


def test_reuse_with_another_request(org: Org) -> None:
    headers = idem()
    org.api.post("/v1/printers", printer(), headers=headers, expect=201)
    answer = org.api.post("/v1/printers", printer(), headers=headers, expect="idempotency_key_reused")
    assert answer.status_code == 422


def test_another_operation_or_credential_is_another_scope(org: Org) -> None:
    headers = idem()
    org.api.post("/v1/printers", printer(), headers=headers, expect=201)
    org.api.post("/v1/printer-groups", {"name": "g"}, headers=headers, expect=201)
    body = printer()
    org.base.with_key(org.make_key()).post("/v1/printers", body, headers=headers, expect=201)


@pytest.mark.parametrize("value", ['""', "x" * 256, "a\tb", "é".encode()])
def test_malformed_keys(api: Api, value: str | bytes) -> None:
    answer = api.post("/v1/printers", printer(), headers=[("Idempotency-Key", value)])  # type: ignore[list-item]
    assert (answer.status_code, answer.json()["error"]) == (400, "idempotency_key_invalid"), answer.text


def test_longest_key(api: Api) -> None:
    api.post("/v1/printers", printer(), headers=idem("x" * 255), expect=201)


def test_refusals_before_the_effect_are_not_kept(org: Org) -> None:
    """Validation, rights and limits are judged anew."""
    headers = idem()
    org.api.post("/v1/printers", {"name": 1}, headers=headers, expect="validation_failed")
    org.api.post("/v1/printers", printer(), headers=headers, expect=201)


def test_conflicts_are_judged_anew(org: Org) -> None:
    group, headers = org.make_group(), idem()
    org.api.post("/v1/printer-groups", {"name": group["name"]}, headers=headers, expect="printer_group_already_exists")
    org.api.delete(f"/v1/printer-groups/{group['id']}", expect=204)
    org.api.post("/v1/printer-groups", {"name": group["name"]}, headers=headers, expect=201)


def test_concurrent_requests_have_one_effect(org: Org) -> None:
    body, headers, answers = printer(), idem(), []
    barrier = threading.Barrier(8)

    def one() -> None:
        with httpx.Client(verify=tls(org.stack.cacert), base_url=org.stack.url, timeout=30) as client:
            barrier.wait()
            answers.append(Api(client, org.base.contract, org.key).post("/v1/printers", body, headers=headers))

    threads = [threading.Thread(target=one) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    codes = sorted(a.status_code for a in answers)
    assert len(answers) == 8
    assert set(codes) <= {201, 409}
    assert 201 in codes
    assert {a.json()["error"] for a in answers if a.status_code == 409} <= {"idempotency_request_in_progress"}
    assert len({a.content for a in answers if a.status_code == 201}) == 1
    found = org.api.get("/v1/printers", params={"search": body["name"]}).json()["data"]
    assert len(found) == 1


def test_stored_secrets_are_sealed(org: Org) -> None:
    headers = idem()
    made = org.api.post(KEYS, {"name": "k", "capabilities": []}, headers=headers, expect=201).json()
    rows = org.sql("SELECT body, sealed, i::text FROM app.idempotency_keys i WHERE idem_key = %s",
                   headers["Idempotency-Key"])  # fmt: skip
    assert len(rows) == 1
    body, is_sealed, text = rows[0]
    assert is_sealed is True
    assert made["key"].encode() not in bytes(body)
    assert made["key"].encode().hex() not in text
    assert made["key"] not in text


def test_secret_of_a_printer_is_not_stored_with_the_answer(org: Org) -> None:
    headers, secret = idem(), f"code-{secrets.token_hex(8)}"
    org.api.post("/v1/printers", {**printer(), "secret": secret}, headers=headers, expect=201)
    rows = org.sql("SELECT encode(body, 'escape') FROM app.idempotency_keys WHERE idem_key = %s",
                   headers["Idempotency-Key"])  # fmt: skip
    assert secret not in rows[0][0]


def test_kept_for_a_day(org: Org) -> None:
    body, headers = printer(), idem()
    first = org.api.post("/v1/printers", body, headers=headers, expect=201).json()
    org.sql("UPDATE app.idempotency_keys SET expires_at = app.now() - interval '1 s' WHERE idem_key = %s",
            headers["Idempotency-Key"])  # fmt: skip
    again = org.api.post("/v1/printers", body, headers=headers, expect=201)
    assert again.json()["id"] != first["id"]
    assert "Idempotent-Replayed" not in again.headers


def test_a_revoked_key_replays_nothing(org: Org) -> None:
    key = org.make_key()
    api, body, headers = org.base.with_key(key), printer(), idem()
    api.post("/v1/printers", body, headers=headers, expect=201)
    org.api.delete(f"{KEYS}/{org.key_id(key)}", expect=204)
    api.post("/v1/printers", body, headers=headers, expect="revoked_api_key")


def test_ignored_where_it_means_nothing(org: Org) -> None:
    made = org.make_printer()
    headers = idem()
    for location in ("a", "b"):
        after = org.api.patch(f"/v1/printers/{made['id']}", {"location": location}, headers=headers, expect=200)
        assert after.json()["location"] == location
