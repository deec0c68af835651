"""Leases: nobody's session is dropped without need, a dead gateway's printers are back soon, nothing is invented."""

from __future__ import annotations

import time
import uuid
from typing import Any

from rig import ROOT, Gateway, World
from virtual_fleet.harness import wait_for

N = 40
PRINTERS: list[dict[str, Any]] = [
    {"name": f"p{n}", "model": ("A1", "X1C")[n % 2], "job": {"layers": 2000, "layer_s": 10}} for n in range(N)
]
FLAGS = ("--time-scale", "20")
NAMES = [each["name"] for each in PRINTERS]
RATE = 10


def holders(world: World) -> dict[uuid.UUID | None, int]:
    query = (
        "SELECT gateway_id, count(*) AS n FROM sec.printer_index WHERE org_id = %s"
        " AND (gateway_id IS NULL OR expires_at > now()) GROUP BY gateway_id"
    )
    return {row["gateway_id"]: row["n"] for row in world.db.execute(query, [world.org])}


def shared(world: World, *counts: int) -> bool:
    held = holders(world)
    return None not in held and sorted(held.values()) == sorted(counts)


def sessions(world: World) -> dict[str, tuple[int, int]]:
    """name → sessions now, connections ever: counted by the printers."""
    return {each["name"]: (each["sessions"], each["accepted"]) for each in world.fleet.ctl("list")}


def one_each(world: World) -> bool:
    return all(now == 1 for now, _ in sessions(world).values())


def all_connected(world: World) -> bool:
    query = "SELECT count(*) AS n FROM app.printer_status WHERE org_id = %s AND connection ->> 'state' = 'connected'"
    row = world.db.execute(query, [world.org]).fetchone()
    return row is not None and row["n"] == N


def settled(world: World, *counts: int) -> None:
    wait_for(lambda: shared(world, *counts), 30, f"shares {counts}")
    wait_for(lambda: one_each(world) and all_connected(world), 30, "one session each")


def stop_all(world: World) -> None:
    for gateway in world.gateways:
        if gateway.alive:
            assert gateway.stop() == 0


def peak(times: list[float], window_s: float) -> int:
    """The most connections that began within any such time."""
    return max(sum(at <= other < at + window_s for other in times) for at in times)


def test_a_restart_does_not_storm_the_network(world: World) -> None:
    began = time.monotonic()
    gateway = world.start_gateway(connects=str(RATE))
    wait_for(lambda: all_connected(world), 30, "connections")
    times = [at for at in world.fleet.ctl("connects") if at > began]
    assert len(times) >= N
    print(f"{len(times)} connections in {times[-1] - times[0]:.1f} s, at most {peak(times, 1)} in a second")
    assert peak(times, 1) <= RATE * 1.5
    assert times[-1] - times[0] >= (N - RATE) / RATE * 0.8
    # All at once lose their connections; how they come back is no storm either.
    seen = time.monotonic()
    world.fleet.ctl("broker", action="restart")
    wait_for(lambda: sum(at > seen for at in world.fleet.ctl("connects")) >= N, 30, "new connections")
    wait_for(lambda: one_each(world) and all_connected(world), 60, "connections after the loss")
    assert peak([at for at in world.fleet.ctl("connects") if at > seen], 1) <= RATE * 1.5
    assert gateway.stop() == 0


def test_who_stays_is_not_disturbed(world: World) -> None:
    """A second gateway joins and leaves again: its half moves twice, the other half keeps its connections."""
    stop_all(world)
    world.start_gateway()
    settled(world, N)
    before = sessions(world)
    fencing = tokens(world)
    second = world.start_gateway()
    settled(world, N // 2, N // 2)
    after, now = sessions(world), tokens(world)
    stayed = [name for name in NAMES if now[name] == fencing[name]]
    assert len(stayed) == N // 2
    assert [name for name in stayed if after[name] != before[name]] == []
    assert all(after[name][1] == before[name][1] + 1 for name in NAMES if name not in stayed)
    assert second.stop() == 0
    wait_for(lambda: shared(world, N), 5, "hand-over")
    settled(world, N)
    assert [name for name in stayed if sessions(world)[name] != before[name]] == []
    assert events(world) == [], "a hand-over is no event"


def tokens(world: World) -> dict[str, int]:
    names = {printer: name for name, printer in world.ids.items()}
    rows = world.db.execute("SELECT printer_id, fencing FROM sec.printer_index WHERE org_id = %s", [world.org])
    return {names[row["printer_id"]]: row["fencing"] for row in rows}


def events(world: World, since: int = 0) -> list[dict[str, Any]]:
    """Of states, beside those of the first time that a printer was heard of."""
    query = "SELECT sequence, data FROM app.outbox WHERE org_id = %s AND type LIKE 'printer.%%line' AND sequence > %s"
    first = "SELECT coalesce(max(sequence), 0) AS s FROM app.outbox WHERE org_id = %s AND type = 'printer.online'"
    row = world.db.execute(first, [world.org]).fetchone()
    assert row is not None
    return [r["data"] for r in world.db.execute(query, [world.org, since or row["s"]])]


def test_a_killed_gateways_printers_report_again_and_nothing_is_invented(world: World) -> None:
    stop_all(world)
    first, second = world.start_gateway(), world.start_gateway()
    settled(world, N // 2, N // 2)
    for name in NAMES:
        world.fleet.ctl("print", name)
    wait_for(lambda: states(world) == {"printing"}, 60, "prints")
    row = world.db.execute("SELECT max(sequence) AS s FROM app.outbox WHERE org_id = %s", [world.org]).fetchone()
    assert row is not None
    old, layers = tokens(world), reported_layers(world)
    first.kill()
    killed = time.monotonic()

    def again() -> bool:
        now = reported_layers(world)
        return tokens_moved(world, old) == N // 2 and all(now[name] > layers[name] + 1 for name in NAMES)

    wait_for(again, 15, "reports of every printer")
    print(f"every printer reported again after {time.monotonic() - killed:.1f} s")
    wait_for(lambda: one_each(world), 5, "one session each")
    query = "SELECT type, data FROM app.outbox WHERE org_id = %s AND sequence > %s AND type LIKE 'printer.%%'"
    assert list(world.db.execute(query, [world.org, row["s"]])) == [], "nothing happened to any printer"
    assert second.stop() == 0


def tokens_moved(world: World, old: dict[str, int]) -> int:
    return sum(now > old[name] for name, now in tokens(world).items())


def states(world: World) -> set[str]:
    return {r["state"] for r in world.db.execute("SELECT state FROM app.printer_status WHERE org_id = %s", [world.org])}


def reported_layers(world: World) -> dict[str, int]:
    names = {printer: name for name, printer in world.ids.items()}
    query = "SELECT printer_id, (job ->> 'layer')::int AS layer FROM app.printer_status WHERE org_id = %s"
    return {names[row["printer_id"]]: row["layer"] or 0 for row in world.db.execute(query, [world.org])}


def test_small_gateways_are_filled_and_large_ones_take_the_rest(world: World) -> None:
    stop_all(world)
    small = world.start_gateway(sessions="5")
    wait_for(lambda: holders(world).get(None) == N - 5 and len(holders(world)) == 2, 10, "five, and no more")
    world.start_gateway()
    settled(world, 5, N - 5)
    assert small.alive


def test_too_few_descriptors_are_said_and_heeded(world: World) -> None:
    stop_all(world)
    gateway: Gateway = world.start_gateway(300, sessions="2000")
    wait_for(lambda: holders(world).get(None) == N - (300 - 256) // 3, 10, "as many as there are descriptors for")
    said = gateway.log_path.read_text()
    assert '"limit":300' in said and f'"printers":{(300 - 256) // 3}' in said and '"needed":6256' in said
    assert "LimitNOFILE" in said
    row = world.db.execute("SELECT printers, room FROM sec.gateway_room()").fetchone()
    assert row is not None and row["room"] == (300 - 256) // 3
    assert gateway.stop() == 0


def test_claims_do_not_walk_what_others_hold(world: World) -> None:
    """With 20,000 printers held by a living gateway a claim of nothing reads a handful of pages."""
    stop_all(world)
    db = world.db
    other, org = uuid.uuid4(), uuid.uuid4()
    db.execute("BEGIN")
    try:
        db.execute(
            "INSERT INTO sec.gateways (id, name, started_at, heartbeat_at) VALUES (%s, 'o', now(), now())", [other]
        )
        db.execute(
            "INSERT INTO sec.printer_index (printer_id, org_id, protocol, enabled, config_version, gateway_id, fencing,"
            " expires_at) SELECT gen_random_uuid(), %s, 'bambu', true, 1, %s, 1, now() + '1 min' FROM generate_series(1, 20000)",
            [org, other],
        )
        db.execute(
            "UPDATE sec.printer_index SET gateway_id = %s, expires_at = now() + '1 min' WHERE org_id = %s",
            [other, world.org],
        )
        db.execute("ANALYZE sec.printer_index")
        claim = claim_statement()
        for place, value in ("$1", f"'{uuid.uuid4()}'::uuid"), ("$2", "'10 s'::interval"), ("$3", "1000"):
            claim = claim.replace(place, value)
        plan = db.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {claim}").fetchone()
        assert plan is not None
        top = plan["QUERY PLAN"][0]["Plan"]
        assert top["Shared Hit Blocks"] + top["Shared Read Blocks"] < 60, plan["QUERY PLAN"]
    finally:
        db.execute("ROLLBACK")


def claim_statement() -> str:
    text = (ROOT / "gateway" / "gateway.sql").read_text()
    return text.split("-- name: gw_claim :many\n")[1].split(";")[0].split("\n", 1)[1]
