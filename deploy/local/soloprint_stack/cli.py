"""Command line of the local stack."""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import database, demo, ports, s6, services, tls
from .client import Client
from .layout import REPO, Layout, make_folders, resolve
from .settings import Settings, load, save
from .ui import Progress, StackError, complain, tail, wait_for

PROGRAMS = ("soloprint-api", "soloprint-gateway", "soloprint-courier", "soloprint-scan", "soloprintctl")
TOOLS = ("nginx", "redis-server", "s6-svscan", "postgres", "initdb", "psql", "sqitch", "openssl", "setpriv")


def add_place(p: argparse.ArgumentParser) -> None:
    p.add_argument("--var", type=Path, help="folder of the state (default: var/ of the repository)")
    p.add_argument("--run", type=Path, help="folder of the sockets (default: VAR/run)")
    p.add_argument("--build", type=Path, default=REPO / "build", help="folder of the build (default: build/)")


def add_up(p: argparse.ArgumentParser) -> None:
    add_place(p)
    p.add_argument("--port", type=int, help="HTTPS port (default 8443, or the one of the last run)")
    p.add_argument("--listen", action="append", metavar="ADDRESS", help="default: 127.0.0.1 and ::1")
    p.add_argument("--make", metavar="MAKE", help="build first with this make")
    p.add_argument("--no-demo", action="store_true", help="no demo organisation and no virtual fleet")
    p.add_argument("--fleet", type=int, metavar="N", help="virtual printers (default 5)")
    p.add_argument("--gateway-ca", metavar="FILE", help="CAs of printers' certificates (default: the virtual fleet's)")
    p.add_argument("--gateways", type=int, metavar="N", help="gateway processes (default 1)")
    p.add_argument("--couriers", type=int, metavar="N", help="courier processes (default 1)")
    p.add_argument("--workers", type=int, metavar="N", help="workers of the pool api (default 8)")
    p.add_argument("--max-requests", type=int, metavar="N", help="requests before a worker is replaced")
    p.add_argument("--rate", type=int, metavar="N", help="nginx: requests per second and address; 0: no limit")
    p.add_argument("--burst", type=int, metavar="N", help="nginx: burst on top of --rate")
    p.add_argument("--conns", type=int, metavar="N", help="nginx: connections per address; 0: no limit")
    p.add_argument("--no-access-log", action="store_true")
    p.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="for the project's own processes")
    p.add_argument("--quiet", action="store_true")


def arguments() -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="stack", description="The whole service on one machine, supervised by s6.")
    sub = p.add_subparsers(dest="command", required=True)
    add_up(sub.add_parser("up", help="start what does not run, in a state made as needed; safe to repeat"))
    add_place(sub.add_parser("down", help="stop everything; the state stays"))
    add_place(sub.add_parser("status", help="what runs; exit status 1 when something does not"))
    one = sub.add_parser("service", help="one service: start, stop, restart, reload (SIGHUP), kill (SIGKILL), pid")
    one.add_argument("action", choices=["start", "stop", "restart", "reload", "kill", "pid"])
    one.add_argument("name")
    add_place(one)
    return p.parse_args()


def settings_of(args: argparse.Namespace, old: Settings | None) -> Settings:
    out = Settings(port=old.port if old else 8443, fleet_port=old.fleet_port if old else 0)
    names = ("port", "listen", "fleet", "gateway_ca", "gateways", "couriers", "workers", "max_requests", "rate", "burst", "conns")
    for name in names:
        value = getattr(args, name)
        if value is not None:
            setattr(out, name, value)
    out.access_log = not args.no_access_log
    out.env = dict(pair.split("=", 1) for pair in args.env)
    if args.no_demo and args.fleet is None:
        out.fleet = 0
    if not out.listen:
        out.listen = ["127.0.0.1", "::1"] if ports.has_ipv6_loopback() else ["127.0.0.1"]
    return out


# --- the steps of `up` -------------------------------------------------------------------------------


def build(make: str, at: Layout, progress: Progress) -> None:
    with progress.step("build"):
        log = REPO / "build.log" if not at.build.exists() else at.build / "build.log"
        words = [*make.split(), "--no-print-directory", f"-j{os.cpu_count() or 2}", "-C", str(REPO), f"BUILD={at.build}"]
        env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
        with open(log, "w") as out:
            done = subprocess.run([*words, "all"], stdout=out, stderr=subprocess.STDOUT, env=env)
        if done.returncode != 0:
            raise StackError(f"the build failed{tail(log, 30)}")
        if log.parent != at.build:
            log.replace(at.build / "build.log")


def require_tools(at: Layout) -> None:
    missing = [t for t in TOOLS if shutil.which(t, path=s6.PATH) is None]
    if missing:
        raise StackError(f"not installed: {', '.join(missing)}; run deploy/local/install run")
    if not all((at.build / "bin" / name).exists() for name in PROGRAMS):
        raise StackError(f"{at.build} holds no build; run make first")


def copy_tree(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    open_up(target)


def open_up(folder: Path) -> None:
    """Readable for the services' users whatever umask the files were made under."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)


def same(a: Path, b: Path) -> bool:
    return b.exists() and a.stat().st_size == b.stat().st_size and a.read_bytes() == b.read_bytes()


def install_programs(at: Layout) -> set[str]:
    """Copies what was built to where the services' users can run it; the names of what changed."""
    changed = set()
    for name in PROGRAMS:
        source, target = at.build / "bin" / name, at.bin / name
        if not same(source, target):
            new = target.with_suffix(".new")
            shutil.copyfile(source, new)
            new.chmod(0o755)
            new.replace(target)
            changed.add(name)
    return changed


def install_docs(at: Layout) -> None:
    """The built pages; at least the plain reference, which the generator makes of the contract alone."""
    target = at.var / "docs"
    if (at.build / "docs").is_dir():
        copy_tree(at.build / "docs", target)
    plain = target / "reference" / "index.html"
    if not plain.exists():
        plain.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(at.build / "gen" / "reference.html", plain)
        open_up(target)


def install_files(at: Layout) -> None:
    install_docs(at)
    source, target = REPO / "tests" / "printers", at.var / "fleet-src"
    if source.is_dir():
        copy_tree(source, target)


def render_nginx(at: Layout, settings: Settings) -> bool:
    """Whether anything changed."""
    before = {p: p.read_bytes() for p in (at.nginx / "conf").rglob("*.conf")}
    subprocess.run([str(services.renderer()), *services.nginx_arguments(at, settings)], check=True)
    open_up(at.nginx / "conf")
    for service in (services.realtime(at), services.nginx(at)):
        check = [*service.command[:-2], "-q", "-t"]
        done = subprocess.run(check, env={"PATH": s6.PATH}, capture_output=True, text=True)
        if done.returncode != 0:
            raise StackError(f"nginx refuses its configuration:\n{done.stderr.strip()}")
    return before != {p: p.read_bytes() for p in (at.nginx / "conf").rglob("*.conf")}


def start_services(at: Layout, names: list[str], restart: set[str]) -> None:
    for name in names:
        folder = at.scan / name
        if s6.stat(folder)["up"] == "true" and name in restart:
            s6.restart(folder)
        else:
            s6.start(folder)


def start_database(at: Layout, changed: bool, progress: Progress) -> None:
    with progress.step("database"):
        start_services(at, ["postgres", "redis"], {"postgres"} if changed else set())
        wait_for("Postgres", lambda: database.ready(at), 60, at.log("postgres"))
    with progress.step("schema"):
        database.ensure_schema(at)


def start_api(at: Layout, settings: Settings, restart: set[str], reload: bool, progress: Progress) -> None:
    pools = [f"api-{pool}" for pool in services.POOLS]
    with progress.step("api"):
        running = [n for n in pools if s6.stat(at.scan / n)["up"] == "true" and n not in restart]
        start_services(at, pools, restart)
        for name in running if reload else []:
            s6.hangup(at.scan / name)
        for pool in services.POOLS:
            path = at.run / "api" / f"{pool}.sock"
            wait_for(f"the pool {pool}", path.exists, 30, at.log(f"api-{pool}"))
    with progress.step("gateway"):
        start_services(at, services.gateways(settings), restart)
    with progress.step("courier"):
        start_services(at, services.couriers(settings), restart)


def start_nginx(at: Layout, settings: Settings, changed: bool, restart: set[str], progress: Progress) -> None:
    with progress.step("nginx") as note:
        for name in ("realtime", "nginx"):
            folder = at.scan / name
            if s6.stat(folder)["up"] == "true" and changed and name not in restart:
                s6.hangup(folder)
            else:
                start_services(at, [name], restart)
        wait_for("the socket of subscribers", (at.run / "nginx" / "sub.sock").exists, 30, at.log("realtime"))
        client = Client(settings.url, at.ca)
        wait_for("the API behind nginx", lambda: client.status("/v1/health") == 200, 60, at.log("api-api"))
        note.append(settings.url)


def start_demo(at: Layout, settings: Settings, default: bool, progress: Progress) -> None:
    with progress.step("demo") as note:
        key, how = demo.ensure_key(at, settings.url)
        client = Client(settings.url, at.ca, key)
        note += [f"key {how}", demo.ensure_printers(at, client) if settings.fleet else "no fleet"]
        path = demo.env_file(at, default)
        demo.write_env(path, settings.url, key, at.ca)
    if settings.fleet:
        with progress.step("first report") as note:
            wait_for("a printer's report", lambda: demo.reporting(client) > 0, 60, at.log("gateway"))
            note.append(f"{demo.reporting(client)} of {settings.fleet} printers connected")
    progress.say(demo.goodbye(at, settings.url, key, path, demo.first_printer(client)))


def prepare(at: Layout, settings: Settings, progress: Progress) -> tuple[set[str], bool]:
    """Folders, programs, certificates, keys, cluster. Returns programs that changed, and whether Postgres' settings did."""
    with progress.step("state") as note:
        make_folders(at)
        programs = install_programs(at)
        install_files(at)
        note.append(f"{at.var}, sockets in {at.run}" if at.run != at.var / "run" else str(at.var))
    with progress.step("keys") as note:
        note += [f"certificates {tls.ensure(at.var / 'tls')}", f"gateway's key {database.ensure_keys(at)}"]
    with progress.step("cluster"):
        changed = database.ensure_cluster(at)
    return programs, changed


def check_ports(at: Layout, settings: Settings, old: Settings | None) -> None:
    """Ports of what already runs are ours; every other one must be free."""
    nginx_runs = s6.scanning(at) and s6.stat(at.scan / "nginx")["up"] == "true"
    if not (nginx_runs and old and old.port == settings.port):
        ports.require_free(settings.listen, settings.port)
    fleet_runs = s6.scanning(at) and s6.stat(at.scan / "fleet")["up"] == "true"
    span = range(settings.fleet_port, settings.fleet_port + services.fleet_ports(settings))
    if settings.fleet and not fleet_runs:
        if not settings.fleet_port or not all(ports.bindable("127.0.0.1", p) for p in span):
            settings.fleet_port = ports.free_run(services.fleet_ports(settings))


def facts(at: Layout, settings: Settings) -> dict[str, object]:
    """What tests want to know of a running stack."""
    return {
        "url": settings.url,
        "cacert": str(at.ca),
        "var": str(at.var),
        "run": str(at.run),
        "build": str(at.build),
        "scan": str(at.scan),
        "log": str(at.var / "log"),
        "ctl": str(at.bin / "soloprintctl"),
        "superuser": at.conninfo("postgres"),
        "migrator": at.conninfo("soloprint_migrator"),
        "redis": str(at.redis_socket),
        "gateway_pubkey": str(at.var / "keys" / "gateway.pub"),
        "courier_key": str(at.var / "keys" / "courier.key"),
        "courier_pubkey": str(at.var / "keys" / "courier.pub"),
        "fleet": str(at.fleet),
    }


@contextmanager
def locked(at: Layout) -> Iterator[None]:
    at.var.mkdir(parents=True, exist_ok=True)
    with open(at.var / "lock", "w") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            raise StackError("another `stack` command is at work on this folder") from e
        yield


def up(args: argparse.Namespace) -> int:
    progress = Progress(args.quiet)
    at = resolve(args.var, args.run, args.build)
    if args.make:
        build(args.make, at, progress)
    require_tools(at)
    with locked(at):
        if at.why:
            progress.say(f"  State in {at.var}, sockets in {at.run}: {at.why}.")
        old = load(at.settings)
        settings = settings_of(args, old)
        if not s6.scanning(at):
            s6.stop_orphans(at)
        check_ports(at, settings, old)
        programs, postgres_changed = prepare(at, settings, progress)
        save(at.settings, settings, facts(at, settings))
        start(at, settings, programs, postgres_changed, progress)
        if not args.no_demo:
            start_demo(at, settings, args.var is None, progress)
    return 0


def start(at: Layout, settings: Settings, programs: set[str], postgres_changed: bool, progress: Progress) -> None:
    with progress.step("supervisor"):
        was_up = s6.scanning(at)
        changed = set(s6.ensure_scan(at, services.all_services(at, settings))) if was_up else set()
        if not was_up:
            s6.ensure_scan(at, services.all_services(at, settings))
    if "soloprint-gateway" in programs:
        changed |= set(services.gateways(settings))
    if "soloprint-courier" in programs:
        changed |= set(services.couriers(settings))
    start_database(at, postgres_changed and was_up, progress)
    if settings.fleet:
        start_services(at, ["fleet"], changed)
        demo.fleet_printers(at)
    start_api(at, settings, changed, was_up and "soloprint-api" in programs, progress)
    start_nginx(at, settings, render_nginx(at, settings), changed, progress)


def down(args: argparse.Namespace) -> int:
    at = resolve(args.var, args.run, args.build)
    with locked(at):
        if not s6.anything(at):
            print("  nothing runs")
            return 0
        settings = load(at.settings) or Settings()
        order = [s.name for s in reversed(services.all_services(at, settings))]
        for name in order:
            if (at.scan / name).exists():
                s6.stop(at.scan / name)
        s6.end_scan(at)
    print(f"  stopped; the state stays in {at.var}")
    return 0


def status(args: argparse.Namespace) -> int:
    at = resolve(args.var, args.run, args.build)
    settings = load(at.settings)
    if settings is None or not s6.anything(at):
        print("  nothing runs; start it with: make up")
        return 1
    good = s6.scanning(at)
    if not good:
        print("  the supervisor itself is gone; run make up again")
    for folder in s6.services(at):
        now = s6.stat(folder)
        good &= now["up"] == "true"
        how = f"up {now.get('for', '?')} s, process {now['pid']}" if now["up"] == "true" else "down"
        print(f"  {folder.name:<14} {how}")
    code, health = Client(settings.url, at.ca).call("GET", "/v1/health")
    print(f"  {settings.url}/v1/health: {code} {health}")
    return 0 if good and code == 200 else 1


def service(args: argparse.Namespace) -> int:
    at = resolve(args.var, args.run, args.build)
    folder = at.scan / args.name
    if not (folder / "run").exists():
        names = ", ".join(f.name for f in s6.services(at))
        raise StackError(f"there is no service {args.name}; there are: {names or 'none'}")
    if args.action == "pid":
        print(s6.pid(folder))
        return 0
    if args.action == "kill":
        subprocess.run(["s6-svc", "-k", str(folder)], check=True)
        return 0
    actions = {"start": s6.start, "stop": s6.stop, "restart": s6.restart, "reload": s6.hangup}
    actions[args.action](folder)
    return 0


def main() -> int:
    args = arguments()
    try:
        return {"up": up, "down": down, "status": status, "service": service}[args.command](args)
    except StackError as e:
        complain(str(e))
        return 1
    except subprocess.CalledProcessError as e:
        said = e.stderr or b""
        complain(f"{e.cmd[0]} failed: {said.decode() if isinstance(said, bytes) else said}")
        return 1
    except PermissionError as e:
        complain(f"{e.filename}: not allowed; was this state made by another user? Use that user, or another --var")
        return 1
    except OSError as e:
        complain(str(e))
        return 1
    except KeyboardInterrupt:
        complain("interrupted; run it again to go on")
        return 130
    finally:
        sys.stdout.flush()
