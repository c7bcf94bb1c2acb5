"""What people are told of recognizers before they choose one."""

from __future__ import annotations

import re

from core.data_folder import REPOSITORY
from pipeline.recordings.tools import SIZES, tools
from pipeline.recordings.transcription.engine import described
from pipeline.recordings.transcription.measured import facts, measured, size_of, source
from pipeline.recordings.transcription.registry import engine


def test_size_time_and_errors_are_told() -> None:
    assert facts("moonshine tiny-en") == [
        "42 MB",
        "a minute of audio takes about 4 s",
        "6 of 100 words wrong in clearly read English, 16 in difficult recordings",
    ]
    assert facts("moonshine tiny-en", 7.4)[1] == "a minute of audio took 7 s here"
    assert facts("moonshine tiny-en", 0.54)[1] == "a minute of audio took 0.5 s here"
    assert facts("faster-whisper large-v3") == ["3.1 GB", "word errors not measured"]
    assert facts("something else") == ["word errors not measured"]
    assert source().startswith("Word errors were measured on 749 words of LibriSpeech dev-clean and 684 of LibriSpeech")


def test_what_comes_with_hark_and_what_is_offered_has_its_figures() -> None:
    for name in ("moonshine", "hark"):
        assert measured()["models"][described(engine(name))]["wrong"]
    assert all(size_of(f"faster-whisper {size}") for size in SIZES)
    offered = next(tool for tool in tools() if tool.pulled == "faster-whisper")
    assert dict(offered.downloads)["small"] == "486 MB"


def test_the_results_say_the_same() -> None:
    results = (REPOSITORY / "docs" / "results.md").read_text(encoding="utf-8")
    for name, model in measured()["models"].items():
        if "wrong" in model:
            row = re.search(rf"^\| {name.split()[0]} \|.*$", results, re.MULTILINE)
            assert row, name
            wrong = " / ".join(f"{100 * share:.1f}" for share in model["wrong"].values())
            assert f"| {wrong} % | {model['times_real_time']:.1f}" in row[0]
    assert measured()["command"].partition(" --")[0] in results
    assert all(commit in results for commit in measured()["commits"].values())
