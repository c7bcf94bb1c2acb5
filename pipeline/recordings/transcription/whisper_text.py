"""Whisper's limits: which of its results are speech."""

from __future__ import annotations

# Whisper's own limits (Radford et al. 2022, section 4.5), and one that even noisy speech exceeds.
NO_SPEECH, MIN_LOG_P, MAX_COMPRESSION = 0.6, -1.0, 2.4
MIN_LOG_P_EVER = -1.5


def invented(average_log_p: float, no_speech: float = 0.0, compression: float = 1.0) -> bool:
    """Return whether a segment is a typical output for audio without speech: silence, a guess, or a repetition."""
    return (
        compression > MAX_COMPRESSION
        or average_log_p < MIN_LOG_P_EVER
        or (no_speech > NO_SPEECH and average_log_p < MIN_LOG_P)
    )
