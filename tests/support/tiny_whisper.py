"""A small Whisper, random except for its text, in both file formats, for the real drivers."""

from __future__ import annotations

from pathlib import Path

import pytest

SAYS = "Hello there, this is a made up model speaking."
SECONDS = 3.0


def tiny_whisper(folder: Path, form: str, says: str = SAYS, seconds: float = SECONDS, seed: int = 0) -> Path:
    """Make one below ``folder``; return its path.

    Args:
        form: "converted" (CTranslate2, for faster-whisper) or "checkpoint" (a .pt file of openai-whisper).
    """
    pytest.importorskip("whisper", reason="openai-whisper, whose tokenizer is needed, is not installed")
    from tests.support.made_whisper import make_whisper

    made = make_whisper(says, seconds, seed)
    if form == "checkpoint":
        return made.save_checkpoint(folder / "mini.pt")
    pytest.importorskip("ctranslate2")
    return made.save_converted(folder / "mini")
