"""s6: what it supervises, and how one talks to it."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from .layout import GROUP, Layout, make_folder
from .ui import wait_for

PATH = "/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Service:
    name: str
    command: list[str]
    user: str | None = None  # None: as whoever runs the stack (root keeps root)
    env: dict[str, str] = field(default_factory=dict)
    before: str = ""  # shell lines
    stop_signal: str = "TERM"
    stop_ms: int = 15000  # after that it is killed
    umask: str = "0027"


def run_script(service: Service, at: Layout) -> str:
    """A clean environment, the service's user, and an end when its supervisor ends."""
    env = {"PATH": PATH, "LANG": "C.UTF-8", "TZ": "UTC"} | service.env
    words = ["exec", "env", "-i", *(f"{k}={v}" for k, v in env.items())]
    words += ["setpriv", "--no-new-privs", "--pdeathsig", service.stop_signal]
    if at.as_root and service.user:
        words += [f"--reuid={service.user}", f"--regid={GROUP}", "--init-groups"]
    line = " ".join(map(shlex.quote, [*words, "--", *service.command]))
    return f"#!/bin/sh\nexec 2>&1\numask {service.umask}\n{service.before}{line}\n"


def log_script(service: Service, at: Layout) -> str:
    drop = ["setpriv", f"--reuid={at.user('soloprint')}", f"--regid={GROUP}", "--clear-groups"] if at.as_root else []
    folder = at.log(service.name).parent
    words = ["exec", *drop, "s6-log", "-b", "n5", "s2000000", str(folder)]
    return f"#!/bin/sh\nPATH={PATH}\numask 0027\n" + " ".join(map(shlex.quote, words)) + "\n"


def write_if_other(path: Path, text: str, mode: int = 0o644) -> bool:
    if path.exists() and path.read_text() == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.chmod(mode)
    new.replace(path)
    return True


def define(service: Service, at: Layout) -> bool:
    """Writes the service's folder; true when it differs from what is running."""
    folder = at.scan / service.name
    make_folder(at.log(service.name).parent, 0o755, at.user("soloprint"))
    if not folder.exists():
        folder.mkdir(parents=True)
        (folder / "down").touch()
    write_if_other(folder / "log" / "run", log_script(service, at), 0o755)
    write_if_other(folder / "down-signal", f"SIG{service.stop_signal}\n")
    write_if_other(folder / "timeout-kill", f"{service.stop_ms}\n")
    return write_if_other(folder / "run", run_script(service, at), 0o755)


def listens(fifo: Path) -> bool:
    """True when a process reads this control fifo."""
    try:
        os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    except OSError as e:
        if e.errno in (errno.ENXIO, errno.ENOENT):
            return False
        raise
    return True


def scanning(at: Layout) -> bool:
    return listens(at.scan / ".s6-svscan" / "control")


def supervised(folder: Path) -> bool:
    return listens(folder / "supervise" / "control")


def services(at: Layout) -> list[Path]:
    return sorted(p for p in at.scan.glob("[!.]*") if p.is_dir() and (p / "run").exists())


def svc(flags: str, folder: Path) -> None:
    subprocess.run(["s6-svc", flags, str(folder)], check=True)


def stat(folder: Path) -> dict[str, str]:
    done = subprocess.run(["s6-svstat", "-o", "up,pid,updownfor", str(folder)], capture_output=True, text=True)
    words = done.stdout.split()
    return dict(zip(("up", "pid", "for"), words, strict=False)) if done.returncode == 0 else {"up": "false", "pid": "-1"}


def start_scan(at: Layout) -> None:
    log = open(at.var / "log" / "supervisor", "ab")  # noqa: SIM115 - the child keeps it
    subprocess.Popen(
        ["s6-svscan", str(at.scan)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True,
        env={"PATH": PATH},
    )
    log.close()
    wait_for("the supervisor", lambda: scanning(at), 10, at.var / "log" / "supervisor")


def ensure_scan(at: Layout, wanted: list[Service]) -> list[str]:
    """A supervisor for these services; returns the names of those whose definition changed under it."""
    if not scanning(at):
        shutil.rmtree(at.scan, ignore_errors=True)
        at.scan.mkdir(parents=True)
    changed = [s.name for s in wanted if define(s, at)]
    drop_others(at, {s.name for s in wanted})
    if scanning(at):
        subprocess.run(["s6-svscanctl", "-a", str(at.scan)], check=True)
    else:
        start_scan(at)
    for s in wanted:
        wait_for(f"the supervisor of {s.name}", lambda s=s: supervised(at.scan / s.name), 10)
    return changed


def drop_others(at: Layout, keep: set[str]) -> None:
    """Services that are no longer wanted: renamed, so that the scanner lets go of them, and removed."""
    for folder in services(at):
        if folder.name in keep:
            continue
        stop(folder)
        gone = folder.rename(folder.with_name(f".{folder.name}"))
        subprocess.run(["s6-svscanctl", "-an", str(at.scan)], check=False)
        wait_for(f"the end of {folder.name}", lambda g=gone: not supervised(g) and not supervised(g / "log"), 20)
        shutil.rmtree(gone)


def anything(at: Layout) -> bool:
    """True when services run, be it without their scanner."""
    return scanning(at) or any(supervised(folder) for folder in services(at))


def stop_orphans(at: Layout) -> None:
    """Supervisors of single services survive their scanner's death; they are stopped before a new one starts."""
    for folder in services(at):
        for each in (folder, folder / "log"):
            if supervised(each):
                svc("-xd", each)
    for folder in services(at):
        wait_for(f"the end of {folder.name}", lambda f=folder: not (supervised(f) or supervised(f / "log")), 30)


def start(folder: Path) -> None:
    (folder / "down").unlink(missing_ok=True)
    svc("-u", folder)


def stop(folder: Path) -> None:
    if supervised(folder):
        svc("-d", folder)
        wait_for(f"the end of {folder.name}", lambda: stat(folder)["up"] != "true", 30)


def hangup(folder: Path) -> None:
    svc("-h", folder)


def restart(folder: Path) -> None:
    svc("-r", folder)


def end_scan(at: Layout) -> None:
    if scanning(at):
        subprocess.run(["s6-svscanctl", "-t", str(at.scan)], check=True)
        wait_for("the end of the supervisor", lambda: not scanning(at), 30)
    stop_orphans(at)


def pid(folder: Path) -> int:
    """Of the service, 0 while it is down: never s6's -1, which would be everybody to kill(2)."""
    return max(int(stat(folder)["pid"]), 0)
