"""The queue on Redis."""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError
from django_q.brokers.redis_broker import Redis
from redis.exceptions import RedisError

from webui import servers
from webui.jobs.broker import OneAtATime


class RedisBroker(OneAtATime, Redis):
    away = RedisError, DatabaseError

    @staticmethod
    def get_connection(list_key: str | None = None) -> Any:
        return servers.redis()

    def ping(self) -> bool:
        """Return True even without a response, because a cluster may start before the server does."""
        return True

    def set_stat(self, key: str, value: str, timeout: int) -> None:
        """Do nothing, because monitoring uses ``webui.jobs.heartbeat``."""
