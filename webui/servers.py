"""Database servers and Redis, where DATABASE_URL and REDIS_URL name them; without these SQLite does the work of both.

A URL holds a password, so nothing that is said about one repeats it.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from core.database_url import (
    CONNECT_S,
    as_servers_take_it,
    mysql_parameters,
    need,
    no_answer,
    parameters,
    server_of,
    unusable,
)

if TYPE_CHECKING:
    from redis import Redis

REDIS = "REDIS_URL"
ANSWER_S = 5  # until Redis has answered


def database_settings(url: str) -> dict[str, Any]:
    """DATABASE_URL as Django's settings of a database.

    Raises:
        HarkError: it is no URL of such a database, or the driver is missing.
    """
    mysql = server_of(url) == "mysql"
    said = mysql_parameters(url) if mysql else parameters(url)
    names = {"NAME": "database" if mysql else "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host"}
    found = {django: str(said.pop(driver, "") or "") for django, driver in {**names, "PORT": "port"}.items()}
    if not mysql:
        _take_any_text()
    return {"ENGINE": "webui.mysql" if mysql else "django.db.backends.postgresql", **found, "OPTIONS": said}


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
            return as_servers_take_it(bytes(super().dump(obj) or b"").decode()).encode()

    psycopg.adapters.register_dumper(str, AnyText)
    psycopg.adapters.register_dumper(Jsonb, AnyJson)


def uses_redis() -> bool:
    """Whether REDIS_URL is set.

    Raises:
        HarkError: it is no URL of a Redis server, or the driver is missing.
    """
    url = os.environ.get(REDIS, "").strip()
    if not url:
        return False
    need("redis", "redis", REDIS)
    from redis.connection import parse_url

    try:
        parse_url(url)
    except (ValueError, TypeError):
        raise unusable(REDIS, "It is malformed", "redis://:PASSWORD@HOST:6379/0") from None
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
