"""Messages about ended jobs, their signatures, and URLs that are refused."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from django_q.models import OrmQ, Schedule

from core.errors import HarkError
from tests.support.api_calls import Call, a_token, problem_of
from tests.support.http_server import Recorder, serving
from tests.support.portal_jobs import claimed
from webui.accounts.models import User
from webui.accounts.services import set_active
from webui.jobs import services
from webui.jobs.models import Job
from webui.webhooks import outgoing
from webui.webhooks import services as webhooks
from webui.webhooks.models import Delivery, Webhook

pytestmark = pytest.mark.django_db


@pytest.fixture
def double(settings: Any) -> Iterator[Recorder]:
    """A server on this machine that these tests' webhooks may reach."""
    settings.WEBHOOKS_PRIVATE = True
    double = Recorder()
    double.replies = [(204, {}, b"")]
    with serving(double) as url:
        double.url = f"{url}/hook?for=hark"
        yield double


def ended(user: User, state: str, error: HarkError | None = None) -> Job:
    """Make a job of the user's that has just ended in that state."""
    job = claimed(Job.objects.create(user=user, kind="plan", queue="general", title="hey compass", spec={}))
    services.finish(job, state, error)
    return job


def work() -> int:
    """Do the tasks in the queue, as a worker does; return how many."""
    tasks = list(OrmQ.objects.filter(key="webhooks"))
    OrmQ.objects.all().delete()
    return len([webhooks.deliver(*row.task["args"]) for row in tasks if row.task["func"] == webhooks.TASK])


def work_later() -> int:
    """Do the scheduled tasks, whenever they are due."""
    rows = list(Schedule.objects.all())
    Schedule.objects.all().delete()
    for row in rows:
        assert row.func == webhooks.TASK and row.cluster == "webhooks"
        webhooks.deliver(*eval(row.args))
    return len(rows)


def delivered(user: User, url: str) -> Delivery:
    """End a job of a user with a webhook; return its delivery after a worker's first try."""
    webhooks.add(user=user, url=url, events=["job.done"])
    ended(user, Job.State.DONE)
    work()
    return Delivery.objects.get()


def test_a_message_is_signed_with_a_timestamp(owner: User, double: Recorder) -> None:
    _hook, secret = webhooks.add(user=owner, url=double.url, events=["job.done"])
    job = ended(owner, Job.State.DONE)
    assert work() == 1
    ((path, headers, body),) = double.asked
    assert path == "/hook?for=hark" and headers["Hark-Event"] == "job.done"
    parts = dict(part.split("=", 1) for part in headers["Hark-Signature"].split(","))
    signed = hmac.new(secret.encode(), parts["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(parts["v1"], signed) and abs(int(parts["t"]) - time.time()) < 60
    said = json.loads(body)
    assert said["event"] == "job.done" and said["job"]["id"] == str(job.id) and said["job"]["state"] == "done"
    assert said["id"] == headers["Hark-Delivery"]
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.tries, delivery.answer_status) == ("delivered", 1, 204)
    assert not Schedule.objects.exists()
    webhooks.deliver(str(delivery.pk))  # the task arrives twice
    assert len(double.asked) == 1


@pytest.mark.parametrize("state", ["done", "failed", "cancelled", "interrupted"])
def test_each_final_state_is_an_event(owner: User, other: User, double: Recorder, state: str) -> None:
    webhooks.add(user=owner, url=double.url, events=webhooks.EVENTS)
    webhooks.add(user=owner, url=double.url, events=[name for name in webhooks.EVENTS if name != f"job.{state}"])
    webhooks.add(user=other, url=double.url, events=webhooks.EVENTS)
    ended(owner, state, HarkError("A.", "B.", "C.") if state == "failed" else None)
    assert work() == 1
    ((_path, headers, body),) = double.asked
    assert headers["Hark-Event"] == f"job.{state}"
    assert (json.loads(body)["job"]["error"] is not None) == (state == "failed")


def test_a_cancelled_waiting_job_and_one_whose_worker_died_are_delivered(owner: User, double: Recorder) -> None:
    webhooks.add(user=owner, url=double.url, events=webhooks.EVENTS)
    services.cancel(job=Job.objects.create(user=owner, kind="plan", queue="general", title="a", spec={}))
    job = claimed(Job.objects.create(user=owner, kind="plan", queue="general", title="b", spec={}, takeovers=1))
    Job.objects.filter(id=job.id).update(lease_until=timezone.now() - timedelta(seconds=1))
    services.recover()
    assert sorted(Delivery.objects.values_list("event", flat=True)) == ["job.cancelled", "job.interrupted"]


def test_a_failing_delivery_is_retried_with_growing_waits_then_dropped(owner: User, double: Recorder) -> None:
    double.replies = [(503, {}, b"")]
    delivery = delivered(owner, double.url)
    assert (delivery.state, delivery.answer_status) == ("waiting", 503) and "503" in delivery.problem
    waits = []
    while Schedule.objects.exists():
        delivery.refresh_from_db()
        waits.append(delivery.next_try_at - delivery.tried_at)
        work_later()
    assert waits == list(webhooks.AGAIN_AFTER)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.tries) == ("failed", len(waits) + 1)


def test_a_kill_during_a_delivery_does_not_lose_the_next_attempt(
    owner: User, double: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhooks.add(user=owner, url=double.url, events=["job.done"])
    ended(owner, Job.State.DONE)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("webui.webhooks.services.post", killed)
    with pytest.raises(KeyboardInterrupt):
        work()
    monkeypatch.undo()
    assert work_later() == 1 and Delivery.objects.get().state == "delivered"


def test_a_lost_task_is_delivered_later(owner: User, double: Recorder) -> None:
    webhooks.add(user=owner, url=double.url, events=["job.done"])
    ended(owner, Job.State.DONE)
    OrmQ.objects.all().delete()
    assert work_later() == 1 and Delivery.objects.get().state == "delivered" and not Schedule.objects.exists()


def test_redirects_are_not_followed(owner: User, double: Recorder) -> None:
    double.replies = [(302, {"Location": "/elsewhere"}, b"")]
    delivery = delivered(owner, double.url)
    assert [path for path, _headers, _body in double.asked] == ["/hook?for=hark"]
    assert delivery.answer_status == 302 and delivery.state == "waiting"


def test_an_unresponsive_receiver_times_out(owner: User, double: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "ANSWER_S", 0.3)
    double.hangs_s = 2.0
    began = time.monotonic()
    assert "No answer" in delivered(owner, double.url).problem
    assert time.monotonic() - began < 1.5


def drip(connection: socket.socket) -> None:
    with suppress(OSError):
        for letter in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 200:
            connection.sendall(bytes([letter]))
            time.sleep(0.1)


def half(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Half: yes\r\n")
    time.sleep(2)
    connection.close()


@pytest.mark.parametrize("answer", [drip, half])
def test_a_receiver_that_answers_too_slowly_times_out(
    monkeypatch: pytest.MonkeyPatch, settings: Any, answer: Callable[[socket.socket], None]
) -> None:
    settings.WEBHOOKS_PRIVATE = True
    monkeypatch.setattr(outgoing, "WHOLE_S", 0.6)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=lambda: answer(listener.accept()[0]), daemon=True).start()
        began = time.monotonic()
        with pytest.raises(outgoing.NotSent, match="no complete answer within"):
            outgoing.post(f"http://127.0.0.1:{listener.getsockname()[1]}/", b"{}", {})
        assert time.monotonic() - began < 3


def test_waiting_pings_are_limited_per_user(call: Call, owner: User, other: User) -> None:
    hook, _secret = webhooks.add(user=owner, url="https://example.org/", events=["job.done"])
    headers = a_token(owner, "train", "read")
    for _number in range(webhooks.MAX_PINGS):
        assert call("post", f"/webhooks/{hook.pk}/ping", headers=headers).status_code == 201
    problem_of(call("post", f"/webhooks/{hook.pk}/ping", headers=headers), 429)
    theirs, _secret = webhooks.add(user=other, url="https://example.org/", events=["job.done"])
    assert webhooks.ping(webhook=theirs).state == "waiting"


def test_beyond_the_limit_the_oldest_messages_are_dropped(owner: User) -> None:
    hooks = [webhooks.add(user=owner, url=f"https://example.org/{n}", events=["job.done"])[0] for n in range(2)]
    sent = [webhooks.send(webhook=hooks[n % 2], event="job.done", content={}) for n in range(webhooks.MAX_WAITING + 2)]
    states = {delivery.pk: delivery.state for delivery in Delivery.objects.all()}
    assert [states[one.pk] for one in sent] == 2 * ["failed"] + webhooks.MAX_WAITING * ["waiting"]


def test_a_slow_receiver_does_not_block_other_users(owner: User, other: User, double: Recorder) -> None:
    slow, _secret = webhooks.add(user=owner, url="https://example.org/", events=["job.done"])
    quick, _secret = webhooks.add(user=other, url=double.url, events=["job.done"])
    for _number in range(webhooks.AT_ONCE):  # they are being sent
        made = webhooks.send(webhook=slow, event="ping", content={})
        Delivery.objects.filter(pk=made.pk).update(sending_until=timezone.now() + timedelta(seconds=20))
    one_more = webhooks.send(webhook=slow, event="ping", content={})
    webhooks.deliver(str(one_more.pk))
    one_more.refresh_from_db()
    assert one_more.tries == 0 and one_more.next_try_at is not None  # it has its turn in a moment
    assert Schedule.objects.filter(name=f"webhook {one_more.pk}", next_run=one_more.next_try_at).exists()
    theirs = webhooks.send(webhook=quick, event="ping", content={})
    webhooks.deliver(str(theirs.pk))
    assert Delivery.objects.get(pk=theirs.pk).state == "delivered"


def test_overdue_deliveries_are_detected(owner: User, double: Recorder) -> None:
    hook, _secret = webhooks.add(user=owner, url=double.url, events=["job.done"])
    assert not webhooks.stuck()
    old, new = (webhooks.send(webhook=hook, event="ping", content={}) for _number in range(2))
    assert not webhooks.stuck()
    Delivery.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(minutes=10))
    assert webhooks.stuck()
    webhooks.deliver(str(new.pk))  # the queue works, and is busy
    assert not webhooks.stuck()


def test_an_unreachable_receiver_is_reported(owner: User, settings: Any) -> None:
    settings.WEBHOOKS_PRIVATE = True
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert "No connection" in delivered(owner, f"http://127.0.0.1:{port}/").problem


PRIVATE = [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1",
    "fd12::1", "fec0::1", "ff02::1", "ff0e::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:c0a8:101::1", "2001:db8::1", "x",
]  # fmt: skip


def test_only_public_ips_are_accepted() -> None:
    public = ["93.184.216.34", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
    assert [address for address in (*PRIVATE, *public) if outgoing.is_public(address)] == public


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "https://localhost/", "http://a.localhost/", "http://[::1]:8000/", "http://127.1/",
        "http://0x7f000001/", "http://2130706433/", "http://0/", "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:10.0.0.1]/", "ftp://example.org/", "file:///etc/passwd", "https://", "example.org", "",
        "https://user:secret@example.org/", "https://example.org/#part", "https://example.org/a b",
        "https://example.org/\r\nHost: x", "https://example.org:99999/", "https://example.org:0/", "https://[::1/",
        "https://example.org/" + "x" * 500, "https://exämple.org/", "gopher://example.org/",
    ],
)  # fmt: skip
def test_private_urls_are_rejected_immediately(url: str, call: Call, owner: User) -> None:
    with pytest.raises(outgoing.AddressRefused):
        outgoing.check_url(url)
    problem_of(call("post", "/webhooks", body={"url": url, "events": ["job.done"]}, headers=a_token(owner)), 422)
    assert not Webhook.objects.exists()


def looked_up(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[Any]:
    """Resolve names to these addresses. The list records attempted connections."""
    real, tried = socket.getaddrinfo, []

    def look_up(host: str, port: Any, *arguments: Any, **options: Any) -> Any:
        if options.get("flags"):
            return real(host, port, *arguments, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    def connect(raw: socket.socket, address: Any) -> None:
        tried.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr("webui.webhooks.outgoing.socket.getaddrinfo", look_up)
    monkeypatch.setattr(socket.socket, "connect", connect)
    return tried


def test_a_host_that_resolves_to_a_private_ip_gets_nothing(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = looked_up(monkeypatch, "93.184.216.34", "192.168.1.1")
    delivery = delivered(owner, "https://inside.example/")
    assert delivery.state == "waiting" and tried == []
    assert "inside.example does not resolve to a public address" in delivery.problem
    assert "192.168.1.1" not in delivery.problem


def test_internal_and_unknown_hosts_get_the_same_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def told() -> str:
        with pytest.raises(outgoing.NotSent) as caught:
            outgoing.post("https://vm.example/", b"{}", {})
        return str(caught.value)

    looked_up(monkeypatch, "127.0.0.1")
    inside = told()

    def unknown(*_: object, **options: object) -> object:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr("webui.webhooks.outgoing.socket.getaddrinfo", unknown)
    assert told() == inside


def test_the_connection_uses_the_checked_ip(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = looked_up(monkeypatch, "93.184.216.34", "1.1.1.1")
    with pytest.raises(outgoing.NotSent):
        outgoing.post("https://outside.example/", b"{}", {})
    assert tried == [("93.184.216.34", 443), ("1.1.1.1", 443)]


def test_the_last_fifty_deliveries_are_stored(owner: User) -> None:
    hook, _secret = webhooks.add(user=owner, url="https://example.org/", events=["job.done"])
    for number in range(webhooks.STORED_DELIVERIES + 3):
        webhooks.send(webhook=hook, event="ping", content={"number": number})
    assert Delivery.objects.count() == webhooks.STORED_DELIVERIES == Schedule.objects.count()
    assert json.loads(Delivery.objects.first().body)["number"] == webhooks.STORED_DELIVERIES + 2


def test_a_job_ends_even_if_its_webhook_fails(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    webhooks.add(user=owner, url="https://example.org/", events=["job.done"])

    def fail(**_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("webui.webhooks.services.send", fail)
    assert Job.objects.get(id=ended(owner, Job.State.DONE).id).state == "done"


def test_the_secret_is_shown_once_and_not_readable_in_the_database(call: Call, owner: User, double: Recorder) -> None:
    headers = a_token(owner, "train", "read")
    made = call("post", "/webhooks", body={"url": double.url, "events": ["job.done"]}, headers=headers).json()
    assert made["secret"].startswith("whsec_")
    assert "secret" not in call("get", f"/webhooks/{made['id']}", headers=headers).json()
    assert made["secret"] not in "\n".join(connection.connection.iterdump())
    assert call("post", f"/webhooks/{made['id']}/ping", headers=headers).status_code == 201
    work()
    ((_path, sent, _body),) = double.asked
    assert sent["Hark-Event"] == "ping"
    (row,) = call("get", f"/webhooks/{made['id']}/deliveries", headers=headers).json()["items"]
    assert (row["state"], row["answer_status"], row["tries"]) == ("delivered", 204, 1)
    assert call("delete", f"/webhooks/{made['id']}", headers=headers).status_code == 204
    assert not Delivery.objects.exists()


def test_the_number_of_webhooks_is_limited(owner: User) -> None:
    for number in range(webhooks.MAX_WEBHOOKS):
        webhooks.add(user=owner, url=f"https://example.org/{number}", events=["job.done"])
    with pytest.raises(HarkError, match="which is the limit"):
        webhooks.add(user=owner, url="https://example.org/", events=["job.done"])


def test_a_deactivated_user_gets_no_delivery(other: User, double: Recorder) -> None:
    webhooks.add(user=other, url=double.url, events=["job.done"])
    ended(other, Job.State.DONE)
    set_active(user=other, active=False)
    work()
    assert double.asked == [] and Delivery.objects.get().state == "failed"
