"""Words of the pipeline that pages show translated: named here, so that ``makemessages`` finds them."""

from __future__ import annotations

from django.utils.translation import gettext_noop as _

EFFORTS = (_("trial"), _("quick"), _("standard"), _("thorough"))
CONDITIONS = (_("clean"), _("noisy"))
KINDS = (_("train"), _("retrain"), _("plan"), _("import"), _("enable"), _("pull"))  # of jobs

HINTS = (
    _("close, in your normal voice"),
    _("close, quickly"),
    _("two metres away"),
    _("quietly, close"),
    _("turned away from the microphone"),
    _("slowly and clearly"),
    _("from the far end of the room"),
    _("loudly, two metres away"),
    _("tired, without much effort"),
    _("from the next room's door"),
)
PROBLEMS = (
    _("No speech is in it: is it the right microphone, and is it allowed?"),
    _("It is clipped: further away, or turn the input down."),
    _("It is very quiet: nearer, or turn the input up."),
    _("It is too short for the phrase."),
    _("There is more in it than the phrase."),
    _("It begins or ends in the middle of speech."),
)
# Stored with a job as they were said.
INTERRUPTED = (
    _("The job was interrupted."),
    _("The process was killed, most likely because memory ran out."),
    _("The process that did it was killed, twice (out of memory, or the machine was restarted)."),
    _("Retry goes on from where it was."),
)
