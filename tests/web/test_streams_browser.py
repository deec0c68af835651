"""A real browser's EventSource and WebSocket, on a page of another origin, by a signed URL."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from stack import Stack
from wait import until
from world import Org

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here: install the package chromium")

PAGE = """<!DOCTYPE html><title>streams</title><script>
const say = (what) => fetch('/said', {method: 'POST', body: JSON.stringify(what)});
fetch('/urls').then((r) => r.json()).then(({sse, ws, bad}) => {
  const source = new EventSource(sse);
  source.onopen = () => say({from: 'sse', type: 'open'});
  source.onmessage = (m) => say({from: 'sse', id: m.lastEventId, ...JSON.parse(m.data)});
  source.addEventListener('ping', () => say({from: 'sse', type: 'ping'}));
  source.onerror = () => say({from: 'sse', type: 'error', state: source.readyState});
  const socket = new WebSocket(ws);
  socket.onopen = () => say({from: 'ws', type: 'open'});
  socket.onmessage = (m) => say({from: 'ws', ...JSON.parse(m.data)});
  socket.onclose = () => say({from: 'ws', type: 'close'});
  const wrong = new EventSource(bad);
  wrong.onerror = () => say({from: 'bad', type: 'error', state: wrong.readyState});
});
</script>"""


class Site(ThreadingHTTPServer):
    """Serves the page and hears what it says."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.urls: Callable[[], dict[str, str]] = dict
        self.said: list[dict[str, Any]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def heard(self, from_: str, type_: str, **more: Any) -> list[dict[str, Any]]:
        wanted = {"from": from_, "type": type_, **more}
        return [x for x in list(self.said) if wanted.items() <= x.items()]


class Handler(BaseHTTPRequestHandler):
    server: Site

    def _send(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path == "/urls":
            self._send("application/json", json.dumps(self.server.urls()).encode())
        else:
            self._send("text/html; charset=utf-8", PAGE.encode() if self.path == "/" else b"")

    def do_POST(self) -> None:
        self.server.said.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._send("text/plain", b"")

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    server = Site()
    yield server
    server.shutdown()
    server.server_close()


def browser(site: Site, profile: Path) -> subprocess.Popen[bytes]:
    """--ignore-certificate-errors: the stack's authority is its own. Everything else is as it comes."""
    command = [
        str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}",
        "--ignore-certificate-errors", f"http://127.0.0.1:{site.server_address[1]}/",
    ]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_event_source_and_websocket(org: Org, stack: Stack, site: Site, tmp_path: Path) -> None:
    key = org.make_key(["operations.read"])
    api = org.base.with_key(key)

    def urls() -> dict[str, str]:
        url = str(api.post("/v1/events/token", {}, expect=200).json()["url"])
        return {"sse": url, "ws": url.replace("https:", "wss:"), "bad": url[:-4] + "AAAA"}

    site.urls = urls
    process = browser(site, tmp_path / "profile")
    try:
        until(lambda: site.heard("sse", "stream.snapshot") and site.heard("ws", "stream.snapshot"), 45, what="both snapshots")
        made = org.make_printer(name="seen by a browser")
        for way in ("sse", "ws"):
            until(lambda w=way: site.heard(w, "printer.created"), 5, what=f"the event by {way}")
            got = site.heard(way, "printer.created")[0]
            assert got["data"]["printer_id"] == made["id"] and got["organization_id"] == org.id
            order = [x["type"] for x in site.said if x["from"] == way]
            assert order.index("stream.snapshot") < order.index("printer.created")
        assert site.heard("sse", "printer.created")[0]["id"]
        # What is refused is not asked for again: readyState 2 is CLOSED.
        until(lambda: site.heard("bad", "error", state=2), 10, what="the refusal")
        # The connection breaks: EventSource opens the URL again, with Last-Event-ID.
        stack.service("reload", "nginx")
        until(lambda: len(site.heard("sse", "open")) > 1, 45, what="EventSource's second try")
        org.make_printer(name="after the reload")
        until(lambda: [x for x in site.heard("sse", "printer.created") if x["data"]["name"] == "after the reload"], 10)
        # The key is revoked: both end, and EventSource is refused when it tries.
        org.api.delete(f"/v1/platform/api-keys/{org.key_id(key)}", expect=204)
        until(lambda: site.heard("ws", "close"), 5, what="the WebSocket's end")
        until(lambda: site.heard("sse", "error", state=2), 15, what="EventSource's end")
    finally:
        process.terminate()
        process.wait(20)
