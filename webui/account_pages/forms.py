"""Forms for users, passwords, tokens, quotas, retention and webhooks."""

from __future__ import annotations

from typing import Any, ClassVar

from allauth.account import forms as allauth_forms
from allauth.account.adapter import get_adapter
from allauth.socialaccount.models import SocialAccount
from django import forms
from django.contrib.auth import password_validation
from django.contrib.auth.forms import SetPasswordForm, UsernameField
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from webui.accounts.audit import Action, record
from webui.accounts.models import User
from webui.accounts.services import SCOPES
from webui.organization_management.forms import MAX_DAYS

SCOPE_WORDS = {
    "read": _("read: detectors, jobs, transcripts"),
    "train": _("train: plan, train and delete detectors"),
    "audio": _("audio: upload and transcribe"),
    "wakes": _("wakes: send recordings of activations from a device, nothing else"),
    "admin": _("admin: users and the installation"),
}
EVENT_WORDS = {
    "job.done": _("a job is done"),
    "job.failed": _("a job has failed"),
    "job.cancelled": _("a job was cancelled"),
    "job.interrupted": _("a job was interrupted"),
}
LIVES = ((30, _("30 days")), (90, _("90 days")), (365, _("a year")), (0, _("until it is revoked")))
NAME = {"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false"}


class SignInForm(forms.Form):
    """Name or e-mail address, and password; :func:`webui.accounts.sign_in.sign_in` checks them."""

    name = forms.CharField(
        label=_("Name or e-mail address"), max_length=254, widget=forms.TextInput(attrs={**NAME, "autofocus": True})
    )
    password = forms.CharField(
        label=_("Password"),
        max_length=4096,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )


class PersonForm(forms.ModelForm):
    class Meta:
        model = User
        fields = ("username", "email")
        field_classes: ClassVar = {"username": UsernameField}
        widgets: ClassVar = {
            "username": forms.TextInput(attrs=NAME),
            "email": forms.EmailInput(attrs={"autocomplete": "email"}),
        }
        help_texts: ClassVar = {
            "username": _("Letters, digits and . + - _, without spaces."),
            "email": _("Optional. You can sign in with it."),
        }

    def __init__(self, *args: Any, email_fixed: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if email_fixed:
            self.fields["email"].disabled = True
            self.fields["email"].help_text = _(
                "Anyone with this Google address can sign in to this account, so only the owner can set it."
            )

    def clean_username(self) -> str:
        """Reject a name that differs from another user's only in case."""
        name: str = self.cleaned_data["username"]
        if User.objects.filter(username__iexact=name).exclude(pk=self.instance.pk).exists():
            raise ValidationError(_("This name is taken."))
        return name

    def clean_email(self) -> str:
        email = User.objects.normalize_email(self.cleaned_data["email"])
        if email and User.objects.filter(email__iexact=email).exclude(pk=self.instance.pk).exists():
            raise ValidationError(_("Another user has this address."))
        return email

    def save(self, commit: bool = True) -> User:
        """Save only what has changed, and unlink the Google account if the e-mail address has changed."""
        user: User = super().save(commit=False)
        if commit and self.changed_data:
            if "email" in self.changed_data:
                SocialAccount.objects.filter(user=user).delete()
            user.save(update_fields=self.changed_data)
            record(Action.PERSON, about=user)
        return user


class NewPasswordForm(SetPasswordForm):
    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(user, *args, **kwargs)
        self.fields["new_password1"].label = _("New password")
        self.fields["new_password1"].help_text = " ".join(password_validation.password_validators_help_texts())
        self.fields["new_password2"].label = _("New password (again)")
        self.fields["new_password2"].help_text = ""


class ChangePasswordForm(allauth_forms.ChangePasswordForm):
    """The current password and a new one. A wrong current password counts as a failed sign-in."""

    def clean_oldpassword(self) -> str:
        password: str = self.cleaned_data["oldpassword"]
        if not get_adapter().reauthenticate(self.user, password):
            raise get_adapter().validation_error("incorrect_password")
        return password


class TokenForm(forms.Form):
    name = forms.CharField(
        label=_("Name of the token"),
        max_length=100,
        help_text=_("What it is for, such as the name of the program that will use it."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    scopes = forms.MultipleChoiceField(label=_("Permissions"), widget=forms.CheckboxSelectMultiple, initial=["read"])
    days = forms.TypedChoiceField(label=_("Valid for"), coerce=int, choices=LIVES, initial=90, widget=forms.Select())

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        scopes = self.fields["scopes"]
        assert isinstance(scopes, forms.MultipleChoiceField)
        scopes.choices = [(scope, SCOPE_WORDS[scope]) for scope in SCOPES if scope != "admin" or user.is_owner]

    def clean_name(self) -> str:
        """Reject the name of a token in use. This also prevents a reloaded page from creating a second token."""
        name: str = self.cleaned_data["name"]
        if self.user.api_tokens.filter(name=name, revoked_at=None).exists():
            raise ValidationError(_("You already have a token with this name. Revoke it, or choose another name."))
        return name


class RetentionForm(forms.Form):
    """Days until recordings and jobs are deleted. An empty field means never."""

    prefix = "kept"
    recordings_days = forms.IntegerField(
        label=_("Delete recordings after [days]"), min_value=1, max_value=MAX_DAYS, required=False
    )
    jobs_days = forms.IntegerField(label=_("Delete jobs after [days]"), min_value=1, max_value=MAX_DAYS, required=False)


class WebhookForm(forms.Form):
    """A new webhook; :func:`webui.webhooks.services.add` checks its URL."""

    url = forms.CharField(
        label=_("URL"),
        max_length=500,
        widget=forms.URLInput(attrs={"placeholder": "https://example.org/hark", "autocomplete": "off"}),
    )
    events = forms.MultipleChoiceField(
        label=_("Notify me when"),
        choices=list(EVENT_WORDS.items()),
        initial=["job.done", "job.failed"],
        widget=forms.CheckboxSelectMultiple,
    )
