"""The process that synthesizes with hibari.

For each frame of 12.5 ms the network outputs the pitch and five spectra [601 bins]: the magnitudes of harmonics and of
noise (natural logarithms), the harmonics' phase, and a residual with its own phase. This module modifies them, then
hibari converts them to audio.
"""

from __future__ import annotations

import zlib
from typing import Any

from core.worker_protocol import Refused, Unavailable, serve, write_wav

# By kind of person: ranges of the factors of pitch and resonances (1.1: a vocal tract 10 % shorter).
KINDS = {
    "man": ((0.48, 0.68), (0.82, 0.92)),
    "woman": ((0.82, 1.12), (0.95, 1.06)),
    "child": ((1.2, 1.5), (1.12, 1.24)),
}
TILT_DB = 3.0  # maximum tilt per octave, up or down from 1 kHz
BREATH_DB = 4.0  # maximum gain of the noise
MAX_PHONEMES = 400  # maximum phonemes per text


class Speaker:
    def __init__(self) -> None:
        try:
            import numpy
            from hibari import Hibari, dsp
        except Exception as error:
            raise Unavailable(f"hibari cannot be imported: {error}") from error
        self.numpy, self.dsp = numpy, dsp
        self.network = Hibari()

    def speak(self, request: dict[str, Any]) -> None:
        np, settings = self.numpy, request["settings"]
        numbers = [self.network.vocab[sign] for sign in self.network.g2p(request["text"]) if sign in self.network.vocab]
        if not 0 < len(numbers) <= MAX_PHONEMES:
            raise Refused(f"hibari cannot speak a text of {len(numbers)} phonemes")
        ids = np.array([[0, *numbers, 0]], np.int64)
        speed = np.array([float(settings.get("speed", 1.0))], np.float32)
        harmonics, phase, noise, rest, rest_phase, pitch = (
            value[0] for value in self.network.sess.run(None, {"ids": ids, "speed": speed})
        )
        factor, tract, tilt, breath = self._person(request["voice"])
        factor *= float(settings.get("pitch", 1.0))
        intonation = float(settings.get("intonation", 1.0))
        if tract != 1:
            harmonics, phase, noise, rest = (self._warp(part, tract) for part in (harmonics, phase, noise, rest))
            rest_phase = rest_phase[self._bins(tract).round().astype(int)]
        octaves = np.log2(np.maximum(np.arange(len(noise)), 5) / 50)[:, None]  # relative to 1 kHz; a bin is 20 Hz wide
        slope = (octaves * tilt * np.log(10) / 20).astype(np.float32)
        if factor != 1 or intonation != 1:
            # Because its phase belongs to the old pitch.
            rest, noise = np.full_like(rest, -20), np.logaddexp(noise, rest - 0.35)
        voiced = pitch > 40
        mean = float(np.exp(np.log(pitch[voiced]).mean())) if voiced.any() else 1.0
        pitch = np.where(voiced, mean * factor * (np.maximum(pitch, 1) / mean) ** intonation, 0)
        rng = np.random.default_rng(int(settings.get("seed", 0)))
        audio = self.dsp.synth(
            harmonics + slope, phase, noise + slope + breath * np.log(10) / 20, rest + slope, rest_phase,
            pitch.astype(np.float32), rng,
        )  # fmt: skip
        loudest = float(np.abs(audio).max(initial=0.0))
        samples = (audio * (0.9 * 32767 / max(0.9, loudest))).astype("<i2")
        write_wav(request["path"], samples.tobytes(), self.network.sample_rate)

    def _person(self, name: str) -> tuple[float, float, float, float]:
        """Return factors of pitch and resonances, tilt [dB per octave] and breath [dB] of a voice."""
        if name == "heart":
            return 1.0, 1.0, 0.0, 0.0
        kind, _, number = name.partition("-")
        if kind not in KINDS or not number.isdigit():
            raise Refused(f"hibari has no voice {name}")
        rng = self.numpy.random.default_rng(zlib.crc32(name.encode()))
        pitch, tract = KINDS[kind]
        return rng.uniform(*pitch), rng.uniform(*tract), rng.uniform(-TILT_DB, TILT_DB), rng.uniform(0, BREATH_DB)

    def _bins(self, factor: float) -> Any:
        """Return the source bin of each bin [601] for resonances scaled by a factor."""
        return self.numpy.minimum(self.numpy.arange(601) / factor, 600).astype(self.numpy.float32)

    def _warp(self, spectrum: Any, factor: float) -> Any:
        """Scale the resonances of a spectrum [601, frames] by a factor."""
        bins = self._bins(factor)
        low = self.numpy.minimum(bins.astype(int), 599)
        share = (bins - low)[:, None]
        return spectrum[low] * (1 - share) + spectrum[low + 1] * share


if __name__ == "__main__":
    serve(lambda: ({}, Speaker().speak))
