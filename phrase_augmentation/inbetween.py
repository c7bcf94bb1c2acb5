"""Negatives between confusers and plain speech: a part of the phrase, or a word akin to it, in another sentence."""

from __future__ import annotations

from phrase_augmentation.confusers import confusers
from phrase_augmentation.heard import ear
from phrase_augmentation.keyphrase import Keyphrase
from phrase_augmentation.phrase_text import PhraseText
from phrase_augmentation.sentences import carried, generator

RELATED = 400  # nearest confusers that are put into sentences
BATCH = 256
PATIENCE = 20  # batches without a new usable text, after which no more come


def inbetween(keyphrase: Keyphrase, count: int, seed: int = 0) -> list[PhraseText]:
    """``count`` distinct sentences with something of the phrase in them, in which the phrase cannot be heard.

    Kinds: "part" (words of the phrase, beginnings and ends of its words), "related" (words near to it in sound, or of
    the same stem). The sentences are those of the positives, with the gap filled otherwise. A longer list begins with
    the shorter one. Fewer come back only where the phrase is heard in nearly everything.

    Raises:
        HarkError: espeak-ng does not have the language.
    """
    phrase, language, words = keyphrase.text, keyphrase.language, keyphrase.words
    near = confusers(keyphrase, RELATED, seed)
    parts = [*words] if len(words) > 1 else []
    parts += [text.text for text in near if text.kind in ("partial", "repeated", "reordered")]
    related = [text.text for text in near if text.kind == "vocabulary"]
    rng = generator(seed, "inbetween", language, phrase)
    listener = ear(phrase, language)
    found: dict[str, PhraseText] = {}
    idle = 0
    while len(found) < count and idle < PATIENCE and (parts or related):
        batch: list[PhraseText] = []
        for _ in range(BATCH):
            kind, source = ("part", parts) if parts and (not related or rng.random() < 0.5) else ("related", related)
            filler = source[int(rng.integers(len(source)))]
            batch.append(PhraseText(carried(filler, language, rng)[0], kind))
        before = len(found)
        for text, heard in zip(batch, listener.hears([text.text for text in batch])):
            if not heard:
                found.setdefault(text.text, text)
        idle = idle + 1 if len(found) == before else 0
    return list(found.values())[:count]
