"""Makes good and hostile files: what no program writes is put together byte by byte."""

from __future__ import annotations

import io
import math
import random
import struct
import zipfile
import zlib
from dataclasses import dataclass, field

Point = tuple[float, float, float]
Triangle = tuple[Point, Point, Point]

CORE = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
RELS = (
    '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Target="{target}" Id="rel0" Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/>'
    "</Relationships>"
)
PNG = (
    b"\x89PNG\r\n\x1a\n"
    + b"\0\0\0\rIHDR"
    + struct.pack(">IIBBBBB", 1, 1, 8, 6, 0, 0, 0)
    + b"\x1f\x15\xc4\x89"
    + b"\0\0\0\nIDATx\x9cc\0\1\0\0\5\0\1"
    + b"\r\n-\xb4"
    + b"\0\0\0\0IEND\xaeB`\x82"
)


def cube(size: float = 10.0, at: Point = (0.0, 0.0, 0.0)) -> list[Triangle]:
    """Twelve triangles."""
    p = [tuple(at[k] + size * (i >> k & 1) for k in range(3)) for i in range(8)]
    sides = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    return [t for a, b, c, d in sides for t in ((p[a], p[b], p[c]), (p[a], p[c], p[d]))]  # type: ignore[misc]


def blob(seed: int, n: int = 24) -> list[Triangle]:
    """A closed bumpy body that is like no other."""
    r = random.Random(seed)
    at = [r.uniform(-80, 80) for _ in range(3)]
    size = [r.uniform(8, 60) for _ in range(3)]
    waves = [(r.randint(1, 6), r.randint(1, 6), r.uniform(0, 6), r.uniform(0, 0.2)) for _ in range(5)]

    def point(i: int, j: int) -> Point:
        u, v = 2 * math.pi * (i % (2 * n)) / (2 * n), math.pi * j / n
        f = 1 + sum(h * math.sin(a * u + b * v + c) for a, b, c, h in waves) * math.sin(v)
        return (
            at[0] + size[0] * f * math.cos(u) * math.sin(v),
            at[1] + size[1] * f * math.sin(u) * math.sin(v),
            at[2] + size[2] * f * math.cos(v),
        )

    out: list[Triangle] = []
    for i in range(2 * n):
        for j in range(n):
            a, b, c, d = point(i, j), point(i + 1, j), point(i + 1, j + 1), point(i, j + 1)
            out += [(a, b, c), (a, c, d)]
    return out


def f32(v: float) -> float:
    return struct.unpack("<f", struct.pack("<f", v))[0]


def moved(mesh: list[Triangle], by: Point) -> list[Triangle]:
    """As a program does that keeps single precision."""
    return [tuple(tuple(f32(f32(p[k]) + by[k]) for k in range(3)) for p in t) for t in mesh]  # type: ignore[misc]


def stl(mesh: list[Triangle], claimed: int | None = None) -> bytes:
    body = b"".join(struct.pack("<12fH", 0, 0, 0, *t[0], *t[1], *t[2], 0) for t in mesh)
    return b"solid in name only".ljust(80, b"\0") + struct.pack("<I", len(mesh) if claimed is None else claimed) + body


def ascii_stl(mesh: list[Triangle], number: str = "%.6g") -> bytes:
    out = ["solid x"]
    for t in mesh:
        out += ["facet normal 0 0 0", " outer loop"]
        out += ["  vertex " + " ".join(number % c for c in p) for p in t]
        out += [" endloop", "endfacet"]
    return "\n".join([*out, "endsolid x", ""]).encode()


def obj(mesh: list[Triangle]) -> bytes:
    out, n = [], 0
    for t in mesh:
        out += [f"v {x!r} {y!r} {z!r}" for x, y, z in t]
        out.append(f"f {n + 1}/1 {n + 2}//2 -1")
        n += 3
    return "\n".join(out).encode()


def model(mesh: list[Triangle] | None = None, unit: str = "millimeter", head: str = "", more: str = "",
          build: str = '<item objectid="1"/>') -> str:  # fmt: skip
    mesh = cube() if mesh is None else mesh
    index: dict[Point, int] = {}
    triangles = [[index.setdefault(p, len(index)) for p in t] for t in mesh]
    vertices = "".join(f'<vertex x="{x!r}" y="{y!r}" z="{z!r}"/>' for x, y, z in index)
    faces = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in triangles)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{head}<model unit="{unit}" xmlns="{CORE}">'
        f'<metadata name="Title">Cube</metadata><metadata name="Application">Test-1.2.3</metadata><resources>'
        f'<object id="1" type="model" name="cube"><mesh><vertices>{vertices}</vertices>'
        f"<triangles>{faces}</triangles></mesh></object>{more}</resources><build>{build}</build></model>"
    )


def threemf(main: str | bytes | None = None, entries: dict[str, bytes | str] | None = None,
            target: str = "/3D/3dmodel.model", method: int = zipfile.ZIP_DEFLATED) -> bytes:  # fmt: skip
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as z:
        z.writestr("_rels/.rels", RELS.format(target=target))
        z.writestr("3D/3dmodel.model", model() if main is None else main)
        for name, content in (entries or {}).items():
            z.writestr(name, content)
    return out.getvalue()


@dataclass
class Entry:
    """One entry, whose headers may say what they like."""

    name: str
    data: bytes
    method: int = 0
    size: int | None = None  # claimed, inflated
    stored: int | None = None  # claimed, in the archive
    crc: int | None = None
    flags: int = 0
    attributes: int = 0
    offset: int | None = None  # claimed place of the local header
    real: bytes = field(default=b"", repr=False)  # what the data inflates to

    def header(self) -> tuple[int, int, int]:
        real = self.real or self.data
        return (
            zlib.crc32(real) if self.crc is None else self.crc,
            len(self.data) if self.stored is None else self.stored,
            len(real) if self.size is None else self.size,
        )

    def local(self) -> bytes:
        name = self.name.encode()
        return (
            struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, self.flags, self.method, 0, 33, *self.header(), len(name), 0)
            + name + self.data
        )  # fmt: skip

    def central(self, offset: int) -> bytes:
        name = self.name.encode()
        return struct.pack(
            "<4sHHHHHHIIIHHHHHII", b"PK\1\2", 3 << 8 | 20, 20, self.flags, self.method, 0, 33, *self.header(),
            len(name), 0, 0, 0, 0, self.attributes, offset if self.offset is None else self.offset,
        ) + name  # fmt: skip


def deflated(name: str, content: bytes, **more: object) -> Entry:
    c = zlib.compressobj(9, zlib.DEFLATED, -15)
    return Entry(name, c.compress(content) + c.flush(), 8, real=content, **more)  # type: ignore[arg-type]


def archive(entries: list[Entry], count: int | None = None, locals_of: list[Entry] | None = None) -> bytes:
    """locals_of: whose local headers are there; all of them without it."""
    out, offsets = b"", []
    for e in entries:
        offsets.append(len(out))
        if locals_of is None or e in locals_of:
            out += e.local()
    directory = b"".join(e.central(o) for e, o in zip(entries, offsets, strict=True))
    n = len(entries) if count is None else count
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, n & 0xFFFF, n & 0xFFFF, len(directory), len(out), 0)
    return out + directory + end


def package(*entries: Entry) -> list[Entry]:
    """A good 3MF's entries and these."""
    return [
        deflated("_rels/.rels", RELS.format(target="/3D/3dmodel.model").encode()),
        deflated("3D/3dmodel.model", model().encode()),
        *entries,
    ]
