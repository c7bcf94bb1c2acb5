"""The licence of a corpus, read from its own files."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.corpora.layouts.utterance import is_file_of

LICENCE_FILES = re.compile(r"(source|licen[cs]e|copying|readme)[^/]*(\.txt|\.md|)$", re.IGNORECASE)
LICENCES: tuple[tuple[str, str], ...] = (
    (r"\bCC[- ]?0\b|creativecommons\.org/publicdomain/zero", "CC0-1.0"),
    (r"\bCC[- ]BY[- ]NC[- ]SA\b|licenses/by-nc-sa/|attribution[- ]noncommercial[- ]sharealike", "CC-BY-NC-SA"),
    (r"\bCC[- ]BY[- ]NC[- ]ND\b|licenses/by-nc-nd/|attribution[- ]noncommercial[- ]noderiv", "CC-BY-NC-ND"),
    (
        r"\bCC[- ]BY[- ]NC\b(?![- ](?:SA|ND))|licenses/by-nc/|attribution[- ]noncommercial\b(?![- ](?:share|no))",
        "CC-BY-NC",
    ),
    (r"\bCC[- ]BY[- ]ND\b|licenses/by-nd/|attribution[- ]noderiv", "CC-BY-ND"),
    (r"\bCC[- ]BY[- ]SA\b|licenses/by-sa/|attribution[- ]sharealike", "CC-BY-SA"),
    (r"\bCC[- ]BY\b(?![- ](?:SA|NC|ND))|licenses/by/|commons attribution\b(?![- ](?:non|share|no))", "CC-BY"),
    (r"\bapache[- ](?:license,? )?(?:version )?2(?:\.0)?\b", "Apache-2.0"),
    (r"\bMIT\b(?: licen[cs]e)?", "MIT"),
    (r"\b(?:GNU )?GPL\b|GNU general public licen[cs]e", "GPL"),
    (r"\bpublic[- ]domain\b", "public domain"),
    # Matches the wording of CMU ARCTIC, Festvox and others.
    (r"\bfree licen[cs]e\b|granted, free of charge, to use and distribute", "free (see the corpus)"),
)
UNKNOWN_LICENCE = "unknown"


def licence_of(folder: Path) -> tuple[str, str]:
    """Return the licence in a corpus's own files, and the file's name; ("unknown", "") if none names one.

    Several licences in a file are joined by " AND ", because all of them apply to a clip.
    """
    order = {"source": 0, "licen": 1, "copyi": 2, "readm": 3}
    named = (path for path in folder.iterdir() if LICENCE_FILES.fullmatch(path.name))
    files = [path for path in named if is_file_of(folder, path)]
    for path in sorted(files, key=lambda path: (order.get(path.name.lower()[:5], 0), path.name)):
        with path.open(encoding="utf-8", errors="replace") as file:
            text = " ".join(file.read(100_000).split())
        names = []
        for pattern, name in LICENCES:
            # "MIT" is also a German word and a university; in other names, case does not matter.
            if found := re.search(pattern, text, 0 if name == "MIT" else re.IGNORECASE):
                version = re.match(r"\D{0,30}?(\d\.\d)\b", text[found.end() :]) if name.startswith("CC-") else None
                names.append(f"{name}-{version[1]}" if version else name)
        if names:
            return " AND ".join(names), path.name
    return UNKNOWN_LICENCE, ""
