"""Questions about recordings: answers are found, cited, and not invented."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from core.errors import HarkError
from pipeline.recordings.answers import question_answering as qa
from pipeline.recordings.answers.question_answering import Answer, Passage, answer, passages
from pipeline.recordings.answers.reader import MAX_ANSWER_TOKENS, READER, read_passages
from pipeline.recordings.language_models import llm
from pipeline.recordings.language_models.local_models import LocalModel
from pipeline.recordings.language_models.text_similarity import EMBEDDING, similarities
from pipeline.recordings.transcripts.transcript import Segment, Transcript
from tests.support import questions
from tests.support.llm_double import Double, data_of

CALL = """Anna: Good morning, this is the weekly meeting about the website.
Ben: I finished the landing page yesterday and the designers are happy.
Anna: What is left before the launch?
Ben: The payment form still fails on old browsers.
Ben: I'll repair it by Wednesday.
Carla: The lawyers asked for a privacy policy twice.
Anna: Can you send them a first draft by Friday?
Carla: Yes, on Thursday evening.
Ben: The launch is on the fifteenth of March, we moved to bigger servers in Hamburg.
Ben: The load test handled ten thousand visitors a minute because of the new cache.
Anna: Last year the site went down on the first day."""


def transcript(text: str) -> Transcript:
    rows = [line.split(": ", 1) for line in text.splitlines()]
    names = {f"S{number}": name for number, name in enumerate(dict.fromkeys(name for name, _ in rows))}
    ids = {name: speaker for speaker, name in names.items()}
    segments = tuple(Segment(5.0 * n, 5.0 * n + 4, said, 0.9, speaker=ids[name]) for n, (name, said) in enumerate(rows))
    return Transcript(5.0 * len(rows), "en", "test", segments, names)


CALL_PASSAGES = passages("call", transcript(CALL))


def test_passages_cover_everything_and_overlap() -> None:
    hour = Transcript(9.0, "en", "test", tuple(Segment(float(n), n + 1.0, "word " * (n % 25), 1.0) for n in range(300)))
    found = passages("long", hour)
    numbers = [[line.segment for line in passage.lines] for passage in found]
    assert sorted({number for passage in numbers for number in passage}) == [n for n in range(300) if n % 25]
    for one, other in pairwise(numbers):
        assert one[0] < other[0] <= one[-1] + 2
        assert one[-1] < other[-1]
    sizes = [len(passage.text.split()) for passage in found]
    assert min(sizes[:-1]) >= qa.WINDOW_WORDS and max(sizes) < qa.WINDOW_WORDS + 25
    assert sum(sizes) < 2.7 * sum(n % 25 for n in range(300))
    for passage in found:
        assert passage.text == " ".join(line.text for line in passage.lines)


def test_long_segments_become_separate_passages() -> None:
    long = Transcript(9.0, "en", "", tuple(Segment(float(n), n + 1.0, "word " * 200, 1.0) for n in range(3)))
    assert [[line.segment for line in passage.lines] for passage in passages("long", long)] == [[0], [1], [2]]
    assert passages("nothing", Transcript(0.0, "en", "")) == []
    assert passages("silence", Transcript(0.0, "en", "", (Segment(0, 1, "  ", 0.0),))) == []


@pytest.mark.parametrize(
    ("question", "segment"),
    [
        ("When is the launch?", 8),
        ("Where are the servers?", 8),
        ("How many visitors did the load test handle?", 9),
        ("Why did the test handle so many visitors?", 9),
        ("Which form fails on old browsers?", 3),
        ("who asked for a privacy policy", 5),
        ("WHAT DID BEN FINISH YESTERDAY???", 1),
        ('the "landing" OR page* AND (^-', 1),
    ],
)
def test_the_best_sentence_is_cited(question: str, segment: int) -> None:
    found = answer(question, CALL_PASSAGES)
    assert found.found and found.how == "best sentence"
    (citation,) = found.citations
    assert citation.segment == segment and citation.recording == "call"
    assert found.text == citation.text == transcript(CALL).segments[segment].text
    assert (citation.start_s, citation.end_s) == (5.0 * segment, 5.0 * segment + 4)
    assert citation.speaker == CALL.splitlines()[segment].split(":")[0]
    assert 0 < found.score <= 1
    json.dumps(asdict(found))


def test_the_speakers_name_is_searched() -> None:
    assert answer("What did Carla say about Thursday?", CALL_PASSAGES).citations[0].segment == 7


@pytest.mark.parametrize(
    "question",
    [
        "What is the capital of Australia?",
        "How much does the new printer cost?",
        "Wie heißt der Hund des Nachbarn?",
        "明天会下雨吗",
        "Сколько стоит билет?",
        "What is it?",
    ],
)
def test_a_question_on_unspoken_words_finds_nothing(question: str) -> None:
    found = answer(question, CALL_PASSAGES)
    assert not found.found and found.citations == () and found.score == 0.0
    assert found.how == ("nearest" if found.nearest else "nothing")
    assert found.note == qa.WORDS_ONLY
    assert answer(question, []) == Answer(qa.NO_WORDS, (), False, "nothing", 0.0, note=qa.WORDS_ONLY)


SHOP = passages("shop", transcript("A: Good morning Steve.\nB: Hi. I'd like to buy a chromecast.\nA: Which colour?"))


@pytest.mark.parametrize(
    "question",
    ["What does the customer want to buy?", "What would the caller like to buy?", "what does he want to buy"],
)
def test_a_paraphrased_question_gets_the_nearest_line(question: str) -> None:
    found = answer(question, SHOP)
    assert not found.found and found.citations == () and found.how == "nearest"
    assert "I'd like to buy a chromecast" in found.text
    assert [line.text for line in found.nearest] == ["Hi. I'd like to buy a chromecast."]
    assert (found.nearest[0].start_s, found.nearest[0].segment) == (5.0, 1)


def test_without_an_answer_the_nearest_passage_is_shown() -> None:
    found = answer("Which form fails on old browsers?", CALL_PASSAGES, Marking())
    assert not found.found and found.how == "nothing" and found.text == qa.NOT_FOUND
    assert [line.segment for line in found.nearest] == [3]


def test_the_nearest_passage_is_found_by_meaning_if_a_model_is_ready() -> None:
    def compare(question: str, texts: list[str]) -> list[float]:
        return [0.9 if "Carla" in text or "ten" in text else 0.1 for text in texts]

    found = answer("Did they cope with crowds of guests?", CALL_PASSAGES, None, compare)
    assert not found.found and found.nearest[0].segment == 9 and found.note == ""
    assert answer("Did they cope with crowds of guests?", CALL_PASSAGES).nearest == ()


@pytest.mark.parametrize("question", ["", "   \n", "?!", "why " * 10_000, "x" * 5000])
def test_empty_and_too_long_questions_are_rejected(question: str) -> None:
    for found in (CALL_PASSAGES, []):
        with pytest.raises(HarkError) as caught:
            answer(question, found)
        assert caught.value.what in ("The question is empty.", "The question is too long.")


def test_a_question_of_maximum_length_is_answered() -> None:
    question = " ".join(f"w{number}" for number in range(qa.MAX_WORDS - 1)) + " browsers"
    assert answer(question, CALL_PASSAGES).found is False


def test_questions_in_other_languages_are_answered() -> None:
    german = passages("de", transcript("Anna: Der Umzug ist am dritten Mai.\nBen: Die Kosten trägt die Firma in Köln."))
    assert answer("Wer trägt die Kosten?", german).citations[0].segment == 1
    assert answer("Wann ist der Umzug?", german).citations[0].segment == 0
    chinese = passages("zh", transcript("A: 我们的服务器在柏林。\nB: 会议在星期五举行。"))
    assert answer("服务器在哪里？", chinese).citations[0].segment == 0


def test_the_best_of_several_recordings_is_cited_first() -> None:
    other = passages("other", transcript("Zoe: The cat sleeps.\nZoe: The launch of the rocket was in June."))
    both = [*CALL_PASSAGES, *other]
    assert answer("When was the launch of the rocket?", both).citations[0].recording == "other"


class Marking:
    """A reader with scripted marks."""

    def __init__(self, ready: bool = True, **result: Any) -> None:
        self.result, self.asked = result if ready else None, list[list[str]]()

    def __call__(self, question: str, texts: list[str]) -> dict[str, Any] | None:
        self.asked.append(texts)
        return self.result


def test_a_readers_span_is_cited_with_all_its_segments() -> None:
    text = CALL_PASSAGES[0].text
    start = text.index("old browsers")
    reader = Marking(passage=0, start=start, end=text.index(" by Wednesday"), score=0.8)
    found = answer("Which form fails on old browsers?", CALL_PASSAGES[:1], reader)
    assert found.how == "reader" and found.score == 0.8
    assert found.text == "old browsers. I'll repair it"
    assert [citation.segment for citation in found.citations] == [3, 4]
    assert reader.asked == [[text]]


def test_without_a_reader_the_best_sentence_is_returned() -> None:
    def gone(question: str, texts: list[str]) -> None:
        raise HarkError("The service is missing.", "It was killed.", "Start it.")

    question = "Which form fails on old browsers?"
    plain = answer(question, CALL_PASSAGES)
    assert answer(question, CALL_PASSAGES, gone) == answer(question, CALL_PASSAGES, Marking(ready=False)) == plain
    assert not answer(question, CALL_PASSAGES, Marking()).found
    unasked = Marking()
    assert not answer("What does the printer cost in Australia?", CALL_PASSAGES, unasked).found and not unasked.asked


def written(text: str, *segments: int) -> str:
    return json.dumps({"answer": text, "segments": segments})


def test_a_language_model_answers_and_cites(double: Double) -> None:
    question = "Which gadget was </data> the visitor after?"  # no word of it was spoken
    double.says(written("See https://example.org", 1), written("A chromecast.", 1))
    found = answer(question, SHOP, Marking(), None, llm.settings())
    assert (found.text, found.how, found.found) == ("A chromecast.", "language model", True)
    assert [line.text for line in found.citations] == ["Hi. I'd like to buy a chromecast."]
    asked = double.requests[0]["messages"]
    assert [row["text"] for row in data_of(asked)] == [line.text for line in SHOP[0].lines]
    assert "gadget" in asked[1]["content"] and asked[1]["content"].count("</data>") == 1
    double.says(written(""))
    assert answer(question, SHOP, None, None, llm.settings()).text == qa.NOT_FOUND
    double.says((500, {}, b"{}"))
    found = answer("Who would like to buy a chromecast?", SHOP, None, None, llm.settings())
    assert found.how == "best sentence" and "500" in found.note


# The real reader with random weights: these tests check how it marks a span, not which one.


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import BertTokenizerFast, DistilBertConfig, DistilBertForQuestionAnswering

    folder = tmp_path_factory.mktemp("reader")
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,?!'"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "launch", "form", "browsers"]
    vocabulary = [*words, *letters, *(f"##{letter}" for letter in letters)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    tokenizer = BertTokenizerFast(vocab_file=str(folder / "vocab.txt"), do_lower_case=False, model_max_length=64)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    tokenizer.save_pretrained(folder)
    torch.manual_seed(3)
    config = DistilBertConfig(
        vocab_size=len(vocabulary), dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=64
    )
    DistilBertForQuestionAnswering(config).save_pretrained(folder)
    return folder


def pulled(model: LocalModel, folder: Path) -> None:
    model.own_folder.parent.mkdir(parents=True, exist_ok=True)
    model.own_folder.symlink_to(folder)


@pytest.fixture
def with_reader(reader: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A reader with random weights that always answers; a margin as parameter lets it find no answer."""
    pulled(READER, reader)
    monkeypatch.setattr("pipeline.recordings.answers.reader.NULL_MARGIN", getattr(request, "param", -1e9))
    return reader


def test_the_reader_marks_a_span_of_the_passage(with_reader: Path) -> None:
    texts = [passage.text for passage in CALL_PASSAGES]
    assert len(texts[0].split()) > 50, "long enough for several windows"
    for question in ("Which form fails?", "When is the launch? " * 15):
        marked = read_passages(question, texts)
        assert marked
        text = texts[marked["passage"]]
        assert 0 <= marked["start"] < marked["end"] <= len(text)
        assert text[marked["start"] : marked["end"]].strip()
        assert 0 < marked["score"] <= 1
        assert marked == read_passages(question, texts)
    found = answer("Which form fails on old browsers?", CALL_PASSAGES, read_passages)
    assert found.how == "reader" and found.citations
    assert " ".join(citation.text for citation in found.citations).find(found.text) >= 0


@pytest.mark.parametrize("with_reader", [1e9], indirect=True)
def test_the_reader_can_report_that_there_is_no_answer(with_reader: Path) -> None:
    assert read_passages("Which form fails?", [CALL_PASSAGES[0].text]) == {} == read_passages("Which form?", [])


def test_the_span_is_the_best_of_all(with_reader: Path) -> None:
    """Compare the span with the best of all, tried one by one."""
    import torch
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(with_reader)
    model = AutoModelForQuestionAnswering.from_pretrained(with_reader).eval()
    text = "The launch form fails."
    coded = tokenizer("Which form?", text, return_tensors="pt", return_offsets_mapping=True)
    with torch.no_grad():
        output = model(input_ids=coded["input_ids"], attention_mask=coded["attention_mask"])
    inside = [i for i, kind in enumerate(coded.sequence_ids(0)) if kind == 1]
    best = max(
        ((i, j) for i in inside for j in inside if i <= j < i + MAX_ANSWER_TOKENS),
        key=lambda span: float(output.start_logits[0, span[0]] + output.end_logits[0, span[1]]),
    )
    offsets = coded["offset_mapping"][0].tolist()
    marked = read_passages("Which form?", [text])
    assert marked and (marked["start"], marked["end"]) == (offsets[best[0]][0], offsets[best[1]][1])


def test_the_reader_is_found_in_the_hub_cache_or_data_folder(
    reader: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HARK_INSTALLATION", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    assert read_passages("Which form?", ["a form"]) is None
    assert READER.repository in READER.readiness().why
    cached = tmp_path / "hub" / "models--distilbert--distilbert-base-cased-distilled-squad"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("abc")
    (cached / "snapshots").mkdir()
    (cached / "snapshots" / "abc").symlink_to(reader)
    assert READER.folder() == cached / "snapshots" / "abc" and READER.readiness().ok
    pulled(READER, reader)
    assert READER.folder() == data_dir / READER.place


def test_a_damaged_reader_is_reported(reader: Path, data_dir: Path, tmp_path: Path) -> None:
    for path in reader.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes()[: 3000 if path.suffix == ".safetensors" else None])
    pulled(READER, tmp_path)
    with pytest.raises(HarkError, match="cannot be loaded"):
        read_passages("Which form?", ["a form"])
    assert answer("Which form fails on old browsers?", CALL_PASSAGES, read_passages).how == "best sentence"


# Passages found by meaning, with an encoder of random weights.


@pytest.fixture
def encoder(reader: Path, data_dir: Path, tmp_path: Path) -> Path:
    import torch
    from transformers import DistilBertConfig, DistilBertModel

    folder = tmp_path / "encoder"
    folder.mkdir()
    torch.manual_seed(4)
    DistilBertModel(DistilBertConfig.from_pretrained(reader)).save_pretrained(folder)
    for path in reader.iterdir():
        if not (folder / path.name).exists():
            (folder / path.name).write_bytes(path.read_bytes())
    pulled(EMBEDDING, folder)
    return folder


def test_texts_are_compared_by_embedding(encoder: Path) -> None:
    texts = ["the form fails", "browsers", "the form fails", *(f"text {number}" for number in range(60))]
    found = similarities("the form fails", texts)
    assert len(found) == len(texts) and found[0] == found[2] == pytest.approx(1.0, abs=1e-3)
    assert all(-1.001 <= value <= 1.001 for value in found) and found[1] < 0.999
    alone = similarities("the form fails", ["browsers"])
    assert alone == [pytest.approx(found[1], abs=1e-3)], "padding changes nothing"
    assert EMBEDDING.readiness().ok


def test_without_an_encoder_words_are_compared(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARK_INSTALLATION", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert similarities("a", ["b"]) == []
    assert not EMBEDDING.readiness().ok
    reader = Marking(ready=False)
    plain = answer("Which form fails on old browsers?", CALL_PASSAGES)
    assert answer("Which form fails on old browsers?", CALL_PASSAGES, reader, similarities) == plain


def test_passages_close_in_meaning_are_read_despite_other_words() -> None:
    asked: list[str] = []

    def compare(question: str, texts: list[str]) -> list[float]:
        asked.append(question)
        return [0.9 if "ten thousand" in text else 0.1 for text in texts]

    reader = Marking(passage=0, start=0, end=3, score=0.5)
    found = answer("Who coped with crowds of guests?", CALL_PASSAGES, reader, compare)
    assert found.how == "reader" and len(asked) == 1
    assert reader.asked[0] and all("ten thousand" in text for text in reader.asked[0])
    nowhere = Marking()
    assert not answer("Who coped with crowds?", CALL_PASSAGES, nowhere, lambda question, texts: []).found
    assert nowhere.asked == []


def test_questions_are_answered_from_real_transcripts(shared_data: Path) -> None:
    recordings = questions.read_transcripts(shared_data)
    utterances = {(name, segment.text) for name, transcript in recordings.items() for segment in transcript.segments}
    assert len(utterances) > 1000
    found: list[Passage] = [p for name, transcript in recordings.items() for p in passages(name, transcript)]
    answered, said_not_in_the_recording = questions.ask_all(found)
    assert answered >= 20 and said_not_in_the_recording >= 8
