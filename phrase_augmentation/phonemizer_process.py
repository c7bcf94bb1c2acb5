"""espeak-ng in a process of its own: texts in, phones out, as JSON lines on stdin and stdout.

espeak-ng is under the GPL and Hark under the Apache licence, so nothing of Hark is imported here and nothing of
espeak-ng is loaded into Hark. The program ends when its stdin closes, that is, with its parent.

    <- {"ready": true, "version": "1.52.0", "languages": ["af", ...]}        or {"ready": false, "why": "..."}
    -> {"voice": "en-us", "texts": ["hey compass"]}
    <- {"phones": ["h_ˈeɪ k_ˈʌ_m_p_ə_s"]}                                     or {"error": "..."}
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

NO_AUDIO = 2  # AUDIO_OUTPUT_SYNCHRONOUS of speak_lib.h: no sound device is opened
DO_NOT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT: report missing data, do not end the process
UTF8 = 1  # espeakCHARS_UTF8
IPA_SEPARATED = 0x02 | ord("_") << 8  # phoneme mode: IPA, with "_" between phones
LONGEST_DATA_PATH = 120  # espeak-ng keeps the path in a fixed buffer of 160 bytes, file names included


class _Voice(ctypes.Structure):
    """espeak_VOICE of speak_lib.h."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),  # a priority byte, then the language's name, repeated; a zero byte ends it
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    ]


def load() -> Any:
    """The initialized library: the one of espeakng-loader, or the system's. Raises OSError with the reason."""
    data: bytes | None = None
    try:
        import espeakng_loader

        path = str(espeakng_loader.get_library_path())
        folder = str(espeakng_loader.get_data_path())
        if len(folder.encode()) > LONGEST_DATA_PATH:
            link = Path(tempfile.mkdtemp(prefix="hark-espeak-")) / "espeak-ng-data"
            link.symlink_to(folder)
            folder = str(link)
        data = os.fsencode(folder)
    except ImportError:
        path = ctypes.util.find_library("espeak-ng") or ""
        if not path:
            raise OSError("neither the package espeakng-loader nor the library espeak-ng is installed") from None
    library = ctypes.CDLL(path)
    if library.espeak_Initialize(NO_AUDIO, 0, data, DO_NOT_EXIT) <= 0:
        raise OSError(f"espeak-ng found no data in {os.fsdecode(data) if data else 'its usual folders'}")
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    library.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int]
    library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
    library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
    library.espeak_ListVoices.argtypes = [ctypes.c_void_p]
    library.espeak_Info.restype = ctypes.c_char_p
    library.espeak_Info.argtypes = [ctypes.c_void_p]
    return library


def voices_of_languages(library: Any) -> dict[str, str]:
    """Every language that espeak-ng reads ("en-us", "cmn") with the file of the voice that fits it best."""
    best: dict[str, tuple[int, str]] = {}
    voices = library.espeak_ListVoices(None)
    index = 0
    while voices[index]:
        voice = voices[index].contents
        index += 1
        identifier = os.fsdecode(voice.identifier or b"")
        if identifier.startswith("mb/"):
            continue  # MBROLA voices need programs and data of their own
        address = voice.languages
        while address and (priority := ctypes.string_at(address, 1)) != b"\0":
            name = ctypes.string_at(address + 1)
            address += 1 + len(name) + 1
            offer = (priority[0], identifier)
            language = name.decode("utf-8", "replace")
            best[language] = min(best.get(language, offer), offer)
    best.pop("variant", None)
    return {language: identifier for language, (_, identifier) in sorted(best.items())}


def text_to_phones(library: Any, text: str) -> str:
    """The phones of all clauses of a text: phones parted by "_", words by spaces."""
    position = ctypes.c_char_p(text.replace("\0", " ").encode("utf-8", "replace"))
    clauses: list[str] = []
    while position.value is not None:
        clause = library.espeak_TextToPhonemes(ctypes.byref(position), UTF8, IPA_SEPARATED)
        clauses.append((clause or b"").decode("utf-8", "replace"))
    return " ".join(" ".join(clauses).split())


def main() -> None:
    """Answer one JSON line for each JSON line until stdin closes."""
    # espeak-ng writes warnings to stdout's descriptor: keep that for the answers alone.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message, ensure_ascii=False) + "\n")
        answers.flush()

    try:
        library = load()
    except OSError as error:
        answer({"ready": False, "why": str(error)})
        return
    voices = voices_of_languages(library)
    version = library.espeak_Info(None).decode("utf-8", "replace").split()[0]
    answer({"ready": True, "version": version, "languages": list(voices)})
    current = ""
    for line in sys.stdin.buffer:
        request = json.loads(line)
        voice = request["voice"]
        if voice != current:
            # A missing voice would leave the one before it speaking, so the code that espeak-ng returns counts.
            if voice not in voices or library.espeak_SetVoiceByName(os.fsencode(voices[voice])) != 0:
                current = ""
                answer({"error": f"espeak-ng has no voice for the language {voice}"})
                continue
            current = voice
        answer({"phones": [text_to_phones(library, text) for text in request["texts"]]})


if __name__ == "__main__":
    main()
