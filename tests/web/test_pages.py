"""The documentation's pages as a browser would read them: nothing inline, nothing from elsewhere, everything there; and
the plain page in their place where npm cannot be had."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
TOOLS = ("bash", "env", "dirname", "basename", "cp", "rm", "mv", "mkdir", "tar", "sha512sum", "timeout")


class Page(HTMLParser):
    """Collects what a page loads, where it points, and what it has inline."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.targets: set[str] = set()
        self.ids: set[str] = set()
        self.inline: list[str] = []
        self.in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.inline += [f"{tag} {name}" for name in given if name.startswith("on") or name == "style"]
        if tag == "style":
            self.inline.append("style")
        if tag in ("script", "img", "link") and (url := given.get("src") or given.get("href")):
            self.loads.append(url)
        if tag == "a" and (target := given.get("href")):
            self.targets.add(target)
        if name := given.get("id"):
            self.ids.add(name)
        self.in_script = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self.in_script = False

    def handle_data(self, data: str) -> None:
        if self.in_script and data.strip():
            self.inline.append("script")


@pytest.mark.parametrize("path", ["/v1/docs", "/v1/redoc", "/v1/reference"])
def test_page_is_self_contained(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    assert answer.status_code == 200
    page = Page(answer.text)
    assert page.inline == []
    policy = answer.headers["Content-Security-Policy"]
    assert "'unsafe-eval'" not in policy
    assert not re.search(r"script-src[^;]*'unsafe-inline'", policy)
    files = [url for url in page.loads if not url.startswith("data:")]
    assert files
    for url in files:
        assert url.startswith("/v1/"), url
        asset = http.get(url)
        assert asset.status_code == 200, url
        wanted = "text/css" if url.endswith(".css") else "javascript"
        assert wanted in asset.headers["Content-Type"], url
        assert asset.headers["X-Content-Type-Options"] == "nosniff"


def test_reference_names_every_operation_and_error(http: httpx.Client) -> None:
    page = Page(http.get("/v1/reference").text)
    contract = http.get("/v1/openapi.json").json()
    operations = [op for item in contract["paths"].values() for op in item.values() if isinstance(op, dict)]
    for op in operations:
        assert op["operationId"] in page.ids
    for code in contract["components"]["schemas"]["ErrorCode"]["enum"]:
        assert f"error-{code}" in page.ids
    for event in contract["webhooks"]:
        assert f"event-{event}" in page.ids
    inside = {target[1:] for target in page.targets if target.startswith("#")}
    assert inside <= page.ids


@pytest.fixture
def offline(tmp_path: Path) -> dict[str, str]:
    """An environment without npm."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found
        (bin_ / tool).symlink_to(found)
    return {**os.environ, "PATH": str(bin_)}


def bundle(tmp_path: Path, env: dict[str, str]) -> tuple[str, set[str]]:
    reference = tmp_path / "reference.html"
    reference.write_text("<!DOCTYPE html>\n")
    answer = subprocess.run(
        [str(ROOT / "schema/gen/docs_bundle.sh"), str(reference), str(tmp_path / "docs")],
        env=env, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return answer.stdout, {str(p.relative_to(tmp_path / "docs")) for p in (tmp_path / "docs").rglob("*.*")}


def test_without_npm_the_plain_page_stands_in(tmp_path: Path, offline: dict[str, str]) -> None:
    said, files = bundle(tmp_path, offline)
    assert "npm is not installed" in said
    assert files == {"reference/index.html", "assets/reference.css"}


def test_a_changed_package_is_refused(tmp_path: Path, offline: dict[str, str]) -> None:
    npm = tmp_path / "bin" / "npm"
    npm.write_text('#!/usr/bin/env bash\nlast="${*: -1}"\necho changed >"${last/@/-}.tgz"\n')
    npm.chmod(0o755)
    said, files = bundle(tmp_path, offline)
    assert "does not have the expected checksum" in said
    assert files == {"reference/index.html", "assets/reference.css"}
    assert not list((tmp_path / "docs.cache").glob("*.tgz"))
