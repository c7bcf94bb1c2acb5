"""splice as an engine: people shipped with Hark, and those in the clip library whose recordings are aligned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from audio_generation.engine import Engine, FailedRequest, GeneratedClip, Setting, SpeechRequest, Voice, speaks
from audio_generation.splice_side import SPLICE
from audio_generation.splice_side.inventory import SHIPPED, library_people, people, shipped_people
from core.data_folder import data_folder
from core.readiness import Readiness
from core.worded import worded


class Splice(Engine):
    """The engine, whose voices are people.

    ``Voice.speaker`` is the speaker of their recordings, so that clips and recordings are in the same split.
    """

    name = SPLICE
    about = worded("Speech joined from recordings of nine real people. It ships with Hark, and tests use it.")
    licence = "Apache-2.0"
    clip_s = 0.1
    unsure = True
    shipped = SHIPPED
    request_timeout_s = 60.0  # the first request for a person segments the recordings, which takes a second or two

    def missing(self) -> Readiness | None:
        if shipped_people(self.shipped) or library_people(data_folder()):
            return None
        return Readiness(
            False,
            worded(
                "There are no recordings to cut: %(file)s is missing or damaged, and no speaker in the library has two "
                "minutes of aligned speech.",
                file=self.shipped.name,
            ),
            "git checkout model/shipped; or ./hark library import FOLDER, then ./hark library voices",
        )

    def worker_arguments(self) -> list[str]:
        return [str(self.shipped), str(data_folder())]

    def find_voices(self, language: str) -> list[Voice]:
        return [
            Voice(self.name, person.name, person.language, person.speaker, person.licence, person.model)
            for person in people(self.shipped, data_folder())
            if speaks(person.language, language)
        ]

    def draw_settings(self, voice: Voice, rng: np.random.Generator) -> dict[str, Setting]:
        """Draw the seed of the selection, and factors of speed and pitch (1: unchanged)."""
        return {
            "seed": int(rng.integers(2**31)),
            "speed": round(float(rng.uniform(0.85, 1.2)), 3),
            "pitch": round(float(rng.uniform(0.95, 1.06)), 3),
        }

    def synthesize(self, requests: Iterable[SpeechRequest], folder: Path) -> Iterator[GeneratedClip | FailedRequest]:
        """Extend ``Engine.synthesize``: ``model_name`` ends with the sources, ": recording@start-end ..." [seconds]."""
        for result in super().synthesize(requests, folder):
            yield _with_sources(result) if isinstance(result, GeneratedClip) else result


def _with_sources(clip: GeneratedClip) -> GeneratedClip:
    with soundfile.SoundFile(clip.path) as file:
        sources = str(file.comment)
    return replace(clip, model_name=f"{clip.model_name}: {sources}")
