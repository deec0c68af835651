"""soloprintctl storage, the courier's moves and sweeps, on a directory and a real S3 service."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Ctl
from wait import until

s3 = pytest.importorskip("s3_service", reason="needs moto and botocore")
from store_world import World, key  # noqa: E402

HOUR = 3600


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with s3.service(tmp_path_factory.mktemp("s3")) as made:
        yield made


@pytest.fixture
def service(running: Any) -> Any:
    running.rules.clear()
    running.seen.clear()
    for name in running.keys():
        running.client.delete_object(Bucket=s3.BUCKET, Key=name)
    for u in running.client.list_multipart_uploads(Bucket=s3.BUCKET).get("Uploads", []):
        running.client.abort_multipart_upload(Bucket=s3.BUCKET, Key=u["Key"], UploadId=u["UploadId"])
    return running


@pytest.fixture
def world(ctl: Ctl, service: Any, tmp_path: Path) -> Iterator[World]:
    made = World(ctl, service, tmp_path / "world")
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def local(ctl: Ctl, tmp_path: Path) -> Iterator[World]:
    """Without an S3 service."""
    made = World(ctl, None, tmp_path / "world")
    try:
        yield made
    finally:
        made.close()


def wrong(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    return sorted((p["problem"], p["blob_id"], p["location"]) for p in report["problems"])


# --- status ---


def test_status(world: World) -> None:
    world.blob(b"12345")
    world.blob(b"123", org="south-high")
    world.blob(b"1234567", "s3")
    world.move(world.blob(b"1"))
    got = world.tool("status", SOLOPRINT_STORE="s3")
    assert (got["local"]["objects"], got["local"]["bytes"]) == (3, 9)
    assert (got["s3"]["objects"], got["s3"]["bytes"], got["s3"]["service"]) == (1, 7, "answers")
    assert got["local"]["free_bytes"] > 0
    assert got["waiting"] == {"moves": 1, "removals": 0}
    assert got["new_content"] == "s3"
    text = world.ctl.run("storage", "status", **world.settings).stdout
    assert "3 objects, 9 bytes" in text


def test_status_without_a_service(local: World) -> None:
    got = local.tool("status")
    assert got["s3"]["service"] == "not configured"
    assert got["new_content"] == "local"


def test_status_of_a_service_that_fails(world: World, service: Any) -> None:
    service.when("GET", s3.fail(403, "AccessDenied"), times=9)
    assert "AccessDenied" in world.tool("status")["s3"]["service"]


def test_wrong_usage(world: World) -> None:
    run = world.ctl.run
    assert "SOLOPRINT_STORAGE" in run("storage", "status", expect=1).stderr
    assert "s3 or local" in run("storage", "migrate", "--to", "tape", expect=2, **world.settings).stderr
    assert "--to is required" in run("storage", "migrate", expect=2, **world.settings).stderr
    bad = {**world.settings, "SOLOPRINT_S3_STYLE": "x"}
    assert "SOLOPRINT_S3_STYLE" in run("storage", "verify", expect=1, **bad).stderr
    assert "cannot be used" in run("storage", "verify", expect=1, **{**world.settings, "SOLOPRINT_STORAGE": "/dev/null"}).stderr


# --- verify ---


def test_all_is_well(world: World) -> None:
    world.blob(b"one")
    world.blob(b"two", "s3")
    world.blob(b"three", org="south-high")
    for args in ((), ("--digests",)):
        got = world.tool("verify", *args)
        assert got["problems"] == []
        assert (got["checked"], got["bytes"], got["objects"], got["wrong"]) == (3, 11, 3, 0)
    assert "3 of 11 bytes checked, 0 wrong" in world.ctl.run("storage", "verify", **world.settings).stdout


def test_many_blobs(local: World) -> None:
    """More than a page of rows and a batch of orphans."""
    n = 1203
    local.sql("INSERT INTO app.blobs (sha256, size_bytes) SELECT sha256(i::text::bytea), 1 FROM generate_series(1, %s) AS i", n)
    for (blob,) in local.sql("SELECT id::text FROM app.blobs"):
        local.lay(blob, b"x")
    assert local.tool("verify")["checked"] == n
    local.sql("DELETE FROM app.blobs")
    got = local.tool("verify", expect=0)
    assert got["wrong"] == 0  # they are young
    with local.later("2 hours"):
        assert local.tool("verify", expect=1)["wrong"] == n
        assert local.tool("verify", "--repair")["repaired"] == n
        assert local.tool("verify")["objects"] == 0


@pytest.mark.parametrize("location", ["local", "s3"])
def test_missing(world: World, location: str) -> None:
    blob = world.blob(b"gone", location)
    if location == "local":
        world.path(blob).unlink()
    else:
        world.service.client.delete_object(Bucket=s3.BUCKET, Key=world.s3_key(blob))
    got = world.tool("verify", expect=1)
    assert wrong(got) == [("missing", blob, location)]
    assert got["problems"][0]["org"] == "north-high"
    text = world.ctl.run("storage", "verify", expect=1, **world.settings).stdout
    assert f"missing  {blob}" in text
    assert world.tool("verify", "--repair", expect=1)["repaired"] == 0


@pytest.mark.parametrize("location", ["local", "s3"])
def test_corrupt(world: World, location: str) -> None:
    short, other = world.blob(b"12345", location), world.blob(b"67890", location)
    world.lay(short, b"123", location)
    world.lay(other, b"6789x", location)
    assert wrong(world.tool("verify", expect=1)) == [("corrupt", short, location)]
    assert wrong(world.tool("verify", "--digests", expect=1)) == sorted(
        [("corrupt", short, location), ("corrupt", other, location)]
    )


@pytest.mark.parametrize("location", ["local", "s3"])
def test_orphans(world: World, location: str) -> None:
    orphan = world.blob_id()
    world.lay(orphan, b"nobody's", location)
    assert world.tool("verify")["wrong"] == 0  # perhaps its row is on the way
    with world.later("61 minutes"):
        assert wrong(world.tool("verify", expect=1)) == [("orphaned", orphan, location)]
        assert world.tool("verify", "--repair")["repaired"] == 1
        assert world.tool("verify")["objects"] == 0


def test_a_copy_is_used_for_repair(world: World) -> None:
    lost, spoilt = world.blob(b"lost"), world.blob(b"spoilt")
    for blob, body in ((lost, b"lost"), (spoilt, b"spoilt")):
        world.lay(blob, body, "s3")
    world.path(lost).unlink()
    world.lay(spoilt, b"spoilT")
    assert world.tool("verify", "--digests", expect=1)["repaired"] == 0
    assert world.tool("verify", "--digests", "--repair")["repaired"] == 2
    assert [world.location(b) for b in (lost, spoilt)] == ["s3", "s3"]
    assert world.tool("verify", "--digests")["wrong"] == 0


def test_a_wrong_copy_is_not_used(world: World) -> None:
    lost = world.blob(b"lost")
    world.lay(lost, b"lost?"[:4].upper(), "s3")
    world.path(lost).unlink()
    assert world.tool("verify", "--repair", expect=1)["repaired"] == 0
    assert world.location(lost) == "local"


def test_copies_that_stay_are_orphans(world: World) -> None:
    """Removed by a job, which looks again."""
    blob = world.blob(b"moved", age_s=2 * HOUR)
    world.lay(blob, b"moved", "s3")
    world.sql("UPDATE app.blobs SET location = 's3'")
    got = world.tool("verify")
    assert (got["wrong"], got["waiting_for_removal"]) == (0, 1)
    with world.later("3 hours"):
        assert wrong(world.tool("verify", expect=1)) == [("orphaned", blob, "local")]
        world.tool("verify", "--repair")
        made = world.courier()
        until(lambda: not world.path(blob).exists(), what="the job ran")
        made.stop()
        assert world.tool("verify")["objects"] == 1
    assert world.at_s3(blob) == b"moved"


def test_strangers_are_left_alone(world: World) -> None:
    (world.store / "blobs" / "README").write_text("x")
    (world.store / "blobs" / "00").mkdir(exist_ok=True)
    (world.store / "blobs" / "00" / "x").write_text("x")
    world.service.put("slp/blobs/x", b"x")
    got = world.tool("verify", "--repair")
    assert got["foreign"] == {"local": 2, "s3": 1}
    assert "2 files at local are no objects" in world.ctl.run("storage", "verify", **world.settings).stdout
    assert (world.store / "blobs" / "README").exists()


def test_verify_says_when_the_service_cannot_be_read(world: World, service: Any) -> None:
    world.blob(b"x", "s3")
    service.when("GET", s3.fail(403, "AccessDenied"), times=9)
    assert "AccessDenied" in world.ctl.run("storage", "verify", expect=1, **world.settings).stderr
    service.rules.clear()
    service.when("HEAD", s3.fail(403, "AccessDenied"), times=9)
    assert "cannot be read" in world.ctl.run("storage", "verify", "--digests", expect=1, **world.settings).stderr


# --- moves ---


def test_move_and_back(world: World) -> None:
    blob = world.blob(b"content")
    made = world.courier()
    assert world.move(blob)
    assert not world.move(blob)  # it is on its way, or there
    until(lambda: world.location(blob) == "s3", what="moved")
    assert world.at_s3(blob) == b"content"
    assert world.path(blob).read_bytes() == b"content"  # readers may be at it
    assert world.jobs("blob.delete", "queued") == 1
    made.stop()
    with world.later("61 minutes"):
        made = world.courier()
        until(lambda: not world.path(blob).exists(), what="the old object is gone")
        until(lambda: world.jobs("blob.delete", "queued") == 0)
        assert world.move(blob, "local")
        until(lambda: world.location(blob) == "local", what="moved back")
        assert world.path(blob).read_bytes() == b"content"
        assert world.path(blob).stat().st_mode & 0o777 == 0o640
        made.stop()
    with world.later("130 minutes"):
        made = world.courier()
        until(lambda: world.at_s3(blob) is None, what="the old object is gone")
        made.stop()
    assert world.tool("verify", "--digests")["objects"] == 1


def test_moving_back_waits_for_the_removal(world: World) -> None:
    """Else the removal of the old object would take the new one."""
    blob = world.blob(b"content")
    world.courier()
    world.move(blob)
    until(lambda: world.location(blob) == "s3" and world.jobs("blob.move", "succeeded") == 1)
    world.move(blob, "local")
    until(lambda: world.sql("SELECT 1 FROM app.jobs WHERE error ->> 'code' = 'content_busy'"), what="it waits")
    assert world.location(blob) == "s3"


def test_a_corrupt_object_is_not_moved(world: World) -> None:
    blob = world.blob(b"content")
    world.lay(blob, b"cOntent")
    world.courier()
    world.move(blob)
    until(lambda: world.sql("SELECT 1 FROM app.jobs WHERE error ->> 'code' = 'content_corrupt'"), what="refused")
    assert world.location(blob) == "local"


def test_what_arrives_otherwise_is_not_taken(world: World, service: Any) -> None:
    blob = world.blob(b"content", "s3")
    service.when("GET", s3.corrupt)
    world.courier()
    world.move(blob, "local")
    until(lambda: world.sql("SELECT 1 FROM app.jobs WHERE error ->> 'code' = 'content_corrupt'"), what="refused")
    assert world.location(blob) == "s3"
    assert not world.path(blob).exists()


def test_a_blob_that_goes_while_it_is_moved(world: World, service: Any) -> None:
    import threading

    reached, go = threading.Event(), threading.Event()
    blob = world.blob(b"content")
    service.when("PUT", s3.hold(reached, go, before=False))
    world.courier(workers=2)
    world.move(blob)
    assert reached.wait(20)
    world.sql("DELETE FROM app.blobs WHERE id = %s", blob)
    world.sql("SELECT app.queue_blob_delete(%s, 'local', '0')", blob)
    go.set()
    until(lambda: world.at_s3(blob) is None and not world.path(blob).exists(), timeout_s=30, what="nothing stays")
    until(lambda: world.jobs("blob.delete", "succeeded") == 2)


def test_removal_looks_who_claims_the_object(world: World) -> None:
    blob = world.blob(b"mine")
    world.courier()
    for location in ("local", "s3"):
        world.sql("SELECT app.queue_blob_delete(%s, %s, '0')", blob, location)
    until(lambda: world.jobs("blob.delete", "succeeded") == 2)
    assert world.path(blob).read_bytes() == b"mine"


def test_another_organisations_blob_is_none(world: World) -> None:
    blob = world.blob(b"mine")
    assert not world.move(blob, org="south-high")
    assert world.jobs("blob.move", org="south-high") == 0


# --- migrate ---


def test_migrate(world: World) -> None:
    blobs = {world.blob(f"content {i}".encode(), org=org): (i, org) for i in range(20) for org in ("north-high", "south-high")}
    world.courier(workers=4)
    done = world.ctl.run("storage", "migrate", "--to", "s3", **world.settings, SOLOPRINT_STORE="s3")
    assert "40 moves queued" in done.stderr
    assert "every object is at s3" in done.stderr
    for blob, (i, org) in blobs.items():
        assert world.location(blob, org) == "s3"
        assert world.at_s3(blob) == f"content {i}".encode()
    again = world.ctl.run("storage", "migrate", "--to", "s3", **world.settings)
    assert "0 moves queued" in again.stderr
    assert "SOLOPRINT_STORE=s3" in again.stderr  # what is new goes elsewhere
    assert world.tool("verify", "--digests")["wrong"] == 0


def test_migrate_only_queues(world: World) -> None:
    world.blob(b"x")
    for n in (1, 0):
        done = world.ctl.run("storage", "migrate", "--to", "s3", "--no-wait", **world.settings)
        assert f"{n} moves queued" in done.stderr
    assert world.jobs("blob.move") == 1


def test_migrate_the_other_way_takes_moves_back(world: World) -> None:
    world.blob(b"x")
    world.ctl.run("storage", "migrate", "--to", "s3", "--no-wait", **world.settings)
    world.ctl.run("storage", "migrate", "--to", "local", "--no-wait", **world.settings)
    world.courier()
    until(lambda: world.jobs("blob.move", "cancelled") == 1)
    assert world.service.keys() == []


def test_migrate_says_what_did_not_move(world: World) -> None:
    blob = world.blob(b"x")
    world.path(blob).unlink()
    world.courier()
    done = world.ctl.run("storage", "migrate", "--to", "s3", expect=1, **world.settings)
    assert "1 objects were not moved" in done.stderr


def test_migrate_needs_a_service(local: World) -> None:
    assert "SOLOPRINT_S3_ENDPOINT" in local.ctl.run("storage", "migrate", "--to", "s3", expect=1, **local.settings).stderr


def test_migrate_asks_the_service_first(world: World, service: Any) -> None:
    service.when("GET", s3.fail(403, "AccessDenied"), times=9)
    done = world.ctl.run("storage", "migrate", "--to", "s3", expect=1, **world.settings)
    assert "AccessDenied" in done.stderr


# --- the sweep ---


def test_sweep(world: World) -> None:
    kept = [world.blob(b"a", age_s=3 * HOUR), world.blob(b"b", "s3"), world.blob(b"c", org="south-high", age_s=3 * HOUR)]
    orphans = [world.blob_id() for _ in range(4)]
    for i, blob in enumerate(orphans):
        world.lay(blob, b"orphan", "local" if i % 2 else "s3")
    (world.store / "blobs" / "README").write_text("x")
    world.service.put("slp/blobs/x", b"x")
    world.sweep()
    assert all(world.path(b).exists() for b in orphans[1::2])  # they are young
    with world.later("61 minutes"):
        world.sweep()
    assert not any(world.path(b).exists() for b in orphans)
    assert sorted(world.service.keys()) == sorted(["slp/blobs/x", world.s3_key(kept[1])])
    assert all(world.path(b).exists() for b in (kept[0], kept[2]))
    assert (world.store / "blobs" / "README").exists()


def test_sweep_leaves_old_copies_to_jobs(world: World) -> None:
    blob = world.blob(b"x", age_s=5 * HOUR)
    world.lay(blob, b"x", "s3")
    world.sql("UPDATE app.blobs SET location = 's3'")
    world.sweep()
    assert world.path(blob).exists()  # it was moved just now
    with world.later("3 hours"):
        world.sweep()
        made = world.courier()
        until(lambda: not world.path(blob).exists(), what="the job ran")
        made.stop()
    assert world.at_s3(blob) == b"x"


def open_upload(world: World, location: str) -> str:
    [(file,)] = world.sql(
        "INSERT INTO app.files (filename, kind, content_type) VALUES ('a.stl', 'stl', 'model/stl') RETURNING id::text"
    )
    world.sql(
        "INSERT INTO app.uploads (file_id, size_bytes, part_bytes, location, expires_at)"
        " VALUES (%s, 1, 1, %s, app.now() + interval '100 days')", file, location
    )  # fmt: skip
    return str(file)


def began_now(handler: Any, body: bytes) -> bool:
    """moto says of every multipart upload that it began in 2010."""
    status, headers, answer = handler.relay(body)
    now = time.strftime("<Initiated>%Y-%m-%dT%H:%M:%S.000Z<", time.gmtime()).encode()
    headers.pop("Content-Length", None)
    handler.pass_on(status, headers, re.sub(rb"<Initiated>[^<]*<", now, answer))
    return True


def test_sweep_of_uploads(world: World) -> None:
    wanted, unwanted = open_upload(world, "local"), world.blob_id()
    for file in (wanted, unwanted):
        (world.store / "staging" / f"{file}.0").write_bytes(b"part")
        world.service.put(f"slp/staging/{file}/0", b"part")
    (world.store / "tmp" / "left").write_bytes(b"x")
    stale = world.service.client.create_multipart_upload(Bucket=s3.BUCKET, Key="slp/blobs/aa/bb/x")
    world.service.when("GET .*uploads=", began_now, times=9)
    world.sweep()
    assert (world.store / "staging" / f"{unwanted}.0").exists()  # within its time
    assert world.service.uploads() == ["slp/blobs/aa/bb/x"]
    with world.later("49 hours"):
        world.sweep()
    assert [p.name for p in (world.store / "staging").iterdir()] == [f"{wanted}.0"]
    assert list((world.store / "tmp").iterdir()) == []
    assert world.service.keys() == [f"slp/staging/{wanted}/0"]
    assert world.service.uploads() == []
    assert stale


def test_sweep_without_a_service(local: World) -> None:
    orphan = local.blob_id()
    local.lay(orphan, b"x", age_s=2 * HOUR)
    local.sweep()
    assert not local.path(orphan).exists()


def test_sweep_survives_a_service_that_fails(world: World, service: Any) -> None:
    orphan = world.blob_id()
    world.lay(orphan, b"x", age_s=2 * HOUR)
    service.when("GET", s3.fail(403, "AccessDenied"), times=99)
    world.sweep()
    assert not world.path(orphan).exists()
    assert world.couriers[-1].said("the S3 service could not be swept")


# --- the doctor ---


def checks(ctl: Ctl, **env: str) -> dict[str, dict[str, Any]]:
    done = json.loads(ctl.run("doctor", "--json", expect=1, **env).stdout)
    return {c["check"]: c for c in done["checks"]}


def test_doctor_looks_at_the_service(world: World, service: Any, tmp_path: Path) -> None:
    assert checks(world.ctl, **world.settings)["s3"]["state"] == "ok"
    assert checks(world.ctl, SOLOPRINT_STORAGE=str(world.store))["s3"]["detail"].startswith("not used")
    service.when("GET", s3.fail(403, "AccessDenied"), times=99)
    found = checks(world.ctl, **world.settings)["s3"]
    assert found["state"] == "wrong"
    assert "AccessDenied" in found["detail"]
    service.rules.clear()
    bad = {**world.settings, "SOLOPRINT_S3_SECRET_KEY": str(tmp_path / "none")}
    assert checks(world.ctl, **bad)["s3"]["state"] == "wrong"


def test_doctor_looks_at_the_directory(world: World) -> None:
    assert checks(world.ctl, **world.settings)["storage"]["state"] == "ok"
    shutil.rmtree(world.store / "staging")
    found = checks(world.ctl, **world.settings)["storage"]
    assert found["state"] == "wrong"
    assert "staging" in found["detail"]
    os.mkdir(world.store / "staging", 0o700)
    assert key("0192d3a4-b5c6-7d8e-9f01-23456789c3d4").startswith("c3/d4/")
