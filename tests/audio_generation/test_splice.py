"""The splicing core: choice of units, joins, and texts that cannot be spoken."""

from __future__ import annotations

import numpy as np
import pytest

from audio_generation.splice_side.joining import join, sources
from audio_generation.splice_side.selection import NotSpeakable, Unit, Wanted, runs, select
from audio_generation.splice_side.speaking import speak
from audio_generation.splice_side.text import wanted_phones
from audio_generation.splice_side.units import Recording, UnitTable, Word, even_out, pitch_at, unit_table
from core.audio_file import SAMPLE_RATE
from db.records import AlignedUnit
from tests.support.splice_voice import PHONE_S, sung

SENTENCES = (
    "please turn the silver mirror to the window",
    "smart people open the computer before seven",
    "the captain of the yellow ship saw a compass",
    "hey you see the mirror and the computer",
    "many smart birds turn to the south in may",
    "all of you saw the yellow mirror",
)


def phone(label: str, start_s: float, end_s: float) -> AlignedUnit:
    return AlignedUnit("phone", label, start_s, end_s, 1.0)


@pytest.fixture(scope="module")
def table() -> UnitTable:
    return unit_table([sung(text, f"r{n}", 110.0 + 10 * n) for n, text in enumerate(SENTENCES)])


def chosen(table: UnitTable, text: str, seed: int = 0) -> list[Unit]:
    return select(table, wanted_phones(text, "en-us"), np.random.default_rng(seed))


def words_taken(table: UnitTable, units: list[Unit]) -> list[list[str]]:
    """Return the whole words in each run."""
    result = []
    for run in runs(units):
        inside = range(run.first, run.last + 1)
        begins = [i == 0 or table.ends_word[i - 1] or table.word[i - 1] != table.word[i] for i in inside]
        starts = {int(table.word[i]) for i, begin in zip(inside, begins) if begin}
        ends = {int(table.word[i]) for i in inside if table.ends_word[i]}
        result.append([table.words[i] for i in dict.fromkeys(table.word[j] for j in inside) if i in starts & ends])
    return result


def test_a_fully_recorded_text_is_used_without_joins(table: UnitTable) -> None:
    for text in (SENTENCES[0], SENTENCES[2]):
        units = chosen(table, text)
        assert len(runs(units)) == 1
        assert sources(table, units)[0].startswith(f"r{SENTENCES.index(text)}@")


def test_whole_recorded_words_are_preferred(table: UnitTable) -> None:
    units = chosen(table, "smart mirror")
    taken = words_taken(table, units)
    assert [word for words in taken for word in words] == ["smart", "mirror"]
    # An unrecorded word is joined from long runs, not from single phones.
    units = chosen(table, "sea captain computer")
    taken = words_taken(table, units)
    assert {"captain", "computer"} <= {word for words in taken for word in words}
    assert len(runs(units)) <= 6


def test_each_unit_has_the_requested_phones(table: UnitTable) -> None:
    text = wanted_phones("yellow computer", "en-us")
    units = chosen(table, "yellow computer")
    assert [table.labels[table.label[p.left]] for p in units] == [w.label for w in text[:-1]]
    assert table.labels[table.label[units[-1].right]] == ""


def test_joins_do_not_click(table: UnitTable) -> None:
    for seed, text in enumerate(("smart mirror", "computer compass", "yellow birds saw you", "hey window")):
        units = chosen(table, text, seed)
        assert len(runs(units)) > 1
        sound = join(table, units)
        source = max(np.abs(np.diff(audio.astype(np.float32) / 32767)).max() for audio in table.audio)
        assert np.abs(np.diff(sound)).max() < 1.6 * source  # 6 dB of levelling, of which a join's side takes half
        assert abs(sound[0]) < 1e-3 and abs(sound[-1]) < 1e-3
        assert np.isfinite(sound).all() and np.abs(sound).max() <= 0.95


def test_a_join_of_two_pitches_keeps_the_phase() -> None:
    """Two periodic sounds joined out of phase cancel, so the level would drop at the join."""
    table = unit_table([sung("see may", "a", 120.0), sung("may see", "b", 120.0)])
    labels = [table.labels[i] for i in table.label]
    (first, second) = (i for i, label in enumerate(labels) if label == "i")
    sound = join(table, [Unit(first - 1, first), Unit(second, second + 1)])
    vowel = sound[round(PHONE_S / 2 * SAMPLE_RATE) :][: round(PHONE_S * 0.9 * SAMPLE_RATE)]
    levels = np.sqrt(np.mean(vowel[: len(vowel) // 160 * 160].reshape(-1, 160) ** 2, axis=1))
    middle = levels[2:-2]
    assert middle.min() > 0.5 * np.median(middle)


def test_the_same_seed_gives_the_same_clip_and_other_seeds_differ(table: UnitTable) -> None:
    spoken = [speak(table, "turn the mirror", "en-us", {"seed": seed}) for seed in (1, 1, *range(2, 12))]
    assert np.array_equal(spoken[0].audio, spoken[1].audio) and spoken[0].sources == spoken[1].sources
    assert len({clip.sources for clip in spoken}) > 1


def test_speed_and_pitch_change_the_audio(table: UnitTable) -> None:
    plain, fast, high = (
        speak(table, "turn the mirror", "en-us", {"seed": 1, **more}).audio
        for more in ({}, {"speed": 1.25}, {"pitch": 1.12})
    )
    assert len(fast) == pytest.approx(len(plain) / 1.25, rel=0.02) and len(high) == pytest.approx(len(plain), rel=0.02)

    def pitch(audio: np.ndarray) -> float:
        return float(2 ** np.nanmedian(pitch_at(audio, np.arange(4000, len(audio) - 4000, 160))))

    assert pitch(high) == pytest.approx(1.12 * pitch(plain), rel=0.04)
    assert pitch(fast) == pytest.approx(pitch(plain), rel=0.04)


def test_phones_never_recorded_together_are_joined_at_their_border() -> None:
    table = unit_table([sung("see you", "a"), sung("may", "b"), sung("no ham", "c")])
    units = select(table, [Wanted(""), Wanted("s", "sam"), Wanted("æ", "sam"), Wanted("m", "sam"), Wanted("")],
                    np.random.default_rng(0))  # fmt: skip
    borders = [run for run in runs(units) if run.after_border]
    assert len(borders) == 1 and table.labels[table.label[borders[0].first]] == "æ"
    assert len(join(table, units)) > 0.25 * SAMPLE_RATE


def test_an_unrecorded_phone_is_replaced_by_a_similar_one_or_rejected() -> None:
    table = unit_table([sung("see you", "a"), sung("may", "b")])
    assert speak(table, "zoo", "en-us", {}).audio.size  # z is replaced with s
    with pytest.raises(NotSpeakable, match="'k'"):
        speak(table, "key", "en-us", {})
    with pytest.raises(NotSpeakable, match="nothing to pronounce"):
        speak(table, " ?! ", "en-us", {})
    with pytest.raises(NotSpeakable, match="too long"):
        speak(table, "may " * 400, "en-us", {})


def test_punctuation_becomes_a_pause() -> None:
    labels = [phone.label for phone in wanted_phones("hey, compass. Stop!", "en-us")]
    assert labels.count("") == 4 and labels[0] == labels[-1] == "" and labels[3] == ""
    stressed = [phone.label for phone in wanted_phones("computer", "en-us") if phone.stressed]
    assert stressed == ["u"]


def test_a_long_pause_is_shortened() -> None:
    first, second = sung("see me", "a"), sung("may", "b")
    gap = np.random.default_rng(0).standard_normal(3 * SAMPLE_RATE).astype(np.float32) * 1e-4
    shift = (len(first.audio) + len(gap)) / SAMPLE_RATE
    both = Recording(
        "ab",
        np.concatenate([first.audio, gap, second.audio]),
        (*first.phones, *(phone(p.label, p.start_s + shift, p.end_s + shift) for p in second.phones)),
        (*first.words, *(Word(w.label, w.start_s + shift, w.end_s + shift) for w in second.words)),
    )
    table = unit_table([both])
    for text, phones in (("me", 2), ("may", 2), ("see me", 4)):
        assert len(speak(table, text, "en-us", {}).audio) / SAMPLE_RATE < phones * PHONE_S + 0.45


def test_recordings_are_normalized_to_one_level_and_spectrum() -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(12 * SAMPLE_RATE).astype(np.float32)
    dull = np.convolve(noise, [0.6, 0.4], "same").astype(np.float32)
    quiet, loud = even_out([0.01 * noise, 0.3 * dull])
    assert np.std(quiet) == pytest.approx(np.std(loud), rel=0.1)

    def tilt(audio: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(audio)) ** 2
        return float(10 * np.log10(power[: len(power) // 2].sum() / power[len(power) // 2 :].sum()))

    assert abs(tilt(quiet) - tilt(loud)) < 0.4 * abs(tilt(noise) - tilt(dull))


def test_unusual_recordings_are_accepted() -> None:
    silent = Recording("s", np.zeros(8000, np.float32), (phone("m", 0.1, 0.3),), ())
    short = Recording("t", np.zeros(800, np.float32), (phone("m", 0.0, 0.05),), ())
    late = Recording("u", sung("may", "x").audio, (phone("m", 0.2, 0.4), phone("eɪ", 9.0, 9.5)), ())
    never = Recording("n", sung("may", "x").audio, (phone("m", 9.0, 9.4),), ())
    table = unit_table([silent, short, late, never, sung("see me", "v")])
    assert table.names == ("s", "u", "v") and np.isfinite(table.sound).all()
    assert speak(table, "see me", "en-us", {}).audio.size
    with pytest.raises(ValueError, match="no recording"):
        unit_table([short])
