"""The service about itself and about who asks."""

from __future__ import annotations

import datetime

import httpx
from api import Api
from contract import Contract
from keys import CAPABILITIES
from walk import built_contract
from world import EVENTS, GENEROUS, Org


def test_version(anonymous: Api) -> None:
    assert anonymous.get("/v1/public/version", expect=200).json() == {
        "series": "v1", "version": "2026-04-02", "supported_versions": ["2026-04-02"],
        "docs": "https://www.soloprint.app/developers/api-docs",
        "changelog": "https://www.soloprint.app/developers/changelog",
        "openapi": "/v1/openapi.json", "status": "current",
    }  # fmt: skip


def test_health(anonymous: Api) -> None:
    health = anonymous.get("/v1/health", expect=200).json()
    assert health["components"]["database"]["status"] == "healthy"
    assert health["components"]["redis"]["status"] == "healthy"
    assert health["status"] in ("healthy", "degraded")
    worst = {c["status"] for c in health["components"].values()} & {"unhealthy", "degraded"}
    assert (health["status"] == "degraded") == bool(worst)


def test_published_contract_is_the_built_one(anonymous: Api) -> None:
    assert anonymous.get("/v1/openapi.json", expect=200).json() == built_contract().doc


def test_every_operation_has_what_the_project_asks(contract: Contract) -> None:
    for op in contract.operations:
        assert op.doc["x-rate-class"] in ("read", "write", "control", "login", "none"), op
        assert op.doc["x-pool"] in ("api", "files", "auth"), op
        assert op.doc["summary"], op
        assert op.doc["tags"], op
        assert ("security" in op.doc and op.doc["security"] != []) == (not op.public), op


def test_me(org: Org) -> None:
    key = org.make_key(["operations.read", "queue.manage"], name="Board", printer_ids=[])
    me = org.base.with_key(key).get("/v1/me", expect=200).json()
    assert me["key"]["id"] == org.key_id(key)
    assert me["key"]["name"] == "Board"
    assert me["key"]["prefix"] == key[:14]
    assert set(me["key"]["capabilities"]) == {"operations.read", "queue.manage"}
    assert me["key"]["printer_ids"] == []
    assert me["principal"]["kind"] == "key"
    assert [o["id"] for o in me["organizations"]] == [org.id]
    assert me["organizations"][0]["name"] == org.name
    assert key not in org.base.with_key(key).get("/v1/me").text


def test_me_for_a_device(org: Org) -> None:
    me = org.base.with_key(org.make_key([], kind="dev")).get("/v1/me", expect=200).json()
    assert (me["principal"]["kind"], me["key"]["kind"]) == ("device", "dev")


def test_context(org: Org) -> None:
    context = org.api.get("/v1/org/context", expect=200).json()
    assert context["organization"] == {"id": org.id, "name": org.name, "slug": org.slug, "state": "active"}
    assert set(context["capabilities"]) == set(CAPABILITIES)
    assert context["limits"] == GENEROUS
    assert context["printer_ids"] is None


def test_default_limits(org: Org) -> None:
    org.sql("UPDATE app.organizations SET rate_limits = NULL WHERE org_id = %s", org.id)
    key = org.make_key(["operations.read"], rate_limits=None)
    limits = org.base.with_key(key).get("/v1/org/context", expect=200).json()["limits"]
    assert limits == {"read": 100, "write": 30, "control": 10, "burst": 20}


def test_system_info(org: Org) -> None:
    org.make_printer()
    info = org.api.get("/v1/system/info", expect=200).json()
    assert (info["series"], info["api_version"]) == ("v1", "2026-04-02")
    assert info["database"]["printers"] == 1
    assert info["uptime"] >= 0
    now = datetime.datetime.now(datetime.UTC)
    assert abs((datetime.datetime.fromisoformat(info["time"]) - now).total_seconds()) < 60


def test_reads_are_reads(org: Org) -> None:
    """A GET leaves no trace in the audit log and no event."""
    def traces() -> list[tuple[int]]:
        return org.sql("SELECT (SELECT count(*) FROM app.audit_log WHERE org_id = %s)"
                       f" + (SELECT count(*) FROM {EVENTS} WHERE org_id = %s)", org.id, org.id)  # fmt: skip

    made, before = org.make_printer(), traces()
    before = traces()
    for path in ("/v1/printers", f"/v1/printers/{made['id']}", f"/v1/printers/{made['id']}/status", "/v1/me"):
        org.api.get(path, expect=200)
    assert traces() == before


def test_root_is_no_api(http: httpx.Client) -> None:
    assert http.get("/").status_code in (200, 301, 302, 303, 307, 308, 404)
