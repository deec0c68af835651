#!/usr/bin/env python3
"""Ratios of one run, on the release build: the list of 50 of an organisation's 400 printers, with 200,000 printers in 500
organisations, against pgbench running the same key check and SELECT, and against two peers doing the same work; the version
probe against nginx' own `return 200`; memory per worker.

Ratios, not rates: both sides are measured within the same minutes on the same machine, in turns, and the median of the
rounds' ratios counts. The peers stand behind the same nginx, on kept connections. The API checks rate limits in Redis; pgbench and
the peers do not, and pgbench has no nginx before it."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

import httpx  # noqa: E402
from api import NO_KEY, Api, Http2  # noqa: E402
from contract import Contract  # noqa: E402
from stack import BUILD, Stack, free_port, new_stack, remove  # noqa: E402
from wait import until  # noqa: E402
from world import Org, make_org  # noqa: E402

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers"
KEYS = 20
LIST = "/v1/printers?limit=50"
# name: (least or most, what it is)
GOALS = {
    "list over http / pgbench": (">=", 0.28),
    "list over https / pgbench": (">=", 0.22),
    "p99 / p50 at 32 connections": ("<=", 4.0),
    "list / FastAPI + asyncpg": (">=", 2.5),
    "list / fastify + pg": (">=", 2.0),
    "private memory per worker, MiB": ("<=", 8.0),
}

SEED = """
SET session_replication_role = replica;
INSERT INTO app.printers (org_id, id, name, protocol, model, host, serial, bed_volume, nozzles, enclosure,
        max_temperatures, location, tags, features, created_at, updated_at)
    SELECT o.org_id, app.uuid7(), 'Printer ' || lpad(n::text, 3, '0'), 'bambu', 'X1C', '192.0.2.' || n % 250,
        'BENCH' || o.i || '-' || n, '{"x_mm": 256, "y_mm": 256, "z_mm": 256}',
        '[{"diameter_mm": 0.4, "material": "hardened_steel"}]', true,
        '{"nozzle_c": 300, "bed_c": 120, "chamber_c": null}', 'Lab ' || n % 7, ARRAY['lab-' || n % 7, 'fast'],
        app.printer_capabilities('bambu', 'X1C'), now(), now()
    FROM (SELECT org_id, row_number() OVER () AS i FROM app.organizations) AS o, generate_series(1, 400) AS n;
INSERT INTO app.printer_status (org_id, printer_id, state, connection, job, temperatures, ams, last_seen_at)
    SELECT org_id, id, 'printing', '{"state": "connected", "reason": null, "message": null, "since": null}',
        '{"file": "benchy.3mf", "name": "benchy", "progress": 42, "remaining_s": 3120, "layer": 81, "total_layers": 240,
          "outcome": null, "stage": "printing", "started_at": null, "task_id": "7"}',
        '{"nozzles": [{"id": 0, "actual_c": 219.8, "target_c": 220}], "bed": {"actual_c": 54.9, "target_c": 55},
          "chamber": null}',
        '{"units": [{"id": 0, "humidity": 4, "humidity_pct": 22, "temperature_c": 24.5, "drying_remaining_s": 0, "slots": [
            {"slot": 0, "present": true, "material": "PLA", "name": "PLA Matte", "color": "#DE4343FF", "colors": [],
             "remaining_pct": 64, "rfid": true, "filament_id": "GFA01", "nozzle_min_c": 190, "nozzle_max_c": 230}]}],
          "active": {"unit": 0, "slot": 0}, "external": []}', now()
    FROM app.printers ON CONFLICT (org_id, printer_id) DO NOTHING;
RESET session_replication_role;
VACUUM (ANALYZE, FREEZE) app.printers, app.printer_status;
"""


def sh(*command: str | Path, **kw: Any) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **kw)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


# --- the world ------------------------------------------------------------------------------------


def seed(stack: Stack, orgs: int) -> list[Org]:
    started = time.monotonic()
    db = stack.connect()
    client = httpx.Client(base_url=stack.url, transport=Http2(stack.cacert))
    api = Api(client, Contract(client.get("/v1/openapi.json").json()), NO_KEY)
    made = [make_org(stack, db, api) for _ in range(KEYS)]
    db.execute(f"SELECT sec.create_org('Bench ' || n, 'bench-' || n) FROM generate_series(1, {orgs - KEYS}) AS n")
    for statement in SEED.split(";\n"):
        if statement.strip():
            db.execute(statement)
    rows = db.execute("SELECT count(*) FROM app.printers").fetchone()
    print(f"seeded {rows[0] if rows else 0} printers in {orgs} organisations in {time.monotonic() - started:.0f} s")
    body = made[0].api.get(LIST, expect=200)
    assert len(body.json()["data"]) == 50
    print(f"one list is {len(body.content)} bytes")
    client.close()
    return made


def statement(name: str) -> str:
    """A statement of fcgi/*.sql as it was compiled."""
    import ast

    source = (BUILD / "gen" / "fcgi_sql.c").read_text()
    found = re.search(rf"const struct sql SQL_{name}\s*=\s*\{{(.*?)\n\}};", source, re.S)
    assert found, name
    return "".join(ast.literal_eval(s) for s in re.findall(r'"(?:\\.|[^"\\])*"', found[1])[1:])


def list_sql() -> str:
    """The list's statement as pgbench and the peers run it: no filter, the first 51 rows."""
    values = {1: "NULL::text", 2: "NULL::text[]", 3: "NULL::text[]", 4: "NULL::uuid[]", 5: "NULL::text",
              6: "NULL::text", 7: "NULL::uuid", 8: "51", 9: "0"}  # fmt: skip
    return re.sub(r"\$(\d)", lambda m: values[int(m[1])], statement("printers_by_name"))


# --- who is measured ------------------------------------------------------------------------------


def pgbench(stack: Stack, orgs: list[Org], seconds: int) -> float:
    """Transactions per second: begin_request and the list in one pipelined round trip."""
    from keys import key_hash

    folder = stack.folder / "pgbench"
    folder.mkdir(exist_ok=True)
    args: list[str] = []
    for n, org in enumerate(orgs):
        begin = (f"SELECT * FROM sec.begin_request('\\x{key_hash(org.key).hex()}'::bytea, 'operations.read',"
                 " 'listPrinters', '127.0.0.1'::inet, 'bench');")  # fmt: skip
        (folder / f"{n}.sql").write_text(f"\\startpipeline\n{begin}\n{list_sql()};\n\\endpipeline\n")
        args += ["-f", str(folder / f"{n}.sql")]
    out = sh("pgbench", "-n", "-M", "prepared", "-c", "8", "-j", "2", "-T", seconds, "-h", stack.run_dir / "pg", "-U",
             "soloprint_api", *args, "soloprint")  # fmt: skip
    found = re.search(r"tps = ([\d.]+)", out)
    assert found, out
    return float(found[1])


def wrk(url: str, seconds: int, keys: list[str], connections: int = 32) -> dict[str, float]:
    script = HERE / "keys.lua"
    env = {**os.environ, "BENCH_KEYS": ",".join(keys)}
    out = sh("wrk", "-t", "2", "-c", connections, "-d", f"{seconds}s", "--latency", "-s", script, url, env=env)
    patterns = (r"Requests/sec:\s+([\d.]+)", r"^\s+50%\s+(\S+)", r"^\s+99%\s+(\S+)")
    rate, p50, p99 = (re.search(p, out, re.M) for p in patterns)
    assert rate and p50 and p99, out
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    assert not wrong, f"{wrong[0] if wrong else ''} from {url}"
    return {"rate": float(rate[1]), "p50": in_ms(p50[1]), "p99": in_ms(p99[1])}


def in_ms(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


NOTHING = """
		location = /nothing {
			return 200 ok;
		}
"""
PEER_LOCATION = """
		location /{name}/ {{
			proxy_pass http://peer_{name}/;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_buffers 16 16k;
		}}
"""


def extra_locations(ports: dict[str, int]) -> tuple[str, str]:
    """What the second nginx has on top: upstreams, and locations of the peers and of nothing."""
    upstreams = "".join(f"upstream peer_{n} {{ server 127.0.0.1:{p}; keepalive 32; }}\n" for n, p in ports.items())
    return upstreams, NOTHING + "".join(PEER_LOCATION.format(name=n) for n in ports)


@contextmanager
def plain_nginx(stack: Stack, peer_ports: dict[str, int]) -> Iterator[str]:
    """A second nginx before the same workers: the same configuration without TLS, the peers, and a location that does nothing."""
    source, folder, port = stack.var / "nginx" / "conf", stack.folder / "plain", free_port()
    shutil.copytree(source, folder / "conf")
    upstreams, locations = extra_locations(peer_ports)
    for path in (folder / "conf").rglob("*.conf"):
        text = re.sub(r"listen \S+ ssl http2[^;]*;", f"listen 127.0.0.1:{port} backlog=1024;", path.read_text(), count=1)
        text = re.sub(r"\n\s*listen \S+ ssl http2[^;]*;", "", text).replace(str(source), str(folder / "conf"))
        text = re.sub(r"pid \S+;", f"pid {folder}/nginx.pid;", text)
        text = text.replace("\tserver {", f"{upstreams}\tserver {{", 1)
        path.write_text(text.replace("location = /v1 {", f"{locations}\t\tlocation = /v1 {{"))
    process = subprocess.Popen(["nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / "conf" / "nginx.conf"),
                                "-g", "daemon off;"], stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: answers(f"{url}/nothing"), what="nginx without TLS")
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def answers(url: str, key: str = "") -> bool:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"} if key else {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def peer(name: str, stack: Stack, key: str, port: int) -> Iterator[None]:
    """Runs until the block ends; it answers lists by then."""
    env = {**os.environ, "PGHOST": str(stack.run_dir / "pg"), "PGUSER": "soloprint_api", "PGDATABASE": "soloprint",
           "PORT": str(port), "LIST_SQL": list_sql()}  # fmt: skip
    if name == "fastapi":
        command = [str(PEERS / ".venv/bin/uvicorn"), "fastapi_app:app", "--port", str(port), "--workers", "2",
                   "--no-access-log", "--log-level", "warning"]  # fmt: skip
    else:
        command = ["node", "fastify_app.js"]
    process = subprocess.Popen(command, cwd=PEERS, env=env, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{port}{LIST}"
        until(lambda: answers(url, key), timeout_s=20, what=name)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def install_peers() -> list[str]:
    """Names of those that can be had."""
    have = []
    try:
        if not (PEERS / ".venv/bin/uvicorn").exists():
            sh("python3", "-m", "venv", PEERS / ".venv")
            sh(PEERS / ".venv/bin/pip", "install", "-q", "-r", PEERS / "requirements.txt")
        have.append("fastapi")
    except (AssertionError, OSError) as e:
        print(f"SKIPPED: FastAPI cannot be installed: {str(e)[:200]}")
    try:
        if not (PEERS / "node_modules/fastify").exists():
            sh("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=PEERS)
        have.append("fastify")
    except (AssertionError, OSError) as e:
        print(f"SKIPPED: fastify cannot be installed: {str(e)[:200]}")
    return have


def worker_memory_mib(stack: Stack) -> float:
    """The largest private memory of the pool's workers."""
    top = int(stack.service("pid", "api-api"))
    children = Path(f"/proc/{top}/task/{top}/children").read_text().split()
    private = []
    for pid in children:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        private.append(sum(int(n) for n in re.findall(r"Private_(?:Clean|Dirty):\s+(\d+)", text)))
    return max(private) / 1024


PROGRAMS = {"postgres": "Postgres", "soloprint": "API workers", "nginx": "nginx", "redis-server": "Redis"}


def cpu_us() -> dict[str, float]:
    """Processor time so far, by program."""
    used = dict.fromkeys(PROGRAMS.values(), 0.0)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
            fields = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        name = PROGRAMS.get(re.split(r"[: ]", command)[0].rpartition("/")[2])
        if name:
            used[name] += (int(fields[11]) + int(fields[12])) * 1e6 / os.sysconf("SC_CLK_TCK")
    return used


def profile(measured: Callable[[], dict[str, float]], seconds: int) -> str:
    """Who spends how much processor time on one request while `measured` runs."""
    before = cpu_us()
    rate = measured()["rate"]
    after = cpu_us()
    requests = rate * seconds
    each = {k: (after[k] - before[k]) / requests for k in before}
    total = sum(each.values())
    return "\n".join(f"  {k:<14} {v:7.0f} µs  {v / total:5.0%}" for k, v in each.items())


RATIOS = {
    "list over http / pgbench": ("list over http", "pgbench"),
    "list over https / pgbench": ("list over https", "pgbench"),
    "p99 / p50 at 32 connections": ("p99 ms", "p50 ms"),
    "version / nginx return 200": ("version", "nginx return 200"),
    "list / FastAPI + asyncpg": ("list over http", "fastapi"),
    "list / fastify + pg": ("list over http", "fastify"),
}


def ratios(got: dict[str, list[float]]) -> dict[str, float]:
    """The median of the rounds' ratios: both sides of each were measured within the same minute."""
    measured = {name: pair for name, pair in RATIOS.items() if set(pair) <= set(got)}
    return {name: median(x / y for x, y in zip(got[a], got[b], strict=True)) for name, (a, b) in measured.items()}


# --- the run --------------------------------------------------------------------------------------


def measure(stack: Stack, orgs: list[Org], rounds: int, seconds: int) -> dict[str, float]:
    keys = [o.key for o in orgs]
    peers = {name: free_port() for name in install_peers()}
    got: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        got.setdefault(name, []).append(value)
        print(f"  {name:<36} {value:10.1f}", flush=True)

    with plain_nginx(stack, peers) as http:
        steps: list[Callable[[], None]] = [
            lambda: note("pgbench", pgbench(stack, orgs, seconds)),
            lambda: latency(note, wrk(http + LIST, seconds, keys)),
            lambda: note("list over https", wrk(stack.url + LIST, seconds, keys)["rate"]),
            lambda: note("version", wrk(f"{http}/v1/public/version", seconds, [])["rate"]),
            lambda: note("nginx return 200", wrk(f"{http}/nothing", seconds, [])["rate"]),
        ]
        for step in steps[1:3]:
            step()  # warms everything up
        got.clear()
        for n in range(rounds):
            print(f"round {n + 1} of {rounds}")
            for step in steps:
                step()
            for name, port in peers.items():
                with peer(name, stack, keys[0], port):
                    wrk(f"{http}/{name}{LIST}", 1, keys)
                    note(name, wrk(f"{http}/{name}{LIST}", seconds, keys)["rate"])
        print("processor time per list over http")
        print(profile(lambda: wrk(http + LIST, seconds, keys), seconds))
        print("processor time per list over https")
        print(profile(lambda: wrk(stack.url + LIST, seconds, keys), seconds))
    return ratios(got) | {"private memory per worker, MiB": worker_memory_mib(stack)}


def latency(note: Callable[[str, float], None], w: dict[str, float]) -> None:
    note("list over http", w["rate"])
    note("p50 ms", w["p50"])
    note("p99 ms", w["p99"])


def report(measured: dict[str, float]) -> int:
    """One line for each figure, and bench.json in the build folder."""
    figures = []
    print()
    for name, value in measured.items():
        how, goal = GOALS.get(name, ("", None))
        verdict = "-" if goal is None else "PASS" if (value >= goal if how == ">=" else value <= goal) else "FAIL"
        target = "-" if goal is None else f"{how} {goal:g}"
        figures.append({"name": name, "value": round(value, 3), "target": target, "verdict": verdict})
        print(f"{name:<36} {value:9.2f}   {target:<8} {verdict}")
    skipped, missed = sorted(set(GOALS) - set(measured)), [f for f in figures if f["verdict"] == "FAIL"]
    print(f"{len(figures)} figures, {len(missed)} missed, {len(skipped)} SKIPPED{': ' if skipped else ''}{', '.join(skipped)}")
    (BUILD / "bench.json").write_text(json.dumps({"figures": figures, "skipped": skipped}, indent=1) + "\n")
    return 1 if missed else 0


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=int, default=6, help="per measurement")
    p.add_argument("--orgs", type=int, default=500)
    p.add_argument("--workers", type=int, default=8)
    args = p.parse_args()
    stack = new_stack()
    try:
        stack.up("--no-access-log", "--workers", str(args.workers), "--gateways", "0",
                 "--env", "SOLOPRINT_LOG_LEVEL=warn")  # fmt: skip
        figures = measure(stack, seed(stack, args.orgs), args.rounds, args.seconds)
    finally:
        remove(stack)
    return report(figures)


sys.exit(main())
