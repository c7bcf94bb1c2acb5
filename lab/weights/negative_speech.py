"""``python -m lab.weights.negative_speech``: makes the shipped negative speech, or that of other corpora."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from audio_augmentation.codec import opus_bytes
from core.audio_file import SAMPLE_RATE, read_audio
from core.data_folder import atomic_path
from core.errors import HarkError
from model.asr.packed import Utterance
from model.examples import BITRATE
from pipeline.asr.data import corpus_utterances
from pipeline.corpora.licences import licence_of
from pipeline.training.negatives.negative_speech import NEGATIVE_SPEECH

CHUNK_S = 40.0  # maximum seconds of a piece, which has one speaker
GAP_S = 0.25
LOUDEST = 0.5
SHARES = {"test": 0.15, "validation": 0.30}  # fractions of the speakers; the others are for training


def split_of(speaker: str) -> str:
    """Return the split of a speaker, by a hash of the name."""
    drawn = int.from_bytes(hashlib.sha256(f"negative speech {speaker}".encode()).digest()[:8], "big") / 2**64
    if drawn < SHARES["test"]:
        return "test"
    return "validation" if drawn < SHARES["test"] + SHARES["validation"] else "train"


def chosen_utterances(corpora: Mapping[str, Sequence[Utterance]], hours: float, seed: int) -> list[Utterance]:
    """Choose ``hours`` of utterances, each from the corpus and speaker with the least speech so far."""
    rng = np.random.default_rng(seed)
    waiting: dict[str, dict[str, list[Utterance]]] = {}
    for name, utterances in corpora.items():
        for index in rng.permutation(len(utterances)):
            waiting.setdefault(name, {}).setdefault(utterances[index].speaker, []).append(utterances[index])
    chosen_s = {name: dict.fromkeys(speakers, 0.0) for name, speakers in waiting.items()}
    chosen: list[Utterance] = []
    left_s = hours * 3600
    while left_s > 0 and waiting:
        name = min(waiting, key=lambda corpus: sum(chosen_s[corpus].values()))
        speaker = min(waiting[name], key=lambda person: chosen_s[name][person])
        utterance = waiting[name][speaker].pop()
        seconds = float(soundfile.info(utterance.path).duration)
        if not waiting[name][speaker]:
            del waiting[name][speaker]
        if not waiting[name]:
            del waiting[name]
        chosen_s[name][speaker] += seconds
        left_s -= seconds
        chosen.append(utterance)
    return chosen


def write_negative_speech(utterances: Sequence[Utterance], path: Path, about: Mapping[str, Any]) -> dict[str, float]:
    """Write the speech of utterances, joined into pieces by speaker; return hours by split."""
    by_speaker: dict[tuple[str, str], list[Utterance]] = {}
    for utterance in utterances:
        by_speaker.setdefault((utterance.corpus, utterance.speaker), []).append(utterance)
    table: list[dict[str, Any]] = []
    hours: dict[str, float] = {}
    gap = np.zeros(round(GAP_S * SAMPLE_RATE), np.float32)
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:

        def write(corpus: str, speaker: str, parts: Sequence[tuple[np.ndarray, str]]) -> None:
            audio = np.concatenate([half for sound, _ in parts for half in (sound, gap)])
            split, name = split_of(speaker), f"{len(table)}.ogg"
            # A digest suffices to distinguish speakers, and does not publish names.
            person = hashlib.sha256(speaker.encode()).hexdigest()[:12]
            text = " ".join(text for _, text in parts)
            if not all(text for _, text in parts):
                text = ""  # the text of a piece counts as unknown if a part is missing
            table.append({"file": name, "corpus": corpus, "speaker": person, "text": text, "split": split})
            archive.writestr(name, opus_bytes(audio, BITRATE))
            hours[split] = hours.get(split, 0.0) + len(audio) / SAMPLE_RATE / 3600

        for (corpus, speaker), group in sorted(by_speaker.items()):
            parts: list[tuple[np.ndarray, str]] = []
            for utterance in group:
                sound = read_audio(Path(utterance.path))
                peak = float(np.abs(sound).max(initial=0.0))
                if not peak:
                    continue
                parts.append(((sound * (LOUDEST / peak)).astype(np.float32), utterance.text))
                if sum(len(part) for part, _ in parts) >= CHUNK_S * SAMPLE_RATE:
                    write(corpus, speaker, parts)
                    parts = []
            if parts:
                write(corpus, speaker, parts)
        archive.writestr("table.json", json.dumps(table))
        archive.writestr("about.json", json.dumps({**about, "hours": {k: round(v, 2) for k, v in hours.items()}}))
    return hours


def main(arguments: Sequence[str] | None = None) -> int:
    """Make negative speech; print its description as JSON."""
    parser = argparse.ArgumentParser(prog="python -m lab.weights.negative_speech", description=__doc__)
    parser.add_argument("corpora", nargs="+", type=Path, metavar="CORPUS", help="each gets an equal share of the hours")
    parser.add_argument("--hours", type=float, default=3.5)
    parser.add_argument(
        "--licence",
        action="append",
        default=[],
        metavar="CORPUS=NAME",
        help="licence of a corpus that does not name one",
    )
    parser.add_argument("--seed", type=int, choices=range(1000), default=0, metavar="N")
    parser.add_argument(
        "--out", type=Path, default=NEGATIVE_SPEECH, metavar="FILE", help="output file (default: the shipped one)"
    )
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
