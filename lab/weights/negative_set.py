"""``python -m lab.weights.negative_set``: makes the negative set of large detectors, or one from other speech."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from core.data_folder import atomic_path
from core.errors import HarkError
from core.events import Progress, Reporter, silent_reporter
from db.records import BANK
from model.asr.packed import Utterance
from model.examples import ExampleSpec, SoundSources, build_examples
from model.feature_rows import STREAM_S, stream_row
from model.features import HOP, WINDOW
from model.front_end import FrontEnd
from model.large.encoder_backbone import STATE_FRAMES, EncoderFrontEnd
from model.phones import outputs_of
from model.product_quantization import ProductQuantizer
from phrase_augmentation.keyphrase import Keyphrase
from pipeline.asr.data import corpus_utterances
from pipeline.corpora.licences import licence_of
from pipeline.training.negatives.negative_set import FRAME_S, NEGATIVE_SET

WINDOW_S = 1.2  # seconds of a detector's window; affects only the silence before a piece in the stored data
CODE_BYTES = 24  # bytes per state
FITTED_STATES = 60_000
MIN_LEVEL = 8  # minimum, of 255: smaller square roots of probabilities become 0, which keeps the set small


def negative_utterances(training: Sequence[Path], held_out: Sequence[Path], hours: float, seed: int) -> list[Utterance]:
    """Choose the speech of a negative set.

    Training gets at most ``hours`` of ``training``, the corpora that the backbone was trained on. Thresholds and tests
    each get half of the speakers in ``held_out``, who must be unknown to the backbone; a speaker's name decides which.

    Raises:
        HarkError: a folder has no corpus.
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
    """Write a negative set for large detectors; return its description.

    Raises:
        HarkError: a folder has no corpus, or the encoder is not installed.
    """
    from model.large.encoder_detector import EncoderDetector

    utterances = negative_utterances(training, held_out, hours, seed)
    if not utterances:
        raise HarkError(
            "The negative set cannot be made.", "No recording in these corpora can be read.", "Name other corpora."
        )
    outputs = outputs_of(Keyphrase("computer"))  # any phrase: the stored data does not depend on it
    detector = EncoderDetector.of_phrase(outputs, WINDOW_S)
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


def build_negative_set(
    utterances: Sequence[Utterance],
    root: Path,
    sources: SoundSources,
    front_end: FrontEnd,
    path: Path,
    seed: int,
    reporter: Reporter,
    about: dict[str, Any],
) -> dict[str, float]:
    """Write a negative set of the utterances; return hours by split.

    Training pieces are augmented with rooms and noise, as examples are. Half of the other pieces are, too.

    Args:
        utterances: their ``split`` is their use; ``path`` is relative to ``root``.
        front_end: the front end of a backbone, or of an encoder for a negative set that stores the encoder's states.
    """
    stored = front_end.stored
    needed = (stored.lead + stored.step * (stored.window - 1)) * HOP + WINDOW
    rng = np.random.default_rng(seed)
    specs: list[ExampleSpec] = []
    by_corpus: dict[tuple[str, str], list[Utterance]] = {}
    for utterance in utterances:
        by_corpus.setdefault((utterance.split, utterance.corpus), []).append(utterance)
    for (split, corpus), group in sorted(by_corpus.items()):
        block: list[Utterance] = []
        seconds = 0.0
        for number, index in enumerate(rng.permutation(len(group))):
            block.append(group[index])
            seconds += seconds_of(root / group[index].path)
            if seconds >= STREAM_S or number == len(group) - 1:
                conditions = ("train",) if split == "train" else ("clean", "far")
                row = stream_row(split, BANK + corpus)
                row["text"] = " ".join(utterance.text for utterance in block)
                paths = tuple(str(root / utterance.path) for utterance in block)
                for condition in conditions:
                    seed_of_this = int(rng.integers(2**62))
                    specs.append(ExampleSpec(paths, False, condition, seed_of_this, needed, columns=row))
                block, seconds = [], 0.0
    progress = Progress(reporter, len(specs))
    parts: list[np.ndarray] = []
    states: list[np.ndarray] = []
    table: list[dict[str, Any]] = []
    hours: dict[str, float] = {}
    with closing(build_examples(specs, sources, front_end)) as built:
        for both, columns in built:
            frames, beside = np.split(both, [stored.width], axis=1)
            states.append(beside[::STATE_FRAMES])
            levels = np.rint(frames.astype(np.float32) * 255).astype(np.uint8)
            levels[levels < MIN_LEVEL] = 0
            parts.append(levels)
            table.append({**columns, "frames": len(levels)})
            split = str(columns["split"])
            hours[split] = hours.get(split, 0.0) + len(levels) * FRAME_S / 3600
            progress.advance()
    # Each phone is stored over time, because long runs of zeros compress best.
    joined = np.ascontiguousarray(np.concatenate(parts).T)
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("about.json", json.dumps({**about, "hours": {k: round(v, 2) for k, v in hours.items()}}))
        archive.writestr("table.json", json.dumps(table))
        buffer = io.BytesIO()
        np.save(buffer, joined)
        archive.writestr("frames.npy", buffer.getvalue())
        if states[0].shape[1]:
            _write_states(np.concatenate(states), rng, archive)
    return hours


def _write_states(states: np.ndarray, rng: np.random.Generator, archive: zipfile.ZipFile) -> None:
    chosen = np.sort(rng.permutation(len(states))[:FITTED_STATES])
    quantizer = ProductQuantizer.fitted(states[chosen].astype(np.float32), CODE_BYTES, int(rng.integers(2**31)))
    codes = [quantizer.encode(part.astype(np.float32)) for part in np.array_split(states, 1 + len(states) // 10_000)]
    for name, array in {**quantizer.arrays(), "codes": np.concatenate(codes)}.items():
        buffer = io.BytesIO()
        np.save(buffer, array)
        archive.writestr(f"states/{name}.npy", buffer.getvalue())


def seconds_of(path: Path) -> float:
    return float(soundfile.info(path).duration)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a negative set; print its description as JSON."""
    parser = argparse.ArgumentParser(prog="python -m lab.weights.negative_set", description=__doc__)
    parser.add_argument(
        "training", nargs="+", type=Path, metavar="CORPUS", help="corpora that the backbone was trained on"
    )
    parser.add_argument(
        "--held-out",
        nargs="+",
        type=Path,
        default=[],
        metavar="CORPUS",
        help="corpora of speakers that it was not trained on",
    )
    parser.add_argument("--noise", default="", metavar="FOLDER", help="recordings of noise")
    parser.add_argument("--hours", type=float, default=float("inf"), help="maximum hours for training (default: all)")
    parser.add_argument("--seed", type=int, choices=range(1000), default=0, metavar="N")
    parser.add_argument("--out", type=Path, metavar="FILE", help="output file (default: the shipped one)")
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
