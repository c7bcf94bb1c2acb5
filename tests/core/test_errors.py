from __future__ import annotations

import pickle

from core.errors import HarkError


def test_the_three_sentences_survive_a_process_boundary() -> None:
    error = pickle.loads(pickle.dumps(HarkError("It stopped.", "The disk is full.", "Free some space.")))
    assert isinstance(error, HarkError)
    assert error.as_dict() == {
        "what": "It stopped.",
        "why": "The disk is full.",
        "what_to_do": "Free some space.",
    }
    assert str(error) == "It stopped. The disk is full. Free some space."
