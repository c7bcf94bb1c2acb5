"""splice as an engine: its voices and its answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from audio_generation.engine import FailedRequest, GeneratedClip, SpeechRequest
from audio_generation.splice_side import inventory
from audio_generation.splice_side.inventory import SHIPPED, people
from audio_generation.splice_side.splice import Splice
from core.audio_file import read_audio
from db.alignments import EMISSIONS_FOLDER
from db.db_api import Library
from db.records import AlignedUnit, NewClip, real_speaker
from tests.support.splice_voice import sung

ALIGNER = "recognizer-phones-0000abcd"
TEXTS = ("see the silver mirror in may", "turn the yellow lamp to me", "the mirror is seven miles away")


def fill(
    library: Library, speaker: str, aligned: bool = True, copies: int = 1, licence: str = "CC-BY-4.0"
) -> list[int]:
    """Recordings of one person, with true phone times."""
    text = " ".join(TEXTS * 3)  # about 17 s
    recordings = [(sung(text, f"{copy}", 110 + 5 * copy), text) for copy in range(copies)]
    ids = library.add_clips(
        NewClip(r.audio, text, text, "en", "corpus", speaker=speaker, licence=licence, source=f"c:{speaker}/{r.name}")
        for r, text in recordings
    )
    if aligned:
        (library.data_dir / EMISSIONS_FOLDER / ALIGNER).mkdir(parents=True, exist_ok=True)
        library.alignments.replace(
            ALIGNER,
            {
                clip_id: [
                    *(AlignedUnit("word", w.label, w.start_s, w.end_s, 0.9) for w in recording.words),
                    *(AlignedUnit("phone", p.label, p.start_s, p.end_s, 0.9) for p in recording.phones),
                ]
                for clip_id, (recording, _) in zip(ids, recordings, strict=True)
            },
        )
    return ids


@pytest.fixture
def engine(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Splice]:
    """The engine without the shipped people, for which a few seconds are enough."""
    monkeypatch.setattr(inventory, "MIN_SPEECH_S", 5.0)
    made = Splice()
    made.shipped = data_dir / "no-such.zip"
    yield made
    made.close()


def test_without_recordings_the_engine_reports_why_and_what_to_do(engine: Splice, data_dir: Path) -> None:
    readiness = engine.available()
    assert not readiness.ok and "no-such.zip" in readiness.why and readiness.how_to_enable
    assert engine.voices("en") == []
    damaged = Splice()
    damaged.shipped = data_dir / "damaged.zip"
    damaged.shipped.write_bytes(b"PK\x03\x04 nonsense")
    assert not damaged.available().ok
    with Library(data_dir) as library:
        fill(library, "unaligned", aligned=False)
    assert not engine.available().ok
    (data_dir / "library.sqlite3").write_bytes(b"no database at all" * 100)
    assert people(engine.shipped, data_dir) == []


def test_speakers_with_aligned_recordings_become_voices(engine: Splice, data_dir: Path) -> None:
    with Library(data_dir) as library:
        ids = fill(library, "libri-77", licence="CC0-1.0") + fill(library, "libri-78")
        fill(library, "unaligned", aligned=False)
        fill(library, "")
        library.change_settings(fill(library, "user-1"), {"role": "test"})  # never trained on, and not used as a voice
        speakers = {real_speaker(clip) for clip in library.clips(ids)}
    voices = engine.voices("en")
    assert {voice.speaker for voice in voices} == speakers == {"libri-77", "libri-78"}
    assert {voice.name: voice.licence for voice in voices}["libri-77"] == "CC0-1.0"
    assert engine.voices("de") == []


@pytest.mark.usefixtures("engine")
def test_a_shipped_speaker_in_the_library_is_one_voice(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "shipped_people", lambda path: [
        inventory.Person(name, name, "en-us", "CC0-1.0", "shipped") for name in ("libri-77", "libri-1")
    ])  # fmt: skip
    with Library(data_dir) as library:
        fill(library, "libri-77")
    found = people(inventory.SHIPPED, data_dir)
    assert [(p.name, bool(p.clips)) for p in found] == [("libri-77", True), ("libri-1", False)]


def test_each_result_names_its_own_sources(engine: Splice, data_dir: Path) -> None:
    with Library(data_dir) as library:
        ids = fill(library, "libri-77", copies=8)  # two minutes: the worker does not know the fixture's limit
    texts = ["silver mirror", "kick", "   ", "see me turn, please", "seven yellow lamps"]
    requests = [SpeechRequest(str(n), text, "libri-77", "en", {"seed": 3}) for n, text in enumerate(texts)]
    results = list(engine.synthesize(requests, data_dir / "out"))
    assert [result.request_id for result in results] == [request.request_id for request in requests]
    failed = {r.request_id: r.why for r in results if isinstance(r, FailedRequest)}
    assert set(failed) == {"1", "2"} and "'k'" in failed["1"] and "nothing to pronounce" in failed["2"]
    first = results[0]
    assert isinstance(first, GeneratedClip) and first.speaker == "libri-77" and first.settings == {"seed": 3}
    model, _, sources = first.model_name.partition(": ")
    assert model == "splice library"
    assert {source.partition("@")[0] for source in sources.split()} <= {f"clip-{clip_id}" for clip_id in ids}
    assert np.sqrt(np.mean(read_audio(first.path) ** 2)) > 0.01


def test_the_shipped_people_speak(data_dir: Path) -> None:
    if not SHIPPED.is_file():
        pytest.skip(f"{SHIPPED.name} is not there")
    engine = Splice()
    try:
        voices = engine.voices("en-us")
        assert len(voices) >= 8 and len({voice.speaker for voice in voices}) == len(voices)
        assert all(voice.licence.startswith("CC") for voice in voices)
        rng = np.random.default_rng(0)
        settings = engine.draw_settings(voices[0], rng)
        request = SpeechRequest("x", "hey compass", voices[0].name, "en", settings)
        (result,) = engine.synthesize([request], data_dir / "out")
        assert isinstance(result, GeneratedClip), result
        assert 0.4 < result.duration_s < 2.0 and "units-en" in result.model_name
    finally:
        engine.close()
