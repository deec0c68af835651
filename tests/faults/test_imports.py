"""Imports from the request to the stored file: the real API and the real courier, which runs in the small internet."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import secrets
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
import pytest
from api import Api, Http2
from contract import Contract
from internet import Internet, stop, usable
from signals import signal_one
from stack import BUILD, Stack, new_stack, remove
from wait import until
from world import Org, make_org

pytestmark = pytest.mark.skipif(bool(usable()), reason=f"no network namespace: {usable()}")
IMPORT = "/v1/files/upload-from-url"
MOST = 32 << 20
ENDED = ("succeeded", "failed", "cancelled")


@pytest.fixture(scope="module")
def place() -> Iterator[Stack]:
    made = new_stack()
    try:
        yield made.up("--gateways", "0", "--couriers", "0")
    finally:
        remove(made)


@pytest.fixture(scope="module")
def net(place: Stack) -> Iterator[Internet]:
    with Internet(place.folder / "net") as made:
        yield made
        assert made.hits() == []


class Courier:
    """soloprint-courier as its own user, in the small internet."""

    def __init__(self, stack: Stack, net: Internet, workers: int = 2) -> None:
        self.log = stack.folder / f"courier-{secrets.token_hex(4)}"
        user, as_user = "soloprint-courier", []
        if os.geteuid() == 0:
            as_user = ["setpriv", f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--init-groups"]
        env = {
            "SOLOPRINT_DB": str(stack.facts["superuser"]).replace("user=postgres", "user=soloprint_courier"),
            "SOLOPRINT_STORAGE": str(stack.var / "storage"), "SOLOPRINT_WORKERS": str(workers),
            "SOLOPRINT_COURIER_LEASE_MS": "2000", "SOLOPRINT_FETCH_CA": str(net.ca),
            "SOLOPRINT_IMPORT_MAX_BYTES": str(MOST), "SOLOPRINT_PUBLIC_URL": "https://own.web.test",
        }  # fmt: skip
        command = [*as_user, str(BUILD / "bin/soloprint-courier")]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(net.command(*command), env={**os.environ, **env}, stderr=out, umask=0o007)
        until(lambda: '"ready"' in self.log.read_text(), what=f"the courier is ready: {self.log.read_text()}")

    def worker_of(self, db: psycopg.Connection[Any], operation: str) -> int:
        """The process that runs the job: the only one of them that is connected to a server."""
        found = [p for p in self.workers() if any(" 01 " in x for x in self.sockets(p))]
        assert len(found) == 1, (operation, found)
        return found[0]

    def workers(self) -> list[int]:
        pid = self.process.pid
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def sockets(self, pid: int) -> list[str]:
        """Its own lines of the namespace's TCP table."""
        own = {os.readlink(f)[8:-1] for f in Path(f"/proc/{pid}/fd").iterdir() if os.readlink(f).startswith("socket:[")}
        lines = [x for t in ("tcp", "tcp6") for x in Path(f"/proc/{pid}/net/{t}").read_text().splitlines()[1:]]
        return [x for x in lines if x.split()[9] in own]

    def kill(self) -> None:
        workers = self.workers() if self.process.poll() is None else []
        for pid in (self.process.pid, *workers):
            signal_one(pid, signal.SIGKILL)
        self.process.wait(10)


@pytest.fixture(scope="module")
def courier(place: Stack, net: Internet) -> Iterator[Courier]:
    made = Courier(place, net)
    yield made
    stop(made.process)
    assert "Sanitizer" not in made.log.read_text()


@pytest.fixture(scope="module")
def db(place: Stack) -> Iterator[psycopg.Connection[Any]]:
    with place.connect() as connection:
        yield connection


@pytest.fixture(scope="module")
def base(place: Stack) -> Iterator[Api]:
    with httpx.Client(base_url=place.url, transport=Http2(place.cacert), timeout=30) as client:
        yield Api(client, Contract(client.get("/v1/openapi.json").raise_for_status().json()))


class World:
    """One test's organisation."""

    def __init__(self, stack: Stack, net: Internet, org: Org) -> None:
        self.stack, self.net, self.org = stack, net, org

    def start(self, path: str, host: str = "web.test", **more: Any) -> dict[str, Any]:
        body = {"url": f"https://{host}{path}", **more}
        return dict(self.org.api.post(IMPORT, body, expect=202).json())

    def operation(self, got: dict[str, Any]) -> dict[str, Any]:
        return dict(self.org.api.get(f"/v1/operations/{got['operation_id']}", expect=200).json())

    def file(self, got: dict[str, Any]) -> dict[str, Any]:
        return dict(self.org.api.get(f"/v1/files/{got['file_id']}", expect=200).json())

    def hurry(self, got: dict[str, Any]) -> None:
        """The wait between two attempts is over."""
        self.org.db.execute(
            "UPDATE sec.job_index SET run_after = app.now(), ready = true WHERE job_id = %s AND courier_id IS NULL",
            [got["operation_id"]],
        )

    def ended(self, got: dict[str, Any], status: str) -> dict[str, Any]:
        def over() -> dict[str, Any] | None:
            self.hurry(got)
            now = self.operation(got)
            return now if now["status"] in ENDED else None

        end = until(over, 30, 0.1, what=f"{self.operation(got)} ends")
        assert end["status"] == status, end
        until(lambda: not self.leased(got), what="the index forgets the job")
        assert self.org.sql("SELECT params FROM app.jobs WHERE id = %s", got["operation_id"]) == [({},)]
        return end

    def leased(self, got: dict[str, Any]) -> bool:
        return bool(self.org.db.execute("SELECT 1 FROM sec.job_index WHERE job_id = %s", [got["operation_id"]]).fetchall())

    def refused(self, path: str, code: str, **more: Any) -> dict[str, Any]:
        """The operation and the file agree on why."""
        got = self.start(path, **more)
        end, file = self.ended(got, "failed"), self.file(got)
        assert end["error"]["code"] == code, end
        assert (file["status"], file["status_reason"]) == ("failed", end["error"])
        assert file["size_bytes"] is None and file["sha256"] is None
        return end

    def half_way(self, got: dict[str, Any]) -> dict[str, Any]:
        """Waits until a /gate/ has sent its first half."""
        return until(lambda: (o := self.operation(got))["progress"] and o["progress"]["done"] == 2 << 20 and o, 15, 0.1)

    def blobs(self) -> list[str]:
        return [str(x[0]) for x in self.org.sql("SELECT id FROM app.blobs WHERE org_id = %s", self.org.id)]

    def objects(self) -> set[str]:
        """All in the store, of whichever organisation."""
        return {p.name for p in (self.stack.var / "storage/blobs").glob("*/*/*")}

    def known_objects(self) -> set[str]:
        return {str(x[0]) for x in self.org.db.execute("SELECT blob_id FROM sec.blob_index").fetchall()}

    def bytes_of(self, got: dict[str, Any]) -> bytes:
        blob = str(self.org.sql("SELECT blob_id FROM app.files WHERE id = %s", got["file_id"])[0][0])
        return next((self.stack.var / "storage/blobs").glob(f"*/*/{blob}")).read_bytes()


@pytest.fixture
def world(place: Stack, net: Internet, courier: Courier, db: psycopg.Connection[Any], base: Api) -> World:
    assert courier.process.poll() is None
    return World(place, net, make_org(place, db, base))


def content(n: int, name: str) -> bytes:
    return (f"; {n}/{name}\n".encode() * n)[:n]


# --- it comes ---------------------------------------------------------------------------------------------------------


def test_from_the_request_to_the_stored_file(world: World, courier: Courier) -> None:
    token = f"token{secrets.token_hex(8)}"
    got = world.start(f"/file/70000/part.gcode?token={token}", sha256=hashlib.sha256(content(70000, "part.gcode")).hexdigest())
    end = world.ended(got, "succeeded")
    digest = hashlib.sha256(content(70000, "part.gcode")).hexdigest()
    assert end["result"] == {"file_id": got["file_id"], "host": "web.test", "size_bytes": 70000, "sha256": digest}
    file = world.file(got)
    assert file["status"] in ("uploaded", "analyzing", "ready")
    assert (file["size_bytes"], file["sha256"], file["filename"], file["kind"]) == (70000, digest, "part.gcode", "gcode")
    assert file["uploaded_at"] and file["source"] == "url"
    assert world.bytes_of(got) == content(70000, "part.gcode")
    assert token not in courier.log.read_text()
    analyses = world.org.sql("SELECT count(*) FROM app.jobs WHERE kind = 'file.analyze' AND resource_id = %s", got["file_id"])
    assert analyses == [(1,)]


def test_the_servers_name_counts_unless_one_was_given(world: World) -> None:
    given = quote("attachment; filename*=UTF-8''b%C3%A4r.stl", safe="")
    theirs, ours = (world.start(f"/file/10/x{n}?disposition={given}", **more) for n, more in ((1, {}), (2, {"filename": "our.obj"})))
    world.ended(theirs, "succeeded")
    world.ended(ours, "succeeded")
    first, second = world.file(theirs), world.file(ours)
    assert (first["filename"], first["kind"], first["content_type"]) == ("b\u00e4r.stl", "stl", "model/stl")
    assert (second["filename"], second["kind"]) == ("our.obj", "obj")


def test_over_redirects(world: World) -> None:
    to = quote("https://other.web.test:8443/file/100/a.stl", safe="")
    got = world.start(f"/to/3?url={to}")
    assert world.ended(got, "succeeded")["result"]["host"] == "web.test"


def test_the_same_content_is_stored_once(world: World) -> None:
    first = world.start("/file/5000/same")
    world.ended(first, "succeeded")
    second = world.start("/file/5000/same", host="a.web.test")
    world.ended(second, "succeeded")
    assert world.bytes_of(first) == world.bytes_of(second)
    assert len(world.blobs()) == 1
    until(lambda: world.objects() == world.known_objects(), 20, what="the second object is gone")


def test_progress(world: World) -> None:
    gate = f"gate-{secrets.token_hex(4)}"
    got = world.start(f"/gate/{gate}")
    half = world.half_way(got)
    assert (half["status"], half["progress"]["percent"]) == ("running", 50.0)
    assert world.file(got)["status"] == "pending_upload"
    (world.net.folder / gate).touch()
    assert world.ended(got, "succeeded")["progress"]["total"] == 4 << 20


# --- it does not ------------------------------------------------------------------------------------------------------


def test_refusals(world: World) -> None:
    inside = quote("https://169.254.169.254/latest/meta-data/", safe="")
    world.refused(f"/to/2?url={inside}", "blocked_address")
    world.refused("/", "blocked_address", host="a-10-0-0-1.dns.test")
    world.refused("/", "blocked_address", host="own.web.test")
    world.refused("/status/404", "http_404")
    world.refused("/status/204", "empty_file")
    world.refused("/loop", "too_many_redirects")
    world.refused("/file/1", "tls_failed", host="expired.web.test")
    world.refused("/gzip/content-encoding/50", "encoded_answer")
    world.refused("/endless/length", "too_large")
    end = world.refused("/endless/none", "too_large")
    assert end["attempts"] == 1
    world.refused("/file/10/a", "sha256_mismatch", sha256="0" * 64)
    assert world.blobs() == []


def test_what_may_pass_is_tried_again(world: World) -> None:
    got = world.start(f"/flaky/2/{secrets.token_hex(4)}.stl")
    assert world.ended(got, "succeeded")["attempts"] == 3
    end = world.refused("/status/503", "http_503")
    assert end["attempts"] == 4
    assert world.refused("/a.stl", "dns_failed", host="nowhere.invalid")["attempts"] == 4
    assert world.refused("/lie/1000/10", "broken_answer")["attempts"] == 4


def test_full_storage(world: World) -> None:
    world.org.sql("UPDATE app.organizations SET storage_quota_bytes = 5000 WHERE org_id = %s", world.org.id)
    world.ended(world.start("/file/4000/a"), "succeeded")
    world.refused("/file/1001/b", "storage_quota_exceeded")
    world.ended(world.start("/file/1000/c"), "succeeded")
    assert world.org.sql("SELECT stored_bytes, reserved_bytes FROM app.storage_usage WHERE org_id = %s", world.org.id) == [(5000, 0)]


def test_storage_that_fills_up_meanwhile(world: World) -> None:
    """What fitted at the beginning does not at the end."""
    gate = f"gate-{secrets.token_hex(4)}"
    got = world.start(f"/gate/{gate}")
    world.half_way(got)
    world.org.sql("UPDATE app.organizations SET storage_quota_bytes = 1000 WHERE org_id = %s", world.org.id)
    (world.net.folder / gate).touch()
    assert world.ended(got, "failed")["error"]["code"] == "storage_quota_exceeded"
    assert world.file(got)["status_reason"]["code"] == "storage_quota_exceeded"
    assert world.blobs() == []


def test_cancelled_on_the_way(world: World) -> None:
    got = world.start(f"/gate/never-{secrets.token_hex(4)}")
    world.half_way(got)
    world.org.api.post(f"/v1/operations/{got['operation_id']}/cancel", expect=202)
    world.ended(got, "cancelled")
    file = world.file(got)
    assert (file["status"], file["status_reason"]["code"]) == ("failed", "cancelled")


def test_cancelled_between_attempts(world: World) -> None:
    got = world.start("/status/503")
    until(lambda: (o := world.operation(got))["attempts"] == 1 and o["status"] == "queued", what="the first attempt is over")
    assert world.operation(got)["error"]["code"] == "http_503"
    world.org.api.post(f"/v1/operations/{got['operation_id']}/cancel", expect=200)
    until(lambda: world.file(got)["status"] == "failed", what="the file is told")
    assert world.file(got)["status_reason"]["code"] == "cancelled"


def test_the_file_is_deleted_meanwhile(world: World) -> None:
    gate = f"gate-{secrets.token_hex(4)}"
    got = world.start(f"/gate/{gate}")
    world.half_way(got)
    world.org.api.request("DELETE", f"/v1/files/{got['file_id']}?permanent=true", expect=204)
    (world.net.folder / gate).touch()
    assert world.ended(got, "failed")["error"]["code"] == "file_gone"
    assert world.blobs() == []
    assert world.objects() == world.known_objects()


# --- couriers die -----------------------------------------------------------------------------------------------------


def test_a_worker_is_killed_on_the_way(world: World, courier: Courier) -> None:
    gate = f"gate-{secrets.token_hex(4)}"
    got = world.start(f"/gate/{gate}")
    world.half_way(got)
    signal_one(courier.worker_of(world.org.db, got["operation_id"]), signal.SIGKILL)
    until(lambda: len(world.net.lines("request", path=f"/gate/{gate}")) == 2, 20, what="another worker begins anew")
    assert world.file(got)["status"] == "pending_upload"
    assert world.blobs() == []
    (world.net.folder / gate).touch()
    assert world.ended(got, "succeeded")["attempts"] == 2
    assert hashlib.sha256(world.bytes_of(got)).hexdigest() == world.file(got)["sha256"]
    assert len(world.blobs()) == 1
    assert world.objects() == world.known_objects()


def test_a_courier_that_is_stopped_gives_its_imports_back(world: World, place: Stack, net: Internet, courier: Courier) -> None:
    gate = f"gate-{secrets.token_hex(4)}"
    got = world.start(f"/gate/{gate}")
    world.half_way(got)
    stop(courier.process)
    assert courier.process.returncode == 0
    assert (world.operation(got)["status"], world.file(got)["status"]) == ("queued", "pending_upload")
    fresh = Courier(place, net)
    courier.process, courier.log = fresh.process, fresh.log
    (world.net.folder / gate).touch()
    assert world.ended(got, "succeeded")["attempts"] == 1


def test_the_whole_courier_is_killed(world: World, place: Stack, net: Internet, courier: Courier) -> None:
    """Several imports, killed at an arbitrary moment again and again: each file is there in the end, whole and once."""
    gate = f"gate-{secrets.token_hex(4)}"
    many = [world.start(f"/file/{200000 + n}/k{n}.stl") for n in range(6)] + [world.start(f"/gate/{gate}")]
    for _ in range(3):
        until(lambda: any(world.operation(g)["status"] == "running" for g in many), 20)
        courier.kill()
        fresh = Courier(place, net)
        courier.process, courier.log = fresh.process, fresh.log
        for g in many:
            assert world.file(g)["status"] in ("pending_upload", "uploaded", "analyzing", "ready")
    (world.net.folder / gate).touch()
    for g in many:
        world.ended(g, "succeeded")
        assert hashlib.sha256(world.bytes_of(g)).hexdigest() == world.file(g)["sha256"]
    assert len(world.blobs()) == len(many)


def test_nothing_was_reached_that_should_not(net: Internet, courier: Courier) -> None:
    assert courier.process.poll() is None
    assert net.hits() == []
    for line in courier.log.read_text().splitlines():
        assert "https://" not in json.loads(line).get("msg", "")
