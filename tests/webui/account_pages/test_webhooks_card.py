"""Webhooks on the account page: added, their secrets shown once, removed; only one's own."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from webui.accounts.models import User
from webui.keys.sealing import unseal
from webui.webhooks import services as webhooks
from webui.webhooks.models import Webhook

ADDRESS = "https://example.org/hark?a=<b>"


def add(client: Client, **changes: Any) -> Any:
    sent = {"url": ADDRESS, "events": ["job.done", "job.failed"], **changes}
    return client.post("/account/webhooks", sent, follow=True)


def test_a_webhook_is_added_and_its_secret_shown_once(others: Client, other: User) -> None:
    page = others.get("/account/").text
    assert 'href="/api/docs"' in page and page.count('<label for="id_url"') == 1
    assert page.count("checked") >= 2, "success and failure are selected by default"
    answer = add(others)
    text = answer.text
    hook = Webhook.objects.get(user=other)
    assert answer.redirect_chain == [("/account/", 302)]  # reloading the page adds no second webhook
    assert answer.status_code == 200 and "no-store" in answer["Cache-Control"]
    assert hook.url == ADDRESS and hook.events == ["job.done", "job.failed"]
    (secret,) = re.findall(r'id="hook-secret" value="(whsec_[^"]+)"', text)
    assert unseal(hook.sealed_secret, webhooks.PURPOSE) == secret
    assert "a=&lt;b&gt;" in text and "a=<b>" not in text
    page = others.get("/account/").text
    assert "a job is done, a job has failed" in page and secret not in page
    assert page.count(' id="') == len({piece.split('"')[0] for piece in page.split(' id="')[1:]})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"url": "http://127.0.0.1/x"}, "127.0.0.1"),
        ({"url": "ftp://example.org"}, "It is not a URL such as"),
        ({"url": ""}, "This field is required"),
        ({"events": []}, "This field is required"),
        ({"events": ["job.begun"]}, "job.begun"),
    ],
)
def test_an_unusable_value_is_reported_at_its_field(others: Client, changes: dict[str, Any], said: str) -> None:
    answer = add(others, **changes)
    assert answer.status_code == 422 and said in answer.text
    assert not Webhook.objects.exists()


def test_users_remove_only_their_own_webhooks(others: Client, owner: User, other: User) -> None:
    theirs, _ = webhooks.add(user=owner, url="https://example.org/theirs", events=["job.done"])
    add(others)
    mine = Webhook.objects.get(user=other)
    assert "theirs" not in others.get("/account/").text
    assert others.post(f"/account/webhooks/{theirs.pk}/remove").status_code == 404
    assert others.get(f"/account/webhooks/{mine.pk}/remove").status_code == 405
    assert others.post(f"/account/webhooks/{mine.pk}/remove").status_code == 302
    assert list(Webhook.objects.all()) == [theirs]
    assert "is removed" in others.get("/account/").text


def test_the_number_of_queries_does_not_grow_with_webhooks(others: Client, django_assert_num_queries: Any) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    add(others)
    others.get("/account/")  # one-time work
    with CaptureQueriesContext(connection) as few:
        others.get("/account/")
    count = len(few)  # the next request clears the captured queries
    for number in range(webhooks.MAX_WEBHOOKS - 1):
        add(others, url=f"https://example.org/{number}")
    with django_assert_num_queries(count):
        others.get("/account/")
    assert "which is the limit" in add(others, url="https://example.org/more").text
