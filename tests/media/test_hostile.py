"""Hostile files through the real soloprint-scan: each gets a clear reason within the time and the memory it has, and what
was good of it is kept."""

from __future__ import annotations

import os
import random
import struct
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent / "hostile"))

import craft  # noqa: E402
from craft import Entry, archive, ascii_stl, cube, deflated, model, package, stl, threemf  # noqa: E402
from scanner import SANITIZED, scan, scan_form  # noqa: E402

MIB = 1 << 20
PADDING = b" " * MIB


def bomb_flat() -> bytes:
    return threemf(model().replace("<build>", " " * (96 * MIB) + "<build>"))


def bomb_of_many() -> bytes:
    """Ten parts of 60 MiB each, none of a suspicious ratio."""
    r = random.Random(1)
    noise = "".join(f"<!--{r.getrandbits(4 << 16):x}-->" for _ in range(48))
    part = f'<model xmlns="{craft.CORE}">{noise}{" " * (56 * MIB)}</model>'
    more = "".join(f'<object id="{i}"><components><component objectid="1" path="/3D/{i}.model"/></components></object>'
                   for i in range(10, 20))  # fmt: skip
    return threemf(model(more=more), {f"3D/{i}.model": part for i in range(10, 20)})


def bomb_nested() -> bytes:
    inner = threemf(entries={"zeros": b"\0" * (8 * MIB)})
    for _ in range(5):
        inner = threemf(entries={f"{i}.zip": inner for i in range(4)})
    return inner


def bomb_self() -> bytes:
    """An entry whose content is the archive that it stands in."""
    e = Entry("3D/3dmodel.model", b"x" * 64)
    size = len(archive(package(e)))
    return archive(package(Entry("self.3mf", b"", stored=size, size=size)))


def overlap_full() -> bytes:
    """Every entry is the same one."""
    kernel = deflated("3D/3dmodel.model", b" " * MIB)
    twins = [Entry(kernel.name, kernel.data, 8, real=kernel.real, offset=0) for _ in range(1000)]
    return archive([kernel, *twins], locals_of=[kernel])


def overlap_quoted() -> bytes:
    """The data of each entry holds the next one's local header."""
    inner = Entry("b", b"y" * 1000)
    outer = Entry("a", b"x" * 100 + inner.local() + b"z" * 100)
    inner.offset = len(outer.local()) - 100 - len(inner.local())
    return archive([outer, inner], locals_of=[outer])


def zip64(entries: int, size: int, offset: int) -> bytes:
    good = archive(package())
    at = len(good) - 22
    record = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, entries, entries, size, offset)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, at, 1)
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return good[:at] + record + locator + end


def laughs() -> str:
    lines = ['<!ENTITY a "haha">'] + [f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(12)]
    return model(head=f"<!DOCTYPE model [{''.join(lines)}]>").replace("Cube", "&m;")


def components_cycle() -> bytes:
    more = '<object id="2"><components><component objectid="2"/></components></object>'
    return threemf(model(more=more, build='<item objectid="2"/>'))


def components_tree() -> bytes:
    """Ten to the fifteenth cubes."""
    more = "".join(f'<object id="{i}"><components>{f"<component objectid={chr(34)}{i - 1}{chr(34)}/>" * 10}</components></object>'
                   for i in range(2, 17))  # fmt: skip
    return threemf(model(more=more, build='<item objectid="16"/>'))


def crowd(ending: str, content: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    """Two hundred plates, each with such an entry."""
    return threemf(entries={f"Metadata/plate_{i}{ending}": content for i in range(1, 200)}
                   | {f"Metadata/plate_{i}.gcode": "G28" for i in range(1, 200)}, method=method)  # fmt: skip


def huge_picture(width: int, height: int) -> bytes:
    return craft.PNG[:16] + struct.pack(">II", width, height) + craft.PNG[24:]


def with_nan() -> bytes:
    bad = ((float("nan"), 0.0, 0.0), (1.0, float("inf"), 0.0), (0.0, 0.0, 1.0))
    return stl([*cube(), bad])


@dataclass
class Case:
    name: str
    filename: str
    make: Callable[[], bytes]
    codes: set[str | None]
    kind: str | None = None
    kept: dict[str, Any] = field(default_factory=dict)
    pictures: int | None = None


GOOD = {"title": "Cube", "triangle_count": 12}
XXE = '<!DOCTYPE model [<!ENTITY x SYSTEM "file:///etc/passwd">]>'

CASES = [
    Case("zip bomb, one part 1:1000", "a.3mf", bomb_flat, {"zip_bomb"}, "3mf", GOOD),
    Case("zip bomb, much in all", "a.3mf", bomb_of_many, {"zip_bomb", "entry_too_large"}, "3mf", GOOD),
    Case("zip bomb, nested", "a.3mf", bomb_nested, {None}, "3mf", GOOD),
    Case("an archive that holds itself", "a.3mf", bomb_self, {"zip_corrupt", "truncated", "zip_overlap"}, "3mf"),
    Case("not a 3MF", "a.3mf", lambda: archive([deflated("readme", b"x")]), {"not_a_3mf"}, "3mf"),
    Case("entries are one", "a.3mf", overlap_full, {"zip_overlap"}, "3mf"),
    Case("entries in entries", "a.3mf", overlap_quoted, {"zip_overlap"}, "3mf"),
    Case("name with ..", "a.3mf", lambda: threemf(entries={"../../etc/passwd": "x"}), {"path_traversal"}, "3mf", GOOD),
    Case("absolute name", "a.3mf", lambda: threemf(entries={"/etc/passwd": "x"}), {"path_traversal"}, "3mf", GOOD),
    Case("name of a drive", "a.3mf", lambda: threemf(entries={"C:\\x": "x"}), {"path_traversal"}, "3mf", GOOD),
    Case("relationship with ..", "a.3mf", lambda: threemf(target="/3D/../../x"), {"path_traversal"}, "3mf"),
    Case("external entity", "a.3mf", lambda: threemf(model(head=XXE).replace("Cube", "&x;")), {"xml_dtd"}, "3mf"),
    Case("billion laughs", "a.3mf", lambda: threemf(laughs()), {"xml_dtd"}, "3mf"),
    Case("external DTD", "a.3mf", lambda: threemf(model(head='<!DOCTYPE m SYSTEM "http://x/">')), {"xml_dtd"}, "3mf"),
    Case("claims to inflate to less", "a.3mf",
         lambda: archive([*package()[:1], deflated("3D/3dmodel.model", model().encode(), size=100)]),
         {"zip_corrupt"}, "3mf"),
    Case("claims to inflate to more", "a.3mf",
         lambda: archive([*package()[:1], deflated("3D/3dmodel.model", model().encode(), size=1 << 31)]),
         {"zip_corrupt"}, "3mf", GOOD),
    Case("claims to be larger than the archive", "a.3mf",
         lambda: archive([*package(), Entry("x", b"y", stored=1 << 30, size=1 << 30)]), {"truncated", "zip_corrupt"},
         "3mf"),
    Case("wrong checksum", "a.3mf",
         lambda: archive([*package()[:1], deflated("3D/3dmodel.model", model().encode(), crc=1)]),
         {"zip_corrupt"}, "3mf", GOOD),
    Case("damaged stream", "a.3mf", lambda: archive([*package()[:1], Entry("3D/3dmodel.model", b"\xff" * 500, 8)]),
         {"zip_corrupt"}, "3mf"),
    Case("encrypted", "a.3mf", lambda: archive(package(Entry("x", b"y" * 20, flags=1))), {"zip_encrypted"}, "3mf"),
    Case("symbolic link", "a.3mf", lambda: archive(package(Entry("x", b"/etc/passwd", attributes=0o120777 << 16))),
         {"zip_symlink"}, "3mf"),
    Case("method that is not read", "a.3mf", lambda: threemf(method=zipfile.ZIP_LZMA), {"zip_method"}, "3mf"),
    Case("65,000 entries", "a.3mf", lambda: threemf(entries={str(i): "" for i in range(65000)}), {"too_many_entries"},
         "3mf"),
    Case("zip64: a million million entries", "a.3mf", lambda: zip64(1 << 40, 46 << 40, 0),
         {"zip_corrupt", "truncated", "too_many_entries"}, "3mf"),
    Case("zip64: a directory behind the end", "a.3mf", lambda: zip64(2, 100, 1 << 60), {"zip_corrupt", "truncated"}, "3mf"),
    Case("zip64: sizes of all ones", "a.3mf", lambda: zip64((1 << 64) - 1, (1 << 64) - 1, (1 << 64) - 1),
         {"zip_corrupt", "truncated", "too_many_entries"}, "3mf"),
    Case("picture of 2^31 pixels a side", "a.3mf",
         lambda: threemf(entries={"Metadata/thumbnail.png": huge_picture(1 << 31, 1 << 31)}), {None}, "3mf", GOOD, 0),
    Case("picture of no size", "a.3mf", lambda: threemf(entries={"Metadata/thumbnail.png": huge_picture(0, 0)}), {None},
         "3mf", GOOD, 0),
    Case("a good picture", "a.3mf", lambda: threemf(entries={"Metadata/thumbnail.png": craft.PNG}), {None}, "3mf", GOOD, 1),
    Case("attribute of 50 MB", "a.3mf",
         lambda: threemf(model(more=f'<object id="{"9" * (50 * MIB)}"/>'), method=zipfile.ZIP_STORED), {"xml_token"}, "3mf",
         {"title": "Cube"}),
    Case("100,000 attributes", "a.3mf",
         lambda: threemf(model(more="<object " + " ".join(f'a{i}="{i}"' for i in range(100000)) + "/>")),
         {"xml_token", None}, "3mf", {"title": "Cube"}),
    Case("a million elements deep", "a.3mf", lambda: threemf(model(more="<a>" * 1000000)), {"xml_depth", "zip_bomb"}, "3mf",
         {"title": "Cube"}),
    Case("malformed XML", "a.3mf", lambda: threemf(model(more="<a></b>")), {"xml_malformed"}, "3mf", {"title": "Cube"}),
    Case("XML that ends", "a.3mf", lambda: threemf(model()[:-30]), {"xml_malformed"}, "3mf", GOOD),
    Case("UTF-16 garbage", "a.3mf", lambda: threemf(os.urandom(5000)), {"xml_malformed"}, "3mf"),
    Case("components in a circle", "a.3mf", components_cycle, {"unparsable"}, "3mf", GOOD),
    Case("components without end", "a.3mf", components_tree, {None, "unparsable"}, "3mf", GOOD),
    Case("20,000 objects", "a.3mf", lambda: threemf(model(more='<object id="7"/>' * 20000)), {"too_many_objects"}, "3mf"),
    Case("corner that is not there", "a.3mf", lambda: threemf(model().replace('v1="0"', 'v1="4000000000"')), {"unparsable"},
         "3mf", {"title": "Cube"}),
    Case("coordinates that are none", "a.3mf", lambda: threemf(model().replace('x="0.0"', 'x="nan"', 1)), {"bad_coordinates"},
         "3mf", {"title": "Cube"}),
    Case("part that is missing", "a.3mf",
         lambda: threemf(model(more='<object id="2"><components><component objectid="1" path="/3D/x"/></components></object>')),
         {"missing_part"}, "3mf", GOOD),
    Case("JSON depth bomb", "a.3mf", lambda: threemf(entries={"Metadata/project_settings.config": "[" * 500000}),
         {"json_malformed"}, "3mf", GOOD),
    Case("JSON that ends", "a.3mf", lambda: threemf(entries={"Metadata/project_settings.config": '{"a": "'}),
         {"json_malformed"}, "3mf", GOOD),
    Case("two plates with one number and a wild one", "a.3mf",
         lambda: threemf(entries={"Metadata/slice_info.config": "<config>" + "<plate>"
                                  '<metadata key="index" value="1"/><metadata key="prediction" value="60"/></plate>' * 2 +
                                  '<plate><metadata key="index" value="-9223372036854775808"/></plate></config>'}),
         {None, "xml_malformed"}, "3mf", GOOD),
    Case("200 plates with pictures of 3 MiB", "a.3mf", lambda: crowd(".png", craft.PNG + PADDING * 3), {None, "zip_bomb"},
         "gcode_3mf", GOOD),
    Case("200 plates with JSON of a third of a MiB", "a.3mf",
         lambda: crowd(".json", b'{"bbox_objects":[' + b'{"name":"x"},' * (MIB // 40) + b"0]}"), {None}, "gcode_3mf", GOOD),
    Case("JSON of more than is parsed", "a.3mf",
         lambda: threemf(entries={"Metadata/project_settings.config": '{"layer_height":"0.2"}' + " " * MIB}),
         {"entry_too_large"}, "3mf", GOOD),
    Case("a million settings", "a.3mf",
         lambda: threemf(entries={"Metadata/slice_info.config": "<config><plate><metadata key='index' value='1'/>"
                                  + "<metadata key='printer_model_id' value='%s'/>" % ("x" * 20) * 900000 + "</plate></config>"},
                         method=zipfile.ZIP_STORED), {None}, "3mf", GOOD),
    Case("a million titles", "a.3mf",
         lambda: threemf(model().replace("<resources>", "<metadata name='Title'>Cube</metadata>" * 1000000 + "<resources>"),
                         method=zipfile.ZIP_STORED), {None}, "3mf", GOOD),
    Case("200 plates of G-code settings", "a.3mf",
         lambda: threemf(entries={f"Metadata/plate_{i}.gcode": "; filament_type = PLA\n" * 100000 for i in range(1, 200)},
                         method=zipfile.ZIP_STORED), {None}, "gcode_3mf", GOOD),
    Case("STL of 4,294,967,295 triangles", "a.stl", lambda: stl(cube(), claimed=0xFFFFFFFF), {"truncated"}, "stl",
         {"triangle_count": 12}),
    Case("STL of no triangle", "a.stl", lambda: stl([]), {None}, "stl", {"triangle_count": 0}),
    Case("STL of nothing", "a.stl", lambda: b"", {"unparsable"}, "stl"),
    Case("STL of 83 bytes", "a.stl", lambda: b"x" * 83, {"truncated"}, "stl"),
    Case("STL with NaN and Inf", "a.stl", with_nan, {"bad_coordinates"}, "stl", {"triangle_count": 12}),
    Case("ASCII STL that ends", "a.stl", lambda: ascii_stl(cube())[:-40], {"truncated"}, "stl", {"triangle_count": 11}),
    Case("ASCII STL with nan", "a.stl", lambda: ascii_stl(cube()).replace(b"vertex 0 0 0", b"vertex nan inf 0", 1),
         {"bad_coordinates"}, "stl", {"triangle_count": 11}),
    Case("ASCII STL, one line of 100 MB", "a.stl", lambda: b"solid facet " + b"x" * (100 * MIB), {"truncated"}, "stl"),
    Case("OBJ with wild indices", "a.obj", lambda: b"v 0 0 0\nf 1 999999999999 -5\nf 1 1 1\n", {"unparsable"}, "obj"),
    Case("OBJ of 40 MB of slashes", "a.obj", lambda: b"f " + b"/" * (40 * MIB), {"unparsable"}, "obj"),
    Case("STEP that does not end", "a.step", lambda: b"ISO-10303-21;\n#1=CARTESIAN_POINT('" + b"'" * (40 * MIB), {"truncated"},
         "step"),
    Case("STEP with numbers that are none", "a.step",
         lambda: b"ISO-10303-21;#1=CARTESIAN_POINT('',(nan,1e999,2.));#2=CARTESIAN_POINT('',(1.,2.,3.));END-ISO-10303-21;",
         {"bad_coordinates"}, "step"),
    Case("G-code, one line of 100 MB", "a.gcode", lambda: b"G28\nG1 X1 Y1 E1\n;" + b"x" * (100 * MIB), {None, "unparsable"},
         "gcode"),
    Case("nothing that is known", "a.bin", lambda: os.urandom(100000), {"unparsable"}, "other"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_a_hostile_file_gets_its_reason(case: Case, tmp_path: Path) -> None:
    path = tmp_path / case.filename
    path.write_bytes(case.make())
    got = scan(path)
    assert got.status == 0, "the child has not ended by itself"
    assert got.code in case.codes, got.answer["reason"]
    assert (got.answer["reason"] is None) == (got.code is None)
    assert case.kind is None or got.answer["kind"] == case.kind
    assert {k: got.meta.get(k) for k in case.kept} == case.kept
    assert case.pictures is None or len(got.answer["thumbnails"]) == case.pictures
    assert got.is_within_limits(), f"{got.seconds:.1f} s, {got.rss_mib:.0f} MiB"


GOOD_FILES = {
    "a.3mf": threemf(model(craft.blob(1)), {"Metadata/thumbnail.png": craft.PNG}),
    "a.stl": stl(craft.blob(2)),
    "b.stl": ascii_stl(craft.blob(3, 8)),
}


@pytest.mark.parametrize("name", GOOD_FILES)
def test_a_file_that_is_cut_is_never_taken_for_a_whole_one(name: str, tmp_path: Path) -> None:
    whole = GOOD_FILES[name]
    for i in range(1, 40):
        path = tmp_path / name
        path.write_bytes(whole[: len(whole) * i // 40])
        got = scan(path)
        assert got.status == 0 and got.code, f"cut at {i}/40"
        assert not got.keys


def test_any_byte_may_be_another(tmp_path: Path) -> None:
    r = random.Random(7)
    for name, whole in GOOD_FILES.items():
        for _ in range(60):
            bytes_ = bytearray(whole)
            for _ in range(r.choice([1, 1, 4, 50])):
                bytes_[r.randrange(len(bytes_))] = r.randrange(256)
            path = tmp_path / name
            path.write_bytes(bytes_)
            got = scan(path)
            assert got.status == 0 and got.is_within_limits()


FORM = 'multipart/form-data; boundary="XX"'
HEAD = b'--XX\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
LONG = "The form has too many parts, or headers that are too long."
FORMS: list[tuple[str, Callable[[], bytes], str]] = [
    ("a header of 64 MB", lambda: b"--XX\r\nX: " + b"y" * (64 * MIB) + b"\r\n\r\n", LONG),
    ("a million headers", lambda: b"--XX\r\n" + b"X: y\r\n" * 1000000 + b"\r\n", LONG),
    ("a million parts", lambda: b"--XX\r\n\r\n\r\n" * 1000000 + b"--XX--", LONG),
    ("a preamble of 64 MB", lambda: PADDING * 64 + HEAD + b"x\r\n--XX--", LONG),
    ("an epilogue of 64 MB", lambda: HEAD + b"x\r\n--XX--\r\n" + PADDING * 64, LONG),
    ("2,000 multiparts in each other",
     lambda: b"".join(b"--%d\r\nContent-Type: multipart/mixed; boundary=%d\r\n\r\n" % (i, i + 1) for i in range(2000))
     .replace(b"--0\r\n", b"--XX\r\n", 1), "The body "),
    ("a body that ends", lambda: HEAD + PADDING, "The body ends before its closing boundary."),
    ("nothing", lambda: b"", "The body has no part between the boundaries that Content-Type names."),
    ("noise", lambda: os.urandom(MIB), "The body has no part between the boundaries that Content-Type names."),
]  # fmt: skip


@pytest.mark.parametrize(("name", "make", "want"), FORMS, ids=[f[0] for f in FORMS])
def test_a_hostile_form_is_refused_with_a_sentence(name: str, make: Callable[[], bytes], want: str, tmp_path: Path) -> None:
    path = tmp_path / "body"
    path.write_bytes(make())
    got = scan_form(path, FORM)
    assert got.status == 0
    assert got.answer["error"].startswith(want)
    assert got.is_within_limits(), f"{got.seconds:.1f} s, {got.rss_mib:.0f} MiB"


def test_a_form_of_half_a_gigabyte_is_never_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "body"
    noise = os.urandom(MIB)
    with path.open("wb") as f:
        f.write(HEAD)
        for _ in range(512):
            f.write(noise)
        f.write(b"\r\n--XX--\r\n")
    got = scan_form(path, FORM)
    assert got.answer["size"] == 512 * MIB
    assert got.out == noise * 512
    assert got.is_within_limits()
    assert got.rss_mib < 16 or SANITIZED
