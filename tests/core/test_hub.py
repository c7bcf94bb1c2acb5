"""Downloads from a double of Hugging Face on this machine."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.data_folder import StorageFull
from core.errors import HarkError
from core.events import Reporter, silent_reporter
from core.hub import hub_download
from tests.support.constants import replace_in
from tests.support.http_server import Reply, serving

constants = pytest.importorskip("huggingface_hub.constants")

VOICES = "rhasspy/piper-voices"
FOLDER = "en/en_US/lessac/low"
VOICE = (f"{FOLDER}/*.onnx", f"{FOLDER}/MODEL_CARD")
WEIGHTS = f"{FOLDER}/en_US-lessac-low.onnx"


class Hub:
    """Answers like huggingface.co: a listing in pages, and files."""

    def __init__(self) -> None:
        self.files = {
            WEIGHTS: b"weights" * 300_000,
            f"{FOLDER}/MODEL_CARD": b"* License: CC BY 4.0\n",
            f"{FOLDER}/samples.mp3": b"not wanted",
        }
        self.fetched: list[str] = []
        self.broken = ""

    def __call__(self, address: str, headers: dict[str, str], body: bytes) -> Reply:
        path, _, query = address.partition("?")
        if path == f"/api/models/{VOICES}/tree/main":
            names = sorted(self.files)[1:] if "page=2" in query else sorted(self.files)[:1]
            more = {} if "page=2" in query else {"Link": f'<http://{headers["Host"]}{path}?page=2>; rel="next"'}
            return 200, more, json.dumps([self.entry(name) for name in names]).encode()
        name = path.removeprefix(f"/{VOICES}/resolve/main/")
        if name not in self.files:
            return 404, {}, b""
        content, entry = self.files[name], self.entry(name)
        if self.broken == "changed":
            content = content[::-1]
        self.fetched.append(name)
        etag = entry.get("lfs", entry)["oid"]
        half = content[: len(content) // 2]
        return (
            200,
            {"Content-Length": str(len(content)), "ETag": f'"{etag}"', "X-Repo-Commit": "a" * 40},
            half if self.broken == "cut off" else content,
        )

    def entry(self, name: str) -> dict[str, Any]:
        content = self.files[name]
        blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
        entry = {"type": "file", "path": name, "size": len(content), "oid": blob}
        large = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        return {**entry, "lfs": large} if name.endswith(".onnx") else entry


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub()
    with serving(hub) as url:
        at_hub(monkeypatch, url)
        yield hub


def at_hub(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Let the client ask this address. It reads HF_ENDPOINT only when it is imported."""
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE
    replace_in(constants, monkeypatch, ENDPOINT=url, HUGGINGFACE_CO_URL_TEMPLATE=url + template[template.index("/{") :])
    monkeypatch.setattr("time.sleep", lambda seconds: None)


def test_files_are_downloaded_with_progress_and_only_once(hub: Hub, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    files = hub_download(VOICES, VOICE, tmp_path, Reporter(events.append))
    assert sorted(files) == [tmp_path / FOLDER / "MODEL_CARD", tmp_path / WEIGHTS]
    assert [path.name for path in (tmp_path / FOLDER).iterdir()].count("samples.mp3") == 0
    assert (tmp_path / WEIGHTS).read_bytes() == hub.files[WEIGHTS]
    assert "Downloading en_US-lessac-low.onnx (2 MB)" in [event.get("message") for event in events]
    assert (2_100_000, 2_100_000) in [(event["done"], event["total"]) for event in events if "done" in event]

    (tmp_path / WEIGHTS).write_bytes(b"damaged")
    os.utime(tmp_path / WEIGHTS, (2e9, 2e9))
    hub_download(VOICES, VOICE, tmp_path, silent_reporter())
    assert (tmp_path / WEIGHTS).read_bytes() == hub.files[WEIGHTS]


@pytest.mark.parametrize("broken", ["changed", "cut off"])
def test_a_file_with_a_wrong_digest_is_deleted(hub: Hub, tmp_path: Path, broken: str) -> None:
    hub.broken = broken
    with pytest.raises(HarkError):
        hub_download(VOICES, [WEIGHTS], tmp_path, silent_reporter())
    assert not list(tmp_path.rglob("*.onnx"))


def test_files_missing_on_the_hub_are_reported(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(HarkError, match="404"):
        hub_download("rhasspy/nothing", ["*"], tmp_path, silent_reporter())
    with pytest.raises(HarkError, match="does not have the files"):
        hub_download(VOICES, ["en/nobody/*.onnx"], tmp_path, silent_reporter())


def test_a_path_outside_the_folder_is_rejected(hub: Hub, tmp_path: Path) -> None:
    hub.files = {"../../../evil.onnx": b"x"}
    with pytest.raises(HarkError, match="Invalid filename"):
        hub_download(VOICES, ["*.onnx"], tmp_path / "a" / "b", silent_reporter())
    assert not hub.fetched


def test_a_full_disk_and_a_missing_network_have_different_messages(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*where: object, **more: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("huggingface_hub.HfApi.hf_hub_download", full)
        with pytest.raises(StorageFull):
            hub_download(VOICES, VOICE, tmp_path, silent_reporter())
    at_hub(monkeypatch, "http://127.0.0.1:9")
    with pytest.raises(HarkError, match="could not be downloaded") as caught:
        hub_download(VOICES, VOICE, tmp_path, silent_reporter())
    assert "HF_ENDPOINT" in caught.value.what_to_do and str(tmp_path) in caught.value.what_to_do
