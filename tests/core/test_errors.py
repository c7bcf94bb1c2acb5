from __future__ import annotations

import pickle

from core.errors import HarkError
from core.worded import worded


def test_the_three_sentences_survive_a_process_boundary() -> None:
    error = pickle.loads(pickle.dumps(HarkError("It stopped.", "The disk is full.", "Free some space.")))
    assert isinstance(error, HarkError)
    assert error.as_dict() == {"what": "It stopped.", "why": "The disk is full.", "what_to_do": "Free some space."}
    assert str(error) == "It stopped. The disk is full. Free some space."


def test_what_can_be_translated_survives_too() -> None:
    error = pickle.loads(pickle.dumps(HarkError(worded("%(name)s stopped.", name="It"), "No reason.", "Try again.")))
    assert error.parts() == {
        **error.as_dict(), "said": {"what": {"template": "%(name)s stopped.", "plural": "", "values": {"name": "It"}}}
    }  # fmt: skip
    assert HarkError("It stopped.", "No reason.", "Try again.").parts().keys() == {"what", "why", "what_to_do"}
