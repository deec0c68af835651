#!/usr/bin/env python3
"""Turns a text file into a C header with its bytes: static const char NAME[], NUL-terminated."""

from __future__ import annotations

import argparse
from pathlib import Path


def render(name: str, source: str, data: bytes) -> str:
    numbers = [str(b) for b in data] + ["0"]
    lines = [", ".join(numbers[i : i + 20]) for i in range(0, len(numbers), 20)]
    body = ",\n\t".join(lines)
    return f"/* Generated from {source}. */\nstatic const char {name}[] = {{\n\t{body}}};\n"


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--name", required=True)
    args.add_argument("--out", required=True, type=Path)
    args.add_argument("file", type=Path)
    opts = args.parse_args()
    data = opts.file.read_bytes()
    if b"\0" in data or max(data, default=0) > 127:
        raise SystemExit(f"{opts.file}: only ASCII text can be embedded")
    opts.out.parent.mkdir(parents=True, exist_ok=True)
    opts.out.write_text(render(opts.name, str(opts.file), data))


if __name__ == "__main__":
    main()
