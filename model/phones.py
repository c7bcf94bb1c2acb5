"""The acoustic model's outputs: characters and phones, each list preceded by CTC's blank."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from core.errors import HarkError
from phrase_augmentation.distance import phone_distance
from phrase_augmentation.keyphrase import Keyphrase

BLANK = 0  # index of CTC's blank in every output
CHARACTERS = (" ", "'", *"abcdefghijklmnopqrstuvwxyz")
# The phones of American English as phrase_augmentation/phonemes.py writes them, most frequent first.
PHONES = (
    "ə", "ɹ", "n", "t", "ɪ", "s", "d", "l", "i", "ð", "æ", "ʌ", "ɛ", "m", "z", "k", "w", "aɪ", "v", "h",
    "f", "p", "ɔ", "b", "eɪ", "oʊ", "ɑ", "u", "ŋ", "ɡ", "ʃ", "ʊ", "ɾ", "j", "aʊ", "tʃ", "θ", "dʒ", "ɔɪ", "ʒ",
)  # fmt: skip
PHONE_OUTPUTS = 1 + len(PHONES)
CHARACTER_OUTPUTS = 1 + len(CHARACTERS)
SAME_AS = {"ɐ": "ə", "ᵻ": "ɪ", "r": "ɹ", "əʊ": "oʊ", "ɜ": "ə", "a": "æ", "ɒ": "ɑ", "e": "ɛ", "o": "oʊ"}
SILENT = frozenset("ʔ")

_CHARACTER_INDEX = {character: index for index, character in enumerate(CHARACTERS, 1)}
_PHONE_INDEX = {phone: index for index, phone in enumerate(PHONES, 1)}


@lru_cache(maxsize=4096)
def phone_index(phone: str) -> int:
    """Return the output of a phone; for one outside the inventory, the output of the nearest-sounding phone."""
    phone = SAME_AS.get(phone, phone)
    if phone not in _PHONE_INDEX:
        phone = min(PHONES, key=lambda known: phone_distance((phone,), (known,)))
    return _PHONE_INDEX[phone]


def phone_indices(phones: Iterable[str]) -> list[int]:
    """Return the outputs of a sequence of phones. Glottal stops have none and are omitted."""
    return [phone_index(phone) for phone in phones if phone not in SILENT]


def outputs_of(keyphrase: Keyphrase) -> tuple[tuple[int, ...], ...]:
    """Return the outputs of a keyphrase's phones, in each accent. Raises HarkError if it has no phones."""
    ways = tuple(dict.fromkeys(tuple(phone_indices(phones)) for phones in keyphrase.pronunciations))
    if not any(ways):
        raise HarkError(
            f"{keyphrase.text!r} cannot be detected.",
            "It has no phones in this language.",
            "Choose another phrase.",
        )
    return tuple(filter(None, ways))


def character_indices(text: str) -> list[int]:
    """Return the outputs of a normalized text. Characters without an output are skipped."""
    return [_CHARACTER_INDEX[character] for character in text if character in _CHARACTER_INDEX]


def text_of(indices: Sequence[int]) -> str:
    return " ".join("".join(CHARACTERS[index - 1] for index in indices).split())


def phones_of(indices: Sequence[int]) -> tuple[str, ...]:
    return tuple(PHONES[index - 1] for index in indices)
