"""Template filters and tags of all pages: times, figures, messages of lower layers, speakers' names, icons."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from django import template
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from core.errors import HarkError
from model.metrics import IntervalDict
from pipeline.recordings.transcripts.transcript import UNNAMED
from webui import translation

register = template.Library()
# Commands for which the portal has a page, because readers of an error there may not have a command line.
OF_ENGINES = re.compile(r"\./hark (?:engines(?: (?:enable|pull) [\w-]+)?|voices(?: pull [\w-]+ [\w-]+)?)(?![\w-])")
MAX_INFORMATIVE_RATE = 1000.0  # false alarms per hour; an interval that reaches this is uninformative


@dataclass(frozen=True)
class Figure:
    """A measured number as displayed: "28.1 %", and its 95 % interval, "23.4 to 33.3 %" ("" without one)."""

    value: str
    interval: str


def number(value: float | None, decimals: int = 2) -> str:
    """Format a number in the reader's language."""
    # round, because number_format truncates
    return _("not measured") if value is None else str(number_format(round(value, decimals), decimals))


@register.filter
def share(interval: IntervalDict, decimals: int = 1) -> Figure:
    """Format a fraction and its interval in per cent."""
    if interval["value"] is None:
        return Figure(_("not measured"), "")
    value, low, high = (number(100 * (interval[name] or 0.0), decimals) for name in ("value", "low", "high"))
    return Figure(f"{value} %", _("%(low)s to %(high)s %%") % {"low": low, "high": high})


@register.filter
def rate(interval: IntervalDict) -> Figure:
    """Format a rate and its interval."""
    if interval["value"] is None:
        return Figure(_("not measured"), "")
    if interval["high"] is None or interval["high"] > MAX_INFORMATIVE_RATE:
        return Figure(number(interval["value"]), _("the test is too short to tell"))
    between = {"low": number(interval["low"]), "high": number(interval["high"])}
    return Figure(number(interval["value"]), _("%(low)s to %(high)s") % between)


@register.filter
def moment(time: datetime | str, shown: str = "minute") -> SafeString:
    """Return ``<time>`` in UTC, to the minute or as a date (``"day"``); ``page.js`` localizes it."""
    time = (datetime.fromisoformat(time) if isinstance(time, str) else time).astimezone(UTC)
    words = f"{time:%Y-%m-%d}" if shown == "day" else f"{time:%Y-%m-%d %H:%M} UTC"
    return format_html('<time datetime="{}" data-moment="{}">{}</time>', time.isoformat(), shown, words)


@register.filter
def can_have_passkeys(request: HttpRequest) -> bool:
    """Return whether browsers support passkeys on this page: over https with a host name, or on localhost."""
    host = request.get_host().rpartition(":")[0] or request.get_host()
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return request.is_secure() or host == "localhost"
    return False


@register.filter
def json_attribute(options: Mapping[str, Any]) -> str:
    """Return allauth's options for a browser's authenticator, as JSON for an attribute."""
    return json.dumps(options, default=dict)


@register.filter
def shown(message: str) -> str:
    return translation.shown(message)


@register.filter
def sentence(error: HarkError | Mapping[str, Any], which: str) -> str:
    """Return a sentence of an error ("what", "why", "what_to_do") in the reader's language.

    A command that sets up engines is replaced by a link to the page for that.
    """
    text = translation.explained(error)[which]
    if which == "what" or not OF_ENGINES.search(text):
        return text
    page = format_html('<a href="{}">{}</a>', reverse("trainer:engines"), _("Voices and models"))
    return mark_safe(OF_ENGINES.sub(lambda match: page, escape(text)))


@register.filter
def speaker_name(name: str) -> str:
    """Return a speaker's display name: "Speaker 1" in the reader's language."""
    unnamed = UNNAMED.fullmatch(name)
    return _("Speaker %(number)s") % {"number": unnamed[1]} if unnamed else name


@register.simple_tag
@cache
def icon(name: str) -> SafeString:
    """Return a symbol of ``static/hark/icons.svg``, hidden from screen readers, because a word accompanies it."""
    address = f"{static('hark/icons.svg')}#{name}"
    return format_html('<svg class="icon" aria-hidden="true"><use href="{}"></use></svg>', address)
