"""Sign-in with Google. allauth communicates with Google. This module decides who may sign in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount, SocialLogin
from allauth.socialaccount.providers.base.constants import AuthError
from allauth.socialaccount.providers.google.views import oauth2_callback, oauth2_login
from allauth.utils import generate_unique_username
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from core.errors import HarkError
from webui.accounts import services
from webui.accounts.audit import Action
from webui.accounts.models import User
from webui.accounts.sessions import sign_in_or_ask
from webui.http.errors import StatusError, explain
from webui.http.parameters import safe_address
from webui.transactions import serialized


def require_google_sign_in(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Wrap a view of allauth so that it returns 404 without GOOGLE_CLIENT_ID."""

    @login_not_required
    @never_cache
    def only(request: HttpRequest) -> HttpResponse:
        if not settings.GOOGLE_SIGN_IN:
            raise Http404
        return view(request)

    return only


begin, back = require_POST(require_google_sign_in(oauth2_login)), require_GET(require_google_sign_in(oauth2_callback))


class GoogleAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """Admits people whose e-mail address, verified by Google, is that of an active user.

    The first sign-in links the Google account to the user. Later ones require both to match, so an address that Google
    has since given to another person is useless. Changing the user's address unlinks the account (``PersonForm``). New
    users are created only if HARK_OPEN_SIGN_UP is 1.
    """

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> NoReturn:
        """Begin the session in place of allauth, once Google has identified the person.

        Raises StatusError if the Google account has no user or may not sign in.
        """
        user = user_of(sociallogin)
        then = safe_address(request, sociallogin.get_redirect_url(request) or "")
        raise ImmediateHttpResponse(sign_in_or_ask(request, user, then, Action.SIGNED_IN_BY_GOOGLE))

    def on_authentication_error(
        self, request: HttpRequest, provider: Any, error: Any = None, exception: Any = None, extra_context: Any = None
    ) -> NoReturn:
        """Explain a sign-in that Google rejected or that did not begin here. Called by allauth."""
        if error == AuthError.CANCELLED:
            raise ImmediateHttpResponse(redirect(settings.LOGIN_URL))
        problem = HarkError(
            _("Google did not sign you in."),
            _("Google could not be reached, or the sign-in took too long or was started elsewhere."),
            _("Try again, or sign in with your password."),
        )
        raise ImmediateHttpResponse(explain(request, problem, 401))


def user_of(sociallogin: SocialLogin) -> User:
    """Return the user of a Google account. Raises StatusError if there is none or sign-in is not allowed."""
    addresses = [address.email for address in sociallogin.email_addresses if address.verified]
    if not addresses:
        raise _refused(_("Google has not verified the e-mail address of this Google account."))
    uid = str(sociallogin.account.uid)
    with serialized():
        user = User.objects.filter(email__iexact=addresses[0]).first()
        if user is None and settings.OPEN_SIGN_UP:
            name = generate_unique_username([addresses[0], "user"])
            user = services.create_user(username=name, password=None, email=addresses[0])
        if user is None:
            raise _refused(_("No user here has the address %(email)s.") % {"email": addresses[0]})
        if not user.is_active:
            raise _refused(_("%(name)s is deactivated.") % {"name": user.username})
        ties = SocialAccount.objects.filter(provider="google")
        if ties.filter(user=user).exclude(uid=uid).exists():
            raise _refused(_("%(email)s belonged to another Google account before.") % {"email": addresses[0]})
        ties.filter(uid=uid).exclude(user=user).delete()
        ties.get_or_create(provider="google", uid=uid, defaults={"user": user})
    return user


def _refused(why: str) -> StatusError:
    what_to_do = _("Ask the owner, or sign in with your password.")
    return StatusError(403, _("You could not be signed in."), why, what_to_do)
