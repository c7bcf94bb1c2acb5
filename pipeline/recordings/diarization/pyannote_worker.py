"""The worker process that runs pyannote.audio. The pipeline is a folder, so it downloads nothing."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from core.worker_protocol import Speak, Unavailable, serve


def set_up() -> tuple[dict[str, Any], Speak]:
    # Version 4 reports usage by default, and network access is unwanted.
    os.environ.update(PYANNOTE_METRICS_ENABLED="0", HF_HUB_OFFLINE="1")
    try:
        import soundfile
        import torch
        from pyannote.audio import Pipeline, __version__
    except Exception as error:
        raise Unavailable(f"pyannote.audio cannot be imported: {error}") from error
    pipeline = Pipeline.from_pretrained(sys.argv[1])
    if pipeline is None:
        raise Unavailable("the pipeline cannot be loaded")
    if torch.cuda.is_available():
        pipeline.to(torch.device("cuda"))

    def find_turns(request: dict[str, Any]) -> None:
        """Write the turns [start, end, label] of one recording to the request's ``path``."""
        audio, rate = soundfile.read(request["audio"], dtype="float32")
        sound = {"waveform": torch.from_numpy(audio)[None], "sample_rate": rate}
        output = pipeline(sound, num_speakers=request["speakers"])
        Path(request["path"]).write_text(json.dumps(turns_of(output)), encoding="utf-8")

    return {"version": __version__}, find_turns


def turns_of(output: Any) -> list[tuple[float, float, str]]:
    """Return [start, end, label] of each turn in a pipeline's output."""
    annotation = getattr(output, "speaker_diarization", output)  # version 4 wraps version 3's result
    return [
        (float(segment.start), float(segment.end), str(label))
        for segment, _, label in annotation.itertracks(yield_label=True)
    ]


if __name__ == "__main__":
    serve(set_up)
