"""The pages of the second factor: turning it on and off, and the code that signing in asks for."""

from __future__ import annotations

import time
from typing import Any

import segno
from allauth.mfa.totp.internal.auth import generate_totp_secret
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from core.errors import HarkError
from webui.accounts import second_factor
from webui.accounts.addresses import client_address
from webui.accounts.audit import Action
from webui.accounts.forms import CodeForm, FactorForm, PasskeyForm
from webui.accounts.models import User
from webui.accounts.sessions import PENDING, begin_session
from webui.accounts.sign_in import KNOWN_BROWSER, TooManyFailures
from webui.accounts.signed_in import signed_in
from webui.api.sealing import seal, unseal
from webui.parameters import whole_number
from webui.shown_once import show_next, shown_now

INVALID = 422
PATIENCE_S = 600  # for the code, after the password
NOTICED = 3  # wrong codes: people mistype one
CODES, SECRET = "recovery codes", "secret of the second factor"


@login_not_required
@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def code(request: HttpRequest) -> HttpResponse:
    """The second step of signing in."""
    pending: dict[str, Any] = request.session.get(PENDING, {})
    user = User.objects.filter(pk=pending.get("user", 0), is_active=True).first()
    fresh = user is not None and time.time() - pending["at"] < PATIENCE_S
    if user is None or not fresh or not user.has_session(pending["hash"]):
        request.session.pop(PENDING, None)
        return redirect("accounts:login")
    shown = request.POST.get("credential", "")
    form = CodeForm(request.POST if request.method == "POST" and not shown else None)
    problem: HarkError | None = None
    if shown or form.is_valid():
        try:
            if shown:
                second_factor.check_passkey(user=user, credential=shown, address=client_address(request))
            else:
                second_factor.check_code(user=user, code=form.cleaned_data["code"], **_sender(request))
            del request.session[PENDING]
            if (wrong := second_factor.wrong_since_last_sign_in(user)) >= NOTICED:
                warning = _("%(n)d wrong codes were sent with your password since you last signed in.") % {"n": wrong}
                advice = _("If that was not you, somebody knows your password: change it.")
                messages.warning(request, f"{warning} {advice}")
            return begin_session(request, user, pending["then"], Action(pending["how"]))
        except HarkError as error:
            problem = error
    status = getattr(problem, "status", INVALID if form.errors else 200)
    has_passkeys = second_factor.passkeys_of(user).exists()
    content: dict[str, Any] = {"form": form, "problem": problem, "has_passkeys": has_passkeys}
    if has_passkeys and second_factor.can_have_passkeys(request):
        content["passkey"] = second_factor.passkey_to_show(user)
    response = render(request, "accounts/code.html", content, status=status)
    if isinstance(problem, TooManyFailures):
        response["Retry-After"] = str(problem.wait_s)
    return response


@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def factor(request: HttpRequest) -> HttpResponse:
    """One's own second factor; sent with the password, it is turned on or off, or gets other recovery codes."""
    user = signed_in(request)
    sent = request.POST if request.method == "POST" else None
    form = FactorForm(user, sent, needs_code=not second_factor.is_on(user), **_sender(request))
    if form.is_valid():
        try:
            return _changed(request, user, form)
        except HarkError as error:
            form.add_error("code", f"{error.what} {error.why}")
    return _page(request, user, form, PasskeyForm(user))


@never_cache
@sensitive_post_parameters()
@require_POST
def passkeys(request: HttpRequest) -> HttpResponse:
    """Add a passkey that the browser has made."""
    user = signed_in(request)
    form = PasskeyForm(user, request.POST, **_sender(request))
    if form.is_valid():
        sent = form.cleaned_data
        try:
            codes = second_factor.add_passkey(user=user, name=sent["name"], credential=sent["credential"])
        except HarkError as error:
            form.add_error("name", f"{error.what} {error.why}")
        else:
            update_session_auth_hash(request, user)
            show_next(request, CODES, {"codes": " ".join(codes)})
            messages.success(request, _("The passkey is added."))
            return redirect("accounts:factor")
    return _page(request, user, FactorForm(user, needs_code=False), form)


def _sender(request: HttpRequest) -> dict[str, str]:
    return {"address": client_address(request), "browser": request.COOKIES.get(KNOWN_BROWSER, "")}


def _page(request: HttpRequest, user: User, form: FactorForm, passkey: PasskeyForm) -> HttpResponse:
    has_app = second_factor.has_app(user)
    content: dict[str, Any] = {
        "form": form,
        "change_form": form if has_app else FactorForm(user, needs_code=False, auto_id="change_%s"),
        "passkey_form": passkey,
        "is_on": second_factor.is_on(user),
        "has_app": has_app,
        "passkeys": second_factor.passkeys_of(user),
        "codes": shown_now(request, CODES).get("codes", "").split(),
    }
    if second_factor.can_have_passkeys(request):
        content["passkey"] = second_factor.passkey_to_make(user)
    if not has_app:
        secret = _secret(request)
        address = f"otpauth://totp/{second_factor.ISSUER}:{user.username}?" + urlencode(
            {"secret": secret, "issuer": second_factor.ISSUER}
        )
        content |= {"secret": secret, "picture": segno.make(address).svg_data_uri(scale=5, light="white")}
    return render(request, "accounts/factor.html", content, status=INVALID if form.errors or passkey.errors else 200)


def _changed(request: HttpRequest, user: User, form: FactorForm) -> HttpResponse:
    if not second_factor.has_app(user) and form.cleaned_data["code"]:
        codes = second_factor.turn_on(user=user, secret=_secret(request), code=form.cleaned_data["code"])
        request.session.pop(SECRET, None)
        update_session_auth_hash(request, user)
        show_next(request, CODES, {"codes": " ".join(codes)})
        messages.success(request, _("The second factor is on. All other sessions have been signed out."))
    elif number := whole_number(request.POST.get("remove", "")):
        second_factor.remove_passkey(user=user, number=number)
        messages.success(request, _("The passkey is removed."))
    elif "codes" in request.POST:
        show_next(request, CODES, {"codes": " ".join(second_factor.new_recovery_codes(user=user))})
    else:
        second_factor.turn_off(user=user)
        messages.success(request, _("The second factor is off."))
    return redirect("accounts:factor")


def _secret(request: HttpRequest) -> str:
    """The secret that this session offers, until it is in use."""
    if SECRET not in request.session:
        request.session[SECRET] = seal(generate_totp_secret(), SECRET)
    return unseal(request.session[SECRET], SECRET)
