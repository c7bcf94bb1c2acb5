"""DATABASE_URL: the database that replaces SQLite files.

PostgreSQL holds the portal and the clip libraries, MariaDB and MySQL only the portal. A URL holds a password, so no
message repeats it.
"""

from __future__ import annotations

import importlib.util
import re
from typing import Any, Literal

from core.errors import HarkError

DATABASE = "DATABASE_URL"
EXAMPLE = "postgresql://NAME:PASSWORD@HOST:5432/DATABASE"
CONNECT_S = 5  # seconds that connecting to a server may take
# lock_timeout is as long as SQLite waits for another transaction. The server ends transactions that a vanished process
# left idle, so that they do not block others.
WAITS = "-c lock_timeout=30s -c idle_in_transaction_session_timeout=60s"
# Matches, after an even number of backslashes, \u0000 and a surrogate without its other half.
_REFUSED_IN_JSON = re.compile(
    r"(?<!\\)((?:\\\\)*)\\u(?:0000|d[89ab][0-9a-f]{2}(?!\\ud[c-f])|(?<!\\ud[89ab][0-9a-f]{2}\\u)d[c-f][0-9a-f]{2})"
)


def server_of(url: str) -> Literal["postgresql", "mysql"]:
    """Return the kind of server that DATABASE_URL names; MariaDB is "mysql". Raises HarkError if it names none."""
    if url.startswith(("postgres://", "postgresql://")):
        return "postgresql"
    if url.startswith(("mysql://", "mariadb://")):
        return "mysql"
    raise unusable(DATABASE, "Hark knows PostgreSQL, MariaDB and MySQL, and SQLite without a URL", EXAMPLE)


def parameters(url: str) -> dict[str, Any]:
    """Return psycopg's parameters, including ``dbname``.

    Raises HarkError if the URL is malformed or names no PostgreSQL database, or psycopg is missing.
    """
    if server_of(url) != "postgresql":
        raise unusable(DATABASE, "It names no PostgreSQL database", EXAMPLE)
    need("psycopg", "psycopg[binary]", DATABASE)
    from psycopg import Error
    from psycopg.conninfo import conninfo_to_dict

    try:
        given: dict[str, Any] = dict(conninfo_to_dict(url))
    except (Error, UnicodeError):
        given = {}
    if not given.get("dbname"):
        raise unusable(DATABASE, "It is malformed, or names no database", EXAMPLE)
    return {"connect_timeout": CONNECT_S, "application_name": "hark", "options": WAITS, **given}


def as_servers_take_it(document: str) -> str:
    """Replace NUL and lone surrogates in JSON with U+FFFD."""
    return _REFUSED_IN_JSON.sub(r"\1\\ufffd", document)


def check_encoding(encoding: str) -> None:
    """Raise HarkError if the ``server_encoding`` of the database is not UTF8."""
    if encoding != "UTF8":
        raise HarkError(
            "The database cannot be used.",
            "Its encoding is not UTF-8.",
            "Create one that is: CREATE DATABASE hark ENCODING 'UTF8' TEMPLATE template0.",
        )


def server_name(vendor: str) -> str:
    return {"postgresql": "PostgreSQL", "mysql": "MariaDB or MySQL"}[vendor]


def no_answer(server: str, name: str, error: Exception) -> HarkError:
    return HarkError(
        f"Hark has no connection to {server}.",
        f"{first_line(error)}.",
        f"Check that the server is running, and that {name} has the right address, database, name and password.",
    )


def first_line(error: Exception) -> str:
    """Return the first line of a driver's error, without its full stop and PyMySQL's leading number."""
    numbered = len(error.args) == 2 and isinstance(error.args[0], int) and not isinstance(error, OSError)
    lines = str(error.args[1] if numbered else error).strip().splitlines()
    return (lines[0][:300] if lines else type(error).__name__).rstrip(".")


def need(module: str, package: str, name: str) -> None:
    """Raise HarkError if the driver that the setting ``name`` requires is not installed."""
    if importlib.util.find_spec(module) is None:
        raise HarkError(
            f"{name} cannot be used.",
            f"The package {module} is not installed.",
            f".venv/bin/python -m pip install '{package}' -c constraints.txt",
        )


def unusable(name: str, why: str, example: str) -> HarkError:
    return HarkError(f"{name} cannot be used.", f"{why}.", f"Write it as {example}, or remove it.")
