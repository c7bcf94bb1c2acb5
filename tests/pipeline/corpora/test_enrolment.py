"""A person's own takes: their problems, storage, detection, and side of the split."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audio_augmentation.silence import speech_bounds
from core.audio_file import SAMPLE_RATE, write_audio
from core.errors import HarkError
from db.db_api import Library
from phrase_augmentation.keyphrase import Keyphrase
from pipeline.corpora import enrolment
from pipeline.corpora.enrolment import (
    HINTS,
    TEST,
    TRAIN,
    Take,
    detected,
    examine,
    hints,
    save,
    saved_takes,
    set_role,
    takes_in,
)
from pipeline.training.clips.examples import clip_table
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.planning.plan import make_plan, run_texts
from tests.support.choir import new_clip


def speechlike(seconds: float = 0.8, level: float = 0.1, around_s: float = 1.0, seed: int = 0) -> np.ndarray:
    """A hum that swells like syllables, with near-silence around it."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    voice = sum(np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 12))
    envelope = 0.6 + 0.4 * np.sin(2 * np.pi * 4 * time + seed)
    around = round(around_s * SAMPLE_RATE)
    audio = np.pad(level * envelope * voice / np.abs(voice).max(), around)
    return (audio + 1e-5 * np.random.default_rng(seed).standard_normal(len(audio))).astype(np.float32)


@pytest.fixture(autouse=True)
def by_energy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find speech by energy: the speech detector rejects a hum."""
    monkeypatch.setattr(enrolment, "speech_bounds", lambda audio, method: speech_bounds(audio, "energy"))


def keep_one(library: Library, take: Take, phrase: str = "hey compass", **more: Any) -> int:
    (clip_id,) = save(library, [take], keyphrase=Keyphrase.of(phrase), **{"speaker": "user-1", **more})
    return clip_id


def test_a_good_take_is_trimmed_to_its_speech() -> None:
    take = examine(speechlike(0.8), "close")
    assert take.problems == () and take.usable and take.hint == "close"
    assert take.seconds == pytest.approx(0.8 + 2 * enrolment.MARGIN_S, abs=0.06)
    assert -35 < take.level_db < -20


@pytest.mark.parametrize(
    ("audio", "problem"),
    [
        (np.zeros(32000, np.float32), "nothing"),
        (np.zeros(0, np.float32), "nothing"),
        (np.clip(20 * speechlike(), -1, 1), "clipped"),
        (speechlike(level=0.004), "quiet"),
        (speechlike(0.12), "short"),
        (speechlike(5.0), "long"),
        (speechlike(16.0), "endless"),
        (speechlike(around_s=0.0), "cut"),
    ],
)
def test_faults_of_a_take_are_reported(audio: np.ndarray, problem: str) -> None:
    take = examine(audio)
    assert problem in take.problems and take.usable == (problem not in ("nothing", "endless"))
    assert all(words.endswith((".", "?")) for words in take.words)


def test_consecutive_hints_differ() -> None:
    asked = hints(25)
    assert len(asked) == 25 and all(a != b for a, b in pairwise(asked))
    assert set(asked) == set(HINTS) and not asked[0].away


def test_a_take_is_stored_once_with_its_metadata(library: Library) -> None:
    take = examine(speechlike(), "two metres away", "0b6f3f6e-0000-4000-8000-000000000001")
    first = keep_one(library, take, "Hey, Compass!")
    assert keep_one(library, take) == first
    (clip,) = library.clips([first])
    assert (clip.engine, clip.speaker, clip.licence) == ("corpus", "user-1", "private")
    assert clip.source == "recorded:0b6f3f6e-0000-4000-8000-000000000001"
    assert clip.text_normalized == "hey compass" and clip.text_known
    assert clip.settings == {"recorded": True, "role": "test", "hint": "two metres away"}


def test_identical_recordings_without_an_id_are_one_take(library: Library) -> None:
    assert keep_one(library, examine(speechlike())) == keep_one(library, examine(speechlike()))
    assert keep_one(library, examine(speechlike(seed=1))) != keep_one(library, examine(speechlike()))


def test_an_invalid_take_is_rejected(library: Library) -> None:
    with pytest.raises(HarkError):
        keep_one(library, examine(np.zeros(16000, np.float32)))
    with pytest.raises(HarkError):
        keep_one(library, examine(speechlike()), "🙂")
    assert library.stats().clips == 0


def test_takes_are_listed_by_phrase_without_rejected_ones(library: Library) -> None:
    one = keep_one(library, examine(speechlike(seed=1)))
    two = keep_one(library, examine(speechlike(seed=2)))
    three = keep_one(library, examine(speechlike(seed=3)), "hey campus")
    library.set_state([two], "rejected")
    assert [clip.id for clip in saved_takes(library)] == [one, three]
    found = saved_takes(library, phrase="hey compass", language="en")
    assert [clip.id for clip in found] == [one]
    set_role(library, found, TRAIN)
    assert [clip.settings["role"] for clip in library.clips([one, two, three])] == [TRAIN, TEST, TEST]


def test_a_folder_of_recordings_becomes_takes(tmp_path: Path) -> None:
    for number in range(3):
        write_audio(tmp_path / f"{number}.wav", speechlike(seed=number))
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "1b.wav").write_bytes(b"no audio")
    damaged: list[HarkError] = []
    found = list(takes_in(tmp_path, None, damaged.append))
    assert [path.name for path, _ in found] == ["0.wav", "1.wav", "2.wav"]
    assert [take.hint for _, take in found] == ["0", "1", "2"] and all(take.usable for _, take in found)
    assert ["1b.wav" in error.what for error in damaged] == [True]
    assert [path.name for path, _ in takes_in(tmp_path, 1, damaged.append)] == ["0.wav"]
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder in (tmp_path / "none", empty):
        with pytest.raises(HarkError):
            list(takes_in(folder, None, damaged.append))


def test_a_detector_is_tried_on_takes(tmp_path: Path) -> None:
    from pipeline.serving.detection import open_detector
    from tests.support.untrained_bundle import keyword_hmm_bundle, spoken

    detector = open_detector(keyword_hmm_bundle(tmp_path / "bundle", "smart mirror", threshold=0.3))
    said, other = (examine(spoken(text)).audio for text in ("smart mirror", "good evening everybody"))
    assert detected(detector, [said, other, said]) == [True, False, True]
    assert detected(detector, []) == []


@pytest.fixture
def run(library: Library, choirs: dict[str, Any], tiny_effort: Any) -> Callable[[], Any]:
    """Returns the table of clips of a run that starts now."""
    return lambda: clip_table(make_plan(RUN, run_texts(RUN, library), "run-1", library), library)


RUN = RunConfig("hey compass", effort="tiny", from_scratch=True)


# Of these, the hash would put some into training and some into the test.
SPEAKERS = [f"user-{number}" for number in range(1, 13)]


def takes_of_all_speakers(library: Library, role: str, phrase: str = "hey compass") -> set[int]:
    return {
        keep_one(library, examine(speechlike(seed=1000 * n + len(phrase))), phrase, speaker=speaker, role=role)
        for n, speaker in enumerate(SPEAKERS)
    }


@pytest.mark.parametrize("role", [TEST, TRAIN])
def test_takes_are_in_the_split_of_their_role_and_count_among_people(
    library: Library, run: Callable[[], Any], role: str
) -> None:
    kept = takes_of_all_speakers(library, role)
    table = run()
    mine = table[table["clip_id"].isin(kept)]
    assert set(mine["clip_id"]) == kept and set(mine["split"]) == {role}
    assert set(mine["bucket"]) == {"positive"} and set(mine["engine"]) == {"corpus"}, "reports count these as people"


def test_takes_are_used_however_large_the_library_grows(library: Library, run: Callable[[], Any]) -> None:
    kept = takes_of_all_speakers(library, TEST)
    library.add_clips(new_clip("hey compass", f"alpha-{n % 12}", "alpha", 0.2, request_id=f"o:{n}") for n in range(300))
    assert kept <= set(run()["clip_id"])


def test_no_speaker_is_in_both_training_and_test(library: Library, run: Callable[[], Any]) -> None:
    tests = takes_of_all_speakers(library, TEST)
    given = {
        keep_one(library, examine(speechlike(seed=7000 + n)), speaker=speaker, role=TRAIN)
        for n, speaker in enumerate(SPEAKERS[:6])
    }
    # Their other clips: marked in the inbox, and read aloud.
    library.add_clips(new_clip("hey compass", s, "corpus", 0.7, source=f"inbox:{s}") for s in SPEAKERS)
    library.add_clips(new_clip(f"a sentence by {s}", s, "corpus", 4.0, source=f"read:{s}") for s in SPEAKERS)
    table = run()
    assert (table[table["speaker"].isin(SPEAKERS)].groupby("speaker")["split"].nunique() == 1).all()
    assert set(table[table["clip_id"].isin(given)]["split"]) == {"train"}
    left = table[table["clip_id"].isin(tests)]
    assert set(left["split"]) == {"test"} and set(left["speaker"]) == set(SPEAKERS[6:])


def test_tests_of_other_phrases_and_their_mined_clips_are_not_trained_on(
    library: Library, run: Callable[[], Any]
) -> None:
    others = takes_of_all_speakers(library, TEST, "good evening everybody")
    cuts = library.add_clips(
        new_clip(
            "hey compass", "", "mined", 0.5, parent_id=parent, request_id=f"mined:{parent}", start_s=0.0, end_s=0.5,
            settings={"phrase_start_s": 0.1, "phrase_end_s": 0.4},
        )
        for parent in sorted(others)
    )  # fmt: skip
    table = run()
    found = table[table["clip_id"].isin(others | set(cuts))]
    assert len(found) and set(found["split"]) == {"test"}


def test_a_rejected_clip_is_not_used_even_if_it_was_planned(library: Library, run: Callable[[], Any]) -> None:
    parents = library.add_clips(
        new_clip(f"he said hey compass {n}", f"reader {n}", "corpus", 4.0, source=f"r:{n}") for n in range(6)
    )
    plain = library.add_clips(
        new_clip(f"sentence {n}", f"reader {n}", "corpus", 4.0, source=f"p:{n}") for n in range(6)
    )
    cuts = library.add_clips(
        new_clip(
            "hey compass", f"reader {n}", "mined", 0.7, parent_id=parent,
            settings={"phrase_start_s": 0.1, "phrase_end_s": 0.6},
        )
        for n, parent in enumerate(parents)
    )  # fmt: skip
    takes = takes_of_all_speakers(library, TRAIN)
    plan = make_plan(RUN, run_texts(RUN, library), "run-1", library)
    assert {*plain, *cuts, *takes} <= set(clip_table(plan, library)["clip_id"])
    library.set_state([*plain, *parents, *takes], "rejected")
    assert not {*plain, *cuts, *takes} & set(clip_table(plan, library)["clip_id"])
