"""The process that synthesizes with flite: with libflite if installed, otherwise with the program per text."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from core.child_process import end_with_parent
from core.worker_protocol import Refused, Unavailable, serve, write_wav

VOICES = ("kal16", "awb", "rms", "slt")  # those at 16 kHz; kal has 8 kHz, and awb_time can say only times
# Features of a voice that a request may set. flite stores pointers to the names, so these bytes must never be freed.
FEATURES = {"duration_stretch": b"duration_stretch", "f0_shift": b"f0_shift", "f0_stddev": b"int_f0_target_stddev"}
PROGRAM_TIMEOUT_S = 20


class FliteVoice(ctypes.Structure):
    """The head of ``cst_voice`` (flite's ``cst_voice.h``)."""

    _fields_ = (("name", ctypes.c_char_p), ("features", ctypes.c_void_p))


class FliteWave(ctypes.Structure):
    """``cst_wave`` (flite's ``cst_wave.h``)."""

    _fields_ = (
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


class Library:
    """libflite with its registered voices and those from ``*.flitevox`` files."""

    def __init__(self, voxes: list[Path]) -> None:
        self.flite = _load("libflite.so.1")
        english, lexicon = _load("libflite_usenglish.so.1"), _load("libflite_cmulex.so.1")
        voice = ctypes.POINTER(FliteVoice)
        self.flite.flite_init()
        self.flite.flite_text_to_wave.restype = ctypes.POINTER(FliteWave)
        self.flite.flite_text_to_wave.argtypes = [ctypes.c_char_p, voice]
        self.flite.flite_feat_set_float.restype = None
        self.flite.flite_feat_set_float.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_float]
        self.flite.flite_get_param_float.restype = ctypes.c_float
        self.flite.flite_get_param_float.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_float]
        self.flite.flite_feat_remove.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        self.flite.delete_wave.restype = None
        self.flite.delete_wave.argtypes = [ctypes.POINTER(FliteWave)]
        self.flite.flite_voice_load.restype = voice
        self.flite.flite_voice_load.argtypes = [ctypes.c_char_p]
        self.voices: dict[str, Any] = {}
        for name in VOICES:
            try:
                register = getattr(_load(f"libflite_cmu_us_{name}.so.1"), f"register_cmu_us_{name}")
            except OSError:
                continue
            register.restype, register.argtypes = voice, [ctypes.c_void_p]
            self.voices[name] = register(None)
        for code in (b"eng", b"usenglish"):
            self.flite.flite_add_lang(code, english.usenglish_init, lexicon.cmu_lex_init)
        for vox in voxes:
            loaded = self.flite.flite_voice_load(str(vox).encode())
            if loaded:
                self.voices[vox.stem] = loaded
        # Each voice's own values are restored before each request, because settings persist.
        self.own = {
            (name, key): self.flite.flite_get_param_float(pointer.contents.features, feature, -1.0)
            for name, pointer in self.voices.items()
            for key, feature in FEATURES.items()
        }

    def speak(self, request: dict[str, Any]) -> None:
        name, settings = request["voice"], request["settings"]
        if name not in self.voices:
            raise Refused(f"flite has no voice {name}")
        voice = self.voices[name]
        features = voice.contents.features
        for key, feature in FEATURES.items():
            value = float(settings.get(key, self.own[name, key]))
            if value > 0:
                self.flite.flite_feat_set_float(features, feature, value)
            else:
                self.flite.flite_feat_remove(features, feature)
        wave = self.flite.flite_text_to_wave(_plain(request["text"]).encode(), voice)
        if not wave:
            raise Refused("flite refused the text")
        try:
            samples = ctypes.string_at(wave.contents.samples, 2 * wave.contents.num_samples)
            write_wav(request["path"], samples, wave.contents.sample_rate)
        finally:
            self.flite.delete_wave(wave)


class Program:
    """The flite program, which runs once per text."""

    def __init__(self, program: str) -> None:
        self.program = program
        listed = subprocess.run([program, "-lv"], capture_output=True, text=True, check=True).stdout
        self.voices = [voice for voice in VOICES if voice in listed.split()]

    def speak(self, request: dict[str, Any]) -> None:
        if request["voice"] not in self.voices:
            raise Refused(f"flite has no voice {request['voice']}")
        command = [self.program, "-voice", request["voice"], "-o", request["path"]]
        for key, feature in FEATURES.items():
            if key in request["settings"]:
                command += ["--setf", f"{feature.decode()}={float(request['settings'][key])}"]
        ended = subprocess.run(
            [*command, "-t", _plain(request["text"])],
            capture_output=True,
            text=True,
            timeout=PROGRAM_TIMEOUT_S,
            preexec_fn=end_with_parent,
        )
        if ended.returncode != 0:
            raise Refused(f"the flite program ended with code {ended.returncode}: {ended.stderr.strip()[-200:]}")


def _load(name: str) -> Any:
    return ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)


def _plain(text: str) -> str:
    """Reduce text to what flite can read: plain apostrophes, and spaces for control characters."""
    text = text.replace("\u2019", "'").replace("\u2018", "'")
    return "".join(character if character.isprintable() else " " for character in text)


def set_up() -> tuple[dict[str, Any], Any]:
    voxes = sorted(Path(sys.argv[1]).glob("*.flitevox"))
    program = shutil.which("flite")
    speaker: Library | Program
    try:
        speaker = Library(voxes)
        through = "libflite"
    except (OSError, AttributeError) as error:
        if program is None:
            raise Unavailable(f"Neither libflite nor the flite program is installed ({error}).") from error
        speaker = Program(program)
        through = "program"
    if not speaker.voices:
        raise Unavailable("flite is installed without a 16 kHz voice.")
    return {"through": through, "voices": list(speaker.voices)}, speaker.speak


if __name__ == "__main__":
    serve(set_up)
