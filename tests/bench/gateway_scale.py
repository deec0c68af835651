#!/usr/bin/env python3
"""The gateway with many printers over TLS: memory per session, CPU per report, lag from report to commit.

Runs a private Postgres, one mosquitto with a TLS listener per printer, one gateway and the load generator
(BUILD/bench/mqtt_fleet). Lag: from the moment a report is handed to the broker to the commit timestamp of the
transaction that wrote it (or a later report of that printer).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import uuid
from collections import defaultdict
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "gateway"), str(TESTS / "printers")]

from rig import BUILD, Gateway, Postgres, World  # noqa: E402
from virtual_fleet.harness import wait_for  # noqa: E402
from virtual_fleet.models import MODELS, first_report  # noqa: E402

SESSION_KIB = 64
LAG_P99_MS = 500
TRACE = """
CREATE SCHEMA bench;
CREATE UNLOGGED TABLE bench.seen (printer_id uuid, layer int);
CREATE FUNCTION bench.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO bench.seen VALUES (NEW.printer_id, (NEW.job ->> 'layer')::int);
    RETURN NULL;
END $$;
CREATE TRIGGER bench AFTER UPDATE ON app.printer_status FOR EACH ROW
    WHEN (NEW.job ->> 'layer' IS DISTINCT FROM OLD.job ->> 'layer') EXECUTE FUNCTION bench.note();
"""


def printing_report() -> dict[str, Any]:
    """A full report of an X1C in the middle of a print."""
    report = first_report(MODELS["X1C"])
    job = {"gcode_state": "RUNNING", "gcode_file": "cube.gcode.3mf", "subtask_name": "cube", "mc_percent": 40}
    job |= {"total_layer_num": 100000, "nozzle_temper": 220.0, "nozzle_target_temper": 220.0, "stg_cur": 0}
    return report | job


class Load:
    """The generator, and what it logged."""

    def __init__(self, world: World, rate: float, seconds: int, shape: str, first: int) -> None:
        inner = json.loads((world.folder / "fleet" / "broker" / "inner.json").read_text())
        serials, template = world.folder / "serials", world.folder / "template.json"
        serials.write_text("".join(each["serial"] + "\n" for each in world.fleet.printers))
        template.write_text(json.dumps(printing_report()))
        self.log = world.folder / "sent.log"
        words = [inner["port"], inner["password"], serials, template, rate, seconds, self.log, shape, first]
        program = str(BUILD / "bench" / "mqtt_fleet")
        self.process = subprocess.Popen([program, *map(str, words)], stdout=subprocess.PIPE, text=True)

    def finish(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(30)

    def sent(self) -> dict[str, list[tuple[int, float]]]:
        """serial → (layer, seconds since the epoch), in order."""
        out: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for line in self.log.read_text().splitlines():
            serial, layer, at = line.split()
            out[serial].append((int(layer), int(at) / 1e9))
        return out


def cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def commits(world: World) -> dict[uuid.UUID, list[tuple[int, float]]]:
    rows = world.db.execute(
        "SELECT printer_id, layer, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 AS at"
        " FROM bench.seen ORDER BY at, layer"
    ).fetchall()
    out: dict[uuid.UUID, list[tuple[int, float]]] = defaultdict(list)
    for row in rows:
        out[row["printer_id"]].append((row["layer"], row["at"]))
    return out


def lags(world: World, load: Load) -> tuple[list[float], int]:
    """Milliseconds from each report to the first commit that covers it; how many were never covered."""
    ids = {each["serial"]: world.ids[each["name"]] for each in world.fleet.printers}
    written, out, missing = commits(world), [], 0
    for serial, reports in load.sent().items():
        seen = written[ids[serial]]
        position = 0
        for layer, at in reports:
            while position < len(seen) and seen[position][0] < layer:
                position += 1
            if position == len(seen):
                missing += 1
            else:
                out.append((seen[position][1] - at) * 1000)
    return sorted(out), missing


def quantile(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))]


def measure_load(
    world: World, gateway: Gateway, seconds: int, shape: str, rate: float, first: int
) -> dict[str, Any]:
    world.db.execute("TRUNCATE bench.seen")
    broker = world.fleet.ctl("broker", action="pid")
    cpu, broker_cpu, began = gateway.cpu_s(), cpu_of(broker), time.monotonic()
    load = Load(world, rate, seconds, shape, first)
    load.process.wait(seconds + 60)
    took = time.monotonic() - began
    values, missing = wait_for(
        lambda: (r := lags(world, load)) and r[1] == 0 and r, 20, "every report in Postgres", 1
    )
    n = len(values)
    return {
        "shape": shape,
        "reports": n,
        "reports_per_s": round(n / took),
        "missing": missing,
        "lag_p50_ms": round(quantile(values, 0.5)),
        "lag_p99_ms": round(quantile(values, 0.99)),
        "lag_max_ms": round(values[-1]),
        "gateway_cpu_us_per_report": round((gateway.cpu_s() - cpu) / n * 1e6),
        "broker_cpu_us_per_report": round((cpu_of(broker) - broker_cpu) / n * 1e6),
    }


def connect_all(world: World, n: int) -> float:
    """Seconds until every printer has been asked for its report, over its own TLS session."""
    began = time.monotonic()
    wait_for(lambda: world.fleet.ctl("asked") == n, 120, "sessions", 0.2)
    return round(time.monotonic() - began, 1)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--delta-rate", type=float, default=500, help="small deltas per second, all printers")
    parser.add_argument("--full-rate", type=float, default=500, help="full reports per second, all printers")
    args = parser.parse_args()
    printers = [{"name": f"p{index}", "model": "X1C"} for index in range(args.sessions)]
    few = [{"name": "only", "model": "X1C"}]
    with Postgres() as postgres, World(postgres, few, ("--direct", "--mute")) as empty:
        gateway = empty.start_gateway()
        wait_for(lambda: empty.db.execute("SELECT 1 FROM sec.gateways").fetchone(), 10, "gateway")
        base = gateway.private_kib()
        gateway.stop()
        with World(postgres, printers, ("--direct", "--mute")) as world:
            world.db.execute(TRACE)
            out = run(world, args, base)
    print(json.dumps(out, indent=1))
    good = out["kib_per_session"] <= SESSION_KIB and all(e["lag_p99_ms"] <= LAG_P99_MS for e in out["load"])
    return 0 if good else 1


def run(world: World, args: argparse.Namespace, base: int) -> dict[str, Any]:
    gateway = world.start_gateway()
    out: dict[str, Any] = {"sessions": args.sessions, "base_kib": base}
    out["connect_s"] = connect_all(world, args.sessions)
    out["kib_per_session"] = round((gateway.private_kib() - base) / args.sessions, 1)
    # Now every printer says once all it knows: nobody answered the first question.
    answers = Load(world, 200, args.sessions // 200 + 2, "full", 1)
    count = "SELECT count(*) AS n FROM app.printer_status WHERE org_id = %s AND state = 'printing'"
    wait_for(
        lambda: (world.db.execute(count, [world.org]).fetchone() or {})["n"] == args.sessions,
        120,
        "reports",
        0.5,
    )
    answers.finish()
    out["kib_per_session_with_record"] = round((gateway.private_kib() - base) / args.sessions, 1)
    out["load"] = [
        measure_load(world, gateway, args.seconds, "delta", args.delta_rate, 10_000),
        measure_load(world, gateway, args.seconds, "full", args.full_rate, 20_000),
    ]
    gateway.stop()
    return out


if __name__ == "__main__":
    sys.exit(main())
