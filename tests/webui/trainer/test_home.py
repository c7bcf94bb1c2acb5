"""GET /: the start page."""

from __future__ import annotations

from pathlib import Path

from django.test import Client
from django.urls import reverse

from pipeline.training.configuration.advice import advise
from tests.support.detector_versions import make_version
from webui.accounts.models import User
from webui.navigation import EXAMPLES, PAGE
from webui.trainer.models import Detector


def test_users_without_detectors_are_offered_phrases(owners: Client, owner: User, portal: Path) -> None:
    page = owners.get(reverse("home")).text
    assert f'href="{reverse("trainer:new")}?phrase=hey%20lantern"' in page
    make_version(owner, portal)
    assert "?phrase=" not in owners.get(reverse("home")).text


def test_many_detectors_are_paged(owners: Client, owner: User) -> None:
    for number in range(PAGE + 1):
        Detector.objects.create(user=owner, phrase=f"phrase {number:02}", language="en")
    first, second = (owners.get(reverse("home"), {"page": number}).text for number in (1, 2))
    assert f"phrase {PAGE:02}" in first and "phrase 00" not in first and "?page=2" in first
    assert "phrase 00" in second and f"phrase {PAGE:02}" not in second


def test_suggested_phrases_get_no_warnings() -> None:
    assert {note.level for phrase in EXAMPLES for note in advise(phrase, "en").notes} == {"good"}
