"""A private Postgres per session and a virtual fleet, a gateway and an organisation per module."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "printers")]

pytest.register_assert_rewrite("conformance")

from rig import BUILD, Gateway, Postgres, World  # noqa: E402
from virtual_fleet.harness import wait_for  # noqa: E402


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

@pytest.fixture(scope="module")
def gateway(world: World, request: pytest.FixtureRequest) -> Gateway:
    """A gateway while the printers that the module calls GOOD are printing."""
    good = getattr(request.module, "GOOD", ())
    running = world.start_gateway()
    world.wait_connected()
    for name in good:
        world.fleet.ctl("print", name)
    for name in good:
        world.wait_state(name, "printing", 30)
    return running


@pytest.fixture
def unharmed(world: World, gateway: Gateway, request: pytest.FixtureRequest) -> Iterator[None]:
    """After the test the same process still brings fresh reports of the good printers."""
    yield
    last = world.gateways[-1]
    assert last.alive, last.log_path.read_text()[-2000:]
    for name in request.module.GOOD:
        world.wait_connected(name, timeout_s=40)
        layer = world.status(name)["job"]["layer"]
        wait_for(lambda: world.status(name)["job"]["layer"] > layer, 15, f"new layer of {name}")  # noqa: B023
