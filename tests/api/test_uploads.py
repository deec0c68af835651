"""Uploads: announced, sent to signed URLs through the real nginx, completed."""

from __future__ import annotations

import secrets
import threading
from typing import Any

import files
import httpx
import pytest
from api import fields, tls
from files import PART, Signer
from stack import Stack
from wait import until
from wire import Wire
from world import Org


@pytest.fixture(scope="module")
def signer(stack: Stack) -> Signer:
    return Signer.of(stack)


# --- register -------------------------------------------------------------------------------------------------------


def test_register(org: Org) -> None:
    answer = org.api.post("/v1/files/register", {"filename": "a.stl", "size_bytes": 12}, expect=201)
    body = answer.json()
    upload = body["upload"]
    assert answer.headers["Location"] == f"/v1/files/{body['file_id']}"
    assert (upload["method"], upload["headers"], upload["max_bytes"]) == ("PUT", {}, 12)
    assert upload["parts"] == [{"n": 1, "url": upload["url"], "size": 12}]
    assert upload["url"].startswith(f"{org.stack.url}/v1/uploads/{body['file_id']}/1?")
    assert answer.headers["Cache-Control"] == "no-store"
    got = org.api.get(f"/v1/files/{body['file_id']}").json()
    assert (got["status"], got["kind"], got["content_type"]) == ("pending_upload", "stl", "model/stl")
    assert (got["size_bytes"], got["sha256"], got["usable_for"]) == (12, None, [])


@pytest.mark.parametrize(("size", "parts"), [
    (1, [1]), (PART, [PART]), (PART + 1, [PART, 1]), (3 * PART, [PART] * 3), (64 << 30, [PART] * 1024),
])  # fmt: skip
def test_parts(org: Org, size: int, parts: list[int]) -> None:
    upload = files.register(org, size)["upload"]
    assert [p["size"] for p in upload["parts"]] == parts
    assert [p["n"] for p in upload["parts"]] == list(range(1, len(parts) + 1))
    assert (upload["url"] is None) == (len(parts) > 1)
    assert len({p["url"] for p in upload["parts"]}) == len(parts)


@pytest.mark.parametrize(("change", "pointer"), [
    ({"size_bytes": 0}, "/size_bytes"), ({"size_bytes": -1}, "/size_bytes"), ({"size_bytes": (64 << 30) + 1}, "/size_bytes"),
    ({"size_bytes": "1"}, "/size_bytes"), ({"filename": "../x"}, "/filename"), ({"filename": "x\u0001"}, "/filename"),
    ({"sha256": "AB" * 32}, "/sha256"), ({"sha256": "ab"}, "/sha256"), ({"content_type": "html"}, "/content_type"),
    ({"path": "/etc/passwd"}, "/path"),
])  # fmt: skip
def test_bad_registrations(org: Org, change: dict[str, Any], pointer: str) -> None:
    answer = org.api.post("/v1/files/register", {"filename": "a.stl", "size_bytes": 1, **change}, expect="validation_failed")
    assert list(fields(answer)) == [pointer]


def test_the_same_registration_twice_is_one(org: Org) -> None:
    headers = {"Idempotency-Key": secrets.token_hex(8)}
    body = {"filename": "a.stl", "size_bytes": 7}
    first = org.api.post("/v1/files/register", body, headers=headers, expect=201)
    again = org.api.post("/v1/files/register", body, headers=headers, expect=201)
    assert first.content == again.content
    assert again.headers["Idempotent-Replayed"] == "true"
    assert files.usage(org)["reserved_bytes"] == 7
    stored = org.sql("SELECT position('sig='::bytea IN body), sealed FROM app.idempotency_keys WHERE org_id = %s", org.id)
    assert stored == [(0, True)]
    files.put(org, first.json()["upload"]["url"], b"1234567", 201)


def test_quota_is_reserved_before_bytes_flow(org: Org) -> None:
    org.sql("UPDATE app.organizations SET storage_quota_bytes = 1000 WHERE org_id = %s", org.id)
    made = files.register(org, 600)
    org.api.post("/v1/files/register", {"filename": "b", "size_bytes": 401}, expect="storage_quota_exceeded")
    assert files.usage(org) == {"quota_bytes": 1000, "stored_bytes": 0, "reserved_bytes": 600}
    files.register(org, 400)
    files.put(org, made["upload"]["url"], files.gcode(600), 201)
    files.complete(org, made["file_id"])
    assert files.usage(org) == {"quota_bytes": 1000, "stored_bytes": 600, "reserved_bytes": 400}


def test_a_quota_that_was_lowered_meanwhile(org: Org) -> None:
    made = files.register(org, 600)
    files.put(org, made["upload"]["url"], files.gcode(600), 201)
    org.sql("UPDATE app.organizations SET storage_quota_bytes = 599 WHERE org_id = %s", org.id)
    files.complete(org, made["file_id"], "storage_quota_exceeded")
    assert org.api.get(f"/v1/files/{made['file_id']}").json()["status"] == "pending_upload"
    org.sql("UPDATE app.organizations SET storage_quota_bytes = 600 WHERE org_id = %s", org.id)
    files.complete(org, made["file_id"])


# --- sending --------------------------------------------------------------------------------------------------------


def test_put_and_complete(org: Org) -> None:
    data = files.gcode(5000)
    made = files.register(org, 5000, sha256=files.sha256(data))
    files.put(org, made["upload"]["url"], data, 201)
    assert files.staged(org.stack, made["file_id"]) == [f"{made['file_id']}.1"]
    done = files.complete(org, made["file_id"]).json()
    assert done["status"] in ("uploaded", "analyzing", "ready")
    assert (done["size_bytes"], done["sha256"]) == (5000, files.sha256(data))
    assert files.staged(org.stack, made["file_id"]) == []
    assert files.object_path(org.stack, files.blob_of(org, made["file_id"])).read_bytes() == data
    assert files.complete(org, made["file_id"]).json()["id"] == made["file_id"]
    files.put(org, made["upload"]["url"], data, "file_status_conflict")
    files.status_becomes(org, made["file_id"], "ready")


def test_a_part_can_be_sent_again_and_the_last_one_counts(org: Org) -> None:
    first, last = files.gcode(900), files.gcode(900)
    made = files.register(org, 900)
    files.put(org, made["upload"]["url"], first, 201)
    files.put(org, made["upload"]["url"], last, 204)
    assert files.complete(org, made["file_id"]).json()["sha256"] == files.sha256(last)


@pytest.mark.parametrize("sent", [0, 1, 899, 901, 60000])
def test_another_length_than_announced_is_refused(org: Org, sent: int) -> None:
    made = files.register(org, 900)
    files.put(org, made["upload"]["url"], b"x" * sent, "upload_size_mismatch")
    assert files.staged(org.stack, made["file_id"]) == []


def test_more_than_any_part_is_refused(org: Org) -> None:
    made = files.register(org, 900)
    with Wire(org.stack) as wire:
        wire.send_head("PUT", files.path_of(made["upload"]["url"]), Content_Length=str(PART + 1))
        assert wire.answer()[0] == 413


def test_no_length_is_refused(org: Org) -> None:
    made = files.register(org, 900)

    def pieces() -> Any:
        yield b"x" * 900

    files.put(org, made["upload"]["url"], pieces(), "length_required")  # type: ignore[arg-type]
    assert files.staged(org.stack, made["file_id"]) == []


def test_refused_before_the_first_byte(org: Org) -> None:
    """The answer comes while the client still holds its body back."""
    made = files.register(org, 900)
    path = files.path_of(made["upload"]["url"])
    for target, length, status in ((path[:-1] + "!", 900, 403), (path, 901, 422), (path, 60 << 20, 422)):
        with Wire(org.stack) as wire:
            wire.send_head("PUT", target, Content_Length=str(length))
            assert wire.answer()[0] == status, target
    with Wire(org.stack) as wire:
        wire.send_head("PUT", path, Content_Length="900", Expect="100-continue")
        assert " 100 " in wire.status_line()


def test_a_broken_connection_leaves_nothing(org: Org) -> None:
    made = files.register(org, 1 << 20)
    wire = Wire(org.stack)
    wire.send_head("PUT", files.path_of(made["upload"]["url"]), Content_Length=str(1 << 20))
    wire.send(b"x" * 300000)
    wire.tls.close()
    assert files.complete(org, made["file_id"], "upload_incomplete").json()["details"] == "part 1 has not arrived"
    assert files.staged(org.stack, made["file_id"]) == []
    files.put(org, made["upload"]["url"], b"y" * (1 << 20), 201)
    files.complete(org, made["file_id"])


# --- signatures -----------------------------------------------------------------------------------------------------


def test_urls_signed_by_another_program_are_good(org: Org, signer: Signer) -> None:
    made = files.register(org, 30)
    files.put(org, signer.upload(org.id, made["file_id"], 1, 30), b"x" * 30, 201)


def test_a_thousand_bad_signatures(org: Org) -> None:
    """Every character of the URL counts; whatever is changed, nothing arrives."""
    made = files.register(org, 20)
    path = files.path_of(made["upload"]["url"])
    alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
    seen: dict[tuple[int, str], int] = {}
    start = len(f"/v1/uploads/{made['file_id']}/1?")
    for n in range(1000):
        at = start + n % (len(path) - start)
        char = alphabet[n % 64]
        if path[at] in (char, "&", "=") or at - start < 4:
            continue
        answer = org.base.request("PUT", path[:at] + char + path[at + 1 :], content=b"x" * 20)
        key = (answer.status_code, answer.json()["error"])
        seen[key] = seen.get(key, 0) + 1
    # A changed name of a parameter is none that there is.
    assert set(seen) <= {(403, "invalid_signature"), (400, "unknown_parameter"), (400, "invalid_parameter")}
    assert seen[(403, "invalid_signature")] > 700
    assert files.staged(org.stack, made["file_id"]) == []


def test_signatures_do_not_fit_elsewhere(org: Org, other_org: Org, signer: Signer) -> None:
    made, theirs = files.register(org, 20), files.register(other_org, 20)
    mine, foreign = files.path_of(made["upload"]["url"]), files.path_of(theirs["upload"]["url"])
    query = mine.split("?")[1]
    pairs = query.split("&")
    download = signer.download(org.id, made["file_id"]).split("sig=")[1]
    wrong = [
        f"/v1/uploads/{theirs['file_id']}/1?{query}",
        f"/v1/uploads/{made['file_id']}/2?{query}",
        f"/v1/uploads/{made['file_id']}/01?{query}",
        f"/v1/uploads/{made['file_id'].upper()}/1?{query}",
        mine.replace(org.id, other_org.id),
        foreign.replace(other_org.id, org.id),
        mine.replace("size=20", "size=21"),
        mine.replace("size=20", "size=020"),
        f"/v1/uploads/{made['file_id']}/1?{'&'.join(reversed(pairs))}",
        f"/v1/uploads/{made['file_id']}/1?{'&'.join(pairs[1:])}",
        f"/v1/uploads/{made['file_id']}/1",
        f"{mine.split('sig=')[0]}sig={download}",
        mine + "=",
        mine.replace("&sig=", "&sig=%41"),
        mine.replace(made["file_id"][:1], "%3" + made["file_id"][:1], 1),
        signer.upload(org.id, made["file_id"], 2, 20),
        Signer(b"\x00" * 32).upload(org.id, made["file_id"], 1, 20),
    ]
    for target in wrong:
        answer = org.base.request("PUT", target, content=b"x" * 20)
        assert answer.status_code in (400, 403, 404), (target, answer.text)
        assert answer.json()["error"] in ("invalid_signature", "invalid_parameter", "not_found"), (target, answer.text)
    assert files.staged(org.stack, made["file_id"]) == files.staged(org.stack, theirs["file_id"]) == []


def test_expired_urls(org: Org, signer: Signer) -> None:
    made = files.register(org, 20)
    expired = signer.upload(org.id, made["file_id"], 1, 20, lasts_s=-1)
    files.put(org, expired, b"x" * 20, "signature_expired")
    forged = expired[:-1] + ("A" if expired[-1] != "A" else "B")
    files.put(org, forged, b"x" * 20, "invalid_signature")


def test_good_signatures_of_nothing(org: Org, signer: Signer) -> None:
    nobody = "0193481c-9a10-7c4d-9b1e-0a1b2c3d4e5f"
    files.put(org, signer.upload(org.id, nobody, 1, 20), b"x" * 20, "resource_not_found")
    files.put(org, signer.upload(nobody, nobody, 1, 20), b"x" * 20, "resource_not_found")


def test_suspended(org: Org) -> None:
    made = files.register(org, 20)
    org.sql("UPDATE app.organizations SET state = 'suspended' WHERE org_id = %s", org.id)
    files.put(org, made["upload"]["url"], b"x" * 20, "organization_suspended")


def test_problem_json_when_asked_for(org: Org) -> None:
    made = files.register(org, 20)
    answer = files.put(org, made["upload"]["url"], b"x", headers={"Accept": "application/problem+json"})
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["error"]) == (422, "upload_size_mismatch")


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PATCH"])
def test_other_methods(org: Org, method: str) -> None:
    made = files.register(org, 20)
    answer = org.base.request(method, files.path_of(made["upload"]["url"]), content=b"x" * 20, expect=405)
    assert "PUT" in answer.headers["Allow"]


# --- complete -------------------------------------------------------------------------------------------------------


def test_complete_before_anything_arrived(org: Org) -> None:
    made = files.register(org, 20)
    files.complete(org, made["file_id"], "upload_incomplete")
    files.put(org, made["upload"]["url"], b"x" * 20, 201)
    files.complete(org, made["file_id"], 200)


def test_another_digest_can_be_put_right(org: Org) -> None:
    data = files.gcode(400)
    made = files.register(org, 400, sha256=files.sha256(data))
    files.put(org, made["upload"]["url"], files.gcode(400), 201)
    answer = files.complete(org, made["file_id"], "upload_digest_mismatch")
    assert answer.status_code == 422
    assert org.api.get(f"/v1/files/{made['file_id']}").json()["status"] == "pending_upload"
    files.put(org, made["upload"]["url"], data, 204)
    assert files.complete(org, made["file_id"]).json()["sha256"] == files.sha256(data)


def test_a_declared_digest_stands_for_nothing(org: Org) -> None:
    """Who knows a digest does not have the content."""
    data = files.gcode(400)
    files.upload(org, data)
    made = files.register(org, 400, sha256=files.sha256(data))
    files.complete(org, made["file_id"], "upload_incomplete")


@pytest.mark.parametrize(("parts", "code"), [
    ([{"n": 1}], ""), ([{"n": 1, "size": 20}], ""), ([{"n": 1, "size": 20}, {"n": 1, "size": 20}], ""),
    ([], "upload_incomplete"), ([{"n": 1, "size": 19}], "upload_size_mismatch"),
    ([{"n": 1}, {"n": 2}], "upload_size_mismatch"), ([{"n": 0}], "validation_failed"), ([{}], "validation_failed"),
    ([{"n": 1, "etag": "x"}], "validation_failed"), ("1", "validation_failed"),
])  # fmt: skip
def test_the_list_of_parts(org: Org, parts: Any, code: str) -> None:
    made = files.register(org, 20)
    files.put(org, made["upload"]["url"], b"x" * 20, 201)
    files.complete(org, made["file_id"], code or 200, json={"parts": parts})


def test_two_at_once_end_as_one(org: Org) -> None:
    for _ in range(5):
        data = files.gcode(200000)
        made = files.register(org, len(data))
        files.put(org, made["upload"]["url"], data, 201)
        answers: list[Any] = []
        ready = threading.Barrier(4)

        def one(file_id: str, ready: threading.Barrier = ready, answers: list[Any] = answers) -> None:
            with httpx.Client(base_url=org.stack.url, verify=tls(org.stack.cacert), timeout=30) as http:
                http.headers["Authorization"] = f"Bearer {org.key}"
                ready.wait(10)
                answers.append(http.post(f"/v1/files/{file_id}/complete"))

        threads = [threading.Thread(target=one, args=(made["file_id"],)) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(30)
        assert [a.status_code for a in answers] == [200] * 4, [a.text for a in answers]
        assert len({a.json()["sha256"] for a in answers}) == 1
        analyses = "SELECT count(*) FROM app.jobs WHERE kind = 'file.analyze' AND resource_id = %s"
        assert org.sql(analyses, made["file_id"]) == [(1,)]
    files.jobs_done(org, "file.analyze")
    blobs = {str(r[0]) for r in org.sql("SELECT id FROM app.blobs WHERE org_id = %s", org.id)}
    assert blobs <= files.objects(org.stack)


def test_the_same_content_is_kept_once(org: Org, other_org: Org) -> None:
    data = files.gcode(3000)
    before = len(files.objects(org.stack))
    one, two, other = (files.upload(o, data) for o in (org, org, other_org))
    assert one["id"] != two["id"]
    assert files.blob_of(org, one["id"]) == files.blob_of(org, two["id"]) != files.blob_of(other_org, other["id"])
    for o in (org, other_org):
        files.jobs_done(o, "file.analyze")
    blobs = {files.blob_of(org, one["id"]), files.blob_of(other_org, other["id"])}
    assert blobs <= files.objects(org.stack)
    assert len(files.objects(org.stack)) >= before + 2
    assert files.usage(org)["stored_bytes"] == 3000


def test_complete_of_what_is_none(org: Org, other_org: Org) -> None:
    made = files.register(org, 20)
    files.complete(other_org, made["file_id"], "resource_not_found")
    imported = org.sql("INSERT INTO app.files (filename, kind, content_type, source) VALUES ('u', 'other', 'a/b', 'url') RETURNING id")
    files.complete(org, str(imported[0][0]), "file_status_conflict")
    stored = files.make_file(org)
    org.api.delete(f"/v1/files/{stored}", expect=204)
    files.complete(org, stored, "file_status_conflict")


# --- large files ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large() -> bytes:
    return secrets.token_bytes(1 << 20) * 64 + secrets.token_bytes(50000)


def test_a_file_in_parts(org: Org, large: bytes) -> None:
    made = files.register(org, len(large), "large.stl", sha256=files.sha256(large))
    parts = made["upload"]["parts"]
    files.put(org, parts[1]["url"], large[PART:], 201)
    files.complete(org, made["file_id"], "upload_incomplete")
    files.put(org, parts[0]["url"], b"\x00" * PART, 201)
    files.put(org, parts[0]["url"], large[:PART], 204)
    answer = files.complete(org, made["file_id"], 202, json={"parts": [{"n": 2}, {"n": 1, "size": PART}]})
    operation = answer.json()["operation_id"]
    assert answer.headers["Location"] == f"/v1/operations/{operation}"
    ended = files.operation_ended(org, operation)
    assert (ended["status"], ended["kind"], ended["result"]) == ("succeeded", "file.finalize", {"file_id": made["file_id"]})
    assert ended["resource"] == {"type": "file", "id": made["file_id"]}
    got = org.api.get(f"/v1/files/{made['file_id']}").json()
    assert (got["size_bytes"], got["sha256"]) == (len(large), files.sha256(large))
    assert files.staged(org.stack, made["file_id"]) == []
    assert files.complete(org, made["file_id"]).json()["id"] == made["file_id"]
    assert files.usage(org)["reserved_bytes"] == 0
    url = org.api.get(f"/v1/files/{made['file_id']}/download").json()["url"]
    assert org.base.get(files.path_of(url), expect=200).content == large


def test_completing_twice_is_one_operation(org: Org, large: bytes) -> None:
    made = files.upload_parts(org, large)
    one, two = (files.complete(org, made["file_id"], None) for _ in range(2))
    assert one.status_code == 202
    if two.status_code == 202:  # else it has ended meanwhile
        assert one.json()["operation_id"] == two.json()["operation_id"]
    files.operation_ended(org, one.json()["operation_id"])


def test_a_large_file_that_does_not_fit_stays_open(org: Org, large: bytes) -> None:
    made = files.register(org, len(large), sha256="0" * 64)
    for part in made["upload"]["parts"]:
        files.put(org, part["url"], large[(part["n"] - 1) * PART :][: part["size"]], 201)
    ended = files.operation_ended(org, files.complete(org, made["file_id"], 202).json()["operation_id"])
    assert (ended["status"], ended["error"]["code"]) == ("failed", "upload_digest_mismatch")
    assert org.api.get(f"/v1/files/{made['file_id']}").json()["status"] == "pending_upload"
    assert files.usage(org)["reserved_bytes"] == len(large)
    org.sql("UPDATE app.uploads SET sha256 = decode(%s, 'hex') WHERE file_id = %s", files.sha256(large), made["file_id"])
    part = made["upload"]["parts"][1]
    files.put(org, part["url"], large[PART:], 204)
    again = files.operation_ended(org, files.complete(org, made["file_id"], 202).json()["operation_id"])
    assert again["status"] == "succeeded"


def test_cancelled_it_stays_open(org: Org, large: bytes) -> None:
    """Before a courier has come to it."""
    made = files.upload_parts(org, large)
    org.sql("UPDATE app.uploads SET state = 'completing' WHERE file_id = %s", made["file_id"])
    job = org.sql("INSERT INTO app.jobs (kind, visible, params, resource_type, resource_id, run_after) SELECT 'file.finalize', true,"
                  " jsonb_build_object('file_id', f.id), 'file', f.id, app.now() + interval '1 h' FROM app.files AS f"
                  " WHERE f.id = %s RETURNING id::text", made["file_id"])[0][0]  # fmt: skip
    assert files.complete(org, made["file_id"], 202).json() == {"operation_id": job, "status": "queued", "file_id": made["file_id"]}
    files.put(org, made["upload"]["parts"][1]["url"], large[PART:], "file_status_conflict")
    org.api.post(f"/v1/operations/{job}/cancel")
    assert files.operation_ended(org, job)["status"] == "cancelled"
    until(lambda: org.sql("SELECT state FROM app.uploads WHERE file_id = %s", made["file_id"]) == [("open",)], what="it is open again")
    again = files.operation_ended(org, files.complete(org, made["file_id"], 202).json()["operation_id"])
    assert again["status"] == "succeeded"


# --- uploads that nobody finishes -----------------------------------------------------------------------------------


def test_placeholders_expire(org: Org) -> None:
    """As if an hour had passed: the upload's own clock is set back."""
    made = files.register(org, 300)
    files.put(org, made["upload"]["url"], b"x" * 300, 201)
    org.sql("UPDATE app.uploads SET expires_at = app.now() - interval '1 s' WHERE file_id = %s", made["file_id"])
    files.put(org, made["upload"]["url"], b"x" * 300, "file_status_conflict")
    files.complete(org, made["file_id"], "file_status_conflict")
    run_now(org, "file.expire", made["file_id"])
    got = files.status_becomes(org, made["file_id"], "expired")
    assert got["status_reason"]["code"] == "upload_expired"
    assert got["purge_after"] > got["updated_at"]
    assert files.usage(org)["reserved_bytes"] == 0
    until(lambda: files.staged(org.stack, made["file_id"]) == [], what="what arrived is removed")
    files.complete(org, made["file_id"], "file_status_conflict")
    org.sql("UPDATE app.files SET purge_after = app.now() WHERE id = %s", made["file_id"])
    run_now(org, "file.purge", made["file_id"])
    until(lambda: org.api.get(f"/v1/files/{made['file_id']}").status_code == 404, what="the placeholder goes")


def run_now(org: Org, kind: str, file_id: str) -> None:
    """The same job again, due at once."""
    org.sql(
        "INSERT INTO app.jobs (kind, params, resource_type, resource_id) SELECT kind, params, resource_type, resource_id"
        " FROM app.jobs WHERE kind = %s AND resource_id = %s LIMIT 1", kind, file_id)  # fmt: skip


def test_the_trash_is_emptied_in_time(org: Org) -> None:
    data = files.gcode()
    file_id = files.make_file(org, data=data)
    blob = files.blob_of(org, file_id)
    org.api.delete(f"/v1/files/{file_id}", expect=204)
    run_now(org, "file.purge", file_id)
    files.jobs_done(org, "file.purge")
    org.api.get(f"/v1/files/{file_id}", expect=200)
    org.sql("UPDATE app.files SET purge_after = app.now() - interval '1 s' WHERE id = %s", file_id)
    run_now(org, "file.purge", file_id)
    files.jobs_done(org, "file.purge", "blob.delete")
    org.api.get(f"/v1/files/{file_id}", expect="resource_not_found")
    assert not files.object_path(org.stack, blob).exists()
    assert files.usage(org)["stored_bytes"] == 0


def test_retention_of_zero_days(org: Org) -> None:
    org.sql("UPDATE app.organizations SET trash_days = 0 WHERE org_id = %s", org.id)
    file_id = files.make_file(org)
    org.api.delete(f"/v1/files/{file_id}", expect=204)
    files.jobs_done(org, "file.purge", "blob.delete")
    org.api.get(f"/v1/files/{file_id}", expect="resource_not_found")
