"""The transcription of a recording as a user has chosen it, for the job, the command line and short uploads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from core.errors import HarkError
from core.events import Reporter, silent_reporter
from core.worded import Worded, worded
from pipeline.recordings.diarization import voiceprints
from pipeline.recordings.diarization.speakers import assign, diarize
from pipeline.recordings.recording_options import RecordingOptions
from pipeline.recordings.transcription.transcribe import TranscribeOptions, transcribe
from pipeline.recordings.transcripts.transcript import Transcript


def transcribed(
    audio: Path,
    options: RecordingOptions,
    *,
    data: Path,
    work: Path,
    words: Sequence[str] = (),
    only_channels: bool = False,
    warnings: list[Worded] | None = None,
    reporter: Reporter | None = None,
) -> Transcript:
    """Return the transcript of a normalized recording, with speakers if ``options.diarize``.

    Args:
        data: the data folder of the user, with their own weights and the voices that they remember.
        work: the folder for finished chunks; see :func:`transcribe`.
        words: likely words; see ``RecognitionEngine.recognize``.
        only_channels: whether speakers are distinguished by their channels alone, not by their voices.
        warnings: gets the reason if speakers cannot be distinguished, which is otherwise an error.

    Raises the errors of :func:`transcribe` and, without ``warnings``, of :func:`diarize`.
    """
    reporter = reporter or silent_reporter()
    channels = options.diarize and options.speakers in (None, 2)
    wanted = TranscribeOptions(
        options.engine, options.language, channels, data, translate=options.translate, words=tuple(words)
    )
    transcript = transcribe(audio, wanted, work, reporter)
    if only_channels or not options.diarize or not transcript.segments:
        return transcript
    try:
        return _with_speakers(transcript, audio, options.speakers, data / voiceprints.FILE, reporter)
    except HarkError as error:
        if warnings is None:
            raise
        warnings.append(worded("%(what)s %(why)s %(what_to_do)s", **error.as_dict()))
        reporter.log(worded("No speakers: %(what)s %(why)s", what=error.what, why=error.why), "warning")
        return transcript


def _with_speakers(
    transcript: Transcript, audio: Path, speakers: int | None, voices: Path, reporter: Reporter
) -> Transcript:
    if transcript.diarization != "channels":
        return assign(transcript, diarize(audio, speakers=speakers, voices=voices, reporter=reporter))
    # With a person on each channel, recognition has set the speakers. Their voices may have names.
    if not voiceprints.names(voices):
        return transcript
    names = diarize(audio, voices=voices, reporter=reporter).sounds_like
    return replace(transcript, sounds_like={side: name for side, name in names.items() if side in transcript.speakers})
