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
        pools = {op.raw["x-pool"] for op in ops}
        pool = pools.pop() if len(pools) == 1 else "api"
        most = max(op.body_most for op in ops)
        where = f"= {path}"
        if "{" in path:
            where = '~ "^' + re.sub(r"\{[^}]*\}", "[^/]+", path.replace(".", r"\.")) + '$"'
        out += [f"location {where} {{", f"\tclient_max_body_size {max(most, BODY_LEAST)};"]
        if any(op.raw.get("x-secret-response") for op in ops):
            out.append("\tgzip off;")  # a secret beside what the client sent must not show in the length
        out += [f"\tinclude soloprint/pool-{pool}.conf;", "}"]
    return "\n".join(out) + "\n"
