"""English sentences that can be translated where they are shown; everything else takes them for the text they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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


def worded(template: str, plural: str = "", /, **values: Any) -> Worded:
    """A sentence. Templates are literals, for ``makemessages`` to extract; no other literal stands in the call."""
    made = Worded((plural if plural and values["n"] != 1 else template) % values)
    made.template, made.plural, made.values = template, plural, values
    return made
