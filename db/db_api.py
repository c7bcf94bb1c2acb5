"""The clip library. Only this folder holds SQL statements that read or change clips.

The rows are in an SQLite file (``sqlite.py``), or on a server (``postgresql.py``) if DATABASE_URL names one and the
library has no SQLite file. The statements are SQLite's.

A clip's file is written first (synced, then named), then its row; a batch of rows shares one transaction. After a kill
in the middle, there may be files without rows; ``Library.check`` finds and removes them. A writer holds the library's
write lock while checking that the file exists, so a writer and a repairing check never lose each other's clips.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import shutil
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import soundfile

from core.audio_file import SAMPLE_RATE
from core.data_folder import atomic_path, storage_error, storing
from core.errors import HarkError
from core.processors import usable_cores
from core.settings.database_url import as_servers_take_it
from core.worded import worded
from db import clip_files
from db.choice import database_of, is_on_server, on_server
from db.database import DATABASE_NAME
from db.records import (
    AlignedUnit,
    CheckReport,
    Clip,
    ClipQuery,
    ExportReport,
    LibrarySearch,
    LibraryStats,
    NewClip,
    Problem,
)

if TYPE_CHECKING:
    from db.choice import Connection

EMISSIONS_FOLDER = "emissions"
CHECKING, REPAIRING = "checking the clip library", "repairing the clip library"  # activities named in messages

# A portal's recording is a corpus named "recording-UUID", of speakers named "UUID" or "UUID-...".
RECORDING = "recording"
RECORDING_CORPUS = f"{RECORDING}-________-____-____-____-____________"  # a pattern for LIKE

BATCH_CLIPS = 256  # maximum rows per transaction
BATCH_SAMPLES = 600 * SAMPLE_RATE  # maximum samples per transaction, so that memory stays constant
BATCH_SECONDS = 5.0  # maximum seconds since a batch's first clip, so that a kill loses little slow synthesis
WRITE_THREADS = 8  # several, because they mostly wait for the disk
PAGE_ROWS = 1000  # rows per query of iterators
LEFT_OVER_AFTER_S = 600.0  # seconds; a younger file without a row may belong to a running writer

_COLUMNS = [field.name for field in fields(Clip)]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# Scripts written without spaces (Thai to Myanmar, Khmer, kana, CJK): the full-text index takes a whole run as one word.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]")


def source_id(corpus: str, relative: str) -> str:
    """Return the ``source`` of an imported clip: the corpus's name (without a colon), a colon, and its path there."""
    if ":" in corpus or not corpus:
        raise ValueError(f"a corpus needs a name without a colon, not {corpus!r}")
    return f"{_plain(corpus)}:{_plain(relative)}"


def library_exists(data_dir: Path) -> bool:
    """Return whether this data folder has a library. This does not create one."""
    return (data_dir / DATABASE_NAME).is_file() or is_on_server(data_dir)


def remove_rows(data_dir: Path) -> None:
    """Delete a library's rows from its server, before its folder. Raises HarkError if the server does not respond."""
    if is_on_server(data_dir):
        on_server(data_dir).remove()


class Library:
    """The clips under one data folder. Any number of processes and threads may use it at the same time.

    Args:
        data_dir: the data folder; created if missing.

    Every method raises HarkError for problems that a user can fix: a full disk, a read-only folder, or a database that
    is damaged, remains locked or was written by a newer Hark.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = Path(data_dir)
        self._database = database_of(self.data_dir)
        self._local = threading.local()
        with storing("opening the clip library"):
            self.data_dir.mkdir(parents=True, exist_ok=True)
        self._rows("SELECT 1", doing="opening the clip library")

    def close(self) -> None:
        """Close this thread's connection. The next use opens a new one."""
        connection = self._local.__dict__.pop("connection", None)
        if connection is not None and self._local.pid == os.getpid():
            connection.close()

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # -- adding ------------------------------------------------------------------------------------------------

    def add_clips(self, clips: Iterable[NewClip], once: bool = False) -> list[int]:
        """Store clips and return their ids in order. A clip with a known request_id or source is not stored again.

        With ``once``, neither is a clip whose samples are already stored, even if several processes add it at the same
        time. The iterable is consumed in batches, in constant memory. If it raises, the clips before that are stored
        and the exception propagates. Raises ValueError, a bug of the caller, if audio is empty, not a vector or not
        finite.
        """
        ids: list[int] = []
        batch: list[tuple[NewClip, str, np.ndarray]] = []
        samples_in_batch, started = 0, time.monotonic()
        try:
            for clip in clips:
                samples = clip_files.to_samples(clip.audio)
                if not batch:
                    started = time.monotonic()
                batch.append((clip, clip_files.digest_of(samples), samples))
                samples_in_batch += len(samples)
                full = len(batch) >= BATCH_CLIPS or samples_in_batch >= BATCH_SAMPLES
                if full or time.monotonic() - started > BATCH_SECONDS:
                    # The batch is emptied first, so that a failed one is not tried again below.
                    ready, batch, samples_in_batch = batch, [], 0
                    ids += self._add_batch(ready, once)
        finally:
            if batch:
                ids += self._add_batch(batch, once)
        return ids

    def _add_batch(self, batch: list[tuple[NewClip, str, np.ndarray]], once: bool) -> list[int]:
        known_requests = self.request_ids_present([c.request_id for c, _, _ in batch if c.request_id is not None])
        sources = [clip.source for clip, _, _ in batch if clip.source]
        known_sources = {clip.source for clip in self.of_sources(sources)}
        files = {
            digest: samples
            for clip, digest, samples in batch
            if _plain_or_none(clip.request_id) not in known_requests
            and _plain_or_none(clip.source) not in known_sources
        }
        written: list[str] = []

        def write(digest: str) -> None:
            if clip_files.store(self.data_dir, digest, files[digest]):
                written.append(digest)

        try:
            with ThreadPoolExecutor(WRITE_THREADS) as pool:
                list(pool.map(write, files))
            with self._writing("storing clips") as connection:
                texts: dict[int, str] = {}
                ids = [self._insert(connection, clip, digest, samples, texts, once) for clip, digest, samples in batch]
                connection.index(texts)
                return ids
        except OSError as error:
            self._forget_files(written)
            raise storage_error(error, "storing clips") from error
        except HarkError:
            self._forget_files(written)
            raise

    def _insert(
        self, connection: Connection, clip: NewClip, digest: str, samples: np.ndarray, texts: dict[int, str], once: bool
    ) -> int:
        """Insert a clip if it is new; return its id, and add a new clip's normalized text to ``texts``."""
        existing = connection.execute(
            "SELECT id FROM clip WHERE request_id = ? UNION ALL SELECT id FROM clip WHERE source = ?"
            " UNION ALL SELECT id FROM clip WHERE sha256 = ? LIMIT 1",
            (_plain_or_none(clip.request_id), _plain_or_none(clip.source), digest if once else None),
        ).fetchone()
        if existing is not None:
            return int(existing[0])
        # Written again under the write lock, because a repairing check may have removed the file.
        clip_files.store(self.data_dir, digest, samples)
        row = {
            **{name: getattr(clip, name) for name in ("request_id", "source", "parent_id", "start_s", "end_s")},
            **{name: getattr(clip, name) for name in ("language", "engine", "model", "voice", "speaker", "licence")},
            "path": clip_files.relative_path(digest),
            "sha256": digest,
            "duration_s": len(samples) / SAMPLE_RATE,
            "sample_rate": SAMPLE_RATE,
            "text_original": clip.text,
            "text_normalized": clip.text_normalized,
            "text_known": int(clip.text_known),
            "settings": _settings(clip.settings),
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "state": "ready",
        }
        plain = {name: _plain(value) if isinstance(value, str) else value for name, value in row.items()}
        clip_id = connection.insert(plain)
        texts[clip_id] = _plain(clip.text_normalized)
        return clip_id

    def _forget_files(self, digests: Collection[str]) -> None:
        """Remove files of a failed batch that no row names; ``check`` finds those that cannot be removed."""
        try:
            with self._writing("cleaning up") as connection:
                for digest in digests:
                    if connection.execute("SELECT 1 FROM clip WHERE sha256 = ?", (digest,)).fetchone() is None:
                        _unlink(self.data_dir / clip_files.relative_path(digest))
        except (HarkError, OSError):
            pass

    def set_texts(self, texts: Mapping[int, tuple[str, str]]) -> None:
        """Set {id: (text, normalized text)} as known transcripts; if the words change, alignments are deleted."""
        with self._writing("storing transcripts") as connection:
            for clip_id, (_, normalized) in texts.items():
                connection.execute(
                    "DELETE FROM alignment WHERE clip_id = (SELECT id FROM clip WHERE id = ? AND text_normalized <> ?)",
                    (clip_id, _plain(normalized)),
                )
            connection.executemany(
                "UPDATE clip SET text_original = ?, text_normalized = ?, text_known = 1 WHERE id = ?",
                [(_plain(text), _plain(normalized), clip_id) for clip_id, (text, normalized) in texts.items()],
            )
            connection.index({clip_id: _plain(normalized) for clip_id, (_, normalized) in texts.items()})

    def set_fact(self, ids: Collection[int], name: Literal["licence", "speaker"], value: str) -> None:
        """Set the licence or speaker of clips, and of the clips that were cut from them."""
        among = "IN (SELECT value FROM json_each(?))"
        with self._writing("changing clips") as connection:
            connection.execute(
                f"UPDATE clip SET {name} = ? WHERE id {among} OR parent_id {among}",
                [_plain(value), list(ids), list(ids)],
            )

    def set_state(self, ids: Collection[int], state: str) -> None:
        """Mark clips as "ready" or "rejected" (stored, but no longer used)."""
        with self._writing("marking clips") as connection:
            connection.executemany("UPDATE clip SET state = ? WHERE id = ?", [(state, clip_id) for clip_id in ids])

    def change_settings(self, ids: Collection[int], changes: Mapping[str, Any]) -> None:
        """Merge these settings into those of the clips; None removes a setting."""
        with self._writing("marking clips") as connection:
            query = "SELECT id, settings FROM clip WHERE id IN (SELECT value FROM json_each(?))"
            rows = connection.execute(query, [list(ids)]).fetchall()
            changed = [(clip_id, {**json.loads(settings), **changes}) for clip_id, settings in rows]
            connection.executemany(
                "UPDATE clip SET settings = ? WHERE id = ?",
                [
                    (_settings({name: value for name, value in settings.items() if value is not None}), clip_id)
                    for clip_id, settings in changed
                ],
            )

    def delete_clips(self, ids: Collection[int]) -> int:
        """Delete clips with their alignments, emissions and mined clips; return the number of deleted clips.

        Clips that a person trimmed remain. The rows are deleted first, in one transaction, then the files that no other
        row names; ``check`` removes files that a kill in the middle leaves.
        """
        # Mined clips too: their request ids contain the parent's id, which SQLite may reuse for another clip.
        cuts = "parent_id IN (SELECT value FROM json_each(?)) AND json_extract(settings, '$.trimmed') IS NULL"
        among = "IN (SELECT value FROM json_each(?))"
        with self._writing("deleting clips") as connection:
            query = f"SELECT id FROM clip WHERE id {among} UNION SELECT id FROM clip WHERE {cuts}"
            wanted = [[clip_id for (clip_id,) in connection.execute(query, [list(ids), list(ids)]).fetchall()]]
            clips = connection.execute(f"SELECT DISTINCT path FROM clip WHERE id {among}", wanted).fetchall()
            emissions = connection.execute(
                f"SELECT DISTINCT file FROM emission WHERE clip_id {among}", wanted
            ).fetchall()
            count = connection.execute(f"DELETE FROM clip WHERE id {among}", wanted).rowcount
        named = [(path, "SELECT 1 FROM clip WHERE path = ?") for (path,) in clips]
        named += [(file, "SELECT 1 FROM emission WHERE file = ?") for (file,) in emissions]
        for relative, query in named:
            self._remove_file_without_row(self.data_dir / relative, query)
        return int(count)

    # -- finding -----------------------------------------------------------------------------------------------

    def clips(self, ids: Collection[int]) -> list[Clip]:
        """Return the clips with these ids, in order of id. Unknown ids are ignored."""
        return self._select("id IN (SELECT value FROM json_each(?))", [list(ids)])

    def clips_with_texts(self, texts: Collection[str], language: str, where: ClipQuery | None = None) -> list[Clip]:
        """Return the clips whose entire normalized text is one of ``texts``, in order of id."""
        where = replace(where or ClipQuery(text_known=True), language=language)
        return self._select("text_normalized IN (SELECT value FROM json_each(?))", [_plain_list(texts)], where)

    def search(self, phrase: str, limit: int, where: ClipQuery | None = None) -> list[Clip]:
        """Return the clips whose normalized text contains ``phrase`` as whole words, in order of id.

        The phrase is plain text: quotes, ``*`` or ``NEAR`` in it have no meaning. Scripts without spaces between words
        are searched character by character.
        """
        condition, values = self._phrase_condition(phrase)
        return self._select(condition, values, where or ClipQuery(), limit) if condition else []

    def search_ids(self, phrase: str, where: ClipQuery | None = None) -> list[int]:
        """Return the ids of all clips that :meth:`search` would find, in order; cheap even for a hundred thousand."""
        condition, values = self._phrase_condition(phrase)
        if not condition:
            return []
        more, more_values = _condition(where or ClipQuery())
        return sorted(self._column(f"SELECT id FROM clip WHERE {condition} AND {more}", (*values, *more_values)))

    def page(
        self, filters: LibrarySearch, limit: int, before_id: int | None = None, after_id: int | None = None
    ) -> list[Clip]:
        """Return up to ``limit`` clips of a user's search, newest first: those just before an id, or just after one.

        It reads no more rows than it returns even if many match, so the last page is as fast as the first.
        """
        source, condition, values = self._filter_condition(filters)
        number = "clip_fts.rowid" if "clip_fts" in source else "clip.id"
        for sign, bound in (("<", before_id), (">", after_id)):
            if bound is not None:
                condition += f" AND {number} {sign} ?"
                values.append(bound)
        columns = ", ".join(f"clip.{name}" for name in _COLUMNS)
        upward = after_id is not None
        query = (
            f"SELECT {columns} FROM {source} WHERE {condition} ORDER BY {number} {'ASC' if upward else 'DESC'} LIMIT ?"
        )
        clips = [_clip(row) for row in self._rows(query, [*values, limit])]
        return clips[::-1] if upward else clips

    def count(self, filters: LibrarySearch, limit: int) -> int:
        """Count the clips of a user's search, at most ``limit``."""
        source, condition, values = self._filter_condition(filters)
        query = f"SELECT COUNT(*) FROM (SELECT 1 FROM {source} WHERE {condition} LIMIT ?) AS found"
        return int(self._rows(query, [*values, limit])[0][0])

    def engines_and_languages(self) -> tuple[list[str], list[str]]:
        pairs = self._rows("SELECT DISTINCT engine, language FROM clip")
        return sorted({engine for engine, _ in pairs}), sorted({language for _, language in pairs})

    def with_source(self, prefix: str) -> list[Clip]:
        """Return all clips, including rejected ones, with a source that begins ``prefix:``, in order of id."""
        first = source_id(prefix, "")
        return self._select("source >= ? AND source < ?", [first, first[:-1] + ";"])  # ';' is the character after ':'

    def cuts_of(self, ids: Collection[int]) -> list[Clip]:
        """Return all clips, including rejected ones, that were mined from these."""
        return self._select("parent_id IN (SELECT value FROM json_each(?))", [list(ids)])

    def iter_clips(self, where: ClipQuery | None = None) -> Iterator[Clip]:
        """Yield all clips that match ``where``, in order of id, in constant memory and without holding a lock."""
        after_id = 0
        while True:
            page = self._select("id > ?", [after_id], where or ClipQuery(), PAGE_ROWS)
            yield from page
            if len(page) < PAGE_ROWS:
                return
            after_id = page[-1].id

    def generated_by(self, run: str, limit: int) -> list[Clip]:
        """Return the newest clips, at most ``limit``, that a run generated ("run:bucket": for one bucket)."""
        # Request ids are "run:bucket:number"; a range query uses their index.
        newest = "SELECT id FROM clip WHERE request_id > ? AND request_id < ? ORDER BY id DESC LIMIT ?"
        condition = f"id IN (SELECT id FROM ({newest}) AS newest)"
        return self._select(condition, [f"{run}:", f"{run};", limit], ClipQuery())

    def request_ids_of(self, run: str) -> set[str]:
        """Return the request ids of all clips, including rejected ones, that a run of this name generated."""
        query = "SELECT request_id FROM clip WHERE request_id > ? AND request_id < ?"
        return self._column(query, [f"{run}:", f"{run};"])

    def clips_of_requests(self, ids: Collection[str]) -> dict[str, Clip]:
        """Return the ready clips of request ids, by request id."""
        clips = self._select("request_id IN (SELECT value FROM json_each(?))", [_plain_list(ids)], ClipQuery())
        return {clip.request_id or "": clip for clip in clips}

    def request_ids_present(self, ids: Collection[str]) -> set[str]:
        query = "SELECT request_id FROM clip WHERE request_id IN (SELECT value FROM json_each(?))"
        return self._column(query, [_plain_list(ids)])

    def of_sources(self, sources: Collection[str]) -> list[Clip]:
        """Return all clips, including rejected ones, of these sources."""
        return self._select("source IN (SELECT value FROM json_each(?))", [_plain_list(sources)])

    def of_digests(self, digests: Collection[str]) -> list[Clip]:
        """Return all clips, including rejected ones, whose samples have these digests."""
        return self._select("sha256 IN (SELECT value FROM json_each(?))", [_plain_list(digests)])

    def transcripts(self, language: str, limit: int, seed: int) -> list[str]:
        """Return up to ``limit`` distinct normalized transcripts of imported corpora, drawn by ``seed``.

        Transcripts of the portal's recordings are excluded: engines would synthesize them, users who share a detector
        could play these clips, and the clips would outlive a deleted recording. While the library does not change, a
        longer list begins with the shorter one.
        """
        draw = random.Random(seed)
        factor, offset, prime = draw.randrange(10**6, 10**9), draw.randrange(10**9), 2_147_483_647
        rows = self._rows(
            "SELECT text_normalized FROM clip WHERE language = ? AND text_known = 1 AND source NOT LIKE ? "
            "AND parent_id IS NULL AND state = 'ready' AND text_normalized <> '' GROUP BY text_normalized "
            "ORDER BY ((MIN(id) % ?) * ? + ?) % ?, text_normalized LIMIT ?",
            (language, f"{RECORDING_CORPUS}:%", prime, factor, offset, prime, limit),
        )
        return [text for (text,) in rows]

    def stats(self) -> LibraryStats:
        ((clips, seconds, files, unknown, rejected, slices),) = self._rows(
            "SELECT COUNT(*), COALESCE(SUM(duration_s), 0), COUNT(DISTINCT sha256), "
            "COUNT(*) FILTER (WHERE text_known = 0), COUNT(*) FILTER (WHERE state = 'rejected'), COUNT(parent_id) "
            "FROM clip"
        )
        ((texts,),) = self._rows(
            "SELECT COUNT(*) FROM (SELECT DISTINCT language, text_normalized FROM clip WHERE text_known = 1) AS known"
        )
        engines = self._rows("SELECT engine, COUNT(*), SUM(duration_s) FROM clip GROUP BY engine ORDER BY engine")
        languages = self._rows("SELECT language, COUNT(*) FROM clip GROUP BY language ORDER BY 1")
        licences = self._rows("SELECT licence, COUNT(*) FROM clip GROUP BY licence ORDER BY 1")
        return LibraryStats(
            clips=clips,
            hours=seconds / 3600,
            files=files,
            texts=texts,
            unknown_text=unknown,
            rejected=rejected,
            slices=slices,
            by_engine={name: count for name, count, _ in engines},
            by_language=dict(languages),
            by_licence=dict(licences),
            hours_by_engine={name: total / 3600 for name, _, total in engines},
        )

    # -- audio -------------------------------------------------------------------------------------------------

    def file(self, clip: Clip) -> Path:
        return (self.data_dir / clip.path).absolute()

    def read_audio(self, clip: Clip, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Read a clip's audio, or samples ``start`` to ``stop`` of it, as mono float32 [samples] at 16 kHz."""
        try:
            return clip_files.load(self.file(clip), start, stop)
        except (soundfile.LibsndfileError, OSError) as error:
            raise HarkError(
                worded("The audio of clip %(id)s cannot be read.", id=clip.id),
                f"{self.file(clip)}: {error}",
                worded("Run ./hark library check --repair: it removes clips whose audio is lost or damaged."),
            ) from error

    # -- alignment ---------------------------------------------------------------------------------------------

    def add_emissions(self, aligner: str, emissions: Iterable[tuple[int, np.ndarray]]) -> None:
        """Store an acoustic model's output for clips: (clip id, matrix [frames, labels]).

        It is stored as float16, or unchanged if it is uint8 (packed by the caller), and replaces an earlier emission.
        Clips with the same audio share one file. Raises ValueError if the aligner's name cannot be a file name, and
        HarkError if a clip id is unknown.
        """
        if not _NAME.fullmatch(aligner):
            raise ValueError(f"an aligner's name is made of letters, digits, '.', '_' and '-': {aligner!r}")
        rows: list[tuple[int, str, int, str]] = []
        with storing("storing emissions"):
            for clip_id, matrix in emissions:
                clips = self.clips([clip_id])
                if not clips:
                    raise _no_such_clip(clip_id)
                relative = f"{EMISSIONS_FOLDER}/{aligner}/{clips[0].sha256[:2]}/{clips[0].sha256}.npy"
                with atomic_path(self.data_dir / relative) as temporary:
                    np.save(temporary, np.asarray(matrix, dtype=np.uint8 if matrix.dtype == np.uint8 else np.float16))
                rows.append((clip_id, aligner, len(matrix), relative))
        with self._writing("storing emissions") as connection:
            connection.executemany(
                "INSERT INTO emission (clip_id, aligner, frames, file) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (clip_id, aligner) DO UPDATE SET frames = excluded.frames, file = excluded.file",
                rows,
            )

    def emission(self, clip_id: int, aligner: str) -> np.ndarray | None:
        """Return the stored emission [frames, labels], float16 or uint8; None if it or its file is missing."""
        rows = self._rows("SELECT file FROM emission WHERE clip_id = ? AND aligner = ?", (clip_id, aligner))
        if not rows:
            return None
        try:
            return np.asarray(np.load(self.data_dir / rows[0][0]))
        except (OSError, ValueError, EOFError):
            return None

    def with_emission(self, aligner: str, ids: Collection[int]) -> set[int]:
        return self._column(
            "SELECT clip_id FROM emission WHERE aligner = ? AND clip_id IN (SELECT value FROM json_each(?))",
            (aligner, list(ids)),
        )

    def set_alignments(self, aligner: str, alignments: Mapping[int, Sequence[AlignedUnit]]) -> None:
        """Replace the words and phones that this aligner found in clips: {clip id: units in order of time}."""
        with self._writing("storing alignments") as connection:
            for clip_id, units in alignments.items():
                connection.execute("DELETE FROM alignment WHERE clip_id = ? AND aligner = ?", (clip_id, aligner))
                for level in ("word", "phone"):
                    of_level = [unit for unit in units if unit.level == level]
                    connection.executemany(
                        "INSERT INTO alignment (clip_id, aligner, level, position, label, start_s, end_s, confidence) "
                        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                        [
                            (clip_id, aligner, level, position, _plain(u.label), u.start_s, u.end_s, u.confidence)
                            for position, u in enumerate(of_level)
                        ],
                    )

    def alignment(self, clip_id: int, aligner: str, level: str) -> list[AlignedUnit]:
        """Return the words or phones (``level``) of a clip in order; [] if the clip was not aligned."""
        query = (
            "SELECT level, label, start_s, end_s, confidence FROM alignment WHERE clip_id = ? AND aligner = ? "
            "AND level = ? ORDER BY position"
        )
        return [AlignedUnit(*row) for row in self._rows(query, (clip_id, aligner, level))]

    def with_alignment(self, aligner: str, ids: Collection[int]) -> set[int]:
        return self._column(
            "SELECT DISTINCT clip_id FROM alignment WHERE aligner = ? AND clip_id IN (SELECT value FROM json_each(?))",
            (aligner, list(ids)),
        )

    # -- export ------------------------------------------------------------------------------------------------

    def export(self, folder: Path, where: ClipQuery | None = None) -> ExportReport:
        """Copy clips into ``folder/audio`` and write ``folder/manifest.jsonl`` (NeMo's JSON lines) last.

        A line has audio_filepath (relative to the folder), duration [s], text (normalized; absent if unknown),
        text_original, speaker, language, engine, voice and licence. Existing files are not copied again.
        """
        folder = Path(folder)
        clips, seconds = 0, 0.0
        manifest = folder / "manifest.jsonl"
        try:
            (folder / "audio").mkdir(parents=True, exist_ok=True)
            with atomic_path(manifest) as temporary, temporary.open("w", encoding="utf-8") as lines:
                for clip in self.iter_clips(where):
                    target = folder / "audio" / f"{clip.sha256}.flac"
                    if not target.exists():
                        with atomic_path(target) as copy:
                            shutil.copyfile(self.file(clip), copy)
                    line = {"audio_filepath": f"audio/{target.name}", "duration": round(clip.duration_s, 4)}
                    if clip.text_known:
                        line |= {"text": clip.text_normalized, "text_original": clip.text_original}
                    line |= {"speaker": clip.speaker, "language": clip.language, "engine": clip.engine}
                    line |= {"voice": clip.voice, "licence": clip.licence}
                    lines.write(json.dumps(line, ensure_ascii=False) + "\n")
                    clips, seconds = clips + 1, seconds + clip.duration_s
        except FileNotFoundError as error:
            raise HarkError(
                worded("The export stopped: a clip's audio is missing."),
                worded("There is no %(filename)s.", filename=error.filename),
                worded("Run ./hark library check --repair, then export again."),
            ) from error
        except OSError as error:
            raise storage_error(error, "the export") from error
        return ExportReport(manifest, clips, seconds / 3600)

    # -- check and repair --------------------------------------------------------------------------------------

    def check(
        self, repair: bool = False, verify_audio: bool = True, left_over_after_s: float = LEFT_OVER_AFTER_S
    ) -> CheckReport:
        """Compare rows with files, and with ``repair`` repair what can be repaired.

        Kinds of problem (and their repair): "row without file" and "wrong audio" (the file is empty, not a clip or has
        another digest: row and file are removed; a clip with a request id is then made again), "file without row" and
        "temporary file" (removed), "emission without file" (row removed), "emission file without row" (removed),
        "dangling reference" (cleared), "full-text index" (rebuilt), "database" (SQLite's own integrity check; indices
        are rebuilt, other damage remains and requires a backup).

        Args:
            repair: repair the problems found.
            verify_audio: also decode every file and compare digests.
            left_over_after_s: younger files without a row are ignored; a writer may be about to add the row. Temporary
                files are always ignored for ten minutes.
        """
        left_over_before = time.time() - left_over_after_s
        problems = [*self._check_database(repair), *self._check_references(repair)]
        files = 0
        for prefix in range(256):
            folder_problems, count = self._check_clip_folder(f"{prefix:02x}", repair, verify_audio, left_over_before)
            problems += folder_problems
            files += count
        problems += self._check_emissions(repair, left_over_before)
        ((clips,),) = self._rows("SELECT COUNT(*) FROM clip")
        return CheckReport(int(clips), files, tuple(problems))

    def _check_database(self, repair: bool) -> list[Problem]:
        problems: list[Problem] = []
        for check in self._database.checks:
            with self._asking(CHECKING) as connection:
                lines = check.find(connection)
            left = lines
            if lines and repair:
                with self._writing(REPAIRING) as connection:
                    check.repair(connection)
                with self._asking(CHECKING) as connection:
                    left = check.find(connection)
            problems += [Problem(check.kind, line, not left) for line in lines]
        return problems

    def _check_references(self, repair: bool) -> list[Problem]:
        # The pragma identifies rows by rowid, which some of these tables lack, so each table is queried.
        dangling: list[str] = []
        for table in ("emission", "alignment"):
            query = f"SELECT DISTINCT clip_id FROM {table} WHERE clip_id NOT IN (SELECT id FROM clip)"
            rows = self._rows(query, doing=CHECKING)
            dangling += [f"{table} of clip {clip_id}, which is not there" for (clip_id,) in rows]
        orphans = "parent_id IS NOT NULL AND parent_id NOT IN (SELECT id FROM clip)"
        rows = self._rows(f"SELECT id, parent_id FROM clip WHERE {orphans}", doing=CHECKING)
        dangling += [f"clip {clip_id} was cut from clip {parent}, which is not there" for clip_id, parent in rows]
        if repair and dangling:
            with self._writing("clearing dangling references") as connection:
                for table in ("emission", "alignment"):
                    connection.execute(f"DELETE FROM {table} WHERE clip_id NOT IN (SELECT id FROM clip)")
                connection.execute(f"UPDATE clip SET parent_id = NULL WHERE {orphans}")
        return [Problem("dangling reference", what, repair) for what in dangling]

    def _check_clip_folder(
        self, prefix: str, repair: bool, verify_audio: bool, left_over_before: float
    ) -> tuple[list[Problem], int]:
        """Compare the rows and files of one digest prefix; return the problems and the number of files."""
        folder = self.data_dir / clip_files.CLIPS_FOLDER / prefix
        # Files are listed before rows: a row added since then has its file, and a file without its row is too young.
        files = _files_below(folder)
        query = "SELECT DISTINCT sha256, path FROM clip WHERE sha256 >= ? AND sha256 < ?"
        rows = self._rows(query, (prefix, prefix + "g"), CHECKING)  # 'g' sorts after every hexadecimal digit
        expected = {self.data_dir / path: digest for digest, path in rows}
        problems: list[Problem] = []
        for path, digest in expected.items():
            if path not in files and not path.is_file():
                repaired = repair and self._remove_clips_of(path, digest, only_if_missing=True)
                problems.append(Problem("row without file", str(path.relative_to(self.data_dir)), repaired))
        if verify_audio:
            existing = {path: digest for path, digest in expected.items() if path.is_file()}
            with ThreadPoolExecutor(usable_cores()) as pool:
                for (path, digest), on_disk in zip(existing.items(), pool.map(clip_files.digest_on_disk, existing)):
                    if on_disk != digest and path.is_file():
                        repaired = repair and self._remove_clips_of(path, digest, only_if_missing=False)
                        why = "no clip can be read from it" if on_disk is None else "its audio is different"
                        problems.append(Problem("wrong audio", f"{path.relative_to(self.data_dir)}: {why}", repaired))
        query = "SELECT 1 FROM clip WHERE path = ?"
        return [*problems, *self._check_left_over(files, expected, query, "", repair, left_over_before)], len(files)

    def _check_left_over(
        self,
        files: Mapping[Path, float],
        expected: Collection[Path],
        query: str,
        what: str,
        repair: bool,
        before: float,
    ) -> list[Problem]:
        """Report the files that no row names, except those too young to judge.

        Args:
            files: each with its time [seconds since the epoch].
            query: finds a row that names a file.
            what: prefix of the kind of problem.
            before: seconds since the epoch; younger files are not judged.
        """
        problems: list[Problem] = []
        for path, modified in files.items():
            if path in expected:
                continue
            temporary = path.name.startswith(".")  # made by atomic_path
            # A writer survives the loss of a finished file (it checks again), but not that of its temporary one.
            if modified > min(before, time.time() - LEFT_OVER_AFTER_S if temporary else math.inf):
                continue
            kind = "temporary file" if temporary else f"{what}file without row"
            repaired = repair and self._remove_file_without_row(path, query)
            problems.append(Problem(kind, str(path.relative_to(self.data_dir)), repaired))
        return problems

    def _remove_clips_of(self, path: Path, digest: str, only_if_missing: bool) -> bool:
        """Remove the rows of a digest and its file, after another check while the write lock is held."""
        with self._writing(REPAIRING) as connection:
            if not (only_if_missing and path.is_file()):
                connection.execute("DELETE FROM clip WHERE sha256 = ?", (digest,))
                _unlink(path)
        return True

    def _remove_file_without_row(self, path: Path, query: str) -> bool:
        with self._writing(REPAIRING) as connection:
            if connection.execute(query, (path.relative_to(self.data_dir).as_posix(),)).fetchone() is None:
                _unlink(path)
        return True

    def _check_emissions(self, repair: bool, left_over_before: float) -> list[Problem]:
        problems: list[Problem] = []
        files = _files_below(self.data_dir / EMISSIONS_FOLDER)
        rows = [file for (file,) in self._rows("SELECT DISTINCT file FROM emission", doing=CHECKING)]
        for relative in rows:
            if self.data_dir / relative not in files:
                if repair:
                    with self._writing(REPAIRING) as connection:
                        connection.execute("DELETE FROM emission WHERE file = ?", (relative,))
                problems.append(Problem("emission without file", relative, repair))
        expected = {self.data_dir / relative for relative in rows}
        query = "SELECT 1 FROM emission WHERE file = ?"
        return [*problems, *self._check_left_over(files, expected, query, "emission ", repair, left_over_before)]

    # -- the database ------------------------------------------------------------------------------------------

    def _select(
        self, condition: str, values: Sequence[Any], where: ClipQuery | None = None, limit: int | None = None
    ) -> list[Clip]:
        more, more_values = _condition(where or ClipQuery(state=None))
        query = f"SELECT {', '.join(_COLUMNS)} FROM clip WHERE {condition} AND {more} ORDER BY id"
        values = [*values, *more_values]
        if limit is not None:
            query, values = f"{query} LIMIT ?", [*values, limit]
        return [_clip(row) for row in self._rows(query, values)]

    def _column(self, query: str, values: Sequence[Any]) -> set[Any]:
        return {value for (value,) in self._rows(query, values)}

    def _filter_condition(self, filters: LibrarySearch) -> tuple[str, str, list[Any]]:
        """Return the tables to read, the SQL condition, and its values."""
        source = "clip"
        parts = ["TRUE"]
        values: list[Any] = []
        if filters.phrase.strip():
            if _UNSPACED.search(filters.phrase):
                condition, values = self._phrase_condition(filters.phrase)
            else:
                # The full-text index returns rows in order, so only one page of many matches is read. CROSS JOIN
                # prevents SQLite from swapping the tables.
                source = "clip_fts CROSS JOIN clip ON clip.id = clip_fts.rowid"
                condition, values = self._database.phrase(_plain(filters.phrase).strip())
            parts.append(condition)
        for column, value in (("engine", filters.engine), ("language", filters.language), ("state", filters.state)):
            if value:
                parts.append(f"+clip.{column} = ?")  # "+": reads in order of id; another index would need sorting
                values.append(_plain(value))
        if filters.voice.strip():
            parts.append("(instr(lower(clip.voice), lower(?)) > 0 OR instr(lower(clip.speaker), lower(?)) > 0)")
            values += [_plain(filters.voice.strip())] * 2
        if filters.origin in _ORIGIN_CONDITIONS:
            parts.append(_ORIGIN_CONDITIONS[filters.origin])
        return source, " AND ".join(parts), values

    def _phrase_condition(self, phrase: str) -> tuple[str, list[Any]]:
        """Return the SQL condition, and its values, for a phrase in a clip's text; "" for an empty phrase."""
        phrase = _plain(phrase).strip()
        if not phrase:
            return "", []
        if _UNSPACED.search(phrase):
            return r"text_normalized LIKE ? ESCAPE '\'", ["%" + re.sub(r"([\\%_])", r"\\\1", phrase) + "%"]
        condition, values = self._database.phrase(phrase)
        return f"id IN (SELECT rowid FROM clip_fts WHERE {condition})", values

    def _rows(self, query: str, values: Sequence[Any] = (), doing: str = "reading the clip library") -> list[Any]:
        with self._asking(doing) as connection:
            return connection.execute(query, values).fetchall()

    @contextmanager
    def _asking(self, doing: str) -> Iterator[Connection]:
        try:
            yield self._connection()
        except self._database.errors as error:
            raise self._database.explained(error, doing) from error

    @contextmanager
    def _writing(self, doing: str) -> Iterator[Connection]:
        with self._asking(doing) as connection:
            try:
                with connection.transaction():
                    yield connection
            except self._database.refused as error:
                # A bug in Hark, not an error of the user: the schema rejects an id or a value.
                raise ValueError(f"{doing}: {error}") from error

    def _connection(self) -> Connection:
        """Return this thread's connection; a forked child opens its own."""
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None or self._local.pid != os.getpid():
            connection = self._database.connect()
            self._local.connection = connection
            self._local.pid = os.getpid()
        return connection


def _clip(row: Sequence[Any]) -> Clip:
    values = dict(zip(_COLUMNS, row))
    values["settings"] = json.loads(values["settings"])
    values["text_known"] = bool(values["text_known"])
    return Clip(**values)


def _condition(where: ClipQuery) -> tuple[str, list[Any]]:
    parts: list[str] = ["TRUE"]
    values: list[Any] = []
    for condition, value in (
        ("language = ?", where.language),
        ("text_known = ?", None if where.text_known is None else int(where.text_known)),
        ("state = ?", where.state),
        ("(source IS NOT NULL) = ?", where.imported),
        ("(parent_id IS NOT NULL AND json_extract(settings, '$.trimmed') IS NULL) = ?", where.slices),
        ("EXISTS (SELECT 1 FROM alignment WHERE clip_id = clip.id AND aligner = ?)", where.aligned_by),
    ):
        if value is not None:
            parts.append(condition)
            values.append(value)
    return " AND ".join(parts), values


_ORIGIN_CONDITIONS = {
    "generated": "clip.source IS NULL AND clip.parent_id IS NULL",
    "imported": "clip.source IS NOT NULL AND NOT (clip.source >= 'recorded:' AND clip.source < 'recorded;')",
    "recorded": "clip.source >= 'recorded:' AND clip.source < 'recorded;'",
    "cut": "clip.parent_id IS NOT NULL",
}


def _plain(text: str) -> str:
    """Return text as the library stores it: without NUL, and with lone surrogates (undecodable file names) escaped."""
    return text.replace("\0", "").encode("utf-8", "backslashreplace").decode("utf-8")


def _plain_or_none(text: str | None) -> str | None:
    return None if text is None else _plain(text)


def _plain_list(texts: Collection[str]) -> list[str]:
    return [_plain(text) for text in texts]


def _settings(settings: Mapping[str, Any]) -> str:
    return as_servers_take_it(json.dumps(dict(settings), sort_keys=True))


def _no_such_clip(clip_id: int) -> HarkError:
    return HarkError(
        worded("There is no clip %(clip_id)s in the library.", clip_id=clip_id),
        worded("It was removed, perhaps by ./hark library check --repair in another window."),
        worded("Run the same command again."),
    )


def _unlink(path: Path) -> None:
    with storing(REPAIRING):
        path.unlink(missing_ok=True)


def _files_below(folder: Path) -> dict[Path, float]:
    """Return the files below a folder, in order, with their times [seconds since the epoch]."""
    return {path: _modified(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def _modified(path: Path) -> float:
    """Return a file's modification time [seconds since the epoch], or the current time if it no longer exists."""
    try:
        return path.stat().st_mtime
    except OSError:
        return time.time()
