"""Variants of a text by punctuation and capitals: engines turn them into different melodies and pauses."""

from __future__ import annotations

ENDINGS = ("", ".", "!", "?", "...", ",")


def punctuated(text: str) -> list[str]:
    """Distinct ways to write a text of plain words: endings, capitals and one pause at each place between words.

    The first is the text itself; the most natural ones come first. "hey compass" gives "hey compass", "Hey compass.",
    "Hey compass!", "Hey compass?", "Hey, compass.", "hey... compass" and so on.
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
