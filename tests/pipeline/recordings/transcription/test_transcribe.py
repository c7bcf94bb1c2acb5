"""Whole files: pieces, times, progress, resuming, channels, languages, and files that are not audio."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from core.audio_file import SAMPLE_RATE
from core.errors import HarkError
from core.events import Event, Reporter, silent_reporter
from pipeline.recordings.files import media
from pipeline.recordings.transcription import segmenting
from pipeline.recordings.transcription import transcribe as module
from pipeline.recordings.transcription.transcribe import PROGRESS_FILE, TranscribeOptions, transcribe
from pipeline.recordings.transcripts import captions
from pipeline.recordings.transcripts.transcript import Segment, Transcript, from_json
from pipeline.recordings.transcripts.transcript import as_json as transcript_json
from tests.support.scripted_engine import Scripted, said, use_engines
from tests.support.sounds import noise
from tests.support.untrained_bundle import spoken

ONE = "the weather will be nice tomorrow"
OTHER = "please call me when you are at home"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> Scripted:
    """The only recognition engine."""
    double = Scripted()
    use_engines(monkeypatch, double)
    return double


@pytest.fixture
def two_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take any two channels for two people's."""
    monkeypatch.setattr(module, "two_speakers", lambda path: True)


def flac(path: Path, *channels: np.ndarray, rate: int = SAMPLE_RATE) -> Path:
    soundfile.write(path, np.stack(channels, axis=1) if len(channels) > 1 else channels[0], rate)
    return path


def three_sentences() -> np.ndarray:
    """Three pieces: the pauses are longer than those within a piece."""
    return np.concatenate([spoken(ONE, 1.0, 3.0), spoken(OTHER, 1.0, 3.0), spoken(ONE, 1.0, 2.0)])


def transcribed(path: Path, work: Path, **options: Any) -> Transcript:
    return transcribe(path, TranscribeOptions(**options), work, silent_reporter())


def test_chunks_become_segments_at_their_times(engine: Scripted, tmp_path: Path) -> None:
    audio = three_sentences()
    found = transcribed(flac(tmp_path / "a.flac", audio), tmp_path / "work")
    assert [segment.text for segment in found.segments] == ["piece 1", "piece 2", "piece 3"]
    assert found.duration_s == pytest.approx(len(audio) / SAMPLE_RATE, abs=0.01)
    assert found.engine == "scripted a" and found.language == "en" and found.diarization == ""
    assert found.versions["scripted"] == "1" and "silero-vad" in found.versions
    first = len(spoken(ONE, 1.0, 3.0)) / SAMPLE_RATE
    assert 0.8 < found.segments[0].start_s < 1.3
    assert first + 0.8 < found.segments[1].start_s < first + 1.3
    assert found.segments[1].words[0].start_s == found.segments[1].start_s
    assert from_json(json.loads(json.dumps(transcript_json(found)))) == found


def test_silence_and_noise_are_not_sent_to_an_engine(engine: Scripted, tmp_path: Path) -> None:
    for name, level in (("silence", 0.0), ("noise", 0.05)):
        found = transcribed(flac(tmp_path / f"{name}.flac", noise(20.0, level=level)), tmp_path / name)
        assert found.segments == () and found.text == ""
    assert engine.heard == []


def test_very_short_recordings_are_transcribed(engine: Scripted, tmp_path: Path) -> None:
    assert len(transcribed(flac(tmp_path / "a.flac", spoken("yes", 0.2, 0.2)), tmp_path / "a").segments) <= 1
    assert transcribed(flac(tmp_path / "b.flac", np.zeros(1, np.float32)), tmp_path / "b").segments == ()


def test_progress_counts_seconds_with_the_remaining_time(engine: Scripted, tmp_path: Path) -> None:
    events: list[Event] = []
    path = flac(tmp_path / "a.flac", three_sentences())
    transcribe(path, TranscribeOptions(), tmp_path / "work", Reporter(events.append))
    assert [event["name"] for event in events if event["event"] == "stage"] == ["listen", "transcribe"]
    assert any("the test has it" in event["message"] for event in events if event["event"] == "log")
    start = max(n for n, event in enumerate(events) if event["event"] == "stage")
    steps = [event for event in events[start:] if event["event"] == "progress"]
    assert [step["done"] for step in steps] == sorted(step["done"] for step in steps)
    assert steps[0]["done"] == 0 and steps[-1]["done"] == pytest.approx(steps[-1]["total"], abs=0.1)
    assert 5 < steps[-1]["total"] < len(three_sentences()) / SAMPLE_RATE
    assert steps[1]["eta_s"] is not None and steps[-1]["eta_s"] == pytest.approx(0.0, abs=0.1)


def test_transcription_resumes_after_a_failure(engine: Scripted, tmp_path: Path) -> None:
    path, work = flac(tmp_path / "a.flac", three_sentences()), tmp_path / "work"
    engine.fails_at = 3
    with pytest.raises(HarkError, match="It failed"):
        transcribed(path, work)
    engine.fails_at = 0
    found = transcribed(path, work)
    assert len(engine.heard) == 4  # two pieces, the one that failed, and that one again
    assert [segment.text for segment in found.segments] == ["piece 1", "piece 2", "piece 4"]
    assert transcribed(path, work) == found and len(engine.heard) == 4  # and once more: nothing is left to do


def test_a_truncated_line_is_recognized_again(engine: Scripted, tmp_path: Path) -> None:
    path, work = flac(tmp_path / "a.flac", three_sentences()), tmp_path / "work"
    whole = transcribed(path, work)
    raw = (work / PROGRESS_FILE).read_bytes()
    last = raw.rstrip(b"\n").rindex(b"\n") + 1
    for cut in (last + 1, len(raw) - 1, len(raw) - 20, last):
        (work / PROGRESS_FILE).write_bytes(raw[:cut])
        engine.heard = engine.heard[:2]
        assert transcribed(path, work) == whole
        assert len(engine.heard) == 3
        assert (work / PROGRESS_FILE).read_bytes() == raw


@pytest.mark.parametrize("content", [b"", b"\n", b"nonsense\n", b"[]\n{}\n", b'{"schema": 1}\n', b"\xff\xfe\x00"])
def test_a_damaged_progress_file_restarts_transcription(engine: Scripted, tmp_path: Path, content: bytes) -> None:
    path, work = flac(tmp_path / "a.flac", three_sentences()), tmp_path / "work"
    work.mkdir()
    (work / PROGRESS_FILE).write_bytes(content)
    assert len(transcribed(path, work).segments) == 3 == len(engine.heard)


def test_a_different_engine_model_language_or_recording_restarts_transcription(
    engine: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, work = flac(tmp_path / "a.flac", three_sentences()), tmp_path / "work"
    transcribed(path, work)
    for change in ("words", "model", "name", "language", "audio"):
        before = len(engine.heard)
        options: dict[str, Any] = {}
        if change == "words":
            options["words"] = ("Siobhan",)
        elif change == "model":
            engine.model = "b"
        elif change == "name":
            engine.name = "renamed"
            use_engines(monkeypatch, engine)
        elif change == "language":
            options["language"] = "de"
        else:
            flac(path, three_sentences() * np.float32(0.9))
        transcribed(path, work, **options)
        assert len(engine.heard) == before + 3, change
        assert list(engine.expected[-1]) == list(options.get("words", [])), change


def test_two_people_on_two_channels_are_separate_speakers(engine: Scripted, tmp_path: Path, two_people: None) -> None:
    one, other = spoken(ONE, 1.5, 1.5), spoken(OTHER, 1.5, 1.5)  # pauses that separate chunks
    quiet_one, quiet_other = np.zeros_like(one), np.zeros_like(other)
    left = np.concatenate([one, quiet_other, one])
    right = np.concatenate([quiet_one, other, 0.5 * one])  # at the end both speak
    found = transcribed(flac(tmp_path / "a.flac", left, right), tmp_path / "work")
    assert [(segment.speaker, segment.overlap) for segment in found.segments[:2]] == [("L", False), ("R", False)]
    assert {(segment.speaker, segment.overlap) for segment in found.segments[2:]} == {("L", True), ("R", True)}
    assert found.speakers == {"L": "Left", "R": "Right"} and found.diarization == "channels"


@pytest.mark.parametrize("found", [[], [said("by ginger low", 0.0, 2.0, language="")]])
def test_a_channel_in_another_language_is_marked_not_recognized(
    monkeypatch: pytest.MonkeyPatch, data_dir: Path, tmp_path: Path, two_people: None, found: list[Segment]
) -> None:
    english = Scripted(languages=("en",))
    use_engines(monkeypatch, english)
    english.write = lambda audio: [said("good morning", 0.2, 2.0)] if np.abs(audio).max() > 0.2 else list(found)
    one, other = spoken(ONE, 1.5, 1.5), spoken(" and ".join([OTHER] * 2), 1.5, 1.5)
    left, right = np.concatenate([one, 0 * other]), np.concatenate([0 * one, 0.1 * other / np.abs(other).max()])
    call = flac(tmp_path / "a.flac", left, right)
    transcript = transcribed(call, tmp_path / "work")
    assert [(segment.speaker, segment.text) for segment in transcript.segments] == [("L", "good morning"), ("R", "")]
    assert b"Right: [not recognized]" in captions.write(transcript, "txt")
    assert len(transcribed(call, tmp_path / "en", language="en").segments) == 1 + len(found)


def test_a_voice_that_leaks_into_the_other_microphone_is_transcribed_once(
    engine: Scripted, tmp_path: Path, two_people: None
) -> None:
    one, other = spoken(ONE, 1.0, 1.0), spoken(OTHER, 1.0, 1.0)
    left = np.concatenate([one, 0.05 * other])
    right = 0.3 * np.concatenate([0.05 * one, other])  # this microphone is quieter
    found = transcribed(flac(tmp_path / "a.flac", left, right), tmp_path / "work")
    assert [segment.speaker for segment in found.segments] == ["L", "R"]


def test_one_person_on_two_channels_is_transcribed_once(engine: Scripted, tmp_path: Path) -> None:
    audio = spoken(ONE, 1.0, 1.0)
    found = transcribed(flac(tmp_path / "a.flac", audio, audio), tmp_path / "work")
    assert [segment.speaker for segment in found.segments] == [""]
    assert found.speakers == {} and found.diarization == ""
    assert engine.heard[0][1] == pytest.approx(float(np.abs(audio).max()), abs=1e-3)  # not twice as loud


def test_stereo_mono_and_duplicated_mono_give_the_right_speakers(engine: Scripted, tmp_path: Path) -> None:
    one, other = spoken(ONE, 1.0, 1.0), spoken(OTHER, 1.0, 1.0)
    left = np.concatenate([one, np.zeros_like(other)] * 3)
    right = np.concatenate([np.zeros_like(one), other] * 3)
    files = {
        "stereo": flac(tmp_path / "stereo.flac", left, right),
        "mono": flac(tmp_path / "mono.flac", left + right),
        "twice": flac(tmp_path / "twice.flac", left + right, left + right),
    }
    found = {name: transcribed(path, tmp_path / name) for name, path in files.items()}
    assert {segment.speaker for segment in found["stereo"].segments} == {"L", "R"}
    assert found["stereo"].segments[0].speaker == "L" and list(found["stereo"].speakers) == ["L", "R"]
    for name in ("mono", "twice"):
        assert found[name].segments and {segment.speaker for segment in found[name].segments} == {""}
        assert found[name].diarization == ""
    together = transcribed(files["stereo"], tmp_path / "together", channels=False)
    assert {segment.speaker for segment in together.segments} == {""}


def test_each_segment_has_its_own_language(engine: Scripted, tmp_path: Path) -> None:
    languages = iter(["de", "en", "de", "en"])
    engine.write = lambda audio: [said("so ist es", 0.2, 1.0, next(languages))]
    found = transcribed(flac(tmp_path / "a.flac", three_sentences()), tmp_path / "work")
    assert [segment.language for segment in found.segments] == ["de", "en", "de"]
    assert found.language == "de"
    assert {language for _, _, language in engine.heard} == {None}
    named = transcribed(flac(tmp_path / "a.flac", spoken(ONE)), tmp_path / "other", language="en-gb")
    assert named.language == "en" and engine.heard[-1][2] == "en-gb"


def test_unreadable_files_are_rejected(engine: Scripted, tmp_path: Path) -> None:
    (tmp_path / "text.flac").write_text("no sound")
    (tmp_path / "empty.flac").write_bytes(b"")
    whole = flac(tmp_path / "whole.flac", three_sentences()).read_bytes()
    (tmp_path / "damaged.flac").write_bytes(whole[: len(whole) // 2])
    silence = np.zeros(100, np.float32)
    flac(tmp_path / "slow.flac", silence, rate=8000)
    flac(tmp_path / "many.flac", *[silence] * 7)
    for name in ("text", "empty", "slow", "many", "missing"):
        with pytest.raises(HarkError):
            transcribed(tmp_path / f"{name}.flac", tmp_path / "work")
    try:
        transcribed(tmp_path / "damaged.flac", tmp_path / "work2")  # transcribes what it can, or reports an error
    except HarkError as error:
        assert "damaged" in error.what
    with pytest.raises(HarkError, match="no recognition engine"):
        transcribed(tmp_path / "whole.flac", tmp_path / "work", engine="no such one")


def test_a_full_disk_is_reported(engine: Scripted, tmp_path: Path) -> None:
    path = flac(tmp_path / "a.flac", three_sentences())
    (tmp_path / "work").write_text("a file where the folder should be")
    with pytest.raises(HarkError):
        transcribed(path, tmp_path / "work")


def test_audio_is_read_in_blocks(engine: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    read = media.read

    def watched(recording: soundfile.SoundFile, frames: int) -> np.ndarray:
        sizes.append(frames)
        return read(recording, frames)

    for place in (media, module):
        monkeypatch.setattr(place, "read", watched)
    audio = np.tile(three_sentences(), 6)
    transcribed(flac(tmp_path / "a.flac", audio), tmp_path / "work")
    assert len(audio) > 60 * SAMPLE_RATE and max(sizes) <= 30 * SAMPLE_RATE


def test_segments_are_split_at_pauses_and_limited_in_length() -> None:
    words = [said(f"w{n}", n * 0.5, n * 0.5 + 0.4).words[0] for n in range(6)]
    words += [said(f"x{n}", 5 + n * 0.5, 5 + n * 0.5 + 0.4).words[0] for n in range(6)]
    whole = Segment(0.0, 8.0, " ".join(word.text for word in words), 0.9, tuple(words), "en")
    first, second = segmenting.split(whole)
    assert first.text == "w0 w1 w2 w3 w4 w5" and second.words[0].text == "x0"
    assert first.end_s == pytest.approx(2.9) and second.start_s == 5.0
    monologue = said(" ".join(f"w{n}" for n in range(100)), 0.0, 40.0)
    parts = segmenting.split(monologue)
    assert all(part.end_s - part.start_s <= 15.0 for part in parts) and len(parts) >= 3
    assert [word for part in parts for word in part.words] == list(monologue.words)
    bare = Segment(0.0, 60.0, "no words with times", 0.5)
    assert segmenting.split(bare) == [bare]
    endless = said("aaah", 0.0, 25.0)
    assert segmenting.split(endless) == [endless]


def test_harks_recognizer_transcribes_a_whole_file(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARK_SPEECH_SERVICE", "0")
    found = transcribed(flac(tmp_path / "a.flac", three_sentences()), tmp_path / "work", engine="hark")
    assert found.engine == "hark ctc" and found.language == "en"
    text = found.text.split()
    assert text.count("weather") == 2 and "home" in text
    assert all(0 < word.confidence <= 1 for segment in found.segments for word in segment.words)


@pytest.mark.parametrize("found", [[], [said("by ginger low", 0.0, 2.0, language="")]])
def test_speech_in_another_language_is_rejected(
    monkeypatch: pytest.MonkeyPatch, data_dir: Path, tmp_path: Path, found: list[Segment]
) -> None:
    made = Scripted(languages=("en",))
    use_engines(monkeypatch, made, Scripted("other", languages=None))
    made.write = lambda audio: list(found)
    speech = flac(tmp_path / "a.flac", spoken(ONE, 1.0, 1.0))
    with pytest.raises(HarkError, match="Choose the spoken language") as caught:
        transcribed(speech, tmp_path / "a", engine="scripted")
    assert "scripted supports only the language en," in caught.value.why
    assert len(transcribed(speech, tmp_path / "b", language="en").segments) == len(found), (
        "a given language is accepted"
    )
    word = flac(tmp_path / "c.flac", spoken(ONE, 0.2, 0.2)[: round(1.2 * SAMPLE_RATE)])
    with pytest.raises(HarkError, match="Choose the spoken language"):
        transcribed(word, tmp_path / "e", engine="scripted")
    quiet = flac(tmp_path / "b.flac", np.zeros(2 * SAMPLE_RATE, np.float32))
    assert transcribed(quiet, tmp_path / "c", engine="scripted").segments == ()
    made._languages = None
    assert len(transcribed(speech, tmp_path / "d", engine="scripted").segments) == len(found), "it detects the language"
