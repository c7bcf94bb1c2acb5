"""The units of one person's recorded speech: the cut of each phone, and the spectrum there.

All functions here are pure functions of audio and phone times. A *segment* is a phone or a pause. Segments follow one
another without gaps. Each has one *cut*, near its centre, where a join is least audible: in the closure of stops, and
where the spectrum of other phones changes least. A *diphone* extends from one segment's cut to the next one's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from core.audio_file import SAMPLE_RATE
from db.records import AlignedUnit
from phrase_augmentation.distance import is_vowel

PAUSE = ""  # the label of silence
HOP = 80  # samples (5 ms) between frames
WINDOW = 400  # samples (25 ms) per frame
FFT = 512
BANDS = 24
CEPSTRA = 12
MIN_PAUSE_S = 0.10  # seconds; a shorter gap between phones belongs to the preceding phone
PAUSE_S = 0.18  # maximum seconds of a longer pause that are used next to speech
STOPS = frozenset(("p", "b", "t", "d", "k", "ɡ", "ɾ", "tʃ", "dʒ"))
# Range in which the cut of a stop is searched, in seconds from the start that the aligner gives. In 1,900 stops, the
# level was lowest 10 to 30 ms after that start, just before the burst. The range ends earlier, so that the fade does
# not reach the burst.
CLOSURE_S = (-0.02, 0.02)
QUIET_PAUSE_DB = 12.0  # above a recording's quietest tenth; louder pauses contain breath or the end of a sound
F0_RANGE_HZ = (65.0, 400.0)
F0_WINDOW = 640  # samples (40 ms): two and a half periods of the lowest voice
VOICED = 0.45  # minimum autocorrelation of voiced sounds, relative to lag 0
LEVEL_RMS = 0.08  # RMS of each recording after normalization
MAX_EQUALIZED_DB = 6.0
EQUALIZED_FROM_S = 10.0  # seconds; the spectrum of a shorter recording depends on its words, so it is changed less
MIN_AUDIO_S = 0.3
NO_WORD = -1


@dataclass(frozen=True)
class Word:
    """A word of a recording, times in seconds; ``stressed`` is the index of its main stressed vowel, if known."""

    label: str
    start_s: float
    end_s: float
    stressed: int | None = None


@dataclass(frozen=True)
class Recording:
    """A stretch of one person's speech: audio float32 [samples] at 16 kHz. ``name`` identifies the source."""

    name: str
    audio: np.ndarray
    phones: tuple[AlignedUnit, ...]
    words: tuple[Word, ...]


@dataclass(frozen=True)
class UnitTable:
    """All segments of one person, in order of recording and time. Arrays are [segments] unless noted.

    Attributes:
        names: names of the recordings; ``audio`` holds their samples, int16, equalized in level and rough spectrum.
        labels: the phones that occur, after the pause; ``label`` holds indices into it.
        start, cut, end: samples in the recording.
        word: index into ``words``, NO_WORD for pauses; ``ends_word`` is True for the last phone of a word.
        stressed: whether it has the main stress of its word.
        cost: cost of the segment itself (low confidence, an unusual length).
        sound: cepstra and their slopes at the cut [segments, 2 * CEPSTRA], each of variance 1 over the table.
        loudness: level at the cut [dB].
        pitch: log2 of the fundamental frequency in Hz at the cut, NaN if unvoiced.
    """

    names: tuple[str, ...]
    audio: tuple[np.ndarray, ...]
    labels: tuple[str, ...]
    words: tuple[str, ...]
    recording: np.ndarray
    label: np.ndarray
    start: np.ndarray
    cut: np.ndarray
    end: np.ndarray
    word: np.ndarray
    ends_word: np.ndarray
    stressed: np.ndarray
    cost: np.ndarray
    sound: np.ndarray
    loudness: np.ndarray
    pitch: np.ndarray
    diphones: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)  # first segments of each pair of labels
    of_label: dict[int, np.ndarray] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return sum(len(audio) for audio in self.audio) / SAMPLE_RATE


def unit_table(recordings: Sequence[Recording]) -> UnitTable:
    """Build the table of one person's recordings, skipping those without phones or shorter than 0.3 s.

    Raises:
        ValueError: no recording remains.
    """
    from scipy import fft, ndimage

    usable = [r for r in recordings if _usable(r)]
    if not usable:
        raise ValueError("no recording with phones")
    audios = even_out([recording.audio for recording in usable])
    labels: dict[str, int] = {PAUSE: 0}
    words: dict[str, int] = {}
    columns: dict[str, list[np.ndarray]] = {}
    for number, (recording, audio) in enumerate(zip(usable, audios)):
        rows = _segments(recording, len(audio), labels, words)
        mel = log_mel(audio)
        known = list(labels)
        rows["cut"] = _cuts(rows, [known[index] for index in rows["label"]], mel)
        cepstra = fft.dct(mel, axis=1, norm="ortho")[:, 1 : CEPSTRA + 1].astype(np.float32)
        slopes = (ndimage.uniform_filter1d(_shifted(cepstra, 4), 3, axis=0) - _shifted(cepstra, -4)) / 2
        frames = np.clip(rows["cut"] // HOP, 0, len(mel) - 1)
        smooth = ndimage.uniform_filter1d(cepstra, 3, axis=0)
        rows["sound"] = np.concatenate([smooth[frames], slopes[frames]], axis=1)
        rows["loudness"] = 10 * np.log10(np.exp(mel[frames]).sum(axis=1) + 1e-10)
        floor = np.quantile(10 * np.log10(np.exp(mel).sum(axis=1) + 1e-10), 0.1)
        loud = np.clip((rows["loudness"] - floor - QUIET_PAUSE_DB) / 10, 0.0, 2.0)
        rows["cost"] = rows["cost"] + np.where(rows["label"] == 0, loud, 0.0)
        rows["pitch"] = pitch_at(audio, rows["cut"])
        rows["recording"] = np.full(len(rows["label"]), number)
        for name, values in rows.items():
            columns.setdefault(name, []).append(values)
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    sound = joined["sound"]
    joined["sound"] = ((sound - sound.mean(axis=0)) / (sound.std(axis=0) + 1e-6)).astype(np.float32)
    joined["cost"] = joined["cost"] + _odd_lengths(joined["label"], joined["end"] - joined["start"])
    follows = (joined["recording"][1:] == joined["recording"][:-1]).nonzero()[0]
    diphones: dict[tuple[int, int], list[int]] = {}
    for index in follows:
        diphones.setdefault((int(joined["label"][index]), int(joined["label"][index + 1])), []).append(int(index))
    return UnitTable(
        names=tuple(recording.name for recording in usable),
        audio=tuple(np.rint(np.clip(audio, -1, 1) * 32767).astype(np.int16) for audio in audios),
        labels=tuple(labels),
        words=tuple(words),
        diphones={pair: np.array(indices) for pair, indices in diphones.items()},
        of_label={index: np.flatnonzero(joined["label"] == index) for index in labels.values()},
        **joined,
    )


def _usable(recording: Recording) -> bool:
    last = len(recording.audio) - HOP
    return last >= MIN_AUDIO_S * SAMPLE_RATE and any(p.start_s * SAMPLE_RATE < last for p in recording.phones)


def even_out(audios: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Equalize one person's recordings to one level and to their mean long-term spectrum.

    The gain is smooth over frequency (a band is about 500 Hz wide) and at most +-6 dB, so that it removes the effect of
    rooms and microphones, not of speech. Recordings below ten seconds are changed less.
    """
    from scipy import fft, ndimage

    spectra = []
    for audio in audios:
        frames = _frames(audio.astype(np.float32), FFT, FFT // 2) * np.hanning(FFT).astype(np.float32)
        power = np.abs(fft.rfft(frames, axis=1)) ** 2
        level = power.sum(axis=1)
        loud = power[level >= np.quantile(level, 0.6)]
        spectra.append(ndimage.gaussian_filter1d(10 * np.log10(loud.mean(axis=0) + 1e-9), 8, mode="nearest"))
    shapes = np.stack([spectrum - spectrum.mean() for spectrum in spectra])
    lengths = np.array([len(audio) for audio in audios], float)
    target = np.average(shapes, axis=0, weights=lengths)
    result = []
    for audio, shape in zip(audios, shapes):
        share = min(1.0, len(audio) / (EQUALIZED_FROM_S * SAMPLE_RATE))
        gain_db = np.clip((target - shape) * share, -MAX_EQUALIZED_DB, MAX_EQUALIZED_DB)
        size = fft.next_fast_len(len(audio) + FFT, real=True)
        bins = np.linspace(0, len(gain_db) - 1, size // 2 + 1)
        gain = 10 ** (np.interp(bins, np.arange(len(gain_db)), gain_db).astype(np.float32) / 20)
        evened = fft.irfft(fft.rfft(audio.astype(np.float32), size) * gain, size)[: len(audio)]
        frames = _frames(evened, FFT, FFT // 2)
        power = np.mean(frames**2, axis=1)
        level = np.sqrt(np.mean(power[power >= np.quantile(power, 0.6)]))
        result.append((evened * (LEVEL_RMS / max(float(level), 1e-4))).astype(np.float32))
    return result


def _frames(audio: np.ndarray, size: int, hop: int) -> np.ndarray:
    padded = np.pad(audio, (0, max(0, size - len(audio))))
    return np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]


def _mel_filters() -> np.ndarray:
    """Return triangles [BANDS, FFT // 2 + 1] from 80 Hz to 7.6 kHz on the mel scale (O'Shaughnessy's formula)."""
    low, high = 2595 * np.log10(1 + np.array([80.0, 7600.0]) / 700)
    edges = 700 * (10 ** (np.linspace(float(low), float(high), BANDS + 2) / 2595) - 1)
    hertz = np.arange(FFT // 2 + 1) * SAMPLE_RATE / FFT
    up = (hertz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    down = (edges[2:, None] - hertz) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0, np.minimum(up, down)).astype(np.float32)


_FILTERS = _mel_filters()


def log_mel(audio: np.ndarray) -> np.ndarray:
    """Return natural logarithms of mel band powers [frames, BANDS]. The centre of frame k is sample k * HOP."""
    from scipy import fft

    padded = np.pad(audio.astype(np.float32), (WINDOW // 2, WINDOW))
    frames = _frames(padded, WINDOW, HOP)[: len(audio) // HOP + 1] * np.hanning(WINDOW).astype(np.float32)
    power = np.abs(fft.rfft(frames, FFT, axis=1)) ** 2
    return np.log(power.astype(np.float32) @ _FILTERS.T + 1e-6)


def pitch_at(audio: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return log2 of the fundamental frequency [Hz] around each position [samples]; NaN where it is not periodic.

    It is the highest peak of the normalized autocorrelation (Boersma 1993), slightly favouring high pitches.
    """
    from scipy import fft

    half = F0_WINDOW // 2
    padded = np.pad(audio.astype(np.float32), half)
    frames = padded[np.asarray(places)[:, None] + np.arange(F0_WINDOW)]
    frames = (frames - frames.mean(axis=1, keepdims=True)) * np.hanning(F0_WINDOW).astype(np.float32)
    size = 2 * F0_WINDOW
    correlation = fft.irfft(np.abs(fft.rfft(frames, size, axis=1)) ** 2, size, axis=1)[:, :F0_WINDOW]
    window = fft.irfft(np.abs(fft.rfft(np.hanning(F0_WINDOW), size)) ** 2, size)[:F0_WINDOW]
    normal = correlation / (correlation[:, :1] + 1e-6) / np.maximum(window / window[0], 0.05)
    low, high = round(SAMPLE_RATE / F0_RANGE_HZ[1]), round(SAMPLE_RATE / F0_RANGE_HZ[0])
    lags = np.arange(low, high + 1)
    strength = normal[:, low : high + 1] - 0.02 * np.log2(lags / low)
    best = strength.argmax(axis=1)
    voiced = normal[np.arange(len(best)), lags[best]] > VOICED
    return np.where(voiced, np.log2(SAMPLE_RATE / lags[best]), np.nan)


def _segments(
    recording: Recording, samples: int, labels: dict[str, int], words: dict[str, int]
) -> dict[str, np.ndarray]:
    """Return the rows of one recording's segments, pauses included; add new labels and words to their tables."""
    most = round(PAUSE_S * SAMPLE_RATE)
    spoken = [(p, round(p.start_s * SAMPLE_RATE), round(p.end_s * SAMPLE_RATE)) for p in recording.phones]
    spoken = [(p, max(0, start), min(samples, end)) for p, start, end in spoken if start < samples - HOP]
    rows: list[tuple[int, int, int, int, bool, bool, float]] = []

    def pause(start: int, end: int) -> None:
        rows.append((0, start, end, NO_WORD, False, False, 0.0))

    if spoken and spoken[0][1] > 0:
        pause(max(0, spoken[0][1] - most), spoken[0][1])
    place, vowels = -1, 0
    of_word = _words_of(recording)
    for number, (phone, start, end) in enumerate(spoken):
        following = spoken[number + 1][1] if number + 1 < len(spoken) else samples
        end = max(end, start + HOP)
        gap = following - end
        if number + 1 < len(spoken) and gap < MIN_PAUSE_S * SAMPLE_RATE:
            end = following
        owner = of_word[number]
        place, vowels = owner, vowels if owner == place else 0
        word = recording.words[owner] if owner != NO_WORD else None
        vowel = is_vowel(phone.label)
        rows.append(
            (
                labels.setdefault(phone.label, len(labels)),
                start,
                end,
                words.setdefault(word.label, len(words)) if word else NO_WORD,
                number + 1 == len(spoken) or of_word[number + 1] != owner,
                bool(word and vowel and word.stressed == vowels),
                min(3.0, -float(np.log(max(phone.confidence, 1e-3)))),
            )
        )
        vowels += vowel
        if end < following:
            if number + 1 == len(spoken):
                pause(end, min(following, end + most))
            elif following - end <= 2 * most:
                pause(end, following)
            else:
                pause(end, end + most)
                pause(following - most, following)
    names = ("label", "start", "end", "word", "ends_word", "stressed", "cost")
    return {name: np.array(values) for name, values in zip(names, zip(*rows))}


def _words_of(recording: Recording) -> list[int]:
    """Return for each phone the index of the word at its start; NO_WORD if there is none."""
    starts = np.array([word.start_s for word in recording.words])
    result = []
    for phone in recording.phones:
        index = int(np.searchsorted(starts, phone.start_s + 1e-3, side="right")) - 1
        result.append(index if index >= 0 else NO_WORD)
    return result


def _cuts(rows: dict[str, np.ndarray], labels: Sequence[str], mel: np.ndarray) -> np.ndarray:
    """Return the sample at which each segment is cut, in ascending order."""
    from scipy import ndimage

    level = np.logaddexp.reduce(mel, axis=1)
    quiet = ndimage.uniform_filter1d(level, 9)
    level = ndimage.uniform_filter1d(level, 3)
    change = np.abs(_shifted(mel, 3) - _shifted(mel, -3)).mean(axis=1)
    cuts: list[int] = []
    for number, label in enumerate(labels):
        start, end = int(rows["start"][number]), int(rows["end"][number])
        length = end - start
        if label == PAUSE:
            low = min(start // HOP, len(quiet) - 1)
            cut = (low + int(np.argmin(quiet[low : max(low + 1, end // HOP)]))) * HOP
        elif label in STOPS:
            low = max(0, start + round(CLOSURE_S[0] * SAMPLE_RATE)) // HOP
            high = max(low + 1, (start + round(CLOSURE_S[1] * SAMPLE_RATE)) // HOP + 1)
            cut = (low + int(np.argmin(level[low:high]))) * HOP if low < len(level) else start
        else:
            low, high = (start + length // 4) // HOP, max(1, (start + (3 * length) // 4) // HOP + 1)
            low, high = min(low, len(change) - 1), min(max(high, low + 1), len(change))
            off = np.abs(np.arange(low, high) * HOP - (start + length / 2)) / max(length / 4, HOP)
            cut = (low + int(np.argmin(change[low:high] + 0.15 * off))) * HOP
        cuts.append(max(cut, cuts[-1] + HOP) if cuts else cut)
    return np.array(cuts)


def _shifted(values: np.ndarray, frames: int) -> np.ndarray:
    """Return values [time, ...] shifted by ``frames``. The ends repeat."""
    return values[np.clip(np.arange(len(values)) + frames, 0, len(values) - 1)]


def _odd_lengths(label: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Return the cost of segments of unusual length: octaves from the median of their label, minus one half."""
    cost = np.zeros(len(label))
    for index in np.unique(label):
        if index == 0:
            continue
        mine = label == index
        octaves = np.abs(np.log2(np.maximum(length[mine], HOP) / np.median(length[mine])))
        cost[mine] = np.minimum(2.0, np.maximum(0.0, octaves - 0.5) * 1.5)
    return cost
