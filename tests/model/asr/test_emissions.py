"""Emissions: windows over long audio, batches, the compact form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.asr.emissions import (
    CONTEXT_OUTPUTS,
    STEP,
    STORED_OUTPUTS,
    WINDOW_OUTPUTS,
    Aligner,
    output_count,
    pack,
    unpack,
)
from model.asr.network import Recognizer, RecognizerConfig
from model.phones import CHARACTER_OUTPUTS, PHONE_OUTPUTS
from tests.support.sounds import noise


@pytest.fixture(scope="module")
def small() -> Recognizer:
    torch.manual_seed(0)
    return Recognizer(RecognizerConfig(channels=(4, 4), projection=16, hidden=16, layers=1))


def test_log_probabilities_cover_audio_of_any_length(small: Recognizer) -> None:
    aligner = Aligner(small)
    for seconds in (0.0, 0.01, 0.3, 1.0, 7.77):
        log_p = aligner.log_probabilities(noise(seconds))
        assert log_p.shape == (output_count(int(seconds * 16_000)), PHONE_OUTPUTS) and log_p.dtype == np.float32
        assert np.allclose(np.exp(log_p).sum(axis=1), 1, atol=1e-4)
    assert next(Aligner(small).both([noise(1)]))["characters"].shape == (50, CHARACTER_OUTPUTS)


def test_long_audio_is_processed_in_windows_that_agree(small: Recognizer) -> None:
    aligner = Aligner(small)
    audio = noise(65)
    log_p = aligner.log_probabilities(audio)
    assert log_p.shape == (3250, PHONE_OUTPUTS) and np.isfinite(log_p).all()
    # Anywhere inside, processing only the surroundings gives the same result, except for what is outside of the
    # context.
    middle = 1700
    piece = audio[(middle - 400) * 320 : (middle + 400) * 320]
    assert np.abs(aligner.log_probabilities(piece)[300:500] - log_p[middle - 100 : middle + 100]).max() < 0.02


@pytest.mark.parametrize("extra", [-1, 0, 1, CONTEXT_OUTPUTS, 2 * CONTEXT_OUTPUTS + 1, 799, 801])
def test_no_output_is_missing_at_window_edges(small: Recognizer, extra: int) -> None:
    outputs = WINDOW_OUTPUTS + extra
    log_p = Aligner(small).log_probabilities(noise(outputs * 0.02))
    assert len(log_p) == outputs
    assert np.allclose(np.exp(log_p).sum(axis=1), 1, atol=1e-4)


def test_a_batch_gives_the_same_outputs_as_single_recordings(small: Recognizer) -> None:
    aligner = Aligner(small)
    audios = [noise(seconds, number) for number, seconds in enumerate((0.5, 3.0, 0.6, 25.0, 3.1))]
    for audio, log_p in zip(audios, aligner.log_probabilities_of(iter(audios)), strict=True):
        assert np.abs(aligner.log_probabilities(audio) - log_p).max() < 1e-4


def test_an_aligners_name_depends_on_its_weights(small: Recognizer) -> None:
    torch.manual_seed(1)
    other = Recognizer(small.config)
    assert Aligner(small).name != Aligner(other).name
    assert Aligner(small).name == Aligner(small).name


def test_words_are_tokenized_into_phones(small: Recognizer) -> None:
    phones = Aligner(small)
    assert [len(word) for word in phones.tokens(["hey", "compass"], "en")] == [2, 6]


def test_the_compact_form_preserves_probable_outputs() -> None:
    log_p = np.log(np.random.default_rng(0).dirichlet(np.full(41, 0.05), 200) + 1e-9).astype(np.float32)
    packed = pack(log_p)
    assert packed.dtype == np.uint8 and packed.shape == (200, 2 * STORED_OUTPUTS)
    back = unpack(packed, 41)
    order = np.argsort(-log_p, axis=1)[:, :STORED_OUTPUTS]
    kept, original = (np.take_along_axis(values, order, 1) for values in (back, log_p))
    near = original > -20
    assert np.abs(kept - original)[near].max() <= STEP / 2 + 1e-4
    assert (back.argmax(1) == log_p.argmax(1)).mean() > 0.98
    assert (back <= 1e-6).all() and np.isfinite(back).all()


def test_invalid_compact_forms_are_rejected() -> None:
    packed = pack(np.log(np.full((5, 41), 1 / 41, np.float32)))
    for wrong in (packed.astype(np.float16), packed[:, :3], packed[0]):
        with pytest.raises(ValueError):
            unpack(wrong, 41)
    with pytest.raises(ValueError, match="output"):
        unpack(np.full((3, 16), 40, np.uint8), 30)
