"""Words of a user's corrections, which later transcripts expect."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from core.errors import HarkError
from pipeline.recordings.transcripts import vocabulary
from webui.accounts.models import User
from webui.accounts.storage import user_data
from webui.recordings.models import Recording

log = logging.getLogger(__name__)


def learn(recording: Recording, words: Sequence[str], language: str) -> None:
    """Store the words of a correction for the user's next transcripts. If that fails, the correction still holds."""
    if words:
        try:
            vocabulary.learn(_words(recording.user), words, language)
        except HarkError as error:
            log.warning("the words of a correction were not stored: %s", error)


def expected(user: User, language: str | None) -> list[str]:
    """Return the words expected in transcripts in a language (None for any), newest first; [] if unreadable."""
    try:
        return list(vocabulary.expected(_words(user), language))
    except HarkError as error:
        log.warning("the expected words could not be read: %s", error)
        return []


def forget(*, user: User, word: str) -> None:
    vocabulary.forget(_words(user), word)


def _words(user: User) -> Path:
    return user_data(user) / vocabulary.FILE
