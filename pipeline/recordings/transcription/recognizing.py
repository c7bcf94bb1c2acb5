"""One piece to segments: in this process, or by the speech service, which holds the loaded models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core.audio_file import SAMPLE_RATE
from core.errors import HarkError
from core.worded import number, worded
from pipeline.recordings import model_client
from pipeline.recordings.transcript import Segment
from pipeline.recordings.transcription import registry
from pipeline.recordings.transcription.engine import PIECE_S, RecognitionEngine

TIMEOUT_S = 900.0  # for a piece: a large model on a slow processor, and its loading


def recognize(
    engine: RecognitionEngine,
    audio: np.ndarray,
    language: str | None,
    translate: bool = False,
    words: Sequence[str] = (),
) -> list[Segment]:
    """What is said in one piece: ``engine.recognize``, done where the model is loaded.

    Raises:
        HarkError: the engine's.
    """
    if engine.hosted:  # there is no model to share, and its key stays in this process
        return engine.recognize(audio, language, translate, words)
    request = {
        "engine": engine.name, "model": engine.model, "language": language, "translate": translate,
        "words": list(words),
    }  # fmt: skip
    segments: list[Segment] = model_client.call("recognize", request, audio, TIMEOUT_S)["segments"]
    return segments


def operation(request: Mapping[str, Any], audio: np.ndarray | None) -> dict[str, Any]:
    """The speech service's ``recognize``: ``engine``, ``model`` ("" or the engine's own), ``language`` or null,
    ``translate`` where it is to be written in English, and ``words`` that are likely to be said.

    Returns ``segments`` and the ``engine`` and ``model`` that wrote them.
    """
    if audio is None or len(audio) > (PIECE_S + 1) * SAMPLE_RATE:
        raise HarkError(
            worded("The piece cannot be recognized."),
            worded("An engine accepts at most %(piece_s)s s at once.", piece_s=number(PIECE_S)),
            worded("Cut the recording into pieces first."),
        )
    language = request.get("language")
    engine = registry.with_model(str(request.get("engine") or registry.AUTO), str(request.get("model") or ""), language)
    segments = engine.recognize(audio, language, bool(request.get("translate")), request.get("words") or ())
    return {"segments": segments, "engine": engine.name, "model": engine.model}
