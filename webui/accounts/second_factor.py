"""A second factor: codes of an authenticator app (TOTP, RFC 6238), passkeys (WebAuthn), and recovery codes for who has
lost these.

allauth keeps them, computes the codes and checks the passkeys; none of its pages is shown. Secrets lie sealed in the
database; of a passkey it holds the public key. A code works once, and guesses are counted as those of passwords are.
"""

from __future__ import annotations

import ipaddress
import json
import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from allauth.core.internal.cryptokit import compare_user_code
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value, yield_hotp_counters_from_time
from allauth.mfa.utils import decrypt
from allauth.mfa.webauthn.internal import auth as webauthn
from cryptography.exceptions import InvalidSignature
from django.core.exceptions import ValidationError
from django.db.models import F, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _

from webui.accounts.addresses import network_of
from webui.accounts.audit import Action, record
from webui.accounts.models import AuditEntry, SignInFailure, User
from webui.accounts.sign_in import FAILURES_WITHIN, SignInRefused, expect_failure, is_known, sign_in, too_many
from webui.api.sealing import seal, unseal
from webui.parameters import json_object
from webui.transactions import alone

PURPOSE = "second factor"
ISSUER = "Hark"
_TOTP, _PASSKEY = Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN
MOST_PASSKEYS = 20
GUESSES, DAY = 10, timedelta(days=1)
# What a credential that no authenticator made may raise, in allauth and in fido2.
_FALSE = (ValidationError, InvalidSignature, ValueError, TypeError, LookupError, AttributeError)
T = TypeVar("T")


class SealingAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """How allauth keeps secrets."""

    def encrypt(self, text: str) -> str:
        """Sealed with the portal's key."""
        return seal(text, PURPOSE)

    def decrypt(self, encrypted_text: str) -> str:
        """The secret. Raises HarkError where the portal's key is another now."""
        return unseal(encrypted_text, PURPOSE)

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """The portal, as browsers show it; a passkey works under the host name that it was made under."""
        return {**super().get_public_key_credential_rp_entity(), "name": ISSUER}


class CodeNeeded(SignInRefused):
    """Name and password do not suffice for this account; answered with 403."""

    status = 403


def is_on(user: User) -> bool:
    """Whether signing in asks for a code."""
    return Authenticator.objects.filter(user=user, type__in=(_TOTP, _PASSKEY)).exists()


def has_app(user: User) -> bool:
    """Whether an authenticator app is set up."""
    return Authenticator.objects.filter(user=user, type=_TOTP).exists()


def passkeys_of(user: User) -> QuerySet[Authenticator]:
    """The passkeys, oldest first."""
    return Authenticator.objects.filter(user=user, type=_PASSKEY).order_by("pk")


def can_have_passkeys(request: HttpRequest) -> bool:
    """Whether browsers use passkeys on this page: over https under a name, or on localhost."""
    host = request.get_host().rpartition(":")[0] or request.get_host()
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return request.is_secure() or host == "localhost"
    return False


def passkey_to_make(user: User) -> str:
    """What a browser is asked to make a passkey with, as JSON; the session keeps what it has to answer."""
    return _as_json(webauthn.begin_registration(user, passwordless=False))


def passkey_to_show(user: User) -> str:
    """What a browser is asked to show a passkey with, as JSON; the session keeps what it has to answer."""
    return _as_json(webauthn.begin_authentication(user))


def _as_json(options: dict[str, Any]) -> str:
    return json.dumps(options, default=dict)


def add_passkey(*, user: User, name: str, credential: str) -> list[str]:
    """Add a passkey that a browser has just made, as JSON.

    Where it is the first factor, all sessions and pairs of tokens end, and what is returned are the recovery codes,
    shown this once.

    Raises:
        SignInRefused: it is none that this session has asked for, or the user has too many.
    """
    made = _of_authenticator(lambda: _registered(json_object(credential)))
    with alone():
        was_on = is_on(user)
        if passkeys_of(user).count() >= MOST_PASSKEYS:
            raise SignInRefused(
                _("The passkey was not added."),
                _("A user may have %(most)d.") % {"most": MOST_PASSKEYS},
                _("Remove one of them first."),
            )
        webauthn.WebAuthn.add(user, name, made)
        record(Action.PASSKEY_ADDED, what=name, about=user)
        return [] if was_on else _turned_on(user)


def remove_passkey(*, user: User, number: int) -> None:
    """Remove a passkey; with the last one the second factor is off, unless there is an app."""
    with alone():
        found = passkeys_of(user).filter(pk=number).first()
        if found is not None:
            found.delete()
            record(Action.PASSKEY_REMOVED, what=found.wrap().name, about=user)
            if not is_on(user):
                turn_off(user=user)


def check_passkey(*, user: User, credential: str, address: str) -> None:
    """Accept what a browser has signed with a passkey, as JSON.

    Raises:
        webui.accounts.sign_in.TooManyFailures: too many were wrong, for this user or from this address.
        SignInRefused: it is of no passkey of the user, or not what was asked for.
    """
    failure = expect_failure(f"code of user {user.pk}", f"address {network_of(address)}")
    try:
        found = _of_authenticator(lambda: webauthn.complete_authentication(user, json_object(credential)))
    except SignInRefused:
        record(Action.FACTOR_FAILED, about=user)
        raise
    found.record_usage()
    SignInFailure.objects.filter(name_digest=failure.name_digest, address_digest=failure.address_digest).delete()


def wrong_since_last_sign_in(user: User) -> int:
    """How many wrong codes were sent with the password of a user since they signed in the last time."""
    signed_in = AuditEntry.objects.filter(
        by_id=user.pk, action__in=(Action.SIGNED_IN, Action.SIGNED_IN_BY_GOOGLE)
    ).first()  # the newest
    wrong = AuditEntry.objects.filter(action=Action.FACTOR_FAILED, about_id=user.pk)
    return (wrong.filter(at__gt=signed_in.at) if signed_in else wrong).count()


def _expect_wrong(user: User, address: str, browser: str) -> SignInFailure:
    """Write down a failure before a code is looked at. Three of a million are right at a time, and who guesses has the
    password already: after :data:`GUESSES` in a day each wrong one doubles the wait. A known browser is exempt.
    """
    if is_known(browser, user):
        return expect_failure(f"code of user {user.pk} in {browser}", browser)
    now = timezone.now()
    with alone():
        failed = AuditEntry.objects.filter(action=Action.FACTOR_FAILED, about_id=user.pk, at__gt=now - DAY, at__lte=now)
        times = list(failed.values_list("at", flat=True))  # the newest first
        if len(times) >= GUESSES:
            wait = min(FAILURES_WITHIN * 2 ** min(len(times) - GUESSES, 10), DAY) - (now - times[0])
            if wait > timedelta(0):
                raise too_many(math.ceil(wait.total_seconds()))
        return expect_failure(f"code of user {user.pk}", f"address {network_of(address)}", GUESSES)


def _registered(credential: dict[str, Any]) -> dict[str, Any]:
    webauthn.complete_registration(credential)
    return credential


def _of_authenticator(check: Callable[[], T]) -> T:
    """What ``check`` returns. Raises SignInRefused for what no authenticator has made for this session."""
    try:
        return check()
    except _FALSE as error:
        raise SignInRefused(
            _("The passkey was not accepted."),
            _("It is none of this account and this address, or took too long."),
            _("Try again."),
        ) from error


def turn_on(*, user: User, secret: str, code: str) -> list[str]:
    """Turn it on with a secret that the user's app has, as its code shows; the recovery codes, shown this once.

    All sessions and pairs of tokens end.

    Raises:
        SignInRefused: the code is wrong.
    """
    with alone():
        TOTP.activate(user, secret)
        if not _is_right(user, code):
            raise wrong_code()
        return _turned_on(user)


def _turned_on(user: User) -> list[str]:
    User.objects.filter(pk=user.pk).update(times_let_out=F("times_let_out") + 1)
    record(Action.FACTOR_ON, about=user)
    user.refresh_from_db()
    if Authenticator.objects.filter(user=user, type=Authenticator.Type.RECOVERY_CODES).exists():
        return []  # they have been shown
    codes: list[str] = RecoveryCodes.activate(user).get_unused_codes()
    return codes


def turn_off(*, user: User) -> None:
    """Turn it off: the app, the passkeys and the recovery codes go."""
    with alone():
        if Authenticator.objects.filter(user=user).delete()[0]:
            record(Action.FACTOR_OFF, about=user)


def new_recovery_codes(*, user: User) -> list[str]:
    """Other recovery codes; those of before stop working."""
    with alone():
        Authenticator.objects.filter(user=user, type=Authenticator.Type.RECOVERY_CODES).delete()
        record(Action.RECOVERY_CODES, about=user)
        codes: list[str] = RecoveryCodes.activate(user).get_unused_codes()
    return codes


def check_code(*, user: User, code: str, address: str, browser: str = "") -> None:
    """Accept a code of the app, or a recovery code, which is used up by that.

    Raises:
        webui.accounts.sign_in.TooManyFailures: too many were wrong, for this user or from this address.
        SignInRefused: it is wrong, or was used before.
    """
    failure = _expect_wrong(user, address, browser)
    if not _is_right(user, code):
        recovery = Authenticator.objects.filter(user=user, type=Authenticator.Type.RECOVERY_CODES).first()
        if recovery is None or not RecoveryCodes(recovery).validate_code(code):
            record(Action.FACTOR_FAILED, about=user)
            raise wrong_code()
        record(Action.RECOVERY_CODE, by=user)
    SignInFailure.objects.filter(name_digest=failure.name_digest, address_digest=failure.address_digest).delete()


def _is_right(user: User, code: str) -> bool:
    """Whether the app shows this code now; of two who send the same one, the second is refused."""
    with alone():
        kept = Authenticator.objects.filter(user=user, type=_TOTP).first()
        if kept is None:  # it was turned off meanwhile
            return False
        secret = decrypt(kept.data["secret"])
        for counter in yield_hotp_counters_from_time():
            right = compare_user_code(actual=code, expected=format_hotp_value(hotp_value(secret, counter)))
            if right and counter > kept.data.get("last", 0):
                kept.data["last"] = counter
                kept.save(update_fields=["data"])
                return True
    return False


def wrong_code() -> SignInRefused:
    """For a code that is not the one that the app shows."""
    return SignInRefused(
        _("The code is wrong."),
        _("It is not the one that your app shows now, or was used before."),
        _("Wait for the next code and enter that; check that the clock of the device is right."),
    )


def sign_in_program(*, name: str, password: str, address: str) -> User:
    """The user of a program that sends name and password, and could send no code.

    Raises:
        CodeNeeded: the account has a second factor.
        SignInRefused, TooManyFailures: as of :func:`webui.accounts.sign_in.sign_in`.
    """
    user = sign_in(name=name, password=password, address=address)
    if is_on(user):
        raise CodeNeeded(
            _("The program could not be signed in."),
            _("This account has a second factor, so name and password do not suffice."),
            _("Make an API token on your account's page, and give that to the program."),
        )
    return user
