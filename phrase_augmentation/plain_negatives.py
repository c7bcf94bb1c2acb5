"""Ordinary speech without the keyphrase: real transcripts first, generated sentences last."""

from __future__ import annotations

from collections.abc import Sequence

from phrase_augmentation.heard import ear
from phrase_augmentation.keyphrase import Keyphrase
from phrase_augmentation.normalize import normalize
from phrase_augmentation.phrase_text import PhraseText
from phrase_augmentation.sentences import generated_sentence, generator

BATCH = 256
PATIENCE = 20  # batches without a new usable text, after which no more come
LONGEST_TRANSCRIPT = 40  # words; longer ones are recordings for mining, not sentences to be spoken


def plain_negatives(keyphrase: Keyphrase, transcripts: Sequence[str], count: int, seed: int = 0) -> list[PhraseText]:
    """``count`` distinct texts in which the phrase cannot be heard.

    Kinds: "transcript" (of ``transcripts``, mixed by the seed), then "generated" (see ``sentences.py``). A longer list
    begins with the shorter one. Fewer come back where the transcripts run out in a language whose words are unknown,
    or where the phrase is heard in nearly everything.

    Raises:
        HarkError: espeak-ng does not have the language.
    """
    language = keyphrase.language
    listener = ear(keyphrase.text, language)
    found: dict[str, PhraseText] = {}
    order = generator(seed, "transcripts", language).permutation(len(transcripts))
    for begin in range(0, len(order), BATCH):
        if len(found) >= count:
            break
        batch = [transcripts[index] for index in order[begin : begin + BATCH]]
        _keep(batch, "transcript", listener.hears(batch), found, language)
    rng = generator(seed, "sentences", language)
    idle = 0
    while len(found) < count and idle < PATIENCE:
        batch = [generated_sentence(language, rng) for _ in range(BATCH)]
        before = len(found)
        _keep(batch, "generated", listener.hears(batch), found, language)
        idle = idle + 1 if len(found) == before else 0
    return list(found.values())[:count]


def _keep(texts: list[str], kind: str, heard: list[bool], found: dict[str, PhraseText], language: str) -> None:
    for text, is_heard in zip(texts, heard):
        plain = normalize(text, language)
        if plain and not is_heard and len(plain.split()) <= LONGEST_TRANSCRIPT:
            found.setdefault(plain, PhraseText(" ".join(text.split()), kind))
