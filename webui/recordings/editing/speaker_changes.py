"""Changes of a recording's speakers: names, passages, repeated detection, remembered voices."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _

from core.errors import HarkError
from pipeline.recordings.diarization import channels, voiceprints
from pipeline.recordings.diarization.speakers import assign_again
from pipeline.recordings.diarization.turns import Diarization, Turn
from pipeline.recordings.files.media import shown_text
from pipeline.recordings.files.recording_folder import AUDIO
from pipeline.recordings.transcripts.transcript import Transcript
from webui.accounts.models import User
from webui.accounts.storage import user_data
from webui.jobs.models import Job
from webui.recordings.editing.corrections import save
from webui.recordings.editing.segments import divided, with_divided_segment, with_other_segments
from webui.recordings.models import Recording
from webui.recordings.reading.transcripts import check_version, segments_with, transcript_of, transcript_to_change
from webui.recordings.transcribing.intake import checked_options
from webui.recordings.transcribing.jobs import submit_alone
from webui.transactions import serialized

MAX_NAME_LENGTH = 100  # maximum characters of a name


def name_speakers(*, recording: Recording, names: Mapping[str, str], version: int | None = None) -> None:
    """Name speakers, all or none of them; "" removes a name.

    Args:
      names: by speaker id; unchanged ones are ignored.
      version: the one that the user saw; None for any.

    Raises Changed if the transcript has since changed, and HarkError if a speaker is unknown, or if two speakers with
    passages would have the same name.
    """
    with serialized():
        recording, transcript = transcript_to_change(recording)
        check_version(recording, version, _("Open the recording again, then enter the names again."))
        named = {}
        for speaker, name in names.items():
            _check_speaker(transcript, speaker)
            name = shown_text(name)[:MAX_NAME_LENGTH] or _unnamed(speaker)
            if name != transcript.speakers[speaker]:
                named[speaker] = name
        if not named:
            return
        speakers = {**transcript.speakers, **named}
        for speaker, name in named.items():
            others = {one.speaker for one in transcript.segments} - {speaker}
            if name.casefold() in (speakers.get(one, one).casefold() for one in others):
                raise HarkError(
                    _("Another speaker is already called “%(name)s”.") % {"name": name},
                    _("Two speakers with the same name could not be distinguished."),
                    _(
                        "If they are the same person, choose Speaker next to a passage of this speaker, then "
                        "“%(name)s” and “In all passages of …”."
                    )
                    % {"name": name},
                )
        like = {who: known for who, known in transcript.sounds_like.items() if who not in named}
        save(recording, replace(transcript, speakers=speakers, sounds_like=like))


def _unnamed(speaker: str) -> str:
    """Return the default name of a speaker, such as "Speaker 1" for S1."""
    return f"Speaker {speaker[1:]}" if re.fullmatch(r"S\d+", speaker) else speaker


def _check_speaker(transcript: Transcript, speaker: str) -> None:
    if speaker not in transcript.speakers:
        raise HarkError(
            _("There is no such speaker."), _("The recording has no speaker with that name."), _("Reload the page.")
        )


def assign_speaker(
    *,
    recording: Recording,
    number: int,
    speaker: str | None,
    start_s: str = "",
    from_word: int = 0,
    all_of_theirs: bool = False,
) -> None:
    """Set the speaker of a passage. Assigning the previous speaker again undoes the change.

    Args:
      speaker: an id of the transcript, "" (unknown), or None for a new speaker.
      start_s: the start of the passage that the user saw, as displayed by the page.
      from_word: split the passage before this word, and assign the second part; 0 to assign all of it.
      all_of_theirs: also assign all passages of its present speaker, so that two speakers become one.

    Raises HarkError if the passage, word or speaker does not exist, or for a word and all passages.
    """
    if from_word and all_of_theirs:
        raise HarkError(
            _("The speaker was not changed."),
            _("A passage is either split at a word, or changed together with the others of its speaker."),
            _("Leave out either the word or the other passages."),
        )
    with serialized():
        recording, transcript = transcript_to_change(recording)
        segments = segments_with(transcript, number, start_s)
        speakers = dict(transcript.speakers)
        if speaker is None:
            new = next(n for n in itertools.count(1) if f"S{n}" not in speakers)
            speaker = f"S{new}"
            speakers[speaker] = f"Speaker {new}"
        elif speaker:
            _check_speaker(transcript, speaker)
        before, recited = segments[number].speaker, None
        if from_word:
            if not 0 < from_word < len(segments[number].words):
                raise HarkError(_("There is no such word."), _("The passage was corrected."), _("Reload the page."))
            segments[number : number + 1] = divided(segments[number], from_word)
            recited = partial(with_divided_segment, number=number)
            number += 1
        for n, segment in enumerate(segments):
            if n == number or (all_of_theirs and segment.speaker == before):
                segments[n] = replace(segment, speaker=speaker)
        recording.speakers = len({segment.speaker for segment in segments} - {""})
        save(recording, replace(transcript, segments=tuple(segments), speakers=speakers), recited)


def detect_speakers_again(*, recording: Recording, speakers: int | None = None) -> Job:
    """Queue another detection of speakers. Words, corrections and names remain.

    Args:
      speakers: their number; None to estimate it.

    Raises StatusError (409) if the recording has no transcript, or while it or its speakers are being processed;
    HarkError if the number of speakers is invalid; and webui.jobs.services.TooManyJobs if too many jobs wait.
    """
    speakers = checked_options({"speakers": speakers})["speakers"]
    with serialized():
        current, _transcript = transcript_to_change(recording)
        return submit_alone(current, "speakers", _("The speakers are being detected."), speakers=speakers)


def speakers_detected(recording: Recording, about: Mapping[str, Any]) -> None:
    """Apply the result of the job "speakers" to the current transcript."""
    if recording.now == Recording.State.WORKING:
        return  # the new transcript will have its own speakers
    before = transcript_of(recording)
    turns = tuple(Turn(**turn) for turn in about["turns"])
    detected = Diarization(turns, about["method"], about["names"], about["versions"], sounds_like=about["sounds_like"])
    after = assign_again(before, detected)
    recording.speakers = len(after.speakers)
    save(recording, after, partial(with_other_segments, before=before.segments, after=after.segments))


def remember_voice(*, recording: Recording, speaker: str, name: str) -> None:
    """Store a speaker's voice, only with that person's consent. Raises HarkError if there is too little speech."""
    transcript = transcript_of(recording)
    _check_speaker(transcript, speaker)
    alone = [part for part in transcript.segments if part.speaker == speaker and not part.overlap]
    side = list(channels.NAMES).index(speaker) if transcript.diarization == "channels" else None
    audio = voiceprints.voice_of(recording.path / AUDIO, [(part.start_s, part.end_s) for part in alone], side)
    voiceprints.remember(_voices(recording.user), shown_text(name)[:MAX_NAME_LENGTH], audio, consent=True)


def voices_of(user: User) -> list[str]:
    return voiceprints.names(_voices(user))


def forget_voice(*, user: User, name: str) -> bool:
    """Delete a remembered voice; return whether it existed."""
    return voiceprints.forget(_voices(user), name)


def _voices(user: User) -> Path:
    return user_data(user) / voiceprints.FILE
