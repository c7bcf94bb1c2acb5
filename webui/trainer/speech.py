"""Synthesis of texts of any length."""

from __future__ import annotations

import io
import re
import tempfile
import textwrap
from pathlib import Path

import numpy as np
import soundfile
from django.utils.translation import gettext as _

from audio_generation.engine import Engine, FailedRequest, SpeechRequest, Voice
from core.errors import HarkError

LONGEST_PIECE = 250  # characters of a request to an engine
PAUSE_S = 0.2  # between pieces


def spoken(engine: Engine, voice: Voice, text: str) -> bytes:
    """Synthesize a text as a WAV file at the engine's sample rate (mono, 16 bits). Raises HarkError."""
    pieces = _pieces(text)
    if not pieces:
        raise HarkError(_("There is nothing to speak."), _("The text has no letters or digits."), _("Send a text."))
    parts: list[np.ndarray] = []
    rate = 0
    with tempfile.TemporaryDirectory() as folder:
        wishes = [
            SpeechRequest(f"said-{n:03d}", piece, voice.name, voice.language, {}) for n, piece in enumerate(pieces)
        ]
        for clip in engine.synthesize(wishes, Path(folder)):
            if isinstance(clip, FailedRequest):
                raise HarkError(_("The phrase could not be spoken."), clip.why, _("Try another voice."))
            audio, rate = soundfile.read(str(clip.path), dtype="float32")
            parts += [audio, np.zeros(round(PAUSE_S * rate), np.float32)]
    written = io.BytesIO()
    soundfile.write(written, np.concatenate(parts[:-1]), rate, subtype="PCM_16", format="WAV")
    return written.getvalue()


def _pieces(text: str) -> list[str]:
    """Split a text into sentences, long ones further; pieces without letters or digits are left out."""
    sentences = re.split(r"(?<=[.!?;:…])\s+|\n+", text)
    found = [piece for sentence in sentences for piece in textwrap.wrap(sentence, LONGEST_PIECE)]
    return [piece for piece in found if any(character.isalnum() for character in piece)]
