"""The process that calls ElevenLabs. The host has already counted a request's characters."""

from __future__ import annotations

import os
from typing import Any

from core.worker_protocol import Refused, Unavailable, serve, write_wav

MODEL = "eleven_multilingual_v2"
SAMPLE_RATE = 24_000  # pcm_24000, which avoids MP3 and is in every plan
TIMEOUT_S = 60.0


class Speaker:
    def __init__(self, key: str, address: str | None) -> None:
        try:
            from elevenlabs.client import ElevenLabs
            from elevenlabs.core.api_error import ApiError
        except ImportError as error:
            raise Unavailable(f"The package elevenlabs cannot be imported: {error}") from error
        self.error = ApiError
        self.client = ElevenLabs(api_key=key, base_url=address, timeout=TIMEOUT_S)

    def facts(self) -> dict[str, Any]:
        """Return the account's voices: [id, name, language, accent]."""
        try:
            voices = self.client.voices.get_all().voices
        except Exception as error:  # network errors are those of httpx, which is not imported here
            raise Unavailable(f"ElevenLabs did not list its voices: {self._why(error)}") from error
        listed = []
        for voice in voices:
            labels = voice.labels or {}
            listed.append(
                [voice.voice_id, voice.name or voice.voice_id, labels.get("language", ""), labels.get("accent", "")]
            )
        return {"voices": listed, "model": MODEL}

    def speak(self, request: dict[str, Any]) -> None:
        """Serve a request of the protocol. Settings: stability, similarity_boost, style, speed, seed."""
        from elevenlabs import VoiceSettings

        settings = dict(request["settings"])
        seed = settings.pop("seed", None)
        try:
            blocks = self.client.text_to_speech.convert(
                request["voice"],
                text=request["text"],
                model_id=MODEL,
                output_format=f"pcm_{SAMPLE_RATE}",
                voice_settings=VoiceSettings(**settings),
                seed=None if seed is None else int(seed),
                # A request that was sent is paid for; only the user may decide to send it again.
                request_options={"max_retries": 0},
            )
            audio = b"".join(blocks)
        except Exception as error:
            raise Refused(self._why(error)) from error
        write_wav(request["path"], audio[: len(audio) // 2 * 2], SAMPLE_RATE)

    def _why(self, error: Exception) -> str:
        if isinstance(error, self.error):
            detail = error.body.get("detail", error.body) if isinstance(error.body, dict) else error.body
            message = detail.get("message", detail) if isinstance(detail, dict) else detail
            return f"the service answered {error.status_code}: {str(message)[:200]}"
        return f"{type(error).__name__}: {str(error)[:200]}"


def set_up() -> tuple[dict[str, Any], Any]:
    speaker = Speaker(os.environ["ELEVENLABS_API_KEY"], os.environ.get("ELEVENLABS_BASE_URL"))
    return speaker.facts(), speaker.speak


if __name__ == "__main__":
    serve(set_up)
