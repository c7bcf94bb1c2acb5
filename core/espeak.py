"""libespeak-ng through ctypes. The API is espeak-ng's ``speak_lib.h``, version 1.52.

espeak-ng is under the GPL and Hark under the Apache licence, so only separate processes load it:
``audio_generation/espeak_side/worker.py`` and ``phrase_augmentation/phonemizer_process.py``.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.worker_protocol import Unavailable

CHARS_UTF8 = 1  # espeakCHARS_UTF8: texts are UTF-8
_NO_SOUND_DEVICE = 2  # AUDIO_OUTPUT_SYNCHRONOUS
_DO_NOT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT: report missing data, do not end the process
_MAX_DATA_PATH_BYTES = 120  # bytes; espeak-ng stores the path in a fixed buffer of 160 bytes, file names included


class _Voice(ctypes.Structure):
    """``espeak_VOICE``; ``languages`` is a list of priority bytes with a language's name, ended by a zero byte."""

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


def load() -> tuple[Any, int]:
    """Initialize espeakng-loader's or the system's library; return it and its sample rate.

    Raises Unavailable if neither is installed.
    """
    data: bytes | None = None
    try:
        import espeakng_loader

        path = str(espeakng_loader.get_library_path())
        folder = str(espeakng_loader.get_data_path())
        if len(folder.encode()) > _MAX_DATA_PATH_BYTES:
            link = Path(tempfile.mkdtemp(prefix="hark-espeak-")) / "espeak-ng-data"
            link.symlink_to(folder)
            folder = str(link)
        data = os.fsencode(folder)
    except ImportError:
        path = ctypes.util.find_library("espeak-ng") or ""
        if not path:
            raise Unavailable("neither the package espeakng-loader nor the library espeak-ng is installed") from None
    library = ctypes.CDLL(path)
    library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
    library.espeak_ListVoices.argtypes = [ctypes.c_void_p]
    library.espeak_GetCurrentVoice.restype = ctypes.POINTER(_Voice)
    library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
    library.espeak_Info.restype = ctypes.c_char_p
    library.espeak_Info.argtypes = [ctypes.c_void_p]
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    library.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int]
    sample_rate = library.espeak_Initialize(_NO_SOUND_DEVICE, 0, data, _DO_NOT_EXIT)
    if sample_rate <= 0:
        raise Unavailable(f"espeak-ng found no data in {os.fsdecode(data) if data else 'its usual folders'}")
    return library, sample_rate


def version(library: Any) -> str:
    return str(library.espeak_Info(None).decode("utf-8", "replace").split()[0])


def voices(library: Any, language: bytes | None = None) -> Iterator[tuple[str, list[tuple[int, str]]]]:
    """Yield each voice's identifier and its languages, as (priority, name); the lowest priority fits best.

    ``language`` selects its voices, and ``b"variant"`` the variants that are appended to another voice's name.
    """
    wanted = ctypes.c_char_p(language)
    spec = _Voice(languages=ctypes.cast(wanted, ctypes.c_void_p))
    listed = library.espeak_ListVoices(ctypes.byref(spec) if language else None)
    index = 0
    while listed[index]:
        voice = listed[index].contents
        index += 1
        names: list[tuple[int, str]] = []
        address = voice.languages
        while address and (priority := ctypes.string_at(address, 1)) != b"\0":
            name = ctypes.string_at(address + 1)
            address += 1 + len(name) + 1
            names.append((priority[0], name.decode("utf-8", "replace")))
        identifier = os.fsdecode(voice.identifier or b"")
        if not identifier.startswith("mb/"):  # MBROLA voices need programs and data of their own
            yield identifier, names
