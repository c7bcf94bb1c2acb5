"""``python -m tools.make_negative_set``: makes the negative set of large detectors, or one of other speech."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from core.errors import HarkError
from core.events import silent_reporter
from model.asr.packed import Utterance
from model.examples import SoundSources
from model.phones import outputs_of
from phrase_augmentation.keyphrase import Keyphrase
from pipeline.acoustic.data import corpus_utterances
from pipeline.corpora.licences import licence_of
from pipeline.training.config import NEGATIVE_SET
from pipeline.training.negative_set import build_negative_set, seconds_of

WINDOW_S = 1.2  # of a detector; what is stored does not depend on it, but for the silence before a piece


def negative_utterances(training: Sequence[Path], held_out: Sequence[Path], hours: float, seed: int) -> list[Utterance]:
    """The speech of a negative set: for training at most ``hours`` of the backbone's own corpora; for thresholds and
    tests people that it was not trained on, half for each, by the speaker's name.

    Raises:
        HarkError: a folder that holds no corpus.
    """
    learned = [replace(u, split="train") for folder in training for u in _utterances(folder)]
    drawn: list[Utterance] = []
    left_s = hours * 3600
    for index in np.random.default_rng(seed).permutation(len(learned)):
        if left_s <= 0:
            break
        drawn.append(learned[index])
        left_s -= seconds_of(Path(learned[index].path))
    unheard = [u for folder in held_out for u in _utterances(folder)]
    return drawn + [replace(u, split=_half(u.speaker)) for u in unheard]


def _utterances(folder: Path) -> list[Utterance]:
    return [u for u in corpus_utterances(folder.resolve()) if _is_sound(Path(u.path))]


def _is_sound(path: Path) -> bool:
    try:
        return seconds_of(path) > 0
    except (soundfile.LibsndfileError, OSError):
        return False


def _half(speaker: str) -> str:
    return ("validation", "test")[hashlib.sha256(f"negatives {speaker}".encode()).digest()[0] % 2]


def make_negative_set(
    training: Sequence[Path],
    held_out: Sequence[Path],
    path: Path,
    noise: str = "",
    hours: float = float("inf"),
    seed: int = 0,
) -> dict[str, Any]:
    """Write a negative set for large detectors; returns what it says about itself.

    Raises:
        HarkError: a folder that holds no corpus, or an encoder that is not installed.
    """
    from model.encoder_detector import EncoderDetector
    from model.front_end import EncoderFrontEnd

    utterances = negative_utterances(training, held_out, hours, seed)
    if not utterances:
        raise HarkError(
            "There is nothing to make a negative set of.", "No recording can be read.", "Name other corpora."
        )
    said = outputs_of(Keyphrase("computer"))  # any phrase: what is stored does not depend on it
    detector = EncoderDetector.of_phrase(said, WINDOW_S)
    about = {
        "backbone": detector.front_end_id,
        "version": 1,
        "training_corpora": [folder.resolve().name for folder in training],
        "held_out_corpora": [folder.resolve().name for folder in held_out],
        "licences": {folder.resolve().name: licence_of(folder)[0] for folder in (*training, *held_out)},
    }
    sources = SoundSources(noise, rooms_seed=seed)
    with tempfile.TemporaryDirectory(prefix="hark-negatives-") as folder:
        front_end = detector.front_end(Path(folder))
        assert isinstance(front_end, EncoderFrontEnd)
        front_end = replace(front_end, states=True)
        given = build_negative_set(utterances, Path("/"), sources, front_end, path, seed, silent_reporter(), about)
    return {**about, "hours": given}


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a negative set; prints what it says about itself as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tools.make_negative_set", description=__doc__)
    parser.add_argument("training", nargs="+", type=Path, metavar="CORPUS", help="what the backbone has learned from")
    parser.add_argument(
        "--held-out", nargs="+", type=Path, default=[], metavar="CORPUS", help="people it has not heard"
    )
    parser.add_argument("--noise", default="", metavar="FOLDER", help="recordings of noise")
    parser.add_argument("--hours", type=float, default=float("inf"), help="for training, at most")
    parser.add_argument("--seed", type=int, choices=range(1000), default=0, metavar="N")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: the one that ships")
    options = parser.parse_args(arguments)
    out = options.out or NEGATIVE_SET
    try:
        about = make_negative_set(options.training, options.held_out, out, options.noise, options.hours, options.seed)
    except (HarkError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    json.dump({**about, "bytes": out.stat().st_size}, sys.stdout, ensure_ascii=False, indent=1)
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
