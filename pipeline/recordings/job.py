"""A recording on its way to a transcript: the jobs "transcribe", "summarize", "polish", "translate" and "minable".

Every step can be done again: what is finished lies beside the audio and is found there. Nothing is ever half written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import soundfile

from core.data_folder import atomic_path, remove_unfinished, storing
from core.errors import HarkError
from core.events import Reporter
from core.worded import worded
from db.db_api import Library, library_exists, source_id
from db.records import NewClip
from phrase_augmentation.normalize import normalize as normalized
from pipeline.corpora.importing import ENGINE, LONGEST_S, SHORTEST_S
from pipeline.recordings.captions import write
from pipeline.recordings.diarization import voiceprints
from pipeline.recordings.diarization.speakers import assign, diarize
from pipeline.recordings.media import MediaLimits, merge, normalize, open_normalized, read_part, waveform
from pipeline.recordings.recording_folder import AUDIO, POLISHED, POLISHED_TEXT, SUMMARY, TEXT, TRANSCRIPT, WAVEFORM
from pipeline.recordings.summarization import Summary, save_summary, summarize, words_of
from pipeline.recordings.summarization.polish import polish
from pipeline.recordings.transcript import Segment, Transcript, load_transcript, save_transcript
from pipeline.recordings.transcription.transcribe import TranscribeOptions, transcribe
from pipeline.recordings.translation import translate, translation_file
from pipeline.training.removed_recordings import CORPUS, forget_in_runs

LICENCE = "private"
AROUND_S = 0.1  # kept before and after a segment: boundaries are never exact


def transcribe_recording(spec: Mapping[str, Any], data: Path, reporter: Reporter) -> dict[str, Any]:
    """The job "transcribe": audio, waveform, transcript, speakers and summary of one recording.

    Args:
        spec: ``recording`` (id), ``folder`` below ``data``, ``originals`` (names of files in it, in their order), and
            ``options``: engine, language, speakers, diarize, summarize; ``words``: that are likely to be said;
            ``owner``: it is the owner's, who can raise limits; ``most_s``: that the user has left of a quota [s], none
            unless given.

    Returns what the portal shows of it. Raises HarkError: no recording, beyond the limits, an engine that is not ready
    or failed, a full disk.
    """
    folder, options = data / spec["folder"], spec["options"]
    audio = folder / AUDIO
    with storing("preparing the recording"):
        remove_unfinished(folder)  # of a worker that was killed
    _prepare(spec, folder, reporter)
    if not (folder / WAVEFORM).is_file():
        with storing("drawing the waveform"), atomic_path(folder / WAVEFORM) as temporary:
            temporary.write_text(json.dumps(waveform(audio)))
    wanted = TranscribeOptions(
        engine=options.get("engine") or "auto",
        language=options.get("language") or None,
        channels=bool(options.get("diarize", True)) and options.get("speakers") in (None, 2),
        data=data,
        translate=bool(options.get("translate")),
        words=tuple(spec.get("words") or ()),
    )
    transcript = transcribe(audio, wanted, folder, reporter)
    warnings: list[str] = []
    if options.get("diarize", True) and transcript.segments:
        transcript = _with_speakers(transcript, audio, data, options.get("speakers") or None, reporter, warnings)
    if options.get("summarize", True) and transcript.segments:
        _summarize(transcript, folder, reporter, warnings)
    elif (folder / SUMMARY).is_file():
        (folder / SUMMARY).unlink()  # of an earlier transcript
    # Last: until then the earlier one is there.
    _keep(transcript, folder / TRANSCRIPT, folder / TEXT, str(spec.get("name", "")))
    return {
        "duration_s": transcript.duration_s, "channels": soundfile.info(str(audio)).channels,
        "language": transcript.language, "engine": transcript.engine, "speakers": len(transcript.speakers),
        "words": sum(len(segment.text.split()) for segment in transcript.segments), "warnings": warnings,
    }  # fmt: skip


def _prepare(spec: Mapping[str, Any], folder: Path, reporter: Reporter) -> None:
    """16 kHz audio out of whatever was uploaded; several files become one."""
    originals = list(spec["originals"])
    if (folder / AUDIO).is_file():
        return
    missing = [name for name in originals if not (folder / name).is_file()]
    if missing or not originals:
        raise HarkError(
            worded("The recording is gone."),
            worded("Its file was removed before it was processed."),
            worded("Upload it again."),
        )
    reporter.stage("normalize", worded("Preparing the audio"))
    limits = replace(MediaLimits.from_environment(owner=bool(spec.get("owner", True))), left_s=spec.get("most_s"))
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
                raise type(error)(which, error.what, error.what_to_do) from error
        parts.append(part)
    merge(parts, folder / AUDIO, limits)
    for part in parts:
        part.unlink()


def _with_speakers(
    transcript: Transcript, audio: Path, data: Path, speakers: int | None, reporter: Reporter, warnings: list[str]
) -> Transcript:
    """The transcript with who speaks; without, and with a warning, where that cannot be found out."""
    voices = data / voiceprints.FILE
    try:
        if transcript.diarization != "channels":
            return assign(transcript, diarize(audio, speakers=speakers, voices=voices, reporter=reporter))
        # One person on each channel: recognition has said who. Somebody may know the voices.
        if not voiceprints.names(voices):
            return transcript
        found = diarize(audio, voices=voices, reporter=reporter).sounds_like
        known = {side: name for side, name in found.items() if side in transcript.speakers}
        return replace(transcript, sounds_like=known)
    except HarkError as error:
        warnings.append(str(error))
        reporter.log(worded("No speakers: %(what)s %(why)s", what=error.what, why=error.why), "warning")
        return transcript


def detect_speakers(spec: Mapping[str, Any], data: Path, reporter: Reporter) -> dict[str, Any]:
    """The job "speakers": who speaks when in a recording, found once more. The transcript is not touched. ``spec``:
    ``recording`` (id), ``folder`` below ``data``, and ``speakers``: how many there are; None: estimated. Raises
    HarkError: the recording cannot be read, or speakers cannot be told apart here."""
    audio = data / spec["folder"] / AUDIO
    found = diarize(audio, speakers=spec["speakers"], voices=data / voiceprints.FILE, reporter=reporter)
    return {
        "turns": [asdict(turn) for turn in found.turns], "method": found.method, "names": dict(found.names),
        "versions": dict(found.versions), "sounds_like": dict(found.sounds_like),
    }  # fmt: skip


def summarize_recording(spec: Mapping[str, Any], data: Path, reporter: Reporter) -> dict[str, Any]:
    """The job "summarize": another summary of a recording, of its transcript as it is now. ``spec``: ``recording``
    (id), ``folder`` below ``data``, and ``engine`` (of summaries, or "auto"). Raises HarkError: no such engine, or it
    failed; the recording was deleted or cut differently meanwhile; a full disk. The summary that was there stays."""
    folder = data / spec["folder"]
    transcript = load_transcript(folder / TRANSCRIPT)
    summary = _summary(transcript, str(spec.get("engine") or "auto"), reporter)
    # What it cites are numbers of segments.
    if _spans(load_transcript(folder / TRANSCRIPT)) != _spans(transcript):
        raise HarkError(
            worded("The summary does not fit any more."),
            worded("Passages of the transcript were removed, or it was made anew, while it was summarized."),
            worded("Summarize it again."),
        )
    save_summary(summary, folder / SUMMARY)
    return {"engine": summary.engine}


def _spans(transcript: Transcript) -> list[tuple[float, float]]:
    return [(segment.start_s, segment.end_s) for segment in transcript.segments]


def _summary(transcript: Transcript, engine: str, reporter: Reporter) -> Summary:
    reporter.stage("summarize", worded("Summarizing"))
    return replace(summarize(transcript, engine), made_of=words_of(transcript))


def _summarize(transcript: Transcript, folder: Path, reporter: Reporter, warnings: list[str]) -> None:
    """Write the summary; a warning, and no summary, where none can be made."""
    try:
        summary = _summary(transcript, "auto", reporter)
    except HarkError as error:
        (folder / SUMMARY).unlink(missing_ok=True)
        warnings.append(str(error))
        reporter.log(worded("No summary: %(what)s %(why)s", what=error.what, why=error.why), "warning")
    else:
        save_summary(summary, folder / SUMMARY)


def polish_recording(spec: Mapping[str, Any], data: Path, reporter: Reporter) -> dict[str, Any]:
    """The job "polish": a transcript written out properly by the language model that the owner has configured, beside
    the recognized one; times and speakers stay. ``spec``: ``recording`` (id) and ``folder`` below ``data``. Raises
    HarkError: no language model, or it failed; the recording was deleted; a full disk."""
    folder = data / spec["folder"]
    _check_there(folder / TRANSCRIPT)
    reporter.stage("polish", worded("Having the transcript written out by the language model"))
    polished = polish(load_transcript(folder / TRANSCRIPT))
    _check_there(folder)
    _keep(polished, folder / POLISHED, folder / POLISHED_TEXT)
    return {"segments": len(polished.segments)}


def translate_recording(spec: Mapping[str, Any], data: Path, reporter: Reporter) -> dict[str, Any]:
    """The job "translate": a transcript in another language, beside the recognized one, by the language model that the
    owner has configured. ``spec``: ``recording`` (id), ``folder`` below ``data``, ``language`` (code) and ``name`` of
    it in English. Raises HarkError: no language model, or it failed; the recording was deleted; a full disk."""
    folder = data / spec["folder"]
    _check_there(folder / TRANSCRIPT)
    reporter.stage("translate", worded("Having the transcript translated by the language model"))
    translated = translate(load_transcript(folder / TRANSCRIPT), spec["language"], spec["name"])
    _check_there(folder)
    file = translation_file(folder, spec["language"])
    with storing("keeping the translation"):
        file.parent.mkdir(exist_ok=True)
        save_transcript(translated, file)
    return {"segments": len(translated.segments), "language": spec["language"]}


def _check_there(path: Path) -> None:
    """Raises HarkError where it was deleted: nothing of a recording may come back."""
    if not path.exists():
        raise HarkError(
            worded("The recording is gone."),
            worded("It was deleted before the job had ended."),
            worded("Upload it again."),
        )


def _keep(transcript: Transcript, file: Path, text_file: Path, title: str = "") -> None:
    with storing("keeping the transcript"):
        with atomic_path(text_file) as temporary:
            temporary.write_bytes(write(transcript, "txt", title))
        save_transcript(transcript, file)


# ---- the circle closes: what is said in a recording as clips, in which phrases are found


def make_minable(spec: Mapping[str, Any], data: Path, reporter: Reporter) -> dict[str, Any]:
    """The job "minable": the recording's segments are clips of the user's library, or are taken out of it again.
    ``spec``: ``recording`` (id), ``folder`` below ``data``, ``minable``."""
    if not spec["minable"]:
        reporter.stage("library", worded("Taking it out of the library"))
        return {"clips": 0, "removed": remove_from_library(data, spec["recording"])}
    reporter.stage("library", worded("Putting it into the library"))
    folder = data / spec["folder"]
    clips, removed = bring_up_to_date(data, spec["recording"], folder, load_transcript(folder / TRANSCRIPT))
    return {"clips": clips, "removed": removed}


def bring_up_to_date(data: Path, recording: str, folder: Path, transcript: Transcript) -> tuple[int, int]:
    """Make the clips of a recording those of its transcript; how many there are, and how many went.

    Segments that are there keep their clip; one with other words, or by somebody else, is another clip, and cuts of the
    old one go with it.
    """
    wanted = {
        _source(recording, segment): segment for segment in transcript.segments if _is_usable(segment, transcript)
    }
    with Library(data) as library:
        there = {str(clip.source): clip for clip in library.with_source(_prefix(recording))}
        stale = [
            clip.id
            for source, clip in there.items()
            if source not in wanted
            or (clip.text_original, clip.speaker) != (wanted[source].text, _speaker(recording, wanted[source]))
        ]
        library.delete_clips(stale)
        kept = {source for source, clip in there.items() if clip.id not in stale}
        new = {source: segment for source, segment in wanted.items() if source not in kept}
        if new:
            library.add_clips(_clips(recording, folder / AUDIO, transcript, new))
    return len(wanted), len(stale)


def remove_from_library(data: Path, recording: str) -> int:
    """Take all clips of a recording, and cuts of them, out of the library and the runs; how many clips there were."""
    if not library_exists(data):
        return 0
    with Library(data) as library:
        clips = library.with_source(_prefix(recording))
        library.delete_clips([clip.id for clip in clips])
        forget_in_runs(data, library)
    return len(clips)


def _prefix(recording: str) -> str:
    return f"{CORPUS}-{recording}"


def _source(recording: str, segment: Segment) -> str:
    return source_id(_prefix(recording), f"{round(1000 * segment.start_s)}-{round(1000 * segment.end_s)}")


def _speaker(recording: str, segment: Segment) -> str:
    return f"{recording}-{segment.speaker}" if segment.speaker else recording


def _is_usable(segment: Segment, transcript: Transcript) -> bool:
    language = segment.language or transcript.language or "en"
    seconds = segment.end_s - segment.start_s
    return not segment.overlap and SHORTEST_S <= seconds <= LONGEST_S and bool(normalized(segment.text, language))


def _clips(recording: str, audio: Path, transcript: Transcript, wanted: Mapping[str, Segment]) -> Iterator[NewClip]:
    with open_normalized(audio) as file:
        for source, segment in wanted.items():
            samples = read_part(file, segment.start_s - AROUND_S, segment.end_s + AROUND_S).mean(axis=1)
            if not len(samples):
                continue
            language = segment.language or transcript.language or "en"
            yield NewClip(
                audio=samples, text=segment.text, text_normalized=normalized(segment.text, language),
                language=language, engine=ENGINE, speaker=_speaker(recording, segment), licence=LICENCE, source=source,
                settings={"recording": recording},
            )  # fmt: skip
