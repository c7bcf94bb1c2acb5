"""URLs of allauth's views, under the names that allauth expects."""

from __future__ import annotations

from allauth.account.views import password_change, password_set, reauthenticate
from allauth.mfa.base import views as mfa
from allauth.mfa.recovery_codes.views import generate_recovery_codes, view_recovery_codes
from allauth.mfa.totp.views import activate_totp, deactivate_totp
from allauth.mfa.webauthn.views import AddWebAuthnView, RemoveWebAuthnView, reauthenticate_webauthn
from allauth.usersessions.views import list_usersessions
from django.urls import path, reverse_lazy

from webui.account_pages import views
from webui.accounts import google

urlpatterns = [
    path("account/login", views.login, name="account_login"),
    path("account/code", mfa.authenticate, name="mfa_authenticate"),
    path("account/again", reauthenticate, name="account_reauthenticate"),
    path("account/again/code", mfa.reauthenticate, name="mfa_reauthenticate"),
    path("account/again/passkey", reauthenticate_webauthn, name="mfa_reauthenticate_webauthn"),
    path("account/password", password_change, name="account_change_password"),
    path("account/password/set", password_set, name="account_set_password"),
    path("account/sessions", list_usersessions, name="usersessions_list"),
    path("account/second-factor", mfa.index, name="mfa_index"),
    path("account/second-factor/app", activate_totp, name="mfa_activate_totp"),
    path("account/second-factor/app/remove", deactivate_totp, name="mfa_deactivate_totp"),
    path("account/second-factor/codes", view_recovery_codes, name="mfa_view_recovery_codes"),
    path("account/second-factor/codes/new", generate_recovery_codes, name="mfa_generate_recovery_codes"),
    path("account/second-factor/passkeys", AddWebAuthnView.as_view(), name="mfa_add_webauthn"),
    path(
        "account/second-factor/passkeys/<int:pk>/remove",
        RemoveWebAuthnView.as_view(success_url=reverse_lazy("mfa_index")),
        name="mfa_remove_webauthn",
    ),
    path("sign-in/google/login/", google.begin, name="google_login"),
    path("sign-in/google/login/callback/", google.back, name="google_callback"),
]
