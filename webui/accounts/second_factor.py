"""A second factor: codes of an authenticator app (TOTP, RFC 6238), passkeys (WebAuthn), and recovery codes.

allauth stores and checks them, and its views show them in Hark's templates; ``adapters.py`` seals their secrets. This
module ensures that a code works once, that guesses are counted, that changes are in the audit log, and that adding the
first factor ends all other sessions.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

from allauth.core import context
from allauth.core.internal.cryptokit import normalize_user_code
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authenticator_used
from allauth.mfa.stages import AuthenticateStage
from allauth.mfa.webauthn.forms import AddWebAuthnForm, AuthenticateWebAuthnForm, ReauthenticateWebAuthnForm
from allauth.usersessions.models import UserSession
from cryptography.exceptions import InvalidSignature
from django.contrib.auth import update_session_auth_hash
from django.core.exceptions import ValidationError
from django.db.models import F
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver
from django.http import HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from webui.accounts.addresses import network_of
from webui.accounts.audit import Action, record
from webui.accounts.models import AuditEntry, SignInFailure, SpentToken, User
from webui.accounts.services import digest
from webui.accounts.sign_in import (
    FAILURES_WITHIN,
    SignInRefused,
    expect_failure,
    forgive_failure,
    is_known,
    sender,
    sign_in,
    too_many,
)
from webui.transactions import serialized

PURPOSE = "second factor"
RECOVERY_CODES, PASSKEY = Authenticator.Type.RECOVERY_CODES, Authenticator.Type.WEBAUTHN
MAX_PASSKEYS = 20
GUESSES, DAY = 10, timedelta(days=1)
CODE_LIFE = timedelta(seconds=90)  # with MFA_TOTP_TOLERANCE
# Exceptions that allauth and fido2 raise for a forged credential.
_FALSE = (InvalidSignature, ValueError, TypeError, LookupError, AttributeError)


class CodeNeeded(SignInRefused):
    """Raised if name and password are not sufficient for an account. The response is 403."""

    status = 403


def is_on(user: User) -> bool:
    """Return whether sign-in requires a code or a passkey. Recovery codes alone do not count."""
    return Authenticator.objects.filter(user=user).exclude(type=RECOVERY_CODES).exists()


def turn_off(*, user: User) -> None:
    """Remove the app, the passkeys and the recovery codes."""
    with serialized():
        for each in Authenticator.objects.filter(user=user):
            each.delete()


def sign_in_program(*, name: str, password: str, address: str) -> User:
    """Return the user of a program that sends name and password, but cannot send a code.

    Raises CodeNeeded if the account has a second factor, and the errors of :func:`webui.accounts.sign_in.sign_in`.
    """
    user = sign_in(name=name, password=password, address=address)
    if is_on(user):
        raise CodeNeeded(
            _("The program could not be signed in."),
            _("This account has a second factor, so a name and a password are not enough."),
            _("Create an API token on your account page and give it to the program."),
        )
    return user


def wrong_since_last_sign_in(user: User) -> int:
    """Return the number of wrong codes sent with the user's password since the last sign-in."""
    signed_in = AuditEntry.objects.filter(
        by_id=user.pk, action__in=(Action.SIGNED_IN, Action.SIGNED_IN_BY_GOOGLE)
    ).first()  # the newest
    wrong = AuditEntry.objects.filter(action=Action.FACTOR_FAILED, about_id=user.pk)
    return (wrong.filter(at__gt=signed_in.at) if signed_in else wrong).count()


def _expect_wrong(user: User, is_code: bool, address: str, browser: str) -> SignInFailure:
    """Record a failure before a code or a passkey is checked.

    Three of a million codes are valid at any time, and an attacker here knows the password. So after :data:`GUESSES` in
    a day, the wait doubles with each wrong code. A known browser is exempt.
    """
    if is_known(browser, user):
        return expect_failure(f"code of user {user.pk} in {browser}", browser)
    if not is_code:
        return expect_failure(f"code of user {user.pk}", f"address {network_of(address)}")
    now = timezone.now()
    with serialized():
        failed = AuditEntry.objects.filter(action=Action.FACTOR_FAILED, about_id=user.pk, at__gt=now - DAY, at__lte=now)
        times = list(failed.values_list("at", flat=True))  # newest first
        if len(times) >= GUESSES:
            wait = min(FAILURES_WITHIN * 2 ** min(len(times) - GUESSES, 10), DAY) - (now - times[0])
            if wait > timedelta(0):
                raise too_many(math.ceil(wait.total_seconds()))
        return expect_failure(f"code of user {user.pk}", f"address {network_of(address)}", GUESSES)


class CodeStage(AuthenticateStage):
    """The step of allauth's sign-in after the password."""

    def exit(self) -> HttpResponse:
        """Begin the session, unless the password has since changed or the user was deactivated."""
        as_before = self.login.user.has_session(self.login.signal_kwargs["hash"])
        return super().exit() if as_before else self.abort()


class _Refusing:
    """Mixin that turns a forged credential into an error of allauth's passkey form."""

    def full_clean(self) -> None:
        try:
            super().full_clean()  # type: ignore[misc]
        except _FALSE:
            self.add_error(None, get_adapter().validation_error("incorrect_code"))  # type: ignore[attr-defined]


class _Counted(_Refusing):
    """Mixin for allauth's forms that check a second factor; it counts guesses and accepts each code only once."""

    def full_clean(self) -> None:
        """Check the form. Raises StatusError after too many failures."""
        if not self.is_bound:  # type: ignore[attr-defined]
            return super().full_clean()
        failure = _expect_wrong(self.user, "code" in self.fields, **sender(context.request))  # type: ignore[attr-defined]
        super().full_clean()
        if self.errors:  # type: ignore[attr-defined]
            record(Action.FACTOR_FAILED, about=self.user)  # type: ignore[attr-defined]
        else:
            forgive_failure(failure)

    def clean_code(self) -> str:
        """Check the code, and reject the second of two requests with the same one."""
        code: str = super().clean_code()  # type: ignore[misc]
        spent = digest(f"{self.user.pk} {normalize_user_code(code)}")[:32]  # type: ignore[attr-defined]
        now = timezone.now()
        SpentToken.objects.filter(expires_at__lt=now).delete()
        if not SpentToken.objects.get_or_create(id=spent, defaults={"expires_at": now + CODE_LIFE})[1]:
            raise get_adapter().validation_error("incorrect_code")
        return code


class CodeForm(_Counted, AuthenticateForm):
    """A code from the app or a recovery code, as the second step of a sign-in."""


class PasskeyForm(_Counted, AuthenticateWebAuthnForm):
    """A passkey as the second step of a sign-in."""


class CodeAgainForm(_Counted, ReauthenticateForm):
    """A code before a change of the account."""


class PasskeyAgainForm(_Counted, ReauthenticateWebAuthnForm):
    """A passkey before a change of the account."""


class NewPasskeyForm(_Refusing, AddWebAuthnForm):
    def clean(self) -> dict[str, Any]:
        if Authenticator.objects.filter(user=self.user, type=PASSKEY).count() >= MAX_PASSKEYS:
            raise ValidationError(_("A user can have %(most)d passkeys.") % {"most": MAX_PASSKEYS})
        return dict(super().clean())


@receiver(post_save, sender=Authenticator, dispatch_uid="second factor")
def _added(instance: Authenticator, created: bool, **signal: Any) -> None:
    if not created:
        return
    user: User = instance.user
    if instance.type == RECOVERY_CODES:
        record(Action.RECOVERY_CODES, about=user)
        return
    if instance.type == PASSKEY:
        record(Action.PASSKEY_ADDED, what=instance.wrap().name, about=user)
    if Authenticator.objects.filter(user=user).exclude(type=RECOVERY_CODES).count() == 1:
        record(Action.FACTOR_ON, about=user)
        User.objects.filter(pk=user.pk).update(times_let_out=F("times_let_out") + 1)
        user.refresh_from_db()
        if (request := context.request) is not None and request.user == user:  # this session continues
            update_session_auth_hash(request, user)
            UserSession.objects.create_from_request(request)


@receiver(post_delete, sender=Authenticator, dispatch_uid="second factor")
def _removed(instance: Authenticator, **signal: Any) -> None:
    if instance.type == PASSKEY:
        record(Action.PASSKEY_REMOVED, what=instance.wrap().name, about=instance.user)
    if instance.type != RECOVERY_CODES and not is_on(instance.user):
        record(Action.FACTOR_OFF, about=instance.user)


@receiver(authenticator_used, dispatch_uid="second factor")
def _used(authenticator: Authenticator, **signal: Any) -> None:
    if authenticator.type == RECOVERY_CODES:
        record(Action.RECOVERY_CODE, by=authenticator.user)
