"""How long a session lasts."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from tests.support.portal_password import PASSWORD
from webui.accounts.models import User
from webui.accounts.sessions import BEGAN, USED

DAY_S = 24 * 3600


@pytest.mark.parametrize(("began_days", "left_days"), [(0, 3), (9, 3), (12, 2), (13, 1)])
def test_it_ends_three_days_after_its_last_use_and_fourteen_after_it_began(
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
    assert Session.objects.get().session_data == before, "it is not written at each request"


def test_signing_in_again_begins_another(client: Client, other: User) -> None:
    client.post("/account/login", {"name": "oscar", "password": PASSWORD})
    session = client.session
    session[BEGAN] -= 13 * DAY_S
    session.save()
    client.post("/account/login", {"name": "oscar", "password": PASSWORD})
    assert Session.objects.get().expire_date - timezone.now() > timedelta(days=2.9)
