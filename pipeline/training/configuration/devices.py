"""The devices that a detector runs on."""

from __future__ import annotations

import math
from dataclasses import dataclass

from core.worded import worded

SMALL = "small"  # a detector of size standard, for computers and pages for which a large one is too large
ALONE = ("detect.html", "detect.js", "detect.py", "manifest.json", "model.onnx")  # used from a small detector's bundle
OWN_DETECTOR = worded("It has its own detector, whatever the size of the main detector.")


@dataclass(frozen=True)
class Device:
    """A device.

    Attributes:
        title: its name for users.
        size: the ``--size`` that suits it.
        files: the files of a bundle that it takes; () for those in the folder with the device's name.
        product: short name of the program that loads the files, if they have a format of their own; otherwise "".
        package: the package with the features and the runtime of that format.
        window_s: seconds of audio behind one score, into which a phrase must fit.
    """

    title: str
    size: str
    files: tuple[str, ...] = ()
    product: str = ""
    package: str = ""
    window_s: float = math.inf


DEVICES = {
    "esphome": Device(
        "ESPHome: Voice PE, ESP32-S3", OWN_DETECTOR, product="ESPHome", package="pymicro-wakeword", window_s=2.6
    ),
    "openwakeword": Device(
        "Home Assistant: openWakeWord", OWN_DETECTOR, product="openWakeWord", package="pyopen-wakeword", window_s=1.9
    ),
    SMALL: Device(
        worded("Small computers, slow networks"),
        worded("Size standard (3 MB): a sixth of the computation of size large, but more misses."),
        tuple(f"{SMALL}/{name}" for name in ALONE),
    ),
    "browser": Device(
        "Browser",
        worded(
            "A large detector is a one-time download of 34 MB; a standard one (3 MB) suits slow networks, but misses "
            "more."
        ),
        ("detect.html", "detect.js", "model.onnx"),
    ),
    "pi": Device(
        "Raspberry Pi, Wyoming",
        worded("Size large for a Raspberry Pi 4 or 5; size standard for a smaller one, but it misses more."),
        ("detect.py", "model.onnx"),
    ),
    "python": Device(
        "Python",
        worded("Size large. Size standard (3 MB) suits small computers, but misses more."),
        ("detect.py", "model.onnx"),
    ),
}
OWN_FORMAT = tuple(name for name, device in DEVICES.items() if device.package)
TRAINED = (*OWN_FORMAT, SMALL)  # a run makes an additional detector for each; the small one has Hark's own format
