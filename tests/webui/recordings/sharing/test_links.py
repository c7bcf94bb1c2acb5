"""Links that show a recording to people without an account."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from webui.accounts.models import User
from webui.accounts.services import digest
from webui.recordings import deletion
from webui.recordings.models import Recording, Share
from webui.recordings.sharing import links


@pytest.fixture
def link(owners: Client, recording: Recording) -> str:
    """Make a link on the page; return its path."""
    page = owners.post(f"/recordings/{recording.pk}/share", {"days": "7"}, follow=True).text
    found = re.search(r'value="http://testserver(/recordings/shared/[\w-]+)"', page)
    return found[1]


def test_anyone_with_the_link_can_read_and_listen(recording: Recording, link: str) -> None:
    visitor = Client()
    answer = visitor.get(link)
    page = answer.text
    assert answer.status_code == 200 and "We meet in the harbour" in page and "Anna brings the lantern." in page
    assert answer["X-Robots-Tag"] == "noindex" and "no-store" in answer["Cache-Control"]
    part = visitor.get(f"{link}/audio", headers={"Range": "bytes=0-3"})
    assert part.status_code == 206 and part.getvalue() == b"fLaC"
    assert visitor.get(f"{link}/words").json()["segments"] and visitor.get(f"{link}/waveform").json()["peaks"]


def test_readers_of_a_link_cannot_change_anything(recording: Recording, at: str, link: str) -> None:
    visitor = Client()
    page = visitor.get(link).text
    for word in ("data-edit", "data-change", "Rename", "Delete", "/ask", "export", str(recording.pk)):
        assert word not in page.replace("data-edited", ""), word
    assert visitor.post(link).status_code == 405
    answer = visitor.post(f"{at}/segments/0", {"text": "x"})
    assert answer.status_code == 303 and answer["Location"].startswith("/account/login")


def test_the_token_is_shown_once_and_stored_as_a_digest(owners: Client, at: str, link: str) -> None:
    token = link.rsplit("/", 1)[1]
    assert len(token) >= 32 and Share.objects.get().digest == digest(token)
    assert token not in owners.get(at).text


def test_reloading_the_page_creates_no_second_link(owners: Client, at: str) -> None:
    answer = owners.post(f"{at}/share", {"days": "7"})
    assert answer.status_code == 302 and answer["Location"] == f"{at}#sharing"
    shown = owners.get(at)
    assert b'id="new-link"' in shown.content and "no-store" in shown["Cache-Control"]
    assert b'id="new-link"' not in owners.get(at).content
    assert Share.objects.count() == 1


def test_a_revoked_link_no_longer_works(owners: Client, at: str, link: str) -> None:
    share = Share.objects.get()
    assert owners.post(f"{at}/share/{share.pk}/revoke").status_code == 302
    for rest in ("", "/audio", "/words", "/waveform"):
        answer = Client().get(link + rest)
        assert answer.status_code == 410 and b"harbour" not in answer.content
    assert b"revoked" in owners.get(at).content


def test_a_link_expires(recording: Recording, link: str) -> None:
    assert timedelta(days=6) < Share.objects.get().expires_at - timezone.now() < timedelta(days=7, seconds=1)
    Share.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert Client().get(link).status_code == 410


def test_deleting_the_recording_or_deactivating_the_user_ends_a_link(
    owner: User, recording: Recording, link: str
) -> None:
    User.objects.filter(pk=owner.pk).update(is_active=False)
    assert Client().get(link).status_code == 410
    User.objects.filter(pk=owner.pk).update(is_active=True)
    deletion.delete(recording=recording)
    assert Client().get(link).status_code == 404


@pytest.mark.parametrize("token", ["x", "A" * 32, "..", "%00"])
def test_an_unknown_token_gets_404(db: None, token: str) -> None:
    assert Client().get(f"/recordings/shared/{token}").status_code == 404


@pytest.mark.parametrize("days", ["", "0", "91", "-1", "x", "99999999"])
def test_invalid_lifetimes_of_links_are_rejected(owners: Client, at: str, days: str) -> None:
    assert owners.post(f"{at}/share", {"days": days}).status_code == 422
    assert not Share.objects.exists()


def test_an_outdated_summary_is_not_shared(owners: Client, recording: Recording, at: str) -> None:
    token = links.share(recording=recording)[1]
    shared = f"/recordings/shared/{token}"
    assert "Tuesday, in the harbour." in Client().get(shared).text
    owners.post(f"{at}/segments/0", {"text": "We meet on the pier"})
    page = Client().get(shared).text
    assert "We meet on the pier" in page and "harbour" not in page
    own = owners.get(at).text
    assert "Tuesday, in the harbour." in own and "so people with a link do not see it." in own
