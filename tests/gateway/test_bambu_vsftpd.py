"""Uploads by the Bambu driver to a real vsftpd, the server of X1 and P1 printers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from probe import Probe
from rig import short_folder
from virtual_fleet.certs import Authority
from virtual_fleet.harness import RunningFleet, wait_for
from vsftpd import Vsftpd, why_not

SIZE = 3_000_000
REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"NO REAL FTPS SERVER: {REASON}")


@pytest.fixture(scope="module")
def fleet() -> Iterator[RunningFleet]:
    """The printer's MQTT; its storage is vsftpd's."""
    printers: list[dict[str, Any]] = [{"name": "x1c", "model": "X1C"}, {"name": "a1", "model": "A1"}]
    with RunningFleet(short_folder("slp-bambu-"), printers) as running:
        yield running


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "cube.gcode.3mf"
    path.write_bytes(os.urandom(SIZE))
    return path


def server(fleet: RunningFleet, name: str = "x1c", of: str | None = None, **options: str) -> Vsftpd:
    """of: whose certificate it has."""
    rows = {each["name"]: each for each in fleet.printers}
    authority = Authority(fleet.folder / "ca")
    return Vsftpd(rows[name], authority.leaf(rows[of or name]["serial"]), authority.leaf_key_path, **options)


def probe(fleet: RunningFleet, ftp: Vsftpd, name: str = "x1c") -> Probe:
    row = next(each for each in fleet.printers if each["name"] == name)
    return Probe(row, ftps=str(ftp.port))


def test_a_file_arrives_with_its_data_connection_resuming_the_session(fleet: RunningFleet, file: Path) -> None:
    """TLS 1.2 and no newer: with 1.3 some printers break a transfer off."""
    with server(fleet) as ftp, probe(fleet, ftp) as driver:
        driver.ready()
        assert driver.upload(file, task_id=31)["what"] == "done"
        assert (ftp.storage / "cube-31.gcode.3mf").read_bytes() == file.read_bytes()
        tls = re.findall(r"SSL version: (\S+), .*?(reused|not reused)", ftp.log().replace("no reuse", "not reused"))
        assert tls and {version for version, _ in tls} == {"TLSv1.2"}, ftp.log()
        assert any(reuse == "reused" for _, reuse in tls), ftp.log()
        assert " CWD" not in ftp.log() and "PROT P" in ftp.log()


def test_the_code_is_checked_and_stays_out_of_the_log(fleet: RunningFleet, file: Path) -> None:
    with server(fleet) as ftp, probe(fleet, ftp) as driver:
        driver.ready()
        ftp.set_code("87654321")
        answer = driver.upload(file, task_id=32, timeout_s=30)
        assert answer["what"] == "refused" and "access code" in answer["words"]
        assert ftp.code not in "".join(driver.log)


def test_another_printers_certificate_gets_neither_code_nor_file(fleet: RunningFleet, file: Path) -> None:
    with server(fleet, of="a1") as ftp, probe(fleet, ftp) as driver:
        driver.ready()
        answer = driver.upload(file, task_id=33)
        assert answer["what"] == "refused" and "another printer" in answer["words"]
        assert "USER" not in ftp.log() and ftp.files() == {}


def test_a_card_that_cannot_be_written(fleet: RunningFleet, file: Path) -> None:
    with server(fleet) as ftp, probe(fleet, ftp) as driver:
        driver.ready()
        ftp.storage.chmod(0o555)
        answer = driver.upload(file, task_id=34)
        assert answer["what"] == "refused" and "storage" in answer["words"]


def test_what_was_given_up_is_removed(fleet: RunningFleet, file: Path) -> None:
    with server(fleet, local_max_rate="200000") as ftp, probe(fleet, ftp) as driver:
        driver.ready()
        place = driver.begin_upload(file, task_id=35)
        wait_for(lambda: 0 < ftp.files().get("cube-35.gcode.3mf", 0) < SIZE, 20, "a part of the file")
        driver.wait("aborted", driver.do("abort"), 5)
        wait_for(lambda: not ftp.files(), 20, "removal")
        assert not driver.of("uploaded", place)


def test_the_loop_goes_on_while_the_last_answer_is_awaited(fleet: RunningFleet, file: Path) -> None:
    """libcurl waits for it while blocking; commands are answered meanwhile."""
    with server(fleet, local_max_rate="300000") as ftp, probe(fleet, ftp) as driver:
        driver.ready()
        place = driver.begin_upload(file, task_id=36)
        wait_for(lambda: ftp.files().get("cube-36.gcode.3mf", 0) > SIZE / 10, 20, "a part of the file")
        for _ in range(5):
            assert driver.command("speed", level="sport", timeout_s=2)["what"] == "accepted"
        assert not driver.of("uploaded", place)
        assert driver.wait("uploaded", place, 60)["what"] == "done"


def test_the_a1_family_encrypts_where_it_can(fleet: RunningFleet, file: Path) -> None:
    with server(fleet, "a1") as ftp, probe(fleet, ftp, "a1") as driver:
        driver.ready()
        assert driver.upload(file, task_id=37)["what"] == "done"
        assert "PROT P" in ftp.log() and "PROT C" not in ftp.log()
