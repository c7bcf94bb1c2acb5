"""Small things that a user has kept, in one JSON file: changed under a lock, and gone with the last of them."""

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

SCHEMA = 1  # of every such file
MODE = 0o600  # what is kept is the user's alone

Kept = TypeVar("Kept", bound=Collection[Any])


@dataclass(frozen=True)
class KeptFile(Generic[Kept]):
    """A kind of file: ``{"schema": 1, <key>: ...}``.

    Attributes:
        key: of what is kept.
        called: what is kept, as errors say it: a plural that begins a sentence.
        doing: what a change is for, as errors say it ("remembering the voice").
        parse: what JSON has under the key, checked, to what is kept; of what is not as it should be it raises
            ValueError, KeyError, TypeError or AttributeError. What it makes, JSON can write.
        empty: what is kept where there is no file.
    """

    key: str
    called: str
    doing: str
    parse: Callable[[Any], Kept]
    empty: Callable[[], Kept]

    def load(self, file: Path) -> Kept:
        """What is kept in ``file``. Raises HarkError: the file cannot be read."""
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
    def to_change(self, file: Path) -> Iterator[Kept]:
        """What is kept, written back at the end of the block; of two processes (or threads) one waits for the other.
        Raises HarkError: the file cannot be read or written, or another process does not let go of it."""
        with storing(self.doing):
            file.parent.mkdir(parents=True, exist_ok=True)
            with held(file.with_suffix(".lock"), self._being_changed):
                kept = self.load(file)
                yield kept
                if not kept:
                    file.unlink(missing_ok=True)
                    return
                with atomic_path(file, MODE) as temporary:
                    temporary.write_text(
                        json.dumps({"schema": SCHEMA, self.key: kept}, ensure_ascii=False), encoding="utf-8"
                    )

    def _being_changed(self, process: str) -> HarkError:
        return HarkError(
            worded("%(called)s are being changed.", called=self.called),
            worded("Process %(process)s is at it, and does not end.", process=process),
            worded("Try again."),
        )
