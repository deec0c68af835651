"""Bambu Studio's and OrcaSlicer's 3MF through the real soloprint-scan. The files are hand-made from the formats that those
programs publish in their sources; they are no output of theirs."""

from __future__ import annotations

import base64
import json
import struct
import sys
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "hostile"))

import craft  # noqa: E402
from scanner import scan  # noqa: E402

ROOT_MODEL = f"""<?xml version="1.0" encoding="UTF-8"?>
<model unit="millimeter" xml:lang="en-US" xmlns="{craft.CORE}" xmlns:BambuStudio="http://schemas.bambulab.com/package/2021"
 xmlns:p="http://schemas.microsoft.com/3dmanufacturing/production/2015/06" requiredextensions="p">
 <metadata name="Application">BambuStudio-01.09.00.70</metadata>
 <metadata name="BambuStudio:3mfVersion">1</metadata>
 <metadata name="Title">Two boxes</metadata>
 <metadata name="Designer">Ann</metadata>
 <resources>
  <object id="2" p:UUID="00000001-61cb-4c03-9d28-80fed5dfa1dc" type="model"><components>
   <component p:path="/3D/Objects/object_1.model" objectid="1" p:UUID="x" transform="1 0 0 0 1 0 0 0 1 0 0 0"/>
  </components></object>
  <object id="4" p:UUID="00000002-61cb-4c03-9d28-80fed5dfa1dc" type="model"><components>
   <component p:path="/3D/Objects/object_2.model" objectid="3" p:UUID="y" transform="1 0 0 0 1 0 0 0 1 0 0 0"/>
  </components></object>
 </resources>
 <build p:UUID="z">
  <item objectid="2" p:UUID="a" transform="1 0 0 0 1 0 0 0 1 100 100 5" printable="1"/>
  <item objectid="4" p:UUID="b" transform="1 0 0 0 1 0 0 0 1 400 100 10" printable="1"/>
 </build>
</model>"""
MODEL_SETTINGS = """<?xml version="1.0" encoding="UTF-8"?>
<config>
  <object id="2"><metadata key="name" value="Small box"/><metadata key="extruder" value="1"/>
    <part id="1" subtype="normal_part"><metadata key="name" value="not this"/></part></object>
  <object id="4"><metadata key="name" value="Big b&#246;x"/><metadata key="extruder" value="3"/></object>
  <plate>
    <metadata key="plater_id" value="1"/><metadata key="plater_name" value="Left"/><metadata key="locked" value="false"/>
    <metadata key="bed_type" value="Textured PEI Plate"/>
    <metadata key="gcode_file" value="Metadata/plate_1.gcode"/><metadata key="thumbnail_file" value="Metadata/plate_1.png"/>
    <model_instance><metadata key="object_id" value="2"/><metadata key="instance_id" value="0"/></model_instance>
  </plate>
  <plate>
    <metadata key="plater_id" value="2"/><metadata key="plater_name" value=""/>
    <model_instance><metadata key="object_id" value="4"/><metadata key="instance_id" value="0"/></model_instance>
  </plate>
  <assemble><assemble_item object_id="2" instance_id="0"/></assemble>
</config>"""
SLICE_INFO = """<?xml version="1.0" encoding="UTF-8"?>
<config>
  <header><header_item key="X-BBL-Client-Type" value="slicer"/><header_item key="X-BBL-Client-Version" value="01.09.00.70"/></header>
  <plate>
    <metadata key="index" value="1"/><metadata key="printer_model_id" value="C12"/><metadata key="nozzle_diameters" value="0.4"/>
    <metadata key="prediction" value="3725"/><metadata key="weight" value="14.26"/><metadata key="outside" value="false"/>
    <object identify_id="92" name="Small box" skipped="false"/>
    <filament id="1" tray_info_idx="GFA00" type="PLA" color="#FFFFFF" used_m="4.12" used_g="12.34"/>
    <filament id="3" tray_info_idx="GFG02" type="PETG" color="#00AE42" used_m="0.64" used_g="1.92"/>
    <warning msg="bed_temperature_too_high_than_filament" level="1"/>
  </plate>
  <plate>
    <metadata key="index" value="2"/><metadata key="prediction" value="600"/><metadata key="weight" value="2.5"/>
    <filament id="3" type="PETG" color="#00AE42" used_m="0.83" used_g="2.50"/>
  </plate>
</config>"""
PROJECT = {
    "printer_model": "Bambu Lab P1S",
    "printer_settings_id": "Bambu Lab P1S 0.4 nozzle",
    "print_settings_id": "0.20mm Standard @BBL X1C",
    "nozzle_diameter": ["0.4"],
    "layer_height": "0.2",
    "initial_layer_print_height": "0.25",
    "filament_type": ["PLA", "PLA", "PETG"],
    "filament_colour": ["#FFFFFF", "#000000", "#00AE42"],
    "curr_bed_type": "Textured PEI Plate",
    "nozzle_temperature": ["220", "220", "255"],
    "different_settings_to_system": [None, {"a": 1}],
}
GCODE = """; HEADER_BLOCK_START
; BambuStudio 01.09.00.70
; model printing time: 55m 5s; total estimated time: 1h 2m 5s
; total layer number: 50
; max_z_height: 10.05
; HEADER_BLOCK_END

; CONFIG_BLOCK_START
; layer_height = 0.2
; CONFIG_BLOCK_END
G28
G1 X10 Y10 Z0.2 E1 F1200
"""


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"\x40\x80\xc0" * width for _ in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))  # fmt: skip


def part(object_id: int, size: float) -> str:
    return craft.model(craft.cube(size, (-size / 2,) * 3), build="").replace('object id="1"', f'object id="{object_id}"')


def bambu(**more: bytes | str) -> bytes:
    return craft.threemf(ROOT_MODEL, {
        "3D/Objects/object_1.model": part(1, 10),
        "3D/Objects/object_2.model": part(3, 20),
        "Metadata/model_settings.config": MODEL_SETTINGS,
        "Metadata/slice_info.config": SLICE_INFO,
        "Metadata/project_settings.config": json.dumps(PROJECT),
        "Metadata/plate_1.json": json.dumps({"bed_type": "textured_plate", "bbox_objects": [{"name": "ignored"}]}),
        "Metadata/plate_1.png": png(512, 512),
        "Metadata/plate_1_small.png": png(128, 128),
        "Metadata/plate_2.png": png(256, 512),
        **{k.replace("__", "/"): v for k, v in more.items()},
    })  # fmt: skip


def test_a_sliced_project_of_two_plates(tmp_path: Path) -> None:
    path = tmp_path / "boxes.gcode.3mf"
    path.write_bytes(bambu(**{"Metadata__plate_1.gcode": GCODE}))
    got = scan(path)
    assert got.code is None, got.answer["reason"]
    assert got.answer["kind"] == "gcode_3mf"
    m = got.meta
    assert m["slicer"] == {"name": "BambuStudio", "version": "01.09.00.70"}
    assert (m["title"], m["designer"]) == ("Two boxes", "Ann")
    assert m["printer_model"] == "Bambu Lab P1S"
    assert m["printer_profile"] == "Bambu Lab P1S 0.4 nozzle"
    assert m["print_profile"] == "0.20mm Standard @BBL X1C"
    assert m["nozzle_diameters_mm"] == [0.4]
    assert m["layer_height_mm"] == 0.2
    assert m["first_layer_height_mm"] == 0.25
    assert m["layer_count"] == 50
    assert m["bounding_box"] == {"min": {"x_mm": 95, "y_mm": 90, "z_mm": 0}, "max": {"x_mm": 410, "y_mm": 110, "z_mm": 20}}
    assert m["triangle_count"] == 24
    assert m["estimated_time_s"] == 4325
    assert m["filament_weight_mg"] == 16760
    assert m["filament_length_mm"] == 5590
    assert [(f["slot"], f["material"], f["color"], f["weight_mg"], f["length_mm"]) for f in m["filaments"]] == [
        (0, "PLA", "#FFFFFFFF", 12340, 4120), (2, "PETG", "#00AE42FF", 4420, 1470)]  # fmt: skip
    assert m["objects"] == [{"name": "Small box", "plate": 1}, {"name": "Big böx", "plate": 2}]
    one, two = m["plates"]
    assert (one["index"], one["name"], one["estimated_time_s"], one["filament_weight_mg"]) == (1, "Left", 3725, 14260)
    assert (one["bed_type"], one["thumbnail"], len(one["filaments"])) == ("Textured PEI Plate", 0, 2)
    assert one["objects"] == [{"name": "Small box", "plate": 1}]
    assert (two["index"], two["name"], two["bed_type"], two["estimated_time_s"]) == (2, None, None, 600)
    assert two["filaments"] == [{"slot": 2, "material": "PETG", "color": "#00AE42FF", "weight_mg": 2500, "length_mm": 830}]
    assert [(t["plate"], t["width"], t["height"]) for t in got.answer["thumbnails"]] == [
        (1, 512, 512), (2, 256, 512), (1, 128, 128)]  # fmt: skip
    first = got.answer["thumbnails"][0]
    assert got.out[first["offset"] :][: first["length"]] == png(512, 512)


def test_a_project_that_is_not_sliced(tmp_path: Path) -> None:
    path = tmp_path / "boxes.3mf"
    path.write_bytes(bambu())
    got = scan(path)
    assert got.code is None
    assert got.answer["kind"] == "3mf"
    assert len(got.keys) == 4, "two objects"


def test_plates_without_slice_info_are_told_by_their_gcode(tmp_path: Path) -> None:
    picture = base64.b64encode(png(32, 32)).decode()
    lines = "".join(f"; {picture[i : i + 78]}\n" for i in range(0, len(picture), 78))
    gcode = GCODE.replace("G28\n", f"; thumbnail begin 32x32 {len(picture)}\n{lines}; thumbnail end\nG28\n")
    path = tmp_path / "x.3mf"
    path.write_bytes(craft.threemf(entries={"Metadata/plate_3.gcode": gcode}))
    got = scan(path)
    assert got.answer["kind"] == "gcode_3mf"
    assert [(p["index"], p["estimated_time_s"]) for p in got.meta["plates"]] == [(3, 3725)]
    assert [(t["plate"], t["width"]) for t in got.answer["thumbnails"]] == [(3, 32)]


def test_a_plate_of_more_gcode_than_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.3mf"
    moves = "".join(f"G1 X{i % 200} Y{i * 7 % 200} E.1\n" for i in range(6000000))
    path.write_bytes(bambu(**{"Metadata__plate_1.gcode": GCODE + moves}))
    got = scan(path)
    assert got.code is None and got.answer["kind"] == "gcode_3mf"
    assert got.meta["layer_count"] == 50
    assert got.is_within_limits() and got.seconds < 5


def test_prusaslicers_project_settings(tmp_path: Path) -> None:
    """Its graphical program writes them; the command line does not."""
    config = "".join(f"; {k} = {v}\n" for k, v in {
        "printer_model": "MK3S", "printer_settings_id": "Original Prusa i3 MK3S", "print_settings_id": "0.15mm QUALITY",
        "layer_height": "0.15", "nozzle_diameter": "0.4", "filament_type": "PETG", "bed_temperature": "85",
        "temperature": "240"}.items())  # fmt: skip
    path = tmp_path / "x.3mf"
    path.write_bytes(craft.threemf(craft.model().replace("Test-1.2.3", "PrusaSlicer-2.5.0"),
                                   {"Metadata/Slic3r_PE.config": config, "Metadata/thumbnail.png": png(64, 48)}))  # fmt: skip
    got = scan(path)
    assert got.code is None
    assert got.meta["printer_model"] == "MK3S"
    assert got.meta["print_profile"] == "0.15mm QUALITY"
    assert got.meta["layer_height_mm"] == 0.15
    assert got.meta["nozzle_diameters_mm"] == [0.4]
    assert got.meta["temperatures"]["nozzle_c"] == [240]
    assert [f["material"] for f in got.meta["filaments"]] == ["PETG"]
    assert [(t["plate"], t["width"], t["height"]) for t in got.answer["thumbnails"]] == [(0, 64, 48)]
