"""Weekly use of organizations and users, and an organization's data for its export."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

from django.utils import timezone

from webui.accounts.audit import entries_of_organization
from webui.jobs.models import Usage
from webui.jobs.quota import account_of
from webui.organizations.models import Organization

WEEKS = 26  # number displayed
SHOWN_FIELDS = (
    "id", "name", "created_at", "disk_bytes", "jobs_a_day", "minutes_a_month", "recordings_days", "quota_is_fixed",
)  # fmt: skip


def by_week(organization: Organization) -> list[dict[str, Any]]:
    """Return the last weeks with any use, newest first.

    Each has ``week`` (its Monday), ``hours``, ``speakers`` and ``jobs`` in total, and ``people`` with those of each.
    """
    return weeks((row.user.username, row) for row in account_of(organization).usage(first_week()))


def of_all_users() -> list[dict[str, Any]]:
    rows = Usage.objects.filter(day__gte=first_week()).select_related("user")
    return weeks((row.user.username, row) for row in rows)


def of_all_organizations() -> list[dict[str, Any]]:
    """Return the weekly usage of each organization; a person in two counts in both."""
    since = first_week()
    everything = [(each.name, row) for each in Organization.objects.all() for row in account_of(each).usage(since)]
    return weeks(everything)


def first_week() -> date:
    today = timezone.now().date()
    return today - timedelta(days=today.weekday(), weeks=WEEKS - 1)


def weeks(rows: Iterable[tuple[str, Usage]]) -> list[dict[str, Any]]:
    """Sum the use of days by week and by the name of each row."""
    by_week: dict[date, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(float)))
    for name, row in rows:
        person = by_week[row.day - timedelta(days=row.day.weekday())][name]
        person["hours"] += row.seconds / 3600
        person["speakers"] += row.speakers
        person["jobs"] += row.jobs
    return [
        {
            "week": week,
            **{what: sum(person[what] for person in people.values()) for what in ("hours", "speakers", "jobs")},
            "people": [{"name": name, **person} for name, person in sorted(people.items())],
        }
        for week, people in sorted(by_week.items(), reverse=True)
    ]


def rows_of(organization: Organization) -> dict[str, Any]:
    """Return an organization's rows by kind, without digests of links and IP addresses."""
    of_it = organization
    return {
        "organization": {name: getattr(of_it, name) for name in SHOWN_FIELDS},
        "people": [*of_it.memberships.values("user__username", "role", "joined_at")],
        "invitations": [
            *of_it.invitations.values("role", "invited_by__username", "created_at", "expires_at", "used_at")
        ],
        "detectors": [*of_it.detectors.values("id", "phrase", "language", "user__username", "created_at")],
        "recordings": [*of_it.recordings.values("id", "name", "user__username", "created_at")],
        "weeks": by_week(of_it),
        "audit_log": [*entries_of_organization(of_it.pk).values("at", "action", "what", "by_name", "about_name")],
    }
