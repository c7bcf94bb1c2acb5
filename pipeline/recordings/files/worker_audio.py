"""Requests about audio to a worker process, with audio and answer passed as files."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from core.audio_file import write_audio
from core.data_folder import storing
from core.worker_process import WorkerGone, WorkerProcess


def ask(worker: WorkerProcess, audio: np.ndarray, timeout_s: float, doing: str, **request: Any) -> Any:
    """Return a worker's answer about audio (float32 [samples], 16 kHz).

    Raises WorkerGone if the worker fails, and HarkError if the disk is full.
    """
    with tempfile.TemporaryDirectory(prefix="hark-worker-") as folder:
        audio_file, answer_file = Path(folder) / "audio.wav", Path(folder) / "answer.json"
        with storing(doing):
            write_audio(audio_file, audio)
        worker.send({"id": "1", "audio": str(audio_file), "path": str(answer_file), **request})
        answer = worker.answer("1", timeout_s)
        if answer["event"] == "failed":
            raise WorkerGone(str(answer.get("why")))
        try:
            return json.loads(answer_file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise WorkerGone(f"it gave an invalid answer: {error}") from error
