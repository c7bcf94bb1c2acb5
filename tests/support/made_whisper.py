"""Whisper checkpoints with random, seeded weights.

The embeddings of positions dominate the decoder, and are those of the tokens of a given text: the model writes that
text for any audio.

Needs openai-whisper (its tokenizer's files and the names of the weights). Nothing is downloaded.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

MEANT_LOGIT = 40.0  # logit of the intended token; the others have a standard deviation of a few
POSITION_NORM = 50.0  # norm of position embeddings relative to token embeddings: positions determine the text


STATE, HEADS, LAYERS = 64, 2, 2  # of encoder and decoder alike, as in every Whisper


@dataclasses.dataclass(frozen=True)
class MadeWhisper:
    """A multilingual Whisper: weights and dimensions by openai-whisper's names."""

    weights: Mapping[str, Any]
    dims: Mapping[str, int]
    tokens: Sequence[str]  # the vocabulary, special tokens last

    def save_checkpoint(self, path: Path) -> Path:
        """Save as a ``.pt`` file of openai-whisper."""
        import torch

        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"dims": dict(self.dims), "model_state_dict": dict(self.weights)}, path)
        return path

    def save_converted(self, folder: Path) -> Path:
        """Save as a folder in CTranslate2's format, with the tokenizer."""
        folder.mkdir(parents=True, exist_ok=True)
        spec = _specification({name: value.numpy() for name, value in self.weights.items()}, self.dims)
        spec.register_vocabulary(list(self.tokens))
        first = self.tokens.index("<|en|>")
        spec.config.lang_ids = list(range(first, self.tokens.index("<|translate|>")))
        spec.config.suppress_ids, spec.config.suppress_ids_begin = [], []
        layers, heads = self.dims["n_text_layer"], self.dims["n_text_head"]
        spec.config.alignment_heads = [(x, head) for x in range(layers // 2, layers) for head in range(heads)]
        spec.validate()
        spec.save(str(folder))
        _tokenizer(self.tokens).save(str(folder / "tokenizer.json"))
        (folder / "preprocessor_config.json").write_text(json.dumps({"feature_size": self.dims["n_mels"]}))
        return folder


def make_whisper(says: str, seconds: float, seed: int = 0) -> MadeWhisper:
    """Make a small Whisper.

    Args:
        says: the text that it writes, in English.
        seconds: the duration that it claims for it, at most 30.
    """
    import torch
    from whisper.model import ModelDimensions, Whisper
    from whisper.tokenizer import get_tokenizer

    tokenizer = get_tokenizer(multilingual=True, num_languages=99, language="en", task="transcribe")
    encoding = tokenizer.encoding
    count = encoding.n_vocab
    sizes = (STATE, HEADS, LAYERS)
    dims = ModelDimensions(80, 1500, *sizes, count, 448, *sizes)
    # What it writes at each place: after the start a language, then the task and the text between two times.
    time = tokenizer.timestamp_begin
    written = [tokenizer.to_language_token("en"), tokenizer.transcribe, time]
    written += [*tokenizer.encode(" " + says.strip()), time + round(seconds / 0.02), tokenizer.eot]
    random_state = torch.get_rng_state()
    torch.manual_seed(seed)
    try:
        model = Whisper(dims)
        with torch.no_grad():
            embedding = torch.randn(count, STATE)
            embedding *= MEANT_LOGIT / STATE**0.5 / embedding.norm(dim=1, keepdim=True)
            model.decoder.token_embedding.weight.copy_(embedding)
            places = (written + [tokenizer.eot] * dims.n_text_ctx)[: dims.n_text_ctx]
            model.decoder.positional_embedding.copy_(POSITION_NORM * embedding[places])
    finally:
        torch.set_rng_state(random_state)
    special = {number: name for name, number in encoding._special_tokens.items()}
    names = [special.get(number) or _shown(encoding.decode_single_token_bytes(number)) for number in range(count)]
    return MadeWhisper({k: v.detach() for k, v in model.state_dict().items()}, dataclasses.asdict(dims), names)


def _bytes_as_letters() -> dict[int, str]:
    """Return the letter for each byte in the files of byte-level tokenizers (GPT-2)."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in shown]
    return {byte: chr(byte) for byte in shown} | {byte: chr(256 + n) for n, byte in enumerate(others)}


_LETTERS = _bytes_as_letters()


def _shown(token: bytes) -> str:
    return "".join(_LETTERS[byte] for byte in token)


def _tokenizer(tokens: Sequence[str]) -> Any:
    """Return the tokenizer in the format of the package tokenizers: merges are the pairs that make a later token."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    first_special = tokens.index("<|endoftext|>")
    ranks = {token: rank for rank, token in enumerate(tokens[:first_special])}
    merges = []
    for token in tokens[256:first_special]:
        pairs = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        merges += [pair for pair in pairs if all(ranks.get(part, first_special) < ranks[token] for part in pair)]
    made = Tokenizer(models.BPE(ranks, merges, ignore_merges=True))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in tokens[first_special:]])
    return made


def _specification(weights: Mapping[str, np.ndarray], dims: Mapping[str, int]) -> Any:
    """Return openai-whisper's weights under CTranslate2's names."""
    from ctranslate2.specs import whisper_spec

    spec = whisper_spec.WhisperSpec(
        dims["n_audio_layer"], dims["n_audio_head"], dims["n_text_layer"], dims["n_text_head"]
    )

    def both(target: Any, name: str) -> None:
        target.weight, target.bias = weights[f"{name}.weight"], weights[f"{name}.bias"]

    def norm(target: Any, name: str) -> None:
        target.gamma, target.beta = weights[f"{name}.weight"], weights[f"{name}.bias"]

    def fused(target: Any, name: str, parts: Sequence[str]) -> None:
        target.weight = np.concatenate([weights[f"{name}.{part}.weight"] for part in parts])
        none = np.zeros(dims["n_text_state"], np.float32)  # keys have no bias
        target.bias = np.concatenate([weights.get(f"{name}.{part}.bias", none) for part in parts])

    def block(target: Any, name: str) -> None:
        fused(target.self_attention.linear[0], f"{name}.attn", ("query", "key", "value"))
        both(target.self_attention.linear[1], f"{name}.attn.out")
        norm(target.self_attention.layer_norm, f"{name}.attn_ln")
        both(target.ffn.linear_0, f"{name}.mlp.0")
        both(target.ffn.linear_1, f"{name}.mlp.2")
        norm(target.ffn.layer_norm, f"{name}.mlp_ln")

    both(spec.encoder.conv1, "encoder.conv1")
    both(spec.encoder.conv2, "encoder.conv2")
    spec.encoder.position_encodings.encodings = weights["encoder.positional_embedding"]
    norm(spec.encoder.layer_norm, "encoder.ln_post")
    for number, layer in enumerate(spec.encoder.layer):
        block(layer, f"encoder.blocks.{number}")
    spec.decoder.embeddings.weight = weights["decoder.token_embedding.weight"]
    spec.decoder.projection.weight = weights["decoder.token_embedding.weight"]
    spec.decoder.position_encodings.encodings = weights["decoder.positional_embedding"]
    norm(spec.decoder.layer_norm, "decoder.ln")
    for number, layer in enumerate(spec.decoder.layer):
        name = f"decoder.blocks.{number}"
        block(layer, name)
        fused(layer.attention.linear[0], f"{name}.cross_attn", ("query",))
        fused(layer.attention.linear[1], f"{name}.cross_attn", ("key", "value"))
        both(layer.attention.linear[2], f"{name}.cross_attn.out")
        norm(layer.attention.layer_norm, f"{name}.cross_attn_ln")
    return spec
