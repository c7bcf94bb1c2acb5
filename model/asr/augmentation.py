"""Augmentation of batches of speech as they are drawn, on the training device: speed, rooms, noise, filters."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchaudio.functional import mask_along_axis_iid
from torchaudio.transforms import MelSpectrogram

from core.audio_file import SAMPLE_RATE
from model.features import F_MAX, F_MIN, FFT, HOP, MELS, POWER_FLOOR, WINDOW

ROOM_SAMPLES = 12_000  # samples of a room impulse response: 0.75 s
# Lengths are padded to multiples of this: CUDA then needs few FFT plans, with small prime factors (5 times faster).
FFT_STEP = 8_000


@dataclass(frozen=True)
class SpeechAugmentation:
    """Fractions of the items that are changed, and the range of each change."""

    speed_share: float = 0.7
    speed: tuple[float, float] = (0.82, 1.2)  # factor; changes pitch, formants and tempo together
    room_share: float = 0.4
    noise_share: float = 0.75
    snr_db: tuple[float, float] = (2.0, 30.0)
    babble_share: float = 0.25  # fraction of the noisy items with other speakers of the batch
    recorded_share: float = 0.5  # fraction of the noisy items with recorded noise; the rest get coloured noise
    equalizer_db: float = 5.0
    telephone_share: float = 0.1
    gain_db: tuple[float, float] = (-22.0, 8.0)  # dB relative to speech at -26 dBFS
    warp: tuple[float, float] = (0.88, 1.14)  # factor of the mel axis
    time_masks: int = 2
    mask_frames: int = 20
    band_masks: int = 2
    mask_bands: int = 6


class BatchAugmenter:
    def __init__(self, config: SpeechAugmentation, noise: np.ndarray, rooms: list[np.ndarray], device: str) -> None:
        self.config = config
        self.device = device
        self.noise = torch.from_numpy(np.asarray(noise, np.float32) / 32768.0).to(device)
        responses = np.zeros((len(rooms), ROOM_SAMPLES), np.float32)
        for row, room in zip(responses, rooms):
            loudest = int(np.abs(room).argmax())
            part = room[max(0, loudest - 32) :][:ROOM_SAMPLES]
            row[: len(part)] = part / np.sqrt(np.square(part).sum())
        self.rooms = torch.from_numpy(responses).to(device)
        self.mel = MelSpectrogram(
            SAMPLE_RATE, FFT, WINDOW, HOP, F_MIN, F_MAX, n_mels=MELS, center=False, norm=None, mel_scale="htk"
        ).to(device)

    def _uniform(self, size: int, low: float, high: float) -> Tensor:
        return torch.rand(size, device=self.device) * (high - low) + low

    def _chosen(self, size: int, share: float) -> Tensor:
        return torch.rand(size, device=self.device) < share

    def change_speed(self, audio: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Change the speed of some items, each by a random factor, with linear interpolation.

        Takes and returns audio [batch, samples] and the items' lengths [batch] in samples.
        """
        c, size = self.config, len(audio)
        factor = self._uniform(size, math.log(c.speed[0]), math.log(c.speed[1])).exp()
        factor = torch.where(self._chosen(size, c.speed_share), factor, torch.ones_like(factor))
        new_lengths = (lengths / factor).long()
        position = torch.arange(int(new_lengths.max()), device=self.device)[None] * factor[:, None]
        below = position.long().clamp(max=audio.shape[1] - 2)
        fraction = (position - below).clamp(0, 1)
        changed = torch.gather(audio, 1, below) * (1 - fraction) + torch.gather(audio, 1, below + 1) * fraction
        inside = torch.arange(changed.shape[1], device=self.device)[None] < new_lengths[:, None]
        return changed * inside, new_lengths

    def _noise(self, audio: Tensor) -> Tensor:
        """Return noise [batch, samples] for each item: a recording, speech of other items, or coloured noise."""
        size, samples = audio.shape
        kind = torch.rand(size, device=self.device)
        c = self.config
        spectrum = torch.fft.rfft(torch.randn(size, samples, device=self.device))
        slope = self._uniform(size, 0.0, 1.0)[:, None]  # spectral slope of the amplitude, from white to brown
        frequency = torch.arange(1, spectrum.shape[1] + 1, device=self.device)[None].float()
        noise = torch.fft.irfft(spectrum * frequency.pow(-slope), n=samples)
        if len(self.noise):
            start = torch.randint(0, len(self.noise), (size, 1), device=self.device)
            recorded = self.noise[(start + torch.arange(samples, device=self.device)[None]) % len(self.noise)]
            noise = torch.where((kind < c.recorded_share)[:, None], recorded, noise)
        others = torch.zeros_like(audio)
        for _ in range(3):
            others = others + torch.roll(
                audio[torch.randperm(size, device=self.device)], int(torch.randint(samples, (1,))), 1
            )
        return torch.where((kind > 1.0 - c.babble_share)[:, None], others, noise)

    def waveform(self, audio: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Augment audio [batch, samples]; return it with the items' new lengths [batch] in samples."""
        audio, lengths = self.change_speed(audio, lengths)
        return self.in_a_room(audio, lengths), lengths

    def in_a_room(self, audio: Tensor, lengths: Tensor) -> Tensor:
        """Add a room, noise, a microphone response and a gain to audio [batch, samples].

        The result is padded to a multiple of :data:`FFT_STEP` samples.
        """
        c = self.config
        audio = functional.pad(audio, (0, -audio.shape[1] % FFT_STEP))
        size, samples = audio.shape
        level = audio.square().sum(1).div(lengths).sqrt().clamp(min=1e-5)
        points = samples + -(-ROOM_SAMPLES // FFT_STEP) * FFT_STEP
        spectrum = torch.fft.rfft(audio, n=points)
        if len(self.rooms):
            room = self.rooms[torch.randint(0, len(self.rooms), (size,), device=self.device)]
            wet = spectrum * torch.fft.rfft(room, n=points)
            spectrum = torch.where(self._chosen(size, c.room_share)[:, None], wet, spectrum)
        # Speech and noise pass through the same microphone, so the filter comes after the noise.
        audio = torch.fft.irfft(spectrum, n=points)[:, :samples]
        audio = audio * (level / audio.square().sum(1).div(lengths).sqrt().clamp(min=1e-5))[:, None]
        noise = self._noise(audio)
        noise_level = noise.square().mean(1).sqrt().clamp(min=1e-6)
        snr = self._uniform(size, *c.snr_db)
        # Items without added noise still get the microphone's noise.
        snr = torch.where(self._chosen(size, c.noise_share), snr, self._uniform(size, 35.0, 60.0))
        audio = audio + noise * (level / noise_level * 10 ** (-snr / 20))[:, None]
        spectrum = torch.fft.rfft(audio, n=points)
        spectrum = spectrum * self._filters(size, spectrum.shape[1])
        audio = torch.fft.irfft(spectrum, n=points)[:, :samples]
        gain = 10 ** (self._uniform(size, *c.gain_db) / 20)
        return (audio * gain[:, None]).clamp(-1, 1)

    def _filters(self, size: int, bins: int) -> Tensor:
        """Return a smooth random frequency response [batch, bins]; for some items, only of the telephone band."""
        c = self.config
        points = torch.randn(size, 1, 10, device=self.device) * (c.equalizer_db / 2)
        curve = functional.interpolate(points, size=bins, mode="linear", align_corners=True)[:, 0]
        frequency = torch.linspace(0, SAMPLE_RATE / 2, bins, device=self.device)[None]
        low = self._uniform(size, 150.0, 350.0)[:, None]
        high = self._uniform(size, 3200.0, 4000.0)[:, None]
        outside = torch.relu(low - frequency) / 10 + torch.relu(frequency - high) / 25  # attenuation in dB
        curve = curve - outside.clamp(max=50.0) * self._chosen(size, c.telephone_share)[:, None]
        return 10 ** (curve / 20)

    def log_mel(self, audio: Tensor) -> Tensor:
        """Compute ``model.features.log_mel`` on the device: [batch, samples] to [batch, frames, MELS]."""
        margin = (FFT - WINDOW) // 2
        power: Tensor = self.mel(functional.pad(audio, (margin, margin)))
        return torch.log(power.transpose(1, 2) + POWER_FLOOR)

    def features(self, log_mel: Tensor) -> Tensor:
        """Warp the mel axis and mask times and bands (SpecAugment): [batch, frames, MELS] to the same shape."""
        c = self.config
        size, frames, mels = log_mel.shape
        factor = self._uniform(size, math.log(c.warp[0]), math.log(c.warp[1])).exp()
        position = (torch.arange(mels, device=self.device)[None] * factor[:, None]).clamp(0, mels - 1)
        below = position.long().clamp(max=mels - 2)
        fraction = (position - below)[:, None]
        index = below[:, None].expand(size, frames, mels)
        warped = torch.gather(log_mel, 2, index) * (1 - fraction) + torch.gather(log_mel, 2, index + 1) * fraction
        mean = warped.mean(dim=(1, 2), keepdim=True)
        masked = warped
        for _ in range(c.time_masks):
            masked = mask_along_axis_iid(masked, c.mask_frames, math.nan, 1)
        for _ in range(c.band_masks):
            masked = mask_along_axis_iid(masked, c.mask_bands, math.nan, 2)
        return torch.where(masked.isnan(), mean, masked)
