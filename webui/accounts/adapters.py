"""Adapters with which Hark changes allauth: sign-in, passwords, second factors and sessions."""

from __future__ import annotations

import io
from typing import Any, ClassVar

import segno
from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from webui.accounts.addresses import client_address
from webui.accounts.audit import Action, record
from webui.accounts.models import User
from webui.accounts.second_factor import PURPOSE, wrong_since_last_sign_in
from webui.accounts.sign_in import SignInRefused, remember_browser, sender, sign_in
from webui.keys.sealing import seal, unseal

NOTICED = 3  # wrong codes that cause a warning; fewer are probably typing errors


class AccountAdapter(DefaultAccountAdapter):
    """Hark's rules for sign-in, and for asking for the password again."""

    error_messages: ClassVar = {
        **DefaultAccountAdapter.error_messages,
        "incorrect_password": gettext_lazy("The password is wrong."),
    }

    def get_login_stages(self) -> list[str]:
        return ["webui.accounts.second_factor.CodeStage"]

    def get_client_ip(self, request: HttpRequest) -> str:
        return client_address(request) or "127.0.0.1"

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return reverse("accounts:me")

    def set_password(self, user: User, password: str) -> None:
        """Save only the password: hashing is slow, and saving all fields could undo the owner's changes meanwhile."""
        user.set_password(password)
        user.save(update_fields=["password"])

    def reauthenticate(self, user: User, password: str) -> bool:
        """Check the password again. A wrong one counts as a failed sign-in; too many raise HarkError."""
        try:
            sign_in(name=user.get_username(), password=password, **sender(self.request))
        except SignInRefused:
            return False
        return True

    def post_login(self, request: HttpRequest, user: User, **hooks: Any) -> HttpResponse:
        """Record the sign-in, warn of wrong codes entered since the last one, and remember the browser."""
        if (wrong := wrong_since_last_sign_in(user)) >= NOTICED:
            warning = _("%(n)d wrong codes were entered with your password since you last signed in.") % {"n": wrong}
            advice = _("If that was not you, somebody knows your password: change it now.")
            messages.warning(request, f"{warning} {advice}")
        record(Action(hooks["signal_kwargs"]["how"]))
        response: HttpResponse = super().post_login(request, user, **hooks)
        remember_browser(request, response, user)
        return response


class SealingAdapter(DefaultMFAAdapter):
    """Sealed storage of the secrets of second factors, and the names that authenticators show."""

    def encrypt(self, text: str) -> str:
        return seal(text, PURPOSE)

    def decrypt(self, encrypted_text: str) -> str:
        """Open a sealed secret. Raises HarkError if the portal's secret key has since changed."""
        return unseal(encrypted_text, PURPOSE)

    def get_totp_label(self, user: User) -> str:
        return user.get_username()

    def generate_authenticator_name(self, user: User, type: object) -> str:
        return _("Passkey")

    def build_totp_svg(self, url: str) -> str:
        picture = io.BytesIO()
        segno.make(url).save(picture, kind="svg", scale=5, light="white")
        return picture.getvalue().decode()

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """Return the portal's name and host; a passkey works only for the host that it was created for."""
        return {**super().get_public_key_credential_rp_entity(), "name": settings.MFA_TOTP_ISSUER}
