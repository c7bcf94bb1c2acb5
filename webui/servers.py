"""PostgreSQL and Redis, where DATABASE_URL and REDIS_URL name them; without these names SQLite does the work of both.

A URL holds a password, so nothing that is said about one repeats it.
"""

from __future__ import annotations

import importlib.util
import os
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from core.errors import HarkError

if TYPE_CHECKING:
    from redis import Redis

DATABASE, REDIS = "DATABASE_URL", "REDIS_URL"
# After an even number of backslashes: \u0000, and a surrogate without its other half.
_REFUSED_IN_JSON = re.compile(
    r"(?<!\\)((?:\\\\)*)\\u(?:0000|d[89ab][0-9a-f]{2}(?!\\ud[c-f])|(?<!\\ud[89ab][0-9a-f]{2}\\u)d[c-f][0-9a-f]{2})"
)
EXAMPLE = "postgresql://NAME:PASSWORD@HOST:5432/DATABASE"
CONNECT_S, ANSWER_S = 5, 5  # until a server has taken a connection, and until it has answered
# As long as SQLite waits for another's transaction; one whose process vanished in the middle keeps nobody longer.
WAITS = "-c lock_timeout=30s -c idle_in_transaction_session_timeout=60s"


def database_settings(url: str) -> dict[str, Any]:
    """DATABASE_URL as Django's settings of a database.

    Raises:
        HarkError: it is no URL of a PostgreSQL database, or the driver is missing.
    """
    if not url.startswith(("postgres://", "postgresql://")):
        raise _unusable(DATABASE, "Hark knows PostgreSQL, and SQLite without a URL", EXAMPLE)
    _need("psycopg", "psycopg[binary]", DATABASE)
    from psycopg import Error
    from psycopg.conninfo import conninfo_to_dict

    try:
        said: dict[str, Any] = dict(conninfo_to_dict(url))
    except (Error, UnicodeError):
        said = {}
    if not said.get("dbname"):
        raise _unusable(DATABASE, "It is malformed, or names no database", EXAMPLE)
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    found = {django: str(said.pop(postgres, "") or "") for django, postgres in names.items()}
    _take_any_text()
    options = {"connect_timeout": CONNECT_S, "application_name": "hark", "options": WAITS, **said}
    return {"ENGINE": "django.db.backends.postgresql", **found, "OPTIONS": options}


@cache
def _take_any_text() -> None:
    """PostgreSQL refuses the character 0, and half surrogates in JSON, which strangers may send: as on SQLite they are
    no failure, but U+FFFD stands in for them."""
    import psycopg
    from psycopg.types.json import Jsonb, JsonbDumper
    from psycopg.types.string import StrDumperUnknown

    class AnyText(StrDumperUnknown):
        def dump(self, obj: Any) -> Any:
            return super().dump(obj.replace("\0", "\ufffd"))

    class AnyJson(JsonbDumper):
        def dump(self, obj: Any) -> Any:
            return as_postgresql_takes_it(bytes(super().dump(obj) or b"").decode()).encode()

    psycopg.adapters.register_dumper(str, AnyText)
    psycopg.adapters.register_dumper(Jsonb, AnyJson)


def as_postgresql_takes_it(document: str) -> str:
    """JSON without the character 0 and half surrogates: U+FFFD stands in for them."""
    return _REFUSED_IN_JSON.sub(r"\1\\ufffd", document)


def uses_redis() -> bool:
    """Whether REDIS_URL is set.

    Raises:
        HarkError: it is no URL of a Redis server, or the driver is missing.
    """
    url = os.environ.get(REDIS, "").strip()
    if not url:
        return False
    _need("redis", "redis", REDIS)
    from redis.connection import parse_url

    try:
        parse_url(url)
    except (ValueError, TypeError):
        raise _unusable(REDIS, "It is malformed", "redis://:PASSWORD@HOST:6379/0") from None
    return True


def redis() -> Redis:
    """The client of the server that REDIS_URL names; it connects when it is first asked."""
    return _client(os.environ[REDIS].strip())


@cache
def _client(url: str) -> Redis:
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    # Tried again once: a connection may have been closed since it was last used.
    return Redis.from_url(
        url, socket_connect_timeout=CONNECT_S, socket_timeout=ANSWER_S, retry=Retry(NoBackoff(), 1),
    )  # fmt: skip


def check_redis() -> None:
    """Raises HarkError where the server does not answer."""
    from redis.exceptions import RedisError

    try:
        redis().ping()
    except RedisError as error:
        raise no_answer("Redis", REDIS, error) from None


def no_answer(server: str, name: str, error: Exception) -> HarkError:
    """What is said of a server that refuses or does not answer; ``error`` is its driver's."""
    lines = str(error).strip().splitlines()
    said = (lines[0][:300] if lines else type(error).__name__).rstrip(".")
    return HarkError(
        f"{server} does not answer.",
        f"{said}.",
        f"Check that the server runs and that {name} has its address, name and password.",
    )


def _need(module: str, package: str, name: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise HarkError(
            f"{name} cannot be used.",
            f"The package {module} is not installed.",
            f".venv/bin/python -m pip install '{package}' -c constraints.txt",
        )


def _unusable(name: str, why: str, example: str) -> HarkError:
    return HarkError(f"{name} cannot be used.", f"{why}.", f"Write it as {example}, or take it out.")
