"""Malicious and damaged files: valid files of every kind that Hark accepts, mutated at random.

This module makes all of them: audio in eight formats, archives of corpora, playlists, models, bundles and documents.
"""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

from tests.support.hostile_bundles import loop_bundle, resealed, slow_bundle
from tests.support.hostile_files import (
    PACKERS,
    PLAYLISTS,
    as_zip,
    encoded,
    flac_that_lies,
    tar_with,
    wav_that_lies,
)

EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
HEADER = 256  # bytes at the start, where most formats have their numbers
AUDIO_BY_FFMPEG = {  # by suffix: ffmpeg's options before and after the input
    "m4a": ([], ["-c:a", "aac"]),
    "webm": ([], ["-c:a", "libopus"]),
    "mp4": (["-f", "lavfi", "-i", "testsrc=duration=2:size=64x64:rate=5"], ["-c:a", "aac"]),
}
BOMB_BLOCK, BOMB_BLOCKS = 50_000_000, 60  # bytes per block of zeros in a bomb, and number of blocks
LEADING_OUT = ("../x.wav", "a/../../x.wav", "/etc/x.wav", "..", "C:\\x.wav", "a\\..\\..\\x.wav", "a/" * 40 + "x.wav")


@dataclass(frozen=True)
class Made:
    """A file to be opened."""

    name: str
    content: bytes


def bomb() -> bytes:
    """Return a tar.gz of 3 MB whose only file has 3 GB of zeros."""
    member = tarfile.TarInfo("corpus/zeros.wav")
    member.size = BOMB_BLOCK * BOMB_BLOCKS
    return gzip.compress(member.tobuf()) + BOMB_BLOCKS * gzip.compress(bytes(BOMB_BLOCK))


def damaged(content: bytes, rng: Random, other: bytes = b"") -> bytes:
    """Return the content after one to four random :data:`INJURIES`."""
    hurt = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 3, 4))):
        hurt = rng.choice(INJURIES)(hurt, rng, other)
    return bytes(hurt)


def _cut(content: bytearray, rng: Random, other: bytes) -> bytearray:
    return content[: rng.randrange(len(content) + 1)]


def _changed(content: bytearray, rng: Random, other: bytes) -> bytearray:
    reach = min(len(content), rng.choice((HEADER, len(content))))
    for _ in range(rng.choice((1, 4, 16, 64)) if reach else 0):
        content[rng.randrange(reach)] = rng.randrange(256)
    return content


def _extreme_number(content: bytearray, rng: Random, other: bytes) -> bytearray:
    width, order = rng.choice((2, 4, 8)), rng.choice(("little", "big"))
    reach = min(len(content), rng.choice((HEADER, len(content)))) - width
    if reach > 0:
        at = rng.randrange(reach)
        content[at : at + width] = rng.choice(EXTREMES).to_bytes(8, "little")[:width][:: 1 if order == "little" else -1]
    return content


def _without_a_part(content: bytearray, rng: Random, other: bytes) -> bytearray:
    at = rng.randrange(len(content) + 1)
    del content[at : at + rng.choice((1, 4, 100, 4000))]
    return content


def _with_a_part(content: bytearray, rng: Random, other: bytes) -> bytearray:
    at = rng.randrange(len(content) + 1)
    size = rng.choice((1, 4, 100, 4000))
    content[at:at] = rng.choice((rng.randbytes(size), bytes(size), bytes(content[at : at + size])))
    return content


def _with_another(content: bytearray, rng: Random, other: bytes) -> bytearray:
    """Replace the end of the content by the end of another file."""
    return content[: rng.randrange(len(content) + 1)] + other[rng.randrange(len(other) + 1) :]


INJURIES = (_cut, _changed, _changed, _extreme_number, _extreme_number, _without_a_part, _with_a_part, _with_another)


def _manifest(names: Sequence[str]) -> dict[str, str]:
    lines = [json.dumps({"audio_filepath": name, "text": f"take {name}", "duration": 0.5}) for name in names]
    return {"manifest.json": "\n".join(lines) + "\n"}


def _common_voice(names: Sequence[str]) -> dict[str, str]:
    rows = "".join(f"x\t{name}\ttake {name}\n" for name in names)
    return {"validated.tsv": f"client_id\tpath\tsentence\n{rows}"}


def _ljspeech(names: Sequence[str]) -> dict[str, str]:
    return {"metadata.csv": "".join(f"{name.rsplit('.', 1)[0]}|take|take {name}\n" for name in names)}


def _librispeech(names: Sequence[str]) -> dict[str, str]:
    return {"1-2.trans.txt": "".join(f"{name.rsplit('.', 1)[0]} TAKE\n" for name in names)}


def _texts_beside(names: Sequence[str]) -> dict[str, str]:
    return {f"{name.rsplit('.', 1)[0]}.txt": f"take {name}" for name in names}


CORPORA = (_manifest, _common_voice, _ljspeech, _librispeech, _texts_beside)


class Source:
    """Makes files of every kind. Equal seeds give equal files, except for the times in archives.

    Args:
        folder: a folder for temporary files.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        folder.mkdir(parents=True, exist_ok=True)

    def kinds(self) -> dict[str, Callable[[Random, int], Made]]:
        """Return a maker for each kind of file, without those that need ffmpeg if it is missing."""
        made = {name: self._audio(name, content) for name, content in self.sounds.items()}
        return {
            **made,
            "header that lies": self._lie,
            "playlist": self._playlist,
            **{packed: self._archive(packed) for packed in PACKERS},
            "archive that leads out": self._leading_out,
            "bundle (zip)": self._bundle,
            "bundle (model.onnx)": self._graph,
            "bundle (manifest)": self._claims,
            "checkpoint (.pt)": self._checkpoint,
            "weights (.safetensors)": self._weights,
            "document": self._document,
        }

    @cached_property
    def sounds(self) -> dict[str, bytes]:
        """Return a sound in each format."""
        encoded_as = {
            "wav": encoded("WAV"), "flac": encoded("FLAC"), "ogg": encoded("OGG", subtype="VORBIS"),
            "opus": encoded("OGG", subtype="OPUS"), "mp3": encoded("MP3"), "aiff": encoded("AIFF"),
        }  # fmt: skip
        if shutil.which("ffmpeg") is None:
            return encoded_as
        sound = self.folder / "sound.wav"
        sound.write_bytes(encoded_as["wav"])
        for suffix, (before, after) in AUDIO_BY_FFMPEG.items():
            path = self.folder / f"sound.{suffix}"
            command = ["ffmpeg", "-nostdin", "-y", "-v", "error", *before, "-i", str(sound), *after, str(path)]
            subprocess.run(command, check=True, timeout=60)
            encoded_as[suffix] = path.read_bytes()
        return encoded_as

    def _audio(self, suffix: str, content: bytes) -> Callable[[Random, int], Made]:
        others = list(self.sounds.values())

        def make(rng: Random, number: int) -> Made:
            return Made(f"{number}.{suffix}", damaged(content, rng, rng.choice(others)) if number else content)

        return make

    def _lie(self, rng: Random, number: int) -> Made:
        lies: tuple[tuple[str, Callable[[], bytes]], ...] = (
            ("crowd.wav", lambda: wav_that_lies(channels=rng.choice((0, 65, 65_535)))),
            ("rate.wav", lambda: wav_that_lies(rate=rng.choice((0, 400, 400_000, 0xFFFFFFFF)))),
            ("short.flac", lambda: flac_that_lies(rng.randrange(1, 31 * 60), 0)),
            ("more.flac", lambda: flac_that_lies(rng.randrange(1, 31 * 60), 1)),
            ("endless.flac", lambda: flac_that_lies(2, 8_000_000)),
            ("noise.mp3", lambda: rng.randbytes(50_000)),
            ("empty.wav", lambda: b""),
        )
        name, make = lies[number % len(lies)]
        return Made(name, make())

    def _playlist(self, rng: Random, number: int) -> Made:
        name = list(PLAYLISTS)[number % len(PLAYLISTS)]
        there = rng.choice(("/etc/passwd", "http://127.0.0.1:9/a.wav", "file:///etc/passwd", "../../portal/secret-key"))
        text = PLAYLISTS[name].format(there=there).encode()
        return Made(name, damaged(text, rng, self.sounds["wav"]) if number >= len(PLAYLISTS) else text)

    def _archive(self, packed: str) -> Callable[[Random, int], Made]:
        def make(rng: Random, number: int) -> Made:
            names = [f"{number}-{take}.{rng.choice(('wav', 'flac', 'ogg'))}" for take in range(3)]
            layout = rng.choice(CORPORA)
            place = {_common_voice: "clips/", _ljspeech: "wavs/"}.get(layout, "")
            sounds = {place + name: encoded(name.rsplit(".")[-1], 0.5, rng.randrange(1 << 30)) for name in names}
            files = sounds | {name: text.encode() for name, text in layout(names).items()}
            # In half of the archives, the files are damaged instead of the archive.
            inside = number > 0 and rng.random() < 0.5
            if inside:
                files = {name: damaged(text, rng, self.sounds["mp3"]) for name, text in files.items()}
            content = PACKERS[packed](self.folder / "packed", {f"corpus/{n}": c for n, c in files.items()}).read_bytes()
            hurt = damaged(content, rng, self.sounds["flac"]) if number and not inside else content
            return Made(f"{number}.{packed}", hurt)

        return make

    def _leading_out(self, rng: Random, number: int) -> Made:
        path = self.folder / "packed"
        links = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)
        if number == 5:
            return Made(f"{number}.tar.gz", bomb())
        if number == 6:
            many = {f"{n}.txt": b"" for n in range(20_001)}
            return Made(f"{number}.zip", as_zip(path, many).read_bytes())
        if number % 3 == 0:
            return Made(f"{number}.tar", tar_with(rng.choice(links), path).read_bytes())
        packed = rng.choice(list(PACKERS))
        return Made(f"{number}.{packed}", PACKERS[packed](path, {rng.choice(LEADING_OUT): b"x"}).read_bytes())

    @cached_property
    def _good_bundle(self) -> Path:
        return loop_bundle(self.folder / "bundle", from_level=2.0)  # no sound is that loud: it never loops

    def _zipped(self, files: Mapping[str, bytes]) -> bytes:
        with zipfile.ZipFile(self.folder / "bundle.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return (self.folder / "bundle.zip").read_bytes()

    def _files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self._good_bundle.iterdir())}

    def _bundle(self, rng: Random, number: int) -> Made:
        content = self._zipped(self._files())
        return Made(f"{number}.zip", damaged(content, rng, self.sounds["wav"]) if number else content)

    def _graph(self, rng: Random, number: int) -> Made:
        """Make a bundle with a damaged graph and digests that match it, as an attacker would."""
        files = self._files()
        files["model.onnx"] = damaged(files["model.onnx"], rng) if number else files["model.onnx"]
        return Made(f"{number}.zip", self._zipped(resealed(files)))

    def _claims(self, rng: Random, number: int) -> Made:
        files = self._files()
        manifest: dict[str, Any] = json.loads(files["manifest.json"])
        values: tuple[Any, ...] = (0, -1, 10**9, 1e308, None, "", "x" * 9_999, [], {}, "\x1b[2J", True, [[[]]], 0.5)
        for _ in range(rng.choice((1, 2)) if number else 0):
            manifest[rng.choice(sorted(manifest))] = rng.choice(values)
        if number % 5 == 4:
            return Made(f"{number}.zip", self._zipped(files | {"manifest.json": damaged(files["manifest.json"], rng)}))
        return Made(f"{number}.zip", self._zipped(resealed(files, manifest)))

    @cached_property
    def _good_checkpoint(self) -> bytes:
        from model.checkpoint import save_checkpoint
        from model.tiny_crnn import TinyCRNN, TinyCRNNConfig

        path = self.folder / "model.pt"
        save_checkpoint(TinyCRNN(TinyCRNNConfig.for_window(1.2)), str(path), {"manifest": {}})
        return path.read_bytes()

    def _checkpoint(self, rng: Random, number: int) -> Made:
        good = self._good_checkpoint
        return Made(f"{number}.pt", damaged(good, rng, self._good_weights) if number else good)

    @cached_property
    def _good_weights(self) -> bytes:
        from model.large.phone_head import HEAD
        from model.weights import SHIPPED

        return (SHIPPED / HEAD).read_bytes()

    def _weights(self, rng: Random, number: int) -> Made:
        good = self._good_weights
        return Made(f"{number}.safetensors", damaged(good, rng, self._good_checkpoint) if number else good)

    @cached_property
    def _documents(self) -> dict[str, bytes]:
        from pipeline.recordings.transcripts.captions import write
        from pipeline.recordings.transcripts.transcript import Segment, Transcript

        said = Transcript(2.0, "en", "none", segments=(Segment(0.0, 2.0, "Where did you put the umbrella?", 1.0),))
        return {suffix: write(said, suffix, "A talk") for suffix in ("txt", "srt", "docx", "json")}

    def _document(self, rng: Random, number: int) -> Made:
        suffix = list(self._documents)[number % len(self._documents)]
        content = self._documents[suffix]
        return Made(f"{number}.{suffix}", damaged(content, rng, self.sounds["mp3"]) if number > 3 else content)


def harmful_bundles(folder: Path) -> Iterator[Path]:
    """Yield valid bundles whose graph never ends, uses ever more memory, or takes days to load or to run."""
    yield loop_bundle(folder / "never ends")
    yield loop_bundle(folder / "takes all memory", grows=True)
    yield slow_bundle(folder / "days to load", "load")
    yield slow_bundle(folder / "days to run", "run")
