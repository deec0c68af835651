"""The printers' storage: implicit FTPS, one port per printer with its own certificate, TLS 1.2 only.

Faults of a transfer, set like any other of the printer's:
ftps_clear_data   firmware that hangs when the data connection is to be encrypted
ftps_late         the last answer comes `delay_s` after the data
ftps_lost_answer  the file is stored, the last answer is 426
ftps_short        `bytes` of the file are stored, the last answer is 226
ftps_drop         both connections end after `bytes`
ftps_stall        no byte is taken after `bytes`
ftps_full         552
ftps_slow_delete  DELE happens `delay_s` later
ftps_refused      553
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .printer import Printer

FAULTS = (
    "ftps_clear_data",
    "ftps_drop",
    "ftps_full",
    "ftps_late",
    "ftps_lost_answer",
    "ftps_refused",
    "ftps_short",
    "ftps_slow_delete",
    "ftps_stall",
)
MAX_FILES = 20  # per printer; the oldest go


@dataclass
class Storage:
    serial: str
    port: int
    folder: Path
    certificate: Path
    key: Path
    code: Callable[[], str]  # the access code that holds now
    printer: Callable[[], Printer | None]

    def faults(self) -> dict[str, Any]:
        printer = self.printer()
        return printer.faults if printer is not None else {}

    def prune(self) -> None:
        files = sorted((f for f in self.folder.iterdir() if f.is_file()), key=lambda f: f.stat().st_mtime)
        for each in files[:-MAX_FILES]:
            each.unlink(missing_ok=True)


class _Hook:
    """A file as the data channel writes it."""

    def __init__(self, file: Any, on_write: Callable[[Any, bytes, int], None]) -> None:
        self.file = file
        self.name = file.name
        self.taken = 0
        self.on_write = on_write

    def write(self, chunk: bytes) -> None:
        self.on_write(self.file, bytes(chunk), self.taken)
        self.taken += len(chunk)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def _handlers(storage: Storage) -> Any:
    """A class per printer: pyftpdlib keeps settings in classes."""
    from OpenSSL import SSL
    from pyftpdlib.authorizers import AuthenticationFailed, DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler, TLS_DTPHandler, TLS_FTPHandler

    class Codes(DummyAuthorizer):
        def validate_authentication(self, username: str, password: str, _handler: Any) -> None:
            if username != "bblp" or password != storage.code():
                raise AuthenticationFailed

    class Data(TLS_DTPHandler):
        def secure_connection(self, context: Any) -> None:
            if "ftps_clear_data" in storage.faults():
                self.del_channel()  # nobody reads any more: the client's handshake gets no answer
                return
            super().secure_connection(context)

        def readable(self) -> bool:
            """Clients begin the handshake before they say what for."""
            return self._ssl_accepting or super().readable()

        def enable_receiving(self, kind: str, cmd: str) -> None:
            super().enable_receiving(kind, cmd)
            self.file_obj = _Hook(self.file_obj, self._took)

        def _took(self, file: Any, chunk: bytes, at: int) -> None:
            faults, room = storage.faults(), 1 << 62
            for kind in ("ftps_short", "ftps_drop", "ftps_stall"):
                if kind in faults:
                    room = int(faults[kind].get("bytes", 0))
            file.write(chunk[: max(0, room - at)])
            if at + len(chunk) <= room or "ftps_short" in faults:
                return
            file.flush()
            if "ftps_stall" in faults:
                self.del_channel()
            else:
                self.cmd_channel.ioloop.call_later(0, self.cmd_channel.cut)

    class Control(TLS_FTPHandler):
        dtp_handler = Data
        banner = "printer"

        def handle(self) -> None:
            self.secure_connection(self.ssl_context)

        def handle_ssl_established(self) -> None:
            FTPHandler.handle(self)

        def cut(self) -> None:
            if self.data_channel is not None:
                self.data_channel.file_obj.close()
                self.data_channel._resp = ()
            self.close()

        def ftp_STOR(self, file: str, mode: str = "w") -> Any:  # noqa: N802
            storage.prune()
            printer = storage.printer()
            if printer is not None and not printer.record.get("sdcard", True):
                self.respond("553 Could not create file.")
                return None
            for kind, answer in (("ftps_full", "552 Disk full."), ("ftps_refused", "553 Could not create file.")):
                if kind in storage.faults():
                    self.respond(answer)
                    return None
            return super().ftp_STOR(file, mode)

        def ftp_DELE(self, path: str) -> Any:
            fault = storage.faults().get("ftps_slow_delete")
            if fault is None:
                return super().ftp_DELE(path)
            self.ioloop.call_later(float(fault.get("delay_s", 2)), super().ftp_DELE, path)
            return None

        def respond(self, answer: str, *args: Any, **options: Any) -> None:
            faults = storage.faults()
            if answer.startswith("226") and "ftps_lost_answer" in faults:
                answer = "426 Failure reading network stream."
            if answer.startswith("226") and "ftps_late" in faults:
                delay_s = float(faults["ftps_late"].get("delay_s", 2))
                self.ioloop.call_later(delay_s, super().respond, answer, *args, **options)
                return
            super().respond(answer, *args, **options)

    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate_chain_file(str(storage.certificate))
    context.use_privatekey_file(str(storage.key))
    context.set_session_id(storage.serial.encode()[:32])
    authorizer = Codes()
    authorizer.add_user("bblp", "", str(storage.folder), perm="elradfmw")
    Control.ssl_context = context
    Control.authorizer = authorizer
    return Control


class Servers:
    """All printers' servers on one thread."""

    def __init__(self, storages: list[Storage]) -> None:
        from pyftpdlib.ioloop import IOLoop
        from pyftpdlib.servers import FTPServer

        logging.getLogger("pyftpdlib").setLevel(logging.CRITICAL)
        self.ioloop = IOLoop()
        for storage in storages:
            storage.folder.mkdir(parents=True, exist_ok=True)
            FTPServer(("127.0.0.1", storage.port), _handlers(storage), self.ioloop)
        self.stopping = False
        self.thread = threading.Thread(target=self._run, name="ftps", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while not self.stopping:
            self.ioloop.loop(timeout=0.25, blocking=False)

    def stop(self) -> None:
        self.stopping = True
        self.thread.join(5)
        self.ioloop.close()


def available() -> bool:
    try:
        import OpenSSL  # noqa: F401
        import pyftpdlib  # noqa: F401
    except ImportError:
        return False
    return True
