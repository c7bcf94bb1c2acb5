"""What lower layers say, in the reader's language.

Sentences are extracted where they are worded (see ``webui/jobs/management/commands/makemessages.py``); names, which are
also keys, are listed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest
from django.utils.formats import number_format
from django.utils.translation import get_language_from_request, gettext, ngettext
from django.utils.translation import gettext_noop as _

from core.errors import HarkError
from core.worded import Worded

# Words that pages show by name, not by a sentence in the code: here so that makemessages finds them.
EFFORTS = (_("trial"), _("quick"), _("standard"), _("thorough"))
CONDITIONS = (_("clean"), _("noisy"), _("far"))
BUCKETS = (_("positive"), _("confusable"), _("inbetween"), _("plain negative"))
SPLITS = (_("train"), _("validation"), _("test"))
TOOL_USES = (_("recognition"), _("speakers"), _("questions"), _("summaries"), _("corpora"))
SENTIMENTS = (_("negative"), _("neutral"), _("positive"))  # of summaries


def shown(said: str | Mapping[str, Any]) -> str:
    """What the pipeline said, in the reader's language; in English what is not in the catalogue. ``said``: a sentence,
    or the parts of a worded one as they come out of JSON."""
    if isinstance(said, Worded):
        said = said.parts()
    if isinstance(said, str):
        return gettext(said) if said else ""  # gettext("") is the catalogue's own head
    values = {name: _shown_value(value) for name, value in said["values"].items()}
    if said["plural"]:
        return ngettext(said["template"], said["plural"], values["n"]) % values
    return gettext(said["template"]) % values


def explained(error: HarkError | Mapping[str, Any]) -> dict[str, str]:
    """The three sentences of an error, in the reader's language. ``error``: one that was raised, or what a job keeps of
    it."""
    kept = error.parts() if isinstance(error, HarkError) else error
    said = kept.get("said", {})
    return {name: shown(said.get(name, kept[name])) for name in ("what", "why", "what_to_do")}


def language_of(scope: Mapping[str, Any]) -> str:
    """The language of whoever has opened a socket, as :class:`LocaleMiddleware` finds that of a page."""
    request = HttpRequest()
    request.META["HTTP_ACCEPT_LANGUAGE"] = dict(scope["headers"]).get(b"accept-language", b"").decode("latin-1")
    request.COOKIES = dict(scope.get("cookies", {}))
    return get_language_from_request(request)


def _shown_value(value: Any) -> Any:
    """A part of a sentence: worded ones and numbers in the reader's language, names as they are."""
    if isinstance(value, Mapping):
        return shown(value)
    return number_format(value) if isinstance(value, float) else value
