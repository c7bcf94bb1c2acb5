"""Texts in which the keyphrase is said."""

from __future__ import annotations

from phrase_augmentation.keyphrase import Keyphrase
from phrase_augmentation.phrase_text import PhraseText
from phrase_augmentation.punctuation import punctuated
from phrase_augmentation.sentences import carried, generator

ALONE_SHARE = 0.6  # of the texts hold the phrase and nothing else: so a detector is mostly addressed
PLAIN_SHARE = 0.4  # of those are the bare phrase; the others vary its punctuation and capitals


def positives(keyphrase: Keyphrase, count: int, seed: int = 0) -> list[PhraseText]:
    """``count`` utterances that hold the phrase; one entry is one clip to be spoken.

    Kinds: "alone" (the bare phrase), "punctuated" (alone, with other punctuation and capitals), "start", "middle" and
    "end" (in a sentence). The phrase alone can be written in a few ways only, so those texts recur, for other voices
    to say. A longer list begins with the shorter one.
    """
    phrase, language = keyphrase.text, keyphrase.language
    rng = generator(seed, "positives", language, phrase)
    variants = punctuated(phrase)[1:]
    # The natural variants come first and more often: each draw takes the smaller of two.
    result: list[PhraseText] = []
    for index in range(count):
        if index == 0 or rng.random() < ALONE_SHARE:
            if index == 0 or rng.random() < PLAIN_SHARE:
                result.append(PhraseText(phrase, "alone", 0.0))
            else:
                variant = variants[int(rng.integers(len(variants), size=2).min())]
                result.append(PhraseText(variant, "punctuated", 0.0))
        else:
            text, place = carried(phrase, language, rng)
            result.append(PhraseText(text, place, 0.0))
    return result
