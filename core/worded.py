"""English sentences that can be translated where they are shown; everything else takes them for the text they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, SupportsIndex

PLAIN = re.compile(r"(?:[^%]|%%|%\(\w+\)[sd])*")  # what stands in templates


class Worded(str):
    """A sentence that remembers what it was made of.

    Attributes:
        template: with ``%(name)s`` for each value (and ``%%`` for a per cent sign).
        plural: the template where the value ``n`` is not one; "" where there is none.
        values: texts, numbers, and parts that are worded themselves.
    """

    template: str
    plural: str
    values: Mapping[str, Any]

    def parts(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        values = {name: value.parts() if isinstance(value, Worded) else value for name, value in self.values.items()}
        return {"template": self.template, "plural": self.plural, "values": values}

    def replace(self, old: str, new: str, count: SupportsIndex = -1, /) -> str:
        """As a text's; what is replaced in the values leaves a sentence that can still be translated."""
        values = {
            name: value.replace(old, new) if isinstance(value, str) else value for name, value in self.values.items()
        }
        made = worded(self.template, self.plural, **values)
        return made if made == super().replace(old, new, count) else super().replace(old, new, count)


def number(value: float) -> float:
    """A number of at most two decimals, as a value of a sentence: 30, not 30.0."""
    rounded = round(value, 2)
    return int(rounded) if rounded % 1 == 0 else rounded  # which neither NaN nor an infinity is


def listed(items: Iterable[object]) -> str:
    """Names one after the other, as a value of a sentence."""
    return ", ".join(map(str, items))


def worded_again(parts: Mapping[str, Any]) -> Worded:
    """A sentence of its parts, as they come out of JSON. Raises ValueError, TypeError or KeyError where they are none:
    who sent them may want a number of a billion digits."""
    template, plural = str(parts["template"]), str(parts["plural"])
    if not (PLAIN.fullmatch(template) and PLAIN.fullmatch(plural)):
        raise ValueError("a placeholder is none of Hark's")
    values = {
        str(name): worded_again(value) if isinstance(value, Mapping) else value
        for name, value in parts["values"].items()
    }
    return worded(template, plural, **values)


def worded(template: str, plural: str = "", /, **values: Any) -> Worded:
    """A sentence. Templates are literals, for ``makemessages`` to extract; no other literal stands in the call."""
    made = Worded((plural if plural and values["n"] != 1 else template) % values)
    made.template, made.plural, made.values = template, plural, values
    return made
