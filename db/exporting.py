"""Export of clips as a folder of audio with a manifest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from core.data_folder import atomic_path, storage_error
from core.errors import HarkError
from core.worded import worded
from db.records import ClipQuery, ExportReport

if TYPE_CHECKING:
    from db.db_api import Library


def export_clips(library: Library, folder: Path, where: ClipQuery | None = None) -> ExportReport:
    """Copy clips into ``folder/audio`` and write ``folder/manifest.jsonl`` (NeMo's JSON lines) last.

    A line has audio_filepath (relative to the folder), duration [s], text (normalized; absent if unknown),
    text_original, speaker, language, engine, voice and licence. Existing files are not copied again.
    """
    folder = Path(folder)
    clips, seconds = 0, 0.0
    manifest = folder / "manifest.jsonl"
    try:
        (folder / "audio").mkdir(parents=True, exist_ok=True)
        with atomic_path(manifest) as temporary, temporary.open("w", encoding="utf-8") as lines:
            for clip in library.iter_clips(where):
                target = folder / "audio" / f"{clip.sha256}.flac"
                if not target.exists():
                    with atomic_path(target) as copy:
                        shutil.copyfile(library.file(clip), copy)
                line = {"audio_filepath": f"audio/{target.name}", "duration": round(clip.duration_s, 4)}
                if clip.text_known:
                    line |= {"text": clip.text_normalized, "text_original": clip.text_original}
                line |= {"speaker": clip.speaker, "language": clip.language, "engine": clip.engine}
                line |= {"voice": clip.voice, "licence": clip.licence}
                lines.write(json.dumps(line, ensure_ascii=False) + "\n")
                clips, seconds = clips + 1, seconds + clip.duration_s
    except FileNotFoundError as error:
        raise HarkError(
            worded("The export stopped: a clip's audio is missing."),
            worded("There is no %(filename)s.", filename=error.filename),
            worded("Run ./hark library check --repair, then export again."),
        ) from error
    except OSError as error:
        raise storage_error(error, "the export") from error
    return ExportReport(manifest, clips, seconds / 3600)
