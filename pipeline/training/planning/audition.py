"""Auditions: engines that are sometimes unintelligible synthesize the phrase before a run is planned with them."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from audio_generation.engine import Engine, FailedRequest, SpeechRequest
from core.audio_file import read_audio
from core.data_folder import atomic_path, storing
from core.errors import HarkError
from core.worded import worded
from phrase_augmentation.keyphrase import Keyphrase
from pipeline.scoring.keyword_scoring import is_understood

CLIPS = 4  # number of clips; an engine with fewer than half of them intelligible is not used in the run


def unintelligible_engines(keyphrase: Keyphrase, engines: Mapping[str, Engine], data: Path) -> dict[str, str]:
    """Return the engines whose clips of the phrase are mostly unintelligible, each with a sentence that explains it.

    Only engines that are ``unsure`` are tested. The result is stored below ``data``.

    Raises:
        HarkError: the disk is full or read-only.
    """
    unsure = [name for name, engine in engines.items() if engine.unsure]
    if not unsure:
        return {}
    with storing("testing an engine"), ThreadPoolExecutor(len(unsure)) as pool:
        understood = dict(zip(unsure, pool.map(lambda name: _understood(keyphrase, engines[name], data), unsure)))
    return {
        name: worded(
            "it cannot say “%(phrase)s”: %(lost)d of %(clips)d clips were unintelligible",
            phrase=keyphrase.text, lost=CLIPS - count, clips=CLIPS,
        )
        for name, count in understood.items() if 2 * count < CLIPS
    }  # fmt: skip


def _understood(keyphrase: Keyphrase, engine: Engine, data: Path) -> int:
    """Return in how many of :data:`CLIPS` synthesized clips the phrase is intelligible; cached below ``data``."""
    voices = sorted(engine.voices(keyphrase.language), key=lambda voice: voice.name)
    identity = json.dumps([keyphrase.text, keyphrase.language, engine.name, sorted({voice.model for voice in voices})])
    cached = data / "cache" / "auditions" / hashlib.sha256(identity.encode()).hexdigest()[:16]
    try:
        return int(cached.read_text())
    except (FileNotFoundError, ValueError):
        pass
    rng = np.random.default_rng(0)
    chosen = [voices[index] for index in rng.integers(len(voices), size=CLIPS)]
    requests = [
        SpeechRequest(str(n), keyphrase.text, voice.name, keyphrase.language, engine.draw_settings(voice, rng))
        for n, voice in enumerate(chosen)
    ]
    (data / "tmp").mkdir(parents=True, exist_ok=True)
    counted: list[bool] = []
    try:
        with tempfile.TemporaryDirectory(dir=data / "tmp", prefix="audition-") as folder:
            for result in engine.synthesize(requests, Path(folder)):
                if isinstance(result, FailedRequest):
                    continue
                try:
                    audio = read_audio(result.path)
                except HarkError:  # a damaged file is a failed request, as in the run
                    continue
                counted.append(is_understood(audio, keyphrase.text, keyphrase.language))
    finally:
        engine.close()
    if len(counted) < CLIPS:  # it may succeed another time; in the run, other engines synthesize what fails
        return CLIPS
    with atomic_path(cached) as temporary:
        temporary.write_text(str(sum(counted)))
    return sum(counted)
