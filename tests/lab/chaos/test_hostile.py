"""Damaged and malicious files: a share of the benchmark's, and the benchmark itself."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from core.events import silent_reporter
from lab.chaos import hostile
from lab.chaos.hostile_files import Source

HARMLESS_FIRST = ("wav", "flac", "ogg", "opus", "mp3", "aiff", "zip", "tar", "tar.gz", "tar.bz2", "bundle (zip)")
HARMLESS_FIRST += ("bundle (model.onnx)", "bundle (manifest)", "checkpoint (.pt)", "weights (.safetensors)")


def test_hostile_files_are_used_or_rejected_and_leave_nothing(tmp_path: Path) -> None:
    figures = hostile.opened(seed=1, files=44, reporter=silent_reporter(), harmful=False)
    kinds = figures["kinds"]
    assert not [defect for one in kinds.values() for defect in one["defects"]], hostile.table(figures)
    assert all(one["used"] + one["refused"] == one["files"] for one in kinds.values())
    assert all(kinds[name]["used"] for name in HARMLESS_FIRST), "the first file of each kind is valid"
    assert figures["clips"] and not figures["library_problems"], hostile.table(figures)
    refused = {name for name, one in kinds.items() if one["refused"] == one["files"]}
    assert {"playlist", "archive that leads out", "document"} <= refused
    assert list(Path(tmp_path.parent).glob("hark-hostile-*")) == []


DOOR = """
import os, subprocess, sys, time
from pathlib import Path
from core.worker_protocol import serve

def open_it(request):
    name = Path(request["path"]).name
    if name == "raises":
        raise KeyError("a bug")
    if name == "dies":
        os.abort()
    if name == "hangs":
        time.sleep(60)
    if name == "leaves a file":
        Path(os.environ["TMPDIR"], "left").write_text("x")
    if name == "leaves a process":
        subprocess.Popen(["sleep", "60"], start_new_session=True)
    if name == "grows":
        kept.append(bytearray(os.urandom(1) * (20 << 20)))
    if name == "has no words":
        return {"refused": {"what": "Traceback (most recent call last)", "why": "x", "what_to_do": ""}}
    return {}

kept = []
serve(lambda: ({}, open_it))
"""


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the worker misbehave in the way that the name of its file describes."""
    monkeypatch.setattr(hostile, "WORKER", (sys.executable, "-c", DOOR))


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        ("raises", "tracebacks"),
        ("dies", "tracebacks"),
        ("hangs", "tracebacks"),
        ("has no words", "tracebacks"),
        ("leaves a file", "files_left"),
        ("leaves a process", "processes_left"),
    ],
)
def test_forbidden_outcomes_are_detected(
    door: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, counted: str
) -> None:
    monkeypatch.setattr("core.worker_process.crowding", lambda: 1.0)
    count = hostile.Count()
    with hostile.orphans_become_children(), hostile._Opener(tmp_path, "any") as opener:
        for path in (tmp_path / name, tmp_path / "harmless"):
            opener.open(path, count, 3.0)
    assert vars(count)[counted] == 1 and count.used >= 1 and len(count.defects) == 1, count
    assert name in count.defects[0] and name in hostile.table(
        {"kinds": {"any": vars(count)}, "clips": 0, "library_problems": []}
    )


def test_growing_memory_is_measured(door: None, tmp_path: Path) -> None:
    count = hostile.Count()
    with hostile._Opener(tmp_path, "any") as opener:
        for _ in range(hostile.WARM_UP + 3):
            opener.open(tmp_path / "grows", count, 20.0)
    assert count.growth_mib is not None and 55 < count.growth_mib < 70


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    def made(folder: str, kind: str, seed: int) -> list[bytes]:
        make: Callable[[Random, int], object] = Source(tmp_path / folder, 0).kinds()[kind]
        return [make(Random(f"{seed} {number}"), number).content for number in range(8)]  # type: ignore[attr-defined]

    for kind in ("wav", "flac", "playlist"):
        assert made("a", kind, 1) == made("b", kind, 1) != made("c", kind, 2)
