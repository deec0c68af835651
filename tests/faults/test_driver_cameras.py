"""Webcams that printers' servers name, from there to a viewer: Moonraker, OctoPrint, PrusaLink."""

from __future__ import annotations

import http.server
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from api import Api, Http2
from contract import Contract
from stack import new_stack, remove
from streams import Viewer
from test_webcams import snapshot, stream
from wait import until
from world import Org, make_org

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "printers"))
from virtual_fleet.harness import RunningFleet  # noqa: E402


class Handler(http.server.BaseHTTPRequestHandler):
    """mjpg-streamer's two questions."""

    def do_GET(self) -> None:
        try:
            stream(self) if "stream" in self.path else snapshot(self)
        except OSError:
            pass  # nobody looks any more

    def log_message(self, *_args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def webcam() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/webcam/?action="
    server.shutdown()


@pytest.fixture(scope="module")
def site(webcam: str) -> Iterator[tuple[Org, dict[str, str], str]]:
    urls = {"stream": f"{webcam}stream", "snapshot": f"{webcam}snapshot"}
    cam = {"name": "cam", "service": "mjpegstreamer", "stream_url": urls["stream"], "snapshot_url": urls["snapshot"]}
    specs: list[dict[str, Any]] = [
        {"name": "klipper", "protocol": "moonraker", "webcams": [cam]},
        {"name": "octo", "protocol": "octoprint", "camera": urls},
    ]
    stack = new_stack()
    try:
        with RunningFleet(stack.folder / "fleet", specs) as fleet:
            stack.up("--gateway-ca", str(fleet.ca))
            with httpx.Client(base_url=stack.url, transport=Http2(stack.cacert), timeout=30) as client, stack.connect() as db:
                base = Api(client, Contract(client.get("/v1/openapi.json").raise_for_status().json()))
                org = make_org(stack, db, base)
                ids = {
                    row["name"]: str(
                        org.make_printer(
                            **{k: row[k] for k in ("name", "protocol", "host", "port")},
                            secret=row["access_code"], enabled=True,
                        )["id"]
                    )
                    for row in fleet.printers
                }  # fmt: skip
                known = "SELECT count(*) FROM sec.printer_cameras WHERE source <> 'none'"
                until(lambda: db.execute(known).fetchone() == (len(specs),), 30, what="their cameras are known")
                yield org, ids, str(stack.cacert)
    finally:
        remove(stack)


@pytest.mark.parametrize("name", ["klipper", "octo"])
def test_a_picture(site: tuple[Org, dict[str, str], str], name: str) -> None:
    org, ids, _ = site
    answer = org.api.get(f"/v1/printers/{ids[name]}/camera/snapshot", expect=200)
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.content.startswith(b"\xff\xd8\xff") and answer.content.endswith(b"\xff\xd9")


@pytest.mark.parametrize("name", ["klipper", "octo"])
def test_a_stream(site: tuple[Org, dict[str, str], str], name: str) -> None:
    org, ids, cacert = site
    url = org.api.get(f"/v1/printers/{ids[name]}/camera/stream?fps=10", expect=302).headers["Location"]
    viewer = Viewer(url, cacert)
    try:
        assert viewer.status == 200
        until(lambda: len(viewer.pictures) >= 3, 20, what="pictures")
    finally:
        viewer.close()
        org.api.post(f"/v1/printers/{ids[name]}/camera/stop", expect=202)
