"""How well engines are understood: 40 phrases, read back by two recognizers, and clips that are broken on purpose."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from audio_generation.engine import Engine, GeneratedClip, SpeechRequest, Voice
from core.audio_file import read_audio
from phrase_augmentation.normalize import normalize
from pipeline.training.keyword_scoring import is_understood, ways_to_say
from pipeline.training.plan import draw_voice

TEXTS = (
    "hey compass,computer,smart mirror,snowboy,alexa,okay nabu,hey jarvis,athena,amelia,hey chatterbox,hello kitchen,"
    "good morning sunshine,open the garage,turn on the lights,volume up,blue banana,wake up robot,purple elephant,"
    "captain planet,hey marvin,dear diary,silver lining,thunderbird,hey professor,lighthouse keeper,jump over,"
    "whiskey tango,magic school bus,hey zephyr,violet,orange juice please,treasure island,happy birthday,kangaroo,"
    "hey galileo,excuse me butler,yellow submarine,three little pigs,hey snorble,cinnamon"
)
PHRASES = TEXTS.split(",")
CLIPS = 3  # of each phrase, by voices drawn at random
SILENCE_S = 0.5  # around a clip for the recognizer that writes


def understood(engine: Engine, seed: int = 0) -> dict[str, float]:
    """Shares of an engine's clips.

    Returns:
        kept: that Hark's filter keeps (:func:`pipeline.training.keyword_scoring.is_understood`).
        phrases_kept: phrases most of whose clips it keeps.
        written: in which Moonshine writes the text or a homophone; phrases_written: phrases so written once at least.
        caught, by the way in which each clip was broken: that the filter drops.
    """
    from pipeline.recordings.transcription.moonshine_engine import Moonshine

    writer = Moonshine()
    with tempfile.TemporaryDirectory(prefix="hark-bench-") as folder:
        clips = [(clip.text, read_audio(clip.path)) for clip in _spoken(engine, seed, Path(folder))]
    engine.close()
    kept: dict[str, list[bool]] = {}
    written: dict[str, list[bool]] = {}
    caught: dict[str, list[bool]] = {}
    for number, (text, audio) in enumerate(clips):
        kept.setdefault(text, []).append(is_understood(audio, text))
        padded = np.pad(audio, round(SILENCE_S * 16_000))
        said = normalize(" ".join(segment.text for segment in writer.recognize(padded, "en")), "en")
        written.setdefault(text, []).append(bool({*ways_to_say(said)} & {*ways_to_say(text)}))
        for how, broken in _broken(audio, clips[(number + CLIPS) % len(clips)][1]):
            caught.setdefault(how, []).append(not is_understood(broken, text))
    return {
        "clips": len(clips),
        "kept": _share(*kept.values()),
        "phrases_kept": _share([sum(row) > len(row) / 2 for row in kept.values()]),
        "written": _share(*written.values()),
        "phrases_written": _share([any(row) for row in written.values()]),
        **{f"caught_{how}": _share(row) for how, row in caught.items()},
    }


def _spoken(engine: Engine, seed: int, folder: Path) -> Iterator[GeneratedClip]:
    rng = np.random.default_rng(seed)
    people: dict[str, list[Voice]] = {}
    for voice in sorted(engine.voices("en"), key=lambda voice: voice.speaker):
        people.setdefault(voice.speaker, []).append(voice)
    requests = []
    for number, text in enumerate(PHRASES * CLIPS):
        _, voice = draw_voice({engine.name: list(people.values())}, rng)
        requests.append(SpeechRequest(str(number), text, voice.name, "en", engine.draw_settings(voice, rng)))
    return (clip for clip in engine.synthesize(requests, folder) if isinstance(clip, GeneratedClip))


def _broken(audio: np.ndarray, other: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """A clip [samples] as engines break it: cut off, something else said, more said, the beginning stuttered."""
    loud = np.flatnonzero(np.abs(audio) > 0.02 * np.abs(audio).max())
    speech = audio[loud[0] : loud[-1] + 1]
    half, third = len(speech) // 2, len(speech) // 3
    yield "first_half", speech[:half]
    yield "first_two_thirds", speech[: 2 * third]
    yield "last_half", speech[half:]
    yield "other_text", other
    yield "more_said", np.concatenate([audio, other])
    yield "stutter", np.concatenate([speech[:third], speech[:third], speech])


def _share(*rows: list[bool]) -> float:
    return round(float(np.mean(np.concatenate(rows))), 3)
