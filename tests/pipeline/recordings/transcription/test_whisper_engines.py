"""The real Whisper drivers on checkpoints made here; FunASR's on a module of the test."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.audio_file import SAMPLE_RATE
from core.errors import HarkError
from core.events import Reporter, silent_reporter
from pipeline.recordings.transcription import registry, whisper_models
from pipeline.recordings.transcription.faster_whisper_engine import FasterWhisper
from pipeline.recordings.transcription.funasr_worker import answer_of
from pipeline.recordings.transcription.transcribe import recognize, recognize_by_name
from pipeline.recordings.transcription.whisper_timestamped_engine import WhisperTimestamped
from pipeline.recordings.transcription.whisper_timestamped_worker import transcribed
from pipeline.recordings.transcription.worker_engine import segments_of
from pipeline.recordings.transcripts.transcript import Word
from pipeline.recordings.transcripts.words import retimed
from tests.support.programs import make_environment
from tests.support.sounds import noise
from tests.support.tiny_whisper import SAYS, tiny_whisper

NOISE = noise(4.0)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in CTranslate2's format that says ``SAYS``."""
    pytest.importorskip("faster_whisper")
    return tiny_whisper(tmp_path_factory.mktemp("models"), "converted")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Whisper checkpoint in openai-whisper's format."""
    pytest.importorskip("whisper_timestamped")
    return tiny_whisper(tmp_path_factory.mktemp("models"), "checkpoint")


@pytest.fixture(autouse=True)
def alone(no_recognizers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide this machine's models and network."""

    def refuse(self: socket.socket, address: object) -> None:
        raise AssertionError(f"a recognition asked the network: {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_faster_whisper_translates(converted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_WHISPER_MODEL", str(converted))
    engine, _why = registry.choose("auto", None, translate=True)
    assert isinstance(engine, FasterWhisper) and engine.translates
    model = engine.load()
    tasks: list[str] = []
    hears = model.transcribe

    def watched(audio: np.ndarray, **how: Any) -> Any:
        tasks.append(how["task"])
        return hears(audio, **how)

    model.transcribe = watched
    monkeypatch.setattr(engine, "_loaded", model)
    (segment,) = recognize(engine, NOISE, "de", translate=True)
    assert tasks == ["translate"] and segment.text == SAYS and segment.language == "en"
    (segment,) = recognize(engine, NOISE, "de")
    assert tasks == ["translate", "transcribe"] and segment.language == "de"
    assert not FasterWhisper("small.en").translates and not FasterWhisper("large-v3-turbo").translates
    monkeypatch.setenv("HARK_WHISPER_MODEL", str(converted / "none"))
    for name in ("auto", "moonshine"):
        with pytest.raises(HarkError, match="Speech cannot be translated"):
            registry.choose(name, None, translate=True)


def test_whisper_gets_expected_words_as_its_prompt(converted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_WHISPER_MODEL", str(converted))
    engine = registry.engine("faster-whisper")
    model = engine.load()
    prompts: list[list[int]] = []
    writes = model.get_prompt

    def watched(*given: Any, **how: Any) -> Any:
        prompts.append(writes(*given, **how))
        return prompts[-1]

    model.get_prompt = watched
    monkeypatch.setattr(engine, "_loaded", model)
    assert recognize(engine, NOISE, "en")[0].text == SAYS
    recognize(engine, NOISE, "en", words=("Siobhan", "Grafana"))  # with which this model writes other words
    without, told = (model.hf_tokenizer.decode(prompt) for prompt in (prompts[0], prompts[-1]))
    assert "Siobhan, Grafana" in told and "Siobhan" not in without
    asked: list[str | None] = []

    class Library:
        @staticmethod
        def transcribe(model: object, audio: object, **options: Any) -> dict[str, object]:
            asked.append(options["initial_prompt"])
            return {"language": "en", "segments": []}

    transcribed(Library, None, NOISE, "en", "Siobhan, Grafana")
    assert asked == ["Siobhan, Grafana"]


def test_faster_whisper_gives_word_times(converted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_WHISPER_MODEL", str(converted))
    engine = FasterWhisper()
    assert engine.available().ok and engine.model == str(converted) and engine.languages() is None
    assert engine.versions()["whisper"] == "mini"
    for language in (None, "en-us", "de"):
        (segment,) = engine.recognize(NOISE, language)
        assert segment.text == SAYS
        assert segment.language == ("de" if language == "de" else "en")
        assert [word.text for word in segment.words] == SAYS.split()
        assert all(0 <= word.start_s <= word.end_s <= 4.0 for word in segment.words)
        assert all(0.5 < word.confidence <= 1 for word in segment.words)
    with pytest.raises(HarkError, match="does not support the language"):
        engine.recognize(NOISE, "tlh")
    engine.close()


def test_whisper_timestamped_runs_in_a_separate_process(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_WHISPER_MODEL", str(checkpoint))
    engine = WhisperTimestamped()
    assert engine.available().ok
    (segment,) = engine.recognize(NOISE, None)
    assert segment.text == SAYS and segment.language == "en"
    worker = engine._loaded._process
    assert worker.pid != os.getpid()
    assert all(0 <= word.start_s <= word.end_s <= 4.0 for word in segment.words)
    assert engine.recognize(NOISE, "en")[0].text == SAYS and engine._loaded._process.pid == worker.pid
    worker.kill()  # it dies between two pieces: the next one starts it again
    assert engine.recognize(NOISE, "en")[0].text == SAYS
    again = engine._loaded._process
    assert again.pid != worker.pid
    engine.close()
    assert again.poll() is not None


def test_a_worker_that_cannot_start_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("whisper_timestamped")
    (tmp_path / "bad.pt").write_bytes(b"no checkpoint")
    monkeypatch.setenv("HARK_WHISPER_MODEL", str(tmp_path / "bad.pt"))
    engine = WhisperTimestamped()
    with pytest.raises(HarkError, match="could not be started"):
        engine.recognize(NOISE, None)
    assert engine._loaded is None


def test_a_damaged_model_is_reported(converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for path in converted.iterdir():
        (damaged / path.name).write_bytes(path.read_bytes()[:1000] if path.name == "model.bin" else path.read_bytes())
    monkeypatch.setenv("HARK_WHISPER_MODEL", str(damaged))
    with pytest.raises(HarkError, match="cannot be loaded"):
        FasterWhisper().recognize(NOISE, None)


def test_endlessly_repeated_output_is_dropped(tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper")
    model = tiny_whisper(tmp_path, "converted", says="Thank you. " * 40, seconds=4.0)
    assert FasterWhisper(str(model)).recognize(NOISE, "en") == []


def test_models_are_found_in_the_caches(converted: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not FasterWhisper().available().ok and FasterWhisper().model == ""
    assert "--pull small" in FasterWhisper().available().how_to_enable
    hub = data_dir / "cache" / "hub"
    for size, repository in (
        ("tiny.en", "Systran--faster-whisper-tiny.en"),
        ("turbo", "mobiuslabsgmbh--faster-whisper-turbo"),
    ):
        place = hub / f"models--{repository}" / "snapshots" / "abc"
        place.parent.mkdir(parents=True)
        place.symlink_to(converted)
        assert whisper_models.converted()[size] == place
    distilled = hub / "models--Systran--faster-distil-whisper-small.en" / "snapshots" / "abc"
    distilled.mkdir(parents=True)  # interrupted, so incomplete
    assert set(whisper_models.converted()) == {"tiny.en", "turbo"}
    assert FasterWhisper().model == "turbo" and FasterWhisper().available().ok
    own = data_dir / "models" / "whisper"
    own.mkdir(parents=True)
    (own / "large-v3").symlink_to(converted)
    assert FasterWhisper().model == "large-v3"
    monkeypatch.setenv("HARK_WHISPER_MODEL", "tiny.en")
    assert FasterWhisper().languages() == ("en",) and FasterWhisper().available().ok
    monkeypatch.setenv("HARK_WHISPER_MODEL", "medium")
    ready = FasterWhisper().available()
    assert not ready.ok and "medium" in ready.why and "--pull medium" in ready.how_to_enable
    with pytest.raises(HarkError, match="medium"):
        registry.engine("faster-whisper")


def test_checkpoints_are_found_in_the_caches(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, name in ((data_dir / "cache" / "whisper", "tiny"), (data_dir / "models" / "whisper", "base.en")):
        folder.mkdir(parents=True)
        (folder / f"{name}.pt").write_bytes(b"")
    assert set(whisper_models.checkpoints()) == {"tiny", "base.en"}
    assert WhisperTimestamped().model == "base.en" and WhisperTimestamped().languages() == ("en",)


def test_a_folder_without_a_tokenizer_is_not_a_model(converted: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("model.bin", "config.json", "vocabulary.json"):
        (bare / name).symlink_to(converted / name)
    assert not FasterWhisper(str(bare)).available().ok


def test_the_service_uses_the_model_named_by_the_client(converted: Path, tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper")
    other = tiny_whisper(tmp_path, "converted", says="Another one.")
    first, second = FasterWhisper(str(converted)), FasterWhisper(str(other))
    assert recognize(first, NOISE, "en")[0].text == SAYS
    held = registry._held["faster-whisper"]
    assert recognize(first, NOISE, "en")[0].text == SAYS and registry._held["faster-whisper"] is held
    assert recognize(second, NOISE, "en")[0].text == "Another one."
    assert held._loaded is None  # type: ignore[attr-defined]  # the first one was let go
    with pytest.raises(HarkError, match="not on this machine"):
        recognize_by_name("faster-whisper", "/no/such/model", NOISE, None, False, ())
    registry._held.pop("faster-whisper").close()


def test_pull_rejects_unknown_models_and_downloads_once(
    monkeypatch: pytest.MonkeyPatch, data_dir: Path, converted: Path
) -> None:
    with pytest.raises(HarkError, match="no Whisper model called 'huge'"):
        whisper_models.pull("huge", silent_reporter())
    asked = []

    def download(repository: str, patterns: Sequence[str], folder: Path, reporter: Reporter) -> None:
        asked.append(repository)
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.name == "tiny":
            folder.symlink_to(converted)

    monkeypatch.setattr("pipeline.recordings.language_models.local_models.hub_download", download)
    for size in ("distil-small.en", "turbo"):
        with pytest.raises(HarkError, match="is incomplete"):
            whisper_models.pull(size, silent_reporter())
    folder = whisper_models.pull("tiny", silent_reporter())
    assert folder == data_dir / "models" / "whisper" / "tiny" and FasterWhisper().model == "tiny"
    assert asked == [
        "Systran/faster-distil-whisper-small.en",
        "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
        "Systran/faster-whisper-tiny",
    ]
    assert whisper_models.pull("tiny", silent_reporter()) == folder and len(asked) == 3, "it is not downloaded again"


def test_without_word_times_whispers_segments_are_used() -> None:
    class Library:
        @staticmethod
        def transcribe(model: object, audio: object, **options: object) -> dict[str, object]:
            raise ValueError("No warping path found compatible with the local constraints")

    class Model:
        @staticmethod
        def transcribe(audio: object, **options: object) -> dict[str, object]:
            segment = {"text": " two words", "start": 1.0, "end": 2.0, "avg_logprob": -0.1, "no_speech_prob": 0.0,
                       "compression_ratio": 1.0}  # fmt: skip
            return {"language": "en", "segments": [segment]}

    answer = transcribed(Library, Model, NOISE, None, None)
    (segment,) = segments_of(json.loads(json.dumps(answer)), 4.0)
    assert segment.text == "two words" and segment.start_s == 1.0 and segment.end_s == pytest.approx(2.0)
    assert segment.confidence == pytest.approx(0.905, abs=0.01)


def test_funasr_output_becomes_segments() -> None:
    given = [{"key": "a", "text": "你 好 hello", "timestamp": [[100, 300], [300, 520], [600, 5000]]}]
    (segment,) = segments_of(answer_of(given, 4.0), 4.0)
    assert segment.text == "你 好 hello" and segment.language == "zh"
    assert [(word.start_s, word.end_s) for word in segment.words] == [(0.1, 0.3), (0.3, 0.52), (0.6, 4.0)]
    (untimed,) = segments_of(answer_of([{"text": "你 好", "timestamp": [[0, 100]]}], 4.0), 4.0)
    assert [(word.start_s, word.end_s) for word in untimed.words] == [(0.0, 2.0), (2.0, 4.0)]
    assert segments_of(answer_of([{"key": "a", "text": ""}, {}], 4.0), 4.0) == []


def test_punctuation_belongs_to_the_character_before_it() -> None:
    """FunASR writes with its punctuation model: no spaces, and a time for each character but none for a comma."""
    times = [[n * 200, n * 200 + 150] for n in range(6)]
    (segment,) = answer_of([{"text": "你好，今天 ok。我", "timestamp": times}], 2.0)["segments"]
    assert [word[0] for word in segment["words"]] == ["你", "好，", "今", "天", "ok。", "我"]
    assert segment["words"][4][1:3] == [0.8, 0.95]


def test_funasr_is_ready_only_in_its_own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.recordings.transcription.funasr_engine import FunAsr

    monkeypatch.setenv("HARK_ENGINES_ENV", str(tmp_path))
    monkeypatch.setitem(sys.modules, "funasr", pytest)  # installed, as pip sees it
    ready = FunAsr().available()
    assert not ready.ok and ready.how_to_enable == "./hark engines enable funasr"


def test_the_funasr_worker_writes_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import ModuleType

    from core.audio_file import write_audio
    from pipeline.recordings.transcription import funasr_worker

    made: dict[str, Any] = {}

    class AutoModel:
        def __init__(self, **options: Any) -> None:
            made.update(options)

        def generate(self, input: np.ndarray, fs: int, output_timestamp: bool) -> list[dict[str, Any]]:
            assert input.dtype == np.float32 and fs == SAMPLE_RATE and output_timestamp
            return [{"key": "x", "text": "你 好", "timestamp": [[0, 200], [200, 400]]}]

    fake = ModuleType("funasr")
    fake.AutoModel = AutoModel  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "funasr", fake)
    monkeypatch.setattr(sys, "argv", ["funasr_worker", str(tmp_path)])
    _, hear = funasr_worker.set_up()
    assert made["model"] == str(tmp_path) and made["disable_update"] is True  # a folder: nothing is downloaded
    write_audio(tmp_path / "piece.wav", NOISE)
    hear({"audio": str(tmp_path / "piece.wav"), "path": str(tmp_path / "answer.json"), "language": "zh"})
    (segment,) = segments_of(json.loads((tmp_path / "answer.json").read_text()), 4.0)
    assert segment.text == "你 好"


def test_funasr_needs_its_packages_and_a_model(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.recordings.transcription.funasr_engine import FunAsr, own_folder

    engine = FunAsr()
    monkeypatch.setenv("HARK_ENGINES_ENV", str(data_dir / "none"))
    assert "funasr" in engine.available().why and "enable" in engine.available().how_to_enable
    make_environment(monkeypatch, data_dir / "engines", "funasr")
    assert engine.available().how_to_enable == "./hark engines pull funasr"
    folder = own_folder() / "paraformer-zh"
    folder.mkdir(parents=True)
    for name in ("model.pt", "config.yaml"):
        (folder / name).write_bytes(b"")
    assert engine.available().ok and engine.worker_arguments() == [str(folder)]
    assert engine.languages() is not None and "zh" in (engine.languages() or ())


def test_replaced_words_inherit_their_times() -> None:
    words = tuple(Word(text, float(n), n + 0.5, 0.9) for n, text in enumerate("abcd"))
    same = retimed(words, "A, B c. D", 0.0, 4.0)
    assert same == tuple(replace(w, text=t) for w, t in zip(words, ["A,", "B", "c.", "D"]))
    split = retimed(words, "a x y c d", 0.0, 4.0)
    assert [word.text for word in split] == ["a", "x", "y", "c", "d"]
    assert [(word.start_s, word.end_s) for word in split[1:3]] == [(1.0, 1.25), (1.25, 1.5)]
    added = retimed(words, "a new b c d", 0.0, 4.0)
    assert (added[1].start_s, added[1].end_s, added[1].confidence) == (0.5, 1.0, 0.0)
    assert retimed(words, "a new b c d", 0.0, 4.0, confidence=1.0)[1].confidence == 1.0
    assert [word.text for word in retimed(words, "a d", 0.0, 4.0)] == ["a", "d"]
    for text in ("z a b c d e", "", "q r s", "d c b a"):
        starts = [word.start_s for word in retimed(words, text, 0.0, 4.0)]
        assert starts == sorted(starts) and len(starts) == len(text.split())
