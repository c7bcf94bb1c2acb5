"""The job "transcribe": every stage once, finished ones are not repeated, and failures are reported."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.audio_file import SAMPLE_RATE, read_audio, write_audio
from core.errors import HarkError
from core.events import Event, Reporter, silent_reporter
from pipeline.recordings import jobs as recording_jobs
from pipeline.recordings.summarization import words_of
from pipeline.recordings.transcripts.transcript import Transcript, load_transcript
from tests.support.ready_recordings import transcript_of_words
from tests.support.sounds import tone
from tests.support.untrained_bundle import spoken
from webui.translation import shown

pytestmark = pytest.mark.usefixtures("data_dir")
OPTIONS = {"engine": "auto", "language": None, "speakers": None, "diarize": True, "summarize": True}


@pytest.fixture
def spec(tmp_path: Path) -> dict[str, Any]:
    folder = tmp_path / "audio" / "r"
    folder.mkdir(parents=True)
    write_audio(folder / "original.wav", tone(3.0))
    return {
        "recording": "r", "folder": "audio/r", "originals": ["original.wav"], "name": "meeting.wav",
        "options": {**OPTIONS, "diarize": False}, "owner": True,
    }  # fmt: skip


class Engine:
    """A recognizer that records its calls."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.segments = tuple(replace(segment, speaker="") for segment in transcript_of_words().segments)

    def transcribe(self, audio: Path, options: Any, work: Path, reporter: Reporter) -> Transcript:
        self.asked.append((audio, options, work))
        return replace(transcript_of_words(), segments=self.segments, speakers={}, diarization="")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    engine = Engine()
    monkeypatch.setattr("pipeline.recordings.transcribing.transcribe", engine.transcribe)
    return engine


def transcribed(spec: dict[str, Any], data: Path) -> dict[str, Any]:
    return recording_jobs.transcribe_recording(spec, data, silent_reporter())


def test_a_job_writes_all_files_of_a_recording(spec: dict[str, Any], engine: Engine, tmp_path: Path) -> None:
    events: list[Event] = []
    spec["options"] = {**spec["options"], "engine": "hark", "language": "en"}
    killed = tmp_path / spec["folder"] / ".audio-85cdnc0o.flac"  # while it was written
    killed.write_bytes(b"fLaC")
    result = recording_jobs.transcribe_recording(spec, tmp_path, Reporter(events.append))
    assert not killed.exists()
    folder = tmp_path / "audio" / "r"
    assert len(read_audio(folder / "audio.flac")) == 3 * SAMPLE_RATE
    assert 1 < len(json.loads((folder / "waveform.json").read_text())) <= 1600
    assert load_transcript(folder / "transcript.json").segments[0].text == "We meet in the harbour on Tuesday"
    text = (folder / "transcript.txt").read_text()
    assert "harbour" in text and "meeting.wav" in text
    assert json.loads((folder / "summary.json").read_text())["engine"]
    assert result == {
        "duration_s": 3.0, "channels": 1, "language": "en", "engine": "test engine", "speakers": 0, "words": 18,
        "warnings": [], "warnings_parts": [],
    }  # fmt: skip
    ((audio, options, work),) = engine.asked
    assert (audio, options.engine, options.language, work) == (folder / "audio.flac", "hark", "en", folder)
    assert [event["name"] for event in events if event["event"] == "stage"] == ["normalize", "summarize"]
    assert {path.suffix for path in folder.iterdir()} == {".wav", ".flac", ".json", ".txt"}


def test_finished_stages_are_not_repeated(spec: dict[str, Any], engine: Engine, tmp_path: Path) -> None:
    transcribed(spec, tmp_path)
    before = (tmp_path / "audio/r/audio.flac").stat().st_mtime_ns
    (tmp_path / "audio/r/original.wav").unlink()  # no longer needed
    transcribed(spec, tmp_path)
    assert (tmp_path / "audio/r/audio.flac").stat().st_mtime_ns == before and len(engine.asked) == 2


def test_several_originals_are_joined_in_order(spec: dict[str, Any], engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "audio" / "r"
    write_audio(folder / "second.wav", tone(2.0))
    spec["originals"].append("second.wav")
    transcribed(spec, tmp_path)
    assert 5.0 <= len(read_audio(folder / "audio.flac")) / SAMPLE_RATE < 7.0
    assert not list(folder.glob("part-*"))
    (folder / "part-1.flac").write_bytes(b"fLaC")  # the worker was killed while it removed them
    transcribed(spec, tmp_path)
    assert not list(folder.glob("part-*"))


def test_a_deleted_recording_is_reported(spec: dict[str, Any], engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "audio/r/original.wav").unlink()
    with pytest.raises(HarkError, match="no longer exists"):
        transcribed(spec, tmp_path)


@pytest.mark.parametrize(("owner", "remedy"), [(True, "set HARK_UPLOAD_MAX_SECONDS"), (False, "ask the owner")])
def test_a_too_long_recording_gives_advice_by_role(
    spec: dict[str, Any], engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: bool, remedy: str
) -> None:
    monkeypatch.setenv("HARK_UPLOAD_MAX_SECONDS", "2")
    with pytest.raises(HarkError, match="too long") as error:
        transcribed({**spec, "owner": owner}, tmp_path)
    assert remedy in error.value.what_to_do


def test_a_file_that_is_not_a_recording_is_reported(spec: dict[str, Any], engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "audio/r/original.wav").write_bytes(b"%PDF-1.7 a letter")
    with pytest.raises(HarkError):
        transcribed(spec, tmp_path)
    assert not (tmp_path / "audio/r/audio.flac").exists() and engine.asked == []


def test_an_unreadable_part_is_reported_with_its_cause(spec: dict[str, Any], engine: Engine, tmp_path: Path) -> None:
    letter = tmp_path / "audio/r/letter.wav"
    letter.write_bytes(b"%PDF-1.7 a letter")
    with pytest.raises(HarkError) as alone:
        transcribed({**spec, "originals": [letter.name]}, tmp_path)
    with pytest.raises(HarkError, match="Part 2 of 2 cannot be used") as part:
        transcribed({**spec, "originals": [*spec["originals"], letter.name]}, tmp_path)
    assert part.value.why == f"{alone.value.what} {alone.value.why}"


def test_silence_gives_a_transcript_without_words(spec: dict[str, Any], engine: Engine, tmp_path: Path) -> None:
    engine.segments = ()
    spec["options"]["diarize"] = True
    result = transcribed(spec, tmp_path)
    assert result["words"] == 0 and not (tmp_path / "audio/r/summary.json").exists()


def test_a_failed_summary_does_not_lose_the_transcript(
    spec: dict[str, Any], engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any, **more: Any) -> Any:
        raise HarkError("It cannot be summarized.", "Because.", "Do.")

    monkeypatch.setattr("pipeline.recordings.jobs.summarize", fail)
    result = transcribed(spec, tmp_path)
    assert result["warnings"] == ["It cannot be summarized. Because. Do."]
    assert [shown(parts) for parts in result["warnings_parts"]] == result["warnings"]
    assert (tmp_path / "audio/r/transcript.json").is_file()


def test_a_full_disk_preserves_the_earlier_transcript_and_its_summary(
    spec: dict[str, Any], engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any) -> None:
        raise OSError(28, "No space left on device")

    transcribed(spec, tmp_path)
    before = {path.name: path.read_bytes() for path in (tmp_path / "audio/r").iterdir()}
    engine.segments = engine.segments[1:]
    monkeypatch.setattr(recording_jobs, "save_transcript", full)
    with pytest.raises(HarkError, match="The disk is full"):
        transcribed(spec, tmp_path)
    assert {path.name: path.read_bytes() for path in (tmp_path / "audio/r").iterdir()} == before


@pytest.mark.parametrize("file", ["transcript.txt", "transcript.json", "summary.json"])
def test_a_kill_never_leaves_the_summary_of_another_transcript(
    file: str, spec: dict[str, Any], engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path, target: Path, replace: Any = Path.replace) -> Path:
        if target.name == file:
            raise KeyboardInterrupt
        return replace(path, target)

    transcribed(spec, tmp_path)
    engine.segments = engine.segments[1:]
    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        transcribed(spec, tmp_path)
    summary, transcript = (tmp_path / "audio/r" / name for name in ("summary.json", "transcript.json"))
    assert not summary.exists() or json.loads(summary.read_text())["made_of"] == words_of(load_transcript(transcript))


def test_an_unrequested_summary_is_not_made(spec: dict[str, Any], engine: Engine, tmp_path: Path) -> None:
    transcribed(spec, tmp_path)
    spec["options"]["summarize"] = False
    transcribed(spec, tmp_path)
    assert not (tmp_path / "audio/r/summary.json").exists()  # and none is left from the previous transcript


def test_real_speech_is_transcribed_and_summarized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_SPEECH_SERVICE", "0")
    folder = tmp_path / "audio" / "r"
    folder.mkdir(parents=True)
    write_audio(folder / "original.wav", spoken("the house is near the river and the children play in the garden"))
    spec = {"recording": "r", "folder": "audio/r", "originals": ["original.wav"], "name": "a", "owner": True,
            "options": {**OPTIONS, "engine": "hark"}}  # fmt: skip
    result = transcribed(spec, tmp_path)
    transcript = load_transcript(folder / "transcript.json")
    assert result["engine"].startswith("hark") and result["language"] == "en" and result["warnings"] == []
    words = transcript.text.lower().split()
    assert len({"house", "river", "children", "garden", "play", "near"} & set(words)) >= 3, transcript.text
    assert all(0.5 < word.start_s < word.end_s < result["duration_s"] for s in transcript.segments for word in s.words)
    assert {segment.speaker for segment in transcript.segments} <= set(transcript.speakers)
    assert (folder / "summary.json").is_file()
