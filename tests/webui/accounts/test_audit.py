"""The audit log: its entries and readers, and that it cannot be changed and deletes old entries."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from tests.support.portal_users import PASSWORD
from webui.accounts.audit import Action, record
from webui.accounts.models import AuditEntry, User
from webui.accounts.services import create_token, create_user
from webui.recordings.models import Recording, Share
from webui.trainer.models import Detector
from webui.webhooks.models import Webhook

NEW = "quite another password"


def log() -> list[tuple[str, str, str, str]]:
    """Return actor, action, object and account of the entries, oldest first."""
    entries = AuditEntry.objects.order_by("pk")
    return [(entry.by_name, entry.action, entry.what, entry.about_name) for entry in entries]


def test_sign_ins_and_sign_outs_are_logged(client: Client, other: User) -> None:
    client.post("/account/login", {"name": "oscar", "password": "wrong"}, REMOTE_ADDR="203.0.113.9")
    client.post("/account/login", {"name": "my-secret-password", "password": "wrong"})
    client.post("/account/login", {"name": "oscar", "password": PASSWORD})
    client.post("/account/logout")
    client.post("/api/v1/pairs", {"name": "oscar", "password": PASSWORD}, content_type="application/json")
    assert log() == [
        ("", "sign_in_failed", "", "oscar"),
        ("", "sign_in_failed", "", ""),
        ("oscar", "signed_in", "", "oscar"),
        ("oscar", "signed_out", "", "oscar"),
        ("oscar", "signed_in_by_program", "", "oscar"),
    ]
    assert AuditEntry.objects.order_by("pk")[0].address == "203.0.113.9"
    assert timezone.now() - AuditEntry.objects.order_by("pk")[0].at < timedelta(minutes=1)


def test_changes_to_ones_own_account_are_logged(others: Client, other: User) -> None:
    others.post("/account/tokens", {"name": "ci", "scopes": ["read", "audio"], "days": "30"})
    others.post(f"/account/tokens/{other.api_tokens.get().pk}/revoke")
    hook = {"url": "https://example.org/hark?key=hidden", "events": ["job.done"]}
    others.post("/account/webhooks", hook)
    others.post(f"/account/webhooks/{Webhook.objects.get().pk}/remove")
    others.post("/account/", {"username": "oskar", "email": ""})
    others.post("/account/password", {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW})
    assert log() == [
        ("oscar", "token_made", "ci: read, audio", "oscar"),
        ("oscar", "token_revoked", "ci", "oscar"),
        ("oscar", "webhook_added", "example.org", "oscar"),
        ("oscar", "webhook_removed", "example.org", "oscar"),
        ("oscar", "person", "", "oskar"),
        ("oskar", "password", "", "oskar"),
    ]


def test_the_owners_changes_to_users_are_logged(owners: Client, other: User) -> None:
    owners.post("/account/users", {"username": "nora", "email": ""})
    owners.post(f"/account/users/{other.pk}/active", {"active": "0"})
    owners.post(f"/account/users/{other.pk}/active", {"active": "0"})  # nothing changes
    owners.post(f"/account/users/{other.pk}/active", {"active": "1"})
    owners.post(f"/account/users/{other.pk}", {"username": "oskar", "email": ""})
    assert log() == [
        ("olivia", "user_added", "", "nora"),
        ("olivia", "link_made", "", "nora"),
        ("olivia", "user_deactivated", "", "oscar"),
        ("olivia", "user_activated", "", "oscar"),
        ("olivia", "person", "", "oskar"),
    ]


def test_deletions_and_shares_are_logged(owners: Client, owner: User) -> None:
    recording = Recording.objects.create(user=owner, name="private talk", folder="audio/x")
    share = Share.objects.create(recording=recording, digest="x", expires_at=timezone.now() + timedelta(days=1))
    detector = Detector.objects.create(user=owner, phrase="hey compass", language="en")
    owners.post(f"/recordings/{recording.pk}/share/{share.pk}/revoke")
    assert owners.delete(f"/api/v1/recordings/{recording.pk}").status_code == 204
    assert owners.delete(f"/api/v1/detectors/{detector.pk}").status_code == 204
    assert [(action, what) for _, action, what, _ in log()][-2:] == [
        ("recording_deleted", str(recording.pk)),
        ("detector_deleted", str(detector.pk)),
    ]
    assert "private talk" not in str(log()) and "hey compass" not in str(log())


def test_commands_on_the_server_are_logged(other: User) -> None:
    create_user(username="nora", password=None)
    entry = AuditEntry.objects.get()
    assert (entry.by_name, entry.about_name, entry.address) == ("", "nora", "machine")


def test_the_log_contains_no_secrets(client: Client, other: User) -> None:
    client.post("/account/login", {"name": PASSWORD, "password": "wrong"})
    client.force_login(other)
    token, text = create_token(user=other, name="ci", scopes=["read"])
    client.post("/account/webhooks", {"url": "https://user:hidden@example.org/x", "events": ["job.done"]})
    client.post("/account/password", {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW})
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM accounts_auditentry")
        kept = str(cursor.fetchall())
    assert len(log()) >= 3
    for secret in (PASSWORD, NEW, text, token.digest, "hidden", other.password):
        assert secret not in kept


def test_users_see_their_own_entries_and_the_owner_all(client: Client, owner: User, other: User) -> None:
    record(Action.TOKEN_MADE, what="of-olivia", by=owner)
    record(Action.TOKEN_MADE, what="of-oscar", by=other)
    record(Action.USER_ACTIVATED, what="by-olivia-to-oscar", by=owner, about=other)
    client.force_login(other)
    for address in ("/account/log", "/account/"):
        page = client.get(address).text
        assert "of-oscar" in page and "by-olivia-to-oscar" in page and "of-olivia" not in page
    assert client.get("/account/users/log").status_code == 403
    client.force_login(owner)
    page = client.get("/account/users/log").text
    assert "of-oscar" in page and "of-olivia" in page and "kept for 365 days" in page
    page = client.get(f"/account/users/log?user={other.pk}").text
    assert "of-oscar" in page and "of-olivia" not in page
    assert client.get("/account/users/log?user=99").status_code == 404
    assert client.post("/account/users/log").status_code == 405


def test_a_long_log_is_paged(owners: Client, owner: User, django_assert_max_num_queries: Any) -> None:
    for number in range(120):
        record(Action.TOKEN_MADE, what=f"token-{number:03d}", by=owner)
    with django_assert_max_num_queries(6):
        first = owners.get("/account/log").text
    assert "token-119" in first and "token-069" not in first and "?page=2" in first
    assert "token-069" in owners.get("/account/log?page=2").text


def test_entries_cannot_be_changed(other: User) -> None:
    record(Action.TOKEN_MADE, what="ci", by=other)
    entry = AuditEntry.objects.get()
    entry.what = "nothing"
    for change in (
        entry.save,
        entry.delete,
        AuditEntry.objects.all().delete,
        lambda: AuditEntry.objects.all().update(what=""),
        lambda: AuditEntry.objects.bulk_update([entry], ["what"]),
        lambda: AuditEntry.objects.update_or_create({"what": ""}, pk=entry.pk),
    ):
        with pytest.raises(TypeError, match="audit log"), transaction.atomic():
            change()
    assert AuditEntry.objects.get().what == "ci"


def test_no_endpoint_changes_the_log(owners: Client, owner: User) -> None:
    record(Action.TOKEN_MADE, what="ci", by=owner)
    for method in ("post", "put", "patch", "delete"):
        assert getattr(owners, method)("/account/log").status_code == 405
    assert AuditEntry.objects.get(action=Action.TOKEN_MADE).what == "ci"


def test_entries_are_deleted_after_the_retention_time(other: User, settings: Any) -> None:
    settings.AUDIT_DAYS = 30
    for days in (31, 29):
        AuditEntry.objects.create(at=timezone.now() - timedelta(days=days), action=Action.SIGNED_IN, what=str(days))
    record(Action.SIGNED_OUT, by=other)
    assert {entry.what for entry in AuditEntry.objects.all()} == {"29", ""}
