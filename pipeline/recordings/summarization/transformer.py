"""Summaries by generative models on this machine: a sequence-to-sequence model of transformers, and Hark's own.

The transcript is processed in parts. Each part becomes a few sentences, and each of these cites the segments of its
part that share its words. A sentence without shared words was invented and is dropped. The models run in the speech
service.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from core.data_folder import installation_folder
from core.errors import HarkError
from core.readiness import Readiness
from core.worded import worded
from pipeline.recordings.language_models.local_models import LocalModel, load
from pipeline.recordings.summarization.action_items import action_items
from pipeline.recordings.summarization.sentences import Sentence, sentences, words_of
from pipeline.recordings.summarization.sentiment import sentiment
from pipeline.recordings.summarization.summary import Point, Summary
from pipeline.recordings.transcripts.stop_words import STOP_WORDS
from pipeline.recordings.transcripts.transcript import Segment, Transcript
from pipeline.speech_service import client as speech_client

SUMMARY = LocalModel(
    "summary",
    "facebook/bart-large-cnn",
    "models/summary",
    worded("Summaries quote the recording"),
)
CHARACTER_FILE = "models/summarizer/best.pt"  # written by ./hark summarizer train, in the same folder
PART_CHARACTERS = {"transformers": 2_500, "character": 400}  # approximate input characters in the models' training
MAX_OUTPUT_TOKENS = 128  # maximum tokens of a part's summary
BEAMS = 4
MAX_POINTS = 12
TEXT_POINTS = 4  # sentences of the text
MAX_PART_LENGTH = 20_000  # maximum characters of a model's input
MAX_CITED = 3  # maximum segments cited by a sentence
SHARE_OF_BEST = 0.6  # fraction of the best segment's score from which others are cited too


class _Local:
    name: str
    licence: str

    def summarize(self, transcript: Transcript) -> Summary:
        """Summarize each part into sentences, as points; the first of each part form the text."""
        all_sentences = sentences(transcript)
        pieces = list(parts(all_sentences, PART_CHARACTERS[self.name]))
        texts = [" ".join(sentence.text for sentence in piece) for piece in pieces]
        summaries, model = speech_client.call(speech_client.TIMEOUT_S, write, self.name, texts)
        points: list[list[Point]] = []
        for part, written in zip(pieces, summaries):
            within = sorted({number for sentence in part for number in sentence.segments})
            points.append([])
            for sentence in sentences(Transcript(0.0, "", "", (Segment(0.0, 0.0, written, 1.0),))):
                if cited := supporting(sentence.text, transcript, within):
                    points[-1].append(Point(sentence.text, cited))
        every = list(dict.fromkeys(point for part_points in points for point in part_points))
        if not every:
            raise HarkError(
                worded("The model wrote no summary."),
                worded("%(done)s wrote nothing that occurs in the recording.", done=model),
                worded("Choose another engine for summaries; extractive always works."),
            )
        lead = [point for part_points in points for point in part_points[:1]]
        lead = (lead if len(points) > 1 else every)[:TEXT_POINTS]
        return Summary(
            text=" ".join(point.text for point in lead),
            key_points=tuple(every[:MAX_POINTS]),
            action_items=action_items(all_sentences),
            sentiment=sentiment(all_sentences, transcript.language),
            engine=f"{self.name} {model}",
            segments=tuple(dict.fromkeys(number for point in lead for number in point.segments)),
        )


def supporting(text: str, transcript: Transcript, segments: Sequence[int]) -> tuple[int, ...]:
    """Return the segments with most of the text's words, weighted by rarity; () if none of the words occurs."""
    wanted = set(words_of(text)) - STOP_WORDS
    words_by_segment = {number: set(words_of(transcript.segments[number].text)) for number in segments}
    counts = Counter(word for words in words_by_segment.values() for word in words)
    weight = {word: math.log(1 + len(words_by_segment) / counts[word]) for word in wanted if counts[word]}
    scores = {number: sum(weight[word] for word in wanted & words) for number, words in words_by_segment.items()}
    best = max(scores.values(), default=0.0)
    if best == 0.0:
        return ()
    close = [number for number, score in scores.items() if score >= SHARE_OF_BEST * best]
    return tuple(sorted(sorted(close, key=lambda number: -scores[number])[:MAX_CITED]))


class LocalTransformer(_Local):
    """A summarization model in a folder, as saved by transformers: BART, T5, Pegasus ..."""

    name = "transformers"
    licence: str = worded("see the model")

    def available(self) -> Readiness:
        return SUMMARY.readiness()


class Character(_Local):
    """Hark's own character Transformer, if it has been trained here."""

    name = "character"
    licence = "Apache-2.0"

    def available(self) -> Readiness:
        path = character_file()
        if path.is_file():
            return Readiness(True)
        return Readiness(
            False,
            worded("Hark's own summarizer has not been trained (%(file)s does not exist).", file=str(path)),
            worded("Train it: ./hark summarizer train PAIRS, with lines of text and summary."),
        )


def parts(all_sentences: list[Sentence], characters: int) -> Iterator[list[Sentence]]:
    """Yield groups of consecutive sentences of about this many characters."""
    part: list[Sentence] = []
    length = 0
    for sentence in all_sentences:
        if part and length + len(sentence.text) > characters:
            yield part
            part, length = [], 0
        part.append(sentence)
        length += len(sentence.text) + 1
    if part:
        yield part


def character_file() -> Path:
    return installation_folder() / CHARACTER_FILE


def write(engine: str, parts: list[str]) -> tuple[list[str], str]:
    """Summarize texts in the speech service; also return the model's name. Raises HarkError if the model is missing."""
    parts = [part[:MAX_PART_LENGTH] for part in parts]
    if engine == "character":
        from model.summarizer.decoding import open_summarizer

        path = character_file()
        summarizer = open_summarizer(str(path), path.stat().st_mtime_ns if path.is_file() else 0)
        return summarizer(parts), path.stem
    SUMMARY.readiness().require(worded("The summary cannot be written."))
    folder = SUMMARY.folder()
    assert folder is not None
    return _model(str(folder)).summarize(parts), folder.name


class _Model:
    """A sequence-to-sequence model with its tokenizer; to save memory, it processes one part at a time."""

    def __init__(self, folder: str) -> None:
        self._lock = threading.Lock()
        self._tokenizer, self._model = load(
            folder,
            "AutoModelForSeq2SeqLM",
            "The summarizing model cannot be loaded.",
            "Copy its files again, or choose another engine for summaries.",
        )

    def summarize(self, parts: list[str]) -> list[str]:
        import torch

        config = self._model.config
        # T5 has no maximum input; BART's is its table of positions.
        most = min(self._tokenizer.model_max_length, getattr(config, "max_position_embeddings", None) or 1024, 1024)
        prefix = "summarize: " if config.model_type == "t5" else ""
        written = []
        for part in parts:
            coded = self._tokenizer(prefix + part, truncation=True, max_length=most, return_tensors="pt")
            inputs = {name: coded[name] for name in ("input_ids", "attention_mask")}
            with self._lock, torch.inference_mode():
                output = self._model.generate(
                    **inputs, max_new_tokens=MAX_OUTPUT_TOKENS, num_beams=BEAMS, no_repeat_ngram_size=3, do_sample=False
                )
            written.append(self._tokenizer.decode(output[0], skip_special_tokens=True).strip())
        return written


_model = lru_cache(maxsize=1)(_Model)
