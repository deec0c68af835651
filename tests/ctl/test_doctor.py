"""The doctor: well when all is well; each fault found, in words, with what to do."""

from __future__ import annotations

import http.server
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import Ctl

pytestmark = pytest.mark.xdist_group("doctor")  # it changes roles, which the whole server shares


@contextmanager
def answering(path: Path, answer: bytes = b"") -> Iterator[Path]:
    """A unix socket that accepts, reads once and answers."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer:
                    if answer and peer.recv(1024):
                        peer.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield path
        listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def https(folder: Path, status: int) -> Iterator[dict[str, str]]:
    """A server with a certificate of its own; the settings that lead to it."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/v1/health" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield {"SOLOPRINT_URL": f"https://localhost:{server.server_port}", "SOLOPRINT_CACERT": str(cert)}
    finally:
        server.shutdown()
        server.server_close()


def beat(ctl: Ctl, age: str = "0 s") -> None:
    """A gateway that reported so long ago."""
    with ctl.connect("soloprint_gateway") as db:
        db.execute("DELETE FROM sec.gateways")
        db.execute(
            "INSERT INTO sec.gateways (id, name, started_at, heartbeat_at, sessions)"
            " VALUES (gen_random_uuid(), 'g', now(), now() - %s::interval, 3)", (age,),
        )  # fmt: skip


def states(ctl: Ctl, expect: int, **env: str) -> dict[str, list[tuple[str, str]]]:
    """check → [(state, detail)]; a fault without a way to mend it is a fault of the doctor."""
    out = ctl.json("doctor", expect=expect, **env)
    assert out["healthy"] == (expect == 0)
    found: dict[str, list[tuple[str, str]]] = {}
    for c in out["checks"]:
        assert (c["state"] == "wrong") == bool(c.get("mend"))
        found.setdefault(c["check"], []).append((c["state"], c["detail"]))
    return found


def wrong(ctl: Ctl, check: str, pattern: str, **env: str) -> None:
    found = states(ctl, 1, **env)
    assert any(s == "wrong" and re.search(pattern, d) for s, d in found[check]), found


def courier_beat(ctl: Ctl, age: str = "0 s") -> None:
    with ctl.connect("postgres") as db:
        db.execute("DELETE FROM sec.couriers")
        db.execute("SELECT sec.courier_beat(gen_random_uuid(), 'c')")
        db.execute("UPDATE sec.couriers SET heartbeat_at = now() - %s::interval", (age,))


@pytest.fixture
def healthy(ctl: Ctl) -> Ctl:
    beat(ctl)
    courier_beat(ctl)
    return ctl


def test_everything_well(healthy: Ctl, tmp_path: Path) -> None:
    cursor = tmp_path / "cursor"
    pairs = {who: (str(tmp_path / f"{who}.key"), str(tmp_path / f"{who}.pub")) for who in ("gateway", "courier")}
    for who, files in pairs.items():
        healthy.run(f"{who}-key", "create", *files)
    cursor.write_bytes(os.urandom(32))
    cursor.chmod(0o400)
    (tmp_path / "store").mkdir()
    with (
        answering(tmp_path / "redis", b"+PONG\r\n") as redis, answering(tmp_path / "api") as api,
        answering(tmp_path / "files") as files, https(tmp_path, 200) as web,
    ):  # fmt: skip
        for name in ("blobs", "staging", "tmp"):
            (tmp_path / "store" / name).mkdir(exist_ok=True)
        settings = {
            "SOLOPRINT_REDIS": str(redis), "SOLOPRINT_SOCKETS": f"{api},{files}",
            "SOLOPRINT_STORAGE": str(tmp_path / "store"), "SOLOPRINT_CURSOR_KEY": str(cursor),
            "SOLOPRINT_GATEWAY_KEY": pairs["gateway"][0], "SOLOPRINT_GATEWAY_PUBKEY": pairs["gateway"][1],
            "SOLOPRINT_COURIER_KEY": pairs["courier"][0], "SOLOPRINT_COURIER_PUBKEY": pairs["courier"][1],
        } | web  # fmt: skip
        found = states(healthy, 0, **settings)
        text = healthy.run("doctor", **settings).stdout
    assert {s for rows in found.values() for s, _ in rows} == {"ok"}
    assert set(found) == {
        "postgres", "durability", "connections", "roles", "migrations", "isolation", "redis", "api", "nginx", "gateway",
        "courier", "storage", "s3", "keys",
    }  # fmt: skip
    assert found["gateway"] == [("ok", "1 alive with 3 printer session(s)")]
    assert found["courier"] == [("ok", "1 worker(s) alive, 0 job(s) under way, 0 waiting")]
    assert "Everything that was checked is well." in text


def test_what_is_not_configured_is_skipped_not_well(healthy: Ctl) -> None:
    found = states(healthy, 0)
    assert {c for c, rows in found.items() if rows[0][0] == "skipped"} == {"redis", "api", "nginx", "storage", "keys"}


def test_postgres_away(ctl: Ctl, tmp_path: Path) -> None:
    done = ctl.run("doctor", "--db", f"host={tmp_path}", expect=1)
    assert re.search(r"^wrong +postgres", done.stdout, re.M)
    assert re.search(r"^skipped +migrations", done.stdout, re.M)
    assert "→ start Postgres" in done.stdout


def test_not_migrated(ctl: Ctl) -> None:
    ctl.run("bootstrap", "--database", "fresh", user="postgres")
    done = ctl.run("doctor", "--db", ctl.pg.conninfo("fresh", "soloprint_migrator"), expect=1)
    assert re.search(r"^wrong +migrations", done.stdout, re.M)
    assert "soloprintctl migrate" in done.stdout


def test_migrations_behind_and_ahead(healthy: Ctl, tmp_path: Path) -> None:
    plan = (Path(__file__).parents[2] / "schema/db/sqitch.plan").read_text().rstrip("\n").split("\n")
    (tmp_path / "sqitch.plan").write_text("\n".join([*plan, "later 2026-12-01T00:00:00Z A <a@b.invalid> # x", ""]))
    wrong(healthy, "migrations", "'later' is not deployed", SOLOPRINT_SCHEMA=str(tmp_path))
    (tmp_path / "sqitch.plan").write_text("\n".join([*plan[:-1], ""]))
    wrong(healthy, "migrations", r"1 change\(s\) that this release does not know", SOLOPRINT_SCHEMA=str(tmp_path))


@pytest.mark.parametrize(("change", "pattern"), [
    ("SUPERUSER", "soloprint_courier is a superuser"),
    ("BYPASSRLS", "soloprint_courier bypasses row level security"),
    ("CREATEROLE", "soloprint_courier has rights over the cluster"),
    ("NOLOGIN", "soloprint_courier cannot log in"),
    ("RESET statement_timeout", "soloprint_courier has no statement timeout"),
])  # fmt: skip
def test_roles(healthy: Ctl, change: str, pattern: str) -> None:
    with healthy.connect() as db:
        db.execute(f"ALTER ROLE soloprint_courier {change}")
        try:
            wrong(healthy, "roles", pattern)
        finally:
            healthy.run("bootstrap", user="postgres")
    assert states(healthy, 0)["roles"][0][0] == "ok"


def test_a_service_that_may_become_the_owner(healthy: Ctl) -> None:
    with healthy.connect() as db:
        db.execute("GRANT soloprint_owner TO soloprint_courier")
        try:
            wrong(healthy, "roles", "soloprint_courier is a member of soloprint_owner")
        finally:
            db.execute("REVOKE soloprint_owner FROM soloprint_courier")


@pytest.mark.parametrize("setting", ["full_page_writes", "synchronous_commit"])
def test_durability(healthy: Ctl, setting: str) -> None:
    with healthy.connect() as db:
        db.execute(f"ALTER SYSTEM SET {setting} = off")
        db.execute("SELECT pg_reload_conf()")
        try:
            wrong(healthy, "durability", f"{setting} is off")
        finally:
            db.execute(f"ALTER SYSTEM RESET {setting}")
            db.execute("SELECT pg_reload_conf()")


def test_row_level_security_off(healthy: Ctl) -> None:
    with healthy.connect() as db:
        db.execute("ALTER TABLE app.printers NO FORCE ROW LEVEL SECURITY")
    wrong(healthy, "isolation", "app.printers")


def test_gateway_never_and_long_ago(ctl: Ctl) -> None:
    wrong(ctl, "gateway", "no gateway has ever reported")
    beat(ctl, "1 minute")
    wrong(ctl, "gateway", r"the last report is 6\d s old")


def test_more_printers_than_the_gateways_have_room_for(healthy: Ctl) -> None:
    with healthy.connect() as db:
        db.execute("UPDATE sec.gateways SET room = 0")
        db.execute(
            "INSERT INTO sec.printer_index (printer_id, org_id, protocol, enabled, config_version)"
            " VALUES (gen_random_uuid(), gen_random_uuid(), 'bambu', true, 1)"
        )
    wrong(healthy, "gateway", r"^1 printers, but the gateways that live have room for 0$")


def test_courier_never_and_long_ago(ctl: Ctl) -> None:
    beat(ctl)
    wrong(ctl, "courier", "no courier has ever reported")
    courier_beat(ctl, "1 minute")
    wrong(ctl, "courier", r"the last report is 6\d s old")


def test_redis(healthy: Ctl, tmp_path: Path) -> None:
    wrong(healthy, "redis", "No such file", SOLOPRINT_REDIS=str(tmp_path / "none"))
    with answering(tmp_path / "r", b"-LOADING Redis is loading\r\n") as path:
        wrong(healthy, "redis", "does not answer PING", SOLOPRINT_REDIS=str(path))


def test_sockets_of_the_pools(healthy: Ctl, tmp_path: Path) -> None:
    with answering(tmp_path / "api") as api:
        found = states(healthy, 1, SOLOPRINT_SOCKETS=f"{api},{tmp_path}/files")
    assert found["api"] == [("wrong", f"{tmp_path}/files: No such file or directory")]
    wrong(healthy, "api", "File name too long", SOLOPRINT_SOCKETS="/" + "x" * 200)


def test_https(healthy: Ctl, tmp_path: Path) -> None:
    wrong(healthy, "nginx", "connect", SOLOPRINT_URL="https://127.0.0.1:1")
    wrong(healthy, "nginx", "rotocol", SOLOPRINT_URL="http://127.0.0.1:1")
    with https(tmp_path, 503) as web:
        wrong(healthy, "nginx", "answers 503", **web)
        wrong(healthy, "nginx", "certificate", SOLOPRINT_URL=web["SOLOPRINT_URL"])


def test_storage(healthy: Ctl, tmp_path: Path) -> None:
    wrong(healthy, "storage", "not a directory", SOLOPRINT_STORAGE=str(tmp_path / "none"))
    (tmp_path / "file").touch()
    wrong(healthy, "storage", "not a directory", SOLOPRINT_STORAGE=str(tmp_path / "file"))


@pytest.mark.parametrize("reader", ["gateway", "courier"])
@pytest.mark.parametrize(("private", "public", "pattern"), [
    ("k1", "p2", "do not belong together"),
    ("p1", "p1", "not an X25519 private key"),
    ("k1", "k1", "not an X25519 public key"),
    ("none", "p1", "No such file"),
    ("open", "p1", r"may be used by others \(mode 0440\)"),
])  # fmt: skip
def test_key_pair(healthy: Ctl, tmp_path: Path, reader: str, private: str, public: str, pattern: str) -> None:
    for n in "12":
        healthy.run(f"{reader}-key", "create", str(tmp_path / f"k{n}"), str(tmp_path / f"p{n}"))
    shutil.copy(tmp_path / "k1", tmp_path / "open")
    (tmp_path / "open").chmod(0o440)
    name = f"SOLOPRINT_{reader.upper()}"
    keys = {f"{name}_KEY": str(tmp_path / private), f"{name}_PUBKEY": str(tmp_path / public)}
    wrong(healthy, "keys", pattern, **keys)


def test_cursor_key(healthy: Ctl, tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(b"x" * 31)
    (tmp_path / "c").chmod(0o444)
    wrong(healthy, "keys", "has 31 bytes", SOLOPRINT_CURSOR_KEY=str(tmp_path / "c"))
    wrong(healthy, "keys", "may be used by others", SOLOPRINT_CURSOR_KEY=str(tmp_path / "c"))
