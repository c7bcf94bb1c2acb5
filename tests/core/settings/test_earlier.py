"""The names of an earlier system's ``.env``, and the effect of each."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.settings.earlier import ALIASES, adopt, checked
from core.settings.file import read_settings_files
from core.settings.rules import RULES, setting

SECRET = "9f86d081884c7d659a2feaa0c55ad015"
GOOD = {
    "SECRET_KEY": SECRET,
    "ALGORITHM": "HS256",
    "ACCESS_TOKEN_EXPIRE_MINUTES": "60",
    "OPENAI_MODEL_NAME": "gpt-4o-mini",
    "HF_TOKEN": "hf_x",
    "DATABASE_URL": "postgresql://somebody:secret@db/meetings",
    "CORS_ORIGINS": "https://app.example.org, http://localhost:3000/",
    "GOOGLE_CLIENT_IDS": "1.apps.googleusercontent.com",
    "WHISPER_MODEL": "large-v3",
    "MAX_AUDIO_LENGTH": "1800",
    "LOG_LEVEL": "warning",
    "JOB_QUEUE_MAX_SIZE": "20",
    "JOB_QUEUE_MAX_WORKERS": "4",
    "JOB_QUEUE_MAX_PER_USER": "1",
    "HARK_AUDIT_DAYS": "90",
    "HARK_JOBS_LEASE_S": "30",
    "HARK_LLM_PART_CHARACTERS": "1000",
    "HARK_LLM_TIMEOUT_S": "0.5",
    "HARK_REQUESTS_PER_MINUTE": "0",
    "HARK_UPLOAD_MAX_BYTES": "1e9",
    "HARK_USER_MAX_BYTES": "50000000000",
    "HARK_WAKES_PER_DAY": "0",
    "HARK_WORKERS": "4",
}
OWN = {
    "HARK_SECRET_KEY": SECRET,
    "OPENAI_MODEL": "gpt-4o-mini",
    "GOOGLE_CLIENT_ID": "1.apps.googleusercontent.com",
    "HARK_WHISPER_MODEL": "large-v3",
    "HARK_UPLOAD_MAX_SECONDS": "1800",
    "HARK_JOBS_WAITING": "20",
    "HARK_JOBS_RUNNING": "4",
    "HARK_JOBS_RUNNING_PER_USER": "1",
}
TAKEN = set(GOOD) | (set(OWN) & set(RULES))  # accepted by `checked` after `adopt`
BESIDE = {"OPENAI_API_KEY": "sk-x", "GOOGLE_CLIENT_SECRET": "secret"}  # settings that names in GOOD require


def test_each_name_is_adopted_under_harks_name() -> None:
    environment = GOOD | BESIDE
    adopt(environment)
    assert environment == {**GOOD, **BESIDE, **OWN}
    assert {one.name for one in checked(environment) if not one.refused} == TAKEN
    assert setting("CORS_ORIGINS", environment) == "https://app.example.org,http://localhost:3000"
    assert setting("ACCESS_TOKEN_EXPIRE_MINUTES", environment) == "60"


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("SECRET_KEY", "hark", "32 characters"),
        ("SECRET_KEY", "replace-with-a-long-random-string", "placeholder"),
        ("SECRET_KEY", "change-me-" * 4, "placeholder"),
        ("ALGORITHM", "none", "HS256"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "0", "whole number"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "525600", "20,160"),
        ("CORS_ORIGINS", "*", "origin"),
        ("CORS_ORIGINS", "https://a.example, https://b.example/page", "origin"),
        ("CORS_ORIGINS", '["https://a.example"', "list"),
        ("GOOGLE_CLIENT_IDS", "one,two", "one Google client"),
        ("WHISPER_MODEL", "openai/whisper-large-v3", "neither a size"),
        ("MAX_AUDIO_LENGTH", "30m", "whole number"),
        ("GPU_MEMORY_FRACTION", "0.8", "memory of a GPU"),
        ("LOG_LEVEL", "debug", "INFO"),
        ("JOB_QUEUE_MAX_SIZE", "many", "whole number"),
        ("JOB_QUEUE_MAX_AUDIO_MINUTES", "60", "no such limit"),
        ("DATABASE_URL", "sqlite:////srv/somebody/meetings.db", "data folder"),
        ("HARK_AUDIT_DAYS", "90d", "whole number from 1 to 36,500"),
        ("HARK_AUDIT_DAYS", "36501", "whole number from 1 to 36,500"),
        ("HARK_JOBS_RUNNING", "0", "whole number from 1"),
        ("HARK_LLM_PART_CHARACTERS", "-3", "above 0"),
        ("HARK_LLM_TIMEOUT_S", "0", "above 0"),
        ("HARK_LLM_TIMEOUT_S", "soon", "above 0"),
        ("HARK_UPLOAD_MAX_SECONDS", "inf", "above 0"),
        ("HARK_USER_MAX_BYTES", "50GB", "whole number from 0"),
        ("HARK_USER_MAX_BYTES", "9" * 5000, "whole number from 0"),
    ],
)
def test_invalid_settings_are_rejected_with_a_message(name: str, value: str, why: str) -> None:
    environment = {name: value}
    adopt(environment)
    assert environment == {name: value}, "the invalid value has no effect"
    (one,) = checked(environment)
    assert (one.name, one.refused) == (name, True) and why in one.effect and one.what_to_do
    assert "somebody" not in one.effect + one.what_to_do


@pytest.mark.parametrize(
    ("name", "needed"),
    [("GOOGLE_CLIENT_IDS", "GOOGLE_CLIENT_SECRET"), ("OPENAI_MODEL_NAME", "OPENAI_API_KEY or OPENAI_BASE_URL")],
)
def test_a_setting_without_effect_is_listed_as_rejected(name: str, needed: str) -> None:
    (one,) = checked({name: GOOD[name]})
    assert one.refused and f"without {needed}" in one.effect and needed in one.what_to_do


def test_lists_may_be_given_as_json() -> None:
    assert setting("CORS_ORIGINS", {"CORS_ORIGINS": '["https://a.example"]'}) == "https://a.example"


def test_harks_own_name_takes_precedence() -> None:
    environment = {"JOB_QUEUE_MAX_SIZE": "20", "HARK_JOBS_WAITING": "7"}
    adopt(environment)
    assert environment["HARK_JOBS_WAITING"] == "7"
    (one,) = [setting for setting in checked(environment) if setting.refused]
    assert "HARK_JOBS_WAITING is also set" in one.effect


def test_the_tests_cover_every_earlier_name() -> None:
    listed = {name for name in (*RULES, *ALIASES) if not name.startswith("JOB_QUEUE_MAX_")}
    assert listed == {"GPU_MEMORY_FRACTION"} | {name for name in TAKEN if not name.startswith("JOB_QUEUE_MAX_")}


def test_earlier_names_are_read_from_a_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_MODEL_NAME", "OPENAI_MODEL"):
        monkeypatch.setenv(name, "for monkeypatch to take away afterwards")
        monkeypatch.delenv(name)
    (tmp_path / "settings").write_text("OPENAI_MODEL_NAME=gpt-4o-mini\n")
    monkeypatch.setenv("HARK_SETTINGS_FILE", str(tmp_path / "settings"))
    read_settings_files()
    assert os.environ["OPENAI_MODEL"] == "gpt-4o-mini"
