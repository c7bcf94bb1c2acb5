"""The job "polish": a transcript written out properly by the language model that the owner has configured.

What was recognized stays as it is; the polished text lies beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.data_folder import atomic_path, storage_error
from core.errors import HarkError
from core.events import Reporter
from core.worded import worded
from pipeline.recordings.recording_folder import POLISHED, POLISHED_TEXT, TRANSCRIPT
from pipeline.recordings.transcript import load_transcript, save_transcript


def polish_recording(spec: Mapping[str, Any], data: Path, reporter: Reporter) -> dict[str, Any]:
    """Write the polished transcript of a recording, as JSON and as text; times and speakers stay.

    Args:
        spec: ``recording`` (id) and ``folder`` below ``data``.

    Raises:
        HarkError: no language model, or it failed; the recording was deleted; a full disk.
    """
    from pipeline.recordings.captions import write
    from pipeline.recordings.summarization.polish import polish

    folder = data / spec["folder"]
    if not (folder / TRANSCRIPT).is_file():
        raise HarkError("The recording is gone.", "It was deleted before it was polished.", "Upload it again.")
    reporter.stage("polish", worded("Having the transcript written out by the language model"))
    polished = polish(load_transcript(folder / TRANSCRIPT))
    if not folder.is_dir():  # deleted meanwhile: nothing of it may come back
        raise HarkError("The recording is gone.", "It was deleted while it was polished.", "Upload it again.")
    try:
        with atomic_path(folder / POLISHED_TEXT) as temporary:
            temporary.write_bytes(write(polished, "txt"))
        save_transcript(polished, folder / POLISHED)
    except OSError as error:
        raise storage_error(error, "keeping the polished transcript") from error
    return {"segments": len(polished.segments)}
