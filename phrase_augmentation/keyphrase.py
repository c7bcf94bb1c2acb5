"""The keyphrase: what a detector is made for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from core.errors import HarkError
from phrase_augmentation.normalize import normalize, script_of, scripts_of

MAX_LETTERS = 80
MAX_WORDS = 8


class OtherScript(HarkError):
    """A keyphrase in letters in which its language is not written: most likely it is of another language."""


def _script_name(script: str) -> str:
    return {"": "of another script", "CJK": "Chinese", "HANGUL": "Korean"}.get(script, script.title())


@dataclass(frozen=True)
class Keyphrase:
    """A phrase that can be spoken, normalized. :meth:`of` makes one from typed text; nothing checks it again.

    Attributes:
        text: as :func:`phrase_augmentation.normalize.normalize` writes it.
        language: "en", "de-at" ...
    """

    text: str
    language: str = "en"

    @classmethod
    def of(cls, text: str, language: str = "en") -> Keyphrase:
        """The keyphrase of a text.

        Raises:
            OtherScript: letters of a script in which the language is not written.
            HarkError: nothing in it can be said (empty, emoji, punctuation), one letter, more than 80 letters or 8
                words.
        """
        shown = " ".join(text.split())
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        example = 'Type one to eight words, such as "hey compass".'
        if not shown:
            raise HarkError("There is no keyphrase.", "The text is empty.", example)
        if len(text) > 20 * MAX_LETTERS:
            raise HarkError("The keyphrase is too long.", f"It has {len(text)} characters.", example)
        phrase = normalize(text, language)
        letters = [character for character in phrase if character.isalpha()]
        if not letters:
            raise HarkError(f'Nothing in "{shown}" can be said.', "It holds no letters and no numbers.", example)
        allowed = scripts_of(language)
        foreign = next((letter for letter in letters if script_of(letter) not in allowed), None)
        if foreign is not None:
            names = " or ".join(sorted(map(_script_name, allowed)))
            raise OtherScript(
                f'"{shown}" is not written as the language "{language}" is.',
                f'The letter "{foreign}" is {_script_name(script_of(foreign))}; '
                f"this language is read in {names} letters.",
                "Choose the phrase's own language, or write the phrase as it sounds in this one.",
            )
        if len(letters) == 1 and "CJK" not in allowed:
            raise HarkError(f'"{shown}" is too short.', "It is a single letter.", example)
        if len(letters) > MAX_LETTERS:
            raise HarkError(
                "The keyphrase is too long.",
                f"It has {len(letters)} letters as it is spoken; {MAX_LETTERS} is the most.",
                example,
            )
        if len(phrase.split()) > MAX_WORDS:
            raise HarkError(
                "The keyphrase is too long.", f"It has {len(phrase.split())} words; {MAX_WORDS} is the most.", example
            )
        return cls(phrase, language)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Its words."""
        return tuple(self.text.split())

    @cached_property
    def pronunciations(self) -> tuple[tuple[str, ...], ...]:
        """Its phones in each accent that is to be expected; empty where espeak-ng gives none."""
        from phrase_augmentation.phonemes import accents, phones_of_texts

        spoken = [phones_of_texts([self.text], accent)[0] for accent in accents(self.language)]
        return tuple(dict.fromkeys(phones for phones in spoken if phones))
