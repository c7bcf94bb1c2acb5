"""The process that holds libespeak-ng (GPL-3), through ctypes; the API is espeak-ng's ``speak_lib.h``, version 1.52."""

from __future__ import annotations

import ctypes
from typing import Any

from core.worker_protocol import Refused, Unavailable, serve, write_wav

AUDIO_OUTPUT_SYNCHRONOUS = 2
CHARS_UTF8 = 1  # flags of espeak_Synth; espeakSSML (0x10) stays off, so that "<" is a character like others
POS_CHARACTER = 1
# espeak_PARAMETER by the name that Hark's settings use
PARAMETERS = {"rate": 1, "volume": 2, "pitch": 3, "pitch_range": 4, "word_gap": 7}
DEFAULTS = {"rate": 175, "volume": 100, "pitch": 50, "pitch_range": 50, "word_gap": 0}
# Of the noise in breath and fricatives. It makes a worker's clips the same in every run, in the order of the requests.
# A request that is repeated differs a little: the flutter of the voice goes on from clip to clip.
SEED = 1

SynthCallback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class EspeakVoice(ctypes.Structure):
    """``espeak_VOICE``; ``languages`` is a list of (priority byte, name, 0)."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


class Speaker:
    """libespeak-ng, loaded and ready."""

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise Unavailable("The Python package espeakng-loader is not installed.") from error
        self.library = ctypes.CDLL(espeakng_loader.get_library_path())
        self.library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(EspeakVoice))
        self.library.espeak_GetCurrentVoice.restype = ctypes.POINTER(EspeakVoice)
        self.library.espeak_Info.restype = ctypes.c_char_p
        data = espeakng_loader.get_data_path()
        self.sample_rate = self.library.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, str(data).encode(), 0)
        if self.sample_rate <= 0:
            raise Unavailable(f"espeak-ng could not load its data from {data}.")
        self.library.espeak_ng_SetRandSeed(ctypes.c_long(SEED))
        self.blocks: list[bytes] = []
        self.callback = SynthCallback(self._collect)  # kept: the library holds only its address
        self.library.espeak_SetSynthCallback(self.callback)
        self.voice = ""

    def _collect(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self.blocks.append(ctypes.string_at(samples, 2 * count))
        return 0

    def facts(self) -> dict[str, Any]:
        """Version, languages [identifier, language] and variants (names after the "+")."""
        version = self.library.espeak_Info(None).decode().split()[0]
        languages = [
            [identifier, language] for identifier, language in self._list(None) if not identifier.startswith("mb/")
        ]
        variants = [identifier.removeprefix("!v/") for identifier, _ in self._list(b"variant")]
        return {"version": version, "languages": languages, "variants": variants}

    def _list(self, language: bytes | None) -> list[tuple[str, str]]:
        wish = ctypes.c_char_p(language)
        spec = EspeakVoice(languages=ctypes.cast(wish, ctypes.c_void_p))
        voices = self.library.espeak_ListVoices(ctypes.byref(spec) if language else None)
        found: list[tuple[str, str]] = []
        while voices[len(found)]:
            voice = voices[len(found)].contents
            found.append((voice.identifier.decode(), ctypes.string_at(voice.languages)[1:].decode()))
        return found

    def speak(self, request: dict[str, Any]) -> None:
        """Serve one request of the protocol."""
        self._set_voice(request["voice"])
        settings = {**DEFAULTS, **request["settings"]}
        for name, value in settings.items():
            if name not in PARAMETERS:
                raise Refused(f"espeak-ng knows no setting {name!r}")
            if self.library.espeak_SetParameter(PARAMETERS[name], round(float(value)), 0) != 0:
                raise Refused(f"espeak-ng refused {name} = {value}")
        text = request["text"].replace("\0", " ").encode() + b"\0"
        self.blocks.clear()
        if self.library.espeak_Synth(text, len(text), 0, POS_CHARACTER, 0, CHARS_UTF8, None, None) != 0:
            raise Refused("espeak-ng refused the text")
        write_wav(request["path"], b"".join(self.blocks), self.sample_rate)

    def _set_voice(self, name: str) -> None:
        if name == self.voice:
            return
        self.voice = ""
        # A voice or variant that does not exist is spoken with another one; only asking which it was tells.
        code = self.library.espeak_SetVoiceByName(name.encode())
        identifier = self.library.espeak_GetCurrentVoice().contents.identifier.decode()
        if code != 0 or identifier != name:
            raise Refused(f"espeak-ng has no voice {name}")
        self.voice = name


def set_up() -> tuple[dict[str, Any], Any]:
    """For ``serve``."""
    speaker = Speaker()
    return speaker.facts(), speaker.speak


if __name__ == "__main__":
    serve(set_up)
