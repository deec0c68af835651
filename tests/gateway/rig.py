"""What tests and benchmarks of the gateway run on: Postgres, gateways, a virtual fleet, one organisation."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import resource
import shutil
import signal
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import Any

import psycopg
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from virtual_fleet.broker import die_with_parent
from virtual_fleet.harness import RunningFleet, wait_for

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("SOLOPRINT_BUILD", os.environ.get("BUILD", "build"))
PG_BIN = Path("/usr/lib/postgresql/15/bin")
PG_CONF = """
listen_addresses = ''
unix_socket_directories = '{folder}'
unix_socket_permissions = 0777
shared_buffers = 128MB
max_connections = 60
log_min_messages = warning
track_commit_timestamp = on
"""


def short_folder(prefix: str) -> Path:
    """A folder other users may enter, with a path short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    folder.chmod(0o755)
    return folder


def sanitized() -> bool:
    program = BUILD / "bin" / "soloprint-gateway"
    return program.exists() and b"__asan_init" in program.read_bytes()


SANITIZED = sanitized()


class Postgres:
    """A cluster with the schema deployed. Trusts everyone: its socket lives in a folder of this run."""

    def __enter__(self) -> Postgres:
        self.folder = short_folder("slp-pg-")
        self.user = "postgres" if os.geteuid() == 0 else None
        if self.user:
            shutil.chown(self.folder, self.user)
        data = self.folder / "data"
        self._run(
            "initdb", "-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-N"
        )
        with (data / "postgresql.conf").open("a") as conf:
            conf.write(PG_CONF.format(folder=self.folder))
        self.start()
        self._deploy()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *words: str | Path) -> None:
        home = pwd.getpwnam(self.user).pw_dir if self.user else None
        done = subprocess.run(
            [str(PG_BIN / program), *map(str, words)],
            user=self.user,
            group=self.user,
            extra_groups=[] if self.user else None,
            cwd=home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        if done.returncode != 0:
            raise AssertionError(f"{program}: {done.stderr.decode()}")

    def start(self) -> None:
        """As a child that ends with this process, however that ends."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(PG_BIN / "postgres"), "-D", str(self.folder / "data")],
                user=self.user,
                group=self.user,
                extra_groups=[] if self.user else None,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                preexec_fn=lambda: die_with_parent(signal.SIGQUIT),
            )
        ready = [str(PG_BIN / "pg_isready"), "-q", "-h", str(self.folder), "-U", "postgres", "-d", "postgres"]
        wait_for(lambda: subprocess.run(ready).returncode == 0, 30, "Postgres")

    def stop(self, mode: str = "immediate") -> None:
        self._run("pg_ctl", "-D", self.folder / "data", "-W", "-m", mode, "stop")
        self.process.wait(30)

    def _psql(self, dbname: str, *words: str) -> None:
        command = [
            "psql",
            "-qX",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            str(self.folder),
            "-U",
            "postgres",
            "-d",
            dbname,
        ]
        subprocess.run([*command, *words], check=True, stdout=subprocess.DEVNULL)

    def _deploy(self) -> None:
        schema = ROOT / "schema" / "db"
        self._psql("postgres", "-v", "dbname=soloprint", "-f", str(schema / "bootstrap" / "roles.sql"))
        with psycopg.connect(
            host=str(self.folder), user="postgres", dbname="postgres", autocommit=True
        ) as db:
            if db.execute("SELECT 1 FROM pg_database WHERE datname = 'soloprint'").fetchone() is None:
                db.execute("CREATE DATABASE soloprint")
        self._psql("soloprint", "-f", str(schema / "bootstrap" / "database.sql"))
        environment = os.environ | {
            "PGHOST": str(self.folder),
            "PGOPTIONS": "-c role=soloprint_owner",
            "SQITCH_FULLNAME": "SoLoPrint",
            "SQITCH_EMAIL": "soloprint@localhost",
            "SQITCH_USER_CONFIG": "/nonexistent",
        }
        command = ["sqitch", "--quiet", "deploy", "db:pg://soloprint_migrator@/soloprint"]
        subprocess.run(command, cwd=schema, env=environment, check=True)

    def conninfo(self, role: str) -> str:
        return f"host={self.folder} dbname=soloprint user={role}"

    def connect(self) -> psycopg.Connection[dict[str, Any]]:
        """As superuser, past row level security."""
        return psycopg.connect(self.conninfo("postgres"), autocommit=True, row_factory=dict_row)


class Keys:
    """The gateway's key pair, and the sealing that the API does with the public half."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "gateway.key"
        private = X25519PrivateKey.generate()
        pem = serialization.Encoding.PEM
        self.path.write_bytes(
            private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        self.public = private.public_key()

    def seal(self, org: uuid.UUID, row: uuid.UUID, secret: str) -> bytes:
        """As lib/auth/seal.h describes it; written a second time here so that the form cannot drift."""
        raw = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        once = X25519PrivateKey.generate()
        ephemeral, point = once.public_key().public_bytes(*raw), self.public.public_bytes(*raw)
        stretch = HKDF(hashes.SHA256(), 44, salt=ephemeral + point, info=b"soloprint sealed secret v1")
        key = stretch.derive(once.exchange(self.public))
        place = f"printers|secret|{org}|{row}".encode()
        body = AESGCM(key[:32]).encrypt(key[32:], secret.encode(), place)
        return b"\x01" + hashlib.sha256(point).digest()[:4] + ephemeral + body


def prepare(files: int) -> None:
    die_with_parent()
    if files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))


class Gateway:
    """One soloprint-gateway process."""

    def __init__(self, postgres: Postgres, keys: Keys, ca: Path, log: Path, files: int = 0, **settings: str) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "SOLOPRINT_DB": postgres.conninfo("soloprint_gateway"),
            "SOLOPRINT_GATEWAY_KEY": str(keys.path),
            "SOLOPRINT_GATEWAY_CA": str(ca),
            "SOLOPRINT_STORAGE": str(log.parent / "store"),
            "SOLOPRINT_LOG_LEVEL": os.environ.get("SOLOPRINT_LOG_LEVEL", "info"),
        } | {name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS")}
        environment |= {f"SOLOPRINT_GATEWAY_{name.upper()}": value for name, value in settings.items()}
        self.log_path = log
        self.log = log.open("ab")
        program = BUILD / "bin" / "soloprint-gateway"
        self.process = subprocess.Popen(
            [str(program)], env=environment, stdout=self.log, stderr=self.log, preexec_fn=lambda: prepare(files)
        )

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def stop(self, timeout_s: float = 15.0) -> int:
        """SIGTERM; the exit status."""
        self.process.terminate()
        try:
            return self.process.wait(timeout_s)
        finally:
            self.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.close()

    def close(self) -> None:
        if self.alive:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def private_kib(self) -> int:
        """Private memory, from smaps_rollup."""
        with open(f"/proc/{self.process.pid}/smaps_rollup") as rollup:
            return sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class World:
    """A fleet, an organisation that has its printers, and gateways."""

    def __init__(
        self,
        postgres: Postgres,
        printers: list[dict[str, Any]],
        flags: tuple[str, ...] = (),
        like: World | None = None,
    ) -> None:
        """like: another world with the same keys and the same CA, so that the same gateways serve both."""
        self.postgres = postgres
        self.like = like
        self.specs = printers
        self.flags = flags
        self.gateways: list[Gateway] = []
        self.ids: dict[str, uuid.UUID] = {}

    def __enter__(self) -> World:
        with contextlib.ExitStack() as stack:
            self.folder = short_folder("slp-gw-")
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self.keys = self.like.keys if self.like else Keys(self.folder)
            if self.like:
                shutil.copytree(self.like.fleet.ca.parent, self.folder / "fleet" / "ca")
            (self.folder / "store").mkdir()
            self.fleet = stack.enter_context(RunningFleet(self.folder / "fleet", self.specs, *self.flags))
            self.db = self.postgres.connect()
            stack.callback(lambda: self.db.close())
            self.org = self._make_org()
            for row in self.fleet.printers:
                self.add(row)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        ends = [(gateway.stop(), gateway) for gateway in self.gateways if gateway.alive]
        if exc[0] is None:
            self.db.execute("UPDATE app.printers SET deleted_at = now() WHERE org_id = %s", [self.org])
        failed = [gateway.log_path.read_text()[-4000:] for status, gateway in ends if status != 0]
        self.stack.close()
        assert exc[0] is not None or not failed, failed

    def _make_org(self) -> uuid.UUID:
        slug = f"org-{uuid.uuid4().hex[:12]}"
        row = self.db.execute("SELECT org_id FROM sec.create_org(%s, %s)", [slug, slug]).fetchone()
        assert row is not None
        self.db.execute("SELECT set_config('app.org_id', %s, false)", [str(row["org_id"])])
        return row["org_id"]

    def reconnect(self) -> None:
        """After a restart of Postgres."""
        self.db.close()
        self.db = self.postgres.connect()
        self.db.execute("SELECT set_config('app.org_id', %s, false)", [str(self.org)])

    def start_gateway(self, files: int = 0, **settings: str) -> Gateway:
        """settings: silence_ms="3000" is SOLOPRINT_GATEWAY_SILENCE_MS; files: how many it may have open, 0 as many as we."""
        log = self.folder / f"gateway-{len(self.gateways)}.log"
        for row in self.fleet.printers:
            if row.get("ftps_port"):
                settings.setdefault("ftps_port", f"+{row['ftps_port'] - row['port']}")
        gateway = Gateway(self.postgres, self.keys, self.fleet.ca, log, files, **settings)
        self.gateways.append(gateway)
        return gateway

    def add(self, row: dict[str, Any], **other: Any) -> uuid.UUID:
        """Inserts a printer as it stands in fleet.json, changed by other; secret=None leaves it out."""
        printer = uuid.uuid4()
        secret = other.pop("secret", row["access_code"])
        values = {
            "org_id": self.org,
            "id": printer,
            "name": row["name"],
            "protocol": row.get("protocol", "bambu"),
            "model": row["model"],
            "host": row["host"],
            "port": row["port"],
            "serial": row["serial"],
            "secret_sealed": None if secret is None else self.keys.seal(self.org, printer, secret),
        } | other
        names = ", ".join(values)
        places = ", ".join(["%s"] * len(values))
        self.db.execute(f"INSERT INTO app.printers ({names}) VALUES ({places})", list(values.values()))
        self.ids[values["name"]] = printer
        return printer

    def update(self, name: str, **values: Any) -> None:
        if "secret" in values:
            values["secret_sealed"] = self.keys.seal(self.org, self.ids[name], values.pop("secret"))
        assignments = ", ".join(f"{column} = %s" for column in values)
        cooked = [Jsonb(value) if isinstance(value, dict) else value for value in values.values()]
        self.db.execute(f"UPDATE app.printers SET {assignments} WHERE id = %s", [*cooked, self.ids[name]])

    def status(self, name: str) -> dict[str, Any]:
        query = "SELECT *, xmin FROM app.printer_status WHERE printer_id = %s"
        row = self.db.execute(query, [self.ids[name]]).fetchone()
        assert row is not None
        return row

    def reason(self, name: str) -> tuple[str, str | None]:
        connection = self.status(name)["connection"]
        return connection["state"], connection["reason"]

    def events(self, name: str, kind: str = "printer.state_changed") -> list[dict[str, Any]]:
        query = "SELECT data FROM app.outbox WHERE resource_id = %s AND type = %s ORDER BY sequence"
        return [row["data"] for row in self.db.execute(query, [self.ids[name], kind])]

    def history(self, name: str, kind: str) -> list[dict[str, Any]]:
        query = "SELECT detail FROM app.printer_history WHERE printer_id = %s AND kind = %s ORDER BY at, id"
        return [row["detail"] for row in self.db.execute(query, [self.ids[name], kind])]

    def wait_state(self, name: str, state: str, timeout_s: float = 15.0) -> dict[str, Any]:
        try:
            wait_for(lambda: self.status(name)["state"] == state, timeout_s, f"state {state} of {name}")
        except AssertionError as e:
            raise AssertionError(f"{e}; status: {self.status(name)}; events: {self.events(name)[-6:]}") from e
        return self.status(name)

    def wait_connected(self, *names: str, timeout_s: float = 15.0) -> None:
        for name in names or tuple(self.ids):
            wait_for(lambda: self.reason(name)[0] == "connected", timeout_s, f"connection of {name}")  # noqa: B023

    def wait_reason(self, name: str, reason: str, timeout_s: float = 15.0) -> dict[str, Any]:
        try:
            wait_for(lambda: self.reason(name)[1] == reason, timeout_s, f"reason {reason} of {name}")
        except AssertionError as error:
            raise AssertionError(f"{error}; connection: {self.status(name)['connection']}") from None
        return self.status(name)["connection"]
