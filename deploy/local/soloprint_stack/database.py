"""The private Postgres cluster, its schema, and the keys that belong to it."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess

from . import s6
from .layout import GROUP, REPO, ROLES, Layout, make_folder, write_private
from .ui import StackError, tail

MAP = "soloprint"
CONF = """\
listen_addresses = ''
unix_socket_directories = '{sockets}'
unix_socket_permissions = 0770
cluster_name = 'soloprint'
max_connections = 100
shared_buffers = 128MB
effective_cache_size = 1GB
work_mem = 8MB
maintenance_work_mem = 64MB
synchronous_commit = on
fsync = on
full_page_writes = on
recovery_init_sync_method = syncfs
wal_compression = on
max_wal_size = 1GB
checkpoint_timeout = 15min
random_page_cost = 1.1
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
logging_collector = off
log_destination = 'stderr'
log_line_prefix = '%m [%p] %q%u@%d '
log_checkpoints = off
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
"""


def identity_map(at: Layout) -> str:
    """Peer authentication: which OS user may be which role, one line for each pair."""
    pairs: dict[tuple[str, str], None] = {}
    pairs |= {(at.user("soloprint"), "postgres"): None}
    pairs |= {(at.user("soloprint-api"), r): None for r in ("soloprint_api", "soloprint_auth")}
    pairs |= {(at.user("soloprint-gateway"), "soloprint_gateway"): None}
    pairs |= {(at.user("soloprint-courier"), "soloprint_courier"): None}
    pairs |= {("root" if at.as_root else at.user("soloprint"), r): None for r in ROLES}
    return "".join(f"{MAP} {user} {role}\n" for user, role in pairs)


def as_owner(at: Layout, *command: str) -> list[str]:
    if not at.as_root:
        return list(command)
    return ["setpriv", f"--reuid={at.user('soloprint')}", f"--regid={GROUP}", "--init-groups", "--", *command]


def ensure_cluster(at: Layout) -> bool:
    """initdb unless there is a cluster; true when settings changed under a running one."""
    if not (at.pg_data / "PG_VERSION").exists():
        command = ["initdb", "-D", str(at.pg_data), "-U", "postgres", "--auth=peer", "--encoding=UTF8"]
        command += ["--locale=C.UTF-8", "--no-instructions", "--data-checksums"]
        done = subprocess.run(
            as_owner(at, *command), env={"PATH": s6.PATH, "LANG": "C.UTF-8"}, cwd="/", capture_output=True, text=True
        )
        if done.returncode != 0:
            raise StackError(f"initdb failed:\n{done.stderr.strip()}")
        with open(at.pg_data / "postgresql.conf", "a") as f:
            f.write("include 'soloprint.conf'\n")
    data = at.pg_data
    make_folder(data, 0o700, at.user("soloprint"))
    changed = write(at, "soloprint.conf", CONF.format(sockets=at.pg_socket))
    changed |= write(at, "pg_hba.conf", f"local all all peer map={MAP}\n")
    return write(at, "pg_ident.conf", identity_map(at)) or changed


def write(at: Layout, name: str, text: str) -> bool:
    path = at.pg_data / name
    if path.exists() and path.read_text() == text:
        return False
    path.unlink(missing_ok=True)
    write_private(path, text.encode(), at.user("soloprint"))
    return True


def ready(at: Layout) -> bool:
    command = ["psql", "-X", "-q", "-A", "-t", "-c", "select 1", at.conninfo("postgres", "postgres")]
    return subprocess.run(command, env=tool_env(at), capture_output=True).returncode == 0


def tool_env(at: Layout, **more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k in ("HOME", "LANG", "TERM") or k.startswith(("ASAN_", "UBSAN_"))}
    return kept | {"PATH": s6.PATH, "LANG": "C.UTF-8"} | more


def ctl(at: Layout, *words: str, role: str = "soloprint_migrator") -> str:
    """Runs soloprintctl as this role; returns what it prints."""
    env = tool_env(
        at,
        SOLOPRINT_DB=at.conninfo(role),
        SOLOPRINT_GATEWAY_PUBKEY=str(at.var / "keys" / "gateway.pub"),
        SOLOPRINT_COURIER_PUBKEY=str(at.var / "keys" / "courier.pub"),
        SOLOPRINT_SCHEMA=str(REPO / "schema" / "db"),
    )
    done = subprocess.run([str(at.bin / "soloprintctl"), *words], env=env, cwd="/", capture_output=True, text=True)
    if done.returncode != 0:
        log = tail(at.log("postgres"), 5)
        raise StackError(f"soloprintctl {' '.join(words[:2])} failed:\n{(done.stderr or done.stdout).strip()}{log}")
    return done.stdout


def ensure_schema(at: Layout) -> None:
    ctl(at, "bootstrap", role="postgres")
    ctl(at, "migrate")


def ensure_pair(at: Layout, reader: str) -> str:
    """The key pair that seals secrets for the gateway or the courier."""
    private, public = (at.var / "keys" / f"{reader}.{end}" for end in ("key", "pub"))
    if private.exists() and public.exists():
        return "kept"
    for path in (private, public):
        path.unlink(missing_ok=True)
    ctl(at, f"{reader}-key", "create", str(private), str(public))
    if at.as_root:
        shutil.chown(private, at.user(f"soloprint-{reader}"), GROUP)
    return "made"


def ensure_keys(at: Layout) -> str:
    """Whether the gateway's pair was kept or made: what printers' secrets hang on."""
    folder = at.var / "keys"
    if not (folder / "cursor.key").exists():
        write_private(folder / "cursor.key", secrets.token_bytes(32), at.user("soloprint-api"))
    if not (folder / "url.key").exists():
        write_private(folder / "url.key", secrets.token_bytes(32), at.user("soloprint-api"))
    ensure_pair(at, "courier")
    return ensure_pair(at, "gateway")
