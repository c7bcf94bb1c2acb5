"""A scripted language model on this machine: it answers, hangs, refuses or lies."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support import http_server

KEY = "sk-very-secret-0123456789"
MODEL = "double-1"

# What a request gets: (status, headers, body), or text as an answer of the model.
Reply = http_server.Reply | str


class Double:
    """Records requests; ``replies`` are called with the request's messages, the last one repeatedly."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.replies: list[Callable[[list[dict[str, str]]], Reply]] = []
        self.url = ""

    def says(self, *replies: Reply | Callable[[list[dict[str, str]]], Reply]) -> None:
        """Set the replies, one per request."""
        self.replies = [reply if callable(reply) else lambda _, reply=reply: reply for reply in replies]

    def next(self, path: str, headers: dict[str, str], request: dict[str, Any]) -> Reply:
        self.paths.append(path)
        self.headers.append(headers)
        self.requests.append(request)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        return reply(request["messages"])


def data_of(messages: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Return the rows between <data> and </data> of the first request."""
    text = messages[1]["content"]
    inside = text[text.index("<data>\n") + 7 : text.index("\n</data>")]
    return [json.loads(line) for line in inside.split("\n")]


@contextmanager
def running_double() -> Iterator[Double]:
    double = Double()

    def answer(path: str, headers: dict[str, str], body: bytes) -> http_server.Reply:
        reply = double.next(path, headers, json.loads(body))
        if not isinstance(reply, str):
            return reply
        message = {"choices": [{"message": {"role": "assistant", "content": reply}}]}
        return 200, {"Content-Type": "application/json"}, json.dumps(message).encode()

    with http_server.serving(answer) as url:
        double.url = f"{url}/v1"
        yield double


def hang(seconds: float = 1.5) -> Callable[[list[dict[str, str]]], Reply]:
    """Reply only after the client has given up."""

    def reply(messages: list[dict[str, str]]) -> Reply:
        time.sleep(seconds)
        return "{}"

    return reply


def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the language model from the environment."""
    for name in ("URL", "KEY", "MODEL", "PART_CHARACTERS"):
        monkeypatch.delenv(f"HARK_LLM_{name}", raising=False)
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)


def in_capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set up a language model as a `.env` does, without a server; it writes in capitals."""

    def ask(task: str, rows: Any, check: Any, chosen: Any) -> Any:
        return check({"segments": [{"segment": row["segment"], "text": row["text"].upper()} for row in rows]})

    monkeypatch.setenv("HARK_LLM_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("HARK_LLM_MODEL", "double")
    monkeypatch.setattr("pipeline.recordings.language_models.llm.ask", ask)


def set_up(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the settings at it."""
    unset(monkeypatch)
    monkeypatch.setenv("HARK_LLM_URL", double.url + "/")
    monkeypatch.setenv("HARK_LLM_KEY", KEY)
    monkeypatch.setenv("HARK_LLM_MODEL", MODEL)
    monkeypatch.setenv("HARK_LLM_TIMEOUT_S", "10")
    http_server.do_not_wait(monkeypatch)
