"""The test double's process: a vowel for each letter, and failures of every kind on demand (setting ``behave``)."""

from __future__ import annotations

import array
import errno
import math
import os
import signal
import sys
import time
from typing import Any

from core.worker_protocol import Refused, serve, write_wav

SAMPLE_RATE = 16_000
LETTER_S = 0.07
SLOW_S = 1.5
ANSWERS = os.dup(1)  # stdout before ``serve`` redirects it, for invalid answers
PITCH_HZ = {"low": 95.0, "high": 190.0}


def vowels(text: str, pitch: float, rate: float) -> bytes:
    """Harmonics of ``pitch``, weighted by two formants that the letter chooses; deterministic."""
    count = int(LETTER_S / rate * SAMPLE_RATE)
    samples = array.array("h")
    for letter in text.lower():
        samples.extend(vowel(letter, pitch, count) if letter.isalnum() else [0] * (count // 2))
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


def vowel(letter: str, pitch: float, count: int) -> list[int]:
    """Return ``count`` samples of a letter: one period, repeated under a rising and falling envelope."""
    formants = (300 + 37 * (ord(letter) % 17), 900 + 101 * (ord(letter) % 19))
    weights = [
        sum(math.exp(-(((pitch * k - f) / 150) ** 2)) for f in formants) + 0.02 for k in range(1, int(3500 / pitch))
    ]
    scale = 6000 / sum(weights)
    length = round(SAMPLE_RATE / pitch)
    period = [
        scale * sum(weight * math.sin(2 * math.pi * k * n / length) for k, weight in enumerate(weights, 1))
        for n in range(length)
    ]
    return [int(math.sin(math.pi * n / count) * period[n % length]) for n in range(count)]


def misbehave(behave: str, path: str) -> None:
    """Fail in an engine's ways; the host detects each of them except "refuse"."""
    if behave == "refuse":
        raise Refused("it was told to refuse")
    if behave == "full disk":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if behave == "crash":
        sys.stderr.write("fake: about to crash\n")
        os.kill(os.getpid(), signal.SIGSEGV)
    elif behave == "exit":
        os._exit(3)
    elif behave == "raise":
        raise RuntimeError("it was told to raise")
    elif behave == "hang":
        time.sleep(3600)
    elif behave == "nonsense":
        os.write(ANSWERS, b"this is no JSON\n")
    elif behave == "wrong id":
        os.write(ANSWERS, b'{"event": "done", "id": "no such request"}\n')
    elif behave == "endless":
        while True:
            os.write(ANSWERS, b"x" * 65536)
    elif behave == "no file":
        pass
    elif behave == "silence":
        write_wav(path, bytes(2 * SAMPLE_RATE), SAMPLE_RATE)
    else:
        raise Refused(f"fake knows no behaviour {behave!r}")


def speak(request: dict[str, Any]) -> None:
    settings = request["settings"]
    if settings.get("behave") == "slow":  # and good
        time.sleep(SLOW_S)
    elif settings.get("behave"):
        misbehave(str(settings["behave"]), request["path"])
        return
    pitch = PITCH_HZ[request["voice"]] * float(settings.get("pitch", 1.0))
    write_wav(request["path"], vowels(request["text"], pitch, float(settings.get("rate", 1.0))), SAMPLE_RATE)


def set_up() -> tuple[dict[str, Any], Any]:
    """Set up ``serve``. HARK_FAKE_START makes the start itself fail: "crash", "hang" or "unavailable"."""
    start = os.environ.get("HARK_FAKE_START", "")
    if start == "hang":
        time.sleep(3600)
    if start == "crash":
        os._exit(1)
    if start == "unavailable":
        raise RuntimeError("it was told not to start")
    return {"voices": list(PITCH_HZ)}, speak


if __name__ == "__main__":
    serve(set_up)
