"""Users, their tokens and one-time links, failed sign-ins and the audit log; changed by ``webui.accounts.services``."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, NoReturn

from django.contrib.auth.models import AbstractUser
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.translation import gettext_lazy as _

from webui.accounts.validators import latin_letters


class User(AbstractUser):
    """A person. The first one is the owner, whose data folder is that of the installation (``webui.jobs.services``).

    Attributes:
      is_alone: True if the user is known not to be in any organization; set by ``webui.accounts.backend``.
    """

    is_alone = False

    # No @: a user must not take another user's e-mail address as a name, because both work for sign-in.
    username = models.CharField(
        _("name"),
        max_length=150,
        unique=True,
        validators=[
            RegexValidator(r"\A[\w.+-]+\Z", _("A name can contain only letters, digits and . + - _.")),
            latin_letters,
        ],
        error_messages={"unique": _("This name is taken.")},
    )
    email = models.EmailField(_("e-mail address"), blank=True)
    is_owner = models.BooleanField(default=False)
    # The account's data is removed soon afterwards (webui.account_data.deletion).
    deletion_asked_at = models.DateTimeField(null=True, blank=True)
    # Days after which recordings and jobs are deleted (webui.account_data.retention); None: only manually.
    recordings_days = models.PositiveIntegerField(null=True, blank=True)
    jobs_days = models.PositiveIntegerField(null=True, blank=True)
    times_let_out = models.PositiveIntegerField(default=0)  # number of deactivations; each ends all JWTs

    class Meta(AbstractUser.Meta):
        abstract = False
        ordering = ("username",)
        constraints = (
            models.UniqueConstraint(
                Lower("username"), name="one_user_a_name", violation_error_message=_("This name is taken.")
            ),
            models.UniqueConstraint(
                Lower("email"),
                condition=~models.Q(email=""),
                name="one_user_an_email",
                violation_error_message=_("Another user has this address."),
            ),
            models.UniqueConstraint(fields=("is_owner",), condition=models.Q(is_owner=True), name="one_owner"),
        )

    @property
    def session_secret(self) -> str:
        """The secret from which session hashes and JWTs are derived. If it changes, all of them become invalid."""
        return self.password + (f" {self.times_let_out}" if self.times_let_out else "")

    def has_session(self, hashed: str) -> bool:
        """Return whether a session with ``hashed`` is this user's, under the current secret key or a previous one."""
        known = (self.get_session_auth_hash(), *self.get_session_auth_fallback_hash())
        return any(constant_time_compare(hashed, each) for each in known)

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        """Derive a session's hash from :attr:`session_secret`; Django's depends only on the password."""
        salt = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"
        return salted_hmac(salt, self.session_secret, secret=secret, algorithm="sha256").hexdigest()


class ApiToken(models.Model):
    """A long-lived token of a program. Only its SHA-256 is stored."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12)  # shown in lists
    digest = models.CharField(max_length=64, unique=True)
    scopes = models.JSONField(default=list)  # a subset of webui.accounts.services.SCOPES
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)  # None for never
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-created_at", "-id")

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def is_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()


class OneTimeLink(models.Model):
    """A link that works once: without a user it creates the owner; with one it allows them to choose a password."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="links")
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"link for {self.user or 'the owner'}"


class SpentToken(models.Model):
    """A JWT that must not be accepted again: a used refresh token, or a revoked family."""

    id = models.CharField(primary_key=True, max_length=32)  # jti, or fam
    expires_at = models.DateTimeField(db_index=True)  # the token has expired by then, so this row is no longer needed

    def __str__(self) -> str:
        return self.id


class SignInFailure(models.Model):
    """A wrong password. Names are hashed, because people sometimes type passwords into the name field."""

    name_digest = models.CharField(max_length=64)
    address_digest = models.CharField(max_length=64)
    at = models.DateTimeField(db_index=True)

    class Meta:
        indexes = (models.Index(fields=("name_digest", "at")), models.Index(fields=("address_digest", "at")))

    def __str__(self) -> str:
        return f"{self.name_digest[:8]} at {self.at}"


class AuditEntries(models.QuerySet["AuditEntry"]):
    """Entries of the audit log. They can only be added and, once they are old, deleted."""

    def forget_before(self, time: datetime) -> None:
        super(AuditEntries, self.filter(at__lt=time)).delete()

    def update(self, **values: Any) -> NoReturn:
        raise TypeError("entries of the audit log cannot be changed")

    def delete(self) -> NoReturn:
        raise TypeError("entries of the audit log cannot be deleted")


class AuditEntry(models.Model):
    """An action by or on a user. It stores users' numbers and names, so it outlives their accounts."""

    class Action(models.TextChoices):
        SIGNED_IN = "signed_in", _("signed in")
        SIGNED_IN_BY_GOOGLE = "signed_in_by_google", _("signed in with Google")
        SIGNED_IN_BY_PROGRAM = "signed_in_by_program", _("signed in a program with the password")
        SIGN_IN_FAILED = "sign_in_failed", _("sign-in failed")
        SIGNED_OUT = "signed_out", _("signed out")
        PASSWORD = "password", _("changed the password")
        PERSON = "person", _("changed name or address")
        OWNER_MADE = "owner_made", _("set up Hark")
        USER_ADDED = "user_added", _("added the user")
        USER_ACTIVATED = "user_activated", _("activated the user")
        USER_DEACTIVATED = "user_deactivated", _("deactivated the user")
        USER_DELETED = "user_deleted", _("deleted the account")
        LINK_MADE = "link_made", _("created a link for a new password")
        TOKEN_MADE = "token_made", _("created a token")
        TOKEN_REVOKED = "token_revoked", _("revoked a token")
        WEBHOOK_ADDED = "webhook_added", _("added a webhook")
        WEBHOOK_REMOVED = "webhook_removed", _("removed a webhook")
        RECORDING_SHARED = "recording_shared", _("created a link to a recording")
        SHARE_REVOKED = "share_revoked", _("revoked a link to a recording")
        DEVICE_ADDRESS = "device_address", _("changed who can download a detector's files")
        RECORDING_DELETED = "recording_deleted", _("deleted a recording")
        DETECTOR_DELETED = "detector_deleted", _("deleted a detector")
        VERSION_DELETED = "version_deleted", _("deleted a version of a detector")
        CLIPS_DELETED = "clips_deleted", _("deleted clips")
        QUOTA = "quota", _("changed a quota")
        SECRET_KEY = "secret_key", _("rotated the secret key")
        EXPORTED = "exported", _("exported the account")
        RETENTION = "retention", _("changed how long data is kept")
        FACTOR_ON = "factor_on", _("turned the second factor on")
        FACTOR_OFF = "factor_off", _("turned the second factor off")
        FACTOR_FAILED = "factor_failed", _("entered a wrong second-factor code")
        RECOVERY_CODE = "recovery_code", _("used a recovery code")
        PASSKEY_ADDED = "passkey_added", _("added a passkey")
        PASSKEY_REMOVED = "passkey_removed", _("removed a passkey")
        RECOVERY_CODES = "recovery_codes", _("created new recovery codes")
        ORGANIZATION_MADE = "organization_made", _("created the organization")
        ORGANIZATION_RENAMED = "organization_renamed", _("renamed the organization")
        ORGANIZATION_DELETED = "organization_deleted", _("deleted the organization")
        ORGANIZATION_QUOTA = "organization_quota", _("changed the quota of the organization")
        ORGANIZATION_RETENTION = "organization_retention", _("changed how long recordings stay shared")
        ORGANIZATION_EXPORTED = "organization_exported", _("exported the organization")
        INVITED = "invited", _("created an invitation")
        INVITATION_REVOKED = "invitation_revoked", _("revoked an invitation")
        JOINED = "joined", _("joined the organization")
        LEFT = "left", _("left the organization")
        PERSON_REMOVED = "person_removed", _("removed from the organization")
        ROLE = "role", _("changed the role in the organization")
        DETECTOR_SHARED = "detector_shared", _("shared a detector with the organization")
        DETECTOR_WITHDRAWN = "detector_withdrawn", _("stopped sharing a detector with the organization")
        RECORDING_GIVEN = "recording_given", _("shared a recording with the organization")
        RECORDING_WITHDRAWN = "recording_withdrawn", _("stopped sharing a recording with the organization")

    MACHINE = "machine"  # instead of an IP address: a command on the server

    at = models.DateTimeField(db_index=True)
    action = models.CharField(max_length=30)  # one of Action
    what = models.CharField(max_length=200, blank=True)  # the name or number of the object
    by_id = models.BigIntegerField(null=True, db_index=True)  # None if no user was signed in
    by_name = models.CharField(max_length=150, blank=True)
    about_id = models.BigIntegerField(null=True, db_index=True)
    about_name = models.CharField(max_length=150, blank=True)
    address = models.CharField(max_length=64, blank=True)
    organization_id = models.BigIntegerField(null=True, db_index=True)

    objects: ClassVar = AuditEntries.as_manager()

    class Meta:
        ordering = ("-at", "-id")
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.at} {self.by_name} {self.action} {self.what}"

    @property
    def words(self) -> str:
        return str(self.Action(self.action).label)

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.pk is not None:
            raise TypeError("entries of the audit log cannot be changed")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("entries of the audit log cannot be deleted")
