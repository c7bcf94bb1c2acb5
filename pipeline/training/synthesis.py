"""Synthesis: the plan's requests through the engines, several at once, straight into the clip library."""

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
from pipeline.training.plan import Plan, PlannedRequest, draw_voice, remaining, run_splits

WAITING_CLIPS = 64  # clips that may wait for the library; engines pause when it is full


@dataclass
class GenerationReport:
    """What became of the requests."""

    generated: Counter[str] = field(default_factory=Counter)  # by bucket
    failed: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))  # by engine: why, how often
    seconds_of_audio: float = 0.0


def generate(plan: Plan, engines: dict[str, Engine], library: Library, reporter: Reporter) -> GenerationReport:
    """Make what the plan asks for and the library does not have yet. Stopped at any point, it goes on from there.

    A request that fails is given once more to a voice of another engine; an engine that fails altogether is left out,
    and the log says so.

    Raises:
        HarkError: not one clip could be made, or the disk is full or read-only.
    """
    report = GenerationReport()
    todo = remaining(plan.requests, library)
    if not todo:
        return report
    reporter.stage("synthesize", worded("Speaking %(n)d clips", n=len(todo)))
    progress = Progress(reporter, len(todo))
    with storing("speech synthesis"):
        folder = library.data_dir / "tmp" / f"speech-{plan.run}"
        shutil.rmtree(folder, ignore_errors=True)  # of the same run, when it was killed
        folder.mkdir(parents=True)
    try:
        failed = _speak(todo, plan, engines, library, folder, progress, report, reporter)
        if failed and len(engines) > 1:
            retried = _reassign(failed, plan, engines)
            reporter.log(worded("%(n)d clips failed and are spoken by other engines.", n=len(retried)), "warning")
            failed = _speak(retried, plan, engines, library, folder, progress, report, reporter)
    finally:
        for engine in engines.values():
            engine.close()
        shutil.rmtree(folder, ignore_errors=True)
    for engine_name, reasons in report.failed.items():
        for why, count in reasons.most_common(3):
            reporter.log(
                worded("%(engine)s: %(n)d clips failed: %(why)s", engine=engine_name, n=count, why=why), "warning"
            )
    if not report.generated and len(todo) == len(plan.requests):
        raise HarkError(
            worded("No speech engine could speak."),
            "; ".join(f"{name}: {next(iter(reasons))}" for name, reasons in report.failed.items()),
            worded("Run ./hark doctor to see what is wrong with the engines."),
        )
    return report


def _reassign(failed: list[PlannedRequest], plan: Plan, engines: dict[str, Engine]) -> list[PlannedRequest]:
    """The same texts, by voices of other engines of the same split where there is one."""
    splits = run_splits(plan, engines)
    rng = np.random.default_rng((plan.config.seed, 3))
    result = []
    for request in failed:
        others = {name: v for name, v in splits.voices[request.split].items() if name != request.engine}
        if not others:
            continue
        name, voice = draw_voice(others, rng)
        settings = engines[name].draw_settings(voice, rng)
        result.append(replace(request, engine=name, voice=voice.name, settings=settings))
    return result


def _speak(
    requests: list[PlannedRequest],
    plan: Plan,
    engines: dict[str, Engine],
    library: Library,
    folder: Path,
    progress: Progress,
    report: GenerationReport,
    reporter: Reporter,
) -> list[PlannedRequest]:
    """One thread an engine, one writer. Returns the requests that gave no clip."""
    by_id = {request.request_id: request for request in requests}
    by_engine: dict[str, list[PlannedRequest]] = {}
    for request in requests:
        by_engine.setdefault(request.engine, []).append(request)
    results: queue.Queue[tuple[str, NewClip | FailedRequest | BaseException | None]] = queue.Queue(WAITING_CLIPS)
    stop = threading.Event()

    def put(name: str, item: NewClip | FailedRequest | BaseException | None) -> None:
        while not stop.is_set():
            try:
                return results.put((name, item), timeout=0.2)
            except queue.Full:
                continue

    def speak(name: str) -> None:
        spoken = (
            SpeechRequest(r.request_id, r.text, r.voice, plan.config.language, r.settings)
            for r in by_engine[name]
            if not stop.is_set()
        )
        try:
            for result in engines[name].synthesize(spoken, folder / name):
                if stop.is_set():
                    break
                clip = _new_clip(result, name, plan.config.language)
                put(name, _if_understood(clip) if engines[name].unsure else clip)
        except BaseException as error:  # an engine's bug must not end the run: its requests count as failed
            put(name, error)
        finally:
            put(name, None)

    for name in by_engine:
        (folder / name).mkdir(parents=True, exist_ok=True)
    threads = [threading.Thread(target=speak, args=(name,), daemon=True) for name in by_engine]
    for thread in threads:
        thread.start()
    done: set[str] = set()
    paces = {name: Pace(len(own)) for name, own in by_engine.items()}

    def arriving() -> Iterator[NewClip]:
        while paces:
            try:
                name, item = results.get(timeout=0.5)
            except queue.Empty:
                continue
            if item is None:
                del paces[name]
                if paces:
                    others = ", ".join(
                        worded("%(engine)s (%(n)d left)", engine=e, n=p.total - p.done) for e, p in paces.items()
                    )
                    reporter.log(worded("%(engine)s is done; still speaking: %(others)s.", engine=name, others=others))
                continue
            paces[name].advance()
            if isinstance(item, HarkError) or (isinstance(item, OSError) and item.errno in STORAGE_ERRORS):
                raise item
            elif isinstance(item, BaseException):
                report.failed[name][f"the engine stopped: {type(item).__name__}: {item}"] += 1
                reporter.log(worded("%(engine)s stopped: %(why)s", engine=name, why=str(item)), "warning")
            elif isinstance(item, FailedRequest):
                report.failed[name][item.why] += 1
            else:
                assert item.request_id is not None
                done.add(item.request_id)
                report.generated[by_id[item.request_id].bucket] += 1
                report.seconds_of_audio += len(item.audio) / 16_000
                progress.advance(paces=paces.values())
                yield item

    try:
        library.add_clips(arriving())
    except OSError as error:
        raise storage_error(error, "speech synthesis") from error
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=10)
    return [request for request in requests if request.request_id not in done]


def _if_understood(clip: NewClip | FailedRequest) -> NewClip | FailedRequest:
    """The clip if Hark's recognizer finds its text in it."""
    if isinstance(clip, FailedRequest):
        return clip
    from pipeline.training.keyword_scoring import LEAST_UNDERSTOOD, is_understood

    if is_understood(clip.audio, clip.text, clip.language):
        return clip
    return FailedRequest(clip.request_id or "", f"could not be understood (below {LEAST_UNDERSTOOD:g})")


def _new_clip(result: GeneratedClip | FailedRequest, engine: str, language: str) -> NewClip | FailedRequest:
    """The library's record of a spoken clip; its file is read, brought to 16 kHz and removed."""
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
