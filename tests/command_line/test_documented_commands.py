"""Every block of commands in the documents is marked: a test runs ``{.runs}``, none runs ``{.not-run}``.

The parser must accept every ``./hark`` line of all blocks, and those that take a second are run.
"""

from __future__ import annotations

import re
import shlex
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import audio_generation.engine
from command_line.application import build_parser, main
from command_line.options import UsageError
from core import worker_protocol
from core.audio_file import read_audio, write_audio
from core.data_folder import REPOSITORY
from tests.support.sounds import noise

BLOCK = re.compile(r"^ *```(?:sh|bash|shell)\b[^\n]*\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
OPENED = re.compile(r"^ *```(?:sh|bash|shell|console|zsh|python|py)\b.*$", re.MULTILINE)
MARKED = re.compile(r" *```(?:sh|python) \{\.(?:runs|not-run)\}")
RUNS = r"^```{} \{{\.runs\}}\n(.*?)^```$"
API = "api.md"  # its blocks are run by tests/webui/api/test_documentation.py
CHEAP = {"advise", "doctor", "engines", "voices", "library"}  # commands that take seconds, and change nothing
NAMED = re.compile(r"`\./hark ([^`|]*)`")  # in a sentence or a table, arguments may be omitted
LEFT_OUT = re.compile(r"arguments are required|expected one argument|'(?:JOB|NAME)'")

PARSER = build_parser()


def documents() -> list[Path]:
    pages = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md"), *(REPOSITORY / "deploy").glob("*.md")]
    return sorted(pages)


def typed() -> Iterator[tuple[str, list[str]]]:
    """Return (document, words after the program's name) of each ``./hark`` line in a shell block."""
    for page in documents():
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                for part in re.split(r"&&|\|", line.partition(" #")[0]):
                    words = shlex.split(part)
                    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                        words.pop(0)
                    if words[:1] == ["./hark"]:
                        yield page.name, words[1:]


def refused(words: list[str]) -> str:
    """Return the reason for which the parser refuses a command line; "" if it accepts it."""
    if words[:1] == ["test"] or "--help" in words:  # pytest parses the rest; help exits
        return ""
    try:
        _parsed, unknown = PARSER.parse_known_args(words)
    except UsageError as error:
        return str(error)
    return f"unknown: {unknown}" if unknown else ""


def test_the_parser_accepts_the_commands_in_documents() -> None:
    lines = list(typed())
    assert len(lines) > 30 and {"tutorial.md", "README.md", "operating.md", "devices.md"} <= {page for page, _ in lines}
    assert not [f"{page}: ./hark {' '.join(words)}: {why}" for page, words in lines if (why := refused(words))]


def test_the_parser_accepts_the_commands_in_sentences() -> None:
    named = [(page.name, said) for page in documents() for said in NAMED.findall(page.read_text(encoding="utf-8"))]
    assert len(named) > 100
    wrong = [(page, said, refused(shlex.split(said))) for page, said in named]
    assert not [(page, said, why) for page, said, why in wrong if why and not LEFT_OUT.search(why)]


def test_the_check_finds_a_wrong_line() -> None:
    assert refused(["train", "hey compass", "--efort", "trial"]) and refused(["trian", "x"]) and refused(["advise"])
    assert not refused(["train", "hey compass", "--effort", "trial"])


def runs(language: str) -> list[tuple[str, str]]:
    """Return (document, block) of each block marked to run."""
    pattern = re.compile(RUNS.format(language), re.DOTALL | re.MULTILINE)
    texts = [(page.name, page.read_text(encoding="utf-8")) for page in documents() if page.name != API]
    return [(name, block) for name, text in texts for block in pattern.findall(text)]


def test_every_block_of_commands_is_marked() -> None:
    pages = [(page.name, page.read_text(encoding="utf-8")) for page in documents()]
    opened = [(name, line) for name, text in pages for line in OPENED.findall(text)]
    assert len(opened) > 35 and not [(name, line) for name, line in opened if not MARKED.fullmatch(line)]
    marked = sum(text.count("{.runs}\n") for name, text in pages if name != API)
    assert marked == len(runs("sh")) + len(runs("python")), "a block is marked in a form that no test recognizes"


def test_the_check_finds_an_unmarked_block() -> None:
    text = "```sh\nls\n```\n\n```python runs\n1\n```\n\n```sh {.not-run}\nls\n```\n"
    assert [bool(MARKED.fullmatch(line)) for line in OPENED.findall(text)] == [False, False, True]


@pytest.fixture
def said(tmp_path: Path) -> dict[str, str]:
    """Return replacements for names in documents that each reader substitutes."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    write_audio(corpus / "one.wav", noise(2.0))
    (corpus / "one.txt").write_text("hey compass")
    return {"FOLDER": str(corpus), "/mnt/disk/hark.zip": str(tmp_path / "hark.zip")}


@pytest.mark.parametrize("block", dict.fromkeys(block for _page, block in runs("sh")))
def test_blocks_marked_as_runnable_run(
    block: str, said: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARK_DATA", str(tmp_path / "data"))
    assert main(["library", "import", said["FOLDER"]]) == 0  # as a reader has done before
    for line in block.splitlines():
        program, *words = shlex.split(line, comments=True)
        assert program == "./hark"
        if words[0] == "restore":  # into an empty folder
            monkeypatch.setenv("HARK_DATA", str(tmp_path / "empty"))
        assert main([said.get(word, word) for word in words]) == 0, line


def test_the_python_example_of_the_readme_runs(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = [block for page, block in runs("python") if page == "README.md"]
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path)
    (tmp_path / "detect.py").write_bytes((REPOSITORY / "model" / "runtime" / "detector.py").read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    names: dict[str, Any] = {"microphone": [np.zeros(1000, np.float32)] * 3}
    try:
        exec(block, names)
    finally:
        sys.modules.pop("detect", None)
    assert names["block"] is names["microphone"][-1]


def test_the_example_engine_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host, process = [block for page, block in runs("python") if page == "adding-an-engine.md"]
    names: dict[str, Any] = {**vars(audio_generation.engine), "__name__": "example"}
    exec("from __future__ import annotations\nimport shutil\nimport numpy as np\n" + host, names)
    engine = names["Example"]()
    assert engine.name == "example" and 0.8 <= engine.draw_settings(None, np.random.default_rng(0))["rate"] <= 1.3
    names["Example"].facts = lambda self: {"voices": [["anna", "en"], ["ida", "no"]]}
    assert [voice.name for voice in engine.find_voices("en")] == ["anna"]

    voice = SimpleNamespace(name="anna", language="en")
    spoken = SimpleNamespace(voices={"anna": voice}, sample_rate=16_000, say=lambda text, voice, rate: bytes(3200))
    monkeypatch.setitem(sys.modules, "example_tts", SimpleNamespace(Engine=lambda: spoken))
    names = {**vars(worker_protocol), "__name__": "worker"}
    exec("from __future__ import annotations\n" + process, names)
    facts, speak = names["set_up"]()
    assert facts == {"voices": [["anna", "en"]]}
    speak({"text": "hey", "voice": "anna", "settings": {"rate": 1.1}, "path": str(tmp_path / "a.wav")})
    assert len(read_audio(tmp_path / "a.wav")) == 1600
    with pytest.raises(worker_protocol.Refused, match="no voice ida"):
        speak({"text": "hey", "voice": "ida", "settings": {}, "path": str(tmp_path / "b.wav")})


def test_cheap_documented_commands_succeed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_DATA", str(tmp_path))
    cheap = [words for words in dict.fromkeys(tuple(words) for _, words in typed()) if is_cheap(words)]
    assert ("advise", "hey compass") in cheap and ("doctor",) in cheap
    for words in cheap:
        assert main(words) == 0, words


def is_cheap(words: tuple[str, ...]) -> bool:
    return words[:1] == ("advise",) or words in {(name,) for name in CHEAP} | {("library", "stats"), ("--help",)}
