"""Hark's recognizer adapted to a user's recordings: used and excluded data, and a whole small run."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.audio_file import SAMPLE_RATE, write_audio
from core.errors import HarkError
from core.events import Event, Reporter, silent_reporter
from model.asr.network import Recognizer, shipped_recognizer
from pipeline.jobs import RECOGNIZER_STAGES
from pipeline.recordings import adapt_recognizer as recognizer_job
from pipeline.recordings.adapt_recognizer import Passage, collect, left_out, train_recognizer
from pipeline.recordings.transcription.hark_engine import SHIPPED
from pipeline.recordings.transcription.registry import choose, with_model
from pipeline.recordings.transcripts.transcript import Segment, Transcript, save_transcript
from tests.support.constants import replace_in
from tests.support.moonshine_package import replace_package

TEXTS = ("we ship the compass on friday", "the budget is fine", "open the window", "nobody knows the way home")


def make_recording(
    data: Path, name: str, segments: list[Segment], audio: np.ndarray | None = None, language: str = "en"
) -> Path:
    """A transcribed recording on the disk."""
    folder = data / "audio" / name
    folder.mkdir(parents=True)
    if audio is None:
        audio = 0.01 * np.random.default_rng(0).standard_normal(20 * SAMPLE_RATE)
    write_audio(folder / "audio.flac", audio)
    save_transcript(
        Transcript(len(audio) / SAMPLE_RATE, language, "double", tuple(segments)), folder / "transcript.json"
    )
    return folder


def segment(number: int, text: str, *, edited: bool = False, confidence: float = 0.9) -> Segment:
    return Segment(3.0 * number, 3.0 * number + 2.0, text, confidence, edited=edited, speaker="S1")


def test_training_uses_checked_passages(tmp_path: Path) -> None:
    segments = [
        segment(0, "Checked, by a person!", edited=True),
        segment(1, "only heard"),
        segment(2, "hardly heard", confidence=0.2),
        replace(segment(3, "two at once", edited=True), overlap=True),
        replace(segment(4, "far too short", edited=True), end_s=12.1),
    ]
    make_recording(tmp_path, "a", segments)
    make_recording(tmp_path, "b", [segment(0, "auf deutsch", edited=True)], language="de")
    (tmp_path / "audio" / "c").mkdir()
    (tmp_path / "audio" / "c" / "transcript.json").write_text("{cut off")
    found = list(collect(tmp_path, silent_reporter()))
    assert [(one.text, one.recording) for one in found] == [("checked by a person", "a")]


def test_the_held_out_passages_do_not_depend_on_speakers() -> None:
    passages = [Passage("a", float(n), n + 1.0, f"text {n}", "S1") for n in range(500)]
    found = left_out(passages)
    assert 60 < len(found) < 140
    assert found == left_out([replace(one, speaker="S2") for one in passages])


def test_training_and_test_are_never_empty() -> None:
    passages = [Passage("a", float(n), n + 1.0, f"text {n}", "S1") for n in range(500)]
    for chosen in (0, 1):
        alike = [one for one in passages if (one.lot % recognizer_job.HELD_OUT == 0) == bool(chosen)][:5]
        assert len(left_out(alike)) == 1


def test_a_run_with_too_few_corrected_words_trains_nothing(tmp_path: Path) -> None:
    heard = [segment(number, text) for number, text in enumerate(TEXTS)]
    make_recording(tmp_path, "a", [*heard, segment(5, "the words of a person", edited=True)])
    assert train_recognizer({"epochs": 1}, tmp_path, silent_reporter()) == {"segments": 1}
    assert not (tmp_path / "asr").exists()


def spoken(tmp_path: Path) -> tuple[list[np.ndarray], list[str]]:
    """Recordings of the texts, each twice, by an engine that is always installed."""
    from audio_generation.engine import GeneratedClip, SpeechRequest
    from audio_generation.registry import engine_named
    from core.audio_file import read_audio

    engine = engine_named("espeak")
    voices = engine.voices("en-us")[:3]
    texts = [text for text in TEXTS for _ in voices]
    requests = [
        SpeechRequest(f"s{n}", text, voices[n % len(voices)].name, voices[n % len(voices)].language, {})
        for n, text in enumerate(texts)
    ]
    clips = list(engine.synthesize(requests, tmp_path))
    assert all(isinstance(clip, GeneratedClip) for clip in clips)
    return [read_audio(clip.path) for clip in clips if isinstance(clip, GeneratedClip)], texts


def test_a_whole_run_trains_and_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_in(recognizer_job, monkeypatch, SYNTHETIC=4, BATCH_S=8.0)
    pause = np.zeros(SAMPLE_RATE // 2, np.float32)
    clips, texts = spoken(tmp_path / "said")
    parts, segments, place = [], [], 0
    for clip, text in zip(clips, texts):
        segments.append(Segment(place / SAMPLE_RATE, (place + len(clip)) / SAMPLE_RATE, text, 0.5, edited=True))
        parts += [clip, pause]
        place += len(clip) + len(pause)
    make_recording(tmp_path, "a", segments, np.concatenate(parts))
    # A recording with its text in one piece, which is aligned to it.
    given = make_recording(tmp_path, "b", [], np.concatenate([pause, clips[0], pause, clips[3], pause]))
    (given / "given.txt").write_text(f"{texts[0].title()}. {texts[3].title()}.")
    events: list[Event] = []
    folder = tmp_path / recognizer_job.FOLDER
    folder.mkdir(parents=True)
    earlier = recognizer_job._keep(shipped_recognizer()[0], folder, before=2.0, after=1.9)  # weights of an earlier run
    options = {"epochs": 1, "batch_size": 2, "subset": 60}
    result = train_recognizer(options, tmp_path, Reporter(events.append))
    stages = [event["name"] for event in events if event["event"] == "stage"]
    assert stages == list(dict(RECOGNIZER_STAGES))
    everything = len(list(recognizer_job.collect(tmp_path, silent_reporter())))
    learned = result["segments"] - result["held_out"]
    assert everything >= len(texts) + 1 and learned == math.ceil(0.6 * (everything - result["held_out"]))
    assert result["checked"] == result["segments"] and result["steps"] == learned
    assert 0 < result["held_out"] < result["segments"] and 0 <= result["before"] <= 2 and 0 <= result["after"] <= 2
    kept = Path(result["weights"]) if result["better"] else earlier
    assert list(folder.iterdir()) == [kept], "audio is removed, and only better weights replace those in use"


def test_options_out_of_range_are_rejected(tmp_path: Path) -> None:
    for options in ({"epochs": 51}, {"subset": 0}, {"batch_size": -2}):
        with pytest.raises(HarkError, match=next(iter(options))):
            train_recognizer(options, tmp_path, silent_reporter())


def test_given_epochs_are_trained_exactly() -> None:
    assert recognizer_job._steps(1.0, an_epoch=0.5) == 1 and recognizer_job._steps(50.0, an_epoch=60.0) == 3000
    with pytest.raises(HarkError, match="3010 steps") as refused:
        recognizer_job._steps(50.0, an_epoch=60.2)
    assert "at most 49.8 epochs" in refused.value.what_to_do


def test_a_run_without_epochs_has_neither_few_nor_many_steps() -> None:
    steps = [recognizer_job._steps(0.0, an_epoch) for an_epoch in (0.5, 100.0, 5000.0)]
    assert steps == [recognizer_job.MIN_STEPS, 400, recognizer_job.MAX_STEPS]


def test_the_engine_uses_only_improved_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from model.weights import load_weights

    model, _ = shipped_recognizer()
    folder = tmp_path / recognizer_job.FOLDER
    folder.mkdir(parents=True)
    assert recognizer_job._keep(model, folder, before=0.4, after=0.4) is None
    assert choose("hark", "en", tmp_path)[0].model == SHIPPED
    first = recognizer_job._keep(model, folder, before=0.4, after=0.3)
    second = recognizer_job._keep(model, folder, before=0.4, after=0.2)
    assert second is not None and list(folder.iterdir()) == [second] and second != first
    replace_package(monkeypatch, None)
    engine, why = choose("auto", "en", tmp_path)
    assert engine.model == str(second) and f"hark {second.stem}" in why
    assert choose("hark", "en")[0].model == SHIPPED  # other users do not use them
    assert load_weights(second, Recognizer)[1]["after"] == 0.2
    held = with_model("hark", str(second), "en")
    assert held is with_model("hark", str(second), "en")  # loaded once
    held.close()
