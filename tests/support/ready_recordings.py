"""A recording that is transcribed: a few seconds of tones, and a transcript that a person wrote."""

from __future__ import annotations

from core.audio_file import write_audio
from pipeline.recordings.files import recording_folder
from pipeline.recordings.summarization import Point, Sentiment, Summary, save_summary, words_of
from pipeline.recordings.transcripts.transcript import Segment, Transcript, Word, save_transcript
from tests.support.sounds import tone
from webui.accounts.models import User
from webui.jobs.models import Job
from webui.recordings import job_results
from webui.recordings.models import Recording
from webui.recordings.reading import transcripts
from webui.recordings.transcribing import intake

SAID = (
    ("S1", "We meet in the harbour on Tuesday", 0.9),
    ("S2", "Who brings the <b>lantern</b>", 0.3),
    ("S1", "Anna brings the lantern and the map", 0.9),
)


def transcript_of_words(said: tuple[tuple[str, str, float], ...] = SAID) -> Transcript:
    """Make a transcript with one second a segment, and words of equal length."""
    segments = []
    for number, (speaker, text, confidence) in enumerate(said):
        parts = text.split()
        step = 0.9 / len(parts)
        words = tuple(
            Word(part, round(number + step * i, 3), round(number + step * (i + 1), 3), confidence)
            for i, part in enumerate(parts)
        )
        segments.append(Segment(float(number), number + 0.9, text, confidence, words, speaker=speaker))
    return Transcript(
        float(len(said)), "en", "test engine", tuple(segments), {"S1": "S1", "S2": "S2"}, diarization="acoustic"
    )


def ready_recording(user: User, name: str = "meeting.wav", transcript: Transcript | None = None) -> Recording:
    """Make a recording as its job and ``transcribed`` leave it."""
    transcript = transcript or transcript_of_words()
    recording = Recording(user=user, name=name, state=Recording.State.WORKING, originals=["original.wav"])
    recording.folder = f"audio/{recording.pk}"
    recording.path.mkdir(parents=True)
    for name in ("original.wav", recording_folder.AUDIO):
        write_audio(recording.path / name, tone(transcript.duration_s, level=0.1))
    (recording.path / recording_folder.WAVEFORM).write_text("[0.1, 0.5, 0.1]")
    save_transcript(transcript, recording.path / recording_folder.TRANSCRIPT)
    summary = Summary(
        "A meeting in the harbour.", (Point("Tuesday, in the harbour.", (0,)), Point("The lantern is missing.", (1,))),
        (Point("Anna brings the lantern.", (2,)),), Sentiment("neutral", 0.0), "test", (0, 2),
        made_of=words_of(transcript),
    )  # fmt: skip
    save_summary(summary, recording.path / recording_folder.SUMMARY)
    spec = {"recording": str(recording.pk), "folder": recording.folder, "originals": ["original.wav"], "options": {}}
    recording.options = intake.checked_options({})
    recording.job = Job.objects.create(
        user=user, kind="transcribe", queue="general", title=name, state=Job.State.DONE, spec=spec,
        result={
            "duration_s": transcript.duration_s, "language": transcript.language, "engine": transcript.engine,
            "speakers": len(transcript.speakers), "channels": 1, "words": 18, "warnings": [],
        },
    )  # fmt: skip
    recording.save(force_insert=True)
    job_results.transcribed(recording.job)
    return transcripts.recordings_of(user).select_related("user").get(pk=recording.pk)
