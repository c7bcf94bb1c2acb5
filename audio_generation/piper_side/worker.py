"""The process that synthesizes with piper-tts (GPL-3)."""

from __future__ import annotations

import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

from core.worker_protocol import Refused, Unavailable, serve, write_wav

LOADED_VOICES = 4  # maximum number in memory, 60 to 120 MB each; the oldest is evicted first


class Speaker:
    """The voices in and below several folders, of which the first takes precedence, loaded on demand."""

    def __init__(self, folders: list[Path]) -> None:
        try:
            from piper import PiperVoice
        except ImportError as error:
            raise Unavailable(f"piper-tts cannot be imported: {error}") from error
        self.load = PiperVoice.load
        self.folders = folders
        self.loaded: OrderedDict[str, Any] = OrderedDict()

    def speak(self, request: dict[str, Any]) -> None:
        """Serve a request of the protocol. Voice ``key`` or ``key#speaker``; settings are Piper's scales."""
        from piper import SynthesisConfig

        key, _, speaker = request["voice"].partition("#")
        voice = self._voice(key)
        settings = request["settings"]
        config = SynthesisConfig(
            speaker_id=_speaker_number(voice.config, speaker),
            length_scale=float(settings.get("length_scale", voice.config.length_scale)),
            noise_scale=float(settings.get("noise_scale", voice.config.noise_scale)),
            noise_w_scale=float(settings.get("noise_w_scale", voice.config.noise_w_scale)),
        )
        # Piper reads [[...]] as phonemes, but here a bracket is just a bracket.
        text = request["text"].replace("[[", "[ [")
        audio = b"".join(chunk.audio_int16_bytes for chunk in voice.synthesize(text, config))
        write_wav(request["path"], audio, voice.config.sample_rate)

    def _voice(self, key: str) -> Any:
        if key not in self.loaded:
            # Searched again, because a voice may have been downloaded since the worker started.
            models = (path for folder in self.folders for path in folder.rglob("*.onnx"))
            path = next((path for path in models if path.stem == key), None)
            if path is None:
                raise Refused(f"piper has no voice {key}")
            self.loaded[key] = self.load(path)
            if len(self.loaded) > LOADED_VOICES:
                self.loaded.popitem(last=False)
        self.loaded.move_to_end(key)
        return self.loaded[key]


def _speaker_number(config: Any, speaker: str) -> int | None:
    if not speaker:
        return None
    if speaker in config.speaker_id_map:
        return int(config.speaker_id_map[speaker])
    if speaker.isdigit() and int(speaker) < config.num_speakers:
        return int(speaker)
    raise Refused(f"this Piper voice has no speaker {speaker}")


if __name__ == "__main__":
    serve(lambda: ({}, Speaker([Path(folder) for folder in sys.argv[1:]]).speak))
