"""Function calls on untrusted files in a confined process, which returns each result as a line of JSON."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

if __name__ != "__main__":
    from core.confinement.confined import MAX_FILE_BYTES, confined
    from core.confinement.untrusted_json import untrusted_json
    from core.errors import UnusableFile
    from core.worded import worded, worded_again

REPOSITORY = Path(__file__).resolve().parents[2]
CODE = ("core", "pipeline")  # packages that it may read; their folder may also hold the data folder
MAX_LINE_LENGTH = 1 << 20  # bytes per line of output
LOG_TAIL = 4000


def called(
    place: str, arguments: Sequence[Any], reads: Sequence[Path] = (), writes: Sequence[Path] = ()
) -> Iterator[Any]:
    """Yield the results of the function "module:name": the values of its iterator, or its one return value.

    Args:
        arguments: values that JSON can represent.
        reads, writes: files and folders that it may read, and folders in which it may write.

    Raises:
        UnusableFile: the function raised a HarkError, or the process took too much memory or time.
        OSError: the function raised it.
        RuntimeError: a bug; the message ends with the process's last output.
    """
    program = [sys.executable, "-I", "-B", __file__, place, json.dumps(arguments)]
    command = confined(
        program, [*(REPOSITORY / name for name in CODE), *reads], writes, None if writes else MAX_FILE_BYTES
    )
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"}
    with (
        tempfile.TemporaryFile() as stderr,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, env=environment
        ) as process,
    ):
        assert process.stdout is not None
        try:
            while line := process.stdout.readline(MAX_LINE_LENGTH):
                yield _value(line)
            code = process.wait()
        finally:
            process.kill()
        if code < 0 or code == os.EX_OSERR:
            how = signal.Signals(-code).name if code < 0 else worded("it ran out of memory")
            raise UnusableFile(
                worded("The file could not be read."),
                worded(
                    "The process that reads it was stopped because it used too much memory or time (%(how)s).", how=how
                ),
                worded("Split the file into smaller ones, or create it again."),
            )
        if code:
            stderr.seek(max(0, stderr.seek(0, os.SEEK_END) - LOG_TAIL))
            raise RuntimeError(f"{place} ended with code {code}: {stderr.read().decode(errors='replace')}")


def invalid_answer() -> UnusableFile:
    """Return the error for an invalid answer: a malicious file may have taken over the process that reads it."""
    return UnusableFile(
        worded("The file could not be read."),
        worded("The process that reads it gave an invalid answer."),
        worded("Use it only if you trust its source."),
    )


def _value(line: bytes) -> Any:
    try:
        message = untrusted_json(line)
        if "os_error" in message:
            number, text, file = message["os_error"]
            raised: Exception = OSError(number, text, file)
        elif "error" in message:
            templates = message["error"].get("said", {})
            raised = UnusableFile(
                *(
                    worded_again(templates[name]) if name in templates else str(message["error"][name])
                    for name in ("what", "why", "what_to_do")
                )
            )
        else:
            return message["value"]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise invalid_answer() from error
    raise raised


def _main() -> int:
    """Run the function in the confined process, which may read the packages but not the folder that contains them."""
    for name in CODE:
        folder = REPOSITORY / name
        spec = importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None and spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    errors = import_module("core.errors")
    answers = import_module("core.child_process").take_stdout()
    place, arguments = sys.argv[1], json.loads(sys.argv[2])
    module, _, function = place.partition(":")
    try:
        result = getattr(import_module(module), function)(*arguments)
        for value in result if isinstance(result, Iterator) else [result]:
            answers.write(json.dumps({"value": value}) + "\n")
    except errors.HarkError as error:
        answers.write(json.dumps({"error": error.parts()}) + "\n")
    except OSError as error:
        file = None if error.filename is None else os.fsdecode(error.filename)
        answers.write(json.dumps({"os_error": [error.errno, error.strerror, file]}) + "\n")
    except MemoryError:
        return os.EX_OSERR
    answers.flush()
    return 0


if __name__ == "__main__":
    sys.exit(_main())
