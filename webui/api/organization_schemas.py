"""Schemas of the API's operations on organizations. Their examples appear in its documentation."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from ninja import Field, Schema
from pydantic import AliasChoices

from webui.api.schemas import WHEN, RequestBody, name_of_user
from webui.organization_management.services import MAX_NAME_LENGTH
from webui.organizations.models import Role

SECRET = "Zk3v9QdX7cTn1sYw5mBh2rGp8uLe4aJf6oKi0tRq"
MAX_DISK_BYTES = 2**62

RoleName = Literal[*Role.values]  # type: ignore[valid-type]


class OrganizationIn(RequestBody):
    """The name of an organization."""

    name: str = Field(max_length=MAX_NAME_LENGTH, examples=["Harbour"])


class QuotaIn(RequestBody):
    """The quota of all members together; null and 0 mean no limit."""

    disk_bytes: int | None = Field(None, ge=0, le=MAX_DISK_BYTES, examples=[200_000_000_000])
    jobs_a_day: int | None = Field(None, ge=0, le=1_000_000, examples=[100])
    minutes_a_month: int | None = Field(None, ge=0, le=1_000_000, examples=[6000])


class OrganizationOut(Schema):
    """An organization, with the caller's role in it."""

    id: int = Field(examples=[1])
    name: str = Field(examples=["Harbour"])
    role: RoleName | None = Field(
        description="The caller's role; null: the owner of Hark, who is not a member.", examples=["owner"]
    )
    people: int = Field(examples=[4])
    created_at: datetime = Field(examples=[WHEN])
    disk_bytes: int | None = Field(description="Disk quota of all members together; null: no limit.", examples=[None])
    jobs_a_day: int | None = Field(examples=[100])
    minutes_a_month: int | None = Field(examples=[6000])
    quota_is_fixed: bool = Field(description="The owner of Hark has set it.", examples=[False])


class RoleIn(RequestBody):
    """The role of a person."""

    role: RoleName = Field(examples=["member"])


class MemberOut(Schema):
    """A person in an organization."""

    user: int = Field(validation_alias=AliasChoices("user_id", "user"), examples=[2])
    name: str = Field(examples=["paula"])
    role: RoleName = Field(examples=["member"])
    joined_at: datetime = Field(examples=[WHEN])

    resolve_name = staticmethod(name_of_user)


class InvitationOut(Schema):
    """An open invitation."""

    id: int = Field(examples=[1])
    role: RoleName = Field(examples=["member"])
    created_at: datetime = Field(examples=[WHEN])
    expires_at: datetime = Field(examples=["2026-11-27T20:30:00Z"])


class InvitationMadeOut(InvitationOut):
    """A new invitation. Its link is shown only now."""

    link: str = Field(examples=["https://hark.example.org/organizations/join/..."])


class JoinIn(RequestBody):
    """The last part of an invitation's link."""

    secret: str = Field(max_length=100, examples=[SECRET])


class DoneOut(Schema):
    """Usage by all members, or by one of them."""

    hours: float = Field(description="Transcribed recordings.", examples=[3.5])
    speakers: int = Field(description="Speakers in these recordings.", examples=[9])
    jobs: int = Field(description="Jobs that were started.", examples=[12])


class PersonDoneOut(DoneOut):
    """Usage by one person."""

    name: str = Field(examples=["paula"])


class WeekOut(DoneOut):
    """Usage in one week."""

    week: date = Field(description="The Monday on which the week begins, UTC.", examples=["2026-11-16"])
    people: list[PersonDoneOut]


class UseOut(Schema):
    """Usage of an organization.

    Jobs, minutes and weeks count from the day each member joined; disk_bytes counts all their files.
    """

    disk_bytes: int = Field(examples=[12_000_000_000])
    jobs_today: int = Field(examples=[3])
    minutes_this_month: float = Field(examples=[240.5])
    weeks: list[WeekOut] = Field(description="Weeks with any activity, newest first.")


class EntryOut(Schema):
    """An entry of the audit log."""

    at: datetime = Field(examples=[WHEN])
    action: str = Field(examples=["joined"])
    what: str = Field(examples=["Harbour: member"])
    by: str = Field(validation_alias=AliasChoices("by_name", "by"), examples=["paula"])
    about: str = Field(validation_alias=AliasChoices("about_name", "about"), examples=["paula"])
