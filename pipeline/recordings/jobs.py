"""The jobs of a recording: "transcribe", "speakers", "summarize", "polish", "translate" and "minable".

Every step can be repeated: finished results are stored next to the audio and found again, and writes are atomic.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import soundfile

from core.data_folder import atomic_path, remove_unfinished, storing
from core.errors import HarkError
from core.events import Reporter
from core.worded import Worded, worded
from pipeline.recordings.diarization import voiceprints
from pipeline.recordings.diarization.speakers import diarize
from pipeline.recordings.files.media import MediaLimits, merge, normalize, waveform
from pipeline.recordings.files.recording_folder import (
    AUDIO,
    POLISHED,
    POLISHED_TEXT,
    SUMMARY,
    TEXT,
    TRANSCRIPT,
    WAVEFORM,
)
from pipeline.recordings.library_clips import bring_up_to_date, remove_from_library
from pipeline.recordings.recording_options import RecordingOptions
from pipeline.recordings.summarization import Summary, save_summary, summarize, words_of
from pipeline.recordings.summarization.polish import polish
from pipeline.recordings.transcribing import transcribed
from pipeline.recordings.transcripts.captions import write
from pipeline.recordings.transcripts.transcript import Transcript, load_transcript, save_transcript
from pipeline.recordings.translation import translate, translation_file


def transcribe_recording(spec: Mapping[str, Any], data: Path, reporter: Reporter) -> dict[str, Any]:
    """Run the job "transcribe": audio, waveform, transcript, speakers and summary of one recording.

    Args:
        spec: ``recording`` (id), ``folder`` below ``data``, ``originals`` (names of files in it, in order), and
            ``options`` (fields of :class:`RecordingOptions`), ``words`` (likely words), ``owner`` (whether
            it is the owner's, who can raise limits), and ``most_s`` (seconds left in the user's quota, if limited).

    Returns the portal's facts on it. Raises HarkError if the recording cannot be read or exceeds the limits, an engine
    is not ready or fails, or the disk is full.
    """
    folder, options = data / spec["folder"], RecordingOptions(**spec["options"])
    audio = folder / AUDIO
    with storing("preparing the recording"):
        remove_unfinished(folder)  # left by a worker that was killed
    _prepare(spec, folder, reporter)
    for part in folder.glob("part-*.flac"):
        part.unlink()
    if not (folder / WAVEFORM).is_file():
        with storing("computing the waveform"), atomic_path(folder / WAVEFORM) as temporary:
            temporary.write_text(json.dumps(waveform(audio)))
    warnings: list[Worded] = []
    words = spec.get("words") or ()
    transcript = transcribed(audio, options, data=data, work=folder, words=words, warnings=warnings, reporter=reporter)
    summary = None
    if options.summarize and transcript.segments:
        summary = _summary_or_warning(transcript, reporter, warnings)
    with storing("saving the summary"), ExitStack() as afterwards:
        if summary is not None:  # renamed after the transcript, because it cites the transcript's segments by number
            save_summary(summary, afterwards.enter_context(atomic_path(folder / SUMMARY)))
        _keep(transcript, folder / TRANSCRIPT, folder / TEXT, str(spec.get("name", "")), outdated=folder / SUMMARY)
    return {
        "duration_s": transcript.duration_s, "channels": soundfile.info(str(audio)).channels,
        "language": transcript.language, "engine": transcript.engine, "speakers": len(transcript.speakers),
        "words": sum(len(segment.text.split()) for segment in transcript.segments), "warnings": warnings,
        "warnings_parts": [warning.parts() for warning in warnings],
    }  # fmt: skip


def _prepare(spec: Mapping[str, Any], folder: Path, reporter: Reporter) -> None:
    """Convert the uploaded files to 16 kHz audio, joining several into one."""
    originals = list(spec["originals"])
    if (folder / AUDIO).is_file():
        return
    missing = [name for name in originals if not (folder / name).is_file()]
    if missing or not originals:
        raise HarkError(
            worded("The recording no longer exists."),
            worded("Its file was removed before it was processed."),
            worded("Upload it again."),
        )
    reporter.stage("normalize", worded("Preparing the audio"))
    limits = replace(MediaLimits.from_environment(owner=spec["owner"]), left_s=spec.get("most_s"))
    if len(originals) == 1:
        normalize(folder / originals[0], folder / AUDIO, limits, reporter)
        return
    parts = []
    for number, name in enumerate(originals, 1):
        part = folder / f"part-{number}.flac"
        if not part.is_file():
            reporter.log(worded("Part %(number)d of %(n)d", number=number, n=len(originals)))
            try:
                normalize(folder / name, part, limits, reporter)
            except HarkError as error:
                which = worded("Part %(number)d of %(n)d cannot be used.", number=number, n=len(originals))
                why = worded("%(what)s %(why)s", what=error.what, why=error.why)
                raise type(error)(which, why, error.what_to_do) from error
        parts.append(part)
    merge(parts, folder / AUDIO, limits)


def detect_speakers(spec: Mapping[str, Any], data: Path, reporter: Reporter) -> dict[str, Any]:
    """Run the job "speakers": diarize a recording again, without changing its transcript.

    ``spec`` has ``recording`` (id), ``folder`` below ``data``, and ``speakers`` (their number; None to estimate it).
    Raises HarkError if the recording cannot be read or speakers cannot be distinguished here.
    """
    audio = data / spec["folder"] / AUDIO
    result = diarize(audio, speakers=spec["speakers"], voices=data / voiceprints.FILE, reporter=reporter)
    return {
        "turns": [asdict(turn) for turn in result.turns], "method": result.method, "names": dict(result.names),
        "versions": dict(result.versions), "sounds_like": dict(result.sounds_like),
    }  # fmt: skip


def summarize_recording(spec: Mapping[str, Any], data: Path, reporter: Reporter) -> dict[str, Any]:
    """Run the job "summarize": summarize a recording's current transcript again.

    ``spec`` has ``recording`` (id), ``folder`` below ``data``, and ``engine`` (of summaries, or "auto"). Raises
    HarkError, without changing the earlier summary, if the engine does not exist or fails, the recording was deleted or
    segmented again in the meantime, or the disk is full.
    """
    folder = data / spec["folder"]
    transcript = load_transcript(folder / TRANSCRIPT)
    summary = _summary(transcript, str(spec.get("engine") or "auto"), reporter)
    # Summaries cite segments by number.
    if load_transcript(folder / TRANSCRIPT).spans != transcript.spans:
        raise HarkError(
            worded("The summary is out of date."),
            worded(
                "While it was being written, passages of the transcript were removed, or the recording was "
                "transcribed again."
            ),
            worded("Summarize it again."),
        )
    save_summary(summary, folder / SUMMARY)
    return {"engine": summary.engine}


def _summary(transcript: Transcript, engine: str, reporter: Reporter) -> Summary:
    reporter.stage("summarize", worded("Summarizing"))
    return replace(summarize(transcript, engine), made_of=words_of(transcript))


def _summary_or_warning(transcript: Transcript, reporter: Reporter, warnings: list[Worded]) -> Summary | None:
    """Return the summary; if it fails, add a warning and return None."""
    try:
        return _summary(transcript, "auto", reporter)
    except HarkError as error:
        warnings.append(worded("%(what)s %(why)s %(what_to_do)s", **error.as_dict()))
        reporter.log(worded("No summary: %(what)s %(why)s", what=error.what, why=error.why), "warning")
        return None


def polish_recording(spec: Mapping[str, Any], data: Path, reporter: Reporter) -> dict[str, Any]:
    """Run the job "polish": let the owner's language model clean up a transcript. Times and speakers remain.

    The result is stored next to the recognized transcript. ``spec`` has ``recording`` (id) and ``folder`` below
    ``data``. Raises HarkError if the language model is missing or fails, the recording was deleted, or the disk is
    full.
    """
    folder = data / spec["folder"]
    transcript, changed_ns = _current(folder)
    reporter.stage("polish", worded("The language model is cleaning up the transcript"))
    polished = polish(transcript)
    _check_there(folder)
    _keep(polished, folder / POLISHED, folder / POLISHED_TEXT)
    _date(folder / POLISHED_TEXT, changed_ns)
    return {"segments": len(polished.segments)}


def translate_recording(spec: Mapping[str, Any], data: Path, reporter: Reporter) -> dict[str, Any]:
    """Run the job "translate": let the owner's language model translate a transcript.

    The result is stored next to the recognized transcript. ``spec`` has ``recording`` (id), ``folder`` below ``data``,
    ``language`` (code) and its English ``name``. Raises HarkError if the language model is missing or fails, the
    recording was deleted, or the disk is full.
    """
    folder = data / spec["folder"]
    transcript, changed_ns = _current(folder)
    reporter.stage("translate", worded("The language model is translating the transcript"))
    translated = translate(transcript, spec["language"], spec["name"])
    _check_there(folder)
    file = translation_file(folder, spec["language"])
    with storing("saving the translation"):
        file.parent.mkdir(exist_ok=True)
        save_transcript(translated, file)
    _date(file, changed_ns)
    return {"segments": len(translated.segments), "language": spec["language"]}


def _current(folder: Path) -> tuple[Transcript, int]:
    """Return the transcript and when it changed last [ns]. Raises HarkError if the recording was deleted."""
    _check_there(folder / TRANSCRIPT)
    changed_ns = (folder / TRANSCRIPT).stat().st_mtime_ns
    return load_transcript(folder / TRANSCRIPT), changed_ns


def _date(file: Path, changed_ns: int) -> None:
    """Give a file the time of the transcript it was made from, so that it is older than any later transcript."""
    with storing("saving the transcript"):
        os.utime(file, ns=(changed_ns, changed_ns))


def _check_there(path: Path) -> None:
    """Raise HarkError if the recording was deleted, because no part of it may reappear."""
    if not path.exists():
        raise HarkError(
            worded("The recording no longer exists."),
            worded("It was deleted before the job finished."),
            worded("Upload it again."),
        )


def _keep(transcript: Transcript, file: Path, text_file: Path, title: str = "", outdated: Path | None = None) -> None:
    """Write a transcript and its text; then remove a file made from the earlier transcript."""
    with storing("saving the transcript"), atomic_path(file) as temporary:
        save_transcript(transcript, temporary)
        with atomic_path(text_file) as text:
            text.write_bytes(write(transcript, "txt", title))
        if outdated is not None:
            outdated.unlink(missing_ok=True)


def make_minable(spec: Mapping[str, Any], data: Path, reporter: Reporter) -> dict[str, Any]:
    """Run the job "minable": add the segments of a ``recording`` in a ``folder`` to the library, or remove them."""
    if not spec["minable"]:
        reporter.stage("library", worded("Removing it from the library"))
        return {"clips": 0, "removed": remove_from_library(data, spec["recording"])}
    reporter.stage("library", worded("Adding it to the library"))
    folder = data / spec["folder"]
    clips, removed = bring_up_to_date(data, spec["recording"], folder, load_transcript(folder / TRANSCRIPT))
    return {"clips": clips, "removed": removed}
