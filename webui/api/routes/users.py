"""Users of the installation; for its owner."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Query, Router, Status

from webui.account_data.deletion import delete_account
from webui.accounts import services
from webui.accounts.models import User
from webui.api.authentication import needs
from webui.api.idempotency import Made, creation
from webui.api.paging import Page, Paging, page
from webui.api.schemas import LinkOut, UserChangeIn, UserIn, UserOut

router = Router(tags=["Users"])


@router.get("/users", response=Page[UserOut], summary="All users", **needs("admin"))
def users(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    """List users, the owner first."""
    return page(request, services.existing_users().order_by("-is_owner", "username"), paging)


@router.post("/users", response={201: UserOut}, summary="Add a user", **needs("admin"))
@creation()
def add(request: HttpRequest, payload: UserIn) -> Made:
    """Add a user. Then create the link with which they choose a password."""
    user = services.create_user(username=payload.name, password=None, email=payload.email)
    return Made(UserOut.from_orm(user), f"/api/v1/users/{user.pk}")


@router.get("/users/{int:user_id}", response=UserOut, summary="A user", **needs("admin"))
def user(request: HttpRequest, user_id: int) -> User:
    """Return the user's name and e-mail address, and whether they may sign in."""
    return get_object_or_404(services.existing_users(), pk=user_id)


@router.patch("/users/{int:user_id}", response=UserOut, summary="Activate or deactivate a user", **needs("admin"))
def change(request: HttpRequest, user_id: int, payload: UserChangeIn) -> User:
    """Activate or deactivate a user (not the owner). Deactivation ends sessions and tokens, but deletes no data."""
    user = get_object_or_404(services.existing_users(), pk=user_id)
    services.set_active(user=user, active=payload.is_active)
    return user


@router.delete("/users/{int:user_id}", response={204: None}, summary="Delete a user", **needs("admin"))
def delete(request: HttpRequest, user_id: int) -> Status:
    """Delete a user with all data, permanently. The owner cannot be deleted."""
    delete_account(user=get_object_or_404(services.existing_users(), pk=user_id))
    return Status(204, None)


@router.post("/users/{int:user_id}/link", response={201: LinkOut}, summary="A link for a password", **needs("admin"))
@creation()
def link(request: HttpRequest, user_id: int) -> Made:
    """Create a link with which the user can set a password. It works once, for a week, and replaces earlier links."""
    user = get_object_or_404(services.existing_users(), pk=user_id)
    return Made(LinkOut(link=services.password_link(user=user, base_url=request.build_absolute_uri("/"))))
