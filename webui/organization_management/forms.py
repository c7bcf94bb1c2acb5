"""Forms of organizations."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from webui.organization_management.services import MAX_NAME_LENGTH
from webui.organizations.models import Role

MAX_DAYS = 36_500


class NameForm(forms.Form):
    """The form for an organization's name, which :mod:`webui.organization_management.services` checks."""

    name = forms.CharField(
        label=_("Name"), max_length=MAX_NAME_LENGTH, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )


class SharedForm(forms.Form):
    """Days for which recordings remain shared; empty means until a user withdraws them."""

    recordings_days = forms.IntegerField(
        label=_("Stop sharing recordings after [days]"), min_value=1, max_value=MAX_DAYS, required=False
    )


class InvitationForm(forms.Form):
    """The role that an invitation gives."""

    role = forms.ChoiceField(label=_("Role"), choices=Role.choices, initial=Role.MEMBER)
