"""Pages in a real browser, on a test's own data: fit on a phone, the reader's clock, the page of a job."""

from __future__ import annotations

import json
import re
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from core.audio_file import SAMPLE_RATE, read_audio, write_audio
from tests.support.detector_versions import RATES, address
from tests.support.portal_driver import comes_true
from tests.support.ready_recordings import SAID, ready_recording, transcript_of_words
from tests.support.rendered_pages import ADDRESS, in_chromium
from webui.accounts.models import User
from webui.jobs.models import Job, JobEvent
from webui.recordings.editing.speaker_changes import detect_speakers_again
from webui.recordings.models import Recording
from webui.trainer.models import Version

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route, WebSocketRoute


PHONE = {"width": 390, "height": 844}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_recordings_waveform_is_visible_in_both_themes(owners: Client, owner: User, theme: str) -> None:
    recording = ready_recording(owner)
    path = reverse("recordings:recording", args=[recording.pk])
    with open_recording(owners, recording, color_scheme=theme) as page:
        page.route(
            f"**{reverse('recordings:waveform', args=[recording.pk])}",
            lambda route: route.fulfill(json={"peaks": [0.5] * 90}),
        )
        with page.expect_response("**/waveform"):
            page.goto(ADDRESS + path)
        levels = """() => {
          const canvas = document.querySelector("canvas"), pixels = canvas.getContext("2d");
          const [red, green, blue, seen] = pixels.getImageData(canvas.width - 4, canvas.height / 2, 1, 1).data;
          return seen ? (red + green + blue) / 3 : null;
        }"""
        comes_true(page, f"({levels})() !== null")
        assert (page.evaluate(levels) > 128) == (theme == "dark")


def open_recording(client: Client, recording: Recording, **options: Any) -> AbstractContextManager[Page]:
    """Open the page of a recording with its words and audio."""
    path = reverse("recordings:recording", args=[recording.pk])
    paths = {path + rest: path + rest for rest in ("", "/words", "/waveform", "/audio")}
    return in_chromium(client, paths, **options)


def test_an_unrecognized_passage_has_a_placeholder_that_is_not_text(owners: Client, owner: User) -> None:
    spoken = transcript_of_words()
    first, *rest = spoken.segments
    recording = ready_recording(owner, transcript=replace(spoken, segments=(replace(first, text="", words=()), *rest)))
    with open_recording(owners, recording) as page:
        page.goto(ADDRESS + reverse("recordings:recording", args=[recording.pk]))
        page.locator(".word").first.wait_for()  # the words have been loaded
        shown = "getComputedStyle(document.querySelector('#passage-0 [data-words]'), '::before').content"
        assert page.evaluate(shown) == '"[not recognized]"'
        assert page.locator("#passage-0 [data-words]").text_content() == ""
        page.get_by_role("button", name="Correct the passage at 0:00:00").click()
        assert page.get_by_label("Text of the passage").input_value() == ""


def test_a_conflict_in_a_passage_does_not_permit_overwriting_others(owners: Client, owner: User) -> None:
    recording = ready_recording(owner)
    conflict = {"what": "It has changed.", "version": 5, "text": "We meet on the pier"}
    saved = {"version": 6, "segment": {"text": "We meet", "words": []}, "elsewhere": None}
    sent: list[tuple[str, str]] = []

    def answer(route: Route) -> None:
        form = parse_qs(route.request.post_data or "")
        sent.append((form["start"][0], form["version"][0]))
        done = sent[-1] == ("0.000", "5")
        route.fulfill(status=200 if done else 409, json=saved if done else conflict)

    with open_recording(owners, recording) as page:
        page.goto(ADDRESS + reverse("recordings:recording", args=[recording.pk]))
        page.route("**/segments/*", answer)
        for time_s in (0, 1):
            page.get_by_role("button", name=f"Correct the passage at 0:00:0{time_s}").click()
            box = page.locator(".passage").nth(time_s)
            box.get_by_role("button", name="Save").click()
            box.get_by_text("It has changed.").wait_for()
        with page.expect_navigation():  # shows the other changes
            page.locator(".passage").first.get_by_role("button", name="Save").click()
    assert sent == [("0.000", "1"), ("1.000", "1"), ("0.000", "5")]


def test_the_export_menu_fits_a_phone(owners: Client, owner: User) -> None:
    recording = ready_recording(owner)
    with open_recording(owners, recording, viewport=PHONE) as page:
        page.goto(ADDRESS + reverse("recordings:recording", args=[recording.pk]))
        page.locator("summary", has_text="Export").click()
        menu = page.locator("details.menu[open] ul").bounding_box()
        assert menu and menu["x"] >= 0 and menu["x"] + menu["width"] <= PHONE["width"]
        assert menu["y"] >= 0 and menu["y"] + menu["height"] <= PHONE["height"]


def test_a_recordings_page_has_two_columns_and_a_sticky_player(owners: Client, owner: User) -> None:
    said = tuple((speaker, text, sure) for _ in range(20) for speaker, text, sure in SAID)
    recording = ready_recording(owner, transcript=transcript_of_words(said))
    with open_recording(owners, recording, viewport={"width": 1280, "height": 800}) as page:
        page.goto(ADDRESS + reverse("recordings:recording", args=[recording.pk]))
        page.locator(".word").first.wait_for()
        passages, summary = page.locator(".passages").bounding_box(), page.locator("#summary").bounding_box()
        assert passages and summary and passages["x"] + passages["width"] < summary["x"]
        assert [tab.inner_text() for tab in page.get_by_role("tab").all() if tab.is_visible()] == [
            "Summary", "Ask", "Speakers", "Share", "More",
        ]  # fmt: skip
        page.get_by_role("tab", name="Share").click()
        assert page.locator("#sharing").is_visible() and not page.locator("#summary").is_visible()
        assert page.locator(".passages").is_visible()

        # the bar stays; the space bar plays and pauses, 5 s back, speed
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        bar = page.locator(".dock").bounding_box()
        assert bar and abs(bar["y"] + bar["height"] - 800) < 1
        sound = "document.querySelector('[data-player]')"
        page.locator(".word[data-start='20']").click()
        comes_true(page, f"!{sound}.paused && {sound}.currentTime >= 20")
        page.keyboard.press("Space")
        comes_true(page, f"{sound}.paused")
        at = page.evaluate(f"{sound}.currentTime")
        page.get_by_role("button", name="5 seconds back").click()
        comes_true(page, f"Math.abs({sound}.currentTime - {at - 5}) < 0.1")
        page.get_by_label("Speed").select_option("1.5")
        assert page.evaluate(f"{sound}.playbackRate") == 1.5
        page.get_by_role("button", name="Play", exact=True).click()
        comes_true(page, f"!{sound}.paused")
        page.get_by_role("button", name="Pause").click()
        comes_true(page, f"{sound}.paused")

        # the space bar writes a space where one types
        page.get_by_label("Find in this transcript").press_sequentially("the map")
        assert page.get_by_label("Find in this transcript").input_value() == "the map"
        assert page.evaluate(f"{sound}.paused")

        # a click on a name changes it everywhere
        sent: list[str] = []

        def rename(route: Route) -> None:
            sent.append(route.request.post_data or "")
            route.fulfill(json={"names": {"S1": "Anna"}, "shown": {"S1": "Anna"}})

        page.route("**/speakers", rename)
        page.get_by_role("button", name="S1", exact=True).first.click()
        page.get_by_label("Name of the speaker").fill("Anna")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Anna", exact=True).first.wait_for()
        assert sent == ["speaker=S1&name=Anna&version=1"]
        assert page.get_by_role("button", name="S1", exact=True).count() == 0
        assert "Anna 0:00:00" in " ".join((page.locator("#summary .cite").first.text_content() or "").split())

        # a word that was corrected is offered for the other passages
        offered = {"heard": "harbour", "said": "Hafen", "told": "“harbour” also stands there."}
        corrected = {"version": 7, "segment": {"text": "We meet in the Hafen", "words": []}, "elsewhere": offered}
        page.route("**/segments/0", lambda route: route.fulfill(json=corrected))
        said = "<p class=notice>The last change was undone.</p>"
        page.locator("#said").evaluate("(node, said) => node.insertAdjacentHTML('afterbegin', said)", said)
        page.get_by_role("button", name="Correct the passage at 0:00:00").click()
        page.get_by_label("Text of the passage").fill("We meet in the Hafen")
        page.keyboard.press("Control+Enter")
        offer = page.locator(".passage").first.locator("[data-elsewhere]")
        offer.get_by_text(offered["told"]).wait_for()
        assert page.locator(".notice").count() == 0  # that was another change
        sends = offer.evaluate("form => Object.fromEntries(new FormData(form))")
        assert sends.items() >= {"heard": "harbour", "said": "Hafen", "besides": "0", "version": "7"}.items()
        assert page.locator("[data-offered]").text_content() == offered["told"]

        # who speaks is asked above the player, and Escape closes it
        form = "<form>" + "<label class=check><input type=radio name=speaker>Anna</label>" * 9 + "</form>"
        page.route("**/segments/*/speaker", lambda route: route.fulfill(body=form, content_type="text/html"))
        asked = page.locator(".passage").nth(9).locator(".acts details")
        asked.evaluate("node => node.scrollIntoView({ block: 'end' })")
        asked.locator("summary").evaluate("node => node.click()")
        asked.locator("input").last.wait_for()
        below = "document.querySelector('.acts details[open]').getBoundingClientRect().bottom"
        comes_true(page, f"{below} <= document.querySelector('.dock').getBoundingClientRect().top + 1")
        asked.locator("input").first.focus()
        page.keyboard.press("Escape")
        assert asked.get_attribute("open") is None

        page.set_viewport_size(PHONE)
        first = page.get_by_role("tab", name="Transcript")
        assert first.is_visible()
        first.click()
        assert page.locator(".passages").is_visible() and not page.locator("#sharing").is_visible()
    with open_recording(owners, recording, java_script_enabled=False) as page:
        page.goto(ADDRESS + reverse("recordings:recording", args=[recording.pk]))
        for part in (".passages", "#summary", "#ask", "#who-speaks", "#sharing", "audio"):
            assert page.locator(part).is_visible(), part
        assert not page.locator(".controls").is_visible()


def test_changes_by_a_job_appear_and_the_tab_stays_open(owners: Client, owner: User) -> None:
    recording = ready_recording(owner)
    job = detect_speakers_again(recording=recording, speakers=2)
    over = '<p role="status">The job is done.</p>'
    with open_recording(owners, recording, viewport={"width": 1280, "height": 800}) as page:
        page.goto(ADDRESS + reverse("recordings:recording", args=[recording.pk]))
        page.get_by_role("tab", name="Speakers").click()
        page.get_by_text("The speakers are being detected.").wait_for()
        news = {"HX-Trigger": "job-over"}
        address = "**" + reverse("jobs:over", args=[job.pk])
        page.route(address, lambda route: route.fulfill(body=over, headers=news, content_type="text/html"), times=1)
        with page.expect_navigation():
            pass  # the page is reloaded
        page.get_by_text("The speakers are being detected.").wait_for()
        assert page.get_by_role("tab", name="Speakers").get_attribute("aria-selected") == "true"

        # Hark asks before it discards typed text
        page.get_by_role("button", name=re.compile("^Correct")).first.click()
        page.get_by_label("Text of the passage").fill("what was typed")
        page.on("dialog", lambda dialog: dialog.dismiss())
        page.route(address, lambda route: route.fulfill(body=over, headers=news, content_type="text/html"))
        with page.expect_event("dialog"):
            pass
        page.get_by_text("The job is done.").wait_for()
        assert page.get_by_label("Text of the passage").input_value() == "what was typed"


def test_files_can_be_listed_ordered_and_recorded_before_upload(owners: Client, tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.wav" for name in ("one", "two", "three")]
    for seconds, file in enumerate(files, 1):
        write_audio(file, np.zeros(seconds * SAMPLE_RATE, np.float32))
    begun: list[str] = []
    taken: list[dict[str, Any]] = []

    def begin(route: Route) -> None:
        sent = json.loads(route.request.post_data or "")
        begun.append(sent["name"])
        place = f"/recordings/uploads/{len(begun)}"
        route.fulfill(
            json={"id": len(begun), "offset": sent["size"], "size": sent["size"], "address": place, "chunk": 9}
        )

    def done(route: Route) -> None:
        taken.append(json.loads(route.request.post_data or ""))
        route.fulfill(status=422, json={"what": "No room.", "why": "", "what_to_do": ""})

    with in_chromium(owners, {"/recordings/": "/recordings/"}) as page:
        page.route("**/recordings/uploads", begin)
        page.route("**/recordings/uploads/*/done", done)
        page.goto(ADDRESS + "/recordings/")
        names = page.locator(".uploads b")
        page.set_input_files("#audio", files[:2])
        page.set_input_files("#audio", [files[2], files[0]])  # existing ones appear once
        assert names.all_inner_texts() == ["one.wav", "two.wav", "three.wav"]
        page.locator(".uploads li", has_text="three.wav").get_by_text("0.1 MB · 0:00:03").wait_for()
        up = page.get_by_role("button", name="Move up: three.wav")
        up.focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        assert names.all_inner_texts() == ["three.wav", "one.wav", "two.wav"] and up.is_disabled()
        page.locator(".uploads li").nth(2).drag_to(page.locator(".uploads li").nth(1))
        assert names.all_inner_texts() == ["three.wav", "two.wav", "one.wav"]
        page.get_by_role("button", name="Remove: one.wav").click()
        page.get_by_role("button", name="Record").click()
        page.locator("[data-recording]", has_text="0:00:01").wait_for()
        page.get_by_role("button", name="Stop recording").click()
        assert re.fullmatch(r"Recording \d{4}-\d\d-\d\d \d\d\.\d\d\.wav", names.nth(2).inner_text())
        leaves = "dispatchEvent(new Event('beforeunload', { cancelable: true }))"
        assert not page.evaluate(leaves), "the browser asks before the recording is lost"
        page.get_by_label("Join into one recording").check()
        page.get_by_role("button", name="Transcribe").click()
        page.locator(".uploads .error", has_text="No room.").wait_for()
        assert begun == ["three.wav", "two.wav", names.nth(2).inner_text()]
        assert taken[0]["with"] == [2, 3] and names.count() == 3


def a_job(user: User, state: str, *events: dict[str, Any], **fields: Any) -> Job:
    """Make a training run with a message of four in the afternoon of a winter's day in New York."""
    spec = {"choices": {"phrase": "hello robin", "effort": "trial"}}
    values = {"kind": "train", "queue": "training", "title": "hello robin", "spec": spec, "state": state, **fields}
    job = Job.objects.create(user=user, **values)
    when = datetime(2026, 1, 2, 21, 4, 30, tzinfo=UTC)
    Job.objects.filter(pk=job.pk).update(created_at=when)
    for event in events:
        JobEvent.objects.create(job=job, event={"time": when.timestamp(), **event})
    return job


def test_times_are_in_the_readers_time_zone(owners: Client, owner: User) -> None:
    job = a_job(owner, "done", {"event": "stage", "name": "plan", "message": "Planning"})
    assert "2026-01-02 21:04 UTC" in owners.get("/jobs/").text, "without scripts"
    events = reverse("jobs:events", args=[job.pk])
    paths = {"/jobs/": "/jobs/", f"/jobs/{job.pk}": reverse("jobs:detail", args=[job.pk]), events: events}
    with in_chromium(owners, paths, timezone_id="America/New_York", locale="en-US") as page:
        page.goto(ADDRESS + "/jobs/")
        assert page.locator("td.wide time").inner_text() == "2026-01-02 16:04"
        page.goto(f"{ADDRESS}/jobs/{job.pk}")
        page.get_by_text("16:04:30 Planning").wait_for()


def test_a_long_log_is_shown_completely(owners: Client, owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webui.jobs.services.EVENTS", 2)
    job = a_job(owner, "done", *({"event": "log", "message": f"Line {n}", "level": "info"} for n in range(5)))
    path, events = (reverse(f"jobs:{name}", args=[job.pk]) for name in ("detail", "events"))
    answers = [owners.get(events).json()]
    while answers[-1]["more"]:
        answers.append(owners.get(events, {"after": answers[-1]["last"]}).json())
    assert [len(answer["events"]) for answer in answers] == [2, 2, 1]
    with in_chromium(owners, {path: path}) as page:
        page.route(f"**{events}*", lambda route: route.fulfill(json=answers.pop(0)))
        page.goto(ADDRESS + path)
        page.get_by_text("Line 4").wait_for()
        assert page.locator(".log li").count() == 5 and not page.locator("progress").is_visible()


def test_a_jobs_page_is_the_same_live_and_reloaded(owners: Client, owner: User) -> None:
    loss = [{"event": "metric", "name": "loss", "value": value} for value in (0.058, 0.05)]
    told = {"event": "estimate", "seconds": 200, "done": 0.0, "stage_done": 1.0}
    stage = {"event": "stage", "name": "train", "message": "T"}
    at = {"stage": "train", "message": "Training for 60 steps", "done": 30, "total": 60, "eta_s": 34.0}
    going = a_job(owner, "cancelling", {**told, "time": time.time() - 50}, stage, *loss, **at)
    outlived = a_job(owner, "running", told, stage, **at)
    again = {"event": "estimate", "seconds": 400, "done": 0.5, "stage_done": 0.6, "time": time.time() - 200}
    slower = a_job(owner, "running", told, stage, again, **at)
    ended = {
        state: a_job(owner, state, stage="bundle", message="Exporting, and checking that all forms agree")
        for state in ("done", "cancelled", "failed")
    }
    jobs = [going, outlived, slower, *ended.values()]
    paths = {reverse(f"jobs:{name}", args=[job.pk]): "" for job in jobs for name in ("detail", "events")}
    paths = {path: path for path in paths}
    with in_chromium(owners, paths) as page:
        page.goto(ADDRESS + reverse("jobs:detail", args=[going.pk]))
        chip = page.locator("[data-state]")
        loaded = chip.inner_text()
        page.get_by_text("34 s left in this stage, about 3 min left in total").wait_for()
        assert chip.inner_text() == loaded == "Cancelling"
        assert page.locator("h1").inner_text() == "hello robin train, effort trial"
        assert (page.locator("nav li [aria-current]").text_content() or "").strip() == "Jobs3"
        assert 0.25 <= page.locator("progress").evaluate("bar => bar.value / bar.max") < 0.5, (
            "50 s of 200, not 30 of 60"
        )
        assert 25 <= int(page.title().split(" %")[0]) < 50
        figure = page.locator("figure:visible")
        assert figure.count() == 1 and figure.bounding_box()["width"] < 520
        most, axis = figure.locator("text").first.bounding_box(), figure.locator(".axis").bounding_box()
        assert most and axis and most["x"] >= 0 and most["x"] + most["width"] < axis["x"]
        page.goto(ADDRESS + reverse("jobs:detail", args=[outlived.pk]))
        page.get_by_text("34 s left in this stage, taking longer than planned").wait_for()
        page.goto(ADDRESS + reverse("jobs:detail", args=[slower.pk]))
        page.get_by_text("34 s left in this stage, about 4 min left in total").wait_for()
        assert page.locator("progress").evaluate("bar => bar.value / bar.max") == 0.6, (
            "progress does not exceed the stage"
        )
        for state, job in ended.items():
            page.goto(ADDRESS + reverse("jobs:detail", args=[job.pk]))
            page.locator("li.past").first.wait_for()
            assert page.locator("[data-message]").inner_text() == chip.inner_text() == state.capitalize()
            marked = {"done": "past", "cancelled": "stopped", "failed": "broken"}[state]
            assert page.locator("[data-stage=bundle]").get_attribute("class") == marked


def test_an_invalid_file_clears_the_previous_result(owners: Client, version: Version, tmp_path: Path) -> None:
    said = tmp_path / "said.wav"
    write_audio(said, np.zeros(SAMPLE_RATE, np.float32))
    heard = {"seconds": 1.0, "frame_s": 0.08, "threshold": 0.5, "peaks": [0.1], "scores": [0.9], "detections": []}
    problem = {"what": "That is no sound.", "why": "It is a letter.", "what_to_do": "Choose another file."}
    path = reverse("listening:try", args=[version.detector_id, 1])
    answers = [(200, heard), (422, problem), (200, heard)]
    with in_chromium(owners, {path: path}) as page:
        page.route("**/file", lambda route: route.fulfill(status=answers[0][0], json=answers.pop(0)[1]))
        page.goto(ADDRESS + path)
        for wave, words, kind in ((True, "Not detected", ""), (False, "That is no sound.", "error"), (True, "Not", "")):
            page.set_input_files("#audio", said)
            page.get_by_role("button", name="Detect in file").click()
            page.locator("[data-words]", has_text=words).wait_for()
            assert page.locator("[data-wave]").is_visible() == page.locator("[data-player]").is_visible() == wave
            assert page.locator("[data-words]").get_attribute("class") == kind


def test_a_live_recording_can_be_stored_after_stop(owners: Client, portal: Path) -> None:
    path = reverse("recordings:live")
    sent: list[bytes] = []

    def listen(socket: WebSocketRoute) -> None:
        def hear(message: str | bytes) -> None:
            if message == '{"stop":true}':
                socket.send('{"ended": true}')
                socket.close()
            elif isinstance(message, str):
                socket.send('{"ready": true, "engine": "x"}')
                socket.send(json.dumps({"error": {"what": "A detector does not run.", "why": "", "what_to_do": ""}}))
                for start, text in ((0.0, "We meet on the pier."), (61.0, "At nine.")):
                    socket.send(json.dumps({"final": {"text": text, "start_s": start, "end_s": start + 1}}))

        socket.on_message(hear)

    def take(route: Route) -> None:
        sent.append(route.request.post_data_buffer or b"")
        if len(sent) == 1:
            route.fulfill(status=507, json={"what": "The disk is full.", "why": "It is.", "what_to_do": "Free some."})
        else:
            route.fulfill(body="")  # really redirected to the recording, which a route cannot be

    with in_chromium(owners, {path: path}, permissions=["microphone", "clipboard-read", "clipboard-write"]) as page:
        page.route_web_socket("**/ws/transcribe", listen)
        page.route("**/recordings/upload", take)
        page.goto(ADDRESS + path)
        assert not page.get_by_role("button", name="Copy the text").is_visible()
        page.get_by_role("button", name="Start", exact=True).click()
        page.get_by_text("At nine.").wait_for()
        page.wait_for_timeout(700)
        page.get_by_role("button", name="Stop", exact=True).click()
        page.get_by_text("Ended.").wait_for()  # the error did not end the session
        page.get_by_role("button", name="Copy the text").click()
        page.get_by_text("Copied").wait_for()
        said = "0:00 We meet on the pier.\n1:01 At nine.\n"
        assert page.evaluate("navigator.clipboard.readText()") == said
        with page.expect_download() as download:
            page.get_by_role("button", name="Download the text").click()
        assert Path(download.value.path()).read_text() == said
        page.get_by_role("button", name="Save it as a recording").click()
        page.get_by_text("The disk is full.").wait_for()  # and nothing is lost
        page.get_by_role("button", name="Save it as a recording").click()
        page.get_by_role("link", name="open it").wait_for()
        assert not page.get_by_role("button", name="Save it as a recording").is_visible()
    assert b'name="csrfmiddlewaretoken"' in sent[1] and b'filename="Live.wav"' in sent[1]
    wav = portal / "sent.wav"
    wav.write_bytes(sent[1][sent[1].index(b"RIFF") :])
    assert len(read_audio(wav)) > 0.3 * SAMPLE_RATE and np.abs(read_audio(wav)).max() > 0.01


def test_the_slider_sets_the_live_threshold_and_detections_beep(owners: Client, version: Version) -> None:
    path, requested = address("version", version), []

    def listen(socket: WebSocketRoute) -> None:
        def hear(message: str | bytes) -> None:
            if isinstance(message, str):
                requested.append(json.loads(message)["fa_per_day"])
                socket.send(json.dumps({"threshold": RATES[requested[-1]]}))
            else:
                over = requested[-1:] == [240]  # a score of 0.3, which is a hit from 0.2 on
                hits = [{"time_s": 0.1, "score": 0.3}] if over and not told else []
                told.extend(hits)
                socket.send(json.dumps({"time_s": 0.1, "scores": [0.3], "detections": hits}))

        told: list[object] = []
        socket.on_message(hear)
        socket.send(json.dumps({"ready": True, "threshold": RATES[12], "frame_s": 0.08}))

    beeps = """window.beeps = 0;
    const start = OscillatorNode.prototype.start;
    OscillatorNode.prototype.start = function (...when) { window.beeps += 1; return start.apply(this, when); };"""
    with in_chromium(owners, {path: path}, permissions=["microphone"]) as page:
        page.add_init_script(beeps)
        page.route_web_socket("**/ws/listen/**", listen)
        page.goto(ADDRESS + path)
        page.get_by_role("button", name="Listen", exact=True).click()
        shown = page.locator("[data-chart] text")
        shown.get_by_text("threshold 0.60").wait_for()
        page.get_by_role("slider").press("End")
        shown.get_by_text("threshold 0.20").wait_for()
        page.locator("[data-hits] li").wait_for()
        assert page.locator("[data-lamp]").inner_text() == "Detected!" and page.evaluate("window.beeps") == 1
        page.get_by_role("button", name="Stop", exact=True).click()
        page.get_by_label("Sound at a detection").uncheck()
        page.get_by_role("button", name="Listen", exact=True).click()
        page.locator("[data-hits] li").nth(1).wait_for()
        assert page.evaluate("window.beeps") == 1, "a sound is played only on request"
    assert requested == [12, 240, 240], "the next stream starts with the chosen rate"


def test_listening_continues_after_an_error(owners: Client, version: Version) -> None:
    path = address("version", version)

    def listen(socket: WebSocketRoute) -> None:
        socket.send(json.dumps({"ready": True, "threshold": 0.5, "frame_s": 0.08}))
        socket.send(json.dumps({"error": {"what": "The threshold is unchanged.", "why": "", "what_to_do": ""}}))
        socket.send(json.dumps({"time_s": 0.1, "scores": [0.3], "detections": []}))
        socket.on_message(lambda message: socket.close())

    with in_chromium(owners, {path: path}, permissions=["microphone"]) as page:
        page.route_web_socket("**/ws/listen/**", listen)
        page.goto(ADDRESS + path)
        page.get_by_role("button", name="Listen", exact=True).click()
        page.get_by_text("The connection was lost.").wait_for()


def test_answers_are_spoken_only_on_request(owners: Client, owner: User) -> None:
    page = owners.get(reverse("recordings:recording", args=[ready_recording(owner).pk])).text
    box = re.search(r"<input[^>]*data-speak-answer[^>]*>", page)
    assert "checked" not in box[0]


def test_correcting_starts_at_the_first_words_and_buttons_are_spaced(owners: Client, owner: User) -> None:
    said = tuple(("S1", " ".join(f"word{n}" for n in range(200)), 0.9) for _ in range(2))
    recording = ready_recording(owner, transcript=transcript_of_words(said))
    owners.post(reverse("recordings:share", args=[recording.pk]), {"days": "7"})
    path = reverse("recordings:recording", args=[recording.pk])
    words = reverse("recordings:words", args=[recording.pk])
    with in_chromium(owners, {path: path, words: words}, viewport=PHONE) as page:
        page.goto(ADDRESS + path)
        page.get_by_role("tab", name="Share").click()
        copy, days = page.locator("[data-copy=new-link]").bounding_box(), page.locator("label[for=days]").bounding_box()
        assert copy and days and days["y"] - copy["y"] - copy["height"] >= 8
        page.get_by_role("tab", name="Transcript").click()
        page.get_by_role("button", name=re.compile("^Correct")).first.click()
        field = page.get_by_label("Text of the passage")
        assert field.evaluate("field => [field.scrollTop, field.selectionStart]") == [0, 0]
        assert field.evaluate("field => field.scrollHeight > field.clientHeight")
        leaves = "dispatchEvent(new Event('beforeunload', { cancelable: true }))"  # false: it is asked about
        assert page.evaluate(leaves)
        field.fill("what was typed")
        assert not page.evaluate(leaves)
        field.press("Escape")
        assert page.evaluate(leaves)


def test_a_recorded_utterance_is_sent_completely(owners: Client, portal: Path) -> None:
    path, sent = "/library/record", []

    def check(route: Route) -> None:
        sent.append(route.request.post_data_buffer or b"")
        route.fulfill(json={"problems": [], "good": True})

    with in_chromium(owners, {path: f"{path}?phrase=hey+compass&language=en"}, permissions=["microphone"]) as page:
        page.route("**" + reverse("library:check"), check)
        page.goto(ADDRESS + path)
        seconds = float(page.locator("#record").get_attribute("data-seconds") or 0)
        page.get_by_role("button", name="Record", exact=True).click()
        page.get_by_role("button", name="Keep", exact=True).wait_for()
    wav = portal / "sent.wav"
    wav.write_bytes(sent[0][sent[0].index(b"RIFF") :])
    said = read_audio(wav)
    assert len(said) == pytest.approx(seconds * SAMPLE_RATE, rel=0.1) and np.abs(said).max() > 0.01


@pytest.mark.parametrize("viewport", [{"width": 1280, "height": 800}, PHONE], ids=["wide", "phone"])
def test_advice_does_not_shift_the_form(owners: Client, viewport: dict[str, int]) -> None:
    new, advice = reverse("trainer:new"), reverse("trainer:advice")
    answers = {phrase: owners.get(advice, {"phrase": phrase}).text for phrase in ("", "hey compass")}

    def advise(route: Route) -> None:
        phrase = parse_qs(urlsplit(route.request.url).query).get("phrase", [""])[0]
        route.fulfill(body=answers[phrase], content_type="text/html; charset=utf-8")

    with in_chromium(owners, {new: new}, viewport=viewport) as page:
        page.route(f"**{advice}?**", advise)
        page.goto(ADDRESS + new)
        field = page.locator("#id_language")
        page.get_by_text("This shows how the phrase sounds").wait_for()
        before = field.bounding_box()
        page.locator("#id_phrase").fill("hey compass")
        page.locator("#advice").get_by_text("3 syllables", exact=False).first.wait_for()
        after = field.bounding_box()
    assert before and after and abs(after["y"] - before["y"]) < 2
