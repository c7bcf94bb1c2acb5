"""Schemas of the API. Their examples appear in its documentation."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, get_origin, get_type_hints
from uuid import UUID

from ninja import Field, Schema
from pydantic import AliasChoices, ConfigDict, create_model

from pipeline.training.configuration.run_config import CHOICES, USUAL, RunConfig
from webui.accounts.services import SCOPES
from webui.jobs.models import Job
from webui.trainer.models import MAX_NOTE_LENGTH
from webui.webhooks.services import EVENTS

JOB_ID = "6f9d2a44-58a2-4a43-9d5e-0f6f0f5f7a10"
WHEN = "2026-11-20T20:30:00Z"
PHRASE = "hey compass"
RUN: dict[str, Any] = {"phrase": PHRASE, "effort": "quick"}  # the example of a run

OWNER = Field(description="The user who owns it.", examples=["olivia"])
SHARED_WITH = Field(
    validation_alias=AliasChoices("organization_id", "organization"),
    description="The organization that it is shared with.",
    examples=[None],
)

Scope = Literal[*SCOPES]  # type: ignore[valid-type]
Event = Literal[*EVENTS]  # type: ignore[valid-type]
JobState = Literal[*Job.State.values]  # type: ignore[valid-type]


def name_of_user(thing: Any) -> str:
    """Return the name of the user of a row; a name is returned unchanged."""
    user = thing["user"] if isinstance(thing, dict) else thing.user
    return str(getattr(user, "username", user))


class RequestBody(Schema):
    """A request body, in which unknown names are errors."""

    model_config = ConfigDict(extra="forbid")


class WrongField(Schema):
    """A field that does not fit."""

    where: str = Field(examples=["body.payload.phrase"])
    message: str = Field(examples=["Field required"])


class Problem(Schema):
    """Problem details (RFC 9457): what happened, why, and what to do."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["The request was not authenticated."])
    status: int = Field(examples=[401])
    what: str = Field(examples=["The request was not authenticated."])
    why: str = Field(examples=["The token has expired."])
    what_to_do: str = Field(examples=["Create a token on your account page, or sign in for a new one."])
    errors: list[WrongField] | None = Field(None, examples=[None])


class Explained(Schema):
    """The reason why a job did not succeed."""

    what: str = Field(examples=["The job was interrupted."])
    why: str = Field(examples=["The process was killed, most likely because memory ran out."])
    what_to_do: str = Field(examples=["Retry continues where it stopped."])


# Phrases


class NoteOut(Schema):
    """One finding about a phrase."""

    level: Literal["good", "caution", "warning"]
    message: str = Field(examples=["7 phones and 3 syllables: a good length."])


class WordOut(Schema):
    """A word and how common it is (zipf: log10 of its occurrences in a billion words)."""

    word: str = Field(examples=["compass"])
    zipf: float = Field(examples=[3.6])


class NeighbourOut(Schema):
    """A text that sounds like the phrase; a distance of 0 means exactly alike."""

    text: str = Field(examples=["hey campus"])
    distance: float = Field(examples=[0.4])


class AdviceOut(Schema):
    """Advice on a phrase."""

    phrase: str = Field(examples=["Hey Compass!"])
    normalized: str = Field(examples=[PHRASE])
    language: str = Field(examples=["en"])
    phones: list[list[str]] = Field(examples=[[["h", "eɪ"], ["k", "ʌ", "m", "p", "ə", "s"]]])
    syllables: int = Field(examples=[3])
    duration_s: float = Field(examples=[0.65])
    commonness: list[WordOut]
    heard_per_million: float = Field(examples=[0.01])
    near_homophones: list[NeighbourOut]
    notes: list[NoteOut]
    suggestions: list[str] = Field(examples=[[]])


class EngineOut(Schema):
    """A speech engine, and how to enable it if it is not ready."""

    name: str = Field(examples=["espeak"])
    ready: bool = Field(examples=[True])
    why: str = Field(examples=[""])
    how_to_enable: str = Field(examples=[""])
    licence: str = Field(examples=["GPL-3.0-or-later"])
    paid: bool = Field(examples=[False])
    voices: int = Field(description="The number of voices for the requested language.", examples=[76])


# Jobs


def _choices() -> dict[str, Any]:
    """Return a run's choices as fields of a schema: {name: (type, :func:`pydantic.Field`)}."""
    types, fields = get_type_hints(RunConfig), {}
    for name, choice in CHOICES.items():
        many, usual = get_origin(types[name]) is tuple, getattr(USUAL, name)
        of = Literal[*choice.values] if choice.values else str if many else types[name]
        default = list(usual) if many else usual
        fields[name] = (
            list[of] if many else of,  # type: ignore[valid-type]
            Field(
                ... if name == "phrase" else default,
                description=choice.about or None,
                examples=[RUN.get(name, default)],
                ge=choice.minimum,
                le=choice.maximum,
                max_length=choice.max_length,
                pattern=choice.pattern,
            ),
        )
    return fields


class RunIn(create_model("Choices", __base__=RequestBody, **_choices())):  # type: ignore[misc]
    """The choices of a training run."""


class TrainIn(RunIn):
    """The choices of a training run, or its plan."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": RUN})
    phrase: str | None = Field(None, max_length=CHOICES["phrase"].max_length)
    plan: UUID | None = Field(None, description="The job of a plan, which contains all other choices.")
    install_voices: bool = Field(True, description="First install missing neural voices; only in runs of the owner.")


class VersionPlace(Schema):
    """A version of a detector."""

    detector: int = Field(examples=[1])
    version: int = Field(examples=[1])


class JobOut(Schema):
    """A job: work that outlives the request that submitted it."""

    id: UUID = Field(examples=[JOB_ID])
    kind: str = Field(examples=["train"])
    title: str = Field(examples=[PHRASE])
    state: JobState = Field(examples=["running"])
    going: bool = Field(description="Whether the job is still active.", examples=[True])
    stage: str = Field(examples=["synthesize"])
    message: str = Field(examples=["Synthesizing 1200 clips"])
    done: float = Field(examples=[300.0])
    total: float = Field(examples=[1200.0])
    eta_s: float | None = Field(description="Time left in this stage [s].", examples=[42.0])
    seconds: float | None = Field(description="Time spent so far [s].", examples=[18.5])
    error: Explained | None = Field(examples=[None])
    spec: dict[str, Any] = Field(description="The request.", examples=[{"phrase": PHRASE, "effort": "quick"}])
    result: VersionPlace | None = Field(description="The result of a training run.", examples=[None])
    created_at: datetime = Field(examples=[WHEN])
    started_at: datetime | None = Field(examples=[WHEN])
    finished_at: datetime | None = Field(examples=[None])


class PlanOut(JobOut):
    """The job of a plan, and the plan once it is done."""

    kind: str = Field(examples=["plan"])
    plan: dict[str, Any] | None = Field(
        description="For each bucket, the clips that are reused, mined and generated; the engines; the estimated "
        "time; the state of an unfinished run (`unfinished`: `planned`, `spoken`, `goes_on_with`).",
        examples=[{"phrase": PHRASE, "effort": "quick", "estimate_s": 110, "buckets": {}, "unfinished": None}],
    )


class EventsOut(Schema):
    """Events of a job after a number, and its current state. Progress is in the job, not among the events."""

    job: JobOut
    events: list[dict[str, Any]] = Field(
        examples=[[{"event": "stage", "time": 1795206600.0, "name": "train", "message": "Training"}]]
    )
    last: int = Field(description="Continue with after=last.", examples=[17])
    more: bool = Field(description="Whether more are already available.", examples=[False])


# Detectors


class DetectorOut(Schema):
    """A detector. Each successful training run is a version of it."""

    id: int = Field(examples=[1])
    phrase: str = Field(examples=[PHRASE])
    language: str = Field(examples=["en"])
    created_at: datetime = Field(examples=[WHEN])
    user: str = OWNER
    organization: int | None = SHARED_WITH
    versions: int = Field(validation_alias=AliasChoices("count", "versions"), examples=[1])
    newest: int | None = Field(description="Number of the newest version.", examples=[1])
    takes_wakes: bool = Field(description="Recordings from devices are accepted.", examples=[True])

    resolve_user = staticmethod(name_of_user)


INTERVAL = {"value": 0.12, "low": 0.08, "high": 0.17}


class VersionOut(Schema):
    """A version, with the figures at its default threshold: each with its 95 % interval."""

    detector: int = Field(examples=[1])
    number: int = Field(examples=[1])
    created_at: datetime = Field(examples=[WHEN])
    job: UUID | None = Field(examples=[JOB_ID])
    bundle: str = Field(description="Name of the bundle.", examples=["hey-compass-quick-1a2b3c4d.zip"])
    bundle_bytes: int | None = Field(description="null: the bundle is gone.", examples=[4_800_000])
    metrics: dict[str, Any] = Field(examples=[{"miss_rate": INTERVAL, "fa_per_hour": INTERVAL, "threshold": 0.62}])
    in_use: bool = Field(description="The detector's page and live listening use this version.", examples=[True])
    note: str = Field(description="The user's own words.", examples=["with the recordings of May"])


class NoteIn(RequestBody):
    """A note about a version."""

    note: str = Field(max_length=MAX_NOTE_LENGTH, examples=["with the recordings of May"])


class WakesIn(RequestBody):
    """Permission for devices to send clips."""

    allowed: bool = Field(examples=[True])


class ComparisonOut(Schema):
    """Versions of a detector on one stream, each with its figures and their 95 % intervals."""

    outdated: bool = Field(description="The versions have changed since this comparison.", examples=[False])
    comparison: dict[str, Any] | None = Field(
        description="null: they were not compared yet.",
        examples=[{"versions": [{"run": "hey-compass-quick-1a2b3c4d", "miss_rate": {"all": INTERVAL}}]}],
    )


class ChangeOut(Schema):
    """A difference between two versions."""

    what: str = Field(examples=["Anti-keywords"])
    before: str = Field(examples=["none"])
    after: str = Field(examples=["h eɪ k æ m p ə s"])


class MissRates(Schema):
    """Share missed, by condition."""

    all: float | None = Field(examples=[0.12])
    clean: float | None = Field(examples=[0.05])
    noisy: float | None = Field(examples=[0.19])


class ThresholdOut(Schema):
    """An operating point, as measured in the test."""

    fa_per_day: float = Field(description="The rate of false alarms for which it is set.", examples=[2.0])
    threshold: float = Field(examples=[0.62])
    extrapolated: bool = Field(description="The rate is too low to be observed: an estimate.", examples=[False])
    default: bool = Field(description="The bundle's default.", examples=[True])
    miss_rate: MissRates
    fa_per_hour: float = Field(description="Rate in the test.", examples=[0.08])
    false_alarms: int = Field(description="Number in the test.", examples=[1])


class FileOut(Schema):
    """A file of a version that can be downloaded."""

    name: str = Field(examples=["model.onnx"])
    about: str = Field(examples=["for onnxruntime: raw audio in, scores out"])
    bytes: int | None = Field(examples=[2_400_000])
    href: str = Field(examples=["/api/v1/detectors/1/versions/1/files/model.onnx"])


class DetectionOut(Schema):
    """A place where the phrase occurs."""

    time_s: float = Field(examples=[3.2])
    score: float = Field(examples=[0.93])


class HeardOut(Schema):
    """A detector's results in a recording."""

    seconds: float = Field(examples=[12.4])
    frame_s: float = Field(description="Seconds from one score to the next.", examples=[0.08])
    threshold: float = Field(examples=[0.62])
    silent: bool = Field(examples=[False])
    detections: list[DetectionOut]
    scores: list[float] | None = Field(description="Only if requested.", examples=[None])
    peaks: list[float] | None = Field(description="Outline of the waveform, with the scores.", examples=[None])


# The inbox


class SampleOut(Schema):
    """A few seconds of a detection error."""

    id: int = Field(examples=[1])
    detector: int = Field(validation_alias=AliasChoices("detector_id", "detector"), examples=[1])
    version: int = Field(examples=[1])
    verdict: str = Field(
        description="false_alarm or missed (from a device: not the phrase, the phrase); empty until confirmed.",
        examples=["false_alarm"],
    )
    kind: str = Field(description="wake or near_miss: a device sent it; empty: a person marked it.", examples=["wake"])
    device: str = Field(description="The name that the device gives itself.", examples=["kitchen"])
    score: float | None = Field(examples=[0.93])
    sorted_as: str = Field(description="The verdict of a recognizer: phrase, other, unsure.", examples=["unsure"])
    text: str = Field(description="The words that a recognizer found.", examples=["Hey, campus!"])
    state: str = Field(description="new or taken.", examples=["new"])
    seconds: float = Field(examples=[2.5])
    created_at: datetime = Field(examples=[WHEN])


# The clip library


class ClipOut(Schema):
    """A clip of the library."""

    id: int = Field(examples=[1])
    text: str = Field(validation_alias=AliasChoices("text_original", "text"), examples=["Hey, compass!"])
    language: str = Field(examples=["en"])
    seconds: float = Field(validation_alias=AliasChoices("duration_s", "seconds"), examples=[0.9])
    engine: str = Field(examples=["espeak"])
    voice: str = Field(examples=["en-us+f3"])
    speaker: str = Field(examples=["espeak-f3"])
    licence: str = Field(examples=["GPL-3.0-or-later"])
    source: str | None = Field(description="Where it was imported from.", examples=[None])
    parent: int | None = Field(
        validation_alias=AliasChoices("parent_id", "parent"),
        description="The clip that it was cut from.",
        examples=[None],
    )
    created_at: str = Field(examples=["2026-11-20T20:30:00+00:00"])
    state: str = Field(examples=["ready"])


class ClipChangeIn(RequestBody):
    """Changes of a clip; omitted fields do not change."""

    text: str | None = Field(None, max_length=2000, description="The transcript.", examples=["Hey, compass!"])
    state: Literal["ready", "rejected"] | None = Field(None, examples=["rejected"])


class ClipsOut(Schema):
    """Clips in order of their ids; ``next`` is the URL of those after them, or null."""

    items: list[ClipOut]
    next: str | None = Field(None, examples=[None])


class LibraryOut(Schema):
    """Figures of the library."""

    clips: int = Field(examples=[4120])
    hours: float = Field(examples=[1.9])
    texts: int = Field(examples=[1800])
    unknown_text: int = Field(examples=[0])
    rejected: int = Field(examples=[3])
    slices: int = Field(examples=[12])
    by_engine: dict[str, int] = Field(examples=[{"espeak": 2900, "flite": 1220}])
    by_language: dict[str, int] = Field(examples=[{"en": 4120}])
    by_licence: dict[str, int] = Field(examples=[{"GPL-3.0-or-later": 4120}])


# Tokens


class MeOut(Schema):
    """The caller and their scopes."""

    user: str = Field(examples=["olivia"])
    is_owner: bool = Field(examples=[True])
    scopes: list[str] = Field(examples=[["read", "train"]])


class TokenIn(RequestBody):
    """A new API token."""

    name: str = Field(max_length=100, description="What the token is for.", examples=["home assistant"])
    scopes: list[Scope] = Field(examples=[["read", "train"]])
    days: int | None = Field(
        90, ge=1, le=3650, description="Days that it is valid; null: until it is revoked.", examples=[90]
    )


class TokenOut(Schema):
    """An API token, without its text."""

    id: int = Field(examples=[1])
    name: str = Field(examples=["home assistant"])
    prefix: str = Field(examples=["hark_Ab3dE6g"])
    scopes: list[str] = Field(examples=[["read", "train"]])
    created_at: datetime = Field(examples=[WHEN])
    expires_at: datetime | None = Field(examples=["2027-02-18T20:30:00Z"])
    last_used_at: datetime | None = Field(examples=[None])
    revoked_at: datetime | None = Field(examples=[None])


class TokenMadeOut(TokenOut):
    """A new API token. Its text is shown only now."""

    token: str = Field(examples=["hark_Ab3dE6g..."])


class PairIn(RequestBody):
    """Name (or e-mail address) and password."""

    name: str = Field(max_length=254, examples=["olivia"])
    password: str = Field(max_length=4096, examples=["a-good-long-password"])
    scopes: list[Scope] | None = Field(
        None, description="null: all that the user can have.", examples=[["read", "train"]]
    )


class RefreshIn(RequestBody):
    """A refresh token."""

    refresh: str = Field(max_length=4096, examples=["eyJhbGciOiJIUzI1NiIs..."])


class PairOut(Schema):
    """A program's tokens: ``access`` works for ``expires_in`` seconds, ``refresh`` can be exchanged once."""

    access: str = Field(examples=["eyJhbGciOiJIUzI1NiIs..."])
    refresh: str = Field(examples=["eyJhbGciOiJIUzI1NiIs..."])
    expires_in: int = Field(examples=[900])


# Webhooks


class WebhookIn(RequestBody):
    """A URL to notify when jobs end."""

    url: str = Field(max_length=500, examples=["https://example.org/hark"])
    events: list[Event] = Field(examples=[["job.done", "job.failed"]])


class WebhookOut(Schema):
    """A webhook."""

    id: int = Field(examples=[1])
    url: str = Field(examples=["https://example.org/hark"])
    events: list[str] = Field(examples=[["job.done", "job.failed"]])
    created_at: datetime = Field(examples=[WHEN])


class WebhookMadeOut(WebhookOut):
    """A new webhook. Its secret is shown only now."""

    secret: str = Field(examples=["whsec_..."])


class DeliveryOut(Schema):
    """A message to a webhook."""

    id: UUID = Field(examples=["0d3c9f0a-6a55-4c8e-8f6e-2f5a3d0b7c22"])
    event: str = Field(examples=["job.done"])
    state: str = Field(description="waiting, delivered or failed.", examples=["delivered"])
    created_at: datetime = Field(examples=[WHEN])
    tries: int = Field(examples=[1])
    tried_at: datetime | None = Field(examples=[WHEN])
    next_try_at: datetime | None = Field(examples=[None])
    answer_status: int | None = Field(examples=[204])
    problem: str = Field(examples=[""])


# Users


class UserIn(RequestBody):
    """A new user."""

    name: str = Field(max_length=150, description="Letters, digits and . + - _ only.", examples=["paula"])
    email: str = Field("", max_length=254, description="Optional; the user can also sign in with it.", examples=[""])


class UserChangeIn(RequestBody):
    """Permission to sign in."""

    is_active: bool = Field(examples=[True])


class UserOut(Schema):
    """A user."""

    id: int = Field(examples=[2])
    name: str = Field(validation_alias=AliasChoices("username", "name"), examples=["paula"])
    email: str = Field(examples=[""])
    is_owner: bool = Field(examples=[False])
    is_active: bool = Field(examples=[True])


class LinkOut(Schema):
    """A link that works once, shown only now."""

    link: str = Field(examples=["https://hark.example.org/account/setup/..."])
