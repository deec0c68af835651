"""contrib/orcaslicer/soloprint-hook, called as slicers call it."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from keys import new_key
from stack import ROOT, Stack, free_port
from world import Org

HOOK = ROOT / "contrib/orcaslicer/soloprint-hook"
Run = subprocess.CompletedProcess[str]


class Desk:
    """Somebody's computer: settings, a sliced file, and how the slicer calls."""

    def __init__(self, folder: Path, stack: Stack, key: str) -> None:
        self.folder, self.stack = folder, stack
        self.config = folder / "hook.ini"
        self.key_file = folder / "library.key"
        self.key_file.write_text(key + "\n")
        self.key_file.chmod(0o600)
        self.sliced = folder / ".1234.gcode.pp"
        self.sliced.write_text(f"; {secrets.token_hex(16)}\nG1 X1 E1\n")
        self.settings(url=stack.url, key_file="library.key", cacert=stack.cacert)

    def settings(self, **values: str) -> None:
        self.config.write_text("[soloprint]\n" + "".join(f"{k} = {v}\n" for k, v in values.items()))

    def run(self, *arguments: str, **env: str) -> Run:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("SOLOPRINT_", "SLIC3R_"))}
        return subprocess.run(
            [sys.executable, str(HOOK), *(arguments or (str(self.sliced),))],
            env={**clean, "SOLOPRINT_HOOK_CONFIG": str(self.config), **env},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip


@pytest.fixture
def desk(stack: Stack, org: Org, tmp_path: Path) -> Desk:
    return Desk(tmp_path, stack, org.make_key(["queue.manage"]))


def files(org: Org) -> list[tuple[str, ...]]:
    return org.sql("SELECT filename, status, source, tags FROM app.files WHERE org_id = %s ORDER BY created_at", org.id)


def test_sends_under_the_output_name(org: Org, desk: Desk) -> None:
    before = desk.sliced.read_bytes()
    done = desk.run(SLIC3R_PP_OUTPUT_NAME="/srv/prints/Benchy_0.2mm.gcode", SOLOPRINT_TAGS="orca,shop")
    assert done.returncode == 0, done.stderr
    assert "Benchy_0.2mm.gcode is revision 1" in done.stderr
    assert files(org) == [("Benchy_0.2mm.gcode", "ready", "ingest", ["orca", "shop"])]
    assert desk.sliced.read_bytes() == before
    assert "Benchy_0.2mm.gcode" in (desk.folder / "hook.log").read_text()


@pytest.mark.parametrize(
    ("told", "name"),
    [("C:\\Users\\me\\Würfel.gcode", "Würfel.gcode"), ("", ".1234.gcode"), ("/tmp/x.3mf", "x.3mf"), ("a\tb.gcode", "ab.gcode")],
)
def test_names(org: Org, desk: Desk, told: str, name: str) -> None:
    desk.run(**({"SLIC3R_PP_OUTPUT_NAME": told} if told else {}))
    assert [row[0] for row in files(org)] == [name]


def test_twice_is_once(org: Org, desk: Desk) -> None:
    desk.run()
    assert "was there already" in desk.run().stderr
    assert len(files(org)) == 1


def test_settings_by_environment_alone(stack: Stack, org: Org, desk: Desk) -> None:
    desk.config.unlink()
    done = desk.run(SOLOPRINT_URL=stack.url + "/", SOLOPRINT_KEY=desk.key_file.read_text().strip(), SOLOPRINT_CACERT=stack.cacert)
    assert len(files(org)) == 1, done.stderr


def test_options_of_the_slicers_command_are_left_alone(org: Org, desk: Desk) -> None:
    """The path comes last, whatever stands before it."""
    desk.run("something", str(desk.sliced))
    assert len(files(org)) == 1


def test_check(desk: Desk, org: Org) -> None:
    good = desk.run("--check")
    assert good.returncode == 0
    assert "takes files with this key" in good.stderr
    desk.key_file.write_text(org.make_key(["operations.read"]))
    bad = desk.run("--check")
    assert bad.returncode == 1
    assert "403 insufficient_permissions" in bad.stderr
    assert files(org) == []


Break = Callable[[Desk], dict[str, str] | None]


def wrong_key(desk: Desk) -> None:
    desk.key_file.write_text(new_key())


def no_key(desk: Desk) -> None:
    desk.key_file.unlink()


def no_file(desk: Desk) -> None:
    desk.sliced.unlink()


def empty_file(desk: Desk) -> None:
    desk.sliced.write_text("")


def no_settings(desk: Desk) -> None:
    desk.config.unlink()


def broken_settings(desk: Desk) -> None:
    desk.config.write_text("url = no section\n")


def plain_http(desk: Desk) -> None:
    desk.settings(url="http://print.example.org", key_file="library.key")


def untrusted(desk: Desk) -> None:
    desk.settings(url=desk.stack.url, key_file="library.key")


def bad_ca(desk: Desk) -> None:
    desk.settings(url=desk.stack.url, key_file="library.key", cacert="library.key")


def nobody_there(desk: Desk) -> dict[str, str]:
    desk.settings(url=f"https://127.0.0.1:{free_port()}", key_file="library.key")
    return {"SOLOPRINT_TIME_LIMIT_S": "2"}


def nonsense_limit(desk: Desk) -> dict[str, str]:
    return {"SOLOPRINT_TIME_LIMIT_S": "soon"}


@pytest.mark.parametrize(
    ("break_it", "said"),
    [(wrong_key, "401 invalid_api_key"), (no_key, "key file"), (no_file, "there is no file"), (empty_file, "422 validation_failed"),
     (no_settings, "no url is set"), (broken_settings, "cannot be read"), (plain_http, "must begin with https"),
     (untrusted, "not trusted"), (bad_ca, "CA file"), (nobody_there, "cannot be reached"), (nonsense_limit, "ValueError")],
)  # fmt: skip
def test_never_fails_the_slicing(org: Org, desk: Desk, break_it: Break, said: str) -> None:
    env = break_it(desk) or {}
    key = desk.key_file.read_text().strip() if desk.key_file.exists() else ""
    done = desk.run(**env)
    assert done.returncode == 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not key or key not in done.stderr + (desk.folder / "hook.log").read_text()
    assert files(org) == []


def test_warns_of_a_key_that_others_can_read(desk: Desk) -> None:
    desk.key_file.chmod(0o644)
    assert "others can read" in desk.run().stderr


@contextmanager
def flaky(stack: Stack, failures: int) -> Iterator[str]:
    """A TCP relay to the stack that closes the first connections at once."""
    host, port = "127.0.0.1", int(stack.url.rsplit(":", 1)[1])
    listener = socket.create_server((host, 0))
    stop = threading.Event()

    def pump(a: socket.socket, b: socket.socket) -> None:
        try:
            while data := a.recv(65536):
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def serve() -> None:
        left = failures
        while not stop.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if left:
                left -= 1
                client.close()
                continue
            server = socket.create_connection((host, port))
            for a, b in ((client, server), (server, client)):
                threading.Thread(target=pump, args=(a, b), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"https://localhost:{listener.getsockname()[1]}"
    finally:
        stop.set()
        listener.close()


def test_tries_again(stack: Stack, org: Org, desk: Desk) -> None:
    with flaky(stack, 2) as url:
        desk.settings(url=url, key_file="library.key", cacert=stack.cacert)
        done = desk.run()
    assert done.stderr.count("trying again") == 2, done.stderr
    assert len(files(org)) == 1
