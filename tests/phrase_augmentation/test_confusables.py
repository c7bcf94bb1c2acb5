from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import HarkError
from phrase_augmentation.confusables import MIN_DISTANCE, _in_turns, confusables
from phrase_augmentation.keyphrase import Keyphrase
from phrase_augmentation.matching import phrase_sounds_in
from phrase_augmentation.normalize import normalize
from phrase_augmentation.phonemes import phones_of_texts
from phrase_augmentation.phrase_text import PhraseText
from phrase_augmentation.vocabulary import vocabulary
from tests.support.programs import output_of

KINDS = {"substitute", "insert", "delete", "vocabulary", "partial", "repeated", "reordered", "joined"}


def plain(text: str, accent: str) -> str:
    """Return the phones as one string, compared without the checks under test."""
    return " ".join(phones_of_texts([text], accent)[0])


@pytest.mark.parametrize("phrase", ["computer", "hey compass", "smart mirror", "alexa"])
def test_no_confusable_contains_the_phrase(phrase: str) -> None:
    found = confusables(Keyphrase(phrase), 2500)
    texts = [text.text for text in found]
    assert len(found) == len(set(texts)) == 2500
    assert {text.kind for text in found} <= KINDS
    assert len({text.kind for text in found}) >= 6
    distances = [text.distance for text in found]
    assert distances == sorted(distances)
    assert min(distances) >= MIN_DISTANCE
    for accent in ("en-us", "en-gb"):
        target = plain(phrase, accent)
        assert not [text for text in texts if f" {target} " in f" {plain(text, accent)} "]
    made_up = [text.text for text in found if text.kind != "vocabulary"]
    assert not [text for text in made_up if f" {phrase}" in f" {text}"]
    known = set(vocabulary().words)
    assert sum(all(word in known for word in text.split()) for text in texts) > len(texts) / 2
    assert len({phones_of_texts([text], "en-us")[0] for text in texts}) == len(texts)


def test_known_confusables_are_generated() -> None:
    texts = {text.text for text in confusables(Keyphrase("hey compass"), 2500)}
    assert {"hey campus", "they compass", "compass hey", "hey", "compass", "hey comp"} <= texts
    assert {"alex", "alexis", "alexander"} <= {text.text for text in confusables(Keyphrase("alexa"), 2500)}
    texts = {text.text for text in confusables(Keyphrase("computer"), 2500)}
    assert {"commuter", "computing", "computed", "compute", "computation"} <= texts


def test_misspellings_pronounced_like_the_phrase_are_excluded() -> None:
    texts = {text.text for text in confusables(Keyphrase("hey compass"), 6000)}
    assert not {"hey compess", "hey compas", "hey cumpass", "hey kompass", "hecompass", "hay compass"} & texts


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.integers(0, 20_000).map(lambda index: vocabulary().words[index]), min_size=1, max_size=3),
    st.integers(0, 2**40),
)
def test_confusables_of_any_phrase_never_contain_it(words: list[str], seed: int) -> None:
    phrase = " ".join(words)
    try:
        found = confusables(Keyphrase(phrase), 150, seed)
    except HarkError:
        assert sum(map(len, words)) < 2
        return
    assert len(found) <= 150
    assert not [text for text in found if phrase_sounds_in(phrase, text.text)]
    assert all(text.text == normalize(text.text) for text in found)


def test_confusables_depend_on_seed_and_count() -> None:
    assert confusables(Keyphrase("hey compass"), 300, seed=1) == confusables(Keyphrase("hey compass"), 300, seed=1)
    assert confusables(Keyphrase("hey compass"), 300, seed=1) != confusables(Keyphrase("hey compass"), 300, seed=2)
    assert set(confusables(Keyphrase("hey compass"), 100, seed=1)) <= set(
        confusables(Keyphrase("hey compass"), 300, seed=1)
    )
    assert confusables(Keyphrase("hey compass"), 0) == []


def test_confusables_are_the_same_in_another_process() -> None:
    code = (
        "from phrase_augmentation.confusables import confusables; import hashlib;"
        "from phrase_augmentation.keyphrase import Keyphrase;"
        "print(hashlib.sha256(repr(confusables(Keyphrase('smart mirror'), 400)).encode()).hexdigest())"
    )
    assert output_of(code) == output_of(code) != ""


@pytest.mark.parametrize(
    "phrase", ["oh", "i i", "zz", "drop table clips", "etc passwd", "turn on the light in the hall now"]
)
def test_unusual_phrases_give_valid_confusables(phrase: str) -> None:
    assert not [text for text in confusables(Keyphrase(phrase), 200) if phrase_sounds_in(phrase, text.text)]


def test_a_phrase_with_only_homophones_has_no_confusables(monkeypatch: pytest.MonkeyPatch) -> None:
    from phrase_augmentation import confusables as module

    monkeypatch.setattr(module, "_candidates", lambda *_: iter([("flour", "vocabulary"), ("flowers", "vocabulary")]))
    module._pools.cache_clear()
    assert confusables(Keyphrase("flower"), 50) == []
    module._pools.cache_clear()


@pytest.mark.parametrize(
    ("phrase", "language"),
    [("hallo kompass", "de"), ("bonjour", "fr"), ("привет компас", "ru"), ("你好世界", "zh"), ("habari yako", "sw")],
)
def test_confusables_exist_in_other_languages(phrase: str, language: str) -> None:
    found = confusables(Keyphrase(phrase, language), 60)
    assert len(found) >= (2 if language == "sw" else 60)
    assert not [text for text in found if phrase_sounds_in(phrase, text.text, language)]


def test_kinds_outside_the_rotation_are_included() -> None:
    pools = {kind: [PhraseText(f"{kind} {n}", kind, 1.0) for n in range(2)] for kind in ("vocabulary", "partial")}
    assert {text.text for text in _in_turns(pools)} == {"vocabulary 0", "vocabulary 1", "partial 0", "partial 1"}
