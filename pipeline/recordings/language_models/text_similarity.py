"""Similarity of meaning between texts and a question, by a sentence embedding model if one is on this machine.

The model may be any encoder of transformers whose mean over the tokens is the sentence vector (the
sentence-transformers family). It is never downloaded; without one, passages are found only by their words.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from core.worded import worded
from pipeline.recordings.language_models.local_models import LocalModel, load

EMBEDDING = LocalModel(
    "embedding",
    "sentence-transformers/all-MiniLM-L6-v2",
    "models/embedding",
    worded("Passages are found by their words alone"),
)
MAX_TOKENS = 256
BATCH = 32
REMEMBERED = 20_000  # vectors in the cache, because every question is compared with the passages of a user's recordings


def similarities(question: str, passages: Sequence[str]) -> list[float]:
    """Return the cosine of each text and a question, in the speech service; [] without a model.

    Raises HarkError if the model fails to load.
    """
    folder = EMBEDDING.folder()
    if folder is None:
        return []
    vectors = _embedder(str(folder)).vectors([question, *passages])
    return [round(float(value), 4) for value in vectors[1:] @ vectors[0]]


class _Embedder:
    """An embedding model that caches its vectors."""

    def __init__(self, folder: str) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, np.ndarray] = {}
        self._tokenizer, self._model = load(
            folder,
            "AutoModel",
            "The model that compares texts cannot be loaded.",
            "Copy its files again, or remove them: passages are then found by their words.",
        )

    def vectors(self, texts: list[str]) -> np.ndarray:
        """Return unit-norm vectors [texts, width]."""
        with self._lock:
            new = [text for text in dict.fromkeys(texts) if text not in self._seen]
            if len(self._seen) + len(new) > REMEMBERED:
                self._seen.clear()
                new = list(dict.fromkeys(texts))
            new.sort(key=len)  # reduces the padding of batches
            for start in range(0, len(new), BATCH):
                part = new[start : start + BATCH]
                self._seen.update(zip(part, self._embed(part)))
            return np.stack([self._seen[text] for text in texts])

    def _embed(self, texts: list[str]) -> np.ndarray:
        import torch

        most = min(MAX_TOKENS, self._tokenizer.model_max_length, self._model.config.max_position_embeddings)
        coded = self._tokenizer(texts, padding=True, truncation=True, max_length=most, return_tensors="pt")
        inputs = {name: coded[name] for name in self._tokenizer.model_input_names if name in coded}
        with torch.inference_mode():
            hidden = self._model(**inputs).last_hidden_state
            mask = inputs["attention_mask"][:, :, None]
            mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
            return torch.nn.functional.normalize(mean, dim=1).numpy()  # type: ignore[no-any-return]


_embedder = lru_cache(maxsize=1)(_Embedder)
