"""Positives, in-between and plain negatives, punctuation and generated sentences."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from phrase_augmentation.grammar import Grammar, english
from phrase_augmentation.keyphrase import Keyphrase
from phrase_augmentation.matching import phrase_matcher, phrase_sounds_in
from phrase_augmentation.normalize import normalize
from phrase_augmentation.sentences import CARRIERS, PLACES, carried, generated_sentence, generator
from phrase_augmentation.texts import inbetween, plain_negatives, positives, punctuated
from phrase_augmentation.unfit_words import UNFIT


def test_punctuated_variants_keep_the_words() -> None:
    variants = punctuated("hey compass")
    assert variants[0] == "hey compass"
    assert {"Hey compass!", "hey, compass", "hey... compass", "Hey Compass"} <= set(variants)
    assert len(variants) == len(set(variants))
    assert {normalize(variant) for variant in variants} == {"hey compass"}
    assert punctuated("") == []
    assert len(punctuated("alexa")) >= 8


def test_carriers_have_one_gap_in_every_position() -> None:
    for language, places in CARRIERS.items():
        assert set(places) == set(PLACES), language
        for place, carriers in places.items():
            for carrier in carriers:
                assert carrier.count("{}") == 1
                assert place != "start" or carrier.startswith("{}")
                assert place != "end" or carrier.rstrip(".!?").endswith("{}")


def test_english_carriers_place_the_text_as_declared() -> None:
    rng = generator(0, "carriers")
    found = [carried("hey compass", "en", rng) for _ in range(1000)]
    assert len({text for text, _ in found}) > 700
    for text, place in found:
        words = normalize(text).split()
        assert text.lower().count("hey compass") == 1, text
        assert (words[:2] == ["hey", "compass"]) == (place == "start"), text
        assert (words[-2:] == ["hey", "compass"]) == (place == "end"), text


@pytest.mark.parametrize(("phrase", "language"), [("hey compass", "en"), ("hallo kompass", "de"), ("habari", "sw")])
def test_positives_hold_the_phrase(phrase: str, language: str) -> None:
    texts = positives(Keyphrase(phrase, language), 400, seed=3)
    assert len(texts) == 400
    assert all(phrase_matcher(phrase, language).matches_of([text.text for text in texts]))
    kinds = Counter(text.kind for text in texts)
    assert kinds["alone"] + kinds["punctuated"] > 200
    if language != "sw":
        assert set(PLACES) <= set(kinds)
        assert len({text.text for text in texts}) > 90
    assert texts[:50] == positives(Keyphrase(phrase, language), 50, seed=3)
    assert texts != positives(Keyphrase(phrase, language), 400, seed=4)
    assert positives(Keyphrase(phrase, language), 1)[0].text == phrase


@pytest.mark.parametrize("phrase", ["hey compass", "computer"])
def test_partial_phrase_negatives_never_contain_the_phrase(phrase: str) -> None:
    texts = inbetween(Keyphrase(phrase), 1500, seed=5)
    assert len({text.text for text in texts}) == 1500
    assert {text.kind for text in texts} == {"part", "related"}
    assert not any(phrase_matcher(phrase).matches_of([text.text for text in texts]))
    assert texts[:200] == inbetween(Keyphrase(phrase), 200, seed=5)


def test_plain_negatives_use_transcripts_first() -> None:
    transcripts = [
        "Where is it?",
        "I said hey compass.",
        "WHERE is it",
        "",
        "Hay, compasses!",
        "Fine weather.",
        "word " * 60,
    ]
    texts = plain_negatives(Keyphrase("hey compass"), transcripts, 300, seed=1)
    assert len(texts) == 300
    assert {normalize(text.text) for text in texts if text.kind == "transcript"} == {"where is it", "fine weather"}
    assert [text.kind for text in texts[:2]] == ["transcript"] * 2
    assert {text.kind for text in texts[2:]} == {"generated"}
    assert not any(phrase_matcher("hey compass").matches_of([text.text for text in texts]))
    assert texts[:40] == plain_negatives(Keyphrase("hey compass"), transcripts, 40, seed=1)
    assert {text.text for text in plain_negatives(Keyphrase("hey compass"), transcripts, 300, seed=2)} != {
        t.text for t in texts
    }


def test_english_sentences_agree_and_are_varied() -> None:
    rng = generator(0, "test")
    sentences = [generated_sentence("en", rng) for _ in range(2000)]
    assert len(set(sentences)) > 1800
    assert len({word for sentence in sentences for word in normalize(sentence).split()}) > 1500
    wrong = re.compile(
        r"\b(?:(?:he|she) (?:have|are|am|do|were)|(?:we|they|you) (?:is|was|has|does)|i (?:is|are|has|does|were)"
        r"|an? (?:the|an?|of|and|to|is|are|was|he|she|they|i)|the (?:the|an?|of|and|to|is|are|was|he|she|they|i|you)"
        r"|(?:of|to|for|and) (?:of|is|are|was)|a (?=[aeio])(?!one))\b"
    )
    assert [sentence for sentence in sentences if wrong.search(sentence.lower())] == []
    assert generated_sentence("sw", rng) == ""


@pytest.mark.parametrize("language", sorted(UNFIT))
def test_generated_sentences_contain_no_offensive_words(language: str) -> None:
    rng = generator(0, "fit")
    said = Counter(word for _ in range(3000) for word in normalize(generated_sentence(language, rng), language).split())
    assert len(said) > 1000
    assert not UNFIT[language] & set(said)


def test_a_language_without_words_gives_only_its_transcripts() -> None:
    assert [text.text for text in plain_negatives(Keyphrase("habari", "sw"), ["jambo sana", "habari gani"], 9)] == [
        "jambo sana"
    ]


def test_negatives_of_a_very_common_phrase_do_not_contain_it() -> None:
    texts = plain_negatives(Keyphrase("uh"), [], 50)
    assert not [text for text in texts if phrase_sounds_in("uh", text.text)]


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


def test_every_english_grammar_rule_gives_a_sentence() -> None:
    rng = np.random.default_rng(0)
    for rule in english().rules:
        said = {english().sentence(rule, rng) for _ in range(200)}
        assert not [text for text in said if not text or set("<>@|") & set(text)], rule


def test_an_article_agrees_with_the_next_word(tmp_path: Path) -> None:
    path = tmp_path / "grammar.txt"
    path.write_text("sentence: a <thing>\nthing: apple | hour | union | one-way sign | hat\nirregular: go/went/gone\n")
    rng = np.random.default_rng(0)
    said = {Grammar(path).sentence("sentence", rng) for _ in range(100)}
    assert said == {"an apple", "an hour", "a union", "a one-way sign", "a hat"}
