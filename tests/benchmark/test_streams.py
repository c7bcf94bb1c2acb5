"""The benchmark's streams: their documented layout, decoded once, the same each time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmark.streams import GAP_S, StreamClip, stream_of, stream_of_files
from core.audio_file import SAMPLE_RATE, write_audio
from core.errors import HarkError

GAP = int(GAP_S * SAMPLE_RATE)


def clips(count: int = 5, seconds: float = 20.0) -> list[StreamClip]:
    rng = np.random.default_rng(0)
    return [
        StreamClip(rng.uniform(-0.5, 0.5, int(seconds * SAMPLE_RATE)).astype(np.float32), {"text": f"number {number}"})
        for number in range(count)
    ]


def never() -> Iterator[StreamClip]:
    raise AssertionError("decoded again")


@pytest.fixture
def kitchen() -> np.ndarray:
    return np.random.default_rng(5).normal(0, 0.1, 3 * SAMPLE_RATE).astype(np.float32)


def test_spans_locate_the_clips_in_the_stream(tmp_path: Path) -> None:
    given = clips()
    stream = stream_of(lambda: given, {"name": "a"}, tmp_path)
    samples = stream.speech(0, stream.block_ends[-1])
    assert isinstance(samples, np.memmap)
    for (first, end), clip in zip(stream.spans, given):
        assert np.abs(samples[first:end] / 32767 - clip.audio).max() <= 0.5 / 32767 + 1e-7
        assert not samples[first - GAP : first].any() and not samples[end : end + GAP].any()
    # Three clips of 20 s and their pauses make more than a minute; two are left.
    clip, pause = 20 * SAMPLE_RATE, GAP
    assert stream.block_ends == (3 * (clip + pause) + pause, 5 * (clip + pause) + 2 * pause)
    assert stream.hours == pytest.approx((100 + 7 * GAP_S) / 3600)
    assert stream.mebibytes == pytest.approx((tmp_path / stream.digest / "speech.s16").stat().st_size / 2**20)


def test_a_cached_stream_is_not_decoded_again(tmp_path: Path, kitchen: np.ndarray) -> None:
    made = stream_of(lambda: clips(2), {"name": "a"}, tmp_path)
    kept = stream_of(never, {"name": "a"}, tmp_path)
    assert kept == made
    assert kept.about[1] == {"text": "number 1"}
    for condition in ("clean", "kitchen"):
        first = np.concatenate(list(made.blocks(condition, kitchen, 3)))
        again = np.concatenate(list(kept.blocks(condition, kitchen, 3)))
        np.testing.assert_array_equal(first, again)
        other = np.concatenate(list(kept.blocks(condition, kitchen, 4)))
        assert len(other) == len(first) and (other != first).any()
    with pytest.raises(AssertionError, match="decoded again"):
        stream_of(never, {"name": "b"}, tmp_path)


@pytest.mark.parametrize("harm", ["cut", "no description", "nonsense"])
def test_a_damaged_stream_is_rebuilt(tmp_path: Path, harm: str) -> None:
    made = stream_of(lambda: clips(2), {"name": "a"}, tmp_path)
    before = np.array(made.speech(0, made.block_ends[-1]))
    if harm == "cut":
        (made.folder / "speech.s16").write_bytes(before[:1000].tobytes())
    elif harm == "no description":
        (made.folder / "stream.json").unlink()
    else:
        (made.folder / "stream.json").write_text('{"block_ends": "x"')
    again = stream_of(lambda: clips(2), {"name": "a"}, tmp_path)
    np.testing.assert_array_equal(again.speech(0, again.block_ends[-1]), before)


def test_an_interrupted_stream_leaves_no_files(tmp_path: Path) -> None:
    def breaking() -> Iterator[StreamClip]:
        yield from clips(1)
        raise HarkError("That is no audio.", "It is damaged.", "Get another.")

    with pytest.raises(HarkError, match="no audio"):
        stream_of(breaking, {"name": "a"}, tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(stream_of(lambda: clips(1), {"name": "a"}, tmp_path).spans) == 1


def test_noise_has_the_specified_snr(tmp_path: Path, kitchen: np.ndarray) -> None:
    loud, faint = clips(2)
    stream = stream_of(lambda: [loud, faint._replace(audio=faint.audio / 30)], {"name": "a"}, tmp_path)
    speech = stream.speech(0, stream.block_ends[-1]) / 32767
    for condition, snr_db in (("clean", 50.0), ("kitchen", 10.0)):
        (block,) = stream.blocks(condition, kitchen, 0)
        assert block.dtype == np.float32 and len(block) == len(speech)
        noise = block - speech
        for first, end in stream.spans:
            ratio = 10 * np.log10(np.mean(speech[first:end] ** 2) / np.mean(noise[first:end] ** 2))
            assert ratio == pytest.approx(snr_db, abs=1.0)
    with pytest.raises(ValueError, match="street"):
        next(stream.blocks("street", kitchen, 0))


def test_a_changed_file_gets_a_new_stream(tmp_path: Path) -> None:
    audio, cache = tmp_path / "audio", tmp_path / "cache"
    audio.mkdir()
    files = [audio / "a.wav", audio / "b.wav"]
    for path in files:
        write_audio(path, np.full(800, 0.25, np.float32))
    one = stream_of_files(files, audio, cache)
    assert one.about == ({"file": "a.wav"}, {"file": "b.wav"})
    assert stream_of_files(files[::-1], audio, cache).digest != one.digest
    write_audio(files[0], np.full(1600, 0.25, np.float32))
    changed = stream_of_files(files, audio, cache)
    assert changed.spans[0] == (GAP, GAP + 1600) and changed.digest != one.digest


def test_missing_clips_and_an_unusable_cache_folder_are_reported(tmp_path: Path) -> None:
    with pytest.raises(HarkError, match="has no audio"):
        stream_of(lambda: [], {"name": "a"}, tmp_path)
    occupied = tmp_path / "occupied"
    occupied.write_text("a file where the folder should be")
    with pytest.raises(HarkError, match="streams of the benchmark"):
        stream_of(lambda: clips(1), {"name": "a"}, occupied)
