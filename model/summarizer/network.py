"""The summarizer's model: a Transformer encoder-decoder over characters (Vaswani et al. 2017, with pre-layer norm)."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

PAD, START, END, UNKNOWN = range(4)
SPECIAL = 4  # number of special symbols, which precede the alphabet
ALPHABET = "".join(map(chr, range(32, 127))) + "äöüßÄÖÜéèêëàâçîïôûùñáíóúœæøåÉ¿¡’‘“”„–—…€£°"


@dataclass(frozen=True)
class SummarizerConfig:
    """The shape of a summarizer, including its alphabet; stored in every checkpoint."""

    layers: int = 4  # layers of the encoder, and as many of the decoder
    heads: int = 8
    width: int = 256  # d_model
    feedforward: int = 1024
    dropout: float = 0.1
    longest_text: int = 768  # maximum characters of a text that are read
    longest_summary: int = 160  # maximum characters that are written
    alphabet: str = ALPHABET

    def encode(self, text: str, max_length: int) -> list[int]:
        """Return the indices of a text's characters, at most ``max_length``."""
        place = {character: number for number, character in enumerate(self.alphabet, SPECIAL)}
        clean = " ".join(unicodedata.normalize("NFC", text).split())
        return [place.get(character, UNKNOWN) for character in clean[:max_length]]

    def decode(self, numbers: list[int]) -> str:
        """Return the text of characters' indices, up to END, without special symbols."""
        shown = numbers[: numbers.index(END)] if END in numbers else numbers
        return "".join(self.alphabet[number - SPECIAL] for number in shown if number >= SPECIAL)


def sinusoids(length: int, width: int) -> Tensor:
    """Return positions [length, width]: sines in the even columns, cosines in the odd ones."""
    place = torch.arange(length, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10_000.0) / width))
    positions = torch.zeros(length, width)
    positions[:, 0::2] = torch.sin(place * rate)
    positions[:, 1::2] = torch.cos(place * rate)
    return positions


class Summarizer(nn.Module):
    """Maps the characters of a text to the characters of its summary."""

    positions: Tensor

    def __init__(self, config: SummarizerConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(SPECIAL + len(config.alphabet), config.width, padding_idx=PAD)
        nn.init.normal_(self.embedding.weight, std=config.width**-0.5)
        longest = max(config.longest_text, config.longest_summary + 1)
        self.register_buffer("positions", sinusoids(longest, config.width), persistent=False)
        self.dropout = nn.Dropout(config.dropout)
        shape: dict[str, Any] = {
            "d_model": config.width, "nhead": config.heads, "dim_feedforward": config.feedforward,
            "dropout": config.dropout, "activation": "gelu", "batch_first": True, "norm_first": True,
        }  # fmt: skip
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(**shape), config.layers, nn.LayerNorm(config.width), enable_nested_tensor=False
        )
        self.decoder = nn.TransformerDecoder(
            nn.TransformerDecoderLayer(**shape), config.layers, nn.LayerNorm(config.width)
        )
        for parameter in [*self.encoder.parameters(), *self.decoder.parameters()]:
            if parameter.dim() > 1:  # until here, the layers are copies of one another
                nn.init.xavier_uniform_(parameter)

    def forward(self, text: Tensor, summary: Tensor) -> Tensor:
        """Return logits [batch, summary length, characters] of the next character at each position of the summary.

        Args:
            text: [batch, text length], padded with PAD.
            summary: [batch, summary length], which begins with START.
        """
        return self.write(summary, self.read(text), text)

    def read(self, text: Tensor) -> Tensor:
        """Return the encoder's output for a text: [batch, text length, width]."""
        return self.encoder(self._embedded(text), src_key_padding_mask=text == PAD)  # type: ignore[no-any-return]

    def write(self, summary: Tensor, memory: Tensor, text: Tensor) -> Tensor:
        """Return logits as in :meth:`forward`, from the output of :meth:`read`."""
        length = summary.shape[1]
        future = torch.ones(length, length, dtype=torch.bool, device=summary.device).triu(1)
        written = self.decoder(self._embedded(summary), memory, tgt_mask=future, memory_key_padding_mask=text == PAD)
        return written @ self.embedding.weight.T  # input and output embeddings are tied

    def _embedded(self, characters: Tensor) -> Tensor:
        width = self.config.width
        return self.dropout(  # type: ignore[no-any-return]
            self.embedding(characters) * math.sqrt(width) + self.positions[: characters.shape[1]]
        )
