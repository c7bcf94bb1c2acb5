"""espeak, flite and festival: settings take effect, and invalid requests are refused, not spoken differently."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from audio_generation.engine import Engine, FailedRequest, GeneratedClip, Setting, SpeechRequest, speaks
from audio_generation.espeak_side.espeak import NOVELTY, Espeak
from audio_generation.festival_side.festival import Festival
from audio_generation.flite_side.flite import Flite
from core.audio_file import SAMPLE_RATE, read_audio
from core.data_folder import REPOSITORY

Settings = Mapping[str, Setting] | None


def ready(engine: Engine) -> Iterator[Engine]:
    if not engine.available().ok:
        pytest.skip(f"{engine.available().why} {engine.available().how_to_enable}")
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def espeak() -> Iterator[Engine]:
    yield from ready(Espeak())


@pytest.fixture(scope="module")
def flite() -> Iterator[Engine]:
    yield from ready(Flite())


@pytest.fixture(scope="module")
def festival() -> Iterator[Engine]:
    yield from ready(Festival())


def say(
    engine: Engine, folder: Path, voice: str, settings: Settings = None, text: str = "hey compass"
) -> GeneratedClip | FailedRequest:
    (result,) = engine.synthesize([SpeechRequest("x", text, voice, "en", settings or {})], folder)
    return result


def sound(engine: Engine, folder: Path, voice: str, settings: Settings = None, text: str = "hey compass") -> np.ndarray:
    clip = say(engine, folder, voice, settings, text)
    assert isinstance(clip, GeneratedClip), clip
    return read_audio(clip.path)


def pitch_hz(audio: np.ndarray) -> float:
    """Median over voiced 50 ms frames of the lag with the highest autocorrelation, 60 to 400 Hz."""
    found = []
    for start in range(0, len(audio) - 800, 200):
        frame = audio[start : start + 800] - audio[start : start + 800].mean()
        correlation = np.correlate(frame, frame, "full")[799:]
        lags = slice(SAMPLE_RATE // 400, SAMPLE_RATE // 60)
        best = int(correlation[lags].argmax()) + lags.start
        if np.sqrt((frame**2).mean()) > 0.02 and correlation[best] > 0.5 * correlation[0]:
            found.append(SAMPLE_RATE / best)
    assert found
    return float(np.median(found))


def test_espeak_lists_every_accent_and_variant_with_people_first(espeak: Engine) -> None:
    voices = espeak.voices("en")
    names = [voice.name for voice in voices]
    assert {"gmw/en-US+f3", "gmw/en", "gmw/en-GB-scotland+m2"} <= set(names) and len(names) > 500
    assert not any("Shaw" in name for name in names)
    novelty = [voice.speaker.removeprefix("espeak-") in NOVELTY for voice in voices]
    assert novelty == sorted(novelty) and any(novelty)
    assert {voice.speaker for voice in voices if voice.name.endswith("+f3")} == {"espeak-f3"}
    assert all(speaks(voice.language, "en-us") for voice in espeak.voices("en-us"))
    assert {voice.name for voice in espeak.voices("de")} >= {"gmw/de", "gmw/de+f2"}


def test_espeak_gives_the_same_samples_in_every_run(espeak: Engine, tmp_path: Path) -> None:
    runs = []
    for _ in range(2):
        espeak.close()
        runs.append([sound(espeak, tmp_path, voice) for voice in ("gmw/en-US+f3", "gmw/en+whisper", "gmw/en-US+f3")])
    assert all(np.array_equal(one, two) for one, two in zip(*runs))


def test_espeak_settings_change_the_audio(espeak: Engine, tmp_path: Path) -> None:
    slow, fast = (len(sound(espeak, tmp_path, "gmw/en-US", {"rate": rate})) for rate in (120, 240))
    assert slow > 1.5 * fast
    low, high = (pitch_hz(sound(espeak, tmp_path, "gmw/en-US", {"pitch": pitch})) for pitch in (20, 80))
    assert high > 1.3 * low
    gap = (len(sound(espeak, tmp_path, "gmw/en-US", {"word_gap": gap})) for gap in (0, 20))
    assert next(gap) + 2000 < next(gap)


@pytest.mark.parametrize("voice", ["gmw/en-US+nosuch", "gmw/xx", "", "../en", "en-us"])
def test_espeak_rejects_voices_that_it_would_replace(
    espeak: Engine, tmp_path: Path, voice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = espeak.voices("en")[0]
    monkeypatch.setattr(espeak, "voice_named", lambda name, language: known)  # past the host's own check
    result = say(espeak, tmp_path, voice)
    assert isinstance(result, FailedRequest) and "no voice" in result.why
    assert isinstance(say(espeak, tmp_path, "gmw/en-US"), GeneratedClip)


def test_espeak_reads_markup_as_text_and_rejects_unknown_settings(espeak: Engine, tmp_path: Path) -> None:
    marked = sound(espeak, tmp_path, "gmw/en-US", text='<break time="3s"/>compass')
    plain = sound(espeak, tmp_path, "gmw/en-US", text="compass")
    assert len(marked) > 1.5 * len(plain)  # "less than break time ..." is spoken
    refused = say(espeak, tmp_path, "gmw/en-US", {"nosuch": 1})
    assert isinstance(refused, FailedRequest) and "nosuch" in refused.why


@pytest.mark.parametrize("text", ["", "...", "🙂", "\0", "hey\0compass", 'a"b\\c', "日本", "(quit)", "x" * 40])
def test_each_engine_answers_unusual_texts(
    espeak: Engine, flite: Engine, festival: Engine, tmp_path: Path, text: str
) -> None:
    for engine in (espeak, flite, festival):
        voice = engine.voices("en")[0].name
        assert say(engine, tmp_path, voice, text=text).request_id == "x"
        assert isinstance(say(engine, tmp_path, voice), GeneratedClip)


def test_flite_settings_change_the_audio_of_their_request_only(flite: Engine, tmp_path: Path) -> None:
    before = sound(flite, tmp_path, "kal16")
    slow = sound(flite, tmp_path, "slt", {"duration_stretch": 1.5})
    fast = sound(flite, tmp_path, "slt", {"duration_stretch": 0.75})
    assert len(slow) > 1.7 * len(fast)
    low, high = (pitch_hz(sound(flite, tmp_path, "slt", {"f0_shift": shift})) for shift in (0.8, 1.2))
    assert high > 1.25 * low
    sound(flite, tmp_path, "kal16", {"duration_stretch": 2.0, "f0_shift": 1.3, "f0_stddev": 30})
    assert np.array_equal(before, sound(flite, tmp_path, "kal16"))


def test_flite_uses_its_program_if_the_library_is_missing(flite: Engine, tmp_path: Path) -> None:
    if shutil.which("flite") is None:
        pytest.skip("the flite program is not installed: apt-get install flite")
    no_library = tmp_path / "no_library.py"  # a worker on a machine without libflite
    no_library.write_text(
        "from audio_generation.flite_side import worker\n"
        "def missing(voxes): raise OSError('libflite.so.1: no such file')\n"
        "worker.Library = missing\nworker.serve(worker.set_up)\n"
    )

    class WithoutLibrary(Flite):
        def worker_module(self) -> str:
            return "no_library"

        def worker_environment(self) -> Mapping[str, str]:
            return {"PYTHONPATH": f"{REPOSITORY}{os.pathsep}{tmp_path}"}

    program = WithoutLibrary()
    assert program.facts()["through"] == "program"
    assert len(program.voices("en")) == 4
    other = sound(program, tmp_path, "slt", {"duration_stretch": 1.2})
    program.close()
    ours = sound(flite, tmp_path, "slt", {"duration_stretch": 1.2})
    assert abs(len(other) - len(ours)) < 0.05 * len(ours)


def test_flite_loads_user_voices(flite: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if flite.facts()["through"] != "libflite":
        pytest.skip("libflite is not installed")
    folder = tmp_path / "voices" / "flite"
    folder.mkdir(parents=True)
    library = ctypes.CDLL("libflite.so.1", mode=ctypes.RTLD_GLOBAL)
    register = ctypes.CDLL("libflite_cmu_us_awb.so.1", mode=ctypes.RTLD_GLOBAL).register_cmu_us_awb
    library.flite_init()
    register.restype = ctypes.c_void_p
    library.flite_voice_dump.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    library.flite_voice_dump(register(None), str(folder / "cmu_us_mine.flitevox").encode())
    (folder / "broken.flitevox").write_bytes(b"no voice")
    monkeypatch.setenv("HARK_DATA", str(tmp_path))
    engine = Flite()
    assert {"cmu_us_mine": "mine"}.items() <= {voice.name: voice.speaker for voice in engine.voices("en")}.items()
    assert len(sound(engine, tmp_path, "cmu_us_mine")) > 8000
    engine.close()


def test_festival_settings_change_the_audio_of_their_request_only(festival: Engine, tmp_path: Path) -> None:
    names = [voice.name for voice in festival.voices("en")]
    for voice in names:
        before = sound(festival, tmp_path, voice)
        slow, fast = (len(sound(festival, tmp_path, voice, {"stretch": stretch})) for stretch in (1.4, 0.8))
        assert slow > 1.4 * fast, voice
        assert np.array_equal(before, sound(festival, tmp_path, voice)), voice
    if "kal_diphone" in names:
        low, high = (pitch_hz(sound(festival, tmp_path, "kal_diphone", {"f0_mean": mean})) for mean in (85.0, 140.0))
        assert high > 1.3 * low


def test_engines_with_the_same_person_share_a_speaker_name(flite: Engine, festival: Engine) -> None:
    shared = {voice.speaker for voice in flite.voices("en")} & {voice.speaker for voice in festival.voices("en")}
    assert shared <= {"slt", "kal"} and shared


def test_readiness_names_the_missing_debian_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    engine = Festival()
    readiness = engine.available()
    assert not readiness.ok and "apt-get install festival" in readiness.how_to_enable
