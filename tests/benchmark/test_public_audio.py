"""The public audio of the wake-word benchmark: archives laid out like the real ones, from a server on this machine."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark import public_audio, wakeword, wakeword_summary
from benchmark.public_audio import KITCHEN, SOURCES, fetch
from core.errors import HarkError
from core.events import silent_reporter
from tests.support.choir import Choir
from tests.support.http_server import Reply, serving
from tests.support.wakeword_samples import recordings, speak_with, tone_bundle

QUIET = silent_reporter()


@pytest.fixture
def asked() -> list[str]:
    """The paths requested from the site."""
    return []


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> Iterator[Path]:
    """A folder served for all hosts, with tones in archives laid out like the real ones."""

    def answer(path: str, _headers: dict[str, str], _body: bytes) -> Reply:
        asked.append(path)
        return 200, {}, (folder / path[1:]).read_bytes()

    folder, made = tmp_path / "site", recordings(tmp_path / "made")
    phrases, speech, noise = (folder / source.path[1:] for source in SOURCES)
    for path in (phrases, speech, noise):
        path.parent.mkdir(parents=True)
    with tarfile.open(phrases, "w:gz") as archive:
        for tone in (made / "keyphrases" / "computer").iterdir():
            archive.add(tone, f"wake-word-benchmark-8491919/audio/computer/{tone.name}")
            archive.add(tone, f"wake-word-benchmark-8491919/audio/alexa/{tone.stem}.flac")
        archive.add(tone, "wake-word-benchmark-8491919/audio/multiple_keywords.wav")
        archive.add(tone, "wake-word-benchmark-8491919/audio/../../computer/outside.wav")
    texts = tmp_path / "texts"
    texts.write_text("1272-128104-0001 MY COMPUTER SAID IT\n1272-128104-0000 NOTHING\n")
    with tarfile.open(speech, "w:gz") as archive:
        for number in range(4):
            tone = made / "speech" / "librispeech-dev-clean" / "audio" / f"{number}.wav"
            archive.add(tone, f"LibriSpeech/dev-clean/1272/128104/1272-128104-000{number}.flac")
        archive.add(texts, "LibriSpeech/dev-clean/1272/128104/1272-128104.trans.txt")
    with zipfile.ZipFile(noise, "w") as zipped:
        for channel in ("ch01", "ch02"):
            zipped.write(made / "noise" / "speech-commands" / "doing_the_dishes.ogg", f"DKITCHEN/{channel}.wav")
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (phrases, speech, noise)]
    with serving(answer) as host:
        here = [replace(one, host=host, sha256=one.sha256 and digest) for one, digest in zip(SOURCES, digests)]
        monkeypatch.setattr(public_audio, "SOURCES", here)
        yield folder


def test_detectors_are_measured_on_downloaded_audio(
    site: Path, asked: list[str], tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speak_with(monkeypatch, {"choir": Choir()})
    monkeypatch.setenv("HARK_SHARED", str(tmp_path / "nowhere"))
    folder = tmp_path / "audio"
    figures = wakeword.run([tone_bundle(tmp_path / "computer")], False, folder, 0, QUIET)
    measured = figures["bundles"]["computer"]
    assert measured["positives"] == wakeword_summary.REAL and measured["conditions"]["kitchen"]["clips"] == 8
    assert measured["conditions"]["clean"]["as_shipped"]["miss_rate"]["value"] == 0.25
    assert set(figures["not_measured"]) == {*wakeword.OTHER_SPEECH} - {"speech/librispeech-dev-clean"}
    assert {path.name for path in (folder / "keyphrases").iterdir()} == {"computer", "alexa"}
    assert (folder / KITCHEN).is_file() and not list(tmp_path.rglob("outside.wav"))
    assert wakeword.texts_of(folder / "speech/librispeech-dev-clean")["1272-128104-0001"] == "my computer said it"
    assert not list(folder.glob(".fetching-*")) and len(asked) == len(SOURCES)
    fetch(folder, QUIET)
    assert len(asked) == len(SOURCES), "existing audio is not downloaded again"


def test_a_download_with_a_wrong_digest_is_rejected(site: Path, asked: list[str], tmp_path: Path) -> None:
    noise = site / SOURCES[2].path[1:]
    whole = noise.read_bytes()
    noise.write_bytes(whole[:-1] + b"?")
    with pytest.raises(HarkError, match="not the file that Hark was tested with"):
        fetch(tmp_path / "audio", QUIET)
    assert sorted(path.name for path in (tmp_path / "audio").iterdir()) == ["keyphrases", "noise", "speech"]
    noise.write_bytes(whole)
    fetch(tmp_path / "audio", QUIET)
    assert (tmp_path / "audio" / KITCHEN).is_file() and len(asked) == len(SOURCES) + 1


def test_an_archive_without_audio_is_rejected(site: Path, tmp_path: Path) -> None:
    phrases = site / SOURCES[0].path[1:]
    phrases.write_bytes(b"no archive")
    with pytest.raises(HarkError, match="cannot be unpacked"):
        fetch(tmp_path / "audio", QUIET)
    tarfile.open(phrases, "w:gz").close()
    with pytest.raises(HarkError, match="has no audio"):
        fetch(tmp_path / "audio", QUIET)
    assert not list((tmp_path / "audio").iterdir())
