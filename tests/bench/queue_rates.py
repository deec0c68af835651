#!/usr/bin/env python3
"""The queue: dispatch-next through HTTP, contended by as many clients as printers, as a ratio of the same SQL under pgbench;
and eligibility: all of it computed anew, and what one printer's change costs with a tenth and with all of the items.

Each turn of a client is dispatch-next on its own printer, then the end of that send, by SQL on both sides: a printer takes one
item at a time. The turns are compared, in turns, within one run; the end is the same on both sides and belongs to them."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

import httpx  # noqa: E402
from api import NO_KEY, Api, Http2, tls  # noqa: E402
from contract import Contract  # noqa: E402
from files import make_file  # noqa: E402
from keys import key_hash  # noqa: E402
from stack import Stack, new_stack, remove  # noqa: E402
from world import Org, make_org  # noqa: E402

WORKERS = 8
GOALS = {
    "dispatch-next over http / pgbench": (">=", 0.4),
    "one slot's change, 10 × the items, none of them affected": ("<=", 3.0),
}
END = """SELECT count(sec.task_settle(t, 'cancelled', NULL, NULL)) FROM sec.printer_tasks AS t WHERE t.printer_id =
    (SELECT i.printer_id FROM sec.printer_index AS i JOIN app.printers AS p ON p.id = i.printer_id
     WHERE p.org_id = '{org}' AND p.serial = '{serial}')"""
PRINTERS = """
SELECT set_config('app.org_id', '{org}', true);
INSERT INTO app.printers (name, protocol, model, host, serial, nozzles, bed_volume, tags)
    SELECT 'Printer ' || n, 'bambu', (ARRAY['X1C', 'P1S', 'A1'])[n % 3 + 1], '192.0.2.1', 'Q' || n, '[{{"diameter_mm": 0.4}}]',
        '{{"x_mm": 256, "y_mm": 256, "z_mm": 256}}', ARRAY['lab-' || n % 10] FROM generate_series(0, {n} - 1) AS n;
UPDATE app.printer_status SET state = 'idle', connection = '{{"state": "connected"}}', ams = jsonb_build_object('units', jsonb_build_array(
    jsonb_build_object('id', 0, 'slots', jsonb_build_array(
        jsonb_build_object('slot', 0, 'present', true, 'material', 'PLA', 'color', '#FF0000FF'),
        jsonb_build_object('slot', 1, 'present', true, 'material', 'PETG', 'color', '#00FF00FF')))), 'external', '[]'::jsonb)
    WHERE org_id = '{org}';
SELECT sec.queue_settings_update('{{"plate_clear_required": false}}', NULL);
"""
ANALYZE = "ANALYZE app.queue_items, app.queue_matches, app.queue_needs, app.queue_printers, app.printers, app.printer_status, app.jobs"


def add_printers(org: Org, n: int) -> None:
    with org.db.transaction():
        for statement in PRINTERS.format(org=org.id, n=n).split(";\n"):
            if statement.strip():
                org.db.execute(statement)


def metadata(model: str, material: str, height: int) -> str:
    return json.dumps({
        "printer_model": model, "nozzle_diameters_mm": [0.4], "max_z_mm": height, "estimated_time_s": 3600,
        "filaments": [{"slot": 0, "material": material, "color": "#FF0000FF"}],
    })  # fmt: skip


def fill(org: Org, items: int, needs: int, material: str = "PLA") -> None:
    """So many items, of so many different files."""
    for n in range(needs):
        file = make_file(org, f"{material}-{n}.gcode.3mf", kind="gcode_3mf",
                         metadata=metadata(("X1C", "P1S", "A1")[n % 3], material, 40 + n % 200))  # fmt: skip
        left = items // needs
        while left:
            copies = min(left, 100)
            org.sql("SELECT sec.queue_create(app.uuid7(), %s::jsonb)", json.dumps({"file_id": file, "copies": copies}))
            left -= copies


# --- dispatch-next --------------------------------------------------------------------------------


def over_http(stack: Stack, org: Org, printers: list[str], seconds: float) -> float:
    """Turns per second."""
    done, stop = [0] * len(printers), threading.Event()

    def client(n: int) -> None:
        with httpx.Client(base_url=stack.url, verify=tls(stack.cacert), headers={"Authorization": f"Bearer {org.key}"},
                          timeout=30) as http, stack.connect() as db:  # fmt: skip
            end = END.format(org=org.id, serial=f"Q{n}")
            while not stop.is_set():
                answer = http.post(f"/v1/platform/printers/{printers[n]}/dispatch-next")
                assert answer.status_code == 200, answer.text
                db.execute(end)
                done[n] += 1

    threads = [threading.Thread(target=client, args=(n,)) for n in range(len(printers))]
    for thread in threads:
        thread.start()
    started = time.monotonic()
    stop.wait(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    return sum(done) / (time.monotonic() - started)


def by_pgbench(stack: Stack, org: Org, printers: list[str], seconds: float) -> float:
    """The same with the statements alone, by as many connections as the API has; none has another's printer."""
    folder = stack.folder / "pgbench"
    folder.mkdir(exist_ok=True)
    begin = (f"SELECT * FROM sec.begin_request('\\x{key_hash(org.key).hex()}'::bytea, 'queue.manage', 'dispatchNextQueueItem',"
             " '127.0.0.1'::inet, 'bench');")  # fmt: skip
    find = f"(SELECT p.id FROM app.printers AS p WHERE p.org_id = '{org.id}' AND p.serial = 'Q' || :n)"
    end = END.format(org=org.id, serial="@").replace("'@'", "'Q' || :n")
    script = folder / "dispatch.sql"
    script.write_text(
        f"\\set n :client_id + {WORKERS} * random(0, {len(printers) // WORKERS - 1})\n\\startpipeline\n{begin}\n"
        f"SELECT * FROM sec.dispatch_next({find});\n"
        f"SELECT r.* FROM app.queue_rows AS r WHERE r._org_id = app.org() AND r._printer_id = {find} AND r.state = 'dispatching';\n"
        f"\\endpipeline\n{end};\n"
    )
    done = subprocess.run(
        ["pgbench", "-n", "-M", "prepared", "-c", str(WORKERS), "-j", "2", "-T", str(int(seconds)), "-h",
         str(stack.run_dir / "pg"), "-U", "postgres", "-f", str(script), "soloprint"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    return float(found[1])


def dispatching(stack: Stack, org: Org, n: int, rounds: int, seconds: float) -> dict[str, float]:
    add_printers(org, n)
    fill(org, 20000, 30)
    org.db.execute(ANALYZE)
    printers = [str(row[0]) for row in org.sql("SELECT id FROM app.printers WHERE org_id = %s ORDER BY substr(serial, 2)::int", org.id)]
    over_http(stack, org, printers, 1)
    http, bench = [], []
    for turn in range(rounds):
        http.append(over_http(stack, org, printers, seconds))
        bench.append(by_pgbench(stack, org, printers, seconds))
        print(f"round {turn + 1}: {http[-1]:.0f} turns/s over http, {bench[-1]:.0f} by pgbench", flush=True)
    dispatched = org.sql("SELECT count(*), count(DISTINCT (item_id, generation)) FROM app.queue_dispatches WHERE org_id = %s", org.id)[0]
    assert dispatched[0] == dispatched[1] > 0
    return {
        "dispatch-next over http / pgbench": median(h / b for h, b in zip(http, bench, strict=True)),
        "turns per second over http": median(http),
    }


# --- eligibility ----------------------------------------------------------------------------------


def timed(act: Callable[[], Any]) -> float:
    started = time.perf_counter()
    act()
    return (time.perf_counter() - started) * 1000


def slots(org: Org, printer: str, material: str) -> None:
    org.sql("UPDATE app.printer_status SET ams = jsonb_set(ams, '{units,0,slots,0,material}', to_jsonb(%s::text)) WHERE printer_id = %s",
            material, printer)  # fmt: skip


def change(org: Org, printer: str, materials: tuple[str, str], times: int = 7) -> float:
    """Milliseconds of one change of what is loaded."""
    return median(timed(lambda m=materials[n % 2]: slots(org, printer, m)) for n in range(times))


def eligibility(org: Org, printers: int, items: int, needs: int) -> dict[str, float]:
    add_printers(org, printers)
    one = str(org.sql("SELECT id FROM app.printers WHERE org_id = %s AND serial = 'Q0'", org.id)[0][0])
    fill(org, 100, 20, "ABS")
    fill(org, items // 10, needs // 10)
    org.db.execute(ANALYZE)
    few, few_affected = change(org, one, ("ASA", "PA")), change(org, one, ("ABS", "ASA"))
    fill(org, items - items // 10, needs - needs // 10)
    org.db.execute(ANALYZE)
    many, many_affected = change(org, one, ("ASA", "PA")), change(org, one, ("ABS", "ASA"))
    pairs = org.sql("SELECT count(*) FROM app.queue_matches WHERE org_id = %s", org.id)[0][0]
    org.db.execute("SET statement_timeout = 0")
    full = timed(lambda: org.sql("SELECT sec.queue_rematch(NULL, NULL)"))
    config = timed(lambda: org.sql("UPDATE app.printers SET tags = '{moved}' WHERE id = %s", one))
    return {
        f"all of {items} items × {printers} printers ({pairs} distinct pairs) computed anew, s": full / 1000,
        "µs per pair": full * 1000 / pairs,
        f"one printer's configuration changed ({needs + 20} distinct wishes), ms": config,
        "one slot's change, no item wants either material, ms": many,
        "one slot's change, 20 of the distinct wishes affected, ms": many_affected,
        "one slot's change, 10 × the items, none of them affected": many / few,
        "one slot's change, 10 × the items, the same 20 affected": many_affected / few_affected,
    }


def report(measured: dict[str, float]) -> int:
    missed = 0
    print()
    for name, value in measured.items():
        how, goal = GOALS.get(name, ("", None))
        good = goal is None or (value >= goal if how == ">=" else value <= goal)
        missed += not good
        print(f"{name:<88} {value:9.2f}  {'' if goal is None else f'{how} {goal:g} ' + ('PASS' if good else 'FAIL')}")
    return 1 if missed else 0


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=5)
    p.add_argument("--clients", type=int, default=50)
    p.add_argument("--printers", type=int, default=500, help="for eligibility")
    p.add_argument("--items", type=int, default=10000)
    p.add_argument("--needs", type=int, default=200, help="how many of the items differ in what they want")
    args = p.parse_args()
    stack = new_stack()
    try:
        stack.up("--no-access-log", "--workers", str(WORKERS), "--gateways", "0", "--rate", "0", "--conns", "0",
                 "--env", "SOLOPRINT_LOG_LEVEL=warn")  # fmt: skip
        db = stack.connect()
        http = httpx.Client(base_url=stack.url, transport=Http2(stack.cacert))
        api = Api(http, Contract(http.get("/v1/openapi.json").json()), NO_KEY)
        figures = dispatching(stack, make_org(stack, db, api), args.clients, args.rounds, args.seconds)
        figures |= eligibility(make_org(stack, db, api), args.printers, args.items, args.needs)
    finally:
        remove(stack)
    return report(figures)


sys.exit(main())
