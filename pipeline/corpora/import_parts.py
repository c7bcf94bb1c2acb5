"""An import in parts of a bounded size, for any number of workers: a corpus is listed once, each part takes some lines.

A part that is done again doubles nothing, as an import does not.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from core.data_folder import atomic_path, storing
from core.errors import HarkError
from core.events import Reporter
from core.settings_file import positive_number
from core.worded import worded
from db.db_api import Library
from pipeline.corpora.importing import (
    ImportReport,
    import_utterances,
    reading,
    report_of,
    utterances_of,
)
from pipeline.corpora.layouts.utterance import Utterance
from pipeline.corpora.listing import listed_corpus

PART = 500  # utterances, each of a minute at most, unless HARK_IMPORT_PART says another number
SUMS = ("added", "already_there", "hours", "transcribed", "unknown_text")  # of a report


def listed(
    folder: Path, listing: Path, language: str, reporter: Reporter, licence: str | None = None
) -> list[dict[str, Any]]:
    """Write the list of a corpus's utterances; the specs of the parts, as :func:`import_part` takes them.

    Raises:
        HarkError: no such folder, no corpus in it, or the list cannot be written.
    """
    folder = folder.resolve()
    corpus = listed_corpus(folder, own=False)
    report = report_of(folder, corpus, licence, reporter)
    common = {"corpus": str(folder), "listing": str(listing), "language": language, "report": asdict(report)}
    parts: list[dict[str, Any]] = []
    utterances = utterances_of(folder, corpus, own=False, lengths={})
    size = math.ceil(positive_number("HARK_IMPORT_PART", PART))

    def following() -> list[tuple[str, Utterance]]:
        with reading(folder):
            return list(islice(utterances, size))

    with storing("listing the corpus"):
        listing.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(listing) as temporary, temporary.open("wb") as lines:
            while part := following():
                parts.append({**common, "start": lines.tell(), "count": len(part)})
                for source, utterance in part:
                    row = [source, {**asdict(utterance), "audio": str(utterance.audio)}]
                    lines.write(json.dumps(row).encode() + b"\n")
    return parts or [{**common, "start": 0, "count": 0}]


def import_part(spec: Mapping[str, Any], library: Library, reporter: Reporter) -> ImportReport:
    """Import a part of a corpus.

    Raises:
        HarkError: the corpus or its list is gone, or the library cannot be written.
    """
    folder, report = Path(spec["corpus"]), ImportReport(**spec["report"])
    with reading(folder):
        utterances = _listed_again(Path(spec["listing"]), spec["start"], spec["count"])
        import_utterances(utterances, library, spec["language"], report, reporter, total=spec["count"])
    return report


def _listed_again(listing: Path, start: int, count: int) -> Iterator[tuple[str, Utterance]]:
    try:
        lines = listing.open("rb")
    except FileNotFoundError as error:
        raise HarkError(
            worded("The list of this import is gone."),
            worded("It is removed when an import has ended."),
            worded("Import the corpus again."),
        ) from error
    with lines:
        lines.seek(start)
        for line in islice(lines, count):
            source, values = json.loads(line)
            yield source, Utterance(**{**values, "audio": Path(values["audio"])})


def joined(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The report of an import, as JSON has it, out of those of its parts."""
    skipped: Counter[str] = Counter()
    for report in reports:
        skipped.update(report["skipped"])
    sums = {name: sum(report[name] for report in reports) for name in SUMS}
    return {**reports[0], **sums, "skipped": dict(sorted(skipped.items()))}
