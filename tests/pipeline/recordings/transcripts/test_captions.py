"""Transcripts as files: other programs read the same words from them."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from itertools import pairwise
from typing import NamedTuple

import pytest

from core.errors import HarkError
from pipeline.recordings.transcripts.captions import (
    FORMATS,
    LINE_WIDTH,
    LINES,
    MAX_DURATION_S,
    Caption,
    captions,
    clock,
    write,
)
from pipeline.recordings.transcripts.transcript import Segment, Transcript, Word, from_json

LONG = (
    "I finished the landing page yesterday and the designers are really happy with it. The payment form still fails "
    "on old browsers, and nobody knows why, so I'll look into it by Wednesday."
)


def spoken(text: str, start_s: float, speaker: str = "", pace_s: float = 0.3) -> Segment:
    """A segment whose words take ``pace_s`` each."""
    words = tuple(
        Word(word, start_s + n * pace_s, start_s + (n + 1) * pace_s - 0.05, 0.9) for n, word in enumerate(text.split())
    )
    return Segment(start_s, words[-1].end_s, text, 0.9, words, speaker=speaker)


def transcript(*segments: Segment, speakers: dict[str, str] | None = None) -> Transcript:
    return Transcript(segments[-1].end_s if segments else 0.0, "en", "test", segments, speakers or {})


TALK = transcript(
    spoken("Hello, Ben.", 0.5, "S1"),
    spoken(LONG, 2.0, "S2"),
    spoken("Fine.", 20.0, "S2"),
    spoken("Thank <you> & good-bye.", 23.0, "S1"),
    speakers={"S1": "Anna", "S2": "Ben & <Co>"},
)


class Cue(NamedTuple):
    start_s: float
    end_s: float
    lines: list[str]


def seconds(text: str) -> float:
    hours, minutes, rest = re.split("[:]", text.replace(",", "."))
    return 3600 * int(hours) + 60 * int(minutes) + float(rest)


def read_cues(content: bytes) -> list[Cue]:
    """Read captions as a player does: blocks between empty lines."""
    found = []
    for block in content.decode("utf-8").strip().split("\n\n"):
        lines = block.split("\n")
        times = next((line for line in lines if "-->" in line), None)
        if times is None:
            continue
        start, end = times.split(" --> ")
        found.append(Cue(seconds(start), seconds(end), lines[lines.index(times) + 1 :]))
    return found


def test_srt_uses_the_times_of_words() -> None:
    content = write(TALK, "srt")
    numbers = [int(block.split("\n")[0]) for block in content.decode().strip().split("\n\n")]
    cues = read_cues(content)
    assert numbers == list(range(1, len(cues) + 1))
    assert cues[0] == Cue(0.5, 1.5, ["Anna: Hello, Ben."]), "a short caption lasts a second"
    said = " ".join(line for cue in cues for line in cue.lines)
    assert said == f"Anna: Hello, Ben. Ben & <Co>: {LONG} Fine. Anna: Thank <you> & good-bye."
    # The times of the words, not shares of the segment.
    after = next(cue for cue in cues if cue.lines[0].startswith("happy"))
    assert after.start_s == pytest.approx(2.0 + 11 * 0.3, abs=0.001)


def test_vtt_names_voices_and_escapes_markup() -> None:
    content = write(TALK, "vtt", "A <title> --> \n\nNOTE")
    text = content.decode()
    assert text.startswith("WEBVTT - A &lt;title&gt; --&gt; NOTE\n\n")
    voices = re.findall(r"^<v ([^>]*)>", text, re.MULTILINE)
    assert [unescape(voice) for voice in dict.fromkeys(voices)] == ["Anna", "Ben & <Co>"]
    cues = read_cues(content)
    assert len(voices) == len(cues)
    said = " ".join(re.sub(r"^<v [^>]*>", "", line) for cue in cues for line in cue.lines)
    assert "<" not in said and unescape(said) == " ".join(segment.text for segment in TALK.segments)


@pytest.mark.parametrize("named", [True, False])
def test_captions_are_short_and_ordered(named: bool) -> None:
    hour = transcript(*(spoken(LONG, 30.0 * n, f"S{n % 3}", 0.1 + 0.1 * (n % 8)) for n in range(120)))
    found = captions(hour, named)
    assert all(1 <= len(caption.lines) <= LINES for caption in found)
    assert max(len(line) for caption in found for line in caption.lines) <= LINE_WIDTH
    assert all(0 < caption.end_s - caption.start_s <= MAX_DURATION_S + 0.001 for caption in found)
    starts = [caption.start_s for caption in found]
    assert starts == sorted(starts)
    assert all(one.end_s <= other.start_s + 0.001 for one, other in pairwise(found) if one.speaker == other.speaker)


def test_pauses_and_sentences_end_a_caption() -> None:
    pause = Segment(0, 9, "One two three.", 0.9, (Word("One", 0, 1, 1), Word("two", 1, 2, 1), Word("three.", 8, 9, 1)))
    assert captions(transcript(pause), named=True) == [Caption(0, 2, "", ("One two",)), Caption(8, 9, "", ("three.",))]


def test_words_without_times_divide_the_segment() -> None:
    found = captions(transcript(Segment(10, 20, "one two " * 40, 0.5)), named=True)
    assert found[0].start_s == 10 and found[-1].end_s == pytest.approx(20)
    assert found[1].start_s == pytest.approx(10 + 10 * 80 / (40 * 6) * 0.9, abs=1.5)
    # The edited text takes precedence over its old words.
    edited = replace(spoken("five sick", 0.0), text="Five, six!", edited=True)
    assert captions(transcript(edited), named=True)[0].lines == ("Five, six!",)


def test_unspaced_languages_and_very_long_words_are_wrapped() -> None:
    chinese = Segment(0, 12, "你好" * 30, 0.5, tuple(Word("你好", 0.4 * n, 0.4 * n + 0.4, 1.0) for n in range(30)))
    found = captions(transcript(chinese), named=True)
    assert "".join(line for caption in found for line in caption.lines) == "你好" * 30
    assert max(len(line) for caption in found for line in caption.lines) == 20, "each character has two columns"
    endless = captions(transcript(Segment(0, 5, "x" * 200, 1.0)), named=True)
    assert "".join(line for caption in endless for line in caption.lines) == "x" * 200


def test_invalid_times_give_valid_captions() -> None:
    words = (Word("back", 5, 4, 1), Word("in", 3, 2, 1), Word("time", -7, 60, 1))
    later = Segment(3, 3, "at once", 1.0)
    found = captions(transcript(Segment(5, 4, "back in time", 1.0, words), later), named=True)
    assert [caption.start_s for caption in found] == sorted(caption.start_s for caption in found)
    assert all(caption.end_s > caption.start_s >= 0 for caption in found)
    assert clock(3725.4567, ",") == "01:02:05,457" and clock(3725.4) == "1:02:05" and clock(-1, ".") == "00:00:00.000"


def test_an_arrow_in_a_text_is_not_read_as_times() -> None:
    odd = transcript(spoken("a 00:00:01,000 --> 00:00:02,000 b", 0.0), spoken("c", 9.0))
    assert len(read_cues(write(odd, "srt"))) == len(read_cues(write(odd, "vtt"))) == 2


def test_txt_groups_text_by_speaker_with_times() -> None:
    text = write(TALK, "txt", "The talk").decode()
    assert text == (
        f"The talk\n\n[0:00:00] Anna: Hello, Ben.\n\n[0:00:02] Ben & <Co>: {LONG}\n\n"
        "[0:00:20] Ben & <Co>: Fine.\n\n[0:00:23] Anna: Thank <you> & good-bye.\n"
    )
    many = transcript(*(spoken("word " * 30, 10.0 * n) for n in range(12)))
    assert write(many, "txt").decode().count("[") == 2, "one time per minute"


def test_json_contains_the_transcript() -> None:
    assert from_json(json.loads(write(TALK, "json", "unused"))) == TALK


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "＝", "\t=", " \r\n="])
def test_a_cell_is_never_a_formula(start: str) -> None:
    bad = f"{start}cmd|' /C calc'!A0"
    odd = transcript(Segment(1, 2.5, bad, 0.5, speaker="S1"), speakers={"S1": bad})
    rows = list(csv.DictReader(io.StringIO(write(odd, "csv").decode("utf-8-sig"), newline="")))
    assert rows[0]["text"] == rows[0]["speaker"] == f"'{bad.strip()}"
    assert (rows[0]["start_s"], rows[0]["end_s"], rows[0]["confidence"]) == ("1.000", "2.500", "0.500")


def test_csv_has_one_row_per_segment() -> None:
    content = write(transcript(spoken('He said: "no", twice;\nreally', 1.0, "S1"), spoken("x", 9)), "csv")
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert [row["text"] for row in rows] == ['He said: "no", twice; really', "x"]
    assert rows[0]["speaker"] == "S1" and rows[0]["language"] == "en" and rows[0]["edited"] == "0"


def test_docx_contains_names_times_and_texts() -> None:
    from docx import Document

    content = write(replace(TALK, speakers={"S1": "Anna\x00\x0b", "S2": "Ben"}), "docx", "Talk\x07 of\ufffe today")
    document = Document(io.BytesIO(content))
    texts = [paragraph.text for paragraph in document.paragraphs]
    assert texts[0] == "Talk of today" == document.core_properties.title
    assert texts[1] == "Anna 0:00:00\nHello, Ben." and texts[2] == f"Ben 0:00:02\n{LONG}"
    assert document.paragraphs[1].runs[0].bold
    assert zipfile.ZipFile(io.BytesIO(content)).testzip() is None


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "make",
    [
        lambda: transcript(),
        lambda: transcript(Segment(0, 1, "", 0.0), Segment(1, 2, " \n ", 0.0)),
        lambda: transcript(Segment(0, 1, "\x00\x01\x1b[31m\u202egnp.exe \ud83d half \uffff", 1.0, speaker="\x08")),
        lambda: transcript(Segment(0, 1, "a\n\nb", 1.0, (Word("", 0, 0, 0), Word("a\n\nb", 0, 1, 1)))),
    ],
)
def test_every_format_accepts_any_text(name: str, make: Callable[[], Transcript]) -> None:
    content = write(make(), name.upper(), "\x00title\ud800")
    assert isinstance(content, bytes)
    if name not in ("docx", "json"):
        text = content.decode("utf-8")
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\u202e\uffff]", text)
        assert "half" not in text or "gnp.exe half" in text


def test_an_unknown_format_is_rejected_with_a_list() -> None:
    with pytest.raises(HarkError, match="txt, srt, vtt, json, csv, docx"):
        write(TALK, "pdf")
    assert all(" " not in content_type.split(";")[0] for content_type, _ in FORMATS.values())
