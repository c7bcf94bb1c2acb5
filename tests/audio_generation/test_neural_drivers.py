"""The real drivers of the large engines, on tiny random voices made here.

They run if an engine's own interpreter has its packages (``./hark engines enable NAME``); otherwise they are skipped.
"""

from __future__ import annotations

import json
import math
import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_generation.clip_check import ClipFacts
from audio_generation.elevenlabs_side import elevenlabs
from audio_generation.elevenlabs_side.elevenlabs import ElevenLabs
from audio_generation.engine import Engine, FailedRequest, GeneratedClip, SpeechRequest
from audio_generation.kokoro_side.kokoro import Kokoro
from audio_generation.piper_side.piper import Piper
from audio_generation.suno_side.suno import Suno
from core import environments
from core.audio_file import read_audio
from core.data_folder import data_folder
from tests.support.http_server import Reply, serving

Driver = Callable[[Engine], Engine]


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    """Return an engine with a temporary data folder but its real environment; skip the test without one."""
    monkeypatch.setenv("HARK_ENGINES_ENV", os.environ.get("HARK_ENGINES_ENV") or str(data_folder() / "engines"))
    monkeypatch.setenv("HARK_DATA", str(tmp_path))
    made: list[Engine] = []

    def make(engine: Engine) -> Engine:
        lacks = environments.lacking(engine.name, engine.packages)
        if lacks:
            pytest.skip(f"{', '.join(lacks)} not installed: ./hark engines enable {engine.name}")
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.close()


@pytest.fixture
def any_sound_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accept any clip: random weights make noise of any length, which the host rightly refuses."""

    def facts(path: Path, text: str) -> ClipFacts:
        info = soundfile.info(str(path))
        return ClipFacts(info.duration, info.samplerate)

    monkeypatch.setattr("audio_generation.engine.check_clip", facts)


def run_in(engine: Engine, program: str, *arguments: str) -> None:
    """Run a program in the engine's own interpreter."""
    subprocess.run([str(environments.interpreter(engine.name)), "-c", program, *arguments], check=True)


def only_clip(engine: Engine, request: SpeechRequest, folder: Path) -> GeneratedClip:
    (result,) = engine.synthesize([request], folder)
    assert isinstance(result, GeneratedClip), result
    return result


# Piper


def make_piper_voice(path: Path, speakers: int) -> None:
    """A model with the inputs and outputs of Piper's VITS: random harmonics per phoneme, a pitch per speaker."""
    onnx = pytest.importorskip("onnx")
    torch = pytest.importorskip("torch")

    class TinyVits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.harmonics = torch.nn.Embedding(256, 12)

        def forward(self, input, input_lengths, scales, sid=None):
            hop = (scales[1] * 1000).long()
            weights = self.harmonics(input).softmax(-1).repeat_interleave(hop, dim=1)
            pitch = 110.0 + (0.0 if sid is None else 60.0 * sid.float()[:, None, None])
            time = torch.arange(weights.shape[1])[None, :, None] / 16000
            waves = torch.sin(2 * math.pi * pitch * time * torch.arange(1, 13))
            noise = scales[0] * 0.001 * torch.randn_like(time)
            return 0.5 * ((weights * waves).sum(-1) + noise[..., 0] + 0 * input_lengths.sum())[:, None, None, :]

    inputs = [torch.randint(1, 100, (1, 20)), torch.tensor([20]), torch.tensor([0.667, 1.0, 0.8])]
    names = ["input", "input_lengths", "scales"]
    if speakers > 1:
        inputs.append(torch.tensor([0]))
        names.append("sid")
    torch.onnx.export(
        TinyVits(), tuple(inputs), str(path), input_names=names, output_names=["output"], dynamo=False,
        dynamic_axes={"input": {0: "b", 1: "t"}, "output": {0: "b", 3: "n"}},
    )  # fmt: skip
    onnx.checker.check_model(str(path))
    # Piper's own map of phonemes to numbers, reduced to what English needs.
    symbols = "_^$ !'(),-.:;?abcdefhijklmnopqrstuvwxyzæðŋɐɑɒɔəɚɛɜɡɪɫɹɾʃʊʌʒʔˈˌː"
    config = {
        "audio": {"sample_rate": 16000},
        "espeak": {"voice": "en-us"},
        "language": {"code": "en_US"},
        "inference": {"noise_scale": 0.667, "length_scale": 1, "noise_w": 0.8},
        "num_symbols": 256,
        "num_speakers": speakers,
        "speaker_id_map": {f"p{number}": number for number in range(speakers)} if speakers > 1 else {},
        "phoneme_id_map": {symbol: [number] for number, symbol in enumerate(symbols)},
    }
    path.with_suffix(".onnx.json").write_text(json.dumps(config))


def test_piper_speaks_every_speaker_of_every_voice(driver: Driver, tmp_path: Path) -> None:
    engine = driver(Piper())
    engine.packaged = lambda: tmp_path / "packages"
    folder = tmp_path / "voices" / "piper" / "en" / "en_US" / "tiny" / "low"  # as in the repository of voices
    folder.mkdir(parents=True)
    assert "no Piper voice" in engine.available().why and "voices pull" in engine.available().how_to_enable
    make_piper_voice(folder / "en_US-tiny-low.onnx", 3)
    packaged = tmp_path / "packages" / "alone_piper_voice" / "data"
    packaged.mkdir(parents=True)
    make_piper_voice(packaged / "en_US-alone-medium.onnx", 1)
    (packaged / "MODEL_CARD").write_text("* License: MIT\n")
    (folder / "MODEL_CARD").write_text("# tiny\n* License: CC0\n")
    (folder / "en_US-broken-low.onnx.json").write_text("{")
    (folder / "en_US-broken-low.onnx").write_bytes(b"")

    assert engine.available().ok
    voices = engine.voices("en")
    assert [voice.name for voice in voices] == ["en_US-alone-medium", *(f"en_US-tiny-low#p{n}" for n in range(3))]
    assert [voice.speaker for voice in voices[:2]] == ["piper-en_US-alone", "piper-en_US-tiny-p0"]
    assert voices[0].licence == "MIT"
    assert (voices[1].licence, voices[1].language) == ("CC0", "en-us") and engine.voices("de") == []

    rng = np.random.default_rng(0)
    requests = [
        SpeechRequest(voice.name, "hey [[compass]]", voice.name, "en", engine.draw_settings(voice, rng))
        for voice in voices
    ]
    requests.append(SpeechRequest("none", "hey", "en_US-tiny-low#p3", "en", {}))
    *clips, failed = engine.synthesize(requests, tmp_path / "out")
    assert isinstance(failed, FailedRequest)
    sounds = [read_audio(clip.path) for clip in clips if isinstance(clip, GeneratedClip)]
    assert len(sounds) == 4, clips
    # The speaker's pitch is in the sound, and the length scale in its length.
    pitches = [np.fft.rfft(sound)[40 * len(sound) // 16000 :].__abs__().argmax() for sound in sounds]
    assert len(set(pitches)) > 1
    slow, fast = (
        only_clip(
            engine, SpeechRequest("x", "hey compass", "en_US-alone-medium", "en", {"length_scale": scale}), tmp_path
        )
        for scale in (1.5, 0.75)
    )
    assert slow.duration_s == pytest.approx(2 * fast.duration_s, rel=0.01)


# Kokoro

MAKE_KOKORO = """
import json, sys, torch
from pathlib import Path
from kokoro import KModel
folder = Path(sys.argv[1])
symbols = ';:,.!?—…"() “”abcdefhijklmnopqrstuvwxyzAIOQSTWYæçðøŋœɐɑɒɔɕɖəɚɛɜɟɡɣɥɨɪɯɰɲɳɴɸɹɻɽɾʁʂʃʈʊʋʌʎʒʔʝʣʤʥʦʧʨʰʲˈˌː̃ᵊᵝᵻ'
config = {
    "istftnet": {"upsample_kernel_sizes": [20, 12], "upsample_rates": [10, 6], "gen_istft_hop_size": 5,
                 "gen_istft_n_fft": 20, "resblock_dilation_sizes": [[1, 3, 5]], "resblock_kernel_sizes": [3],
                 "upsample_initial_channel": 512},
    "dim_in": 64, "dropout": 0.0, "hidden_dim": 512, "max_conv_dim": 512, "max_dur": 5, "n_layer": 1,
    "n_mels": 80, "n_token": 178, "style_dim": 128, "text_encoder_kernel_size": 3,
    "plbert": {"hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 512,
               "num_hidden_layers": 1, "dropout": 0.0, "embedding_size": 32},
    "vocab": {symbol: number for number, symbol in enumerate(symbols, 1)},
}
(folder / "voices").mkdir(parents=True)
(folder / "config.json").write_text(json.dumps(config))
torch.manual_seed(0)
torch_load, torch.load = torch.load, lambda *a, **k: {}
model = KModel(repo_id="hexgrad/Kokoro-82M", config=str(folder / "config.json"), model="none")
torch.load = torch_load
parts = ("bert", "bert_encoder", "predictor", "decoder", "text_encoder")
torch.save({part: getattr(model, part).state_dict() for part in parts}, folder / "kokoro-tiny.pth")
for name in ("af_one", "af_two", "am_three", "bf_four"):
    torch.save(torch.randn(510, 1, 256), folder / "voices" / f"{name}.pt")
"""


def test_kokoro_speaks_voices_and_blends(driver: Driver, any_sound_passes: None, tmp_path: Path) -> None:
    engine = driver(Kokoro())
    folder = tmp_path / "voices" / "kokoro"
    assert "no *.pth" in engine.available().why
    folder.mkdir(parents=True)
    run_in(engine, MAKE_KOKORO, str(folder))
    assert engine.available().ok
    voices = {voice.name: voice for voice in engine.voices("en")}
    assert len(voices) == 7 and "af_one*0.5+af_two*0.5" in voices
    assert voices["af_one*0.5+af_two*0.5"].speaker == "kokoro-af_one+kokoro-af_two"
    assert [voice.name for voice in engine.voices("en-gb")] == ["bf_four"] and engine.voices("ja") == []

    names = ["af_one", "af_two", "af_one*0.3+af_two*0.7", "bf_four", "af_nosuch", "af_one*x"]
    settings = {"speed": 1.1, "seed": 1}
    results = list(
        engine.synthesize(
            [SpeechRequest(name, "hey compass", name, "en", settings) for name in names], tmp_path / "out"
        )
    )
    clips = [result for result in results[:4] if isinstance(result, GeneratedClip)]
    assert len(clips) == 4, results
    assert all("has no voice" in result.why for result in results[4:] if isinstance(result, FailedRequest))
    assert not any(isinstance(result, GeneratedClip) for result in results[4:])
    assert {clip.sample_rate for clip in clips} == {24_000}
    sounds = [read_audio(clip.path) for clip in clips]
    for number, sound in enumerate(sounds):
        assert np.isfinite(sound).all() and sound.std() > 0
        assert not any(np.array_equal(sound, other) for other in sounds[:number])


# Bark

MAKE_BARK = """
import sys, json
from pathlib import Path
import numpy as np, torch
from transformers import BarkConfig, BarkModel, BertTokenizer, EncodecConfig
from transformers.models.bark import BarkCoarseConfig, BarkFineConfig, BarkSemanticConfig
from transformers.models.bark.generation_configuration_bark import (
    BarkCoarseGenerationConfig, BarkFineGenerationConfig, BarkGenerationConfig, BarkSemanticGenerationConfig)
folder = Path(sys.argv[1])
folder.mkdir(parents=True)
torch.manual_seed(0)
letters = "abcdefghijklmnopqrstuvwxyz"
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + letter for letter in letters)]
(folder / "vocab.txt").write_text("\\n".join(words))
BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
small = dict(num_layers=1, num_heads=2, hidden_size=16, block_size=1024, dropout=0.0, bias=False)
config = BarkConfig(
    semantic_config=BarkSemanticConfig(input_vocab_size=129600, output_vocab_size=10048, **small).to_dict(),
    coarse_acoustics_config=BarkCoarseConfig(input_vocab_size=12096, output_vocab_size=12096, **small).to_dict(),
    fine_acoustics_config=BarkFineConfig(
        input_vocab_size=1056, output_vocab_size=1056, n_codes_total=8, n_codes_given=1, **small).to_dict(),
    codec_config=EncodecConfig(
        num_filters=4, hidden_size=16, codebook_size=1024, codebook_dim=16, num_lstm_layers=1).to_dict(),
)
model = BarkModel(config)
model.save_pretrained(folder)
generation = BarkGenerationConfig.from_sub_model_configs(
    BarkSemanticGenerationConfig(max_new_tokens=20), BarkCoarseGenerationConfig(), BarkFineGenerationConfig())
(folder / "generation_config.json").write_text(json.dumps(generation.to_dict(), default=str))
presets = folder / "speaker_embeddings" / "v2"
presets.mkdir(parents=True)
rng = np.random.default_rng(0)
np.save(presets / "en_speaker_0_semantic_prompt.npy", rng.integers(0, 10000, 80))
np.save(presets / "en_speaker_0_coarse_prompt.npy", rng.integers(0, 1024, (2, 120)))
np.save(presets / "en_speaker_0_fine_prompt.npy", rng.integers(0, 1024, (8, 120)))
"""


def test_bark_speaks_its_presets(driver: Driver, any_sound_passes: None, tmp_path: Path) -> None:
    engine = driver(Suno())
    folder = tmp_path / "voices" / "suno"
    assert "no Bark model" in engine.available().why
    run_in(engine, MAKE_BARK, str(folder))
    assert engine.available().ok and not engine.by_default
    assert [voice.name for voice in engine.voices("en")] == ["en_speaker_0", "random"] and engine.voices("de") == []
    requests = [
        SpeechRequest(name, "hey compass", name, "en", {"seed": 1, "semantic_temperature": 0.7})
        for name in ("en_speaker_0", "random", "en_speaker_9")
    ]
    spoken, random, unknown = engine.synthesize(requests, tmp_path / "out")
    assert isinstance(unknown, FailedRequest) and "no voice" in unknown.why
    assert isinstance(spoken, GeneratedClip) and isinstance(random, GeneratedClip), (spoken, random)
    assert spoken.sample_rate == 24_000 and spoken.speaker == "suno-en_speaker_0"
    sounds = [read_audio(clip.path) for clip in (spoken, random)]
    assert all(np.isfinite(sound).all() and sound.std() > 0 for sound in sounds)


# ElevenLabs


class Service:
    """Answers like ElevenLabs."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, object]] = []
        self.fail = 0

    def __call__(self, path: str, headers: dict[str, str], body: bytes) -> Reply:
        if path.startswith("/v1/voices"):
            if headers["xi-api-key"] != "test-key":
                return 401, {}, b'{"detail": {"status": "invalid_api_key", "message": "Invalid API key"}}'
            voices = [
                {"voice_id": "id1", "name": "Rachel", "labels": {"language": "en", "accent": "american"}},
                {"voice_id": "id2", "name": "Hans", "labels": {"language": "de", "accent": "standard"}},
            ]
            return 200, {}, json.dumps({"voices": voices}).encode()
        assert path == "/v1/text-to-speech/id1?output_format=pcm_24000", path
        self.bodies.append(json.loads(body))
        if self.fail:
            return self.fail, {}, b'{"detail": {"message": "quota exceeded"}}'
        tone = (int(8000 * math.sin(0.05 * n) * math.sin(n / 300)) for n in range(24000))
        return 200, {"Content-Type": "audio/pcm"}, b"".join(struct.pack("<h", sample) for sample in tone)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Service]:
    service = Service()
    monkeypatch.setattr(elevenlabs, "ENV_FILE", tmp_path / ".env")
    monkeypatch.delenv("ELEVENLABS_API_KEY", raising=False)
    monkeypatch.delenv("ELEVENLABS_CHARACTER_LIMIT", raising=False)
    with serving(service) as url:
        monkeypatch.setenv("ELEVENLABS_BASE_URL", url)
        yield service


def test_elevenlabs_needs_a_key_speaks_and_stops_at_its_limit(driver: Driver, service: Service, tmp_path: Path) -> None:
    engine = driver(ElevenLabs())
    assert isinstance(engine, ElevenLabs) and engine.paid and not engine.by_default
    assert "no key" in engine.available().why
    (tmp_path / ".env").write_text("# comment\nELEVENLABS_API_KEY='test-key'\nELEVENLABS_CHARACTER_LIMIT=30\n")
    assert engine.available().ok
    assert service.bodies == []
    assert [(voice.name, voice.language) for voice in engine.voices("en")] == [("id1", "en-us"), ("id2", "en")]

    settings = engine.draw_settings(engine.voices("en")[0], np.random.default_rng(0))
    requests = [SpeechRequest(str(n), "hey compass", "id1", "en", settings) for n in range(4)]
    results = list(engine.synthesize(requests, tmp_path / "out"))
    assert [type(result) for result in results] == [GeneratedClip, GeneratedClip, FailedRequest, FailedRequest]
    assert "8 of 30 characters are left" in results[2].why  # type: ignore[union-attr]
    assert len(service.bodies) == 2 and service.bodies[0]["text"] == "hey compass"
    assert service.bodies[0]["seed"] == settings["seed"]
    assert engine.characters_left() == 8 and ElevenLabs().characters_left() == 8
    assert results[0].sample_rate == 24_000  # type: ignore[union-attr]

    service.fail = 429
    (failed,) = engine.synthesize([SpeechRequest("x", "hey", "id1", "en", {})], tmp_path / "out")
    assert isinstance(failed, FailedRequest) and "429" in failed.why and "quota exceeded" in failed.why
    assert len(service.bodies) == 3  # and no second attempt
    assert engine.characters_left() == 5  # what was sent counts


def test_elevenlabs_reports_an_invalid_key(
    driver: Driver, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = driver(ElevenLabs())
    monkeypatch.setenv("ELEVENLABS_API_KEY", "wrong")
    (result,) = engine.synthesize([SpeechRequest("x", "hey", "id1", "en", {})], tmp_path)
    assert isinstance(result, FailedRequest) and "401" in result.why and "Invalid API key" in result.why


@pytest.mark.parametrize("content", ["nonsense", ""])
def test_elevenlabs_spends_nothing_if_its_count_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setenv("HARK_DATA", str(tmp_path))
    monkeypatch.setenv("ELEVENLABS_CHARACTER_LIMIT", "100")
    spent = tmp_path / "engines" / "elevenlabs" / "characters-spent.txt"
    spent.parent.mkdir(parents=True)
    spent.write_text(content)
    assert ElevenLabs().characters_left() == 0
    assert ElevenLabs().refusal(SpeechRequest("x", "hey", "id1", "en", {}))
