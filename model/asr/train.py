"""CTC training of the recognizer and of backbones."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from core.audio_file import SAMPLE_RATE
from model.asr.augmentation import BatchAugmenter, SpeechAugmentation
from model.asr.decoding import error_rate, greedy
from model.asr.network import Recognizer
from model.asr.packed import BatchSource, Packed, SpeechBatch
from model.features import FRAME_STRIDE, HOP, LOG_MEL_MEAN, WINDOW
from model.fit import Fit
from model.phones import BLANK, character_indices, phone_indices, text_of
from model.plain import plain
from model.standard.backbone import STEP_FRAMES, EmbeddingBackbone
from model.training_options import curves
from model.weights import save_weights

TAIL_S = 0.3  # seconds of silence after an item, so that a causal backbone has time to output the last phone
EVALUATED = 100  # utterances of each group that are decoded
AHEAD = 3  # batches drawn in advance
BEST, FINAL = "best.safetensors", "final.safetensors"


@dataclass(frozen=True)
class AcousticTrainConfig:
    """Parameters of training an acoustic model; stored in every checkpoint."""

    steps: int = 20_000
    batch_seconds: float = 160.0
    batch_size: int = 0  # utterances per batch; 0: as many as fit into ``batch_seconds``
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup_steps: int = 300
    ema_decay: float = 0.999
    # On long noisy items, CTC outputs only blanks for thousands of steps; short clean ones prevent that.
    easy_steps: int = 600
    easy_longest_s: float = 4.0
    easy_seconds: float = 40.0
    real_share: float = 0.6
    characters_weight: float = 0.5  # weight of characters in a recognizer's loss; the rest is for phones
    evaluations: int = 20
    seed: int = 0
    augmentation: SpeechAugmentation = field(default_factory=SpeechAugmentation)


@dataclass(frozen=True)
class AcousticProgress:
    """A progress report of the training loop."""

    step: int
    loss: float | None  # None before the first step
    errors: dict[str, float] | None  # error rate by group; None unless evaluated


AcousticModel = Recognizer | EmbeddingBackbone


def mel_of(model: AcousticModel, augmenter: BatchAugmenter, audio: Tensor) -> Tensor:
    """Compute the log-mel [batch, frames, bands] that the model reads, from audio [batch, samples]."""
    return model.mel(audio) if isinstance(model, EmbeddingBackbone) else augmenter.log_mel(audio)


def acoustic_logits(model: AcousticModel, log_mel: Tensor) -> dict[str, Tensor]:
    """Return logits [batch, time, outputs] by target.

    Quiet frames are put before a backbone's input, so that its outputs have the same times as a recognizer's.
    """
    if isinstance(model, Recognizer):
        return model(log_mel)  # type: ignore[no-any-return]
    lead = model.config.receptive_frames - STEP_FRAMES
    # The level of an item's own quiet frames is closer to the audio before it than digital silence is.
    quiet = log_mel.quantile(0.1, dim=1, keepdim=True) if log_mel.shape[1] else log_mel.new_full((1,), LOG_MEL_MEAN)
    padded = torch.cat([quiet.expand(-1, lead, -1), log_mel], dim=1)
    return {"phones": model(padded)}


def output_length(samples: Tensor) -> Tensor:
    frames = (samples - WINDOW).clamp(min=0) // HOP + 1
    return (frames - 1) // FRAME_STRIDE + 1


def ctc_losses(logits: Tensor, outputs: Tensor, flat: Tensor, sizes: Tensor) -> Tensor:
    """Return each item's CTC loss per symbol of its target [batch].

    Args:
        logits: [batch, time, symbols], blank first.
        outputs: number of valid outputs of each item.
        flat, sizes: as :func:`targets_of` returns them.
    """
    flat, sizes = flat.to(logits.device), sizes.to(logits.device)
    loss = functional.ctc_loss(
        logits.float().log_softmax(-1).transpose(0, 1), flat, outputs.clamp(max=logits.shape[1]), sizes, BLANK,
        reduction="none", zero_infinity=True,
    )  # fmt: skip
    return loss / sizes.clamp(min=1)


def targets_of(packed: Packed, batch: SpeechBatch, name: str) -> tuple[Tensor, Tensor]:
    """Return the concatenated symbols of a batch's items, and the number of symbols of each."""
    rows = []
    for item in batch.items:
        if name == "phones":
            rows.append([i for u in item for i in phone_indices(packed.utterances[u].phones)])
        else:
            rows.append(character_indices(" ".join(packed.utterances[u].text for u in item)))
    flat = torch.tensor([i for row in rows for i in row], dtype=torch.long)
    return flat, torch.tensor([len(row) for row in rows], dtype=torch.long)


def train_acoustic(
    model: AcousticModel,
    packed: Packed,
    config: AcousticTrainConfig,
    folder: Path,
    on_progress: Callable[[AcousticProgress], None],
    device: str = "cpu",
    tensorboard: str = "",
) -> dict[str, float]:
    """Train on the pack's ``train`` split; write the weights with the lowest validation error as :data:`BEST`.

    The error is the phone error rate on ``validation``, on real speech if there is any, otherwise on synthetic speech.
    Training resumes from ``folder/last.pt`` if that has the same configuration. Returns the best evaluation's errors:
    phone error rates by group, and word error rates of a recognizer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    augmenter = BatchAugmenter(config.augmentation, packed.noise, packed.rooms, device)
    batch_of = _batches(packed, config, rng)
    model = model.to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), config.learning_rate, betas=(0.9, 0.98), weight_decay=config.weight_decay
    )
    identity = {"model": plain(model.config), "train": repr(asdict(config)), "speech": packed.digest}
    fit = Fit(model, optimizer, config.steps, config.warmup_steps, config.ema_decay)
    average, last = fit.average, folder / "last.pt"
    best, best_errors = float("inf"), dict[str, float]()
    if saved := fit.resume(last, identity):
        best, best_errors = saved["best"], saved["errors"]
        rng.bit_generator.state = np.random.default_rng((config.seed, fit.step)).bit_generator.state
    else:
        (folder / BEST).unlink(missing_ok=True)  # from an earlier training
    evaluated_at, loss = 0.0, None
    told_every = max(1, min(50, config.steps // 50))
    steps = range(fit.step + 1, config.steps + 1)
    with curves(tensorboard) as draw, closing(_drawn_ahead(batch_of, steps)) as batches:
        for step, batch in zip(steps, batches):
            parts = _losses(model, augmenter, packed, batch, config, step, device)
            fit.learn(torch.stack(list(parts.values())).sum())
            if step % told_every == 0 or loss is None:
                loss = fit.loss
                on_progress(AcousticProgress(step, loss, None))
                draw("loss", loss, step)
            share = (step - 1) / config.steps
            if share - evaluated_at >= 1.0 / config.evaluations:
                evaluated_at = share
                errors = evaluate(average, packed, "validation", device, augmenter)
                measure = _phone_errors(errors)
                if measure <= best:
                    best, best_errors = measure, errors
                    save_weights(average, folder / BEST, {"step": step, "errors": errors})
                for name, value in {**errors, **{f"loss/{k}": v.item() for k, v in parts.items()}}.items():
                    draw(name, value, step)
                fit.save(last, identity, best=best, errors=best_errors)
                on_progress(AcousticProgress(step, loss, errors))
    errors = evaluate(average, packed, "validation", device, augmenter)
    save_weights(average, folder / FINAL, {"step": fit.step, "errors": errors})
    on_progress(AcousticProgress(fit.step, loss, errors))
    return best_errors or errors


def _batches(packed: Packed, config: AcousticTrainConfig, rng: np.random.Generator) -> Callable[[int], SpeechBatch]:
    """Return a function that draws the batch of a step, given the step's number."""
    transcribed = packed.where("train", transcribed=True)
    easy = BatchSource(
        packed, transcribed, config.easy_seconds, rng, config.real_share, config.easy_longest_s, join=False,
        max_utterances=config.batch_size,
    )  # fmt: skip
    seconds = math.inf if config.batch_size else config.batch_seconds
    normal = BatchSource(packed, transcribed, seconds, rng, config.real_share, max_utterances=config.batch_size)
    # If no utterance is short, normal batches are used.
    return lambda step: (easy or normal if step <= config.easy_steps else normal).draw()


def _drawn_ahead(batch_of: Callable[[int], SpeechBatch], steps: range) -> Generator[SpeechBatch]:
    """Yield the batch of each step; a thread draws the next ones during the training step."""
    with ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(batch_of, step) for step in steps[:AHEAD]]
        for step in steps:
            batch = waiting.pop(0).result()
            if step + AHEAD in steps:
                waiting.append(pool.submit(batch_of, step + AHEAD))
            yield batch


def _phone_errors(errors: Mapping[str, float]) -> float:
    """Return the mean phone error rate over real speech, or over synthetic speech if there is none.

    Without either, it is 0, so that the last weights count as the best.
    """
    rates = {group: rate for group, rate in errors.items() if group.startswith("per/")}
    people = [rate for group, rate in rates.items() if group.startswith("per/real")]
    return float(np.mean(people or list(rates.values()) or [0.0]))


def _losses(
    model: AcousticModel,
    augmenter: BatchAugmenter,
    packed: Packed,
    batch: SpeechBatch,
    config: AcousticTrainConfig,
    step: int,
    device: str,
) -> dict[str, Tensor]:
    model.train()
    easy = step <= config.easy_steps
    with torch.no_grad():
        audio = torch.from_numpy(batch.audio).to(device)
        lengths = torch.from_numpy(batch.lengths).to(device)
        if easy:
            audio = audio + 1e-4 * torch.randn_like(audio)
        else:
            audio, lengths = augmenter.waveform(audio, lengths)
        audio = functional.pad(audio, (0, int(TAIL_S * SAMPLE_RATE)))
        log_mel = mel_of(model, augmenter, audio)
        if not easy:
            log_mel = augmenter.features(log_mel)
        outputs = output_length(lengths + int(TAIL_S * SAMPLE_RATE))
    with torch.autocast(device_type="cuda", dtype=torch.bfloat16, enabled=device == "cuda"):
        logits = acoustic_logits(model, log_mel)
    parts: dict[str, Tensor] = {}
    for name, values in logits.items():
        weight = 1.0
        if "characters" in logits:
            weight = config.characters_weight if name == "characters" else 1.0 - config.characters_weight
        parts[name] = weight * ctc_losses(values, outputs, *targets_of(packed, batch, name)).mean()
    return parts


@torch.no_grad()
def evaluate(
    model: AcousticModel, packed: Packed, split: str, device: str, augmenter: BatchAugmenter
) -> dict[str, float]:
    """Return phone error rates ``per/<real|synthetic>/<corpus>``, and a recognizer's word and character error rates."""
    model.eval()
    groups: dict[str, list[int]] = {}
    for index in packed.where(split, transcribed=True):
        utterance = packed.utterances[index]
        groups.setdefault(f"{'real' if utterance.real else 'synthetic'}/{utterance.corpus}", []).append(int(index))
    errors: dict[str, float] = {}
    for name, indices in sorted(groups.items()):
        drawn = np.random.default_rng(0).permutation(indices)[:EVALUATED]
        chosen = sorted(drawn.tolist(), key=lambda i: int(packed.length[i]))
        outputs: dict[str, list[list[int]]] = {"phones": [], "characters": []}
        for start in range(0, len(chosen), 24):
            part = chosen[start : start + 24]
            audio = np.zeros((len(part), int(packed.length[part].max() + TAIL_S * SAMPLE_RATE)), np.float32)
            for row, index in zip(audio, part):
                row[: packed.length[index]] = packed.audio(index)
            samples = torch.from_numpy(packed.length[part] + int(TAIL_S * SAMPLE_RATE))
            noise = 1e-4 * torch.randn(audio.shape, device=device)
            logits = acoustic_logits(model, mel_of(model, augmenter, torch.from_numpy(audio).to(device) + noise))
            for target, values in logits.items():
                log_p = values.float().log_softmax(-1).cpu().numpy()
                outputs[target] += [greedy(row[:n]) for row, n in zip(log_p, output_length(samples).tolist())]
        utterances = [packed.utterances[i] for i in chosen]
        errors[f"per/{name}"] = error_rate([phone_indices(u.phones) for u in utterances], outputs["phones"])
        if outputs["characters"]:
            texts = [text_of(symbols) for symbols in outputs["characters"]]
            errors[f"wer/{name}"] = error_rate([u.text.split() for u in utterances], [t.split() for t in texts])
            errors[f"cer/{name}"] = error_rate([list(u.text) for u in utterances], [list(t) for t in texts])
    return errors
