"""Meshes through the real soloprint-scan, and through Debian's PrusaSlicer: its own numbers, and one key for one mesh
whatever file it comes in."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent / "hostile"))

import craft  # noqa: E402
from scanner import Scanned, scan  # noqa: E402

SLICER = shutil.which("prusa-slicer")
needs_slicer = pytest.mark.skipif(not SLICER, reason="prusa-slicer is not installed")


def slicer(folder: Path, *args: str) -> str:
    assert SLICER
    done = subprocess.run([SLICER, *args], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def size(got: Scanned) -> list[float]:
    box = got.meta["bounding_box"]
    return [box["max"][k] - box["min"][k] for k in ("x_mm", "y_mm", "z_mm")]


def same_mesh(a: Scanned, b: Scanned) -> bool:
    return bool(set(a.keys) & set(b.keys))


def test_one_mesh_has_one_key_in_every_format(tmp_path: Path) -> None:
    mesh = craft.blob(5)
    binary = scan(write(tmp_path, "a.stl", craft.stl(mesh)))
    assert binary.code is None and binary.meta["triangle_count"] == len(mesh)
    assert len(binary.keys) == 2 and all(re.fullmatch(r"mesh:[0-9a-f]{64}", k) for k in binary.keys)
    others = [
        scan(write(tmp_path, "ascii.stl", craft.ascii_stl(mesh))),
        scan(write(tmp_path, "exact.stl", craft.ascii_stl(mesh, "%.9e"))),
        scan(write(tmp_path, "shuffled.stl", craft.stl([(t[1], t[2], t[0]) for t in reversed(mesh)]))),
        scan(write(tmp_path, "moved.stl", craft.stl(craft.moved(mesh, (123.4, -77.7, 0.1))))),
        scan(write(tmp_path, "a.obj", craft.obj(mesh))),
        scan(write(tmp_path, "a.3mf", craft.threemf(craft.model(mesh)))),
    ]
    for other in others:
        assert other.code is None
        assert same_mesh(binary, other)
    inches = [tuple(tuple(c / 25.4 for c in p) for p in t) for t in mesh]
    assert same_mesh(binary, scan(write(tmp_path, "b.3mf", craft.threemf(craft.model(inches, unit="inch")))))  # type: ignore[arg-type]


def test_other_meshes_have_other_keys(tmp_path: Path) -> None:
    mesh = craft.blob(6)
    one = scan(write(tmp_path, "a.stl", craft.stl(mesh)))
    mirrored = [tuple((-x, y, z) for x, y, z in t) for t in mesh]
    scaled = [tuple((1.001 * x, y, z) for x, y, z in t) for t in mesh]
    turned = [tuple((y, -x, z) for x, y, z in t) for t in mesh]
    for other in (mirrored, scaled, turned, mesh[:50] + mesh[51:], craft.blob(7)):
        assert not same_mesh(one, scan(write(tmp_path, "b.stl", craft.stl(other))))  # type: ignore[arg-type]


def test_a_million_triangles_fit(tmp_path: Path) -> None:
    mesh = craft.blob(8, 100)
    one = craft.stl(mesh)
    path = write(tmp_path, "a.stl", one[:80] + (len(mesh) * 25).to_bytes(4, "little") + one[84:] * 25)
    got = scan(path)
    assert got.code is None and got.meta["triangle_count"] == 25 * len(mesh) == 1000000
    assert got.is_within_limits() and got.rss_mib < 64


@needs_slicer
@pytest.mark.parametrize("seed", range(20, 26))
def test_prusaslicer_exports_what_is_known_again(seed: int, tmp_path: Path) -> None:
    mesh = craft.blob(seed)
    stl = scan(write(tmp_path, "part.stl", craft.stl(mesh)))
    info = dict(re.findall(r"^(\w+) = ([-\d.]+)$", slicer(tmp_path, "--info", "part.stl"), re.M))
    assert size(stl) == pytest.approx([float(info[f"size_{k}"]) for k in "xyz"], abs=2e-4)
    assert [stl.meta["bounding_box"]["min"][f"{k}_mm"] for k in "xyz"] == pytest.approx(
        [float(info[f"min_{k}"]) for k in "xyz"], abs=2e-4)  # fmt: skip

    slicer(tmp_path, "--export-3mf", "-o", "part.3mf", "part.stl")
    project = scan(tmp_path / "part.3mf")
    assert project.code is None and project.answer["kind"] == "3mf"
    assert project.meta["slicer"]["name"] == "PrusaSlicer" and re.fullmatch(r"[\d.]+", project.meta["slicer"]["version"])
    assert project.meta["objects"] == [{"name": "part.stl"}]
    assert project.meta["title"] == "part"
    assert project.meta["triangle_count"] == int(info["number_of_facets"])
    assert size(project) == pytest.approx(size(stl), abs=1e-3)
    assert same_mesh(stl, project), "the object of the 3MF is the STL's mesh"

    slicer(tmp_path, "--export-obj", "-o", "part.obj", "part.stl")
    slicer(tmp_path, "--export-stl", "-o", "again.stl", "part.stl")
    for again in ("part.obj", "again.stl"):
        assert same_mesh(stl, scan(tmp_path / again)), again


@needs_slicer
def test_prusaslicer_turns_the_mesh_itself(tmp_path: Path) -> None:
    write(tmp_path, "part.stl", craft.stl([tuple((x, 2 * y, 3 * z) for x, y, z in t) for t in craft.cube()]))  # type: ignore[misc]
    slicer(tmp_path, "--rotate", "90", "--export-3mf", "-o", "part.3mf", "part.stl")
    project = scan(tmp_path / "part.3mf")
    assert size(project) == pytest.approx([20, 10, 30], abs=1e-3)
    assert project.meta["bounding_box"]["min"]["z_mm"] == pytest.approx(0, abs=1e-3)
    assert not same_mesh(scan(tmp_path / "part.stl"), project)
    slicer(tmp_path, "--center", "150,140", "--export-3mf", "-o", "moved.3mf", "part.stl")
    moved = scan(tmp_path / "moved.3mf")
    assert moved.meta["bounding_box"]["min"]["x_mm"] == pytest.approx(145, abs=1e-3)
    assert same_mesh(scan(tmp_path / "part.stl"), moved)
