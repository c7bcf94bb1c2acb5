"""Downloads voices into ``<data>/voices`` and verifies the digests that their repository publishes."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.data_folder import atomic_path, installation_folder, storing
from core.errors import HarkError
from core.http import Server
from core.worded import worded

HUB = "https://huggingface.co"  # HF_ENDPOINT in the environment names a mirror
REVISION = "main"
ATTEMPTS = 3
LARGEST = 20_000_000_000  # bytes of a file
BLOCK = 1 << 20  # bytes

Progress = Callable[[str, int, int], None]  # file, bytes done, bytes in total


@dataclass(frozen=True)
class _Source:
    """A voice's folder in a repository of the hub, and patterns of its files."""

    repository: str
    folder: str
    patterns: tuple[str, ...]


@dataclass(frozen=True)
class _RemoteFile:
    """A file of a repository. ``digest`` is the SHA-256 of large files (LFS), the Git blob's SHA-1 of small ones."""

    path: str
    size: int
    digest: str


def pull(engine: str, voice: str, progress: Progress = lambda name, done, total: None) -> list[Path]:
    """Download a voice, except files that are there with the right digest. Returns the files.

    Args:
        engine: "piper", "kokoro" or "suno".
        voice: Piper: a key such as ``en_US-lessac-medium``. Kokoro: a voice such as ``af_heart``, or ``all``; the model
            is included. Suno: ``bark-small`` or ``bark``.
        progress: called after each block.

    Raises:
        HarkError: an unknown engine or voice, no network, no space, a wrong digest.
    """
    source = _source(engine, voice)
    url = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
    hub = Server(
        url,
        urllib.parse.urlsplit(url).hostname or url,
        worded(
            "Check the voice's name and the network, set HF_ENDPOINT to a mirror, or copy the files into "
            "%(folder)s yourself.",
            folder=str(installation_folder() / "voices"),
        ),
        largest=LARGEST,
        attempts=ATTEMPTS,
        redirects=True,  # the hub's large files are on other hosts
    )
    wanted = [
        file
        for file in _listing(hub, source)
        if any(fnmatch.fnmatch(_name(source, file), pattern) for pattern in source.patterns)
    ]
    if not wanted:
        raise _unknown(engine, voice, worded("%(repository)s has no such files.", repository=source.repository))
    pulled = []
    for file in wanted:
        target = _target(engine, voice, source, file)
        if not (target.is_file() and target.stat().st_size == file.size and _digest(target, file) == file.digest):
            path = f"/{source.repository}/resolve/{REVISION}/{urllib.parse.quote(file.path)}"
            _download(hub, path, target, file, progress)
        pulled.append(target)
    return pulled


def _source(engine: str, voice: str) -> _Source:
    if engine == "piper":
        key = re.fullmatch(r"([a-z]{2,3})_([A-Z]{2,3})-([A-Za-z0-9_]+)-(x_low|low|medium|high)", voice)
        if key is None:
            raise _unknown(
                engine, voice, worded("A Piper voice is named language-name-quality, such as en_US-lessac-medium.")
            )
        language, country, name, quality = key.groups()
        folder = f"{language}/{language}_{country}/{name}/{quality}"
        return _Source("rhasspy/piper-voices", folder, ("*.onnx", "*.onnx.json", "MODEL_CARD"))
    if engine == "kokoro":
        if not re.fullmatch(r"all|[a-z]{2}_[a-z0-9]+", voice):
            raise _unknown(
                engine, voice, worded("A Kokoro voice has a name such as af_heart; all downloads every voice.")
            )
        voices = "voices/*.pt" if voice == "all" else f"voices/{voice}.pt"
        return _Source("hexgrad/Kokoro-82M", "", ("config.json", "*.pth", voices))
    if engine == "suno":
        if voice not in ("bark", "bark-small"):
            raise _unknown(engine, voice, worded("Suno has the models bark and bark-small."))
        return _Source(f"suno/{voice}", "", ("*.json", "vocab.txt", "pytorch_model.bin", "speaker_embeddings/v2/*.npy"))
    raise HarkError(
        worded("The engine %(engine)s has no voices to download.", engine=engine),
        worded("Its voices come with it."),
        worded("Choose piper, kokoro or suno."),
    )


def _unknown(engine: str, voice: str, why: str) -> HarkError:
    lists = worded(
        "Piper's voices: https://rhasspy.github.io/piper-samples, Kokoro's: https://huggingface.co/hexgrad/Kokoro-82M."
    )
    return HarkError(
        worded("The engine %(engine)s has no voice %(voice)s to download.", engine=engine, voice=repr(voice)),
        why,
        lists,
    )


def _name(source: _Source, file: _RemoteFile) -> str:
    """Return a file's path relative to the source's folder."""
    return file.path.removeprefix(f"{source.folder}/") if source.folder else file.path


def _target(engine: str, voice: str, source: _Source, file: _RemoteFile) -> Path:
    name = _name(source, file)
    if name == "MODEL_CARD":
        name = f"{voice}.MODEL_CARD"
    folder = (installation_folder() / "voices" / engine).resolve()
    target = (folder / name).resolve()
    if not target.is_relative_to(folder):
        raise HarkError(
            worded("%(voice)s was not downloaded.", voice=voice),
            worded("The repository names a file outside itself: %(name)s.", name=name),
            worded("Report this."),
        )
    return target


def _listing(hub: Server, source: _Source) -> list[_RemoteFile]:
    tail = f"/{source.folder}" if source.folder else ""
    path = f"/api/models/{source.repository}/tree/{REVISION}{tail}"
    query = "recursive=true"
    files: list[_RemoteFile] = []
    while query:
        answer = hub.ask("GET", f"{path}?{query}")
        for entry in answer.json():
            if entry.get("type") == "file":
                large = entry.get("lfs") or {}
                digest = str(large.get("oid") or entry["oid"])
                files.append(_RemoteFile(entry["path"], int(entry["size"]), digest))
        # Long listings come in pages; the Link header (RFC 8288) names the next one.
        following = re.search(r'<([^>]+)>;\s*rel="next"', answer.headers.get("Link") or "")
        query = urllib.parse.urlsplit(following[1]).query if following else ""
    return files


def _download(hub: Server, path: str, target: Path, file: _RemoteFile, progress: Progress) -> None:
    with storing(worded("downloading %(name)s", name=target.name)), atomic_path(target) as temporary:
        hub.download(path, temporary, progress=lambda done: progress(target.name, done, file.size))
        found = _digest(temporary, file)
        if found != file.digest:
            raise HarkError(
                worded("%(name)s was discarded: it is not the file that the repository names.", name=target.name),
                worded(
                    "It has the digest %(found)s; %(digest)s was expected.", found=found[:16], digest=file.digest[:16]
                ),
                worded("Run the same command again; if it happens again, something on the network alters the file."),
            )


def _digest(path: Path, file: _RemoteFile) -> str:
    git_blob = f"blob {path.stat().st_size}\0".encode()
    digest = hashlib.sha256() if len(file.digest) == 64 else hashlib.sha1(git_blob)
    with path.open("rb") as content:
        while block := content.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
