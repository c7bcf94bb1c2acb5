"""The words and phones of clips with their times, and the output of acoustic models that they are found in."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from core.data_folder import atomic_path, storing
from core.errors import HarkError
from core.worded import worded
from db.records import AlignedUnit
from db.tables import Tables, plain

EMISSIONS_FOLDER = "emissions"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Alignments:
    """The emissions and alignments of a library's clips, by clip and aligner."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

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
                digests = self._tables.rows("SELECT sha256 FROM clip WHERE id = ?", (clip_id,))
                if not digests:
                    raise _no_such_clip(clip_id)
                ((digest,),) = digests
                relative = f"{EMISSIONS_FOLDER}/{aligner}/{digest[:2]}/{digest}.npy"
                with atomic_path(self._tables.data_dir / relative) as temporary:
                    np.save(temporary, np.asarray(matrix, dtype=np.uint8 if matrix.dtype == np.uint8 else np.float16))
                rows.append((clip_id, aligner, len(matrix), relative))
        with self._tables.writing("storing emissions") as connection:
            connection.executemany(
                "INSERT INTO emission (clip_id, aligner, frames, file) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (clip_id, aligner) DO UPDATE SET frames = excluded.frames, file = excluded.file",
                rows,
            )

    def emission(self, clip_id: int, aligner: str) -> np.ndarray | None:
        """Return the stored emission [frames, labels], float16 or uint8; None if it or its file is missing."""
        rows = self._tables.rows("SELECT file FROM emission WHERE clip_id = ? AND aligner = ?", (clip_id, aligner))
        if not rows:
            return None
        try:
            return np.asarray(np.load(self._tables.data_dir / rows[0][0]))
        except (OSError, ValueError, EOFError):
            return None

    def with_emission(self, aligner: str, ids: Collection[int]) -> set[int]:
        return self._tables.column(
            f"SELECT clip_id FROM emission WHERE aligner = ? AND clip_id {self._tables.database.among}",
            (aligner, list(ids)),
        )

    def replace(self, aligner: str, alignments: Mapping[int, Sequence[AlignedUnit]]) -> None:
        """Replace the words and phones that this aligner found in clips: {clip id: units in order of time}."""
        with self._tables.writing("storing alignments") as connection:
            for clip_id, units in alignments.items():
                connection.execute("DELETE FROM alignment WHERE clip_id = ? AND aligner = ?", (clip_id, aligner))
                for level in ("word", "phone"):
                    of_level = [unit for unit in units if unit.level == level]
                    connection.executemany(
                        "INSERT INTO alignment (clip_id, aligner, level, position, label, start_s, end_s, confidence) "
                        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                        [
                            (clip_id, aligner, level, position, plain(u.label), u.start_s, u.end_s, u.confidence)
                            for position, u in enumerate(of_level)
                        ],
                    )

    def units(self, clip_id: int, aligner: str, level: str) -> list[AlignedUnit]:
        """Return the words or phones (``level``) of a clip in order; [] if the clip was not aligned."""
        query = (
            "SELECT level, label, start_s, end_s, confidence FROM alignment WHERE clip_id = ? AND aligner = ? "
            "AND level = ? ORDER BY position"
        )
        return [AlignedUnit(*row) for row in self._tables.rows(query, (clip_id, aligner, level))]

    def aligned(self, aligner: str, ids: Collection[int]) -> set[int]:
        return self._tables.column(
            f"SELECT DISTINCT clip_id FROM alignment WHERE aligner = ? AND clip_id {self._tables.database.among}",
            (aligner, list(ids)),
        )


def _no_such_clip(clip_id: int) -> HarkError:
    return HarkError(
        worded("There is no clip %(clip_id)s in the library.", clip_id=clip_id),
        worded("It was removed, perhaps by ./hark library check --repair in another window."),
        worded("Run the same command again."),
    )
