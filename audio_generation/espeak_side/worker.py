"""The process that synthesizes with libespeak-ng (GPL-3)."""

from __future__ import annotations

import ctypes
from typing import Any

from core.espeak import CHARS_UTF8, load, version, voices
from core.worker_protocol import Refused, serve, write_wav

# espeakSSML (0x10) is off, so that "<" is an ordinary character.
FLAGS = CHARS_UTF8
POS_CHARACTER = 1
# Values of espeak_PARAMETER by the names of Hark's settings.
PARAMETERS = {"rate": 1, "volume": 2, "pitch": 3, "pitch_range": 4, "word_gap": 7}
DEFAULTS = {"rate": 175, "volume": 100, "pitch": 50, "pitch_range": 50, "word_gap": 0}
# Seed of the noise in breath and fricatives, which makes a sequence of requests reproducible. Repeating a request
# within a sequence gives a slightly different clip, because the voice's flutter continues from clip to clip.
SEED = 1

SynthCallback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Speaker:
    def __init__(self) -> None:
        self.library, self.sample_rate = load()
        self.library.espeak_ng_SetRandSeed(ctypes.c_long(SEED))
        self.blocks: list[bytes] = []
        self.callback = SynthCallback(self._collect)  # the library stores only its address
        self.library.espeak_SetSynthCallback(self.callback)
        self.voice = ""

    def _collect(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self.blocks.append(ctypes.string_at(samples, 2 * count))
        return 0

    def facts(self) -> dict[str, Any]:
        """Return version, languages [identifier, first language] and variants (names after the "+")."""
        languages = [[identifier, names[0][1]] for identifier, names in voices(self.library)]
        variants = [identifier.removeprefix("!v/") for identifier, _ in voices(self.library, b"variant")]
        return {"version": version(self.library), "languages": languages, "variants": variants}

    def speak(self, request: dict[str, Any]) -> None:
        self._set_voice(request["voice"])
        settings = {**DEFAULTS, **request["settings"]}
        for name, value in settings.items():
            if name not in PARAMETERS:
                raise Refused(f"espeak-ng has no setting {name!r}")
            if self.library.espeak_SetParameter(PARAMETERS[name], round(float(value)), 0) != 0:
                raise Refused(f"espeak-ng refused {name} = {value}")
        text = request["text"].replace("\0", " ").encode() + b"\0"
        self.blocks.clear()
        if self.library.espeak_Synth(text, len(text), 0, POS_CHARACTER, 0, FLAGS, None, None) != 0:
            raise Refused("espeak-ng refused the text")
        write_wav(request["path"], b"".join(self.blocks), self.sample_rate)

    def _set_voice(self, name: str) -> None:
        if name == self.voice:
            return
        self.voice = ""
        # espeak-ng replaces a missing voice or variant with another one, which only a query of the current voice
        # reveals.
        code = self.library.espeak_SetVoiceByName(name.encode())
        identifier = self.library.espeak_GetCurrentVoice().contents.identifier.decode()
        if code != 0 or identifier != name:
            raise Refused(f"espeak-ng has no voice {name}")
        self.voice = name


def set_up() -> tuple[dict[str, Any], Any]:
    speaker = Speaker()
    return speaker.facts(), speaker.speak


if __name__ == "__main__":
    serve(set_up)
