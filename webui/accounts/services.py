"""Users, one-time links, and the tokens of programs. ``sign_in.py`` handles passwords and limits guesses."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import unicodedata
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import jwt
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError
from django.db.models import F, Q, QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from core.errors import HarkError
from webui.accounts.audit import Action, record
from webui.accounts.models import ApiToken, OneTimeLink, SpentToken, User
from webui.http.errors import StatusError
from webui.keys.secret import all_keys
from webui.transactions import serialized

log = logging.getLogger(__name__)

LINK_LIFE = timedelta(days=7)

SCOPES = ("read", "train", "audio", "wakes", "admin")  # admin is for the owner only
TOKEN_START = "hark_"
TOKEN_CHARACTERS = 40  # characters after the prefix; together 240 bits
SHOWN_CHARACTERS = 12
USE_NOTED_EVERY = timedelta(minutes=1)
MAX_DAYS = 3650

REFRESH_LIFE = timedelta(days=14)
AUDIENCE = "hark"


class LinkGone(HarkError):
    """Raised for a one-time link that does not work. The response is 410."""

    status = 410


def digest(text: str) -> str:
    """Return the SHA-256 in hexadecimal. It is secure for long random texts; passwords need Argon2."""
    return hashlib.sha256(text.encode()).hexdigest()


# Users


def owner() -> User | None:
    """Return the owner of the installation; None before it is set up."""
    return User.objects.filter(is_owner=True).first()


def existing_users() -> QuerySet[User]:
    """Return all users, except those whose accounts are being deleted."""
    return User.objects.filter(deletion_asked_at=None)


def create_user(*, username: str, password: str | None, email: str = "") -> User:
    """Create a user. The first one is the owner. Users without a password need :func:`password_link`.

    Raises HarkError if name, password or e-mail address is invalid or taken.
    """
    user = _checked_user(username, password, email)
    with _new_user_transaction():
        user.validate_constraints()
        user.is_owner = password is not None and owner() is None
        user.save()
        record(Action.OWNER_MADE if user.is_owner else Action.USER_ADDED, about=user)
    return user


def _checked_user(username: str, password: str | None, email: str) -> User:
    """Return an unsaved user. The password is hashed before any transaction, because that takes long."""
    from django.contrib.auth.password_validation import validate_password

    user = User(username=User.normalize_username(username), email=User.objects.normalize_email(email))
    problems: list[str] = []
    try:
        user.full_clean(exclude=["password"])
    except ValidationError as error:
        problems += error.messages
    if password is not None:
        try:
            validate_password(password, user)
        except ValidationError as error:
            problems += error.messages
    if problems:
        raise HarkError(_("The user was not created."), " ".join(problems), _("Change that, then try again."))
    user.password = make_password(password)
    return user


@contextmanager
def _new_user_transaction() -> Iterator[None]:
    """Open a transaction. Raises HarkError if a user with the same name or e-mail address was just created."""
    try:
        with serialized():
            yield
    except (IntegrityError, ValidationError) as error:
        raise HarkError(
            _("The user was not created."),
            _("The name or the e-mail address is taken."),
            _("Choose another and try again."),
        ) from error


def set_active(*, user: User, active: bool) -> None:
    """Activate or deactivate a user. Deactivation ends sessions and tokens permanently, but deletes no data.

    A user who is activated again must sign in and create new tokens. Raises HarkError if the user is the owner.
    """
    if user.is_owner and not active:
        raise HarkError(
            _("The owner cannot be deactivated."),
            _("Hark needs an owner who can sign in."),
            _("Leave the owner's account active."),
        )
    with serialized():
        if not active and user.is_active:
            User.objects.filter(pk=user.pk).update(times_let_out=F("times_let_out") + 1)
            ApiToken.objects.filter(user=user, revoked_at=None).update(revoked_at=timezone.now())
        if User.objects.filter(pk=user.pk, is_active=not active).update(is_active=active):
            record(Action.USER_ACTIVATED if active else Action.USER_DEACTIVATED, about=user)
    OneTimeLink.objects.filter(user=user, used_at=None).delete()
    user.refresh_from_db(fields=["is_active", "times_let_out"])


# One-time links


def owner_link(*, base_url: str) -> str:
    """Return a link with which the owner can set up Hark: it works once, for a week, and replaces earlier links.

    Raises HarkError if Hark already has an owner.
    """
    with serialized():
        if owner() is not None:
            raise HarkError(
                _("Hark already has an owner."),
                _("The setup link is for the first user only."),
                _("Sign in. If you forgot the password, run ./hark admin link."),
            )
        return _new_link(None, base_url)


def password_link(*, user: User, base_url: str) -> str:
    """Return a link with which the user can set a password.

    It works once, for a week, and replaces the user's earlier links. Raises HarkError if the user is deactivated.
    """
    if not user.is_active:
        raise HarkError(
            _("The link was not created."),
            _("%(name)s is deactivated.") % {"name": user.username},
            _("Activate the user first."),
        )
    with serialized():
        return _new_link(user, base_url)


def _new_link(user: User | None, base_url: str) -> str:
    secret = secrets.token_urlsafe(30)
    OneTimeLink.objects.filter(user=user, used_at=None).delete()
    OneTimeLink.objects.create(user=user, digest=digest(secret), expires_at=timezone.now() + LINK_LIFE)
    record(Action.LINK_MADE, about=user)
    return base_url.rstrip("/") + reverse("accounts:setup", args=[secret])


def find_link(*, secret: str) -> OneTimeLink:
    """Return the link if it works. Raises LinkGone otherwise."""
    link = OneTimeLink.objects.select_related("user").filter(_works(secret)).first()
    if link is None or (link.user is None and owner() is not None) or (link.user and not link.user.is_active):
        raise _gone()
    return link


def _works(secret: str) -> Q:
    return Q(digest=digest(secret), used_at=None, expires_at__gt=timezone.now())


def _gone() -> LinkGone:
    return LinkGone(
        _("This link no longer works."),
        _("It was used, was replaced by a newer one, expired after a week, or is incomplete."),
        _("Ask the owner for a new one.")
        if owner()
        else _("To create one on the machine that runs Hark: ./hark admin link."),
    )


def _use(secret: str, for_owner: bool) -> None:
    """Mark the link as used. Of two simultaneous uses, one raises LinkGone."""
    if not OneTimeLink.objects.filter(_works(secret), user__isnull=for_owner).update(used_at=timezone.now()):
        raise _gone()


def use_owner_link(*, secret: str, username: str, password: str, email: str = "") -> User:
    """Create the owner. Raises LinkGone if the link does not work.

    Raises HarkError if the name or the password is invalid. The link then remains valid.
    """
    find_link(secret=secret)
    user = _checked_user(username, password, email)
    user.is_owner = True
    with _new_user_transaction():
        _use(secret, for_owner=True)
        if owner() is not None:
            raise _gone()
        user.validate_constraints()
        user.save()
        record(Action.OWNER_MADE, by=user)
    return user


def use_password_link(*, secret: str, password: str) -> User:
    """Set the password of the link's user and end their other sessions. Raises LinkGone if the link does not work."""
    user = find_link(secret=secret).user
    if user is None:
        raise _gone()
    hashed = make_password(password)
    with serialized():
        _use(secret, for_owner=False)
        user.password = hashed
        user.save(update_fields=["password"])
        record(Action.PASSWORD, by=user)
    return user


# API tokens


def create_token(*, user: User, name: str, scopes: Collection[str], days: int | None = None) -> tuple[ApiToken, str]:
    """Create an API token; return it and its text, which is shown only once. Without ``days``, it never expires.

    Raises HarkError if the name, the scopes or the days are invalid, or the user is deactivated.
    """
    name = name.strip()
    if not name or len(name) > 100 or any(unicodedata.category(letter)[0] == "C" for letter in name):
        raise _no_token(_("Its name must have 1 to 100 characters, without control characters."))
    wanted = [scope for scope in SCOPES if scope in scopes]
    if not wanted or len(wanted) != len(set(scopes)):
        raise _no_token(_("Its scopes must be among %(scopes)s.") % {"scopes": ", ".join(SCOPES)})
    if "admin" in wanted and not user.is_owner:
        raise _no_token(_("Only the owner can use the scope admin."))
    if days is not None and not 1 <= days <= MAX_DAYS:
        raise _no_token(_("It must be valid for 1 to %(most)d days.") % {"most": MAX_DAYS})
    if not user.is_active:
        raise _no_token(_("%(name)s is deactivated.") % {"name": user.username})
    text = TOKEN_START + secrets.token_urlsafe(TOKEN_CHARACTERS * 3 // 4)
    token = ApiToken.objects.create(
        user=user,
        name=name,
        prefix=text[:SHOWN_CHARACTERS],
        digest=digest(text),
        scopes=wanted,
        expires_at=None if days is None else timezone.now() + timedelta(days=days),
    )
    record(Action.TOKEN_MADE, what=f"{token.name}: {', '.join(wanted)}", about=user)
    return token, text


def _no_token(why: str) -> HarkError:
    return HarkError(_("The token was not created."), why, _("Correct this, then create the token again."))


def check_token(*, text: str) -> ApiToken:
    """Return the API token with this text, and its user. Records the use, at most once a minute.

    Raises StatusError (401) if it is unknown, revoked or expired, or if its user is deactivated.
    """
    known = ApiToken.objects.select_related("user")
    token = known.filter(digest=digest(text)).first() if text.isascii() else None
    if token is None:
        raise _refused(_("Hark does not know this token."))
    if not token.user.is_active:
        raise _refused(_("Its user is deactivated."))
    if token.revoked_at is not None:
        raise _refused(_("The token was revoked."))
    if token.is_expired:
        raise _refused(_("The token has expired."))
    now = timezone.now()
    if token.last_used_at is None or token.last_used_at <= now - USE_NOTED_EVERY:
        with suppress(DatabaseError):  # on a full disk, the token must still work for reading
            ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token


def revoke_token(*, token: ApiToken) -> None:
    if ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()):
        record(Action.TOKEN_REVOKED, what=token.name, about=token.user)


def _refused(why: str) -> StatusError:
    return StatusError(
        401,
        _("The request was not authenticated."),
        why,
        _("Create a token on your account page, or sign in for a new one."),
    )


# JSON Web Tokens, for programs that sign in with a name and a password


@dataclass(frozen=True)
class TokenPair:
    """A program's tokens: ``access`` works for ``expires_in`` seconds, ``refresh`` can be exchanged once."""

    access: str
    refresh: str
    expires_in: int


def issue_pair(*, user: User, scopes: Collection[str] | None = None) -> TokenPair:
    """Issue JWTs to a user who has just signed in, with ``scopes`` or, without them, all that the user may have.

    Raises HarkError if the user may not have one of the scopes.
    """
    if scopes is not None and "admin" in scopes and not user.is_owner:
        raise _no_token(_("Only the owner can use the scope admin."))
    scopes = SCOPES if scopes is None else scopes
    record(Action.SIGNED_IN_BY_PROGRAM, by=user)
    return _pair(user, [scope for scope in SCOPES if scope in scopes], family=secrets.token_hex(16))


def rotate_pair(*, refresh: str) -> TokenPair:
    """Exchange a refresh token for a new pair.

    If a refresh token is used twice, one of the two was stolen, so all tokens of the same sign-in are revoked. Raises
    StatusError (401) if it is forged, expired, used or not a refresh token, or if its user is deactivated or has a new
    password.
    """
    claims = _claims(refresh, "refresh")
    user = _user_of_claims(claims)
    SpentToken.objects.filter(expires_at__lt=timezone.now()).delete()
    try:
        with serialized():
            SpentToken.objects.create(id=claims["jti"], expires_at=timezone.now() + REFRESH_LIFE)
    except IntegrityError as error:
        _end_family(claims)
        raise _refused(_("The refresh token was already used, so all tokens issued from it were revoked.")) from error
    return _pair(user, claims["scopes"], family=claims["fam"])


def end_pair(*, refresh: str) -> None:
    """Revoke a refresh token and all tokens of the same sign-in. Raises StatusError (401) if it is invalid."""
    _end_family(_claims(refresh, "refresh"))


def _end_family(claims: dict[str, Any]) -> None:
    SpentToken.objects.get_or_create(id=claims["fam"], defaults={"expires_at": timezone.now() + REFRESH_LIFE})


def _pair(user: User, scopes: Collection[str], family: str) -> TokenPair:
    now = timezone.now()
    common = {
        "aud": AUDIENCE,
        "sub": str(user.pk),
        "iat": now,
        "fam": family,
        "pwd": _password_mark(user),
        "scopes": list(_allowed(user, scopes)),
    }

    def sign(kind: str, life: timedelta) -> str:
        claims = {**common, "kind": kind, "jti": secrets.token_hex(16), "exp": now + life}
        return jwt.encode(claims, _jwt_key(), algorithm="HS256")

    life = timedelta(minutes=settings.ACCESS_TOKEN_MINUTES)
    return TokenPair(sign("access", life), sign("refresh", REFRESH_LIFE), int(life.total_seconds()))


def _jwt_key(secret: str | None = None) -> bytes:
    return salted_hmac("hark.accounts.jwt", "signing", secret, algorithm="sha256").digest()


def _password_mark(user: User, secret: str | None = None) -> str:
    """Return the value that every JWT must hold. A new password or a deactivation changes it and ends all JWTs."""
    return salted_hmac("hark.accounts.jwt.password", user.session_secret, secret, algorithm="sha256").hexdigest()[:32]


def _claims(text: str, kind: str, even_if_old: bool = False) -> dict[str, Any]:
    required = ["aud", "sub", "iat", "exp", "jti", "fam", "pwd", "scopes", "kind"]
    try:
        claims = _signed_claims(text, {"require": required, "verify_exp": not even_if_old})
    except jwt.ExpiredSignatureError as error:
        raise _refused(_("The token has expired.")) from error
    except (jwt.InvalidTokenError, ValueError) as error:
        raise _refused(_("Hark did not issue this token.")) from error
    if claims["kind"] != kind:
        raise _refused(_("It is a refresh token.") if kind == "access" else _("It is not a refresh token."))
    return claims


def _signed_claims(text: str, options: Any) -> dict[str, Any]:
    """Return the claims of a token signed by the current secret key or a previous one.

    Raises PyJWT's errors if it is invalid.
    """
    for secret in all_keys():
        with suppress(jwt.InvalidSignatureError):
            return jwt.decode(text, _jwt_key(secret), algorithms=["HS256"], audience=AUDIENCE, options=options)
    raise jwt.InvalidSignatureError


def _user_of_claims(claims: dict[str, Any]) -> User:
    user = User.objects.filter(pk=claims["sub"]).first()
    if user is None or not user.is_active:
        raise _refused(_("Its user is deactivated."))
    if not any(hmac.compare_digest(claims["pwd"], _password_mark(user, key)) for key in all_keys()):
        raise _refused(_("Its user has changed the password."))
    if SpentToken.objects.filter(pk=claims["fam"]).exists():
        raise _refused(_("Its session was ended."))
    return user


def _allowed(user: User, scopes: Collection[str]) -> frozenset[str]:
    return frozenset(scopes) if user.is_owner else frozenset(scopes) - {"admin"}


def user_of_token(header: str | None, even_if_old: bool = False) -> tuple[User, frozenset[str]]:
    """Return the sender of ``Authorization: Bearer <API token or access JWT>`` and the token's scopes.

    ``header`` is the header's value. With ``even_if_old``, an expired JWT is accepted, for a connection that was opened
    while it was valid. Raises StatusError (401) if the token has no user.
    """
    scheme, _space, text = (header or "").strip().partition(" ")
    text = text.strip()
    if scheme.lower() != "bearer" or not text:
        raise _refused(_("The header “Authorization: Bearer TOKEN” is missing."))
    if text.startswith(TOKEN_START):
        token = check_token(text=text)
        return token.user, _allowed(token.user, token.scopes)
    claims = _claims(text, "access", even_if_old=even_if_old)
    user = _user_of_claims(claims)
    return user, _allowed(user, claims["scopes"])
