"""Settings for database servers and Redis from DATABASE_URL and REDIS_URL; without these, SQLite replaces both.

A URL holds a password, so no message repeats it.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from core.settings.database_url import (
    CONNECT_S,
    DATABASE,
    as_servers_take_it,
    need,
    no_answer,
    parameters,
    server_of,
    unusable,
)

if TYPE_CHECKING:
    from redis import Redis

REDIS = "REDIS_URL"
ANSWER_S = 5  # seconds for a response of Redis
MYSQL_EXAMPLE = "mysql://NAME:PASSWORD@HOST:3306/DATABASE"
MYSQL_OPTIONS = {"unix_socket", "ssl_ca", "ssl_cert", "ssl_key"}  # parameters of the URL
# Values that do not fit are errors instead of being truncated. MySQL, which has no idle limit, ignores the comment.
MYSQL_BEGINS = (
    "SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', innodb_lock_wait_timeout = 30"
    " /*M! , idle_transaction_timeout = 60 */"
)


def database_settings(url: str) -> dict[str, Any]:
    """Return Django's settings for DATABASE_URL. Raises HarkError if it is unusable or the driver is missing."""
    if server_of(url) == "mysql":
        return _mysql_settings(url)
    options = parameters(url)
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    values = {django: str(options.pop(driver, "") or "") for django, driver in names.items()}
    _take_any_text()
    return {"ENGINE": "django.db.backends.postgresql", **values, "OPTIONS": options}


def _mysql_settings(url: str) -> dict[str, Any]:
    """Return the settings of Django's MySQL backend with PyMySQL. With ``ssl_ca`` in the URL it checks certificates."""
    need("pymysql", "pymysql", DATABASE)
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        port = parts.port or 3306
    except ValueError:
        raise unusable(DATABASE, "It is malformed", MYSQL_EXAMPLE) from None
    if not options.keys() <= MYSQL_OPTIONS:
        raise unusable(DATABASE, f"Of parameters Hark knows {', '.join(sorted(MYSQL_OPTIONS))}", MYSQL_EXAMPLE)
    name = unquote(parts.path.removeprefix("/"))
    if not name or "/" in name:
        raise unusable(DATABASE, "It is malformed, or names no database", MYSQL_EXAMPLE)
    _take_any_json()
    checked = {"ssl_verify_cert": True, "ssl_verify_identity": True} if "ssl_ca" in options else {}
    return {
        "ENGINE": "django.db.backends.mysql", "NAME": name, "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""), "HOST": parts.hostname or "127.0.0.1", "PORT": str(port),
        "OPTIONS": {
            "charset": "utf8mb4", "init_command": MYSQL_BEGINS, "connect_timeout": CONNECT_S, **options, **checked,
        },
    }  # fmt: skip


@cache
def _take_any_json() -> None:
    """Make PyMySQL Django's driver, and replace lone surrogates in JSON, because MariaDB and MySQL reject them."""
    import pymysql

    pymysql.install_as_MySQLdb()
    from django.db.backends.mysql.operations import DatabaseOperations

    adapt = DatabaseOperations.adapt_json_value

    def adapted(operations: DatabaseOperations, value: Any, encoder: Any) -> str:
        return as_servers_take_it(adapt(operations, value, encoder))

    DatabaseOperations.adapt_json_value = adapted  # type: ignore[method-assign, assignment]


@cache
def _take_any_text() -> None:
    """Replace NUL, and lone surrogates in JSON, with U+FFFD, because PostgreSQL rejects them."""
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
    """Return whether REDIS_URL is set. Raises HarkError if it is not a Redis URL or the driver is missing."""
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


def request_cache() -> dict[str, Any]:
    """Return Django's cache settings for Redis; {} if REDIS_URL is not set."""
    if not uses_redis():
        return {}
    return {
        "BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": os.environ[REDIS].strip(),
        "KEY_PREFIX": "hark", "OPTIONS": _redis_options(),
    }  # fmt: skip


def redis() -> Redis:
    """Return the client of the server at REDIS_URL. It connects at its first use."""
    return _client(os.environ[REDIS].strip())


@cache
def _client(url: str) -> Redis:
    from redis import Redis

    return Redis.from_url(url, **_redis_options())


def _redis_options() -> dict[str, Any]:
    """Return the options of every connection to Redis."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    # One retry, because a connection may have been closed since its last use.
    return {"socket_connect_timeout": CONNECT_S, "socket_timeout": ANSWER_S, "retry": Retry(NoBackoff(), 1)}


def check_redis() -> None:
    """Raise HarkError if the server does not respond."""
    from redis.exceptions import RedisError

    try:
        redis().ping()
    except RedisError as error:
        raise no_answer("Redis", REDIS, error) from None
