"""Files for the public host: workflows, issue forms, the changelog."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
import yaml

from core.data_folder import REPOSITORY

GITHUB = REPOSITORY / ".github"
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
FIELDS = {"markdown", "textarea", "input", "dropdown", "checkboxes"}


def loaded(text: str) -> dict[str, Any]:
    # YAML 1.1 reads "on" as true.
    return yaml.safe_load(re.sub(r"^on:", '"on":', text, flags=re.MULTILINE))  # type: ignore[no-any-return]


def test_the_workflow_runs_the_same_commands_as_ci() -> None:
    text = (GITHUB / "workflows" / "tests.yml").read_text()
    workflow = loaded(text)
    assert set(workflow["on"]) == {"push", "pull_request"} and workflow["permissions"] == {"contents": "read"}
    commands = {name: [step.get("run") for step in job["steps"]] for name, job in workflow["jobs"].items()}
    assert commands["tests"][-1] == "bash .ci/run" and commands["topology"][-1] == "./hark test -m topology"
    assert (REPOSITORY / ".ci" / "run").read_text().splitlines()[-3:] == [
        "./hark test", "./hark test -m slow", "exec ./hark test lab",
    ]  # fmt: skip
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 120
        assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in job["steps"] if "uses" in step)
    (wanted,) = re.findall(r'^PACKAGES="([^"]+)"', (REPOSITORY / "hark").read_text(), re.MULTILINE)
    for job in commands.values():
        (installs,) = [run for run in job if run and "apt-get install" in run]
        assert set(wanted.split()) <= set(installs.split())
    oldest = re.findall(r">=(3\.\d+)", (REPOSITORY / "pyproject.toml").read_text())
    assert oldest[0] in workflow["jobs"]["tests"]["strategy"]["matrix"]["python"]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_forms_have_valid_fields(path: Any) -> None:
    form = loaded(path.read_text())
    assert form["name"] and form["description"] and set(form) <= {"name", "description", "labels", "body", "title"}
    ids = [field["id"] for field in form["body"] if field["type"] != "markdown"]
    assert len(ids) == len(set(ids)) >= 2
    for field in form["body"]:
        assert field["type"] in FIELDS and field["attributes"]["label"]
    assert any(field.get("validations", {}).get("required") for field in form["body"])


def test_the_changelog_begins_with_this_version() -> None:
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    (first, *_earlier) = re.findall(r"^## (\S+?),? ", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first == version
