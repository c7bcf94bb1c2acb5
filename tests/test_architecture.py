"""What holds for the repository as a whole: imports go one way, the run time stays small, the linters are content."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

# A package imports only from layers below its own, so packages of one layer do not know each other.
LAYERS = (
    {"core"},
    {"phrase_augmentation", "audio_augmentation", "db"},
    {"audio_generation", "model"},
    {"pipeline"},
    {"webui"},
    {"command_line"},
    {"main"},
)
LAYER_OF = {package: number for number, layer in enumerate(LAYERS) for package in layer}

OWNED = {*LAYER_OF, "main.py"}  # first parts of the paths of the product's Python files
LARGEST_FILE = 4_000_000  # bytes
SHIPPED_WEIGHTS = 15_000_000  # bytes, of one file under model/shipped
# Homes of people and of machines, written so that this line is none itself.
MACHINE_PATH = re.compile(r"(?<![\w.:/-])/(?:work|root|home/\w+|Users/\w+)/\w|\b[A-Z]:\\Users\\")


def repository_files() -> list[Path]:
    """The files that are, or would be, committed."""
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(git, cwd=REPOSITORY, capture_output=True, check=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs git and its checkout to tell the repository's files from others")
    return [path for path in (REPOSITORY / name for name in names if name) if path.is_file()]


def python_files() -> list[Path]:
    """The Python files of the product, without the tests."""
    return [
        path for path in repository_files() if path.suffix == ".py" and path.relative_to(REPOSITORY).parts[0] in OWNED
    ]


def imported_packages(source: str) -> Iterator[tuple[int, str]]:
    """(line, top-level package) of every absolute import, those inside functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module.split(".")[0]


def forbidden_imports(package: str, source: str) -> list[str]:
    return [
        f"line {line}: {package} imports {imported}"
        for line, imported in imported_packages(source)
        if imported in LAYER_OF and imported != package and LAYER_OF[imported] >= LAYER_OF[package]
    ]


def test_imports_go_one_way() -> None:
    found = []
    for path in python_files():
        name = path.relative_to(REPOSITORY)
        package = name.parts[0].removesuffix(".py")
        found += [f"{name}, {problem}" for problem in forbidden_imports(package, path.read_text())]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("package", "source", "count"),
    [
        ("db", "from core.errors import HarkError", 0),
        ("db", "import db.records", 0),
        ("db", "from model import train", 1),
        ("db", "import audio_augmentation.noise", 1),
        ("model", "def f():\n    from audio_generation.registry import engines", 1),
        ("pipeline", "import model.train, audio_generation.engine, webui", 1),
        ("core", "import numpy, pipeline.plan", 1),
        ("main", "import webui, command_line, pipeline", 0),
    ],
)
def test_the_import_rule_finds_what_it_should(package: str, source: str, count: int) -> None:
    assert len(forbidden_imports(package, source)) == count


def test_the_run_time_needs_numpy_and_onnxruntime_only() -> None:
    program = """
import importlib, pkgutil, sys
import model.runtime
for module in pkgutil.walk_packages(model.runtime.__path__, "model.runtime."):
    importlib.import_module(module.name)
print(*sorted({"torch", "django", "onnx", "pandas", "scipy", "matplotlib"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def test_no_path_of_one_machine() -> None:
    found = []
    for path in repository_files():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        found += [
            f"{path.relative_to(REPOSITORY)}:{n}: {line.strip()[:100]}"
            for n, line in enumerate(lines, 1)
            if MACHINE_PATH.search(line)
        ]
    assert not found, "\n".join(found)


def test_no_large_file() -> None:
    large = [
        f"{path.relative_to(REPOSITORY)}: {path.stat().st_size:,} bytes"
        for path in repository_files()
        if path.stat().st_size > (SHIPPED_WEIGHTS if path.parent.name == "shipped" else LARGEST_FILE)
    ]
    assert not large, "\n".join(large)


def run_tool(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=REPOSITORY, capture_output=True, text=True, timeout=600
    )
    if f"No module named {arguments[0]}" in done.stderr:
        pytest.skip(f"{arguments[0]} is not installed (requirements-dev.txt)")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_ruff_finds_nothing() -> None:
    run_tool("ruff", "check", "--output-format=concise", ".")


def test_the_formatting_is_ruffs() -> None:
    run_tool("ruff", "format", "--check", ".")


@pytest.mark.slow
def test_mypy_finds_nothing() -> None:
    # By file, so that the environments of the engines (internals/venv) are not looked into.
    run_tool("mypy", *(str(path.relative_to(REPOSITORY)) for path in python_files()))
