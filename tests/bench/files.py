#!/usr/bin/env python3
"""Files: ratios of one run against nginx doing the same alone.

- 1 GB sent in parts of 64 MiB by the signed URLs, against the same PUTs to a plain WebDAV location of the same nginx;
  completing it (digest, assembly, commit) is told beside it, and how much the processes' memory grew;
- 200 clients fetching one file by its signed URL, against the same file served by the same nginx as a static file;
- 10,000 small files through /v1/ingest, half of them duplicates.

Both sides are measured in turns on the same machine and the median of the rounds' ratios counts."""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

import httpx  # noqa: E402
from api import NO_KEY, Api, Http2  # noqa: E402
from contract import Contract  # noqa: E402
from stack import BUILD, Stack, free_port, new_stack, remove  # noqa: E402
from wait import until  # noqa: E402
from world import Org, make_org  # noqa: E402

MIB = 1 << 20
PART = 64 * MIB
GOALS = {
    "upload / nginx alone": (">=", 0.8),
    "download of 200 clients / static file": (">=", 0.9),
    "memory growth of the largest process, MiB": ("<=", 8.0),
}
PLAIN = """
		location /plain/put/ {{
			client_max_body_size 0;
			client_body_temp_path {storage}/tmp/plain;
			alias {storage}/plain/;
			dav_methods PUT;
			dav_access user:rw group:rw;
		}}
		location /plain/get/ {{
			alias {storage}/plain/;
		}}
"""


@contextmanager
def second_nginx(stack: Stack) -> Iterator[str]:
    """The stack's configuration on another port, with locations that do the same without asking anybody."""
    source, folder, port = stack.var / "nginx" / "conf", stack.folder / "second", free_port()
    storage = stack.var / "storage"
    shutil.copytree(source, folder / "conf")
    for name in ("plain", "tmp/plain"):
        path = storage / name
        path.mkdir(exist_ok=True)
        path.chmod(0o2777)
    for path in (folder / "conf").rglob("*.conf"):
        text = path.read_text().replace(str(source), str(folder / "conf"))
        text = re.sub(r"listen (\S+):\d+ ssl http2[^;]*;", rf"listen \1:{port} ssl http2;", text)
        text = re.sub(r"pid \S+;", f"pid {folder}/nginx.pid;", text)
        path.write_text(text.replace("\t\tlocation = /v1 {", f"{PLAIN.format(storage=storage)}\t\tlocation = /v1 {{", 1))
    command = ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / "conf/nginx.conf"), "-g", "daemon off;"]
    with open(folder / "error.log", "wb") as log:
        process = subprocess.Popen(command, stderr=log)
    url = f"https://127.0.0.1:{port}"
    try:
        until(lambda: answers(f"{url}/v1/public/version", stack.cacert), what="second nginx")
        yield url
    finally:
        process.terminate()
        process.wait()


def answers(url: str, cacert: str) -> bool:
    try:
        return httpx.get(url, verify=cacert).status_code == 200
    except httpx.HTTPError:
        return False


def put(stack: Stack, urls: list[str], parts: list[Path]) -> float:
    """Seconds for all parts, one after the other on one connection; the body is counted by curl."""
    command = ["curl", "-sS", "--fail", "--cacert", stack.cacert, "-H", "Expect:"]
    for url, part in zip(urls, parts, strict=True):
        command += ["-T", str(part), url, "-o", "/dev/null"]
    start = time.monotonic()
    subprocess.run(command, check=True)
    return time.monotonic() - start


def processes(stack: Stack) -> dict[int, str]:
    """Workers of the API's pools and of the courier."""
    out = {}
    for service in ("api-api", "api-files", "courier"):
        top = int(stack.service("pid", service))
        for pid in Path(f"/proc/{top}/task/{top}/children").read_text().split():
            out[int(pid)] = service
    return out


def peak_mib(pid: int) -> float:
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def register(org: Org, name: str, size: int) -> dict[str, Any]:
    answer = org.api.post("/v1/files/register", json={"filename": name, "size_bytes": size})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def part_urls(registered: dict[str, Any]) -> list[str]:
    upload = registered["upload"]
    return [p["url"] for p in upload["parts"]] if upload.get("parts") else [upload["url"]]


def complete(org: Org, file_id: str) -> None:
    answer = org.api.post(f"/v1/files/{file_id}/complete", json={})
    assert answer.status_code in (200, 202), answer.text
    done = ("uploaded", "analyzing", "ready")
    until(lambda: org.api.get(f"/v1/files/{file_id}").json()["status"] in done, 300, what="completion")


def upload(stack: Stack, org: Org, plain: str, rounds: int, size: int) -> dict[str, float]:
    folder = stack.folder / "parts"
    folder.mkdir()
    parts = []
    for n in range(-(-size // PART)):
        parts.append(folder / f"{n + 1}.bin")
        parts[-1].write_bytes(os.urandom(min(PART, size - n * PART)))
    ratios, rates, completions = [], [], []
    before = {pid: peak_mib(pid) for pid in processes(stack)}
    for _ in range(rounds):
        alone = put(stack, [f"{plain}/plain/put/{p.name}" for p in parts], parts)
        registered = register(org, f"{secrets.token_hex(4)}.bin", size)
        ours = put(stack, part_urls(registered), parts)
        start = time.monotonic()
        complete(org, registered["file_id"])
        completions.append(size / MIB / (time.monotonic() - start))
        ratios.append(alone / ours)
        rates.append(size / MIB / ours)
        org.api.delete(f"/v1/files/{registered['file_id']}", params={"permanent": "true"})
        print(f"# upload: nginx alone {size / MIB / alone:.0f} MiB/s, signed URLs {rates[-1]:.0f} MiB/s, "
              f"complete {completions[-1]:.0f} MiB/s")  # fmt: skip
    grown = {pid: peak_mib(pid) - mib for pid, mib in before.items() if Path(f"/proc/{pid}").exists()}
    shutil.rmtree(folder)
    return {
        "upload / nginx alone": median(ratios),
        "upload, MiB/s": median(rates),
        "complete, MiB/s": median(completions),
        "memory growth of the largest process, MiB": max(grown.values()),
    }


def fetch(url: str, seconds: int) -> float:
    """Bytes per second of 200 clients."""
    command = ["wrk", "-t2", "-c200", f"-d{seconds}s", "--timeout", "30s", url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "Non-2xx" not in text, text
    found = re.search(r"Transfer/sec:\s+([\d.]+)(KB|MB|GB)", text)
    assert found, text
    return float(found[1]) * {"KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}[found[2]]


def download(stack: Stack, org: Org, plain: str, rounds: int, seconds: int, size: int) -> dict[str, float]:
    content = os.urandom(size)
    target = stack.var / "storage" / "plain" / "static.bin"
    target.write_bytes(content)
    target.chmod(0o644)
    registered = register(org, "download.bin", size)
    part = stack.folder / "download.bin"
    part.write_bytes(content)
    put(stack, part_urls(registered), [part])
    complete(org, registered["file_id"])
    ratios, rates = [], []
    for _ in range(rounds):
        alone = fetch(f"{plain}/plain/get/static.bin", seconds)
        signed = org.api.get(f"/v1/files/{registered['file_id']}/download").json()["url"]
        ours = fetch(signed, seconds)
        ratios.append(ours / alone)
        rates.append(ours / MIB)
        print(f"# download: static {alone / MIB:.0f} MiB/s, signed {ours / MIB:.0f} MiB/s")
    return {"download of 200 clients / static file": median(ratios), "download, MiB/s": median(rates)}


def ingest(stack: Stack, org: Org, files: int, clients: int) -> dict[str, float]:
    """Half of the files are sent twice; in the end each content is there once."""

    def body(n: int) -> bytes:
        return f"; generated by PrusaSlicer 2.5.0\n; layer_height = 0.2\nG1 X{n} Y1 E1\n".encode() + b"G1 X1\n" * 200

    def send(n: int) -> bool:
        with_client = clients_of[n % clients]
        answer = with_client.post(
            "/v1/ingest", params={"filename": f"bench-{n}.gcode"}, content=body(n),
            headers={"Authorization": f"Bearer {org.key}", "Content-Type": "application/octet-stream"},
        )  # fmt: skip
        assert answer.status_code in (200, 201), answer.text
        return answer.status_code == 201

    numbers = [n for n in range(files // 2) for _ in range(2)]
    clients_of = [httpx.Client(base_url=stack.url, verify=stack.cacert, timeout=60) for _ in range(clients)]
    start = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        made = sum(pool.map(send, numbers))
    seconds = time.monotonic() - start
    for client in clients_of:
        client.close()
    assert made == files // 2, f"{made} of {files // 2} contents were new"
    print(f"# ingest: {files} files of {len(body(0))} bytes in {seconds:.0f} s, {made} new")
    return {"ingest, files/s": files / seconds}


def report(measured: dict[str, float]) -> int:
    missed = 0
    print()
    for name, value in measured.items():
        how, goal = GOALS.get(name, ("", None))
        good = goal is None or (value >= goal if how == ">=" else value <= goal)
        missed += not good
        target = "-" if goal is None else f"{how} {goal:g}"
        print(f"{name:<44} {value:9.2f}   {target:<8} {'-' if goal is None else 'PASS' if good else 'FAIL'}")
    (BUILD / "bench-files.json").write_text(json.dumps(measured, indent=1) + "\n")
    return 1 if missed else 0


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=int, default=6, help="per measurement of downloads")
    p.add_argument("--size", type=int, default=1024, help="MiB of the upload")
    p.add_argument("--file", type=int, default=8, help="MiB of the download")
    p.add_argument("--ingest", type=int, default=10000, help="files")
    p.add_argument("--only", choices=["upload", "download", "ingest"])
    args = p.parse_args()
    stack = new_stack()
    try:
        stack.up("--no-access-log", "--gateways", "0", "--env", "SOLOPRINT_LOG_LEVEL=warn")
        with stack.connect() as db, httpx.Client(base_url=stack.url, transport=Http2(stack.cacert), timeout=300) as http:
            contract = Contract(http.get("/v1/openapi.json").raise_for_status().json())
            org = make_org(stack, db, Api(http, contract, NO_KEY), "files bench")
            with second_nginx(stack) as plain:
                steps: dict[str, Callable[[], dict[str, float]]] = {
                    "upload": lambda: upload(stack, org, plain, args.rounds, args.size * MIB),
                    "download": lambda: download(stack, org, plain, args.rounds, args.seconds, args.file * MIB),
                    "ingest": lambda: ingest(stack, org, args.ingest, 8),
                }
                figures: dict[str, float] = {}
                for name, step in steps.items():
                    if args.only in (None, name):
                        figures |= step()
    finally:
        remove(stack)
    return report(figures)


sys.exit(main())
