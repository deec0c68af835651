"""pgbouncer in transaction mode, in front of a stack's database."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stack import Stack
from wait import until


@contextmanager
def pgbouncer(stack: Stack, role: str, connections: int) -> Iterator[str]:
    """Its conninfo. It runs as the OS user that Postgres lets in as this role."""
    user = ["runuser", "-u", role.replace("_", "-"), "--"] if os.geteuid() == 0 else []
    host = re.search(r"host=(\S+)", str(stack.facts["superuser"]))
    assert host
    folder = Path("/tmp") / f"slp-pool-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    config = folder / "pgbouncer.ini"
    config.write_text(
        "[databases]\n"
        f"soloprint = host={host[1]} dbname=soloprint user={role}\n"
        "[pgbouncer]\nlisten_addr =\nauth_type = any\npool_mode = transaction\n"
        f"unix_socket_dir = {folder}\nunix_socket_mode = 0777\ndefault_pool_size = {connections}\n"
    )
    process = subprocess.Popen([*user, "pgbouncer", str(config)], stderr=subprocess.DEVNULL)
    try:
        until((folder / ".s.PGSQL.6432").exists, what="pgbouncer listens")
        yield f"host={folder} port=6432 dbname=soloprint user={role}"
    finally:
        process.terminate()
        process.wait(10)
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
