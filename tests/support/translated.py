"""The texts that templates and modules have translated."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from django.utils.translation.template import templatize

CALLED = {"_", "gettext", "gettext_lazy", "gettext_noop", "ngettext", "ngettext_lazy", "worded"}
CALLED |= {"storing", "storage_error"}


def messages_in_template(path: Path) -> set[str]:
    """Return the translated texts of a template."""
    text = templatize(path.read_text(encoding="utf-8"))
    called = re.findall(r"""\b(?:_|n?gettext)\(u?('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""", text)
    return {ast.literal_eval(literal) for literal in called}


def messages_in_code(path: Path) -> dict[str, str]:
    """Return the translated texts of a module: originals, with their plurals or ""."""
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    calls = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in CALLED]
    literals = [[arg.value for arg in call.args if isinstance(arg, ast.Constant)] for call in calls]
    return {texts[0]: texts[1] if len(texts) > 1 else "" for texts in literals if texts}
