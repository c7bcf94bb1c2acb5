"""Settings from files named ``.env``: lines of NAME=value that stand in for environment variables.

Two are read: first the one in the data folder, then the one next to the code. The environment overrides the first,
which overrides the second. They hold cache folders and limits, and also keys, because other
users could read a command line.

``HARK_SETTINGS_FILE`` names another file to read instead; if it is empty, none is read.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from core.data_folder import REPOSITORY, data_folder
from core.errors import HarkError
from core.settings.earlier import ALIASES, adopt
from core.settings.rules import RULES

NAME = ".env"
CHOSEN = "HARK_SETTINGS_FILE"
DATA_SETTING = "HARK_DATA"  # the data folder; the file next to the code may set it
# Names that a restored file may set; Hark's own names that choose a program or a package are excluded.
_HARMLESS = re.compile(
    r"HARK_(?!(FLITE_PROGRAM|ENGINES_ENV|TORCH|TORCH_INDEX|SETTINGS_FILE|PYANNOTE_\w+|FUNASR_\w+)$)[A-Z_]+|"
    r"(DATABASE|REDIS)_URL|(GOOGLE|OPENAI|ELEVENLABS)_[A-Z_]+|HF_(TOKEN|HOME|HUB_OFFLINE|HUB_CACHE)|"
    rf"OTEL_(EXPORTER_OTLP_[A-Z_]+|SERVICE_NAME)|{'|'.join([*RULES, *ALIASES])}"
)


def read_settings_files() -> list[Path]:
    """Copy the settings of the files into the environment; return the files read, in order of precedence.

    Call it before anything reads the environment; a second call changes nothing. Names of an earlier system count too
    (``core.settings.earlier``). Raises HarkError if a file cannot be read, or the one that HARK_SETTINGS_FILE names is
    missing.
    """
    read = _read()
    adopt()
    return read


def _read() -> list[Path]:
    chosen = os.environ.get(CHOSEN)
    if chosen is not None:
        if not chosen:
            return []
        path = Path(chosen).expanduser()
        if not path.is_file():
            raise HarkError(
                "The settings file is missing.", f"{CHOSEN} names {path}.", f"Change {CHOSEN}, or create the file."
            )
        _take(values_of(path))
        return [path]
    beside_code = REPOSITORY / NAME
    later = values_of(beside_code) if beside_code.is_file() else {}
    _take({DATA_SETTING: later[DATA_SETTING]} if DATA_SETTING in later else {})
    in_data = data_folder() / NAME
    read = []
    if in_data.is_file() and in_data != beside_code:
        _take(values_of(in_data))
        read.append(in_data)
    if later:
        _take(later)
        read.append(beside_code)
    return read


def values_of(path: Path) -> dict[str, str]:
    """Return the settings of one file. ``$`` is an ordinary character, because keys contain it."""
    from dotenv import dotenv_values

    try:
        with path.open(encoding="utf-8-sig") as lines:
            values = dotenv_values(stream=lines, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        # The message does not repeat the line, which may hold a key.
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise HarkError(
            "A settings file cannot be read.", f"{path}: {reason}.", "Correct the file, or remove it."
        ) from error
    return {name: value for name, value in values.items() if value is not None}


def remove_unknown(path: Path) -> list[str]:
    """Remove from a file the names that only other programs read, such as LD_PRELOAD; return the removed names."""
    from dotenv.parser import parse_stream

    with path.open(encoding="utf-8-sig") as lines:
        bindings = [*parse_stream(lines)]
    harmless = [binding for binding in bindings if binding.key is None or _HARMLESS.fullmatch(binding.key)]
    path.write_text("".join(binding.original.string for binding in harmless), encoding="utf-8")
    return [binding.key for binding in bindings if binding not in harmless and binding.key]


def _take(values: dict[str, str]) -> None:
    for name, value in values.items():
        os.environ.setdefault(name, value)
