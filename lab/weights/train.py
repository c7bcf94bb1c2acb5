"""``python -m lab.weights.train KIND CORPUS...``: train weights that ship (model/shipped/MODEL_CARD.md).

All files are under ``asr/`` of the data folder. Repeating a command resumes its training.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from command_line.console import Screen
from core.audio_file import SAMPLE_RATE
from core.data_folder import data_folder
from core.errors import HarkError
from core.events import Reporter
from model.asr.packed import Packed
from model.devices.micro_network import MICRO_NETWORK
from model.large.phone_head import HEAD
from model.large.verifier import VERIFIER
from model.standard.backbone import BACKBONE, shipped_backbone
from model.tiny.trunk import CRNN_TRUNK
from model.train import best_device
from model.training_options import curves_folder
from model.weights import save_weights
from pipeline.asr.training import AcousticRun, about, packed_speech, train_by_ctc

KINDS = {
    "backbone": "the standard backbone, first stage: by CTC",
    "backbone-in-noise": "the standard backbone, second stage: in rooms and noise; needs a GPU",
    "encoder": "the phone head of large detectors",
    "verifier": "the verifier of large detectors",
    "micro": "the network for microcontrollers",
    "crnn": "the trunk of TinyCRNN",
}


def train_weights(kind: str, run: AcousticRun, folder: Path, reporter: Reporter) -> dict[str, Any]:
    """Train one of :data:`KINDS` in ``folder``; return the weights' path, errors by group and hours of speech.

    "encoder", "verifier", "micro" and "crnn" have their own numbers of steps and batch sizes; an epoch of
    "backbone-in-noise" is all speech, real and synthetic.

    Raises:
        HarkError: a folder has no corpus, or there is too little speech.
    """
    packed = packed_speech(run, folder, reporter)
    if kind == "backbone":
        from lab.weights.public_embedding import with_public_embedding
        from model.standard.backbone import EmbeddingBackbone, EmbeddingBackboneConfig

        backbone = with_public_embedding(EmbeddingBackbone(EmbeddingBackboneConfig()))
        backbone.convs.requires_grad_(
            False
        )  # training these too takes three times as long, and the result is worse in quiet
        return train_by_ctc(backbone, kind, run, packed, folder, reporter)
    return _train_on_another(kind, run, packed, folder / kind, reporter)


def _train_on_another(kind: str, run: AcousticRun, packed: Packed, out: Path, reporter: Reporter) -> dict[str, Any]:
    """Train a model that learns from another network's outputs."""
    from lab.weights.backbone_in_noise import NoiseTrainConfig, train_in_noise
    from lab.weights.crnn_student import CrnnTrainConfig, train_crnn
    from lab.weights.encoder_head import HeadTrainConfig, train_head
    from lab.weights.micro_student import StudentTrainConfig, train_student
    from lab.weights.verifier import VerifierTrainConfig, train_verifier

    last = None

    def show(done: int, total: int, loss: float) -> None:
        nonlocal last
        reporter.progress(done, total, 0.0)
        if loss == loss:
            last = loss
            reporter.metric("loss", loss)

    def tell(done: int, errors: Mapping[str, float]) -> None:
        reporter.log(f"{done} updates: " + ", ".join(f"{name} {value:.3f}" for name, value in errors.items()))

    board, origin = curves_folder(out), about(kind, packed)
    reporter.stage("train", f"Training {KINDS[kind]}")
    model: Any
    if kind == "backbone-in-noise":
        file, further = BACKBONE, NoiseTrainConfig(batch_size=run.batch_size, seed=run.seed)
        sizes = packed.length[packed.where("train")]
        an_epoch = len(sizes) / run.batch_size if run.batch_size else sizes.sum() / SAMPLE_RATE / further.batch_seconds
        steps = max(1, round(run.epochs * float(an_epoch)))
        device = best_device()
        if device != "cuda":
            reporter.log("Without a GPU this takes days.", "warning")
        further = replace(further, steps=steps)
        model, errors = train_in_noise(packed, further, out, show, "cpu" if device == "mps" else device, board)
        first = shipped_backbone()[1]
        sources = {name: sorted({*first[name], *origin[name]}) for name in ("training_corpora", "training_engines")}
        origin = {**first, **sources, "version": first["version"] + 1}
    elif kind == "verifier":
        file, verifying = VERIFIER, VerifierTrainConfig(seed=run.seed)
        steps = verifying.steps
        model, errors = train_verifier(packed, verifying, out, show, board)
    elif kind == "micro":
        file, learning = MICRO_NETWORK, StudentTrainConfig(seed=run.seed)
        steps = learning.steps
        model, errors = train_student(packed, learning, out, show, board)
    elif kind == "crnn":
        file, following = CRNN_TRUNK, CrnnTrainConfig(seed=run.seed)
        steps = following.steps
        model, errors = train_crnn(packed, following, out, show, board, tell)
    else:
        file, hearing = HEAD, HeadTrainConfig(seed=run.seed)
        steps = hearing.steps
        model, errors = train_head(packed, hearing, out, show, board)
    save_weights(model, out / file, origin, half=True)
    hours = float(packed.length.sum()) / SAMPLE_RATE / 3600
    return {
        "weights": str(out / file), "curves": board, "loss": last, "errors": errors, "hours": round(hours, 3),
        "steps": steps,
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Train; print the result as JSON."""
    from audio_generation.registry import close_engines

    parser = argparse.ArgumentParser(prog="python -m lab.weights.train", description=__doc__)
    kinds = "; ".join(f"{kind}: {what}" for kind, what in KINDS.items())
    parser.add_argument("kind", choices=list(KINDS), metavar="KIND", help=kinds)
    parser.add_argument("corpora", nargs="+", type=Path, metavar="CORPUS", help="folders of transcribed speech")
    parser.add_argument("--epochs", type=float, default=30.0, help="epochs of the two backbones (default: 30)")
    parser.add_argument("--batch-size", type=int, default=0, help="utterances per batch of the two backbones")
    parser.add_argument("--subset", type=float, default=100.0, help="per cent of each corpus and of the clips")
    parser.add_argument("--synthetic", type=int, default=7000, help="number of clips to synthesize (default: 7000)")
    parser.add_argument("--noise", default="", metavar="FOLDER", help="recordings of noise")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    run = AcousticRun(
        tuple(options.corpora), options.epochs, options.batch_size, options.subset, options.synthetic, options.noise,
        options.seed,
    )  # fmt: skip
    try:
        with Screen(json_wanted=True) as screen, screen.reporter() as reporter:
            result = train_weights(options.kind, run, data_folder() / "asr", reporter)
    except (HarkError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        close_engines()
    json.dump(result, sys.stdout, ensure_ascii=False, indent=1)
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
