"""Translatable sentences are plain text to everything else."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from core.errors import HarkError
from core.worded import Worded, listed, number, percent, worded, worded_again


def test_a_worded_text_equals_its_english_sentence() -> None:
    said = worded("Synthesizing %(n)d clips of “%(phrase)s”", n=3, phrase="100 % sure")
    assert said == "Synthesizing 3 clips of “100 % sure”" and isinstance(said, str)
    assert json.dumps([said], ensure_ascii=False) == '["Synthesizing 3 clips of “100 % sure”"]'
    assert said.parts() == {
        "template": "Synthesizing %(n)d clips of “%(phrase)s”", "plural": "", "values": {"n": 3, "phrase": "100 % sure"}
    }  # fmt: skip


def test_rates_are_formatted_as_percentages() -> None:
    assert percent(0.0321) == "3.2 %" and percent(float("nan")) == percent(None) == "not measured"


def test_the_number_selects_singular_or_plural() -> None:
    def clips(n: int) -> str:
        return worded("%(n)d clip", "%(n)d clips", n=n)

    assert [clips(n) for n in (0, 1, 2)] == ["0 clips", "1 clip", "2 clips"]


def test_values_may_be_worded_texts() -> None:
    said = worded("It is long: %(measure)s.", measure=worded("%(n)d syllable", "%(n)d syllables", n=9))
    assert said == "It is long: 9 syllables."
    assert said.parts()["values"]["measure"]["plural"] == "%(n)d syllables"
    for same in (copy.deepcopy(said), pickle.loads(pickle.dumps(said))):
        assert isinstance(same, Worded) and same.parts() == said.parts()


def test_a_worded_text_survives_json() -> None:
    said = worded("It is long: %(measure)s.", measure=worded("%(n)d syllable", "%(n)d syllables", n=9))
    again = worded_again(json.loads(json.dumps(said.parts())))
    assert again == said and again.parts() == said.parts()


@pytest.mark.parametrize("template", ["%(n)1000000000d", "%(n)f", "%s", "%"])
def test_unsupported_placeholders_are_rejected(template: str) -> None:
    with pytest.raises(ValueError, match="placeholder"):
        worded_again({"template": template, "plural": "", "values": {"n": 1}})


def test_replace_changes_the_values_but_not_the_template() -> None:
    said = worded(
        "%(path)s contains no audio: %(why)s", path="/tmp/x/a.wav", why=worded("see %(path)s", path="/tmp/x/a.wav")
    )
    other = said.replace("/tmp/x/a.wav", "mine.wav")
    assert other == "mine.wav contains no audio: see mine.wav" and isinstance(other, Worded)
    assert other.parts()["values"]["path"] == "mine.wav"
    assert said.replace("contains no", "has") == "/tmp/x/a.wav has audio: see /tmp/x/a.wav"


def test_numbers_and_lists_are_formatted() -> None:
    assert (number(30.0), number(0.5), number(1 / 3)) == (30, 0.5, 0.33) and isinstance(number(30.0), int)
    assert listed(["a", 1]) == "a, 1"


def test_the_three_sentences_survive_a_process_boundary() -> None:
    error = pickle.loads(pickle.dumps(HarkError("It stopped.", "The disk is full.", "Free some space.")))
    assert isinstance(error, HarkError)
    assert error.as_dict() == {"what": "It stopped.", "why": "The disk is full.", "what_to_do": "Free some space."}
    assert str(error) == "It stopped. The disk is full. Free some space."


def test_translatable_parts_survive_a_process_boundary() -> None:
    error = pickle.loads(pickle.dumps(HarkError(worded("%(name)s stopped.", name="It"), "No reason.", "Try again.")))
    assert error.parts() == {
        **error.as_dict(), "said": {"what": {"template": "%(name)s stopped.", "plural": "", "values": {"name": "It"}}}
    }  # fmt: skip
    assert HarkError("It stopped.", "No reason.", "Try again.").parts().keys() == {"what", "why", "what_to_do"}
