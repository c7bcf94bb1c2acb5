"""The clip library. Only this folder holds SQL statements that read or change clips.

The rows are in an SQLite file (``sqlite.py``), or on a server (``postgresql.py``) if DATABASE_URL names one and the
library has no SQLite file.

A clip's file is written first (synced, then named), then its row; a batch of rows shares one transaction. After a kill
in the middle, there may be files without rows; ``checking.py`` finds and removes them. A writer holds the library's
write lock while checking that the file exists, so a writer and a repairing check never lose each other's clips.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import soundfile

from core.audio_file import SAMPLE_RATE
from core.data_folder import storage_error
from core.errors import HarkError
from core.settings.database_url import as_servers_take_it
from core.worded import worded
from db import clip_files, conditions
from db.alignments import Alignments
from db.choice import is_on_server, on_server
from db.database import DATABASE_NAME
from db.records import RECORDING_CORPUS, Clip, ClipQuery, LibrarySearch, LibraryStats, NewClip
from db.tables import Tables, plain, plain_list, plain_or_none, unlink

if TYPE_CHECKING:
    from db.choice import Connection

BATCH_CLIPS = 256  # maximum rows per transaction
BATCH_SAMPLES = 600 * SAMPLE_RATE  # maximum samples per transaction, so that memory stays constant
BATCH_SECONDS = 5.0  # maximum seconds since a batch's first clip, so that a kill loses little slow synthesis
WRITE_THREADS = 8  # several, because they mostly wait for the disk
PAGE_ROWS = 1000  # rows per query of iterators

_COLUMNS = [field.name for field in fields(Clip)]


def source_id(corpus: str, relative: str) -> str:
    """Return the ``source`` of an imported clip: the corpus's name (without a colon), a colon, and its path there."""
    if ":" in corpus or not corpus:
        raise ValueError(f"a corpus needs a name without a colon, not {corpus!r}")
    return f"{plain(corpus)}:{plain(relative)}"


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
        self.tables = Tables(data_dir)
        self.alignments = Alignments(self.tables)
        self.data_dir = self.tables.data_dir

    def close(self) -> None:
        """Close this thread's connection. The next use opens a new one."""
        self.tables.close()

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
            if plain_or_none(clip.request_id) not in known_requests and plain_or_none(clip.source) not in known_sources
        }
        written: list[str] = []

        def write(digest: str) -> None:
            if clip_files.store(self.data_dir, digest, files[digest]):
                written.append(digest)

        try:
            with ThreadPoolExecutor(WRITE_THREADS) as pool:
                list(pool.map(write, files))
            with self.tables.writing("storing clips") as connection:
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
            (plain_or_none(clip.request_id), plain_or_none(clip.source), digest if once else None),
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
        clip_id = connection.insert({name: plain(one) if isinstance(one, str) else one for name, one in row.items()})
        texts[clip_id] = plain(clip.text_normalized)
        return clip_id

    def _forget_files(self, digests: Collection[str]) -> None:
        """Remove files of a failed batch that no row names; ``check`` finds those that cannot be removed."""
        try:
            with self.tables.writing("cleaning up") as connection:
                for digest in digests:
                    if connection.execute("SELECT 1 FROM clip WHERE sha256 = ?", (digest,)).fetchone() is None:
                        unlink(self.data_dir / clip_files.relative_path(digest))
        except (HarkError, OSError):
            pass

    def set_texts(self, texts: Mapping[int, tuple[str, str]]) -> None:
        """Set {id: (text, normalized text)} as known transcripts; if the words change, alignments are deleted."""
        with self.tables.writing("storing transcripts") as connection:
            for clip_id, (_, normalized) in texts.items():
                connection.execute(
                    "DELETE FROM alignment WHERE clip_id = (SELECT id FROM clip WHERE id = ? AND text_normalized <> ?)",
                    (clip_id, plain(normalized)),
                )
            connection.executemany(
                "UPDATE clip SET text_original = ?, text_normalized = ?, text_known = 1 WHERE id = ?",
                [(plain(text), plain(normalized), clip_id) for clip_id, (text, normalized) in texts.items()],
            )
            connection.index({clip_id: plain(normalized) for clip_id, (_, normalized) in texts.items()})

    def set_fact(self, ids: Collection[int], name: Literal["licence", "speaker"], value: str) -> None:
        """Set the licence or speaker of clips, and of the clips that were cut from them."""
        among = self.tables.database.among
        with self.tables.writing("changing clips") as connection:
            connection.execute(
                f"UPDATE clip SET {name} = ? WHERE id {among} OR parent_id {among}",
                [plain(value), list(ids), list(ids)],
            )

    def set_state(self, ids: Collection[int], state: str) -> None:
        """Mark clips as "ready" or "rejected" (stored, but no longer used)."""
        with self.tables.writing("marking clips") as connection:
            connection.executemany("UPDATE clip SET state = ? WHERE id = ?", [(state, clip_id) for clip_id in ids])

    def change_settings(self, ids: Collection[int], changes: Mapping[str, Any]) -> None:
        """Merge these settings into those of the clips; None removes a setting."""
        with self.tables.writing("marking clips") as connection:
            query = f"SELECT id, settings FROM clip WHERE id {self.tables.database.among}"
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
        among = self.tables.database.among
        # Mined clips too: their request ids contain the parent's id, which SQLite may reuse for another clip.
        cuts = f"parent_id {among} AND {self.tables.database.trimmed} IS NULL"
        with self.tables.writing("deleting clips") as connection:
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
            self.tables.remove_file_without_row(self.data_dir / relative, query)
        return int(count)

    # -- finding -----------------------------------------------------------------------------------------------

    def clips(self, ids: Collection[int]) -> list[Clip]:
        """Return the clips with these ids, in order of id. Unknown ids are ignored."""
        return self._select(f"id {self.tables.database.among}", [list(ids)])

    def clips_with_texts(self, texts: Collection[str], language: str, where: ClipQuery | None = None) -> list[Clip]:
        """Return the clips whose entire normalized text is one of ``texts``, in order of id."""
        where = replace(where or ClipQuery(text_known=True), language=language)
        return self._select(f"text_normalized {self.tables.database.among}", [plain_list(texts)], where)

    def search(self, phrase: str, limit: int, where: ClipQuery | None = None) -> list[Clip]:
        """Return the clips whose normalized text contains ``phrase`` as whole words, in order of id.

        The phrase is plain text: quotes, ``*`` or ``NEAR`` in it have no meaning. Scripts without spaces between words
        are searched character by character.
        """
        condition, values = conditions.of_phrase(phrase, self.tables.database)
        return self._select(condition, values, where or ClipQuery(), limit) if condition else []

    def search_ids(self, phrase: str, where: ClipQuery | None = None) -> list[int]:
        """Return the ids of all clips that :meth:`search` would find, in order; cheap even for a hundred thousand."""
        condition, values = conditions.of_phrase(phrase, self.tables.database)
        if not condition:
            return []
        more, more_values = conditions.of_query(where or ClipQuery(), self.tables.database)
        return sorted(self.tables.column(f"SELECT id FROM clip WHERE {condition} AND {more}", (*values, *more_values)))

    def page(
        self, filters: LibrarySearch, limit: int, before_id: int | None = None, after_id: int | None = None
    ) -> list[Clip]:
        """Return up to ``limit`` clips of a user's search, newest first: those just before an id, or just after one.

        It reads no more rows than it returns even if many match, so the last page is as fast as the first.
        """
        source, condition, values = conditions.of_search(filters, self.tables.database)
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
        clips = [_clip(row) for row in self.tables.rows(query, [*values, limit])]
        return clips[::-1] if upward else clips

    def count(self, filters: LibrarySearch, limit: int) -> int:
        """Count the clips of a user's search, at most ``limit``."""
        source, condition, values = conditions.of_search(filters, self.tables.database)
        query = f"SELECT COUNT(*) FROM (SELECT 1 FROM {source} WHERE {condition} LIMIT ?) AS found"
        return int(self.tables.rows(query, [*values, limit])[0][0])

    def engines_and_languages(self) -> tuple[list[str], list[str]]:
        pairs = self.tables.rows("SELECT DISTINCT engine, language FROM clip")
        return sorted({engine for engine, _ in pairs}), sorted({language for _, language in pairs})

    def with_source(self, prefix: str) -> list[Clip]:
        """Return all clips, including rejected ones, with a source that begins ``prefix:``, in order of id."""
        first = source_id(prefix, "")
        return self._select("source >= ? AND source < ?", [first, first[:-1] + ";"])  # ';' is the character after ':'

    def cuts_of(self, ids: Collection[int]) -> list[Clip]:
        """Return all clips, including rejected ones, that were mined from these."""
        return self._select(f"parent_id {self.tables.database.among}", [list(ids)])

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
        return self.tables.column(query, [f"{run}:", f"{run};"])

    def clips_of_requests(self, ids: Collection[str]) -> dict[str, Clip]:
        """Return the ready clips of request ids, by request id."""
        clips = self._select(f"request_id {self.tables.database.among}", [plain_list(ids)], ClipQuery())
        return {clip.request_id or "": clip for clip in clips}

    def request_ids_present(self, ids: Collection[str]) -> set[str]:
        query = f"SELECT request_id FROM clip WHERE request_id {self.tables.database.among}"
        return self.tables.column(query, [plain_list(ids)])

    def of_sources(self, sources: Collection[str]) -> list[Clip]:
        """Return all clips, including rejected ones, of these sources."""
        return self._select(f"source {self.tables.database.among}", [plain_list(sources)])

    def of_digests(self, digests: Collection[str]) -> list[Clip]:
        """Return all clips, including rejected ones, whose samples have these digests."""
        return self._select(f"sha256 {self.tables.database.among}", [plain_list(digests)])

    def transcripts(self, language: str, limit: int, seed: int) -> list[str]:
        """Return up to ``limit`` distinct normalized transcripts of imported corpora, drawn by ``seed``.

        Transcripts of the portal's recordings are excluded: engines would synthesize them, users who share a detector
        could play these clips, and the clips would outlive a deleted recording. While the library does not change, a
        longer list begins with the shorter one.
        """
        draw = random.Random(seed)
        factor, offset, prime = draw.randrange(10**6, 10**9), draw.randrange(10**9), 2_147_483_647
        rows = self.tables.rows(
            "SELECT text_normalized FROM clip WHERE language = ? AND text_known = 1 AND source NOT LIKE ? "
            "AND parent_id IS NULL AND state = 'ready' AND text_normalized <> '' GROUP BY text_normalized "
            "ORDER BY ((MIN(id) % ?) * ? + ?) % ?, text_normalized LIMIT ?",
            (language, f"{RECORDING_CORPUS}:%", prime, factor, offset, prime, limit),
        )
        return [text for (text,) in rows]

    def stats(self) -> LibraryStats:
        ((clips, seconds, files, unknown, rejected, slices),) = self.tables.rows(
            "SELECT COUNT(*), COALESCE(SUM(duration_s), 0), COUNT(DISTINCT sha256), "
            "COUNT(*) FILTER (WHERE text_known = 0), COUNT(*) FILTER (WHERE state = 'rejected'), COUNT(parent_id) "
            "FROM clip"
        )
        ((texts,),) = self.tables.rows(
            "SELECT COUNT(*) FROM (SELECT DISTINCT language, text_normalized FROM clip WHERE text_known = 1) AS known"
        )
        engines = self.tables.rows("SELECT engine, COUNT(*), SUM(duration_s) FROM clip GROUP BY engine ORDER BY engine")
        languages = self.tables.rows("SELECT language, COUNT(*) FROM clip GROUP BY language ORDER BY 1")
        licences = self.tables.rows("SELECT licence, COUNT(*) FROM clip GROUP BY licence ORDER BY 1")
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

    def _select(
        self, condition: str, values: Sequence[Any], where: ClipQuery | None = None, limit: int | None = None
    ) -> list[Clip]:
        more, more_values = conditions.of_query(where or ClipQuery(state=None), self.tables.database)
        query = f"SELECT {', '.join(_COLUMNS)} FROM clip WHERE {condition} AND {more} ORDER BY id"
        values = [*values, *more_values]
        if limit is not None:
            query, values = f"{query} LIMIT ?", [*values, limit]
        return [_clip(row) for row in self.tables.rows(query, values)]


def _clip(row: Sequence[Any]) -> Clip:
    values = dict(zip(_COLUMNS, row))
    values["settings"] = json.loads(values["settings"])
    values["text_known"] = bool(values["text_known"])
    return Clip(**values)


def _settings(settings: Mapping[str, Any]) -> str:
    return as_servers_take_it(json.dumps(dict(settings), sort_keys=True))
