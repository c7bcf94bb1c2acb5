"""The German translation: complete, with the original's placeholders, compiled, and shown on request."""

from __future__ import annotations

import ast
import gettext
import json
import re
from collections import Counter
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from core.data_folder import REPOSITORY
from core.errors import HarkError
from core.events import Reporter
from core.worded import Worded, worded
from pipeline.corpora import enrolment as takes
from pipeline.training.configuration.efforts import EFFORTS
from tests.support.portal_jobs import claimed
from tests.support.rendered_pages import flat
from tests.support.translated import messages_in_code, messages_in_template
from webui import translation
from webui.accounts.models import User
from webui.jobs import services
from webui.jobs.management.commands.makemessages import SAYING, TEMPLATES
from webui.jobs.models import Job

LOCALE = REPOSITORY / "webui" / "locale" / "de" / "LC_MESSAGES"
PLACEHOLDER = re.compile(r"%%|%(?:\(\w+\))?[sd]|</?\w+>")
GERMAN = {"Accept-Language": "de-DE,de;q=0.9,en;q=0.5"}


def entries(path: Path) -> list[tuple[str, dict[str, str]]]:
    """Return the entries of a .po file: comments, msgid, msgid_plural, msgstr, msgstr[0], and so on."""
    found = []
    for block in path.read_text(encoding="utf-8").strip().split("\n\n"):
        comments, parts, name = [], {}, ""
        for line in block.splitlines():
            if line.startswith("#"):
                comments.append(line)
            elif match := re.fullmatch(r'(msg\w+(?:\[\d\])?) (".*")', line):
                name = match[1]
                parts[name] = ast.literal_eval(match[2])
            else:
                parts[name] += ast.literal_eval(line)
        found.append(("\n".join(comments), parts))
    return found


HEADER, *ENTRIES = entries(LOCALE / "django.po")


def translations(parts: dict[str, str]) -> list[tuple[str, str]]:
    """Return original and translation of an entry, each form separately."""
    if "msgid_plural" not in parts:
        return [(parts["msgid"], parts["msgstr"])]
    return [(parts["msgid"], parts["msgstr[0]"]), (parts["msgid_plural"], parts["msgstr[1]"])]


def test_every_message_is_translated() -> None:
    assert len(ENTRIES) > 600
    assert not [parts["msgid"] for comments, parts in ENTRIES if "fuzzy" in comments or "#~" in comments]
    assert not [one for _, parts in ENTRIES for one, other in translations(parts) if not other.strip()]


def test_translations_keep_placeholders_and_edges() -> None:
    for one, other in (pair for _, parts in ENTRIES for pair in translations(parts)):
        assert Counter(PLACEHOLDER.findall(one)) == Counter(PLACEHOLDER.findall(other)), one
        assert (one[:1].isspace(), one[-1:].isspace()) == (other[:1].isspace(), other[-1:].isspace()), one
        assert one[-1] not in ".:?" or one[-1] == other[-1] or other.endswith("_"), one


def test_the_compiled_catalogue_matches_the_source() -> None:
    """To fix a failure, run manage.py compilemessages."""
    with (LOCALE / "django.mo").open("rb") as file:
        compiled = dict(gettext.GNUTranslations(file)._catalog)
    assert set(compiled.pop("").splitlines()) <= set(HEADER[1]["msgstr"].splitlines())
    written: dict[object, str] = {}
    for _, parts in ENTRIES:
        if "msgid_plural" in parts:
            written |= {(parts["msgid"], form): parts[f"msgstr[{form}]"] for form in (0, 1)}
        else:
            written[parts["msgid"]] = parts["msgstr"]
    assert compiled == written


def test_the_catalogue_has_every_message_of_the_code() -> None:
    """To fix a failure, in webui/: manage.py makemessages -l de --no-location, translate, manage.py compilemessages."""
    portal = REPOSITORY / "webui"
    said: dict[str, str] = {}
    for path in (*portal.rglob("*.py"), *(path for room in SAYING for path in (REPOSITORY / room).rglob("*.py"))):
        said |= messages_in_code(path)
    known = {parts["msgid"]: parts.get("msgid_plural", "") for _, parts in ENTRIES}
    assert said == {text: known.get(text) for text in said}
    templates = [path for path in (portal / "templates").rglob("*.*") if path.suffix in (".html", ".txt")]
    templates += [REPOSITORY / template for template in TEMPLATES]
    in_templates = {words for path in templates for words in messages_in_template(path)}
    assert in_templates | set(said) == set(known)


def test_messages_of_lower_layers_are_translatable() -> None:
    assert {type(words) for words in (*(hint.words for hint in takes.HINTS), *takes.PROBLEMS.values())} == {Worded}
    assert set(EFFORTS) == set(translation.EFFORTS)
    # Stages of jobs; those of acoustic/ and of summarizers are seen at a terminal only, importing says names.
    paths = [path for room in ("training", "recordings") for path in (REPOSITORY / "pipeline" / room).rglob("*.py")]
    plain = re.compile(r"""reporter\.stage\("\w+", f?"[^"{]{4}""")
    assert [path.stem for path in paths if plain.search(path.read_text(encoding="utf-8"))] == ["training"]


def test_advice_is_german_for_german_users(owners: Client) -> None:
    def advice(phrase: str) -> str:
        answer = owners.get("/new/advice", {"phrase": phrase}, headers=GERMAN)
        return unescape(flat(answer))

    good, short = advice("hey compass"), advice("go")
    assert "Die Länge ist gut: 3 Silben und 8 Laute, etwa 0,6 s." in good
    assert "1 Silbe und 2 Laute" in short and "→ " in short
    assert not re.search(r"\b(It|People|Nothing|the|try)\b", short.split("</p>", 1)[1].split("Klingt")[0])
    english = unescape(flat(owners.get("/new/advice", {"phrase": "hey compass"})))
    assert "Good length: 3 syllables and 8 sounds, about 0.6 s." in english


def test_messages_of_a_job_are_translated(owners: Client, owner: User) -> None:
    job = claimed(services.submit(user=owner, kind="train", title="p", spec={"choices": {"phrase": "hey compass"}}))
    reporter = Reporter(lambda event: services.record(job, [json.loads(json.dumps(event))]))
    reporter.stage("plan", "Measuring on held-out voices")
    reporter.log(worded("%(engine)s stopped: %(why)s", engine="train", why="100 %"), "warning")
    reporter.stage("synthesize", worded("Synthesizing %(n)d clips", n=1200))
    page = owners.get(f"/jobs/{job.id}", headers=GERMAN).text
    assert "1200 Clips werden synthetisiert" in page
    told = owners.get(f"/jobs/{job.id}/events", headers=GERMAN).json()
    assert told["job"]["message"] == "1200 Clips werden synthetisiert"
    messages = [event["message"] for event in told["events"]]
    assert messages == [
        "An zurückgehaltenen Stimmen wird gemessen", "train wurde beendet: 100 %", "1200 Clips werden synthetisiert"
    ]  # fmt: skip
    told = owners.get(f"/jobs/{job.id}/events").json()
    assert (
        told["job"]["message"] == "Synthesizing 1200 clips" and told["events"][1]["message"] == "train stopped: 100 %"
    )
    job.refresh_from_db()
    assert job.message == "Synthesizing 1200 clips", "the stored message is English, as in the log"


TERMINAL = {"adapt_recognizer", "bundle", "browser", "peoples_speech", "training"}  # modules used at a terminal


def has_words(text: ast.JoinedStr) -> bool:
    return any(isinstance(part, ast.Constant) and re.search("[a-z]{2}", str(part.value)) for part in text.values)


def test_errors_shown_by_the_portal_are_translatable() -> None:
    """A plain sentence in a HarkError stays English."""
    rooms = (
        "phrase_augmentation",
        "pipeline/training",
        "pipeline/scoring",
        "pipeline/recordings",
        "pipeline/corpora",
        "webui/jobs",
    )
    paths = [path for room in rooms for path in (REPOSITORY / room).rglob("*.py") if path.stem not in TERMINAL]
    paths += [
        REPOSITORY / f"{name}.py"
        for name in ("core/audio_file", "core/data_folder", "core/http", "pipeline/job_process")
    ]
    plain = []
    for path in paths:
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "HarkError":
                said: list[ast.expr] = [arg for arg in call.args if isinstance(arg, ast.Constant) and arg.value]
                said += [arg for arg in (call.args[:1] + call.args[2:]) if isinstance(arg, ast.JoinedStr)]
                # A reason may be composed of the system's words only.
                said += [arg for arg in call.args[1:2] if isinstance(arg, ast.JoinedStr) and has_words(arg)]
                plain += [f"{path.name}:{arg.lineno}" for arg in said]
    assert not plain


def test_an_error_of_a_lower_layer_is_translated(owners: Client) -> None:
    def words(answer: Any) -> str:
        return unescape(answer.text)

    page = words(owners.get("/new/advice", {"phrase": "你好"}, headers=GERMAN))
    assert "„你好“ ist nicht in der Schrift der Sprache „en“ geschrieben. Das Zeichen „你“ gehört zur Schrift" in page
    assert '"你好" is not in the script' in words(owners.get("/new/advice", {"phrase": "你好"}))
    plan = {"phrase": "x", "language": "en", "effort": "quick"}
    assert "„x“ ist zu kurz. Es ist ein einzelner Buchstabe." in words(owners.post("/new", plan, headers=GERMAN))
    answer = owners.post("/library/record/check", {"audio": SimpleUploadedFile("no.wav", b"no sound")}, headers=GERMAN)
    assert answer.status_code == 422 and "no.wav ist kein Audio, das Hark lesen kann." in words(answer)


def test_an_error_of_a_job_is_translated(owners: Client, owner: User) -> None:
    job = claimed(services.submit(user=owner, kind="train", title="p", spec={"choices": {"phrase": "hey compass"}}))
    reporter = Reporter(lambda event: services.record(job, [json.loads(json.dumps(event))]))
    reporter.error(
        HarkError(
            worded("There is no folder %(folder)s.", folder="100 %"),
            "Why.",
            worded("Give the path of an existing folder."),
        )
    )
    told = owners.get(f"/jobs/{job.id}/events", headers=GERMAN).json()
    german = {
        "what": "Einen Ordner 100 % gibt es nicht.",
        "why": "Why.",
        "what_to_do": "Den Pfad eines vorhandenen Ordners angeben.",
    }
    assert told["job"]["error"] == german and told["events"][0].items() >= german.items()
    page = unescape(owners.get(f"/jobs/{job.id}", headers=GERMAN).text)
    assert "Einen Ordner 100 % gibt es nicht." in page and german["what_to_do"] in page
    assert owners.get(f"/jobs/{job.id}/events").json()["job"]["error"]["what"] == "There is no folder 100 %."


def test_a_page_is_german_for_german_users(owners: Client) -> None:
    page = owners.get("/", headers=GERMAN).text
    assert '<html lang="de">' in page and "Detektoren" in page and "Abmelden" in page and "Sign out" not in page
    page = owners.get("/").text
    assert '<html lang="en">' in page and "Sign out" in page


def test_an_error_page_is_translated(owners: Client, owner: object) -> None:
    assert "Nicht gefunden." in owners.get("/nothing", headers=GERMAN).text
    error = {"what": "The job was interrupted.", "why": "100 % <b>odd</b>", "what_to_do": ""}
    job = Job.objects.create(
        user=owner, kind="train", queue="training", title="p", spec={"choices": {}}, state="failed", error=error
    )
    page = owners.get(f"/jobs/{job.id}", headers=GERMAN).text
    assert "Der Auftrag wurde unterbrochen." in page and "100 % &lt;b&gt;odd&lt;/b&gt;" in page
    assert "fehlgeschlagen" in page and "Von Stimmen sprechen lassen" in page
    assert "Training" in owners.get("/jobs/", headers=GERMAN).text


def test_numbers_for_scripts_are_not_localized(owners: Client) -> None:
    page = owners.get("/library/record?phrase=hey+compass", headers=GERMAN).text
    assert f'data-seconds="{takes.TAKE_S}"' in page and "nah, mit normaler Stimme" in page


def test_the_language_can_be_chosen(owners: Client) -> None:
    page = owners.get("/account/").text
    assert 'value="de"' in page and "Deutsch" in page
    answer = owners.post("/account/language", {"language": "de", "next": "/account/"})
    assert answer.status_code == 302 and answer["Location"] == "/account/"
    assert owners.get("/account/language").status_code == 405
    assert '<html lang="de">' in owners.get("/account/").text
    owners.post("/account/language", {"language": "en", "next": "/account/"})
    assert '<html lang="en">' in owners.get("/account/", headers=GERMAN).text


@pytest.mark.parametrize("sent", [{"language": "de", "next": "https://evil.example/"}, {"language": "../x"}])
def test_the_language_form_never_redirects_elsewhere(owners: Client, sent: dict[str, str]) -> None:
    answer = owners.post("/account/language", sent)
    assert answer.status_code in (204, 302) and "evil" not in answer.get("Location", "")
