"""Validators of names and passwords."""

from __future__ import annotations

import unicodedata

from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

FURTHER = 4  # characters that a password must have in addition to the name


def latin_letters(name: str) -> None:
    """Raise ValidationError if a name has letters of other alphabets: a Cyrillic name can look like another user's."""
    for letter in name:
        if not letter.isascii() and "LATIN" not in unicodedata.name(letter, ""):
            raise ValidationError(
                _("A name can contain only Latin letters; %(letter)s is not one.") % {"letter": letter}
            )


class MoreThanTheName:
    """Rejects a password that only repeats the user's name; Django's validator compares the two as a whole."""

    def validate(self, password: str, user: AbstractBaseUser | None = None) -> None:
        name = user.get_username().casefold() if user is not None else ""
        if name and name in password.casefold() and len(password.casefold().replace(name, "")) < FURTHER:
            raise ValidationError(self.get_help_text(), code="password_too_similar")

    def get_help_text(self) -> str:
        return _("Your password must not consist of your name alone.")
