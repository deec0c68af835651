"""How the models differ: report shapes, intervals, sensors, and the full report each starts with."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

NO_TAG = "0000000000000000"
NO_UUID = "0" * 32


@dataclass(frozen=True)
class Model:
    name: str  # as users call it
    product_name: str  # as get_version says it; "" on old firmware
    serial_prefix: str
    firmware: str
    style: str  # "delta": msg 1 between full reports; "full": the whole object each time
    full_msg: int | None  # value of `msg` in a full report; None: no such key
    interval_s: float
    no_stage: int  # value of stg_cur outside stages
    ams_units: int
    packed: bool = False  # temperatures as target << 16 | current, in device.*
    chamber: bool = False  # has a chamber sensor
    temper_step: float = 1 / 32
    reports_fun: bool = False  # `fun` tells whether commands need a signature
    refusal_ack: bool = True  # a refused command is answered
    refusal_hms: bool = False  # a refused command raises 0500_0500_0001_0007
    external_tray: str = "vt_tray"
    storage_as_text: bool = False


MODELS = {
    model.name: model
    for model in (
        Model("A1", "Bambu Lab A1", "039", "01.07.00.00", "delta", 0, 2.0, 255, 1),
        Model("A1 mini", "Bambu Lab A1 mini", "030", "01.07.02.00", "delta", 0, 2.0, 255, 1),
        Model("P1S", "", "01P", "01.08.02.00", "delta", 0, 2.0, 255, 1, refusal_ack=False, refusal_hms=True),
        Model(
            "X1C",
            "Bambu Lab X1 Carbon",
            "00M",
            "01.11.02.00",
            "full",
            None,
            1.0,
            -1,
            2,
            chamber=True,
            temper_step=1.0,
            reports_fun=True,
        ),
        Model(
            "H2D",
            "Bambu Lab H2D",
            "094",
            "01.03.00.00",
            "full",
            0,
            1.75,
            -1,
            2,
            packed=True,
            chamber=True,
            temper_step=1.0,
            reports_fun=True,
            external_tray="vir_slot",
        ),
        Model(
            "P2S",
            "Bambu Lab P2S",
            "22E",
            "01.01.00.00",
            "full",
            0,
            1.5,
            -1,
            1,
            packed=True,
            chamber=True,
            temper_step=1.0,
            reports_fun=True,
            external_tray="vir_slot",
        ),
    )
}

SPOOLS = (
    ("PLA", "PLA Matte", "DE4343FF", "GFA01", 190, 230, 74),
    ("PLA", "PLA Basic", "FFFFFFFF", "GFA00", 190, 230, 100),
    ("PETG", "PETG HF", "0056B8FF", "GFG02", 230, 260, 41),
    ("PLA", "PLA Matte", "000000FF", "GFA01", 190, 230, 12),
)


def tray(index: int, spool: tuple[str, str, str, str, int, int, int]) -> Json:
    kind, name, color, code, low, high, remain = spool
    return {
        "bed_temp": "35",
        "bed_temp_type": "1",
        "cali_idx": -1,
        "cols": [color],
        "ctype": 0,
        "id": str(index),
        "k": 0.02,
        "n": 1,
        "nozzle_temp_max": str(high),
        "nozzle_temp_min": str(low),
        "remain": remain,
        "state": 11,
        "tag_uid": f"{0xA0B0C0D0 + index:08X}00000100",
        "total_len": 330000,
        "tray_color": color,
        "tray_diameter": "1.75",
        "tray_id_name": "A01-R1",
        "tray_info_idx": code,
        "tray_sub_brands": name,
        "tray_temp": "55",
        "tray_time": "8",
        "tray_type": kind,
        "tray_uuid": f"{0x518B5E76 + index:032X}",
        "tray_weight": "1000",
        "xcam_info": "000000000000000000000000",
    }


def ams(units: int) -> Json:
    return {
        "ams": [
            {
                "check": 0,
                "chip_id": f"5dc33b4e1c0230103034{unit:04x}",
                "dry_time": 0,
                "humidity": "4",
                "humidity_raw": "27",
                "id": str(unit),
                "info": "1002",
                "temp": "24.5",
                "tray": [tray(slot, SPOOLS[(slot + unit) % len(SPOOLS)]) for slot in range(4)],
            }
            for unit in range(units)
        ],
        "ams_exist_bits": f"{(1 << units) - 1:x}",
        "insert_flag": True,
        "power_on_flag": True,
        "tray_exist_bits": f"{(1 << (4 * units)) - 1:x}",
        "tray_is_bbl_bits": f"{(1 << (4 * units)) - 1:x}",
        "tray_now": "255",
        "tray_pre": "255",
        "tray_read_done_bits": f"{(1 << (4 * units)) - 1:x}",
        "tray_reading_bits": "0",
        "tray_tar": "255",
        "version": 3,
    }


def external(index: int) -> Json:
    out = tray(index, ("PLA", "", "161616FF", "GFL99", 190, 220, 0))
    return out | {
        "tag_uid": NO_TAG,
        "tray_uuid": NO_UUID,
        "tray_weight": "0",
        "state": 0,
        "cols": ["161616FF"],
    }


BASE: Json = {
    "ams_rfid_status": 0,
    "ams_status": 0,
    "bed_target_temper": 0.0,
    "bed_temper": 26.5,
    "big_fan1_speed": "0",
    "big_fan2_speed": "0",
    "cali_version": 0,
    "chamber_temper": 5.0,
    "command": "push_status",
    "cooling_fan_speed": "0",
    "fail_reason": "0",
    "fan_gear": 0,
    "filam_bak": [],
    "force_upgrade": False,
    "gcode_file": "",
    "gcode_file_prepare_percent": "0",
    "gcode_state": "IDLE",
    "heatbreak_fan_speed": "0",
    "hms": [],
    "home_flag": 847201680,
    "hw_switch_state": 0,
    "ipcam": {"ipcam_dev": "1", "ipcam_record": "enable", "resolution": "1080p", "timelapse": "disable"},
    "job_id": "0",
    "layer_num": 0,
    "lifecycle": "product",
    "lights_report": [{"mode": "on", "node": "chamber_light"}],
    "mc_percent": 0,
    "mc_print_error_code": "0",
    "mc_print_stage": "1",
    "mc_print_sub_stage": 0,
    "mc_remaining_time": 0,
    "net": {"conf": 16, "info": [{"ip": 16777343, "mask": 16777215}]},
    "nozzle_diameter": "0.4",
    "nozzle_target_temper": 0.0,
    "nozzle_temper": 27.0,
    "nozzle_type": "stainless_steel",
    "online": {"ahb": False, "rfid": False, "version": 816539411},
    "print_error": 0,
    "print_type": "idle",
    "profile_id": "0",
    "project_id": "0",
    "queue_est": 0,
    "queue_number": 0,
    "queue_sts": 0,
    "queue_total": 0,
    "s_obj": [],
    "sdcard": True,
    "spd_lvl": 2,
    "spd_mag": 100,
    "stg": [],
    "subtask_id": "0",
    "subtask_name": "",
    "task_id": "0",
    "total_layer_num": 0,
    "upgrade_state": {"err_code": 0, "new_ver_list": [], "progress": "", "status": "IDLE"},
    "upload": {"message": "", "progress": 0, "status": "idle"},
    "wifi_signal": "-54dBm",
    "xcam": {"buildplate_marker_detector": True, "first_layer_inspector": False},
}

SIGNATURE_REQUIRED = 0x20000000
FUN = 0x3EC1AFFF9CFF


def device(model: Model) -> Json:
    """The `device` object of the newer models; temperatures are filled in by the printer."""
    heads = 2 if model.name == "H2D" else 1
    empty = 0xFFFF
    return {
        "bed": {"info": {"temp": 26}, "state": 0},
        "bed_temp": 26,
        "ctc": {"info": {"temp": 26}, "state": 0},
        "extruder": {
            "info": [
                {
                    "filam_bak": [],
                    "hnow": head,
                    "hpre": head,
                    "htar": head,
                    "id": head,
                    "info": 8,
                    "snow": empty,
                }
                | {"spre": empty, "star": empty, "stat": 0, "temp": 27}
                for head in range(heads)
            ],
            "state": heads,
        },
        "fan": 0,
        "nozzle": {
            "exist": (1 << heads) - 1,
            "info": [{"diameter": 0.4, "id": head, "type": "HS01", "wear": 0} for head in range(heads)],
        },
        "type": 1,
    }


def first_report(model: Model) -> Json:
    """`print` of a full report of an idle printer, without sequence_id and msg."""
    out = copy.deepcopy(BASE)
    out["stg_cur"] = model.no_stage
    out["ams"] = ams(model.ams_units)
    if model.external_tray == "vt_tray":
        out["vt_tray"] = external(254)
    else:
        out["vir_slot"] = [external(254), external(255)] if model.name == "H2D" else [external(255)]
    if model.chamber:
        out["chamber_temper"] = 26.0
    if model.reports_fun:
        out["fun"] = f"{FUN & ~SIGNATURE_REQUIRED:X}"
    if model.packed:
        out["device"] = device(model)
        out["lights_report"].append({"mode": "on", "node": "chamber_light2"})
        for key in (
            "nozzle_temper",
            "nozzle_target_temper",
            "bed_temper",
            "bed_target_temper",
            "chamber_temper",
        ):
            out.pop(key)
    if model.name == "X1C":
        out["lights_report"].append({"mode": "flashing", "node": "work_light"})
    if model.storage_as_text:
        out["sdcard"] = "HAS_SDCARD_NORMAL"
    return out


def modules(model: Model, serial: str) -> list[Json]:
    rows = [
        ("ota", "OTA", model.product_name, model.firmware),
        ("esp32" if model.style == "delta" else "rv1126", "AP05", "", "01.16.39.58"),
        ("mc", "MC02", "", "00.01.30.10"),
        ("th", "TH03", "", "00.00.07.72"),
    ]
    unit_name, product = ("ams_f1", "AMS Lite") if model.name.startswith("A1") else ("ams", "AMS")
    rows += [(f"{unit_name}/{unit}", "AMS_F102", product, "00.00.08.15") for unit in range(model.ams_units)]
    return [
        {"name": name, "hw_ver": hw, "product_name": product, "sn": serial, "sw_ver": sw, "flag": 0}
        for name, hw, product, sw in rows
    ]
