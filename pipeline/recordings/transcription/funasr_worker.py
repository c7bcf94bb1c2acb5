"""The worker process that recognizes speech with FunASR. The model is a folder, so it downloads nothing."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from core.worker_protocol import Speak, Unavailable, serve

CONFIDENCE = 0.8  # a substitute, because Paraformer has none
# A character or a Latin word, with the punctuation after it.
UNIT = re.compile(r"(?:[A-Za-z0-9'@]+|[^\W\d_])(?:[^\w\s]+)?")


def set_up() -> tuple[dict[str, Any], Speak]:
    try:
        import soundfile
        import torch
        from funasr import AutoModel
    except Exception as error:
        raise Unavailable(f"funasr cannot be imported: {error}") from error
    folder, *beside = sys.argv[1:]
    if not Path(folder).is_dir():
        raise Unavailable(f"There is no FunASR model {folder}.")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    models = dict(zip(("vad_model", "punc_model"), beside))
    model = AutoModel(model=folder, device=device, disable_update=True, disable_pbar=True, **models)

    def recognize(request: dict[str, Any]) -> None:
        audio, rate = soundfile.read(request["audio"], dtype="float32")
        answer = answer_of(model.generate(input=audio, fs=rate, output_timestamp=True), len(audio) / rate)
        Path(request["path"]).write_text(json.dumps(answer, ensure_ascii=False), encoding="utf-8")

    return {}, recognize


def answer_of(results: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """Convert the output of ``AutoModel.generate`` to the input of ``worker_engine.segments_of``.

    ``text`` is characters (and Latin words), separated by spaces or punctuation; ``timestamp`` gives [begin, end] of
    each in milliseconds. If their numbers differ, the words share the time evenly.
    """
    segments = []
    for result in results:
        units = UNIT.findall(str(result.get("text", "")))
        times = result.get("timestamp") or []
        if len(times) == len(units):
            words = [[u, t[0] / 1000, min(t[1] / 1000, seconds), CONFIDENCE] for u, t in zip(units, times)]
        else:
            step = seconds / max(1, len(units))
            words = [[u, n * step, (n + 1) * step, CONFIDENCE] for n, u in enumerate(units)]
        segments.append({"words": words})
    return {"language": "zh", "segments": segments}


if __name__ == "__main__":
    serve(set_up)
