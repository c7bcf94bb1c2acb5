"""The engines and models for recordings (recognition, speakers, questions, summaries), and their readiness here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from core.environments import is_enabled, requirements
from core.readiness import Readiness
from core.worded import Worded
from pipeline.corpora import peoples_speech
from pipeline.recordings import summarization
from pipeline.recordings.answers import reader
from pipeline.recordings.diarization import acoustic, pyannote_engine
from pipeline.recordings.language_models import text_similarity
from pipeline.recordings.summarization.transformer import SUMMARY, LocalTransformer
from pipeline.recordings.transcription.engine import described
from pipeline.recordings.transcription.measured import facts, size_of
from pipeline.recordings.transcription.registry import engines

RECOGNITION, SPEAKERS, QUESTIONS, SUMMARIES = "recognition", "speakers", "questions", "summaries"
CORPORA = "corpora"


@dataclass(frozen=True)
class EngineOrModel:
    """An engine or model: its use (one of the constants above), its name, and whether it is ready."""

    use: str
    name: str
    licence: str
    readiness: Readiness
    enabled: str = ""  # name for ``pipeline.engine_setup.enable_engine``, or ""
    pulled: str = ""  # name for ``pipeline.engine_setup.pull_model``; "" if it cannot be downloaded
    sizes: tuple[str, ...] = ()  # sizes to choose from
    facts: tuple[Worded, ...] = ()  # facts on a recognizer: size, time and word errors

    @property
    def downloads(self) -> list[tuple[str, Worded | None]]:
        """The ``sizes``, each with the size of its download."""
        return [(size, size_of(f"{self.pulled} {size}")) for size in self.sizes]


def engines_and_models() -> Iterator[EngineOrModel]:
    """Yield all of them, the best of each kind first, without loading models or using the network."""
    for engine in engines():
        enabled = engine.name if requirements(engine.name).is_file() and not is_enabled(engine.name) else ""
        pulled = engine.name if engine.pulled else ""
        name, ready = described(engine), engine.available()
        known = tuple(facts(name)) if ready.ok else ()
        yield EngineOrModel(RECOGNITION, name, engine.licence, ready, enabled, pulled, engine.sizes, known)
    enabled = "" if is_enabled(pyannote_engine.NAME) else pyannote_engine.NAME
    pulled = "" if pyannote_engine.is_pulled() else pyannote_engine.NAME
    licence = "MIT (program); CC-BY-4.0 (pipeline)"
    yield EngineOrModel(SPEAKERS, "pyannote", licence, pyannote_engine.readiness(), enabled, pulled)
    yield EngineOrModel(SPEAKERS, "resemblyzer", "Apache-2.0", acoustic.readiness())
    for model in (reader.READER, text_similarity.EMBEDDING):
        name = model.repository.removeprefix("distilbert/")
        yield EngineOrModel(QUESTIONS, name, "Apache-2.0", model.readiness(), pulled=model.name)
    for writer in summarization.engines():
        pulled = SUMMARY.name if writer.name == LocalTransformer.name else ""
        yield EngineOrModel(SUMMARIES, writer.name, writer.licence, writer.available(), pulled=pulled)
    corpus = peoples_speech.available()
    enabled = "" if corpus.ok else peoples_speech.NAME
    yield EngineOrModel(CORPORA, "The People's Speech", "Apache-2.0 (program); CC-BY (speech)", corpus, enabled)
