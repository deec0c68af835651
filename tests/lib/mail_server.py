"""A mail server for the small internet: mail_server.py FOLDER PORT starttls|plain. Takes user "print" with password
"CANARY-mail" (starttls only), writes what it took to FOLDER/mails as one JSON object per line. Mail to refused@… it never
takes, mail to later@… not at the first time."""

from __future__ import annotations

import json
import signal
import ssl
import sys
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

FOLDER, PORT, HOW = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
seen: set[str] = set()


class Handler:
    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:
        if address.startswith("refused@"):
            return "550 5.1.1 nobody of that name"
        if address.startswith("later@") and address not in seen:
            seen.add(address)
            return "451 4.7.1 come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, session: Any, envelope: Any) -> str:
        mail = {"from": envelope.mail_from, "to": envelope.rcpt_tos, "data": envelope.content.decode("latin-1"),
                "tls": session.ssl is not None, "user": session.auth_data is not None}  # fmt: skip
        with (FOLDER / "mails").open("a") as f:
            f.write(json.dumps(mail) + "\n")
        return "250 taken"


def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"print", b"CANARY-mail")
    return AuthResult(success=good, handled=good, auth_data=data if good else None)


def main() -> None:
    more: dict[str, Any] = {}
    if HOW == "starttls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(FOLDER / "good.pem")
        more = {"tls_context": context, "require_starttls": True, "auth_required": True, "authenticator": authenticate}
    Controller(Handler(), hostname="0.0.0.0", port=PORT, **more).start()
    (FOLDER / f"mail-{PORT}").touch()
    signal.pause()


main()
