"""Downloads of models on demand, without a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from audio_generation.kokoro_side.kokoro import Kokoro
from audio_generation.piper_side.piper import Piper
from audio_generation.registry import engines
from core.environments import BadPackageError
from core.errors import HarkError
from core.events import Event, Reporter, silent_reporter
from pipeline.engine_setup import PULLED_MODELS, install_voices, pull_model, pull_voice
from pipeline.training.jobs import train_job
from tests.support.programs import make_environment

Hub = Callable[..., list[str]]


@pytest.fixture
def hub(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Let each download write these files; return the repositories that are asked for."""

    def gives(*names: str) -> list[str]:
        asked: list[str] = []

        def download(repository: str, patterns: Sequence[str], folder: Path, reporter: Reporter) -> list[Path]:
            asked.append(repository)
            files = [folder / name for name in names if any(fnmatch(name, pattern) for pattern in patterns)]
            for file in files:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text("{}")
            return files

        for user in ("pipeline.engine_setup", "pipeline.recordings.language_models.local_models"):
            monkeypatch.setattr(f"{user}.hub_download", download)
        return asked

    return gives


@pytest.mark.parametrize("kind", ["reader", "embedding", "summary"])
def test_a_pulled_model_is_stored_where_it_is_looked_up(data_dir: Path, hub: Hub, kind: str) -> None:
    asked = hub("config.json", "model.safetensors")
    repository, folder = PULLED_MODELS[kind].repository, PULLED_MODELS[kind].own_folder
    assert pull_model(kind, "", silent_reporter()) == [folder]
    assert asked == [repository]
    assert folder.is_relative_to(data_dir)
    assert PULLED_MODELS[kind].readiness().ok


def test_an_incomplete_model_is_rejected(hub: Hub) -> None:
    hub("config.json")
    with pytest.raises(HarkError, match="is incomplete"):
        pull_model("embedding", "", silent_reporter())


def test_funasr_models_are_pulled_together(data_dir: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paraformer, its voice activity detector and punctuation: the worker needs all three."""
    from pipeline.recordings.transcription.funasr_engine import FunAsr

    asked = hub("config.yaml", "model.pt")
    make_environment(monkeypatch, data_dir / "engines", "funasr")
    engine = FunAsr()
    assert not engine.available().ok and "engines pull funasr" in engine.available().how_to_enable
    folders = pull_model("funasr", "", silent_reporter())
    assert asked == ["funasr/paraformer-zh", "funasr/fsmn-vad", "funasr/ct-punc"]
    assert engine.available().ok and engine.model == "paraformer-zh"
    assert engine.worker_arguments() == [str(folder) for folder in folders]


def test_pyannotes_pipeline_needs_a_token(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.recordings.diarization import pyannote_engine

    asked = hub("config.yaml")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(HarkError) as error:
        pull_model("pyannote", "", silent_reporter())
    assert "HF_TOKEN" in error.value.why and "terms" in error.value.why
    monkeypatch.setenv("HF_TOKEN", "a token")
    (folder,) = pull_model("pyannote", "", silent_reporter())
    assert pyannote_engine.own_folder() == folder and asked == [pyannote_engine.REPOSITORY]


def test_pulled_voices_are_found_by_their_engines(hub: Hub) -> None:
    piper, kokoro = Piper(), Kokoro()
    model = "en/en_US/lessac/low/en_US-lessac-low.onnx"
    voices = ("voices/af_heart.pt", "voices/bm_lewis.pt")
    asked = hub(model, f"{model}.json", "config.json", "kokoro.pth", *voices)
    assert pull_voice("piper", "en_US-lessac-low", silent_reporter())[0] in piper.models()
    pull_voice("kokoro", "af_heart", silent_reporter())
    assert kokoro.missing() is None and len(list((kokoro.folder() / "voices").iterdir())) == 1
    pull_voice("kokoro", "all", silent_reporter())
    assert len(list((kokoro.folder() / "voices").iterdir())) == 2
    for voice in ("bark", "bark-small"):
        pull_voice("suno", voice, silent_reporter())
    assert asked == ["rhasspy/piper-voices", *2 * ["hexgrad/Kokoro-82M"], "suno/bark", "suno/bark-small"]


@pytest.mark.parametrize(
    ("engine", "voice"),
    [("piper", "../../etc/passwd"), ("piper", "lessac"), ("kokoro", "a b"), ("suno", "x"), ("espeak", "en"), ("", "")],
)
def test_invalid_voice_names_never_reach_the_network(hub: Hub, engine: str, voice: str) -> None:
    asked = hub()
    with pytest.raises(HarkError):
        pull_voice(engine, voice, silent_reporter())
    assert not asked


def test_an_example_voice_can_be_pulled() -> None:
    pulled = [engine for engine in engines().values() if engine.example_voice]
    assert {engine.name for engine in pulled} == {"piper", "kokoro", "suno"}
    assert all(engine.source(engine.example_voice) and engine.voice_list for engine in pulled)


def test_a_portal_run_installs_voices_only_if_its_spec_says_so(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.delenv("HARK_NO_DOWNLOAD")
    monkeypatch.setenv("HARK_ENGINES_ENV", str(data_dir / "engines"))
    monkeypatch.setattr("core.environments.enable", lambda name, report: done.append(name))

    def run(*asked: object, **options: object) -> dict[str, Any]:
        done.append("run")
        return {}

    monkeypatch.setattr("pipeline.training.jobs.run_training", run)
    for installs in (False, True):
        train_job({"choices": {"phrase": "hey compass"}, "install_voices": installs}, data_dir, silent_reporter())
    assert done == ["run", "hibari", "kokoro_int8", "piper", "run"]


@pytest.mark.parametrize("error", [BadPackageError, HarkError])
def test_an_altered_package_skips_one_engine_and_an_outage_all(
    error: type[HarkError], data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def enable(name: str, report: object) -> None:
        tried.append(name)
        raise error("It failed.", f"{name} cannot be had", "Try again.")

    monkeypatch.setattr("core.environments.enable", enable)
    events: list[Event] = []
    install_voices(["hibari", "piper"], Reporter(events.append))
    log_messages = [event["message"] for event in events if event["event"] == "log"]
    expected = ["hibari", "piper"] if error is BadPackageError else ["hibari"]
    assert tried == expected and log_messages == [
        f"Continuing without {name}: {name} cannot be had" for name in expected
    ]
