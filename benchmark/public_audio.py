"""Public audio for the wake-word benchmark: ``./hark bench wakeword BUNDLE... --fetch FOLDER``.

Phrases: all six of Picovoice's wake-word benchmark (Apache-2.0). Noise: the kitchen of DEMAND (CC BY-SA 3.0), mixed at
10 dB SNR. Other speech: LibriSpeech's dev-clean (CC BY 4.0) instead of that benchmark's test-clean, because Hark's
shipped weights were trained on speakers of test-clean (model/shipped/MODEL_CARD.md).
"""

from __future__ import annotations

import re
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import IO

from core.data_folder import storing
from core.errors import HarkError
from core.events import Reporter
from core.http import Server

KITCHEN = "noise/demand/DKITCHEN/ch01.wav"  # path in the folder
CHECK = "Check the network, then run the same command again: finished downloads are saved."
TIMEOUT_S = 60.0  # seconds per block
MAX_BYTES = 2_000_000_000  # bytes per archive


@dataclass(frozen=True)
class Source:
    """An archive and its target folder.

    Attributes:
        host, path: parts of its URL.
        place: folder for its files, relative to the folder of all audio.
        wanted: pattern of the files' names in the archive; its groups form their path in ``place``.
        sha256: digest of the archive; "" if the URL identifies the content.
    """

    host: str
    path: str
    place: str
    wanted: str
    sha256: str = ""


SOURCES = (
    Source(
        "https://github.com",
        "/Picovoice/wake-word-benchmark/archive/84919190fb1891bf0936dcb577d9268e467f876f.tar.gz",
        "keyphrases",
        r"[^/]+/audio/(alexa|computer|jarvis|smart mirror|snowboy|view glass)/([\w-]+\.(?:wav|flac))",
    ),
    Source(
        "https://www.openslr.org",
        "/resources/12/dev-clean.tar.gz",
        "speech/librispeech-dev-clean",
        r"LibriSpeech/dev-clean/\d+/\d+/([\d-]+(?:\.flac|\.trans\.txt))",
        "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",
    ),
    Source(
        "https://zenodo.org",
        "/records/1227121/files/DKITCHEN_16k.zip",
        "noise/demand",
        r"(DKITCHEN)/(ch01\.wav)",
        "9d68e46d2709847c59580770e2f8aa160607ebff7475788174aa1080332cc845",
    ),
)


def fetch(folder: Path, reporter: Reporter) -> None:
    """Download this audio into a folder with the layout of the shared one. Existing folders are not fetched again.

    Raises:
        HarkError: there is no network, a file is unexpected, or the disk is full. Completed folders remain.
    """
    for source in SOURCES:
        place = folder / source.place
        if place.exists():
            continue
        reporter.stage("fetch", f"Fetching {source.place} from {source.host}")
        with storing("fetching audio"):
            place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder) as temporary:
                archive, unpacked = Path(temporary, "archive"), Path(temporary, "unpacked")
                _download(source, archive)
                _unpack(source, archive, unpacked)
                unpacked.rename(place)


def _download(source: Source, archive: Path) -> None:
    server = Server(source.host, source.host, CHECK, timeout_s=TIMEOUT_S, max_bytes=MAX_BYTES, redirects=True)
    server.download(source.path, archive)
    with archive.open("rb") as content:
        digest = file_digest(content, "sha256").hexdigest()
    if source.sha256 and digest != source.sha256:
        raise HarkError(
            f"{source.host}{source.path} is not the file that Hark was tested with.",
            f"Its digest is {digest[:16]}...",
            CHECK,
        )


def _unpack(source: Source, archive: Path, folder: Path) -> None:
    """Unpack an archive. Raises HarkError if it is not an archive, or contains none of the files."""
    folder.mkdir()
    texts: list[str] = []
    try:
        for name, content in _members(archive):
            if match := re.fullmatch(source.wanted, name):
                path = folder.joinpath(*match.groups())
                if path.name.endswith(".trans.txt"):
                    texts += content.read().decode().splitlines()
                    continue
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content.read())
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, ValueError) as error:
        raise HarkError(f"{source.host}{source.path} cannot be unpacked.", f"{error}.", CHECK) from error
    if not any(folder.iterdir()):
        raise HarkError(
            f"{source.host}{source.path} has no audio.", "It contains none of the files that Hark needs.", CHECK
        )
    if texts:
        rows = sorted(text.partition(" ")[::2] for text in texts)
        (folder / "transcripts.tsv").write_text("".join(f"{name}\t{text.lower()}\n" for name, text in rows))


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                with zipped.open(info) as content:
                    yield info.filename, content
    else:
        with tarfile.open(archive) as tarred:
            for member in tarred:
                if (extracted := tarred.extractfile(member)) is not None:
                    yield member.name, extracted
