"""Moonshine on real speech, noise and silence: texts, word times, and messages without it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from core.audio_file import SAMPLE_RATE, read_audio
from core.errors import HarkError
from model.asr.decoding import error_rate
from model.large.decoder_tokens import token_texts
from phrase_augmentation.normalize import normalize
from pipeline.recordings.transcription import moonshine_engine, registry
from pipeline.recordings.transcription.engine import CHUNK_S
from pipeline.recordings.transcription.moonshine_engine import (
    BEGIN,
    END,
    EXPECTED_NATS,
    MIN_SURENESS,
    Moonshine,
    _expected,
    _Model,
    _Place,
    _placed,
    _sureness,
    _surplus,
    _words,
    _Written,
)
from pipeline.recordings.transcripts.transcript import Segment
from tests.support.moonshine_package import replace_package
from tests.support.read_speech import dev_clean
from tests.support.sounds import noise, tone
from tests.support.untrained_bundle import spoken

UTTERANCES = 15
TEXT = "the weather will be nice tomorrow"


@pytest.fixture(scope="module")
def engine() -> Moonshine:
    found = Moonshine()
    if not found.available().ok:
        pytest.skip(found.available().why)
    return found


def read_speech(shared: Path, count: int) -> list[tuple[np.ndarray, str]]:
    folder = shared / "speech"
    if not (folder / "librispeech-dev-clean").is_dir():
        pytest.skip(f"no recordings of read speech in {folder}")
    return [(read_audio(path), text) for path, text in dev_clean(folder)[:count]]


def text_of(segments: Sequence[Segment]) -> str:
    return " ".join(segment.text for segment in segments)


def check_words(segments: Sequence[Segment], seconds: float) -> None:
    (segment,) = segments
    assert segment.text == " ".join(word.text for word in segment.words) and segment.language == "en"
    assert all(0 < word.confidence <= 1 for word in segment.words)
    for before, after in zip(segment.words, segment.words[1:], strict=False):
        assert before.start_s < before.end_s <= after.start_s + 0.05
    assert segment.words[-1].end_s <= seconds


# ---- with the weights


def test_real_speech_is_recognized(shared_data: Path, engine: Moonshine) -> None:
    rows = read_speech(shared_data, UTTERANCES)
    heard = [engine.recognize(audio, "en") for audio, _ in rows]
    texts = [normalize(text_of(segments)).split() for segments in heard]
    assert error_rate([normalize(text).split() for _, text in rows], texts) < 0.15
    for segments, (audio, _) in zip(heard, rows, strict=True):
        check_words(segments, len(audio) / SAMPLE_RATE)
    written = " ".join(map(text_of, heard))
    assert "." in written and written != written.lower()


def test_half_a_minute_of_speech_is_recognized(shared_data: Path, engine: Moonshine) -> None:
    rows = read_speech(shared_data, 10)
    audio = np.concatenate([audio for audio, _ in rows])
    assert len(audio) > CHUNK_S * SAMPLE_RATE
    segments = engine.recognize(audio, None)
    check_words(segments, CHUNK_S)
    assert segments[0].words[-1].end_s > CHUNK_S - 4
    heard, said = normalize(text_of(segments)).split(), normalize(" ".join(text for _, text in rows)).split()
    assert error_rate([said[: len(heard)]], [heard]) < 0.2


def test_word_times_match_the_speech(engine: Moonshine) -> None:
    audio = spoken(TEXT, 0.5, 0.7)
    segments = engine.recognize(audio, "en")
    check_words(segments, len(audio) / SAMPLE_RATE)
    assert len(set(normalize(text_of(segments)).split()) & set(TEXT.split())) >= 4
    assert 0.3 < segments[0].words[0].start_s < 0.7
    assert segments[0].words[-1].end_s < len(audio) / SAMPLE_RATE - 0.5


@pytest.mark.parametrize("level", [0.0, 1e-4, 0.01, 0.2])
@pytest.mark.parametrize("seconds", [0.01, 0.5, 3.0])
def test_silence_and_noise_give_nothing(engine: Moonshine, level: float, seconds: float) -> None:
    assert engine.recognize(noise(seconds, level=level), "en") == []


def test_a_hum_and_long_noise_give_nothing(engine: Moonshine) -> None:
    assert engine.recognize(tone(4.0, 100, 0.1), None) == []
    assert engine.recognize(noise(30.0, level=0.05), None) == []


def test_the_engine_works_again_after_close(engine: Moonshine) -> None:
    audio = spoken(TEXT, 0.2, 0.3)
    first = engine.recognize(audio, "en")
    engine.close()
    assert engine.recognize(audio, "en") == first


# ---- without them


def test_without_its_package_auto_chooses_another_engine(no_recognizers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_package(monkeypatch, None)
    ready = Moonshine().available()
    assert not ready.ok and "not installed" in ready.why
    assert ready.how_to_enable == "python -m pip install --no-deps -r requirements-alone.txt"
    assert registry.choose("auto", "en")[0].name == "hark"
    with pytest.raises(HarkError, match="cannot be used here"):
        registry.choose("moonshine", "en")
    with pytest.raises(HarkError, match="cannot be used here"):
        Moonshine().recognize(spoken(TEXT), "en")


def test_missing_and_damaged_weights_are_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    replace_package(monkeypatch, tmp_path)
    ready = Moonshine().available()
    assert not ready.ok and "encoder_model.ort" in ready.why and "requirements-alone" in ready.how_to_enable
    (tmp_path / moonshine_engine.ASSETS).mkdir(parents=True)
    for name in (moonshine_engine.ENCODER, moonshine_engine.DECODER, moonshine_engine.TOKENIZER):
        (tmp_path / moonshine_engine.ASSETS / name).write_bytes(b"nonsense")
    assert Moonshine().available().ok
    with pytest.raises(HarkError, match="cannot be loaded"):
        Moonshine().recognize(spoken(TEXT), "en")


# ---- its parts


@pytest.mark.parametrize(
    ("tokens", "surplus"),
    [
        ([], 0),
        ([5, 6, 7, 8], 0),
        ([5] * 7, 0),
        ([4, *[5] * 8], 7),
        ([1, 2, 3, *[5, 6] * 3], 0),
        ([1, 2, 3, *[5, 6] * 4], 6),
        ([*range(20)] * 4, 60),
        ([*range(30)] * 4, 0),
    ],
)
def test_repeated_tokens_are_counted_as_surplus(tokens: list[int], surplus: int) -> None:
    assert _surplus(tokens) == surplus


class Scripted(_Model):
    """Writes the test's text for each length of audio [s]."""

    def __init__(self, says: dict[float, list[int]]) -> None:
        self._texts = [b"<unk>", b"<s>", b"</s>", *(f"\N{LOWER ONE EIGHTH BLOCK}w{n}".encode() for n in range(50))]
        self.says = says

    def _tokens(self, audio: np.ndarray, most: int, expected: _Place) -> tuple[list[int], list[float]]:
        tokens = self.says[round(len(audio) / SAMPLE_RATE)]
        return tokens, [0.5] * len(tokens)


def test_a_repetitive_output_is_recognized_again_in_halves() -> None:
    audio = np.ones(20 * SAMPLE_RATE, np.float32)
    audio[9 * SAMPLE_RATE : 10 * SAMPLE_RATE] = 0  # where it is split
    model = Scripted({20: [7, *[8, 9] * 4], 9: [10, 11], 11: [12, 13]})
    assert [word.text for word in _words(model, audio, _Place())] == ["w7", "w8", "w9", "w10"]
    short = Scripted({3: [7, *[8, 9] * 4]})
    assert [word.text for word in _words(short, audio[: 3 * SAMPLE_RATE], _Place())] == ["w4", "w5", "w6"]


class Decoder:
    """Returns logits for the tokens written so far, which its cache contains like that of the real decoder."""

    def __init__(self, logits: dict[tuple[str, ...], dict[str, float]], texts: list[bytes]) -> None:
        self.logits, self.texts = logits, texts

    def run(self, names: Sequence[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        before = inputs["past_key_values.0.decoder.key"]
        cache = np.concatenate(
            [before, np.full((*before.shape[:2], 1, before.shape[3]), inputs["input_ids"][0, 0])], axis=2
        )
        written = tuple(self.texts[int(token)].decode() for token in cache[0, 0, 1:, 0])
        row = np.full(len(self.texts), -20.0)
        for text, logit in self.logits[written].items():
            row[self.texts.index(text.encode())] = logit
        return [row[None, None], cache]


@pytest.mark.parametrize(
    ("costs", "words", "written"),
    [
        ((1.0, 1.0), (), "_call _cat ie"),  # without expected words
        ((1.0, 1.0), ("_kat ie",), "_call _kat ie"),
        ((1.0, EXPECTED_NATS), ("_kat ie",), "_call _cat ie"),  # the word costs too much in all, so it is dropped
        ((1.0, 1.0), ("_kat ie x",), "_call _cat ie"),  # the text ends before the word does, so it is dropped
        ((1.0, 1.0), ("_zoe", "_kat"), "_call _cat ie"),  # "kat" would be only part of a word
        ((EXPECTED_NATS + 0.1, 0.0), ("_kat ie",), "_call _cat ie"),
    ],
)
def test_an_expected_word_wins_if_nearly_as_probable(
    costs: tuple[float, float], words: tuple[str, ...], written: str
) -> None:
    space = "\N{LOWER ONE EIGHTH BLOCK}"
    texts = [b"<unk>", b"<s>", b"</s>", *(f"{text}".replace("_", space).encode() for text in
             ("_call", "_cat", "_kat", "ie", "y", "x", "_zoe"))]  # fmt: skip
    call, cat, kat = (f"{space}{word}" for word in ("call", "cat", "kat"))
    logits = {
        (): {call: 10.0},
        (call,): {cat: 10.0, kat: 10.0 - costs[0]},
        (call, cat): {"ie": 10.0, "y": 5.0},
        (call, cat, "ie"): {"</s>": 10.0},
        (call, kat): {"y": 10.0, "ie": 10.0 - costs[1]},
        (call, kat, "ie"): {"</s>": 10.0},
    }
    model = object.__new__(_Model)
    model._texts = texts
    model._caches = ["past_key_values.0.decoder.key"]
    model._encoder = SimpleNamespace(run=lambda names, inputs: [np.zeros((1, 1, 1), np.float32)])
    model._decoder = Decoder(logits, texts)
    expected = _Place()
    for word in words:
        place = expected
        for text in word.replace("_", space).split():
            place = place.following.setdefault(texts.index(text.encode()), _Place())
        place.whole = True
    tokens, probabilities = model._tokens(np.zeros(SAMPLE_RATE, np.float32), 8, expected)
    assert " ".join(texts[token].decode() for token in tokens).replace(space, "_") == written
    assert len(probabilities) == len(tokens) and probabilities[0] > 0.9 and END not in tokens


def test_expected_words_are_tokenized_with_the_package_vocabulary(engine: Moonshine) -> None:
    place = _expected(("Siobhan", "Anna"))
    assert len(place.following) >= 2 and not place.whole

    def ends(at: _Place) -> int:
        return at.whole + sum(map(ends, at.following.values()))

    assert ends(place) >= 2


def test_tokens_are_joined_into_words() -> None:
    model = Scripted({})
    space = "\N{LOWER ONE EIGHTH BLOCK}"
    texts = [f"{space}Caf", "\u00e9", ",", f"{space}\u266a", "<<ST_3>>", f"{space}-", f"{space}25", "%"]
    model._texts = [b"<unk>", b"<s>", b"</s>", *(text.encode() for text in texts)]
    words = model._split([BEGIN, *range(3, 11)], [0.5] * 9)
    assert [(word.text, len(word.probabilities)) for word in words] == [("Café,", 3), ("25%", 2)]


def test_the_tokenizer_file_is_read() -> None:
    long = b"x" * 300
    assert token_texts(bytes([2]) + b"ab" + bytes([0, 300 % 128 + 128, 300 // 128]) + long) == [b"ab", b"", long]


def test_words_without_times_are_placed_between_their_neighbours() -> None:
    words = [_Written(text, (0.5, 0.8)) for text in ("a", "&", "b", "%", "c", "d")]
    placed = _placed(words, [None, (0.5, 1.0), (1.0, 1.5), None, (2.0, 2.4), None], 2.6)
    assert [word.text for word in placed] == ["a", "&", "b", "%", "c", "d"]
    assert (placed[0].start_s, placed[0].end_s) == (0.0, 0.5)
    assert (placed[3].start_s, placed[3].end_s) == (1.5, 2.0)
    assert placed[5].start_s >= placed[4].end_s and placed[5].end_s == 2.6
    assert placed[0].confidence == 0.4
    tight = _placed(words[:3], [(0.5, 1.0), None, (1.0, 1.5)], 2.0)  # no gap: it shares the time of the previous word
    assert tight[0].start_s == 0.5 < tight[0].end_s == tight[1].start_s < tight[1].end_s == tight[2].start_s == 1.0


def test_other_languages_are_not_labelled_english(shared_data: Path, engine: Moonshine) -> None:
    files = sorted((shared_data / "mandarin").glob("*/*.ogg"))
    if not files:
        pytest.skip("no recordings in Mandarin")
    for path in files:
        audio = read_audio(path)[: 6 * SAMPLE_RATE]
        assert not any(segment.language for segment in engine.recognize(audio, None)), path


def test_confident_words_count_as_spoken() -> None:
    sure, unsure = [_Written("yes", (0.9,))], [_Written("you", (0.3,))]
    assert min(_sureness(sure, 0.5), _sureness(sure, 0.01), _sureness(unsure, 0.5)) >= MIN_SURENESS
    assert max(_sureness(unsure, 0.001), _sureness(sure, 0.0)) < MIN_SURENESS
