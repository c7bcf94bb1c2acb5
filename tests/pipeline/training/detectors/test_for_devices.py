"""Detectors for devices detect their phrase by an unseen voice in the device's own runtime."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from core.audio_file import SAMPLE_RATE, write_audio
from core.errors import HarkError
from core.events import Event, Reporter, silent_reporter
from db.db_api import Library
from model.asr.packed import Utterance
from model.dataset import FeatureStore, open_store
from model.detector import as_streams
from model.devices.device_detector import Check, file_name
from model.devices.microwakeword import MicroDetector
from model.examples import SoundSources
from model.features import StoredFrames
from model.standard.fused_detector import FusedDetector
from phrase_augmentation.keyphrase import Keyphrase
from pipeline.training.clips.examples import CLIP_COLUMNS, ExamplePlan
from pipeline.training.configuration.devices import DEVICES, OWN_FORMAT
from pipeline.training.configuration.efforts import EFFORTS, BucketSize, Effort
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.detectors import for_devices, making
from pipeline.training.detectors import teacher as teacher_module
from pipeline.training.detectors.device_kinds import untrained_for
from pipeline.training.detectors.for_devices import LeftOutError, make_for_device
from pipeline.training.detectors.teacher import Teacher, make_teacher
from pipeline.training.measuring.calibration import FA_PER_DAY, Calibration
from pipeline.training.measuring.scored_split import score_split
from pipeline.training.negatives import negative_speech
from pipeline.training.negatives.negative_speech import TESTED, NegativeSpeech, device_negatives
from pipeline.training.reporting.report import device_figures
from pipeline.training.workspace.run_folder import RunFolder
from pipeline.training.workspace.work import StageClock, Work
from tests.support.device_runtimes import detections

PHRASE = "hey compass"
MELODY = (600.0, 1500.0, 900.0)  # Hz: how the phrase sounds here
CONFIG = RunConfig(PHRASE, effort="tiny", devices=OWN_FORMAT, seed=1)
NEED = 3 * SAMPLE_RATE


def sung(notes: tuple[float, ...], rng: np.random.Generator) -> np.ndarray:
    """Return notes of 200 ms, each with two overtones, in a voice and at a level of its own."""
    time = np.arange(int(0.2 * SAMPLE_RATE)) / SAMPLE_RATE
    pitch, parts = rng.uniform(0.97, 1.03), rng.uniform(0.2, 1.0, 3)
    tones = [sum(p * np.sin(2 * np.pi * n * k * pitch * time) for k, p in enumerate(parts, 1)) for n in notes]
    audio = np.concatenate(tones) * np.minimum(
        1.0, np.minimum(np.arange(3 * len(time)), np.arange(3 * len(time))[::-1]) / 400
    )
    return np.pad(0.2 * audio / np.abs(audio).max(), 1600).astype(np.float32)


def others(rng: np.random.Generator, least: int = 1) -> tuple[float, ...]:
    """Return another melody that differs in at least ``least`` notes."""
    notes = list(MELODY)
    for place in rng.permutation(3)[: rng.integers(least, 4)]:
        notes[place] = float(rng.choice([350.0, 1150.0, 2100.0, 2700.0]))
    return tuple(notes)


@pytest.fixture
def clips(tmp_path: Path) -> pd.DataFrame:
    """The phrase and similar ones in three splits."""
    rng = np.random.default_rng(0)
    rows = []
    for split, count in (("train", 40), ("validation", 12), ("test", 12)):
        for number in range(2 * count):
            said = number % 2 == 0
            path = tmp_path / f"{split}-{number}.wav"
            write_audio(path, sung(MELODY if said else others(rng), rng))
            bucket = "positive" if said else ("confusable", "plain_negative")[number // 2 % 2]
            text = PHRASE if said else f"another melody {number}"
            rows.append(
                {**dict.fromkeys(CLIP_COLUMNS, 0), "clip_id": len(rows), "path": str(path), "label": int(said),
                 "bucket": bucket, "engine": "organ", "voice": split, "speaker": split, "split": split, "text": text,
                 "licence": "CC0-1.0", "seconds": 0.8, "corpus": "", "phrase_start_s": -1.0, "phrase_end_s": -1.0}
            )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def speech(tmp_path: Path, ship_speech: Callable[..., dict[str, float]]) -> None:
    """Melodies of fifteen singers instead of the shipped real speech; one of them sings the phrase."""
    rng = np.random.default_rng(1)
    utterances = []
    for number in range(90):
        path, singer = tmp_path / f"melody-{number}.wav", f"singer {number % 15}"
        text = "well hey compass" if number == 7 else f"melody {number}"
        write_audio(path, np.concatenate([sung(MELODY if number == 7 else others(rng), rng) for _ in range(3)]))
        utterances.append(Utterance(str(path), text, (), singer, "songs", True, ""))
    assert set(ship_speech(utterances, songs="CC0-1.0")) == {"train", "validation", "test"}


def work_in(folder: Path, name: str) -> Work:
    """Return the work on a device's detector in ``folder``."""
    data, own = folder / "data", folder / "job" / name
    return Work(
        CONFIG, RunFolder(data, "run"), own, Library(data), StageClock(folder / "seconds.json"), silent_reporter()
    )


@pytest.fixture
def tiny(few_rooms: None, monkeypatch: pytest.MonkeyPatch) -> Effort:
    effort = replace(EFFORTS["quick"], name="tiny", small_buckets=(BucketSize(4, 4),) * 4, device_steps=400)
    monkeypatch.setitem(EFFORTS, "tiny", effort)
    return effort


@pytest.mark.parametrize("device", OWN_FORMAT)
def test_the_file_detects_the_phrase_in_the_devices_runtime(
    device: str, clips: pd.DataFrame, speech: None, tiny: Effort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A few minutes of melodies cannot show which threshold gives one false alarm in two hours.
    half = [{"fa_per_day": rate, "threshold": 0.5, "extrapolated": False} for rate in FA_PER_DAY]
    for module in (making, for_devices):
        monkeypatch.setattr(
            module, "calibrate", lambda one, store: Calibration(one, half, score_split(one, store, "validation"))
        )
    monkeypatch.setattr(MicroDetector, "step_share", 1.5)  # melodies need few training steps
    made = make_for_device(device, work_in(tmp_path, device), clips)
    sizes = {name: len(content) for name, content in made.files.items()}
    about = device_figures(device, made.measured, sizes, made.check)
    assert about["bytes"] == sizes and about["taught"] is False
    assert all(name.startswith(f"{device}/hey_compass.") for name in made.files)
    assert about["difference"] < untrained_for(device, 0).tolerance and about["utterances"] == 12
    rng = np.random.default_rng(9)
    pause = np.zeros(2 * SAMPLE_RATE, np.float32)
    noise = (0.003 * rng.standard_normal(20 * SAMPLE_RATE)).astype(np.float32)
    said = np.concatenate([noise[: 5 * SAMPLE_RATE]] + [part for _ in range(6) for part in (sung(MELODY, rng), pause)])
    said[: len(noise)] += 0.1 * noise
    other = np.concatenate([noise] + [part for _ in range(20) for part in (sung(others(rng, 3), rng), pause[::2])])
    assert detections(device, made.files, said, tmp_path) >= 4
    assert detections(device, made.files, other, tmp_path) <= 4  # of 20 melodies
    if device == "esphome":
        assert len(made.files["esphome/hey_compass.tflite"]) < 60_000
        manifest = json.loads(made.files["esphome/hey_compass.json"])
        assert (manifest["type"], manifest["version"], manifest["wake_word"]) == ("micro", 2, "Hey Compass")
        assert manifest["model"] == "hey_compass.tflite" and 0 < manifest["micro"]["probability_cutoff"] < 1


def test_each_phrase_gets_distinct_file_names() -> None:
    assert file_name("hey compass") == "hey_compass" and file_name("what's up") == "what_s_up"
    assert file_name("grüß gott, café") == "gruss_gott_cafe"
    names = [file_name(phrase) for phrase in ("привет дом", "привет сад", "你好罗盘", "hey 罗盘")]
    assert len(set(names)) == 4 and all(name.isascii() and name.replace("_", "").isalnum() for name in names)
    network: Any = SimpleNamespace(device="esphome", tflite=bytes)
    files = MicroDetector.files(network, "what's up", "en", 0.5)
    assert json.loads(files["esphome/what_s_up.json"])["wake_word"] == "What's Up"


def test_a_device_never_fires_below_the_threshold() -> None:
    """ESPHome compares the sum of its last outputs with a whole step: ``int(255 * cutoff)`` for each of them."""
    network: Any = SimpleNamespace(device="esphome", tflite=bytes)
    for threshold in np.linspace(0.3, 0.97, 500):
        files = MicroDetector.files(network, PHRASE, "en", float(threshold))
        micro = json.loads(files["esphome/hey_compass.json"])["micro"]
        lowest = int(255 * micro["probability_cutoff"]) + 1 / micro["sliding_window_size"]  # mean that fires
        assert 256 * threshold <= lowest + 1e-9 < 256 * threshold + 1


def test_teacher_targets_are_aligned_in_time() -> None:
    """The teacher's frames store their log-mel position; a device's frames come at other times."""
    own, device = StoredFrames(1, 2, 10, 4, 5, 2), StoredFrames(3, 8, 2, 1, 20)
    columns = {"split": "train", "clip_id": 1, "bucket": "positive", "condition": "train", "engine": "", "speaker": ""}
    heard = np.repeat(np.arange(5, 205, 4), 2)[:, None] / 100

    class Stub:
        config = SimpleNamespace(stored=own)
        batch_frames = 1000

        def matches(self, stored: np.ndarray) -> np.ndarray:
            return teacher_module.LEVEL + stored[:, own.window - 1 :: own.chunk, 0] / teacher_module.SLOPE

    def store(counts: list[int], frames: np.ndarray) -> FeatureStore:
        firsts = np.cumsum([0, *counts[:-1]])
        rows = [{**columns, "clip_id": i, "first": f, "frames": n} for i, (f, n) in enumerate(zip(firsts, counts))]
        return FeatureStore(frames, pd.DataFrame(rows))

    short = own.window - 2  # frames of an example, too few for a window
    hers = store([len(heard), short], np.concatenate([heard, heard[:short]]).astype(np.float16))
    students = store([23, 4], np.zeros((27, 3), np.float16))
    examples = ExamplePlan((), SoundSources())
    told = Teacher(cast(FusedDetector, Stub()), hers, examples).soft_logits(students, device)
    ends = (20 + 8 * np.arange(23)) / 100
    first = (5 + 2 * 8) / 100  # log-mel frames of the first window
    assert np.isnan(told[:23]).tolist() == (ends < first).tolist() and np.isnan(told[23:]).all()
    np.testing.assert_allclose(told[:23][ends >= first], ends[ends >= first], atol=0.01)
    with pytest.raises(ValueError, match="different examples"):
        Teacher(cast(FusedDetector, Stub()), hers, examples).soft_logits(
            store([23], np.zeros((23, 3), np.float16)), device
        )


def test_a_run_of_a_large_detector_trains_the_teacher(
    clips: pd.DataFrame, speech: None, tiny: Effort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EFFORTS, "tiny", replace(tiny, device_steps=60, network_steps=120))
    events = list[Event]()
    large = replace(
        work_in(tmp_path, "teacher"), config=replace(CONFIG, size="large"), reporter=Reporter(events.append)
    )

    def stages() -> set[str]:
        return {str(event["name"]) for event in events if event["event"] == "stage"}

    teacher = make_teacher(None, large, clips)
    assert teacher is not None and "train" in stages()
    own = replace(work_in(tmp_path, "openwakeword"), config=large.config)
    assert make_for_device("openwakeword", own, clips, lambda: teacher).files
    store = open_store(own.features, 96)
    assert store.soft_logits is not None

    def told(label: int) -> float:
        rows = store.where(split="train", label=label)
        ends = rows[rows["phrase_end"] > 0]
        return float(np.nanmean(store.soft_logits[ends["first"] + ends["phrase_end"]]))

    assert told(1) > told(0) + 1
    assert np.isnan(store.soft_logits[store.where(split="test")["first"]]).all()
    events.clear()
    again = make_teacher(None, large, clips)
    assert again is not None and "features" not in stages()
    assert make_teacher(None, replace(large, config=replace(large.config, language="de")), clips) is None


def test_speech_with_the_phrase_is_excluded_and_features_are_cached(speech: None, tiny: Effort, tmp_path: Path) -> None:
    detector = untrained_for("esphome", 0)
    told: list[Event] = []
    pieces = list(device_negatives(detector, Keyphrase(PHRASE), NEED, tmp_path / "data", Reporter(told.append)))
    again = list(device_negatives(detector, Keyphrase("some melody"), NEED, tmp_path / "data", Reporter(told.append)))
    assert len(again) > len(pieces) and len({event["event"] for event in told if event["event"] == "stage"}) == 1
    assert {piece.row["split"] for piece in pieces} == {"train", "validation", "test"}
    assert all(piece.frames.shape[1] == 40 and piece.row["text"] == "" for piece in pieces)
    for split, wanted in (("train", {"train"}), ("validation", set(TESTED)), ("test", set(TESTED))):
        assert {piece.row["condition"] for piece in pieces if piece.row["split"] == split} == wanted


@pytest.mark.parametrize("device", ["esphome", "openwakeword"])
def test_thresholds_apply_to_unsmoothed_device_scores(device: str) -> None:
    """The device takes each score as it is; Hark's own runtime averages two."""
    detector = untrained_for(device, 0)
    spike = np.asarray([0.1, 0.9, 0.1], np.float32)
    (stream,) = as_streams(detector, [spike], pd.DataFrame({"phrase_end": [-1]}))
    assert stream.scores.tolist() == spike.tolist()


def test_training_speakers_do_not_set_thresholds(speech: None, tiny: Effort, tmp_path: Path) -> None:
    detector = untrained_for("esphome", 0)

    def heard(learns: bool) -> dict[str, set[tuple[str, str]]]:
        pieces = NegativeSpeech(1.0, learns).segments(detector, Keyphrase(PHRASE), tmp_path, silent_reporter())
        found: dict[str, set[tuple[str, str]]] = {}
        for piece in pieces:
            found.setdefault(piece.row["split"], set()).add((piece.row["speaker"], piece.row["condition"]))
        return found

    assert set(heard(False)) == {"validation"}
    both = heard(True)
    assert set(both) == {"train", "validation"}
    people = {split: {speaker for speaker, _ in rows} for split, rows in both.items()}
    assert people["train"] and people["validation"] and not people["train"] & people["validation"]
    conditions = {split: {condition for _, condition in rows} for split, rows in both.items()}
    assert conditions == {"train": {"train"}, "validation": set(TESTED)}


def test_damaged_negative_speech_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.zip"
    monkeypatch.setattr(negative_speech, "NEGATIVE_SPEECH", broken)
    for content in (None, b"no zip"):
        if content is not None:
            broken.write_bytes(content)
        with pytest.raises(HarkError, match=r"broken\.zip cannot be read"):
            list(device_negatives(untrained_for("esphome", 0), Keyphrase(PHRASE), NEED, tmp_path, silent_reporter()))


@pytest.mark.parametrize(("device", "package"), [("esphome", "pymicro_features"), ("openwakeword", "pyopen_wakeword")])
def test_a_missing_runtime_is_reported_before_training(
    device: str, package: str, clips: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make() -> Teacher:
        raise AssertionError("the teacher was made")

    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(LeftOutError) as raised:
        make_for_device(device, work_in(tmp_path, device), clips, make)
    assert DEVICES[device].product in raised.value.what and DEVICES[device].package in raised.value.what_to_do


def test_a_file_with_deviating_scores_is_not_packed(
    clips: pd.DataFrame, speech: None, tiny: Effort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(*arguments: Any) -> Check:
        return Check(0.2, "TFLite Micro")

    monkeypatch.setattr(MicroDetector, "check", other)
    monkeypatch.setitem(EFFORTS, "tiny", replace(tiny, device_steps=2))
    with pytest.raises(LeftOutError, match=r"differ by 0\.2"):
        make_for_device("esphome", work_in(tmp_path, "esphome"), clips)
