"""The child process of a job: ``python -m pipeline.job_process NAME`` reads JSON from stdin, writes events to stdout.

An event is a line of JSON. The last one is ``result`` or ``error``. The process and its children end
with its parent: after a supervisor was killed, another may resume the job, and the two must not run at once.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

from core.child_process import end_with_parent, parent_is_gone, take_stdout
from core.data_folder import atomic_path, data_folder, is_full, storage_error
from core.errors import HarkError, LimitReached
from core.events import Reporter, json_lines_sink
from core.worded import worded
from pipeline.jobs import KINDS
from pipeline.training.configuration.specification import JOB

DONE, BUG, FIXABLE, INTERRUPTED = 0, 1, 2, 130  # exit codes, as everywhere in Hark
NICENESS = 10  # jobs yield the processors to the portal's pages, because users wait for these (python -m lab portal)


def finished_file(data: Path, name: str) -> Path:
    """Return the file that holds a job's result until it is collected."""
    return data / "jobs" / f"finished-{name}.json"


def main() -> int:
    """Run the job on stdin; return the exit code."""
    parent = os.getppid()
    end_with_parent()
    if parent_is_gone(parent):
        return INTERRUPTED
    os.nice(NICENESS)
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    events = take_stdout()
    job = json.load(sys.stdin)
    sink = json_lines_sink(events)
    reporter = Reporter(sink)
    data = Path(job["data"])
    os.environ.setdefault("HARK_INSTALLATION", str(data_folder()))  # before HARK_DATA changes the data folder
    os.environ["HARK_DATA"] = str(data)
    kind = KINDS[job["kind"]]
    _limit_memory(kind.memory_bytes)
    name = sys.argv[1]
    finished = finished_file(data, name)
    if finished.is_file():  # a worker was killed before it could record the end
        sink({"event": "result", "result": json.loads(finished.read_text())})
        return DONE
    try:
        result = kind.run({**job["spec"], JOB: name}, data, reporter)
        with atomic_path(finished) as temporary:
            temporary.write_text(json.dumps(result))
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        end, code = _ending(error, name)
        reporter.error(end)
        return code
    finally:
        registry = sys.modules.get("audio_generation.registry")  # imported only by jobs that speak
        if registry is not None:
            registry.close_engines()
    sink({"event": "memory", "time": time.time(), "bytes": _most_memory()})
    sink({"event": "result", "result": result})
    return DONE


class Bug(HarkError):
    """Raised for an exception that Hark did not expect."""

    reason = "bug"


def _ending(error: Exception, name: str) -> tuple[HarkError, int]:
    """Return the error that users see when ``error`` has ended job ``name``, and the exit code."""
    if isinstance(error, HarkError):
        return error, FIXABLE
    if isinstance(error, MemoryError):
        too_large = LimitReached(
            worded("The job was stopped."),
            worded("It needs more memory than this kind of job can have."),
            worded("Try it with less data."),
        )
        return too_large, FIXABLE
    if isinstance(error, OSError) and is_full(error):
        return storage_error(error, "the job"), FIXABLE
    import traceback

    traceback.print_exception(error)  # goes to the job's log
    bug = Bug(
        worded("The job stopped because of a bug in Hark."),
        worded("The log of job %(name)s has the details.", name=name),
        worded("Retry continues from where it stopped; if it fails again, please report it with the log."),
    )
    return bug, BUG


def _most_memory() -> int:
    """Return the peak memory in bytes of the largest of this process and its finished children."""
    most = max(resource.getrusage(of).ru_maxrss for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return most if sys.platform == "darwin" else most * 1024


def _limit_memory(size: int | None) -> None:
    """Limit the memory [bytes] of this process and of each child, so that a job fails before the machine."""
    if size is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
