"""Texts to synthesize: the keyphrase alone and in sentences, parts of it in sentences, general speech without it."""

from __future__ import annotations

from collections.abc import Sequence

from phrase_augmentation.confusables import confusables
from phrase_augmentation.keyphrase import Keyphrase
from phrase_augmentation.matching import phrase_matcher
from phrase_augmentation.normalize import normalize
from phrase_augmentation.phrase_text import PhraseText
from phrase_augmentation.sentences import carried, generated_sentence, generator

ENDINGS = ("", ".", "!", "?", "...", ",")
ALONE_FRACTION = 0.6  # fraction of texts that contain only the phrase, the usual way to address a detector
PLAIN_FRACTION = 0.4  # fraction of these texts without punctuation and capitals
RELATED = 400  # number of nearest confusables used in sentences
BATCH = 256
PATIENCE = 20  # batches without a new usable text before giving up
MAX_TRANSCRIPT_WORDS = 40  # words; longer transcripts are recordings for mining, not sentences to synthesize


def punctuated(text: str) -> list[str]:
    """Return distinct ways to write a text of plain words: endings, capitals, and one pause between words.

    Engines turn these into different intonations and pauses. The text itself is first, followed by the most natural
    ones. "hey compass" gives "hey compass", "Hey compass.", "Hey compass!", "Hey compass?", "Hey, compass.", "hey...
    compass" and so on.
    """
    words = text.split()
    if not words:
        return []
    plain = " ".join(words)
    capital = plain[0].upper() + plain[1:]
    variants = [plain, f"{capital}.", f"{capital}!", f"{capital}?"]
    for place in range(1, len(words)):
        before, after = " ".join(words[:place]), " ".join(words[place:])
        variants += [f"{before}, {after}", f"{before[0].upper()}{before[1:]}, {after}!"]
    variants += [f"{plain}{ending}" for ending in ENDINGS] + [f"{capital}{ending}" for ending in ENDINGS]
    variants.append(" ".join(word[0].upper() + word[1:] for word in words))
    for place in range(1, len(words)):
        before, after = " ".join(words[:place]), " ".join(words[place:])
        variants += [f"{before}, {after}?", f"{before}... {after}", f"{before}. {after}."]
    return list(dict.fromkeys(variants))


def positives(keyphrase: Keyphrase, count: int, seed: int = 0) -> list[PhraseText]:
    """Return ``count`` utterances that contain the phrase. Each is one clip to synthesize.

    Kinds: "alone" (the bare phrase), "punctuated" (alone, with other punctuation and capitals), "start", "middle" and
    "end" (in a sentence). The phrase alone has only a few spellings, so its texts repeat, for different voices. A
    longer list begins with the shorter one.
    """
    phrase, language = keyphrase.text, keyphrase.language
    rng = generator(seed, "positives", language, phrase)
    variants = punctuated(phrase)[1:]
    # Natural variants come first; the smaller of two random indices makes them more frequent.
    result: list[PhraseText] = []
    for index in range(count):
        if index == 0 or rng.random() < ALONE_FRACTION:
            if index == 0 or rng.random() < PLAIN_FRACTION:
                result.append(PhraseText(phrase, "alone", 0.0))
            else:
                variant = variants[int(rng.integers(len(variants), size=2).min())]
                result.append(PhraseText(variant, "punctuated", 0.0))
        else:
            text, place = carried(phrase, language, rng)
            result.append(PhraseText(text, place, 0.0))
    return result


def inbetween(keyphrase: Keyphrase, count: int, seed: int = 0) -> list[PhraseText]:
    """Return ``count`` distinct sentences with a part of the phrase or similar words, but without the phrase.

    Kinds: "part" (words of the phrase, beginnings and ends of its words), "related" (words similar in sound, or of the
    same stem). The sentences are those of the positives, with the gap filled differently. A longer list begins with the
    shorter one. The list is shorter only if almost all texts contain the phrase.

    Raises:
        HarkError: espeak-ng does not have the language.
    """
    phrase, language, words = keyphrase.text, keyphrase.language, keyphrase.words
    near = confusables(keyphrase, RELATED, seed)
    parts = [*words] if len(words) > 1 else []
    parts += [text.text for text in near if text.kind in ("partial", "repeated", "reordered")]
    related = [text.text for text in near if text.kind == "vocabulary"]
    rng = generator(seed, "inbetween", language, phrase)
    listener = phrase_matcher(phrase, language)
    texts: dict[str, PhraseText] = {}
    idle = 0
    while len(texts) < count and idle < PATIENCE and (parts or related):
        batch: list[PhraseText] = []
        for _ in range(BATCH):
            kind, source = ("part", parts) if parts and (not related or rng.random() < 0.5) else ("related", related)
            filler = source[int(rng.integers(len(source)))]
            batch.append(PhraseText(carried(filler, language, rng)[0], kind))
        before = len(texts)
        for text, matches in zip(batch, listener.matches_of([text.text for text in batch])):
            if not matches:
                texts.setdefault(text.text, text)
        idle = idle + 1 if len(texts) == before else 0
    return list(texts.values())[:count]


def plain_negatives(keyphrase: Keyphrase, transcripts: Sequence[str], count: int, seed: int = 0) -> list[PhraseText]:
    """Return ``count`` distinct texts that do not contain the phrase.

    Kinds: "transcript" (of ``transcripts``, shuffled by the seed), then "generated" (see ``sentences.py``). A longer
    list begins with the shorter one. The list is shorter if the transcripts run out in a language whose words are
    unknown, or if almost all texts contain the phrase.

    Raises:
        HarkError: espeak-ng does not have the language.
    """
    language = keyphrase.language
    listener = phrase_matcher(keyphrase.text, language)
    texts: dict[str, PhraseText] = {}
    order = generator(seed, "transcripts", language).permutation(len(transcripts))
    for begin in range(0, len(order), BATCH):
        if len(texts) >= count:
            break
        batch = [transcripts[index] for index in order[begin : begin + BATCH]]
        _keep(batch, "transcript", listener.matches_of(batch), texts, language)
    rng = generator(seed, "sentences", language)
    idle = 0
    while len(texts) < count and idle < PATIENCE:
        batch = [generated_sentence(language, rng) for _ in range(BATCH)]
        before = len(texts)
        _keep(batch, "generated", listener.matches_of(batch), texts, language)
        idle = idle + 1 if len(texts) == before else 0
    return list(texts.values())[:count]


def _keep(texts: list[str], kind: str, matches: list[bool], collected: dict[str, PhraseText], language: str) -> None:
    for text, is_heard in zip(texts, matches):
        plain = normalize(text, language)
        if plain and not is_heard and len(plain.split()) <= MAX_TRANSCRIPT_WORDS:
            collected.setdefault(plain, PhraseText(" ".join(text.split()), kind))
