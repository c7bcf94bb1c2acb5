"""Diarization with the best method for a recording and this machine, and assignment of speakers to words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby, product
from pathlib import Path

from core.audio_file import read_audio
from core.errors import HarkError
from core.events import Reporter, silent_reporter
from core.worded import worded
from pipeline.recordings.diarization import acoustic, channels, pyannote_engine, voiceprints
from pipeline.recordings.diarization.turns import Diarization, Turn
from pipeline.recordings.transcripts.transcript import UNNAMED, Segment, Transcript, Word
from pipeline.recordings.transcripts.words import segment_of

SHORT_WORD_S = 0.25  # seconds; a shorter word between two words of another speaker is assigned to that speaker
OVERLAP_S, OVERLAP_FRACTION = 0.3, 0.3  # seconds or fraction of a marked segment in which two people speak


def diarize(
    audio_file: Path, *, speakers: int | None = None, voices: Path | None = None, reporter: Reporter | None = None
) -> Diarization:
    """Return the turns of a normalized recording.

    They come from the channels if each of two is a person. Otherwise they come from pyannote if it is set up, or from
    the voices. With ``voices``, a file of remembered voices, speakers are compared with these. Raises HarkError if the
    recording cannot be read or no method works here.
    """
    reporter = reporter or silent_reporter()
    reporter.stage("speakers", worded("Detecting speakers"))
    diarization = None
    if speakers in (None, 2):
        comparison = channels.compare_if_stereo(audio_file)
        if comparison is not None and comparison.two_speakers:
            diarization = channels.turns_of(comparison)
    if diarization is None and pyannote_engine.readiness().ok:
        try:
            diarization = pyannote_engine.diarize_pyannote(audio_file, speakers)
        except HarkError as error:
            reporter.log(
                worded("%(what)s %(why)s Hark uses its own method.", what=error.what, why=error.why), "warning"
            )
    if diarization is None:
        diarization = acoustic.diarize_audio(read_audio(audio_file), speakers, reporter)
    if voices is not None and diarization.turns and voiceprints.names(voices):
        diarization = _compared(diarization, audio_file, voices)
    return diarization


def _compared(bare: Diarization, audio_file: Path, voices: Path) -> Diarization:
    embeddings = dict(bare.embeddings)
    for speaker in bare.speakers:
        if speaker not in embeddings:
            spans = [(turn.start_s, turn.end_s) for turn in bare.turns if turn.speaker == speaker and not turn.overlap]
            side = list(channels.NAMES).index(speaker) if bare.method == "channels" else None
            try:
                voice = acoustic.embed(voiceprints.voice_of(audio_file, spans, side))
            except HarkError:  # too little speech, or no encoder
                continue
            embeddings[speaker] = tuple(float(value) for value in voice)
    return replace(bare, embeddings=embeddings, sounds_like=voiceprints.match_all(voices, embeddings))


def assign(transcript: Transcript, diarization: Diarization) -> Transcript:
    """Assign speakers to a transcript, splitting segments where the speaker changes, using the times of words.

    Speakers are "S1", "S2" ... in the order of their first words. Segments that already have a speaker (one per
    channel: "L" and "R") keep it, and edited segments keep their words.
    """
    if any(segment.speaker for segment in transcript.segments):
        speakers = {name: diarization.names.get(name, name) for name in _in_order(transcript.segments)}
        return replace(
            transcript,
            speakers={**speakers, **transcript.speakers},
            sounds_like={who: name for who, name in diarization.sounds_like.items() if who in speakers},
            diarization=transcript.diarization or diarization.method,
        )
    parts = [part for segment in transcript.segments for part in _split(segment, diarization.turns)]
    ids = {speaker: f"S{number}" for number, speaker in enumerate(_in_order(parts), 1)}
    names = {new: diarization.names.get(old, f"Speaker {new[1:]}") for old, new in ids.items()}
    return replace(
        transcript,
        segments=tuple(replace(part, speaker=ids.get(part.speaker, "")) for part in parts),
        speakers=names,
        sounds_like={ids[who]: name for who, name in diarization.sounds_like.items() if who in ids},
        diarization=diarization.method,
        versions={**transcript.versions, **diarization.versions},
    )


def assign_again(transcript: Transcript, diarization: Diarization) -> Transcript:
    """Replace the speakers by those of a new diarization; names go to the new speakers who share most of the speech."""
    bare = tuple(replace(segment, speaker="", overlap=False) for segment in transcript.segments)
    result = assign(replace(transcript, segments=bare, speakers={}, diarization=""), diarization)
    shares: dict[tuple[str, str], float] = {}
    for old, new in product(transcript.segments, result.segments):
        shared = min(old.end_s, new.end_s) - max(old.start_s, new.start_s)
        if shared > 0 and old.speaker and new.speaker:
            shares[old.speaker, new.speaker] = shares.get((old.speaker, new.speaker), 0.0) + shared
    names = dict(result.speakers)
    matched: set[str] = set()  # previous speakers with a match
    called: set[str] = set()  # new speakers with a name
    for before, now in sorted(shares, key=lambda pair: -shares[pair]):
        name = transcript.speaker_name(before)
        if before in matched or now in called:
            continue
        matched.add(before)
        called.add(now)
        if name != before and not UNNAMED.fullmatch(name):
            names[now] = name
    unnamed = {
        who: name
        for who, name in result.sounds_like.items()
        if names[who] == result.speakers[who] and name not in names.values()
    }
    return replace(result, speakers=names, sounds_like=unnamed)


def _in_order(segments: Iterable[Segment]) -> list[str]:
    return list(dict.fromkeys(segment.speaker for segment in segments if segment.speaker))


def _split(segment: Segment, turns: Sequence[Turn]) -> list[Segment]:
    near = [turn for turn in turns if turn.start_s < segment.end_s and segment.start_s < turn.end_s] or list(turns)
    whole = replace(segment, speaker=_speaker(segment.start_s, segment.end_s, near))
    if not segment.words or segment.edited:
        return [_marked(whole, near)]
    speakers = _without_islands(segment.words, [_speaker(word.start_s, word.end_s, near) for word in segment.words])
    if len(set(speakers)) == 1:
        return [_marked(replace(segment, speaker=speakers[0]), near)]
    parts = []
    for speaker, group in groupby(zip(segment.words, speakers), key=lambda pair: pair[1]):
        words = tuple(word for word, _ in group)
        part = segment_of(words, segment.language)
        assert part is not None
        parts.append(_marked(replace(part, speaker=speaker, overlap=segment.overlap), near))
    # The time before the first and after the last word belongs to these words.
    parts[0] = replace(parts[0], start_s=min(segment.start_s, parts[0].start_s))
    parts[-1] = replace(parts[-1], end_s=max(segment.end_s, parts[-1].end_s))
    return parts


def _speaker(start_s: float, end_s: float, turns: Sequence[Turn]) -> str:
    """Return the speaker with the most time in a time span, otherwise the nearest speaker; "" without turns."""
    shares: dict[str, float] = {}
    for turn in turns:
        shared = min(end_s, turn.end_s) - max(start_s, turn.start_s)
        if shared > 0:
            shares[turn.speaker] = shares.get(turn.speaker, 0.0) + shared
    if shares:
        return max(shares, key=lambda speaker: shares[speaker])
    middle = (start_s + end_s) / 2
    nearest = min(turns, key=lambda turn: max(turn.start_s - middle, middle - turn.end_s), default=None)
    return nearest.speaker if nearest is not None else ""


def _without_islands(words: Sequence[Word], speakers: list[str]) -> list[str]:
    even = list(speakers)
    for number in range(1, len(words) - 1):
        before, after = even[number - 1], speakers[number + 1]
        if before == after != speakers[number] and words[number].end_s - words[number].start_s < SHORT_WORD_S:
            even[number] = before
    return even


def _marked(segment: Segment, turns: Iterable[Turn]) -> Segment:
    spoken_over = sum(
        max(0.0, min(segment.end_s, end) - max(segment.start_s, start)) for start, end in _overlapped(turns)
    )
    enough = min(OVERLAP_S, OVERLAP_FRACTION * (segment.end_s - segment.start_s))
    return replace(segment, overlap=segment.overlap or 0 < enough <= spoken_over)


def _overlapped(turns: Iterable[Turn]) -> list[tuple[float, float]]:
    """Return the times with two speakers, each once, even if several turns are marked there."""
    merged: list[tuple[float, float]] = []
    for start, end in sorted((turn.start_s, turn.end_s) for turn in turns if turn.overlap):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
