"""The owner's pages about users."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core.errors import HarkError
from webui.account_data.deletion import delete_account
from webui.account_pages.forms import PersonForm
from webui.accounts import second_factor, services
from webui.accounts.audit import Action, record
from webui.accounts.models import User
from webui.accounts.signed_in import signed_in
from webui.http.parameters import INVALID
from webui.jobs.forms import QuotaForm
from webui.jobs.models import Quota
from webui.jobs.quota import set_quota, usage_of
from webui.keys.sealing import show_next, shown_now
from webui.organization_management import use_of

P = ParamSpec("P")
LINK = "link of a user"


def owner_only(view: Callable[Concatenate[HttpRequest, P], HttpResponse]) -> Callable[..., HttpResponse]:
    @wraps(view)
    def only(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not signed_in(request).is_owner:
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return only


@owner_only
@require_http_methods(["GET", "HEAD", "POST"])
def users(request: HttpRequest) -> HttpResponse:
    """List all users; POST adds one, and shows the link with which the new user chooses a password."""
    form = PersonForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            added = services.create_user(password=None, **form.cleaned_data)
            return _show_link(request, added)
        except HarkError as error:
            form.add_error(None, error.why)
    return _page(request, form)


@owner_only
@require_http_methods(["GET", "HEAD", "POST"])
def user(request: HttpRequest, user_id: int) -> HttpResponse:
    shown = get_object_or_404(services.existing_users(), pk=user_id)
    form = PersonForm(request.POST if request.method == "POST" else None, instance=shown)
    if form.is_valid():
        form.save()
        messages.success(request, _("Saved."))
        return redirect("accounts:users")
    return _user_page(request, user_id, form)


def _user_page(request: HttpRequest, user_id: int, form: PersonForm, quota: QuotaForm | None = None) -> HttpResponse:
    person = User.objects.get(pk=user_id)  # validation has changed the form's instance even if it failed
    content = {
        "form": form,
        "person": person,
        "quota": quota or QuotaForm(Quota.objects.filter(user=person).first()),
        "usage": usage_of(person),
        "factor_is_on": second_factor.is_on(person),
    }
    status = INVALID if form.errors or (quota and quota.errors) else 200
    return render(request, "accounts/user.html", content, status=status)


@owner_only
@require_POST
def quota(request: HttpRequest, user_id: int | None = None) -> HttpResponse:
    """Set the quota of a user or, without a number, the default quota."""
    shown = None if user_id is None else get_object_or_404(services.existing_users(), pk=user_id, is_owner=False)
    form = QuotaForm(None, request.POST)
    if not form.is_valid():
        if shown is None:
            return _page(request, PersonForm(), form)
        return _user_page(request, shown.pk, PersonForm(instance=shown), form)
    set_quota(shown, form.limits)
    record(Action.QUOTA, what=str(form.limits), about=shown)
    messages.success(request, _("Saved."))
    return redirect("accounts:users")


@owner_only
@require_safe
def use(request: HttpRequest) -> HttpResponse:
    content = {"users": use_of.of_all_users(), "organizations": use_of.of_all_organizations(), "most": use_of.WEEKS}
    return render(request, "accounts/use.html", content)


@owner_only
@require_POST
def link(request: HttpRequest, user_id: int) -> HttpResponse:
    """Create a link for a new password. The page shows the link once."""
    return _show_link(request, get_object_or_404(services.existing_users(), pk=user_id))


@owner_only
@require_POST
def active(request: HttpRequest, user_id: int) -> HttpResponse:
    shown = get_object_or_404(services.existing_users(), pk=user_id)
    wanted = request.POST.get("active") == "1"
    services.set_active(user=shown, active=wanted)
    sentence = _("%(name)s can sign in.") if wanted else _("%(name)s can no longer sign in; their data is kept.")
    messages.success(request, sentence % {"name": shown.username})
    return redirect("accounts:users")


@owner_only
@require_POST
def factor_off(request: HttpRequest, user_id: int) -> HttpResponse:
    """Turn off the second factor of a user who has lost the app and the recovery codes."""
    shown = get_object_or_404(services.existing_users(), pk=user_id)
    second_factor.turn_off(user=shown)
    messages.success(request, _("%(name)s now signs in with the password alone.") % {"name": shown.username})
    return redirect("accounts:users")


@owner_only
@require_POST
def delete(request: HttpRequest, user_id: int) -> HttpResponse:
    """Delete a user's account with all its data. The owner must type the name to confirm."""
    shown = get_object_or_404(services.existing_users(), pk=user_id)
    if request.POST.get("name", "").strip() != shown.username:
        raise HarkError(
            _("The account was not deleted."),
            _("The name you typed is not %(name)s.") % {"name": shown.username},
            _("Go back and type the user's name."),
        )
    delete_account(user=shown)
    messages.success(
        request, _("The account of %(name)s is closed; its data is being deleted.") % {"name": shown.username}
    )
    return redirect("accounts:users")


def _show_link(request: HttpRequest, user: User) -> HttpResponse:
    link = services.password_link(user=user, base_url=request.build_absolute_uri("/"))
    show_next(request, LINK, {"name": user.username, "link": link})
    return redirect("accounts:users")


def _page(request: HttpRequest, form: PersonForm, quota: QuotaForm | None = None) -> HttpResponse:
    content: dict[str, Any] = {
        "users": services.existing_users().order_by("-is_owner", "username"),
        "form": form,
        "quota": quota or QuotaForm(Quota.objects.filter(user=None).first()),
        "made": shown_now(request, LINK),
    }
    status = INVALID if form.errors or (quota and quota.errors) else 200
    return render(request, "accounts/users.html", content, status=status)
