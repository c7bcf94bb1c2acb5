"""What the model server can be asked."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from core.errors import HarkError
from core.worded import listed, worded

# Name: module and function(request, audio) -> dict of what can be pickled. A missing module fails its operation only.
OPERATIONS = {
    "recognize": "pipeline.recordings.transcription.recognizing:operation",
    "embed": "pipeline.recordings.diarization.acoustic:embed_operation",
    "read_answer": "pipeline.recordings.question_answering:read_operation",
    "compare_texts": "pipeline.recordings.text_similarity:operation",
    "summarize_abstractive": "pipeline.recordings.summarization.transformer:operation",
    "untrained_score": "pipeline.training.zero_shot:window_operation",
    "sort_wake": "pipeline.serving.sorting:sort_operation",
    "transcribe": "pipeline.recordings.short_transcription:transcribe_operation",
    "summarize": "pipeline.recordings.short_transcription:summarize_operation",
}


def perform(operation: str, request: Mapping[str, Any], audio: np.ndarray | None) -> dict[str, Any]:
    """Do an operation in this process.

    Raises:
        HarkError: the operation's own, or there is none of that name here.
    """
    place = OPERATIONS.get(operation)
    if place is None:
        raise HarkError(
            worded("The speech service does not know %(operation)s.", operation=repr(operation[:40])),
            worded("It knows %(operations)s.", operations=listed(OPERATIONS)),
            worded("Restart ./hark serve, so that all processes are of one version."),
        )
    module, _, name = place.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise HarkError(
            worded("The speech service cannot do %(operation)s here.", operation=repr(operation)),
            f"{error}.",
            worded("Run ./hark doctor: it names what is not installed."),
        ) from error
    result: dict[str, Any] = function(dict(request), audio)
    return result
