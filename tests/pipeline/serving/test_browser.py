"""onnxruntime-web for detect.html: fetched once, accepted only if pinned, explained if unavailable."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.data_folder import REPOSITORY
from core.errors import HarkError
from model.runtime.detector import Bundle
from pipeline.serving import browser as fetching
from pipeline.serving.browser import FILES, PACKAGE, VERSION, is_pinned, unpack_for_browser, web_runtime
from tests.support.http_server import Reply, serving
from tests.support.untrained_bundle import bundle_of


@pytest.fixture
def tarball(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small package as npm makes it, accepted as the pinned one, without npm itself."""
    path = tmp_path / "registry" / PACKAGE / "-" / f"{PACKAGE}-{VERSION}.tgz"
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz") as archive:
        for name in (*FILES, "ort.all.js"):
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    digest = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    monkeypatch.setattr(fetching, "INTEGRITY", f"sha512-{digest}")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://127.0.0.1:9")  # where nothing listens
    return path


@pytest.fixture
def registry(tmp_path: Path, tarball: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A registry with that package. The list records requests."""
    asked: list[str] = []

    def answer(path: str, headers: dict[str, str], body: bytes) -> Reply:
        asked.append(path)
        return 200, {}, (tmp_path / "registry" / path.removeprefix("/")).read_bytes()

    with serving(answer) as url:
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", f"{url}/")
        yield asked


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip without detect.html, like those of earlier versions."""
    import torch

    from model.tiny_crnn import TinyCRNN
    from tests.support.small_crnn import small_crnn

    torch.manual_seed(0)
    model = TinyCRNN(small_crnn(0.6)).eval()
    folder = bundle_of(tmp_path_factory.mktemp("bundle") / "x", model, "hey compass", 0.5)
    path = folder.parent / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    return path


def test_the_web_runtime_is_downloaded_once(registry: list[str], tmp_path: Path) -> None:
    folder = web_runtime(tmp_path / "data")
    assert {path.name: path.read_text() for path in folder.iterdir()} == {name: name for name in FILES}
    assert web_runtime(tmp_path / "data") == folder and len(registry) == 1


def test_a_tarball_with_a_wrong_digest_is_rejected(registry: list[str], tarball: Path, tmp_path: Path) -> None:
    tarball.write_bytes(tarball.read_bytes() + b"more")
    with pytest.raises(HarkError, match="does not have the digest"):
        web_runtime(tmp_path / "data")
    assert not list(tmp_path.glob("data/**/*.wasm"))


def test_without_a_network_the_error_explains_what_to_do(tarball: Path, tmp_path: Path) -> None:
    with pytest.raises(HarkError, match="could not be downloaded") as raised:
        web_runtime(tmp_path / "data")
    assert f"npm pack {PACKAGE}@{VERSION}" in raised.value.what_to_do and "127.0.0.1:9" in raised.value.why
    assert (web_runtime(tmp_path / "data", tarball) / FILES[0]).is_file(), "the advice works"
    with pytest.raises(HarkError, match="cannot be read"):
        web_runtime(tmp_path / "other", tmp_path / "none.tgz")


def test_a_failing_npm_falls_back_to_the_registry(
    registry: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm = tmp_path / "programs" / "npm"
    npm.parent.mkdir()
    npm.write_text("#!/bin/sh\necho 'npm error no such thing' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(npm.parent))
    assert web_runtime(tmp_path / "data").is_dir() and len(registry) == 1
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://127.0.0.1:9")
    with pytest.raises(HarkError, match="no such thing"):
        web_runtime(tmp_path / "other")


def test_a_bundle_becomes_a_folder_for_a_web_server(bundle: Path, tarball: Path, tmp_path: Path) -> None:
    page = unpack_for_browser(bundle, tmp_path / "page", tmp_path / "data", tarball)
    assert page == tmp_path / "page" / "detect.html"
    names = {str(path.relative_to(page.parent)) for path in page.parent.rglob("*") if path.is_file()}
    assert names >= {"detect.js", "model.onnx", "manifest.json", *(f"ort/{name}" for name in FILES)}
    opened = Bundle(page.parent)  # the manifest is whole, and every digest holds
    for name in opened.manifest["files"]:
        opened.read(name)
    assert unpack_for_browser(page.parent, page.parent, tmp_path / "data") == page, (
        "an unpacked bundle is extended in place"
    )


def test_a_file_that_is_not_a_bundle_is_rejected(tarball: Path, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"no zip")
    with pytest.raises(HarkError):
        unpack_for_browser(tmp_path / "x.zip", tmp_path / "page", tmp_path / "data", tarball)
    assert not (tmp_path / "page").exists()


def test_bundle_web_writes_a_page(
    bundle: Path, tarball: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from command_line.application import main

    monkeypatch.setenv("HARK_DATA", str(tmp_path / "data"))
    assert main(["bundle-web", str(bundle), "--to", str(tmp_path / "a page"), "--ort", str(tarball)]) == 0
    assert f"--directory '{tmp_path / 'a page'}'" in capsys.readouterr().out
    assert main(["bundle-web", str(bundle), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"page": str(bundle.parent / "x-web" / "detect.html")}


def test_the_pinned_digest_has_npms_form() -> None:
    assert len(base64.b64decode(fetching.INTEGRITY.removeprefix("sha512-"))) == 64
    assert not is_pinned(b"") and (REPOSITORY / "model" / "runtime" / "detect.js").read_text().count(FILES[0]) == 1
