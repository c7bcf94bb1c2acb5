"""The negative set that ships with Hark: hours of real speech as outputs of the encoder of large detectors.

It sets thresholds on a machine without any recordings. It contains no audio, only compressed square roots of phone
probabilities in 8 bits, and codes of the encoder's states (:mod:`model.product_quantization`), from which a decoder
computes the probability of a phrase. Words can roughly be guessed from them; voices cannot.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from core.data_folder import REPOSITORY
from core.errors import HarkError
from core.events import Progress, Reporter
from core.processors import usable_cores
from core.worded import worded
from model.feature_rows import SPLITS
from model.features import StoredFrames
from model.large.encoder_backbone import STATE_FRAMES
from model.phones import outputs_of
from model.product_quantization import ProductQuantizer
from phrase_augmentation.keyphrase import Keyphrase
from phrase_augmentation.matching import phrase_matcher

if TYPE_CHECKING:
    from model.detector import Detector
    from model.keyword_hmm import Pronunciations
    from model.large.encoder_detector import EncoderDetector

NEGATIVE_SET = REPOSITORY / "model" / "shipped" / "negative-set-large.zip"
FRAME_S = 0.02  # seconds per frame of a backbone
RESCORED_AN_HOUR = 100  # matches per hour of speech that a decoder scores
PEAK_FRAMES = 50  # frames from which the best match is chosen
MATCHED_AT_ONCE = 160_000  # frames per batch
MAX_WITH_PHRASE = 0.9  # fraction of the segments that may be omitted because they contain the phrase


@dataclass(frozen=True)
class NegativeSegment:
    """A segment of speech: stored frames [frames, width] float16 and its row in the feature store.

    Attributes:
        codes: codes of an encoder's states [one per 4 frames, bytes]; None in a negative set without them.
        quantizer: decodes the states.
    """

    frames: np.ndarray
    row: dict[str, Any]
    codes: np.ndarray | None = None
    quantizer: ProductQuantizer | None = None

    def states(self) -> np.ndarray:
        """Return the encoder's states [one per 4 frames, 288], as reconstructed from the codes."""
        assert self.codes is not None and self.quantizer is not None, "a negative set of large detectors has states"
        return self.quantizer.decode(self.codes)


@dataclass(frozen=True)
class NegativeSet:
    """The negative set that ships, for large detectors (:class:`pipeline.training.negatives.shipped.Negatives`).

    Attributes:
        hours: maximum hours of speech for the thresholds.
        seed: seed of the draw.
    """

    hours: float
    seed: int

    def segments(
        self,
        detector: Detector,
        keyphrase: Keyphrase,
        data: Path,
        reporter: Reporter,
        splits: Collection[str] = SPLITS,
    ) -> Iterator[NegativeSegment]:
        segments = negative_segments(NEGATIVE_SET, self.hours, self.seed, keyphrase)
        return segments_with_gains(
            (segment for segment in segments if segment.row["split"] in splits),
            cast("EncoderDetector", detector),
            reporter,
        )

    def about(self) -> dict[str, Any]:
        return about_negatives(NEGATIVE_SET)


def about_negatives(path: Path) -> dict[str, Any]:
    """Return a negative set's backbone, corpora, licences and hours. Raises HarkError if the file is damaged."""
    with _opened(path) as archive:
        return json.loads(archive.read("about.json"))


def negative_segments(
    path: Path, hours: float, seed: int, keyphrase: Keyphrase | None = None
) -> Iterator[NegativeSegment]:
    """Yield segments of a negative set, drawn by the seed: about ``hours`` for thresholds, and its test part.

    Segments that contain the phrase are omitted, because a detection there is not a false alarm, unless almost all
    contain it. Segments of the training part also set thresholds: measuring rare false alarms takes many hours, and the
    score peaks of people that the front end was trained on are like those of others (lab/experiments.md). If less than
    an hour is requested, the test part is limited to ``hours`` too. Raises HarkError if the file is unusable.
    """
    rng = np.random.default_rng((seed, 6))
    quantizer = codes = None
    with _opened(path) as archive:
        table = json.loads(archive.read("table.json"))
        frames = np.load(io.BytesIO(archive.read("frames.npy"))).T
        names = [name for name in archive.namelist() if name.startswith("states/")]
        if names:
            arrays = {Path(name).stem: np.load(io.BytesIO(archive.read(name))) for name in names}
            codes = arrays.pop("codes")
            quantizer = ProductQuantizer(**{name: array.astype(np.float32) for name, array in arrays.items()})
    firsts = np.cumsum([0, *(row["frames"] for row in table)])
    first_states = np.cumsum([0, *(-(-row["frames"] // STATE_FRAMES) for row in table)])
    left = {"validation": hours, "test": np.inf if hours >= 1.0 else hours}
    omitted = (False,) * len(table)
    if keyphrase is not None:
        omitted = contains_phrase(tuple(row["text"] for row in table), keyphrase)
    for index in rng.permutation(len(table)):
        if omitted[index]:
            continue
        row = {**table[index], "text": ""}
        count = row.pop("frames")
        row["split"] = "test" if row["split"] == "test" else "validation"
        if left[row["split"]] > 0:
            left[row["split"]] -= count * FRAME_S / 3600
            part = frames[firsts[index] : firsts[index] + count]
            own = None if codes is None else codes[first_states[index] : first_states[index + 1]]
            yield NegativeSegment((part.astype(np.float32) / 255).astype(np.float16), row, own, quantizer)


@lru_cache(maxsize=2)  # a run reads its negatives several times
def contains_phrase(texts: tuple[str, ...], keyphrase: Keyphrase) -> tuple[bool, ...]:
    """Return for each text whether its segment must be omitted because it contains the phrase.

    If any text contains the phrase, segments without a transcript are omitted too. If almost all segments would be
    omitted, none is.
    """
    heard = phrase_matcher(keyphrase.text, keyphrase.language).matches_of(texts)
    said = tuple(hears or (not text and any(heard)) for hears, text in zip(heard, texts))
    return (False,) * len(said) if sum(said) > MAX_WITH_PHRASE * len(said) else said


def segments_with_gains(
    segments: Iterable[NegativeSegment], detector: EncoderDetector, reporter: Reporter
) -> Iterator[NegativeSegment]:
    """Yield the segments with a column of the second pass's gains; unchanged without a second pass.

    The whole set takes a minute or two.
    """
    if detector.second_pass is None:
        yield from segments
        return
    second_pass = detector.second_pass

    def with_gains(segment: NegativeSegment, match: np.ndarray) -> NegativeSegment:
        column = second_pass.gains(match, segment.frames, segment.states()).astype(np.float16)
        return replace(segment, frames=np.concatenate([segment.frames, column[:, None]], axis=1))

    chosen = list(segments)
    if not chosen:
        return
    hours = round(sum(len(segment.frames) for segment in chosen) * FRAME_S / 3600, 1)
    reporter.stage("features", worded("Checking %(hours)s hours of real speech for matches", hours=hours))
    progress = Progress(reporter, len(chosen))
    with ThreadPoolExecutor(usable_cores()) as pool:  # onnxruntime releases Python's lock
        for segment in pool.map(with_gains, chosen, _matches(chosen, detector.config.pronunciations)):
            yield segment
            progress.advance()


def rescoring_threshold(path: Path, keyphrase: Keyphrase) -> float:
    """Return the match score that :data:`RESCORED_AN_HOUR` matches of a phrase exceed per hour of a negative set."""
    matches = _matches(list(negative_segments(path, np.inf, 0, keyphrase)), outputs_of(keyphrase))
    blocks = [match[: len(match) // PEAK_FRAMES * PEAK_FRAMES].reshape(-1, PEAK_FRAMES) for match in matches]
    peaks = np.sort(np.concatenate([block.max(axis=1) for block in blocks]))[::-1]
    hours = sum(map(len, matches)) * FRAME_S / 3600
    return float(peaks[min(len(peaks) - 1, int(RESCORED_AN_HOUR * hours))])


def _matches(segments: Sequence[NegativeSegment], pronunciations: Pronunciations) -> list[np.ndarray]:
    """Return the match scores [frames] of each segment; in batches, because a keyword HMM runs frame by frame."""
    import torch

    from model.detector import in_batches
    from model.keyword_hmm import KeywordHMM
    from model.large.encoder_detector import ENCODER_MATCH_FLOOR

    keyword_hmm = KeywordHMM(pronunciations, ENCODER_MATCH_FLOOR)

    def match(phones: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            scores: np.ndarray = keyword_hmm(torch.from_numpy(phones))[0].numpy()
        return scores

    frames = [segment.frames for segment in segments]
    width = frames[0].shape[1] if frames else 0
    return in_batches(match, frames, StoredFrames(width, 1, 1, 1, 1), MATCHED_AT_ONCE)


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise HarkError(
            worded("The negative set %(name)s cannot be read.", name=path.name),
            f"{path}: {error}.",
            worded("Restore Hark's files (git checkout model/shipped), or train with --from-scratch."),
        ) from error
