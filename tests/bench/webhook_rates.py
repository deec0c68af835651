#!/usr/bin/env python3
"""Webhooks: deliveries per second of one core, as a ratio of libcurl alone, which posts the same body with the same options to
the same receiver: nginx, which answers 200. Each request has a connection of its own, with TLS, on both sides. What the
courier does besides: claims, opens and uses the secret, writes results. Rounds alternate; processor time is the sender's
process alone, and with it, for the table, Postgres and the publisher."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

import private_pg  # noqa: E402
from internet import WEB, make_certificates  # noqa: E402
from stack import BUILD  # noqa: E402
from wait import until  # noqa: E402
from webhooks import Hook, Place, emit  # noqa: E402

ORGS, HOOKS = 5, 10
GOAL = 0.6
URL = f"https://{WEB[0]}/hook"
CONF = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr; user root;
events {{ worker_connections 2048; }}
http {{
	access_log off;
	server {{
		listen 443 ssl; keepalive_timeout 0;
		ssl_certificate {folder}/good.pem; ssl_certificate_key {folder}/good.pem; ssl_session_tickets off;
		location / {{ return 200 "thanks"; }}
	}}
}}
"""


class Receiver:
    """nginx in a network namespace in which every address is its own. For Place as an Internet."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ca = folder, folder / "ca.pem"
        make_certificates(folder)
        (folder / "nginx.conf").write_text(CONF.format(folder=folder))
        prepare = f"ip link set lo up && ip route add local 0.0.0.0/0 dev lo && exec nginx -p {folder} -c {folder}/nginx.conf"
        self.process = subprocess.Popen(["unshare", "--net", "sh", "-c", prepare])
        until(lambda: (folder / "nginx.pid").exists() and (folder / "nginx.pid").read_text(), what="nginx listens")

    def command(self, *words: str | Path) -> list[str]:
        return ["nsenter", "-t", str(self.process.pid), "--net", *map(str, words)]


@contextmanager
def receiver(folder: Path) -> Iterator[Receiver]:
    made = Receiver(folder)
    try:
        yield made
    finally:
        made.process.terminate()
        made.process.wait(10)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def deliveries_left(place: Place) -> int:
    row = place.db.execute("SELECT (SELECT count(*) FROM sec.delivery_index) + (SELECT count(*) FROM sec.outbox_index)").fetchone()
    assert row
    return int(row[0])


def one_round(place: Place, n: int) -> tuple[float, float, float]:
    """Processor time per delivery in µs: the sender's, and everything's on our side; deliveries a second."""
    orgs = [place.org() for _ in range(ORGS)]
    for org in orgs:
        for h in range(HOOKS):
            Hook(place, org, f"/hook/{h}", host=WEB[0])
    for org in orgs:
        emit(org, n // ORGS // HOOKS)
    postmaster = int((place.pg.folder / "data/postmaster.pid").read_text().split()[0])
    begun = {p: cpu_s(p) for p in children(postmaster)}
    courier = place.courier()
    until(lambda: deliveries_left(place) == 0, 300, 0.02, what="everything is delivered")
    ours = sorted(((cpu_s(p), p) for p in courier.processes()), reverse=True)
    postgres = sum(cpu_s(p) - begun.get(p, 0) for p in children(postmaster))
    row = place.db.execute("SELECT extract(epoch FROM max(finished_at) - min(a.at)), count(*) FROM app.webhook_deliveries AS d"
                           " JOIN app.webhook_attempts AS a ON a.delivery_id = d.id WHERE d.org_id = ANY (%s)",
                           [[o.id for o in orgs]]).fetchone()  # fmt: skip
    assert row and row[1] == n, row
    courier.stop()
    return ours[0][0] / n * 1e6, (sum(c for c, _ in ours) + postgres) / n * 1e6, n / float(row[0])


def alone(net: Receiver, body: Path, n: int, parallel: int) -> tuple[float, float]:
    done = subprocess.run(net.command(BUILD / "bench/post_rates", URL, net.ca, body, str(n), str(parallel)),
                          capture_output=True, text=True, check=True)  # fmt: skip
    got = json.loads(done.stdout)
    return got["cpu_s"] / n * 1e6, n / got["wall_s"]


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--deliveries", type=int, default=5000)
    p.add_argument("--rounds", type=int, default=3)
    args = p.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="slp-hooks-", dir="/tmp"))
    body = folder / "body"
    body.write_text(json.dumps({"id": "x" * 36, "type": "printer.online", "data": {"name": "Mk4", "more": "y" * 200}}))
    ratios = []
    servers = private_pg.pg.__wrapped__()
    pg = next(servers)
    try:
        with receiver(folder) as net:
            place = Place(pg, private_pg.template.__wrapped__(pg), net)  # type: ignore[arg-type]
            try:
                for n in range(args.rounds):
                    libcurl_us, libcurl_rate = alone(net, body, args.deliveries, 100)
                    sender_us, all_us, rate = one_round(place, args.deliveries)
                    ratios.append(libcurl_us / sender_us)
                    print(f"round {n + 1}: libcurl alone {libcurl_us:.0f} µs ({libcurl_rate:.0f}/s), sender {sender_us:.0f} µs,"
                          f" with publisher and Postgres {all_us:.0f} µs ({rate:.0f}/s)", flush=True)  # fmt: skip
            finally:
                place.close()
    finally:
        servers.close()
        shutil.rmtree(folder)
    good = median(ratios) >= GOAL
    print(f"deliveries per core / libcurl alone: {median(ratios):.2f}, at least {GOAL} wanted{'' if good else ': MISSED'}")
    return 0 if good else 1


sys.exit(main())
