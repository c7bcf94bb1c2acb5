"""Transcription of a whole recording, chunk by chunk, resuming an interrupted run.

Chunks, and short recordings that a client waits for, are recognized by the speech service, which holds the models.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from core.audio_file import SAMPLE_RATE
from core.data_folder import storing
from core.errors import HarkError
from core.events import Reporter, silent_reporter
from core.voice_activity import FRAME, SpeechProbability
from core.worded import listed, worded
from core.worded import number as rounded
from phrase_augmentation.normalize import base_language
from pipeline.recordings.diarization.channels import two_speakers
from pipeline.recordings.files.media import open_normalized, read, read_blocks
from pipeline.recordings.transcription import registry
from pipeline.recordings.transcription.chunks import Stretch, chunks
from pipeline.recordings.transcription.engine import CHUNK_S, RecognitionEngine, described
from pipeline.recordings.transcription.segmenting import shifted, split, with_overlaps
from pipeline.recordings.transcripts.transcript import Segment, Transcript, segment_of_json
from pipeline.speech_service import client as speech_client

PROGRESS_FILE = "progress.jsonl"
SCHEMA = 1  # schema of that file
BLOCK_FRAMES = 64 * FRAME  # frames read at a time: 2 s
SIDES = {"L": "Left", "R": "Right"}  # speakers of a file with one person on each channel
# Audio that is this much quieter than in the other channel, each relative to its own loud parts, is the other person's
# voice leaking into this microphone.
LEAK_DB = 12.0
LOUD_PERCENTILE = 95.0
# If an engine for one language finds words in less than this fraction of the speech, the speech is in another language.
# This is not checked if a longer recording has less than a second of speech, which may be a cough.
MIN_KNOWN_FRACTION = 0.1
MIN_SPOKEN_S, MIN_SPOKEN_FRACTION = 1.0, 0.3
# Seconds; a longer chunk without a word in the engine's language stays visible in the transcript.
MIN_GAP_S = 3.0
CHUNK_TIMEOUT_S = 900.0  # seconds, for a large model on a slow processor, including loading


@dataclass(frozen=True)
class TranscribeOptions:
    """The options of a transcription. ``data`` is the data folder of the user; see ``registry.choose``."""

    engine: str = registry.AUTO  # a name in the registry, or "auto" for the best ready one for the language
    language: str | None = None  # the spoken language ("en", "de"); None to detect it in each chunk
    channels: bool = True  # whether to recognize two channels with a person each separately; False to mix them
    data: Path | None = None
    translate: bool = False  # whether to write English, regardless of the spoken language
    words: tuple[str, ...] = ()  # likely words; see ``RecognitionEngine.recognize``


@dataclass(frozen=True)
class _Chunk:
    """A chunk to recognize, of the channels' mean (speaker "") or of one channel ("L", "R")."""

    speaker: str
    stretch: Stretch

    def key(self) -> tuple[str, int, int]:
        return self.speaker, self.stretch.start, self.stretch.end


def transcribe(
    audio_file: Path, options: TranscribeOptions, work: Path, reporter: Reporter | None = None
) -> Transcript:
    """Transcribe a recording, without speakers unless it has one person on each of two channels.

    Args:
        audio_file: a file from ``pipeline.recordings.files.media.normalize`` (16 kHz, one or two channels).
        work: a folder of this recording; its ``progress.jsonl`` stores finished chunks, from which the same engine,
            model, language and audio resume.

    Raises HarkError if no engine is usable, the engine fails, the file is unreadable or the disk full, or if no
    language was given and the spoken one is not supported by the engine.
    """
    reporter = reporter or silent_reporter()
    engine, why = registry.choose(options.engine, options.language, options.data, options.translate)
    reporter.stage("listen", worded("Detecting speech"))
    reporter.log(worded("Recognition by %(why)s", why=why))
    with open_normalized(audio_file) as recording:
        seconds = recording.frames / SAMPLE_RATE
        sides = recording.channels == 2 and options.channels and two_speakers(audio_file)
        plan = _plan(recording, sides, reporter)
        reporter.stage("transcribe", worded("Transcribing with %(engine)s", engine=described(engine)))
        begun = _begun(audio_file, engine, options, sides)
        with storing("transcription"):
            work.mkdir(parents=True, exist_ok=True)
            with _Progress(work / PROGRESS_FILE, begun) as done:
                raw_segments = list(_recognized(recording, plan, engine, options, done, reporter))
    if options.language is None:
        _check_language(raw_segments, sum(chunk.stretch.seconds for chunk in plan), seconds, engine)
    segments = with_overlaps(part for segment in raw_segments for part in split(segment))
    speakers = {name: SIDES[name] for name in dict.fromkeys(segment.speaker for segment in segments) if name}
    return Transcript(
        duration_s=round(seconds, 3),
        language="en" if options.translate else _main_language(segments, engine, options.language),
        engine=described(engine),
        segments=segments,
        speakers=speakers,
        diarization="channels" if sides else "",
        versions={**engine.versions(), "silero-vad": importlib.metadata.version("silero-vad")},
    )


def recognize(
    engine: RecognitionEngine,
    audio: np.ndarray,
    language: str | None,
    translate: bool = False,
    words: Sequence[str] = (),
) -> list[Segment]:
    """Recognize a chunk with ``engine.recognize``, in the process that holds the model. Raises its HarkErrors."""
    if engine.hosted:  # it has no model to share, and its key must stay in this process
        return engine.recognize(audio, language, translate, words)
    asked = (engine.name, engine.model, audio, language, translate, tuple(words))
    return speech_client.call(CHUNK_TIMEOUT_S, recognize_by_name, *asked)


def recognize_by_name(
    name: str, model: str, audio: np.ndarray, language: str | None, translate: bool, words: Sequence[str]
) -> list[Segment]:
    """Run :func:`recognize` in the speech service, with its own engines. Raises HarkError if the chunk is too long."""
    if len(audio) > (CHUNK_S + 1) * SAMPLE_RATE:
        raise HarkError(
            worded("The part cannot be recognized."),
            worded("An engine accepts at most %(piece_s)s s at a time.", piece_s=rounded(CHUNK_S)),
            worded("Split the recording first."),
        )
    return registry.with_model(name, model, language).recognize(audio, language, translate, words)


def recognized_so_far(work: Path) -> list[Segment]:
    """Return a running transcription's segments so far, ordered by time, without speakers."""
    segments: list[Segment] = []
    with suppress(OSError, ValueError, KeyError, TypeError), (work / PROGRESS_FILE).open("rb") as file:
        for line in file:  # the last line may be incomplete
            row = json.loads(line)
            segments += [segment_of_json(segment) for segment in row.get("segments", ())]
    return sorted(segments, key=lambda segment: segment.start_s)


def _plan(recording: soundfile.SoundFile, sides: bool, reporter: Reporter) -> list[_Chunk]:
    speakers = list(SIDES) if sides else [""]
    hearing = [SpeechProbability() for _ in speakers]
    probabilities: list[list[np.ndarray]] = [[] for _ in speakers]
    levels: list[list[np.ndarray]] = [[] for _ in speakers]
    done = 0
    for block in read_blocks(recording, BLOCK_FRAMES):
        done += len(block)
        last = len(block) < BLOCK_FRAMES or done >= recording.frames
        for number in range(len(speakers)):
            audio = block[:, number] if sides else block.mean(axis=1)
            probabilities[number].append(hearing[number].feed(audio, last=last))
            if sides:
                frames = np.pad(audio, (0, -len(audio) % FRAME)).reshape(-1, FRAME)
                levels[number].append(10 * np.log10(np.square(frames).mean(axis=1) + 1e-10))
        reporter.progress(done / SAMPLE_RATE, recording.frames / SAMPLE_RATE)
    speech = [np.concatenate([np.zeros(0, np.float32), *parts]) for parts in probabilities]
    if sides and done:
        speech = _without_leaks(speech, [np.concatenate(parts) for parts in levels])
    plan = [
        _Chunk(speaker, stretch) for speaker, one in zip(speakers, speech) for stretch in chunks(one, recording.frames)
    ]
    return sorted(plan, key=lambda chunk: (chunk.stretch.start, chunk.speaker))


def _without_leaks(speech: list[np.ndarray], levels: list[np.ndarray]) -> list[np.ndarray]:
    """Set probabilities of speech to 0 where a channel contains only leakage from the other."""
    frames = min(map(len, [*speech, *levels]))  # one may have an extra frame in a truncated file
    left, right = (level[:frames] - np.percentile(level, LOUD_PERCENTILE) for level in levels)
    return [
        np.where(right - left > LEAK_DB, 0.0, speech[0][:frames]),
        np.where(left - right > LEAK_DB, 0.0, speech[1][:frames]),
    ]


def _recognized(
    recording: soundfile.SoundFile,
    plan: list[_Chunk],
    engine: RecognitionEngine,
    options: TranscribeOptions,
    done: _Progress,
    reporter: Reporter,
) -> Iterator[Segment]:
    total = sum(chunk.stretch.seconds for chunk in plan)
    ready = fresh = 0.0
    started = time.monotonic()
    reporter.progress(0.0, total)
    for chunk in plan:
        segments = done.segments.get(chunk.key())
        if segments is None:
            segments = [
                shifted(segment, chunk.stretch.start / SAMPLE_RATE, chunk.speaker)
                for segment in recognize(
                    engine, _audio(recording, chunk), options.language, options.translate, options.words
                )
            ]
            if options.language is None and engine.languages() is not None:
                segments = _marked(chunk, segments)
            done.add(chunk, segments)
            fresh += chunk.stretch.seconds
        ready += chunk.stretch.seconds
        pace = (time.monotonic() - started) / fresh if fresh else 0.0
        reporter.progress(round(ready, 2), round(total, 2), pace * (total - ready) if fresh else None)
        yield from segments


def _marked(chunk: _Chunk, segments: list[Segment]) -> list[Segment]:
    """Return the segments of a chunk; a long one without words in the engine's language has one without text."""
    if chunk.stretch.seconds < MIN_GAP_S or any(segment.language for segment in segments):
        return segments
    start, end = (sample / SAMPLE_RATE for sample in (chunk.stretch.start, chunk.stretch.end))
    return [Segment(start, end, "", 0.0, speaker=chunk.speaker)]


def _audio(recording: soundfile.SoundFile, chunk: _Chunk) -> np.ndarray:
    recording.seek(chunk.stretch.start)
    block = read(recording, chunk.stretch.end - chunk.stretch.start)
    return block[:, list(SIDES).index(chunk.speaker)] if chunk.speaker else block.mean(axis=1)


def _check_language(segments: list[Segment], spoken_s: float, seconds: float, engine: RecognitionEngine) -> None:
    """Raise HarkError if little of the speech in a recording of that many seconds is in the engine's only language."""
    known = engine.languages()
    known_s = sum(segment.end_s - segment.start_s for segment in segments if segment.language)
    is_brief = spoken_s < min(MIN_SPOKEN_S, MIN_SPOKEN_FRACTION * seconds)
    if known is None or not spoken_s or is_brief or known_s >= MIN_KNOWN_FRACTION * spoken_s:
        return
    names = {"engine": engine.name, "languages": listed(known), "seconds": rounded(spoken_s)}
    raise HarkError(
        worded("The speech was not recognized."),
        worded(
            "%(engine)s supports only the language %(languages)s, and recognized little in %(seconds)s s of speech.",
            **names,
        ),
        worded(
            "Choose the spoken language: Hark then uses a suitable engine, or names one to install. With "
            "%(languages)s, Hark accepts any result.",
            **names,
        ),
    )


def _main_language(segments: tuple[Segment, ...], engine: RecognitionEngine, wished: str | None) -> str:
    """Return the requested language or, by default, the one with the most text; without any text, the engine's own."""
    if wished:
        return base_language(wished)
    spoken: Counter[str] = Counter()
    for segment in segments:
        spoken[segment.language] += len(segment.text)
    spoken.pop("", None)
    known = engine.languages() or ("",)
    return spoken.most_common(1)[0][0] if spoken else known[0]


def _begun(audio_file: Path, engine: RecognitionEngine, options: TranscribeOptions, sides: bool) -> dict[str, Any]:
    """Return the first line of the progress file, with everything that affects the segments of a chunk."""
    with audio_file.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "schema": SCHEMA,
        "engine": engine.name,
        "model": engine.model,
        "language": options.language,
        "sides": sides,
        "audio": digest,
        **({"translate": True} if options.translate else {}),
        **({"words": list(options.words)} if options.words else {}),
    }


class _Progress:
    """The finished chunks: a line on how they were made, then a JSON line each. Incomplete lines are dropped."""

    def __init__(self, path: Path, begun: dict[str, Any]) -> None:
        self.segments: dict[tuple[str, int, int], list[Segment]] = {}
        self._path, self._begun = path, begun
        whole = self._read()
        self._file = path.open("r+b" if whole else "wb")
        self._file.truncate(whole)
        self._file.seek(whole)
        if not whole:
            self._write(begun)

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, chunk: _Chunk, segments: list[Segment]) -> None:
        """Store the segments of a chunk. Raises OSError if that fails."""
        self._write({"piece": chunk.key(), "segments": [asdict(segment) for segment in segments]})

    def _write(self, row: dict[str, Any]) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        self._file.flush()

    def _read(self) -> int:
        """Load the existing lines; return the length of the valid part in bytes."""
        if not self._path.is_file():
            return 0
        whole = 0
        with self._path.open("rb") as file:
            for number, line in enumerate(file):
                try:
                    row = json.loads(line)
                    if not line.endswith(b"\n") or (number == 0 and row != self._begun):
                        return whole
                    if number:
                        speaker, start, end = row["piece"]
                        self.segments[speaker, start, end] = [segment_of_json(segment) for segment in row["segments"]]
                except (ValueError, KeyError, TypeError):
                    return whole
                whole += len(line)
        return whole
