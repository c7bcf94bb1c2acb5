from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import HarkError
from pipeline.training.configuration.advice import Advice, advise


@pytest.fixture(scope="module", autouse=True)
def data(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARK_DATA", str(tmp_path_factory.mktemp("data")))
        yield


def levels(advice: Advice) -> list[str]:
    return [note.level for note in advice.notes]


def test_a_good_phrase_gets_only_good_notes() -> None:
    advice = advise("Hey, Compass!")
    assert advice.normalized == "hey compass"
    assert advice.phones == (("h", "eɪ"), ("k", "ʌ", "m", "p", "ə", "s"))
    assert advice.syllables == 3
    assert 0.4 < advice.duration_s < 1.0
    assert [common.word for common in advice.commonness] == ["hey", "compass"]
    assert advice.commonness[0].zipf > advice.commonness[1].zipf > 3
    assert 0 < advice.heard_per_million < 1
    assert any(near.text == "hay compass" and near.distance == 0 for near in advice.near_homophones)
    assert set(levels(advice)) == {"good"}
    assert advice.suggestions == ()


def test_short_and_common_phrases_get_warnings() -> None:
    advice = advise("go")
    assert levels(advice).count("warning") == 2
    assert advice.suggestions and all(suggestion.startswith("try ") for suggestion in advice.suggestions)
    assert "too short" in advice.notes[0].message


def test_homophones_and_longer_words_add_to_the_frequency() -> None:
    flower = advise("flower")
    assert any("flour" in note.message and "same" in note.message for note in flower.notes)
    # "flour", "flowers" and "sunflower" count too.
    assert flower.heard_per_million > 1.2 * 10 ** (flower.commonness[0].zipf - 3)


def test_a_word_that_is_not_listed_is_not_called_rare() -> None:
    notes = advise("xqzt").notes
    assert not any("hardly ever" in note.message for note in notes)
    assert any(note.level == "caution" and "Hark does not know" in note.message for note in notes)
    assert any("hardly ever" in note.message for note in advise("hey compass").notes)


def test_the_note_does_not_contradict_the_list_of_neighbours() -> None:
    advice = advise("hello robin")
    assert advice.near_homophones, "the page lists them"
    assert any("Nothing common" in note.message for note in advice.notes)
    assert not any("No real phrase" in note.message for note in advice.notes)


def test_suggestions_improve_the_rating() -> None:
    advice = advise("snowboy")
    assert 'try "hey snowboy"' in advice.suggestions
    better = advise("hey snowboy")
    assert better.notes[0].level == "good"
    assert better.suggestions == ()


def test_common_phrases_rank_above_rare_ones() -> None:
    rates = [
        advise(phrase).heard_per_million for phrase in ("thank you", "good morning", "smart mirror", "hey compass")
    ]
    assert rates == sorted(rates, reverse=True)


def test_reserved_unknown_and_long_phrases_get_notes() -> None:
    assert any("Other devices" in note.message for note in advise("alexa").notes)
    assert any("dictionary" in note.message for note in advise("hey zorpify").notes)
    assert advise("turn on the light in the kitchen please").notes[0].level == "caution"


@pytest.mark.parametrize(("phrase", "language"), [("hallo kompass", "de"), ("habari yako", "sw"), ("你好世界", "zh")])
def test_other_languages_get_advice(phrase: str, language: str) -> None:
    advice = advise(phrase, language)
    assert advice.syllables >= 4
    assert advice.notes


def test_advice_is_plain_json() -> None:
    assert json.loads(json.dumps(advise("computer").as_dict()))["normalized"] == "computer"


@pytest.mark.parametrize(("phrase", "language"), [("", "en"), ("😀", "en"), ("hello", "ru"), ("hello", "xx")])
def test_texts_that_are_not_phrases_are_rejected(phrase: str, language: str, tmp_path: Path) -> None:
    with pytest.raises(HarkError):
        advise(phrase, language)
