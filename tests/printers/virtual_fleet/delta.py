"""The nested-partial deltas of A1 and P1 printers: only what changed, AMS units and trays by id."""

from __future__ import annotations

from typing import Any

BY_ID = {"ams", "tray"}  # arrays whose elements are merged by id; every other array is sent whole


def _by_id(old: list[Any], new: list[Any]) -> list[Any]:
    known = {each.get("id"): each for each in old}
    out = []
    for each in new:
        before = known.get(each.get("id"))
        change = each if before is None else delta(before, each)
        if change:
            out.append({"id": each.get("id")} | change)
    return out


def delta(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """What a printer sends when its record goes from old to new. Keys are never taken away."""
    out: dict[str, Any] = {}
    for key, value in new.items():
        before = old.get(key)
        if key in old and before == value and type(before) is type(value):
            continue
        if isinstance(value, dict) and isinstance(before, dict):
            out[key] = delta(before, value)
        elif key in BY_ID and isinstance(value, list) and isinstance(before, list):
            out[key] = _by_id(before, value)
        else:
            out[key] = value
    return out
