"""Discrimination of similar phrases: LibriPhrase without training, and confusables of bundles.

Confusables are real words, spoken by neural voices and by people (Speech Commands), in quiet and with dishes at 10 dB,
each between silence. A bundle accepts one if it fires once at its own threshold.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import Figures, manifest_rows, shared_folder
from benchmark.streams import CONDITIONS, SPOKEN_GAP_S, Stream, stream_of_files
from benchmark.synthetic import Speakers, positive_texts, spoken, voices_for
from benchmark.wakeword import WORDS, EvaluationSet, Listener, bundle_listener, fires, names_of, share_of
from benchmark.wakeword_summary import aligned, percent, with_interval
from core.data_folder import data_folder
from core.events import Reporter
from core.processors import usable_cores
from lab import BenchOptions
from lab.measure.libriphrase import SOURCE, LargeDetector, bench_libriphrase
from model.asr.decoding import edit_distance
from model.phones import phone_indices
from phrase_augmentation.confusables import confusables
from phrase_augmentation.keyphrase import Keyphrase
from phrase_augmentation.normalize import normalize
from phrase_augmentation.phonemes import accents, phones_of_texts
from phrase_augmentation.phrase_text import PhraseText
from pipeline.training.planning.splits import split_of

VOICES = ("hibari", "kokoro_int8", "piper")  # neural ones in the package index
CANDIDATES = 2000  # confusables among which real words are searched
TEXTS, TAKES = 100, 3  # confusables of a phrase, and clips of each
PHRASE_TAKES = 60
MORE = 4  # phones; larger distances count as this one
WORD_TAKES = 60  # recordings of each word of Speech Commands
WORD_PHONES = 3  # maximum phones between such a word and the phrase
WORST = 10  # number of texts that the table lists

SpokenTexts = tuple[Stream, list[str]]  # clips, and the text of each


def run(options: BenchOptions, reporter: Reporter) -> Figures:
    """Return ``libriphrase`` (omitted if ``anchors`` is 0), ``bundles`` {name: figures} and ``not_measured``.

    Raises:
        HarkError: the real audio is missing, a bundle cannot be used, or the pairs cannot be written.
    """
    folder = shared_folder()
    named = {name: bundle_listener(path, name) for name, path in names_of(options.bundles).items()}
    missing: dict[str, str] = {}
    figures: Figures = {}
    if options.anchors and (folder / SOURCE / "manifest.jsonl").is_file():
        detector = LargeDetector()
        scorers = {"keyword HMM": detector.keyword_hmm, "with second pass": detector.second_pass}
        pairs = (options.pairs or data_folder() / "cache" / "confusables") / f"libriphrase-{options.seed}.tsv"
        place = folder / SOURCE
        figures["libriphrase"] = bench_libriphrase(place, options.anchors, scorers, pairs, options.seed, reporter)
    elif options.anchors:
        missing["libriphrase"] = f"there is no {SOURCE}"
    evaluation = EvaluationSet(folder, data_folder() / "cache" / "wakeword", options.seed, reporter)
    with ThreadPoolExecutor(usable_cores()) as pool:  # while one bundle is scored, the clips of the next are made
        waiting = {}
        for name, listener in named.items():
            if streams := _streams(listener, evaluation, missing):
                waiting[name] = pool.submit(_accepted, listener, streams, evaluation)
        figures["bundles"] = {name: future.result() for name, future in waiting.items()}
    return {**figures, "not_measured": missing}


def phones_apart(phrase: str, texts: Sequence[str], language: str = "en") -> list[int]:
    """Return the phone edits between each text and the phrase, the least over the accents."""
    spoken_by = (phones_of_texts([phrase, *texts], accent) for accent in accents(language))
    ways = [[phone_indices(phones) for phones in pronunciations] for pronunciations in spoken_by]
    return [min(edit_distance(way[0], way[number]) for way in ways) for number in range(1, 1 + len(texts))]


def near_texts(phrase: str, language: str, seed: int) -> list[str]:
    """Return about :data:`TEXTS` texts of real words near a phrase, in equal numbers at 1, 2, 3 and more phones.

    Texts that no training run may use come first. Homophones are excluded.
    """
    every = (text for text in confusables(Keyphrase(phrase, language), CANDIDATES, seed) if text.kind == "vocabulary")
    candidates = [
        text.text for text in every if text.text.count(" ") <= phrase.count(" ") + 1
    ]  # without "calm pew ter"
    rng = np.random.default_rng((seed, 27))
    at: dict[int, list[str]] = defaultdict(list)
    for text, phones in zip(candidates, phones_apart(phrase, candidates, language)):
        at[min(phones, MORE)].append(text)
    chosen: list[str] = []
    for phones in range(1, MORE + 1):
        drawn = [at[phones][number] for number in rng.permutation(len(at[phones]))]
        drawn.sort(key=lambda text: split_of(normalize(text, language)) != "test")
        chosen += drawn[: (TEXTS - len(chosen)) // (MORE + 1 - phones)]
    return chosen


def _voices(language: str, missing: dict[str, str]) -> Speakers:
    """Return neural voices that neither a run nor the training of the shipped weights has used.

    These are the voices that an engine reserves for measurements. Piper reserves none, and no shipped weights were
    trained on it, so its test voices are used, or its only voice.
    """
    voices = voices_for(language, VOICES)
    missing |= {f"voices of {name}": "the engine is not ready here" for name in VOICES if name not in voices["all"]}
    held_out, test = voices["kept"], voices["test"]
    return {name: held_out.get(name) or test.get(name) or speakers for name, speakers in voices["all"].items()}


def _streams(listener: Listener, evaluation: EvaluationSet, missing: dict[str, str]) -> dict[str, SpokenTexts]:
    """Return a bundle's clips: its phrase and confusables by the same voices, and words by people."""
    phrase, language, seed, cache = listener.phrases[0], listener.language, evaluation.seed, evaluation.cache
    evaluation.reporter.stage("bench", f"Confusables of “{phrase}”")
    streams: dict[str, SpokenTexts] = {}
    if speakers := _voices(language, missing):
        near = [PhraseText(text, "vocabulary") for text in near_texts(phrase, language, seed) * TAKES]
        for name, texts in (("itself", positive_texts(phrase, language, seed)[:PHRASE_TAKES]), ("near", near)):
            stream = spoken(texts, speakers, language, seed, cache, f"{name} {phrase}", SPOKEN_GAP_S)
            streams[name] = stream, [phrase if name == "itself" else str(about["text"]) for about in stream.about]
    corpus = evaluation.folder / WORDS
    if (corpus / "manifest.jsonl").is_file():
        rows = manifest_rows(corpus)
        words = sorted({row["text"] for row in rows})
        apart = dict(zip(words, phones_apart(phrase, words, language)))
        takes = Counter[str]()
        files: dict[Path, str] = {}
        for number in np.random.default_rng((seed, 28)).permutation(len(rows)):
            text = rows[number]["text"]
            if 0 < apart[text] <= WORD_PHONES and takes[text] < WORD_TAKES:
                takes[text] += 1
                files[corpus / rows[number]["audio_filepath"]] = text
        if files:
            streams["words"] = (
                stream_of_files(list(files), evaluation.folder, cache, SPOKEN_GAP_S),
                list(files.values()),
            )
        else:
            missing[f"words of {WORDS} near “{phrase}”"] = f"none is at most {WORD_PHONES} phones away"
    else:
        missing["real words"] = f"there is no {WORDS}"
    return streams


def _accepted(listener: Listener, streams: Mapping[str, SpokenTexts], evaluation: EvaluationSet) -> Figures:
    """Return the fractions of clips that trigger a bundle, by condition and by distance in phones."""
    phrase, threshold = listener.phrases[0], listener.thresholds["as_shipped"][0]
    figures: Figures = {"phrase": phrase, "threshold": threshold, "texts": {}}
    for name, (stream, texts) in streams.items():
        phones = np.array(phones_apart(phrase, texts, listener.language))
        if name != "words":
            figures[f"{name}_by_engine"] = dict(sorted(Counter(str(about["engine"]) for about in stream.about).items()))
        for condition in CONDITIONS:
            seed = evaluation.seed + 3
            scores = evaluation.scores(listener, stream, condition, seed, f"{name} of “{phrase}”")[:, 0]
            fired = fires(scores, stream.spans, threshold, listener.period_s)
            parts = {"all": phones >= 0} | {str(n): phones == n for n in range(1, MORE)} | {"more": phones >= MORE}
            figures.setdefault(name, {})[condition] = {
                part: {"clips": int(its.sum()), "texts": len({*np.array(texts)[its]}), **share_of(fired[its]).as_dict()}
                for part, its in parts.items()
                if its.any()
            }
            for text, apart, one in zip(texts, phones.tolist(), fired):
                about = figures["texts"].setdefault(text, {"phones": apart, "clips": 0, **dict.fromkeys(CONDITIONS, 0)})
                about["clips"] += condition == CONDITIONS[0]
                about[condition] += int(one)
    return figures


def table(figures: Mapping[str, Any]) -> str:
    """Format the figures of :func:`run`: per cent, with 95 % intervals."""
    lines: list[str] = []
    rows: list[tuple[str, ...]]
    if whole := figures.get("libriphrase"):
        rows = [(f"LibriPhrase, {whole['phrases']} phrases", "LP-Easy EER", "AUC", "LP-Hard EER", "AUC")]
        for name, kinds in whole["scorers"].items():
            for part in kinds["hard"]:
                cells: list[str] = []
                for kind in ("easy", "hard"):
                    rates = kinds[kind].get(part)
                    cells += [with_interval(rates["eer"]), percent(rates["auc"])] if rates else ["", ""]
                rows.append((f"{name}, {part}", *cells))
        lines += [*aligned(rows), f"The pairs are in {whole['list']}.", ""]
    for name, bundle in figures["bundles"].items():
        rows = [(f"{name}: “{bundle['phrase']}” at {bundle['threshold']:.3f}", "clips", *CONDITIONS)]
        for kind, what in (("itself", "the phrase, detected"), ("near", "confusables"), ("words", "real words")):
            for part, at in bundle.get(kind, {}).get(CONDITIONS[0], {}).items():
                if kind == "itself" and part != "all":
                    continue
                where = f", {part} phones away, accepted" if part != "all" else ""
                shares = (with_interval(bundle[kind][condition][part]) for condition in CONDITIONS)
                rows.append((what + where, str(at["clips"]), *shares))
        accepted = {text: row["clean"] / row["clips"] for text, row in bundle["texts"].items() if row["phones"]}
        worst = sorted(filter(accepted.get, accepted), key=lambda text: (-accepted[text], text))[:WORST]
        lines += [*aligned(rows), f"accepted most: {', '.join(worst) or 'none'}", ""]
    return "\n".join([*lines, *(f"not measured: {what}: {why}" for what, why in figures["not_measured"].items())])
