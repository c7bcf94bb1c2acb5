"""Speech engines, each in its own worker process: their interface, and the host's side of it."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np

from audio_generation.clip_check import check_clip
from core import environments
from core.data_folder import installation_folder, storage_error, storing
from core.errors import HarkError
from core.readiness import Readiness
from core.worded import Worded, number, worded
from core.worker_process import WorkerGone, WorkerProcess

Setting = float | int | str
Settings = Mapping[str, Setting]

FREE_RESTARTS = 3  # number of crashes and hangs after which a worker is always restarted
CLIPS_A_RESTART = 25  # clips that must succeed per additional restart; otherwise the call gives the engine up
STORAGE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)  # errors that end the run, not only a request
MAX_WAIT_S = 60.0  # maximum seconds to wait for another thread's call of the same engine


@dataclass(frozen=True)
class Voice:
    """A voice of an engine.

    ``speaker`` names the person or vocal tract behind the voice. Data are split by it, so it is the same in every
    engine that has that person (flite's and festival's ``slt`` are the same woman). ``model`` names the weights or
    the program.
    """

    engine: str
    name: str
    language: str  # like BCP 47, lower case: "en-us"
    speaker: str
    licence: str
    model: str


@dataclass(frozen=True)
class SpeechRequest:
    """A text to synthesize. ``request_id`` is unique within a call and is returned with the result."""

    request_id: str
    text: str
    voice: str
    language: str
    settings: Settings


@dataclass(frozen=True)
class GeneratedClip:
    """A checked clip: a mono file at ``path`` in the engine's sample rate, neither silence nor noise."""

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
    """A request without a usable clip; ``why`` is a sentence for the log and the report."""

    request_id: str
    why: str


def speaks(voice_language: str, wanted: str) -> bool:
    """Return whether a voice of ``voice_language`` matches ``wanted``: "en-gb-scotland" matches "en" and "en-gb".

    "" matches every language.
    """
    have, want = voice_language.lower().replace("_", "-"), wanted.lower().replace("_", "-")
    return want in ("", have) or have.startswith(want + "-")


class Engine:
    """The base of all speech engines; it runs ``audio_generation/<name>_side/worker.py``.

    A worker is started once and synthesizes many phrases. If it crashes, hangs, or writes invalid answers or files, the
    affected request fails with a reason, and the worker is restarted. Calls of ``synthesize`` from
    several threads take turns. Within one thread, a call must end before the next begins.

    A subclass sets the attributes and implements ``find_voices`` and ``draw_settings``. Most need no more.

    Attributes:
        name: its name in the registry, the library and the command line.
        about: one sentence for users on its sound, size and speed.
        licence: SPDX identifier (or short name) of the program; each voice has its own.
        paid: whether it costs money per character; it is used only if the user names it.
        by_default: whether it is used if it is ready, without being named (False: paid, very slow or unproven).
        unsure: whether some of its clips are unintelligible; a run uses those that Hark's recognizer understands.
        clip_s: seconds per clip on two cores, measured by `python -m lab engines`, rounded up.
        rule_based: whether it is formant or diphone synthesis; detectors miss such voices more often than people.
        example_voice: a voice that can be downloaded; "" if its voices come with it.
        voice_list: the URL of a list of voices that can be downloaded.
        download_mb: megabytes of its packages, if English runs install them (except trials and runs that name engines);
            otherwise 0.
        answering_order: engines with a lower number are tried first for spoken answers; equal numbers, by name.
        answering_voice: the voice preferred for answers.
    """

    name: str
    about: Worded
    licence: str
    paid: bool = False
    by_default: bool = True
    unsure: bool = False
    clip_s: float = 1.0
    rule_based: bool = False
    example_voice: str = ""
    voice_list: str = ""
    download_mb: int = 0
    answering_order: int = 10
    answering_voice: str = ""
    packages: tuple[str, ...] = ()  # modules that the worker imports; checked before it starts
    loads_weights: bool = False  # whether starting the worker is slow, in which case ``available`` does not start it
    requests_ahead: int = 3  # requests sent in advance, so that the worker synthesizes while the host checks clips
    start_timeout_s: float = 60.0
    request_timeout_s: float = 30.0

    def __init__(self) -> None:
        self._worker: WorkerProcess | None = None
        self._numbers = count(1)  # of requests
        self._starting = threading.RLock()
        self._speaking = threading.Lock()
        self._speaking_thread: int | None = None  # the thread that holds ``_speaking``
        self._named: dict[str, dict[str, Voice]] = {}  # by language and name

    # For subclasses.

    def find_voices(self, language: str) -> list[Voice]:
        """Return the voices of a language; called only if the engine is ready."""
        raise NotImplementedError

    def find_reserved_voices(self, language: str) -> list[Voice]:
        return []

    def draw_settings(self, voice: Voice, rng: np.random.Generator) -> dict[str, Setting]:
        """Draw random but natural ``SpeechRequest.settings`` for a voice, such as rate, pitch and seed."""
        raise NotImplementedError

    def source(self, voice: str) -> tuple[str, Sequence[str]]:
        """Return the repository on Hugging Face and the patterns of the files that make up a voice.

        Raises the HarkError of :meth:`no_voice`.
        """
        raise NotImplementedError

    def no_voice(self, voice: str, why: Worded) -> HarkError:
        """Return the error for an invalid voice name; ``why`` states the form of valid names."""
        return HarkError(
            worded("The engine %(engine)s has no voice %(voice)s to download.", engine=self.name, voice=repr(voice)),
            why,
            worded("Choose one of its voices: %(address)s.", address=self.voice_list),
        )

    def missing(self) -> Readiness | None:
        """Return what is missing (programs, weights, a key), without starting the worker; None if it is complete."""
        return None

    def worker_module(self) -> str:
        return f"audio_generation.{self.name}_side.worker"

    def folder(self) -> Path:
        """Return the folder of its downloaded weights and voices."""
        return installation_folder() / "voices" / self.name

    def worker_arguments(self) -> list[str]:
        """Return the worker's command-line arguments; by default, the folder of its voices."""
        return [str(self.folder())]

    def worker_environment(self) -> Mapping[str, str]:
        """Return environment variables with the worker's secrets: other users could read them as arguments."""
        return {}

    def voice_named(self, name: str, language: str) -> Voice | None:
        """Return the voice of that name, or None."""
        if language not in self._named:
            self.voices(language)
        return self._named[language].get(name)

    def refusal(self, request: SpeechRequest) -> str:
        """Return the reason why a request must not be sent (a spending limit), or an empty string."""
        return ""

    # The interface for callers.

    def available(self) -> Readiness:
        """Return whether the engine can be used here. This is fast (it does not load weights) and never raises."""
        try:
            packages = environments.readiness(self.name, environments.lacking(self.name, self.packages))
            if not packages.ok:
                return packages
            if environments.is_enabled(self.name) and (why := environments.damaged(self.name)):
                return Readiness(False, worded("%(why)s.", why=why), f"./hark engines enable {self.name}")
            problem = self.missing()
            if problem is None and not self.loads_weights:
                self.facts()
        except (WorkerGone, OSError) as reason:
            return Readiness(False, str(reason), worded("Run ./hark doctor to see what is missing."))
        return problem or Readiness(True)

    def voices(self, language: str) -> list[Voice]:
        """Return the voices of a language ("en": all accents, "en-gb": one, "": all); [] if the engine is not ready."""
        try:
            voices = self.find_voices(language) if self.available().ok else []
        except WorkerGone as reason:
            raise HarkError(
                worded("The engine %(name)s did not list its voices.", name=self.name),
                f"{reason}.",
                worded("Run ./hark doctor to see what is missing."),
            ) from reason
        reserved = self.find_reserved_voices(language) if voices else []
        self._named[language] = {voice.name: voice for voice in (*voices, *reserved)}
        return voices

    def reserved_voices(self, language: str) -> list[Voice]:
        """Return voices that ``voices`` omits, because they are reserved for measurements."""
        return self.find_reserved_voices(language) if self.available().ok else []

    def languages(self) -> set[str]:
        """Return the voices' languages ("de", "en-gb"); none if the engine is not ready. Fast, like ``available``."""
        return {voice.language for voice in self.voices("")} - {""}

    def synthesize(self, requests: Iterable[SpeechRequest], folder: Path) -> Iterator[GeneratedClip | FailedRequest]:
        """Synthesize requests in order to files under ``folder``; yield results. A failure affects one request only."""
        with storing("speech synthesis"):
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
                    flight = _InFlight(request, folder, next(self._numbers))
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
            if in_flight:  # the caller stopped early, and the next call must not receive these answers
                self.close()
            self._speaking_thread = None
            self._speaking.release()

    def close(self) -> None:
        """End the worker process. The engine may be used again afterwards."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

    def facts(self) -> dict[str, Any]:
        """Return the facts that the worker reported when it was ready; start it if necessary.

        Raises:
            CannotStart: it did not become ready.
        """
        with self._starting:
            if self._worker is not None and not self._worker.alive() and not self._speaking.locked():
                self.close()  # it ended while idle
            if self._worker is None:
                self._worker = WorkerProcess(
                    self.name,
                    [str(environments.interpreter(self.name)), "-m", self.worker_module(), *self.worker_arguments()],
                    self.worker_environment(),
                    self.start_timeout_s,
                )
            return self._worker.facts

    def _take_turn(self) -> None:
        if self._speaking_thread == threading.get_ident():  # this thread would wait for itself
            raise RuntimeError(f"{self.name} is still answering another call of synthesize")
        if not self._speaking.acquire(timeout=MAX_WAIT_S):
            raise HarkError(
                worded("The engine %(name)s is busy.", name=self.name),
                worded(
                    "It has been synthesizing something else for %(longest_wait_s)s s.",
                    longest_wait_s=number(MAX_WAIT_S),
                ),
                worded("Try again in a minute."),
            )
        self._speaking_thread = threading.get_ident()

    def _start(self) -> str:
        """Start the worker if it is not running; return the reason for a failure, or an empty string.

        Only the call that holds ``_speaking`` may use this, and only while no answer is outstanding.
        """
        try:
            with self._starting:
                if self._worker is not None and not self._worker.alive():
                    self.close()  # it ended while idle
            self.facts()
        except (WorkerGone, OSError) as reason:
            return str(reason)
        return ""

    def _start_again(self, restarts: int, spoken: int, why: str) -> tuple[int, str]:
        """Restart the worker after failure number ``restarts``; return the failures, and why to give up, or "".

        A failed start (which may be slow on a busy machine) counts as another failure.
        """
        self.close()
        while restarts <= FREE_RESTARTS + spoken // CLIPS_A_RESTART:
            failed = self._start()
            if not failed:
                return restarts, ""
            restarts, why = restarts + 1, failed
        return restarts, f"{self.name} was given up after {restarts} failures of its worker; the last: {why}"

    def _send(self, flight: _InFlight) -> None:
        """Send a request unless :meth:`refusal` forbids it; a repetition after a restart is not checked again."""
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
            raise storage_error(OSError(number, os.strerror(number), str(flight.path.parent)), "speech synthesis")
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
    """A request in flight: its number in the protocol, its file, and why it was not sent."""

    def __init__(self, request: SpeechRequest, folder: Path, number: int) -> None:
        self.number = str(number)
        self.request = request
        self.voice: Voice | None = None
        self.refused = ""
        # Callers choose request ids; a digest is a safe file name for any id.
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
