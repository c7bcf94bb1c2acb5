"""What a bundle says about the speech it was trained on, held against the recordings it is measured on."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model.runtime.detector import Bundle, BundleError


def folded(name: str) -> str:
    """A name without case, spaces and signs, to be compared."""
    return re.sub(r"[\W_]+", "", name.lower())


def bundle_report(bundle: Bundle) -> Mapping[str, Any]:
    """The bundle's ``report.json``; empty where it has none that can be read."""
    try:
        report = json.loads(bundle.read("report.json"))
    except (BundleError, ValueError):
        return {}
    return report if isinstance(report, dict) else {}


def heard_in_training(bundle: Bundle, phrase: str, tested: Sequence[str]) -> dict[str, Any]:
    """Which of the recordings that a bundle is measured on it says it was trained on.

    Read are ``training_corpora`` (a list of names or paths of corpora) of the manifest, the report and a ``trunk``
    in either, and LICENSES.txt.

    Args:
        bundle: to be asked.
        phrase: its phrase, whose recordings lie in ``keyphrases/<phrase>``.
        tested: paths of the corpora and files, such as ``speech/librispeech-test-other``.

    Returns:
        ``{"corpora": [...], "known": bool}``; not known: real speech or a trunk went in, and nothing tells which.
    """
    report = bundle_report(bundle)
    told: list[Mapping[str, Any]] = [bundle.manifest, report]
    trunks = [place["trunk"] for place in told if place.get("trunk")]
    told += [trunk for trunk in trunks if isinstance(trunk, dict)]
    named = [str(name) for place in told for name in place.get("training_corpora") or ()]
    try:
        licences = [folded(line) for line in bundle.read("LICENSES.txt").decode("utf-8", "replace").splitlines()]
    except BundleError:
        licences = []
    heard = [
        place
        for place in tested
        if any(folded(Path(place).stem) in line for line in licences) or any(_same(name, place) for name in named)
    ]
    heard += sorted({name for name in named if _holds_keyphrase(name, phrase)})
    real = any(row.get("engine") == "corpus" and row.get("split") == "train" for row in report.get("clips") or ())
    return {"corpora": heard, "known": bool(named) or not (real or trunks)}


def _same(named: str, tested: str) -> bool:
    """True where one path lies in the other, or ``named`` is the last part of it alone."""
    wanted, given = f"/{tested.lower()}/", f"/{named.lower().strip('/')}/"
    return wanted in given or wanted.startswith(given) or wanted.endswith(given)


def _holds_keyphrase(named: str, phrase: str) -> bool:
    parts = [part.lower() for part in Path(named).parts]
    if "keyphrases" not in parts:
        return False
    below = parts[parts.index("keyphrases") + 1 :]
    return not below or folded(below[0]) == folded(phrase)
