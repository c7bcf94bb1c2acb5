"""Synthesis: runs the plan's requests on several engines in parallel, directly into the clip library."""

from __future__ import annotations

import queue
import shutil
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from audio_generation.engine import STORAGE_ERRORS, Engine, FailedRequest, GeneratedClip, SpeechRequest
from core.audio_file import read_audio
from core.data_folder import storage_error, storing
from core.errors import HarkError
from core.events import Pace, Progress, Reporter
from core.worded import worded
from db.db_api import Library
from db.records import NewClip
from phrase_augmentation.normalize import normalize
from pipeline.scoring.keyword_scoring import MIN_INTELLIGIBILITY, is_understood
from pipeline.training.planning.clip_choice import PlannedRequest
from pipeline.training.planning.demand import demand_of
from pipeline.training.planning.plan import Plan, draw_voice, remaining, run_splits

WAITING_CLIPS = 64  # clips that may wait to be stored before engines pause


@dataclass
class GenerationReport:
    """The outcome of the requests."""

    generated: Counter[str] = field(default_factory=Counter)  # number by bucket
    failed: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))  # counts by engine and reason


def generate(plan: Plan, engines: dict[str, Engine], library: Library, reporter: Reporter) -> GenerationReport:
    """Synthesize the clips that the plan requests and the library lacks; after an interruption, the rest of them.

    A failed request is retried once with a voice of another engine. An engine that stops is dropped, as the log states.

    Raises:
        HarkError: no clips could be made, or the disk is full or read-only.
    """
    report = GenerationReport()
    todo = remaining(plan.requests, library)
    if not todo:
        return report
    reporter.stage("synthesize", worded("Synthesizing %(n)d clips", n=len(todo)))
    with storing("speech synthesis"):
        folder = library.data_dir / "tmp" / f"speech-{plan.run}"
        shutil.rmtree(folder, ignore_errors=True)  # left by a killed process of the same run
        folder.mkdir(parents=True)
    speaking = _Speaking(plan, engines, library, folder, report, reporter, Progress(reporter, len(todo)))
    try:
        failed = speaking.speak(todo)
        retried = _reassign(failed, plan, engines) if failed and len(engines) > 1 else []
        if retried:
            text = worded(
                "%(n)d clip failed; trying another engine.",
                "%(n)d clips failed; trying other engines.",
                n=len(retried),
            )
            reporter.log(text, "warning")
            speaking.speak(retried)
    finally:
        for engine in engines.values():
            engine.close()
        shutil.rmtree(folder, ignore_errors=True)
    for engine_name, reasons in report.failed.items():
        for why, count in reasons.most_common(3):
            text = worded(
                "%(engine)s: %(n)d clip failed: %(why)s",
                "%(engine)s: %(n)d clips failed: %(why)s",
                engine=engine_name, n=count, why=why,
            )  # fmt: skip
            reporter.log(text, "warning")
    if not report.generated and len(todo) == len(plan.requests):
        raise HarkError(
            worded("No speech engine could synthesize speech."),
            "; ".join(f"{name}: {next(iter(reasons))}" for name, reasons in report.failed.items()),
            worded("Run ./hark doctor to see what is wrong with the engines."),
        )
    return report


def _reassign(failed: list[PlannedRequest], plan: Plan, engines: dict[str, Engine]) -> list[PlannedRequest]:
    """Return the failed requests with voices of other engines in the same split, if there are any."""
    splits = run_splits(plan, engines)
    slow_clip_s = demand_of(plan.config).slow_clip_s
    rng = np.random.default_rng((plan.config.seed, 3))
    result = []
    for request in failed:
        others = {name: v for name, v in splits.voices[request.split].items() if name != request.engine}
        if not others:
            continue
        name, voice = draw_voice(others, rng, slow_clip_s)
        settings = engines[name].draw_settings(voice, rng)
        result.append(replace(request, engine=name, voice=voice.name, settings=settings))
    return result


@dataclass
class _Speaking:
    """Engines that run concurrently, one thread each, and one writer."""

    plan: Plan
    engines: dict[str, Engine]
    library: Library
    folder: Path
    report: GenerationReport
    reporter: Reporter
    progress: Progress
    results: queue.Queue[tuple[str, NewClip | FailedRequest | BaseException | None]] = field(init=False)
    stop: threading.Event = field(init=False)

    def speak(self, requests: list[PlannedRequest]) -> list[PlannedRequest]:
        """Store the clips of requests; return the requests without a clip."""
        by_engine: dict[str, list[PlannedRequest]] = {}
        for request in requests:
            by_engine.setdefault(request.engine, []).append(request)
        for name in by_engine:
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.results, self.stop = queue.Queue(WAITING_CLIPS), threading.Event()
        threads = [threading.Thread(target=self._run, args=each, daemon=True) for each in by_engine.items()]
        for thread in threads:
            thread.start()
        left = {request.request_id: request for request in requests}
        try:
            self.library.add_clips(self._arriving(left, {name: Pace(len(own)) for name, own in by_engine.items()}))
        except OSError as error:
            raise storage_error(error, "speech synthesis") from error
        finally:
            self.stop.set()
            for thread in threads:
                thread.join(timeout=10)
        return list(left.values())

    def _run(self, name: str, requests: list[PlannedRequest]) -> None:
        """Put an engine's results into the queue, followed by None."""
        language, engine = self.plan.config.language, self.engines[name]
        spoken = (
            SpeechRequest(r.request_id, r.text, r.voice, language, r.settings)
            for r in requests
            if not self.stop.is_set()
        )
        waiting = {r.request_id for r in requests}
        try:
            for result in engine.synthesize(spoken, self.folder / name):
                if self.stop.is_set():
                    break
                if result.request_id not in waiting:
                    why = f"{name} answered the request {result.request_id!r}, which was not sent or already answered"
                    raise ValueError(why)
                waiting.remove(result.request_id)
                clip = _new_clip(result, name, language)
                self._put(name, _if_understood(clip) if engine.unsure else clip)
        except BaseException as error:  # an engine's bug must not end the run, so its requests count as failed
            self._put(name, error)
        finally:
            self._put(name, None)

    def _put(self, name: str, item: NewClip | FailedRequest | BaseException | None) -> None:
        while not self.stop.is_set():
            try:
                return self.results.put((name, item), timeout=0.2)
            except queue.Full:
                continue

    def _arriving(self, left: dict[str, PlannedRequest], paces: dict[str, Pace]) -> Iterator[NewClip]:
        """Yield clips until every engine has ended, and remove their requests from ``left``."""
        while paces:
            try:
                name, item = self.results.get(timeout=0.5)
            except queue.Empty:
                continue
            if item is None:
                del paces[name]
                if paces:
                    others = ", ".join(
                        worded("%(engine)s (%(n)d left)", engine=e, n=p.total - p.done) for e, p in paces.items()
                    )
                    text = worded("%(engine)s is done; still running: %(others)s.", engine=name, others=others)
                    self.reporter.log(text)
                continue
            paces[name].advance()
            if isinstance(item, HarkError) or (isinstance(item, OSError) and item.errno in STORAGE_ERRORS):
                raise item
            elif isinstance(item, BaseException):
                error = f"{type(item).__name__}: {item}"
                why = worded("the engine stopped: %(error)s", error=error)
                self.report.failed[name][why] += 1
                self.reporter.log(worded("%(engine)s stopped: %(why)s", engine=name, why=str(item)), "warning")
            elif isinstance(item, FailedRequest):
                self.report.failed[name][item.why] += 1
            else:
                request = left.pop(item.request_id or "")
                self.report.generated[request.bucket] += 1
                self.progress.advance(paces=paces.values())
                yield item


def _if_understood(clip: NewClip | FailedRequest) -> NewClip | FailedRequest:
    """Return the clip if Hark's recognizer finds its text in it, otherwise a failed request."""
    if isinstance(clip, FailedRequest):
        return clip
    if is_understood(clip.audio, clip.text, clip.language):
        return clip
    why = worded("was not understood (intelligibility below %(limit)s)", limit=MIN_INTELLIGIBILITY)
    return FailedRequest(clip.request_id or "", why)


def _new_clip(result: GeneratedClip | FailedRequest, engine: str, language: str) -> NewClip | FailedRequest:
    """Return the library's record of a synthesized clip. Its file is read, resampled to 16 kHz and removed."""
    if isinstance(result, FailedRequest):
        return result
    try:
        audio = read_audio(result.path)
    except HarkError as error:
        return FailedRequest(result.request_id, error.why)
    finally:
        result.path.unlink(missing_ok=True)
    return NewClip(
        audio=audio,
        text=result.text,
        text_normalized=normalize(result.text, language),
        language=language,
        engine=engine,
        model=result.model_name,
        voice=result.voice,
        speaker=result.speaker,
        licence=result.licence,
        settings=dict(result.settings),
        request_id=result.request_id,
    )
