"""Enrolment recordings (takes) of a phrase: hints for speakers, checks, storage, and detectors tried on them.

Takes are clips of the library with ``source`` "recorded:<id>" and a role. "test" takes are never trained on, so a
report counts them among the unseen speakers; "train" takes are positives for training.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audio_augmentation.silence import speech_bounds
from core.audio_file import SAMPLE_RATE
from core.confinement.foreign_audio import read_foreign_audio
from core.data_folder import check_folder
from core.errors import HarkError
from core.worded import worded
from db.clip_files import audio_digest
from db.db_api import Library
from db.records import Clip, NewClip
from model.runtime.detector import Detector
from phrase_augmentation.keyphrase import Keyphrase
from pipeline.corpora.importing import ENGINE
from pipeline.corpora.layouts.utterance import files_below, is_audio

CORPUS = "recorded"  # prefix of every take's source
TEST, TRAIN = "test", "train"
ROLES = (TEST, TRAIN)
LICENCE = "private"
OWNER = "user-1"  # the portal's name for its first account, because the command line records for the same person

COUNT = 10  # takes that a speaker records; if all 10 are detected, the detection rate is at least 72 % (Wilson, 95 %)
TAKE_S = 4.0  # seconds per recording
MAX_TAKE_S = 15.0
MARGIN_S = 0.3  # seconds stored on both sides of the speech
QUIET_DB = -50.0  # RMS of the speech [dBFS]; the input noise of a usual microphone is about 10 dB below
FULL_SCALE = 0.985  # several consecutive samples beyond this are clipped
CLIPPED_SAMPLES = 3
MIN_SPEECH_S, MAX_SPEECH_S = 0.25, 3.5
EDGE_S = 0.03  # seconds; speech that begins or ends this close to the take's edge is truncated

BEFORE_S, AFTER_S = 2.0, 1.0  # seconds of silence before and after a take when a detector is tried on it
SILENCE_LEVEL = 1e-4  # -80 dBFS, because microphones do not output zeros


@dataclass(frozen=True)
class Hint:
    """An instruction for the next take; ``away`` means that the speaker needs time to walk there."""

    words: str
    away: bool = False


HINTS = (
    Hint(worded("close, in your normal voice")),
    Hint(worded("close, quickly")),
    Hint(worded("two metres away"), away=True),
    Hint(worded("quietly, close")),
    Hint(worded("turned away from the microphone"), away=True),
    Hint(worded("slowly and clearly")),
    Hint(worded("from the far end of the room"), away=True),
    Hint(worded("loudly, two metres away"), away=True),
    Hint(worded("tired, without much effort")),
    Hint(worded("from the next room's door"), away=True),
)

PROBLEMS = {
    "nothing": worded("There is no speech in it: is this the right microphone, and is it allowed?"),
    "endless": worded("It has more than %(longest_take_s)s s of speech.", longest_take_s=round(MAX_TAKE_S)),
    "clipped": worded("It is clipped: move further away, or turn the input down."),
    "quiet": worded("It is very quiet: move closer, or turn the input up."),
    "short": worded("It is too short for the phrase."),
    "long": worded("It contains more than the phrase."),
    "cut": worded("It begins or ends in the middle of speech."),
}


@dataclass(frozen=True)
class Take:
    """A recording of the phrase as it will be stored: its speech with a margin.

    Attributes:
        audio: float32 [samples] at 16 kHz; empty if the take cannot be stored.
        level_db: RMS of the speech [dBFS].
        problems: names in :data:`PROBLEMS`; with "nothing" or "endless" the take cannot be stored.
    """

    audio: np.ndarray
    level_db: float
    problems: tuple[str, ...]
    hint: str = ""
    identifier: str = ""

    @property
    def seconds(self) -> float:
        return len(self.audio) / SAMPLE_RATE

    @property
    def usable(self) -> bool:
        """True if the take can be stored."""
        return len(self.audio) > 0

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(PROBLEMS[name] for name in self.problems)


def hints(count: int) -> list[Hint]:
    """Return ``count`` hints, each different from the previous one."""
    return [HINTS[number % len(HINTS)] for number in range(count)]


def examine(audio: np.ndarray, hint: str = "", identifier: str = "") -> Take:
    """Check a recording [samples, 16 kHz], and trim it to the part to store.

    Args:
        identifier: takes with the same identifier are stored once; without it, takes with the same audio are.
    """
    start, end = speech_bounds(audio, "silero")
    if start == end or end - start > MAX_TAKE_S * SAMPLE_RATE:
        return Take(audio[:0], -120.0, ("nothing" if start == end else "endless",), hint, identifier)
    speech = audio[start:end].astype(np.float64)
    level = 10 * np.log10(max(1e-12, float((speech**2).mean())))
    seconds = len(speech) / SAMPLE_RATE
    edge = round(EDGE_S * SAMPLE_RATE)
    problems = {
        "clipped": int((np.abs(speech) >= FULL_SCALE).sum()) >= CLIPPED_SAMPLES,
        "quiet": level < QUIET_DB,
        "short": seconds < MIN_SPEECH_S,
        "long": seconds > MAX_SPEECH_S,
        "cut": start < edge or end > len(audio) - edge,
    }
    margin = round(MARGIN_S * SAMPLE_RATE)
    trimmed = np.asarray(audio[max(0, start - margin) : end + margin], dtype=np.float32)
    identifier = identifier or str(uuid.uuid5(uuid.NAMESPACE_OID, audio_digest(trimmed)))
    return Take(trimmed, round(level, 1), tuple(name for name, wrong in problems.items() if wrong), hint, identifier)


def takes_in(folder: Path, most: int | None, on_damage: Callable[[HarkError], None]) -> Iterator[tuple[Path, Take]]:
    """Yield a folder's recordings (at most ``most``), examined; damaged ones are skipped after calling ``on_damage``.

    Raises HarkError if the folder has no audio files.
    """
    check_folder(folder)
    files = [path for path in files_below(folder) if is_audio(path)]
    if not files:
        raise HarkError(
            worded("There are no recordings to examine."),
            worded("%(folder)s contains no audio files.", folder=str(folder)),
            worded("Choose a folder with audio files (WAV, FLAC, MP3 ...)."),
        )
    for path in files[:most]:
        try:
            audio = read_foreign_audio(path, max_seconds=2 * MAX_TAKE_S)
        except HarkError as error:
            on_damage(error)
        else:
            yield path, examine(audio, hint=path.stem)


def save(library: Library, takes: Iterable[Take], *, keyphrase: Keyphrase, speaker: str, role: str = TEST) -> list[int]:
    """Store takes of a phrase as clips and return their ids. Known takes are not stored again, but get this role.

    Raises:
        HarkError: a take is not usable, or the library cannot be written to.
    """
    clips = []
    for take in takes:
        if not take.usable:
            raise HarkError(worded("That recording cannot be saved."), take.words[0], worded("Record it again."))
        clips.append(
            NewClip(
                audio=take.audio, text=keyphrase.text, text_normalized=keyphrase.text, language=keyphrase.language,
                engine=ENGINE, speaker=speaker, licence=LICENCE, source=f"{CORPUS}:{take.identifier}",
                settings={"recorded": True, "role": role, "hint": take.hint},
            )
        )  # fmt: skip
    ids = library.add_clips(clips)
    if changed := [clip for clip in library.clips(ids) if clip.settings.get("role") != role]:
        set_role(library, changed, role)
    return ids


def saved_takes(library: Library, *, phrase: str = "", language: str = "") -> list[Clip]:
    """Return the stored takes, in order of recording; with ``phrase`` (normalized), only its takes."""
    return [
        clip
        for clip in library.with_source(CORPUS)
        if clip.state == "ready"
        and (not phrase or (clip.text_normalized == phrase and clip.language == language))
        and clip.settings.get("role") in ROLES
    ]


def set_role(library: Library, clips: Iterable[Clip], role: str) -> None:
    library.change_settings([clip.id for clip in clips], {"role": role})


def detected(detector: Detector, takes: Sequence[np.ndarray]) -> list[bool]:
    """Return for each take [samples, 16 kHz] whether the detector detects it between two silences."""
    rng = np.random.default_rng(0)
    result = []
    for audio in takes:
        before, after = (
            SILENCE_LEVEL * rng.standard_normal(round(seconds * SAMPLE_RATE)) for seconds in (BEFORE_S, AFTER_S)
        )
        stream = np.concatenate([before, audio, after]).astype(np.float32)
        result.append(any(detector.detections(scores) for scores in detector.score_recording([stream])))
    return result
