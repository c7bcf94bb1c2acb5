"""Models that are downloaded when somebody asks for them; the network is pretended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.errors import HarkError
from pipeline.engine_setup import pull_model, pulled_models
from pipeline.events import silent_reporter

huggingface_hub = pytest.importorskip("huggingface_hub")


@pytest.mark.parametrize("kind", ["reader", "embedding"])
def test_a_model_lies_where_it_is_looked_for(data_dir: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    asked: list[str] = []

    def download(repository: str, local_dir: Path, **more: Any) -> None:
        asked.append(repository)
        local_dir.mkdir(parents=True)
        (local_dir / "config.json").write_text("{}")
        (local_dir / "model.safetensors").write_bytes(b"weights")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    repository, folder = pulled_models()[kind]
    assert pull_model(kind, "", silent_reporter()) == [folder]
    assert asked == [repository]
    assert folder.is_relative_to(data_dir)
    if kind == "reader":
        from pipeline.question_answering import reader_readiness

        assert reader_readiness().ok


def test_without_a_network_it_says_what_to_do(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(repository: str, **more: Any) -> None:
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(HarkError, match="could not be pulled") as error:
        pull_model("reader", "", silent_reporter())
    assert "no route to the hub" in error.value.why


def test_a_model_that_came_in_part_is_not_taken_for_one(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda repository, **more: None)
    with pytest.raises(HarkError, match="not whole"):
        pull_model("embedding", "", silent_reporter())
