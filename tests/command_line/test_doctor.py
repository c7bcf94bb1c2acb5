"""The command ``doctor``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from command_line import doctor
from command_line.doctor import _confinement, pinned
from core.confinement.confined import missing_confinement
from core.data_folder import REPOSITORY
from tests.support.command_line_samples import Cli
from tests.support.constants import replace_in


def test_doctor_reports_findings_and_changes_nothing(cli: Cli, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite:///meetings.db")
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    monkeypatch.setenv("HARK_AUDIT_DAYS", "90d")
    monkeypatch.setenv("HARK_SECRET_KEY", "change-me")
    result = cli.json("doctor", code=2)
    found = {finding["name"]: finding for finding in result["findings"]}
    assert not result["ok"]
    assert found["python"]["status"] == "ok" and found["data folder"]["status"] == "ok"
    assert found["engine espeak"]["status"] == "ok" and found["library"]["status"] == "ok"
    assert all(f["what_to_do"] for f in result["findings"] if f["status"] != "ok")
    assert found["setting HF_TOKEN"]["status"] == "ok" and "data folder" in found["setting DATABASE_URL"]["found"]
    assert "whole number from 1 to 36,500" in found["setting HARK_AUDIT_DAYS"]["found"]
    assert any("library import" in suggestion for suggestion in result["suggestions"]), "the library has no real speech"
    assert found["secrets"]["status"] == "broken" and "HARK_SECRET_KEY" in found["secrets"]["found"]
    assert not (data_dir / "library.sqlite3").exists(), "doctor creates nothing"
    assert cli("doctor", code=2).startswith("Hark can"), "the verdict comes first"


def test_doctor_reports_whether_untrusted_files_are_confined(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = _confinement()
    assert (finding.status == "ok") == (missing_confinement() == "")
    monkeypatch.setattr("command_line.doctor.missing_confinement", lambda: "it can access the network (x)")
    finding = _confinement()
    assert finding.status == "optional" and "the network" in finding.found and finding.what_to_do
    program = [sys.executable, "-c", "raise SystemExit('no')"]
    replace_in(doctor, monkeypatch, missing_confinement=lambda: "", confined=lambda _: program)
    finding = _confinement()
    assert finding.status == "broken" and "no" in finding.found


def test_doctor_lists_missing_extras_and_explains_them_with_all(cli: Cli) -> None:
    absent = [
        finding
        for finding in cli.json("doctor", code=None)["findings"]
        if finding["extra"] and finding["status"] == "optional"
    ]
    assert "engine elevenlabs" in {finding["name"] for finding in absent}
    shown, everything = cli("doctor", code=None), cli("doctor", "--all", code=None)
    assert "doctor --all" in shown and "doctor --all" not in everything
    for finding in absent:
        assert finding["name"].split(" ", 1)[1] in shown
        assert finding["what_to_do"] in everything and finding["found"] not in shown


def test_doctor_describes_each_mining_method(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {finding["name"]: finding for finding in cli.json("doctor", code=None)["findings"]}
    assert found["mining: viterbi"]["status"] == "ok" and "always available" in found["mining: viterbi"]["found"]
    assert "comparison" in found["mining: ctc-segmentation"]["found"]
    monkeypatch.setitem(sys.modules, "ctc_segmentation", None)  # as where it could not be compiled
    found = {finding["name"]: finding for finding in cli.json("doctor", code=None)["findings"]}
    assert found["mining: viterbi"]["status"] == "ok"
    assert found["mining: ctc-segmentation"]["status"] == "optional"
    assert "viterbi" in found["mining: ctc-segmentation"]["what_to_do"]


def test_doctor_names_missing_packages(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    pins = {**pinned(REPOSITORY / "requirements.txt"), "no-such-package": "1.0"}
    assert pins["numpy"]
    monkeypatch.setattr("command_line.doctor.pinned", lambda path: pins)
    shown = cli("doctor", code=2)
    assert "missing: no-such-package" in shown and shown.startswith("Hark cannot train here yet: packages.")
