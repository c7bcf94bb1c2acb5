"""The form of a new detector: its languages are those of the engines that are ready."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from audio_generation.registry import engines
from core.events import silent_reporter
from pipeline.training.jobs import plan_job
from tests.support.rendered_pages import flat
from webui import speech
from webui.jobs.models import Job
from webui.trainer.models import Version

NIHAO = "你好世界"


def offered(page: str) -> dict[str, str]:
    """Return code and name of the menu's languages."""
    menu = re.search(r'<select id="id_language".*?</select>', page, re.DOTALL)
    return dict(re.findall(r'<option value="([^"]*)"[^>]*>([^<]*)</option>', menu[0]))


def test_the_menu_lists_every_trainable_language_with_voices(owners: Client) -> None:
    found = offered(owners.get(reverse("trainer:new")).text)
    assert next(iter(found)) == "en"
    assert (found["de"], found["es"], found["fr"], found["cmn"]) == ("German", "Spanish", "French", "Mandarin Chinese")
    assert all(any(engine.voices(code) for engine in engines().values()) for code in found)
    assert all(name != code for code, name in found.items())
    assert "cy" not in found  # espeak-ng speaks Welsh, but there are no Welsh words for sentences without the phrase


def test_languages_are_named_in_the_users_language(owners: Client) -> None:
    page = owners.get(reverse("trainer:new"), headers={"Accept-Language": "de"}).text
    assert offered(page)["de"] == "Deutsch" and offered(page)["fr"] == "Französisch"


@pytest.mark.parametrize(
    ("wanted", "chosen"), [("de", "de"), ("de-AT", "de"), ("zh", "cmn"), ("cy", "en"), ("?", "en")]
)
def test_a_phrase_from_a_transcript_selects_its_language(owners: Client, wanted: str, chosen: str) -> None:
    page = flat(owners.get(reverse("trainer:new"), {"phrase": "x", "language": wanted}))
    assert f'<option value="{chosen}" selected>' in page


def test_a_german_phrase_is_planned(owners: Client, portal: Path) -> None:
    page = owners.get(reverse("trainer:new")).text
    assert "de" in offered(page)
    sent = {"phrase": "Hallo Kompass", "language": "de", "effort": "trial", "mining": "on"}  # as the form has it
    answer = owners.post(reverse("trainer:new"), sent)
    job = Job.objects.get()
    assert answer.status_code == 302 and job.kind == "plan" and job.spec["choices"]["language"] == "de"
    plan = plan_job(job.spec, portal, silent_reporter())
    assert plan["buckets"]["positive"]["generate"] > 0 and plan["buckets"]["plain_negative"]["generate"] > 0
    german = {voice.name for voice in engines()["espeak"].voices("de")}
    spoken = [sample for samples in plan["samples"].values() for sample in samples if sample["engine"] == "espeak"]
    assert spoken and {sample["voice"] for sample in spoken} <= german


def test_a_phrase_in_a_different_script_points_to_the_language_menu(owners: Client) -> None:
    refused = owners.post(reverse("trainer:new"), {"phrase": NIHAO, "language": "en", "effort": "trial"})
    advice = owners.get(reverse("trainer:advice"), {"phrase": NIHAO, "language": "en"})
    for page in (refused.text, advice.text):
        assert 'href="#id_language"' in page and "--language" not in page
    assert refused.status_code == 422 and 'id="id_language"' in refused.text
    assert "#id_language" not in owners.get(reverse("trainer:advice"), {"phrase": "x", "language": "en"}).text
    assert (
        owners.post(reverse("trainer:new"), {"phrase": NIHAO, "language": "cmn", "effort": "trial"}).status_code == 302
    )


def test_a_language_without_a_name_is_shown_by_its_code() -> None:
    assert speech.language_name("xx") == "xx"


def test_severities_match_the_command_line(owners: Client) -> None:
    said = owners.get(reverse("trainer:advice"), {"phrase": "go"}).text
    assert '<p class="note bad">✗ It is too short' in said
    said = owners.get(reverse("trainer:advice"), {"phrase": "xqzt"}).text
    assert '<p class="note warning">! Hark does not know how common it is' in said
    said = owners.get(reverse("trainer:advice"), {"phrase": "hey compass"}).text
    assert '<p class="note good">✓ Good length' in said


def test_an_invalid_phrase_is_rejected_once(owners: Client) -> None:
    answer = owners.post(reverse("trainer:new"), {"phrase": "🙂", "language": "en", "effort": "trial"})
    page = flat(answer)
    assert answer.status_code == 422 and page.count('class="error"') == 1
    trigger = re.search(r'hx-trigger="([^"]*)" hx-target="#advice"', page)
    assert "load" not in trigger[1] and "input changed" in trigger[1]
    page = flat(owners.get(reverse("trainer:new"), {"phrase": "hey compass"}))
    assert 'hx-trigger="load, input' in page


def test_the_length_of_a_phrase_is_consistent(owners: Client) -> None:
    said = owners.get(reverse("trainer:advice"), {"phrase": "hey compass"}).text
    (first, second) = re.findall(r"about ([\d.]+) s", said)
    assert first == second


def test_a_phrase_trained_before_links_to_its_detector(owners: Client, version: Version, others: Client) -> None:
    def said(client: Client, phrase: str) -> str:
        return client.get(reverse("trainer:advice"), {"phrase": phrase}).text

    place = f'href="{reverse("trainer:detector", args=[version.detector_id])}"'
    assert place in said(owners, "Hey, compass!") and place not in said(owners, "hey lantern")
    assert place not in said(others, "hey compass")
