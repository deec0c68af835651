"""Where everything is and who owns it."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import shutil
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from .ui import StackError

REPO = Path(__file__).resolve().parents[3]
SOCKET_PATH_MOST = 107
LONGEST_SOCKET = "pg/.s.PGSQL.5432"
USERS = ("soloprint", "soloprint-api", "soloprint-gateway", "soloprint-courier")
GROUP = "soloprint"
ROLES = ("postgres", "soloprint_migrator", "soloprint_api", "soloprint_auth", "soloprint_gateway", "soloprint_courier")


@dataclass
class Layout:
    var: Path  # state: database, keys, certificates, logs
    run: Path  # sockets and the supervisor's folder
    build: Path
    as_root: bool = field(default_factory=lambda: os.geteuid() == 0)
    why: str = ""  # why not in the repository's var/

    @property
    def bin(self) -> Path:
        return self.var / "bin"

    @property
    def pg_data(self) -> Path:
        return self.var / "pg"

    @property
    def pg_socket(self) -> Path:
        return self.run / "pg"

    @property
    def redis_socket(self) -> Path:
        return self.run / "redis" / "redis.sock"

    @property
    def scan(self) -> Path:
        return self.run / "service"

    @property
    def nginx(self) -> Path:
        return self.var / "nginx"

    @property
    def fleet(self) -> Path:
        return self.var / "fleet"

    @property
    def storage(self) -> Path:
        return self.var / "storage"

    @property
    def ca(self) -> Path:
        return self.var / "tls" / "ca.crt"

    @property
    def settings(self) -> Path:
        return self.var / "stack.json"

    def log(self, service: str) -> Path:
        return self.var / "log" / service / "current"

    def user(self, name: str) -> str:
        """The OS user that stands for one of USERS: itself as root, else whoever runs the stack."""
        return name if self.as_root else pwd.getpwuid(os.geteuid()).pw_name

    def conninfo(self, role: str, database: str = "soloprint") -> str:
        return f"host={self.pg_socket} dbname={database} user={role}"


def add_users() -> None:
    """System users, as root only. Members of the group may use the sockets."""
    if not any(g.gr_name == GROUP for g in grp.getgrall()):
        subprocess.run(["groupadd", "--system", GROUP], check=True)
    for name in USERS:
        try:
            pwd.getpwnam(name)
        except KeyError:
            command = ["useradd", "--system", "--no-create-home", "--home-dir", "/nonexistent"]
            subprocess.run([*command, "--shell", "/usr/sbin/nologin", "--gid", GROUP, name], check=True)


def reachable(path: Path, user: str) -> bool:
    """True when that user may enter the folder (or its nearest parent that exists)."""
    while not path.exists():
        path = path.parent
    command = ["setpriv", f"--reuid={user}", f"--regid={GROUP}", "--clear-groups", "test", "-x", str(path)]
    return subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0


def too_long(run: Path) -> bool:
    return len(os.fsencode(run / LONGEST_SOCKET)) > SOCKET_PATH_MOST


def holds_sockets(folder: Path) -> bool:
    """False on filesystems without Unix sockets, such as some shared folders of virtual machines."""
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(str(probe))
        probe.unlink()
    except OSError:
        return False
    return True


def short_run(var: Path, as_root: bool) -> Path:
    tag = hashlib.sha256(os.fsencode(var)).hexdigest()[:8]
    if as_root:
        return Path(f"/run/soloprint-{tag}")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    base = Path(runtime) if runtime and Path(runtime).is_dir() else Path("/tmp")
    run = base / f"soloprint-{os.getuid()}-{tag}"
    run.mkdir(mode=0o700, exist_ok=True)
    if run.stat().st_uid != os.getuid():
        raise StackError(f"{run} belongs to somebody else; name another folder with --run")
    return run


def default_layout(build: Path) -> Layout:
    """var/ of the repository when every process can live there, else /var/lib and /run."""
    as_root = os.geteuid() == 0
    var = REPO / "var"
    if as_root and not reachable(var, USERS[0]):
        return Layout(Path("/var/lib/soloprint"), Path("/run/soloprint"), build, why=f"other users cannot enter {REPO}")
    return with_run(var, var / "run", build)


def with_run(var: Path, run: Path, build: Path) -> Layout:
    """The layout with these folders, or with a shorter folder for the sockets."""
    if too_long(run):
        short = short_run(var, os.geteuid() == 0)
        return Layout(var, short, build, why=f"the path of the sockets would be over {SOCKET_PATH_MOST} bytes")
    if not holds_sockets(run):
        return Layout(var, short_run(var, os.geteuid() == 0), build, why=f"{run} cannot hold sockets")
    return Layout(var, run, build)


def resolve(var: Path | None, run: Path | None, build: Path) -> Layout:
    if os.geteuid() == 0:
        add_users()
    build = build.resolve()
    if var is None:
        return default_layout(build)
    var = var.resolve()
    if os.geteuid() == 0 and not reachable(var, USERS[0]):
        raise StackError(f"the user {USERS[0]} cannot enter {var}; name another folder with --var")
    if run is not None and too_long(run.resolve()):
        raise StackError(f"{run} is too long for a socket's path ({SOCKET_PATH_MOST} bytes); name a shorter --run")
    return with_run(var, run.resolve() if run else var / "run", build)


def make_folder(path: Path, mode: int, user: str | None = None) -> None:
    path.mkdir(parents=True, exist_ok=True)
    if user is not None and os.geteuid() == 0:
        shutil.chown(path, user, GROUP)
    path.chmod(mode)


def make_folders(at: Layout) -> None:
    for path in (at.var, at.run):
        path.mkdir(parents=True, exist_ok=True)
        if at.as_root:
            path.chmod(0o755)
    owner, api = at.user("soloprint"), at.user("soloprint-api")
    make_folder(at.pg_data, 0o700, owner)
    make_folder(at.pg_socket, 0o750, owner)
    make_folder(at.redis_socket.parent, 0o750, owner)
    make_folder(at.run / "api", 0o2750, api)
    make_folder(at.run / "publish", 0o700, at.user("soloprint-gateway"))
    make_folder(at.run / "events", 0o700, at.user("soloprint-courier"))
    make_folder(at.run / "snapshots", 0o700, api)
    make_folder(at.run / "nginx", 0o700, owner)
    # Written by nginx, the API and the courier; nobody else enters.
    for path in (at.storage, *(at.storage / name for name in ("blobs", "staging", "tmp"))):
        make_folder(path, 0o2770, api)
    make_folder(at.storage / "tmp" / "nginx", 0o2770, owner)
    make_folder(at.fleet, 0o755, owner)
    make_folder(at.nginx, 0o755)
    make_folder(at.nginx / "tmp", 0o700, owner)
    make_folder(at.var / "log", 0o755)
    for name in ("keys", "tls", "bin"):
        make_folder(at.var / name, 0o755)


def write_private(path: Path, data: bytes, user: str) -> None:
    """A file that this user alone can read."""
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(fd, "wb") as f:
        f.write(data)
    if os.geteuid() == 0:
        shutil.chown(path, user, GROUP)
