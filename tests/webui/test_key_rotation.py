"""A new secret key: what survives, what ends with the previous key, and that all processes use it immediately."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.core import signing
from django.test import Client
from django.utils.functional import lazy

from core.data_folder import REPOSITORY
from core.errors import HarkError
from tests.support.detector_versions import make_version
from tests.support.programs import answering
from tests.support.refusals import refuses
from tests.support.second_factor import SECRET, code_of, is_signed_in, password_step, turned_on
from webui.accounts.models import AuditEntry, User
from webui.accounts.second_factor import turn_off
from webui.accounts.services import create_token, issue_pair, password_link, rotate_pair, user_of_token
from webui.jobs.models import Job
from webui.key_rotation import rotate_key
from webui.keys import secret as key_files
from webui.keys.sealing import seal, unseal
from webui.keys.secret import EarlierKeys, rotate, secret_key
from webui.webhooks import services as webhooks


@pytest.fixture
def key_file(settings: Any, portal: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The key file of the test's own data folder, used as a portal's is."""
    monkeypatch.delenv("HARK_SECRET_KEY", raising=False)
    path = portal / "portal" / "secret.key"
    settings.SECRET_KEY = lazy(secret_key, str)(path)
    settings.SECRET_KEY_FALLBACKS = EarlierKeys(path)
    return path


def drop_earlier(path: Path) -> None:
    """End the time of previous keys."""
    path.write_text(path.read_text().split("\n")[0])


def test_sessions_survive_a_rotation(client: Client, other: User, key_file: Path) -> None:
    client.force_login(other)
    cookie = client.cookies["sessionid"].value
    rotate_key(30)
    assert is_signed_in(client) and client.cookies["sessionid"].value == cookie
    drop_earlier(key_file)
    assert is_signed_in(client)  # it is signed with the new key


def test_tokens_derived_from_a_key_expire_with_it(other: User, key_file: Path, portal: Path) -> None:
    pair = issue_pair(user=other)
    version = make_version(other, portal)
    address, sealed, cookie = version.token, seal("text", "a purpose"), signing.dumps("known")
    rotate_key(30)
    assert user_of_token(f"Bearer {pair.access}")[0] == other
    new = rotate_pair(refresh=pair.refresh)
    assert version.opens_with(address) and version.token != address and version.opens_with(version.token)
    assert unseal(sealed, "a purpose") == "text" and signing.loads(cookie) == "known"
    drop_earlier(key_file)
    assert user_of_token(f"Bearer {new.access}")[0] == other and version.opens_with(version.token)
    with refuses(401, match="did not issue"):
        user_of_token(f"Bearer {pair.access}")
    with pytest.raises(HarkError, match="can no longer be read"):
        unseal(sealed, "a purpose")
    with pytest.raises(signing.BadSignature):
        signing.loads(cookie)
    assert not version.opens_with(address)


def test_a_leaked_key_is_invalid_immediately(client: Client, other: User, key_file: Path, portal: Path) -> None:
    version, pair = make_version(other, portal), issue_pair(user=other)
    address = version.token
    hook, secret = webhooks.add(user=other, url="https://example.org/hook", events=["job.done"])
    client.force_login(other)
    rotate(key_file, datetime.now(UTC) + timedelta(days=3))  # this one, too, is accepted no longer
    rotate_key(0)
    assert [*EarlierKeys(key_file)] == [] and not version.opens_with(address)
    with refuses(401, match="did not issue"):
        user_of_token(f"Bearer {pair.access}")
    hook.refresh_from_db()
    assert unseal(hook.sealed_secret, webhooks.PURPOSE) == secret and is_signed_in(client)
    assert key_file.stat().st_mode & 0o777 == 0o600


def test_an_unused_session_expires_with_its_key(client: Client, other: User, key_file: Path) -> None:
    client.force_login(other)
    rotate(key_file, datetime.now(UTC) + timedelta(days=1))
    drop_earlier(key_file)
    assert not is_signed_in(client)


def test_second_factor_webhooks_links_and_tokens_need_no_earlier_key(
    client: Client, other: User, key_file: Path
) -> None:
    codes = turned_on(other)
    hook, secret = webhooks.add(user=other, url="https://example.org/hook", events=["job.done"])
    _token, text = create_token(user=other, name="ci", scopes=("read",), days=None)
    link = password_link(user=other, base_url="http://testserver")
    password_step(client)  # and the key is rotated before the code is typed
    rotate_key(30)
    assert client.post("/account/code", {"code": code_of(SECRET)}).status_code == 302
    drop_earlier(key_file)
    again = Client()
    password_step(again)
    assert again.post("/account/code", {"code": codes[0]}).status_code == 302
    hook.refresh_from_db()
    assert unseal(hook.sealed_secret, webhooks.PURPOSE) == secret
    assert user_of_token(f"Bearer {text}")[0] == other
    assert Client().get(link).status_code == 200
    assert AuditEntry.objects.filter(action="secret_key", address=AuditEntry.MACHINE).count() == 1


def test_secrets_that_no_key_opens_are_named_and_stop_nothing(owner: User, other: User, key_file: Path) -> None:
    turned_on(owner)
    lost, _secret = webhooks.add(user=owner, url="https://lost.example.org/hook?token=1", events=["job.done"])
    secret_key(key_file)
    key_file.write_text("k" * 40)  # as after the loss of the key file
    codes = turned_on(other)
    hook, secret = webhooks.add(user=other, url="https://example.org/hook", events=["job.done"])
    job = Job.objects.create(user=other, kind="plan", queue="general", spec={})
    sealed = [lost.sealed_secret, *Authenticator.objects.filter(user=owner).values_list("data", flat=True)]

    rotation = rotate_key(0)
    assert rotation.until is not None and rotation.unreadable == [
        "The webhook of olivia to lost.example.org: olivia must delete it on the account page, and add it again.",
        "The second factor of olivia: run ./hark admin factor-off --user olivia, and set it up again.",
    ]
    lost.refresh_from_db()
    assert sealed == [lost.sealed_secret, *Authenticator.objects.filter(user=owner).values_list("data", flat=True)]
    hook.refresh_from_db()
    assert unseal(hook.sealed_secret, webhooks.PURPOSE) == secret
    client = Client()
    password_step(client)
    assert client.post("/account/code", {"code": codes[0]}).status_code == 302
    job.refresh_from_db()
    assert job.sent_at is not None
    turn_off(user=owner)
    webhooks.remove(webhook=lost)
    assert rotate_key(30).unreadable == []


def test_a_damaged_key_file_loses_no_secret(other: User, key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hook, secret = webhooks.add(user=other, url="https://example.org/hook", events=["job.done"])
    good = key_file.with_name("good")

    def damage() -> None:
        key_file.rename(good)
        key_file.write_text("damaged")

    with monkeypatch.context() as patched:
        patched.setattr("webui.key_rotation._move_sessions", damage)
        with pytest.raises(HarkError, match="key is damaged"):
            rotate_key(0)
    good.rename(key_file)
    assert rotate_key(0).unreadable == []
    hook.refresh_from_db()
    assert unseal(hook.sealed_secret, webhooks.PURPOSE) == secret


def test_two_processes_with_the_same_id_make_one_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers of one start have the same process ids."""
    path, made = tmp_path / "secret.key", []

    def new_key() -> str:
        if not made:
            made.append("a" * 40)
            made.append(secret_key(path))  # the other process is faster
            return made[0]
        return "b" * 40

    monkeypatch.setattr(key_files, "_new_key", new_key)
    assert secret_key(path) == made[1] == "b" * 40
    assert [*tmp_path.iterdir()] == [path] and path.stat().st_mode & 0o777 == 0o600


def test_waiting_jobs_are_resent_after_a_rotation(other: User, key_file: Path) -> None:
    """Workers refuse a task signed with the previous key."""
    long_ago = datetime(2026, 1, 1, tzinfo=UTC)
    job = Job.objects.create(user=other, kind="plan", queue="general", spec={}, sent_at=long_ago)
    rotate_key(30)
    job.refresh_from_db()
    assert job.sent_at is not None and job.sent_at > long_ago


def test_a_rotation_preserves_unexpired_earlier_keys(key_file: Path) -> None:
    keys = [secret_key(key_file)]
    now = datetime.now(UTC)
    for days in (2, -1, 3):
        rotate(key_file, now + timedelta(days=days))
        keys.append(secret_key(key_file))
    assert [*EarlierKeys(key_file)] == [keys[2], keys[0]] and len(set(keys)) == 4
    assert key_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("line", ["short 2027-01-01T00:00:00+00:00", "k" * 40, "k" * 40 + " tomorrow"])
def test_a_damaged_line_is_reported(key_file: Path, line: str) -> None:
    secret_key(key_file)
    key_file.write_text(f"{key_file.read_text()}\n{line}")
    with pytest.raises(HarkError, match="secret key is damaged"):
        list(EarlierKeys(key_file))


@pytest.mark.django_db
def test_a_key_from_the_environment_must_be_rotated_there(
    other: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    turned_on(other)
    monkeypatch.setenv("HARK_SECRET_KEY", str(settings.SECRET_KEY))
    with pytest.raises(HarkError, match="was not rotated"):
        rotate_key(30)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another " * 8, [settings.SECRET_KEY]
    assert rotate_key(30) == (None, [])
    settings.SECRET_KEY_FALLBACKS = []
    assert len(Authenticator.objects.get(user=other, type="recovery_codes").wrap().get_unused_codes()) == 10


# Signs "x", or reads what was signed, as long as it is asked to.
PROCESS = """
import json, sys
import django
django.setup()
from django.core import signing
for line in sys.stdin:
    signed = json.loads(line)
    try:
        print(json.dumps(signing.dumps("x") if signed is None else signing.loads(signed)), flush=True)
    except signing.BadSignature:
        print("null", flush=True)
"""


def test_all_processes_use_the_new_key_immediately(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARK_SECRET_KEY", raising=False)
    data = tmp_path / "data"
    portal = {"HARK_DATA": str(data), "DJANGO_SETTINGS_MODULE": "webui.settings"}
    with answering(PROCESS, **portal) as web, answering(PROCESS, **portal) as worker:
        before = web()
        assert worker(before) == "x"
        done = subprocess.run(
            [sys.executable, "main.py", "admin", "rotate-secret", "--days", "3", "--json"], cwd=REPOSITORY,
            env={**os.environ, "HARK_DATA": str(data)}, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        until = datetime.fromisoformat(json.loads(done.stdout)["accepted_until"])
        assert timedelta(days=2.9) < until - datetime.now(UTC) < timedelta(days=3), done.stderr
        after = worker()
        assert web(after) == "x" and web(before) == "x" and worker(before) == "x"
        drop_earlier(data / "portal" / "secret.key")
        assert web(after) == "x" and web(before) is None


def test_every_sealed_column_is_resealed_or_short_lived() -> None:
    from django.apps import apps

    sealed = {
        f"{model.__name__}.{field.name}"
        for model in apps.get_models()
        for field in model._meta.get_fields()
        if field.name.startswith("sealed")
    }
    again, for_a_day = {"Webhook.sealed_secret"}, {"KeptAnswer.sealed_answer"}
    assert sealed == again | for_a_day, "reseal a new column in webui/key_rotation.py and list it here"
