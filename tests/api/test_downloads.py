"""Downloads: signed URLs, and what is behind them, through the real nginx."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any
from urllib.parse import unquote

import files
import httpx
import pytest
from files import Signer
from stack import Stack
from wait import until
from world import Org


@pytest.fixture(scope="module")
def signer(stack: Stack) -> Signer:
    return Signer.of(stack)


def url_of(org: Org, file_id: str, **params: Any) -> str:
    return files.path_of(org.api.get(f"/v1/files/{file_id}/download", params=params, expect=200).json()["url"])


def fetch(org: Org, url: str, expect: int | str | None = 200, **headers: str) -> httpx.Response:
    return org.base.get(url, headers={k.replace("_", "-"): v for k, v in headers.items()}, expect=expect)


def test_the_url(org: Org) -> None:
    data = files.gcode(800)
    file_id = files.make_file(org, "a b.gcode", data)
    answer = org.api.get(f"/v1/files/{file_id}/download", expect=200)
    got = answer.json()
    assert got["url"].startswith(f"{org.stack.url}/v1/downloads/{file_id}?")
    assert (got["filename"], got["size_bytes"], got["content_type"]) == ("a b.gcode", 800, "text/x.gcode")
    assert got["sha256"] == files.sha256(data)
    assert answer.headers["Cache-Control"] == "no-store"
    lasts = org.sql("SELECT extract(epoch FROM %s::timestamptz - now())::int", got["expires_at"])[0][0]
    assert 290 < lasts <= 300


def test_the_bytes(org: Org) -> None:
    data = files.gcode(100000)
    answer = fetch(org, url_of(org, files.make_file(org, data=data)))
    assert answer.content == data
    headers = answer.headers
    assert headers["Content-Length"] == "100000"
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert headers["Cache-Control"] == "private, no-cache"
    assert headers["ETag"]
    assert headers["Last-Modified"]
    assert "Content-Encoding" not in headers
    assert "X-Accel-Redirect" not in headers


def test_head(org: Org) -> None:
    url = url_of(org, files.make_file(org, data=files.gcode(5000)))
    answer = org.base.request("HEAD", url, expect=200)
    assert (answer.headers["Content-Length"], answer.content) == ("5000", b"")


@pytest.mark.parametrize(("wanted", "got"), [
    ("bytes=0-9", (0, 9)), ("bytes=990-", (990, 999)), ("bytes=-10", (990, 999)), ("bytes=500-5000", (500, 999)),
])  # fmt: skip
def test_ranges(org: Org, wanted: str, got: tuple[int, int]) -> None:
    data = files.gcode(1000)
    answer = fetch(org, url_of(org, files.make_file(org, data=data)), 206, Range=wanted)
    assert answer.content == data[got[0] : got[1] + 1]
    assert answer.headers["Content-Range"] == f"bytes {got[0]}-{got[1]}/1000"


def test_several_ranges(org: Org) -> None:
    data = files.gcode(1000)
    answer = fetch(org, url_of(org, files.make_file(org, data=data)), 206, Range="bytes=0-4,10-14")
    assert answer.headers["Content-Type"].startswith("multipart/byteranges")
    assert data[:5] in answer.content
    assert data[10:15] in answer.content


def test_a_range_that_is_not_there(org: Org) -> None:
    answer = fetch(org, url_of(org, files.make_file(org, data=files.gcode(1000))), "range_not_satisfiable", Range="bytes=1000-")
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == "bytes */1000"


def test_conditional_requests(org: Org) -> None:
    data = files.gcode(1000)
    url = url_of(org, files.make_file(org, data=data))
    first = fetch(org, url)
    tag, since = first.headers["ETag"], first.headers["Last-Modified"]
    long_ago = formatdate(0, usegmt=True)
    fetch(org, url, 304, If_None_Match=tag)
    fetch(org, url, 304, If_Modified_Since=since)
    fetch(org, url, 200, If_None_Match='"other"')
    fetch(org, url, 200, If_Modified_Since=long_ago)
    assert fetch(org, url, 206, Range="bytes=0-4", If_Range=tag).content == data[:5]
    assert fetch(org, url, 200, Range="bytes=0-4", If_Range='"other"').content == data
    fetch(org, url, "precondition_failed", If_Match='"other"')


# --- names and types ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "plain"), [
    ("simple.gcode", "simple.gcode"), ("Träger „2“.gcode", "Tr_ger _2_.gcode"), ('a"b\\c.stl', "a_b_c.stl"),
    ("50%.3mf", "50_.3mf"), ("日本.stl", "__.stl"), ("a;b='c'.stl", "a;b='c'.stl"), ("…" * 255, "_" * 255),
])  # fmt: skip
def test_names(org: Org, name: str, plain: str) -> None:
    """RFC 6266: a plain name for old programs, the whole one for others."""
    file_id = files.make_file(org, "x")
    org.sql("UPDATE app.files SET filename = %s WHERE id = %s", name, file_id)
    value = fetch(org, url_of(org, file_id)).headers["Content-Disposition"]
    kind, first, whole = value.split("; filename", 2)
    assert kind == "attachment"
    assert first == f'="{plain}"'
    assert whole.startswith("*=UTF-8''")
    assert unquote(whole.removeprefix("*=UTF-8''")) == name


@pytest.mark.parametrize(("kind", "served", "shown"), [
    ("text/x.gcode", "text/x.gcode", False), ("text/plain", "text/plain", True), ("image/png", "image/png", True),
    ("model/stl", "model/stl", False), ("text/html", "application/octet-stream", False),
    ("image/svg+xml", "application/octet-stream", False), ("application/xhtml+xml", "application/octet-stream", False),
    ("text/xml", "application/octet-stream", False), ("TEXT/HTML", "application/octet-stream", False),
    ("application/javascript", "application/octet-stream", False), ("application/pdf", "application/octet-stream", False),
])  # fmt: skip
def test_types(org: Org, kind: str, served: str, shown: bool) -> None:
    """A browser is never told to run what somebody uploaded."""
    file_id = files.make_file(org, content_type=kind)
    for disposition in ("attachment", "inline"):
        answer = fetch(org, url_of(org, file_id, disposition=disposition))
        assert answer.headers["Content-Type"] == served
        want = "inline" if shown and disposition == "inline" else "attachment"
        assert answer.headers["Content-Disposition"].startswith(f"{want}; ")


def test_dispositions(org: Org) -> None:
    org.api.get(f"/v1/files/{files.make_file(org)}/download", params={"disposition": "form-data"}, expect="invalid_parameter")


# --- signatures -----------------------------------------------------------------------------------------------------


def test_urls_signed_by_another_program_are_good(org: Org, signer: Signer) -> None:
    data = files.gcode()
    file_id = files.make_file(org, data=data)
    assert fetch(org, signer.download(org.id, file_id)).content == data


def test_every_character_counts(org: Org) -> None:
    """Also those of the id: whether there is such a file shows in nothing."""
    url = url_of(org, files.make_file(org))
    start = len("/v1/downloads/")
    seen: set[tuple[int, str]] = set()
    refused = 0
    for n in range(1000):
        at = start + n % (len(url) - start)
        if url[at] in "&=?-":
            continue
        char = "0123456789abcdef"[(n // 7) % 16]
        if url[at] == char:
            continue
        answer = fetch(org, url[:at] + char + url[at + 1 :], None)
        seen.add((answer.status_code, answer.json()["error"]))
        refused += answer.status_code == 403
    assert seen == {(403, "invalid_signature"), (400, "unknown_parameter")}
    assert refused > 700


def test_wrong_urls_are_refused_in_one_way(org: Org, other_org: Org, signer: Signer) -> None:
    file_id, theirs = files.make_file(org), files.make_file(other_org)
    nobody = "0193481c-9a10-7c4d-9b1e-0a1b2c3d4e5f"
    good, query = url_of(org, file_id), url_of(org, file_id).split("?")[1]
    wrong = [
        f"/v1/downloads/{theirs}?{query}",
        f"/v1/downloads/{nobody}?{query}",
        f"/v1/downloads/{file_id}",
        f"/v1/downloads/{nobody}",
        good.replace(org.id, other_org.id),
        good.replace("disposition=attachment", "disposition=inline"),
        good.replace("disposition=attachment", "disposition="),
        good.replace("exp=", "exp=0"),
        good.replace("&disposition=attachment", ""),
        good.replace("attachment", "%61ttachment"),
        f"{good}A",
        f"{good}=",
        f"/v1/downloads/{file_id}?{'&'.join(reversed(query.split('&')))}",
        signer.upload(org.id, file_id, 1, 10).replace("uploads", "downloads").replace("/1?", "?").replace("&size=10", ""),
        Signer(b"\x01" * 32).download(org.id, file_id),
        Signer(b"\x01" * 32).download(org.id, nobody),
    ]
    bodies = set()
    for target in wrong:
        answer = org.base.get(target, headers={"X-Request-Id": "one"})
        assert answer.status_code == 403, (target, answer.text)
        bodies.add(answer.content)
    assert len(bodies) == 1
    for target in (f"{good}&exp=1", f"{good}&sig=x", f"{good}&x=1"):
        assert org.base.get(target).status_code in (400, 403), target


def test_expired(org: Org, signer: Signer) -> None:
    file_id = files.make_file(org)
    expired = signer.download(org.id, file_id, lasts_s=-1)
    assert fetch(org, expired, "signature_expired").status_code == 403
    fetch(org, expired[:-1] + ("A" if expired[-1] != "A" else "B"), "invalid_signature")
    fetch(org, signer.download(org.id, file_id, lasts_s=2), 200)


def test_refused_with_a_good_signature(org: Org, signer: Signer) -> None:
    file_id = files.make_file(org)
    url = url_of(org, file_id)
    org.api.delete(f"/v1/files/{file_id}", expect=204)
    fetch(org, url, "file_status_conflict")
    org.api.post(f"/v1/files/{file_id}/restore", expect=200)
    fetch(org, url, 200)
    org.sql("UPDATE app.organizations SET state = 'suspended' WHERE org_id = %s", org.id)
    fetch(org, url, "organization_suspended")
    org.sql("UPDATE app.organizations SET state = 'active' WHERE org_id = %s", org.id)
    org.api.delete(f"/v1/files/{file_id}", params={"permanent": "true"}, expect=204)
    fetch(org, url, "resource_not_found")
    nobody = "0193481c-9a10-7c4d-9b1e-0a1b2c3d4e5f"
    fetch(org, signer.download(nobody, nobody), "resource_not_found")


def test_no_content_yet(org: Org, signer: Signer) -> None:
    made = files.register(org, 10)
    org.api.get(f"/v1/files/{made['file_id']}/download", expect="file_status_conflict")
    fetch(org, signer.download(org.id, made["file_id"]), "file_status_conflict")


def test_the_store_itself_is_not_served(org: Org) -> None:
    blob = files.blob_of(org, files.make_file(org))
    key = f"{blob[-4:-2]}/{blob[-2:]}/{blob}"
    for path in (f"/__blobs/{key}", f"/v1/__blobs/{key}", f"/v1/downloads/../../__blobs/{key}", f"/__blobs/{blob}"):
        answer = org.base.request("GET", path, check=False)
        assert answer.status_code in (400, 404), path
        assert answer.content.find(b"G28") < 0


def test_no_url_in_a_log(org: Org) -> None:
    """What opens a file is in no log."""
    url = url_of(org, files.make_file(org))
    fetch(org, url)
    fetch(org, url[:-1] + "!", None)
    sig, path = url.split("sig=")[1], url.split("?")[0]
    until(lambda: org.stack.log("nginx").count(path) >= 2, what="nginx has written its log")
    for log in (org.stack.var / "log").rglob("current"):
        assert sig not in log.read_text(errors="replace"), log
