"""How much of the disk, how many jobs a day and how many minutes of recordings a month a user may have.

The owner of the installation has no quota. What a user takes by the day is written down apart from jobs and recordings,
so that deleting these gives nothing back. An organization's quota is for all that its people use together, shared or
not, since they have been in it; the owner of the installation is left out of it, too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from django.conf import settings
from django.db.models import F
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from webui.accounts.models import User
from webui.errors import StatusError
from webui.jobs.models import Job, Quota, Usage
from webui.organizations.models import Organization
from webui.transactions import alone

MOST_S = "most_s"  # in the spec of a job that transcribes: what is left of its user's quota,
SECONDS = "seconds"  # and how long its recording is, as far as that is known
COUNTED_FOR_S = 60.0  # looking at all files takes a while

_counted: dict[Path, tuple[float, int]] = {}  # by folder: when, and how many bytes


@dataclass(frozen=True)
class Limits:
    """What a user may have; None: any number.

    Attributes:
        disk_bytes: of all files.
        jobs_a_day: begun since midnight, UTC.
        minutes_a_month: of recordings that were transcribed since the first of the month, UTC.
    """

    disk_bytes: int | None
    jobs_a_day: int | None
    minutes_a_month: int | None


def limits_of(user: User) -> Limits:
    """The quota of a user: their own, else that of everybody, else that of the settings."""
    if user.is_owner:
        return Limits(None, None, None)
    rows = {quota.user_id: quota for quota in Quota.objects.filter(user=user) | Quota.objects.filter(user=None)}

    def limit(name: str, default: int | None = None) -> int | None:
        said = [getattr(rows[who], name) for who in (user.pk, None) if who in rows]
        found = next((number for number in said if number is not None), default)
        return found or None

    disk = limit("disk_bytes", settings.USER_MAX_BYTES)
    return Limits(disk, limit("jobs_a_day"), limit("minutes_a_month"))


def set_quota(user: User | None, limits: Limits) -> None:
    """Set the quota of a user, or (None) of everybody who has none of their own.

    Of a number that is None the next rule holds (:func:`limits_of`); 0 is no limit.
    """
    values = {"disk_bytes": limits.disk_bytes, "jobs_a_day": limits.jobs_a_day}
    with alone():  # MariaDB and MySQL may have several rows without a user
        Quota.objects.update_or_create(user=user, defaults={**values, "minutes_a_month": limits.minutes_a_month})


@dataclass(frozen=True)
class Account:
    """A user, or the people of an organization, who have one quota together.

    Attributes:
        limits: what they may have.
        people: whose use counts, and from which day on.
        name: of the organization; "" of a user alone.
    """

    limits: Limits
    people: Mapping[User, date]
    name: str = ""

    def usage(self, since: date) -> list[Usage]:
        """What they used by day from a day on."""
        rows = Usage.objects.filter(user__in=list(self.people), day__gte=since).select_related("user")
        return [row for row in rows if row.day >= self.people[row.user]]

    def jobs_today(self) -> int:
        return sum(row.jobs for row in self.usage(_today()))

    def seconds_this_month(self) -> float:
        return sum((row.seconds for row in self.usage(_today().replace(day=1))), 0.0)

    def seconds_left(self, states: Sequence[str], but: Job | None = None) -> float:
        """Of this month, less the recordings of jobs in these states, but for one, as far as their length is known."""
        jobs = Job.objects.filter(user__in=list(self.people), kind="transcribe", state__in=states)
        others = jobs if but is None else jobs.exclude(pk=but.pk)
        waiting = sum(spec.get(SECONDS, 0.0) for spec in others.values_list("spec", flat=True))
        return (self.limits.minutes_a_month or 0) * 60 - self.seconds_this_month() - waiting


def account_of(whose: User | Organization) -> Account:
    """The account of a user or of an organization; the owner of the installation does not count in the latter."""
    if isinstance(whose, User):
        return Account(limits_of(whose), {whose: date.min})
    memberships = whose.memberships.filter(user__is_owner=False).select_related("user")
    people = {membership.user: membership.joined_at.date() for membership in memberships}
    return Account(Limits(whose.disk_bytes, whose.jobs_a_day, whose.minutes_a_month), people, whose.name)


def accounts_of(user: User, limit: str) -> list[Account]:
    """The account of a user, and those of their organizations that have such a limit (a field of :class:`Limits`); none
    of the owner of the installation."""
    if user.is_owner:
        return []
    organizations = Organization.objects.filter(memberships__user=user, **{f"{limit}__gt": 0})
    return [account_of(user), *map(account_of, organizations)]


def check_room_in(account: Account, folders: Sequence[Path], size: int) -> None:
    """Raise StatusError (507) where ``size`` bytes more are too many for those whose data the folders are."""
    most = account.limits.disk_bytes
    if not most:
        return
    if sum(map(bytes_used, folders)) + size >= most:
        for folder in folders:
            forget_count(folder)
    used = sum(map(bytes_used, folders))
    if used + size < most:
        return
    said = {"name": account.name, "used": _gigabytes(used), "most": _gigabytes(most)}
    if not account.name:
        raise StatusError(
            507,
            _("Your storage quota is used up."),
            _("Your recordings, clips and detectors use %(used)s GB; your quota is %(most)s GB.") % said,
            _("Delete what you do not need, or ask whoever runs Hark."),
        )
    raise StatusError(
        507,
        _("The storage quota of your organization is used up."),
        _("The people of %(name)s use %(used)s GB; its quota is %(most)s GB.") % said,
        _("Delete what you do not need, or ask one of its owners."),
    )


def _gigabytes(size: int) -> str:
    return str(number_format(round(size / 1e9, 3)))


def note_taken(folder: Path, size: int) -> None:
    """``size`` bytes more are in a folder, or will be soon."""
    at, used = _counted.get(folder, (0.0, 0))
    if folder in _counted:
        _counted[folder] = (at, used + size)


def forget_count(folder: Path) -> None:
    """Count anew the next time."""
    _counted.pop(folder, None)


def bytes_used(folder: Path) -> int:
    """What the files in a folder have, with what was taken since; counted again after a minute."""
    at, used = _counted.get(folder, (0.0, 0))
    if folder not in _counted or time.monotonic() - at > COUNTED_FOR_S:
        at, used = time.monotonic(), bytes_below(folder)
        _counted[folder] = (at, used)
    return used


def bytes_below(folder: Path) -> int:
    """What all files in a folder have, and in the folders in it."""
    total = 0
    for below, _folders, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # it has gone meanwhile
                total += os.lstat(f"{below}/{name}").st_size
    return total


def take_job(user: User) -> None:
    """Count one more job of today. Called within the transaction that queues the job."""
    _add(user, jobs=1)


def take_minutes(user: User, seconds: float, speakers: int = 0) -> None:
    """Count a recording that was transcribed, and how many speak in it."""
    _add(user, seconds=seconds, speakers=speakers)


def _add(user: User, **more: float) -> None:
    row, _made = Usage.objects.get_or_create(user=user, day=_today())
    Usage.objects.filter(pk=row.pk).update(**{name: F(name) + number for name, number in more.items()})


def check_jobs(user: User) -> None:
    """Raise StatusError (429) where a user, or their organization, has begun all jobs that a day has for them."""
    for account in accounts_of(user, "jobs_a_day"):
        most = account.limits.jobs_a_day
        if not most or account.jobs_today() < most:
            continue
        if not account.name:
            raise StatusError(
                429,
                _("Your jobs of today are used up."),
                _("You may begin %(most)d jobs a day.") % {"most": most},
                _("Begin this one after midnight (UTC), or ask the owner for more."),
            )
        raise StatusError(
            429,
            _("The jobs of your organization are used up for today."),
            _("The people of %(name)s may begin %(most)d jobs a day together.") % {"name": account.name, "most": most},
            _("Begin this one after midnight (UTC), or ask one of its owners for more."),
        )


def check_minutes(user: User, seconds: float = 0.0) -> None:
    """Raise StatusError (429) where a recording of so many seconds (0: not known yet) is more than the month has left
    beside those that wait or are transcribed."""
    for account in accounts_of(user, "minutes_a_month"):
        most = account.limits.minutes_a_month
        if not most or ((left := account.seconds_left(Job.GOING)) > 0 and seconds <= left):
            continue
        said = {"name": account.name, "most": most, "left": max(0, int(left // 60))}
        if not account.name:
            raise StatusError(
                429,
                _("Your minutes of recordings are used up."),
                _("You may have %(most)d minutes transcribed a month; %(left)d are left.") % said,
                _("Wait for the first of the month (UTC), or ask the owner for more."),
            )
        raise StatusError(
            429,
            _("The minutes of your organization are used up."),
            _("The people of %(name)s may have %(most)d minutes transcribed a month together; %(left)d are left.")
            % said,
            _("Wait for the first of the month (UTC), or ask one of its owners for more."),
        )


def seconds_left(user: User, job: Job | None = None) -> float | None:
    """Of this month, for a job that begins now: what others that wait will take is theirs when they begin. None: any
    number."""
    accounts = [account for account in accounts_of(user, "minutes_a_month") if account.limits.minutes_a_month]
    return max(0.0, min(account.seconds_left(Job.WORKING, job) for account in accounts)) if accounts else None


def _today() -> date:
    return timezone.now().date()
