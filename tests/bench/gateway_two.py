#!/usr/bin/env python3
"""Two gateways with many printers: how they come up, how they share, and what becomes of the printers when one is killed.

Two fleets (one mosquitto each, with a TLS listener per printer) and a load generator for each, one private Postgres. All
printers report meanwhile. Prints one JSON object; exit 1 when a printer has not reported within SECONDS of the kill."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "bench"), str(TESTS / "gateway"), str(TESTS / "printers")]

from gateway_scale import Load, cpu_of  # noqa: E402
from rig import Gateway, Postgres, World  # noqa: E402
from virtual_fleet.harness import wait_for  # noqa: E402

FLAGS = ("--direct", "--mute")
SHARES = "SELECT gateway_id, count(*) AS n FROM sec.printer_index WHERE expires_at > now() GROUP BY gateway_id"
HEARD = (
    "SELECT count(*) AS n FROM app.printer_status AS s JOIN sec.printer_index AS i ON i.printer_id = s.printer_id"
    " WHERE i.gateway_id = %s AND s.connection ->> 'state' = 'connected' AND s.last_seen_at > %s"
)


def number(world: World, query: str, *values: Any) -> int:
    row = world.db.execute(query, list(values)).fetchone()
    assert row is not None
    return int(row["n"])


def shares(world: World) -> list[int]:
    return sorted(row["n"] for row in world.db.execute(SHARES))


def gateway_ids(world: World) -> list[Any]:
    return [row["id"] for row in world.db.execute("SELECT id FROM sec.gateways ORDER BY started_at")]


def run(first: World, second: World, args: argparse.Namespace) -> dict[str, Any]:
    n = 2 * args.printers
    rate = args.printers * args.rate
    loads = [Load(world, rate, 3600, "delta", 10_000) for world in (first, second)]
    out: dict[str, Any] = {"printers": n, "reports_per_s": 2 * rate}
    began = time.monotonic()
    gateways = [first.start_gateway(sessions="20000", connects=str(args.connects)) for _ in range(2)]
    try:
        wait_for(lambda: sum(shares(first)) == n and len(shares(first)) == 2, 120, "shares", 0.2)
        connected = "SELECT count(*) AS n FROM app.printer_status WHERE connection ->> 'state' = 'connected'"
        wait_for(lambda: number(first, connected) == n, 180, "every printer connected", 0.2)
        out |= {"connected_after_s": round(time.monotonic() - began, 1), "shares": shares(first)}
        cpu, at = sum(cpu_of(g.process.pid) for g in gateways), time.monotonic()
        wait_for(lambda: time.monotonic() - at > args.seconds, args.seconds + 5, "time for the load", 0.5)
        used = sum(cpu_of(g.process.pid) for g in gateways) - cpu
        out["processor_share_of_both"] = round(used / (time.monotonic() - at), 2)
        out["kib_per_session"] = [round(2 * gateway.private_kib() / n) for gateway in gateways]
        out |= kill_one(first, gateways, n)
        events = "SELECT count(*) AS n FROM app.outbox WHERE type LIKE 'printer.%%' AND created_at > %s"
        out["events_since_the_kill"] = number(first, events, out.pop("killed_at"))
    finally:
        for load in loads:
            load.finish()
    return out


def kill_one(world: World, gateways: list[Gateway], n: int) -> dict[str, Any]:
    victim, survivor = gateways
    other = gateway_ids(world)[1]
    row = world.db.execute("SELECT now() AS at").fetchone()
    assert row is not None
    victim.kill()
    killed = time.monotonic()
    held = "SELECT count(*) AS n FROM sec.printer_index WHERE gateway_id = %s"
    out: dict[str, Any] = {"killed_at": row["at"]}
    room = number(world, "SELECT room AS n FROM sec.gateways WHERE id = %s", other)
    most = min(n, room)
    wait_for(lambda: number(world, held, other) == most, 60, "take-over", 0.1)
    out |= {"taken_over": most, "taken_over_after_s": round(time.monotonic() - killed, 1)}
    wait_for(lambda: number(world, HEARD, other, row["at"]) == most, 120, "reports of all", 0.1)
    out["all_reported_after_s"] = round(time.monotonic() - killed, 1)
    survivor.stop()
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--printers", type=int, default=1000, help="of each fleet; full: 5000")
    parser.add_argument("--rate", type=float, default=0.2, help="reports per second and printer")
    parser.add_argument("--connects", type=int, default=500, help="SOLOPRINT_GATEWAY_CONNECTS")
    parser.add_argument("--seconds", type=int, default=10, help="of load before the kill")
    parser.add_argument("--within", type=float, default=15, help="goal after the kill, seconds")
    args = parser.parse_args()
    fleets = [[{"name": f"{f}{index}", "model": "X1C"} for index in range(args.printers)] for f in "ab"]
    with Postgres() as postgres, World(postgres, fleets[0], FLAGS) as first:
        with World(postgres, fleets[1], FLAGS, first) as second:
            out = run(first, second, args)
    print(json.dumps(out, indent=1))
    return 0 if out["all_reported_after_s"] <= args.within and out["events_since_the_kill"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
