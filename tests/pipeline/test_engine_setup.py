"""Downloads of models on demand, without a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.environments import BadPackageError
from core.errors import HarkError
from core.events import Event, Reporter, silent_reporter
from pipeline.engine_setup import NEURAL_VOICES, PULLED_MODELS, install_voices, pull_model
from pipeline.jobs import KINDS
from tests.support.programs import make_environment

huggingface_hub = pytest.importorskip("huggingface_hub")
Hub = Callable[..., list[str]]


@pytest.fixture
def hub(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Let the hub give each model these files, or fail; return the repositories that are asked for."""

    def gives(*names: str, error: Exception | None = None) -> list[str]:
        asked: list[str] = []

        def download(repository: str, local_dir: Path, **more: Any) -> None:
            asked.append(repository)
            if error is not None:
                raise error
            local_dir.mkdir(parents=True)
            for name in names:
                (local_dir / name).write_text("{}")

        monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
        return asked

    return gives


@pytest.mark.parametrize("kind", ["reader", "embedding", "summary"])
def test_a_model_lies_where_it_is_looked_for(data_dir: Path, hub: Hub, kind: str) -> None:
    asked = hub("config.json", "model.safetensors")
    repository, folder = PULLED_MODELS[kind].repository, PULLED_MODELS[kind].own_folder
    assert pull_model(kind, "", silent_reporter()) == [folder]
    assert asked == [repository]
    assert folder.is_relative_to(data_dir)
    assert PULLED_MODELS[kind].readiness().ok


def test_without_a_network_it_says_what_to_do(hub: Hub) -> None:
    hub(error=ConnectionError("no route to the hub"))
    with pytest.raises(HarkError, match="could not be downloaded") as error:
        pull_model("reader", "", silent_reporter())
    assert "no route to the hub" in error.value.why


def test_a_model_that_came_in_part_is_not_taken_for_one(hub: Hub) -> None:
    hub()
    with pytest.raises(HarkError, match="is incomplete"):
        pull_model("embedding", "", silent_reporter())


def test_funasrs_models_come_together(data_dir: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_portal_s_run_installs_the_voices_that_it_names(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.delenv("HARK_NO_DOWNLOAD")
    monkeypatch.setenv("HARK_ENGINES_ENV", str(data_dir / "engines"))
    monkeypatch.setattr("core.environments.enable", lambda name, report: done.append(name))

    def run(*asked: object, **options: object) -> dict[str, Any]:
        done.append("run")
        return {}

    monkeypatch.setattr("pipeline.training.run.run_training", run)
    for installs in (False, True):
        KINDS["train"].run({"phrase": "hey compass", "install_voices": installs}, data_dir, silent_reporter())
    assert done == ["run", *NEURAL_VOICES, "run"]


@pytest.mark.parametrize("error", [BadPackageError, HarkError])
def test_an_altered_package_costs_no_other_engine_and_the_network_one_wait(
    error: type[HarkError], data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def enable(name: str, report: object) -> None:
        tried.append(name)
        raise error("It failed.", f"{name} cannot be had", "Try again.")

    monkeypatch.setattr("core.environments.enable", enable)
    events: list[Event] = []
    install_voices(NEURAL_VOICES, Reporter(events.append))
    said = [event["message"] for event in events if event["event"] == "log"]
    expected = list(NEURAL_VOICES) if error is BadPackageError else list(NEURAL_VOICES)[:1]
    assert tried == expected and said == [f"Continuing without {name}: {name} cannot be had" for name in expected]
