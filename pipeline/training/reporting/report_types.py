"""The types of a report's JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

from pipeline.training.measuring.figures import AgainstPrevious, Results, Summary, Threshold


class Foundation(TypedDict, total=False):
    """The shipped weights and speech that a run built on, each with what its file states about itself."""

    backbone: dict[str, Any]
    verifier: dict[str, Any]
    negative_set: dict[str, Any]
    negative_speech: dict[str, Any]
    micro_network: dict[str, Any]


class ClipCount(TypedDict):
    """The number of clips of a bucket, engine and split."""

    bucket: str
    engine: str
    split: str
    clips: int


class TrainingFigures(TypedDict):
    """The course of a training; 0 steps if no network learned the phrase."""

    steps: int
    best_step: int | None
    best_measure: float | None
    seconds: float
    history: list[dict[str, float]]


class DetectorSettings(TypedDict, total=False):
    """The settings of a detector (``DetectorConfig.as_dict``); only some kinds have these, and others."""

    kind: str
    allow_confusables: bool
    anti_keywords: Sequence[Sequence[int]]


class RunFigures(Foundation):
    """The figures of a run and its own detector, which are enough for ``verdict_of``."""

    phrase: str
    language: str
    effort: str
    seed: int
    run: str
    created: str
    machine: dict[str, str]
    summary: Summary
    counts: dict[str, dict[str, int]]  # by bucket and origin
    clips: list[ClipCount]
    hours: dict[str, dict[str, float]]  # by split and condition
    shipped_hours: dict[str, float]  # by split
    engines: dict[str, int]  # number of speakers
    engines_missing: dict[str, str]  # reasons
    held_out_engine: str | None
    generation_failures: Mapping[str, Mapping[str, int]]  # by engine and reason
    unknown_transcripts: int
    licences: list[str]
    training: TrainingFigures
    size: str
    detector: str
    model: DetectorSettings
    thresholds: list[Threshold]
    results: Results
    compared: NotRequired[AgainstPrevious]


class DeviceFigures(Summary):
    """The figures of a detector that a run makes in addition to its own."""

    title: str
    bytes: dict[str, int]  # by file
    thresholds: list[Threshold]
    utterances: int
    difference: float  # in score, between a file and the detector
    runtime: str  # in which they were compared
    taught: bool | None  # whether a teacher taught it; None if its kind has none


class Report(RunFigures):
    """A whole report, as in ``report.json``."""

    devices: dict[str, DeviceFigures]
    devices_left_out: list[str]
    parity: dict[str, float]
    bytes: dict[str, int]  # by form of the detector
    in_words: list[str]  # for programs
    in_words_parts: list[dict[str, Any]]  # for pages, in the reader's language


class RunResult(TypedDict):
    """The result of a run, as in ``result.json`` of the job's folder."""

    phrase: str
    made_for: str  # the job that needs the detector; "" for none
    bundle: str  # paths
    model_pt: str
    report: str
    seconds: dict[str, float]  # by stage
    metrics: Summary
    verdict: dict[str, Any]
    finished: str  # ISO 8601
    counts: dict[str, dict[str, int]]
    devices: dict[str, DeviceFigures]
    devices_left_out: list[str]
    compared: NotRequired[AgainstPrevious]
