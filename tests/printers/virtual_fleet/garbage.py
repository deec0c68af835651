"""What a broken or hostile printer might put on its report topic."""

from __future__ import annotations

import json
from collections.abc import Callable


def _print(fields: dict[str, object]) -> bytes:
    return json.dumps({"print": {"command": "push_status", "sequence_id": "1", "msg": 1} | fields}).encode()


def _wrong_types() -> bytes:
    return _print(
        {
            "gcode_state": 7,
            "mc_percent": "many",
            "mc_remaining_time": {},
            "layer_num": [],
            "nozzle_temper": "hot",
            "bed_temper": None,
            "ams": "none",
            "hms": {"attr": 1},
            "lights_report": "on",
            "stg_cur": {"a": 1},
            "wifi_signal": -1,
            "device": [1, 2],
            "vt_tray": 3,
            "upgrade_state": True,
        }
    )


def _wrong_elements() -> bytes:
    odd: list[object] = [None, 1, "x", [], {"id": -1, "tray": 5}, {"id": 10**18, "tray": [None, {"id": {}}]}]
    return _print(
        {"ams": {"ams": odd, "tray_exist_bits": "zz", "tray_now": "-5"}, "hms": odd, "lights_report": odd}
    )


def _extreme_numbers() -> bytes:
    return (
        b'{"print":{"command":"push_status","mc_percent":99999999999999999999,"layer_num":-1e400,'
        b'"nozzle_temper":1e308,"bed_temper":-0.0,"print_error":18446744073709551616,"mc_remaining_time":-7,'
        b'"cooling_fan_speed":"4000000000","big_fan1_speed":"-3","spd_mag":-9223372036854775808}}'
    )


KINDS: dict[str, Callable[[], bytes]] = {
    "invalid_json": lambda: b"{print: nonsense",
    "truncated": lambda: _print({"gcode_state": "RUNNING", "mc_percent": 50})[:-9],
    "empty": lambda: b"",
    "nul": lambda: b'{"print":{"command":"push_status","subtask_name":"a\\u0000b\x00c"}}',
    "invalid_utf8": lambda: (
        b'{"print":{"command":"push_status","subtask_name":"\xff\xfe\xc0\x80\xed\xa0\x80"}}'
    ),
    "top_level_array": lambda: b"[1,2,3]",
    "top_level_number": lambda: b"42",
    "wrong_types": _wrong_types,
    "wrong_elements": _wrong_elements,
    "extreme_numbers": _extreme_numbers,
    "deep_arrays": lambda: b'{"print":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep_objects": lambda: b'{"print":' * 20_000 + b"1" + b"}" * 20_000,
    "duplicate_keys": lambda: b'{"print":{"mc_percent":1},"print":{"mc_percent":2,"mc_percent":3}}',
    "many_hms": lambda: _print({"hms": [{"attr": n, "code": n} for n in range(10_000)]}),
    "many_trays": lambda: _print(
        {"ams": {"ams": [{"id": str(n), "tray": [{"id": "0"}]} for n in range(5_000)]}}
    ),
    "long_string": lambda: _print({"subtask_name": "x" * 1_000_000, "gcode_file": "y" * 1_000_000}),
    "huge": lambda: b'{"print":{"x":"' + b"z" * (8 << 20) + b'"}}',
    "not_print": lambda: b'{"print":null,"info":{"module":"x"},"system":[],"camera":5}',
}
