"""Webcams beside printers: single pictures and streams over HTTP, as they should be and as they should not."""

from __future__ import annotations

import http.server
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from stack import BUILD

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "printers"))
from virtual_fleet.camera import picture  # noqa: E402
from virtual_fleet.certs import Authority  # noqa: E402
from virtual_fleet.harness import RunningFleet  # noqa: E402

PROBE = BUILD / "stub" / "camera_probe"
pytestmark = pytest.mark.skipif(not PROBE.exists(), reason=f"no {PROBE}: run make stubs")
Handler = http.server.BaseHTTPRequestHandler


def snapshot(h: Handler) -> None:
    body = picture(1, 50_000)
    h.send_response(200)
    h.send_header("Content-Type", "image/jpeg")
    h.send_header("Content-Length", str(len(body)))
    h.end_headers()
    h.wfile.write(body)


def stream(h: Handler) -> None:
    h.send_response(200)
    h.send_header("Content-Type", "multipart/x-mixed-replace;boundary=boundarydonotcross")
    h.end_headers()
    for number in range(200):
        body = picture(number)
        h.wfile.write(b"--boundarydonotcross\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(body))
        for at in range(0, len(body), 700):  # markers fall between reads
            h.wfile.write(body[at : at + 700])
        h.wfile.write(b"\r\n")
        time.sleep(0.02)


def endless(h: Handler) -> None:
    """A picture that never ends."""
    h.send_response(200)
    h.end_headers()
    h.wfile.write(picture(0)[:1000])
    for _ in range(2000):
        h.wfile.write(b"\x00" * 16384)


def noise(h: Handler) -> None:
    h.send_response(200)
    h.end_headers()
    for _ in range(500):
        h.wfile.write(b"\xff\x00" * 8192)


def page(h: Handler) -> None:
    body = b"<html>no picture here</html>"
    h.send_response(200)
    h.send_header("Content-Length", str(len(body)))
    h.end_headers()
    h.wfile.write(body)


def large(h: Handler) -> None:
    body = picture(0, 3 << 20)
    h.send_response(200)
    h.send_header("Content-Length", str(len(body)))
    h.end_headers()
    h.wfile.write(body)


def refused(h: Handler) -> None:
    h.send_response(401)
    h.send_header("Content-Length", "0")
    h.end_headers()


def digest(h: Handler) -> None:
    if "Digest" in (h.headers.get("Authorization") or ""):
        snapshot(h)
        return
    h.send_response(401)
    h.send_header("WWW-Authenticate", 'Digest realm="printer", nonce="5f1e", qop="auth"')
    h.send_header("Content-Length", "0")
    h.end_headers()


@dataclass
class Webcam:
    url: str
    requests: list[str] = field(default_factory=list)  # their Authorization headers


WAYS: dict[str, Callable[[Handler], None]] = {
    f"/{f.__name__}": f for f in (snapshot, stream, endless, noise, page, large, refused, digest)
}


@pytest.fixture(scope="module")
def webcam() -> Iterator[Webcam]:
    seen: list[str] = []

    class Serving(Handler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:  # noqa: N802
            seen.append(self.headers.get("Authorization") or "")
            self.close_connection = self.path in ("/stream", "/endless", "/noise")
            try:
                WAYS[self.path](self)
            except OSError:
                self.close_connection = True

        def log_message(self, *_args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Serving)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Webcam(f"http://127.0.0.1:{server.server_address[1]}", seen)
    server.shutdown()


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Authority(tmp_path_factory.mktemp("ca")).path


def probe(ca: Path, kind: str, url: str, fps: int, count: int, *login: str) -> list[str]:
    """Sizes of the pictures, then how it ended. Bounded memory is part of every case."""
    limits = [] if b"__asan_init" in PROBE.read_bytes() else ["prlimit", "--as=400000000"]
    done = subprocess.run(
        [*limits, str(PROBE), kind, url, str(fps), str(count), *login],
        env={**os.environ, "CA": str(ca)}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout.split()


def test_single_pictures_come_at_the_wanted_pace(ca: Path, webcam: Webcam) -> None:
    start = time.monotonic()
    lines = probe(ca, "http", f"{webcam.url}/snapshot", 5, 6)
    assert lines[-1] == "enough" and len(lines) == 7 and int(lines[0]) >= 50_000
    assert 0.9 < time.monotonic() - start < 5


def test_a_stream_is_cut_into_its_pictures(ca: Path, webcam: Webcam) -> None:
    assert probe(ca, "mjpeg", f"{webcam.url}/stream", 5, 40) == [*(str(len(picture(n))) for n in range(40)), "enough"]


@pytest.mark.parametrize(
    ("kind", "path", "end"),
    [
        ("mjpeg", "/endless", "broken"), ("mjpeg", "/noise", "broken"), ("mjpeg", "/page", "broken"),
        ("mjpeg", "/refused", "wrong_access_code"), ("http", "/refused", "wrong_access_code"),
        ("http", "/page", "broken"), ("http", "/large", "broken"), ("http", "/endless", "broken"),
    ],
)  # fmt: skip
def test_what_is_no_picture_ends_it(ca: Path, webcam: Webcam, kind: str, path: str, end: str) -> None:
    assert probe(ca, kind, webcam.url + path, 5, 5) == [end]


def test_nobody_there(ca: Path) -> None:
    assert probe(ca, "http", "http://127.0.0.1:9/x.jpg", 5, 1) == ["unreachable"]
    assert probe(ca, "mjpeg", "http://no-such-host.invalid/x", 5, 1) == ["unreachable"]


def test_a_printers_own_server_is_told_user_or_key(ca: Path) -> None:
    """PrusaLink's snapshot: the secret may have the user before it, or be a key."""
    folder = Path(tempfile.mkdtemp(prefix="slp-fleet-", dir="/tmp"))
    spec = {"name": "link", "protocol": "prusalink", "flavour": "link", "user": "anna", "camera": True}
    with RunningFleet(folder, [spec]) as fleet:
        (row,) = fleet.printers
        url, code = f"http://127.0.0.1:{row['port']}/api/v1/cameras/snap", row["access_code"]
        logins = [("anna", f"anna:{code}"), ("anna", code), ("", f"{code}-key"), ("", f":{code}-key")]
        for login in logins:
            assert probe(ca, "http", url, 5, 1, *login)[-1] == "enough", login
        assert set(fleet.describe("link")["auth"]) == {"bare", "digest", "key"}
        for login in (("anna", "bert:" + code), ("", code)):
            assert probe(ca, "http", url, 5, 1, *login) == ["wrong_access_code"]
    shutil.rmtree(folder)


def test_a_login_is_told_only_where_a_user_is_named(ca: Path, webcam: Webcam) -> None:
    webcam.requests.clear()
    assert probe(ca, "http", f"{webcam.url}/digest", 5, 1) == ["wrong_access_code"]
    assert webcam.requests == [""]
    assert probe(ca, "http", f"{webcam.url}/digest", 5, 1, "maker", "hunter2")[-1] == "enough"
    assert not any("hunter2" in r or r.startswith("Basic") for r in webcam.requests)
