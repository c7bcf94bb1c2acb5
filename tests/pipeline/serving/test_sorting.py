"""What devices send, sorted by recognizers that do not know of the detector."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import HarkError
from pipeline.serving import sorting
from tests.support.untrained_bundle import spoken


@pytest.mark.parametrize(
    ("score", "said", "kind"),
    [
        (1.0, False, "phrase"), (0.6, True, "phrase"), (0.6, False, "unsure"), (0.05, True, "unsure"),
        (0.05, False, "other"), (0.3, False, "unsure"), (None, True, "phrase"), (None, False, "unsure"),
    ],
)  # fmt: skip
def test_phones_decide_and_words_make_surer(score: float | None, said: bool, kind: str) -> None:
    assert sorting.sorted_by(score, said) == kind


def test_a_voice_that_says_the_phrase_or_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_SPEECH_SERVICE", "0")
    assert sorting.sort_wake("hey compass", "en", spoken("hey compass")).kind == "phrase"
    other = sorting.sort_wake("hey compass", "en", spoken("where is my umbrella"))
    assert other.kind == "other"
    assert sorting.sort_wake("hey compass", "en", np.zeros(16_000, np.float32)) == sorting.Sorted("other", "")


def test_without_a_recognizer_it_is_unsure(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_args: object) -> None:
        raise HarkError("The speech service is away.", "It ended.", "Start it.")

    monkeypatch.setattr(sorting, "call", away)
    assert sorting.sort_wake("hey compass", "en", np.zeros(16_000, np.float32)) == sorting.Sorted("unsure", "")
