"""Webhooks on the account page: added, their secrets shown once, removed; nobody else's."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from webui.accounts.models import User
from webui.api import webhooks
from webui.api.models import Webhook
from webui.keys.sealing import unseal

ADDRESS = "https://example.org/hark?a=<b>"


def add(client: Client, **changes: Any) -> Any:
    sent = {"url": ADDRESS, "events": ["job.done", "job.failed"], **changes}
    return client.post("/account/webhooks", sent, follow=True)


def test_one_is_added_and_its_secret_shown_once(client: Client, other: User) -> None:
    client.force_login(other)
    page = client.get("/account/").content.decode()
    assert 'href="/api/docs"' in page and page.count('<label for="id_url"') == 1
    assert page.count("checked") >= 2, "how jobs end well and badly is asked for by default"
    answer = add(client)
    text = answer.content.decode()
    hook = Webhook.objects.get(user=other)
    assert answer.redirect_chain == [("/account/", 302)]  # reloaded, it adds no second one
    assert answer.status_code == 200 and "no-store" in answer["Cache-Control"]
    assert hook.url == ADDRESS and hook.events == ["job.done", "job.failed"]
    (secret,) = re.findall(r'id="hook-secret" value="(whsec_[^"]+)"', text)
    assert unseal(hook.sealed_secret, webhooks.PURPOSE) == secret
    assert "a=&lt;b&gt;" in text and "a=<b>" not in text
    page = client.get("/account/").content.decode()
    assert "a job is done, a job has failed" in page and secret not in page
    assert page.count(' id="') == len({piece.split('"')[0] for piece in page.split(' id="')[1:]})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"url": "http://127.0.0.1/x"}, "127.0.0.1"),
        ({"url": "ftp://example.org"}, "It is not an address such as"),
        ({"url": ""}, "This field is required"),
        ({"events": []}, "This field is required"),
        ({"events": ["job.begun"]}, "job.begun"),
    ],
)
def test_an_unusable_value_is_reported_at_its_field(
    client: Client, other: User, changes: dict[str, Any], said: str
) -> None:
    client.force_login(other)
    answer = add(client, **changes)
    assert answer.status_code == 422 and said in answer.content.decode()
    assert not Webhook.objects.exists()


def test_it_is_removed_and_nobody_else_s_is(client: Client, owner: User, other: User) -> None:
    theirs, _ = webhooks.add(user=owner, url="https://example.org/theirs", events=["job.done"])
    client.force_login(other)
    add(client)
    mine = Webhook.objects.get(user=other)
    assert "theirs" not in client.get("/account/").content.decode()
    assert client.post(f"/account/webhooks/{theirs.pk}/remove").status_code == 404
    assert client.get(f"/account/webhooks/{mine.pk}/remove").status_code == 405
    assert client.post(f"/account/webhooks/{mine.pk}/remove").status_code == 302
    assert list(Webhook.objects.all()) == [theirs]
    assert "is removed" in client.get("/account/").content.decode()


def test_the_page_s_queries_do_not_grow(client: Client, other: User, django_assert_num_queries: Any) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client.force_login(other)
    add(client)
    client.get("/account/")  # what is done once
    with CaptureQueriesContext(connection) as few:
        client.get("/account/")
    count = len(few)  # another request empties it
    for number in range(webhooks.MOST - 1):
        add(client, url=f"https://example.org/{number}")
    with django_assert_num_queries(count):
        client.get("/account/")
    assert "which is the limit" in add(client, url="https://example.org/more").content.decode()
