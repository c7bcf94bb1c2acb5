"""Synthetic clips for measurements: confusables, and phrases without recordings.

The embedded engines synthesize them. For a bundle, they use voices that its training did not: those of the held-out
engine and the test voices of the others (:mod:`pipeline.training.planning.splits`). For a peer, they use all voices.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from audio_generation.engine import Engine, GeneratedClip, SpeechRequest, Voice
from audio_generation.registry import default_engines
from benchmark.streams import GAP_S, Stream, StreamClip, stream_of
from core.audio_file import read_audio
from core.errors import HarkError
from phrase_augmentation.confusables import confusables
from phrase_augmentation.keyphrase import Keyphrase
from phrase_augmentation.normalize import normalize
from phrase_augmentation.phrase_text import PhraseText
from phrase_augmentation.texts import positives
from pipeline.scoring.keyword_scoring import is_understood
from pipeline.training.planning.splits import split_of, split_voices

EMBEDDED_ENGINES = ("espeak", "flite", "festival")  # part of every installation, so that figures are comparable
CONFUSABLE_CLIPS = 200
CONFUSABLE_TEXTS = 2000  # texts to request; a fifth of them belongs to the test
PARTIAL_FRACTION = 0.25  # maximum fraction of the confusables that are parts of the phrase
POSITIVE_CLIPS = 120

Speakers = Mapping[str, Sequence[Sequence[Voice]]]  # by engine: the voices of each speaker


def voices_for(language: str, engines: Sequence[str] | None = None, held_out: str | None = None) -> dict[str, Speakers]:
    """Return voices by use: ``{"all": ..., "test": ..., "kept": ...}``.

    "all" are the embedded voices, "test" those that the training did not use, and "kept" those that engines reserve for
    measurements.

    Args:
        language: language of the phrase.
        engines: engines that the run used; by default the embedded ones.
        held_out: the engine that the run held out, if any.
    """
    ready = default_engines()
    had = {name: ready[name].voices(language) for name in engines or EMBEDDED_ENGINES if name in ready}
    splits = split_voices({name: voices for name, voices in had.items() if voices}, held_out or "none")
    everyone: dict[str, list[list[Voice]]] = {}
    for split in splits.voices.values():
        for name, speakers in split.items():
            everyone.setdefault(name, []).extend(speakers)

    def embedded(speakers: Speakers) -> Speakers:
        return {name: speakers[name] for name in EMBEDDED_ENGINES if name in speakers} or speakers

    reserved: dict[str, list[list[Voice]]] = {}
    for name in had:
        people: dict[str, list[Voice]] = {}
        for voice in ready[name].reserved_voices(language):
            people.setdefault(voice.speaker, []).append(voice)
        if people:
            reserved[name] = list(people.values())
    return {"all": embedded(everyone), "test": embedded(splits.voices["test"]), "kept": reserved}


def confusable_texts(phrase: str, language: str, seed: int) -> list[PhraseText]:
    """Return up to :data:`CONFUSABLE_CLIPS` texts that sound like the phrase: parts of it, and test confusables."""
    texts = confusables(Keyphrase(phrase, language), CONFUSABLE_TEXTS, seed)
    rng = np.random.default_rng((seed, 1))
    partial = [text for text in texts if text.kind == "partial"]
    others = [t for t in texts if t.kind != "partial" and split_of(normalize(t.text, language)) == "test"]
    parts = [partial[i] for i in rng.permutation(len(partial))[: int(PARTIAL_FRACTION * CONFUSABLE_CLIPS)]]
    return parts + [others[i] for i in rng.permutation(len(others))[: CONFUSABLE_CLIPS - len(parts)]]


def positive_texts(phrase: str, language: str, seed: int) -> list[PhraseText]:
    """Return :data:`POSITIVE_CLIPS` texts of only the phrase, with varied punctuation."""
    texts = positives(Keyphrase(phrase, language), 3 * POSITIVE_CLIPS, seed)  # enough: 3 of 5 contain only the phrase
    return [text for text in texts if text.kind in ("alone", "punctuated")][:POSITIVE_CLIPS]


def spoken(
    texts: Sequence[PhraseText],
    speakers: Speakers,
    language: str,
    seed: int,
    cache: Path,
    name: str,
    gap_s: float = GAP_S,
) -> Stream:
    """Return the stream of the texts, each synthesized once, by the engines in turn; cached like all streams.

    A clip's ``about`` has text, kind, engine, voice. Failed and unintelligible clips are left out.

    Raises:
        HarkError: there are no voices, or no clips.
    """
    if not any(speakers.values()):
        raise HarkError(
            "No engine can speak the clips of this benchmark.",
            f"No embedded engine ({', '.join(EMBEDDED_ENGINES)}) is ready with a voice for {language!r}.",
            "See ./hark engines.",
        )
    who = {engine: [[voice.name for voice in voices] for voices in speakers[engine]] for engine in sorted(speakers)}
    made_from = {
        "spoken": name,
        "texts": [[text.text, text.kind] for text in texts],
        "voices": who,
        "language": language,
        "seed": seed,
    }
    return stream_of(lambda: _speak(texts, speakers, language, seed), made_from, cache, gap_s)


def _speak(texts: Sequence[PhraseText], speakers: Speakers, language: str, seed: int) -> Iterator[StreamClip]:
    engines: dict[str, Engine] = default_engines()
    rng = np.random.default_rng((seed, 2))
    names = sorted(name for name in speakers if speakers[name])
    requests: dict[str, list[tuple[SpeechRequest, PhraseText]]] = {}
    for number, index in enumerate(rng.permutation(len(texts))):
        name = names[number % len(names)]
        one = speakers[name][int(rng.integers(len(speakers[name])))]
        voice = one[int(rng.integers(len(one)))]
        settings = engines[name].draw_settings(voice, rng)
        request = SpeechRequest(str(index), texts[index].text, voice.name, language, settings)
        requests.setdefault(name, []).append((request, texts[index]))
    for name, of_engine in requests.items():
        with tempfile.TemporaryDirectory() as folder:
            try:
                results = engines[name].synthesize((request for request, _ in of_engine), Path(folder))
                for (request, text), result in zip(of_engine, results):
                    if isinstance(result, GeneratedClip):
                        audio = read_audio(result.path)
                        if engines[name].unsure and not is_understood(audio, text.text, language):
                            continue
                        about = {"text": text.text, "kind": text.kind, "engine": name, "voice": request.voice}
                        yield StreamClip(audio, about)
                    else:
                        logging.getLogger(__name__).warning("%s did not say %r: %s", name, text.text, result.why)
            finally:
                engines[name].close()
