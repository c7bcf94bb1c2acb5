"""Template filters and tags of all pages: points in time, what lower layers say, names of speakers, icons."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from django import template
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from core.errors import HarkError
from webui import translation

register = template.Library()
# Commands that the portal has a page for: who reads an error there need not have a command line.
OF_ENGINES = re.compile(r"\./hark (?:engines(?: (?:enable|pull) [\w-]+)?|voices(?: pull [\w-]+ [\w-]+)?)(?![\w-])")
UNNAMED = re.compile(r"Speaker (\d+)")  # as transcripts call whom nobody has named


@register.filter
def moment(time: datetime | str, shown: str = "minute") -> SafeString:
    """``<time>`` of a point in time (ISO text, too): to the minute, or with ``"day"`` its date. It is UTC, which
    ``page.js`` changes into the reader's own zone."""
    time = (datetime.fromisoformat(time) if isinstance(time, str) else time).astimezone(UTC)
    words = f"{time:%Y-%m-%d}" if shown == "day" else f"{time:%Y-%m-%d %H:%M} UTC"
    return format_html('<time datetime="{}" data-moment="{}">{}</time>', time.isoformat(), shown, words)


@register.filter
def can_have_passkeys(request: HttpRequest) -> bool:
    """Whether browsers use passkeys on this page: over https under a name, or on localhost."""
    host = request.get_host().rpartition(":")[0] or request.get_host()
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return request.is_secure() or host == "localhost"
    return False


@register.filter
def json_attribute(options: Mapping[str, Any]) -> str:
    """What allauth asks a browser's authenticator, for an attribute."""
    return json.dumps(options, default=dict)


@register.filter
def shown(said: str) -> str:
    return translation.shown(said)


@register.filter
def said(error: HarkError | Mapping[str, Any], which: str) -> str:
    """A sentence of an error ("what", "why", "what_to_do"), in the reader's language; for a command that sets engines
    up it names the page that does."""
    sentence = translation.explained(error)[which]
    if which == "what" or not OF_ENGINES.search(sentence):
        return sentence
    page = format_html('<a href="{}">{}</a>', reverse("trainer:engines"), _("Voices and models"))
    return mark_safe(OF_ENGINES.sub(lambda found: page, escape(sentence)))


@register.filter
def speaker_name(name: str) -> str:
    """A speaker as the page calls them: "Speaker 1" in the reader's language."""
    unnamed = UNNAMED.fullmatch(name)
    return _("Speaker %(number)s") % {"number": unnamed[1]} if unnamed else name


@register.simple_tag
@cache
def icon(name: str) -> SafeString:
    """A symbol of ``static/hark/icons.svg``, which screen readers pass over: a word stands beside it."""
    address = f"{static('hark/icons.svg')}#{name}"
    return format_html('<svg class="icon" aria-hidden="true"><use href="{}"></use></svg>', address)
