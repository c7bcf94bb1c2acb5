"""Settings from ``.env``: which file applies, and that the environment has priority."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

import pytest

from core.data_folder import REPOSITORY
from core.errors import HarkError
from core.settings import file as settings_file
from core.settings.file import read_settings_files
from core.settings.given_secrets import check_given_secrets
from core.settings.rules import RULES
from tests.support.programs import prepared
from tests.support.repository import repository_files

NAMES = ("HARK_LLM_URL", "HARK_LLM_KEY", "HF_HOME", "HARK_DATA")


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A data folder and a code folder, both without a file, and an environment without the names."""
    data, code = tmp_path / "data", tmp_path / "code"
    data.mkdir()
    code.mkdir()
    for name in NAMES:
        monkeypatch.setenv(name, "for monkeypatch to take away afterwards")
        monkeypatch.delenv(name)
    monkeypatch.delenv("HARK_SETTINGS_FILE", raising=False)
    monkeypatch.setattr(settings_file, "REPOSITORY", code)
    monkeypatch.setenv("HARK_DATA", str(data))
    return data, code


def test_the_environment_overrides_the_data_folders_file(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, code = places
    (data / ".env").write_text("HARK_LLM_URL=http://data\nHARK_LLM_KEY=of-data\n")
    (code / ".env").write_text("HARK_LLM_URL=http://code\nHF_HOME=/models\n")
    monkeypatch.setenv("HARK_LLM_KEY", "of-environment")
    assert read_settings_files() == [data / ".env", code / ".env"]
    assert os.environ["HARK_LLM_KEY"] == "of-environment"
    assert os.environ["HARK_LLM_URL"] == "http://data"
    assert os.environ["HF_HOME"] == "/models"


def test_the_file_of_the_repository_may_set_the_data_folder(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, code = places
    monkeypatch.delenv("HARK_DATA")
    (code / ".env").write_text(f"HARK_DATA={data}\n")
    (data / ".env").write_text("HARK_LLM_URL=http://data\n")
    read_settings_files()
    assert os.environ["HARK_LLM_URL"] == "http://data"


def test_values_are_not_expanded(places: tuple[Path, Path]) -> None:
    data, _code = places
    (data / ".env").write_text("\ufeff# a comment\nexport HARK_LLM_KEY='sk-$HOME ${HOME}#1'\nHARK_LLM_URL\n")
    read_settings_files()
    assert os.environ["HARK_LLM_KEY"] == "sk-$HOME ${HOME}#1"
    assert "HARK_LLM_URL" not in os.environ  # a name without a value has no effect


def test_a_missing_file_is_not_an_error() -> None:
    assert read_settings_files() == []


def test_the_settings_file_can_be_replaced_or_disabled(
    places: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, _code = places
    (data / ".env").write_text("HARK_LLM_URL=http://data\n")
    monkeypatch.setenv("HARK_SETTINGS_FILE", "")
    assert read_settings_files() == [] and "HARK_LLM_URL" not in os.environ
    named = tmp_path / "hark.env"
    monkeypatch.setenv("HARK_SETTINGS_FILE", str(named))
    with pytest.raises(HarkError, match="is missing"):
        read_settings_files()
    named.write_text("HARK_LLM_URL=http://named\n")
    assert read_settings_files() == [named] and os.environ["HARK_LLM_URL"] == "http://named"


def test_an_unreadable_line_is_reported_without_its_content(places: tuple[Path, Path]) -> None:
    data, _code = places
    (data / ".env").write_bytes(b"HARK_LLM_KEY=secret\xff\xfe\n")
    with pytest.raises(HarkError) as raised:
        read_settings_files()
    assert "secret" not in str(raised.value) and ".env" in raised.value.why


SHIPPED = re.findall(
    r"^  (DATABASE_URL|REDIS_URL|HARK_SECRET_KEY|HARK_METRICS_TOKEN): (.+)$",
    (REPOSITORY / "deploy" / "kubernetes" / "data.yaml").read_text(),
    re.MULTILINE,
)


def test_startup_rejects_a_placeholder_key_with_advice(tmp_path: Path) -> None:
    data = tmp_path / "new"
    data.mkdir()
    said = prepared(data, HARK_SECRET_KEY="replace-with-a-long-random-string")
    assert said.startswith("HARK_SECRET_KEY can be guessed. It is a placeholder") and "openssl rand" in said
    assert "Traceback" not in said and "replace-with" not in said and list(data.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *SHIPPED,
        ("HARK_SECRET_KEY", "hunter2"),
        ("HARK_SECRET_KEY", "supersecret" * 3),
        ("HARK_SECRET_KEY", "<generate-with-openssl-rand-hex-32-please>"),
        ("HARK_SECRET_KEY", "0123456789abcdefghijklmnopqrstuvwxyz"),
        ("HARK_SECRET_KEY", "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7"),
        ("HARK_SECRET_KEY", "change-me-to-something-long-and-random"),
        ("HARK_SECRET_KEY", "django-insecure-1#q8z!u0r5w6y7x9k2m4n3p"),
        ("HARK_SECRET_KEY", "x" * 40),
        ("HARK_METRICS_TOKEN", "changeme"),
        ("HARK_SECRET_KEY_FALLBACKS", "changeme"),
        ("HARK_SECRET_KEY_FALLBACKS", "hunter2," + "0123456789abcdef" * 4),
    ],
)
def test_guessable_secrets_are_rejected(name: str, value: str) -> None:
    with pytest.raises(HarkError, match=f"{name} can be guessed"):
        check_given_secrets({name: value})


def test_all_shipped_example_files_are_covered() -> None:
    assert len(SHIPPED) == 4


def test_random_secrets_are_accepted() -> None:
    for make in (secrets.token_hex, secrets.token_urlsafe):
        for _ in range(1000):
            check_given_secrets({"HARK_SECRET_KEY": make(32), "DATABASE_URL": f"postgresql://hark:{make(24)}@db/hark"})
    check_given_secrets({"REDIS_URL": "redis://[", "HARK_METRICS_TOKEN": "0123abcd"})


INTERNAL = {"HARK_CLUSTER", "HARK_INSTALLATION"}  # set by Hark for its own processes


def test_the_settings_page_lists_exactly_the_variables_that_are_read() -> None:
    page = (REPOSITORY / "docs" / "settings.md").read_text(encoding="utf-8")
    first_cells = " ".join(re.findall(r"^\| (`[^|]+) \|", page, re.MULTILINE))
    listed = re.findall(r"`([A-Z_]+)(?:=\w+)?`", first_cells)
    names = [path.relative_to(REPOSITORY).as_posix() for path in repository_files()]
    product = [name for name in names if name.endswith(".py") and not name.startswith(("tests/", "lab/"))]
    source = {name: (REPOSITORY / name).read_text(encoding="utf-8") for name in ["hark", *product]}
    whole = "\n".join(source.values())
    reading = r'(?:environ\.get|environ|_flag|_number)[(\[]"([A-Z_]+)"'
    of_the_portal = re.findall(reading, source["webui/settings.py"])
    read = {*re.findall(r"\bHARK_[A-Z]+(?:_[A-Z]+)*\b", whole), *RULES, *of_the_portal} - INTERNAL
    assert len(of_the_portal) > 15 and not read - {*listed}, read - {*listed}
    assert not [name for name in listed if not re.search(rf"\b{name}\b", whole)]
