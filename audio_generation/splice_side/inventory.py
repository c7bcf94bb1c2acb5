"""The people whose recordings splice can use: those shipped with Hark, and those in the clip library.

The shipped inventory is a zip file: ``about.json`` (language, speakers with their corpus, licence and file), and for
each speaker an Ogg Opus file with all recordings one after another and a JSON file with their positions, words [label,
start, end] and phones [label, start, end, confidence], times in seconds from the recording's start.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from audio_generation.splice_side import LIBRARY_MODEL
from audio_generation.splice_side.text import with_stress
from audio_generation.splice_side.units import Recording, UnitTable, unit_table
from core.audio_file import SAMPLE_RATE
from core.data_folder import REPOSITORY
from core.errors import HarkError
from db.alignments import EMISSIONS_FOLDER
from db.db_api import Library, library_exists
from db.records import AlignedUnit, Clip, ClipQuery

SHIPPED = REPOSITORY / "model" / "shipped" / "units-en.zip"
MIN_SPEECH_S = 120.0  # minimum seconds of a person's aligned recordings
MAX_SPEECH_S = 360.0  # maximum seconds per person that are held in memory: 12 MB
MIN_CONFIDENCE = 0.3  # minimum geometric mean of the confidences of a recording's phones
CACHED_VOICES = 24  # maximum number in memory
PHONE_ALIGNER = "recognizer-phones-"  # prefix of the names of aligners that align phones


@dataclass(frozen=True)
class Person:
    """A person whose recordings form a voice.

    Attributes:
        name: the name of the voice.
        speaker: the person's name in the clip library.
        model: the origin of the recordings, for ``Voice.model``.
        clips: the person's clips in the library, each with the aligner of its phones; () for shipped people.
    """

    name: str
    speaker: str
    language: str
    licence: str
    model: str
    clips: tuple[tuple[Clip, str], ...] = field(default=(), repr=False)


def people(shipped: Path, data: Path) -> list[Person]:
    """Return all people who can be voices: the library's people, then the other people of the shipped inventory."""
    from_library = library_people(data)
    known = {person.speaker for person in from_library}
    return from_library + [person for person in shipped_people(shipped) if person.speaker not in known]


def shipped_people(path: Path) -> list[Person]:
    """Return the people in a shipped inventory; [] if the file is missing or unreadable."""
    try:
        return list(_people_in(path, path.stat().st_mtime_ns))
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return []


@lru_cache(maxsize=4)
def _people_in(path: Path, changed_ns: int) -> tuple[Person, ...]:
    with zipfile.ZipFile(path) as archive:
        about = json.loads(archive.read("about.json"))
    return tuple(
        Person(row["speaker"], row["speaker"], about["language"], row["licence"], f"splice {path.stem} {row['corpus']}")
        for row in about["speakers"]
    )


def library_people(data: Path) -> list[Person]:
    """Return the people in the clip library with at least two minutes of recordings with aligned phones.

    The result is empty if the library is missing or unreadable, because splice has other voices.
    """
    if not library_exists(data):
        return []
    try:
        with Library(data) as library:
            return _library_people(library)
    except HarkError:
        return []


def _library_people(library: Library) -> list[Person]:
    by_speaker: dict[tuple[str, str], dict[int, tuple[Clip, str]]] = {}
    for aligner in phone_aligners(library):
        for clip in library.iter_clips(ClipQuery(imported=True, slices=False, text_known=True, aligned_by=aligner)):
            # Recordings of an unknown speaker do not form a voice; those with the role "test" are reserved.
            if clip.speaker and clip.settings.get("role") != "test":
                theirs = by_speaker.setdefault((clip.language, clip.speaker), {})
                theirs.setdefault(clip.id, (clip, aligner))
    result = []
    for (language, speaker), usable in sorted(by_speaker.items()):
        if sum(clip.duration_s for clip, _ in usable.values()) >= MIN_SPEECH_S:
            licences = sorted({clip.licence for clip, _ in usable.values()})
            name = speaker if language == "en" else f"{speaker} {language}"
            clips = tuple(usable[each] for each in sorted(usable))
            result.append(Person(name, speaker, language, " AND ".join(licences), LIBRARY_MODEL, clips))
    return result


def phone_aligners(library: Library) -> list[str]:
    """Return the names of the aligners whose phones the library has, newest first, from the folders of emissions."""
    folder = library.data_dir / EMISSIONS_FOLDER
    folders = [path for path in folder.glob(f"{PHONE_ALIGNER}*") if path.is_dir()] if folder.is_dir() else []
    return [path.name for path in sorted(folders, key=lambda path: (-path.stat().st_mtime, path.name))]


class Inventory:
    """The unit tables of people, built on first use. The most recent :data:`CACHED_VOICES` remain in memory.

    ``table(name)`` returns that person's unit table. It raises ValueError if the recordings are not usable, and
    HarkError or OSError if they cannot be read.
    """

    def __init__(self, shipped: Path, data: Path) -> None:
        self._shipped, self._data = shipped, data
        self._people: dict[str, Person] = {}
        self.table = lru_cache(CACHED_VOICES)(self._table)

    def person(self, name: str) -> Person | None:
        """Return the person with a voice's name, or None; for an unknown name, the library is read again first."""
        if name not in self._people:
            self._people = {person.name: person for person in people(self._shipped, self._data)}
        return self._people.get(name)

    def _table(self, name: str) -> UnitTable:
        person = self._people[name]
        if person.clips:
            return unit_table(_library_recordings(self._data, person))
        return unit_table(shipped_recordings(self._shipped, person.speaker))


def shipped_recordings(path: Path, speaker: str) -> list[Recording]:
    """Return the recordings of one person of a shipped inventory.

    Raises:
        ValueError: the file is damaged or does not have the person.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            about = json.loads(archive.read("about.json"))
            (row,) = [row for row in about["speakers"] if row["speaker"] == speaker]
            table: list[dict[str, Any]] = json.loads(archive.read(f"{row['file']}.json"))
            audio, rate = soundfile.read(io.BytesIO(archive.read(f"{row['file']}.ogg")), dtype="float32")
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile, soundfile.LibsndfileError) as error:
        raise ValueError(f"{path.name} cannot be read ({type(error).__name__}: {error})") from error
    if rate != SAMPLE_RATE:
        raise ValueError(f"{path.name} holds audio at {rate} Hz")
    return [
        Recording(
            entry["name"],
            audio[entry["first"] : entry["first"] + entry["samples"]],
            tuple(AlignedUnit("phone", *phone) for phone in entry["phones"]),
            with_stress(
                [AlignedUnit("word", w, start, end, 1.0) for w, start, end in entry["words"]], about["language"]
            ),
        )
        for entry in table
    ]


def _library_recordings(data: Path, person: Person) -> list[Recording]:
    """Return a person's confidently aligned recordings, up to six minutes, in :func:`clip_order`."""
    result: list[Recording] = []
    seconds = 0.0
    with Library(data) as library:
        for clip, aligner in sorted(person.clips, key=lambda row: clip_order(row[0])):
            phones = library.alignments.units(clip.id, aligner, "phone")
            words = library.alignments.units(clip.id, aligner, "word")
            if seconds >= MAX_SPEECH_S:
                break
            if not phones or confidence(phones) < MIN_CONFIDENCE:
                continue
            try:
                audio = library.read_audio(clip)
            except HarkError:  # its file is missing, but the person has others
                continue
            result.append(Recording(f"clip {clip.id}", audio, tuple(phones), with_stress(words, person.language)))
            seconds += clip.duration_s
    return result


def clip_order(clip: Clip) -> bytes:
    """Return a sort key for a person's clips, which is the same on every machine."""
    return hashlib.sha256(clip.sha256.encode()).digest()


def confidence(phones: Sequence[AlignedUnit]) -> float:
    """Return the geometric mean of phones' confidences."""
    return float(np.exp(np.mean(np.log([max(phone.confidence, 1e-4) for phone in phones])))) if phones else 0.0
