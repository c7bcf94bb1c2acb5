"""Pulling voices from a double of the hub on this machine."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from audio_generation.voices_pull import pull
from core.errors import HarkError

FOLDER = "en/en_US/lessac/low"


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers as huggingface.co does: a listing in pages, and files."""

    files: dict[str, bytes]
    asked: list[str]
    broken: str

    def do_GET(self) -> None:
        self.asked.append(self.path)
        path = self.path.partition("?")[0]
        repository = "rhasspy/piper-voices"
        if path.startswith(f"/api/models/{repository}/tree/main/"):
            if path != f"/api/models/{repository}/tree/main/{FOLDER}":
                self.send_error(404)
                return
            names = sorted(self.files)
            second = "page=2" in self.path
            self.send_response(200)
            if not second:
                self.send_header("Link", f'<http://{self.headers["Host"]}{path}?page=2>; rel="next"')
            self.end_headers()
            self.wfile.write(json.dumps([self.entry(name) for name in (names[1:] if second else names[:1])]).encode())
        else:
            content = self.files[path.rpartition("/")[2]]
            if self.broken == "changed":
                content = content[::-1]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if self.broken == "cut off" else content)

    def entry(self, name: str) -> dict[str, object]:
        content = self.files[name]
        blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
        entry: dict[str, object] = {"type": "file", "path": f"{FOLDER}/{name}", "size": len(content), "oid": blob}
        if name.endswith(".onnx"):
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}
        return entry

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    Hub.files = {
        "en_US-lessac-low.onnx": b"weights" * 300_000,
        "en_US-lessac-low.onnx.json": b"{}",
        "MODEL_CARD": b"* License: CC BY 4.0\n",
        "samples.mp3": b"not wanted",
    }
    Hub.asked, Hub.broken = [], ""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HARK_DATA", str(tmp_path))
    yield Hub
    server.shutdown()
    server.server_close()


def test_a_voice_is_pulled_with_progress_and_only_once(hub: type[Hub], tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    pull("piper", "en_US-lessac-low", lambda *progress: seen.append(progress))
    folder = tmp_path / "voices" / "piper"
    assert sorted(path.name for path in folder.iterdir()) == [
        "en_US-lessac-low.MODEL_CARD",
        "en_US-lessac-low.onnx",
        "en_US-lessac-low.onnx.json",
    ]
    assert (folder / "en_US-lessac-low.onnx").read_bytes() == Hub.files["en_US-lessac-low.onnx"]
    steps = [(done, total) for name, done, total in seen if name.endswith(".onnx")]
    assert len(steps) >= 2 and steps == sorted(steps) and steps[-1] == (2_100_000, 2_100_000)

    (folder / "en_US-lessac-low.onnx").write_bytes(b"damaged")
    hub.asked.clear()
    pull("piper", "en_US-lessac-low")
    assert [path for path in hub.asked if "resolve" in path] == [
        f"/rhasspy/piper-voices/resolve/main/{FOLDER}/en_US-lessac-low.onnx"
    ]


@pytest.mark.parametrize("broken", ["changed", "cut off"])
def test_a_file_with_a_wrong_digest_is_not_kept(hub: type[Hub], tmp_path: Path, broken: str) -> None:
    hub.broken = broken
    with pytest.raises(HarkError):
        pull("piper", "en_US-lessac-low")
    assert not [path for path in (tmp_path / "voices").rglob("*") if path.is_file()]


def test_a_voice_that_the_hub_does_not_have(hub: type[Hub]) -> None:
    with pytest.raises(HarkError, match="404"):
        pull("piper", "en_US-nosuch-low")


def test_a_file_outside_of_the_voices_folder_is_refused(hub: type[Hub], tmp_path: Path) -> None:
    hub.files = {"../../../evil.onnx": b"x"}
    with pytest.raises(HarkError, match="outside"):
        pull("piper", "en_US-lessac-low")


def test_without_a_network_it_says_so_and_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("core.http.sleep", lambda seconds: None)
    monkeypatch.setenv("HARK_DATA", str(tmp_path))
    with pytest.raises(HarkError) as caught:
        pull("piper", "en_US-lessac-low")
    assert "cannot be reached" in caught.value.what and "by hand" in caught.value.what_to_do


@pytest.mark.parametrize(
    ("engine", "voice"),
    [("piper", "../../etc/passwd"), ("piper", "lessac"), ("kokoro", "a b"), ("suno", "x"), ("espeak", "en"), ("", "")],
)
def test_names_that_cannot_be_voices_never_reach_the_network(
    engine: str, voice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.http.Server.open", lambda *_, **__: pytest.fail("asked the network"))
    with pytest.raises(HarkError):
        pull(engine, voice)
