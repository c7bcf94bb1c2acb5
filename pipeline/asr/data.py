"""Training data of the acoustic model: transcribed corpora, and sentences that the speech engines synthesize."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from audio_generation.engine import Engine, GeneratedClip, SpeechRequest
from core.audio_file import SAMPLE_RATE, read_audio, write_audio
from core.events import Progress, Reporter
from core.worded import worded
from model.asr.packed import Utterance
from phrase_augmentation.keyphrase import Keyphrase
from phrase_augmentation.normalize import normalize
from phrase_augmentation.phonemes import accents, phones_of_texts
from phrase_augmentation.texts import plain_negatives
from pipeline.corpora.layouts import layout_of

VALIDATION_FRACTION = 0.06  # fraction of the speakers of a corpus, and of the voices of an engine
PHRASE_FRACTION = 0.25  # fraction of the synthetic texts that have one to four words, as keyphrases do
GENERATED_FRACTION = 0.35  # fraction that are sentences of common words; the rest are transcripts of the corpora
MAX_REASONS = 3  # maximum reasons reported for the failed clips of an engine
NO_PHRASE = "hark"  # a phrase that general negatives must not contain


def acoustic_split(speaker: str) -> str:
    """Return ``validation`` for a few speakers, chosen by a fixed hash of the name; otherwise ``train``."""
    value = int.from_bytes(hashlib.sha256(f"acoustic {speaker}".encode()).digest()[:8], "big") / 2**64
    return "validation" if value < VALIDATION_FRACTION else "train"


def corpus_utterances(folder: Path) -> list[Utterance]:
    """Return the utterances of an English corpus in any layout that Hark reads, with absolute paths.

    Recordings without a transcript have an empty text. A file without a speaker counts as a speaker of its own.
    """
    accent, root = accents("en")[0], folder.resolve()
    utterances = [u for u in layout_of(folder).utterances(folder) if u.offset_s is None and not u.problem]
    texts = [normalize(u.text, "en") if u.text else "" for u in utterances]
    phones = phones_of_texts(texts, accent)
    return [
        Utterance(
            path=str(root / utterance.audio.relative_to(folder)),
            text=text,
            phones=pronunciation if text else (),
            speaker=utterance.speaker or f"{folder.name}/{utterance.audio.stem}",
            corpus=folder.name,
            real=True,
            split=acoustic_split(utterance.speaker or f"{folder.name}/{utterance.audio.stem}"),
        )
        for utterance, text, pronunciation in zip(utterances, texts, phones)
    ]


def spoken_texts(transcripts: Sequence[str], count: int, seed: int, language: str = "en") -> list[str]:
    """Choose texts for the engines: transcripts, sentences of common words, and short phrases."""
    rng = np.random.default_rng(seed)
    generated = [t.text for t in plain_negatives(Keyphrase(NO_PHRASE, language), [], max(1, count), seed)]
    rng.shuffle(generated)
    texts = []
    for number in range(count):
        draw = rng.random()
        sentence = generated[number % len(generated)]
        if draw < PHRASE_FRACTION:
            words = normalize(sentence, language).split()
            start = int(rng.integers(len(words)))
            texts.append(" ".join(words[start : start + int(rng.integers(1, 5))]))
        elif draw < PHRASE_FRACTION + GENERATED_FRACTION or not transcripts:
            texts.append(sentence)
        else:
            texts.append(str(transcripts[int(rng.integers(len(transcripts)))]))
    return texts


def synthetic_utterances(
    engines: dict[str, Engine],
    counts: dict[str, int],
    transcripts: Sequence[str],
    folder: Path,
    seed: int,
    reporter: Reporter,
    language: str = "en",
) -> Iterator[Utterance]:
    """Synthesize ``counts[name]`` texts with each engine into files below ``folder``; report failed clips."""
    accent = accents("en")[0]
    progress = Progress(reporter, sum(counts.values()))
    for number, (name, count) in enumerate(sorted(counts.items())):
        rng = np.random.default_rng((seed, number))
        voices = engines[name].voices(language)
        speakers = sorted({voice.speaker for voice in voices})
        by_speaker = {s: [v for v in voices if v.speaker == s] for s in speakers}
        texts = spoken_texts(transcripts, count, seed + number, language)
        requests = []
        for index, text in enumerate(texts):
            mine = by_speaker[speakers[int(rng.integers(len(speakers)))]]
            voice = mine[int(rng.integers(len(mine)))]
            settings = engines[name].draw_settings(voice, rng)
            requests.append(SpeechRequest(f"{name}-{index:06d}", text, voice.name, voice.language, settings))
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        phones = phones_of_texts([normalize(text, language) for text in texts], accent)
        failed: Counter[str] = Counter()
        for clip in engines[name].synthesize(requests, target):
            progress.advance()
            if not isinstance(clip, GeneratedClip):
                failed[clip.why] += 1
                continue
            path = target / f"{clip.request_id}.flac"
            write_audio(path, read_audio(clip.path), SAMPLE_RATE)
            if clip.path != path:
                clip.path.unlink(missing_ok=True)
            index = int(clip.request_id.rsplit("-", 1)[1])
            yield Utterance(
                str(path.relative_to(folder)), normalize(texts[index], language), phones[index], clip.speaker, name,
                False, acoustic_split(clip.speaker),
            )  # fmt: skip
        if failed:
            why = "; ".join(reason for reason, _ in failed.most_common(MAX_REASONS))
            text = worded(
                "%(engine)s: %(n)d clip failed: %(why)s",
                "%(engine)s: %(n)d clips failed: %(why)s",
                engine=name, n=failed.total(), why=why,
            )  # fmt: skip
            reporter.log(text, "warning")


def transcripts_of(utterances: Iterable[Utterance]) -> list[str]:
    """Return the texts of the training split, for the engines to synthesize."""
    return [u.text for u in utterances if u.split == "train" and len(u.text.split()) > 1]
