"""Who may talk to a virtual PrusaLink: Digest (RFC 7616, MD5) and X-Api-Key, as each of the two servers has them.

Buddy: no qop, the nonce is sixteen hexadecimal digits, good for five seconds; a right answer to an old one is
told `stale=true`. The key is the password. Prusa-Link: qop=auth, an opaque value, the nonce belongs to the
User-Agent that it was given to; the key is another secret, and a wrong one is 403.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import re
import secrets
import time

from aiohttp import web

PARAMETER = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s,]+))')


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


@dataclasses.dataclass
class Nonce:
    value: str
    agent: str
    given: float


@dataclasses.dataclass
class Guard:
    """check() gives None to those who are let in, else the refusal."""

    realm: str
    user: str
    password: str
    key: str
    nonce_s: float
    qop: bool
    bind_agent: bool
    wrong_key_status: int
    challenge: bool = True  # False: a server that knows keys alone
    nonces: dict[str, Nonce] = dataclasses.field(default_factory=dict)
    seen: dict[str, int] = dataclasses.field(default_factory=dict)

    def _note(self, what: str) -> None:
        self.seen[what] = self.seen.get(what, 0) + 1

    def check(self, request: web.Request) -> web.Response | None:
        key, header = request.headers.get("X-Api-Key"), request.headers.get("Authorization")
        if header is not None and header.lower().startswith("basic"):
            self._note("basic")
        if key is not None:
            return self._check_key(key)
        if header is None or not self.challenge:
            self._note("bare")
            return self.refuse(request, stale=False)
        return self._check_digest(request, header)

    def _check_key(self, key: str) -> web.Response | None:
        if hmac.compare_digest(key.encode(), self.key.encode()):
            self._note("key")
            return None
        self._note("wrong_key")
        headers = {"WWW-Authenticate": f'ApiKey realm="{self.realm}"'} if self.wrong_key_status == 401 else {}
        return web.json_response(
            {"title": "Forbidden", "message": "wrong key"}, status=self.wrong_key_status, headers=headers
        )

    def _check_digest(self, request: web.Request, header: str) -> web.Response | None:
        given = {name: quoted or bare for name, quoted, bare in PARAMETER.findall(header)}
        nonce = self.nonces.get(given.get("nonce", ""))
        right = given.get("username") == self.user and given.get("realm") == self.realm
        right = right and given.get("uri") == request.raw_path
        right = right and hmac.compare_digest(given.get("response", ""), self._answer(request.method, given))
        if nonce is None or not right:
            self._note("wrong")
            return self.refuse(request, stale=False)
        agent = request.headers.get("User-Agent", "")
        if time.monotonic() - nonce.given > self.nonce_s or (self.bind_agent and nonce.agent != agent):
            self._note("stale")
            return self.refuse(request, stale=True)
        self._note("digest")
        return None

    def _answer(self, method: str, given: dict[str, str]) -> str:
        first = md5(f"{self.user}:{self.realm}:{self.password}")
        second = md5(f"{method}:{given.get('uri', '')}")
        middle = given.get("nonce", "")
        if self.qop:
            if given.get("qop") != "auth":
                return "-"
            middle += f":{given.get('nc', '')}:{given.get('cnonce', '')}:auth"
        return md5(f"{first}:{middle}:{second}")

    def refuse(self, request: web.Request, stale: bool) -> web.Response:
        headers = {}
        if self.challenge:
            nonce = Nonce(secrets.token_hex(8), request.headers.get("User-Agent", ""), time.monotonic())
            self.nonces[nonce.value] = nonce
            headers["WWW-Authenticate"] = self._challenge(nonce, stale)
        return web.json_response(
            {"title": "Unauthorized", "message": "who are you"}, status=401, headers=headers
        )

    def _challenge(self, nonce: Nonce, stale: bool) -> str:
        text = f'Digest realm="{self.realm}", nonce="{nonce.value}", stale={"true" if stale else "false"}'
        return f'{text}, qop="auth", algorithm="MD5", opaque="{secrets.token_hex(8)}"' if self.qop else text
