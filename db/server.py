"""A clip library on a database server: what ``postgresql.py`` and ``mysql.py`` share.

A file in the library's folder names it on the server. In place of SQLite's full-text index, ``clip_fts`` has the words
of each text, as SQLite's own tokenizer finds them.
"""

from __future__ import annotations

import re
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from enum import Enum, auto
from pathlib import Path
from secrets import token_hex
from typing import Any, ClassVar, TypeVar

from core.data_folder import StorageFull, atomic_path, storing
from core.database_url import DATABASE, first_line, no_answer
from core.earlier_settings import taken
from core.errors import HarkError
from db.database import FULL_TEXT_DIFFERS, SCHEMA, SCHEMA_VERSION, Check, Cursor, in_use, newer

PAGE_ROWS = 1000  # whose words are compared at a time
RESTARTS_S, AGAIN_AFTER_S = 20.0, 0.5  # a server that is away may be one that restarts
_NAME = re.compile(r"hark_library_[0-9a-f]{16}")

T = TypeVar("T")


class Trouble(Enum):
    """What a driver's error means."""

    IN_USE = auto()
    FULL = auto()
    REFUSED = auto()
    DAMAGED = auto()
    AWAY = auto()


def words_of(texts: Sequence[str]) -> list[list[str]]:
    """The words of each text in order, as SQLite's full-text index has them."""
    tokenizer = re.search(r'tokenize = ".*?"', SCHEMA.read_text(encoding="utf-8"))
    assert tokenizer is not None
    found: list[list[str]] = [[] for _ in texts]
    with closing(sqlite3.connect(":memory:")) as memory:
        memory.execute(f"CREATE VIRTUAL TABLE text USING fts5 (content, {tokenizer[0]})")
        memory.execute("CREATE VIRTUAL TABLE word USING fts5vocab (text, instance)")
        memory.executemany("INSERT INTO text (rowid, content) VALUES (?, ?)", enumerate(texts))
        for row, word in memory.execute("SELECT doc, term FROM word ORDER BY doc, offset"):
            found[row].append(word)
    return found


def tables(types: Mapping[str, str]) -> str:
    """``db.sql`` with a server's types: {regular expression: what stands instead}. One with ``.*?`` spans lines."""
    found = f"{SCHEMA.read_text(encoding='utf-8')}CREATE TABLE library (\n    version BIGINT NOT NULL\n);"
    for words, instead in types.items():
        found = re.sub(words, instead, found, flags=re.DOTALL if "*?" in words else 0)
    return found


def patiently(connect: Callable[[], T], is_away: Callable[[Exception], bool]) -> T:
    """A connection, as soon as its server is there."""
    until = time.monotonic() + RESTARTS_S
    while True:
        try:
            return connect()
        except Exception as error:
            if time.monotonic() > until or not is_away(error):
                raise
            time.sleep(AGAIN_AFTER_S)


class ServerConnection(ABC):
    """A ``db.database.Connection``. One that the server has closed is made anew, but for within a transaction.

    Args:
        name: of the library on the server of ``database``.
    """

    snapshot_begins: ClassVar[Sequence[str]]

    def __init__(self, database: ServerDatabase, name: str) -> None:
        self._database, self._name = database, name
        self._within = False
        self._raw = self._opened()

    @abstractmethod
    def _opened(self) -> Any: ...

    @abstractmethod
    def _run(self, query: str, values: Sequence[Any]) -> Cursor: ...

    @abstractmethod
    def _has_lost(self, error: Exception) -> bool:
        """Whether the connection went with it."""

    @abstractmethod
    def _lock(self) -> None:
        """Wait for the library's other writers. It ends with the transaction."""

    @abstractmethod
    def stored(self, words: Sequence[str]) -> Any:
        """A text's words as a value of ``clip_fts``."""

    @abstractmethod
    def executemany(self, query: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each row of values."""

    @abstractmethod
    def insert(self, clip: Mapping[str, Any]) -> int:
        """Add a clip; its id."""

    @abstractmethod
    def number(self) -> None:
        """Let new clips be numbered from the highest number on."""

    def execute(self, query: str, values: Sequence[Any] = ()) -> Cursor:
        """Run one statement."""
        try:
            return self._run(query, values)
        except Exception as error:
            if self._within or not self._has_lost(error):
                raise
        self._raw = self._opened()
        return self._run(query, values)

    def index(self, texts: Mapping[int, str]) -> None:
        """Keep the words of texts: {clip id: text}; clips that are not there are left out."""
        self._index(dict(zip(texts, words_of(list(texts.values())))))

    def _index(self, words: Mapping[int, list[str]]) -> None:
        self.executemany(
            "INSERT INTO clip_fts (rowid, words) SELECT id, ? FROM clip WHERE id = ? "
            "ON CONFLICT (rowid) DO UPDATE SET words = excluded.words",
            [(self.stored(found), clip_id) for clip_id, found in words.items()],
        )

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """While the library looks as at the beginning of the block, whatever others write."""
        for statement in self.snapshot_begins:
            self.execute(statement)
        self._within = True
        try:
            yield
        finally:
            self._within = False
            with suppress(Exception):  # the connection may be gone
                self.execute("ROLLBACK")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """With the lock of the library's writers from its beginning."""
        self.execute("BEGIN")
        self._within = True
        try:
            self._lock()
            yield
            self.execute("COMMIT")
        except BaseException:
            with suppress(Exception):  # the connection may be gone, and with it the transaction
                self.execute("ROLLBACK")
            raise
        finally:
            self._within = False

    def close(self) -> None:
        """Give it back."""
        self._raw.close()


class ServerDatabase(ABC):
    """A ``db.database.Database``.

    Args:
        folder: the library's; where it names none yet, one is made.
    """

    errors: type[Exception]
    refused: type[Exception]
    server: ClassVar[str]
    marker: ClassVar[str]  # the file in the folder
    called: ClassVar[str]  # what the name is one of
    connection: ClassVar[type[ServerConnection]]

    def __init__(self, folder: Path) -> None:
        self._marker = folder / self.marker
        self.checks = (Check("full-text index", _full_text_differs, _build_full_text_index),)

    @abstractmethod
    def _is_missing(self, error: Exception) -> bool:
        """Whether it says that there is no such table."""

    @abstractmethod
    def _make(self, raw: Any, name: str) -> None:
        """Make a library's tables, and write its version."""

    @abstractmethod
    def _drop(self, raw: Any, name: str) -> None: ...

    @abstractmethod
    def phrase(self, phrase: str) -> tuple[str, list[Any]]:
        """As ``db.database.Database`` has it."""

    @abstractmethod
    def connected(self) -> Any:
        """The driver's connection to the database of DATABASE_URL, as soon as its server is there."""

    @abstractmethod
    def _lock_making(self, raw: Any) -> None:
        """Wait for others who make libraries, until the connection is closed."""

    @abstractmethod
    def _trouble(self, error: Exception) -> Trouble | None:
        """None for an error in Hark itself."""

    def url(self) -> str:
        """DATABASE_URL. Raises HarkError where it is not set."""
        if not (url := taken(DATABASE)):
            raise HarkError(
                f"The clip library is on {self.server}.",
                f"The file {self.marker} in the data folder says so, but {DATABASE} is not set.",
                f"Set {DATABASE} as it was when the library was made.",
            )
        return url

    def connect(self) -> ServerConnection:
        """A new connection; the first one makes the library and its tables."""
        name = self.name() or self.made()
        connection = self.connection(self, name)
        try:
            (version,) = connection.execute("SELECT version FROM library").fetchone() or (0,)
            if version > SCHEMA_VERSION:
                raise newer(f"The {self.called} {name}", version)
        except BaseException as error:
            connection.close()
            if not (isinstance(error, self.errors) and self._is_missing(error)):
                raise
            # Not made anew: check --mend would take the clips' files for left over.
            raise HarkError(
                "The database does not have this clip library.",
                f"{self.marker} in the data folder names the {self.called} {name}, which is not there.",
                f"Let {DATABASE} name the database where it was made, or restore a backup.",
            ) from None
        return connection

    def explained(self, error: Exception, doing: str) -> Exception:
        """The HarkError for what the server met; what is an error in Hark itself comes back as it is."""
        said, trouble = f"{self.server} says: {first_line(error)}.", self._trouble(error)
        if trouble is Trouble.IN_USE:
            return in_use("it", doing)
        if trouble is Trouble.FULL:
            what_to_do = "Free some space there, then run the same command again; what was finished is kept."
            return StorageFull(f"The disk of the database is full: {doing} stopped.", said, what_to_do)
        if trouble is Trouble.REFUSED:
            what_to_do = f"The user of {DATABASE} must own the database, which must not be read-only."
            return HarkError(f"Hark may not write there: {doing} stopped.", said, what_to_do)
        if trouble is Trouble.DAMAGED:
            what_to_do = f"Restore a backup, or mend the database by {self.server}'s own means."
            return HarkError(f"The clip library is damaged: {doing} stopped.", said, what_to_do)
        return no_answer(self.server, DATABASE, error) if trouble is Trouble.AWAY else error

    def remove(self) -> None:
        """Drop the library with all rows, and forget it."""
        if (name := self.name()) is not None:
            self.drop(name)
            with storing("removing the clip library"):
                self._marker.unlink(missing_ok=True)

    def drop(self, name: str) -> None:
        """Drop a library with all rows, whatever the folder's file names."""
        try:
            with closing(self.connected()) as raw:
                self._drop(raw, name)
        except self.errors as error:
            raise self.explained(error, "removing the clip library") from error

    def name(self) -> str | None:
        """What the library is called on the server; None before it was made."""
        with storing("opening the clip library"):
            try:
                name = self._marker.read_text(encoding="utf-8", errors="replace").strip()
            except FileNotFoundError:
                return None
        if not _NAME.fullmatch(name):
            raise HarkError(
                "The clip library cannot be opened.",
                f"{self._marker} does not hold the name of a {self.called} of Hark's.",
                "Put that file back as it was, from a copy of the data folder.",
            )
        return name

    def made(self) -> str:
        """Make the library, then the file that names it: a kill in between leaves an empty one that nobody uses."""
        with closing(self.connected()) as raw:
            self._lock_making(raw)
            name = self.name()  # another process may have been first
            if name is None:
                name = f"hark_library_{token_hex(8)}"  # never used before, as the rows of a folder that was deleted
                self._make(raw, name)
                with storing("making the clip library"), atomic_path(self._marker) as temporary:
                    temporary.write_text(f"{name}\n", encoding="utf-8")
        return name


def _differing(connection: ServerConnection) -> Iterator[dict[int, str]]:
    """The clips whose words are not those of their text, some at a time: {clip id: text}."""
    after = 0
    while rows := connection.execute(
        "SELECT id, text_normalized, words FROM clip LEFT JOIN clip_fts ON rowid = id WHERE id > ? ORDER BY id LIMIT ?",
        (after, PAGE_ROWS),
    ).fetchall():
        after = rows[-1][0]
        expected = [connection.stored(words) for words in words_of([text for _, text, _ in rows])]
        if wrong := {clip_id: text for (clip_id, text, kept), right in zip(rows, expected) if kept != right}:
            yield wrong


def _full_text_differs(connection: ServerConnection) -> list[str]:
    return [FULL_TEXT_DIFFERS] if any(_differing(connection)) else []


def _build_full_text_index(connection: ServerConnection) -> None:
    for texts in _differing(connection):
        connection.index(texts)
