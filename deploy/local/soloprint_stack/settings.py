"""What one run was told; kept in stack.json so that the next run, and the tests, find it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Settings:
    port: int = 8443
    listen: list[str] = field(default_factory=list)  # addresses
    workers: int = 8  # of the pool "api"
    max_requests: int = 20000
    rate: int = 500
    burst: int = 1000
    conns: int = 1000
    access_log: bool = True
    gateways: int = 1
    gateway_ca: str = ""
    couriers: int = 1
    fleet: int = 5  # virtual printers; 0: none
    fleet_port: int = 0
    env: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"https://{'127.0.0.1' if not self.listen else bracket(reachable_as(self.listen[0]))}:{self.port}"


def reachable_as(address: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)


def bracket(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def load(path: Path) -> Settings | None:
    """None when there is none, or one of another version of this tool."""
    try:
        return Settings(**json.loads(path.read_text())["settings"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save(path: Path, settings: Settings, facts: dict[str, object]) -> None:
    path.write_text(json.dumps(facts | {"settings": asdict(settings)}, indent=1) + "\n")
