"""Word and character error rates of the shipped recognizer on speakers it never heard, its speed and its memory.

librispeech-dev-clean and -test-other were not trained on; which words follow each other comes from neither.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import BenchOptions, Figures, manifest_rows, on_one_core, shared_folder, transcripts
from benchmark.memory import resident_mib
from core.audio_file import SAMPLE_RATE, read_audio
from core.events import Progress, Reporter
from model.asr.decoding import error_rate, greedy
from model.asr.emissions import Aligner
from model.asr.recognition import decoder_for
from model.phones import phone_indices, text_of
from phrase_augmentation.normalize import normalize
from phrase_augmentation.phonemes import phonemes

UTTERANCES = 200  # of librispeech-dev-clean


@on_one_core()
def run(options: BenchOptions, reporter: Reporter) -> Figures:
    """Figures by corpus and way of decoding, real-time factors of one core, resident memory."""
    speech = shared_folder() / "speech"
    reporter.stage("bench", "Loading the recognizer and the vocabulary")
    decoder = decoder_for("en")
    aligner = Aligner()
    corpora = {"librispeech-dev-clean": _dev_clean(speech), "librispeech-test-other": _test_other(speech)}
    figures: Figures = {}
    for name, rows in corpora.items():
        reporter.stage("bench", f"Reading {name}")
        figures[name] = _of_corpus(rows, aligner, decoder.words, reporter)
    figures["memory_mib"] = resident_mib()
    return figures


def _of_corpus(
    rows: Sequence[tuple[Path, str]],
    aligner: Aligner,
    to_words: Callable[[np.ndarray], list[str]],
    reporter: Reporter,
) -> dict[str, Any]:
    audios = [read_audio(path) for path, _ in rows]
    references = [normalize(text, "en").split() for _, text in rows]
    seconds = sum(len(audio) for audio in audios) / SAMPLE_RATE
    started = time.process_time()
    heads = list(aligner.both(audios))
    hearing = (time.process_time() - started) / seconds
    ways: dict[str, Callable[[dict[str, np.ndarray]], list[str]]] = {
        "letters_greedy": lambda head: text_of(greedy(head["characters"])).split(),
        "phones_vocabulary": lambda head: to_words(head["phones"]),
    }
    progress = Progress(reporter, len(ways) * len(heads))
    found: dict[str, Any] = {"utterances": len(rows), "hours": round(seconds / 3600, 3)}
    for name, decode in ways.items():
        started = time.process_time()
        texts = []
        for head in heads:
            texts.append(decode(head))
            progress.advance()
        spent = (time.process_time() - started) / seconds
        found[name] = {**_errors(references, texts), "real_time_factor": round(hearing + spent, 4)}
    phones = [phone_indices(phonemes(" ".join(words), "en")) for words in references]
    found["phone_error_rate"] = round(error_rate(phones, [greedy(head["phones"]) for head in heads]), 3)
    return found


def _errors(references: Sequence[Sequence[str]], texts: Sequence[Sequence[str]]) -> dict[str, float]:
    letters = error_rate([list(" ".join(words)) for words in references], [list(" ".join(words)) for words in texts])
    return {"wer": round(error_rate(references, texts), 3), "cer": round(letters, 3)}


def _dev_clean(speech: Path) -> list[tuple[Path, str]]:
    folder = speech / "librispeech-dev-clean"
    rows = manifest_rows(folder)
    # The sample is the same whatever --seed says: figures of different days are compared.
    chosen = sorted(np.random.default_rng(0).permutation(len(rows))[:UTTERANCES].tolist())
    return [(folder / rows[index]["audio_filepath"], rows[index]["text"]) for index in chosen]


def _test_other(speech: Path) -> list[tuple[Path, str]]:
    folder = speech / "librispeech-test-other"
    files = {path.stem: path for path in folder.rglob("*") if path.suffix in (".ogg", ".flac", ".wav")}
    return [(files[name], text) for name, text in transcripts(folder).items() if name in files]
