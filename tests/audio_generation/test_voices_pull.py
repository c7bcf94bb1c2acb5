"""Downloads of voices from a double of the hub on this machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from audio_generation.voices_pull import pull
from core.errors import HarkError
from tests.support.http_server import Reply, do_not_wait, serving

FOLDER = "en/en_US/lessac/low"
LISTING = f"/api/models/rhasspy/piper-voices/tree/main/{FOLDER}"


class Hub:
    """Answers like huggingface.co: a listing in pages, and files."""

    def __init__(self) -> None:
        self.files = {
            "en_US-lessac-low.onnx": b"weights" * 300_000,
            "en_US-lessac-low.onnx.json": b"{}",
            "MODEL_CARD": b"* License: CC BY 4.0\n",
            "samples.mp3": b"not wanted",
        }
        self.asked: list[str] = []
        self.broken = ""

    def __call__(self, address: str, headers: dict[str, str], body: bytes) -> Reply:
        self.asked.append(address)
        path, _, query = address.partition("?")
        if path == LISTING:
            names = sorted(self.files)[1:] if "page=2" in query else sorted(self.files)[:1]
            more = {} if "page=2" in query else {"Link": f'<http://{headers["Host"]}{path}?page=2>; rel="next"'}
            return 200, more, json.dumps([self.entry(name) for name in names]).encode()
        if path.startswith("/api/models/"):
            return 404, {}, b""
        content = self.files[path.rpartition("/")[2]]
        if self.broken == "changed":
            content = content[::-1]
        half = content[: len(content) // 2]
        return 200, {"Content-Length": str(len(content))}, half if self.broken == "cut off" else content

    def entry(self, name: str) -> dict[str, object]:
        content = self.files[name]
        blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
        entry: dict[str, object] = {"type": "file", "path": f"{FOLDER}/{name}", "size": len(content), "oid": blob}
        if name.endswith(".onnx"):
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}
        return entry


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub()
    monkeypatch.setenv("HARK_DATA", str(tmp_path))
    with serving(hub) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        yield hub


def test_a_voice_is_pulled_with_progress_and_only_once(hub: Hub, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    pull("piper", "en_US-lessac-low", lambda *progress: seen.append(progress))
    folder = tmp_path / "voices" / "piper"
    assert sorted(path.name for path in folder.iterdir()) == [
        "en_US-lessac-low.MODEL_CARD",
        "en_US-lessac-low.onnx",
        "en_US-lessac-low.onnx.json",
    ]
    assert (folder / "en_US-lessac-low.onnx").read_bytes() == hub.files["en_US-lessac-low.onnx"]
    steps = [(done, total) for name, done, total in seen if name.endswith(".onnx")]
    assert len(steps) >= 2 and steps == sorted(steps) and steps[-1] == (2_100_000, 2_100_000)

    (folder / "en_US-lessac-low.onnx").write_bytes(b"damaged")
    hub.asked.clear()
    pull("piper", "en_US-lessac-low")
    assert [path for path in hub.asked if "resolve" in path] == [
        f"/rhasspy/piper-voices/resolve/main/{FOLDER}/en_US-lessac-low.onnx"
    ]


@pytest.mark.parametrize("broken", ["changed", "cut off"])
def test_a_file_with_a_wrong_digest_is_not_kept(hub: Hub, tmp_path: Path, broken: str) -> None:
    hub.broken = broken
    with pytest.raises(HarkError):
        pull("piper", "en_US-lessac-low")
    assert not [path for path in (tmp_path / "voices").rglob("*") if path.is_file()]


def test_a_voice_that_the_hub_does_not_have(hub: Hub) -> None:
    with pytest.raises(HarkError, match="404"):
        pull("piper", "en_US-nosuch-low")


def test_a_file_outside_of_the_voices_folder_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.files = {"../../../evil.onnx": b"x"}
    with pytest.raises(HarkError, match="outside"):
        pull("piper", "en_US-lessac-low")


def test_without_a_network_it_says_so_and_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    do_not_wait(monkeypatch)
    monkeypatch.setenv("HARK_DATA", str(tmp_path))
    with pytest.raises(HarkError) as caught:
        pull("piper", "en_US-lessac-low")
    assert "cannot be reached" in caught.value.what and "copy the files into" in caught.value.what_to_do


@pytest.mark.parametrize(
    ("engine", "voice"),
    [("piper", "../../etc/passwd"), ("piper", "lessac"), ("kokoro", "a b"), ("suno", "x"), ("espeak", "en"), ("", "")],
)
def test_names_that_cannot_be_voices_never_reach_the_network(hub: Hub, engine: str, voice: str) -> None:
    with pytest.raises(HarkError):
        pull(engine, voice)
    assert hub.asked == []
