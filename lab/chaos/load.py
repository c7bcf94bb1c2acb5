"""``python -m lab load``: the load that a portal can handle on this machine.

First a flood: four people send a hundred recordings each at the same moment, during a training run. Then mixed use:
pages and a few uploads at random moments, at a rate that rises until the portal cannot keep up. Finally an hour at
the highest rate that the portal handled, which shows whether memory or the queue grows.

A real ``serve`` answers, with its workers, its own data folder and the default limits.
"""

from __future__ import annotations

import hashlib
import io
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from benchmark import Figures
from benchmark.wakeword_summary import aligned
from core.audio_file import SAMPLE_RATE, write_audio
from core.child_process import signal_group
from core.data_folder import REPOSITORY
from core.errors import HarkError
from core.events import Reporter
from lab import BenchOptions
from lab.chaos.served import Server
from tests.support.processes import resident_kib, web_server

if TYPE_CHECKING:
    import httpx2

    from webui.accounts.models import User

FLOOD, FLOODING = 400, 4  # number of recordings, and of the people who send them
PEOPLE = 10  # number of accounts
WEIGHTS = {"page": 8, "recording": 5, "search": 3, "list": 3, "ask": 1, "advice": 1, "upload": 1}  # in mixed use
SHORT_S = 10.0  # seconds of audio in an upload of mixed use
RATES = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0)  # requests per second, tried in this order
STEP_S = 60.0  # seconds at each rate
SLOW_S = 1.0  # maximum 95th percentile of response times at a rate that the portal handles
BEHIND = 3  # maximum jobs waiting after STEP_S at a rate that the portal handles
PARTS = 6  # number of equal parts of the hour, which are compared
LOOK_EVERY_S = 2.0  # seconds between measurements of memory and the queue
MAX_DURATION_S = 3600.0  # maximum seconds until all jobs have ended
ANSWER_S = 120.0  # seconds to wait for an answer
ENGINE = "flite"
PAUSE_S = 0.8  # seconds between sentences
SENTENCES = (
    "We meet in the harbour on Tuesday.", "Who brings the lantern?", "Anna brings the lantern and the map.",
    "The boat leaves at seven in the morning.", "Nobody has asked about the weather.",
)  # fmt: skip
WORD = "lantern"  # a word in the sentences, for searches


@dataclass(frozen=True)
class Person:
    """An account: the API token of its program, and the session cookie of its browser."""

    token: str
    session: str


@dataclass
class Flood:
    """The outcomes of recordings sent at the same moment.

    Attributes:
        statuses: number of responses by HTTP status.
        late: number of uploads that were refused only after their whole body had arrived.
        whole: number of recordings that were stored exactly as sent.
        web_mib: memory [MiB] of the web server before, at its peak, and afterwards.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    late: int = 0
    whole: int = 0
    seconds: float = 0.0
    web_mib: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@dataclass
class Use:
    """Measurements of mixed use at one rate."""

    took_s: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in WEIGHTS})
    wrong: Counter[str] = field(default_factory=Counter)
    waiting: list[int] = field(default_factory=list)
    web_mib: list[float] = field(default_factory=list)
    all_mib: list[float] = field(default_factory=list)

    def p95_s(self) -> float:
        """Return the 95th percentile of all response times [s]; infinity if there are none."""
        took = [seconds for kind in self.took_s.values() for seconds in kind]
        return float(np.percentile(took, 95)) if took else float("inf")

    def wait_at_its_end(self) -> int:
        return self.waiting[-1] if self.waiting else 0

    def is_held(self) -> bool:
        return not self.wrong and self.p95_s() < SLOW_S and self.wait_at_its_end() <= BEHIND


def run(options: BenchOptions, reporter: Reporter) -> Figures:
    """Return the figures of the flood and of mixed use.

    It sets up Django for its own data folder, so nothing else may have set up Django in this process.
    """
    with tempfile.TemporaryDirectory(prefix="hark-load-") as folder:
        return loaded(Path(folder), options.minutes, options.seed, reporter)


def loaded(data: Path, minutes: float, seed: int, reporter: Reporter) -> Figures:
    """Load a new portal in ``data``.

    Raises:
        HarkError: no engine can speak here, the portal does not start, or its jobs do not end.
    """
    os.environ["HARK_DATA"] = str(data)
    from webui.setup import ready

    ready()
    reporter.stage("load", "Synthesizing the recordings")
    talk = _talk()
    people = [_person(number) for number in range(PEOPLE)]
    server = Server(data)
    try:
        server.wait()
        reporter.stage("load", f"{FLOOD} uploads of {FLOODING} people at the same time, during a training")
        with _training(data):
            flood = _flood(server, people[:FLOODING], talk)
        _wait_for_jobs(reporter)
        reporter.stage("load", "Finding the highest rate that the portal handles")
        rates = {}
        for rate in RATES:
            use = _used(server, people, talk, rate, STEP_S, seed, reporter)
            rates[rate] = use
            _wait_for_jobs(reporter)
            if not use.is_held():
                break
        held = max((rate for rate, use in rates.items() if use.is_held()), default=min(rates))
        reporter.stage("load", f"{held:g} requests a second for {minutes:g} minutes")
        use = _used(server, people, talk, held, 60 * minutes, seed + 1, reporter)
        left_s = _wait_for_jobs(reporter)
    finally:
        server.stop()
    return {
        "flood": {
            "uploads": FLOOD, "statuses": dict(flood.statuses), "late": flood.late, "whole": flood.whole,
            "seconds": round(flood.seconds, 1), "web_mib": flood.web_mib, "wrong": flood.wrong,
        },
        "rates": {f"{rate:g}": {"p95_s": round(one.p95_s(), 2), "wrong": dict(one.wrong),
                                "waiting": one.wait_at_its_end(), "held": one.is_held()}
                  for rate, one in rates.items()},
        "use": {
            "rate": held, "minutes": minutes, "answers": {kind: _times(took) for kind, took in use.took_s.items()},
            "wrong": dict(use.wrong), "waiting": _parts(use.waiting, max), "web_mib": _parts(use.web_mib),
            "all_mib": _parts(use.all_mib), "queue_empty_after_s": round(left_s, 1),
        },
    }  # fmt: skip


def _talk() -> np.ndarray:
    """Synthesize the sentences and join them, with pauses [samples]."""
    from audio_generation.engine import GeneratedClip, SpeechRequest
    from audio_generation.registry import default_engines
    from core.audio_file import read_audio

    engine = default_engines().get(ENGINE)
    if engine is None:
        raise HarkError(
            "The recordings cannot be made.", f"The engine {ENGINE} is not ready.", f"apt-get install {ENGINE}"
        )
    voice = engine.voices("en")[0]
    requests = [SpeechRequest(str(number), text, voice.name, "en", {}) for number, text in enumerate(SENTENCES)]
    pause = np.zeros(round(PAUSE_S * SAMPLE_RATE), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        spoken = [clip for clip in engine.synthesize(requests, Path(folder)) if isinstance(clip, GeneratedClip)]
        return np.concatenate([piece for clip in spoken for piece in (read_audio(clip.path), pause)])


def _long(talk: np.ndarray, seconds: float, start: int = 0) -> np.ndarray:
    """Repeat audio to a duration [samples]; each start gives a different recording."""
    return np.resize(np.roll(talk, -start), round(seconds * SAMPLE_RATE))


def _person(number: int) -> Person:
    from django.conf import settings
    from django.test import Client

    from webui.accounts.models import User
    from webui.accounts.services import create_token

    user: User = User.objects.create_user(f"person-{number}", password="a-good-long-password", is_owner=not number)
    _token, text = create_token(user=user, name="load", scopes=("read", "train", "audio"))
    browser = Client()
    browser.force_login(user)
    return Person(text, browser.cookies[settings.SESSION_COOKIE_NAME].value)


def _client(port: int) -> httpx2.Client:
    import httpx2

    return httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=ANSWER_S, follow_redirects=True)


def _by_program(person: Person) -> dict[str, str]:
    return {"Authorization": f"Bearer {person.token}"}


def _send(client: httpx2.Client, person: Person, name: str, audio: np.ndarray, folder: Path) -> None:
    """Upload a recording. Raises HarkError if it is refused."""
    path = folder / name
    write_audio(path, audio)
    with path.open("rb") as file:
        answer = client.post("/api/v1/recordings", files={"audio": (name, file)}, headers=_by_program(person))
    path.unlink()
    _expect(answer, 201)


def _expect(answer: httpx2.Response, status: int) -> None:
    if answer.status_code != status:
        raise HarkError(f"{answer.request.url.path}: {answer.status_code}.", answer.text[:200], "See serve.log.")


@contextmanager
def _training(data: Path) -> Iterator[None]:
    """Train a detector at the command line during the block, in its own folder."""
    folder = data / "trained"
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "main.py", "train", "hey compass", "--effort", "trial", "--data", str(folder)]
    with (folder / "train.log").open("w") as log:
        training = subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log, start_new_session=True)
        try:
            yield
        finally:
            signal_group(training.pid)
            training.wait()


def _flood(server: Server, people: Sequence[Person], talk: np.ndarray) -> Flood:
    import httpx2

    from webui.recordings.models import Recording

    flood, sent = Flood(), {}
    ready = threading.Barrier(FLOOD)

    def mib() -> int:
        return round(sum(map(resident_kib, web_server(server.process.pid))) / 1024)

    def upload(number: int) -> httpx2.Response:
        with io.BytesIO() as file:
            soundfile.write(file, _long(talk, SHORT_S, 700 * number), SAMPLE_RATE, format="WAV", subtype="PCM_16")
            content = file.getvalue()
        name = f"flood-{number}.wav"
        sent[name] = hashlib.sha256(content).digest()
        ready.wait()
        headers = _by_program(people[number % len(people)])
        return client.post("/api/v1/recordings", files={"audio": (name, content)}, headers=headers)

    most = httpx2.Limits(max_connections=None)
    address = f"http://127.0.0.1:{server.port}"
    with httpx2.Client(base_url=address, timeout=ANSWER_S, limits=most) as client, ThreadPoolExecutor(FLOOD) as pool:
        _send(
            client, people[0], "first.wav", _long(talk, SHORT_S), Path(tempfile.gettempdir())
        )  # loads the server's code
        before = highest = mib()
        began = time.monotonic()
        uploads = [pool.submit(upload, number) for number in range(FLOOD)]
        while not all(doing.done() for doing in uploads):
            highest = max(highest, mib())
            time.sleep(0.5)
        flood.seconds = time.monotonic() - began
        flood.web_mib = [before, highest, mib()]
    for doing in uploads:
        if doing.exception() is not None:
            flood.wrong.append(f"no answer: {doing.exception()!r}")
            continue
        answer = doing.result()
        flood.statuses[answer.status_code] += 1
        if answer.status_code == 201:
            continue
        if answer.status_code not in (429, 503, 507) or "what_to_do" not in answer.text:
            flood.wrong.append(f"{answer.status_code}: {answer.text[:200]}")
        flood.late += (
            "RateLimit-Limit" in answer.headers
        )  # Django, which sets this header, sees a request only after its whole body
    rows = Recording.objects.filter(name__startswith="flood-").select_related("user")
    for recording in rows:
        original = recording.path / recording.originals[0]
        flood.whole += original.is_file() and hashlib.sha256(original.read_bytes()).digest() == sent[recording.name]
    if not len(rows) == flood.whole == flood.statuses[201]:
        flood.wrong.append(
            f"{flood.statuses[201]} uploads were accepted; {len(rows)} recordings exist, {flood.whole} of them intact"
        )
    return flood


def _wait_for_jobs(reporter: Reporter) -> float:
    """Wait until no job is left; return the seconds that this took."""
    from webui.jobs.models import Job

    began = time.monotonic()
    most = 1
    while left := Job.objects.filter(state__in=Job.GOING).count():
        most = max(most, left)
        reporter.progress(most - left, most)
        if time.monotonic() - began > MAX_DURATION_S:
            raise HarkError(
                f"The jobs did not end within {MAX_DURATION_S / 60:g} minutes.",
                f"{left} are still queued or running.",
                "Read their logs.",
            )
        time.sleep(0.5)
    return time.monotonic() - began


@contextmanager
def _watched(server: Server, use: Use, until: float, reporter: Reporter) -> Iterator[Callable[[], None]]:
    """Yield a function that records memory and the queue when a measurement is due."""
    from webui.jobs.models import Job

    next_look, began = time.monotonic(), time.monotonic()

    def look() -> None:
        nonlocal next_look
        if time.monotonic() < next_look:
            return
        next_look += LOOK_EVERY_S
        use.waiting.append(Job.objects.filter(state=Job.State.QUEUED).count())
        use.web_mib.append(sum(map(resident_kib, web_server(server.process.pid))) / 1024)
        use.all_mib.append(resident_kib(server.process.pid) / 1024)
        reporter.progress(round(time.monotonic() - began), round(until - began))

    yield look
    next_look = 0.0
    look()


def _used(
    server: Server, people: Sequence[Person], talk: np.ndarray, rate: float, seconds: float, seed: int,
    reporter: Reporter,
) -> Use:  # fmt: skip
    """Send mixed requests at random at ``rate`` a second, without waiting for earlier answers."""
    rng = np.random.default_rng(seed)
    use, kinds = Use(), list(WEIGHTS)
    shares = np.array(list(WEIGHTS.values()), float) / sum(WEIGHTS.values())
    due, until = time.monotonic(), time.monotonic() + seconds
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(_client(server.port)) as client,
        ThreadPoolExecutor(64) as pool,
        _watched(server, use, until, reporter) as look,
    ):
        requests: list[Future[None]] = []
        number = 0
        while due < until:
            due += rng.exponential(1 / rate)
            while (wait := due - time.monotonic()) > 0:
                time.sleep(min(wait, LOOK_EVERY_S))
                look()
            kind = str(rng.choice(kinds, p=shares))
            person = people[int(rng.integers(len(people)))]
            number += 1
            requests.append(pool.submit(_ask, client, kind, person, talk, number, Path(folder), due, use))
        for doing in requests:
            doing.result()
    return use


def _ask(
    client: httpx2.Client, kind: str, person: Person, talk: np.ndarray, number: int, folder: Path, due: float, use: Use
) -> None:
    import httpx2

    try:
        if kind == "upload":
            _send(client, person, f"short-{number}.wav", _long(talk, SHORT_S, 700 * number), folder)
        else:
            _expect(_answer(client, kind, person), 200)
    except (HarkError, httpx2.HTTPError) as error:
        use.wrong[f"{kind}: {error}"] += 1
    else:
        use.took_s[kind].append(time.monotonic() - due)


def _answer(client: httpx2.Client, kind: str, person: Person) -> httpx2.Response:
    from django.conf import settings

    by_browser = {"Cookie": f"{settings.SESSION_COOKIE_NAME}={person.session}"}
    by_program = _by_program(person)
    if kind == "page":
        return client.get("/", headers=by_browser)
    if kind == "recording":
        listed = client.get("/api/v1/recordings?limit=1&state=ready", headers=by_program)
        _expect(listed, 200)
        return client.get(f"/recordings/{listed.json()['items'][0]['id']}", headers=by_browser)
    if kind == "search":
        return client.get(f"/api/v1/recordings/search?q={WORD}", headers=by_program)
    if kind == "ask":
        return client.post("/api/v1/recordings/ask", json={"question": SENTENCES[1]}, headers=by_program)
    if kind == "advice":
        return client.get("/api/v1/advice?phrase=hey+compass", headers=by_program)
    return client.get("/api/v1/recordings", headers=by_program)


def _times(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {"count": 0}
    p50, p95 = np.percentile(seconds, [50, 95])
    return {
        "count": len(seconds), "p50_s": round(float(p50), 2), "p95_s": round(float(p95), 2),
        "max_s": round(max(seconds), 2),
    }  # fmt: skip


def _parts(values: Sequence[float], of: Callable[[Sequence[float]], float] = statistics.median) -> list[float]:
    """Split values in order of time into :data:`PARTS`, and reduce each part to one value by ``of``."""
    return [round(of(part.tolist())) for part in np.array_split(values, PARTS) if len(part)]


def table(figures: Figures) -> str:
    """Format the figures of :func:`run`, and the failures."""
    flood, use = figures["flood"], figures["use"]
    rows: list[tuple[str, ...]] = [("", "number", "p50 [s]", "p95 [s]", "longest [s]")]
    for kind, times in use["answers"].items():
        columns = (str(times.get(column, "–")) for column in ("count", "p50_s", "p95_s", "max_s"))
        rows.append((f"{use['rate']:g} per second: {kind}", *columns))
    tried = ", ".join(
        f"{rate} a second: p95 {got['p95_s']} s, {got['waiting']} jobs wait{'' if got['held'] else ' (not held)'}"
        for rate, got in figures["rates"].items()
    )
    answers = ", ".join(f"{status}: {count}" for status, count in flood["statuses"].items())
    summary = [
        f"{flood['uploads']} uploads at the same moment during a training, in {flood['seconds']} s: {answers}; "
        f"{flood['whole']} recordings whole; {flood['late']} refused after their body; web server, before, most and "
        f"after: {flood['web_mib']} MiB",
        f"rates: {tried}",
        f"in {PARTS} parts of {use['minutes']:g} minutes: web server {use['web_mib']} MiB, all {use['all_mib']} MiB, "
        f"most jobs that waited {use['waiting']}; the queue was empty {use['queue_empty_after_s']} s after",
        *flood["wrong"],
        *(f"{rate} a second: {what} ({times} times)" for rate, got in figures["rates"].items()
          for what, times in got["wrong"].items()),
        *(f"{what} ({times} times)" for what, times in use["wrong"].items()),
    ]  # fmt: skip
    return "\n".join([*aligned(rows), *summary])
