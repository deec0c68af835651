"""A private Postgres for soloprintctl and the schema, without the rest of the service. Its fixtures are imported by the
suites that use them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from stack import BUILD, ROOT

BIN = Path("/usr/lib/postgresql/15/bin")
CTL = BUILD / "bin/soloprintctl"
SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{folder}'
shared_buffers = 32MB
"""


def as_postgres(*command: str, folder: Path) -> None:
    """initdb and the server refuse to run as root."""
    prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    with (folder / "commands.log").open("a") as log:
        subprocess.run([*prefix, *command], cwd=folder, check=True, stdout=log, stderr=log)


@dataclass(frozen=True)
class Postgres:
    folder: Path

    def conninfo(self, database: str, user: str = "postgres") -> str:
        return f"host={self.folder} dbname={database} user={user}"

    def connect(self, database: str, user: str = "postgres", autocommit: bool = True) -> psycopg.Connection[Any]:
        return psycopg.connect(self.conninfo(database, user), autocommit=autocommit)


@dataclass(frozen=True)
class Ctl:
    """soloprintctl on one database."""

    pg: Postgres
    database: str

    def run(
        self, *args: str, expect: int = 0, user: str = "soloprint_migrator", **env: str
    ) -> subprocess.CompletedProcess[str]:
        settings = {
            "PATH": os.environ["PATH"],
            "SOLOPRINT_DB": self.pg.conninfo(self.database, user),
            "SOLOPRINT_SCHEMA": str(ROOT / "schema/db"),
            **env,
        }
        # Only so that the sanitizers' options and coverage's folder reach it.
        settings |= {k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS") or k.startswith("GCOV")}
        done = subprocess.run([str(CTL), *args], env=settings, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == expect, f"{args}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *args: str, **kwargs: Any) -> Any:
        return json.loads(self.run(*args, "--json", **kwargs).stdout)

    def connect(self, user: str = "postgres", autocommit: bool = True) -> psycopg.Connection[Any]:
        return self.pg.connect(self.database, user, autocommit)


@pytest.fixture(scope="session")
def pg() -> Iterator[Postgres]:
    folder = Path(tempfile.mkdtemp(prefix="slp-ctl-"))
    folder.chmod(0o755)
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    data = str(folder / "data")
    options = ("-D", data, "-A", "trust", "-U", "postgres", "-N", "--locale=C.UTF-8")
    as_postgres(str(BIN / "initdb"), *options, folder=folder)
    with (folder / "data/postgresql.conf").open("a") as conf:
        conf.write(SETTINGS.format(folder=folder))
    as_postgres(str(BIN / "pg_ctl"), "-D", data, "-w", "-l", str(folder / "server.log"), "start", folder=folder)
    try:
        yield Postgres(folder)
    finally:
        as_postgres(str(BIN / "pg_ctl"), "-D", data, "-m", "immediate", "stop", folder=folder)
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def template(pg: Postgres) -> str:
    """A migrated database that nobody connects to; the others are copies of it."""
    name = "migrated"
    ctl = Ctl(pg, name)
    ctl.run("bootstrap", user="postgres")
    ctl.run("migrate")
    return name


_numbers = count(1)


@pytest.fixture
def ctl(pg: Postgres, template: str) -> Ctl:
    """A migrated database of its own."""
    name = f"db{next(_numbers)}"
    with pg.connect("postgres") as db:
        db.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    made = Ctl(pg, name)
    made.run("bootstrap", user="postgres")  # the database's own rights are not copied
    return made


@pytest.fixture
def org(ctl: Ctl) -> str:
    """The slug of an organisation."""
    ctl.run("org", "create", "North High")
    return "north-high"
