"""The engines of recognition, their choice with reasons, and the results of those installed on this machine."""

from __future__ import annotations

import re

import numpy as np
import pytest

from core.audio_file import SAMPLE_RATE
from core.data_folder import REPOSITORY
from core.errors import HarkError
from core.readiness import Readiness
from pipeline.recordings.engines_and_models import engines_and_models
from pipeline.recordings.transcription import registry
from pipeline.recordings.transcription.engine import RecognitionEngine, described, knows
from pipeline.recordings.transcription.measured import facts, measured, size_of, source
from pipeline.recordings.transcription.transcribe import recognize, recognize_by_name
from pipeline.recordings.transcription.whisper_text import invented
from pipeline.recordings.transcripts.words import spread, words_of
from pipeline.speech_service import client as speech_client
from tests.support.moonshine_package import replace_package
from tests.support.scripted_engine import Scripted, said, use_engines
from tests.support.sounds import noise
from tests.support.untrained_bundle import spoken

pytestmark = pytest.mark.usefixtures("no_recognizers")

TEXT = "the weather will be nice tomorrow"


def test_every_engine_fulfils_the_contract() -> None:
    found = registry.engines()
    assert {engine.name for engine in found} == {
        "hark", "moonshine", "faster-whisper", "whisper-timestamped", "funasr", "openai",
    }  # fmt: skip
    for engine in found:
        ready = engine.available()
        assert ready.ok or (ready.why and ready.how_to_enable), engine.name
        assert isinstance(engine.model, str) and isinstance(engine.versions(), dict)
        assert engine.licence and engine.name in described(engine)
        assert engine.recognize(np.zeros(SAMPLE_RATE, np.float32), None) == []  # silence: nothing, and nothing loaded
        assert engine.recognize(np.zeros(0, np.float32), "en") == []
        engine.close()


def test_engines_are_created_once() -> None:
    assert registry.engine("hark") is registry.engine("hark")


def test_english_without_a_model_uses_harks_recognizer(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_package(monkeypatch, None)
    for language in (None, "en", "en-us"):
        engine, why = registry.choose("auto", language)
        assert engine.name == "hark" and "neither a Whisper model" in why and why.startswith("hark ctc")


@pytest.mark.parametrize(("model", "remedy"), [("", "--pull|install"), ("small.en", "set HARK_WHISPER_MODEL=small")])
def test_another_language_without_a_model_is_rejected_with_advice(
    model: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARK_WHISPER_MODEL", model)
    with pytest.raises(HarkError) as caught:
        registry.choose("auto", "de")
    assert "'de'" in caught.value.what and "English only" in caught.value.why
    assert re.search(remedy, caught.value.what_to_do)
    with pytest.raises(HarkError, match="does not support the language"):
        registry.choose("hark", "de")


def test_unknown_and_unready_engines_are_rejected() -> None:
    with pytest.raises(HarkError, match="no recognition engine"):
        registry.choose("siri", None)
    with pytest.raises(HarkError, match="No endpoint is configured"):
        registry.choose("openai", None)


@pytest.mark.parametrize(
    ("ready", "language", "chosen"),
    [
        ({"funasr", "faster-whisper", "hark"}, "zh", "funasr"),
        ({"funasr", "faster-whisper", "hark"}, None, "faster-whisper"),
        ({"faster-whisper", "whisper-timestamped", "openai"}, "de", "faster-whisper"),
        ({"whisper-timestamped", "openai", "hark"}, "en", "whisper-timestamped"),
        ({"faster-whisper", "moonshine", "hark"}, None, "faster-whisper"),
        ({"moonshine", "openai", "hark"}, "en", "moonshine"),
        ({"moonshine", "openai", "hark"}, None, "openai"),  # which detects the language
        ({"moonshine", "openai", "hark"}, "de", "openai"),
        ({"moonshine", "hark"}, None, "moonshine"),
        ({"openai", "hark"}, "en", "openai"),
        ({"hark"}, None, "hark"),
    ],
)
def test_auto_chooses_the_best_ready_engine(
    ready: set[str], language: str | None, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_ins = []
    for engine in registry.engines():
        double = Scripted(engine.name, "m", engine.languages())
        double.hosted = engine.hosted
        double.ready = Readiness(engine.name in ready, "" if engine.name in ready else "not here", "get it")
        stand_ins.append(double)
    use_engines(monkeypatch, *stand_ins)
    engine, why = registry.choose("auto", language)
    assert engine.name == chosen and why == f"{chosen} m: {engine.why}"


def test_harks_recognizer_writes_an_expected_word() -> None:
    from model.asr.recognition import decoder_for
    from model.phones import PHONES, phone_indices
    from phrase_augmentation.phonemes import phonemes_of_words
    from pipeline.recordings.transcription.hark_engine import _decoder_expecting

    heard = [0]
    for phone in phone_indices(phonemes_of_words(["zelbrooks"], "en")[0]):
        heard += [phone, 0]
    emission = np.full((len(heard), len(PHONES) + 1), np.log(0.03 / len(PHONES)), np.float32)
    emission[np.arange(len(heard)), heard] = np.log(0.97)
    assert _decoder_expecting(("Zelbrooks", "!")).words(emission) == ["zelbrooks"]
    assert decoder_for("en").words(emission) != ["zelbrooks"]


def test_harks_recognizer_gives_words_with_times() -> None:
    engine = registry.engine("hark")
    audio = spoken(TEXT, 0.5, 0.7)
    (segment,) = engine.recognize(audio, "en")
    expected = TEXT.split()
    assert len(set(segment.text.split()) & set(expected)) >= 4
    assert segment.text == " ".join(word.text for word in segment.words)
    assert segment.language == "en"
    for before, after in zip(segment.words, segment.words[1:], strict=False):
        assert before.start_s < before.end_s <= after.start_s + 0.05
    assert 0.3 < segment.words[0].start_s < 0.7
    assert segment.words[-1].end_s <= len(audio) / SAMPLE_RATE
    assert all(0 < word.confidence <= 1 for word in segment.words)


def test_noise_gives_almost_no_words() -> None:
    found = registry.engine("hark").recognize(noise(2.0, level=0.05), "en")
    assert sum(len(segment.words) for segment in found) <= 2


def test_audio_longer_than_the_limit_is_rejected() -> None:
    with pytest.raises(HarkError, match="cannot be recognized"):
        recognize_by_name("hark", "", np.zeros(40 * SAMPLE_RATE, np.float32), None, False, ())


def test_segments_survive_the_trip_to_the_service_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    double = Scripted()
    use_engines(monkeypatch, double)
    expected = said("grüße an alle", 0.1, 0.9, "de")
    double.write = lambda audio: [expected]
    assert recognize(double, spoken(TEXT), "de") == [expected]


def test_a_hosted_engine_runs_without_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    double = Scripted()
    double.hosted = True
    monkeypatch.setattr(speech_client, "call", lambda *args: pytest.fail("its key must not leave this process"))
    assert len(recognize(double, spoken(TEXT), None)) == 1


def test_languages_are_matched_without_their_region() -> None:
    english: RecognitionEngine = Scripted(languages=("en",))
    assert knows(english, "en-gb") and knows(english, None) and not knows(english, "de")
    assert knows(Scripted(), "tlh")


def test_whisper_tokens_become_words() -> None:
    raw = [(" Hello", 0.0, 0.5, 0.9), (" well", 0.5, 0.7, 0.8), ("-known", 0.7, 1.0, 0.6), (" ", 1.0, 1.0, 0.9)]
    words = words_of([*raw, (" late", 4.0, 9.0, 1.2)], "en", 5.0)
    assert [word.text for word in words] == ["Hello", "well-known", "late"]
    assert words[1].end_s == 1.0 and words[1].confidence == 0.6
    assert words[2].end_s == 5.0 and words[2].confidence == 1.0
    assert [word.text for word in words_of([("你", 0, 1, 0.5), ("好", 1, 2, 0.5)], "zh", 2.0)] == ["你", "好"]


def test_words_without_times_divide_the_segment() -> None:
    words = spread("one three five", 1.0, 4.0, 0.5)
    assert [word.text for word in words] == ["one", "three", "five"]
    assert words[0].start_s == 1.0 and words[-1].end_s == 4.0
    assert words[1].end_s - words[1].start_s > words[0].end_s - words[0].start_s
    assert spread("  ", 0, 1, 0.5) == ()


@pytest.mark.parametrize(
    ("log_p", "no_speech", "compression", "is_invented"),
    [
        (-0.2, 0.1, 1.5, False),
        (-0.9, 0.9, 1.5, False),
        (-1.2, 0.9, 1.5, True),
        (-1.6, 0.0, 1.0, True),
        (-0.1, 0, 3, True),
    ],
)
def test_hallucinated_segments_are_recognized_by_their_scores(
    log_p: float, no_speech: float, compression: float, is_invented: bool
) -> None:
    assert invented(log_p, no_speech, compression) is is_invented


def test_an_engine_shows_its_size_speed_and_errors() -> None:
    assert facts("moonshine tiny-en") == [
        "42 MB",
        "a minute of audio takes about 4 s",
        "6 of 100 words wrong in clearly read English, 16 in difficult recordings",
    ]
    assert facts("moonshine tiny-en", 7.4)[1] == "a minute of audio took 7 s here"
    assert facts("moonshine tiny-en", 0.54)[1] == "a minute of audio took 0.5 s here"
    assert facts("faster-whisper large-v3") == ["3.1 GB", "word error rate not measured"]
    assert facts("something else") == ["word error rate not measured"]
    assert source().startswith(
        "Word error rates were measured on 749 words of LibriSpeech dev-clean and 684 of LibriSpeech"
    )


def test_shipped_and_offered_engines_have_measured_figures() -> None:
    for name in ("moonshine", "hark"):
        assert measured()["models"][described(registry.engine(name))]["wrong"]
    offered = next(one for one in engines_and_models() if one.pulled == "faster-whisper")
    assert offered.sizes and all(size_of(f"faster-whisper {size}") for size in offered.sizes)
    assert dict(offered.downloads)["small"] == "486 MB"


def test_the_measured_figures_match_docs_results() -> None:
    results = (REPOSITORY / "docs" / "results.md").read_text(encoding="utf-8")
    for name, model in measured()["models"].items():
        if "wrong" in model:
            row = re.search(rf"^\| {name.split()[0]} \|.*$", results, re.MULTILINE)
            assert row, name
            wrong = " / ".join(f"{100 * share:.1f}" for share in model["wrong"].values())
            assert f"| {wrong} % | {model['times_real_time']:.1f}" in row[0]
    assert measured()["command"].partition(" --")[0] in results
    assert all(commit in results for commit in measured()["commits"].values())
