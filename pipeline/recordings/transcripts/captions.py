"""Transcripts as files for other programs: text, captions, tables, a document.

Captions follow broadcasters' rules: two lines of 42 columns (a CJK character takes two), about seven seconds, cut at
word times. Characters that a format does not allow are omitted from it. Control characters are always omitted, because
XML forbids them and readers do not show them.
"""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from html import escape
from typing import NamedTuple

from core.errors import no_such
from core.worded import worded
from pipeline.recordings.transcripts.transcript import Segment, Transcript, as_json
from pipeline.recordings.transcripts.words import spread

LINE_WIDTH = 42  # maximum columns per line
LINES = 2  # maximum lines per caption
MAX_DURATION_S = 7.0  # maximum seconds per caption
MIN_DURATION_S = 1.0  # minimum seconds of a caption that no other follows
PAUSE_S = 1.0  # seconds without words after which a new caption begins
NAME_WIDTH = 24  # maximum columns of a speaker's name before a caption
PARAGRAPH_S = 60.0  # seconds after which texts and documents have a new time stamp
PARAGRAPH_PAUSE_S = 3.0

# C0 and C1 controls except tab and line ends, surrogates, non-characters (XML 1.0, 2.2), and bidirectional controls.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\u202a-\u202e\u2066-\u2069]"
)
_SENTENCE_END = re.compile(r"[.!?…。！？]['\"”’)\]]*$")
# Characters that a spreadsheet takes for the start of a formula, including full-width forms that some accept.
_FORMULA = tuple("=+-@＝＋－＠")

CSV_COLUMNS = ("start_s", "end_s", "speaker", "text", "confidence", "language", "overlap", "edited")


@dataclass(frozen=True)
class Caption:
    """The text shown at one time: one or two lines of one speaker."""

    start_s: float
    end_s: float
    speaker: str  # as displayed; "" if unknown
    lines: tuple[str, ...]


class _Token(NamedTuple):
    text: str
    spaced: bool  # whether a space precedes it
    start_s: float
    end_s: float


class Format(NamedTuple):
    """A file format: its media type, and its writer, which takes a transcript and a title."""

    content_type: str
    writer: Callable[[Transcript, str], bytes]


def write(transcript: Transcript, format: str, title: str = "") -> bytes:
    """Return a transcript as the content of a file. Raises HarkError if :data:`FORMATS` lacks the format."""
    chosen = FORMATS.get(format.lower())
    if chosen is None:
        raise no_such(worded("transcript format"), format, FORMATS)
    return chosen.writer(transcript, _clean(title))


def captions(transcript: Transcript, named: bool) -> list[Caption]:
    """Return captions in order of time; with ``named``, "Name: " precedes the first one after a change of speaker."""
    drafts: list[Caption] = []
    before = ""
    for segment in sorted(transcript.segments, key=lambda segment: segment.start_s):
        speaker = _clean(transcript.speaker_name(segment.speaker))
        lead = f"{_shortened(speaker)}: " if named and speaker and speaker != before else ""
        for caption in _captions_of(segment, speaker, lead):
            drafts.append(caption)
            before = speaker
    drafts.sort(key=lambda caption: caption.start_s)
    shown: list[Caption] = []
    for number, caption in enumerate(drafts):
        following = drafts[number + 1].start_s if number + 1 < len(drafts) else float("inf")
        longer = min(caption.start_s + MIN_DURATION_S, following)
        shown.append(replace(caption, end_s=max(caption.end_s, longer, caption.start_s + 0.001)))
    return shown


def _captions_of(segment: Segment, speaker: str, lead: str) -> Iterator[Caption]:
    """Yield the captions of one segment; ``lead`` precedes the first."""
    tokens: list[_Token] = []
    for token in _tokens(segment):
        if tokens and (
            token.start_s - tokens[-1].end_s > PAUSE_S
            or token.end_s - tokens[0].start_s > MAX_DURATION_S
            or len(_wrapped([*tokens, token], lead)) > LINES
            or (_SENTENCE_END.search(tokens[-1].text) and len(_wrapped(tokens, lead)) == LINES)
        ):
            yield _caption(tokens, speaker, lead)
            tokens, lead = [], ""
        tokens.append(token)
    if tokens:
        yield _caption(tokens, speaker, lead)


def _caption(tokens: list[_Token], speaker: str, lead: str) -> Caption:
    start_s = tokens[0].start_s
    # A word's times may span half a minute, but a caption should not.
    return Caption(start_s, min(tokens[-1].end_s, start_s + MAX_DURATION_S), speaker, tuple(_wrapped(tokens, lead)))


def _tokens(segment: Segment) -> Iterator[_Token]:
    """Yield the unbreakable parts of a segment, with times that never decrease."""
    latest = max(0.0, segment.start_s)
    for token in _timed(segment):
        start_s = max(latest, token.start_s)
        end_s = max(start_s, token.end_s)
        latest = start_s
        parts = _broken(token.text)
        for number, part in enumerate(parts):
            share = (end_s - start_s) / len(parts)
            yield _Token(part, token.spaced and number == 0, start_s + number * share, start_s + (number + 1) * share)


def _timed(segment: Segment) -> list[_Token]:
    """Return the words of the text, with the times of the segment's words if they match, otherwise spread evenly."""
    text = _clean(segment.shown)
    words = [(shown, word.start_s, word.end_s) for word in segment.words if (shown := _clean(word.text))]
    if words and _solid("".join(word for word, *_ in words)) == _solid(text):
        tokens, place = [], 0
        for word, start_s, end_s in words:
            spaced = place < len(text) and text[place] == " "
            place += spaced
            tokens.append(_Token(word, spaced, start_s, end_s))
            place = _after(text, place, len(_solid(word)))
        return tokens
    return [
        _Token(word.text, True, word.start_s, word.end_s) for word in spread(text, segment.start_s, segment.end_s, 1.0)
    ]


def _after(text: str, place: int, characters: int) -> int:
    """Return the position after this many non-space characters of the text."""
    while characters and place < len(text):
        characters -= text[place] != " "
        place += 1
    return place


def _broken(text: str) -> list[str]:
    """Split a text into parts that fit into a line: text in a language without spaces is one long word."""
    parts = [""]
    for character in text:
        if _width(parts[-1] + character) > LINE_WIDTH:
            parts.append("")
        parts[-1] += character
    return parts


def _wrapped(tokens: list[_Token], lead: str) -> list[str]:
    lines = [lead]
    for token in tokens:
        space = " " if token.spaced and lines[-1] and lines[-1] != lead else ""
        if lines[-1] and lines[-1] != lead and _width(lines[-1] + space + token.text) > LINE_WIDTH:
            lines.append(token.text)
        elif lines[-1] == lead and lead and _width(lead + token.text) > LINE_WIDTH:
            lines = [lead.rstrip(), token.text]
        else:
            lines[-1] += space + token.text
    return lines


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _shortened(name: str) -> str:
    while _width(name) > NAME_WIDTH:
        name = name[:-2].rstrip() + "…"
    return name


def _clean(text: str) -> str:
    """Return one line without control characters, with single spaces."""
    return " ".join(_FORBIDDEN.sub("", text).split())


def _solid(text: str) -> str:
    return "".join(text.split())


def clock(seconds: float, mark: str = "") -> str:
    """Format a time as h:mm:ss, or with ``mark`` as hh:mm:ss, ``mark`` and milliseconds."""
    thousandths = max(0, round(seconds * 1000))
    minutes, rest = divmod(thousandths, 60_000)
    hours, minutes = divmod(minutes, 60)
    if mark:
        return f"{hours:02}:{minutes:02}:{rest // 1000:02}{mark}{rest % 1000:03}"
    return f"{hours}:{minutes:02}:{rest // 1000:02}"


def _srt(transcript: Transcript, title: str) -> bytes:
    blocks = []
    for number, caption in enumerate(captions(transcript, named=True), 1):
        times = f"{clock(caption.start_s, ',')} --> {clock(caption.end_s, ',')}"
        # An arrow within a text would be parsed as times.
        text = "\n".join(line.replace("-->", "→") for line in caption.lines)
        blocks.append(f"{number}\n{times}\n{text}\n")
    return _bytes("\n".join(blocks))


def _vtt(transcript: Transcript, title: str) -> bytes:
    blocks = [f"WEBVTT{f' - {escape(title, quote=False)}' if title else ''}\n"]
    for caption in captions(transcript, named=False):
        times = f"{clock(caption.start_s, '.')} --> {clock(caption.end_s, '.')}"
        text = "\n".join(escape(line, quote=False) for line in caption.lines)
        voice = f"<v {escape(caption.speaker, quote=False)}>" if caption.speaker else ""
        blocks.append(f"{times}\n{voice}{text}\n")
    return _bytes("\n".join(blocks))


def _json(transcript: Transcript, title: str) -> bytes:
    return _bytes(json.dumps(as_json(transcript), ensure_ascii=False, indent=1) + "\n")


def _csv(transcript: Transcript, title: str) -> bytes:
    """Write one row per segment; apostrophes prevent spreadsheets from evaluating cells as formulas (OWASP)."""
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\r\n")
    table.writerow(CSV_COLUMNS)
    for segment in transcript.segments:
        table.writerow(
            [
                f"{segment.start_s:.3f}", f"{segment.end_s:.3f}",
                _harmless(transcript.speaker_name(segment.speaker)), _harmless(segment.shown),
                f"{segment.confidence:.3f}", _harmless(segment.language or transcript.language),
                int(segment.overlap), int(segment.edited),
            ]
        )  # fmt: skip
    return b"\xef\xbb\xbf" + _bytes(written.getvalue())  # without the byte order mark, Excel does not recognize UTF-8


def _harmless(cell: str) -> str:
    cell = _clean(cell)
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


class _Paragraph(NamedTuple):
    start_s: float
    speaker: str
    text: str


def _paragraphs(transcript: Transcript) -> list[_Paragraph]:
    """Return passages of one speaker without a long pause, each of at most about a minute."""
    paragraphs: list[_Paragraph] = []
    end_s = 0.0
    for segment in transcript.segments:
        text = _clean(segment.shown)
        if not text:
            continue
        speaker = _clean(transcript.speaker_name(segment.speaker))
        last = paragraphs[-1] if paragraphs else None
        if (
            last is not None
            and speaker == last.speaker
            and segment.start_s - end_s <= PARAGRAPH_PAUSE_S
            and segment.start_s - last.start_s <= PARAGRAPH_S
        ):
            paragraphs[-1] = last._replace(text=f"{last.text} {text}")
        else:
            paragraphs.append(_Paragraph(segment.start_s, speaker, text))
        end_s = segment.end_s
    return paragraphs


def _txt(transcript: Transcript, title: str) -> bytes:
    blocks = [title] if title else []
    for start_s, speaker, text in _paragraphs(transcript):
        blocks.append(f"[{clock(start_s)}]{f' {speaker}:' if speaker else ''} {text}")
    return _bytes("\n\n".join(blocks) + "\n" if blocks else "")


def _docx(transcript: Transcript, title: str) -> bytes:
    from docx import Document
    from docx.shared import RGBColor

    document = Document()
    document.core_properties.title = title[:255]
    document.core_properties.author = ""
    document.core_properties.comments = ""
    if title:
        document.add_heading(title, level=1)
    for start_s, speaker, text in _paragraphs(transcript):
        paragraph = document.add_paragraph()
        if speaker:
            paragraph.add_run(speaker).bold = True
            paragraph.add_run(" ")
        time = paragraph.add_run(clock(start_s))
        time.font.color.rgb = RGBColor(0x70, 0x70, 0x70)
        time.add_break()
        paragraph.add_run(text)
    written = io.BytesIO()
    document.save(written)
    return written.getvalue()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", errors="replace")  # JSON may contain half of a surrogate pair


FORMATS = {
    "txt": Format("text/plain; charset=utf-8", _txt),
    "srt": Format("application/x-subrip; charset=utf-8", _srt),
    "vtt": Format("text/vtt; charset=utf-8", _vtt),
    "json": Format("application/json", _json),
    "csv": Format("text/csv; charset=utf-8", _csv),
    "docx": Format("application/vnd.openxmlformats-officedocument.wordprocessingml.document", _docx),
}
