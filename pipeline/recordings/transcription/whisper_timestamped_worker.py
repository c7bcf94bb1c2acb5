"""The worker process that recognizes speech with whisper-timestamped. The model is a file, so it downloads nothing."""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

from core.worker_protocol import Speak, Unavailable, serve


def set_up() -> tuple[dict[str, Any], Speak]:
    try:
        import soundfile
        import torch
        import whisper_timestamped
    except Exception as error:
        raise Unavailable(f"whisper-timestamped cannot be imported: {error}") from error
    path = sys.argv[1]
    if not Path(path).is_file():
        raise Unavailable(f"There is no Whisper model {path}.")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = whisper_timestamped.load_model(path, device=device)

    def recognize(request: dict[str, Any]) -> None:
        audio, _ = soundfile.read(request["audio"], dtype="float32")
        language = (request["language"] or "").partition("-")[0] or None
        answer = transcribed(whisper_timestamped, model, audio, language, ", ".join(request["words"]) or None)
        Path(request["path"]).write_text(json.dumps(answer, ensure_ascii=False), encoding="utf-8")

    return {}, recognize


def transcribed(library: Any, model: Any, audio: Any, language: str | None, prompt: str | None) -> dict[str, Any]:
    """Return a chunk's language, and its segments with words, for ``worker_engine.segments_of``."""
    how = {"language": language, "condition_on_previous_text": False, "temperature": 0.0, "verbose": None}
    try:
        result = library.transcribe(model, audio, vad=False, initial_prompt=prompt, **how)
    except (ValueError, AssertionError, IndexError, RuntimeError):
        # The attention path can fail on unusual audio (dtw: "No warping path found"). Words then get times from
        # Whisper's segments.
        traceback.print_exc()
        result = model.transcribe(audio, initial_prompt=prompt, **how)
    return {"language": result.get("language") or language or "", "segments": [_segment(s) for s in result["segments"]]}


def _segment(segment: dict[str, Any]) -> dict[str, Any]:
    words = segment.get("words")
    if words is None:
        words = _evenly(segment)
    return {
        "words": [[f" {word['text']}", word["start"], word["end"], word["confidence"]] for word in words],
        "log_p": segment.get("avg_logprob", 0.0),
        "no_speech": segment.get("no_speech_prob", 0.0),
        "compression": segment.get("compression_ratio", 1.0),
    }


def _evenly(segment: dict[str, Any]) -> list[dict[str, Any]]:
    from pipeline.recordings.transcripts.words import spread

    confidence = min(1.0, 2.718281828 ** segment.get("avg_logprob", 0.0))
    words = spread(segment["text"], segment["start"], segment["end"], confidence)
    return [{"text": w.text, "start": w.start_s, "end": w.end_s, "confidence": w.confidence} for w in words]


if __name__ == "__main__":
    serve(set_up)
