"""Setup, sign-in, sign-out, and the user's own account."""

from __future__ import annotations

from typing import Any

from allauth.account.forms import ReauthenticateForm
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import auth, messages
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.decorators import login_not_required
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core.errors import HarkError
from webui.account_data.deletion import delete_account
from webui.account_data.exporting import begin_export, export_file
from webui.account_data.retention import set_retention
from webui.account_pages.forms import (
    EVENT_WORDS,
    NewPasswordForm,
    PersonForm,
    RetentionForm,
    SignInForm,
    TokenForm,
    WebhookForm,
)
from webui.accounts import second_factor, services
from webui.accounts.audit import Action, entries_of, record
from webui.accounts.models import ApiToken, User
from webui.accounts.sessions import sign_in_or_ask
from webui.accounts.sign_in import forgive, sender, sign_in
from webui.accounts.signed_in import signed_in
from webui.http.errors import status_of, with_headers
from webui.http.parameters import INVALID, safe_address
from webui.jobs.quota import usage_of
from webui.keys.sealing import show_next, shown_now
from webui.webhooks import services as outgoing
from webui.webhooks.models import Webhook

LATEST = 5  # entries of the audit log on the page of an account
TOKEN, HOOK = "token", "secret of a webhook"  # shown once
DELETION = "delete"  # prefix of a form


def _then(request: HttpRequest) -> str:
    wanted = request.POST.get(REDIRECT_FIELD_NAME) or request.GET.get(REDIRECT_FIELD_NAME)
    return safe_address(request, wanted or "")


@login_not_required
@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def login(request: HttpRequest) -> HttpResponse:
    if request.user.is_authenticated:
        return redirect(_then(request))
    form = SignInForm(request.POST or None)
    problem: HarkError | None = None
    if request.method == "POST" and form.is_valid():
        values = form.cleaned_data
        try:
            user = sign_in(name=values["name"], password=values["password"], **sender(request))
            return sign_in_or_ask(request, user, _then(request))
        except HarkError as error:
            problem = error
    content = {
        "form": form,
        "problem": problem,
        "then": _then(request),
        "google": settings.GOOGLE_SIGN_IN,
        "nobody": services.owner() is None,
    }
    usual = INVALID if form.errors else 200
    status = status_of(problem, usual) if problem else usual
    return with_headers(problem, render(request, "accounts/login.html", content, status=status))


@login_not_required
@require_POST
def logout(request: HttpRequest) -> HttpResponse:
    if request.user.is_authenticated:
        record(Action.SIGNED_OUT)
    auth.logout(request)
    return redirect(settings.LOGOUT_REDIRECT_URL)


@login_not_required
@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def setup(request: HttpRequest, secret: str) -> HttpResponse:
    """Show the page of a one-time link: the owner chooses a name and a password, other users only a password."""
    link = services.find_link(secret=secret)
    sent = request.POST if request.method == "POST" else None
    person = None if link.user else PersonForm(sent)
    password = NewPasswordForm(link.user or User(), sent)
    if person is not None and sent is not None and person.is_valid():
        password.user = person.instance  # so that validators can compare the password with the name
    problem: HarkError | None = None
    if sent is not None and (person is None or person.is_valid()) and password.is_valid():
        chosen = password.cleaned_data["new_password1"]
        try:
            if person is None:
                user = services.use_password_link(secret=secret, password=chosen)
                forgive(user=user)
            else:
                user = services.use_owner_link(secret=secret, password=chosen, **person.cleaned_data)
            return sign_in_or_ask(request, user, settings.LOGIN_REDIRECT_URL)
        except services.LinkGone:
            raise
        except HarkError as error:
            problem = error
    content = {"person": person, "password": password, "for_user": link.user, "problem": problem}
    return render(request, "accounts/setup.html", content, status=INVALID if sent is not None else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def me(request: HttpRequest) -> HttpResponse:
    """Show the user's account; POST changes name and e-mail address."""
    if request.method != "POST":
        return _page(request)
    form = _person_form(request, request.POST)
    if not form.is_valid():
        return _page(request, person=form)
    form.save()
    messages.success(request, _("Saved."))
    return redirect("accounts:me")


@require_POST
def tokens(request: HttpRequest) -> HttpResponse:
    """Create an API token. The page shows it once."""
    user = signed_in(request)
    form = TokenForm(user, request.POST)
    if form.is_valid():
        values = form.cleaned_data
        try:
            token, text = services.create_token(
                user=user, name=values["name"], scopes=values["scopes"], days=values["days"] or None
            )
            show_next(request, TOKEN, {"name": token.name, "text": text})
            return redirect("accounts:me")
        except HarkError as error:
            form.add_error("name", error.why)
    return _page(request, token=form)


@require_POST
def revoke(request: HttpRequest, token_id: int) -> HttpResponse:
    token = get_object_or_404(ApiToken, pk=token_id, user=signed_in(request))
    services.revoke_token(token=token)
    messages.success(request, _("The token %(name)s is revoked.") % {"name": token.name})
    return redirect("accounts:me")


@require_POST
def webhooks(request: HttpRequest) -> HttpResponse:
    """Add a webhook. The page shows its secret once."""
    form = WebhookForm(request.POST)
    if form.is_valid():
        values = form.cleaned_data
        try:
            hook, secret = outgoing.add(user=signed_in(request), url=values["url"], events=values["events"])
            show_next(request, HOOK, {"url": hook.url, "secret": secret})
            return redirect("accounts:me")
        except HarkError as error:
            form.add_error("url", error.why)
    return _page(request, webhook=form)


@require_POST
def remove_webhook(request: HttpRequest, webhook_id: int) -> HttpResponse:
    hook = get_object_or_404(Webhook, pk=webhook_id, user=signed_in(request))
    outgoing.remove(webhook=hook)
    messages.success(request, _("The webhook %(url)s is removed.") % {"url": hook.url})
    return redirect("accounts:me")


@sensitive_post_parameters()
@require_POST
def delete(request: HttpRequest) -> HttpResponse:
    form = ReauthenticateForm(request.POST, user=signed_in(request), prefix=DELETION)
    if not form.is_valid():
        return _page(request, deletion=form)
    delete_account(user=signed_in(request))
    auth.logout(request)
    messages.success(request, _("Your account is closed; its data is being deleted."))
    return redirect("accounts:login")


@require_POST
def end_session(request: HttpRequest, number: int) -> HttpResponse:
    session = get_object_or_404(UserSession, pk=number, user=signed_in(request))
    session.end()
    record(Action.SIGNED_OUT, what=session.ip)
    messages.success(request, _("That session has ended."))
    return redirect("usersessions_list")


@require_POST
def retention(request: HttpRequest) -> HttpResponse:
    form = RetentionForm(request.POST)
    if not form.is_valid():
        return _page(request, retention=form)
    set_retention(user=signed_in(request), **form.cleaned_data)
    messages.success(request, _("Saved."))
    return redirect("accounts:me")


@require_POST
def export(request: HttpRequest) -> HttpResponse:
    return redirect("jobs:detail", begin_export(user=signed_in(request)).pk)


@require_safe
def exported(request: HttpRequest) -> FileResponse:
    """Download the export. It is deleted after a day."""
    try:
        file = export_file(signed_in(request)).open("rb")
    except OSError as error:
        raise Http404 from error
    return FileResponse(file, as_attachment=True, filename=f"hark-{signed_in(request).username}.zip")


def _person_form(request: HttpRequest, sent: Any = None) -> PersonForm:
    user = signed_in(request)
    # Otherwise a user could set another person's address, and that person's Google sign-in would open this account.
    fixed = settings.GOOGLE_SIGN_IN and not user.is_owner
    return PersonForm(sent, instance=User.objects.get(pk=user.pk), email_fixed=fixed)


def _page(request: HttpRequest, **content: Any) -> HttpResponse:
    user = signed_in(request)
    invalid = any(getattr(form, "errors", None) for form in content.values())
    content = {
        "person": _person_form(request),
        "made": shown_now(request, TOKEN),
        "hooked": shown_now(request, HOOK),
        "token": TokenForm(user),
        "tokens": user.api_tokens.filter(revoked_at=None),
        "webhook": WebhookForm(),
        "factor_is_on": second_factor.is_on(user),
        "exported": export_file(user).is_file(),
        "deletion": ReauthenticateForm(user=user, prefix=DELETION),
        "retention": RetentionForm(initial={"recordings_days": user.recordings_days, "jobs_days": user.jobs_days}),
        "usage": usage_of(user),
        "entries": entries_of(user)[:LATEST],
        "webhooks": [(hook, [EVENT_WORDS[event] for event in hook.events]) for hook in user.webhooks.all()],
        **content,
    }
    return render(request, "accounts/me.html", content, status=INVALID if invalid else 200)
