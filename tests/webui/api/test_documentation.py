"""The documentation of the API: its page, its schema, and the examples of docs/api.md, which are run here."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client

from core.data_folder import REPOSITORY
from tests.support.api_calls import Call, World, a_token
from tests.support.api_operations import HEARD, OPERATIONS, SCHEMA
from webui.api import recording_schemas, schemas
from webui.api.documentation import example_of
from webui.webhooks import services as webhooks

pytestmark = pytest.mark.django_db

DOCS = (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the code of docs/api.md that is marked to run."""
    return re.findall(rf"^```{language} {{\.runs}}\n(.*?)^```$", DOCS, flags=re.DOTALL | re.MULTILINE)


def test_the_page_loads_swagger_ui_from_this_server_only(client: Client) -> None:
    response = client.get("/api/docs")
    page = response.text
    assert response.status_code == 200
    assert "script-src 'self'" in response["Content-Security-Policy"]
    assert not re.search(r"<script(?![^>]*src=\"/static/)|<style|\son\w+=|style=", page)
    assert set(re.findall(r"(?:src|<link[^>]*href)=\"(https?:)?//", page)) == set()
    for name in re.findall(r"(?:src|href)=\"(/static/(?:ninja|hark/api)[^\"]+)", page):
        assert client.get(name).status_code == 200
    assert 'data-schema="/api/openapi.json"' in page


def test_the_schema_is_complete(client: Client) -> None:
    schema = client.get("/api/openapi.json").json()
    assert schema == SCHEMA and schema["openapi"].startswith("3.1") and schema["info"]["title"] == "Hark"
    referred = set(re.findall(r"#/components/schemas/(\w+)", str(schema)))
    assert referred <= set(schema["components"]["schemas"])
    identifiers = [operation["operationId"] for _path, _method, operation in OPERATIONS]
    assert len(identifiers) == len(set(identifiers)) > 40
    assert set(schema["components"]["securitySchemes"]) == {"Token", "Session"}


@pytest.mark.parametrize(
    "model",
    [
        getattr(module, name)
        for module in (schemas, recording_schemas)
        for name in dir(module)
        if name.endswith(("Out", "In")) or name == "Problem"
    ],
)
def test_examples_fit_their_schemas(model: Any) -> None:
    described = model.model_json_schema(ref_template="#/components/schemas/{model}")
    model.model_validate(example_of(described, described.get("$defs", {})))


def curl(call: Call, line: str, headers: dict[str, str], recording: Path) -> Any:
    """Do what curl would do."""
    words = shlex.split(line)
    assert words[:2] == ["curl", "--fail-with-body"]
    method, body, form, address = "get", None, {}, ""
    sent = dict(headers)
    rest = iter(words[2:])
    for word in rest:
        if word == "-X":
            method = next(rest).lower()
        elif word == "-H":
            name, _colon, value = next(rest).partition(": ")
            if name != "Authorization":
                sent[name] = value
        elif word == "--json":
            method, body = "post", next(rest)
        elif word == "-F":
            name, _equals, value = next(rest).partition("=")
            method = "post"
            form[name] = recording.open("rb") if value.startswith("@") else value
        elif word == "-o":
            next(rest)
        else:
            assert word.startswith("$HARK_SERVER/")
            parts = urlsplit(word.removeprefix("$HARK_SERVER"))
            address = parts.path + (f"?{parts.query}" if parts.query else "")
    if form:
        return call(method, address, body=form, form=True, headers=sent)
    return call(method, address, body=body, headers=sent)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines()]


@pytest.mark.parametrize("line", COMMANDS)
def test_documented_curl_commands_work(
    line: str, call: Call, world: World, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webui.listening.services.detect_in_file", lambda version, path, rate: dict(HEARD))
    line = line.replace("/detectors/1/", f"/detectors/{world.version.detector_id}/")
    response = curl(call, line, a_token(world.user), recording)
    assert response.status_code in (200, 201), response.content


def test_curl_commands_are_documented() -> None:
    assert len(COMMANDS) >= 7 and all(line.startswith("curl ") for line in COMMANDS)


def test_the_documented_signature_check_works() -> None:
    import time

    (source,) = blocks("python")
    names: dict[str, Any] = {}
    exec(source, names)
    is_genuine = names["is_genuine"]
    now = int(time.time())
    assert is_genuine("whsec_x", webhooks.signature("whsec_x", now, '{"a": 1}'), b'{"a": 1}')
    assert not is_genuine("whsec_x", webhooks.signature("whsec_x", now, '{"a": 1}'), b'{"a": 2}')
    assert not is_genuine("whsec_y", webhooks.signature("whsec_x", now, '{"a": 1}'), b'{"a": 1}')
    assert not is_genuine("whsec_x", webhooks.signature("whsec_x", now - 3600, '{"a": 1}'), b'{"a": 1}')


def test_documented_scopes_and_events_exist() -> None:
    from webui.accounts.services import SCOPES

    assert set(re.findall(r"^\| `(\w+)` \|", DOCS, flags=re.MULTILINE)) == set(SCOPES)
    assert all(event in DOCS for event in webhooks.EVENTS)
