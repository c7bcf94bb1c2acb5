"""The devices that a detector can be made for."""

from __future__ import annotations

from core.worded import worded

DEVICES = ("esphome", "openwakeword")  # devices with a file format of their own
PACKAGES = {"esphome": "pymicro-wakeword", "openwakeword": "pyopen-wakeword"}  # required to make the files
SMALL = "small"  # a detector of size standard, for computers and pages for which a large one is too large
TRAINED_TARGETS = (*DEVICES, SMALL)  # each has an additional detector; the small one has Hark's own format
TARGETS = (*TRAINED_TARGETS, "browser", "pi", "python")  # devices that a detector runs on
TITLES = {  # of the targets, for users
    "esphome": "ESPHome: Voice PE, ESP32-S3",
    "openwakeword": "Home Assistant: openWakeWord",
    SMALL: worded("Small computers, slow networks"),
    "browser": "Browser",
    "pi": "Raspberry Pi, Wyoming",
    "python": "Python",
}
WINDOW_S = {"esphome": 2.6, "openwakeword": 1.9}  # seconds of audio behind one score, into which a phrase must fit
