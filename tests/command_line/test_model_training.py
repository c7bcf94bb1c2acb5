"""Options and output of ``asr train`` and ``summarizer train``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from core.events import Reporter
from pipeline.asr.training import AcousticRun
from pipeline.recordings.summarization.training import SummarizerRun
from pipeline.recordings.summarization.transformer import character_file
from tests.support.command_line_samples import Cli


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Stubs that record their arguments."""
    runs: list[Any] = []

    def acoustic(run: AcousticRun, folder: Path, reporter: Reporter) -> dict[str, Any]:
        runs.append(run)
        figures = {"wer": 0.25, "cer": 0.125} if run.seed == 0 else {"wer": None, "cer": None}
        return {
            "weights": "w", "curves": "", "loss": 1.5, "steps": 3, "errors": {"per/real/a": 0.5}, "hours": 0.1,
            "not_measured": "no recording is left", **figures,
        }  # fmt: skip

    def summarizer(run: SummarizerRun, folder: Path, reporter: Reporter) -> dict[str, Any]:
        assert folder == character_file().parent, "where the engine looks for them"
        runs.append(run)
        figures = {"validation_loss": 2.5, "rouge_1": 0.5, "rouge_1_first_sentence": 0.25}
        return {"weights": "w", "curves": "runs", **figures}

    monkeypatch.setattr("pipeline.asr.training.train_acoustic_model", acoustic)
    monkeypatch.setattr("pipeline.recordings.summarization.training.train", summarizer)
    return runs


@pytest.mark.parametrize("batch", ["--batch_size", "--batch-size"])
def test_train_takes_epochs_batch_size_and_subset(cli: Cli, asked: list[Any], tmp_path: Path, batch: str) -> None:
    words = ["--epochs", "2", batch, "8", "--subset", "2"]
    said = cli("asr", "train", "corpus", *words)
    assert "WER      25.0 %" in said and "CER      12.5 %" in said and "loss     1.500 after 3 steps" in said
    assert "curves   not written" in said and "pip install tensorboard" in said
    assert "WER, CER not measured: no recording is left" in cli("asr", "train", "corpus", "--seed", "1", *words)
    said = cli("summarizer", "train", "pairs", *words)
    assert "curves   tensorboard --logdir runs" in said and "loss     2.500" in said and "ROUGE-1" in said
    assert "WER, CER not measured" in said
    assert asked == [
        AcousticRun((Path("corpus"),), epochs=2.0, batch_size=8, subset=2.0),
        AcousticRun((Path("corpus"),), epochs=2.0, batch_size=8, subset=2.0, seed=1),
        SummarizerRun(Path("pairs"), epochs=2, batch_size=8, subset=2.0),
    ]


@pytest.mark.parametrize("group", ["asr", "summarizer"])
@pytest.mark.parametrize("words", [["--subset", "0"], ["--subset", "101"], ["--batch_size", "0"], ["--epochs", "0"]])
def test_invalid_subsets_and_numbers_are_rejected(cli: Cli, asked: list[Any], group: str, words: list[str]) -> None:
    assert words[0] in cli.refused(group, "train", "corpus", *words)["what"] and asked == []


@pytest.mark.parametrize("group", ["asr", "summarizer"])
def test_curves_without_tensorboard_explain_how_to_install_it(
    cli: Cli, asked: list[Any], group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # as where it is not installed
    arguments = (group, "train", "corpus", "--tensorboard")
    assert "pip install tensorboard" in cli.refused(*arguments)["what_to_do"] and asked == []
    monkeypatch.setitem(sys.modules, "tensorboard", pytest)  # it seems to be installed
    cli.json(*arguments)
    assert len(asked) == 1
