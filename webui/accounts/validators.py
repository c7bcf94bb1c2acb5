"""Which names and passwords may be chosen."""

from __future__ import annotations

import unicodedata

from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

FURTHER = 4  # characters of a password beside one's name


def latin_letters(name: str) -> None:
    """Letters of one alphabet look like those of another: a name in Cyrillic could pass for somebody else's. Raises
    ValidationError: the name has a letter or digit of another."""
    for letter in name:
        if not letter.isascii() and "LATIN" not in unicodedata.name(letter, ""):
            raise ValidationError(_("A name may have Latin letters only; %(letter)s is not one.") % {"letter": letter})


class MoreThanTheName:
    """A password is more than its user's name again and again. Django's own compares the two as a whole."""

    def validate(self, password: str, user: AbstractBaseUser | None = None) -> None:
        """Called by Django. Raises ValidationError."""
        name = user.get_username().casefold() if user is not None else ""
        if name and name in password.casefold() and len(password.casefold().replace(name, "")) < FURTHER:
            raise ValidationError(self.get_help_text(), code="password_too_similar")

    def get_help_text(self) -> str:
        return _("Your password must contain more than your name.")
