"""Whisper by faster-whisper (MIT, on CTranslate2): 8-bit weights on a CPU, 16-bit on a GPU; never downloads."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from core.audio_file import SAMPLE_RATE
from core.errors import HarkError
from core.processors import usable_cores
from core.readiness import Readiness
from core.worded import worded
from phrase_augmentation.normalize import base_language
from pipeline.recordings.transcription import whisper_models
from pipeline.recordings.transcription.whisper_text import MAX_COMPRESSION, MIN_LOG_P, NO_SPEECH, invented
from pipeline.recordings.transcripts.transcript import Segment
from pipeline.recordings.transcripts.words import segment_of, words_of

BEAM = 5
TEMPERATURES = (0.0, 0.4, 0.8)  # a higher one is tried after an implausible result


class FasterWhisper(whisper_models.WhisperEngine):
    """Uses Whisper models in CTranslate2's format."""

    name = "faster-whisper"
    why = worded("the most accurate engine that runs here")
    licence = "MIT"
    pulled = True
    sizes = ("small", "base", "tiny", "medium", "turbo", "large-v3")

    def found(self) -> dict[str, Path]:
        return whisper_models.converted()

    def is_model(self, path: Path) -> bool:
        return whisper_models.is_converted(path)

    def available(self) -> Readiness:
        if find_spec("faster_whisper") is None:
            return Readiness(
                False,
                worded("The package %(name)s is not installed.", name=self.name),
                "python -m pip install faster-whisper -c constraints.txt",
            )
        if self.file() is None:
            model = self.model
            size = model if model in whisper_models.SIZES else self.sizes[0]
            why = worded("No Whisper model in this engine's format is on this machine.")
            if model:
                why = worded("The Whisper model %(name)s is not on this machine in this engine's format.", name=model)
            return Readiness(
                False,
                why,
                worded(
                    "Run ./hark transcribe --pull %(size)s, or set HARK_WHISPER_MODEL to a folder with a converted "
                    "model.",
                    size=size,
                ),
            )
        return Readiness(True)

    @property
    def translates(self) -> bool:
        """True unless the model is English only or a turbo model, which were not trained to translate."""
        return self.languages() is None and "turbo" not in Path(self.model).name

    def versions(self) -> dict[str, str]:
        if find_spec("faster_whisper") is None:
            return {}
        return {"faster-whisper": version("faster-whisper"), "whisper": Path(self.model).name}

    def load(self) -> Any:
        """Load the model, on a GPU if CTranslate2 has one."""
        import ctranslate2
        from faster_whisper import WhisperModel

        folder = self.file()
        assert folder is not None
        try:
            if ctranslate2.get_cuda_device_count():
                try:
                    return WhisperModel(str(folder), device="cuda", compute_type="float16", local_files_only=True)
                except RuntimeError as error:  # there is a driver without the libraries that CTranslate2 requires
                    logging.getLogger(__name__).warning("no Whisper on the GPU: %s", error)
            # By default, it uses four threads on any number of cores.
            threads = 0 if os.environ.get("OMP_NUM_THREADS") else usable_cores()
            return WhisperModel(
                str(folder), device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise HarkError(
                worded("The Whisper model %(name)s cannot be loaded.", name=folder.name),
                f"{str(error)[:200].rstrip('.')}.",
                worded("Remove %(folder)s and download it again.", folder=str(folder)),
            ) from error

    def run(
        self, model: Any, audio: np.ndarray, language: str | None, translate: bool, words: Sequence[str]
    ) -> list[Segment]:
        # Its own speech detection is off, because chunks are already cut at pauses.
        wanted = base_language(language) if language else None
        if wanted is not None and wanted not in model.supported_languages:
            raise HarkError(
                worded(
                    "The Whisper model %(name)s does not support the language %(wanted)s.",
                    name=Path(self.model).name,
                    wanted=repr(wanted),
                ),
                worded("It is not among the languages that it was trained on."),
                worded("Leave the language out: the model then detects it."),
            )
        task = "translate" if translate else "transcribe"
        segments, info = model.transcribe(
            audio, language=wanted, task=task, beam_size=BEAM, temperature=TEMPERATURES, word_timestamps=True,
            vad_filter=False, condition_on_previous_text=False, no_speech_threshold=NO_SPEECH,
            log_prob_threshold=MIN_LOG_P, compression_ratio_threshold=MAX_COMPRESSION,
            hotwords=", ".join(words) or None,
        )  # fmt: skip
        written = "en" if translate else info.language
        result = []
        for segment in segments:
            if invented(segment.avg_logprob, segment.no_speech_prob, segment.compression_ratio):
                continue
            raw = [(word.word, word.start, word.end, word.probability) for word in segment.words or ()]
            result.append(segment_of(words_of(raw, written, len(audio) / SAMPLE_RATE), written))
        return [segment for segment in result if segment is not None]
