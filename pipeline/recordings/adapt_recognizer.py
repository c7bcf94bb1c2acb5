"""The job "train-recognizer": adapt Hark's recognizer to a user's recordings, and measure it before and after.

It trains on passages whose words a person wrote or checked: corrected passages, and texts that came with an upload. A
recognizer's own output would teach it nothing. About every fifth passage is held out to measure the benefit. The
weights are stored below the user's data, the audio is not. The shipped weights remain unchanged.
"""

from __future__ import annotations

import hashlib
import json
import math
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audio_generation.splice_side import SPLICE
from core.audio_file import SAMPLE_RATE, read_audio, write_audio
from core.data_folder import storing
from core.errors import HarkError
from core.events import Reporter
from core.worded import worded
from model.training_options import WHOLE, TrainingOptions, part_of, training_options
from phrase_augmentation.normalize import base_language, normalize
from phrase_augmentation.phonemes import accents, phones_of_texts
from pipeline.recordings.files.media import open_normalized, read_part
from pipeline.recordings.files.recording_folder import AUDIO, GIVEN_TEXT, RECORDINGS, TRANSCRIPT
from pipeline.recordings.transcription.hark_engine import OWN_FOLDER, OWN_WEIGHTS, own_weights
from pipeline.recordings.transcripts.transcript import Segment, load_transcript

if TYPE_CHECKING:
    from model.asr.network import Recognizer
    from model.asr.packed import Packed

FOLDER = OWN_FOLDER  # below the user's data

LANGUAGE = "en"  # the recognizer's only language
MAX_TEXT_LENGTH = 100_000  # characters of the text that comes with a recording
EPOCHS, MAX_EPOCHS = 4, 50  # the default, and the maximum
MIN_DURATION_S, MAX_DURATION_S = 0.5, 15.0  # seconds of a passage
PAUSE_S = 0.25  # seconds; in a text aligned to its recording, a passage may end at a pause of this length
AROUND_S = 0.1  # seconds of margin before and after a passage
MIN_PASSAGES = 5  # minimum passages; with fewer, none could be held out, so nothing is trained
HELD_OUT = 5  # one in this many passages is held out
SYNTHETIC = 300  # number of synthetic clips, which prevent forgetting
REAL_FRACTION = 0.5  # fraction of the batches
BATCH_S = 60.0
LEARNING_RATE = 1e-4  # a tenth of the rate of the original training
MIN_STEPS, MAX_STEPS = 50, 3000  # a given number of epochs may have fewer steps


@dataclass(frozen=True)
class Passage:
    """A few seconds of a recording whose words are known; ``text`` is normalized."""

    recording: str
    start_s: float
    end_s: float
    text: str
    speaker: str

    @property
    def name(self) -> str:
        """A file name that depends only on the words and their position."""
        content = f"{self.recording} {self.start_s:.3f} {self.end_s:.3f} {self.text}"
        return hashlib.sha256(content.encode()).hexdigest()[:24]

    @property
    def lot(self) -> int:
        """A fixed random number, so that a passage once used for training is never used for measurements."""
        return int(hashlib.sha256(f"held out {self.name}".encode()).hexdigest()[:8], 16)


def left_out(passages: Sequence[Passage]) -> frozenset[str]:
    """Return the names of the passages to measure on: about a fifth, but never none or all."""
    names = frozenset(passage.name for passage in passages if passage.lot % HELD_OUT == 0)
    if 0 < len(names) < len(passages):
        return names
    return frozenset([min(passages, key=lambda passage: passage.lot).name])


def train_recognizer(spec: Mapping[str, Any], data: Path, reporter: Reporter) -> dict[str, Any]:
    """Collect, train and measure; resume from the last checkpoint after an interruption.

    Args:
        spec: ``epochs`` over the passages (without it, :data:`EPOCHS` within the limits of steps), ``batch_size`` in
            utterances, ``subset`` in per cent of the training passages (all held-out ones are measured).

    Returns ``segments`` and, unless there are fewer than :data:`MIN_PASSAGES`, also ``weights`` (their path; "" if
    they are not better and so not stored), ``checked``, ``held_out``, ``hours``, ``steps``, the word error rates of the
    held-out passages ``before`` and ``after`` (and as ``_percent``, for display), and whether they are ``better``.
    Raises HarkError if passages are unreadable, an option is out of range, the epochs have too many steps, or the disk
    is full.
    """
    options = training_options(spec, 0.0, MAX_EPOCHS)
    reporter.stage("collect", worded("Collecting passages with known words"))
    passages = list(collect(data, reporter))
    if len(passages) < MIN_PASSAGES:
        return {"segments": len(passages)}
    if options.subset < WHOLE:
        measured = left_out(passages)
        learned = sorted(passage.name for passage in passages if passage.name not in measured)
        used = {*measured, *learned[: part_of(len(learned), options.subset)]}
        passages = [passage for passage in passages if passage.name in used]
    with storing("training the recognizer"):
        return _train(passages, options, data, reporter)


def _train(passages: list[Passage], options: TrainingOptions, data: Path, reporter: Reporter) -> dict[str, Any]:
    from model.asr.augmentation import BatchAugmenter, SpeechAugmentation
    from model.asr.network import Recognizer, shipped_recognizer
    from model.asr.train import evaluate
    from model.train import best_device
    from model.weights import load_weights

    folder = data / FOLDER
    measured = left_out(passages)
    learned = [passage.end_s - passage.start_s for passage in passages if passage.name not in measured]
    an_epoch = len(learned) / options.batch_size if options.batch_size else sum(learned) / BATCH_S
    steps = _steps(options.epochs, an_epoch / REAL_FRACTION)
    packed, seconds = _packed(passages, measured, folder, reporter)
    device = "cuda" if best_device() == "cuda" else "cpu"
    augmenter = BatchAugmenter(SpeechAugmentation(), packed.noise, packed.rooms, device)

    def word_errors(model: Recognizer) -> float:
        errors = evaluate(model.to(device), packed, "validation", device, augmenter)
        return round(float(np.mean([value for name, value in errors.items() if name.startswith("wer/real")])), 4)

    model, _about = shipped_recognizer()
    own = own_weights(data)
    reporter.stage("measure", worded("Measuring the errors before training"))
    before = min(word_errors(known) for known in (model, *([load_weights(own, Recognizer)[0]] if own else ())))
    reporter.metric("before", before)
    minutes = round(seconds / 60, 1)
    reporter.stage(
        "train", worded("Training on %(minutes)s minutes of speech for %(n)d steps", minutes=minutes, n=steps)
    )
    trained = _trained(model, packed, steps, options.batch_size, folder / "run", device, reporter)
    reporter.stage("compare", worded("Measuring the errors after training"))
    after = word_errors(trained)
    reporter.metric("after", after)
    weights = _keep(trained.cpu(), folder, before, after)
    if weights is not None:
        reporter.artifact("weights", str(weights))
    forget_speech(folder)
    shutil.rmtree(folder / "run", ignore_errors=True)  # checkpoints; the next run starts from the beginning
    return {
        "weights": str(weights or ""),
        "segments": len(passages),
        "checked": len(passages),
        "held_out": len(measured),
        "hours": round(seconds / 3600, 4),
        "steps": steps,
        "before": before,
        "after": after,
        "before_percent": round(100 * before, 1),
        "after_percent": round(100 * after, 1),
        "better": after < before,
    }


def _steps(epochs: float, an_epoch: float) -> int:
    """Return the number of steps, of which an epoch has ``an_epoch``; without ``epochs`` (0), choose a sensible one.

    Raises HarkError if ``epochs`` have more than :data:`MAX_STEPS`.
    """
    if not epochs:
        return min(MAX_STEPS, max(MIN_STEPS, math.ceil(EPOCHS * an_epoch)))
    steps = math.ceil(epochs * an_epoch)
    if steps > MAX_STEPS:
        raise HarkError(
            worded("The recognizer cannot be trained for that many epochs."),
            worded("They have %(steps)s steps, and a run can have %(most)s.", steps=steps, most=MAX_STEPS),
            worded(
                "Choose at most %(most)s epochs, or a smaller subset.", most=math.floor(10 * MAX_STEPS / an_epoch) / 10
            ),
        )
    return steps


def _packed(
    passages: list[Passage], measured: frozenset[str], folder: Path, reporter: Reporter
) -> tuple[Packed, float]:
    """Pack the passages; also return the total seconds of those to train on."""
    from model.asr.packed import open_pack

    _pack(passages, measured, folder, reporter)
    packed = open_pack(folder / "speech")
    real = [index for index in packed.where("train", transcribed=True) if packed.utterances[index].real]
    if not real or not len(packed.where("validation", transcribed=True)):
        raise HarkError(
            "There is too little to learn from.",
            "None of the passages could be read.",
            "Transcribe the recordings again.",
        )
    return packed, float(packed.length[real].sum()) / SAMPLE_RATE


def _trained(
    model: Recognizer, packed: Packed, steps: int, batch_size: int, folder: Path, device: str, reporter: Reporter
) -> Recognizer:
    """Train from ``model``; return the last weights, because choosing the best would bias the held-out measurement."""
    from model.asr.network import Recognizer
    from model.asr.train import FINAL, AcousticProgress, AcousticTrainConfig, train_acoustic
    from model.weights import load_weights

    config = AcousticTrainConfig(
        steps=steps, batch_seconds=BATCH_S, batch_size=batch_size, learning_rate=LEARNING_RATE,
        warmup_steps=max(1, min(50, steps // 4)), easy_steps=0, real_share=REAL_FRACTION,
        evaluations=max(2, min(10, steps // 50)),
    )  # fmt: skip

    def show(state: AcousticProgress) -> None:
        reporter.progress(state.step, steps)
        if state.loss is not None:
            reporter.metric("loss", state.loss)
        for name, value in (state.errors or {}).items():
            reporter.metric(name, value)

    train_acoustic(model, packed, config, folder, show, device=device)
    trained, _ = load_weights(folder / FINAL, Recognizer)
    return trained


def _keep(model: Recognizer, folder: Path, before: float, after: float) -> Path | None:
    """Replace earlier weights with the new ones if these are better, and return their file; otherwise return None."""
    from model.weights import save_weights

    if after >= before:
        return None
    earlier = list(folder.glob(OWN_WEIGHTS))
    # A new name, so that a process with the earlier weights does not confuse them.
    weights = folder / OWN_WEIGHTS.replace("*", secrets.token_hex(4))
    save_weights(model, weights, {"name": "own", "version": 1, "before": before, "after": after}, half=True)
    for path in earlier:
        path.unlink(missing_ok=True)
    return weights


def forget_speech(folder: Path) -> None:
    """Remove the audio that a run has extracted; a running training keeps its open files."""
    for name in ("cuts", "synthetic", "speech"):
        shutil.rmtree(folder / name, ignore_errors=True)


def collect(data: Path, reporter: Reporter) -> Iterator[Passage]:
    """Yield the passages of a user's recordings, in order of their ids, skipping other languages."""
    folders = [path.parent for path in sorted((data / RECORDINGS).glob(f"*/{TRANSCRIPT}"))]
    for number, folder in enumerate(folders):
        reporter.progress(number, len(folders))
        try:
            transcript = load_transcript(folder / TRANSCRIPT)
        except HarkError as error:
            reporter.log(f"{folder.name} is left out: {error.why}", "warning")
            continue
        if base_language(transcript.language or LANGUAGE) != LANGUAGE or not (folder / AUDIO).is_file():
            continue
        if (folder / GIVEN_TEXT).is_file():
            yield from _of_text(folder, reporter)
        else:
            for segment in transcript.segments:
                if segment.edited:
                    yield from _passage(folder.name, segment)


def _passage(recording: str, segment: Segment) -> Iterator[Passage]:
    text = normalize(segment.text, LANGUAGE)
    if text and not segment.overlap and MIN_DURATION_S <= segment.end_s - segment.start_s <= MAX_DURATION_S:
        yield Passage(recording, segment.start_s, segment.end_s, text, segment.speaker)


def _of_text(folder: Path, reporter: Reporter) -> Iterator[Passage]:
    """Yield passages of a recording whose text came with it, aligned to the audio and cut at pauses."""
    from pipeline.corpora.alignment import NotAligned, align

    text = (folder / GIVEN_TEXT).read_text(encoding="utf-8", errors="replace")[:MAX_TEXT_LENGTH]
    mono = read_audio(folder / AUDIO)
    aligner = _aligner()
    try:
        aligned = align(aligner.log_probabilities(mono), text, aligner, LANGUAGE)
    except NotAligned as error:
        reporter.log(f"The text of {folder.name} is left out: {error.why}", "warning")
        return
    for part in cut_at_pauses([(word.label, word.start_s, word.end_s) for word in aligned.words]):
        yield from _passage(folder.name, part)


def cut_at_pauses(words: Sequence[tuple[str, float, float]]) -> Iterator[Segment]:
    """Yield words with their starts and ends as segments of at least one second, none too long for a passage."""
    part: list[tuple[str, float, float]] = []
    for following in (*words, None):
        if part and (following is None or _is_full(part, following)):
            yield Segment(part[0][1], part[-1][2], " ".join(word for word, _start, _end in part), 1.0)
            part = []
        if following is not None:
            part.append(following)


def _is_full(part: Sequence[tuple[str, float, float]], following: tuple[str, float, float]) -> bool:
    begin, end = part[0][1], part[-1][2]
    paused = following[1] - end >= PAUSE_S and end - begin >= 1.0
    return paused or following[2] - begin > MAX_DURATION_S


@cache
def _aligner() -> Any:
    from model.asr.emissions import Aligner

    return Aligner()


def _pack(passages: list[Passage], measured: frozenset[str], folder: Path, reporter: Reporter) -> None:
    """Cut the passages, synthesize clips, and pack both. Existing results are reused."""
    from audio_augmentation.reverb import room_pool
    from audio_generation.registry import close_engines, default_engines
    from model.asr.packed import TABLE_FILE, Utterance, pack
    from pipeline.asr.data import synthetic_utterances

    wanted = json.dumps([sorted(passage.name for passage in passages), sorted(measured)])
    made_from = folder / "speech" / "made_from.json"
    if (folder / "speech" / TABLE_FILE).is_file() and made_from.is_file() and made_from.read_text() == wanted:
        return
    forget_speech(folder)  # audio of other passages, and their checkpoint; never the weights in use
    shutil.rmtree(folder / "run", ignore_errors=True)
    cuts = folder / "cuts"
    cuts.mkdir(parents=True)
    phones = phones_of_texts([passage.text for passage in passages], accents(LANGUAGE)[0])
    utterances = []
    reporter.stage("cut", worded("Cutting %(n)d passages", n=len(passages)))
    for number, (passage, sound) in enumerate(zip(passages, phones)):
        reporter.progress(number, len(passages))
        audio = folder.parent.parent / RECORDINGS / passage.recording / AUDIO
        with open_normalized(audio) as file:
            samples = read_part(file, passage.start_s - AROUND_S, passage.end_s + AROUND_S)
        write_audio(cuts / f"{passage.name}.flac", samples.mean(axis=1))
        utterances.append(
            Utterance(
                f"cuts/{passage.name}.flac", passage.text, sound, f"{passage.recording}/{passage.speaker}", "own", True,
                "validation" if passage.name in measured else "train",
            )
        )  # fmt: skip
    engines = {name: engine for name, engine in default_engines().items() if name != SPLICE}
    if engines:
        names = ", ".join(sorted(engines))
        reporter.stage("synthesize", worded("Synthesizing with %(engines)s", engines=names))
        counts = dict.fromkeys(engines, -(-SYNTHETIC // len(engines)))
        texts = [passage.text for passage in passages if passage.name not in measured and " " in passage.text]
        try:
            spoken = synthetic_utterances(engines, counts, texts, folder / "synthetic", 0, reporter, LANGUAGE)
            utterances += [replace(one, path=f"synthetic/{one.path}", split="train") for one in spoken]
        finally:
            close_engines()
    reporter.stage("pack", worded("Decoding %(n)d recordings", n=len(utterances)))
    pack(utterances, folder, folder / "speech", [], room_pool(20, 0))
    made_from.write_text(wanted)
    shutil.rmtree(cuts, ignore_errors=True)
    shutil.rmtree(folder / "synthetic", ignore_errors=True)
