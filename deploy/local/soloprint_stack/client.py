"""A small client of the service itself."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any


class Client:
    def __init__(self, url: str, ca: Path, key: str = "") -> None:
        self.url = url
        self.key = key
        self.context = ssl.create_default_context(cafile=str(ca))
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.context)
        )

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and decoded body; status 0 when nobody answers."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.url + path, data=data, method=method)
        request.add_header("Accept", "application/json")
        if data is not None:
            request.add_header("Content-Type", "application/json")
        if self.key:
            request.add_header("Authorization", f"Bearer {self.key}")
        try:
            with self.opener.open(request, timeout=10) as answer:
                return answer.status, decode(answer.read())
        except urllib.error.HTTPError as e:
            return e.code, decode(e.read())
        except (OSError, urllib.error.URLError):
            return 0, None

    def status(self, path: str) -> int:
        return self.call("GET", path)[0]


def decode(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
