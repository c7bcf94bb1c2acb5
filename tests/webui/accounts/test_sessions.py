"""The life of a session."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from tests.support.portal_users import PASSWORD
from webui.accounts.models import User
from webui.accounts.sessions import BEGAN, USED

DAY_S = 24 * 3600


@pytest.mark.parametrize(("began_days", "left_days"), [(0, 3), (9, 3), (12, 2), (13, 1)])
def test_a_session_ends_after_3_unused_days_or_14_in_all(
    client: Client, other: User, began_days: int, left_days: int
) -> None:
    assert client.post("/account/login", {"name": "oscar", "password": PASSWORD}).status_code == 302
    session = client.session
    session[BEGAN] -= began_days * DAY_S
    session[USED] -= 2 * 3600
    session.save()
    client.get("/account/")
    left = Session.objects.get().expire_date - timezone.now()
    assert abs(left - timedelta(days=left_days)) < timedelta(minutes=1)
    before = Session.objects.get().session_data
    client.get("/account/")
    assert Session.objects.get().session_data == before, "the time is not written at each request"


def test_sessions_are_listed_and_can_be_ended_one_by_one(other: User, owner: User) -> None:
    here, phone, visitor = (
        Client(headers={"User-Agent": agent}, REMOTE_ADDR=address)
        for agent, address in (("Desk", "192.0.2.1"), ("Phone <b>", "192.0.2.2"), ("Strange", "192.0.2.3"))
    )
    for browser, name in ((here, "oscar"), (phone, "oscar"), (visitor, "olivia")):
        assert browser.post("/account/login", {"name": name, "password": PASSWORD}).status_code == 302
    page = here.get("/account/sessions").text
    assert all(said in page for said in ("Desk", "192.0.2.1", "Phone &lt;b&gt;", "192.0.2.2")) and "Strange" not in page
    assert not any(browser.session.session_key in page for browser in (here, phone))
    (end,) = re.findall(r'action="(/account/sessions/\w+/end)"', page)  # not of this one
    assert visitor.post(end).status_code == 404 and phone.get("/account/").status_code == 200
    assert here.post(end).status_code == 302
    assert phone.get("/account/").status_code == 302 and here.get("/account/").status_code == 200
    assert "Phone" not in here.get("/account/sessions").text
    phone.post("/account/login", {"name": "oscar", "password": PASSWORD})
    here.post("/account/sessions")
    assert phone.get("/account/").status_code == 302 and here.get("/account/").status_code == 200
    assert visitor.get("/account/").status_code == 200


def test_signing_in_again_starts_a_new_session(client: Client, other: User) -> None:
    client.post("/account/login", {"name": "oscar", "password": PASSWORD})
    session = client.session
    session[BEGAN] -= 13 * DAY_S
    session.save()
    client.post("/account/login", {"name": "oscar", "password": PASSWORD})
    assert Session.objects.get().expire_date - timezone.now() > timedelta(days=2.9)
