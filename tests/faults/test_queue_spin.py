"""Dispatch as a model whose every interleaving spin walks (tests/spin/dispatch.pml): it holds, and with any of its safeguards
taken out it does not."""

from __future__ import annotations

import re
import shutil
import subprocess
import warnings
from pathlib import Path

import pytest

MODEL = Path(__file__).resolve().parents[1] / "spin" / "dispatch.pml"
ONE_ITEM = ("-DITEMS=1", "-DPRINTERS=2")
TWO_ITEMS = ("-DITEMS=2", "-DPRINTERS=1")
ONCE, NOT_BLIND, NOT_BARRED, ONE_HOLDER = "issued[g]<=1", "closed[1]", "barred[g]", "item[0].printer==item[1].printer"


@pytest.fixture(autouse=True)
def needs_spin() -> None:
    if not (shutil.which("spin") and shutil.which("gcc")):
        warnings.warn("SKIPPED: the model of dispatch is not checked: Debian's package spin is not installed", stacklevel=1)
        pytest.skip("spin is not installed (deploy/local/install test)")


def walk(folder: Path, *defines: str, optimize: str = "-O0", timeout_s: float = 60) -> str:
    """What pan says of the model with these defines."""
    made = subprocess.run(["spin", *defines, "-a", str(MODEL)], cwd=folder, capture_output=True, text=True, timeout=20, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    memory = ("-DSAFETY", "-DCOLLAPSE", "-DMEMLIM=2000")
    subprocess.run(["gcc", optimize, "-w", *memory, "-o", "pan", "pan.c"], cwd=folder, check=True, timeout=60)
    done = subprocess.run(["./pan", "-m100000", "-w21"], cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False)
    states = re.search(r"(\d+) states, stored", done.stdout)
    print(f"{' '.join(defines)}: {states[1] if states else '?'} states")
    return done.stdout


def holds(said: str) -> bool:
    assert "max search depth too small" not in said and "out of memory" not in said, said
    return "errors: 0" in said


def unreached(said: str) -> list[str]:
    return [line for line in re.findall(r"dispatch\.pml:\d+, state \d+, \"(.*)\"", said) if line != "-end-"]


def test_one_item_two_printers(tmp_path: Path) -> None:
    """Crashes, takeovers, cancels, deletions, resolutions; and no line of the model is idle."""
    said = walk(tmp_path, *ONE_ITEM, "-DHUMAN=2", optimize="-O1")
    assert holds(said), said
    assert unreached(said) == []


@pytest.mark.parametrize("without", [(), ("-DNO_LOCK",), ("-DNO_INDEX",)], ids=["all", "no lock", "no index"])
def test_two_items_one_printer(tmp_path: Path, without: tuple[str, ...]) -> None:
    """The printer's lock keeps it for one; where the lock fails, the unique index does."""
    said = walk(tmp_path, *TWO_ITEMS, "-DHUMAN=0", *without)
    assert holds(said), said


@pytest.mark.soak
@pytest.mark.parametrize(
    "size",
    [(*TWO_ITEMS, "-DHUMAN=2"), (*ONE_ITEM, "-DHUMAN=2", "-DTAKEOVERS=2"),
     ("-DITEMS=2", "-DPRINTERS=2", "-DHUMAN=1", "-DCRASHES=0", "-DTAKEOVERS=0")],
    ids=["two items", "two takeovers", "two of both"],
)  # fmt: skip
def test_more_of_everything(tmp_path: Path, size: tuple[str, ...]) -> None:
    said = walk(tmp_path, *size, optimize="-O2", timeout_s=600)
    assert holds(said), said


@pytest.mark.parametrize(
    ("without", "breaks"),
    [
        (("NO_CAS",), NOT_BLIND),
        (("START_FIRST",), ONCE),
        (("RESEND",), ONCE),
        (("NO_FENCE",), ONCE),
        (("NO_CANCEL",), NOT_BARRED),
        (("BLIND",), NOT_BLIND),
        (("NO_LOCK", "NO_INDEX"), ONE_HOLDER),
    ],
    ids=lambda v: "+".join(v) if isinstance(v, tuple) else "",
)
def test_without_a_safeguard_it_breaks(tmp_path: Path, without: tuple[str, ...], breaks: str) -> None:
    size = (*TWO_ITEMS, "-DHUMAN=0") if "NO_LOCK" in without else (*ONE_ITEM, "-DHUMAN=1")
    said = walk(tmp_path, *size, *(f"-D{each}" for each in without))
    assert not holds(said), said
    broken = re.search(r"assertion violated (.*) \(at depth", said)
    assert broken and breaks in broken[1], said
