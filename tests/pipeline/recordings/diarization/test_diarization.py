"""Diarization by channels, by voices and by pyannote, and the speakers of words."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.optimize import linear_sum_assignment

from core.errors import HarkError
from core.events import Reporter
from pipeline.recordings.diarization import acoustic, channels, pyannote_engine
from pipeline.recordings.diarization.acoustic import diarize_audio, speech_regions
from pipeline.recordings.diarization.channels import compare, turns_of, two_speakers
from pipeline.recordings.diarization.clustering import unit, voices
from pipeline.recordings.diarization.speakers import assign, assign_again, diarize
from pipeline.recordings.diarization.turns import Diarization, Turn, with_overlaps
from pipeline.recordings.diarization.voiceprints import remember
from pipeline.recordings.transcripts.transcript import Segment, Transcript, Word
from tests.support.constants import replace_in
from tests.support.programs import make_environment

RATE = 16_000


def error_rate(reference: Sequence[Turn], found: Sequence[Turn], collar_s: float = 0.25) -> float:
    """Return the diarization error rate under the best naming of speakers, on a grid of 10 ms.

    Overlapped speech is scored. What lies within ``collar_s`` of a reference turn's edge is not.
    """
    times = np.arange(0, max(turn.end_s for turn in (*reference, *found)), 0.01)
    edges = np.array([edge for turn in reference for edge in (turn.start_s, turn.end_s)])
    times = times[np.abs(times[:, None] - edges).min(axis=1) > collar_s]

    def spoken(turns: Sequence[Turn]) -> np.ndarray:
        rows: dict[str, np.ndarray] = {}
        for turn in turns:
            rows[turn.speaker] = rows.get(turn.speaker, 0) | (turn.start_s <= times) & (times < turn.end_s)
        return np.array(list(rows.values()), int)

    true, guessed = spoken(reference), spoken(found)
    right = (true @ guessed.T)[linear_sum_assignment(true @ guessed.T, maximize=True)].sum()
    return float((np.maximum(true.sum(0), guessed.sum(0)).sum() - right) / true.sum())


def test_turns_are_cut_at_overlaps() -> None:
    assert with_overlaps([Turn(0, 10, "a"), Turn(8, 12, "b"), Turn(20, 21, "a")]) == (
        Turn(0, 8, "a"),
        Turn(8, 10, "a", True),
        Turn(8, 10, "b", True),
        Turn(10, 12, "b"),
        Turn(20, 21, "a"),
    )


# ---- voices


def people(counts: Sequence[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(embeddings, times, true labels) of windows: cosine 0.83 for the same person, 0.37 for others, as is real."""
    rng = np.random.default_rng(seed)
    room = unit(rng.normal(size=256))
    centers = unit(rng.normal(size=(len(counts), 256))) + 0.9 * room
    labels = np.repeat(np.arange(len(counts)), counts)
    noise = rng.normal(size=(len(labels), 256)) * 0.45 / 16
    return unit(unit(centers)[labels] + noise).astype(np.float32), np.arange(len(labels)) * 0.4, labels


@pytest.mark.parametrize("counts", [[60], [60, 60], [100, 12], [40, 30, 20], [30] * 5, [25] * 8])
def test_the_number_of_voices_is_estimated(counts: list[int]) -> None:
    embeddings, times, labels = people(counts)
    found = voices(embeddings, times)
    assert len(found) == len(counts)
    nearest = (embeddings @ found.T).argmax(axis=1)
    pairs = {(int(true), int(guess)) for true, guess in zip(labels, nearest)}
    assert len(pairs) == len(counts)  # each voice found is a different person


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_number_of_voices_can_be_given(number: int) -> None:
    embeddings, times, _ = people([40, 30, 20])
    assert len(voices(embeddings, times, number)) == number


def test_the_number_of_voices_is_limited() -> None:
    embeddings, times, _ = people([20] * 12)
    assert len(voices(embeddings, times)) == 8
    assert len(voices(embeddings[:2], times[:2], 5)) == 2
    assert len(voices(embeddings[:1], times[:1])) == 1


def test_windows_of_a_long_recording_are_subsampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.recordings.diarization.clustering.MAX_WINDOWS", 50)
    embeddings, times, _ = people([80, 80])
    assert len(voices(embeddings, times)) == 2


def test_speech_regions_bridge_pauses_and_drop_clicks() -> None:
    probability = np.zeros(100)
    probability[10:30] = 0.9
    probability[30:34] = 0.4  # enough to continue speech, but not to begin it
    probability[38:50] = 0.9  # a pause of 4 frames: 0.128 s
    probability[70] = 0.9  # a click
    probability[80:100] = 0.9
    found = speech_regions(probability, 0.5, 0.35, 0.2, 0.064)
    assert found == [pytest.approx((8 * 0.032, 52 * 0.032)), pytest.approx((78 * 0.032, 100 * 0.032))]
    assert speech_regions(np.zeros(50), 0.5, 0.35, 0.2, 0.1) == []


class LoudnessAsSpeech:
    """Replaces silero-vad: everything louder than -40 dB is speech."""

    def __init__(self) -> None:
        self.rest = np.zeros(0, np.float32)

    def feed(self, audio: np.ndarray, last: bool = False) -> np.ndarray:
        samples = np.concatenate([self.rest, audio])
        whole = len(samples) // 512 * 512
        self.rest = samples[whole:]
        level = np.sqrt(np.square(samples[:whole].reshape(-1, 512)).mean(axis=1))
        return (level > 0.01).astype(np.float32)


def by_pitch(audio: np.ndarray, windows: Sequence[tuple[float, float]], reporter: Reporter) -> np.ndarray:
    """Return spectra as embeddings, in place of resemblyzer."""
    rng = np.random.default_rng(0)
    found = []
    for start, end in windows:
        part = audio[int(start * RATE) : int(end * RATE)]
        bands = [band.sum() for band in np.array_split(np.abs(np.fft.rfft(part, 16_384)), 256)]
        found.append(unit(unit(np.array(bands)) + rng.normal(size=256) * 0.02))
    return np.array(found, np.float32)


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "SpeechProbability", LoudnessAsSpeech)

    def loudness(blocks: list[np.ndarray]) -> np.ndarray:
        return LoudnessAsSpeech().feed(np.concatenate(blocks))

    replace_in(acoustic, monkeypatch, speech_probabilities=loudness, _embeddings=by_pitch)


def hum(seconds: float, hertz: float) -> np.ndarray:
    time = np.arange(int(seconds * RATE)) / RATE
    return (0.2 * np.sin(2 * np.pi * hertz * time) * (1 + 0.3 * np.sin(2 * np.pi * 4 * time))).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE), np.float32)


def test_turns_are_found_by_voice(stand_ins: None) -> None:
    audio = np.concatenate([hum(6, 700), silence(1), hum(5, 2500), hum(4, 700), silence(1), hum(2, 2500)])
    found = diarize_audio(audio)
    truth = [Turn(0, 6, "a"), Turn(7, 12, "b"), Turn(12, 16, "a"), Turn(17, 19, "b")]
    assert found.method == "acoustic" and found.speakers == ("S1", "S2")
    assert error_rate(truth, found.turns, 0.5) == 0
    assert set(found.embeddings) == {"S1", "S2"} and len(found.embeddings["S1"]) == 256
    assert {"silero-vad"} <= set(found.versions)


def test_one_voice_is_one_speaker_and_silence_has_no_turns(stand_ins: None) -> None:
    assert diarize_audio(np.concatenate([hum(8, 700), silence(1), hum(8, 700)])).speakers == ("S1",)
    assert diarize_audio(silence(5)).turns == ()
    assert diarize_audio(np.zeros(0, np.float32)).turns == ()
    assert diarize_audio(np.concatenate([silence(1), hum(0.05, 700), silence(1)])).turns == ()  # a click


def test_steps_between_two_voices_are_marked_as_overlap() -> None:
    ann, bob, eve = unit(np.random.default_rng(0).normal(size=(3, 256)))
    both = unit(ann + bob)
    steps = np.stack([ann, ann, both, both, bob, both, unit(ann + 0.9 * bob), both, both, eve, unit(eve + ann / 4)])
    marked = acoustic._both(steps @ np.stack([ann, bob, eve]).T, np.stack([ann, bob, eve]))
    assert marked.tolist() == [False] * 5 + [True] * 4 + [False] * 2  # two steps alone are a change of speakers
    assert not acoustic._both(steps @ ann[:, None], ann[None]).any()


def test_an_embedding_is_normalized_and_needs_speech(stand_ins: None) -> None:
    found = acoustic.embed(np.concatenate([silence(1), hum(4, 700)]))
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-3) and len(found) == 256
    with pytest.raises(HarkError):
        acoustic.embed(silence(3))


def test_a_missing_resemblyzer_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resemblyzer", None)
    acoustic._encoder.cache_clear()
    with pytest.raises(HarkError, match="resemblyzer is missing") as error:
        acoustic._encoder()
    assert "requirements-alone.txt" in error.value.what_to_do


# ---- channels


def syllables(spans: Sequence[tuple[float, float]], seconds: float, seed: int) -> np.ndarray:
    """Noise with the rhythm of speech in the spans."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    sound = rng.normal(size=len(time)) * 0.1 * (0.6 + 0.4 * np.sin(2 * np.pi * (3 + seed % 3) * time + seed))
    spoken = np.zeros(len(time))
    for start, end in spans:
        spoken[int(start * RATE) : int(end * RATE)] = 1
    return sound * spoken


ONE = syllables([(0.5, 4), (9, 13), (17, 19)], 20, 1)
OTHER = syllables([(4.5, 8.5), (12.5, 16)], 20, 2)
ALL = ONE + OTHER
NOISE = np.random.default_rng(9).normal(size=(len(ALL), 2))


def later(sound: np.ndarray, seconds: float) -> np.ndarray:
    return np.concatenate([np.zeros(int(seconds * RATE)), sound])[: len(sound)]


@pytest.mark.parametrize(
    ("left", "right", "two"),
    [
        (ONE, OTHER, True),
        (ONE + 0.3 * OTHER, OTHER + 0.3 * ONE, True),  # each leaks into the other's channel
        (ONE + 0.2 * later(OTHER, 0.02), 0.25 * (OTHER + 0.2 * later(ONE, 0.02)), True),  # late leak, quiet line
        (ONE + 0.001 * NOISE[:, 0], OTHER + 0.001 * NOISE[:, 1], True),
        (ALL, ALL, False),
        (ALL, 0.3 * ALL, False),
        (ALL, -ALL, False),
        (ALL, later(ALL, 0.15), False),
        (later(ALL, 0.2), 0.5 * ALL, False),
        (ALL + 0.005 * NOISE[:, 0], 0.8 * ALL + 0.005 * NOISE[:, 1], False),  # with noise like that of a codec
        (ALL, 0 * ALL, False),
        (0 * ALL, ALL, False),
        (ALL, 0.003 * NOISE[:, 1], False),
        (0 * ALL, 0 * ALL, False),
    ],
)
def test_two_speakers_on_two_channels_are_distinguished_from_leakage(
    stand_ins: None, tmp_path: Path, left: np.ndarray, right: np.ndarray, two: bool
) -> None:
    path = stereo(tmp_path / "a.flac", left, right)
    found = compare(path)
    assert found.two_speakers is two, (found.left_s, found.right_s)
    assert two_speakers(path) is two


def stereo(path: Path, left: np.ndarray, right: np.ndarray) -> Path:
    soundfile.write(path, np.stack([left, right], axis=1), RATE)
    return path


def test_turns_are_found_by_channel(stand_ins: None, tmp_path: Path) -> None:
    found = turns_of(compare(stereo(tmp_path / "a.flac", ONE + 0.2 * OTHER, OTHER + 0.2 * ONE)))
    truth = [Turn(0.5, 4, "L"), Turn(9, 13, "L"), Turn(17, 19, "L"), Turn(4.5, 8.5, "R"), Turn(12.5, 16, "R")]
    assert found.method == "channels" and set(found.speakers) == {"L", "R"}
    assert error_rate(truth, found.turns) < 0.05
    overlaps = {(turn.start_s, turn.end_s) for turn in found.turns if turn.overlap}  # truth: 12.5 s to 13 s
    assert sum(max(0, min(end, 13) - max(start, 12.5)) for start, end in overlaps) > 0.35
    assert sum(end - start for start, end in overlaps) < 1.5


def test_two_speakers_need_two_usable_channels(tmp_path: Path, stand_ins: None) -> None:
    soundfile.write(tmp_path / "mono.flac", ALL, RATE)
    assert two_speakers(tmp_path / "mono.flac") is False
    soundfile.write(tmp_path / "short.flac", np.zeros((100, 2)), RATE)
    assert two_speakers(tmp_path / "short.flac") is False
    soundfile.write(tmp_path / "slow.flac", np.zeros((8000, 2)), 8000)
    with pytest.raises(HarkError, match="wrong format"):
        two_speakers(tmp_path / "slow.flac")
    with pytest.raises(HarkError, match="cannot be read"):
        two_speakers(tmp_path / "nothing.flac")


# ---- choice of the method


PYANNOTE_DOUBLE = """
import json, pathlib, types

__version__ = "double"
ASKED = pathlib.Path(__file__).with_name("asked.jsonl")

class Annotation:
    def itertracks(self, yield_label):
        assert yield_label
        for start, end, label in ((2.0, 5.0, "SPEAKER_01"), (0.0, 3.0, "SPEAKER_00")):
            yield types.SimpleNamespace(start=start, end=end), "_", label

class Pipeline:
    @classmethod
    def from_pretrained(cls, model):
        note(model)
        return cls()

    def __call__(self, file, num_speakers):
        if num_speakers == 13:
            raise RuntimeError("no such number of people")
        note([list(file["waveform"].shape), file["sample_rate"], num_speakers])
        return types.SimpleNamespace(speaker_diarization=Annotation()) if num_speakers else Annotation()

def note(what):
    with ASKED.open("a") as file:
        file.write(json.dumps(what) + "\\n")
"""


@pytest.fixture
def pyannote(data_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A stand-in for the package pyannote.audio, for a real worker process. The file records its arguments."""
    package = tmp_path / "packages" / "pyannote" / "audio"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(PYANNOTE_DOUBLE)
    make_environment(monkeypatch, tmp_path / "engines", "pyannote", tmp_path / "packages")
    pyannote_engine.own_folder().mkdir(parents=True)
    (pyannote_engine.own_folder() / "config.yaml").write_text("")
    return package / "asked.jsonl"


@pytest.mark.parametrize("number", [None, 2])
def test_pyannote_is_used_if_it_is_set_up(stand_ins: None, pyannote: Path, tmp_path: Path, number: int | None) -> None:
    soundfile.write(tmp_path / "a.flac", ALL, RATE)
    found = diarize(tmp_path / "a.flac", speakers=number)
    assert found.method == "pyannote"
    assert found.turns == (Turn(0, 2, "S1"), Turn(2, 3, "S1", True), Turn(2, 3, "S2", True), Turn(3, 5, "S2"))
    asked = [json.loads(line) for line in pyannote.read_text().splitlines()]
    assert asked == [str(pyannote_engine.own_folder()), [[1, len(ALL)], RATE, number]]


def test_a_pyannote_failure_falls_back_to_acoustic_diarization(stand_ins: None, pyannote: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", hum(6, 700), RATE)
    said: list[dict[str, object]] = []
    found = diarize(tmp_path / "a.flac", speakers=13, reporter=Reporter(said.append))
    assert found.method == "acoustic" and found.turns
    assert any("no such number of people" in str(event.get("message")) for event in said)


def test_a_missing_pyannote_says_how_to_enable_it(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_ENGINES_ENV", str(data_dir / "none"))
    assert not pyannote_engine.readiness().ok
    assert "engines enable pyannote" in pyannote_engine.readiness().how_to_enable
    make_environment(monkeypatch, data_dir / "engines", "pyannote")
    assert not pyannote_engine.readiness().ok
    assert "HF_TOKEN" in pyannote_engine.readiness().how_to_enable


def test_two_channels_take_precedence_over_voices(stand_ins: None, pyannote: Path, tmp_path: Path) -> None:
    path = stereo(tmp_path / "a.flac", ONE, OTHER)
    assert diarize(path).method == "channels"
    assert diarize(path, speakers=3).method == "pyannote"  # more people than channels
    assert diarize(stereo(tmp_path / "b.flac", ALL, ALL)).method == "pyannote"


def test_remembered_voices_are_offered_and_not_applied(
    stand_ins: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARK_SPEECH_SERVICE", "0")
    voices = tmp_path / "voices.json"
    for name, voice in (("Ann", hum(5, 2500)), ("Bob", OTHER.astype(np.float32))):
        remember(voices, name, voice, consent=True)
    soundfile.write(tmp_path / "a.flac", np.concatenate([hum(6, 700), silence(1), hum(5, 2500)]), RATE)
    found = diarize(tmp_path / "a.flac", voices=voices)
    assert found.sounds_like == {"S2": "Ann"} and found.names == {}
    found = diarize(stereo(tmp_path / "b.flac", ONE, OTHER), voices=voices)
    assert found.names == {"L": "Left speaker", "R": "Right speaker"} and set(found.embeddings) == {"L", "R"}
    assert list(found.sounds_like.values()) == ["Bob"]  # both channels resemble Bob, but a name is offered once


# ---- speakers of words


def segment_of(text: str, start: float, step: float = 0.5, **more: object) -> Segment:
    words = tuple(
        Word(word, start + number * step, start + (number + 1) * step - 0.1, 0.5 + 0.1 * number)
        for number, word in enumerate(text.split())
    )
    end = words[-1].end_s
    return Segment(start, end, text, 0.9, words, **more)  # type: ignore[arg-type]


def transcript(*segments: Segment) -> Transcript:
    return Transcript(30, "en", "double", segments, versions={"double": "1"})


def test_segments_are_cut_where_the_speaker_changes() -> None:
    heard = transcript(segment_of("how are you fine thanks and you", 1), segment_of("good", 6))
    turns = (Turn(0.8, 2.4, "B"), Turn(2.5, 5, "A"), Turn(5.9, 7, "B"))
    found = assign(heard, Diarization(turns, "acoustic", versions={"resemblyzer": "0.1.4"}))
    assert [(part.speaker, part.text) for part in found.segments] == [
        ("S1", "how are you"),
        ("S2", "fine thanks and you"),
        ("S1", "good"),
    ]
    assert found.speakers == {"S1": "Speaker 1", "S2": "Speaker 2"}
    assert (found.segments[0].start_s, found.segments[0].end_s, found.segments[1].start_s) == (1.0, 2.4, 2.5)
    assert found.segments[0].confidence == pytest.approx(0.6)
    assert found.diarization == "acoustic" and found.versions == {"double": "1", "resemblyzer": "0.1.4"}
    assert [word for part in found.segments for word in part.words] == [
        word for segment in heard.segments for word in segment.words
    ]


def test_a_short_word_within_another_turn_goes_to_that_speaker() -> None:
    words = segment_of("we were at home", 0)
    short = Segment(0, 2, words.text, 0.9, (*words.words[:2], Word("at", 1.0, 1.15, 0.8), words.words[3]))
    turns = (Turn(0, 1, "A"), Turn(1, 1.2, "B"), Turn(1.2, 2, "A"))
    assert len(assign(transcript(short), Diarization(turns, "acoustic")).segments) == 1


def test_words_outside_any_turn_go_to_the_nearest() -> None:
    found = assign(
        transcript(segment_of("yes", 4), segment_of("no", 9)), Diarization((Turn(1, 3, "A"), Turn(10, 12, "B")), "x")
    )
    assert [part.speaker for part in found.segments] == ["S1", "S2"]
    nobody = assign(transcript(segment_of("yes", 4)), Diarization((), "acoustic"))
    assert [part.speaker for part in nobody.segments] == [""] and nobody.speakers == {}


def test_segments_without_words_or_edited_are_not_split() -> None:
    turns = (Turn(0, 2.4, "A"), Turn(2.4, 9, "B"))
    bare = Segment(1, 5, "words without times", 0.5)
    edited = segment_of("a b c d e f", 1, edited=True)
    found = assign(transcript(bare, edited), Diarization(turns, "acoustic"))
    assert [part.speaker for part in found.segments] in (["S1", "S2"], ["S1", "S1"])
    assert [part.text for part in found.segments] == [bare.text, edited.text]


def test_overlaps_are_marked() -> None:
    turns = with_overlaps([Turn(0, 3, "A"), Turn(2, 4.5, "B"), Turn(6, 9, "A")])
    found = assign(
        transcript(segment_of("one two", 0), segment_of("three four", 2), segment_of("five", 7)),
        Diarization(turns, "x"),
    )
    assert [part.overlap for part in found.segments] == [False, True, False]


def test_speakers_of_channels_are_preserved() -> None:
    heard = transcript(segment_of("hello", 0, speaker="R"), segment_of("hi", 1, speaker="L"))
    found = assign(heard, Diarization((Turn(0, 2, "L"),), "channels", names=channels.NAMES))
    assert found.segments == heard.segments and found.diarization == "channels"
    assert found.speakers == {"R": "Right speaker", "L": "Left speaker"}


def test_names_follow_renumbered_speakers() -> None:
    turns = (Turn(0, 1, "S2"), Turn(1, 3, "S1"))
    found = assign(transcript(segment_of("a b c d", 0)), Diarization(turns, "acoustic", names={"S1": "Ann"}))
    assert found.speakers == {"S1": "Speaker 1", "S2": "Ann"}


def test_a_similar_voice_is_suggested_until_the_speaker_is_named() -> None:
    turns = (Turn(0, 1, "S2"), Turn(1, 3, "S1"))
    words = transcript(segment_of("a b c d", 0))
    found = assign(words, Diarization(turns, "acoustic", sounds_like={"S1": "Ann", "S7": "Eve"}))
    assert found.speakers == {"S1": "Speaker 1", "S2": "Speaker 2"} and found.sounds_like == {"S2": "Ann"}
    sides = transcript(segment_of("hello", 0, speaker="R"), segment_of("hi", 1, speaker="L"))
    assert assign(sides, Diarization((), "channels", sounds_like={"R": "Ann"})).sounds_like == {"R": "Ann"}
    named = replace(found, speakers={**found.speakers, "S2": "Ann"})
    again = assign_again(named, Diarization(turns, "acoustic", sounds_like={"S1": "Ann", "S2": "Eve"}))
    assert again.speakers["S2"] == "Ann" and again.sounds_like == {"S1": "Eve"}
    other = assign_again(named, Diarization(turns, "acoustic", sounds_like={"S1": "Eve"}))
    assert other.speakers["S2"] == "Ann" and other.sounds_like == {}, "a named speaker gets no suggestion"


# ---- real recordings


def test_two_speakers_are_found_on_real_channels(shared_data: Path) -> None:
    folder = shared_data / "conversation" / "google"
    assert two_speakers(folder / "two_channel_16k.ogg") is True
    assert two_speakers(folder / "multi.ogg") is False  # one voice, two microphones
    assert two_speakers(folder / "commercial_mono.ogg") is False


def test_real_voices_are_separated(shared_data: Path) -> None:
    pytest.importorskip("resemblyzer")
    from tests.support.labelled_mix import labelled_mix, utterances_by_speaker

    people = utterances_by_speaker(shared_data / "speech" / "librispeech-dev-clean")
    for number, seconds in ((1, 30), (2, 40), (3, 60)):
        mix = labelled_mix(people, number, seconds, np.random.default_rng(number))
        found = diarize_audio(mix.audio)
        assert len(found.speakers) == number
        assert error_rate(mix.turns, found.turns) < 0.15
