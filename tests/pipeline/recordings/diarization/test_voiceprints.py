"""Voices remembered by name: with consent only, matched by cosine, deleted for good."""

from __future__ import annotations

import json
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from core.audio_file import read_audio
from core.errors import HarkError
from core.user_file import UserFile
from pipeline.recordings.diarization import voiceprints
from pipeline.recordings.diarization.acoustic import embed
from pipeline.recordings.diarization.voiceprints import forget, match_all, names, remember, voice_of
from pipeline.speech_service import client as speech_client

RATE = 16_000
RNG = np.random.default_rng(0)
ANN, BOB, EVE = RNG.normal(size=(3, 256))
AUDIO = np.zeros(10 * RATE, np.float32)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Embeddings that the speech service returns, one per call."""
    given: list[np.ndarray] = []

    def call(timeout_s: float, function: Any, audio: np.ndarray) -> np.ndarray:
        assert function is embed
        return given[0] / np.linalg.norm(given.pop(0))

    monkeypatch.setattr(speech_client, "call", call)
    return given


def near(person: np.ndarray, cosine: float) -> np.ndarray:
    """Return an embedding at a given cosine to a person's."""
    unit = person / np.linalg.norm(person)
    aside = EVE - unit * (EVE @ unit)
    return cosine * unit + np.sqrt(1 - cosine**2) * aside / np.linalg.norm(aside)


def matched(file: Path, embedding: Any) -> str | None:
    return match_all(file, {"": embedding}).get("")


def test_a_voice_is_remembered_matched_and_forgotten(tmp_path: Path, heard: list[np.ndarray]) -> None:
    file = tmp_path / "user" / "voices.json"
    assert names(file) == [] and matched(file, ANN) is None
    heard += [ANN, BOB]
    remember(file, "Ann", AUDIO, consent=True)
    remember(file, " Bob  B. ", AUDIO, consent=True)
    assert names(file) == ["Ann", "Bob B."]
    assert matched(file, near(ANN, 0.9)) == "Ann"
    assert matched(file, tuple(near(BOB, 0.85))) == "Bob B."
    assert matched(file, near(ANN, 0.78)) is None and matched(file, EVE) is None
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert forget(file, "Ann") and not forget(file, "Ann")
    assert names(file) == ["Bob B."] and matched(file, ANN) is None
    assert "Ann" not in file.read_text()
    assert forget(file, "Bob B.") and not file.exists()


def test_a_voiceprint_needs_consent_a_name_and_enough_speech(tmp_path: Path, heard: list[np.ndarray]) -> None:
    heard.append(ANN)
    for arguments, says in (
        (("Ann", AUDIO, False), "has not consented"),
        (("  ", AUDIO, True), "no name"),
        (("Ann", AUDIO[: 2 * RATE], True), "too little speech"),
    ):
        name, audio, consent = arguments
        with pytest.raises(HarkError, match=says):
            remember(tmp_path / "voices.json", name, audio, consent=consent)
    assert list(tmp_path.iterdir()) == [] and len(heard) == 1  # no embedding was computed


def test_repeated_enrolment_averages_the_voiceprint(tmp_path: Path, heard: list[np.ndarray]) -> None:
    file = tmp_path / "voices.json"
    heard += [near(ANN, 0.8), ANN, ANN]
    for _ in range(3):
        remember(file, "Ann", AUDIO, consent=True)
    kept = json.loads(file.read_text())["voices"]["Ann"]
    assert kept["times"] == 3 and kept["consent"] is True
    cosine = np.array(kept["embedding"]) @ ANN / np.linalg.norm(ANN)
    assert 0.95 < cosine < 0.99
    assert np.linalg.norm(kept["embedding"]) == pytest.approx(1, abs=1e-3)


def test_voices_remembered_at_the_same_time_are_all_stored(
    tmp_path: Path, heard: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, real = tmp_path / "voices.json", UserFile.load

    def slowly(kind: UserFile[Any], path: Path) -> dict[str, Any]:
        kept = real(kind, path)
        time.sleep(0.05)
        return kept

    heard += [ANN, BOB, EVE]
    monkeypatch.setattr(UserFile, "load", slowly)
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda name: remember(file, name, AUDIO, consent=True), ("Ann", "Bob", "Eve")))
    assert names(file) == ["Ann", "Bob", "Eve"]


def test_a_name_is_matched_to_one_speaker_only(tmp_path: Path, heard: list[np.ndarray]) -> None:
    heard += [ANN, BOB]
    remember(tmp_path / "v.json", "Ann", AUDIO, consent=True)
    remember(tmp_path / "v.json", "Bob", AUDIO, consent=True)
    found = match_all(tmp_path / "v.json", {"S1": near(ANN, 0.85), "S2": near(ANN, 0.95), "S3": BOB, "S4": EVE})
    assert found == {"S2": "Ann", "S3": "Bob"}


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"schema": 2, "voices": {}}', '{"schema": 1, "voices": {"Ann": {"embedding": [1], "times": 1}}}'],
)
def test_a_damaged_file_is_not_overwritten(tmp_path: Path, heard: list[np.ndarray], content: str) -> None:
    (tmp_path / "voices.json").write_text(content)
    heard.append(ANN)
    with pytest.raises(HarkError, match="cannot be read"):
        remember(tmp_path / "voices.json", "Ann", AUDIO, consent=True)
    assert (tmp_path / "voices.json").read_text() == content


def test_the_audio_of_a_speaker_is_extracted_longest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = np.stack([np.repeat([0.1, 0.2, 0.3, 0.4], RATE), np.zeros(4 * RATE)], axis=1)
    soundfile.write(tmp_path / "a.flac", sound, RATE)
    found = voice_of(tmp_path / "a.flac", [(0, 1), (2, 4)], channel=0)
    assert len(found) == 3 * RATE and found[0] == pytest.approx(0.3, abs=1e-3)  # the longest first
    assert voice_of(tmp_path / "a.flac", [(0, 1)])[0] == pytest.approx(0.05, abs=1e-3)
    assert len(voice_of(tmp_path / "a.flac", [])) == 0
    assert len(voice_of(tmp_path / "a.flac", [(3.5, 9)])) == RATE // 2  # no further than the recording
    with pytest.raises(HarkError, match="cannot be read"):
        voice_of(tmp_path / "nothing.flac", [(0, 1)])
    monkeypatch.setattr(voiceprints, "MAX_SPEECH_S", 1.5)
    assert len(voice_of(tmp_path / "a.flac", [(0, 1), (2, 4)])) == 1.5 * RATE


def test_real_people_are_matched_by_voice(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("resemblyzer")
    from tests.support.labelled_mix import utterances_by_speaker

    monkeypatch.setenv("HARK_SPEECH_SERVICE", "0")
    people = utterances_by_speaker(shared_data / "speech" / "librispeech-dev-clean")
    chosen = sorted(people)[:4]
    for person in chosen:
        audio = np.concatenate([read_audio(path) for path in people[person][:3]])[: 15 * RATE]
        remember(tmp_path / "voices.json", person, audio, consent=True)
    for person in chosen:
        audio = np.concatenate([read_audio(path) for path in people[person][10:13]])[: 15 * RATE]
        assert matched(tmp_path / "voices.json", embed(audio)) == person
    visitor = sorted(people)[5]
    audio = np.concatenate([read_audio(path) for path in people[visitor][:3]])[: 15 * RATE]
    assert matched(tmp_path / "voices.json", embed(audio)) is None
    assert voiceprints.names(tmp_path / "voices.json") == chosen
