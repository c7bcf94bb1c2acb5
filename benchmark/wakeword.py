"""The wake-word benchmark: detectors on real recordings of their phrase, and on hours of other speech.

The audio is outside the repository (``../shared/data``, HARK_SHARED, or a download of :mod:`benchmark.public_audio`).
It must not be training data: the folders named here are reserved for tests, and the result lists bundles whose manifest
names one of them as training data.

Bundles, their files for devices, and other projects' detectors (:mod:`benchmark.peers`) score the same streams.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from benchmark import manifest_rows, public_audio, shared_folder, transcripts
from benchmark.joint_scoring import large_detector, scores_together
from benchmark.peers import USUAL_THRESHOLD, MicroWakeWord, OpenWakeWord, Peer, PocketSphinx, packaged_peers
from benchmark.streams import CLEAN_FLOOR_DB, CONDITIONS, SNR_DB, SPOKEN_GAP_S, Stream, stream_of_files
from benchmark.synthetic import Speakers, confusable_texts, positive_texts, spoken, voices_for
from benchmark.wakeword_summary import (
    RATES,
    REAL,
    SYNTHESIZED,
    Figures,
    Measured,
    average,
    pooled,
    predictions,
    threshold_accuracy,
)
from core.audio_file import SAMPLE_RATE, read_audio
from core.data_folder import atomic_path, data_folder, storing
from core.errors import HarkError
from core.events import Progress, Reporter, silent_reporter
from core.processors import usable_cores
from model.large.encoder_detector import EncoderDetector
from model.metrics import REFRACTORY_S, SCORE_PERIOD_S, Interval, detections, poisson_interval, wilson_interval
from model.runtime import detector as detector_module
from model.runtime.detector import Bundle, BundleError, Detector
from phrase_augmentation.matching import phrase_matcher
from phrase_augmentation.normalize import base_language
from pipeline.asr.data import acoustic_split
from pipeline.serving.detection import open_detector
from pipeline.training.configuration.advice import advise
from pipeline.training.configuration.devices import DEVICES, OWN_FORMAT
from pipeline.training.packing.targets import files_for

OTHER_SPEECH = (
    "speech/librispeech-dev-clean",
    "speech/librispeech-test-other",
    "speech/commonvoice-mini",
    "speech/barista-untranscribed",
)
KITCHEN_NOISE = "noise/speech-commands/doing_the_dishes.ogg"
WORDS = "speech/speech-commands"
HIT_AFTER_S = 1.0  # seconds after a clip's end in which a detection counts
CONFUSABLE_RATE = "0.5"  # false alarms per hour; confusables are measured at this rate's threshold in quiet
WORST_CONFUSABLES = 10  # number of worst confusables in the figures
LEVELS = {"good": 0, "caution": 1, "warning": 2}  # weights of the adviser's notes


@dataclass(frozen=True)
class Listener:
    """A detector of one phrase, or a peer's detector of several, with everything that a measurement requires.

    Attributes:
        name: name in the figures.
        scorer: computes the scores.
        period_s: seconds per score.
        phrases: phrases that it detects, one column of scores each.
        thresholds: thresholds by name, for each phrase.
        language: language of the phrases.
        speakers: for each phrase, the voices of its confusables, and of the phrase if it has no real recordings.
        digest: digest of everything that affects its scores; key of their cache.
    """

    name: str
    scorer: Detector | Peer
    period_s: float
    phrases: tuple[str, ...]
    thresholds: Mapping[str, tuple[float, ...]]
    language: str
    speakers: tuple[Speakers, ...]
    digest: str


@dataclass(frozen=True)
class DeviceListener:
    """A listener for bundles' files for a device; ``bundles`` holds the bundle's name for each phrase."""

    device: str
    listener: Listener
    bundles: tuple[str, ...]


def audio_files(folder: Path) -> list[Path]:
    """Return the recordings under a folder, in a fixed order."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".ogg", ".wav", ".flac", ".mp3"))


def texts_of(corpus: Path) -> dict[str, str]:
    """Return the transcripts of a corpus by the recordings' names without suffix; {} if the corpus has none."""
    if (corpus / "manifest.jsonl").is_file():
        return {Path(row["audio_filepath"]).stem: str(row["text"]) for row in manifest_rows(corpus)}
    return transcripts(corpus) if (corpus / "transcripts.tsv").is_file() else {}


def folded(name: str) -> str:
    """Normalize a name for comparison: no case, spaces or punctuation."""
    return re.sub(r"[\W_]+", "", name.lower())


def recordings_of(phrase: str, folder: Path) -> list[Path]:
    """Return real recordings of a phrase, from ``keyphrases/<phrase>`` or, for a single word, from Speech Commands.

    The folder's name may have spaces or underscores. Of Speech Commands, only the few speakers count whose recordings
    were not used to train shipped weights.
    """
    for named in sorted((folder / "keyphrases").glob("*")):
        if named.is_dir() and folded(named.name) == folded(phrase):
            return audio_files(named)
    if not (folder / WORDS / "manifest.jsonl").is_file():
        return []
    rows = manifest_rows(folder / WORDS)
    of_phrase = (row for row in rows if folded(str(row["text"])) == folded(phrase))
    unheard = (row for row in of_phrase if acoustic_split(str(row["speaker"])) == "validation")
    return sorted(folder / WORDS / str(row["audio_filepath"]) for row in unheard)


def score_stream(scorer: Detector | Peer, audio_blocks: Iterable[np.ndarray]) -> np.ndarray:
    """Return scores [n] or [n, phrases] of consecutive blocks of one stream, preceded by silence."""
    scorer.reset()
    return np.concatenate([scorer.scores(block) for block in audio_blocks])


def best_scores(scores: np.ndarray, spans: Sequence[tuple[int, int]], period_s: float) -> np.ndarray:
    """Return each clip's highest score [clips], from its start (``spans``, in samples) until a second after its end."""
    windows = zip(*_windows(spans, period_s))
    return np.asarray([scores[first:last].max(initial=0.0) for first, last in windows], scores.dtype)


def _windows(spans: Sequence[tuple[int, int]], period_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each clip [clips], the index of the first score that counts, and the index after the last one.

    Scores count until a second after the end of the clip.
    """
    starts, ends = np.asarray(spans, float).reshape(-1, 2).T / SAMPLE_RATE
    return (starts / period_s).astype(int), np.ceil(ends / period_s + HIT_AFTER_S / period_s).astype(int)


def without(scores: np.ndarray, spans: Sequence[tuple[int, int]], period_s: float) -> np.ndarray:
    """Return scores [n] set to 0 where a detection counts for a clip, so that it is not a false alarm."""
    scores = scores.copy()
    for first, last in zip(*_windows(spans, period_s)):
        scores[first:last] = 0.0
    return scores


def _fired(scores: np.ndarray, threshold: float, period_s: float) -> np.ndarray:
    """Return the indices at which a detector with that threshold triggers. It then waits :data:`REFRACTORY_S`."""
    # `detections` assumes scores per 80 ms; scaling the time corrects for other periods.
    return detections(scores, threshold, REFRACTORY_S * SCORE_PERIOD_S / period_s)


def fires(scores: np.ndarray, spans: Sequence[tuple[int, int]], threshold: float, period_s: float) -> np.ndarray:
    """Return whether a detector with that threshold triggers [clips] between a clip's start and a second after it.

    As in :func:`count_alarms`, a score that is still high from earlier audio does not trigger again. Otherwise, a score
    that never falls would hit every clip at the cost of a single false alarm.
    """
    fired = _fired(scores, threshold, period_s)
    first, last = _windows(spans, period_s)
    return np.searchsorted(fired, last) > np.searchsorted(fired, first)


def count_alarms(scores: np.ndarray, threshold: float, period_s: float) -> int:
    """Count how often a detector with that threshold triggers. It then waits :data:`REFRACTORY_S`."""
    return len(_fired(scores, threshold, period_s))


def alarms_in(stream: Stream, scores: np.ndarray, threshold: float, period_s: float) -> list[str]:
    """Return the files of a stream during which, or just after which, a detector triggers, the highest score first."""
    fired = _fired(scores, threshold, period_s)
    starts = [start for start, _ in stream.spans]
    clips = np.searchsorted(starts, (fired + 1) * period_s * SAMPLE_RATE, side="right") - 1
    order = np.argsort(-scores[fired], kind="stable")
    return [str(stream.about[max(0, int(clips[i]))].get("file", "")) for i in order]


def count_duplicates(scores: np.ndarray, spans: Sequence[tuple[int, int]], threshold: float, period_s: float) -> int:
    """Count duplicate detections: those on clips of the phrase beyond the first of each clip."""
    return count_alarms(scores, threshold, period_s) - int(fires(scores, spans, threshold, period_s).sum())


def threshold_at(
    other: np.ndarray, phrase_scores: np.ndarray, spans: Sequence[tuple[int, int]], period_s: float, fa_per_hour: float
) -> float:
    """Return the lowest threshold with at most that many false alarms per hour of other speech.

    Args:
        other: scores of other speech [n].
        phrase_scores: scores of the clips of the phrase [m]; a second detection of a clip is a false alarm too.
        spans: spans of those clips [samples].
    """

    def alarms(threshold: float) -> int:
        return count_alarms(other, threshold, period_s) + count_duplicates(phrase_scores, spans, threshold, period_s)

    allowed = fa_per_hour * len(other) * period_s / 3600
    candidates = np.unique(np.concatenate([other, phrase_scores]))[::-1]
    low, high = 0, len(candidates) - 1  # thresholds decrease, alarms increase
    while low < high:
        middle = (low + high + 1) // 2
        if alarms(float(candidates[middle])) <= allowed:
            low = middle
        else:
            high = middle - 1
    # Duplicate detections can decrease at a lower threshold, so the search may end next to the solution.
    while low >= 0 and alarms(float(candidates[low])) > allowed:
        low -= 1
    return float(candidates[low] if low >= 0 else np.nextafter(candidates[0], 2.0))


class EvaluationSet:
    """The streams on which detectors are measured, decoded on demand and cached."""

    def __init__(self, folder: Path, cache: Path, seed: int = 0, reporter: Reporter | None = None) -> None:
        """Use the audio under ``folder``, with the layout of the shared one; cache streams under ``cache``."""
        self.folder, self.cache, self.seed = folder, cache, seed
        self.reporter = reporter or silent_reporter()
        self.missing = {name: "it has no audio" for name in OTHER_SPEECH if not audio_files(folder / name)}
        self._used: dict[str, Stream] = {}

    @cached_property
    def kitchen(self) -> np.ndarray:
        """Noise of a kitchen where dishes are washed [samples]."""
        path = self.folder / KITCHEN_NOISE
        return read_audio(path if path.is_file() else self.folder / public_audio.KITCHEN)

    @cached_property
    def other_speech(self) -> Stream:
        """Hours of speech without the phrases, interleaved by speaker."""
        files = [path for name in OTHER_SPEECH for path in audio_files(self.folder / name)]
        order = np.random.default_rng(self.seed).permutation(len(files))
        return self._note(stream_of_files([files[i] for i in order], self.folder, self.cache))

    @cached_property
    def _texts(self) -> list[str]:
        """The transcript of each clip of the other speech, or "" if unknown."""
        known = {name: texts_of(self.folder / name) for name in OTHER_SPEECH}
        files = [Path(about["file"]) for about in self.other_speech.about]
        return [known["/".join(file.parts[:2])].get(file.stem, "") for file in files]

    def spans_saying(self, phrase: str, language: str) -> list[tuple[int, int]]:
        """Return the spans of the other speech's clips that contain the phrase."""
        matches = phrase_matcher(phrase, language).matches_of(self._texts)
        return [span for span, says in zip(self.other_speech.spans, matches) if says]

    def positives(self, phrase: str, language: str, speakers: Speakers) -> tuple[Stream, str]:
        """Return a stream of the phrase, and its kind: :data:`REAL`, or :data:`SYNTHESIZED` by ``speakers``."""
        files = recordings_of(phrase, self.folder)
        if files:
            return self._note(stream_of_files(files, self.folder, self.cache, SPOKEN_GAP_S)), REAL
        texts = positive_texts(phrase, language, self.seed)
        name = f"positives {phrase}"
        stream = spoken(texts, speakers, language, self.seed, self.cache, name, SPOKEN_GAP_S)
        return self._note(stream), SYNTHESIZED

    def confusables(self, phrase: str, language: str, speakers: Speakers) -> Stream:
        texts = confusable_texts(phrase, language, self.seed)
        return self._note(spoken(texts, speakers, language, self.seed, self.cache, f"confusables {phrase}"))

    def scores(self, listener: Listener, stream: Stream, condition: str, seed: int, what: str) -> np.ndarray:
        """Return scores [n, phrases] of a stream of ``what`` in a condition, cached."""
        self.scores_of_large([listener], stream, condition, seed, what)
        scores = self._load(listener, stream, condition, seed)
        if scores is None:
            self.reporter.stage("measure", f"{listener.name}: {what}, {condition}")
            progress = Progress(self.reporter, len(stream.block_ends))

            def blocks() -> Iterator[np.ndarray]:
                for block in stream.blocks(condition, self.kitchen, seed):
                    yield block
                    progress.advance()

            scores = score_stream(listener.scorer, blocks())
            scores = self._keep(listener, stream, condition, seed, scores.reshape(len(scores), -1))
        return scores

    def scores_of_large(
        self, listeners: Sequence[Listener], stream: Stream, condition: str, seed: int, what: str
    ) -> None:
        """Cache the scores of large bundles. The encoder runs once for all bundles with the same length of windows."""
        by_window: dict[int, list[tuple[Listener, EncoderDetector]]] = {}
        for listener in listeners:
            if not isinstance(listener.scorer, Detector) or self._load(listener, stream, condition, seed) is not None:
                continue
            if (detector := large_detector(listener.scorer.bundle)) is not None:
                by_window.setdefault(detector.config.window_samples, []).append((listener, detector))
        for window, large in by_window.items():
            self.reporter.stage("measure", f"{', '.join(listener.name for listener, _ in large)}: {what}, {condition}")
            progress = Progress(self.reporter, len(stream.block_ends))
            blocks = stream.blocks(condition, self.kitchen, seed)
            results = scores_together([detector for _, detector in large], blocks, window, progress.advance)
            for (listener, _), scores in zip(large, results):
                self._keep(listener, stream, condition, seed, scores[:, None])

    def _scores_file(self, listener: Listener, stream: Stream, condition: str, seed: int) -> Path:
        kitchen = sha256(self.kitchen.tobytes()).hexdigest()
        identity = [listener.digest, condition, seed, SNR_DB, CLEAN_FLOOR_DB, kitchen]
        return stream.folder / f"scores-{sha256(json.dumps(identity).encode()).hexdigest()[:20]}.npy"

    def _load(self, listener: Listener, stream: Stream, condition: str, seed: int) -> np.ndarray | None:
        try:
            scores: np.ndarray = np.load(self._scores_file(listener, stream, condition, seed))
        except (OSError, ValueError, EOFError):
            return None
        return scores

    def _keep(self, listener: Listener, stream: Stream, condition: str, seed: int, scores: np.ndarray) -> np.ndarray:
        path = self._scores_file(listener, stream, condition, seed)
        with storing("storing the scores of the benchmark"), atomic_path(path) as temporary:
            np.save(temporary, scores)
        return scores

    def _note(self, stream: Stream) -> Stream:
        self._used[stream.digest] = stream
        return stream

    def facts(self) -> Figures:
        """Return the size and the folder of the decoded streams that were used."""
        return {
            "folder": str(self.cache),
            "mebibytes": round(sum(stream.mebibytes for stream in self._used.values()), 1),
            "hours": round(sum(stream.hours for stream in self._used.values()), 3),
            "streams": len(self._used),
        }


def measure(listener: Listener, evaluation: EvaluationSet) -> list[Measured]:
    """Return miss rates with intervals at each of :data:`RATES`, clean and in kitchen noise at 10 dB, for each phrase.

    The threshold for a rate gives at most that many false alarms per hour on other speech in the same condition. A
    second detection of a clip of the phrase is a false alarm too. The figures also have results at the detector's own
    thresholds, and the fraction of confusables above the threshold for 0.5 per hour in the clean condition.
    """
    others = _other_scores(listener, evaluation)
    return [_measure_phrase(listener, column, others, evaluation) for column in range(len(listener.phrases))]


def _other_scores(listener: Listener, evaluation: EvaluationSet) -> dict[str, np.ndarray]:
    """Return scores [n, phrases] of the other speech in each condition."""
    speech = evaluation.other_speech
    return {
        condition: evaluation.scores(listener, speech, condition, evaluation.seed + 1, _hours_of(speech))
        for condition in CONDITIONS
    }


def _hours_of(speech: Stream) -> str:
    return f"{speech.hours:.1f} hours of other speech"


def _measure_phrase(
    listener: Listener, column: int, others: Mapping[str, np.ndarray], evaluation: EvaluationSet
) -> Measured:
    phrase, period_s = listener.phrases[column], listener.period_s
    positives, kind = evaluation.positives(phrase, listener.language, listener.speakers[column])
    saying = evaluation.spans_saying(phrase, listener.language)
    conditions: Figures = {}
    missed: dict[str, dict[str, np.ndarray]] = {}
    for condition in CONDITIONS:
        other = without(others[condition][:, column], saying, period_s)
        hours = len(other) * period_s / 3600
        scores = evaluation.scores(listener, positives, condition, evaluation.seed, f"“{phrase}”")[:, column]
        at: Figures = {}
        missed[condition] = {}
        for rate in RATES:
            threshold = threshold_at(other, scores, positives.spans, period_s, rate)
            lost = ~fires(scores, positives.spans, threshold, period_s)
            missed[condition][f"{rate:g}"] = lost
            at[f"{rate:g}"] = {"threshold": threshold, "miss_rate": share_of(lost).as_dict()}
        conditions[condition] = {
            "clips": len(positives.spans),
            "hours": round(hours, 3),
            "at_fa_per_hour": at,
            "alarms_in": alarms_in(evaluation.other_speech, other, threshold, period_s),  # at the highest of the rates
        }
        for name, thresholds in listener.thresholds.items():
            duplicates = count_duplicates(scores, positives.spans, thresholds[column], period_s)
            alarms = count_alarms(other, thresholds[column], period_s) + duplicates
            conditions[condition][name] = {
                "threshold": thresholds[column],
                "miss_rate": share_of(~fires(scores, positives.spans, thresholds[column], period_s)).as_dict(),
                "fa_per_hour": poisson_interval(alarms, hours).as_dict(),
                "duplicates": duplicates,
            }
        if kind == SYNTHESIZED:
            conditions[condition]["miss_rate_by_engine"] = _by_engine(positives, missed[condition][CONFUSABLE_RATE])
    limit = conditions["clean"]["at_fa_per_hour"][CONFUSABLE_RATE]["threshold"]
    figures: Figures = {"phrase": phrase, "positives": kind, "conditions": conditions}
    figures["confusables"] = _confusables(listener, column, limit, evaluation)
    return Measured(listener.name, phrase, figures, missed)


def _confusables(listener: Listener, column: int, threshold: float, evaluation: EvaluationSet) -> Figures:
    """Return the fraction of confusables, in quiet, above a threshold."""
    phrase = listener.phrases[column]
    stream = evaluation.confusables(phrase, listener.language, listener.speakers[column])
    scores = evaluation.scores(listener, stream, "clean", evaluation.seed + 2, f"confusables of “{phrase}”")[:, column]
    best = best_scores(scores, stream.spans, listener.period_s)
    accepted = best >= threshold
    kinds = np.asarray([about["kind"] for about in stream.about])
    return {
        "clips": len(best),
        "threshold": threshold,
        "accepted": share_of(accepted).as_dict(),
        "by_kind": {
            str(kind): {"clips": int((kinds == kind).sum()), "accepted": int(accepted[kinds == kind].sum())}
            for kind in np.unique(kinds)
        },
        "clips_by_engine": dict(sorted(Counter(str(about["engine"]) for about in stream.about).items())),
        "worst": [stream.about[i]["text"] for i in np.argsort(-best, kind="stable")[:WORST_CONFUSABLES] if accepted[i]],
    }


def _by_engine(stream: Stream, missed: np.ndarray) -> dict[str, float]:
    engines = np.asarray([about["engine"] for about in stream.about])
    return {str(engine): round(float(missed[engines == engine].mean()), 4) for engine in np.unique(engines)}


def share_of(events: np.ndarray) -> Interval:
    return wilson_interval(int(events.sum()), len(events))


def bundle_listener(bundle: Path, name: str) -> Listener:
    """Open a bundle for measurements. Raises HarkError if it cannot be used."""
    detector = open_detector(bundle)
    report = _report(detector.bundle)
    language = str(detector.bundle.manifest.get("language") or "en")
    voices = voices_for(language, list(report.get("engines") or ()) or None, report.get("held_out_engine"))
    return Listener(
        name=name,
        scorer=detector,
        period_s=detector.score_period_s,
        phrases=(detector.phrase,),
        thresholds={"as_shipped": (detector.threshold,)},
        language=language,
        speakers=(voices["test"],),
        digest=_digest(detector),
    )


def _digest(detector: Detector) -> str:
    """Return a digest of everything that affects a bundle's scores: its graph, the runtime and the smoothing."""
    manifest = detector.bundle.manifest
    graph = detector.bundle.read("model.onnx")
    code = Path(detector_module.__file__).read_bytes()
    parts = (graph, code, f"{manifest['smoothing_frames']} {onnxruntime.__version__}".encode())
    return "-".join(sha256(part).hexdigest() for part in parts)


def device_files(bundle: Bundle, folder: Path) -> dict[str, Path]:
    """Unpack a bundle's files for devices below ``folder``; return, by device, the file that the runtime opens."""
    opened = {}
    for device in OWN_FORMAT:
        contents = {name: bundle.read(name) for name in files_for(device, bundle.manifest["files"])}
        target = folder / sha256(b"".join(contents.values())).hexdigest()[:20]
        for name, content in contents.items():
            with storing("unpacking files for devices"), atomic_path(target / name) as temporary:
                temporary.write_bytes(content)
        if contents:
            opened[device] = target / min(contents)  # of two files, the JSON manifest comes first; it names the network
    return opened


def device_listeners(files: Mapping[str, Mapping[str, Path]], own: Mapping[str, Listener]) -> list[DeviceListener]:
    """Return listeners for bundles' files for devices, each in its device's own runtime.

    The files for openWakeWord of one language share a listener, because they share the embedding.

    Args:
        files: results of :func:`device_files`, by the bundle's name and the device.
        own: the bundles' own detectors, by the bundle's name.
    """
    listeners: list[DeviceListener] = []
    together: dict[str, list[str]] = {}
    for name, of_device in files.items():
        if "esphome" in of_device:
            listeners.append(_device_listener("esphome", MicroWakeWord(of_device["esphome"]), [name], own))
        if "openwakeword" in of_device:
            together.setdefault(own[name].language, []).append(name)
    for names in together.values():
        scorer = OpenWakeWord([files[name]["openwakeword"] for name in names])
        listeners.append(_device_listener("openwakeword", scorer, names, own))
    return listeners


def _device_listener(device: str, scorer: Peer, names: list[str], own: Mapping[str, Listener]) -> DeviceListener:
    listener = Listener(
        name=", ".join([*names, DEVICES[device].product]),
        scorer=scorer,
        period_s=scorer.score_period_s,
        phrases=tuple(own[name].phrases[0] for name in names),
        thresholds={"as_shipped": scorer.thresholds},
        language=own[names[0]].language,
        speakers=tuple(own[name].speakers[0] for name in names),
        digest=scorer.digest,
    )
    return DeviceListener(DEVICES[device].product, listener, tuple(names))


def peer_listener(peer: Peer) -> Listener:
    """Return a listener for a peer, measured at its own thresholds and at 0.5."""
    voices = voices_for("en")["all"]  # a peer was not trained on any of them
    return Listener(
        name=peer.name,
        scorer=peer,
        period_s=peer.score_period_s,
        phrases=peer.phrases,
        thresholds={"as_shipped": peer.thresholds, "at_half": (USUAL_THRESHOLD,) * len(peer.phrases)},
        language="en",
        speakers=(voices,) * len(peer.phrases),
        digest=peer.digest,
    )


def _with_facts(measured: Measured, bundle: Path, language: str, form: str) -> Measured:
    opened = Bundle(bundle)
    measured.figures["language"] = language
    report = _report(opened)
    measured.figures["seed"] = report.get("seed")
    measured.figures["tested"] = {} if form else _tested(report)
    notes = advise(measured.phrase, base_language(language)).notes
    measured.figures["warnings"] = sum(LEVELS[note.level] for note in notes)
    measured.figures["wanted_fa_per_hour"] = float(opened.manifest["default_fa_per_day"]) / 24
    measured.figures["training_overlap"] = training_overlap(opened.manifest, measured.phrase)
    return measured


def _report(bundle: Bundle) -> Mapping[str, Any]:
    """Return the bundle's ``report.json``; {} if the file is missing or unreadable."""
    try:
        report = json.loads(bundle.read("report.json"))
    except (BundleError, ValueError):
        return {}
    return report if isinstance(report, dict) else {}


def _tested(report: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """Return the report's miss rates of test voices at the shipped threshold, with intervals, by condition."""
    results = report.get("results", {})
    for row in results.get("at_rates", ()):
        if row["threshold"] == results.get("default_threshold"):
            missed = row["miss_rate"]
            return {"clean": missed["clean"], "kitchen": missed["noisy"]}
    return {}


def training_overlap(manifest: Mapping[str, Any], phrase: str) -> dict[str, Any]:
    """Return the recordings of this benchmark that a bundle was trained on, according to its manifest.

    Returns:
        ``{"corpora": [...], "known": bool}``; ``known`` is False if the manifest does not list them.
    """
    corpora = manifest.get("training_corpora")
    names = {folded(Path(name).name) for name in corpora or ()}
    tested = (*OTHER_SPEECH, Path(KITCHEN_NOISE).name, f"keyphrases/{phrase}")
    used = [place for place in tested if names & {folded(part) for part in Path(place).with_suffix("").parts}]
    return {"corpora": used, "known": corpora is not None}


def _measure_bundles(bundles: Mapping[str, Path], evaluation: EvaluationSet) -> dict[str, list[Measured]]:
    """Measure bundles, by name: their own detector under "", and their files for devices under the devices' names."""
    own = {name: bundle_listener(path, name) for name, path in bundles.items()}
    files = {name: device_files(Bundle(path), evaluation.cache / "devices") for name, path in bundles.items()}
    devices = device_listeners(files, own)
    listeners = [*own.values(), *(one.listener for one in devices)]
    if len(listeners) > 1:
        _ = evaluation.other_speech, evaluation.kitchen  # decoded once, before threads need them
        for condition in CONDITIONS:
            speech, seed = evaluation.other_speech, evaluation.seed + 1
            evaluation.scores_of_large(listeners, speech, condition, seed, _hours_of(speech))
        with ThreadPoolExecutor(usable_cores()) as pool:  # scores most streams, and caches the scores
            list(pool.map(lambda listener: _other_scores(listener, evaluation), listeners))
    measured: dict[str, list[Measured]] = {"": []}
    for name, path in bundles.items():
        results = measure(own[name], evaluation)
        measured[""].extend(_with_facts(one, path, own[name].language, "") for one in results)
    for one in devices:
        for name, found_one in zip(one.bundles, measure(one.listener, evaluation)):
            of_device = replace(found_one, name=f"{name}, {one.device}")
            facts = _with_facts(of_device, bundles[name], one.listener.language, one.device)
            measured.setdefault(one.device, []).append(facts)
    return measured


def run(bundles: Sequence[Path], peers: bool, fetch: Path | None, seed: int, reporter: Reporter) -> Figures:
    """Check that every bundle opens, fetch the audio if requested, and run :func:`bench_wakeword`."""
    for bundle in bundles:
        open_detector(bundle)  # reports an unusable bundle before hours of audio are scored
    if fetch is not None:
        public_audio.fetch(fetch, reporter)
    reporter.stage("bench", "Scoring real recordings (a few minutes per bundle, half an hour for a large one)")
    return bench_wakeword(bundles, peers, seed, reporter, fetch)


def bench_wakeword(
    bundles: Sequence[Path],
    peers: bool = False,
    seed: int = 0,
    reporter: Reporter | None = None,
    folder: Path | None = None,
) -> Figures:
    """Measure all bundles, and the peers if requested, on the same streams, from audio in ``folder`` or the shared one.

    :func:`benchmark.wakeword_summary.table` formats the result.

    Returns:
        bundles: figures of each bundle.
        phrases: for each phrase, the mean, range and pooled interval over its bundles.
        average: the average over phrases with real recordings.
        predictions: predicted and measured misses of real people.
        threshold_accuracy: intended and measured false alarms.
        devices: for each device, ``bundles``, ``phrases`` and ``average`` of the bundles' files for it.
        peers: figures of each "project: phrase".
        not_measured: the reason for each omitted part.
        streams: the decoded audio.

    Raises:
        HarkError: there is nothing to measure, the real audio is missing, or a bundle cannot be used.
    """
    if not bundles and not peers:
        raise HarkError(
            "The benchmark has no detector to measure.",
            "No bundle was given.",
            "Run ./hark bench wakeword BUNDLE [BUNDLE ...]; --engines all measures other projects' detectors.",
        )
    evaluation = EvaluationSet(folder or shared_folder(), data_folder() / "cache" / "wakeword", seed, reporter)
    not_measured = dict(evaluation.missing)
    named = names_of(bundles)
    measured = _measure_bundles(named, evaluation)
    figures: Figures = _of_form(measured.pop(""))
    figures["predictions"] = predictions(figures["bundles"])
    figures["threshold_accuracy"] = threshold_accuracy(figures["bundles"])
    figures["devices"] = {device: _of_form(ones) for device, ones in measured.items()}
    if peers:
        figures["peers"] = {
            f"{one.name}: {one.phrase}": one.figures
            for peer in [*packaged_peers(), *_of_any_phrase(figures["bundles"])]
            for one in measure(peer_listener(peer), evaluation)
        }
    figures["not_measured"] = not_measured
    figures["streams"] = evaluation.facts()
    return figures


def _of_any_phrase(bundles: Figures) -> list[Peer]:
    phrases = sorted({str(one["phrase"]) for one in bundles.values() if base_language(one["language"]) == "en"})
    return [PocketSphinx(phrases)] if phrases else []


def _of_form(measured: Sequence[Measured]) -> Figures:
    phrases = pooled(measured)
    return {
        "bundles": {one.name: one.figures for one in measured}, "phrases": phrases, "average": average(phrases),
    }  # fmt: skip


def names_of(bundles: Sequence[Path]) -> dict[str, Path]:
    """Return the bundles by their files' names, with a number for repeated ones."""
    stems = [Path(bundle).stem for bundle in bundles]
    counts = [stems[:place].count(stem) for place, stem in enumerate(stems)]
    names = (f"{stem} ({count + 1})" if count else stem for stem, count in zip(stems, counts))
    return dict(zip(names, map(Path, bundles)))
