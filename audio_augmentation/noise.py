"""Recorded and generated noise, and mixing at a given SNR."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import soundfile
import soxr
from scipy import fft

from audio_augmentation.equalizer import (
    GRID_HZ,
    high_pass_response,
    low_pass_response,
    random_bands_response,
    response_at,
)
from audio_augmentation.gain_speed import SILENCE, active_rms, limit_peak
from core.audio_file import SAMPLE_RATE, read_audio
from core.data_folder import check_folder
from core.errors import HarkError
from core.worded import listed, worded

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".m4a", ".webm")
CHUNK_S = 20.0  # seconds per chunk of a file, which is read and cached as a whole
CACHED_CHUNKS = 200  # maximum chunks in memory: 256 MB
SEAM = SAMPLE_RATE // 100  # samples (10 ms) of crossfade where noise is repeated
DRAW_TRIES = 8  # chunks tried before giving up, if they are unreadable or digital silence


def repeat_to(audio: np.ndarray, samples: int) -> np.ndarray:
    """Cut audio to ``samples`` samples, or repeat it with short crossfades to prevent clicks."""
    if len(audio) >= samples:
        return audio[:samples].astype(np.float32)
    if not len(audio):
        return np.zeros(samples, dtype=np.float32)
    fade = min(SEAM, len(audio) // 4)
    period = len(audio) - fade
    # One period, in which the end of the audio fades out over its beginning, so that repetition has no seam.
    loop = audio[:period].astype(np.float32)
    if fade:
        ramp = np.linspace(0.0, 1.0, fade, dtype=np.float32)
        loop[:fade] = audio[:fade] * ramp + audio[period:] * (1.0 - ramp)
    repeated = np.tile(loop, -(-samples // period))[:samples]
    repeated[:fade] = audio[:fade]
    return repeated


def random_segment(audio: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Return ``samples`` samples: a random part of longer audio, or shorter audio repeated from a random position."""
    if len(audio) > samples:
        start = int(rng.integers(len(audio) - samples + 1))
        return audio[start : start + samples].astype(np.float32)
    return repeat_to(np.roll(audio, -int(rng.integers(max(1, len(audio))))), samples)


def add_noise(audio: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Add ``noise`` at a level ``snr_db`` below ``audio``.

    Both levels are measured without pauses (:func:`active_rms`), so neither silence around a word nor gaps between
    barks affect the SNR. If the sum would exceed 1, it is scaled down. Shorter noise is repeated, longer noise is cut.
    Noise is added to silent audio unscaled. Silent noise leaves the audio unchanged.
    """
    noise = repeat_to(noise, len(audio))
    speech_level, noise_level = active_rms(audio), active_rms(noise)
    if noise_level <= SILENCE:
        return limit_peak(audio.astype(np.float32))
    gain = speech_level / noise_level * 10 ** (-snr_db / 20) if speech_level > SILENCE else 1.0
    return limit_peak(audio.astype(np.float32) + noise * np.float32(gain))


def colored_noise(samples: int, color_exponent: float, rng: np.random.Generator) -> np.ndarray:
    """Return Gaussian noise with power 1 / f ** ``color_exponent``: 0 white, 1 pink, 2 brown; RMS 0.1, peak below 1.

    The spectrum is flat below 30 Hz, where brown noise would have all of its power.
    """
    slope_db = -10.0 * color_exponent * np.log10(np.maximum(GRID_HZ, 30.0) / 1000.0)
    return _shaped_noise(samples, slope_db, rng)


def ambient_noise(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Generate ambience of a room, street or machine: coloured noise with emphasized bands and a varying level.

    Some noises have hum, knocks or clatter. RMS about 0.1, peak at most 1.
    """
    slope_db = -10.0 * rng.uniform(-0.2, 2.0) * np.log10(np.maximum(GRID_HZ, 30.0) / 1000.0)
    response = slope_db + random_bands_response(rng, max_db=14.0, bands=int(rng.integers(4, 13)))
    if rng.random() < 0.3:
        response = response + low_pass_response(float(np.exp(rng.uniform(np.log(400.0), np.log(6000.0)))), 2.0)
    if rng.random() < 0.3:
        response = response + high_pass_response(float(np.exp(rng.uniform(np.log(100.0), np.log(2000.0)))), 2.0)
    noise = _shaped_noise(samples, response, rng) * slow_modulation(samples, rng, depth_db=rng.uniform(0.0, 12.0))
    if rng.random() < 0.25:
        noise = noise + hum(samples, rng) * np.float32(rng.uniform(0.1, 1.0))
    if rng.random() < 0.3:
        noise = noise + knocks(samples, rng) * np.float32(rng.uniform(0.2, 1.5))
    if rng.random() < 0.3:
        noise = noise + clatter(samples, rng) * np.float32(rng.uniform(0.3, 3.0))
    return limit_peak(noise)


def hum(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Generate mains hum: 50 or 60 Hz (a little off) with up to 20 harmonics, weaker at higher frequencies; RMS 0.1."""
    base_hz = float(rng.choice([50.0, 60.0])) * rng.uniform(0.998, 1.002)
    harmonics = np.arange(1, int(rng.integers(4, 21)))
    amplitudes = rng.uniform(0.1, 1.0, len(harmonics)) / harmonics ** rng.uniform(0.3, 1.5)
    weights = (amplitudes * np.exp(1j * rng.uniform(0.0, 2.0 * np.pi, len(harmonics)))).astype(np.complex64)
    # Each harmonic is a power of one rotating phasor, which costs a product instead of a sine.
    turn = np.exp((2j * np.pi * base_hz / SAMPLE_RATE) * np.arange(samples)).astype(np.complex64)
    power = turn.copy()
    tone = np.zeros(samples, dtype=np.float32)
    for weight in weights:
        tone += (weight * power).real
        power *= turn
    return _at_rms(tone)


def knocks(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Generate keys, footsteps, doors: short decaying bursts of filtered noise; active RMS 0.1, peak at most 1."""
    noise = np.zeros(samples, dtype=np.float32)
    count = 1 + int(rng.poisson(2.0 * samples / SAMPLE_RATE))
    color = -10.0 * rng.uniform(-1.0, 2.0) * np.log10(np.maximum(GRID_HZ, 30.0) / 1000.0)
    bursts = _shaped_noise(SAMPLE_RATE, color + random_bands_response(rng, 14.0), rng)
    for start in rng.integers(0, max(samples, 1), count):
        decay = SAMPLE_RATE * float(np.exp(rng.uniform(np.log(0.003), np.log(0.08))))  # samples until 1 / e
        length = min(int(5 * decay), samples - int(start), SAMPLE_RATE)
        offset = int(rng.integers(0, SAMPLE_RATE - length + 1))
        burst = bursts[offset : offset + length] * np.exp(-np.arange(length) / decay).astype(np.float32)
        noise[start : start + length] += burst * np.float32(rng.uniform(0.3, 1.0))
    return _at_active_rms(noise)


def clatter(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Generate crockery, cutlery, tools: ringing strokes over faint coloured noise.

    Each stroke is a sum of damped, inharmonic modes (modal synthesis, as in van den Doel and Pai, "The sounds of
    physical shapes", 1998) of one of a few objects. Strokes come in loose groups. Active RMS 0.1, peak at most 1.
    """
    noise = colored_noise(samples, rng.uniform(0.0, 1.5), rng)
    noise *= np.float32(10 ** (rng.uniform(-40.0, -15.0) / 20))
    objects = []
    for _ in range(int(rng.integers(2, 7))):
        lowest = float(np.exp(rng.uniform(np.log(250.0), np.log(3500.0))))
        modes = int(rng.integers(4, 16))
        hertz = lowest * np.cumsum(np.concatenate([[1.0], rng.uniform(0.15, 1.2, modes - 1)]))
        ring_s = float(np.exp(rng.uniform(np.log(0.004), np.log(0.25)))) * (lowest / hertz) ** rng.uniform(0.2, 1.0)
        audible = hertz < 0.49 * SAMPLE_RATE
        objects.append((hertz[audible], ring_s[audible], rng.uniform(0.1, 1.0, modes)[audible]))
    place, rate = 0.0, float(np.exp(rng.uniform(np.log(1.0), np.log(12.0))))  # strokes per second within a group
    while True:
        place += SAMPLE_RATE * float(rng.exponential(1.0 / rate) if rng.random() < 0.85 else rng.uniform(0.2, 2.0))
        start = int(place)
        if start >= samples:
            break
        hertz, ring_s, strength = objects[int(rng.integers(len(objects)))]
        length = min(samples - start, int(5 * ring_s.max() * SAMPLE_RATE) + 1)
        time = np.arange(length, dtype=np.float32) / SAMPLE_RATE
        stroke = strength * rng.uniform(0.3, 1.0, len(hertz)) * np.exp(rng.normal(0.0, 0.8))
        phases = rng.uniform(0.0, 2.0 * np.pi, len(hertz))
        for frequency, ring, amplitude, phase in zip(hertz, ring_s, stroke, phases):
            turn = np.float32(2.0 * np.pi * frequency) * time + np.float32(phase)
            noise[start : start + length] += np.float32(amplitude) * np.sin(turn) * np.exp(-time / np.float32(ring))
    return _at_active_rms(noise)


def slow_modulation(samples: int, rng: np.random.Generator, depth_db: float) -> np.ndarray:
    """Return gains [samples] that vary by about +-``depth_db`` and change direction every 0.1 to 2 s."""
    step = rng.uniform(0.1, 2.0) * SAMPLE_RATE
    points = np.arange(int(samples / step) + 2) * step
    gains_db = rng.uniform(-depth_db, depth_db, len(points))
    gains = 10 ** (gains_db / 20)
    return np.interp(np.arange(samples), points, gains).astype(np.float32)


def babble(clips: Sequence[np.ndarray], samples: int, rng: np.random.Generator) -> np.ndarray:
    """Mix other people's speech: 1 to 7 clips from random positions, at various distances.

    The caller must ensure that the clips do not contain the phrase. RMS about 0.1, peak at most 1.

    Raises:
        ValueError: ``clips`` is empty.
    """
    if not len(clips):
        raise ValueError("babble needs clips")
    mixture = np.zeros(samples, dtype=np.float32)
    for _ in range(int(rng.integers(1, 8))):
        clip = np.asarray(clips[int(rng.integers(len(clips)))], dtype=np.float32)
        gain = np.float32(10 ** (rng.uniform(-9.0, 0.0) / 20))
        voice = random_segment(clip, samples, rng)
        level = active_rms(voice)
        if level > SILENCE:
            mixture += voice * (gain / np.float32(level))
    return limit_peak(_at_rms(mixture))


class NoiseLibrary:
    """Recorded noise in a folder. Files are read on demand in chunks of 20 s; the most recently used are cached.

    Attributes:
        paths: the audio files under the folder, sorted.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self._count = cache(lambda index: _chunk_count(self.paths[index]))
        self._piece = lru_cache(CACHED_CHUNKS)(lambda index, number: _read_chunk(self.paths[index], number))

    def draw(self, samples: int, rng: np.random.Generator) -> np.ndarray:
        """Return a random segment [samples] of a random file. Shorter files are repeated.

        The result depends only on the files and the generator, not on earlier draws. Unreadable files and silent
        segments are skipped.

        Raises:
            HarkError: none of several files that were tried can be read.
        """
        segment: np.ndarray | None = None
        for _ in range(DRAW_TRIES):
            index = int(rng.integers(len(self.paths)))
            piece = self._piece(index, int(rng.integers(self._count(index))))
            if len(piece):
                segment = random_segment(piece, samples, rng)
                if segment.any():
                    return segment
        if segment is None:
            raise HarkError(
                worded("No noise file could be read."),
                worded(
                    "%(draw_tries)s files in %(parent)s and next to it are not audio that Hark can read.",
                    draw_tries=DRAW_TRIES,
                    parent=self.paths[0].parent,
                ),
                worded("Put WAV, FLAC, Ogg or MP3 files into the noise folder, or run without one."),
            )
        return segment


def load_noise_folder(folder: Path) -> NoiseLibrary:
    """List the audio files anywhere under ``folder``, without reading them.

    Raises:
        HarkError: the folder does not exist or has no audio file.
    """
    check_folder(folder)
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file())
    if not paths:
        raise HarkError(
            worded("The noise folder %(folder)s contains no audio.", folder=str(folder)),
            worded("No file in it ends in %(audio_suffixes)s.", audio_suffixes=listed(AUDIO_SUFFIXES)),
            worded("Put recordings of noise there, or run without a noise folder: Hark then makes its own noise."),
        )
    return NoiseLibrary(paths)


def _chunk_count(path: Path) -> int:
    """Return the number of chunks of a file; 1 if its length is unknown before decoding."""
    try:
        return max(1, int(soundfile.info(str(path)).duration / CHUNK_S))
    except (soundfile.LibsndfileError, OSError):
        return 1


def _read_chunk(path: Path, number: int) -> np.ndarray:
    """Read chunk ``number`` (20 s) of a file; return an empty vector if the file cannot be read."""
    try:
        if number == 0:
            return read_audio(path, max_seconds=CHUNK_S)
        with soundfile.SoundFile(str(path)) as source:
            source.seek(int(number * CHUNK_S * source.samplerate))
            block = source.read(int(CHUNK_S * source.samplerate), dtype="float32", always_2d=True).mean(axis=1)
            rate = source.samplerate
        audio = soxr.resample(block, rate, SAMPLE_RATE) if rate != SAMPLE_RATE else block
        return np.clip(np.nan_to_num(np.asarray(audio, dtype=np.float32), posinf=1.0, neginf=-1.0), -1.0, 1.0)
    except (HarkError, soundfile.LibsndfileError, OSError):
        return np.zeros(0, dtype=np.float32)


def _shaped_noise(samples: int, response_db: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return Gaussian noise with a spectrum in dB on the equalizer's grid; RMS 0.1, peak at most 1."""
    if samples <= 0:
        return np.zeros(0, dtype=np.float32)
    length = fft.next_fast_len(max(samples, 1024), real=True)
    bins = length // 2 + 1
    # The spectrum of white Gaussian noise is white Gaussian noise, so drawing it directly saves a transform.
    spectrum = rng.standard_normal(2 * bins, dtype=np.float32).view(np.complex64)
    spectrum *= response_at(response_db - response_db.max(), bins)
    spectrum[0] = 0.0
    return limit_peak(_at_rms(fft.irfft(spectrum, length)[:samples]))


def _at_active_rms(noise: np.ndarray) -> np.ndarray:
    """Scale strokes to RMS 0.1 (without the silence between them) and a peak of at most 1; silence is unchanged."""
    level = active_rms(noise)
    return limit_peak(noise * np.float32(0.1 / level)) if level > 0.0 else noise


def _at_rms(audio: np.ndarray) -> np.ndarray:
    now = float(np.sqrt(np.mean(np.square(audio)))) if len(audio) else 0.0
    return (audio * np.float32(0.1 / now)).astype(np.float32) if now > 0.0 else audio.astype(np.float32)
