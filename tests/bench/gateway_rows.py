#!/usr/bin/env python3
"""What Postgres takes of a gateway, as ratios of one run: the latest state by the gateway's statement in batches of 200
over batches of one, history by COPY over INSERT. The rows and statements are the gateway's own (gateway_rows.c)."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import uuid
from pathlib import Path
from statistics import median

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "gateway"), str(TESTS / "printers")]

from rig import BUILD, Postgres  # noqa: E402

STATE_GOAL = 8
HISTORY_GOAL = 8
RATIOS = {"state": ("state_batched", "state_single"), "history": ("history_copy", "history_insert")}


def furnish(postgres: Postgres, printers: int) -> tuple[uuid.UUID, uuid.UUID, Path]:
    """An organisation with so many printers, all leased to one gateway; (organisation, gateway, file of ids)."""
    gateway = uuid.uuid4()
    with postgres.connect() as db:
        row = db.execute("SELECT org_id FROM sec.create_org('bench', 'bench')").fetchone()
        assert row is not None
        org = row["org_id"]
        db.execute("SELECT set_config('app.org_id', %s, false)", [str(org)])
        db.execute(
            "INSERT INTO app.printers (org_id, name, protocol, model) SELECT %s, 'p' || n, 'bambu', 'X1C'"
            " FROM generate_series(1, %s) AS n",
            [org, printers],
        )
        db.execute("UPDATE sec.printer_index SET gateway_id = %s, fencing = 1", [gateway])
        ids = [row["printer_id"] for row in db.execute("SELECT printer_id FROM sec.printer_index")]
        db.execute("VACUUM ANALYZE")
    path = postgres.folder / "printers"
    path.write_text("".join(f"{each}\n" for each in ids))
    return org, gateway, path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--printers", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=4)
    args = parser.parse_args()
    with Postgres() as postgres:
        org, gateway, path = furnish(postgres, args.printers)
        words = [postgres.conninfo("soloprint_gateway"), org, gateway, path, args.seconds]
        program = str(BUILD / "bench" / "gateway_rows")
        done = subprocess.run([program, *map(str, words)], stdout=subprocess.PIPE, text=True, check=True)
    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    out = {key: round(median(each[key] for each in rounds)) for key in rounds[0]}
    ratios = {name: round(median(each[a] / each[b] for each in rounds), 1) for name, (a, b) in RATIOS.items()}
    print(json.dumps({"rows_per_s": out, "ratios": ratios, "printers": args.printers}, indent=1))
    return 0 if ratios["state"] >= STATE_GOAL and ratios["history"] >= HISTORY_GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
