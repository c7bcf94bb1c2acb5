"""Speech synthesis with an installed engine, in the requested file format."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from audio_generation.engine import Engine, Voice
from audio_generation.registry import engine_named
from core.errors import HarkError
from webui.accounts.models import User
from webui.speech import free_engines, voice_for

MAX_TEXT_LENGTH = 4096  # maximum characters of a text
TIMEOUT_S = 120.0
PCM_RATE = 24_000  # Hz; the rate of OpenAI's "pcm"

# ffmpeg's options and the media type, by format.
FORMATS = {
    "wav": (("-c:a", "pcm_s16le", "-f", "wav"), "audio/wav"),
    "mp3": (("-c:a", "libmp3lame", "-b:a", "64k", "-f", "mp3"), "audio/mpeg"),
    "flac": (("-c:a", "flac", "-f", "flac"), "audio/flac"),
    "opus": (("-c:a", "libopus", "-b:a", "32k", "-f", "ogg"), "audio/ogg"),
    "aac": (("-c:a", "aac", "-b:a", "64k", "-f", "adts"), "audio/aac"),
    "pcm": (("-c:a", "pcm_s16le", "-ar", str(PCM_RATE), "-f", "s16le"), "audio/pcm"),
}
SLOWEST, FASTEST = 0.25, 4.0


def chosen_engine(user: User, name: str = "", language: str = "en") -> Engine:
    """Return the named engine, or the one that speaks answers on the pages.

    Raises HarkError if that engine is not ready, or is paid.
    """
    if not name:
        answering = voice_for(user, language)
        if answering is None:
            why = "No engine that is ready has a voice for this language."
            raise HarkError(f"No engine here speaks {language!r}.", why, "Add a voice: ./hark voices.")
        return engine_named(answering[0])
    engine, free = engine_named(name), free_engines(language, user)
    if name not in free:
        raise HarkError(
            f"The engine {name} cannot be used here.",
            f"It costs money, only the owner can use it, or it has no voice for {language!r}.",
            f"Name one of these: {', '.join(free)}." if free else "Add a voice: ./hark voices.",
        )
    return engine


def named_voice(engine: Engine, name: str, language: str = "en") -> Voice:
    """Return the engine's voice of that name. Raises HarkError if there is none."""
    voices = engine.voices(language)
    match = next((voice for voice in voices if voice.name == name), None)
    if match is None:
        few = ", ".join(voice.name for voice in voices[:12]) + (" ..." if len(voices) > 12 else "")
        raise HarkError(
            f"The voice {name[:80]!r} does not exist.", f"The engine {engine.name} has {few}.", "Name one of these."
        )
    return match


def converted(wav: bytes, format_name: str, speed: float = 1.0) -> bytes:
    """Convert a WAV file to one of :data:`FORMATS`, ``speed`` times as fast at the same pitch.

    Raises HarkError if ffmpeg is missing or fails.
    """
    if format_name == "wav" and speed == 1.0:
        return wav
    if shutil.which("ffmpeg") is None:
        raise HarkError(
            f"{format_name} cannot be written here.",
            "The program ffmpeg is not installed.",
            "Request wav at speed 1, or install ffmpeg (apt-get install ffmpeg).",
        )
    # One atempo supports 0.5 to 100; slower speeds require two steps.
    steps = (0.5, speed / 0.5) if speed < 0.5 else (speed,)
    tempo = [f"atempo={step:.4f}" for step in steps if step != 1.0]
    command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "wav", "-i", "pipe:0"]
    command += ["-af", ",".join(tempo)] if tempo else []
    command += ["-map_metadata", "-1", *FORMATS[format_name][0]]
    # Written to a file, because in a pipe ffmpeg cannot seek back to write the length of a WAV or FLAC.
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "speech"
        try:
            done = subprocess.run(
                [*command, str(target)], input=wav, capture_output=True, timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            why = f"ffmpeg took longer than {TIMEOUT_S:.0f} s."
        else:
            if done.returncode == 0:
                return target.read_bytes()
            last_line = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            why = f"ffmpeg: {last_line[0][:200] if last_line else f'exit code {done.returncode}'}."
    raise HarkError(f"The speech could not be written as {format_name}.", why, "Request another format.")
