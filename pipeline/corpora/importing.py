"""``./hark library import``: turn the audio and transcripts of a corpus into clips of the library.

An import can be interrupted at any point and run again: known clips are recognized by their source (corpus and path)
before decoding, and by their samples afterwards. Memory does not grow with the corpus.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import zlib
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from core.audio_file import SAMPLE_RATE, SILENCE_PEAK, read_audio, seconds_of_audio
from core.confinement.foreign_audio import read_foreign_audio, seconds_of
from core.data_folder import storing
from core.errors import HarkError
from core.events import Reporter
from core.processors import usable_cores
from core.worded import worded
from db.clip_files import digest_of, to_samples
from db.db_api import Library, source_id
from db.records import Clip, NewClip
from phrase_augmentation.normalize import normalize
from pipeline.corpora import peoples_speech
from pipeline.corpora.layouts.utterance import Utterance
from pipeline.corpora.licences import UNKNOWN_LICENCE
from pipeline.corpora.listing import Listing, listed_corpus

ENGINE = "corpus"  # the ``engine`` of all imported clips
MIN_DURATION_S = 0.2  # seconds; shorter audio cannot contain a word
MAX_DURATION_S = 60.0  # seconds; longer audio with a transcript cannot be aligned in one step
CHUNK_S = 30.0  # seconds per chunk into which recordings without a transcript are cut
CHUNK = 64  # utterances looked up, and clips stored, per batch
# Number of interleaved parts in which a corpus is read if there is a limit, so that all speakers are included.
SPREAD = 64


@dataclass
class ImportReport:
    """The result of an import, updated while it runs.

    Attributes:
        added: new clips; ``hours`` is their length.
        already_there: clips that the library had, by source or by their samples.
        skipped: {reason: count}; reasons: missing, unreadable, empty, too short, too long, silent, and the problems
            that the layouts name (``pipeline.corpora.layouts.utterance``).
        transcribed: known clips that had no text and now have one.
        unknown_text: those of ``added`` without a transcript, which can only be negatives, used with care.
        licence: licence of clips for which the corpus gives none; ``licence_from`` is its source.
        limit_reached: whether the import stopped at the limit of hours, not at the end of the corpus.
    """

    added: int = 0
    already_there: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    hours: float = 0.0
    transcribed: int = 0
    unknown_text: int = 0
    corpus: str = ""
    layout: str = ""
    licence: str = UNKNOWN_LICENCE
    licence_from: str = ""
    limit_reached: bool = False

    def __post_init__(self) -> None:
        self.seconds = self.seconds_there = 0.0  # seconds of added and of known clips


@dataclass(frozen=True)
class IncomingClip:
    """A decoded utterance to be stored: int16 ``samples`` at 16 kHz, or the reason why there are none."""

    source: str
    utterance: Utterance
    samples: np.ndarray | None
    reason: str = ""


def import_corpus(
    folder: Path,
    library: Library,
    language: str,
    reporter: Reporter,
    licence: str | None = None,
    limit_hours: float | None = None,
    own: bool = False,
) -> ImportReport:
    """Import a corpus in any of the known layouts (``pipeline.corpora.layouts``), which is detected.

    Args:
        folder: the corpus.
        language: of utterances for which the corpus does not give it.
        licence: licence of the clips; by default, from the folder's SOURCE, LICENSE or README file, otherwise
            "unknown".
        limit_hours: maximum hours of this corpus in the library, including earlier imports, spread over the whole
            corpus; None for all of it.
        own: whether the files are trusted, so that this process reads them itself, in a twentieth of the time.

    Raises:
        HarkError: the folder does not exist or is not a corpus, or the library cannot be written to.
    """
    folder = Path(folder).resolve()
    listing = listed_corpus(folder, own)
    report = report_of(folder, listing, licence, reporter)
    utterances = partial(utterances_of, folder, listing, own, lengths={})
    parts = utterances() if limit_hours is None else _interleaved(utterances())
    with reading(folder):
        total = sum(1 for _ in utterances()) if limit_hours is None else 0
        _import(parts, partial(_decode, own=own), library, language, limit_hours, report, reporter, total)
    return report


def report_of(folder: Path, listing: Listing, licence: str | None, reporter: Reporter) -> ImportReport:
    """Start the report of an import, announce its stage, and warn if no licence is known."""
    licence_name, said_by = (licence, "the command") if licence else (listing.licence, listing.licence_from)
    reporter.stage("import", f"{folder.name}: {listing.layout}")
    if licence_name == UNKNOWN_LICENCE:
        reporter.log(
            worded(
                "No licence was found in %(corpus)s, so its clips' licence is 'unknown'. Set it with --licence.",
                corpus=folder.name,
            ),
            "warning",
        )
    return ImportReport(corpus=corpus_name(folder), layout=listing.layout, licence=licence_name, licence_from=said_by)


def utterances_of(
    folder: Path, listing: Listing, own: bool, lengths: dict[Path, float]
) -> Iterator[tuple[str, Utterance]]:
    """Yield utterances with their sources in the library; ``lengths`` caches durations for another listing."""
    corpus = corpus_name(folder)
    for utterance in listing.utterances():
        for piece in _pieces(utterance, lengths, own):
            yield source_id(corpus, _place(folder, piece)), piece


def _interleaved(utterances: Iterable[tuple[str, Utterance]]) -> Iterator[tuple[str, Utterance]]:
    """Yield one utterance of each part in turn, from a temporary file, so that memory does not grow."""
    places = [array("Q") for _ in range(SPREAD)]  # positions in the file of each part's utterances
    with TemporaryFile() as file:
        for source, utterance in utterances:
            places[zlib.crc32(source.encode("utf-8", "backslashreplace")) % SPREAD].append(file.tell())
            with storing("saving clips"):
                pickle.dump((source, utterance), file)
                file.flush()
        for place in chain.from_iterable(places):
            file.seek(place)
            yield pickle.load(file)


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Raise HarkError if the corpus cannot be read in the block, or has vanished at its end."""
    try:
        yield
    except OSError as error:  # from the listing; unreadable recordings are counted instead
        raise disappeared(folder) or unreadable(folder, error) from error
    if gone := disappeared(folder):
        raise gone


def disappeared(folder: Path) -> HarkError | None:
    """Return the error for a corpus that vanished while it was read (its drive was lost); otherwise None."""
    try:
        if any(Path(folder).iterdir()):
            return None
    except OSError:
        pass
    return HarkError(
        worded("The corpus disappeared while it was being read."),
        worded("There is nothing left in %(name)s.", name=folder.name),
        worded("Restore the folder, then run the same command again."),
    )


def unreadable(folder: Path, error: OSError) -> HarkError:
    """Return the error for a corpus whose own files, usually its transcripts, cannot be read."""
    # It names only paths below the corpus's folder, because users need not know the server's paths.
    where = Path(error.filename or folder)
    named = where.relative_to(folder.parent) if where.is_relative_to(folder.parent) else where.name
    return HarkError(
        worded("The corpus %(name)s cannot be read.", name=folder.name),
        f"{error.strerror or type(error).__name__}: {named}.",
        worded("Make it readable (or check the drive), then run the same command again."),
    )


def import_peoples_speech(
    library: Library,
    reporter: Reporter,
    limit_hours: float,
    location: str | Path = peoples_speech.REPOSITORY,
    configuration: str = peoples_speech.CONFIGURATION,
) -> ImportReport:
    """Stream People's Speech (English) into the library until it holds ``limit_hours`` of it.

    A second run with a higher limit continues from there. ``location`` may be a local folder of its parquet files.

    Raises:
        HarkError: the ``datasets`` package or the network is missing, or the library cannot be written to.
    """
    reporter.stage("import", f"People's Speech, {configuration}: up to {limit_hours:g} hours")
    report = ImportReport(corpus=peoples_speech.CORPUS, layout="People's Speech", licence_from="the corpus")
    imported = {clip.source: clip.duration_s for clip in library.with_source(peoples_speech.CORPUS)}
    report.already_there, report.seconds_there = len(imported), sum(imported.values())
    audio: dict[str, np.ndarray | None] = {}
    licences: set[str] = set()

    def listed() -> Iterator[tuple[str, Utterance]]:
        for row in peoples_speech.rows(
            lambda name: source_id(peoples_speech.CORPUS, name) in imported, location, configuration
        ):
            source = source_id(peoples_speech.CORPUS, row.identifier)
            audio[source] = row.audio
            licences.add(row.licence)
            yield source, Utterance(Path(row.identifier), row.text.strip() or None, licence=row.licence)

    def decode(source: str, utterance: Utterance) -> IncomingClip:
        found = audio.pop(source)
        return IncomingClip(source, utterance, *((None, "unreadable") if found is None else usable_samples(found)))

    _import(listed(), decode, library, "en", limit_hours, report, reporter)
    report.licence = " AND ".join(sorted(licences))
    return report


def _import(
    parts: Iterable[tuple[str, Utterance]],
    decode: Callable[[str, Utterance], IncomingClip],
    library: Library,
    language: str,
    limit_hours: float | None,
    report: ImportReport,
    reporter: Reporter,
    total: int = 0,
) -> None:
    """Look up, decode and store in chunks until the library has ``limit_hours``, or all ``total`` utterances."""
    # Threads suffice: untrusted files are decoded in other processes, and libsndfile and soxr release Python's lock.
    workers = usable_cores()
    limit_s = None if limit_hours is None else limit_hours * 3600
    waiting: deque[Future[IncomingClip]] = deque()
    decoded: list[IncomingClip] = []

    def progress() -> None:
        if limit_s is None:
            reporter.progress(report.added + report.already_there + sum(report.skipped.values()), total)
        else:
            reporter.progress(min(report.seconds + report.seconds_there, limit_s), limit_s)

    def store() -> None:
        store_clips(decoded, library, language, report)
        decoded.clear()
        progress()

    def reached() -> bool:
        pending = sum(len(clip.samples) for clip in decoded if clip.samples is not None) / SAMPLE_RATE
        report.limit_reached = limit_s is not None and report.seconds + report.seconds_there + pending >= limit_s
        return report.limit_reached

    pool = ThreadPoolExecutor(workers)
    try:
        remaining = iter(parts)
        while not reached() and (chunk := list(islice(remaining, CHUNK))):
            for source, utterance in _not_there(chunk, library, language, report):
                if reached():
                    break
                waiting.append(pool.submit(decode, source, utterance))
                # Few at a time, so that memory holds only clips that are decoded but not stored yet.
                while len(waiting) > 2 * workers:
                    decoded.append(waiting.popleft().result())
                if len(decoded) >= CHUNK:
                    store()
            progress()
        while waiting and not reached():
            decoded.append(waiting.popleft().result())
        reached()
        store()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    report.skipped, report.hours = dict(sorted(report.skipped.items())), report.seconds / 3600


def store_clips(clips: Iterable[IncomingClip], library: Library, language: str, report: ImportReport) -> None:
    """Store decoded utterances in one transaction. Samples that the library has get a licence if theirs is unknown."""
    new: dict[str, NewClip] = {}
    for clip in clips:
        if clip.samples is None:
            report.skipped[clip.reason] = report.skipped.get(clip.reason, 0) + 1
            continue
        digest = digest_of(clip.samples)
        if digest in new:
            report.already_there += 1
            continue
        utterance = clip.utterance
        spoken = utterance.language or language
        normalized = normalize(utterance.text or "", spoken)
        new[digest] = NewClip(
            audio=clip.samples,
            text=(utterance.text or "") if normalized else "",
            text_normalized=normalized,
            # A transcript of only punctuation ("...", "???") counts as none.
            text_known=bool(normalized),
            language=spoken,
            engine=ENGINE,
            speaker=utterance.speaker,
            licence=utterance.licence or report.licence,
            source=clip.source,
        )
    there = library.of_digests(list(new))
    _set_unknown_licences(library, [(clip, new[clip.sha256].licence) for clip in there])
    present = {clip.sha256 for clip in there}
    wanted = [clip for digest, clip in new.items() if digest not in present]
    ids = library.add_clips(wanted, once=True)
    # Another import may have stored the same samples in the meantime; the clip then belongs to that import.
    sources = {clip.id: clip.source for clip in library.clips(ids)}
    added = [clip for clip_id, clip in zip(ids, wanted, strict=True) if sources.get(clip_id) == clip.source]
    report.already_there += len(new) - len(added)
    report.added += len(added)
    report.unknown_text += sum(not clip.text_known for clip in added)
    added_s = sum(len(clip.audio) for clip in added) / SAMPLE_RATE
    report.seconds += added_s
    report.seconds_there += sum(len(clip.audio) for clip in new.values()) / SAMPLE_RATE - added_s


def _not_there(
    chunk: list[tuple[str, Utterance]], library: Library, language: str, report: ImportReport
) -> list[tuple[str, Utterance]]:
    """Return the utterances with a new source.

    Known clips get transcripts that the corpus has since added, and its licence if theirs is unknown.
    """
    imported = {clip.source: clip for clip in library.of_sources([source for source, _ in chunk])}
    texts: dict[int, tuple[str, str]] = {}
    for source, utterance in chunk:
        if source in imported and not imported[source].text_known and utterance.text:
            normalized = normalize(utterance.text, utterance.language or language)
            if normalized:
                texts[imported[source].id] = (utterance.text, normalized)
    if texts:
        library.set_texts(texts)
    known = ((imported[source], utterance) for source, utterance in chunk if source in imported)
    _set_unknown_licences(library, [(clip, utterance.licence or report.licence) for clip, utterance in known])
    report.transcribed += len(texts)
    report.already_there += len(imported)
    report.seconds_there += sum(clip.duration_s for clip in imported.values())
    return [(source, utterance) for source, utterance in chunk if source not in imported]


def _set_unknown_licences(library: Library, given: Iterable[tuple[Clip, str]]) -> None:
    """Give clips whose licence is unknown the licence that stands beside them."""
    licences: dict[str, list[int]] = {}
    for clip, licence in given:
        if clip.licence == UNKNOWN_LICENCE != licence:
            licences.setdefault(licence, []).append(clip.id)
    for licence, ids in licences.items():
        library.set_fact(ids, "licence", licence)


def _decode(source: str, utterance: Utterance, own: bool) -> IncomingClip:
    """Decode an utterance, or give the reason why it is unusable."""
    if utterance.problem:
        return IncomingClip(source, utterance, None, utterance.problem)
    try:
        if not utterance.audio.is_file():
            return IncomingClip(source, utterance, None, "missing")
        if utterance.audio.stat().st_size == 0:
            return IncomingClip(source, utterance, None, "empty")
        seconds = min(max(0.0, utterance.duration_s or MAX_DURATION_S + 1.0), MAX_DURATION_S + 1.0)
        if utterance.offset_s is None:  # a file longer than its header claims is rejected for its length
            seconds = MAX_DURATION_S + 1.0
        if not seconds:
            return IncomingClip(source, utterance, None, "empty")
        read = read_audio if own else read_foreign_audio
        audio = read(utterance.audio, seconds, max(0.0, utterance.offset_s or 0.0))
    except (HarkError, OSError, ValueError):
        return IncomingClip(source, utterance, None, "unreadable")
    samples, reason = usable_samples(audio)
    return IncomingClip(source, utterance, samples, reason)


def usable_samples(audio: np.ndarray) -> tuple[np.ndarray | None, str]:
    """Convert audio [samples] at 16 kHz to int16 samples, or return None and the reason why it is unusable."""
    if not len(audio):
        return None, "empty"
    if len(audio) < MIN_DURATION_S * SAMPLE_RATE:
        return None, "too short"
    if len(audio) > MAX_DURATION_S * SAMPLE_RATE:
        return None, "too long"
    if np.abs(audio).max() < SILENCE_PEAK:
        return None, "silent"
    return to_samples(audio), ""


def _pieces(utterance: Utterance, lengths: dict[Path, float], own: bool) -> Iterator[Utterance]:
    """Split a long recording without a transcript into chunks, so that it can serve as negatives."""
    seconds = 0.0
    if utterance.text is None and utterance.offset_s is None and not utterance.problem:
        if utterance.audio not in lengths:  # a corpus may be listed more than once
            lengths[utterance.audio] = _measured(utterance.audio, own)
        seconds = lengths[utterance.audio]
    if seconds <= CHUNK_S:
        yield utterance
        return
    start = 0.0
    while start < seconds:
        # The last chunk also takes a rest of less than half a chunk.
        length = CHUNK_S if seconds - start > 1.5 * CHUNK_S else seconds - start
        yield replace(utterance, offset_s=start, duration_s=length)
        start += length


def _measured(audio: Path, own: bool) -> float:
    """Return a recording's duration [s], 0 if unreadable. An untrusted file is decoded: its header may be false."""
    try:
        return seconds_of_audio(audio) if own else seconds_of(audio)
    except (HarkError, OSError):
        return 0.0


def _place(folder: Path, utterance: Utterance) -> str:
    """Return an utterance's place in its corpus: the file's path, followed by the times if it is a part of the file."""
    path = os.path.relpath(utterance.audio, folder).replace(os.sep, "/").encode("utf-8", "backslashreplace").decode()
    return path if utterance.offset_s is None else f"{path}@{utterance.offset_s:.3f}+{utterance.duration_s or 0:.3f}"


def corpus_name(folder: Path) -> str:
    """Return the corpus's name in the library: the folder's name and a digest of its full path.

    Two folders named "wavs" are two corpora. A corpus that was moved is decoded again, but its samples are recognized.
    """
    digest = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:8]
    return f"{folder.resolve().name.replace(':', '-')}-{digest}"
