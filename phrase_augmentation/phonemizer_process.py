"""The process that converts texts to phones with espeak-ng (GPL-3), as lines of ``core.worker_protocol``.

<- {"event": "ready", "version": "1.52.0", "languages": ["af", ...]}
-> {"id": "1", "voice": "en-us", "texts": ["hey compass"]}
<- {"event": "done", "id": "1", "phones": ["h_ˈeɪ k_ˈʌ_m_p_ə_s"]}
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

from core import espeak
from core.worker_protocol import Refused, Speak, serve

IPA_SEPARATED = 0x02 | ord("_") << 8  # phoneme mode: IPA, with "_" between phones


def voices_of_languages(library: Any) -> dict[str, str]:
    """Return every language of espeak-ng ("en-us", "cmn") with the file of its best-fitting voice."""
    best: dict[str, tuple[int, str]] = {}
    for identifier, languages in espeak.voices(library):
        for priority, language in languages:
            offer = (priority, identifier)
            best[language] = min(best.get(language, offer), offer)
    best.pop("variant", None)
    return {language: identifier for language, (_, identifier) in sorted(best.items())}


def text_to_phones(library: Any, text: str) -> str:
    """Return the phones of all clauses of a text, separated by "_", and words by spaces."""
    position = ctypes.c_char_p(text.replace("\0", " ").encode("utf-8", "replace"))
    clauses: list[str] = []
    while position.value is not None:
        clause = library.espeak_TextToPhonemes(ctypes.byref(position), espeak.CHARS_UTF8, IPA_SEPARATED)
        clauses.append((clause or b"").decode("utf-8", "replace"))
    return " ".join(" ".join(clauses).split())


def set_up() -> tuple[dict[str, Any], Speak]:
    library, _ = espeak.load()
    voices = voices_of_languages(library)
    current = ""

    def phones_of(request: dict[str, Any]) -> dict[str, Any]:
        nonlocal current
        voice = request["voice"]
        if voice != current:
            current = ""
            # espeak-ng would use the previous voice if this one is missing.
            if voice not in voices or library.espeak_SetVoiceByName(os.fsencode(voices[voice])) != 0:
                raise Refused(f"espeak-ng has no voice for the language {voice}")
            current = voice
        return {"phones": [text_to_phones(library, text) for text in request["texts"]]}

    return {"version": espeak.version(library), "languages": list(voices)}, phones_of


if __name__ == "__main__":
    serve(set_up)
