"""The verifier's training on a few spoken sentences: small enough for every run of the tests."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from core.audio_file import write_audio
from core.errors import HarkError
from lab.weights import verifier as verifier_training
from lab.weights.verifier import Speech, VerifierTrainConfig, batch_of, near_words, train_verifier, ways_of
from model.asr.packed import Packed, Utterance, open_pack, pack
from model.large.verifier import EVIDENCE, Verifier
from model.weights import load_weights, save_weights
from tests.support.moonshine_package import needs_encoder
from tests.support.sounds import noise
from tests.support.untrained_bundle import spoken

SENTENCES = ("the computer waits for them in the kitchen", "we walked home along the river", "open the window")
CONFIG = VerifierTrainConfig(steps=3, batch=10, cases=10, judge_steps=20)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    folder = tmp_path_factory.mktemp("speech")
    utterances = []
    for number, text in enumerate(SENTENCES):
        write_audio(folder / f"{number}.wav", spoken(text, 0.4, 0.4))
        for speaker, split in (("learned", "train"), ("weighs", "train"), ("unheard", "validation")):
            utterances.append(Utterance(f"{number}.wav", text, ("s",), speaker, "said", True, split))
    write_audio(folder / "other.wav", spoken("something else is said here", 0.4, 0.4))
    utterances.append(Utterance("other.wav", "not a word of this was said", ("s",), "learned", "said", True, "train"))
    pack(utterances, folder, folder / "pack", [noise(0.5, level=0.01)], [np.ones(1, np.float32)])
    return open_pack(folder / "pack")


@needs_encoder
def test_a_tiny_training_computes_encoder_outputs_once(
    packed: Packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifier_training, "is_judge", lambda speaker: speaker == "weighs")
    told: list[tuple[int, int, float]] = []
    verifier, errors = train_verifier(packed, CONFIG, tmp_path, lambda *state: told.append(state))
    assert set(errors) == {"eer/said"} and 0 <= errors["eer/said"] <= 1
    assert told[-1][:2] == (3, 3) and told[-1][2] > 0.1 and any(math.isnan(loss) for *_, loss in told)
    assert not verifier.training and verifier.spread.min() > 0 and (verifier.centre != 0).sum() >= EVIDENCE - 1

    save_weights(verifier, tmp_path / "verifier.safetensors", {"name": "tiny"}, half=True)
    loaded, about = load_weights(tmp_path / "verifier.safetensors", Verifier)
    assert isinstance(loaded, Verifier) and about == {"name": "tiny"}
    assert torch.allclose(loaded.phone.weight, verifier.phone.weight, atol=1e-3)

    monkeypatch.setattr(verifier_training, "loaded_backbone", lambda: pytest.fail("encoder outputs are computed again"))
    told.clear()
    again, _ = train_verifier(packed, CONFIG, tmp_path, lambda *state: told.append(state))
    assert torch.equal(again.phone.weight, verifier.phone.weight), "the same seed gives the same verifier"


@needs_encoder
def test_drawn_items_are_labelled_as_spoken_or_not(packed: Packed, tmp_path: Path) -> None:
    rows = verifier_training._hear(packed, CONFIG, tmp_path, lambda *state: None)
    # Those for training are encoded in noise too; words that were not spoken are omitted.
    assert [row.speaker for row in rows].count("learned") == 2 * len(SENTENCES)
    assert [row.speaker for row in rows].count("unheard") == len(SENTENCES)
    speech = Speech(tmp_path, rows, np.random.default_rng(0))
    assert {"computer", "the computer waits", "open the window"} <= set(speech.texts)
    items = [item for _ in range(40) for item in speech.drawn()]
    said = [item for item in items if item.is_own_text]
    assert said and all(any(item.text in sentence for sentence in SENTENCES) for item in said)
    assert all(item.ways == ways_of(item.text) for item in said)
    assert 0.4 < 1 - len(said) / len(items) < 0.7
    assert all(-(-len(item.phones) // 4) == len(item.states) for item in items)
    hits = speech.hits(5)
    assert len(hits) == 5 and not any(item.is_own_text for item in hits)
    batch = batch_of(items[:7])
    assert len(batch.given[0]) == sum(len(item.ways) for item in items[:7])
    scores = torch.arange(len(batch.owner), dtype=torch.float32)
    assert batch.best(scores).tolist() == [int(np.flatnonzero(batch.owner == n)[-1]) for n in range(7)]


def test_near_words_are_similar_but_not_homophones() -> None:
    near = near_words("computer")
    assert "commuter" in near and "computer" not in near
    assert near_words("") == [] and ways_of("") == ()


@needs_encoder
def test_training_with_too_few_speakers_is_rejected(
    packed: Packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifier_training, "is_judge", lambda speaker: False)
    with pytest.raises(HarkError) as caught:
        train_verifier(packed, CONFIG, tmp_path, lambda *state: None)
    assert "judge" in caught.value.why and "more speakers" in caught.value.what_to_do
