"""Exit codes, signals, bugs and pipes of every command."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from command_line import application
from core.errors import HarkError
from tests.support.command_line_samples import REPOSITORY, Cli, Run, assert_fixable, error_of
from tests.support.programs import run_python
from tests.support.terminal import at_terminal, brief_command, slow_command

Handler = Callable[[argparse.Namespace, object], int]


@contextmanager
def slow_training(folder: Path, hangup: str = "SIG_DFL") -> Iterator[subprocess.Popen[str]]:
    """Start a training run that never ends; yield its process once it has begun."""
    with subprocess.Popen(
        [*slow_command(folder, hangup=hangup), "train", "hey compass", "--json"],
        cwd=folder, env={**os.environ, "HARK_DATA": str(folder / "data")}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        while "it has begun" not in (line := process.stderr.readline()):
            assert line, "it ended early"
        yield process


@pytest.fixture
def handled(monkeypatch: pytest.MonkeyPatch) -> Callable[[Handler | BaseException], None]:
    """Let ``library stats`` call a handler or raise an exception."""

    def by(handler: Handler | BaseException) -> None:
        def fail(options: argparse.Namespace, screen: object) -> int:
            assert isinstance(handler, BaseException)
            raise handler

        monkeypatch.setattr("command_line.library.run_stats", handler if callable(handler) else fail)

    return by


Handled = Callable[[Handler | BaseException], None]


def test_help_imports_no_slow_package_and_only_the_module_of_its_command() -> None:
    program = """
import sys
from command_line import application
usual = set(sys.modules)
slow = {"torch", "pandas", "matplotlib", "numpy", "scipy", "rich", "onnxruntime"}
for words in ["--help"], ["detect", "--help"]:
    code = application.main(words)
    print(code, *sorted(slow & set(sys.modules)), *(name for name in sys.modules.keys() - usual if "command_" in name))
"""
    done = run_python(program)
    assert done.stdout.endswith("\n0 command_line.detect\n"), done.stderr
    assert "\n0\nusage: ./hark detect " in done.stdout and "\nStart here\n  train " in done.stdout


def test_help_shows_every_command_once_and_fits_a_terminal() -> None:
    parser = application.build_parser()
    grouped = [name for names in application.GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(command.name for command in parser.commands() if command.prog.count(" ") == 1)
    assert all(command.usage for command in parser.commands()), "its module defines each"
    lines = parser.format_help().splitlines()
    assert all(title in lines for title in application.GROUPS)
    assert max(map(len, lines)) < 80


@pytest.mark.parametrize("command", ["train", "library", "library import", "voices pull", "bench", "test"])
def test_every_command_has_a_help_text(cli: Cli, command: str) -> None:
    assert cli(*command.split(), "--help").startswith(f"usage: ./hark {command}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian", "hey compass"], "./hark has no command 'trian'. Did you mean ./hark train?"),
        (["summarize", "notes.txt"], "'summarize'. Did you mean ./hark summarizer summarize?"),
        (["pull"], "'pull'. Did you mean ./hark voices pull or ./hark engines pull?"),
        (["xyzzy"], "./hark has no command 'xyzzy'.\n"),
        (["train"], "required: PHRASE"),
        (["train", "hey compass", "--fast"], "nrecognized arguments: --fast.\n"),
        (["train", "hey compass", "--efort=quick"], "nrecognized arguments: --efort=quick. Did you mean --effort?"),
        (["train", "hey compass", "--effort", "huge"], "invalid choice: 'huge'"),
        (["train", "hey compass", "--seed", "-1"], "'-1' is not a whole number"),
        (["train", "hey compass", "--seed", "x"], "'x' is not a whole number"),
        (["train", "hey compass", "--language", "../../etc"], "is not a language"),
        (["train", "hey compass", "--engines", ","], "contains no name"),
        (["train", "hey compass", "--data", ""], "it is empty"),
        (["detect", "bundle.zip"], "required: AUDIO"),
        (["detect", "bundle.zip", "x.wav", "--threshold", "1.5"], "'1.5' is not a number from 0 to 1"),
        (["detect", "bundle.zip", "x.wav", "--threshold", "nan"], "'nan' is not a number"),
        (["detect", "bundle.zip", "x.wav", "--fa-per-day", "0"], "'0' is not a number above 0"),
        (["detect", "bundle.zip", "x.wav", "--fa-per-day", "inf"], "'inf' is not a number above 0"),
        (["detect", "bundle.zip", "x.wav", "--fa-per-day", "1", "--threshold", "0.5"], "not allowed with"),
        (["library", "impart"], "./hark library has no command 'impart'. Did you mean ./hark library import?"),
        (["library", "import", "x", "--limit-hours", "-3"], "is not a number above 0"),
        (["bench", "nothing"], "has no command 'nothing'"),
    ],
)
def test_invalid_command_lines_are_rejected(cli: Cli, words: list[str], said: str) -> None:
    cli(*words, code=2)
    assert said in cli.err and "usage: ./hark" in cli.err and len(cli.err.splitlines()) <= 4
    assert cli.out == ""
    assert said.strip() in cli.refused(*words)["what"]


def test_a_group_without_a_subcommand_lists_its_items(cli: Cli) -> None:
    for group, key in (("voices", "voices"), ("engines", "engines"), ("library", "clips")):
        assert key in cli.json(group)


def test_a_missing_command_without_a_terminal_is_an_error(hark: Run) -> None:
    assert_fixable(hark())
    done = hark("--json")
    assert done.returncode == 2
    assert "train" in error_of(done.stdout)["what_to_do"]


def test_text_from_a_pipe_answers_the_question(tmp_path: Path, hark: Run) -> None:
    """Runs `echo "hey compass" | python main.py`."""
    command = brief_command(tmp_path)
    environment = {**os.environ, "HARK_DATA": str(tmp_path / "data")}
    for words, said in ([], "Plan for purple submarine"), (["--json"], '"why": "It was interrupted."'):
        done = subprocess.run(
            [*command, *words], input="  Purple submarine!\nnot this\n", env=environment, capture_output=True, text=True
        )
        assert "it has begun, purple submarine, standard" in done.stderr, done.stderr
        assert done.returncode == 130 and said in done.stdout
    main = [sys.executable, str(REPOSITORY / "main.py")]
    for answer, said in ((b"\n", "No command was given"), ("🦜\n".encode(), "What to do"), (b"\xff\n", "What to do")):
        refused = subprocess.run(main, input=answer, env=environment, capture_output=True)
        assert refused.returncode == 2 and said in refused.stderr.decode()


def test_the_data_option_may_precede_or_follow_the_command(cli: Cli, tmp_path: Path) -> None:
    for number, words in enumerate([("--data", "{}", "library", "stats"), ("library", "stats", "--data", "{}")]):
        folder = tmp_path / str(number)
        cli(*(word.format(folder) for word in words))
        assert (folder / "library.sqlite3").is_file()
        assert os.environ["HARK_DATA"] == str(folder)


def test_a_bug_prints_one_sentence_and_logs_the_traceback(cli: Cli, handled: Handled, data_dir: Path) -> None:
    handled(ZeroDivisionError("by nothing"))
    error = cli.json("library", "stats", code=1)["error"]
    log = (data_dir / "logs" / "hark.log").read_text()
    assert error["id"] in log and error["id"] in cli.err and "ZeroDivisionError: by nothing" in log
    assert "Traceback" not in cli.err and len(cli.err.splitlines()) == 1


def test_a_bug_without_a_writable_log_prints_its_traceback(
    cli: Cli, handled: Handled, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    handled(ZeroDivisionError("by nothing"))
    said = []
    for temporary in (tmp_path, blocked):
        monkeypatch.setattr("tempfile.tempdir", str(temporary))
        cli("library", "stats", "--data", str(blocked), code=1)
        said.append(cli.err)
    (log,) = tmp_path.glob("hark-*.log")
    assert log.name in said[0] and "ZeroDivisionError" in log.read_text()
    assert "ZeroDivisionError: by nothing" in said[1]


def test_a_missing_package_is_reported_with_what_to_do(
    cli: Cli, handled: Handled, monkeypatch: pytest.MonkeyPatch
) -> None:
    handled(ModuleNotFoundError("No module named 'torch'"))
    assert "'torch'" in cli.refused("library", "stats")["why"]
    monkeypatch.setitem(sys.modules, "rich.console", None)  # as where rich is not installed
    cli("library", "stats", code=2)
    assert "  What to do: ./hark installs" in cli.err


def test_a_fixable_failure_prints_what_why_and_what_to_do(cli: Cli, handled: Handled) -> None:
    error = HarkError("It broke [here].", "It was old.", "Take a new one.")
    handled(error)
    cli("library", "stats", code=2)
    assert cli.err.splitlines() == ["It broke [here].", "  Why: It was old.", "  What to do: Take a new one."]
    assert cli.json("library", "stats", code=2) == {"error": error.as_dict()}


def test_the_library_output_stays_out_of_the_json(cli: Cli, handled: Handled) -> None:
    def noisy(options: argparse.Namespace, screen: object) -> int:
        print("downloading ...")
        import logging
        import warnings

        warnings.warn("this is old", stacklevel=1)
        logging.getLogger("somebody").error("hear me")
        screen.result({"fine": "ä"})  # type: ignore[attr-defined]
        return 0

    handled(noisy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.filters", [("always", None, Warning, None, 0)])
        assert cli.json("library", "stats") == {"fine": "ä"}
    assert cli.err == "downloading ...\n"
    log = (Path(os.environ["HARK_DATA"]) / "logs" / "hark.log").read_text()
    assert "hear me" in log and "this is old" in log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_command_exits_with_130(tmp_path: Path, number: signal.Signals) -> None:
    with slow_training(tmp_path) as process:
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "stopped; run the same command again to continue\n"
    assert error_of(output)["what"] == "Stopped."


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_during_imports_prints_one_line(tmp_path: Path, number: signal.Signals) -> None:
    """While main.py imports: one line, no traceback."""
    slow = tmp_path / "argparse.py"  # the first module that the command line imports
    slow.write_text("import sys, time\nsys.stderr.write('importing\\n')\nsys.stderr.flush()\ntime.sleep(100)\n")
    command = [sys.executable, str(REPOSITORY / "main.py"), "doctor"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "importing\n"
        process.send_signal(number)
        assert process.stderr.read() == "stopped\n"
        assert process.wait(timeout=30) == 130


def test_an_interrupt_during_finalization_is_not_lost() -> None:
    program = """
import os, signal, time
from command_line import application
application._interrupt_on_signals()
class Ending:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
try:
    Ending()
    time.sleep(30)
except KeyboardInterrupt:
    print("interrupted")
"""
    done = run_python(program)
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


def test_an_interrupt_during_an_import_is_not_reported_as_a_bug(cli: Cli, handled: Handled) -> None:
    error = ImportError("initialization failed")  # pybind11 gives this message for any cause
    error.__cause__ = KeyboardInterrupt()
    handled(error)
    cli("library", "stats", code=application.INTERRUPTED)
    assert "stopped; run the same command again" in cli.err


def test_a_closed_terminal_does_not_stop_a_run_under_nohup(tmp_path: Path) -> None:
    with slow_training(tmp_path, "SIG_IGN") as process:
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 130


def test_a_second_interrupt_changes_nothing(tmp_path: Path) -> None:
    with slow_training(tmp_path) as process:
        for _ in range(20):
            process.send_signal(signal.SIGINT)
            time.sleep(0.005)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_closed_stdout_ends_the_command_quietly(tmp_path: Path) -> None:
    """Runs `./hark voices list --engine espeak | head -n 1`."""
    command = [sys.executable, str(REPOSITORY / "main.py"), "voices", "list", "--engine", "espeak"]
    with subprocess.Popen(
        command, env={**os.environ, "HARK_DATA": str(tmp_path)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=30) == 0


def test_an_ascii_terminal_is_supported(tmp_path: Path) -> None:
    environment = {**os.environ, "HARK_DATA": str(tmp_path), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, str(REPOSITORY / "main.py"), "advise", "schöne grüße", "--language", "de"]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([*command, "--json"], env=environment, capture_output=True, timeout=60)
    assert json.loads(done.stdout)["normalized"] == "schöne grüße"


def test_a_missing_command_at_a_terminal_starts_a_dialogue(tmp_path: Path) -> None:
    answers = ["🦜\n", "purple submarine\n", "huge\n", "quick\n", "y\n"]
    _, said = at_terminal(brief_command(tmp_path), {"HARK_DATA": str(tmp_path / "data")}, answers)
    assert "cannot be pronounced" in said, "an invalid phrase is explained and asked for again"
    assert "Good length" in said and "Plan for purple submarine" in said
    assert "it has begun, purple submarine, quick" in said, "the effort is asked for as well"
    assert "stopped; run the same command again" in said


def test_ctrl_d_at_the_question_stops_without_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, str(REPOSITORY / "main.py")]
    _, said = at_terminal(command, {"HARK_DATA": str(tmp_path / "data")}, ["\x04"])
    assert "stopped" in said and "Traceback" not in said


@pytest.mark.parametrize("option", ["--now", "--days=3"])
def test_times_for_keys_of_the_environment_are_rejected(cli: Cli, monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    monkeypatch.setenv("HARK_SECRET_KEY", "k" * 40)
    assert "HARK_SECRET_KEY_FALLBACKS" in cli.refused("admin", "rotate-secret", option)["why"]
