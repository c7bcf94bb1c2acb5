"""The process that runs ``festival --pipe`` and sends it one Scheme expression per request."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

from core.child_process import end_with_parent
from core.worker_protocol import Refused, Unavailable, serve

# HTS voices take a rate; diphone voices take a duration factor and the mean and standard deviation of the pitch [Hz].
# Selecting a voice resets its parameters, so requests do not affect each other. Utterance does not evaluate its
# arguments, so the code builds a list and evaluates that. festival does not flush its output after a line, so the code
# calls fflush.
SCHEME = """
(define (hark_say voice text path stretch f0_mean f0_std)
  (eval (list (intern (string-append "voice_" voice))))
  (if (string-equal (format nil "%l" (Parameter.get 'Synth_Method)) "HTS")
      (set! hts_engine_params (append hts_engine_params (list (list "-r" (/ 1.0 stretch)))))
      (begin
        (Parameter.set 'Duration_Stretch stretch)
        (set! int_lr_params (list (list 'target_f0_mean f0_mean) (list 'target_f0_std f0_std)
                                  (list 'model_f0_mean 170) (list 'model_f0_std 34)))))
  (let ((utt (eval (list 'Utterance 'Text text))))
    (utt.synth utt)
    (utt.save.wave utt path 'riff))
  (format t "hark_done\\n"))
(define (hark_try voice text path stretch f0_mean f0_std)
  (unwind-protect (hark_say voice text path stretch f0_mean f0_std) (format t "hark_failed\\n"))
  (fflush nil))
(mapcar (lambda (voice) (format t "hark_voice %s\\n" voice)) (voice.list))
(begin (format t "hark_ready\\n") (fflush nil))
"""
DEFAULTS = {"stretch": 1.0, "f0_mean": 105.0, "f0_std": 15.0}


class Festival:
    def __init__(self) -> None:
        program = shutil.which("festival")
        if program is None:
            raise Unavailable("The festival program is not installed.")
        # festival's own messages go to this worker's stderr, which the host stores.
        self.process = subprocess.Popen(
            [program, "--pipe"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sys.stderr.fileno(),
            text=True,
            encoding="ascii",
            errors="replace",
            preexec_fn=end_with_parent,
        )
        self._write(SCHEME)
        self.voices = [line.split()[1] for line in self._lines_until("hark_ready") if line.startswith("hark_voice ")]

    def speak(self, request: dict[str, Any]) -> None:
        if request["voice"] not in self.voices:
            raise Refused(f"festival has no voice {request['voice']}")
        numbers = [float(request["settings"].get(name, default)) for name, default in DEFAULTS.items()]
        path = Path(request["path"])
        arguments = [
            _quoted(request["voice"]),
            _quoted(_plain(request["text"])),
            _quoted(str(path)),
            *map(str, numbers),
        ]
        self._write(f"(hark_try {' '.join(arguments)})\n")
        if self._lines_until("hark_done", "hark_failed")[-1] == "hark_failed":
            raise Refused("festival could not speak the text")

    def _write(self, scheme: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(scheme)
        self.process.stdin.flush()

    def _lines_until(self, *last: str) -> list[str]:
        assert self.process.stdout is not None
        lines: list[str] = []
        for line in self.process.stdout:
            lines.append(line.strip())
            if lines[-1] in last:
                return lines
        # Festival crashed. This worker ends too, and the host restarts both.
        sys.stderr.write(f"festival ended with code {self.process.wait()}\n")
        sys.stderr.flush()
        os._exit(1)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _plain(text: str) -> str:
    """Return ASCII letters, digits and punctuation: festival reads bytes, and crashes on texts without words."""
    text = unicodedata.normalize("NFKD", text.replace("\u2019", "'"))
    text = "".join(character if character.isascii() and character.isprintable() else " " for character in text
                   if not unicodedata.combining(character))  # fmt: skip
    if not any(character.isalnum() for character in text):
        raise Refused("festival can speak only Latin letters")
    return text


def set_up() -> tuple[dict[str, Any], Any]:
    festival = Festival()
    if not festival.voices:
        raise Unavailable("festival is installed without a voice.")
    return {"voices": festival.voices}, festival.speak


if __name__ == "__main__":
    serve(set_up)
