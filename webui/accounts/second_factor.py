"""A second factor: codes of an authenticator app (TOTP, RFC 6238), and recovery codes for who has lost it.

allauth keeps both and computes the codes; none of its pages is shown. Secrets lie sealed in the database. A code works
once, and guesses are counted as those of passwords are.
"""

from __future__ import annotations

from allauth.core.internal.cryptokit import compare_user_code
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value, yield_hotp_counters_from_time
from allauth.mfa.utils import decrypt
from django.db.models import F
from django.utils.translation import gettext as _

from webui.accounts.addresses import network_of
from webui.accounts.audit import Action, record
from webui.accounts.models import SignInFailure, User
from webui.accounts.sign_in import SignInRefused, expect_failure, sign_in
from webui.api.sealing import seal, unseal
from webui.transactions import alone

PURPOSE = "second factor"
ISSUER = "Hark"
_TOTP = Authenticator.Type.TOTP


class SealingAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """How allauth keeps secrets."""

    def encrypt(self, text: str) -> str:
        """Sealed with the portal's key."""
        return seal(text, PURPOSE)

    def decrypt(self, encrypted_text: str) -> str:
        """The secret. Raises HarkError where the portal's key is another now."""
        return unseal(encrypted_text, PURPOSE)


class CodeNeeded(SignInRefused):
    """Name and password do not suffice for this account; answered with 403."""

    status = 403


def is_on(user: User) -> bool:
    """Whether signing in asks for a code."""
    return Authenticator.objects.filter(user=user, type=_TOTP).exists()


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
        User.objects.filter(pk=user.pk).update(times_let_out=F("times_let_out") + 1)
        record(Action.FACTOR_ON, about=user)
        user.refresh_from_db()
        codes: list[str] = RecoveryCodes.activate(user).get_unused_codes()
    return codes


def turn_off(*, user: User) -> None:
    """Turn it off; the recovery codes go with it."""
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


def check_code(*, user: User, code: str, address: str) -> None:
    """Accept a code of the app, or a recovery code, which is used up by that.

    Raises:
        webui.accounts.sign_in.TooManyFailures: too many were wrong, for this user or from this address.
        SignInRefused: it is wrong, or was used before.
    """
    failure = expect_failure(f"code of user {user.pk}", f"address {network_of(address)}")
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
