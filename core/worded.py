"""English sentences that can be translated where they are shown; all other code treats them as plain text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, SupportsIndex

PLAIN = re.compile(r"(?:[^%]|%%|%\(\w+\)[sd])*")  # a template, which has only these placeholders


class Worded(str):
    """A sentence that remembers its parts.

    Attributes:
        template: the text with ``%(name)s`` for each value (and ``%%`` for a per cent sign).
        plural: the template for values of ``n`` other than 1; "" if there is none.
        values: texts, numbers and nested sentences.
    """

    template: str
    plural: str
    values: Mapping[str, Any]

    def parts(self) -> dict[str, Any]:
        values = {name: value.parts() if isinstance(value, Worded) else value for name, value in self.values.items()}
        return {"template": self.template, "plural": self.plural, "values": values}

    def replace(self, old: str, new: str, count: SupportsIndex = -1, /) -> str:
        """Replace as ``str`` does; a replacement within the values leaves the sentence translatable."""
        values = {
            name: value.replace(old, new) if isinstance(value, str) else value for name, value in self.values.items()
        }
        made = worded(self.template, self.plural, **values)
        return made if made == super().replace(old, new, count) else super().replace(old, new, count)


def number(value: float) -> float:
    """Round to at most two decimals for a sentence: 30, not 30.0."""
    rounded = round(value, 2)
    return int(rounded) if rounded % 1 == 0 else rounded  # NaN and infinities are not integers


def listed(items: Iterable[object]) -> str:
    return ", ".join(map(str, items))


def percent(share: float | None) -> str:
    """Format a fraction as a percentage, ``3.2 %``; return "not measured" for None and NaN."""
    return NOT_MEASURED if share is None or share != share else f"{100 * share:.1f} %"


def worded_again(parts: Mapping[str, Any]) -> Worded:
    """Rebuild a sentence from untrusted JSON. Raises ValueError, TypeError or KeyError if the parts are invalid."""
    template, plural = str(parts["template"]), str(parts["plural"])
    if not (PLAIN.fullmatch(template) and PLAIN.fullmatch(plural)):
        raise ValueError("a placeholder is not one of Hark's")
    values = {
        str(name): worded_again(value) if isinstance(value, Mapping) else value
        for name, value in parts["values"].items()
    }
    return worded(template, plural, **values)


def worded(template: str, plural: str = "", /, **values: Any) -> Worded:
    """Build a sentence. The templates must be the call's only literals, because ``makemessages`` extracts them."""
    text = Worded((plural if plural and values["n"] != 1 else template) % values)
    text.template, text.plural, text.values = template, plural, values
    return text


NOT_MEASURED = worded("not measured")
