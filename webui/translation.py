"""Translation of messages of lower layers into the reader's language.

Sentences are extracted from the code (``webui/jobs/management/commands/makemessages.py``). Names used as keys follow.
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

# Words that pages look up by name, listed so that makemessages finds them.
EFFORTS = (_("trial"), _("quick"), _("standard"), _("thorough"))
CONDITIONS = (_("clean"), _("noisy"), _("far"))
BUCKETS = (_("positive"), _("confusable"), _("in-between phrase"), _("plain negative"))
SPLITS = (_("train"), _("validation"), _("test"))
TOOL_USES = (_("recognition"), _("speakers"), _("questions"), _("summaries"), _("corpora"))
SENTIMENTS = (_("negative"), _("neutral"), _("positive"))  # sentiments of summaries


def shown(message: str | Mapping[str, Any]) -> str:
    """Translate a message: a sentence, or the parts of a worded one from JSON; in English if it has no translation."""
    if isinstance(message, Worded):
        message = message.parts()
    if isinstance(message, str):
        return gettext(message) if message else ""  # gettext("") is the catalogue's header
    values = {name: _shown_value(value) for name, value in message["values"].items()}
    if message["plural"]:
        return ngettext(message["template"], message["plural"], values["n"]) % values
    return gettext(message["template"]) % values


def explained(error: HarkError | Mapping[str, Any]) -> dict[str, str]:
    """Translate the three sentences of an error, raised or stored by a job."""
    parts = error.parts() if isinstance(error, HarkError) else error
    worded_parts = parts.get("said", {})
    return {name: shown(worded_parts.get(name, parts[name])) for name in ("what", "why", "what_to_do")}


def language_of(scope: Mapping[str, Any]) -> str:
    """Return the language of a socket's user, chosen as :class:`LocaleMiddleware` does for a page."""
    request = HttpRequest()
    request.META["HTTP_ACCEPT_LANGUAGE"] = dict(scope["headers"]).get(b"accept-language", b"").decode("latin-1")
    request.COOKIES = dict(scope.get("cookies", {}))
    return get_language_from_request(request)


def _shown_value(value: Any) -> Any:
    """Translate a value within a sentence: nested messages and numbers. Names are not translated."""
    if isinstance(value, Mapping):
        return shown(value)
    return number_format(value) if isinstance(value, float) else value
