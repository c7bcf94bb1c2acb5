"""The log ``<data>/logs/hark.log``, which holds details hidden from users: tracebacks, and warnings of libraries."""

from __future__ import annotations

import logging
import logging.handlers
import platform
import secrets
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from core.data_folder import data_folder

MAX_LOG_BYTES = 2_000_000  # bytes; a longer log is renamed to hark.log.1
FORMAT = "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"


@dataclass(frozen=True)
class WrittenBug:
    """The log file with the traceback of an unexpected exception (None if not writable), and the traceback's id."""

    identifier: str
    log: Path | None
    summary: str


def log_file() -> Path:
    """Return the path of the log in the current data folder."""
    return data_folder() / "logs" / "hark.log"


class _QuietFile(logging.handlers.RotatingFileHandler):
    """A handler that opens the file on the first write, and ignores a file that cannot be written."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
            super().emit(record)
        except OSError:
            pass

    def handleError(self, record: logging.LogRecord) -> None:
        pass


@contextmanager
def log_warnings() -> Iterator[None]:
    """Redirect warnings and logging of all libraries from the terminal to the log file."""
    handler = _QuietFile(log_file(), maxBytes=MAX_LOG_BYTES, backupCount=1, delay=True, encoding="utf-8")
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter(FORMAT))
    root = logging.getLogger()
    root.addHandler(handler)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        handler.close()


def write_bug(error: BaseException) -> WrittenBug:
    """Append the traceback under a new id to the log or, if that fails, write it to a file in the temporary folder."""
    identifier = secrets.token_hex(4)
    summary = f"{type(error).__name__}: {error}"[:300]
    text = (
        f"{datetime.now(UTC).isoformat(timespec='seconds')} bug {identifier}\n"
        f"command: {sys.argv}\npython {platform.python_version()}, {platform.platform()}\n"
        f"{''.join(traceback.format_exception(error))}\n"
    )
    for path, mode in ((log_file(), "a"), (Path(tempfile.gettempdir()) / f"hark-{identifier}.log", "x")):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open(mode, encoding="utf-8", errors="backslashreplace") as log:
                log.write(text)
            return WrittenBug(identifier, path, summary)
        except OSError:
            continue
    return WrittenBug(identifier, None, summary)
