"""Template filters and tags of all pages: points in time, what lower layers say, names of speakers, icons."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from core.errors import HarkError
from webui import translation

register = template.Library()
UNNAMED = re.compile(r"Speaker (\d+)")  # as transcripts call whom nobody has named


@register.filter
def moment(time: datetime | str, shown: str = "minute") -> SafeString:
    """``<time>`` of a point in time (ISO text, too): to the minute, or with ``"day"`` its date. It is UTC, which
    ``page.js`` changes into the reader's own zone."""
    time = (datetime.fromisoformat(time) if isinstance(time, str) else time).astimezone(UTC)
    words = f"{time:%Y-%m-%d}" if shown == "day" else f"{time:%Y-%m-%d %H:%M} UTC"
    return format_html('<time datetime="{}" data-moment="{}">{}</time>', time.isoformat(), shown, words)


@register.filter
def shown(said: str) -> str:
    """What a lower layer says, in the reader's language."""
    return translation.shown(said)


@register.filter
def said(error: HarkError | Mapping[str, Any], which: str) -> str:
    """A sentence of an error ("what", "why", "what_to_do"), in the reader's language."""
    return translation.explained(error)[which]


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
