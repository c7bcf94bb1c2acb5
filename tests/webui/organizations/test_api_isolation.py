"""Every operation of the API with an id in its URL, called by everybody who has no access."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from django.test import Client

from core.readiness import Readiness
from pipeline.recordings.files.recording_folder import TRANSCRIPT
from pipeline.recordings.transcripts.transcript import load_transcript, save_transcript
from tests.support.api_calls import a_pair, a_token, call_example, problem_of
from tests.support.api_operations import OF_ONE, OF_OWNER
from tests.support.detector_versions import make_version
from tests.support.organization_house import House, state
from webui.accounts.models import User
from webui.accounts.storage import user_data
from webui.jobs.models import Job
from webui.listening.services import allow_wakes
from webui.organizations.models import Membership
from webui.recordings.models import Recording
from webui.trainer.models import Detector
from webui.webhooks import services as webhooks

pytestmark = pytest.mark.django_db

# Things that are never shared are visible to their user only.
NEVER_SHARED = {"token_id", "webhook_id", "plan_id", "clip_id", "sample_id", "person"}
CHANGED_BY_MEMBERS = {
    "detectors_add_sample", "detectors_add_wake", "detectors_compare", "detectors_retrain", "detectors_set_note",
    "detectors_use", "jobs_cancel", "jobs_retry", "recordings_assign_speaker",
    "recordings_join_segments", "recordings_undo", "recordings_detect_speakers",
    "recordings_name_speaker", "recordings_summarize", "recordings_translate",
}  # fmt: skip
READ_BY_ALL = {
    "detectors_bundle", "detectors_changes", "detectors_comparison", "detectors_detector", "detectors_file",
    "detectors_files", "detectors_report", "detectors_thresholds", "detectors_version", "detectors_versions",
    "jobs_events", "jobs_job", "organizations_members", "organizations_organization", "recordings_export",
    "recordings_recording", "recordings_summary", "recordings_transcript",
}  # fmt: skip
READ_BY_OWNERS = {"organizations_invitations", "organizations_log", "organizations_use"}


@pytest.fixture
def places(house: House, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A value of sam's for each name in a URL; a language model is set up."""
    monkeypatch.setattr("pipeline.recordings.language_models.llm.available", lambda: Readiness(True))
    sam = house.sam
    make_version(sam, user_data(sam), 2)
    allow_wakes(detector=house.version.detector, allowed=True)
    Job.objects.filter(pk=house.version.job_id).update(state=Job.State.FAILED)
    plan = Job.objects.create(user=sam, kind="plan", queue="general", title="p", spec={}, state="done", result={})
    hook, _secret = webhooks.add(user=sam, url="https://example.org/hark", events=["job.done"])
    a_token(sam, "read")
    more = {"plan_id": plan.pk, "webhook_id": hook.pk, "token_id": sam.api_tokens.get().pk, "clip_id": 1}
    more |= {"name": "model.onnx", "speaker": "S1", "person": "Anna"}
    return house.ids() | {name: str(value) for name, value in more.items()}


def call(user: User, places: dict[str, str], path: str, method: str, operation: Any) -> Any:
    return call_example(path, method, operation, places.__getitem__, a_pair(user))


def names_of(path: str) -> set[str]:
    return set(re.findall(r"{(\w+)}", path))


@pytest.mark.parametrize("who", ["otto", "rita"])
def test_non_members_get_404(house: House, places: dict[str, str], who: str) -> None:
    before = state(house)
    for path, method, operation in OF_ONE:
        answer = call(house[who], places, path, method, operation)
        problem_of(answer, 404)
        assert b"hey compass" not in answer.content and b"Harbour" not in answer.content
    assert state(house) == before


def test_a_deactivated_member_gets_401(house: House, places: dict[str, str]) -> None:
    dora = house["dora"]
    for path, method, operation in OF_ONE:
        assert call(dora, places, path, method, operation).status_code == 401, operation["operationId"]


def test_a_viewer_can_read_but_not_change(house: House, places: dict[str, str]) -> None:
    before = state(house)
    for path, method, operation in OF_ONE:
        name = operation["operationId"]
        answer = call(house["vera"], places, path, method, operation)
        if NEVER_SHARED & names_of(path):
            assert answer.status_code == 404, name
        elif name in READ_BY_ALL:
            assert answer.status_code == 200, (name, answer.status_code)
        elif name in READ_BY_OWNERS or name in CHANGED_BY_MEMBERS or method != "get":
            reads = name in ("detectors_detect",)
            assert reads or answer.status_code == 403, (name, answer.status_code)
        assert state(house) == before, name


def test_a_member_can_change_only_shared_things(
    house: House, places: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.serving.sorting import Sorted

    monkeypatch.setattr("webui.listening.services.sort_wake", lambda phrase, language, audio: Sorted("unsure", ""))
    mia, people = house["mia"], set(Membership.objects.values_list("user", "role"))
    for path, method, operation in OF_ONE:
        name = operation["operationId"]
        if NEVER_SHARED & names_of(path) or name in ("detectors_detect", "organizations_remove"):
            continue
        answer = call(mia, places, path, method, operation)
        if name in CHANGED_BY_MEMBERS:
            assert answer.status_code < 300, (name, answer.content[:300])
        elif name in READ_BY_ALL:
            assert answer.status_code == 200, name
        else:
            assert answer.status_code == 403, (name, answer.status_code)
    assert set(Membership.objects.values_list("user", "role")) == people
    assert Detector.objects.get().organization == Recording.objects.get().organization == house.organization


def test_suggested_speaker_names_are_shown_to_their_user_only(house: House) -> None:
    path = house.recording.path / TRANSCRIPT
    save_transcript(replace(load_transcript(path), sounds_like={"S1": "Zoe"}), path)
    at = f"/api/v1/recordings/{house.recording.pk}"
    for who, told in (("sam", {"S1": "Zoe"}), ("mia", {}), ("vera", {})):
        pair = a_pair(house[who])
        assert Client().get(f"{at}/transcript", headers=pair).json()["sounds_like"] == told
        page = house.client(who).get(f"/recordings/{house.recording.pk}").content
        assert (b"like Zoe" in page) == bool(told)
        exported = Client().get(f"{at}/export?format=json", headers=pair)
        assert exported.status_code == 200 and b"Zoe" not in exported.getvalue()


def test_a_shared_job_hides_its_users_words_and_quota(house: House) -> None:
    more = {"words": ["Zanzibar"], "most_s": 60.0, "owner": False}
    job = house.recording.job
    Job.objects.filter(pk=job.pk).update(spec={**job.spec, **more})
    for who, told in (("sam", set(more)), ("mia", set()), ("vera", set())):
        pair = a_pair(house[who])
        (listed,) = (
            one for one in Client().get("/api/v1/jobs", headers=pair).json()["items"] if one["id"] == str(job.pk)
        )
        alone = Client().get(f"/api/v1/jobs/{job.pk}", headers=pair).json()
        with_events = Client().get(f"/api/v1/jobs/{job.pk}/events", headers=pair).json()["job"]
        for one in (listed, alone, with_events):
            assert one["spec"].keys() & more.keys() == told and one["spec"]["recording"] == str(house.recording.pk)


def test_every_operation_is_classified_by_role() -> None:
    known = {entry[2]["operationId"] for entry in (*OF_ONE, *OF_OWNER)}
    assert known >= CHANGED_BY_MEMBERS | READ_BY_ALL | READ_BY_OWNERS


def test_an_owner_can_manage_people_and_withdraw(house: House, places: dict[str, str]) -> None:
    ada, owner = house["ada"], a_pair(house["ada"])
    at = f"/api/v1/organizations/{house.organization.pk}"
    client = Client(headers=owner)
    used = client.get(f"{at}/use").json()
    assert used["weeks"][0]["people"][0]["name"] == "sam" and used["weeks"][0]["speakers"] == 2
    assert "joined" not in str(client.get(f"{at}/log").json()) and client.get(f"{at}/log").json()["total"] > 3
    made = client.post(f"{at}/invitations", {"role": "viewer"}, content_type="application/json").json()
    secret = made["link"].rpartition("/")[2]
    assert made["link"] not in client.get(f"{at}/invitations").text
    joined = Client(headers=a_pair(house["otto"])).post(
        "/api/v1/organizations/join", {"secret": secret}, content_type="application/json"
    )
    assert joined.json()["name"] == "Harbour" and joined.json()["role"] == "viewer"
    again = Client(headers=a_pair(house["rita"])).post(
        "/api/v1/organizations/join", {"secret": secret}, content_type="application/json"
    )
    assert again.status_code == 410
    member = f"{at}/members/{house['otto'].pk}"
    changed = client.patch(member, {"role": "member"}, content_type="application/json")
    assert changed.json() == {**changed.json(), "name": "otto", "role": "member"}
    assert client.delete(member).status_code == 204 and client.delete(member).status_code == 404
    assert client.delete(f"{at}/members/{ada.pk}").status_code == 422, "the last owner"
    assert client.delete(f"{at}/recordings/{house.recording.pk}").status_code == 204
    assert client.get(f"/api/v1/recordings/{house.recording.pk}").status_code == 404
    listed = {row["name"]: row["role"] for row in client.get("/api/v1/organizations").json()["items"]}
    assert listed == {"Harbour": "owner"}
    shared = client.get("/api/v1/detectors").json()["items"]
    assert [(row["user"], row["organization"]) for row in shared] == [("sam", house.organization.pk)]


def test_program_tokens_can_share_but_not_manage(house: House) -> None:
    at = f"/api/v1/organizations/{house.organization.pk}"
    token = Client(headers=a_token(house.sam, "read", "audio"))
    assert token.delete(f"{at}/recordings/{house.recording.pk}").status_code == 204
    assert token.put(f"{at}/recordings/{house.recording.pk}").status_code == 204
    assert token.put(f"{at}/detectors/{house.version.detector_id}").status_code == 403, "this needs the scope train"
    owners = Client(headers=a_token(house["ada"]))
    for method, rest in (("post", "/invitations"), ("delete", ""), ("put", "/quota"), ("patch", "")):
        answer = getattr(owners, method)(at + rest, "{}", content_type="application/json")
        assert answer.status_code == 403, rest
