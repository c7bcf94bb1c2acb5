"""Rows of a feature store's table: their columns and splits, and the rows of streams of general speech."""

from __future__ import annotations

from typing import Any

SPLITS = ("train", "validation", "test")
STREAM_S = 25.0  # seconds of speech per stream

SEGMENT_COLUMNS = (
    "first",  # index of the segment's first frame in the frames file
    "frames",
    "phrase_start",  # frames into the segment; -1 without an aligned phrase or confusable
    "phrase_end",
    "label",  # 1 for the phrase, 0 for anything else
    "split",  # train, validation or test
    "condition",  # train, clean or noisy
    "bucket",
    "engine",
    "voice",
    "speaker",
    "clip_id",
    "text",
)


def stream_row(split: str, engine: str, speaker: str = "", bucket: str = "plain_negative") -> dict[str, Any]:
    """Return a stream's row in the feature store."""
    return {
        "split": split, "label": 0, "bucket": bucket, "engine": engine, "voice": "", "speaker": speaker,
        "clip_id": -1, "text": "",
    }  # fmt: skip
