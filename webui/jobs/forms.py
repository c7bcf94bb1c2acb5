"""The form for quotas of a user, of all users, or of an organization."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from webui.jobs.models import Quota
from webui.jobs.quota import Limits
from webui.organizations.models import Organization


class QuotaForm(forms.Form):
    """A quota. An empty field means the general limit, and 0 no limit."""

    disk_gb = forms.DecimalField(
        label=_("Disk [GB]"), min_value=0, max_value=1_000_000, decimal_places=3, required=False
    )
    jobs_a_day = forms.IntegerField(label=_("Jobs per day"), min_value=0, max_value=1_000_000, required=False)
    minutes_a_month = forms.IntegerField(
        label=_("Recording minutes per month"), min_value=0, max_value=1_000_000, required=False
    )

    def __init__(self, quota: Quota | Organization | None, sent: Any = None) -> None:
        initial = {} if quota is None else {name: getattr(quota, name) for name in ("jobs_a_day", "minutes_a_month")}
        if quota is not None and quota.disk_bytes is not None:
            initial["disk_gb"] = (Decimal(quota.disk_bytes) / 10**9).normalize()
        super().__init__(sent, initial=initial)

    @property
    def limits(self) -> Limits:
        gb = self.cleaned_data["disk_gb"]
        size = None if gb is None else int(gb * 10**9)
        return Limits(size, self.cleaned_data["jobs_a_day"], self.cleaned_data["minutes_a_month"])
