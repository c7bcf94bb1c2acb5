"""Malicious corpora: references beyond their own folder, and content that is not as declared."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from core.errors import HarkError
from db.db_api import Library
from pipeline.asr.data import corpus_utterances
from pipeline.corpora import listing
from pipeline.corpora.layouts.utterance import Utterance
from tests.support.small_corpora import put, run, write

OUTSIDE = "outside of the corpus"
UNREADABLE_TEXT = "text unreadable or too long"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Another person's recording, outside the corpus."""
    return put(tmp_path / "alice" / "audio.flac", 7)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The answers of the process that reads a corpus."""
    lines: list[Any] = []
    monkeypatch.setattr(listing, "called", lambda *arguments, **more: iter(lines))
    return lines


def manifest(folder: Path, name: str) -> None:
    lines: list[dict[str, Any]] = [{"audio_filepath": name, "text": "mine"}, {"audio_filepath": name}]
    lines += [{"audio_filepath": name, "offset": 0, "duration": 0.4}]
    write(folder / "manifest.json", "".join(json.dumps(line) + "\n" for line in lines))


def common_voice(folder: Path, name: str) -> None:
    write(folder / "validated.tsv", f"client_id\tpath\tsentence\nx\t{name}\tmine\n")
    (folder / "clips").mkdir()


def ljspeech(folder: Path, name: str) -> None:
    write(folder / "metadata.csv", f"{name}|mine|mine\n{name.removesuffix('.flac')}|mine\n")


def librispeech(folder: Path, name: str) -> None:
    write(folder / "1-2.trans.txt", f"{name} MINE\n{name.removesuffix('.flac')} MINE\n")


@pytest.mark.parametrize("layout", [manifest, common_voice, ljspeech, librispeech])
@pytest.mark.parametrize("named", ["absolute", "relative", "link", "descriptor"])
def test_files_outside_the_corpus_are_skipped_in_every_layout(
    folder: Path, library: Library, secret: Path, layout: Callable[[Path, str], None], named: str
) -> None:
    opened = secret.open("rb")
    link = folder / "clips" / "link.flac"
    name = {
        "absolute": str(secret),
        "relative": f"../../../../../../../../../..{secret}",
        "link": "clips/link.flac",
        "descriptor": f"/proc/{os.getpid()}/fd/{opened.fileno()}",
    }[named]
    layout(folder, name)
    if named == "link":
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(secret)
        if layout is common_voice:
            common = folder / "clips" / "clips"
            common.mkdir()
            (common / "link.flac").symlink_to(secret)
    with opened:
        report = run(folder, library)
    # Layouts that look for a file by its stem do not find one that is outside, and report it.
    assert report.added == 0 and set(report.skipped) <= {OUTSIDE, "missing"}, report
    assert named == "link" or set(report.skipped) == {OUTSIDE}, report
    nowhere = {**report.skipped}
    secret.unlink()  # a missing file gets the same answer, so that an import reveals nothing about the machine
    assert run(folder, library).skipped == nowhere


def test_links_out_of_the_folder_are_not_followed(folder: Path, library: Library, secret: Path) -> None:
    own = put(folder / "a.wav", 1)
    (folder / "b.flac").symlink_to(secret)
    (folder / "c.wav").symlink_to(own)
    private = write(secret.parent / "notes.txt", "the launch code")
    (folder / "a.txt").symlink_to(private)
    (folder / "LICENSE").symlink_to(write(secret.parent / "licence", "CC0"))
    report = run(folder, library)
    assert (report.added, report.already_there, report.skipped) == (1, 1, {OUTSIDE: 1})
    assert report.licence == "unknown" and [clip.text_known for clip in library.iter_clips()] == [False]


def test_linked_tables_and_transcripts_are_not_read(folder: Path, library: Library, secret: Path) -> None:
    put(folder / "wav48" / "p1" / "p1_1.flac", 1)
    (folder / "txt" / "p1").mkdir(parents=True)
    (folder / "txt" / "p1" / "p1_1.txt").symlink_to(write(secret.parent / "notes.txt", "the launch code"))
    for name in ("metadata.csv", "validated.tsv", "manifest.json", "x.trans.txt"):
        text = "path\tsentence\n" if name.endswith("tsv") else f'{{"audio_filepath": "{secret}"}}|x\n'
        (folder / name).symlink_to(write(secret.parent / name, text))
    assert run(folder, library).added == 0
    assert not any(clip.text_known for clip in library.iter_clips())


def test_absolute_paths_inside_the_corpus_are_imported(folder: Path, library: Library) -> None:
    manifest(folder, str(put(folder / "audio" / "a.wav", 1)))
    assert run(folder, library).skipped == {}
    assert library.stats().clips == 2


def test_a_recognizer_is_not_trained_on_files_outside_its_corpus(folder: Path, secret: Path) -> None:
    put(folder / "a.wav", 1)
    (folder / "b.flac").symlink_to(secret)
    assert [utterance.path for utterance in corpus_utterances(folder)] == [str(folder.resolve() / "a.wav")]


def bad_lines() -> list[Any]:
    return [
        pytest.param('{"audio_filepath": "a.wav", "text": "x", "offset": 1e999}', "a time that is none", id="infinite"),
        pytest.param('{"audio_filepath": "a.wav", "text": "x", "offset": NaN}', "a time that is none", id="NaN"),
        pytest.param(
            '{"audio_filepath": "a.wav", "text": "x", "offset": 1%s}' % ("0" * 999), "a time that is none", id="huge"
        ),
        *(
            pytest.param(f'{{"audio_filepath": "a.wav", "text": "x", {times}}}', "a time that is none", id=times)
            for times in ('"duration": NaN', '"duration": -1e999', '"offset": 0, "duration": 1e999')
        ),
        pytest.param("[" * 60_000, UNREADABLE_TEXT, id="deep"),
        pytest.param("[" * 100_000, UNREADABLE_TEXT, id="deep and long"),
        pytest.param("9" * 5_000, UNREADABLE_TEXT, id="a number of 5,000 digits"),
        pytest.param('{"audio_filepath": "%s"}' % ("x" * 5_000), "unreadable", id="a name too long for a file system"),
        pytest.param('{"audio_filepath": "a\\u0000.wav"}', OUTSIDE, id="a zero in the name"),
        pytest.param('{"audio_filepath": "\\ud800.wav", "text": "\\ud800", "speaker": "\\ud800"}', OUTSIDE, id="half"),
        pytest.param('{"audio_filepath": "a.wav", "text": "x", "offset": 0, "duration": -1}', "empty", id="minus"),
        pytest.param('{"audio_filepath": "../closed/a.wav"}', OUTSIDE, id="closed"),
    ]


@pytest.mark.parametrize(("line", "reason"), bad_lines())
def test_one_bad_line_of_a_manifest_is_skipped_and_counted(
    folder: Path, library: Library, line: str, reason: str
) -> None:
    put(folder / "a.wav", 1)
    put(folder / "b.wav", 2)
    good = [json.dumps({"audio_filepath": name, "text": "good"}) for name in ("a.wav", "b.wav")]
    write(folder / "manifest.jsonl", "\n".join([good[0], line, good[1]]))
    report = run(folder, library)
    assert (report.added, report.skipped) == (2, {reason: 1})


def test_manifest_texts_that_no_database_accepts_are_sanitized(folder: Path, library: Library) -> None:
    put(folder / "a.wav", 1)
    odd = {"text": "one \ud800 two 1%s" % ("0" * 6_000), "speaker": "\udc80" * 9_000, "language": "../../x" * 99}
    write(folder / "manifest.jsonl", json.dumps({"audio_filepath": "a.wav", "licence": ["x"] * 999, **odd}))
    assert run(folder, library).added == 1
    (clip,) = library.iter_clips()
    assert len(clip.speaker) <= 200 and len(clip.licence) <= 200


def test_a_table_field_that_is_too_long_is_skipped(folder: Path, library: Library) -> None:
    put(folder / "clips" / "a.wav", 1)
    put(folder / "clips" / "b.wav", 2)
    rows = ["path\tsentence", "a.wav\tgood", f"b.wav\t{'x' * 200_000}", "b.wav\tgood", f"{'x' * 3_000}\tlong name"]
    write(folder / "validated.tsv", "\n".join(rows) + "\n")
    report = run(folder, library)
    assert (report.added, report.skipped) == (2, {UNREADABLE_TEXT: 1, "unreadable": 1})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter every folder")
def test_an_unreadable_folder_is_skipped_and_counted(folder: Path, library: Library) -> None:
    put(folder / "closed" / "a.wav", 1)
    put(folder / "b.wav", 2)
    lines = [json.dumps({"audio_filepath": name, "text": "x"}) for name in ("closed/a.wav", "b.wav")]
    write(folder / "manifest.jsonl", "\n".join(lines))
    (folder / "closed").chmod(0)
    try:
        report = run(folder, library)
    finally:
        (folder / "closed").chmod(0o755)
    assert (report.added, report.skipped) == (1, {"unreadable": 1})


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("metadata.csv", "a|x\na|x|", "\na|good\n"),
        ("manifest.json", "", '\n{"audio_filepath": "a.wav", "text": "good"}\n'),
        ("validated.tsv", "path\tsentence\na\t", "\na.wav\tgood\n"),
        ("1.trans.txt", "1-2 ", "\na GOOD\n"),
        ("a.txt", "", ""),
        ("txt/s/a.txt", "", ""),
    ],
)
def test_a_line_of_many_megabytes_takes_no_memory(
    folder: Path, library: Library, name: str, before: str, after: str
) -> None:
    put(folder / ("wav48/s/a.wav" if name.startswith("txt/") else "a.wav"), 1)
    put(folder / "wav48/s/b.wav", 2)
    if name == "manifest.json":
        before = '{"audio_filepath": "a.wav"}\n'
    write(folder / name, before + "a|" * 15_000_000 + after)
    tracemalloc.start()
    report = run(folder, library)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 25e6, f"{peak / 1e6:.0f} MB for a text of 30 MB"
    assert report.skipped.get(UNREADABLE_TEXT) == 1, report


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [["a layout"]],
        [["a", "b", "c"], {}],
        [["a", "b", "c"], {"offset_s": "now"}],
        [["a", "b", "c"], {"duration_s": [1]}],
    ],
)
def test_answers_of_the_reader_process_are_validated(
    folder: Path, library: Library, told: list[Any], lines: list[Any]
) -> None:
    """A malicious corpus may have taken over the process that reads it."""
    whole = {**asdict(Utterance(put(folder / "a.wav", 1), "x")), "audio": str(folder / "a.wav")}
    told += [{**whole, **line} if isinstance(line, dict) and line else line for line in lines]
    with pytest.raises(HarkError, match="gave an invalid answer"):
        run(folder, library)


def test_a_file_outside_the_corpus_is_never_opened(
    folder: Path, library: Library, secret: Path, told: list[Any]
) -> None:
    put(folder / "own.wav")
    told += [["a", "b", "c"], {**asdict(Utterance(secret, "x")), "audio": str(secret)}]
    assert run(folder, library).skipped == {OUTSIDE: 1}


def test_own_files_are_read_without_a_process_per_file(
    folder: Path, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.Popen", lambda *arguments, **more: pytest.fail("a process was started"))
    for number in range(3):
        put(folder / f"{number}.wav", number)
    lines = [{"audio_filepath": "0.wav", "text": "one", "offset": 0.1, "duration": 0.3}]
    lines += [{"audio_filepath": "1.wav", "text": "two"}, {"audio_filepath": "2.wav", "offset": 9.0, "duration": 1.0}]
    write(folder / "manifest.json", "".join(json.dumps(line) + "\n" for line in lines))
    report = run(folder, library, own=True)
    assert (report.added, report.skipped) == (2, {"empty": 1}) and report.hours * 3600 == pytest.approx(0.8, abs=0.01)
