"""Cameras from a printer's socket to viewers, through real nginx with nchan and a real gateway."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from api import Api, Http2
from contract import Contract
from stack import BUILD, Stack, new_stack, remove
from streams import Viewer
from wait import until
from world import Org, make_org

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "printers"))
from virtual_fleet.harness import RunningFleet  # noqa: E402

SPECS = [
    {"name": "one", "model": "A1"},
    {"name": "two", "model": "P1S"},
    {"name": "faulty", "model": "A1 mini"},
    {"name": "blind", "model": "X1C"},  # its liveview is switched off
    {"name": "video", "model": "X1C", "liveview": True},
]
VIDEO, HAS_FFMPEG = "video", shutil.which("ffmpeg") is not None
SANITIZED = b"__asan_init" in (BUILD / "bin" / "soloprint-gateway").read_bytes()
CANARY = "c4n4ry-7"  # the access code of all of them


@dataclass
class Site:
    stack: Stack
    fleet: RunningFleet
    db: psycopg.Connection[Any]
    org: Org
    other: Org
    ids: dict[str, str]

    @property
    def api(self) -> Api:
        return self.org.api

    def path(self, name: str, what: str) -> str:
        return f"/v1/printers/{self.ids[name]}/camera/{what}"

    def url(self, name: str, fps: int = 10) -> str:
        answer = self.api.get(self.path(name, f"stream?fps={fps}"), expect=302)
        assert answer.headers["Location"] == answer.json()["url"]
        return str(answer.json()["url"])

    def view(self, name: str, fps: int = 10) -> Viewer:
        viewer = Viewer(self.url(name, fps), self.stack.cacert)
        assert viewer.status == 200, viewer.body
        return viewer

    def camera(self, name: str) -> dict[str, int]:
        """What happens at the camera: connections, accepted, refused, sent."""
        return dict(self.fleet.describe(name)["camera"])

    def closed(self, name: str) -> None:
        until(lambda: self.camera(name)["connections"] == 0, 20, what="the camera's connection is closed")

    def forgive(self, name: str) -> None:
        """A camera that failed is left alone for some seconds; not now."""
        self.db.execute(
            "UPDATE sec.printer_cameras SET trouble = NULL, message = NULL, trouble_at = NULL WHERE printer_id = %s",
            [self.ids[name]],
        )

    def gateway_pid(self) -> int:
        return int(self.stack.service("pid", "gateway"))

    def gateway_kib(self) -> int:
        with open(f"/proc/{self.gateway_pid()}/smaps_rollup") as rollup:
            return sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))

    def connected(self) -> None:
        for each in self.ids.values():
            until(
                lambda e=each: self.api.get(f"/v1/printers/{e}/status").json()["connection"]["state"] == "connected",
                30, what="a printer is connected",
            )  # fmt: skip


@contextmanager
def make_site(*more: str) -> Iterator[Site]:
    """more: settings of the processes, NAME=VALUE."""
    stack = new_stack()
    specs = [{**spec, "access_code": CANARY} for spec in SPECS]
    try:
        with RunningFleet(stack.folder / "fleet", specs) as fleet:
            env = [f"SOLOPRINT_GATEWAY_CAMERA_PORT=+{3 * len(specs) + 1}", "SOLOPRINT_LOG_LEVEL=debug", *more]
            stack.up("--gateway-ca", str(fleet.ca), *(word for pair in env for word in ("--env", pair)))
            with (
                httpx.Client(base_url=stack.url, transport=Http2(stack.cacert), timeout=30) as http,
                stack.connect() as db,
            ):
                base = Api(http, Contract(http.get("/v1/openapi.json").raise_for_status().json()))
                org, other = make_org(stack, db, base), make_org(stack, db, base)
                ids = {
                    row["name"]: str(
                        org.make_printer(
                            **{k: row[k] for k in ("name", "model", "host", "port", "serial")},
                            secret=row["access_code"], enabled=True,
                        )["id"]
                    )
                    for row in fleet.printers
                }  # fmt: skip
                made = Site(stack, fleet, db, org, other, ids)
                made.connected()
                fleet.ctl("set", VIDEO, fields={"ipcam": {"rtsp_url": "rtsps://127.0.0.1:322/streaming/live/1"}})
                until(
                    lambda: db.execute(
                        "SELECT count(*), bool_or(source = 'rtsp') FROM sec.printer_cameras"
                    ).fetchone() == (len(ids), True), 15,
                    what="the gateway has told what cameras there are",
                )  # fmt: skip
                yield made
    finally:
        remove(stack)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with make_site() as made:
        yield made


@pytest.fixture(autouse=True)
def quiet(site: Site) -> Iterator[None]:
    """Nobody looks when a test begins."""
    site.stack.forgive_address()
    yield
    for name in ("one", "two", "faulty", VIDEO):
        site.api.post(site.path(name, "stop"), expect=202)
    for name in ("one", "two", "faulty", *([VIDEO] if HAS_FFMPEG else [])):
        site.closed(name)


# --- pictures -----------------------------------------------------------------------------------


def test_a_snapshot_is_a_picture_of_now(site: Site) -> None:
    first = site.api.get(site.path("one", "snapshot"), expect=200)
    assert first.headers["Content-Type"] == "image/jpeg"
    assert first.content[:2] == b"\xff\xd8" and first.content[-2:] == b"\xff\xd9"
    numbers = {first.content[:64]}
    until(lambda: numbers.add(site.api.get(site.path("one", "snapshot")).content[:64]) or len(numbers) > 2, 10)
    assert site.camera("one")["accepted"] == 1


def test_a_stream_is_pictures_one_after_the_other(site: Site) -> None:
    viewer = site.view("one", 10)
    assert viewer.headers["content-type"] == "multipart/x-mixed-replace;boundary=frame"
    for name in ("last-modified", "etag", "access-control-allow-origin", "vary"):
        assert name not in viewer.headers, viewer.headers
    assert viewer.headers["x-soloprint-api-series"] == "v1" and viewer.headers["x-request-id"]
    until(lambda: len(viewer.pictures) >= 6, 15, what="pictures")
    numbers = [p.number for p in viewer.pictures]
    assert numbers == sorted(set(numbers)), numbers
    viewer.close()


def test_any_number_of_viewers_is_one_connection(site: Site) -> None:
    before = site.camera("one")["accepted"]
    viewers = [site.view("one", fps) for fps in (2, 5, 5, 10, 10, 10, 30, 30)]
    until(lambda: all(len(v.pictures) >= 3 for v in viewers), 20, what="pictures for everyone")
    site.api.get(site.path("one", "snapshot"), expect=200)
    assert site.camera("one")["accepted"] == before + 1
    for viewer in viewers[:-1]:
        viewer.close()
    seen = len(viewers[-1].pictures)
    until(lambda: len(viewers[-1].pictures) > seen + 3, 15, what="the last viewer goes on")
    assert site.camera("one") | {"sent": 0} == site.camera("one") | {"sent": 0, "connections": 1, "accepted": before + 1}
    viewers[-1].close()
    site.closed("one")


def test_no_more_pictures_than_wanted(site: Site) -> None:
    site.fleet.ctl("camera", "two", fps=30)
    slow, fast = site.view("two", 3), site.view("two", 30)
    until(lambda: len(slow.pictures) >= 13, 30, what="pictures")
    for viewer, least, most in ((slow, 2.0, 3.6), (fast, 9.0, 33.0)):
        times = [p.at for p in viewer.pictures]
        rate = (len(times) - 1) / (times[-1] - times[0])
        assert least <= rate <= most, rate
    slow.close()
    fast.close()
    site.fleet.ctl("camera", "two", fps=5)


def test_a_browser_shows_it(site: Site, tmp_path: Path) -> None:
    browser = next((b for b in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if os.path.exists(b)), None)
    if browser is None:
        pytest.skip("no chromium: a browser's own look at <img src=stream> is not proven")
    page = tmp_path / "page.html"
    page.write_text(
        f'<img id=i src="{site.url("one", 5).replace("&", "&amp;")}"><p id=p>nothing</p><script>'
        "setInterval(() => { const i = document.getElementById('i');"
        " if (i.naturalWidth) document.getElementById('p').textContent = 'shown ' + i.naturalWidth; }, 50)</script>"
    )
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking",
         "--disable-component-update", "--ignore-certificate-errors", "--virtual-time-budget=4000", "--timeout=8000",
         f"--user-data-dir={tmp_path}/profile", "--dump-dom", f"file://{page}"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "shown 320" in done.stdout, done.stdout + done.stderr[-2000:]


# --- ends ----------------------------------------------------------------------------------------


def test_stop_ends_everyone_within_a_second(site: Site) -> None:
    viewers = [site.view("one", fps) for fps in (1, 5, 10, 10)]
    until(lambda: all(v.pictures for v in viewers), 15, what="pictures for everyone")
    start = time.monotonic()
    site.api.post(site.path("one", "stop"), expect=202)
    until(lambda: all(v.ended_at for v in viewers), 5, what="the end of every stream")
    assert max(v.ended_at for v in viewers) - start < 1.0
    assert not any(v.error for v in viewers), [v.error for v in viewers]
    until(lambda: site.camera("one")["connections"] == 0, 1, what="the camera's connection is closed")
    again = site.view("one", 10)
    until(lambda: len(again.pictures) > 1, 15, what="pictures for a new viewer")
    again.close()


def test_the_last_viewer_closes_the_camera(site: Site) -> None:
    viewer = site.view("two")
    until(lambda: viewer.pictures, 15, what="pictures")
    assert site.camera("two")["connections"] == 1
    viewer.close()
    site.closed("two")


def test_a_stream_ends_with_its_channel(site: Site) -> None:
    viewer = site.view("one")
    until(lambda: viewer.pictures, 15, what="pictures")
    site.db.execute(
        "UPDATE sec.camera_channels SET ends_at = now() + interval '2 s' WHERE printer_id = %s", [site.ids["one"]]
    )
    site.db.execute("SELECT pg_notify('printer_camera', %s)", [site.ids["one"]])
    until(lambda: viewer.ended_at, 6, what="the end of the stream")


# --- who may look ---------------------------------------------------------------------------------


def sign(site: Site, printer: str, org: Org, fps: int, expires: int) -> str:
    """A URL as the server signs it (lib/auth/sign.h), written a second time."""
    api_key = org.key_id(org.key)
    key = (Path(site.stack.facts["var"]) / "keys" / "url.key").read_bytes()[:32]
    text = f"soloprint camera 2\n{org.id}\n{printer}\n{api_key}\n0\n{fps}\n{expires}\n".encode()
    raw = hashlib.sha256(key).digest()[:4] + hmac.new(key, text, hashlib.sha256).digest()
    sig = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    return f"{site.stack.url}/v1/cameras/{printer}?org={org.id}&exp={expires}&key={api_key}&fps={fps}&sig={sig}"


def get(site: Site, url: str) -> httpx.Response:
    return site.api.with_key("").get(url.removeprefix(site.stack.url))


def test_urls_that_were_not_given_out_are_refused(site: Site) -> None:
    good = site.url("one", 7)
    printer, org, other = site.ids["one"], site.org.id, site.ids["two"]
    key, now = site.org.key_id(site.org.key), int(time.time())
    assert Viewer(sign(site, printer, site.org, 7, now + 30), site.stack.cacert).status == 200
    assert get(site, sign(site, printer, site.org, 7, now - 1)).json()["error"] == "signature_expired"
    for wrong in (
        good.replace("fps=7", "fps=8"), good.replace("fps=7", "fps=07"), good.replace(printer, other),
        good.replace(org, site.other.id), good.replace(key, site.other.key_id(site.other.key)),
        good[:-1] + ("A" if good[-1] != "A" else "B"), good + "&x=1",
        sign(site, printer, site.org, 7, now + 30).replace(f"exp={now + 30}", f"exp={now + 3000}"),
        f"{site.stack.url}/v1/cameras/{printer}",
    ):  # fmt: skip
        answer = site.api.with_key("").get(wrong.removeprefix(site.stack.url))
        assert answer.status_code in (400, 403) and answer.json()["error"] in ("invalid_signature", "unknown_parameter"), wrong


def test_another_organisations_printer_is_a_missing_one(site: Site) -> None:
    nothing = "00000000-0000-7000-8000-000000000000"
    limited = site.org.with_capabilities("operations.read", "printer.manage", printer_ids=[site.ids["two"]])
    for method, what in (("GET", "snapshot"), ("GET", "stream"), ("POST", "stop")):
        missing = site.other.api.request(method, f"/v1/printers/{nothing}/camera/{what}", expect=404)
        for api in (site.other.api, limited):
            answer = api.request(method, site.path("one", what), expect=404)
            assert answer.json() | {"request_id": 0} == missing.json() | {"request_id": 0}
    assert limited.get(site.path("two", "snapshot"), expect=200).content
    assert get(site, sign(site, site.ids["one"], site.other, 5, int(time.time()) + 30)).status_code == 404
    site.org.with_capabilities("operations.read").post(site.path("one", "stop"), expect="insufficient_permissions")


def test_what_nginx_keeps_to_itself(site: Site) -> None:
    for path in (f"/__camera/still/{site.ids['one']}", f"/__camera/stream/{site.ids['one']}.5.1", "/__camera/ended"):
        assert site.api.http.get(path).status_code == 404
    run = Path(site.stack.facts["run"])
    if os.geteuid() != 0:
        pytest.skip("the services' users are one: who may reach a socket is not proven")
    sockets = {"publish/pub": "soloprint-gateway", "events/pub": "soloprint-courier", "snapshots/pub": "soloprint-api"}
    for socket, owner in (sockets | {"nginx/sub": "soloprint"}).items():
        for user in ("soloprint", "soloprint-api", "soloprint-gateway", "soloprint-courier"):
            done = subprocess.run(
                ["setpriv", f"--reuid={user}", "--regid=soloprint", "--clear-groups", "curl", "-s", "--unix-socket",
                 str(run / f"{socket}.sock"), "http://nginx/", "-o", "/dev/null", "-w", "%{http_code}"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert (done.stdout == "404") == (user == owner), (socket, user, done.stdout)


# --- what goes wrong ------------------------------------------------------------------------------


def test_a_stream_ends_with_its_key(site: Site) -> None:
    key = site.org.make_key(["operations.read"])
    url = site.api.with_key(key).get(site.path("one", "stream"), expect=302).json()["url"]
    viewer, other = Viewer(url, site.stack.cacert), site.view("one")
    until(lambda: len(viewer.pictures) > 1, 15, what="pictures")
    site.api.delete(f"/v1/platform/api-keys/{site.org.key_id(key)}")
    until(lambda: viewer.ended_at, 1.5, what="the end of the stream")
    assert get(site, url).json()["error"] == "revoked_api_key"
    seen = len(other.pictures)
    until(lambda: len(other.pictures) > seen, 10, what="pictures for others")
    other.close()


def test_a_printer_without_camera_says_so(site: Site) -> None:
    for what in ("snapshot", "stream"):
        assert "no camera" in site.api.get(site.path("blind", what), expect="unsupported_by_printer").json()["details"]
    site.api.post(site.path("blind", "stop"), expect=202)


def test_a_printer_that_is_not_connected_says_so(site: Site) -> None:
    off = site.org.make_printer(name="off")["id"]
    for what in ("snapshot", "stream"):
        site.api.get(f"/v1/printers/{off}/camera/{what}", expect="printer_not_connected")


def test_a_wrong_code_says_so(site: Site) -> None:
    site.fleet.fault("faulty", "camera_code")
    try:
        first = site.api.get(site.path("faulty", "snapshot"), expect="camera_unavailable").json()
        assert "access code" in first["details"], first
        refused = site.camera("faulty")["refused"]
        for what in ("snapshot", "stream"):
            site.api.get(site.path("faulty", what), expect="camera_unavailable")
        assert site.camera("faulty")["refused"] == refused, "a code that was refused is not tried again at once"
    finally:
        site.fleet.fault("faulty", "camera_code", on=False)
        site.forgive("faulty")
    site.api.get(site.path("faulty", "snapshot"), expect=200)


def test_another_printers_certificate_gets_no_code(site: Site) -> None:
    serials = {row["name"]: row["serial"] for row in site.fleet.printers}
    before = site.camera("faulty")
    site.fleet.ctl("camera", "faulty", show=serials["one"])
    try:
        answer = site.api.get(site.path("faulty", "snapshot"), expect="camera_unavailable").json()
        assert "certificate" in answer["details"], answer
        assert site.camera("faulty")["refused"] == before["refused"]
    finally:
        site.fleet.ctl("camera", "faulty", show=serials["faulty"])
        site.forgive("faulty")


@pytest.mark.parametrize(
    ("kind", "params", "error"),
    [
        ("camera_length", {"bytes": 0xFFFFFFFF}, "camera_unavailable"),
        ("camera_length", {"bytes": 0}, "camera_unavailable"),
        ("camera_length", {"bytes": (2 << 20) + 1}, "camera_unavailable"),
        ("camera_no_jpeg", {}, "camera_unavailable"),
        ("camera_endless", {}, "gateway_timeout"),
        ("camera_silent", {}, "gateway_timeout"),
        ("camera_slow", {}, "gateway_timeout"),
    ],
)
def test_a_hostile_camera_costs_nothing(site: Site, kind: str, params: dict[str, int], error: str) -> None:
    pid, before = site.gateway_pid(), site.gateway_kib()
    site.fleet.fault("faulty", kind, **params)
    try:
        answer = site.api.get(site.path("faulty", "snapshot"), expect=error)
        assert answer.json()["details"]
        assert site.gateway_kib() < before + (128 if SANITIZED else 8) * 1024
        good = site.view("one")
        until(lambda: len(good.pictures) > 1, 10, what="pictures of another printer")
        good.close()
    finally:
        site.fleet.fault("faulty", kind, on=False)
        site.api.post(site.path("faulty", "stop"), expect=202)
        site.closed("faulty")
        site.forgive("faulty")
    site.api.get(site.path("faulty", "snapshot"), expect=200)
    assert site.gateway_pid() == pid


def test_a_camera_that_breaks_off_is_dialled_again(site: Site) -> None:
    site.fleet.fault("faulty", "camera_drop")
    viewer = site.view("faulty")
    try:
        until(lambda: len(viewer.pictures) >= 3, 15, what="pictures of several connections")
        assert not viewer.ended_at
    finally:
        site.fleet.fault("faulty", "camera_drop", on=False)
        viewer.close()


def test_large_pictures_come_whole(site: Site) -> None:
    site.fleet.fault("faulty", "camera_size", bytes=1_900_000)
    try:
        viewer = site.view("faulty", 2)
        until(lambda: len(viewer.pictures) >= 3, 20, what="large pictures")
        assert len(viewer.pictures[0].jpeg) > 1_800_000
        viewer.close()
    finally:
        site.fleet.fault("faulty", "camera_size", on=False)


def test_a_killed_gateway_is_followed_by_another(site: Site) -> None:
    viewer = site.view("one")
    until(lambda: len(viewer.pictures) > 1, 15, what="pictures")
    site.stack.service("kill", "gateway")
    site.closed("one")
    seen = len(viewer.pictures)
    until(lambda: len(viewer.pictures) > seen + 2, 30, what="pictures of the next gateway")
    assert not viewer.ended_at
    viewer.close()
    site.connected()


def fresh_master(site: Site, which: str, old: str) -> bool:
    pid = site.stack.service("pid", which)
    try:
        return pid not in ("0", old) and Path(f"/proc/{pid}/comm").read_text() == "nginx\n"
    except OSError:
        return False


@pytest.mark.parametrize("which", ["nginx", "realtime"])
def test_nginx_may_be_reloaded_and_killed(site: Site, which: str) -> None:
    viewer = site.view("one")
    until(lambda: len(viewer.pictures) > 1, 15, what="pictures")
    for how in ("reload", "kill"):
        old = site.stack.service("pid", which)
        site.stack.service(how, which)
        if how == "kill":  # until then its orphaned workers still answer
            until(lambda o=old: fresh_master(site, which, o), 20, what="another nginx")
        fresh: list[Viewer] = []

        def shown(fresh: list[Viewer] = fresh) -> bool:
            try:
                fresh.append(site.view("one"))
            except (httpx.HTTPError, OSError):
                return False
            try:
                until(lambda: len(fresh[-1].pictures) > 1, 4)
            except AssertionError:
                return False
            return True

        until(shown, 40, every_s=0.2, what=f"a new viewer after {how}")
        for each in fresh:
            each.close()
    viewer.close()


# --- video ----------------------------------------------------------------------------------------


def ffmpegs(site: Site) -> list[bytes]:
    """Command lines and environments of the gateway's children."""
    out, gateway = [], site.gateway_pid()
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((proc / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == gateway:
                out.append((proc / "cmdline").read_bytes() + (proc / "environ").read_bytes())
        except OSError:
            continue
    return out


@pytest.fixture
def decoded() -> None:
    if not HAS_FFMPEG:
        pytest.skip("no ffmpeg: cameras that send video are not proven")


def test_video_becomes_pictures(site: Site, decoded: None) -> None:
    before = site.camera(VIDEO)["accepted"]
    viewers = [site.view(VIDEO, 5), site.view(VIDEO, 10)]
    until(lambda: all(len(v.pictures) > 4 for v in viewers), 30, what="pictures made of video")
    programs = ffmpegs(site)
    assert len(programs) == 1 and b"ffmpeg" in programs[0] and CANARY.encode() not in programs[0]
    assert site.camera(VIDEO)["accepted"] == before + 1
    for viewer in viewers:
        viewer.close()
    until(lambda: not ffmpegs(site), 12, what="the end of ffmpeg")


def test_stop_ends_ffmpeg_too(site: Site, decoded: None) -> None:
    viewer = site.view(VIDEO)
    until(lambda: viewer.pictures, 30, what="pictures")
    site.api.post(site.path(VIDEO, "stop"), expect=202)
    until(lambda: viewer.ended_at and not ffmpegs(site), 1, what="the end of everything")


def test_ffmpeg_dies_with_the_gateway(site: Site, decoded: None) -> None:
    viewer = site.view(VIDEO)
    until(lambda: viewer.pictures, 30, what="pictures")
    viewer.close()
    site.stack.service("kill", "gateway")
    until(lambda: site.camera(VIDEO)["connections"] == 0, 5, what="the end of the connection")
    site.connected()


def test_a_wrong_code_of_video_says_so(site: Site, decoded: None) -> None:
    site.fleet.fault(VIDEO, "camera_code")
    try:
        answer = site.api.get(site.path(VIDEO, "snapshot"), expect="camera_unavailable").json()
        assert "access code" in answer["details"], answer
    finally:
        site.fleet.fault(VIDEO, "camera_code", on=False)
        site.forgive(VIDEO)


def test_without_ffmpeg_the_api_says_so() -> None:
    with make_site("SOLOPRINT_GATEWAY_FFMPEG=/nonexistent") as bare:
        for what in ("snapshot", "stream", "snapshot"):
            answer = bare.api.get(bare.path(VIDEO, what), check=False)
            if what == "stream" and answer.status_code == 302:
                continue
            assert answer.json()["error"] == "camera_unavailable" and "ffmpeg" in answer.json()["details"]
        bare.api.get(bare.path("one", "snapshot"), expect=200)


def test_video_of_another_printer_gets_no_code(site: Site, decoded: None) -> None:
    serials = {row["name"]: row["serial"] for row in site.fleet.printers}
    refused = site.camera(VIDEO)["refused"]
    site.fleet.ctl("camera", VIDEO, show=serials["one"])
    try:
        answer = site.api.get(site.path(VIDEO, "snapshot"), expect="camera_unavailable").json()
        assert "certificate" in answer["details"] and site.camera(VIDEO)["refused"] == refused
    finally:
        site.fleet.ctl("camera", VIDEO, show=serials[VIDEO])
        site.forgive(VIDEO)


def test_the_access_code_is_nowhere(site: Site) -> None:
    viewer = site.view("one")
    until(lambda: viewer.pictures, 15, what="pictures")
    for proc in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = proc.read_bytes()
        except OSError:
            continue
        assert CANARY.encode() not in words, words
    viewer.close()
    for log in (Path(site.stack.facts["log"])).rglob("*"):
        if log.is_file():
            assert CANARY not in log.read_text(errors="replace"), log
    rows = site.db.execute("SELECT c::text FROM sec.printer_cameras AS c").fetchall()
    assert rows and CANARY not in str(rows)
