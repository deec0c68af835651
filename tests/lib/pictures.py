"""Pictures for those who wait, published as a gateway does: for tests of the API without one."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time

import psycopg
from stack import Stack

PICTURE = b"\xff\xd8\xff\xd9"


class Publisher(http.client.HTTPConnection):
    def __init__(self, stack: Stack) -> None:
        super().__init__("nginx", timeout=5)
        self.path = f"{stack.facts['run']}/publish/pub.sock"

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)

    def call(self, method: str, channel: str, body: bytes | None = None) -> int:
        """How many look."""
        self.request(method, f"/{channel}", body, {"Accept": "application/json", "Content-Type": "image/jpeg"})
        answer = self.getresponse()
        text = answer.read()
        return int(json.loads(text)["subscribers"]) if answer.status in (200, 201, 202) else 0


def serve_once(stack: Stack, printer: str, seconds: float = 8) -> None:
    """In the background: a picture to whoever waits for one of this printer, and the end of streams that had theirs."""
    threading.Thread(target=_serve, args=(stack, printer, seconds), daemon=True).start()


def _serve(stack: Stack, printer: str, seconds: float) -> None:
    publisher, deadline, served = Publisher(stack), time.monotonic() + seconds, False
    part = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(PICTURE), PICTURE)
    # Nobody may ask after all, until the stack goes away.
    with contextlib.suppress(psycopg.Error, OSError, http.client.HTTPException), stack.connect() as db:
        while time.monotonic() < deadline and not served:
            query = "SELECT fps, id FROM sec.camera_channels WHERE printer_id = %s AND NOT stopped"
            for fps, number in db.execute(query, [printer]).fetchall():
                channel = f"stream/{printer}.{fps}.{number}" if fps else f"still/{printer}"
                served = publisher.call("POST", channel, part if fps else PICTURE) > 0
                if served and fps:
                    publisher.call("DELETE", channel)
            time.sleep(0.02)
    publisher.close()
