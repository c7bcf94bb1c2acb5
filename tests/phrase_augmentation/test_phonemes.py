from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import HarkError
from core.worker_process import WorkerGone
from phrase_augmentation import phonemes as module
from phrase_augmentation.distance import PhoneMatrix, exchange_cost, phone_distance
from phrase_augmentation.phonemes import accents, phonemes, phonemes_of_words, phones_of_texts, stressed_vowel
from tests.support.processes import has_ended
from tests.support.programs import output_of
from tests.support.servers import wait_for


def test_known_words_have_their_phones() -> None:
    assert phonemes("hey compass") == ("h", "eɪ", "k", "ʌ", "m", "p", "ə", "s")
    assert phonemes_of_words(["bird", "better", "church"]) == [
        ("b", "ə", "ɹ", "d"),
        ("b", "ɛ", "ɾ", "ə", "ɹ"),
        ("tʃ", "ə", "ɹ", "tʃ"),
    ]
    assert phonemes("") == () == phonemes("?!")
    assert stressed_vowel("compass") == 0
    assert stressed_vowel("alexa") == 1


def test_language_switches_and_marks_are_not_phones() -> None:
    for text, language in [("Website Computer", "de"), ("computer", "fr"), ("नमस्ते", "en"), ("привет", "en")]:
        phones = phonemes(text, language)
        assert phones
        assert not any(set(phone) & set("()ˈˌː_- ") for phone in phones)


@pytest.mark.parametrize(("language", "text"), [("zh", "你好"), ("ja", "こんにちは"), ("ko", "안녕"), ("sw", "habari")])
def test_other_languages_have_phones(language: str, text: str) -> None:
    assert len(phonemes(text, language)) >= 4


def test_accents_are_listed_and_unknown_languages_rejected() -> None:
    assert accents("zh") == ("cmn",) and accents("pt")[0] == "pt-br"
    assert accents("en") == ("en-us", "en-gb")
    assert accents("en_GB")[0] == "en-gb"
    with pytest.raises(HarkError) as caught:
        phonemes("hello", "xx")
    assert "xx" in caught.value.what
    assert "de" in caught.value.what_to_do


def test_unusual_texts_do_not_disturb_other_answers() -> None:
    texts = ["hey\x00compass", "\ud800", "a\nb", "[[h@l'oU]]", "<speak>hi</speak>", "(en)", "_", "x" * 5000, "hey"]
    assert phones_of_texts(texts, "en-us")[-1] == ("h", "eɪ")


def test_the_phonemizer_restarts_after_a_crash() -> None:
    before = phonemes("reliable")
    process = module._phonemizer._process
    assert process is not None
    os.kill(process._process.pid, signal.SIGKILL)
    assert phonemes("irreplaceable hammock")
    assert phonemes("reliable") == before
    assert module._phonemizer._process is not process


def test_a_text_that_crashes_or_hangs_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    phonemizer = module._Phonemizer()
    real = phonemizer._ask

    def crashing(texts: list[str], voice: str) -> list[str]:
        if "poison" in texts:
            phonemizer.stop()
            raise WorkerGone("it ended")
        return real(texts, voice)

    phonemizer._ask = crashing  # type: ignore[method-assign]
    raw = phonemizer.raw(["good", "poison", "food", "mood"], "en-us")
    assert raw[1] == ""
    assert all(raw[index] for index in (0, 2, 3))
    phonemizer._ask = real  # type: ignore[method-assign]
    # A process that was stopped in the middle (SIGSTOP) is killed after the time limit, and the text asked again.
    monkeypatch.setattr(module, "TIMEOUT_S", 1.0)
    phonemizer.raw(["warm"], "en-us")
    assert phonemizer._process is not None
    os.kill(phonemizer._process._process.pid, signal.SIGSTOP)
    assert phonemizer.raw(["frozen"], "en-us")[0]
    phonemizer.stop()


def test_without_espeak_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.sys, "executable", "/bin/false")
    with pytest.raises(HarkError) as caught:
        module._Phonemizer().raw(["hey"], "en-us")
    assert "espeakng-loader" in caught.value.what_to_do


def test_threads_and_forks_do_not_mix_answers() -> None:
    words = [f"word{letter}{other}" for letter in "abcdefgh" for other in "klmnop"]
    expected = phones_of_texts(words, "en-us")
    module._phonemizer._cache.clear()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda word: phones_of_texts([word], "en-us")[0], words)) == expected
    module._phonemizer._cache.clear()
    with get_context("fork").Pool(2) as forked:
        assert forked.map(phonemes, words) == expected


def test_the_phonemizer_process_ends_with_its_parent() -> None:
    code = (
        "from phrase_augmentation import phonemes as p; p.phonemes('hey');"
        "import os; print(p._phonemizer._process._process.pid, flush=True); os._exit(0)"
    )
    pid = int(output_of(code))
    wait_for(lambda: has_ended(pid), 5)


PHONES = ["k", "ʌ", "m", "p", "ə", "s", "eɪ", "h", "tʃ", "ɹ", "ɑ̃", "ɑu2", "rʲ", "?"]
sequences = st.lists(st.sampled_from(PHONES), max_size=8).map(tuple)


@settings(max_examples=300, deadline=None)
@given(sequences, sequences)
def test_distance_is_symmetric_and_zero_for_equal_sequences_only(a: tuple[str, ...], b: tuple[str, ...]) -> None:
    assert phone_distance(a, b) == pytest.approx(phone_distance(b, a))
    assert (phone_distance(a, b) == 0.0) == (a == b)


@settings(max_examples=100, deadline=None)
@given(sequences, st.lists(sequences, min_size=1, max_size=6))
def test_the_distance_matrix_equals_plain_distances(query: tuple[str, ...], others: list[tuple[str, ...]]) -> None:
    expected = [phone_distance(query, other) for other in others]
    np.testing.assert_allclose(PhoneMatrix(others).distances(query), expected, atol=1e-5)


def test_similar_phones_are_cheap() -> None:
    assert exchange_cost("ə", "ɐ") < exchange_cost("p", "b") < exchange_cost("ʌ", "æ") < exchange_cost("k", "ʌ")
    assert exchange_cost("s", "ʃ") < exchange_cost("s", "m")
    assert exchange_cost("i", "ɪ") < exchange_cost("i", "ɑ")
    assert 0 < exchange_cost("a2", "a4") < 0.3


def test_an_empty_matrix_has_no_distances() -> None:
    assert PhoneMatrix([]).distances(("a",)).shape == (0,)
    assert PhoneMatrix([(), ("k",)]).distances(()).tolist() == pytest.approx([0.0, 0.8])
