#!/usr/bin/env python3
"""The gateway with many printers over TLS: memory per session, CPU per report, lag from report to commit, at several
numbers of sessions; and next to it a subscriber that only receives and parses the same reports.

Runs a private Postgres, one mosquitto with a TLS listener per printer, one gateway and the load generator
(BUILD/bench/mqtt_fleet). Lag: from the moment a report is handed to the broker to the commit timestamp of the
transaction that wrote it (or a later report of that printer).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "gateway"), str(TESTS / "printers")]

from rig import BUILD, Gateway, Postgres, World  # noqa: E402
from virtual_fleet.harness import wait_for  # noqa: E402
from virtual_fleet.models import MODELS, first_report  # noqa: E402

SESSION_KIB = 64
LAG_P99_MS = 500
CPU_RATIO = 1.5
GROWTH = 1.2
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
    """Seconds on a processor, all threads."""
    return sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def postgres_cpu(world: World) -> float:
    """The backends of the gateways' role."""
    rows = world.db.execute("SELECT pid FROM pg_stat_activity WHERE usename = 'soloprint_gateway'").fetchall()
    return sum(cpu_of(row["pid"]) for row in rows)


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


def measure_load(world: World, gateway: Gateway, seconds: int, shape: str, rate: float, first: int) -> dict[str, Any]:
    world.db.execute("TRUNCATE bench.seen")
    broker, pid = world.fleet.ctl("broker", action="pid"), gateway.process.pid
    before = (cpu_of(pid), cpu_of(broker), postgres_cpu(world))
    began = time.monotonic()
    load = Load(world, rate, seconds, shape, first)
    load.process.wait(seconds + 60)
    took = time.monotonic() - began
    # Brokers drop what a busy session does not take: those reports are counted, not waited for.
    with contextlib.suppress(AssertionError):
        wait_for(lambda: lags(world, load)[1] == 0, 10, "every report in Postgres", 1)
    values, missing = lags(world, load)
    after = (cpu_of(pid), cpu_of(broker), postgres_cpu(world))
    n = len(values)
    each = [round((b - a) / n * 1e6, 1) for a, b in zip(before, after, strict=True)]
    return {
        "shape": shape,
        "reports": n,
        "reports_per_s": round(n / took),
        "missing": missing,
        "lag_p50_ms": round(quantile(values, 0.5)),
        "lag_p99_ms": round(quantile(values, 0.99)),
        "lag_max_ms": round(values[-1]),
        "gateway_cpu_us_per_report": each[0],
        "broker_cpu_us_per_report": each[1],
        "postgres_cpu_us_per_report": each[2],
        "reports_per_s_and_gateway_core": round(1e6 / each[0]),
    }


class Subscriber:
    """A program that receives and parses the same reports, beside the gateway, and does nothing else."""

    def __init__(self, world: World) -> None:
        listing = world.folder / "subscriber"
        rows = [f"{each['serial']} {each['port']} {each['access_code']}\n" for each in world.fleet.printers]
        listing.write_text("".join(rows))
        program = [str(BUILD / "bench" / "mqtt_subscriber"), str(listing)]
        self.process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None and self.process.stdout.readline() == "ready\n"

    def finish(self) -> tuple[int, int]:
        """Messages, and those that could not be parsed."""
        self.process.terminate()
        messages, _, bad = map(int, self.process.communicate()[0].split())
        return messages, bad


def paired(world: World, gateway: Gateway, args: argparse.Namespace, shape: str) -> dict[str, Any]:
    """Microseconds per report of both, at the same time and under the same load."""
    subscriber = Subscriber(world)
    pids = (gateway.process.pid, subscriber.process.pid)
    before = [cpu_of(pid) for pid in pids]
    load = Load(world, min(len(world.ids) * args.rate, args.most), args.seconds, shape, 30_000)
    load.process.wait(args.seconds + 60)
    n = sum(len(reports) for reports in load.sent().values())
    used = [(cpu_of(pid) - was) / n * 1e6 for pid, was in zip(pids, before, strict=True)]
    messages, bad = subscriber.finish()
    assert messages >= n * 0.999 and bad == 0, (messages, n, bad)
    return {
        "gateway_us": round(used[0], 1),
        "subscriber_us": round(used[1], 1),
        "ratio": round(used[0] / used[1], 2),
    }


def connect_all(world: World, n: int) -> float:
    """Seconds until every printer has been asked for its report, over its own TLS session."""
    began = time.monotonic()
    wait_for(lambda: world.fleet.ctl("asked") == n, 300, "sessions", 0.2)
    return round(time.monotonic() - began, 1)


def say_all(world: World, n: int) -> None:
    """Every printer says once all it knows: nobody answered the first question."""
    answers = Load(world, 400, n // 400 + 2, "full", 1)
    count = "SELECT count(*) AS n FROM app.printer_status WHERE org_id = %s AND state = 'printing'"
    wait_for(lambda: (world.db.execute(count, [world.org]).fetchone() or {})["n"] == n, 120, "reports", 0.5)
    answers.finish()


def one_step(postgres: Postgres, n: int, args: argparse.Namespace, base: int, beside: bool) -> dict[str, Any]:
    printers = [{"name": f"p{index}", "model": "X1C"} for index in range(n)]
    out: dict[str, Any] = {"sessions": n}
    rate = min(n * args.rate, args.most)
    with World(postgres, printers, ("--direct", "--mute")) as world:
        world.db.execute(TRACE)
        try:
            gateway = world.start_gateway()
            out["connect_s"] = connect_all(world, n)
            out["kib_per_idle_session"] = round((gateway.private_kib() - base) / n, 1)
            say_all(world, n)
            out["load"] = []
            for index, shape in enumerate(("delta", "full")):
                out["load"].append(measure_load(world, gateway, args.seconds, shape, rate, 10_000 * (index + 1)))
            out["kib_per_reporting_session"] = round((gateway.private_kib() - base) / n, 1)
            if beside:
                out["beside_a_subscriber"] = {shape: paired(world, gateway, args, shape) for shape in ("delta", "full")}
            gateway.stop()
        finally:
            world.db.execute("DROP SCHEMA bench CASCADE")
    print(json.dumps(out), file=sys.stderr)
    return out


def base_memory(postgres: Postgres) -> int:
    """KiB of a gateway that has been ready for a while, with a printer that is switched off."""
    with World(postgres, [{"name": "only", "model": "X1C"}], ("--direct", "--mute")) as world:
        gateway = world.start_gateway()
        wait_for(lambda: world.db.execute("SELECT 1 FROM sec.gateways").fetchone(), 10, "gateway")
        base = gateway.private_kib()
        gateway.stop()
    return base


def growth(steps: list[dict[str, Any]], value: Callable[[dict[str, Any]], float]) -> float:
    """The last step's over the least of all: 1 when it costs no more with many."""
    values = [value(step) for step in steps]
    return round(values[-1] / min(values), 2)


def verdict(steps: list[dict[str, Any]]) -> list[str]:
    """Goals that were missed."""
    bad = []
    for step in steps:
        if step["kib_per_idle_session"] > SESSION_KIB:
            bad.append(f"memory per session at {step['sessions']}")
        for load in step["load"]:
            if load["lag_p99_ms"] > LAG_P99_MS:
                bad.append(f"lag at {step['sessions']}, {load['shape']}")
        for shape, pair in step.get("beside_a_subscriber", {}).items():
            if pair["ratio"] > CPU_RATIO:
                bad.append(f"processor time over the subscriber's at {step['sessions']}, {shape}")
    return bad


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--steps", default="100,1000", help="numbers of sessions, one after the other; full: 100,1000,5000"
    )
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rate", type=float, default=1, help="reports per second and printer")
    parser.add_argument("--most", type=float, default=1000, help="reports per second in all")
    parser.add_argument("--quick", action="store_true", help="50 and 200 sessions for 5 s: does it work at all")
    args = parser.parse_args()
    if args.quick:
        args.steps, args.seconds, args.rate = "50,200", 5, 2
    counts = [int(each) for each in args.steps.split(",")]
    with Postgres() as postgres:
        base = base_memory(postgres)
        steps = [one_step(postgres, n, args, base, n <= 1000) for n in counts]
    grows = {
        "kib_per_reporting_session": growth(steps, lambda s: s["kib_per_reporting_session"]),
        "cpu_per_delta": growth(steps, lambda s: s["load"][0]["gateway_cpu_us_per_report"]),
        "cpu_per_full": growth(steps, lambda s: s["load"][1]["gateway_cpu_us_per_report"]),
    }
    bad = verdict(steps) + [f"growth of {what}" for what, by in grows.items() if by > GROWTH]
    print(json.dumps({"base_kib": base, "steps": steps, "growth": grows, "missed": bad}, indent=1))
    return 1 if bad and not args.quick else 0


if __name__ == "__main__":
    sys.exit(main())
