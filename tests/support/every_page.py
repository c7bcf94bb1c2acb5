"""Every page of the portal, with something of every kind on it."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any
from urllib.parse import quote

import numpy as np
from django.test import Client
from django.urls import reverse

from db.db_api import Library
from db.records import NewClip
from pipeline.training.configuration.specification import as_spec
from tests.support.detector_versions import address, make_comparison, make_report, make_version
from tests.support.portal_users import PASSWORD
from tests.support.ready_recordings import SAID, ready_recording, transcript_of_words
from webui.accounts import services
from webui.accounts.models import User
from webui.accounts.storage import user_data
from webui.jobs.models import Job
from webui.listening.models import Sample
from webui.recordings.models import Recording
from webui.recordings.sharing.links import share
from webui.trainer.models import Version
from webui.trainer.services import configuration
from webui.webhooks.models import Webhook

ERROR = {"what": "It stopped.", "why": "The disk is full.", "what_to_do": "Retry."}
PLAN: dict[str, Any] = {
    "phrase": "hey compass", "effort": "trial", "estimate_s": 60, "real_negative_hours": 0, "held_out_engine": "flite",
    "buckets": {
        name: {"phrases": 1234, "target": 12_345, "reused": 1234, "mined": 1234, "generate": 12_345}
        for name in ("positive", "confusable", "inbetween", "plain_negative")
    },
    "samples": {"positive": [{"text": "hey compass", "engine": "espeak", "voice": "en"}]},
    "engines": {"espeak": 9, "flite": 1},
    "engines_missing_parts": {"piper": "There is no Piper voice in /srv/hark/voices."},
    "unfinished": {"planned": 20, "spoken": 12, "goes_on_with": "synthesize"},
}  # fmt: skip


def every_page(user: User) -> dict[str, str]:
    """Return the URLs, by name, of pages for a signed-in user."""
    data = user_data(user)
    (data / "models").mkdir(parents=True, exist_ok=True)
    versions = [make_version(user, data, number) for number in (1, 2, 3)]
    make_comparison(*versions)
    lost = Version.objects.get(pk=versions[1].pk)
    old = {"missed": 1, "utterances": 9, "false_alarms": 0, "hours": 1.0, "marked_fired": 0}
    retrained = {"run": versions[0].path.name, "before": old, "after": old, "marked": 1, "better": False}
    report = make_report() | {"compared": {**retrained, "anti_keywords": {"phones": [[1]]}}}
    (lost.path / "report.json").write_text(json.dumps(report))
    detector = versions[0].detector
    for verdict, state in (("missed", "new"), ("false_alarm", "new"), ("missed", "taken")):
        Sample.objects.create(
            user=user, detector=detector, verdict=verdict, file="x", seconds=1.0, version=1, state=state
        )
    with Library(data) as library:
        clips = library.add_clips(
            NewClip(np.full(160 + n, 0.1, np.float32), "Hey!", "hey campus", "en", "espeak", request_id=f"r:{n}")
            for n in range(5)
        )
    spec = as_spec(configuration(phrase="hey compass"))
    plan, failed, going, imported = (
        Job.objects.create(user=user, kind=kind, queue="general", title="hey compass", spec=each, state=state, **more)
        for kind, each, state, more in (
            ("plan", spec, "done", {"result": PLAN}),
            ("train", spec, "failed", {"error": ERROR}),
            ("train", spec, "running", {}),
            ("import", {}, "done", {"result": {"added": 3}}),
        )
    )  # fmt: skip
    assert imported
    said = tuple((speaker, text, sure) for _ in range(8) for speaker, text, sure in SAID)
    recording = ready_recording(user, "a meeting of a long afternoon.wav", transcript_of_words(said))
    short = ready_recording(user, "short.wav")
    waiting = Recording.objects.create(user=user, name="waiting.wav", folder="audio/waiting", job=going)
    services.create_token(user=user, name="a program at home", scopes=["read", "train", "wakes"])
    Webhook.objects.create(user=user, url="https://hooks.example.org/" + 8 * "a-long-path/", events=["job.done"])
    share(recording=recording)
    numbers, at = [detector.pk, 1], reverse
    phrase = f"?phrase={quote('hey compass')}&language=en"
    pages = {
        "home": "/",
        "new": "/new" + phrase,
        "plan": at("trainer:plan", args=[plan.pk]),
        "version": address("version", versions[2]),
        "version that lost": address("version", versions[1]),
        "compare": address("compare", versions[0]),
        "use": address("use", versions[0]),
        "try": at("listening:try", args=numbers),
        "inbox": "/inbox",
        "jobs": "/jobs/",
        "job": at("jobs:detail", args=[going.pk]),
        "job that failed": at("jobs:detail", args=[failed.pk]),
        "job that ended": at("jobs:detail", args=[versions[0].job_id]),
        "recordings": "/recordings/",
        "recording": at("recordings:recording", args=[recording.pk]),
        "recording at work": at("recordings:recording", args=[waiting.pk]),
        "assign": at("recordings:assign", args=[short.pk, 0]),
        "delete": at("recordings:delete", args=[short.pk]),
        "live": at("recordings:live"),
        "search": at("recordings:search") + "?q=lantern",
        "workspace": at("compatibility:workspace"),
        "workspace: training": at("compatibility:training"),
        "workspace: interact": at("compatibility:interact-tab"),
        "library": "/library/",
        "clip": at("library:clip", args=[clips[0]]),
        "record": "/library/record",
        "record a phrase": "/library/record" + phrase,
        "import": "/library/import",
        "engines": "/engines",
        "account": "/account/",
        "second factor": "/account/second-factor",
        "confirm": "/account/again",
        "password": "/account/password",
        "log": "/account/log",
        "sessions": "/account/sessions",
        "help": "/help",
    }
    if user.is_owner:
        person = User.objects.exclude(pk=user.pk).earliest("pk")
        pages |= {
            "users": "/account/users",
            "user": at("accounts:user", args=[person.pk]),
            "log of all": "/account/users/log",
        }
    return pages


def fragments(client: Client, pages: dict[str, str]) -> dict[str, str]:
    """Return the URLs that those pages fetch when opened, by their paths."""
    asks = re.compile(r'hx-get="([^"]+)" hx-trigger="load|data-words-address="([^"]+)"')
    found = {}
    for page in pages.values():
        text = client.get(page).content.decode()
        for asked in ("".join(groups) for groups in asks.findall(text)):
            found[unescape(asked).split("?")[0]] = unescape(asked)
    return {**found, "/new/advice": "/new/advice?phrase=hey+compass&language=en"}  # with what is in the form


def pages_of_strangers(owner: User, other: User) -> dict[str, Any]:
    """Return the pages for anonymous visitors, by name; ``other`` has a second factor then."""
    from allauth.mfa.totp.internal.auth import TOTP

    link = services.password_link(user=owner, base_url="http://localhost")
    recording = ready_recording(owner, "shared.wav")
    _share, token = share(recording=recording)
    visitor = Client()
    TOTP.activate(other, 32 * "A")
    waiting = Client()
    waiting.post("/account/login", {"name": other.username, "password": PASSWORD})
    asked = {"login": "/account/login", "setup": link.removeprefix("http://localhost"), "gone": "/account/setup/x"}
    found = {name: visitor.get(path) for name, path in asked.items()}
    found["wrong"] = visitor.post("/account/login", {"name": "olivia", "password": "x"})
    found["shared"] = visitor.get(reverse("recordings:shared", args=[token]))
    found["code"] = waiting.get("/account/code")
    found["wrong code"] = waiting.post("/account/code", {"code": "1"})
    return found
