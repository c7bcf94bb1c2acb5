"""A week of a simulated household: what devices send, sorted, confirmed, made into anti-keywords; before and after.

A few voices say the phrase, near-phrases that recur as names and habits of speech do in a home, and other sentences.
The second week has other takes of the same people. All of it is made speech, by voices that training keeps for the
test; a person is simulated who confirms truly. Retraining is its part for English detectors: anti-keywords.
"""

from __future__ import annotations

import io
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark import BenchOptions, Figures
from benchmark.wakeword_summary import aligned
from core.audio_file import SAMPLE_RATE, read_audio
from core.errors import HarkError
from core.events import Reporter
from phrase_augmentation.keyphrase import Keyphrase

if TYPE_CHECKING:
    from model.keyword_hmm import HMMDetector
    from pipeline.serving.wakes import Wake

VOICES, NEAR_PHRASES = 4, 6
WHEN = ("before", "after")
GAP_S = 4.0  # between utterances
FLOOR = 3e-4  # of the room's noise
SENTENCES = ("where did you put the umbrella", "the train leaves at seven in the morning", "turn the music down please")


@dataclass(frozen=True)
class Said:
    """An utterance of the household: float32 audio [samples], and whether it is the phrase."""

    audio: np.ndarray
    is_phrase: bool


Speak = Callable[[str, str, int], np.ndarray]  # text, voice and take to samples


def run(options: BenchOptions, reporter: Reporter) -> Figures:
    """For each bundle, of a version that has a keyword HMM. Raises HarkError where one is missing."""
    from pipeline.serving.detection import open_detector
    from pipeline.training.evaluation import DEFAULT_FA_PER_DAY, threshold_at

    if not options.bundles:
        raise HarkError("There is no bundle.", "This benchmark replays one.", "Name bundles: ./hark bench loop BUNDLE.")
    figures: Figures = {}
    for path in options.bundles:
        reporter.stage("loop", f"A household with {path.name}")
        bundle = open_detector(path).bundle
        manifest = bundle.manifest
        detector = _detector(bundle.read("model.pt"))
        threshold = threshold_at(manifest["thresholds"], DEFAULT_FA_PER_DAY)
        keyphrase = Keyphrase.of(manifest["phrase"], manifest["language"])
        speak, voices = _household(keyphrase.language, options.seed)
        figures[path.stem] = replay(detector, threshold, keyphrase, speak, voices, near_phrases(keyphrase))
    return figures


def table(figures: Figures) -> str:
    """The figures of :func:`run` for people: counts."""
    rows: list[tuple[str, ...]] = [("", "missed", "false alarms")]
    for name, one in figures.items():
        rows.append((f"{name}, {one['utterances']} utterances, {one['hours']} h", "", ""))
        rows += [(f"  {when}", *(str(one[when][what]) for what in ("missed", "false_alarms"))) for when in WHEN]
        rows.append((f"  {one['anti_keywords']} anti-keywords", "", ""))
        rows += [(f"  sent: {what}", str(count), "") for what, count in one["sent"].items()]
    return "\n".join(aligned(rows))


def near_phrases(keyphrase: Keyphrase) -> list[str]:
    """What the household says again and again, and is not the phrase."""
    from phrase_augmentation.confusers import confusers

    return list(dict.fromkeys(text.text for text in confusers(keyphrase, 20 * NEAR_PHRASES)))[:NEAR_PHRASES]


def replay(
    detector: HMMDetector,
    threshold: float,
    keyphrase: Keyphrase,
    speak: Speak,
    voices: Sequence[str],
    near: Sequence[str],
) -> Figures:
    """Counts: how the first week was sorted (by truth), and misses and false alarms of the second, before and after."""
    from model.runtime.detector import smooth_scores
    from pipeline.serving.sorting import sort_wake
    from pipeline.training.retraining import anti_keywords_of

    first, second = (_week(keyphrase.text, speak, voices, near, takes) for takes in ((0, 1), (2, 3)))
    sorted_as: Counter[str] = Counter()
    false_alarms = []
    for said in first:
        for wake in _woken(detector, threshold, said.audio):
            kind = sort_wake(keyphrase.text, keyphrase.language, wake.audio).kind
            sorted_as[f"{'phrase' if said.is_phrase else 'other'}, sorted as {kind}"] += 1
            if not said.is_phrase:
                false_alarms.append(wake.audio)
    of_phrase = [said.audio for said in first if said.is_phrase]  # which anti-keywords may not cost

    def best_scores(one: HMMDetector) -> np.ndarray:
        return np.array([smooth_scores(one.stream_scores(audio)).max() for audio in of_phrase])

    found = anti_keywords_of(detector, threshold, false_alarms[::-1], best_scores)
    after = detector.with_anti_keywords(found.phones, found.margin)
    return {
        "sent": dict(sorted_as),
        "anti_keywords": len(found.phones),
        "hours": round(sum(len(said.audio) for said in second) / SAMPLE_RATE / 3600, 4),
        "utterances": sum(said.is_phrase for said in second),
        "before": _counts(detector, threshold, second),
        "after": _counts(after, threshold, second),
    }


def _week(phrase: str, speak: Speak, voices: Sequence[str], near: Sequence[str], takes: Sequence[int]) -> list[Said]:
    texts = [(phrase, True), *((text, False) for text in (*near, *SENTENCES))]
    return [
        Said(_in_a_room(speak(text, voice, take)), is_phrase)
        for take in takes
        for voice in voices
        for text, is_phrase in texts
    ]


def _in_a_room(audio: np.ndarray) -> np.ndarray:
    gap = round(GAP_S / 2 * SAMPLE_RATE)
    padded = np.pad(audio, gap)
    return (padded + FLOOR * np.random.default_rng(len(audio)).standard_normal(len(padded))).astype(np.float32)


def _woken(detector: HMMDetector, threshold: float, audio: np.ndarray) -> list[Wake]:
    """What a device sends of audio [samples], chunk by chunk."""
    from model.metrics import REFRACTORY_S, SCORE_PERIOD_S
    from model.runtime.detector import Trigger, smooth_scores
    from pipeline.serving.wakes import WakeWatch

    scores = smooth_scores(detector.stream_scores(audio))
    trigger = Trigger(threshold, round(REFRACTORY_S / SCORE_PERIOD_S))
    watch, chunk = WakeWatch(threshold, SCORE_PERIOD_S), round(SCORE_PERIOD_S * SAMPLE_RATE)
    sent: list[Wake] = []
    for number, score in enumerate(scores):
        hits = trigger.detections(scores[number : number + 1], SCORE_PERIOD_S)
        sent += watch.hear(audio[number * chunk : (number + 1) * chunk], np.array([score], np.float32), hits)
    return sent


def _counts(detector: HMMDetector, threshold: float, week: Sequence[Said]) -> dict[str, int]:
    from pipeline.serving.wakes import WAKE

    fired = [any(wake.kind == WAKE for wake in _woken(detector, threshold, said.audio)) for said in week]
    return {
        "missed": sum(said.is_phrase and not heard for said, heard in zip(week, fired)),
        "false_alarms": sum(heard and not said.is_phrase for said, heard in zip(week, fired)),
    }


def _household(language: str, seed: int) -> tuple[Speak, list[str]]:
    """Who lives there: voices that training keeps for the test; and how they speak, another way at each take."""
    from audio_generation.engine import GeneratedClip, SpeechRequest
    from audio_generation.registry import default_engines
    from benchmark.synthetic import voices_for

    engines, groups = default_engines(), voices_for(language)
    speakers = {**groups["test"], **groups["kept"]}
    rng = np.random.default_rng(seed)
    everyone = [(name, people[0]) for name in sorted(speakers) for people in speakers[name]]
    chosen = [everyone[index] for index in rng.permutation(len(everyone))[:VOICES]]
    by_name = {f"{engine}:{voice.name}": (engines[engine], voice) for engine, voice in chosen}
    if not by_name:
        raise HarkError("Nobody can speak.", f"No engine has a voice for {language!r}.", "See ./hark engines.")

    def speak(text: str, voice: str, take: int) -> np.ndarray:
        engine, one = by_name[voice]
        settings = engine.draw_settings(one, np.random.default_rng((seed, take)))
        with tempfile.TemporaryDirectory() as folder:
            request = SpeechRequest("0", text, one.name, language, settings)
            (result,) = engine.synthesize([request], Path(folder))
            if not isinstance(result, GeneratedClip):
                raise HarkError(f"{voice} did not speak.", result.why, "Try another --seed.")
            return read_audio(result.path)

    return speak, list(by_name)


def _detector(content: bytes) -> HMMDetector:
    from model.checkpoint import load_checkpoint
    from model.keyword_hmm import HMMDetector

    detector = load_checkpoint(io.BytesIO(content))[0]
    if not isinstance(detector, HMMDetector):
        raise HarkError("This detector has no keyword HMM.", "It was trained from nothing.", "Name another bundle.")
    return detector
