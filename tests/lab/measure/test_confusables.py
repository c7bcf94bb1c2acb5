"""Confusables of bundles: texts, voices, and the shares that a detector of tones accepts."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from audio_generation.engine import Engine
from audio_generation.hibari_side.hibari import Hibari
from audio_generation.kokoro_int8_side.kokoro_int8 import KokoroInt8
from benchmark import synthetic
from core.audio_file import write_audio
from core.errors import HarkError
from core.events import silent_reporter
from lab import BenchOptions, run_measurement
from lab.measure import confusables
from lab.measure.confusables import near_texts, phones_apart, table
from tests.support.choir import Choir
from tests.support.constants import replace_in
from tests.support.sounds import tone
from tests.support.wakeword_samples import recordings, tone_bundle


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> dict[str, Choir]:
    """The engines that speak: one that hums."""
    found = {"choir": Choir()}
    monkeypatch.setattr(synthetic, "default_engines", lambda: found)
    return found


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data_dir: Path, engines: dict[str, Choir]) -> Path:
    """Recordings, among them words near "computer" that sound like the phrase to the detector."""
    folder = recordings(tmp_path / "shared")
    corpus = folder / confusables.WORDS
    corpus.mkdir(parents=True)
    rows = []
    for number, (text, pitch) in enumerate([("commuter", 1000.0), ("computer", 1000.0), ("dog", 1000.0)] * 3):
        write_audio(corpus / f"{number}.wav", tone(0.6, pitch))
        rows.append({"audio_filepath": f"{number}.wav", "text": text, "speaker": "anna"})
    (corpus / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.setenv("HARK_SHARED", str(folder))
    replace_in(confusables, monkeypatch, VOICES=("choir", "mute"), TEXTS=12, CANDIDATES=400, PHRASE_TAKES=5)
    return folder


def test_distances_are_in_phones() -> None:
    assert phones_apart("computer", ["computer", "commuter", "commuters", "dog"])[:3] == [0, 1, 2]
    assert phones_apart("sauce", ["source"]) == [0]  # in London


def test_confusables_cover_every_distance_without_duplicates() -> None:
    texts = near_texts("computer", "en", 0)
    assert texts == near_texts("computer", "en", 0) != near_texts("computer", "en", 1)
    assert len(texts) == len(set(texts)) == confusables.TEXTS
    count = Counter(min(phones, 4) for phones in phones_apart("computer", texts))
    assert 0 not in count and set(count) == {1, 2, 3, 4} and count[4] < 60


def test_a_bundle_is_measured(shared: Path, tmp_path: Path) -> None:
    bundles = tone_bundle(tmp_path / "first"), tone_bundle(tmp_path / "second", "hey dog", gain=0.0)
    figures = run_measurement("confusables", BenchOptions(bundles=bundles), silent_reporter())
    one = figures["bundles"]["first"]
    assert one["itself"]["clean"]["all"] | {"low": 0, "high": 0} == {
        "clips": 5, "texts": 1, "value": 0.0, "low": 0, "high": 0,
    }  # fmt: skip
    assert one["near"]["kitchen"]["all"]["clips"] == 12 * confusables.TAKES
    assert one["near_by_engine"] == {"choir": 12 * confusables.TAKES}
    assert set(one["words"]["clean"]) == {"all", "1"}, "neither a distant word nor the phrase itself"
    assert one["words"]["clean"]["1"]["clips"] == 3 and one["words"]["clean"]["1"]["value"] == 1.0
    assert one["texts"]["commuter"]["phones"] == 1 and one["texts"]["commuter"]["clean"] >= 3
    assert figures["bundles"]["second"]["words"]["clean"]["all"]["value"] == 0.0
    assert "libriphrase" not in figures
    assert set(figures["not_measured"]) == {"libriphrase", "voices of mute"}
    text = table(figures)
    assert "real words, 1 phones away, accepted" in text and "accepted most: commuter" in text
    assert "not measured: libriphrase: there is no speech/librispeech-dev-clean" in text
    json.dumps(figures, allow_nan=False)


def test_missing_data_are_reported(
    shared: Path, engines: dict[str, Choir], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines.clear()
    (shared / confusables.WORDS / "manifest.jsonl").unlink()
    figures = run_measurement(
        "confusables", BenchOptions(bundles=(tone_bundle(tmp_path / "a"),), anchors=0), silent_reporter()
    )
    assert figures["bundles"] == {}
    assert set(figures["not_measured"]) == {"voices of choir", "voices of mute", "real words"}
    monkeypatch.setenv("HARK_SHARED", str(tmp_path / "nowhere"))
    with pytest.raises(HarkError, match="are missing"):
        run_measurement("confusables", BenchOptions(), silent_reporter())


def test_voices_reserved_for_measuring_speak_first(
    engines: dict[str, Choir], monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    choir = engines["choir"]
    monkeypatch.setattr(confusables, "VOICES", ("choir",))
    listed = [voice.name for one in confusables._voices("en", {})["choir"] for voice in one]
    kept = [
        replace(voice, name=f"kept {voice.name}", speaker=f"kept {n}") for n, voice in enumerate(choir.voices("en"))
    ]
    choir.reserved_voices = lambda language: kept
    found = confusables._voices("en", {})["choir"]
    assert listed and all(not name.startswith("kept") for name in listed)
    assert sorted(voice.name for one in found for voice in one) == sorted(voice.name for voice in kept)


@pytest.mark.parametrize("engine", [Hibari(), KokoroInt8()])
def test_no_run_uses_a_reserved_voice(engine: Engine) -> None:
    listed, kept = engine.find_voices("en"), engine.find_reserved_voices("en")
    assert len({voice.speaker for voice in kept}) >= 12
    assert not {voice.name for voice in kept} & {voice.name for voice in listed}
    assert not {voice.speaker for voice in kept} & {voice.speaker for voice in listed}
    assert engine.find_reserved_voices("de") == []
