"""The fetcher against an internet that is out to get it: whatever URL it is given and wherever it is sent, no connection
is made to an address that is not public. In the small internet every address answers, so that a connection that nobody
should have made is seen at the other end, at whichever address."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from internet import WEB, Internet, usable
from stack import BUILD

STUB = BUILD / "stub" / "fetch_stub"
pytestmark = pytest.mark.skipif(bool(usable()), reason=f"no network namespace: {usable()}")
MB = 1 << 20

# --- the corpus -------------------------------------------------------------------------------------------------------

PRIVATE4 = (
    "127.0.0.1", "127.255.255.254", "127.0.0.53", "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1",
    "100.127.255.254", "169.254.169.254", "169.254.0.1", "172.16.0.1", "172.31.255.254", "192.0.0.1", "192.0.0.170",
    "192.0.2.1", "192.88.99.1", "192.168.0.1", "192.168.255.254", "198.18.0.1", "198.19.255.254", "198.51.100.1",
    "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
)  # fmt: skip
PRIVATE6 = (
    "::1", "::", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:93.184.216.34", "::127.0.0.1",
    "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "100::1", "2001::1",
    "2001:0:7f00:1::", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::1", "2002:a9fe:a9fe::1", "2002:5db8:d822::1",
    "3fff::1", "4000::1", "5f00::1", "fc00::1", "fd00::2", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
)  # fmt: skip
ODD_LITERALS = (
    "127.1", "127.0.1", "0", "0.0", "2130706433", "0x7f000001", "0x7f.1", "0x7f.0.0.1", "0177.0.0.1", "0177.1",
    "017700000001", "127.0.0.%31", "%31%32%37.0.0.1", "0x7F000001", "127.000.000.001", "2852039166",
    "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "0xa9.254.0251.0376", "167772161", "3232235521", "4294967295",
    "4294967296", "127.0.0.1.", "127.0.0.1..", "1.2.3.4.5", "127.0.0.256", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:7f00:1]",
    "[0000::1]", "[::1%25lo]", "[::1%lo]", "[::ffff:127.0.0.1]", "[::127.0.0.1]", "[v1.1]", "::1", "[127.0.0.1]",
)  # fmt: skip
FULLWIDTH = "\uff11\uff12\uff17.0.0.1"
OTHER = (
    # the parser and the eye disagree
    "https://web.test@127.0.0.1/", "https://127.0.0.1@web.test/", "https://web.test:443@127.0.0.1/", "https://@127.0.0.1/",
    "https://web.test#@127.0.0.1/", "https://127.0.0.1#@web.test/", "https://127.0.0.1?@web.test/", "https://user:pw@web.test/",
    "https://web.test\\@127.0.0.1/", "https://127.0.0.1\\@web.test/", "https://127.0.0.1\\.web.test/", "https:\\\\127.0.0.1/",
    "https://web.test%00.127.0.0.1/", "https://127.0.0.1%00.web.test/", "https://127.0.0.1%2f.web.test/",
    "https://127.0.0.1%23.web.test/", "https://[::1].web.test/", "https://web.test[::1]/", "https://127.0.0.1:443:8443/",
    "https:127.0.0.1/", "https:/127.0.0.1/", "https:///127.0.0.1/", "https:////127.0.0.1/", "//127.0.0.1/", "127.0.0.1",
    "127.0.0.1:443/", "https://127.0.0.1 /", "https://127.0.0.1\t/", " https://127.0.0.1/", "https://127.0.0.1/ x",
    "https://127.0.0.1/\x0b", "https://\x01127.0.0.1/", f"https://{FULLWIDTH}/", "https://127\u30020\u30020\u30021/",
    "https://\u2460\u2461\u2466.0.0.1/", "https://m\u00fcnchen.test/", "https://localhost/", "https://LOCALHOST/",
    "https://localhost./", "https://x.localhost/", "https://localhost.localdomain/", "https://ip6-localhost/",
    "https://redis/", "https://metadata/", "https://metadata.google.internal/", "https://web.test./", "https://.web.test/",
    "https://web..test/", "https://127.0.0.1/", "https://127.0.0.1:8443/", "https://127.0.0.1:80/",
    # schemes
    "http://web.test/file/1", "http://127.0.0.1/", "file:///etc/passwd", "file://localhost/etc/passwd", "ftp://127.0.0.1/",
    "ftps://127.0.0.1/", "gopher://127.0.0.1:6379/_FLUSHALL", "dict://127.0.0.1:11211/stat", "ldap://127.0.0.1/",
    "smb://127.0.0.1/x", "sftp://127.0.0.1/", "scp://127.0.0.1/x", "tftp://127.0.0.1/x", "telnet://127.0.0.1:25",
    "imap://127.0.0.1/", "pop3://127.0.0.1/", "smtp://127.0.0.1:25/", "mqtt://127.0.0.1/", "rtsp://127.0.0.1/",
    "ws://127.0.0.1/", "jar:https://127.0.0.1/!/", "data:text/plain,x", "javascript:alert(1)", "unix:///run/redis.sock",
    "https+unix://%2frun%2fredis.sock/", "netdoc:///etc/passwd",
    # ports
    "https://web.test:22/", "https://web.test:25/", "https://web.test:5432/", "https://web.test:6379/",
    "https://web.test:9200/", "https://web.test:11211/", "https://web.test:0/", "https://web.test:65536/",
    "https://web.test:4294967739/", "https://web.test:-1/", "https://web.test:443a/", "https://web.test:8080/",
)  # fmt: skip


def name4(address: str) -> str:
    return f"a-{address.replace('.', '-')}.dns.test"


def name6(address: str) -> str:
    return f"x-{IPv6Address(address).packed.hex()}.dns.test"


DIRECT = [
    *(f"https://{a}/" for a in PRIVATE4),
    *(f"https://[{a}]/" for a in PRIVATE6),
    *(f"https://{a}/" for a in ODD_LITERALS),
    *(f"https://{name4(a)}/" for a in PRIVATE4),
    *(f"https://{name6(a)}:8443/" for a in PRIVATE6),
    *(f"https://c{n}.{name4('169.254.169.254')}/" for n in (1, 3, 6)),
    *OTHER,
]
TARGETS = (
    "https://127.0.0.1/", "https://169.254.169.254/latest/meta-data/", "https://[::1]/", "https://2130706433/",
    "https://[::ffff:7f00:1]/", f"https://{name4('10.0.0.1')}/", f"https://{name6('fd00:ec2::254')}/",
    f"https://c2.{name4('127.0.0.1')}/", "http://127.0.0.1/", "http://web.test/file/1", "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_x", "https://web.test:6379/", "https://web.test@127.0.0.1/", "https://u:p@web.test/file/1",
    "//127.0.0.1/", "///127.0.0.1/", "https://web.test/file/1#x", "/\\127.0.0.1/", "https://localhost/",
)  # fmt: skip
REDIRECTS = [f"https://web.test/to/{hop}?url={quote(t, safe='')}" for t in TARGETS for hop in (1, 2, 3)]
NEVER = {"bad_url", "blocked_address", "dns_failed", "connect_failed"}


# --- helpers ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Internet]:
    with Internet(tmp_path_factory.mktemp("net")) as made:
        yield made


@pytest.fixture(autouse=True)
def no_hits(net: Internet) -> Iterator[None]:
    """Every test ends with this."""
    net.forget()
    yield
    assert net.hits() == []


def fetch(
    net: Internet, *urls: str, most: int = 64 * MB, ms: int = 10000, redirects: int = 3, **env: str
) -> list[dict[str, Any]]:
    """What becomes of each URL."""
    given = {"PATH": os.environ["PATH"], "SOLOPRINT_FETCH_CA": str(net.ca), **env}
    given |= {k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")}
    done = subprocess.run(
        net.command(STUB, str(most), str(ms), str(redirects)), env=given, capture_output=True, check=False,
        input="".join(f"{u}\n" for u in urls).encode(), timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    out = [json.loads(x) for x in done.stdout.splitlines()]
    assert len(out) == len(urls)
    return out


def reason(net: Internet, url: str, **kw: Any) -> str:
    return str(fetch(net, url, **kw)[0]["reason"])


# --- nothing internal is reached --------------------------------------------------------------------------------------


def test_the_corpus_is_large() -> None:
    assert len(set(DIRECT)) + len(set(REDIRECTS)) >= 250
    assert len(set(DIRECT)) >= 120


def test_the_tripwires_work(net: Internet) -> None:
    """What would be seen if the fetcher were fooled: one connection each, by hand."""
    for address in ("127.0.0.1", "169.254.169.254", "10.0.0.1", "::1", "fd00:ec2::254"):
        program = f"import socket; socket.create_connection(({address!r}, 443), 5)"
        subprocess.run(net.command("python3", "-c", program), check=True)
        assert [(x["address"], x["port"]) for x in net.hits()] == [(address, 443)]
        net.forget()


def test_what_is_public_is_fetched(net: Internet) -> None:
    urls = (
        "https://web.test/file/5/a", "https://web.test:8443/file/5/a", f"https://{WEB[0]}/file/5/a",
        f"https://[{WEB[2]}]/file/5/a", f"https://{name4(WEB[0])}/file/5/a", f"https://{name6(WEB[2])}/file/5/a",
        f"https://c3.{name4(WEB[0])}/file/5/a", "https://WEB.test/file/5/a", "https://1572395042/file/5/a",
    )  # fmt: skip
    for url, got in zip(urls, fetch(net, *urls), strict=True):
        assert (got["reason"], got["size"]) == ("ok", 5), url


def test_urls(net: Internet) -> None:
    for url, got in zip(DIRECT, fetch(net, *DIRECT), strict=True):
        assert got["reason"] in NEVER, (url, got)
        assert got["http"] == 0, (url, got)
        if ".dns.test" in url:  # it was looked up, and it is not that nobody was there
            assert got["reason"] == "blocked_address", (url, got)


def test_redirects(net: Internet) -> None:
    for url, got in zip(REDIRECTS, fetch(net, *REDIRECTS), strict=True):
        assert got["reason"] in {"bad_url", "blocked_address"}, (url, got)
        assert got["size"] == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_of_each_status(net: Internet, status: int) -> None:
    inside, outside = quote("https://10.0.0.1/", safe=""), quote("https://web.test/file/7/x", safe="")
    assert reason(net, f"https://web.test/to/1?status={status}&url={inside}") == "blocked_address"
    assert reason(net, f"https://web.test/to/1?status={status}&url={outside}") == "ok"


def test_rebinding(net: Internet) -> None:
    """A name that is public when it is looked at first and internal afterwards, and the other way round."""
    for n, inside in enumerate(("127.0.0.1", "169.254.169.254", "::1", "fd00:ec2::254")):
        name = f"rebind{n}.dns.test"
        # Two queries per hop, A and AAAA.
        net.set(name, [WEB[0]], [WEB[0]], [inside])
        back = quote(f"https://{name}/file/1", safe="")
        assert reason(net, f"https://{name}/to/1?url={back}") == "blocked_address"
        net.set(name, [inside], [inside], [WEB[0]])
        assert reason(net, f"https://{name}/file/1") == "blocked_address"


def test_rebinding_between_the_hops_of_two_names(net: Internet) -> None:
    net.set("one.dns.test", [WEB[0]])
    net.set("two.dns.test", ["one.dns.test"], ["one.dns.test"], [name4("10.0.0.1")])
    back = quote("https://two.dns.test/file/1", safe="")
    assert reason(net, f"https://two.dns.test/to/1?url={back}") == "blocked_address"


def test_names_with_public_and_internal_addresses(net: Internet) -> None:
    """Whichever is tried, the internal one is not."""
    mixes = ([WEB[0], "127.0.0.1"], ["127.0.0.1", WEB[0]], ["::1", WEB[0]], [WEB[2], "10.0.0.1"], ["::1", "127.0.0.1"],
             ["10.0.0.1", "10.0.0.2", "169.254.169.254", "fe80::1"])  # fmt: skip
    for n, mix in enumerate(mixes):
        net.set(f"mix{n}.dns.test", mix)
    for got in fetch(net, *(f"https://mix{n}.dns.test/file/3" for n in range(len(mixes)))):
        assert got["reason"] in {"ok", "blocked_address"}


def test_own_names_and_addresses(net: Internet) -> None:
    rules = {"SOLOPRINT_PUBLIC_URL": "https://own.web.test:8443", "SOLOPRINT_FETCH_DENY": f"other.web.test,{WEB[1]}"}
    urls = ("https://own.web.test/file/1", "https://other.web.test/file/1", f"https://{name4(WEB[1])}/file/1",
            f"https://{WEB[1]}/file/1", "https://web.test/to/1?url=https%3A%2F%2Fown.web.test%2Ffile%2F1")  # fmt: skip
    assert {x["reason"] for x in fetch(net, *urls, **rules)} == {"blocked_address"}
    assert reason(net, "https://third.web.test/file/1", **rules) == "ok"
    assert not net.lines("request", host="own.web.test")


def test_proxies_and_credentials_of_the_environment_are_not_used(net: Internet, tmp_path: Path) -> None:
    proxy = "http://127.0.0.1:8080"
    env = {k: proxy for k in ("http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy")}
    (tmp_path / ".netrc").write_text("machine web.test login me password netrc-secret\n")
    to = quote("https://a.web.test/file/1", safe="")
    assert reason(net, f"https://web.test/to/2?url={to}", HOME=str(tmp_path), **env) == "ok"
    asked = net.lines("request")
    assert len(asked) == 3
    for x in asked:
        assert not {"authorization", "cookie", "referer", "proxy-authorization"} & set(x["headers"]), x


def test_http_is_a_rule(net: Internet) -> None:
    plain = "http://web.test/file/4"
    assert reason(net, plain) == "bad_url"
    assert reason(net, plain, SOLOPRINT_FETCH_HTTP="1") == "ok"
    assert reason(net, "http://127.0.0.1/", SOLOPRINT_FETCH_HTTP="1") == "blocked_address"
    down = "https://web.test/to/1?url=" + quote(plain, safe="")
    assert reason(net, down, SOLOPRINT_FETCH_HTTP="1") == "bad_url"


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["expired.web.test", "wrong.web.test", "selfsigned.web.test", "unknown.web.test"])
def test_certificates(net: Internet, name: str) -> None:
    assert reason(net, f"https://{name}/file/1") == "tls_failed"
    assert not net.lines("request", host=name)


def test_old_tls(net: Internet) -> None:
    assert reason(net, f"https://{WEB[1]}/file/1") == "tls_failed"


def test_the_systems_certificates_do_not_count_beside_others(net: Internet) -> None:
    assert reason(net, "https://web.test/file/1", SOLOPRINT_FETCH_CA="") == "tls_failed"


# --- what servers do --------------------------------------------------------------------------------------------------


def test_sizes(net: Internet) -> None:
    exact, over, chunked, chunked_over, lying = fetch(
        net, "https://web.test/file/1000", "https://web.test/file/1001", "https://web.test/chunked/1",
        "https://web.test/chunked/5000000", "https://web.test/lie/5/10", most=1000,
    )  # fmt: skip
    assert (exact["reason"], exact["size"]) == ("ok", 1000)
    assert exact["sha256"] == hashlib.sha256(b"; 1000\n" * 142 + b"; 1000").hexdigest()
    assert (over["reason"], over["size"]) == ("too_large", 0)
    assert (chunked["reason"], chunked_over["reason"]) == ("too_large", "too_large")
    assert (lying["reason"], lying["size"]) == ("ok", 5)


def test_endless_bodies_are_cut(net: Internet) -> None:
    told, untold = fetch(net, "https://web.test/endless/length", "https://web.test/endless/none", most=32 * MB)
    assert (told["reason"], told["size"]) == ("too_large", 0)
    assert untold["reason"] == "too_large"
    assert 31 * MB < untold["size"] <= 32 * MB
    if b"__asan_init" not in STUB.read_bytes():
        assert untold["peak_kib"] < 40 * 1024


def test_broken_answers(net: Internet) -> None:
    short, garbage, headers = fetch(
        net, "https://web.test/lie/1000/10", "https://web.test/garbage", "https://web.test/headers"
    )
    assert (short["reason"], short["transient"]) == ("broken_answer", True)
    assert garbage["reason"] == "broken_answer"
    assert headers["reason"] == "broken_answer"


def test_bombs_are_not_inflated(net: Internet) -> None:
    for got in fetch(net, "https://web.test/gzip/content-encoding/100", "https://web.test/gzip/transfer-encoding/100"):
        assert (got["reason"], got["size"]) == ("encoded_answer", 0)


def test_statuses(net: Internet) -> None:
    for status, transient in ((400, False), (401, False), (404, False), (410, False), (429, True), (500, True), (503, True)):
        got = fetch(net, f"https://web.test/status/{status}")[0]
        assert (got["reason"], got["transient"], got["size"]) == (f"http_{status}", transient, 0)
    assert reason(net, "https://web.test/redirect_nowhere") == "http_302"
    assert reason(net, "https://web.test/status/204") == "ok"


def test_redirect_limit(net: Internet) -> None:
    to = quote("https://web.test/file/1", safe="")
    assert reason(net, "https://web.test/loop") == "too_many_redirects"
    assert reason(net, f"https://web.test/to/3?url={to}") == "ok"
    assert reason(net, f"https://web.test/to/4?url={to}") == "too_many_redirects"
    assert reason(net, f"https://web.test/to/1?url={to}", redirects=0) == "too_many_redirects"


def test_time_limits(net: Internet) -> None:
    for path in ("hang", "trickle"):
        got = fetch(net, f"https://web.test/{path}", ms=1500)[0]
        assert (got["reason"], got["transient"]) == ("timeout", True)
        assert 1400 <= got["ms"] < 4000


@pytest.mark.skipif(not os.environ.get("SOAK"), reason="takes 20 s: make soak")
def test_trickling_is_a_timeout_of_its_own(net: Internet) -> None:
    got = fetch(net, "https://web.test/trickle", ms=60000)[0]
    assert got["reason"] == "timeout"
    assert 18000 < got["ms"] < 30000


def test_unknown_names(net: Internet) -> None:
    got = fetch(net, "https://nowhere.invalid/")[0]
    assert (got["reason"], got["transient"]) == ("dns_failed", True)


def test_names_of_files(net: Internet) -> None:
    header = quote("attachment; filename*=UTF-8''..%2Fb%C3%A4r.stl", safe="")
    got = fetch(net, f"https://web.test/file/3/x?disposition={header}")[0]
    assert (got["filename"], got["content_type"]) == ("b\u00e4r.stl", "text/plain")


def test_nothing_that_is_told_names_an_address(net: Internet) -> None:
    urls = ("https://10.0.0.1/", f"https://{name4('10.0.0.1')}/", "https://web.test/to/1?url=https%3A%2F%2F10.0.0.1%2F")
    for got in fetch(net, *urls):
        assert "10.0.0" not in json.dumps(got)
