"""Import of corpora: layouts, reasons for skipped recordings, resuming after a kill, no duplicates, limit of hours."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from core.confinement.call import called
from core.errors import HarkError
from core.events import Reporter, silent_reporter
from db.checking import check_library
from db.db_api import Library
from db.exporting import export_clips
from db.records import Clip, ClipQuery, NewClip
from pipeline.corpora import importing as corpus_module
from pipeline.corpora.importing import corpus_name, import_corpus, import_peoples_speech
from pipeline.corpora.layouts import LAYOUTS, layout_of
from pipeline.corpora.licences import licence_of
from tests.support.constants import replace_in
from tests.support.programs import make_environment
from tests.support.small_corpora import put, run, write
from tests.support.sounds import noise

ROOT = Path(__file__).resolve().parents[3]


def by_place(library: Library) -> dict[str, Clip]:
    return {(clip.source or "").partition(":")[2]: clip for clip in library.iter_clips()}


def test_librispeech_is_imported(engine: str, folder: Path, library: Library) -> None:
    chapter = folder / "dev-clean" / "1272" / "128104"
    put(chapter / "1272-128104-0000.flac", 1)
    put(chapter / "1272-128104-0001.flac", 2)
    texts = "1272-128104-0000 MISTER QUILTER'S MANNER\n1272-128104-0001 NOR IS HE\n1272-128104-0002 NO AUDIO\n"
    write(chapter / "1272-128104.trans.txt", texts)
    write(folder / "LICENSE.TXT", "These files are under the Creative Commons Attribution 4.0 International licence.")
    report = run(folder, library)
    assert (report.layout, report.added, report.skipped) == ("LibriSpeech", 2, {"missing": 1})
    assert (report.licence, report.licence_from) == ("CC-BY-4.0", "LICENSE.TXT")
    clip = by_place(library)["dev-clean/1272/128104/1272-128104-0000.flac"]
    assert (clip.text_normalized, clip.speaker, clip.licence) == ("mister quilter's manner", "libri-1272", "CC-BY-4.0")
    assert (clip.engine, clip.language, clip.text_known) == ("corpus", "en", True)
    assert [found.id for found in library.search("quilter's manner", 5)] == [clip.id]
    assert np.abs(library.read_audio(clip) - noise(0.5, 1)).max() < 1e-3


@pytest.mark.parametrize("limit_hours", [None, 1.0])
def test_a_corpus_that_disappears_is_reported_and_can_be_resumed(
    engine: str, folder: Path, library: Library, monkeypatch: pytest.MonkeyPatch, limit_hours: float | None
) -> None:
    replace_in(corpus_module, monkeypatch, CHUNK=4, usable_cores=lambda: 1)  # on more cores it stores later
    rows = []
    for number in range(20):
        put(folder / "wavs" / f"{number}.wav", number)
        rows.append(f"{number}|Text {number}.|Text {number}.\n")
    write(folder / "metadata.csv", "".join(rows))
    away = folder.with_name("away")
    store = corpus_module.store_clips

    lost: list[Path] = []

    def store_and_lose(*given: Any) -> None:
        store(*given)
        if not lost:
            lost.append(folder.rename(away))

    monkeypatch.setattr(corpus_module, "store_clips", store_and_lose)
    with pytest.raises(HarkError, match="disappeared"):
        run(folder, library, limit_hours=limit_hours, own=True)
    kept = len(by_place(library))
    assert 0 < kept < 20
    away.rename(folder)
    report = run(folder, library, limit_hours=limit_hours, own=True)
    assert (report.added, report.already_there, report.skipped) == (20 - kept, kept, {})


def test_ljspeech_is_imported(folder: Path, library: Library) -> None:
    put(folder / "wavs" / "LJ001-0001.wav", 1, rate=22050)
    put(folder / "wavs" / "LJ001-0002.wav", 2, rate=22050)
    write(
        folder / "metadata.csv", "LJ001-0001|In 1455, he wrote.|In fourteen fifty-five, he wrote.\nLJ001-0002|Yes!|\n"
    )
    report = run(folder, library, licence="public domain")
    assert (report.layout, report.added, report.licence) == ("LJSpeech", 2, "public domain")
    clips = by_place(library)
    assert clips["wavs/LJ001-0001.wav"].text_normalized == "in fourteen fifty five he wrote"
    assert clips["wavs/LJ001-0002.wav"].text_original == "Yes!"
    assert clips["wavs/LJ001-0001.wav"].duration_s == pytest.approx(0.5, abs=0.01), "resampled to 16 kHz"
    assert {clip.speaker for clip in clips.values()} == {"corpus"}


def test_common_voice_is_imported(folder: Path, library: Library) -> None:
    client = "a" * 64
    put(folder / "clips" / "common_voice_de_1.mp3", 1)
    put(folder / "clips" / "common_voice_de_2.mp3", 2)
    put(folder / "clips" / "common_voice_de_3.mp3", 3)
    write(
        folder / "validated.tsv",
        "client_id\tpath\tsentence\tup_votes\tlocale\n"
        f'{client}\tcommon_voice_de_1.mp3\tSie sagte: "Guten Tag.\t2\tde\n'
        f"{client}\tcommon_voice_de_2\tÜber uns.\t2\tde\n",
    )
    write(folder / "invalidated.tsv", "client_id\tpath\tsentence\tlocale\nb\tcommon_voice_de_3.mp3\tfalsch\tde\n")
    report = run(folder, library)
    assert (report.layout, report.added, report.licence) == ("Common Voice", 2, "unknown")
    clips = by_place(library)
    assert clips["clips/common_voice_de_1.mp3"].text_original == 'Sie sagte: "Guten Tag.'
    assert clips["clips/common_voice_de_2.mp3"].text_normalized == "über uns"
    assert {(clip.speaker, clip.language) for clip in clips.values()} == {("cv-" + "a" * 16, "de")}


def test_vctk_is_imported(folder: Path, library: Library) -> None:
    write(folder / "txt" / "p225" / "p225_001.txt", "Please call Stella.\n")
    write(folder / "txt" / "p226" / "p226_001.txt", "Ask her.\n")
    put(folder / "wav48_silence_trimmed" / "p225" / "p225_001_mic1.flac", 1, rate=48000)
    put(folder / "wav48_silence_trimmed" / "p225" / "p225_001_mic2.flac", 2, rate=48000)
    put(folder / "wav48_silence_trimmed" / "p226" / "p226_001_mic2.flac", 3, rate=48000)
    report = run(folder, library)
    assert (report.layout, report.added) == ("VCTK", 2)
    assert {(c.speaker, c.text_normalized) for c in library.iter_clips()} == {
        ("vctk-p225", "please call stella"),
        ("vctk-p226", "ask her"),
    }
    assert "wav48_silence_trimmed/p225/p225_001_mic1.flac" in by_place(library)


def manifest(folder: Path, *entries: dict[str, Any]) -> None:
    write(folder / "manifest.jsonl", "".join(json.dumps(entry) + "\n" for entry in entries))


def test_a_nemo_manifest_may_name_parts_of_a_file(folder: Path, library: Library) -> None:
    put(folder / "audio" / "long.ogg", 1, seconds=4)
    put(folder / "audio" / "b.wav", 2)
    write(folder / "SOURCE.txt", "Common Voice 6.1 English, CC0, github:somewhere")
    manifest(
        folder,
        {"audio_filepath": "audio/long.ogg", "text": "first part", "offset": 0.5, "duration": 1.0, "speaker": 7},
        {"audio_filepath": "audio/long.ogg", "text": "second part", "offset": 2.0, "duration": 1.5, "speaker": 7},
        {"audio_filepath": "audio/b.wav", "text": "", "speaker": None, "licence": "MIT"},
    )
    with (folder / "manifest.jsonl").open("a") as lines:
        lines.write("not json\n[]\n")
    report = run(folder, library)
    assert (report.layout, report.added, report.unknown_text) == ("NeMo manifest", 3, 1)
    clips = by_place(library)
    part = clips["audio/long.ogg@0.500+1.000"]
    assert (part.text_normalized, part.speaker, part.licence) == ("first part", "7", "CC0-1.0")
    assert part.duration_s == pytest.approx(1.0)
    whole, _ = soundfile.read(str(folder / "audio" / "long.ogg"), dtype="float32")
    assert np.abs(library.read_audio(part) - whole[8000:24000]).max() < 1e-3
    assert (clips["audio/b.wav"].text_known, clips["audio/b.wav"].licence) == (False, "MIT")


def test_a_folder_with_text_files_is_imported(folder: Path, library: Library) -> None:
    put(folder / "anna" / "one.wav", 1)
    write(folder / "anna" / "one.txt", "\ufeffTurn on\nthe lights, please!")
    put(folder / "two.wav", 2)
    put(folder / "three.wav", 3)
    write(folder / "three.txt", "...\n")
    report = run(folder, library)
    assert (report.layout, report.added, report.unknown_text) == ("folder with .txt", 3, 2)
    clips = by_place(library)
    assert clips["anna/one.wav"].text_normalized == "turn on the lights please"
    assert clips["anna/one.wav"].speaker == "corpus/anna" and clips["two.wav"].speaker == ""
    assert not clips["two.wav"].text_known and not clips["three.wav"].text_known


def test_long_recordings_without_text_are_cut_into_unknown_text(folder: Path, library: Library) -> None:
    put(folder / "street.wav", 1, seconds=80)
    put(folder / "b.wav", 2)
    report = run(folder, library)
    assert (report.layout, report.added, report.unknown_text) == ("folder without transcripts", 4, 4)
    assert report.hours * 3600 == pytest.approx(80.5)
    clips = by_place(library)
    assert sorted(clips) == ["b.wav", "street.wav@0.000+30.000", "street.wav@30.000+30.000", "street.wav@60.000+20.000"]
    assert all(not clip.text_known and clip.text_normalized == "" for clip in clips.values())
    assert library.transcripts("en", 10, 0) == [] and library.clips_with_texts([""], "en") == []
    assert run(folder, library).already_there == 4


def test_a_later_transcript_is_added_to_its_clip(folder: Path, library: Library) -> None:
    put(folder / "a.wav", 1)
    assert run(folder, library).unknown_text == 1
    write(folder / "a.txt", "Hey, compass!")
    report = run(folder, library)
    assert (report.added, report.already_there, report.transcribed) == (0, 1, 1)
    assert [clip.text_original for clip in library.search("hey compass", 2)] == ["Hey, compass!"]


def test_unusable_files_are_skipped_and_counted_by_reason(folder: Path, library: Library) -> None:
    good = put(folder / "good.wav", 1)
    (folder / "empty.wav").write_bytes(b"")
    soundfile.write(str(folder / "header_only.wav"), np.zeros(0, np.float32), 16000)
    put(folder / "short.wav", 2, seconds=0.1)
    put(folder / "long.wav", 3, seconds=61)
    soundfile.write(str(folder / "silent.wav"), np.zeros(8000, np.float32), 16000)
    (folder / "renamed.wav").write_bytes(b"%PDF-1.4 " + bytes(5000))
    (folder / "cut.flac").write_bytes(put(folder.parent / "whole.flac", 4).read_bytes()[:60])
    for path in (*folder.glob("*.wav"), folder / "cut.flac"):
        write(path.with_suffix(".txt"), "some words")
    report = run(folder, library)
    assert report.added == 1 and list(by_place(library)) == [good.name]
    assert report.skipped.pop("unreadable") >= 1
    assert sum(report.skipped.values()) <= 6
    assert {"too short": 1, "too long": 1, "silent": 1}.items() <= report.skipped.items()
    assert report.skipped.get("empty", 0) >= 1
    assert check_library(library, left_over_after_s=0).ok


def test_the_same_audio_is_never_copied_twice(folder: Path, library: Library, tmp_path: Path) -> None:
    for place in (folder, tmp_path / "moved"):
        put(place / "a.wav", 1)
        put(place / "copy_of_a.wav", 1)
        put(place / "b.wav", 2)
    first = run(folder, library)
    assert (first.added, first.already_there) == (2, 1)
    assert run(folder, library).added == 0
    moved = run(tmp_path / "moved", library, licence="CC0-1.0")
    assert (moved.added, moved.already_there) == (0, 3)
    assert {clip.licence for clip in library.iter_clips()} == {"CC0-1.0"}, "the unknown licences are set"
    assert run(tmp_path / "moved", library, licence="MIT").added == 0
    assert {clip.licence for clip in library.iter_clips()} == {"CC0-1.0"}, "known licences remain"
    assert library.stats().clips == 2
    assert corpus_name(folder) != corpus_name(tmp_path / "moved")


def test_a_limit_is_spread_over_the_corpus_and_counts_stored_clips(folder: Path, library: Library) -> None:
    for speaker in range(8):
        for take in range(12):
            put(folder / f"s{speaker}" / f"{take}.wav", speaker * 100 + take)
    limit_hours = 24 * 0.5 / 3600
    report = run(folder, library, limit_hours=limit_hours, own=True)  # each file is measured, and then decoded
    assert report.limit_reached and 24 <= report.added <= 30
    assert len({clip.speaker for clip in library.iter_clips()}) >= 6, "not the first speakers only"
    again = run(folder, library, limit_hours=limit_hours, own=True)
    assert again.added == 0 and again.limit_reached
    rest = run(folder, library, own=True)
    assert report.added + rest.added == 96 and rest.already_there == report.added


def test_a_corpus_is_listed_once_despite_a_limit(
    folder: Path, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def counted(place: str, *arguments: Any, **options: Any) -> Iterator[Any]:
        calls.append(place)
        return called(place, *arguments, **options)

    monkeypatch.setattr("pipeline.corpora.listing.called", counted)
    for number in range(3):
        put(folder / "wavs" / f"{number}.wav", number)
    write(folder / "metadata.csv", "".join(f"{number}|One.|One.\n" for number in range(3)))
    assert run(folder, library, limit_hours=1.0).added == 3
    assert len(calls) == 2, "two listings: layout and licence, then utterances"


def test_import_progress_is_reported(folder: Path, library: Library) -> None:
    put(folder / "a.wav", 1)
    put(folder / "b.wav", 2)
    events: list[dict[str, Any]] = []
    import_corpus(folder, library, "en", Reporter(events.append))
    assert events[0]["event"] == "stage"
    assert [event["message"] for event in events if event["event"] == "log"] != [], "an unknown licence is reported"
    assert [(e["done"], e["total"]) for e in events if e["event"] == "progress"][-1] == (2, 2)


def test_a_folder_without_a_corpus_is_rejected(folder: Path, library: Library) -> None:
    with pytest.raises(HarkError, match="no corpus"):
        run(folder, library)
    with pytest.raises(HarkError, match="no folder"):
        run(folder / "nowhere", library)
    assert len({layout.name for layout in LAYOUTS}) == len(LAYOUTS) == 7


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("CC BY 4.0 (openslr.org/12)", "CC-BY-4.0"),
        ("https://creativecommons.org/licenses/by-sa/4.0/", "CC-BY-SA-4.0"),
        ("licensed under CC BY-NC-SA 4.0", "CC-BY-NC-SA-4.0"),
        ("Attribution-NonCommercial 4.0 International", "CC-BY-NC-4.0"),
        ("dedicated to the public domain", "public domain"),
        ("GPL-3 / CC BY-SA 4.0 per project", "CC-BY-SA-4.0 AND GPL"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("committed with care; permitted uses", "unknown"),
    ],
)
def test_licences_are_read_from_the_corpus(folder: Path, text: str, licence: str) -> None:
    write(folder / "README.md", text)
    assert licence_of(folder)[0] == licence


def test_an_export_can_be_imported(folder: Path, library: Library, tmp_path: Path) -> None:
    library.add_clips(
        [
            NewClip(noise(0.5, n), f"Text {n}!", f"text {n}", "en", "espeak", speaker="s", licence="MIT")
            for n in range(3)
        ]
    )
    export_clips(library, folder, ClipQuery())
    with Library(tmp_path / "other") as other:
        report = run(folder, other)
        assert (report.layout, report.added) == ("NeMo manifest", 3)
        assert {(c.text_original, c.speaker, c.licence) for c in other.iter_clips()} == {
            (f"Text {n}!", "s", "MIT") for n in range(3)
        }
        assert {c.sha256 for c in other.iter_clips()} == {c.sha256 for c in library.iter_clips()}


IMPORT = """
import sys
from pathlib import Path
import pipeline.corpora.importing as corpus
from db.db_api import Library
from core.events import Reporter
corpus.CHUNK = 4
corpus.usable_cores = lambda: 1
with Library(Path(sys.argv[2])) as library:
    corpus.import_corpus(Path(sys.argv[1]), library, "en", Reporter(lambda event: print(event, flush=True)))
"""


def test_an_import_continues_after_a_kill(folder: Path, tmp_path: Path) -> None:
    for number in range(32):
        put(folder / f"{number}.wav", number)
        write(folder / f"{number}.txt", f"text {number}")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", IMPORT, str(folder), str(tmp_path / "data")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    for line in process.stdout:
        if "'done': " in line and int(line.split("'done': ")[1].split(",")[0]) >= 8:
            process.send_signal(signal.SIGKILL)
            break
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    with Library(tmp_path / "data") as library:
        kept = library.stats().clips
        assert 8 <= kept < 32
        report = run(folder, library)
        assert (report.added, report.already_there) == (32 - kept, kept)
        assert check_library(library, repair=True, left_over_after_s=0).ok
        assert library.stats().clips == 32


def encoded(seed: int, rate: int = 16000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, noise(0.5, seed, rate=rate), rate, format="FLAC")
    return buffer.getvalue()


@pytest.fixture
def peoples_speech_folder(folder: Path) -> Path:
    for package in ("datasets", "pyarrow"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    import pyarrow
    import pyarrow.parquet

    (folder / "clean").mkdir()
    for shard in range(2):
        rows = [
            {
                "id": f"talk_{shard}/{n}.flac",
                "audio": {"bytes": encoded(shard * 100 + n), "path": f"{n}.flac"},
                "duration_ms": 500,
                "text": f"hello number {n} of {shard}",
                "licence": "CC-BY-3.0" if shard else "CC-BY-4.0",
            }
            for n in range(10)
        ]
        if shard == 0:
            rows[3]["audio"] = {"bytes": b"no audio", "path": "3.flac"}
            rows[4]["text"] = ""
        table = pyarrow.Table.from_pylist(rows)
        pyarrow.parquet.write_table(table, folder / "clean" / f"train-{shard:05}-of-00002.parquet")
    return folder


def test_peoples_speech_is_imported_up_to_a_cap(
    peoples_speech_folder: Path, library: Library, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HARK_DATA", str(library.data_dir))
    make_environment(monkeypatch, tmp_path / "engines", "tps")
    monkeypatch.setattr(corpus_module, "CHUNK", 4)
    reporter = silent_reporter()
    first = import_peoples_speech(library, reporter, 3.0 / 3600, location=peoples_speech_folder)
    assert (first.added, first.skipped, first.unknown_text) == (6, {"unreadable": 1}, 1)
    assert first.limit_reached and first.licence == "CC-BY-4.0"
    assert import_peoples_speech(library, reporter, 3.0 / 3600, location=peoples_speech_folder).added == 0
    with pytest.raises(HarkError, match="dirty_sa"):
        import_peoples_speech(library, reporter, 1.0, peoples_speech_folder, "dirty_sa")
    rest = import_peoples_speech(library, reporter, 1.0, location=peoples_speech_folder)
    assert (rest.added, rest.already_there, rest.limit_reached) == (13, 6, False)
    clips = by_place(library)
    assert clips["talk_1/2.flac"].text_normalized == "hello number two of one"
    assert clips["talk_1/2.flac"].licence == "CC-BY-3.0" and not clips["talk_0/4.flac"].text_known
    assert np.abs(library.read_audio(clips["talk_1/2.flac"]) - noise(0.5, 102)).max() < 1e-3
    assert check_library(library, left_over_after_s=0).problems == ()


def test_a_folder_without_peoples_speech_is_rejected(folder: Path, library: Library) -> None:
    with pytest.raises(HarkError):
        import_peoples_speech(library, silent_reporter(), 1.0, location=folder)


def test_peoples_speech_without_its_package_is_explained(
    folder: Path, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARK_ENGINES_ENV", str(folder / "no environments"))
    with pytest.raises(HarkError) as raised:
        import_peoples_speech(library, silent_reporter(), 1.0, location=folder)
    assert "datasets" in raised.value.why and "engines enable tps" in raised.value.what_to_do


def test_real_speech_in_a_manifest_is_imported(shared_data: Path, library: Library) -> None:
    folder = shared_data / "speech" / "librispeech-dev-clean"
    if not folder.is_dir():
        pytest.skip("the shared speech is not here")
    assert layout_of(folder).name == "NeMo manifest"
    report = run(folder, library, limit_hours=0.02)
    assert report.limit_reached and 0.02 <= report.hours < 0.05 and report.licence == "CC-BY-4.0"
    assert report.skipped == {}
    assert all(clip.text_normalized and clip.speaker.startswith("libri-") for clip in library.iter_clips())
