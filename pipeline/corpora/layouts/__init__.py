"""Corpus layouts, one file each, listed in :data:`LAYOUTS`. The first that recognizes a folder reads it."""

from __future__ import annotations

from pathlib import Path

from core.data_folder import check_folder
from core.errors import HarkError
from core.worded import worded
from pipeline.corpora.layouts import common_voice, librispeech, ljspeech, nemo_manifest, plain_folder, vctk
from pipeline.corpora.layouts.utterance import Layout

LAYOUTS: tuple[Layout, ...] = (
    Layout("LibriSpeech", librispeech.recognizes, librispeech.utterances),
    Layout("VCTK", vctk.recognizes, vctk.utterances),
    Layout("Common Voice", common_voice.recognizes, common_voice.utterances),
    Layout("NeMo manifest", nemo_manifest.recognizes, nemo_manifest.utterances),
    Layout("LJSpeech", ljspeech.recognizes, ljspeech.utterances),
    Layout("folder with .txt", plain_folder.has_transcripts, plain_folder.utterances),
    Layout("folder without transcripts", plain_folder.has_audio, plain_folder.utterances),
)


def layout_of(folder: Path) -> Layout:
    """Return the layout of a corpus's folder. Raises HarkError if it does not exist or has no audio."""
    check_folder(folder)
    for layout in LAYOUTS:
        if layout.recognizes(folder):
            return layout
    names = ", ".join(layout.name for layout in LAYOUTS)
    raise HarkError(
        worded("%(name)s contains no corpus that Hark can read.", name=folder.name),
        worded("Its layout is none of these: %(names)s.", names=names),
        worded("Choose the folder with the audio and its transcripts."),
    )
