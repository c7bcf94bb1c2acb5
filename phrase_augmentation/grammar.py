"""Everyday sentences from a grammar. Its rules are in ``english.txt``, which also describes their format."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import numpy as np

ENGLISH = Path(__file__).with_name("english.txt")
FORMS = ("I", "he", "my", "me", "am", "was", "have", "do")  # columns of a subject
_REFERENCE = re.compile(r"<(\w+)(?::(\w+))?>")
_Y = re.compile(r"(?<=[^aeiou])y$")
_DOUBLED = re.compile(r"(un)?[^aeiou]*[aeiou][^aeiouwxy]$")  # the last letter is doubled, as in "stopped"
_AN = re.compile(r"\b(an?)(?= (?!one|eu|u[ns]i|uku|uran)(?:[aeiou]|hour|honest))", re.IGNORECASE)


class Grammar:
    def __init__(self, path: Path) -> None:
        lines = (line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
        rules = re.findall(r"^(\w+): (.*(?:\n .*)*)", "\n".join(lines), re.MULTILINE)
        self.rules = {name: tuple(" ".join(text.split()) for text in texts.split(" | ")) for name, texts in rules}
        self.irregular = {verb: forms for verb, *forms in (verb.split("/") for verb in self.rules["irregular"])}

    def sentence(self, rule: str, rng: np.random.Generator) -> str:
        """Draw a sentence from a rule, without changing the case of its first letter."""
        text = self._text(rule, rng, dict(zip(FORMS, FORMS)))
        return _AN.sub(lambda article: article[1][0] + "n", text)

    def _text(self, rule: str, rng: np.random.Generator, subject: dict[str, str]) -> str:
        texts = self.rules[rule]
        text = texts[int(rng.integers(len(texts)))]
        if text.startswith("@"):
            people, text = text[1:].split(" ", 1)
            subject = dict(zip(FORMS, self._text(people, rng, subject).split("/")))

        def part(reference: re.Match[str]) -> str:
            name, form = reference[1], reference[2]
            if name in subject:
                return subject[name]
            if form == "now":
                form = "s" if subject["do"] == "does" else None
            expansion = self._text(name, rng, subject)
            return self._inflected(expansion, form) if form else expansion

        return _REFERENCE.sub(part, text)

    def _inflected(self, text: str, form: str) -> str:
        """Inflect the first word of a text, which is a verb: ``ed`` (past), ``en`` (participle), ``ing`` or ``s``."""
        verb, space, rest = text.partition(" ")
        if form in ("ed", "en") and verb in self.irregular:
            return self.irregular[verb][form == "en"] + space + rest
        if form == "s":
            changed = _Y.sub("ie", verb) + ("es" if re.search(r"([sxzo]|[cs]h)$", verb) else "s")
        else:
            stem = verb if form == "ing" else _Y.sub("i", verb)
            stem = verb + verb[-1] if _DOUBLED.match(verb) else re.sub(r"(?<!e)e$" if form == "ing" else "e$", "", stem)
            changed = stem + ("ing" if form == "ing" else "ed")
        return changed + space + rest


@lru_cache(maxsize=1)
def english() -> Grammar:
    return Grammar(ENGLISH)
