"""The reader: a question answering model that marks the answer in passages."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from core.worded import worded
from pipeline.recordings.language_models.local_models import LocalModel, load

READER = LocalModel(
    "reader",
    "distilbert/distilbert-base-cased-distilled-squad",
    "models/question-answering",
    worded("Answers are the best matching sentence"),
)
MAX_PASSAGES, MAX_PASSAGE_LENGTH = 50, 20_000  # maximum passages per question, and characters per passage
MAX_ANSWER_TOKENS = 30  # maximum tokens of an answer
WINDOW_TOKENS, STRIDE_TOKENS = 384, 128  # as in the model's training
NULL_MARGIN = 0.0  # minimum excess of the best span's logits over "no answer"
BEST_SPANS = 20  # spans over which the probability is normalized


def read_passages(question: str, passages: Sequence[str]) -> dict[str, Any] | None:
    """Mark the answer in texts, in the speech service; needs torch.

    Returns the index of the ``passage``, the answer's ``start`` and ``end`` in its characters, and its ``score`` (a
    probability). The result is an empty dict if there is no answer, and None if no model exists. Raises HarkError if
    the model cannot be loaded.
    """
    folder = READER.folder()
    if folder is None:
        return None
    reader = _reader(str(folder))
    texts = [text[:MAX_PASSAGE_LENGTH] for text in passages[:MAX_PASSAGES]]
    spans = sorted(
        (span for number, text in enumerate(texts) for span in reader.spans(question, text, number)),
        key=lambda span: span.logits, reverse=True,
    )  # fmt: skip
    if not spans or spans[0].logits - spans[0].null <= NULL_MARGIN:
        return {}
    best = spans[0]
    highest = max(best.logits, best.null)
    shares = [math.exp(span.logits - highest) for span in spans[:BEST_SPANS]] + [math.exp(best.null - highest)]
    score = round(shares[0] / sum(shares), 4)
    return {"passage": best.passage, "start": best.start, "end": best.end, "score": score}


@dataclass(frozen=True)
class _Span:
    passage: int
    start: int  # in characters
    end: int
    logits: float  # sum for start and end
    null: float  # the same for "no answer", in the same window of tokens


class _Reader:
    """A question answering model and its tokenizer, for one question at a time, because PyTorch uses all cores."""

    def __init__(self, folder: str) -> None:
        import torch

        self._torch = torch
        self._lock = threading.Lock()
        self._tokenizer, self._model = load(
            folder,
            "AutoModelForQuestionAnswering",
            "The model that answers questions cannot be loaded.",
            "Copy its files again, or remove them to get the best sentence as the answer.",
        )

    def spans(self, question: str, text: str, number: int) -> Iterator[_Span]:
        """Yield a text's best spans, from every window of tokens (as for SQuAD: Devlin et al. 2019, 4.2 and 4.3)."""
        torch = self._torch
        most = min(WINDOW_TOKENS, self._tokenizer.model_max_length, self._model.config.max_position_embeddings)
        # A long question must leave room for the text.
        asked = self._tokenizer(question, add_special_tokens=False, truncation=True, max_length=most // 3)
        question = self._tokenizer.decode(asked["input_ids"]) if len(asked["input_ids"]) >= most // 3 else question
        coded = self._tokenizer(
            question, text, truncation="only_second", max_length=most, stride=min(STRIDE_TOKENS, most // 4),
            return_overflowing_tokens=True, return_offsets_mapping=True, padding=True, return_tensors="pt",
        )  # fmt: skip
        offsets = coded["offset_mapping"].tolist()
        inputs = {name: coded[name] for name in self._tokenizer.model_input_names if name in coded}
        with self._lock, torch.inference_mode():
            output = self._model(**inputs)
        for row in range(len(offsets)):
            inside = torch.tensor([kind == 1 for kind in coded.sequence_ids(row)])
            begins, ends = output.start_logits[row], output.end_logits[row]
            null = float(begins[0] + ends[0])  # the first token means "no answer"
            begins, ends = begins.masked_fill(~inside, -torch.inf), ends.masked_fill(~inside, -torch.inf)
            both = begins[:, None] + ends[None, :]
            both = both.masked_fill(
                ~torch.ones_like(both, dtype=torch.bool).triu().tril(MAX_ANSWER_TOKENS - 1), -torch.inf
            )
            values, places = both.flatten().topk(min(BEST_SPANS, both.numel()))
            for value, place in zip(values.tolist(), places.tolist()):
                if not math.isfinite(value):
                    break
                first, last = divmod(place, both.shape[1])
                yield _Span(number, offsets[row][first][0], offsets[row][last][1], value, null)


_reader = lru_cache(maxsize=1)(_Reader)
