"""The processes of the stack and their settings."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

from .layout import REPO, Layout
from .s6 import Service
from .settings import Settings

POOLS = {"api": None, "files": 4, "auth": 2}  # workers; None: as the settings say
REDIS_CONF = """\
port 0
unixsocket {socket}
unixsocketperm 770
save ""
appendonly no
dir {folder}
daemonize no
databases 1
maxmemory 64mb
maxmemory-policy volatile-lru
maxclients 1000
timeout 0
logfile ""
"""


def postgres(at: Layout) -> Service:
    data = at.pg_data
    # After a reboot the process id in the lock file may be another service's.
    stale = (
        f"pid=$(head -n 1 '{data}/postmaster.pid' 2>/dev/null) || pid=\n"
        f'[ "$(readlink "/proc/$pid/cwd")" = \'{data}\' ] || rm -f \'{data}/postmaster.pid\'\n'
    )
    return Service(
        "postgres", ["postgres", "-D", str(data)], at.user("soloprint"), before=stale, stop_signal="INT", umask="0077"
    )


def redis(at: Layout) -> Service:
    conf = at.var / "redis.conf"
    conf.write_text(REDIS_CONF.format(socket=at.redis_socket, folder=at.redis_socket.parent))
    conf.chmod(0o644)
    return Service("redis", ["redis-server", str(conf)], at.user("soloprint"), stop_ms=5000)


def api(at: Layout, settings: Settings, pool: str) -> Service:
    env = {
        "SOLOPRINT_POOL": pool,
        "SOLOPRINT_SOCKET": f"{at.run}/api/{pool}.sock",
        "SOLOPRINT_WORKERS": str(POOLS[pool] or settings.workers),
        "SOLOPRINT_MAX_REQUESTS": str(settings.max_requests),
        "SOLOPRINT_DB": at.conninfo("soloprint_api"),
        "SOLOPRINT_REDIS": str(at.redis_socket),
        "SOLOPRINT_CURSOR_KEY": str(at.var / "keys" / "cursor.key"),
        "SOLOPRINT_GATEWAY_PUBKEY": str(at.var / "keys" / "gateway.pub"),
        "SOLOPRINT_COURIER_PUBKEY": str(at.var / "keys" / "courier.pub"),
        "SOLOPRINT_SNAPSHOT_PUBLISH": f"{at.run}/snapshots/pub.sock",
        "SOLOPRINT_STORAGE": str(at.storage),
        "SOLOPRINT_URL_KEY": str(at.var / "keys" / "url.key"),
        "SOLOPRINT_PUBLIC_URL": settings.url,
    }
    command = [str(at.bin / "soloprint-api")]
    return Service(f"api-{pool}", command, at.user("soloprint-api"), env | settings.env, umask="0077")


def gateway(at: Layout, settings: Settings, name: str) -> Service:
    env = {
        "SOLOPRINT_DB": at.conninfo("soloprint_gateway"),
        "SOLOPRINT_GATEWAY_KEY": str(at.var / "keys" / "gateway.key"),
        "SOLOPRINT_GATEWAY_NAME": name,
        "SOLOPRINT_GATEWAY_PUBLISH": f"{at.run}/publish/pub.sock",
        "SOLOPRINT_GATEWAY_DISCOVERY": "all" if settings.fleet else "off",
        "SOLOPRINT_STORAGE": str(at.storage),
    }
    # Without printers of its own a stack trusts no printer: its own CA signs none.
    ca = settings.gateway_ca or str(fleet_ca(at) if settings.fleet else at.ca)
    env["SOLOPRINT_GATEWAY_CA"] = ca
    if settings.fleet:  # where virtual printers have what real ones have at ports of their own
        env["SOLOPRINT_GATEWAY_FTPS_PORT"] = f"+{2 * settings.fleet + 1}"
        env["SOLOPRINT_GATEWAY_CAMERA_PORT"] = f"+{3 * settings.fleet + 1}"
    command = [str(at.bin / "soloprint-gateway")]
    return Service(name, command, at.user("soloprint-gateway"), env | settings.env, umask="0077")


def courier(at: Layout, settings: Settings, name: str) -> Service:
    env = {
        "SOLOPRINT_DB": at.conninfo("soloprint_courier"),
        "SOLOPRINT_COURIER_NAME": name,
        "SOLOPRINT_COURIER_KEY": str(at.var / "keys" / "courier.key"),
        "SOLOPRINT_EVENTS_PUBLISH": f"{at.run}/events/pub.sock",
        "SOLOPRINT_PUBLIC_URL": settings.url,
        "SOLOPRINT_STORAGE": str(at.storage),
    }
    command = [str(at.bin / "soloprint-courier")]
    return Service(name, command, at.user("soloprint-courier"), env | settings.env, umask="0077")


def fleet_ca(at: Layout) -> Path:
    return at.fleet / "ca" / "ca.pem"


def fleet_ports(settings: Settings) -> int:
    """Per printer its relay, its listener, its storage and its camera; and one of the fleet itself."""
    return 4 * settings.fleet + 1


def fleet(at: Layout, settings: Settings) -> Service:
    command = [sys.executable, "-B", str(at.var / "fleet-src" / "fleet"), "--dir", str(at.fleet)]
    command += ["--printers", str(settings.fleet), "--port-base", str(settings.fleet_port)]
    command += ["--time-scale", "20", "--autoplay", "--mixed"]
    return Service("fleet", command, at.user("soloprint"), umask="0022", stop_ms=8000)


def an_nginx(at: Layout, name: str, conf: str) -> Service:
    command = ["nginx", "-e", "stderr", "-p", str(at.nginx), "-c", str(at.nginx / "conf" / f"{conf}.conf")]
    # Workers outlive a killed master and keep what it listened on; they are told by the session the master led.
    orphans = (
        f"old=$(cat '{at.run}/{conf}.pid' 2>/dev/null) || old=none\n"
        "for stat in /proc/[0-9]*/stat; do\n"
        '\tread -r line 2>/dev/null <"$stat" || continue\n'
        '\tcase "$line" in *" (nginx) "?" "[0-9]*" $old $old "*) kill -QUIT "${line%% *}" ;; esac\n'
        "done\n"
    )
    # As root its master reads the key and its workers are the user "soloprint".
    return Service(name, [*command, "-g", "daemon off;"], before=orphans, stop_signal="QUIT", stop_ms=8000)


def nginx(at: Layout) -> Service:
    return an_nginx(at, "nginx", "nginx")


def realtime(at: Layout) -> Service:
    """The nginx that holds viewers of cameras and subscribers of events."""
    service = an_nginx(at, "realtime", "realtime")
    # A killed master leaves its sockets behind, and would not start on them.
    sockets = ("publish/pub.sock", "events/pub.sock", "snapshots/pub.sock", "nginx/sub.sock")
    service.before += "".join(f"rm -f '{at.run}/{name}'\n" for name in sockets)
    service.stop_signal = "TERM"
    return service


def gateways(settings: Settings) -> list[str]:
    return ["gateway", *(f"gateway-{i}" for i in range(2, settings.gateways + 1))][: settings.gateways]


def couriers(settings: Settings) -> list[str]:
    return ["courier", *(f"courier-{i}" for i in range(2, settings.couriers + 1))][: settings.couriers]


def all_services(at: Layout, settings: Settings) -> list[Service]:
    """In the order in which they start."""
    out = [postgres(at), redis(at), realtime(at)]
    out += [fleet(at, settings)] if settings.fleet else []
    out += [api(at, settings, pool) for pool in POOLS]
    out += [gateway(at, settings, name) for name in gateways(settings)]
    out += [courier(at, settings, name) for name in couriers(settings)]
    return [*out, nginx(at)]


def nginx_arguments(at: Layout, settings: Settings) -> list[str]:
    """For nginx/render."""
    out = ["--out", str(at.nginx / "conf"), "--run", str(at.run), "--var", str(at.nginx)]
    out += ["--routes", str(at.build / "gen" / "nginx-routes.conf"), "--docs", str(at.var / "docs")]
    out += ["--storage", str(at.storage)]
    out += ["--tls-cert", f"{at.var}/tls/server.crt", "--tls-key", f"{at.var}/tls/server.key"]
    for address in settings.listen:
        where = f"[{address}]" if ":" in address else address
        out += ["--listen", f"{where}:{settings.port}"]
    if at.as_root:
        out += ["--user", "soloprint soloprint"]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    out += ["--nofile", str(8192 if hard == resource.RLIM_INFINITY else min(hard, 8192))]
    out += ["--rate", str(settings.rate), "--burst", str(settings.burst), "--conns", str(settings.conns)]
    if not settings.access_log:
        out += ["--access-log", "off"]
    return [*out, "--workers", str(min(4, os.cpu_count() or 2))]


def renderer() -> Path:
    return REPO / "nginx" / "render"
