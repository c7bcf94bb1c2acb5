"""Detection of two people on the two channels of a recording, and their turns.

Many stereo files hold the same audio twice: with another gain, with coding noise, slightly delayed, or from two
microphones in one room. In all of these, the levels of both channels rise and fall together. With a person on each
channel, one of them is louder relative to its own level, even if each leaks into the other's channel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.audio_file import SAMPLE_RATE
from core.voice_activity import FRAME, FRAME_S, SpeechProbability
from pipeline.recordings.diarization.acoustic import SPOKEN, speech_regions, versions
from pipeline.recordings.diarization.turns import Diarization, Turn, with_overlaps
from pipeline.recordings.files.media import open_normalized, read_blocks

NAMES = {"L": "Left speaker", "R": "Right speaker"}
BLOCK_S = 4.0
MAX_DELAY_S = 0.25  # maximum delay between the channels that is searched
ALIKE = 0.5  # minimum correlation for a delay
SMOOTH_FRAMES = 5  # frames (160 ms, a syllable) over which levels are averaged
LOUD_PERCENTILE = 95  # percentile of a channel's levels during speech that stands for the level of its own speaker
LOUDER_DB = 6.0  # a person speaks if their channel, relative to its own level, exceeds the other by this
AUDIBLE_DB = 15.0  # dB below a channel's loud level; quieter audio is the other person, heard through the room
MIN_S, MIN_FRACTION = 0.4, 0.03  # minimum speech of each of two people alone: seconds, and fraction of all speech


@dataclass(frozen=True)
class ChannelComparison:
    """Two channels [frames of 32 ms], aligned in time."""

    speech: np.ndarray  # probability of speech [2, frames]
    lead_db: np.ndarray  # left level minus right level, each relative to its own loud level [frames]
    left_s: float  # seconds of speech that only the left channel has
    right_s: float  # seconds of speech that only the right channel has
    speech_s: float  # seconds of speech in either channel

    @property
    def two_speakers(self) -> bool:
        return bool(min(self.left_s, self.right_s) >= max(MIN_S, MIN_FRACTION * self.speech_s))


def two_speakers(path: Path) -> bool:
    """Return whether a 16 kHz recording has a different person on each of two channels.

    Raises HarkError if it is unreadable.
    """
    comparison = compare_if_stereo(path)
    return comparison is not None and comparison.two_speakers


def compare_if_stereo(path: Path) -> ChannelComparison | None:
    """Run :func:`compare` on a recording with two channels; return None for others."""
    with open_normalized(path) as recording:
        if recording.channels != 2:
            return None
    return compare(path)


def turns_of(comparison: ChannelComparison) -> Diarization:
    """Return the turns of "L" and "R", without speech that only leaks in from the other channel."""
    speech = {}
    for speaker, probabilities, lead in zip(NAMES, comparison.speech, (comparison.lead_db, -comparison.lead_db)):
        speech[speaker] = speech_regions(np.where(lead < -LOUDER_DB, 0.0, probabilities), *SPOKEN)
    turns = [Turn(round(start, 3), round(end, 3), speaker) for speaker, spans in speech.items() for start, end in spans]
    return Diarization(with_overlaps(turns), "channels", names=NAMES, versions=versions("silero-vad"))


def compare(path: Path) -> ChannelComparison:
    """Analyse both channels of a 16 kHz recording block by block. Raises HarkError if it is unreadable."""
    hearing = (SpeechProbability(), SpeechProbability())
    speech: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    powers: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for block in _aligned(path, _delay(path)):
        for number in (0, 1):
            audio = np.ascontiguousarray(block[:, number])
            speech[number].append(hearing[number].feed(audio))
            powers[number].append(np.square(audio.reshape(-1, FRAME)).mean(axis=1))
    if not speech[0]:
        return ChannelComparison(np.zeros((2, 0), np.float32), np.zeros(0, np.float32), 0.0, 0.0, 0.0)
    probable = np.stack([np.concatenate(parts) for parts in speech])
    box = np.ones(SMOOTH_FRAMES) / SMOOTH_FRAMES
    levels = np.stack([10 * np.log10(np.convolve(np.concatenate(parts), box, "same") + 1e-10) for parts in powers])
    spoken = probable.max(axis=0) >= SPOKEN[0]
    if not spoken.any():
        return ChannelComparison(probable, np.zeros(len(spoken)), 0.0, 0.0, 0.0)
    relative = levels - np.percentile(levels[:, spoken], LOUD_PERCENTILE, axis=1, keepdims=True)
    lead = relative[0] - relative[1]
    own = [
        float(np.sum((probable[number] >= SPOKEN[0]) & (sign * lead >= LOUDER_DB) & (relative[number] >= -AUDIBLE_DB)))
        for number, sign in ((0, 1), (1, -1))
    ]
    return ChannelComparison(probable, lead, own[0] * FRAME_S, own[1] * FRAME_S, spoken.sum() * FRAME_S)


def _read(path: Path, frames: int) -> Iterator[np.ndarray]:
    with open_normalized(path) as recording:
        yield from read_blocks(recording, frames)


def _delay(path: Path) -> int:
    """Return the samples by which the right channel lags behind the left; 0 if the channels hold different audio."""
    most = int(MAX_DELAY_S * SAMPLE_RATE)
    total = np.zeros(2 * most + 1)
    energy = 0.0
    for block in _read(path, int(BLOCK_S * SAMPLE_RATE)):
        size = 1 << int(np.ceil(np.log2(2 * len(block) + most)))
        left, right = (np.fft.rfft(block[:, number], size) for number in (0, 1))
        product = np.fft.irfft(np.conj(left) * right, size)
        total += np.concatenate([product[-most:], product[: most + 1]])
        energy += float(np.sqrt(np.prod(np.sum(np.square(block, dtype=np.float64), axis=0))))
    if energy < 1e-9:
        return 0
    peak = int(np.abs(total).argmax())
    return peak - most if abs(total[peak]) / energy >= ALIKE else 0


def _aligned(path: Path, delay: int) -> Iterator[np.ndarray]:
    """Yield blocks [frames of 512 samples, 2] with the later channel shifted; an incomplete frame is dropped."""
    length = int(BLOCK_S * SAMPLE_RATE) // FRAME * FRAME
    shifts = (max(0, -delay), max(0, delay))
    rest = np.zeros((0, 2), np.float32)
    for block in _read(path, length):
        rest = np.concatenate([rest, block])
        usable = (len(rest) - max(shifts)) // FRAME * FRAME
        if usable > 0:
            yield np.stack([rest[shift : shift + usable, number] for number, shift in enumerate(shifts)], axis=1)
            rest = rest[usable:]
