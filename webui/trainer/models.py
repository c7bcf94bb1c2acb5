"""Detectors and their versions."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.translation import gettext as _

from core.errors import HarkError
from pipeline.training.reporting.report_types import Report
from pipeline.training.reporting.verdict import misses_most
from webui.accounts.storage import user_data
from webui.jobs.models import Job
from webui.keys.secret import all_keys
from webui.organizations.access import Things, shared_with

MAX_NOTE_LENGTH = 200  # maximum characters of a note
PUBLIC_KEY = "public"  # replaces the token in a URL


class Detector(models.Model):
    """A user's detector of a phrase. Each successful training run adds a version."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="detectors")
    phrase = models.CharField(max_length=300)  # normalized
    language = models.CharField(max_length=20)
    organization = shared_with(related_name="detectors")
    created_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar = Things.as_manager()

    class Meta:
        ordering = ("-created_at",)
        constraints = (models.UniqueConstraint(fields=("user", "phrase", "language"), name="one_detector_a_phrase"),)

    def __str__(self) -> str:
        return self.phrase

    @property
    def current(self) -> Version | None:
        """The newest offered version. One that is not better is stored, but not offered."""
        return in_use_of(list(self.versions.all()))


def before_in_use(versions: Sequence[Version]) -> Version | None:
    """Return the version that was in use before the current one; None if there was none.

    ``versions`` are all of the detector's, newest first.
    """
    in_use = in_use_of(versions)
    return next((each for each in versions if each.offered and in_use and each.number < in_use.number), None)


def in_use_of(versions: Sequence[Version]) -> Version | None:
    """Return the version in use among all versions of a detector (newest first)."""
    return next((version for version in versions if version.offered), versions[0] if versions else None)


class Versions(Things["Version"]):
    """Versions belong to the user of their detector."""

    to_thing = "detector__"


class Version(models.Model):
    """A trained detector: a folder in the user's data, and figures for lists."""

    class Served(models.TextChoices):
        """Access to the version's files for devices, without an account."""

        LINK = "link"  # anyone with the URL, which holds a token
        PUBLIC = "public"  # anyone: a URL without a token works too
        NOBODY = "nobody"

    detector = models.ForeignKey(Detector, on_delete=models.CASCADE, related_name="versions")
    number = models.IntegerField()
    job = models.OneToOneField(Job, on_delete=models.SET_NULL, null=True, related_name="version")
    folder = models.CharField(max_length=400)  # relative to the user's data folder
    bundle = models.CharField(max_length=200)  # file name in the folder
    summary = models.JSONField(default=dict)  # the report's summary
    offered = models.BooleanField(default=True)  # False if it was not better than the one in use
    served = models.CharField(max_length=10, choices=Served.choices, default=Served.LINK)
    note = models.CharField(max_length=MAX_NOTE_LENGTH, blank=True, default="")  # written by the user
    link_number = models.PositiveIntegerField(default=1)  # part of the token: increased to replace it
    created_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar = Versions.as_manager()

    class Meta:
        ordering = ("-number",)
        constraints = (models.UniqueConstraint(fields=("detector", "number"), name="one_version_a_number"),)

    def __str__(self) -> str:
        return f"{self.detector} {self.number}"

    @property
    def detected_percent(self) -> int | None:
        """The percentage of the test's utterances that were detected; None without any."""
        missed = self.summary["miss_rate"]["value"]
        return None if missed is None else round(100 * (1 - missed))

    @property
    def low(self) -> int:
        """The lower end of the 95 % interval of :attr:`detected_percent`, in per cent."""
        return round(100 * (1 - self.summary["miss_rate"]["high"]))

    @property
    def high(self) -> int:
        """The upper end of that interval, in per cent."""
        return round(100 * (1 - self.summary["miss_rate"]["low"]))

    @property
    def misses_most(self) -> bool:
        """True if the version misses so many utterances that it is useless."""
        return misses_most(self.summary)

    @property
    def is_trial(self) -> bool:
        """True if the version was trained only to show how Hark works."""
        return bool(self.summary["effort"] == "trial")

    @property
    def token(self) -> str:
        """The token in the URL for devices. No one can guess it without the portal's secret key."""
        return self._token(settings.SECRET_KEY)

    def _token(self, secret: str) -> str:
        digest = salted_hmac(
            "hark.trainer.device_address", f"{self.pk}:{self.link_number}", secret, algorithm="sha256"
        ).digest()
        return base64.urlsafe_b64encode(digest[:24]).decode()

    def opens_with(self, key: str) -> bool:
        """Return whether a URL with that token, or with "public", gives access to its files for devices."""
        if self.served == self.Served.NOBODY:
            return False
        if self.served == self.Served.PUBLIC and key == PUBLIC_KEY:
            return True
        return any(constant_time_compare(key, self._token(secret)) for secret in all_keys())

    @property
    def path(self) -> Path:
        return user_data(self.detector.user) / self.folder

    @property
    def bundle_path(self) -> Path:
        return self.path / self.bundle

    def report(self) -> Report:
        """Return the whole report. Raises HarkError if its file is missing or truncated."""
        path = self.path / "report.json"
        try:
            report: Report = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise HarkError(
                _("The report of this version cannot be read."),
                _("%(file)s is missing or damaged.") % {"file": path.name},
                _("Train the phrase again."),
            ) from error
        return report
