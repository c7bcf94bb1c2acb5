"""Sentences that can be translated later are plain text to everything else."""

from __future__ import annotations

import copy
import json
import pickle

from core.worded import Worded, worded


def test_it_is_the_english_sentence() -> None:
    said = worded("Speaking %(n)d clips of “%(phrase)s”", n=3, phrase="100 % sure")
    assert said == "Speaking 3 clips of “100 % sure”" and isinstance(said, str)
    assert json.dumps([said], ensure_ascii=False) == '["Speaking 3 clips of “100 % sure”"]'
    assert said.parts() == {
        "template": "Speaking %(n)d clips of “%(phrase)s”", "plural": "", "values": {"n": 3, "phrase": "100 % sure"}
    }  # fmt: skip


def test_one_and_many() -> None:
    def clips(n: int) -> str:
        return worded("%(n)d clip", "%(n)d clips", n=n)

    assert [clips(n) for n in (0, 1, 2)] == ["0 clips", "1 clip", "2 clips"]


def test_parts_may_be_worded_themselves() -> None:
    said = worded("It is long: %(measure)s.", measure=worded("%(n)d syllable", "%(n)d syllables", n=9))
    assert said == "It is long: 9 syllables."
    assert said.parts()["values"]["measure"]["plural"] == "%(n)d syllables"
    for same in (copy.deepcopy(said), pickle.loads(pickle.dumps(said))):
        assert isinstance(same, Worded) and same.parts() == said.parts()
