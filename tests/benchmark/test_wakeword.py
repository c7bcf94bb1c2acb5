"""The wake-word benchmark: thresholds, hits and intervals of given scores, and measurements of a detector of tones."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark import synthetic, wakeword
from benchmark.peers import OpenWakeWord
from benchmark.streams import StreamClip, stream_of, stream_of_files
from benchmark.wakeword import (
    KITCHEN_NOISE,
    EvaluationSet,
    alarms_in,
    audio_files,
    bench_wakeword,
    best_scores,
    count_alarms,
    count_duplicates,
    fires,
    recordings_of,
    score_stream,
    threshold_at,
    training_overlap,
    without,
)
from benchmark.wakeword_summary import (
    REAL,
    SYNTHESIZED,
    Measured,
    average,
    pooled,
    predictions,
    table,
    threshold_accuracy,
)
from core.audio_file import SAMPLE_RATE, read_audio
from core.errors import HarkError
from core.events import Event, Reporter
from model.metrics import wilson_interval
from model.runtime.detector import Detector
from pipeline.asr.data import acoustic_split
from tests.support.choir import Choir
from tests.support.untrained_bundle import keyword_hmm_bundle
from tests.support.wakeword_samples import device_files, recordings, speak_with, tone_bundle


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> Path:
    """Recordings to measure on, an engine that hums, and few confusables."""
    folder = recordings(tmp_path / "shared")
    monkeypatch.setenv("HARK_SHARED", str(folder))
    speak_with(monkeypatch, {"choir": Choir()})
    return folder


def test_the_score_period_does_not_change_the_number_of_alarms() -> None:
    for period_s in (0.08, 0.03):
        scores = np.zeros(round(12 / period_s), np.float32)
        for second in (1.0, 1.5, 4.2, 9.0):  # the second one falls into the first one's refractory time
            scores[round(second / period_s)] = 0.9
        assert count_alarms(scores, 0.5, period_s) == 3


def test_the_threshold_is_the_lowest_that_meets_the_rate() -> None:
    scores = np.zeros(45_000, np.float32)  # an hour
    peaks = np.linspace(0.1, 0.9, 9, dtype=np.float32)
    scores[1000:10_000:1000] = peaks

    def found(rate: float, other: np.ndarray = scores) -> float:
        return threshold_at(other, np.zeros(0, np.float32), [], 0.08, rate)

    assert found(3.0) == pytest.approx(0.7)
    assert count_alarms(scores, found(3.0), 0.08) == 3
    assert found(0.5) > 0.9
    assert count_alarms(scores, found(0.5), 0.08) == 0
    flat = np.full(100, 0.2, np.float32)
    assert count_alarms(flat, found(1, flat), 0.08) == 0


def test_a_second_detection_of_a_clip_is_a_false_alarm() -> None:
    other, said = np.zeros(45_000, np.float32), np.zeros(400, np.float32)
    spans = [(second * SAMPLE_RATE, (second + 1) * SAMPLE_RATE) for second in (2, 12, 22)]
    said[[30, 155, 280]] = 0.9  # a detection in each clip
    said[[65, 315]] = 0.8, 0.6  # second detections of two clips, 2.8 s later
    assert count_duplicates(said, spans, 0.5, 0.08) == 2 and count_duplicates(said, spans, 0.7, 0.08) == 1
    assert threshold_at(other, said, spans, 0.08, 2.0) < 0.61 < threshold_at(other, said, spans, 0.08, 1.0) < 0.81
    assert 0.81 < threshold_at(other, said, spans, 0.08, 0.5) < 0.91
    said[65] = 0.95  # the highest score is a second detection
    assert threshold_at(other, said, spans, 0.08, 0.5) > 0.94


def test_a_hit_counts_from_a_clips_start_to_a_second_after_its_end() -> None:
    scores = np.zeros(100, np.float32)
    span = (2 * SAMPLE_RATE, 3 * SAMPLE_RATE)
    for second, counts in ((1.9, False), (2.01, True), (3.9, True), (4.1, False)):
        scores[:] = 0
        scores[int(second / 0.08)] = 0.7
        assert (best_scores(scores, [span], 0.08)[0] > 0) == counts, second
    assert best_scores(scores, [(20 * SAMPLE_RATE, 21 * SAMPLE_RATE)], 0.08)[0] == 0


def test_a_score_that_stays_high_is_one_alarm_and_one_hit() -> None:
    scores = np.full(300, 0.9, np.float32)
    scores[:20] = 0.01
    spans = [(second * SAMPLE_RATE, (second + 1) * SAMPLE_RATE) for second in (1, 6, 11, 16)]
    assert count_alarms(scores, 0.5, 0.08) == 1
    assert fires(scores, spans, 0.5, 0.08).tolist() == [True, False, False, False]
    scores[200:210] = 0.3  # the score falls and rises again
    assert fires(scores, spans, 0.5, 0.08).tolist() == [True, False, False, True]
    assert not fires(scores, spans, 0.95, 0.08).any()


def test_alarms_are_traced_to_their_recordings(tmp_path: Path) -> None:
    clips = [StreamClip(np.zeros(2 * SAMPLE_RATE, np.float32), {"file": name}) for name in ("a", "b", "c")]
    stream = stream_of(lambda: clips, {}, tmp_path)
    for period_s in (0.08, 0.03):
        scores = np.zeros(int(12 / period_s), np.float32)
        for second, score in ((2.0, 0.6), (6.0, 0.8), (9.3, 0.7)):  # the clips begin at 1.5, 5 and 8.5 s
            scores[int(second / period_s)] = score
        assert alarms_in(stream, scores, 0.5, period_s) == ["b", "c", "a"]
        assert alarms_in(stream, scores, 0.65, period_s) == ["b", "c"]
        assert alarms_in(stream, scores, 0.9, period_s) == []


def test_recordings_are_matched_by_the_letters_of_the_phrase(tmp_path: Path) -> None:
    for name in ("smart_mirror", "heychatterbox"):
        (tmp_path / "keyphrases" / name).mkdir(parents=True)
        (tmp_path / "keyphrases" / name / "a.ogg").touch()
    assert [path.parent.name for path in recordings_of("smart mirror", tmp_path)] == ["smart_mirror"]
    assert [path.parent.name for path in recordings_of("hey chatterbox", tmp_path)] == ["heychatterbox"]
    assert recordings_of("mirror", tmp_path) == [] == recordings_of("alexa", tmp_path / "nowhere")


def test_word_recordings_exclude_speakers_of_training(tmp_path: Path) -> None:
    corpus = tmp_path / "speech" / "speech-commands"
    corpus.mkdir(parents=True)
    rows = [
        {"audio_filepath": f"{word}/{speaker}.ogg", "text": word, "speaker": f"speaker {speaker}", "duration": 1.0}
        for word in ("right", "left")
        for speaker in range(60)
    ]
    (corpus / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    unheard = [n for n in range(60) if acoustic_split(f"speaker {n}") == "validation"]
    assert 0 < len(unheard) < 20
    found = recordings_of("Right", tmp_path)
    assert found == sorted(corpus / "right" / f"{n}.ogg" for n in unheard)
    assert recordings_of("write", tmp_path) == []


def test_predictions_of_reports_are_compared_with_people() -> None:
    def bundle(told: float | None, missed: float, positives: str = REAL) -> dict[str, Any]:
        interval = asdict(wilson_interval(round(400 * missed), 400))
        conditions = {name: {"as_shipped": {"miss_rate": interval}} for name in ("clean", "kitchen")}
        of_voices = {} if told is None else asdict(wilson_interval(round(100 * told), 100))
        tested = {"clean": of_voices, "kitchen": of_voices}
        return {"positives": positives, "conditions": conditions, "tested": tested, "warnings": int(missed > 0)}

    words = {"a": bundle(0.1, 0.0), "b": bundle(0.2, 0.15), "c": bundle(0.3, 0.99), "f": bundle(0.1, 0.1),
             "d": bundle(None, 0.5), "e": bundle(0.9, 0.0, SYNTHESIZED)}  # fmt: skip
    found = predictions(words)["clean"]
    assert list(found["words"]) == ["a", "b", "c", "f"]
    assert [word["inside"] for word in found["words"].values()] == [False, True, False, True]
    # The error of "c" is so large that "a" lies within it; without "c" there is hardly any.
    assert [word["inside_by_others"] for word in found["words"].values()] == [True, True, False, True]
    assert (found["inside"], found["inside_by_others"]) == (2, 3)
    assert found["mean_error"] == pytest.approx(0.21) and found["rank_correlation"] == pytest.approx(0.9487, abs=1e-3)
    assert found["rank_correlation_of_warnings"] == pytest.approx(0.7746, abs=1e-3)
    alike = predictions({"a": bundle(0.1, 0.0), "b": bundle(0.2, 0.0)})["kitchen"]
    assert alike["rank_correlation"] is None and alike["mean_error"] == pytest.approx(0.15)
    assert predictions({})["clean"]["mean_error"] is None


@pytest.mark.parametrize(
    ("got", "kept"),
    [((0.5, 0.2, 1.0), True), ((0.26, 0.25, 0.27), True), ((0.0, 0.0, 0.9), True), ((1.4, 0.7, 2.5), False)],
)
def test_false_alarms_are_compared_with_the_accepted_rate(got: tuple[float, float, float], kept: bool) -> None:
    shipped = {"fa_per_hour": dict(zip(("value", "low", "high"), got)), "miss_rate": {"value": 0.3}}
    condition = {"as_shipped": shipped, "at_fa_per_hour": {"0.5": {"miss_rate": {"value": 0.1}}}}
    bundle = {"wanted_fa_per_hour": 0.5, "conditions": {"clean": condition, "kitchen": condition}}
    told = threshold_accuracy({"one": bundle})["kitchen"]
    assert told["kept"] == int(kept) == int(told["bundles"]["one"]["kept"])
    assert told["bundles"]["one"]["lost"] == pytest.approx(0.2)


def test_the_phrase_in_other_speech_does_not_count_as_a_false_alarm(shared: Path, tmp_path: Path) -> None:
    corpus, tsv = shared / "speech" / "librispeech-dev-clean", shared / "speech" / "commonvoice-mini"
    files = audio_files(corpus)
    texts = ["two supercomputers", *["it is late"] * (len(files) - 1)]
    rows = [{"audio_filepath": str(file.relative_to(corpus)), "text": text} for file, text in zip(files, texts)]
    (corpus / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tsv / "transcripts.tsv").write_text("".join(f"{file.stem}\tno computer\tmale\n" for file in audio_files(tsv)[:1]))
    evaluation = EvaluationSet(shared, tmp_path / "cache")
    stream = evaluation.other_speech
    scores = np.ones(round(stream.hours * 3600 / 0.08), np.float32)
    left = without(scores, evaluation.spans_saying("computer", "en"), 0.08)
    assert scores.all() and 0 < left.sum() < len(left)
    saying = {audio_files(folder)[0].relative_to(shared).as_posix() for folder in (corpus, tsv)}
    for (start, end), about in zip(stream.spans, stream.about):
        heard_of_it = left[round(start / 1280) + 1 : round(end / 1280)]
        assert not (heard_of_it.any() if about["file"] in saying else (heard_of_it == 0).all()), about
    assert without(scores, evaluation.spans_saying("kettle", "en"), 0.08).all()


def test_a_second_measurement_uses_stored_audio(
    shared: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tone_bundle(tmp_path / "computer-quick-1", report={"engines": {"choir": 12}, "seed": 4})
    events: list[Event] = []
    figures = bench_wakeword([bundle], reporter=Reporter(events.append))
    stages = [event["message"] for event in events if event["event"] == "stage"]
    assert stages[-1] == "computer-quick-1: confusables of “computer”, clean" and len(stages) == len(set(stages)) == 5
    assert all(event["done"] <= event["total"] for event in events if event["event"] == "progress")
    assert sum(event["event"] == "progress" and event["done"] == event["total"] for event in events) == 5
    one = figures["bundles"]["computer-quick-1"]
    assert one["positives"] == "real recordings" and one["seed"] == 4
    clean = one["conditions"]["clean"]
    assert clean["clips"] == 8
    assert clean["hours"] == pytest.approx((36 * 2.0 + 38 * 1.5) / 3600, abs=1e-3)
    # Two of the eight tones are faint: they score less than what sounds alike in the other speech.
    assert clean["at_fa_per_hour"]["0.5"]["miss_rate"]["value"] == 0.25
    assert clean["as_shipped"]["miss_rate"]["value"] == 0.25
    assert clean["as_shipped"]["fa_per_hour"]["value"] == 0 < clean["as_shipped"]["fa_per_hour"]["high"]
    assert clean["alarms_in"] == []  # at this rate, a few minutes may contain no alarm
    assert one["confusables"]["clips"] == sum(kind["clips"] for kind in one["confusables"]["by_kind"].values()) > 10
    assert one["confusables"]["clips_by_engine"] == {"choir": one["confusables"]["clips"]}
    assert figures["not_measured"] == {"speech/barista-untranscribed": "it has no audio"}
    assert "peers" not in figures
    assert figures["streams"]["streams"] == 3 and figures["streams"]["mebibytes"] > 4
    assert list((data_dir / "cache" / "wakeword").iterdir())
    json.dumps(figures, allow_nan=False)

    def only_kitchen(path: Path) -> np.ndarray:
        assert path == shared / KITCHEN_NOISE, f"{path} was decoded again"
        return read_audio(path)

    monkeypatch.setattr("benchmark.streams.read_audio", only_kitchen)
    monkeypatch.setattr(synthetic, "_speak", lambda *arguments: pytest.fail("spoken again"))
    assert bench_wakeword([bundle]) == figures
    with monkeypatch.context() as stopped:  # streams scored before the stop are not scored again
        stopped.setattr(Detector, "scores", lambda *arguments: pytest.fail("scored again"))
        assert bench_wakeword([bundle]) == figures
        changed = tone_bundle(tmp_path / "another", smoothing_frames=1)
        with pytest.raises(pytest.fail.Exception, match="scored again"):
            bench_wakeword([changed])


def test_scores_of_a_stored_stream_equal_those_of_its_files(shared: Path, data_dir: Path, tmp_path: Path) -> None:
    files = sorted((shared / "keyphrases" / "computer").glob("*.wav"))
    stream = stream_of_files(files, shared, tmp_path / "cache")
    detector = Detector(tone_bundle(tmp_path / "bundle"))
    kitchen = np.zeros(SAMPLE_RATE, np.float32)  # silence, so that only the speech remains
    kept = score_stream(detector, stream.blocks("kitchen", kitchen, 0))
    gap = np.zeros(int(1.5 * SAMPLE_RATE), np.float32)
    direct = score_stream(detector, [part for path in files for part in (gap, read_audio(path))] + [gap])
    np.testing.assert_allclose(kept, direct, atol=2e-4)
    assert kept.max() > 0.9


def test_bundles_of_one_phrase_are_pooled(shared: Path, tmp_path: Path) -> None:
    bundles = [
        tone_bundle(tmp_path / seed / "computer", gain=gain) for seed, gain in (("a", 60.0), ("b", 60.0), ("c", 0.0))
    ]
    figures = bench_wakeword(bundles)
    assert list(figures["bundles"]) == ["computer", "computer (2)", "computer (3)"]
    at = figures["phrases"]["computer"]["conditions"]["clean"]["0.5"]
    # The third detects nothing.
    assert (at["lowest"], at["highest"]) == (0.25, 1.0) and at["mean"] == pytest.approx(0.5)
    assert at["interval"]["low"] < 0.5 < at["interval"]["high"]
    assert figures["average"]["clean"]["0.5"] == pytest.approx(0.5) and figures["average"]["phrases"] == ["computer"]
    text = table(figures)
    assert "“computer”, mean of 3 [range]" in text and "[25.0..100.0]" in text
    assert "not measured: speech/barista-untranscribed: it has no audio" in text
    assert all(len(line) < 200 for line in text.splitlines())


def test_joint_figures_equal_those_of_each_bundle_alone(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundles = [keyword_hmm_bundle(tmp_path / "keyword_hmm", "computer"), tone_bundle(tmp_path / "tone")]
    monkeypatch.setattr(wakeword, "usable_cores", lambda: 2)
    both = bench_wakeword(bundles)["bundles"]
    assert list(both) == ["keyword_hmm", "tone"]
    monkeypatch.setenv("HARK_DATA", str(tmp_path / "another cache"))
    for bundle in bundles:
        assert bench_wakeword([bundle])["bundles"] == {bundle.name: both[bundle.name]}


def test_a_phrase_without_recordings_is_synthesized_and_marked(shared: Path, tmp_path: Path) -> None:
    figures = bench_wakeword([tone_bundle(tmp_path / "hey-compass", "hey compass")])
    one = figures["bundles"]["hey-compass"]
    assert one["positives"] == "synthesized"
    assert one["conditions"]["clean"]["clips"] == 20
    assert set(one["conditions"]["clean"]["miss_rate_by_engine"]) == {"choir"}
    assert figures["average"] == {}
    assert "SYNTHESIZED" in table(figures)


def test_files_for_devices_are_measured_in_their_runtimes(shared: Path, tmp_path: Path) -> None:
    figures = bench_wakeword([tone_bundle(tmp_path / "computer", files=device_files())])
    own = figures["bundles"]["computer"]["conditions"]["clean"]
    assert set(figures["devices"]) == {"ESPHome", "openWakeWord"}
    for device, threshold in (("ESPHome", 0.97), ("openWakeWord", 0.5)):
        one = figures["devices"][device]["bundles"][f"computer, {device}"]
        assert one["phrase"] == "computer" and one["positives"] == "real recordings"
        clean = one["conditions"]["clean"]
        assert clean["clips"] == own["clips"] and clean["hours"] == pytest.approx(own["hours"], abs=1e-3)
        assert clean["as_shipped"]["threshold"] == threshold
        assert f"average of 1 phrases ({device})" in table(figures)


def test_openwakeword_files_score_the_same_jointly_and_alone(shared: Path, tmp_path: Path) -> None:
    bundles = [
        tone_bundle(tmp_path / "computer", files=device_files()),
        tone_bundle(tmp_path / "snowboy", "snowboy", files=device_files("snowboy", seed=1)),
    ]
    both = bench_wakeword(bundles)["devices"]["openWakeWord"]["bundles"]
    assert list(both) == ["computer, openWakeWord", "snowboy, openWakeWord"]
    for bundle, name in zip(bundles, both):
        assert bench_wakeword([bundle])["devices"]["openWakeWord"]["bundles"] == {name: both[name]}


def test_peers_score_each_stream_once(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in device_files("hey_robot").items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    head = tmp_path / "openwakeword" / "hey_robot.tflite"
    monkeypatch.setattr(wakeword, "packaged_peers", lambda: [OpenWakeWord([head])])
    bundle = tone_bundle(tmp_path / "computer")
    figures = bench_wakeword([bundle], peers=True)
    assert set(figures["peers"]) == {"openWakeWord: hey robot", "pocketsphinx: computer"}
    robot = figures["peers"]["openWakeWord: hey robot"]
    assert robot["positives"] == "synthesized" and robot["confusables"]["clips"] > 10
    hours = figures["bundles"]["computer"]["conditions"]["clean"]["hours"]
    assert robot["conditions"]["clean"]["hours"] == pytest.approx(hours, abs=1e-3)
    assert robot["conditions"]["kitchen"]["at_half"]["threshold"] == 0.5
    assert "openWakeWord: hey robot" in table(figures)
    monkeypatch.setattr(wakeword, "score_stream", lambda *arguments: pytest.fail("scored again"))
    assert bench_wakeword([], peers=True)["peers"] == {"openWakeWord: hey robot": robot}


def test_a_benchmark_without_bundle_or_audio_is_rejected(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HarkError, match="no detector to measure"):
        bench_wakeword([])
    with pytest.raises(HarkError, match="cannot be found"):
        bench_wakeword([tmp_path / "nothing.zip"])
    monkeypatch.setenv("HARK_SHARED", str(tmp_path / "nowhere"))
    with pytest.raises(HarkError, match="are missing"):
        bench_wakeword([], peers=True)
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("HARK_SHARED", str(tmp_path / "empty"))
    with pytest.raises(HarkError, match="has no audio"):
        bench_wakeword([tone_bundle(tmp_path / "computer")])


def measured(name: str, phrase: str, missed: list[list[bool]], positives: str = "real recordings") -> list[Measured]:
    figures = {
        "positives": positives,
        "conditions": {"clean": {"clips": len(missed[0])}},
        "confusables": {"accepted": {"value": 0.1}},
    }
    rates = [{rate: np.array(row) for rate in ("0.1", "0.5", "2")} for row in missed]
    return [Measured(f"{name} {i}", phrase, figures, {"clean": at, "kitchen": at}) for i, at in enumerate(rates)]


def test_the_interval_of_several_bundles_counts_their_common_clips_once() -> None:
    rng = np.random.default_rng(0)
    clips = 400
    same = (rng.random(clips) < 0.3).tolist()

    def width(rows: list[list[bool]]) -> float:
        interval = pooled(measured("m", "computer", rows))["computer"]["conditions"]["clean"]["0.5"]["interval"]
        return interval["high"] - interval["low"]

    alone = wilson_interval(sum(same), clips)
    assert width([same]) == pytest.approx(alone.high - alone.low, abs=0.002)
    # Three bundles that miss the same clips are no more informative than one; three that miss any clip are.
    assert width([same] * 3) == pytest.approx(width([same]), abs=0.002)
    independent = [(rng.random(clips) < 0.3).tolist() for _ in range(3)]
    assert width(independent) == pytest.approx(width([same]) / np.sqrt(3), rel=0.15)
    for hits in ([[False] * clips] * 3, [[True] * clips] * 3):
        one = pooled(measured("m", "computer", hits))["computer"]["conditions"]["clean"]["0.5"]
        assert 0 < one["interval"]["high"] - one["interval"]["low"] < 0.02
        assert one["interval"]["low"] <= one["mean"] <= one["interval"]["high"]


def test_the_average_weights_phrases_equally_and_omits_synthesized() -> None:
    ones = [
        *measured("a", "computer", [[True, False], [True, True]]),
        *measured("b", "alexa", [[False] * 50]),
        *measured("c", "hey compass", [[True] * 9], "synthesized"),
    ]
    result = average(pooled(ones))
    assert result["phrases"] == ["alexa", "computer"]
    assert result["clean"]["0.5"] == pytest.approx((0.75 + 0) / 2)


@pytest.mark.parametrize(
    ("manifest", "heard", "known"),
    [
        ({}, [], False),
        ({"training_corpora": []}, [], True),
        ({"training_corpora": ["arctic", "computer"]}, [], True),
        ({"training_corpora": ["librispeech-test-other"]}, ["speech/librispeech-test-other"], True),
        ({"training_corpora": ["elsewhere/speech/LibriSpeech dev-clean"]}, ["speech/librispeech-dev-clean"], True),
        ({"training_corpora": ["speech-commands"]}, [], True),  # the words of this corpus, but not its noises
        ({"training_corpora": ["noise/doing_the_dishes"]}, [Path(KITCHEN_NOISE).name], True),
        ({"training_corpora": ["smart_mirror"]}, ["keyphrases/smart mirror"], True),
    ],
)
def test_recordings_used_in_training_are_found(manifest: dict[str, Any], heard: list[str], known: bool) -> None:
    assert training_overlap(manifest, "smart mirror") == {"corpora": heard, "known": known}


def test_the_table_names_recordings_used_in_training(shared: Path, tmp_path: Path) -> None:
    guilty = tone_bundle(tmp_path / "guilty", training_corpora=["speech/librispeech-dev-clean"])
    silent = tone_bundle(tmp_path / "silent")
    text = table(bench_wakeword([guilty, silent]))
    assert "USED IN TRAINING of guilty: speech/librispeech-dev-clean" in text
    assert "silent does not say which real recordings" in text


def test_confusables_use_voices_absent_from_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    choirs = {name: Choir(name) for name in ("espeak", "flite", "festival")}
    speak_with(monkeypatch, choirs, synthetic.CONFUSABLE_TEXTS)
    voices = synthetic.voices_for("en", ["espeak", "flite", "festival"], "festival")
    assert len(voices["test"]["festival"]) == 12 and 1 <= len(voices["test"]["espeak"]) < 6
    assert len(voices["all"]["espeak"]) == 12
    assert len(synthetic.voices_for("en")["test"]["festival"]) < 6  # for a bundle without a held-out engine
    monkeypatch.setattr(synthetic, "CONFUSABLE_CLIPS", 40)
    texts = synthetic.confusable_texts("smart mirror", "en", 0)
    assert len(texts) == 40 == len({text.text for text in texts})
    assert 1 <= sum(text.kind == "partial" for text in texts) <= 10
    assert texts == synthetic.confusable_texts("smart mirror", "en", 0)
    choirs["flite"].fails = lambda request: "hoarse"
    stream = synthetic.spoken(texts, voices["test"], "en", 0, tmp_path, "confusables")
    again = synthetic.spoken(texts, voices["test"], "en", 0, tmp_path / "elsewhere", "confusables")
    assert stream.about == again.about
    assert {about["engine"] for about in stream.about} == {"espeak", "festival"} and len(stream.spans) >= 26
    allowed = {voice.name for engine in voices["test"].values() for one in engine for voice in one}
    assert {about["voice"] for about in stream.about} <= allowed
    with pytest.raises(HarkError, match="No engine can speak"):
        synthetic.spoken(texts, {}, "en", 0, tmp_path, "confusables")
