"""Nginx's locations, made from the contract."""

from __future__ import annotations

import re

from contract import Contract

# What an operation without a body lets through, to be ignored: clients like to send "{}".
BODY_LEAST = 8192


def nginx_routes(contract: Contract) -> str:
    """One location per path: which pool answers it and how large a body it takes. Paths that are not here fall to the
    location that includes this file's neighbours, and get the API's own 404."""
    by_path: dict[str, list] = {}
    for op in contract.operations:
        by_path.setdefault(op.path, []).append(op)
    out = ["# Generated from schema/api by schema/gen/contract2c.py."]
    for path, ops in by_path.items():
        out += location(path, ops)
    return "\n".join(out) + "\n"


def location(path: str, ops: list) -> list[str]:
    pools = {op.raw["x-pool"] for op in ops}
    pool = pools.pop() if len(pools) == 1 else "api"
    body_as = next((op.body_as for op in ops if op.body_as), "")
    where = f"= {path}"
    if "{" in path:
        where = '~ "^' + re.sub(r"\{[^}]*\}", "[^/]+", path.replace(".", r"\.")) + '$"'
    if body_as == "staged":
        # Its parts are named: nginx writes the body itself, to a file named by them.
        where = '~ "^' + re.sub(r"\{([^}]*)\}", r"(?<slp_\1>[0-9a-f-]+)", path.replace(".", r"\.")) + '$"'
    out = [f"location {where} {{", f"\tclient_max_body_size {max(*(op.body_most for op in ops), BODY_LEAST)};"]
    if any(op.raw.get("x-secret-response") for op in ops):
        out.append("\tgzip off;")  # a secret beside what the client sent must not show in the length
    if body_as == "staged":
        return [*out, "\tinclude soloprint/staged.conf;", "}"]
    if body_as == "file":
        # Who asks and how much is announced is judged before the first byte of the body is read.
        out.append(f"\tif ($request_method != {next(op for op in ops if op.body_as).method.upper()}) {{")
        out += [f"\t\trewrite ^ /__pool/{pool} last;", "\t}"]
        return [*out, f"\tauth_request /__probe/{pool};", "\tinclude soloprint/probed.conf;",
                f"\tinclude soloprint/file-{pool}.conf;", "}"]  # fmt: skip
    blob = "-blob" if any(op.raw.get("x-blob") for op in ops) else ""
    return [*out, f"\tinclude soloprint/pool-{pool}{blob}.conf;", "}"]
