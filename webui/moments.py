"""The template filter of points in time: in UTC, which ``page.js`` changes into the reader's own zone."""

from __future__ import annotations

from datetime import UTC, datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()


@register.filter
def moment(time: datetime | str, shown: str = "minute") -> SafeString:
    """``<time>`` of a point in time (ISO text, too): to the minute, or with ``"day"`` its date."""
    time = (datetime.fromisoformat(time) if isinstance(time, str) else time).astimezone(UTC)
    words = f"{time:%Y-%m-%d}" if shown == "day" else f"{time:%Y-%m-%d %H:%M} UTC"
    return format_html('<time datetime="{}" data-moment="{}">{}</time>', time.isoformat(), shown, words)
