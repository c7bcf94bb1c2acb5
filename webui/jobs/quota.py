"""Quotas of disk space, jobs per day and minutes of recordings per month.

The owner of the installation has no quota. Daily use has its own table, so that deleting jobs and recordings does not
restore quota. An organization's quota covers all use by its members since they joined, shared or not, except by the
owner of the installation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from datetime import date
from typing import Any

from django.conf import settings
from django.db.models import F
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from webui.accounts.models import User
from webui.accounts.storage import add_bytes, bytes_used, forget_count, user_data
from webui.http.errors import StatusError
from webui.jobs.models import Job, Quota, Usage
from webui.organizations.models import Organization
from webui.transactions import serialized

MAX_SECONDS_KEY = "most_s"  # key in the spec of a transcription: seconds left of its user's quota
SECONDS = "seconds"  # key in that spec: the duration of its recording, if known


@dataclass(frozen=True)
class Limits:
    """A quota; None means no limit.

    Attributes:
      disk_bytes: bytes of all files.
      jobs_a_day: jobs begun since midnight, UTC.
      minutes_a_month: minutes of recordings transcribed since the first of the month, UTC.
    """

    disk_bytes: int | None
    jobs_a_day: int | None
    minutes_a_month: int | None

    def __str__(self) -> str:
        return "/".join("-" if value is None else str(value) for value in astuple(self))


def limits_of(user: User) -> Limits:
    """Return the quota of a user.

    Each limit is the first that is set: the user's own, the default, that of the settings.
    """
    if user.is_owner:
        return Limits(None, None, None)
    rows = {quota.user_id: quota for quota in Quota.objects.filter(user=user) | Quota.objects.filter(user=None)}

    def limit(name: str, default: int | None = None) -> int | None:
        values = [getattr(rows[who], name) for who in (user.pk, None) if who in rows]
        value = next((number for number in values if number is not None), default)
        return value or None

    disk = limit("disk_bytes", settings.USER_MAX_BYTES)
    return Limits(disk, limit("jobs_a_day"), limit("minutes_a_month"))


def set_quota(user: User | None, limits: Limits) -> None:
    """Set the quota of a user or, for None, the default.

    A limit of 0 means unlimited. For a limit of None, :func:`limits_of` uses the next source.
    """
    with serialized():  # MariaDB and MySQL allow several rows without a user
        Quota.objects.update_or_create(user=user, defaults=asdict(limits))


@dataclass(frozen=True)
class Account:
    """A user, or the members of an organization, who share a quota.

    Attributes:
      limits: the quota.
      people: users whose use counts, and the first day that counts.
      name: the name of the organization; "" for a user.
    """

    limits: Limits
    people: Mapping[User, date]
    name: str = ""

    def usage(self, since: date) -> list[Usage]:
        """Return the rows of usage since a day."""
        rows = Usage.objects.filter(user__in=list(self.people), day__gte=since).select_related("user")
        return [row for row in rows if row.day >= self.people[row.user]]

    def jobs_today(self) -> int:
        return sum(row.jobs for row in self.usage(_today()))

    def seconds_this_month(self) -> float:
        return sum((row.seconds for row in self.usage(_today().replace(day=1))), 0.0)

    def seconds_left(self, states: Sequence[str], but: Job | None = None) -> float:
        """Return the seconds left this month, minus the known durations of jobs in ``states``, except ``but``."""
        jobs = Job.objects.filter(user__in=list(self.people), state__in=states)
        others = jobs if but is None else jobs.exclude(pk=but.pk)
        waiting = sum(spec.get(SECONDS, 0.0) for spec in others.values_list("spec", flat=True))
        return (self.limits.minutes_a_month or 0) * 60 - self.seconds_this_month() - waiting


def account_of(whose: User | Organization) -> Account:
    """Return the account of a user or an organization. An organization's account omits the owner of Hark."""
    if isinstance(whose, User):
        return Account(limits_of(whose), {whose: date.min})
    memberships = whose.memberships.filter(user__is_owner=False).select_related("user")
    people = {membership.user: membership.joined_at.date() for membership in memberships}
    return Account(Limits(whose.disk_bytes, whose.jobs_a_day, whose.minutes_a_month), people, whose.name)


def accounts_of(user: User, limit: str) -> list[Account]:
    """Return the user's account and those of their organizations that set ``limit``, a field of :class:`Limits`.

    Returns [] for the owner.
    """
    if user.is_owner:
        return []
    organizations = Organization.objects.filter(memberships__user=user, **{f"{limit}__gt": 0})
    return [account_of(user), *map(account_of, organizations)]


def check_room(user: User, size: int = 0) -> None:
    """Raise StatusError (507) if ``size`` more bytes exceed the user's quota.

    The owner's use is limited only by the disk.
    """
    for account in accounts_of(user, "disk_bytes"):
        _check_room_in(account, size)


def _check_room_in(account: Account, size: int) -> None:
    most = account.limits.disk_bytes
    if not most:
        return
    folders = [user_data(user) for user in account.people]
    if sum(map(bytes_used, folders)) + size >= most:
        for folder in folders:
            forget_count(folder)
    used = sum(map(bytes_used, folders))
    if used + size < most:
        return
    values = {"name": account.name, "used": _gigabytes(used), "most": _gigabytes(most)}
    if not account.name:
        raise StatusError(
            507,
            _("There is not enough room in your storage quota."),
            _("Your recordings, clips and detectors use %(used)s GB; your quota is %(most)s GB.") % values,
            _("Delete what you do not need, or ask the owner for a larger quota."),
        )
    raise StatusError(
        507,
        _("There is not enough room in the storage quota of your organization."),
        _("The members of %(name)s use %(used)s GB; its quota is %(most)s GB.") % values,
        _("Delete what you do not need, or ask one of its owners."),
    )


def take_room(user: User, size: int) -> None:
    """Reserve ``size`` bytes for a file that is about to be written.

    Raises StatusError (507) as :func:`check_room` does.
    """
    check_room(user, size)
    add_bytes(user_data(user), size)


def _gigabytes(size: int) -> str:
    return str(number_format(round(size / 1e9, 3)))


def usage_of(whose: User | Organization) -> dict[str, Any]:
    """Return the use of a quota as displayed by pages. The owner's disk space is not counted."""
    account = account_of(whose)
    is_counted = not (isinstance(whose, User) and whose.is_owner)
    return {
        "limits": account.limits,
        "disk_gb": sum(bytes_used(user_data(user)) for user in account.people) / 1e9 if is_counted else None,
        "most_gb": None if account.limits.disk_bytes is None else account.limits.disk_bytes / 1e9,
        "jobs": account.jobs_today(),
        "minutes": account.seconds_this_month() / 60,
    }


def take_job(user: User) -> None:
    """Count one more job today. Called in the transaction that queues the job."""
    _add(user, jobs=1)


def take_minutes(user: User, seconds: float, speakers: int = 0) -> None:
    """Count a transcribed recording and its speakers."""
    _add(user, seconds=seconds, speakers=speakers)


def _add(user: User, **more: float) -> None:
    row, _is_new = Usage.objects.get_or_create(user=user, day=_today())
    Usage.objects.filter(pk=row.pk).update(**{name: F(name) + number for name, number in more.items()})


def check_jobs(user: User) -> None:
    """Raise StatusError (429) if the user or one of their organizations has no more jobs today."""
    for account in accounts_of(user, "jobs_a_day"):
        most = account.limits.jobs_a_day
        if not most or account.jobs_today() < most:
            continue
        if not account.name:
            raise StatusError(
                429,
                _("You have used all your jobs for today."),
                _("Your daily quota of jobs is %(most)d.") % {"most": most},
                _("Start this one after midnight (UTC), or ask the owner for more."),
            )
        raise StatusError(
            429,
            _("Your organization has used all its jobs for today."),
            _("The daily quota of jobs of %(name)s is %(most)d.") % {"name": account.name, "most": most},
            _("Start this one after midnight (UTC), or ask one of its owners for more."),
        )


def check_minutes(user: User, seconds: float = 0.0) -> None:
    """Raise StatusError (429) if a recording exceeds what active jobs leave of this month's quota.

    ``seconds`` is the recording's duration; 0 if unknown.
    """
    for account in accounts_of(user, "minutes_a_month"):
        most = account.limits.minutes_a_month
        if not most or ((left := account.seconds_left(Job.GOING)) > 0 and seconds <= left):
            continue
        values = {"name": account.name, "most": most, "left": max(0, int(left // 60))}
        if not account.name:
            raise StatusError(
                429,
                _("You do not have enough recording minutes left."),
                _("Your quota is %(most)d min a month, with %(left)d min left.") % values,
                _("Wait for the first of the month (UTC), or ask the owner for more."),
            )
        raise StatusError(
            429,
            _("Your organization does not have enough recording minutes left."),
            _("The quota of %(name)s is %(most)d min a month, with %(left)d min left.") % values,
            _("Wait for the first of the month (UTC), or ask one of its owners for more."),
        )


def seconds_left(user: User, job: Job | None = None) -> float | None:
    """Return how many seconds of audio the quota leaves a job that begins now; None for no limit.

    Waiting jobs are not deducted.
    """
    accounts = [account for account in accounts_of(user, "minutes_a_month") if account.limits.minutes_a_month]
    return max(0.0, min(account.seconds_left(Job.WORKING, job) for account in accounts)) if accounts else None


def _today() -> date:
    return timezone.now().date()
