"""Tokens of Moonshine Tiny's decoder, and the token sequences that spell a phrase."""

from __future__ import annotations

from functools import cache

from model.encoder_backbone import TOKENIZER_FILE, package_content

VOCABULARY = 32_768
BEGIN, END = 1, 2  # tokens
FIRST_TEXT = 3  # earlier tokens are not text
NO_TEXT = b"<<ST_"  # neither are tokens with this prefix
SPACE = "\N{LOWER ONE EIGHTH BLOCK}".encode()  # begins a token that begins a word
NEXT_WORD = (SPACE, b".", b",", b"!", b"?", b";", b":")  # token prefixes that complete the previous word
SPELLINGS_A_FORM = 2  # shortest token sequences for each capitalization


def token_texts(content: bytes) -> list[bytes]:
    """Return the text of each token.

    The file holds each token's length and bytes; a length of 128 or more takes two bytes, the lower seven bits first.
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
    """Return token sequences that spell a phrase: the :data:`SPELLINGS_A_FORM` shortest with and without capitals each.

    Empty if the tokens cannot spell it.
    """
    # Each ASCII character is a token twice; the first, a raw byte, is never written by the decoder. The last one
    # counts.
    number = {text: token for token, text in enumerate(tokens()) if token >= FIRST_TEXT}
    words = phrase.split()
    forms = dict.fromkeys(
        " ".join(form) for form in (words, [words[0].capitalize(), *words[1:]], [word.capitalize() for word in words])
    )
    sequences = [sequence for form in forms for sequence in _split((" " + form).encode().replace(b" ", SPACE), number)]
    return tuple(dict.fromkeys(sequences))


def _split(text: bytes, number: dict[bytes, int]) -> list[tuple[int, ...]]:
    """Return the :data:`SPELLINGS_A_FORM` shortest token sequences that spell a text, the shortest first."""
    # The shortest sequences for each prefix of the text; what follows does not depend on them.
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
        # Of equally short ones, prefer those that begin with long tokens.
        sequences.sort(key=lambda way: (len(way), [-size[token] for token in way]))
        ways.append(sequences[:SPELLINGS_A_FORM])
    return ways[len(text)]
