"""The character summarizer: it learns, resumes after a stop, and leaves no partial file."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from core.errors import HarkError
from model.summarizer.decoding import load_summarizer, open_summarizer, padded, save_summarizer, summarize
from model.summarizer.network import END, PAD, START, UNKNOWN, Summarizer, SummarizerConfig, sinusoids
from model.summarizer.pairs import Pair, Split, read_pairs, split_pairs
from model.summarizer.rouge import first_sentence, rouge_1
from model.summarizer.train import SummarizerProgress, SummarizerTraining, train_summarizer

TINY = SummarizerConfig(
    layers=1, heads=4, width=64, feedforward=128, dropout=0.0, longest_text=60, longest_summary=16
)  # fmt: skip
PAIRS = tuple(
    Pair(text, summary)
    for text, summary in (
        ("The ship left the harbour at noon with forty people.", "ship sails"),
        ("Anna will send the contract to the lawyers on Friday.", "contract"),
        ("It rained so long that the match was called off.", "no match"),
        ("Two engineers repaired the pump during the night.", "pump works"),
        ("The museum opens a hall for music next summer.", "music hall"),
        ("Nobody found the key, so they broke the window.", "lost key"),
        ("Prices of bread rose again, bakers told the paper.", "dear bread"),
        ("Grüße aus Köln, der Zug kommt eine Stunde später.", "Zug spät"),
    )
)
ALL = Split(PAIRS, PAIRS, PAIRS)
SHORT = SummarizerTraining(epochs=4, batch_size=3, learning_rate=3e-3, seed=5)


def silent(progress: SummarizerProgress) -> None:
    """Report nothing."""


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["weights"]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_training_memorizes_eight_pairs(tmp_path: Path) -> None:
    training = SummarizerTraining(epochs=12, batch_size=8, learning_rate=3e-3, label_smoothing=0.0, weight_decay=0.0)
    seen: list[SummarizerProgress] = []
    result = train_summarizer(Split(PAIRS * 10, PAIRS, PAIRS), TINY, training, tmp_path, seen.append)
    assert seen[0].loss > 2.0 and result.validation_loss < 0.1
    assert [progress.step for progress in seen] == list(range(1, 121)) and result.steps == 120
    written = summarize(load_summarizer(result.best), [pair.text for pair in PAIRS])
    assert sum(text == pair.summary for text, pair in zip(written, PAIRS)) >= 7
    assert result.rouge_1 > 0.8 > result.rouge_1_first_sentence


class Stopped(Exception):
    """A Ctrl-C."""


@pytest.mark.parametrize("stop_at", [2, 6, 7])
def test_a_continued_run_ends_with_the_same_weights(tmp_path: Path, stop_at: int) -> None:
    shape = replace(TINY, dropout=0.2)  # whose random numbers must be the same too
    training = replace(SHORT, save_every_s=0.0)
    whole = train_summarizer(ALL, shape, training, tmp_path / "whole", silent)

    def stop(progress: SummarizerProgress) -> None:
        if progress.step == stop_at:
            raise Stopped

    with pytest.raises(Stopped):
        train_summarizer(ALL, shape, training, tmp_path / "parts", stop)
    seen: list[SummarizerProgress] = []
    parts = train_summarizer(ALL, shape, training, tmp_path / "parts", seen.append)
    assert seen[0].step == stop_at + 1
    assert parts.validation_loss == whole.validation_loss
    assert same(weights(whole.best), weights(parts.best))
    last = [torch.load(tmp_path / name / "last.pt", weights_only=True)["model"] for name in ("whole", "parts")]
    assert same(*last)
    other = train_summarizer(ALL, shape, replace(training, seed=6), tmp_path / "parts", silent)
    assert other.validation_loss != whole.validation_loss, "another configuration restarts training"


def test_a_kill_while_saving_leaves_the_previous_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train_summarizer(ALL, TINY, SHORT, tmp_path / "whole", silent)
    save, calls = torch.save, []

    def dies(content: Any, path: Path) -> None:
        calls.append(path)
        if len(calls) == 5:  # best.pt and last.pt of two epochs, then this
            path.write_bytes(b"half a file")
            raise Stopped
        save(content, path)

    monkeypatch.setattr(torch, "save", dies)
    with pytest.raises(Stopped):
        train_summarizer(ALL, TINY, SHORT, tmp_path / "killed", silent)
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == ["best.pt", "last.pt"]
    assert load_summarizer(tmp_path / "killed" / "best.pt").config == TINY
    again = train_summarizer(ALL, TINY, SHORT, tmp_path / "killed", silent)
    assert same(weights(whole.best), weights(again.best))


def test_deleted_weights_are_rebuilt(tmp_path: Path) -> None:
    first = train_summarizer(ALL, TINY, SHORT, tmp_path, silent)
    before = weights(first.best)
    first.best.unlink()
    assert same(weights(train_summarizer(ALL, TINY, SHORT, tmp_path, silent).best), before)


def test_positions_are_encoded_as_sinusoids() -> None:
    positions = sinusoids(10, 8)
    assert torch.allclose(positions[0], torch.tensor([0.0, 1.0] * 4))
    assert torch.allclose(positions[3, :2], torch.tensor([0.14112, -0.98999]), atol=1e-4)


def test_padding_and_future_tokens_have_no_effect() -> None:
    torch.manual_seed(0)
    model = Summarizer(TINY).eval()
    rows = [TINY.encode(PAIRS[0].text, 60), TINY.encode("Short.", 60)]
    summary = padded([[START, *TINY.encode("rain", 16)]] * 2)
    with torch.no_grad():
        together = model(padded(rows), summary)
        alone = model(padded(rows[1:]), summary[1:])
        assert torch.allclose(together[1], alone[0], atol=1e-5)
        other = summary.clone()
        other[:, -1] = UNKNOWN
        assert torch.allclose(model(padded(rows), other)[:, :-1], together[:, :-1], atol=1e-5)


def test_characters_round_trip() -> None:
    text = "Grüße, “Anna” – 5 € at 9:30!"
    assert TINY.decode(TINY.encode(text, 60)) == text
    assert TINY.encode("a\n\n b", 60) == TINY.encode("a b", 60)
    assert TINY.encode("u\u0308", 60) == TINY.encode("ü", 60)
    assert TINY.encode("日", 60) == [UNKNOWN]
    assert len(TINY.encode("x" * 100, 60)) == 60
    assert TINY.decode([*TINY.encode("ab", 9), END, *TINY.encode("c", 9), PAD]) == "ab"


def test_any_input_gives_a_summary_of_limited_length(tmp_path: Path) -> None:
    torch.manual_seed(1)
    save_summarizer(tmp_path / "random.pt", Summarizer(TINY))
    opened = open_summarizer(str(tmp_path / "random.pt"), 0)
    written = opened(["", "日本語", "a" * 5000, "\x00\x01"])
    assert len(written) == 4 and all(len(text) <= TINY.longest_summary for text in written)
    assert opened is open_summarizer(str(tmp_path / "random.pt"), 0)
    assert opened is not open_summarizer(str(tmp_path / "random.pt"), 1)


@pytest.mark.parametrize("content", [None, b"", b"half a file", b"pickle"])
def test_a_file_that_is_not_a_summarizer_is_rejected(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "best.pt"
    if content == b"pickle":
        torch.save({"kind": "Recognizer", "config": {}, "weights": {}}, path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(HarkError, match="cannot be loaded"):
        load_summarizer(path)


def test_pairs_are_read_and_split_without_overlap(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    rows = [{"text": f"Text number {n}.", "summary": f"{n}"} for n in range(40)]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows[:25]) + "\n\n")
    (tmp_path / "deep" / "b.jsonl").write_text(
        "\n".join(json.dumps(row) for row in [*rows[20:], {"text": " ", "summary": ""}])
    )
    pairs = read_pairs(tmp_path)
    assert len(pairs) == 45
    split = split_pairs(pairs, seed=1)
    sizes = [len(part) for part in (split.train, split.validation, split.test)]
    assert sizes == [32, 4, 4]
    assert len({pair.text for part in (split.train, split.validation, split.test) for pair in part}) == 40
    assert split == split_pairs(pairs[::-1], seed=1) != split_pairs(pairs, seed=2)
    assert len(split_pairs(pairs, seed=1, subset=20).train) == 16
    with pytest.raises(HarkError, match="too little"):
        split_pairs(pairs, seed=1, subset=19)
    shutil.rmtree(tmp_path / "deep")
    assert len(read_pairs(tmp_path / "a.jsonl")) == 25


@pytest.mark.parametrize("line", ["no json", '{"text": "a"}', '{"text": 1, "summary": "a"}', "[1]", '"x"'])
def test_an_invalid_line_is_reported_by_number(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a", "summary": "b"}\n' + line)
    with pytest.raises(HarkError, match="Line 2 of"):
        read_pairs(tmp_path / "a.jsonl")
    with pytest.raises(HarkError, match="cannot be read"):
        read_pairs(tmp_path / "nowhere.jsonl")


def test_rouge_1_and_the_first_sentence_baseline_are_computed() -> None:
    assert rouge_1(["the cat sat"], ["the cat sat"]) == 1.0
    assert rouge_1(["a b", "x"], ["a c", "x"]) == pytest.approx(0.75)
    assert rouge_1([], []) == 0.0
    assert first_sentence(" Hello there. More of it. ", 100) == "Hello there."
    assert first_sentence("no end at 3.5 all", 100) == "no end at 3.5 all"
    assert first_sentence("A long one. B", 3) == "A l" and first_sentence("", 5) == ""
