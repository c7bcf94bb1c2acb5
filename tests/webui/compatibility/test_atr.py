"""ATR: upload, train on real recordings, interact by text and by voice; and its three tabs."""

from __future__ import annotations

import io
import os
import uuid
from pathlib import Path
from typing import Any

import pytest
import soundfile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from core.events import silent_reporter
from pipeline.jobs import KINDS
from tests.support.earlier_recordings import SAID, Finish, program_of
from tests.support.rendered_pages import flat
from webui.accounts.models import User
from webui.accounts.storage import user_data
from webui.jobs import services as jobs
from webui.jobs.models import Job
from webui.recordings.models import Recording
from webui.recordings.reading import transcripts

pytestmark = pytest.mark.django_db
PAGE = {"Accept": "text/html,application/xhtml+xml"}


def send(program: Client, path: Path, **more: Any) -> Any:
    with path.open("rb") as file:
        return program.post("/upload", {"file": file, **more})


def test_an_upload_becomes_a_recording(program: Client, recording_file: Path) -> None:
    answer = send(program, recording_file)
    (row,) = answer.json()["files"]
    made = Recording.objects.get()
    assert answer.status_code == 200 and row == {"id": str(made.pk), "name": "call.wav", "state": "working"}
    assert made.job.kind == "transcribe" and not (made.path / "given.txt").exists()


def test_an_upload_may_include_its_transcript(program: Client, recording_file: Path) -> None:
    send(program, recording_file, text=" We  ship it. ")
    assert (Recording.objects.get().path / "given.txt").read_text() == "We ship it."
    Recording.objects.all().delete()
    content = recording_file.read_bytes()
    files = [
        SimpleUploadedFile("a.wav", content),
        SimpleUploadedFile("b.wav", content),
        SimpleUploadedFile("b.txt", "Über b.".encode()),
    ]
    assert len(program.post("/upload", {"files": files}).json()["files"]) == 2
    texts = {one.name: (one.path / "given.txt").is_file() for one in Recording.objects.all()}
    assert texts == {"a.wav": False, "b.wav": True}


def test_an_upload_whose_transcript_cannot_be_stored_is_rejected(
    program: Client, recording_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(path: Path, *arguments: Any, **more: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", no_room)
    answer = send(program, recording_file, text="We ship it.")
    assert answer.status_code == 507 and not Recording.objects.exists() and not Job.objects.exists()


def test_invalid_uploads_are_rejected(program: Client, recording_file: Path) -> None:
    text = SimpleUploadedFile("alone.txt", b"nothing to hear")
    assert program.post("/upload", {"files": text}).status_code == 422
    assert program.post("/upload", {"text": "no file"}).status_code == 422
    content = recording_file.read_bytes()
    two = [SimpleUploadedFile("a.wav", content), SimpleUploadedFile("b.wav", content)]
    assert program.post("/upload", {"files": two, "text": "which?"}).status_code == 422
    both = [SimpleUploadedFile("a.wav", content), SimpleUploadedFile("a.txt", b"We ship it.")]
    assert program.post("/upload", {"files": both, "text": "Or this?"}).status_code == 422
    latin = [SimpleUploadedFile("a.wav", content), SimpleUploadedFile("a.txt", "é".encode("latin-1"))]
    assert "UTF-8" in program.post("/upload", {"files": latin}).json()["why"]
    assert not Recording.objects.exists()


def test_files_without_audio_are_rejected_by_name(program: Client, owners: Client, recording_file: Path) -> None:
    def files() -> list[SimpleUploadedFile]:
        return [
            SimpleUploadedFile("a.wav", recording_file.read_bytes()),
            SimpleUploadedFile("b.wav", b"%PDF-1.7 and so on"),
            SimpleUploadedFile("c.wav", recording_file.read_bytes()),
        ]

    said = program.post("/upload", {"files": files()}).json()
    assert [one["name"] for one in said["files"]] == ["a.wav", "c.wav"]
    assert [one["filename"] for one in said["refused"]] == ["b.wav"] and "PDF" in said["refused"][0]["why"]
    page = owners.post("/upload", {"files": files()}, headers=PAGE, follow=True).text
    assert "Rejected: b.wav." in page
    alone = program.post("/upload", {"files": files()[1]})
    assert alone.status_code == 422 and Recording.objects.count() == 4


def test_training_reports_its_progress(program: Client, recording_file: Path, finish: Finish, other: User) -> None:
    idle = program.get("/progress").json()
    assert idle["status"] == "idle"
    assert program.post("/train-real").status_code == 409
    send(program, recording_file)
    uploading = program.get("/progress").json()["uploads"]
    assert [row["name"] for row in uploading] == ["call.wav"]
    finish(Recording.objects.get())
    begun = program.post("/train-real", {"epochs": "3", "batch_size": "8", "subset": "50"})
    assert begun.status_code == 202
    job = Job.objects.get(kind="train-recognizer")
    assert begun.json()["job"] == str(job.id) and job.queue == "training" and job.spec["epochs"] == 3
    assert (job.spec["batch_size"], job.spec["subset"]) == (8, 50)
    for same in ({}, {"epochs": "3"}, {"epochs": "", "subset": "50.0"}):
        assert program.post("/train-real", same).json()["job"] == str(job.id), "one at a time"
    for other_options in ({"epochs": "9"}, {"epochs": "3", "batch_size": "0"}):
        refused = program.post("/train-real", other_options)
        assert refused.status_code == 409 and str(job.id) in refused.json()["why"]
    assert Job.objects.filter(kind="train-recognizer").count() == 1
    Job.objects.filter(pk=job.pk).update(state="running", stage="train", message="Training", done=50, total=200)
    said = program.get("/progress").json()
    assert (said["status"], said["progress"], said["stage"]) == ("running", 56.0, "train") and not said["uploads"]
    assert said["stages"].index("train") > 0 and set(said) == set(idle), "the same fields before the first run"
    assert program_of(other).get("/progress").json()["status"] == "idle"
    result = {"weights": "/srv/x", "segments": 9, "before": 0.5, "after": 0.4}
    Job.objects.filter(pk=job.pk).update(state="done", result=result)
    said = program.get("/progress").json()
    assert said["progress"] == 100.0 and said["result"]["after"] == 0.4 and "/srv" not in str(said)


def test_training_starts_once_plain_uploads_are_transcribed(
    program: Client, recording_file: Path, finish: Finish
) -> None:
    said = program.get("/progress").json()
    assert (said["is_training"], said["trained"], said["last_uploaded"]) == (False, False, None)
    assert (said["artifact"], said["current_stage"]) == (None, "idle")
    for _number in range(2):
        send(program, recording_file)
    assert program.post("/train-real").status_code == 202
    first, second = Recording.objects.all()
    job = Job.objects.get(kind="train-recognizer")
    assert set(job.spec["wait_for"]) == {str(first.job_id), str(second.job_id)}
    jobs.send_waiting()
    assert Job.objects.get(pk=job.pk).sent_at is None, "the transcripts to train on are not ready"
    seen = []

    def look() -> dict[str, Any]:
        said: dict[str, Any] = program.get("/progress").json()
        seen.append(said["progress"])
        return said

    assert look()["is_training"] and look()["last_uploaded"] == "call.wav"
    for stage, done in (("normalize", 0), ("transcribe", 1), ("speakers", 0), ("speakers", 2), ("summarize", 0)):
        Job.objects.filter(pk=first.job_id).update(state="running", stage=stage, done=done, total=2.0)
        assert look()["current_stage"] == "transcribe"
    finish(first)
    finish(second)
    jobs.send_waiting()
    assert Job.objects.get(pk=job.pk).sent_at is not None
    look()
    for stage, done in (("collect", 0), ("synthesize", 10), ("synthesize", 20), ("measure", 0), ("train", 1)):
        Job.objects.filter(pk=job.pk).update(state="running", stage=stage, done=done, total=40)
        assert look()["current_stage"] == stage
    assert seen == sorted(seen) and len(set(seen)) >= 9 and seen[3] > 0 and seen[-1] < 100
    Job.objects.filter(pk=job.pk).update(state="done", result={"steps": 9, "better": True})
    weights = user_data(job.user) / "asr" / "own" / "own-1.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"")
    said = look()
    assert (said["is_training"], said["trained"], said["current_stage"]) == (False, True, "done")
    assert said["artifact"] == "own-1.safetensors" and said["progress"] == 100.0


def test_a_failed_transcription_does_not_block_training(program: Client, recording_file: Path) -> None:
    send(program, recording_file)
    program.post("/train-real")
    Job.objects.filter(kind="transcribe").update(state="failed")
    jobs.send_waiting()
    assert Job.objects.get(kind="train-recognizer").sent_at is not None


def test_unchecked_transcripts_are_not_trained_on(
    program: Client, owners: Client, recording_file: Path, finish: Finish
) -> None:
    send(program, recording_file)
    refused = program.post("/train-real", {"all": "1"})
    assert refused.status_code == 422 and "wrote itself" in refused.json()["why"]
    assert "you can then ask about them" in program.post("/train-real").json()["message"]
    finish(Recording.objects.get())
    job = Job.objects.get(kind="train-recognizer")
    result = KINDS["train-recognizer"].run(job.spec, user_data(job.user), silent_reporter())
    Job.objects.filter(pk=job.pk).update(state="done", result=result)
    said = program.get("/progress").json()
    assert (said["is_training"], said["trained"], said["progress"]) == (False, False, 100.0)
    assert said["message"].startswith("You can now ask about your recordings. The recognizer was not trained:")
    assert "was not trained" in owners.get("/workspace/training").text


def test_progress_says_which_engine_transcribes_after_a_training_run(
    program: Client, recording_file: Path, finish: Finish, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(program, recording_file)
    finish(Recording.objects.get())
    program.post("/train-real")
    for better, moonshine, said in (
        (False, True, "was discarded"), (True, True, "otherwise Hark uses moonshine"), (True, False, "now transcribes"),
    ):  # fmt: skip
        Job.objects.filter(kind="train-recognizer").update(state="done", result={"steps": 9, "better": better})
        if not moonshine:
            monkeypatch.setattr("pipeline.recordings.transcription.moonshine_engine.find_spec", lambda name: None)
        answer = program.get("/progress").json()
        assert answer["trained"] and said in answer["message"]


def test_the_question_can_be_recorded_on_the_page(owners: Client) -> None:
    page = owners.get("/workspace/interact").text
    assert "data-ask" in page and "data-stop=" in page and ">Record</button>" in page
    assert "microphone.js" in page and "audio-ask.js" in page and "data-spoken-question" in page


@pytest.mark.parametrize("epochs", ["0", "51", "x", "-1"])
def test_an_invalid_number_of_epochs_gets_422(program: Client, epochs: str) -> None:
    assert program.post("/train-real", {"epochs": epochs}).status_code == 422


def test_a_typed_question_is_answered_and_spoken(program: Client, recording_file: Path, finish: Finish) -> None:
    send(program, recording_file)
    finish(Recording.objects.get())
    ask = {"text": "When do we ship the compass?"}
    said = program.post("/interact", ask, content_type="application/json").json()
    assert said["found"] and SAID[0] in said["reply"] and said["citations"][0]["start_s"] == 0.5
    answer = program.get(said["audio_url"])
    assert answer["Content-Type"] == "audio/wav"
    assert soundfile.info(io.BytesIO(answer.getvalue())).duration > 0.5


def test_a_recorded_question_is_answered(program: Client, recording_file: Path, finish: Finish, asked: Any) -> None:
    send(program, recording_file)
    finish(Recording.objects.get())
    with recording_file.open("rb") as audio:
        said = program.post("/interact", {"audio": audio}).json()
    assert said["question"] == " ".join(SAID) and said["found"] and said["audio_url"]
    assert Recording.objects.count() == 1, "the question is not stored"


def test_finding_nothing_in_the_recordings_is_a_valid_answer(program: Client) -> None:
    said = program.post("/interact", {"text": "Who painted the elephant?"}).json()
    assert not said["found"] and said["reply"] == "No passage was found with the words of this question."
    assert said["audio_url"] and said["citations"] == said["nearest"] == []


def test_an_answer_without_a_voice_is_returned_as_text(program: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webui.speech.voice_for", lambda user, language: None)
    said = program.post("/interact", {"text": "Who painted it?"}).json()
    assert said["reply"] and said["audio_url"] is None and said["audio_problem"]["what_to_do"]


def test_invalid_questions_get_422(program: Client, recording_file: Path, asked: Any) -> None:
    spoken = SimpleUploadedFile("a.wav", recording_file.read_bytes())
    several = {"text": "Who?", "audio": spoken}, {"text": "Who?", "message": "When?"}
    for payload in ({}, {"text": "  "}, {"text": "word " * 10_000}, *several):
        assert program.post("/interact", payload).status_code == 422
    body = '{"text": ["a"]}'
    assert program.post("/interact", body, content_type="application/json").status_code == 422


def test_spoken_answers_are_private_and_expire_after_an_hour(program: Client, other: User, portal: Path) -> None:
    place = program.post("/interact", {"text": "Who painted it?"}).json()["audio_url"]
    assert program_of(other).get(place).status_code == 404 and Client().get(place).status_code == 401
    assert program.get(f"/interact/{uuid.uuid4()}.wav").status_code == 404
    assert program.get(place).status_code == 200
    (reply,) = portal.rglob("replies/*.wav")
    os.utime(reply, (1, 1))
    assert program.get(place).status_code == 404
    program.post("/interact", {"text": "Who painted it?"})
    assert not reply.exists() and len(list(portal.rglob("replies/*.wav"))) == 1


def test_each_tab_shows_its_page(owners: Client, owner: User, recording_file: Path, finish: Finish) -> None:
    for address in ("/workspace", "/workspace/training", "/workspace/interact"):
        page = owners.get(address)
        assert page.status_code == 200
        for name in ("Upload", "Training", "Interact"):
            assert f">{name}</a>" in flat(page)
    with recording_file.open("rb") as file:
        assert owners.post("/upload", {"files": file}, headers=PAGE)["Location"] == "/workspace"
    assert "call.wav" in flat(owners.get("/workspace"))
    finish(transcripts.recordings_of(owner).get())
    assert owners.post("/train-real", {"epochs": "1"}, headers=PAGE)["Location"] == "/workspace/training"
    Job.objects.filter(kind="train-recognizer").update(state="running", stage="train", done=1, total=4)
    page = flat(owners.get("/workspace/training"))
    assert 'value="56.0"' in page and 'hx-trigger="every 2s"' in page
    page = flat(owners.post("/interact", {"text": "When do we ship the compass?"}, headers=PAGE))
    assert SAID[0] in page and '<audio controls src="/interact/' in page


def test_errors_are_pages_for_browsers_and_json_for_programs(owners: Client) -> None:
    page = owners.post("/upload", {"text": "no file"}, headers=PAGE)
    assert page.status_code == 422 and page["Content-Type"].startswith("text/html")
    assert 'role="alert"' in page.text
    assert owners.post("/upload", {"text": "no file"}).json()["status"] == 422
    assert owners.post("/progress", headers=PAGE)["Allow"] == "GET, HEAD"
    visitor = Client().get("/progress", headers=PAGE)
    assert visitor.status_code == 401 and visitor["WWW-Authenticate"] and b"role=" in visitor.content


@pytest.mark.parametrize(
    ("address", "tab"),
    [("/upload", "/workspace"), ("/train-real", "/workspace/training"), ("/interact", "/workspace/interact")],
)
def test_opening_a_form_url_redirects_to_its_tab(owners: Client, address: str, tab: str) -> None:
    answer = owners.get(address, headers=PAGE)
    assert answer.status_code == 302 and answer["Location"] == tab
    assert owners.get(address).status_code == 405


def test_tabs_link_to_the_recordings(owners: Client, owner: User, recording_file: Path, finish: Finish) -> None:
    with recording_file.open("rb") as file:
        owners.post("/upload", {"files": file}, headers=PAGE)
    made = transcripts.recordings_of(owner).get()
    finish(made)
    assert f'<a href="/recordings/{made.pk}">call.wav</a>' in flat(owners.get("/workspace"))
    page = flat(owners.post("/interact", {"text": "When do we ship the compass?"}, headers=PAGE))
    assert f'<a href="/recordings/{made.pk}#t=0.500">call.wav</a>' in page
    assert 'href="/workspace"' in flat(owners.get("/recordings/"))
