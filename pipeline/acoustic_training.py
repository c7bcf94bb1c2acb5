"""Training of an acoustic model by one command: corpora and engines to weights. Stopped, the same call goes on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from audio_augmentation.gain_speed import rms
from audio_augmentation.noise import ambient_noise, clatter
from audio_augmentation.reverb import room_pool
from audio_generation.registry import default_engines
from audio_generation.splice_side import SPLICE
from core.audio_file import SAMPLE_RATE, read_audio
from core.errors import HarkError
from model.asr.packed import TABLE_FILE, Packed, open_pack, pack
from pipeline.acoustic_data import located_utterances, synthetic_utterances, transcripts_of
from pipeline.corpus import disappeared, unreadable
from pipeline.corpus_layouts.utterance import files_below, is_audio
from pipeline.events import Reporter

KINDS = ("trunk", "micro", "recognizer", "encoder")
TEACHER_WEIGHT, UNTRANSCRIBED_SHARE = 1.0, 0.2  # of a trunk that learns from another one
UNHEARD = "festival"  # an engine that is kept out, so that there is one to be measured on
ROOMS = 150
MADE_NOISE_S = 10.0  # seconds of one made-up noise
CLATTER, AMBIENT = 80, 40  # so many of each, beside the recordings


@dataclass(frozen=True)
class AcousticRun:
    """What ``asr train`` was asked for.

    Attributes:
        corpora: folders in any layout that ``library import`` reads.
        kind: one of :data:`KINDS`; "encoder" trains the phone outputs that stand on it (``model.asr.encoder_head``).
        epochs: passes over the real speech; phone outputs take as many steps as they need.
        batch_seconds: of speech in a batch.
        subset: utterances taken of each corpus; 0: all.
        synthetic: clips that the speech engines say; the engine that detectors are tested on says none.
        keyphrase_weight: of a trunk's keyphrase loss (``model.asr.keyphrase_loss``) beside CTC; 0: CTC alone.
        noise: folder of recordings; empty: made-up noise and other speakers only.
    """

    corpora: tuple[Path, ...]
    kind: str = "recognizer"
    epochs: float = 30.0
    batch_seconds: float = 160.0
    subset: int = 0
    synthetic: int = 7000
    noise: str = ""
    keyphrase_weight: float = 0.0
    seed: int = 0


def train_acoustic_model(run: AcousticRun, folder: Path, reporter: Reporter) -> dict[str, Any]:
    """Train in ``folder``; returns the weights' path, errors by group and hours of speech.

    Raises:
        HarkError: a folder that holds no corpus, or nothing with a transcript in it.
    """
    from model.asr.network import Recognizer, RecognizerConfig
    from model.asr.symbols import PHONE_OUTPUTS
    from model.asr.train import AcousticProgress, AcousticTrainConfig, load_acoustic, train_acoustic
    from model.model import Trunk, TrunkConfig
    from model.shipped_weights import save_weights, shipped_trunk
    from model.train import best_device

    # What the audio depends on; another kind of model, or more epochs, takes the same.
    asked = replace(run, kind="", epochs=0.0, batch_seconds=0.0, keyphrase_weight=0.0)
    wanted = json.dumps({**asdict(asked), "corpora": [str(path.resolve()) for path in run.corpora]}, sort_keys=True)
    made_from = folder / "speech" / "made_from.json"
    if not ((folder / "speech" / TABLE_FILE).is_file() and made_from.is_file() and made_from.read_text() == wanted):
        made_from.unlink(missing_ok=True)  # what is stopped half way is nobody's
        _gather(run, folder, reporter)
        made_from.write_text(wanted)
    packed = open_pack(folder / "speech")
    transcribed = packed.where("train", transcribed=True)
    if not len(transcribed):
        raise HarkError(
            "There is nothing to learn from.",
            "None of the recordings that are for training has a transcript.",
            "Give a corpus with transcripts: ./hark asr train FOLDER.",
        )
    if run.kind == "encoder":
        return _train_head(run, packed, folder / run.kind, reporter)
    real = [int(i) for i in transcribed if packed.utterances[i].real]
    hours = float(packed.length[real or transcribed].sum()) / 16_000 / 3600
    steps = max(50, round(run.epochs * hours * 3600 / run.batch_seconds))
    config = AcousticTrainConfig(
        steps=steps, batch_seconds=run.batch_seconds, easy_steps=min(800, steps // 3), seed=run.seed,
        real_share=0.65 if real else 0.0, keyphrase_weight=run.keyphrase_weight,
    )  # fmt: skip
    # The micro trunk learns from the standard one, from speech without transcripts too; not measured.
    teacher = shipped_trunk("standard")[0] if run.kind == "micro" else None
    if teacher is not None:
        config = replace(config, teacher_weight=TEACHER_WEIGHT, untranscribed_share=UNTRANSCRIBED_SHARE)
    model: Recognizer | Trunk
    if run.kind == "recognizer":
        model = Recognizer(RecognizerConfig())
    elif run.kind == "micro":
        dilations = (1, 2, 4, 8, 1, 2, 4)
        model = Trunk(TrunkConfig(stem_channels=(8, 8), channels=48, dilations=dilations, phones=PHONE_OUTPUTS))
    else:
        model = Trunk(TrunkConfig(channels=192, dilations=(1, 2, 4, 8) * 3, phones=PHONE_OUTPUTS))
    reporter.stage("train", f"Training a {run.kind} on {hours:.2f} hours of speech for {steps} steps")

    def show(state: AcousticProgress) -> None:
        reporter.progress(state.step, steps, 0.0)
        reporter.metric("loss", state.loss)
        for name, value in (state.errors or {}).items():
            reporter.metric(name, value)

    out = folder / run.kind
    device = best_device()
    board = str(out / "runs") if find_spec("tensorboard") else ""  # not part of the first installation
    device = "cpu" if device == "mps" else device
    errors = train_acoustic(
        model, packed, config, out, show, teacher.to(device) if teacher else None, device=device, tensorboard=board
    )
    best = load_acoustic(out / ("best.pt" if (out / "best.pt").is_file() else "final.pt"))
    weights = out / f"{run.kind}.safetensors"
    save_weights(best, weights, _about(run, packed), half=run.kind == "recognizer")
    return {"weights": str(weights), "errors": errors, "hours": round(hours, 3), "steps": steps}


def _about(run: AcousticRun, packed: Packed) -> dict[str, Any]:
    return {
        "name": run.kind,
        "version": 1,
        "training_corpora": sorted({u.corpus for u in packed.utterances if u.real}),
        "training_engines": sorted({u.corpus for u in packed.utterances if not u.real}),
    }


def _train_head(run: AcousticRun, packed: Packed, out: Path, reporter: Reporter) -> dict[str, Any]:
    from model.asr.encoder_head import HeadTrainConfig, train_head
    from model.shipped_weights import save_head

    config = HeadTrainConfig(seed=run.seed)
    reporter.stage("train", f"Training phone outputs on an encoder for {config.steps} steps")

    def show(done: int, total: int, loss: float) -> None:
        reporter.progress(done, total, 0.0)
        if loss == loss:
            reporter.metric("loss", loss)

    head, errors = train_head(packed, config, out, show)
    weights = out / "encoder-head.safetensors"
    save_head(head, weights, _about(run, packed))
    hours = float(packed.length.sum()) / SAMPLE_RATE / 3600
    return {"weights": str(weights), "errors": errors, "hours": round(hours, 3), "steps": config.steps}


def _gather(run: AcousticRun, folder: Path, reporter: Reporter) -> None:
    """Pack the corpora, and what the engines say of their transcripts."""
    utterances = []
    for corpus in run.corpora:
        reporter.stage("corpora", f"Reading {corpus}")
        try:
            found = located_utterances(corpus)
        except OSError as error:
            raise disappeared(corpus) or unreadable(corpus, error) from error
        if run.subset and len(found) > run.subset:
            chosen = np.random.default_rng((run.seed, len(found))).permutation(len(found))[: run.subset]
            found = [found[i] for i in sorted(chosen)]
        utterances += found
    ready = default_engines() if run.synthetic else {}
    speaking = sorted(set(ready) - {SPLICE, UNHEARD})
    if speaking:
        reporter.stage("synthesize", f"Letting {', '.join(speaking)} speak")
        counts = dict.fromkeys(speaking, run.synthetic // len(speaking))
        target = (folder / "synthetic").resolve()
        spoken = synthetic_utterances(ready, counts, transcripts_of(utterances), target, run.seed, reporter)
        utterances += [replace(u, path=str(target / u.path)) for u in spoken]
    noises = [*(_recordings(Path(run.noise)) if run.noise else []), *_made_noises(run.seed)]
    reporter.stage("pack", f"Decoding {len(utterances)} recordings")
    pack(utterances, Path("/"), folder / "speech", noises, room_pool(ROOMS, run.seed))
    for corpus in run.corpora:
        if gone := disappeared(corpus):
            raise gone


def _recordings(folder: Path) -> list[np.ndarray]:
    return [_at_level(read_audio(path)) for path in files_below(folder) if is_audio(path)]


def _made_noises(seed: int) -> list[np.ndarray]:
    """Crockery most of all: recordings of noise seldom ring and strike as a kitchen does."""
    rng = np.random.default_rng((seed, 7))
    samples = int(MADE_NOISE_S * SAMPLE_RATE)
    made = [clatter(samples, rng) for _ in range(CLATTER)] + [ambient_noise(samples, rng) for _ in range(AMBIENT)]
    return [_at_level(noise) for noise in made]


def _at_level(noise: np.ndarray) -> np.ndarray:
    """As loud as all others: they are joined, and heard at the SNR that is drawn wherever one begins."""
    return noise * np.float32(0.05 / max(1e-4, rms(noise)))
