"""Tasks: workers take what they can begin, and none is lost if Redis does not answer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from django_q.conf import Conf
from django_q.signing import SignedPackage

from tests.support.constants import replace_in
from tests.support.portal_jobs import claimed
from tests.support.processes import free_port
from tests.support.servers import redis_server
from webui import servers
from webui.accounts.models import User
from webui.accounts.rate_limits import count
from webui.jobs import services
from webui.jobs.models import Job
from webui.jobs.queue import CLUSTER

pytestmark = pytest.mark.django_db(transaction=True)  # jobs are sent when their transaction has ended


@pytest.fixture(autouse=True)
def two_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process be a cluster of two workers."""
    replace_in(Conf, monkeypatch, POLL=0.01, WORKERS=2)
    monkeypatch.setenv(CLUSTER, "here:1")


@pytest.fixture
def through_redis(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.REDIS = True
    monkeypatch.setattr(Conf, "BROKER_CLASS", "webui.jobs.redis_broker.RedisBroker")


@pytest.fixture
def redis(tmp_path: Path, through_redis: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with redis_server(tmp_path / "redis") as url:
        monkeypatch.setenv("REDIS_URL", url)
        yield


def submit(user: User, number: int) -> Job:
    return services.submit(user=user, kind="train", title=f"phrase {number}", spec={"choices": {"phrase": str(number)}})


def taken(broker: Any) -> str | None:
    found = broker.dequeue()
    return SignedPackage.loads(found[0][1])["args"][0] if found else None


def test_a_job_that_redis_rejects_stays_queued(
    owner: User, through_redis: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{free_port()}")
    job = submit(owner, 1)
    job.refresh_from_db()
    assert job.state == Job.State.QUEUED and job.sent_at is None


def take_one_after_the_other(broker: Any, owner: User, other: User) -> Job:
    """Check that two workers take jobs one after the other; return the last one taken."""
    first, second, third = submit(owner, 1), submit(owner, 2), submit(other, 3)
    assert broker.queue_size() == 3
    assert taken(broker) == str(first.id)
    assert taken(broker) is None, "the first job has not begun"
    assert services.claim(first.id) is not None
    assert Job.objects.get(id=first.id).cluster == "here:1"
    assert taken(broker) == str(second.id)
    done = claimed(second)
    assert taken(broker) is None, "both workers are busy"
    services.finish(done, Job.State.CANCELLED)
    assert taken(broker) == str(third.id)
    return third


def test_database_workers_take_one_job_at_a_time(owner: User, other: User) -> None:
    from webui.jobs.broker import DatabaseBroker

    assert Conf.BROKER_CLASS == "webui.jobs.broker.DatabaseBroker"
    take_one_after_the_other(DatabaseBroker("training"), owner, other)


@pytest.mark.topology
def test_redis_workers_take_one_job_at_a_time_and_lost_jobs_are_resent(owner: User, other: User, redis: None) -> None:
    from webui.jobs.redis_broker import RedisBroker

    broker = RedisBroker("training")
    third = take_one_after_the_other(broker, owner, other)
    # Redis loses it all: after a while the job is sent again.
    servers.redis().flushall()
    Job.objects.filter(id=third.id).update(sent_at=timezone.now() - timedelta(hours=1))
    services.recover()
    assert broker.queue_size() == 1


@pytest.mark.topology
def test_redis_counts_requests(redis: None, settings: Any) -> None:
    settings.CACHES = {**settings.CACHES, "requests": servers.request_cache()}
    left = [count({"token a": 2, "user b": 10}, now=120.0) for _each in range(3)]
    assert [(one.limit, one.n) for one in left if one] == [(2, 1), (2, 2), (2, 3)]
    fresh = count({"user b": 10}, now=120.0)
    assert fresh is not None and fresh.n == 3, "a rejected request counts for its token only"
    later = count({"token a": 2}, now=180.0)
    assert later.n == 1
