"""Speakers by pyannote.audio, where somebody has installed it and given it a pipeline that lies on this machine.

Its pipelines are downloaded by hand, after their terms have been accepted; Hark never fetches one. HARK_PYANNOTE_MODEL
names the folder (or its ``config.yaml``).
"""

from __future__ import annotations

import os
from functools import cache
from importlib import util
from pathlib import Path
from typing import Any

from core.audio_file import SAMPLE_RATE, read_audio
from core.errors import HarkError
from pipeline.diarization.acoustic import versions
from pipeline.diarization.turns import Diarization, Turn, with_overlaps

MODEL = "HARK_PYANNOTE_MODEL"


def available() -> bool:
    """Whether the package and the pipeline are there; imports nothing and loads nothing."""
    model = os.environ.get(MODEL)
    if not model or not Path(model).expanduser().exists():
        return False
    try:
        return util.find_spec("pyannote.audio") is not None
    except ModuleNotFoundError:  # not even the package's parent is there
        return False


def diarize_pyannote(audio_file: Path, speakers: int | None = None) -> Diarization:
    """The turns of a recording, whose channels are mixed. ``speakers``: how many there are, where that is known.

    Raises:
        HarkError: the file cannot be read, or pyannote does not get along with its pipeline.
    """
    import torch

    audio = read_audio(audio_file)
    try:
        result = _pipeline(os.environ[MODEL])(
            {"waveform": torch.from_numpy(audio)[None], "sample_rate": SAMPLE_RATE}, num_speakers=speakers
        )
    except Exception as error:  # whatever a model that somebody else chose may raise
        raise HarkError(
            "pyannote could not tell the speakers apart.",
            f"{type(error).__name__}: {str(error)[:200].rstrip('.')}.",
            f"Check the pipeline that {MODEL} names, or unset it: Hark's own way is taken then.",
        ) from error
    annotation = getattr(result, "speaker_diarization", result)  # pyannote.audio 4 wraps what 3 gives
    turns = [
        Turn(round(float(segment.start), 3), round(float(segment.end), 3), str(label))
        for segment, _, label in annotation.itertracks(yield_label=True)
    ]
    turns.sort(key=lambda turn: turn.start_s)
    names = {label: f"S{place}" for place, label in enumerate(dict.fromkeys(turn.speaker for turn in turns), 1)}
    named = [Turn(turn.start_s, turn.end_s, names[turn.speaker]) for turn in turns]
    return Diarization(with_overlaps(named), "pyannote", versions=versions("pyannote.audio"))


@cache
def _pipeline(model: str) -> Any:
    from pyannote.audio import Pipeline

    pipeline = Pipeline.from_pretrained(str(Path(model).expanduser()))
    if pipeline is None:  # how pyannote.audio 3 says that it may not use it
        raise ValueError("the pipeline cannot be loaded")
    return pipeline
