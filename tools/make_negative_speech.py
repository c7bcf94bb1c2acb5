"""``python -m tools.make_negative_speech``: makes the real speech that ships as sound, or that of other corpora."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from core.errors import HarkError
from pipeline.acoustic.data import corpus_utterances
from pipeline.corpora.licences import licence_of
from pipeline.training.negative_speech import BITRATE, NEGATIVE_SPEECH, chosen_utterances, write_negative_speech


def main(arguments: Sequence[str] | None = None) -> int:
    """Make negative speech; prints what it says about itself as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tools.make_negative_speech", description=__doc__)
    parser.add_argument("corpora", nargs="+", type=Path, metavar="CORPUS", help="each gets an equal share of the hours")
    parser.add_argument("--hours", type=float, default=3.5)
    parser.add_argument(
        "--licence", action="append", default=[], metavar="CORPUS=NAME", help="of a corpus that does not name its own"
    )
    parser.add_argument("--seed", type=int, choices=range(1000), default=0, metavar="N")
    parser.add_argument("--out", type=Path, default=NEGATIVE_SPEECH, metavar="FILE", help="default: the one that ships")
    options = parser.parse_args(arguments)
    try:
        folders = {folder.resolve().name: folder.resolve() for folder in options.corpora}
        corpora = {name: corpus_utterances(folder) for name, folder in folders.items()}
        named = dict(given.split("=", 1) for given in options.licence)
        about = {
            "version": 1,
            "corpora": sorted(corpora),
            "licences": {name: named.get(name) or licence_of(corpus)[0] for name, corpus in folders.items()},
            "changes": f"Selected, joined, set to one level, encoded as Opus at {BITRATE} bit/s.",
        }
        chosen = chosen_utterances(corpora, options.hours, options.seed)
        hours = write_negative_speech(chosen, options.out, about)
    except (HarkError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    json.dump({**about, "hours": hours, "bytes": options.out.stat().st_size}, sys.stdout, ensure_ascii=False, indent=1)
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
