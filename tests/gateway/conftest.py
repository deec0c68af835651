"""A private Postgres per session and a virtual fleet, a gateway and an organisation per module."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "printers")]

from rig import BUILD, Postgres, World  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not (BUILD / "bin" / "soloprint-gateway").exists():
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=f"no gateway in {BUILD}: run make"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with Postgres() as running:
        yield running


@pytest.fixture(scope="module")
def world(postgres: Postgres, request: pytest.FixtureRequest) -> Iterator[World]:
    """PRINTERS of the module says which virtual printers it wants, FLAGS what else the fleet is told."""
    module = request.module
    with World(postgres, module.PRINTERS, getattr(module, "FLAGS", ())) as running:
        yield running
