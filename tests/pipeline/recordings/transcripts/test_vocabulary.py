"""Expected words from corrections, and their storage."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import HarkError
from pipeline.recordings.transcripts.vocabulary import FILE, MAX_WORDS, expected, forget, learn, learned, replace_word


@pytest.mark.parametrize(
    ("before", "after", "language", "words"),
    [
        ("hello cattie how are you", "hello Katie, how are you?", "en", ["Katie"]),
        ("he said cooper netties is down", "he said Kubernetes is down", "en", ["Kubernetes"]),
        ("they called nasa", "they called NASA", "en", []),  # the same word in capitals
        ("anna's car is read", "Anna's car is red", "en", []),  # common
        ("ask sharon tomorrow", "ask Siobhan's sister tomorrow", "en", ["Siobhan"]),
        ("thomas agrees we meet", "Thomas agrees. Then we meet", "en", []),  # capital of a new sentence
        ("der spiegel liegt da", "der Tisch liegt da", "de", []),  # every noun has a capital
        ("frau müller kommt", "Frau Ximenez kommt", "de", ["Ximenez"]),
        ("四十", "四百", "zh", []),
    ],
)
def test_corrected_names_and_rare_words_are_learned(before: str, after: str, language: str, words: list[str]) -> None:
    assert list(learned(before, after, language).words) == words


@pytest.mark.parametrize(
    ("before", "after", "language", "pair"),
    [
        ("hello cattie how are you", "hello Katie, how are you?", "en", ("cattie", "Katie")),
        ("he said cooper netties is down", "he said Kubernetes is down", "en", ("cooper netties", "Kubernetes")),
        ("her pages are slow", "Hark pages are slow", "en", ("", "")),  # "her" may be right elsewhere
        ("anna's car is read", "Anna's car is red", "en", ("", "")),  # common
        ("ask tomorrow", "ask Siobhan tomorrow", "en", ("", "")),  # a word was added, not replaced
        ("one two three cooper netties", "Kubernetes", "en", ("", "")),
        ("they say to in the music", "they say to Indie music", "en", ("", "")),  # "in the" may be right elsewhere
        ("ask US tomorrow", "ask Siobhan tomorrow", "en", ("", "")),  # "us" may be right elsewhere
        ("ask Karpati about it", "ask what Karpathy said about it", "en", ("", "")),
        ("ask Karpati about it", "ask Andrej Karpathy about it", "en", ("", "")),  # "Andrej" may precede it
        ("andre karpati says", "Andrej Karpathy says", "en", ("andre karpati", "Andrej Karpathy")),
        ("Annegret Kramp spricht", "Annegret Kramp-Karrenbauer spricht", "de", ("", "")),  # may be whole elsewhere
        ("so — — ask", "so Siobhan ask", "en", ("", "")),
        ("四十", "四百", "zh", ("", "")),
    ],
)
def test_a_correction_gives_the_misrecognized_pair(
    before: str, after: str, language: str, pair: tuple[str, str]
) -> None:
    assert learned(before, after, language)[1:] == pair


@pytest.mark.parametrize(
    ("text", "heard", "said", "now"),
    [
        ("karpati's and Karpatinger, KARPATI", "Karpati", "Karpathy", "karpathy's and Karpatinger, Karpathy"),
        ("red pomgranates", "Pomgranates", "Pomegranates", "red pomegranates"),
        ("ask cattie. Cattie?", "cattie", "Katie", "ask Katie. Katie?"),
        ("a (b) c", "(b)", r"\1", r"a \1 c"),
    ],
)
def test_a_misrecognized_word_is_replaced_everywhere(text: str, heard: str, said: str, now: str) -> None:
    assert replace_word(text, heard, said) == now


def test_words_are_stored_by_language_newest_first(tmp_path: Path) -> None:
    file = tmp_path / "user" / FILE
    learn(file, ["Katie", "Kubernetes"], "en-us")
    learn(file, ["Ximenez"], "de")
    learn(file, ["Katie"], "en")
    assert expected(file, "en") == ("Katie", "Kubernetes") and expected(file, "de-at") == ("Ximenez",)
    assert expected(file, None) == ("Katie", "Ximenez", "Kubernetes") and expected(file, "fr") == ()
    forget(file, "Katie")
    assert expected(file, "en") == ("Kubernetes",)
    forget(file, "Kubernetes")
    forget(file, "Ximenez")
    assert not file.exists() and expected(file, None) == ()


def test_the_oldest_words_of_a_language_are_dropped(tmp_path: Path) -> None:
    file = tmp_path / FILE
    learn(file, ["Ximenez"], "de")
    learn(file, [f"word{number}" for number in range(MAX_WORDS + 5)], "en")
    assert len(expected(file, "en")) == MAX_WORDS and expected(file, "en")[-1] == "word5"
    assert expected(file, "de") == ("Ximenez",)


def test_a_damaged_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{")
    with pytest.raises(HarkError, match="cannot be read"):
        expected(tmp_path / FILE, "en")
