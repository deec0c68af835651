"""Replays recordings of real printers: what they said to pushall and to get_version, unchanged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .models import Json, Model
from .printer import Clock, Printer


def load(folder: Path, pattern: str) -> list[Json]:
    """Messages of the recordings whose names match, in the order of the names; provenance is left out."""
    return [json.loads(path.read_text())["message"] for path in sorted(folder.glob(pattern))]


class RecordedPrinter(Printer):
    """Says what was recorded when asked, and nothing else but a sign of life per interval."""

    def __init__(self, model: Model, serial: str, clock: Clock, publish: Any, options: Json) -> None:
        super().__init__(model, serial, clock, publish, options)
        folder = Path(options["recording"])
        self.full = load(folder, "pushall-*.json")
        self.version = load(folder, "get_version-*.json")
        self.record = self.full[0]["print"]
        self.sent = self.record

    def _physics(self, seconds: float) -> None:
        pass

    def _render_temps(self) -> None:
        pass

    def report(self, full: bool = False) -> None:
        if full:
            for message in self.full:
                self.say(message)

    def _on_info(self, command: str, body: Json) -> None:
        if command == "get_version" and self.version:
            message = self.version[0]
            self.say({"info": message["info"] | {"sequence_id": body.get("sequence_id", "0")}})
