"""Tokens of Moonshine Tiny's decoder, and the token sequences that spell a phrase."""

from __future__ import annotations

from functools import cache

from model.large.encoder_backbone import TOKENIZER_FILE, package_content

VOCABULARY = 32_768
BEGIN, END = 1, 2  # token IDs
FIRST_TEXT = 3  # ID of the first text token
NO_TEXT = b"<<ST_"  # prefix of tokens that are not text
SPACE = "\N{LOWER ONE EIGHTH BLOCK}".encode()  # prefix of tokens that begin a word
NEXT_WORD = (SPACE, b".", b",", b"!", b"?", b";", b":")  # token prefixes after which the previous word is complete
SPELLINGS_A_FORM = 2  # number of shortest token sequences per capitalization


def token_texts(content: bytes) -> list[bytes]:
    """Return the text of each token.

    The file stores the length and the bytes of each token; a length of 128 or more has two bytes, low bits first.
    """
    texts: list[bytes] = []
    at = 0
    while at < len(content):
        length = content[at]
        at += 1
        if length >= 128:
            length += 128 * content[at] - 128
            at += 1
        texts.append(content[at : at + length])
        at += length
    return texts


@cache
def tokens() -> tuple[bytes, ...]:
    return tuple(token_texts(package_content(TOKENIZER_FILE)))


def spellings(phrase: str) -> tuple[tuple[int, ...], ...]:
    """Return the token sequences that spell a phrase, :data:`SPELLINGS_A_FORM` each with and without capitals.

    The shortest sequences are returned, none if the tokens cannot spell the phrase.
    """
    # Each ASCII character has two tokens. The decoder never outputs the first, a raw byte, so the last one is used.
    number = {text: token for token, text in enumerate(tokens()) if token >= FIRST_TEXT}
    words = phrase.split()
    forms = dict.fromkeys(
        " ".join(form) for form in (words, [words[0].capitalize(), *words[1:]], [word.capitalize() for word in words])
    )
    sequences = [sequence for form in forms for sequence in _split((" " + form).encode().replace(b" ", SPACE), number)]
    return tuple(dict.fromkeys(sequences))


def _split(text: bytes, number: dict[bytes, int]) -> list[tuple[int, ...]]:
    """Return the :data:`SPELLINGS_A_FORM` shortest token sequences that spell a text, the shortest first."""
    # The shortest sequences for each prefix of the text; the rest does not depend on them.
    ways: list[list[tuple[int, ...]]] = [[()]]
    longest = max(map(len, number), default=0)
    size = {token: len(piece) for piece, token in number.items()}
    for end in range(1, len(text) + 1):
        sequences = [
            (*way, number[text[start:end]])
            for start in range(max(0, end - longest), end)
            if text[start:end] in number
            for way in ways[start]
        ]
        # If two are equally short, the one that begins with the longer token is preferred.
        sequences.sort(key=lambda way: (len(way), [-size[token] for token in way]))
        ways.append(sequences[:SPELLINGS_A_FORM])
    return ways[len(text)]
