"""The audit of the pins: advisories in OSV's format against versions in constraints.txt."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import audit_pins
from tools.audit_pins import Finding, advisories, behind, findings, holds, main, pins

PINS = "# Pins\nJinja2==2.10\nPyYAML==6.0.3  # a comment\nDjango==5.2.19\nsome.thing_else==1.0.post1; extra\n"


def advisory(name: str, *events: dict[str, str], versions: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    affected = {
        "package": {"name": name, "ecosystem": "PyPI"},
        "ranges": [{"type": "ECOSYSTEM", "events": list(events)}],
        "versions": list(versions),
    }
    return {"id": f"X-{name}", "modified": "2026-11-01T00:00:00Z", "affected": [affected], **more}


def test_pins_are_read_under_normalized_names() -> None:
    assert pins(PINS) == {"jinja2": "2.10", "pyyaml": "6.0.3", "django": "5.2.19", "some-thing-else": "1.0.post1"}


def test_every_pin_is_read_and_unique() -> None:
    text = audit_pins.PINS.read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert len(pins(text)) == len(lines) > 200


@pytest.mark.parametrize(
    ("version", "inside"),
    [("1.9", False), ("2.0", True), ("2.10", True), ("2.11", False), ("3.0", True), ("3.2", False)],
)
def test_version_ranges_have_a_start_and_an_end(version: str, inside: bool) -> None:
    events = [{"introduced": "2.0"}, {"fixed": "2.11"}, {"introduced": "3.0"}, {"last_affected": "3.1"}]
    assert holds(version, {"ranges": [{"type": "ECOSYSTEM", "events": events}]}) is inside


def test_commit_ranges_are_ignored_and_version_lists_are_used() -> None:
    commits = {"ranges": [{"type": "GIT", "events": [{"introduced": "0"}, {"fixed": "abc"}]}]}
    assert not holds("2.10", commits) and holds("2.10", {**commits, "versions": ["2.10"]})


def test_advisories_that_apply_are_found() -> None:
    known = [
        advisory("Jinja2", {"introduced": "0"}, {"fixed": "2.11.3"}),
        advisory("django", {"introduced": "0"}, {"fixed": "5.2.1"}),
        advisory("other", {"introduced": "0"}),
    ]
    assert findings(pins(PINS), known) == [Finding("jinja2", "2.10", "X-Jinja2", ("2.11.3",))]


def test_yaml_folders_and_json_zips_give_the_same_advisories(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    good, withdrawn = advisory("jinja2", {"introduced": "0"}), advisory("django", {"introduced": "0"}, withdrawn="2026")
    folder, packed, pinned = tmp_path / "vulns" / "jinja2", tmp_path / "all.zip", tmp_path / "pins.txt"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(packed, "w") as archive:
        for number, one in enumerate((good, withdrawn)):
            (folder / f"{number}.yaml").write_text(yaml.safe_dump(one))
            archive.writestr(f"{number}.json", json.dumps(one))
    assert list(advisories(tmp_path / "vulns")) == list(advisories(packed)) == [good]
    pinned.write_text(PINS)
    monkeypatch.setattr(audit_pins, "PINS", pinned)
    assert main([str(packed)]) == 1
    said = capsys.readouterr().out
    assert "Pins: 4; advisories: 1, newest: 2026-11-01; that apply: 1." in said
    assert "jinja2 2.10: X-jinja2, fixed in no version" in said


def test_outdated_pins_are_found() -> None:
    newest = "name\tversion\tmonth\njinja2\t3.2\t2026-11\nDjango\t5.2.19\t2026-11\nPyYAML\tlatest\t2026-11\nother\t2\n"
    assert behind(pins(PINS), newest) == {"jinja2": ("2.10", "3.2")}
