"""Simulated impulse responses of rooms, applied without a delay."""

from __future__ import annotations

import numpy as np
from scipy import fft

from audio_augmentation.gain_speed import SILENCE, limit_peak, rms
from core.audio_file import SAMPLE_RATE

SPEED_OF_SOUND = 343.0  # m/s
BANDS_HZ = np.array([125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0])  # octave bands with different absorption
RT60_RANGE_S = (0.1, 0.8)  # living rooms, kitchens, offices, bathrooms
IMAGE_ORDER = 8  # maximum order of reflections computed exactly; later ones are diffuse
SINC_DELAY = 40  # samples by which pyroomacoustics delays its result: half of its fractional delay filter
BEFORE_DIRECT = 64  # samples (4 ms) before the direct path, for the rise of its band-limited peak
MAX_RIR_S = 1.2
ROOM_TRIES = 50


def direct_path(rir: np.ndarray) -> int:
    """Return the sample of the direct path in an impulse response: the first peak of at least half the highest one."""
    magnitude = np.abs(rir)
    if not len(rir) or not magnitude.any():
        return 0
    at = int(np.argmax(magnitude >= 0.5 * magnitude.max()))
    while at + 1 < len(rir) and magnitude[at + 1] > magnitude[at]:
        at += 1
    return at


def reverberate(audio: np.ndarray, rir: np.ndarray) -> np.ndarray:
    """Apply a room to ``audio``: same length, undelayed direct path, same RMS (less if it would clip).

    Args:
        rir: impulse response [samples] at 16 kHz, of any delay and level.
    """
    from scipy import signal  # takes a second to load

    audio = audio.astype(np.float32)
    if not len(audio) or not np.any(rir):
        return audio
    delay = direct_path(rir)
    wet = signal.oaconvolve(audio, rir.astype(np.float32))[delay : delay + len(audio)]
    level = rms(wet)
    return limit_peak((wet * np.float32(rms(audio) / level)).astype(np.float32)) if level > SILENCE else audio


def reverberation_time(rir: np.ndarray) -> float:
    """Return RT60 [s] from the slope between -5 and -25 dB of Schroeder's backward integration (T20, ISO 3382-1).

    It is 0 for a response without a decay of 25 dB.
    """
    energy = np.cumsum(np.square(rir[direct_path(rir) :], dtype=np.float64)[::-1])[::-1]
    if not len(energy) or energy[0] <= 0.0:
        return 0.0
    decay = 10.0 * np.log10(np.maximum(energy / energy[0], 1e-12))
    inside = np.flatnonzero((decay <= -5.0) & (decay >= -25.0))
    if len(inside) < 2 or decay[-1] > -25.0:
        return 0.0
    slope = np.polyfit(inside / SAMPLE_RATE, decay[inside], 1)[0]
    return float(-60.0 / slope) if slope < 0.0 else 0.0


def simulate_room(rng: np.random.Generator) -> np.ndarray:
    """Return the impulse response [samples] of a random furnished room with an RT60 of 0.1 to 0.8 s.

    Rooms measure 2 to 9 m. The speaker is at least 0.3 m from the microphone, which is often near a wall. Early
    reflections come from the image method (pyroomacoustics). The rest is noise that decays in each octave, with the
    octave's RT60, from the level at the end of the early part. Walls absorb by Eyring's formula, RT60 = 0.161 V / (-S
    ln(1 - a)). The direct path is at sample 64. The highest peak is 1.
    """
    for _ in range(ROOM_TRIES):
        size = np.array([rng.uniform(2.0, 9.0), rng.uniform(1.8, 7.0), rng.uniform(2.2, 3.5)])
        rt60 = rng.triangular(RT60_RANGE_S[0], 0.35, RT60_RANGE_S[1])
        # Furniture and curtains absorb high octaves; thin walls and windows sometimes absorb low ones.
        band_rt60 = rt60 * 2.0 ** np.interp(
            np.log2(BANDS_HZ), [7.0, 10.0, 13.0], [rng.uniform(-0.6, 0.6), 0.0, rng.uniform(-1.2, 0.0)]
        )
        volume = float(np.prod(size))
        surface = 2.0 * float(size[0] * size[1] + size[1] * size[2] + size[0] * size[2])
        absorption = 1.0 - np.exp(-0.161 * volume / (surface * band_rt60))
        microphone, talker = _positions(size, rng)
        rir = _shoebox(size, np.clip(absorption, 0.02, 0.98), microphone, talker, band_rt60, rng)
        distance = float(np.linalg.norm(talker - microphone))
        if abs(direct_path(rir) - SINC_DELAY - distance / SPEED_OF_SOUND * SAMPLE_RATE) > 2.0:
            continue  # direct_path() would find coinciding echoes, more than twice as loud as the direct path
        rir = trim_rir(rir)
        if RT60_RANGE_S[0] <= reverberation_time(rir) <= RT60_RANGE_S[1]:
            return rir
    raise RuntimeError("the room simulation gave no usable room")


def room_pool(count: int, seed: int) -> list[np.ndarray]:
    """Simulate ``count`` rooms; a longer pool of the same seed begins with the shorter one. A room takes 10 ms."""
    return [simulate_room(np.random.default_rng([seed, number])) for number in range(count)]


def trim_rir(rir: np.ndarray) -> np.ndarray:
    """Cut an impulse response from 4 ms before its direct path to a decay of 60 dB (1.2 s at most), with peak 1.

    The result is empty for silence. The end fades out, so that the cut does not cause a step.
    """
    rir = rir.astype(np.float32)
    if not rir.any():
        return np.zeros(0, dtype=np.float32)
    at = direct_path(rir)
    rir = np.pad(rir, (max(0, BEFORE_DIRECT - at), 0))[max(0, at - BEFORE_DIRECT) :]
    energy = np.cumsum(np.square(rir, dtype=np.float64)[::-1])[::-1]
    length = int(np.searchsorted(-energy, -energy[0] * 1e-6))
    rir = rir[: max(2 * BEFORE_DIRECT, min(length, int(MAX_RIR_S * SAMPLE_RATE)))]
    fade = min(len(rir) // 8, SAMPLE_RATE // 100)
    rir[len(rir) - fade :] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
    return rir / np.max(np.abs(rir))


def _positions(size: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw a microphone (on a table, shelf or wall) and a speaker (a mouth at 1 to 1.8 m) at least 0.3 m apart."""
    while True:
        microphone = rng.uniform(0.1, size - 0.1)
        microphone[2] = rng.uniform(0.4, 2.0)
        talker = rng.uniform(0.3, size - 0.3)
        if rng.random() < 0.5:  # people usually stand near a device when they address it
            towards = rng.normal(size=3)
            talker = microphone + towards / np.linalg.norm(towards) * rng.uniform(0.3, 1.2)
            talker[:2] = np.clip(talker[:2], 0.2, size[:2] - 0.2)
        talker[2] = rng.uniform(1.0, 1.8)
        if float(np.linalg.norm(talker - microphone)) >= 0.3:
            return microphone, talker


def _shoebox(
    size: np.ndarray,
    absorption: np.ndarray,
    microphone: np.ndarray,
    talker: np.ndarray,
    band_rt60: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    import pyroomacoustics

    walls = pyroomacoustics.Material({"coeffs": absorption.tolist(), "center_freqs": BANDS_HZ.tolist()})
    room = pyroomacoustics.ShoeBox(size, fs=SAMPLE_RATE, materials=walls, max_order=IMAGE_ORDER)
    room.add_source(talker)
    room.add_microphone(microphone)
    room.compute_rir()
    early = np.asarray(room.rir[0][0], dtype=np.float32)
    start = direct_path(early)
    # Images up to this order are complete until the next order's first path arrives, across the smallest dimension.
    mixing = start + int(IMAGE_ORDER * float(size.min()) / SPEED_OF_SOUND * SAMPLE_RATE)
    window, length = SAMPLE_RATE // 50, mixing + int(float(band_rt60.max()) * SAMPLE_RATE)
    early = np.pad(early[:length], (0, max(0, length - len(early))))
    tail = _tail(early[mixing - window : mixing], length - mixing + window, band_rt60, rng)
    fade = np.sqrt(np.linspace(0.0, 1.0, window, dtype=np.float32))  # equal power, because the two are uncorrelated
    early[mixing:] = 0.0
    early[mixing - window : mixing] *= fade[::-1]
    tail[:window] *= fade
    early[mixing - window :] += tail
    return early


def _tail(last: np.ndarray, length: int, band_rt60: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return diffuse reverberation [length] that continues ``last``, the end of the early part, octave by octave."""
    noise_spectrum = fft.rfft(rng.standard_normal(length, dtype=np.float32))
    noise_hz = np.linspace(0.0, SAMPLE_RATE / 2, len(noise_spectrum))
    last_spectrum = fft.rfft(last)
    last_hz = np.linspace(0.0, SAMPLE_RATE / 2, len(last_spectrum))
    edges = np.concatenate([[0.0], BANDS_HZ[:-1] * np.sqrt(2.0), [SAMPLE_RATE]])
    seconds = np.arange(length, dtype=np.float32) / SAMPLE_RATE
    tail = np.zeros(length, dtype=np.float32)
    for low, high, rt60 in zip(edges[:-1], edges[1:], band_rt60):
        wanted = rms(fft.irfft(np.where((last_hz >= low) & (last_hz < high), last_spectrum, 0), len(last)))
        band = fft.irfft(np.where((noise_hz >= low) & (noise_hz < high), noise_spectrum, 0), length)
        band *= np.exp(-6.91 / rt60 * seconds)  # a decay of 60 dB in rt60 seconds
        level = rms(band[: len(last)])
        if level > 0.0:
            tail += band * np.float32(wanted / level)
    return tail
