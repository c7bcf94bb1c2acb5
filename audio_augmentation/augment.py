"""The augmentation chain, which turns a clean clip into a recording by a microphone in a room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from audio_augmentation import codec, gain_speed, noise, reverb
from audio_augmentation.equalizer import random_equalizer


@dataclass(frozen=True)
class AugmentationConfig:
    """Probabilities and ranges of the steps. A ``*_share`` is the probability that a clip gets that step.

    Each step applies only to a fraction of the clips, because a clip with strong reverberation, filters and noise
    together has no recognizable phones.
    """

    speed_share: float = 0.7
    speed: tuple[float, float] = (0.85, 1.15)  # factor; changes the pitch
    tempo_share: float = 0.25
    tempo: tuple[float, float] = (0.9, 1.15)  # factor; preserves the pitch

    talker_equalizer_share: float = 0.3  # before the room: another vocal tract, or a loudspeaker
    room_share: float = 0.5  # effective only if there are rooms

    noise_share: float = 0.85
    snr_db: tuple[float, float] = (-5.0, 25.0)
    usual_snr_db: tuple[float, float] = (0.0, 20.0)
    usual_snr_share: float = 0.85  # fraction of the noisy clips whose SNR is usual; the others draw from all of snr_db
    library_share: float = 0.6  # fraction of the noisy clips, if there is recorded noise
    babble_share: float = 0.15  # fraction of the noisy clips, if there are voices; the rest gets generated noise
    floor_snr_db: tuple[float, float] = (30.0, 55.0)  # level of microphone self-noise on clips without other noise

    equalizer_share: float = 0.6
    equalizer_db: float = 8.0  # maximum gain per band
    tilt_db: float = 2.0  # maximum per octave
    microphone_share: float = 0.4  # fraction of the equalized clips: bass and treble cut off, resonances added

    overload_share: float = 0.03
    overload_db: tuple[float, float] = (0.0, 12.0)
    telephone_share: float = 0.02
    opus_share: float = 0.03
    opus_bitrates: tuple[int, ...] = (8_000, 12_000, 16_000, 24_000, 32_000)

    gain_db: tuple[float, float] = (-24.0, 6.0)
    level_db: tuple[float, float] = (-45.0, -15.0)  # dBFS; range of the final active level

    def quiet(self) -> AugmentationConfig:
        """Return it without the room, noise, microphone and line: these steps do not move sound."""
        return replace(
            self, room_share=0.0, noise_share=0.0, equalizer_share=0.0, overload_share=0.0, telephone_share=0.0,
            opus_share=0.0,
        )  # fmt: skip


class Augmenter:
    """Applies the chain. It has no state: the same audio and an equal generator give the same result.

    Args:
        noises: recorded noise; None for generated noise only.
        rooms: impulse responses [samples], see :func:`reverb.room_pool`; [] for no reverberation.
        voices: clips for babble, which must not contain the phrase; [] for no babble.
    """

    def __init__(
        self,
        config: AugmentationConfig | None = None,
        noises: noise.NoiseLibrary | None = None,
        rooms: Sequence[np.ndarray] = (),
        voices: Sequence[np.ndarray] = (),
    ) -> None:
        self.config = config or AugmentationConfig()
        self.noises = noises
        self.rooms = rooms
        self.voices = voices

    def __call__(self, audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return an augmented copy of ``audio`` [samples]; only speed and tempo change its length."""
        return self.apply_with_positions(audio, (), rng)[0]

    def apply_with_positions(
        self, audio: np.ndarray, positions: Sequence[int], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the augmented audio, and the new indices of the samples ``positions`` [len(positions)], int64.

        They are exact to a sample under speed changes, and to 10 ms under tempo changes. Other steps do not move sound.

        Raises:
            ValueError: the audio is not one-dimensional.
        """
        if np.ndim(audio) != 1:
            raise ValueError(f"audio is [samples], not an array of shape {np.shape(audio)}")
        config = self.config
        audio = np.clip(np.nan_to_num(np.asarray(audio, dtype=np.float32)), -1.0, 1.0)
        given = len(audio)

        # The voice.
        if rng.random() < config.speed_share:
            audio = gain_speed.change_speed(audio, rng.uniform(*config.speed))
        if rng.random() < config.tempo_share:
            audio = gain_speed.change_tempo(audio, rng.uniform(*config.tempo))
        moved = np.round(np.asarray(positions, dtype=np.float64) * (len(audio) / max(given, 1))).astype(np.int64)
        if rng.random() < config.talker_equalizer_share:
            audio = random_equalizer(audio, rng, config.equalizer_db, config.tilt_db)

        # The room, and its other sounds.
        if len(self.rooms) and rng.random() < config.room_share:
            audio = reverb.reverberate(audio, self.rooms[int(rng.integers(len(self.rooms)))])
        audio = self._with_noise(audio, rng)

        # The microphone and the line.
        if rng.random() < config.equalizer_share:
            with_microphone = rng.random() < config.microphone_share
            audio = random_equalizer(audio, rng, config.equalizer_db, config.tilt_db, with_microphone)
        if rng.random() < config.overload_share:
            audio = gain_speed.overload(audio, rng.uniform(*config.overload_db))
        line = rng.random()
        if line < config.telephone_share:
            audio = codec.telephone(gain_speed.limit_peak(audio))
        elif line < config.telephone_share + config.opus_share:
            bitrate = config.opus_bitrates[int(rng.integers(len(config.opus_bitrates)))]
            audio = codec.opus(gain_speed.limit_peak(audio), bitrate)
        return self._at_level(audio, rng), moved

    def _with_noise(self, audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        config = self.config
        if rng.random() >= config.noise_share:
            # Only synthesizers produce digital silence: a detector could learn to recognize them by it.
            return noise.add_noise(
                audio, noise.colored_noise(len(audio), rng.uniform(0.0, 1.5), rng), rng.uniform(*config.floor_snr_db)
            )
        usual = rng.random() < config.usual_snr_share
        snr_db = rng.uniform(*(config.usual_snr_db if usual else config.snr_db))
        return noise.add_noise(audio, self._noise(len(audio), rng), snr_db)

    def _noise(self, samples: int, rng: np.random.Generator) -> np.ndarray:
        config = self.config
        source = rng.random()
        if len(self.voices) and source < config.babble_share:
            return noise.babble(self.voices, samples, rng)
        if self.noises is not None and source < config.babble_share + config.library_share:
            return self.noises.draw(samples, rng)
        return noise.ambient_noise(samples, rng)

    def _at_level(self, audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        lowest, highest = self.config.level_db
        level_db = gain_speed.to_db(gain_speed.active_rms(audio)) + rng.uniform(*self.config.gain_db)
        # Drawn again rather than clamped, because clamping would make the bounds frequent.
        if not lowest <= level_db <= highest:
            level_db = rng.uniform(lowest, highest)
        return gain_speed.set_level(audio, level_db)
