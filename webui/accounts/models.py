"""Who may use the portal, and with which token, link or password. ``webui.accounts.services`` changes these."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _

from webui.accounts.validators import latin_letters


class User(AbstractUser):
    """A person. The owner is the first one; the installation's own data folder is theirs (``webui.jobs.services``)."""

    # No @, so that nobody can be called as somebody else's e-mail address, which signs in too.
    username = models.CharField(
        _("name"),
        max_length=150,
        unique=True,
        validators=[
            RegexValidator(r"\A[\w.+-]+\Z", _("A name holds letters, digits and . + - _ only.")),
            latin_letters,
        ],
        error_messages={"unique": _("This name is taken.")},
    )
    email = models.EmailField(_("e-mail address"), blank=True)
    is_owner = models.BooleanField(default=False)
    times_let_out = models.PositiveIntegerField(default=0)  # deactivated; sessions and JWTs of before stay ended

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
    def signed_in_by(self) -> str:
        """What all sessions and JWTs are tied to."""
        return self.password + (f" {self.times_let_out}" if self.times_let_out else "")

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        """As of Django, which ties sessions to the password only."""
        salt = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"
        return salted_hmac(salt, self.signed_in_by, secret=secret, algorithm="sha256").hexdigest()


class ApiToken(models.Model):
    """What a program signs in with for long. The token itself is not kept, only its SHA-256."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12)  # what lists show of it
    digest = models.CharField(max_length=64, unique=True)
    scopes = models.JSONField(default=list)  # of webui.accounts.services.SCOPES
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)  # None: never
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-created_at", "-id")

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def is_expired(self) -> bool:
        """Whether its time has run out."""
        return self.expires_at is not None and self.expires_at <= timezone.now()


class OneTimeLink(models.Model):
    """A link that works once: without a user it makes the owner, with one it lets them choose a password."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="links")
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"link for {self.user or 'the owner'}"


class SpentToken(models.Model):
    """A JWT that must not be accepted again: a refresh token that was used, or a whole family that was ended."""

    id = models.CharField(primary_key=True, max_length=32)  # jti, or fam
    expires_at = models.DateTimeField(db_index=True)  # after this the token is refused for its age

    def __str__(self) -> str:
        return self.id


class SignInFailure(models.Model):
    """A password that was wrong. Hashed, because people type passwords into the field of names."""

    name_digest = models.CharField(max_length=64)
    address_digest = models.CharField(max_length=64)
    at = models.DateTimeField(db_index=True)

    class Meta:
        indexes = (models.Index(fields=("name_digest", "at")), models.Index(fields=("address_digest", "at")))

    def __str__(self) -> str:
        return f"{self.name_digest[:8]} at {self.at}"
