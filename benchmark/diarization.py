"""How well speakers are told apart: error rates on real conversations and on labelled mixes.

The voices' constants were tuned on pyannote's trn* and dev* and on mixes of librispeech-test-clean-a; figures are of
tst*, sample and mixes of librispeech-dev-clean, whose speakers had no part in it. The real conversations are 30 s each
and some are of a distant microphone: their rates are uncertain and hard to compare with those of whole meetings.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark import BenchOptions, Figures, on_one_core, shared_folder
from benchmark.labelled_mix import labelled_mix, utterances_by_speaker
from benchmark.memory import resident_mib
from core.audio_file import SAMPLE_RATE, read_audio
from core.events import Progress, Reporter
from pipeline.recordings.diarization.acoustic import diarize_audio
from pipeline.recordings.diarization.errors import DiarizationErrors, diarization_errors, overlap_found, read_rttm
from pipeline.recordings.diarization.turns import Diarization, Turn

SPEAKERS = (1, 2, 3, 4, 5)
MIXES = 4  # of each number of speakers
MIX_S = 120.0
REAL = ("tst", "sample")  # what begins with another name was tuned on
LONG_S = 1800.0  # the longest upload


@on_one_core()
def run(options: BenchOptions, reporter: Reporter) -> Figures:
    """Diarization error rates, numbers of speakers, overlaps, times real time on one core, memory."""
    shared = shared_folder()
    conversation = shared / "conversation"
    people = utterances_by_speaker(shared / "speech" / "librispeech-dev-clean")
    reporter.stage("bench", "Loading the models")
    started = time.process_time()
    diarize_audio(read_audio(conversation / "pyannote" / "sample.ogg", 15.0))
    figures: Figures = {"first_call_s": round(time.process_time() - started, 1)}
    files, real = _real(conversation / "pyannote")
    mixes = _mixes(people, options.seed)
    progress = Progress(reporter, 2 * (len(real) + len(mixes)))
    for name, given in (("estimated", False), ("number_given", True)):
        reporter.stage("bench", f"Conversations, the number of speakers {name.replace('_', ' ')}")
        conversations, mixed = _heard(real, given, progress), _heard(mixes, given, progress)
        figures[name] = {"pyannote": _rates(conversations), "mixes": _rates(mixed)}
        figures[name]["pyannote"]["of_each"] = {
            file: round(diarization_errors(one.turns, one.found.turns).rate, 3)
            for file, one in zip(files, conversations)
        }
        for number in SPEAKERS:
            figures[name][f"mixes_of_{number}"] = _rates([one for one in mixed if one.speakers == number])
    reporter.stage("bench", "Half an hour")
    figures["half_an_hour"] = _half_an_hour(people)
    return figures


_Recording = tuple[np.ndarray, Sequence[Turn]]


def _real(folder: Path) -> tuple[list[str], list[_Recording]]:
    turns = {name: found for path in sorted(folder.glob("*.rttm")) for name, found in read_rttm(path).items()}
    files = [name for name in sorted(turns) if name.startswith(REAL)]
    return files, [(read_audio(folder / f"{name}.ogg"), turns[name]) for name in files]


def _mixes(people: dict[str, list[Path]], seed: int) -> list[_Recording]:
    mixes = [
        labelled_mix(people, number, MIX_S, np.random.default_rng([seed, number, take]))
        for number in SPEAKERS
        for take in range(MIXES)
    ]
    return [(mix.audio, mix.turns) for mix in mixes]


@dataclass(frozen=True)
class _Outcome:
    """What was found in one recording, and the processor seconds that it took."""

    turns: Sequence[Turn]
    found: Diarization
    seconds: float
    spent_s: float

    @property
    def speakers(self) -> int:
        return len({turn.speaker for turn in self.turns})


def _heard(recordings: Sequence[_Recording], given: bool, progress: Progress) -> list[_Outcome]:
    outcomes = []
    for audio, turns in recordings:
        started = time.process_time()
        found = diarize_audio(audio, len({turn.speaker for turn in turns}) if given else None)
        outcomes.append(_Outcome(turns, found, len(audio) / SAMPLE_RATE, time.process_time() - started))
        progress.advance()
    return outcomes


def _rates(outcomes: Sequence[_Outcome]) -> dict[str, float]:
    errors = DiarizationErrors()
    overlaps = np.zeros(3)
    for outcome in outcomes:
        errors += diarization_errors(outcome.turns, outcome.found.turns)
        overlaps += overlap_found(outcome.turns, outcome.found.turns)
    speech = max(errors.speech_s, 1e-9)
    return {
        "recordings": len(outcomes),
        "der": round(errors.rate, 3),
        "missed": round(errors.missed_s / speech, 3),
        "false_alarm": round(errors.false_alarm_s / speech, 3),
        "confused": round(errors.confused_s / speech, 3),
        "right_number": sum(len(outcome.found.speakers) == outcome.speakers for outcome in outcomes),
        "overlap_recall": round(float(overlaps[2] / max(overlaps[0], 1e-9)), 2),
        "overlap_precision": round(float(overlaps[2] / max(overlaps[1], 1e-9)), 2),
        "times_real_time": round(
            sum(outcome.seconds for outcome in outcomes) / max(sum(outcome.spent_s for outcome in outcomes), 1e-9), 1
        ),
    }


def _half_an_hour(people: dict[str, list[Path]]) -> dict[str, float]:
    mix = labelled_mix(people, 4, LONG_S, np.random.default_rng(0))
    started = time.process_time()
    found = diarize_audio(mix.audio)
    spent = time.process_time() - started
    return {
        "times_real_time": round(len(mix.audio) / SAMPLE_RATE / spent, 1),
        "der": round(diarization_errors(mix.turns, found.turns).rate, 3),
        "speakers_of_4": len(found.speakers),
        "memory_mib": resident_mib(),
    }
