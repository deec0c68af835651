"""An HTTP server for test_gw_http.c and test_gw_ws.c: prints its port, ends when its standard input does."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
import sys
from typing import Any

from aiohttp import WSMsgType, web

REALM, USER, SECRET = "Printer", "maker", "s3cret"
state: dict[str, Any] = {"challenges": 0, "digests": 0, "now": 0, "most": 0, "order": [], "nonce": "n0", "peers": [], "lost": 0,
                         "acme": "printing"}  # fmt: skip


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


async def echo(request: web.Request) -> web.Response:
    body = await request.read()
    return web.json_response({
        "method": request.method, "path": request.raw_path, "host": request.headers.get("Host"),
        "agent": request.headers.get("User-Agent"), "key": request.headers.get("X-Api-Key"),
        "type": request.headers.get("Content-Type", "-"), "length": request.headers.get("Content-Length", "-"),
        "body": body.decode() if len(body) < 1000 else f"{len(body)}", "sha256": hashlib.sha256(body).hexdigest(),
    }, headers={"X-Peer": "yes"})  # fmt: skip


async def form(request: web.Request) -> web.Response:
    out: dict[str, Any] = {}
    async for part in await request.multipart():
        data = await part.read()
        if part.filename is None:
            out[str(part.name)] = data.decode()
        else:
            out["file"] = {"name": part.filename, "type": part.headers.get("Content-Type"), "size": len(data),
                           "sha256": hashlib.sha256(data).hexdigest()}  # fmt: skip
    return web.json_response(out, status=201)


async def digest(request: web.Request) -> web.Response:
    given = dict(re.findall(r'(\w+)="?([^",]+)"?', request.headers.get("Authorization", "")))
    await request.read()
    if given.get("nonce") == state["nonce"]:
        ha1, ha2 = md5(f"{USER}:{REALM}:{SECRET}"), md5(f"{request.method}:{request.raw_path}")
        want = md5(":".join([ha1, given["nonce"], given["nc"], given["cnonce"], given["qop"], ha2]))
        if given.get("response") == want:
            state["digests"] += 1
            return web.json_response({"digests": state["digests"], "challenges": state["challenges"]})
    state["challenges"] += 1
    challenge = f'Digest realm="{REALM}", qop="auth", nonce="{state["nonce"]}"'
    return web.Response(status=401, headers={"WWW-Authenticate": challenge})


async def slow(request: web.Request) -> web.Response:
    state["now"] += 1
    state["most"] = max(state["most"], state["now"])
    state["order"].append(request.query.get("n", ""))
    try:
        await asyncio.sleep(float(request.query.get("s", "0.03")))
    finally:
        state["now"] -= 1
    return web.json_response({"most": state["most"], "order": state["order"]})


async def big(request: web.Request) -> web.Response:
    return web.Response(body=b"x" * int(request.query["n"]))


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "multipart/x-mixed-replace; boundary=b"})
    await response.prepare(request)
    while True:
        await response.write(b"--b\r\n" + b"p" * 1000)
        await asyncio.sleep(0.001)


async def moved(request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "/echo"})


async def early(request: web.Request) -> web.Response:
    """Answers without reading the body."""
    return web.Response(status=413, text="no")


async def lost(request: web.Request) -> web.StreamResponse:
    """GET tells how often the others came, whose connection is cut in place of an answer."""
    if request.method == "GET":
        return web.json_response({"lost": state["lost"]})
    state["lost"] += 1
    if request.transport is not None:
        request.transport.abort()  # type: ignore[attr-defined]
    return web.Response()


async def peers(request: web.Request) -> web.Response:
    """How many different connections have asked this."""
    peer = request.transport.get_extra_info("peername")[1] if request.transport else 0
    if peer not in state["peers"]:
        state["peers"].append(peer)
    return web.json_response({"connections": len(state["peers"])})


async def acme(request: web.Request) -> web.Response:
    """The printer of docs/samples/acme.c."""
    if request.headers.get("X-Key") != SECRET:
        return web.Response(status=401)
    if request.method == "POST":
        state["acme"] = "paused"
        return web.Response(status=204)
    return web.json_response(
        {"state": state["acme"], "percent": 42, "file": "boat.gcode", "nozzle": [210.5, 210]}
    )


async def socket(request: web.Request) -> web.StreamResponse:
    """Repeats what it hears; some words make it behave in other ways."""
    if request.query.get("key", "k") != request.headers.get("X-Api-Key", "k"):
        return web.Response(status=401, text="no")
    ws = web.WebSocketResponse(autoping=request.query.get("mute") is None)
    await ws.prepare(request)
    async for message in ws:
        if message.type == WSMsgType.TEXT and message.data == "close":
            await ws.close(code=4001)
        elif message.type == WSMsgType.TEXT and message.data.startswith("big "):
            await ws.send_str("y" * int(message.data[4:]))
        elif message.type == WSMsgType.TEXT and message.data == "burst":
            for i in range(200):
                await ws.send_str(json.dumps({"i": i}) + " " * 300)
        elif message.type == WSMsgType.TEXT and message.data == "drop" and request.transport:
            request.transport.close()
        elif message.type == WSMsgType.TEXT:
            await ws.send_str(message.data)
    return ws


async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """No HTTP at all: the first line says what comes instead."""
    line = await reader.readline()
    replies = {
        b"/garbage": b"\x00\x01\x02 this is no answer\r\n\r\n",
        b"/nothing": b"",
        b"/cut": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"/headers": b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 4000 + b"\r\n",
        b"/wrong-accept": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
        b"/no-upgrade": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    }
    path = line.split()[1] if len(line.split()) > 1 else b""
    if path == b"/silent":
        await reader.read()
    writer.write(replies.get(path, b""))
    await writer.drain()
    writer.close()


async def main() -> None:
    logging.disable(logging.CRITICAL)  # connections that break are what is tested
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/form", form)
    app.router.add_route("*", "/digest{tail:.*}", digest)
    for path, handler in (("/slow", slow), ("/big", big), ("/endless", endless), ("/moved", moved),
                          ("/peers", peers), ("/ws", socket)):  # fmt: skip
        app.router.add_get(path, handler)
    app.router.add_route("*", "/early", early)
    app.router.add_get("/api/state", acme)
    app.router.add_post("/api/pause", acme)
    app.router.add_route("*", "/lost", lost)
    app.router.add_route("*", "/{tail:.*}", echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    bare = await asyncio.start_server(raw, "127.0.0.1", 0)
    server: Any = site._server
    print(server.sockets[0].getsockname()[1], bare.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
