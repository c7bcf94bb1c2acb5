"""What is transcribed or summarized while somebody waits, within the speech service: no job, and nothing is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import HarkError
from core.events import silent_reporter
from core.worded import worded
from pipeline.recordings.summarization import summarize
from pipeline.recordings.transcript import as_json, from_json
from pipeline.recordings.transcription.transcribe import TranscribeOptions, transcribe

TRANSCRIBE, SUMMARIZE = "transcribe", "summarize"  # their names in the speech service's table


def transcribe_operation(request: Mapping[str, Any], audio: np.ndarray | None = None) -> dict[str, Any]:
    """An operation of the speech service: a whole short file to words.

    Args:
        request: ``audio_file`` (as ``media.normalize`` writes it), ``engine`` ("auto" unless given),
            ``language`` (None: the engine decides), ``translate`` (into English), ``data`` (the folder of the user for
            whom it is), and ``work`` (where its progress can be followed; see ``transcription.transcribe``).

    Returns:
        The transcript as :func:`pipeline.recordings.transcript.as_json` writes it.

    Raises:
        HarkError: see ``pipeline.recordings.transcription.transcribe``; or the file is gone.
    """
    path = Path(str(request["audio_file"]))
    if not path.is_file():
        raise HarkError(
            worded("The recording is gone."),
            worded("It was removed before it was processed."),
            worded("Send it again."),
        )
    options = TranscribeOptions(
        engine=str(request.get("engine") or "auto"),
        language=request.get("language") or None,
        data=Path(str(request["data"])) if request.get("data") else None,
        translate=bool(request.get("translate")),
    )
    return as_json(transcribe(path, options, Path(str(request["work"])), silent_reporter()))


def summarize_operation(request: Mapping[str, Any], audio: np.ndarray | None = None) -> dict[str, Any]:
    """An operation of the speech service: a transcript (``transcript``, as JSON) to its summary, as JSON.

    Raises:
        HarkError: see ``pipeline.recordings.summarization``.
    """
    transcript = from_json(request["transcript"])
    return asdict(summarize(transcript, engine=str(request.get("engine") or "auto")))
