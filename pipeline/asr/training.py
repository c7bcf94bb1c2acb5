"""Training of an acoustic model, from corpora and engines to weights. The same call resumes a stopped training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audio_augmentation.gain_speed import rms
from audio_augmentation.noise import ambient_noise, clatter
from audio_augmentation.reverb import room_pool
from audio_generation.registry import default_engines
from audio_generation.splice_side import SPLICE
from core.audio_file import SAMPLE_RATE, read_audio
from core.errors import HarkError
from core.events import Reporter
from model.asr.packed import MAX_DURATION_S, TABLE_FILE, Packed, Utterance, open_pack, pack
from model.training_options import WHOLE, curves_folder, part_of
from pipeline.asr.data import corpus_utterances, synthetic_utterances, transcripts_of
from pipeline.corpora.importing import disappeared, unreadable
from pipeline.corpora.layouts.utterance import files_below, is_audio

if TYPE_CHECKING:
    from model.asr.train import AcousticModel

BATCH_SECONDS = 160.0
MEASURED_FRACTION = 0.1  # fraction of the utterances to measure on if there are too few speakers to hold some out
UNHEARD = "festival"  # an engine held out of training, for measurements
ROOMS = 150
MADE_NOISE_S = 10.0  # seconds per generated noise
CLATTER, AMBIENT = 80, 40  # number of generated noises, in addition to the recordings


@dataclass(frozen=True)
class AcousticRun:
    """The options of ``asr train``.

    Attributes:
        corpora: folders in any layout that ``library import`` reads.
        epochs: passes over the real speech.
        batch_size: utterances per batch; 0 for as many as last :data:`BATCH_SECONDS` together.
        subset: the percentage of each corpus, and of the synthetic clips, to use.
        synthetic: number of synthetic clips, without those of the engine that detectors are tested on.
        noise: folder of recordings; empty for only generated noise and other speakers.
    """

    corpora: tuple[Path, ...]
    epochs: float = 30.0
    batch_size: int = 0
    subset: float = WHOLE
    synthetic: int = 7000
    noise: str = ""
    seed: int = 0


def train_acoustic_model(run: AcousticRun, folder: Path, reporter: Reporter) -> dict[str, Any]:
    """Train a recognizer in ``folder``; return the weights' path, errors by group and hours of speech.

    Raises:
        HarkError: a folder is not a corpus or no recording has a transcript.
    """
    from model.asr.network import Recognizer, RecognizerConfig

    packed = packed_speech(run, folder, reporter)
    result = train_by_ctc(Recognizer(RecognizerConfig()), "recognizer", run, packed, folder, reporter)
    return {**result, **word_errors(result["errors"])}


def packed_speech(run: AcousticRun, folder: Path, reporter: Reporter) -> Packed:
    """Pack the speech of a run, unless ``folder`` has it from a run with the same speech.

    Raises:
        HarkError: a folder is not a corpus, or no recording has a transcript.
    """
    if run.noise and not Path(run.noise).is_dir():
        raise HarkError(
            "The noise cannot be read.", f"{run.noise} is not a folder.", "Give --noise a folder of recordings."
        )
    # The audio depends on these; with a different model or number of epochs, it remains usable.
    asked = replace(run, epochs=0.0, batch_size=0)
    wanted = json.dumps({**asdict(asked), "corpora": [str(path.resolve()) for path in run.corpora]}, sort_keys=True)
    made_from = folder / "speech" / "made_from.json"
    if not ((folder / "speech" / TABLE_FILE).is_file() and made_from.is_file() and made_from.read_text() == wanted):
        made_from.unlink(missing_ok=True)  # an interrupted pack is not used
        _gather(run, folder, reporter)
        made_from.write_text(wanted)
    packed = open_pack(folder / "speech")
    if not len(_transcribed(packed)):
        raise HarkError(
            "There is nothing to learn from.",
            f"No training recording has a transcript and lasts at most {MAX_DURATION_S:g} s.",
            "Give a corpus with transcripts: ./hark asr train FOLDER.",
        )
    return packed


def _transcribed(packed: Packed) -> np.ndarray:
    transcribed = packed.where("train", transcribed=True)
    return transcribed[packed.length[transcribed] <= MAX_DURATION_S * SAMPLE_RATE]


def train_by_ctc(
    model: AcousticModel, name: str, run: AcousticRun, packed: Packed, folder: Path, reporter: Reporter
) -> dict[str, Any]:
    """Train a model in ``folder / name``; return the weights' path, the loss, errors by group, hours and steps."""
    from model.asr.network import Recognizer
    from model.asr.train import BEST, FINAL, AcousticProgress, AcousticTrainConfig, train_acoustic
    from model.train import best_device
    from model.weights import load_weights, save_weights

    transcribed = _transcribed(packed)
    real = [int(i) for i in transcribed if packed.utterances[i].real]
    hours = float(packed.length[real or transcribed].sum()) / 16_000 / 3600
    an_epoch = len(real or transcribed) / run.batch_size if run.batch_size else hours * 3600 / BATCH_SECONDS
    steps = max(1, round(run.epochs * an_epoch))
    config = AcousticTrainConfig(
        steps=steps, batch_seconds=BATCH_SECONDS, batch_size=run.batch_size, easy_steps=min(800, steps // 3),
        warmup_steps=min(300, max(1, steps // 10)), evaluations=min(20, max(1, steps // 5)), seed=run.seed,
        real_share=0.65 if real else 0.0,
    )  # fmt: skip
    reporter.stage("train", f"Training a {name} on {hours:.2f} hours of speech for {steps} steps")

    loss = None

    def show(state: AcousticProgress) -> None:
        nonlocal loss
        loss = state.loss
        if loss is not None:
            reporter.metric("loss", loss)
        reporter.progress(state.step, steps, 0.0)
        for metric, value in (state.errors or {}).items():
            reporter.metric(metric, value)

    out = folder / name
    device = best_device()
    board = curves_folder(out)
    device = "cpu" if device == "mps" else device
    errors = train_acoustic(model, packed, config, out, show, device, board)
    best, _ = load_weights(out / (BEST if (out / BEST).is_file() else FINAL), type(model))
    weights = out / f"{name}.safetensors"
    save_weights(best, weights, about(name, packed), half=isinstance(model, Recognizer))
    return {
        "weights": str(weights), "curves": board, "loss": loss, "errors": errors, "hours": round(hours, 3),
        "steps": steps,
    }  # fmt: skip


def word_errors(errors: Mapping[str, float]) -> dict[str, Any]:
    """Return ``wer`` and ``cer`` from the errors by group, of real speech if possible; or None and the reason."""
    result: dict[str, Any] = {"wer": None, "cer": None, "not_measured": ""}
    for name in ("wer", "cer"):
        rates = {group: rate for group, rate in errors.items() if group.startswith(f"{name}/")}
        people = [rate for group, rate in rates.items() if group.startswith(f"{name}/real")]
        if rates:
            result[name] = float(np.mean(people or list(rates.values())))
    if result["wer"] is None:
        result["not_measured"] = "no recording is left to measure on; give more, or a higher --subset."
    return result


def about(name: str, packed: Packed) -> dict[str, Any]:
    """Return the description of weights: the data that they were trained on."""
    return {
        "name": name,
        "version": 1,
        "training_corpora": sorted({u.corpus for u in packed.utterances if u.real}),
        "training_engines": sorted({u.corpus for u in packed.utterances if not u.real}),
    }


def _gather(run: AcousticRun, folder: Path, reporter: Reporter) -> None:
    """Pack the corpora, and the engines' clips of their transcripts."""
    utterances = []
    for corpus in run.corpora:
        reporter.stage("corpora", f"Reading {corpus}")
        try:
            of_corpus = corpus_utterances(corpus)
        except OSError as error:
            raise disappeared(corpus) or unreadable(corpus, error) from error
        utterances += _part(of_corpus, run)
    utterances = _measurable(utterances, reporter)
    ready = default_engines() if run.synthetic else {}
    speaking = sorted(set(ready) - {SPLICE, UNHEARD})
    if speaking:
        reporter.stage("synthesize", f"Synthesizing with {', '.join(speaking)}")
        counts = dict.fromkeys(speaking, -(-part_of(run.synthetic, run.subset) // len(speaking)))
        target = (folder / "synthetic").resolve()
        spoken = synthetic_utterances(ready, counts, transcripts_of(utterances), target, run.seed, reporter)
        utterances += [replace(u, path=str(target / u.path)) for u in spoken]
    files = files_below(Path(run.noise)) if run.noise else ()
    noises = [_at_level(read_audio(path)) for path in files if is_audio(path)] + _made_noises(run.seed)
    reporter.stage("pack", f"Decoding {len(utterances)} recordings")
    pack(utterances, Path("/"), folder / "speech", noises, room_pool(ROOMS, run.seed))
    for corpus in run.corpora:
        if failure := disappeared(corpus):
            raise failure


def _part(utterances: list[Utterance], run: AcousticRun) -> list[Utterance]:
    """Return the requested percentage of each split of a corpus, at least two with and two without a transcript."""
    if run.subset >= WHOLE:
        return utterances
    groups: dict[tuple[str, bool], list[int]] = {}
    for index, utterance in enumerate(utterances):
        groups.setdefault((utterance.split, bool(utterance.text)), []).append(index)
    rng = np.random.default_rng((run.seed, len(utterances)))
    chosen = [int(i) for group in groups.values() for i in rng.permutation(group)[: part_of(len(group), run.subset, 2)]]
    return [utterances[i] for i in sorted(chosen)]


def _measurable(utterances: list[Utterance], reporter: Reporter) -> list[Utterance]:
    """Split utterances instead of speakers if a split is empty, so that there is data to train and to measure on."""
    known = [u for u in utterances if u.text]
    if not known or len({u.split for u in known}) > 1:
        return utterances
    drawn = sorted(known, key=lambda u: hashlib.sha256(u.path.encode()).digest())
    held_count = part_of(len(known), 100 * MEASURED_FRACTION) if len(known) > 1 else 0
    held = {utterance.path for utterance in drawn[:held_count]}
    if held:
        reporter.log(
            f"There are too few speakers to hold some out: {len(held)} of {len(known)} utterances are for testing, but "
            "training has others by the same speakers.",
            "warning",
        )

    def split_again(utterance: Utterance) -> Utterance:
        if not utterance.text:
            return utterance
        return replace(utterance, split="validation" if utterance.path in held else "train")

    return [split_again(utterance) for utterance in utterances]


def _made_noises(seed: int) -> list[np.ndarray]:
    """Generate noises, mostly crockery, because noise recordings seldom ring and clatter as a kitchen does."""
    rng = np.random.default_rng((seed, 7))
    samples = int(MADE_NOISE_S * SAMPLE_RATE)
    noises = [clatter(samples, rng) for _ in range(CLATTER)] + [ambient_noise(samples, rng) for _ in range(AMBIENT)]
    return [_at_level(noise) for noise in noises]


def _at_level(noise: np.ndarray) -> np.ndarray:
    """Scale a noise to the common level: cuts from the joined noises must have the drawn SNR."""
    return noise * np.float32(0.05 / max(1e-4, rms(noise)))
