"""The interface of detectors in the format of a device."""

from __future__ import annotations

import hashlib
import re
import tempfile
import unicodedata
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

import numpy as np

from model.detector import TrainedDetector


class Check(NamedTuple):
    """A comparison of a detector with its files in a runtime.

    Attributes:
        difference: the largest difference in probability.
        runtime: name of the runtime.
    """

    difference: float
    runtime: str


class DeviceDetector(TrainedDetector):
    """A detector whose files a device loads.

    Attributes:
        device: name of the device, and of its folder in a bundle.
        step_share: fraction of the effort's training steps.
        batch_size: windows of a training step.
        learning_rate: of its training.
        tolerance: the largest accepted difference in probability between its files and the detector.
    """

    batch_frames = 200_000
    quantizes = False
    smoothing_frames = 1  # its device uses scores without smoothing
    device: ClassVar[str]
    step_share: ClassVar[float]
    batch_size: ClassVar[int]
    learning_rate: ClassVar[float]
    tolerance: ClassVar[float]

    @classmethod
    @abstractmethod
    def untrained(cls) -> Self:
        """Return the detector before its training. Raises ImportError if its front end is not installed."""

    @abstractmethod
    def files(self, phrase: str, language: str, cutoff: float) -> dict[str, bytes]:
        """Return its files by their names in a bundle; ``cutoff`` is the score from which the device triggers."""

    @abstractmethod
    def check(self, files: Mapping[str, bytes], audio: np.ndarray, cutoff: float) -> Check:
        """Compare itself with its files in the device's own runtime.

        Args:
            files: those of :meth:`files` with the same ``cutoff``.
            audio: [samples].

        Raises:
            ImportError: no runtime is installed.
            RuntimeError: the runtime rejects the files.
        """


def file_name(phrase: str) -> str:
    """Return the name of a phrase's files without suffix: ASCII, with a digest where a letter has no ASCII form."""
    letters = unicodedata.normalize("NFKD", phrase.replace("ß", "ss"))
    name = re.sub(r"[^a-z0-9]+", "_", letters.encode("ascii", "ignore").decode().lower()).strip("_")
    lost = any(letter.isalnum() and not letter.isascii() for letter in letters)
    return "_".join(filter(None, [name, hashlib.sha256(phrase.encode()).hexdigest()[:8] if lost else ""]))


@contextmanager
def on_disk(files: Mapping[str, bytes]) -> Iterator[dict[str, Path]]:
    """Write a device's files into a temporary folder; yield their paths by suffix."""
    with tempfile.TemporaryDirectory(prefix="hark-device-") as folder:
        paths = {Path(name).suffix: Path(folder) / Path(name).name for name in files}
        for name, content in files.items():
            paths[Path(name).suffix].write_bytes(content)
        yield paths
