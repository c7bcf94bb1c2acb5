"""A user's small lists in JSON files, each changed under a lock and deleted once it is empty."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from core.data_folder import atomic_path, storing
from core.errors import HarkError
from core.lock import held
from core.worded import worded

SCHEMA = 1  # schema of all these files
MODE = 0o600  # only the user may read it

Stored = TypeVar("Stored", bound=Collection[Any])


@dataclass(frozen=True)
class UserFile(Generic[Stored]):
    """A kind of file: ``{"schema": 1, <key>: ...}``.

    Attributes:
        key: the name of the content.
        called: names the content in error messages: a plural that begins a sentence.
        doing: the purpose of a change, in error messages ("remembering the voice").
        parse: checks the JSON under the key and converts it; raises ValueError, KeyError, TypeError or AttributeError
            if it is invalid. The result can be written as JSON.
        empty: returns the content for a missing file.
    """

    key: str
    called: str
    doing: str
    parse: Callable[[Any], Stored]
    empty: Callable[[], Stored]

    def load(self, file: Path) -> Stored:
        """Return the content of ``file``. Raises HarkError if the file cannot be read."""
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            if content["schema"] != SCHEMA:
                raise ValueError(f"schema {content['schema']}")
            return self.parse(content[self.key])
        except FileNotFoundError:
            return self.empty()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise HarkError(
                worded("%(called)s cannot be read.", called=self.called),
                f"{file.name}: {error}.",
                worded("Restore %(name)s from a backup, or delete it.", name=file.name),
            ) from error

    @contextmanager
    def to_change(self, file: Path) -> Iterator[Stored]:
        """Yield the content and write it back at the end of the block. Other processes and threads wait.

        Raises HarkError if the file cannot be read or written, or another process does not release it.
        """
        with storing(self.doing):
            file.parent.mkdir(parents=True, exist_ok=True)
            with held(file.with_suffix(".lock"), self._being_changed):
                content = self.load(file)
                yield content
                if not content:
                    file.unlink(missing_ok=True)
                    return
                with atomic_path(file, MODE) as temporary:
                    temporary.write_text(
                        json.dumps({"schema": SCHEMA, self.key: content}, ensure_ascii=False), encoding="utf-8"
                    )

    def _being_changed(self, process: str) -> HarkError:
        return HarkError(
            worded("%(called)s are being changed.", called=self.called),
            worded("Process %(process)s is changing them and has not finished.", process=process),
            worded("Try again."),
        )
