"""Speech engines, each in a worker process of its own: the contract, and the host's side of it."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from audio_generation.clip_check import check_clip
from core import environments
from core.data_folder import installation_folder, storage_error, storing
from core.errors import HarkError
from core.readiness import Readiness
from core.worded import Worded, listed, number, worded
from core.worker_process import WorkerGone, WorkerProcess

Setting = float | int | str
Settings = Mapping[str, Setting]

FREE_RESTARTS = 3  # crashes and hangs that are forgiven anyway
CLIPS_A_RESTART = 25  # good clips for one more restart; beyond that the engine is given up for the call
STORAGE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)  # they end the run, not only a request
LONGEST_WAIT_S = 60.0  # for another thread's call of the same engine to end


@dataclass(frozen=True)
class Voice:
    """One voice of one engine.

    ``speaker`` names the vocal tract or person behind the voice and is the same in every engine that has that person
    (flite's and festival's ``slt`` are one woman): data are split by it. ``model`` names the weights or the program.
    """

    engine: str
    name: str
    language: str  # BCP 47-like, lower case: "en-us"
    speaker: str
    licence: str
    model: str


@dataclass(frozen=True)
class SpeechRequest:
    """One text to be spoken. ``request_id`` is unique within a call and comes back with the result."""

    request_id: str
    text: str
    voice: str
    language: str
    settings: Settings


@dataclass(frozen=True)
class GeneratedClip:
    """A checked clip: a mono file at ``path`` in the engine's own sample rate, neither silent nor noise."""

    request_id: str
    path: Path
    duration_s: float
    sample_rate: int
    text: str
    model_name: str
    voice: str
    speaker: str
    settings: Settings
    licence: str


@dataclass(frozen=True)
class FailedRequest:
    """A request that gave no usable clip; ``why`` is one sentence for the log and the report."""

    request_id: str
    why: str


def speaks(voice_language: str, wanted: str) -> bool:
    """True where a voice of ``voice_language`` serves the wish ``wanted``: "en-gb-scotland" serves "en" and "en-gb".

    "" wishes for nothing: every language serves it.
    """
    have, want = voice_language.lower().replace("_", "-"), wanted.lower().replace("_", "-")
    return want in ("", have) or have.startswith(want + "-")


class Engine:
    """A speech engine, and the base of each: it runs ``audio_generation/<name>_side/worker.py``.

    A worker is started once and speaks many phrases. It may crash, hang, print nonsense or write garbage: the request
    at fault fails with a reason, the worker is started again, and the run goes on. Calls of ``synthesize`` from several
    threads take turns; within one thread, one must end before the next begins.

    A subclass sets the attributes and gives ``find_voices`` and ``draw_settings``; most need nothing else.

    Attributes:
        name: its name in the registry, the library and the command line.
        about: one sentence to choose it by: how it sounds, its size, its speed.
        licence: SPDX identifier (or short name) of the program; each voice has its own.
        paid: costs money a character; speaks only when the user names it.
        by_default: used without being named where it is ready (false: paid, very slow or unproven).
        unsure: some of its clips cannot be understood; a run keeps those in which Hark's recognizer finds the text.
        clip_s: seconds that a clip takes, by `python -m lab engines` on two cores, rounded up.
        rule_based: formant or diphone synthesis; detectors miss such voices more often than people.
    """

    name: str
    about: Worded
    licence: str
    paid: bool = False
    by_default: bool = True
    unsure: bool = False
    clip_s: float = 1.0
    rule_based: bool = False
    packages: tuple[str, ...] = ()  # modules that the worker imports; looked for before it is started
    loads_weights: bool = False  # starting the worker is slow, so ``available`` does without
    requests_ahead: int = 3  # in flight, so that the worker speaks the next one while the host checks the last
    start_timeout_s: float = 60.0
    request_timeout_s: float = 30.0

    def __init__(self) -> None:
        self._worker: WorkerProcess | None = None
        self._starting = threading.RLock()
        self._speaking = threading.Lock()
        self._speaking_thread: int | None = None  # the one that has ``_speaking``
        self._named: dict[str, dict[str, Voice]] = {}  # by language and name

    # What a subclass gives.

    def find_voices(self, language: str) -> list[Voice]:
        """The voices of a language, where the engine is ready."""
        raise NotImplementedError

    def find_kept_voices(self, language: str) -> list[Voice]:
        return []

    def draw_settings(self, voice: Voice, rng: np.random.Generator) -> dict[str, Setting]:
        """A random but natural way to speak with that voice (rate, pitch, scales, seed), for ``SpeechRequest``."""
        raise NotImplementedError

    def missing(self) -> Readiness | None:
        """What is missing here (programs, weights, a key), found without starting the worker; None where nothing is."""
        return None

    def worker_module(self) -> str:
        """The module that the worker runs."""
        return f"audio_generation.{self.name}_side.worker"

    def folder(self) -> Path:
        """Where the weights and voices lie that were downloaded for it."""
        return installation_folder() / "voices" / self.name

    def worker_arguments(self) -> list[str]:
        """What the worker is started with: its voices' folder, unless the engine says otherwise."""
        return [str(self.folder())]

    def worker_environment(self) -> Mapping[str, str]:
        """Secrets for the worker, which other users of the machine could read in its arguments."""
        return {}

    def voice_named(self, name: str, language: str) -> Voice | None:
        """The voice of that name, or None."""
        if language not in self._named:
            self.voices(language)
        return self._named[language].get(name)

    def refusal(self, request: SpeechRequest) -> str:
        """Why a request must not even be sent (a spending limit), or an empty string."""
        return ""

    # The contract.

    def available(self) -> Readiness:
        """Whether the engine can speak here. Fast (no weights are loaded), never raises."""
        try:
            lacks = environments.lacking(self.name, self.packages)
            if lacks:
                return Readiness(
                    False,
                    worded(
                        "The Python packages of %(engine)s are not installed (%(packages)s).",
                        engine=self.name,
                        packages=listed(lacks),
                    ),
                    f"./hark engines enable {self.name}",
                )
            if environments.is_enabled(self.name) and (why := environments.damaged(self.name)):
                return Readiness(False, worded("%(why)s.", why=why), f"./hark engines enable {self.name}")
            found = self.missing()
            if found is None and not self.loads_weights:
                self.facts()
        except (WorkerGone, OSError) as reason:
            return Readiness(False, str(reason), worded("./hark doctor shows what is missing."))
        return found or Readiness(True)

    def voices(self, language: str) -> list[Voice]:
        """The voices of a language ("en" takes every accent, "en-gb" that accent, "" every language); else none."""
        try:
            found = self.find_voices(language) if self.available().ok else []
        except WorkerGone as reason:
            raise HarkError(
                worded("The engine %(name)s did not name its voices.", name=self.name),
                f"{reason}.",
                worded("./hark doctor shows what is missing."),
            ) from reason
        kept = self.find_kept_voices(language) if found else []
        self._named[language] = {voice.name: voice for voice in (*found, *kept)}
        return found

    def kept_voices(self, language: str) -> list[Voice]:
        """Voices that ``voices`` does not list, so that no run and no training hears them: they are to measure on."""
        return self.find_kept_voices(language) if self.available().ok else []

    def languages(self) -> set[str]:
        """What its voices speak ("de", "en-gb"); empty where it is not ready. Fast, as ``available`` is."""
        return {voice.language for voice in self.voices("")} - {""}

    def synthesize(self, requests: Iterable[SpeechRequest], folder: Path) -> Iterator[GeneratedClip | FailedRequest]:
        """Speak the requests in order, one result each, files under ``folder``. A failure of one ends no other."""
        with storing("speech generation"):
            folder.mkdir(parents=True, exist_ok=True)
        waiting = iter(requests)
        in_flight: deque[_InFlight] = deque()
        spoken = restarts = 0
        self._take_turn()
        try:
            ready = self.available()
            given_up = self._start() if ready.ok else f"{self.name} is not ready: {ready.why}"
            while True:
                for request in islice(waiting, self.requests_ahead - len(in_flight)):
                    flight = _InFlight(request, folder)
                    in_flight.append(flight)
                    if not given_up:
                        self._send(flight)
                if not in_flight:
                    return
                head = in_flight.popleft()
                if given_up or head.refused:
                    yield FailedRequest(head.request.request_id, given_up or head.refused)
                    continue
                try:
                    result = self._result(head)
                    spoken += isinstance(result, GeneratedClip)
                except WorkerGone as reason:
                    head.path.unlink(missing_ok=True)
                    result = FailedRequest(head.request.request_id, str(reason))
                    restarts, given_up = self._start_again(restarts + 1, spoken, str(reason))
                    for flight in in_flight:
                        if not given_up:
                            self._send(flight)
                yield result
        finally:
            if in_flight:  # the caller stopped early; late answers must not meet the next call
                self.close()
            self._speaking_thread = None
            self._speaking.release()

    def close(self) -> None:
        """End the worker processes. The engine may be used again afterwards."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

    def facts(self) -> dict[str, Any]:
        """What the worker said of its engine when it was ready; starts it where it is not running.

        Raises:
            CannotStart: it did not become ready.
        """
        with self._starting:
            if self._worker is not None and not self._worker.alive() and not self._speaking.locked():
                self.close()  # it was ended while it had nothing to do
            if self._worker is None:
                self._worker = WorkerProcess(
                    self.name,
                    [str(environments.interpreter(self.name)), "-m", self.worker_module(), *self.worker_arguments()],
                    self.worker_environment(),
                    self.start_timeout_s,
                )
            return self._worker.facts

    def _take_turn(self) -> None:
        if self._speaking_thread == threading.get_ident():  # it would wait for itself
            raise RuntimeError(f"{self.name} is still answering another call of synthesize")
        if not self._speaking.acquire(timeout=LONGEST_WAIT_S):
            raise HarkError(
                worded("The engine %(name)s is busy.", name=self.name),
                worded(
                    "It has been speaking something else for %(longest_wait_s)s s.",
                    longest_wait_s=number(LONGEST_WAIT_S),
                ),
                worded("Try again in a minute."),
            )
        self._speaking_thread = threading.get_ident()

    def _start(self) -> str:
        """Start the worker where it is not running; returns why it could not be, or an empty string.

        Only for the call whose turn it is, while no answer is awaited.
        """
        try:
            with self._starting:
                if self._worker is not None and not self._worker.alive():
                    self.close()  # it was ended while it had nothing to do
            self.facts()
        except (WorkerGone, OSError) as reason:
            return str(reason)
        return ""

    def _start_again(self, restarts: int, spoken: int, why: str) -> tuple[int, str]:
        """Start the worker after its failure number ``restarts``. A start that fails, too (on a machine with much else
        to do it may be slow), is one more failure. Returns the failures, and why the engine is given up or nothing."""
        self.close()
        while restarts <= FREE_RESTARTS + spoken // CLIPS_A_RESTART:
            failed = self._start()
            if not failed:
                return restarts, ""
            restarts, why = restarts + 1, failed
        return restarts, f"{self.name} was given up after {restarts} failures of its worker; the last: {why}"

    def _send(self, flight: _InFlight) -> None:
        """Send a request, unless it must not be. A second sending, after a restart, asks no more."""
        if flight.voice is None:
            flight.voice = self.voice_named(flight.request.voice, flight.request.language)
            if flight.voice is None:
                flight.refused = f"{self.name} has no voice {flight.request.voice!r}"
            else:
                flight.refused = self.refusal(flight.request)
        if not flight.refused and self._worker is not None:
            self._worker.send(flight.message())

    def _result(self, flight: _InFlight) -> GeneratedClip | FailedRequest:
        request, voice = flight.request, flight.voice
        if self._worker is None:
            raise WorkerGone(f"{self.name} was closed while it was speaking")
        assert voice is not None
        answer = self._worker.answer(flight.number, self.request_timeout_s)
        if answer.get("errno") in STORAGE_ERRORS:
            flight.path.unlink(missing_ok=True)
            number = int(answer["errno"])
            raise storage_error(OSError(number, os.strerror(number), str(flight.path.parent)), "speech generation")
        why = str(answer.get("why", "")) if answer.get("event") == "failed" else ""
        if not why:
            facts = check_clip(flight.path, request.text)
            why = facts.problem
        if why:
            flight.path.unlink(missing_ok=True)
            return FailedRequest(request.request_id, f"{self.name}, voice {voice.name}: {why}")
        return GeneratedClip(
            request_id=request.request_id,
            path=flight.path,
            duration_s=facts.duration_s,
            sample_rate=facts.sample_rate,
            text=request.text,
            model_name=voice.model,
            voice=voice.name,
            speaker=voice.speaker,
            settings=dict(request.settings),
            licence=voice.licence,
        )


class _InFlight:
    """A request on its way: its number in the protocol, the file that it will become, why it was not sent."""

    _last_number = 0

    def __init__(self, request: SpeechRequest, folder: Path) -> None:
        _InFlight._last_number += 1
        self.number = str(_InFlight._last_number)
        self.request = request
        self.voice: Voice | None = None
        self.refused = ""
        # Request ids are the caller's; a digest is a safe file name whatever they hold.
        self.path = folder.resolve() / f"{hashlib.sha256(request.request_id.encode()).hexdigest()[:24]}.wav"

    def message(self) -> dict[str, Any]:
        return {
            "id": self.number,
            "text": self.request.text,
            "voice": self.request.voice,
            "language": self.request.language,
            "settings": dict(self.request.settings),
            "path": str(self.path),
        }
