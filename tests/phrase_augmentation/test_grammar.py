"""Grammars of sentences: the file, agreement and inflection."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from phrase_augmentation.grammar import Grammar, english

FILE = """# A comment.
sentence: @who <I> <task:now>, and <my> dog <task:ed> it. | @who <I> <have> <task:en> it.
    | @who <was> <I> <task:ing>?
who: I/I/my/me/am/was/have/do | Ann/she/her/her/is/was/has/does
task: VERB
irregular: see/saw/seen
"""


@pytest.mark.parametrize(
    ("verb", "now", "past", "participle", "ing"),
    [
        ("stop", "stops", "stopped", "stopped", "stopping"),
        ("carry", "carries", "carried", "carried", "carrying"),
        ("agree", "agrees", "agreed", "agreed", "agreeing"),
        ("wash up", "washes up", "washed up", "washed up", "washing up"),
        ("open", "opens", "opened", "opened", "opening"),
        ("play", "plays", "played", "played", "playing"),
        ("see", "sees", "saw", "seen", "seeing"),
    ],
)
def test_subjects_agree_and_verbs_are_inflected(
    tmp_path: Path, verb: str, now: str, past: str, participle: str, ing: str
) -> None:
    path = tmp_path / "grammar.txt"
    path.write_text(FILE.replace("VERB", verb))
    rng = np.random.default_rng(0)
    assert {Grammar(path).sentence("sentence", rng) for _ in range(100)} == {
        f"I {verb}, and my dog {past} it.", f"Ann {now}, and her dog {past} it.",
        f"I have {participle} it.", f"Ann has {participle} it.", f"was I {ing}?", f"was Ann {ing}?",
    }  # fmt: skip


def test_every_rule_of_the_english_grammar_can_be_said() -> None:
    rng = np.random.default_rng(0)
    for rule in english().rules:
        said = {english().sentence(rule, rng) for _ in range(200)}
        assert not [text for text in said if not text or set("<>@|") & set(text)], rule


def test_an_article_suits_what_follows(tmp_path: Path) -> None:
    path = tmp_path / "grammar.txt"
    path.write_text("sentence: a <thing>\nthing: apple | hour | union | one-way sign | hat\nirregular: go/went/gone\n")
    rng = np.random.default_rng(0)
    said = {Grammar(path).sentence("sentence", rng) for _ in range(100)}
    assert said == {"an apple", "an hour", "a union", "a one-way sign", "a hat"}
