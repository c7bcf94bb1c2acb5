"""Question answering on transcripts: retrieval of passages by their words, and extraction of the answer.

Retrieval is BM25 (SQLite's FTS5, in memory) over windows of consecutive segments. The owner's language model answers
from the best of them, or a reader (a BERT-style question answering model, from a local folder, never from the network)
marks the answer in them. Without either, the segment that matches best is the answer, as ``Answer.how`` states. The
rare words of a question must occur in the answering passage. Otherwise, the nearest segments are returned (by meaning
if a model can compare texts), without an answer.
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from core.errors import HarkError
from core.worded import worded
from pipeline.recordings.language_models import llm
from pipeline.recordings.transcripts.stop_words import STOP_WORDS
from pipeline.recordings.transcripts.transcript import Transcript

MAX_WORDS, MAX_CHARACTERS = 400, 4_000  # maximum size of a question
WINDOW_WORDS = 60  # words per passage, or slightly more, because it ends with a segment
READ = 5  # passages that a model reads per question
MAX_COMPARED = 400  # maximum passages whose meaning is compared with the question: the best by words
NEAR = 0.4  # minimum cosine of a passage that qualifies even if it shares few words with the question
WRITTEN_FROM = 20  # passages that a language model reads per question
MAX_ANSWER_LENGTH = 1_000  # maximum characters of its answer
NOT_FOUND: str = worded("No passage was found that answers this.")
NO_WORDS: str = worded("No passage was found with the words of this question.")
WORDS_ONLY: str = worded(
    "Only the words were compared. A question-answering model also understands other wordings: "
    "./hark engines pull reader."
)
MAX_NEAREST = 3  # maximum segments shown without an answer

# Fraction of a question's words, weighted by rarity, that must occur. A reader knows synonyms.
FLOOR_ALONE, FLOOR_WITH_READER = 0.52, 0.25
MIN_SEGMENTS = 100  # minimum segments from which the rarity of words is estimated
SPEAKER_WEIGHT = 0.5  # weight of a match with the speaker's name, relative to one with the text
QUESTION_FACTOR = 0.6  # factor of the score of a segment that is itself a question

Reader = Callable[[str, list[str]], Mapping[str, Any] | None]  # like ``reader.read_passages``
Comparer = Callable[[str, list[str]], Sequence[float]]  # like ``text_similarity.similarities``

_NUMBER = re.compile(
    r"\d|\b(one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|\w+ty|hundred|thousand|million|half|"
    r"quarter|dozen|zwei|drei|vier|fünf|sechs|sieben|acht|neun|zehn|elf|zwölf|\w+zig|hundert|tausend)\b",
    re.IGNORECASE,
)
_TIME = re.compile(
    r"\d|\b(\w+day|today|tomorrow|yesterday|tonight|morning|noon|afternoon|evening|night|midnight|o'clock|week|month|"
    r"year|years|ago|january|february|march|april|may|june|july|august|september|october|november|december|spring|"
    r"summer|autumn|winter|montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonntag|heute|morgen|gestern|uhr|"
    r"woche|monat|jahr|jahre|januar|februar|märz|mai|juni|juli|oktober|dezember)\b",
    re.IGNORECASE,
)
_PLACE = re.compile(r"\b(in|at|near|from|behind|under|beside|bei|aus|nach|neben|hinter)\b", re.IGNORECASE)
_REASON = re.compile(r"\b(because|since|reason|so that|therefore|weil|denn|deshalb|damit)\b", re.IGNORECASE)
# The kinds of words in an answer, by words of the question. Segments with words of that kind get a bonus.
_KINDS = (
    (re.compile(r"\b(how (many|much|old|long|far|often|tall)|wie ?viele?|wie (alt|lange|oft))\b", re.I), _NUMBER),
    (re.compile(r"\b(when|what (time|day|year|month|date)|which (day|year|month)|wann)\b", re.I), _TIME),
    (re.compile(r"\b(where|what (city|town|country|place)|wo|woher|wohin)\b", re.I), _PLACE),
    (re.compile(r"\b(why|warum|wieso|weshalb)\b", re.I), _REASON),
)
KIND_BONUS = 0.25  # fraction of a matching segment's score
NEARBY = 0.5  # weight of a word that occurs in the segment's passage but not in the segment

_WRITE = (
    "Answer a question from the data, which are segments of recordings. Answer with this JSON object, in the language "
    'of the question: {"answer": "one to three sentences", "segments": [numbers of the segments that say it]}. Where '
    'the data do not hold the answer, "answer" is "".'
)

# Chinese stop words, which are not separated from other words by spaces.
_CHINESE_STOP_WORDS = re.compile("为什么|什么|怎么|哪里|哪儿|多少|哪|谁|吗|呢|几|是|的|了|在|有|请问")
_CJK = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # scripts without spaces


@dataclass(frozen=True)
class Citation:
    """The source of a quotation: one segment of one recording."""

    recording: str
    segment: int  # index in the transcript
    start_s: float
    end_s: float
    speaker: str  # as displayed; "" if unknown
    text: str


@dataclass(frozen=True)
class Passage:
    """Consecutive segments that are searched and read together; ``text`` joins their texts with spaces."""

    text: str
    speaker: str  # the names of all its speakers
    lines: tuple[Citation, ...]


@dataclass(frozen=True)
class Answer:
    """The result of a question.

    Attributes:
        how: "language model" (it wrote the text), "reader" (a model marked these words), "best sentence" (the segment
            whose words match best, without a model), "nearest" (no model read the passages: ``nearest`` may contain the
            answer), "nothing" (no passage answers it). The last two have no citations.
        score: a reader's probability; for the best sentence, the fraction of the question's weight that occurs there
        nearest: if nothing was found, the segments nearest to the question, best first
    """

    text: str
    citations: tuple[Citation, ...]
    found: bool
    how: str
    score: float
    nearest: tuple[Citation, ...] = ()
    note: str = ""  # why the language model was not used although it is set up, or which model might find more


def passages(recording: str, transcript: Transcript) -> list[Passage]:
    """Return windows of about :data:`WINDOW_WORDS` words, each starting in the middle of the previous one."""
    lines = [
        Citation(
            recording, number, segment.start_s, segment.end_s,
            transcript.speaker_name(segment.speaker), " ".join(segment.text.split()),
        )
        for number, segment in enumerate(transcript.segments)
        if segment.text.strip()
    ]  # fmt: skip
    sizes = [_words_in(line.text) for line in lines]
    windows: list[Passage] = []
    first = end = 0
    while end < len(lines):
        end = first + 1
        while end < len(lines) and sum(sizes[first:end]) < WINDOW_WORDS:
            end += 1
        names = dict.fromkeys(line.speaker for line in lines[first:end] if line.speaker)
        text = " ".join(line.text for line in lines[first:end])
        windows.append(Passage(text, ", ".join(names), tuple(lines[first:end])))
        middle = first + 1
        while middle < end - 1 and sum(sizes[first:middle]) < sum(sizes[first:end]) / 2:
            middle += 1
        first = middle
    return windows


def _words_in(text: str) -> int:
    """Count the words of a text; in a language without spaces, estimate them."""
    return len(text.split()) + len(re.findall(f"[{_CJK}]", text)) // 2


def answer(
    question: str,
    passages: Sequence[Passage],
    read: Reader | None = None,
    compare: Comparer | None = None,
    language_model: llm.LlmSettings | None = None,
) -> Answer:
    """Answer a question from these passages, of one recording or of many.

    Args:
        read: a function like :func:`pipeline.recordings.answers.reader.read_passages`. Without it, the best sentence is
            the answer.
        compare: compares meanings; it then also selects the passages for a reader, and the nearest ones.
        language_model: whether a language model answers in place of a reader; if it fails, the others do.

    Raises HarkError if the question is empty or too long.
    """
    terms = _terms(question)
    with _Index(passages) as index:
        weights = index.weights(terms)
        total = sum(weights.values())
        ranked = index.rank(terms, MAX_COMPARED)
        best = ranked[:READ]
        coverage = {row: sum(weights[t] for t in terms if row in index.rows("passage", t)) / total for row in best}
        is_covered = max(coverage.values(), default=0.0) >= FLOOR_ALONE
        near: list[int] = []
        if compare is not None and (read is not None or language_model is not None or not is_covered):
            near = _nearest(question, passages, ranked, compare)
        # False if a model read the passages without finding an answer; None if none read them.
        outcome: Answer | bool | None = None
        note = ""
        if language_model is not None and passages:
            rows = list(dict.fromkeys([*_interleaved(ranked, near), *range(len(passages))]))[:WRITTEN_FROM]
            try:
                outcome = _written(question, [line for row in rows for line in passages[row].lines], language_model)
            except HarkError as error:
                note = f"{error.what} {error.why}"
        if read is not None and outcome is None:
            both = _interleaved([row for row in best if coverage[row] >= FLOOR_WITH_READER], near)
            outcome = _read(question, [passages[row] for row in both[:READ]], read) if both else None
        if isinstance(outcome, Answer):
            return replace(outcome, note=note)
        if is_covered and outcome is None:
            line, row = _best_line(question, weights, best, passages, index)
            return Answer(line.text, (line,), True, "best sentence", round(coverage[row], 3), note=note)
        lines = list(dict.fromkeys(line for row in [*near, *best] for line in passages[row].lines))
        nearest = _nearest_lines(question, weights, lines, index, compare if near else None)
        if read is None and compare is None and language_model is None:
            note = WORDS_ONLY
        if outcome is False or not nearest:
            return Answer(NO_WORDS if outcome is None else NOT_FOUND, (), False, "nothing", 0.0, tuple(nearest), note)
        text = worded("The passage closest to the question: “%(text)s”", text=nearest[0].text)
        return Answer(text, (), False, "nearest", 0.0, tuple(nearest), note)


def _interleaved(by_words: Sequence[int], near: Sequence[int]) -> list[int]:
    """Interleave two rankings: the best by words, the nearest, the second best, and so on."""
    return list(dict.fromkeys(row for rows in zip_longest(by_words, near) for row in rows if row is not None))


def _best_line(
    question: str, weights: Mapping[str, float], best: Sequence[int], passages: Sequence[Passage], index: _Index
) -> tuple[Citation, int]:
    """Return the segment with most of the question's weight, in and around it, and the row of its passage."""
    wanted = [answer_words for asked, answer_words in _KINDS if asked.search(question)]

    def score(candidate: tuple[Citation, int]) -> float:
        line, row = candidate
        value = 0.0
        for term, weight in weights.items():
            if index.in_line(term, line):
                value += weight
            elif row in index.rows("passage", term):
                value += NEARBY * weight
        if any(pattern.search(line.text) for pattern in wanted):
            value *= 1 + KIND_BONUS
        value *= QUESTION_FACTOR if line.text.endswith("?") else 1.0
        return value - 0.001 * len(line.text.split())  # of two with the same words, the shorter is more specific

    return max(((line, row) for row in best for line in passages[row].lines), key=score)


def _nearest(question: str, passages: Sequence[Passage], ranked: Sequence[int], compare: Comparer) -> list[int]:
    """Return the rows of the passages nearest to the question in meaning, best first; [] if ``compare`` fails."""
    rows = list(dict.fromkeys([*ranked, *range(min(len(passages), MAX_COMPARED))]))[:MAX_COMPARED]
    if not rows:
        return []
    try:
        compared = compare(question, [passages[row].text for row in rows])
    except HarkError:
        return []
    near = {row: value for row, value in zip(rows, compared) if value >= NEAR}
    return sorted(near, key=lambda row: -near[row])[:READ]


def _nearest_lines(
    question: str, weights: Mapping[str, float], lines: Sequence[Citation], index: _Index, compare: Comparer | None
) -> list[Citation]:
    """Return the nearest segments: by meaning if requested and possible, otherwise by their words."""
    values: Sequence[float] = ()
    if compare is not None:
        try:
            values = compare(question, [line.text for line in lines])
        except HarkError:
            pass  # falls back to words
    if len(values) != len(lines):
        values = [sum(weight for term, weight in weights.items() if index.in_line(term, line)) for line in lines]
    best = sorted(zip(values, lines), key=lambda pair: -pair[0])[:MAX_NEAREST]
    return [line for value, line in best if value > 0]


def _written(question: str, lines: Iterable[Citation], chosen: llm.LlmSettings) -> Answer | bool:
    """Let the language model answer from segments; False without an answer. Raises HarkError if the model fails."""
    given: list[Citation] = []
    for line in dict.fromkeys(lines):
        if given and sum(len(one.text) for one in (*given, line)) > chosen.part_characters:
            break
        given.append(line)
    given.sort(key=lambda line: (line.recording, line.segment))
    rows = [{"segment": number, "speaker": line.speaker, "text": line.text} for number, line in enumerate(given)]

    def check(answer: Any) -> Answer | bool:
        if answer["answer"] == "":
            return False
        text = llm.checked_text(answer["answer"], MAX_ANSWER_LENGTH, " ".join(line.text for line in given))
        cited = [given[number] for number in llm.checked_numbers(answer["segments"], range(len(given)))]
        return Answer(text, tuple(cited), True, "language model", 0.0)

    return llm.ask(f"{_WRITE} The question: {llm.quoted([{'question': question}])}", rows, check, chosen)


def _read(question: str, best: Sequence[Passage], read: Reader) -> Answer | bool | None:
    """Let a model mark the answer; False if it finds none, None if a model is missing or fails."""
    try:
        marked = read(question, [passage.text for passage in best])
    except HarkError:
        return None
    if not marked:
        return None if marked is None else False
    passage, start, end = best[marked["passage"]], marked["start"], marked["end"]
    cited, place = [], 0
    for line in passage.lines:
        if place < end and start < place + len(line.text):
            cited.append(line)
        place += len(line.text) + 1
    return Answer(passage.text[start:end], tuple(cited), True, "reader", marked["score"])


def _terms(question: str) -> list[str]:
    """Return the search terms: words except stop words, and pairs of CJK characters."""
    question = question[: MAX_CHARACTERS + 1]
    if not any(character.isalnum() for character in question):
        raise HarkError(
            worded("The question is empty."),
            worded("The text has no words."),
            worded("Type a question, or record one."),
        )
    if len(question) > MAX_CHARACTERS or len(question.split()) > MAX_WORDS:
        raise HarkError(
            worded("The question is too long."),
            worded(
                "A question can have %(max_words)s words and %(max_characters)s characters.",
                max_words=MAX_WORDS,
                max_characters=MAX_CHARACTERS,
            ),
            worded("Ask in one or two sentences."),
        )
    words: list[str] = []
    spaced = _CHINESE_STOP_WORDS.sub(" ", question.lower())
    for part in re.findall(rf"[{_CJK}]+|[^\W_{_CJK}]+", spaced):
        if re.match(f"[{_CJK}]", part):
            words += [" ".join(part[i : i + 2]) for i in range(max(1, len(part) - 1))]
        else:
            words.append(part)
    return list(dict.fromkeys(word for word in words if word not in STOP_WORDS))


class _Index:
    """Passages and their segments in a full-text index for a single question."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._database = sqlite3.connect(":memory:")
        for table in ("passage", "line"):
            self._database.execute(
                f"CREATE VIRTUAL TABLE {table} USING fts5(text, speaker, tokenize='porter unicode61', detail=full)"
            )
        lines = dict.fromkeys(line for passage in passages for line in passage.lines)
        self._line_row = {line: row for row, line in enumerate(lines)}
        self._insert("passage", passages)
        self._insert("line", list(lines))
        self._rows_by_term: dict[tuple[str, str], frozenset[int]] = {}

    def _insert(self, table: str, items: Sequence[Passage | Citation]) -> None:
        self._database.executemany(
            f"INSERT INTO {table} (rowid, text, speaker) VALUES (?, ?, ?)",
            ((row, _spaced(item.text), _spaced(item.speaker)) for row, item in enumerate(items)),
        )

    def __enter__(self) -> _Index:
        return self

    def __exit__(self, *error: object) -> None:
        self._database.close()

    def rank(self, terms: Sequence[str], n: int) -> list[int]:
        """Return the rows of the best passages by BM25, best first."""
        if not terms:
            return []
        cursor = self._database.execute(
            f"SELECT rowid FROM passage WHERE passage MATCH ? ORDER BY bm25(passage, 1.0, {SPEAKER_WEIGHT}), rowid "
            "LIMIT ?",  # FTS5 assigns lower numbers to better matches
            (" OR ".join(f'"{term}"' for term in terms), n),
        )
        return [row for (row,) in cursor]

    def weights(self, terms: Sequence[str]) -> dict[str, float]:
        """Return the weight of each term: BM25's inverse document frequency in segments, highest if it never occurs."""
        counts = {term: len(self.rows("line", term)) for term in terms}
        total = max(MIN_SEGMENTS, len(self._line_row))
        return {term: math.log(1 + (total - n + 0.5) / (n + 0.5)) for term, n in counts.items()}

    def in_line(self, term: str, line: Citation) -> bool:
        return self._line_row[line] in self.rows("line", term)

    def rows(self, table: str, term: str) -> frozenset[int]:
        """Return the passages or segments ("passage", "line") with the term."""
        key = (table, term)
        if key not in self._rows_by_term:
            cursor = self._database.execute(f"SELECT rowid FROM {table} WHERE {table} MATCH ?", (f'"{term}"',))
            self._rows_by_term[key] = frozenset(row for (row,) in cursor)
        return self._rows_by_term[key]


def _spaced(text: str) -> str:
    """Put spaces around each CJK character, so that each is a word of the index."""
    return re.sub(f"([{_CJK}])", r" \1 ", text)
