"""Words of the pipeline that pages show translated: named here, so that ``makemessages`` finds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.formats import number_format
from django.utils.translation import gettext, ngettext, ngettext_lazy
from django.utils.translation import gettext_noop as _

from core.worded import Worded

EFFORTS = (_("trial"), _("quick"), _("standard"), _("thorough"))
CONDITIONS = (_("clean"), _("noisy"))
KINDS = (_("train"), _("retrain"), _("compare"), _("plan"), _("import"), _("enable"), _("pull"))  # of jobs
AUDIO_KINDS = (_("transcribe"), _("summarize"), _("minable"), _("polish"), _("train-recognizer"))
TOOL_USES = (_("recognition"), _("speakers"), _("questions"), _("summaries"), _("corpora"))
SENTIMENTS = (_("negative"), _("neutral"), _("positive"))  # of summaries

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
# Why a comparison leaves a version out.
LEFT_OUT = (_("What it was trained on is not known any more: the folder of its run is gone."),)

# What core.worded makes sentences of, and messages of jobs that are always the same.
ADVICE = (
    _("It is too short: %(measure)s. So little turns up inside other words, and false alarms will be frequent."),
    _("It is rather short: %(measure)s. Three syllables or more are told apart much better."),
    _("It is long: %(measure)s, about %(seconds)s s. People leave out parts of it when in a hurry."),
    _("Its length is good: %(measure)s, about %(seconds)s s."),
    _("How common its words are is not known for this language: listen for it in everyday talk."),
    _("%(n)d times an hour"),
    _("once in %(hours)d h"),
    _("People say this all the time: in talk it may come up %(often)s without being meant."),
    _("It comes up in ordinary talk, perhaps once in %(hours)d h of it."),
    _("It hardly ever comes up in ordinary talk."),
    _("It sounds the same as %(texts)s: the detector will answer to that too."),
    _("It is very near to %(texts)s: those are trained against, but expect mistakes."),
    _("Nothing that people often say sounds nearly like it."),
    _("Other devices listen for the same words, and will answer where they are near."),
    _(
        "Not in the word list: %(words)s. Voices may read that in their own ways: listen to a few clips, and write it "
        "as it sounds where they are wrong."
    ),
    _("try its most unusual words alone, three to five syllables in all"),
    _('try a longer and rarer word after "%(word)s", three to five syllables in all'),
    _("try a phrase of three to five syllables with at least one rare word"),
    _('try a rarer word, for example after a greeting: "%(greeting)s ..."'),
    _('try "%(phrase)s"'),
)
MESSAGES = (
    _("Planning “%(phrase)s”"),
    _("Going on with the run %(run)s"),
    _("Looking in the recordings for “%(phrase)s”"),
    _("Looking in the recordings for what resembles “%(phrase)s”"),
    _("%(n)d recordings hold “%(phrase)s”; a sample of %(sample)d was looked into."),
    _("Real recordings: %(cuts)d of the phrase, %(near)d of %(confusers)d confusers."),
    _("Speaking %(n)d clips"),
    _("%(n)d clips failed and are spoken by other engines."),
    _("%(engine)s: %(n)d clips failed: %(why)s"),
    _("%(engine)s stopped: %(why)s"),
    _("Putting %(n)d examples into rooms and noise"),
    _("Making decoys of marked false alarms"),
    _("Training for %(n)d steps"),
    _("Measuring on voices that were held out"),
    _("Exporting and checking that all forms agree"),
    _(
        "The model with 8-bit weights (model.int8.onnx) was left out: on test audio its scores are up to %(off)s from "
        "the others', and %(accepted)s are accepted. The other forms agree."
    ),
    _("Finding what none of the versions has heard in training"),
    _("Letting the versions hear %(n)d examples"),
    _("Unpacking %(file)s"),
    _("No licence found in %(corpus)s: its clips are marked 'unknown'. --licence names one."),
    _("Making the environment of %(engine)s (some minutes)"),
    _("Downloading %(file)s (%(mb)d MB)"),
    _("Downloading %(file)s"),
    # of recordings
    _("Preparing the audio"),
    _("Part %(number)d of %(n)d"),
    _("Looking for speech"),
    _("Transcribing with %(engine)s"),
    _("Telling speakers apart"),
    _("Summarizing"),
    _("Having the transcript written out by the language model"),
    _("Putting it into the library"),
    _("Taking it out of the library"),
    _("Downloading the Whisper model %(model)s"),
    _("Collecting passages whose words are known"),
    _("Cutting %(n)d passages"),
    _("Letting %(engines)s speak"),
    _("Decoding %(n)d recordings"),
    _("Measuring what it gets wrong now"),
    _("Training on %(minutes)s minutes of speech for %(n)d steps"),
    _("Measuring what it gets wrong after the training"),
)
PLURALS = (ngettext_lazy("%(n)d syllable and %(sounds)d sounds", "%(n)d syllables and %(sounds)d sounds", "n"),)


def shown(said: str | Mapping[str, Any]) -> str:
    """What the pipeline said, in the language of whoever looks at it; in English what is not in the catalogue.

    Args:
        said: a sentence, or the parts of a worded one as they come out of JSON.
    """
    if isinstance(said, Worded):
        said = said.parts()
    if isinstance(said, str):
        return gettext(said) if said else ""  # gettext("") is the catalogue's own head
    values = {name: _shown_value(value) for name, value in said["values"].items()}
    if said["plural"]:
        return ngettext(said["template"], said["plural"], values["n"]) % values
    return gettext(said["template"]) % values


def _shown_value(value: Any) -> Any:
    """A part of a sentence: worded ones and numbers in the reader's language, names as they are."""
    if isinstance(value, Mapping):
        return shown(value)
    return number_format(value) if isinstance(value, float) else value
