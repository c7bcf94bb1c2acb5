"""Organizations, their members, and invitations; changed by ``webui.organization_management.services``."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _


class Role(models.TextChoices):
    """A user's rights in an organization and over objects that others share with it."""

    OWNER = "owner", _("owner")  # a member's rights; also manages people, quota and sharing
    MEMBER = "member", _("member")  # reads and changes
    VIEWER = "viewer", _("viewer")  # reads


class Organization(models.Model):
    """People who share detectors and recordings. Shared objects remain their user's, in that user's folder."""

    name = models.CharField(_("name"), max_length=100)
    created_at = models.DateTimeField(auto_now_add=True)
    # The quota of all its members together; None for no limit.
    disk_bytes = models.BigIntegerField(null=True)
    jobs_a_day = models.IntegerField(null=True)
    minutes_a_month = models.IntegerField(null=True)
    recordings_days = models.PositiveIntegerField(null=True)  # days of sharing; None for unlimited
    quota_is_fixed = models.BooleanField(default=False)  # whether the owner of the installation has set it

    class Meta:
        ordering = ("name", "id")
        constraints = (models.UniqueConstraint(Lower("name"), name="one_organization_a_name"),)

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=6, choices=Role.choices)
    joined_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("joined_at", "id")
        constraints = (models.UniqueConstraint(fields=("organization", "user"), name="one_membership_a_person"),)

    def __str__(self) -> str:
        return f"{self.user}, {self.role} of {self.organization}"

    @property
    def manages(self) -> bool:
        return self.role == Role.OWNER

    @property
    def changes(self) -> bool:
        return self.role != Role.VIEWER


class Invitation(models.Model):
    """A link that works once: a signed-in user who opens it joins. It works while its creator is an owner."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="invitations")
    role = models.CharField(max_length=6, choices=Role.choices)
    invited_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-created_at", "-id")

    def __str__(self) -> str:
        return f"invitation to {self.organization}"
