"""Rules for the whole repository: imports go one way, the runtime stays small, the linters find nothing."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from core.data_folder import REPOSITORY
from tests.support.programs import output_of
from tests.support.repository import repository_files

# Each name (a package, a subpackage of pipeline or webui, or a module) may import only from lower layers, not from its
# own. The longest matching name counts: webui.jobs.quota belongs to webui.jobs, webui.urls to webui.
LAYERS = (
    {"core"},
    {"phrase_augmentation", "audio_augmentation", "db"},
    {"model.runtime"},
    {"model"},
    {"model.standard", "model.large", "model.summarizer", "model.tiny"},
    {"model.devices", "model.asr"},
    {"audio_generation", "model.checkpoint"},
    {"pipeline.corpora", "pipeline.scoring", "pipeline.speech_service"},
    {"pipeline.training.configuration"},
    {"pipeline.training.negatives"},
    {"pipeline.training.recipes"},
    {"pipeline.training.workspace"},
    {"pipeline.training.planning"},
    {"pipeline.training.clips"},
    {"pipeline.training.measuring"},
    {"pipeline.training.detectors"},
    {"pipeline.training.reporting"},
    {"pipeline.training.packing"},
    {"pipeline.training", "pipeline.asr"},
    {"pipeline.recordings.files", "pipeline.recordings.transcripts", "pipeline.recordings.language_models"},
    {"pipeline.recordings.diarization", "pipeline.recordings.answers"},
    {"pipeline.recordings.transcription", "pipeline.recordings.summarization"},
    {"pipeline.recordings"},
    {"pipeline.serving"},
    {"pipeline.engine_setup", "pipeline.backup"},
    {"pipeline.training.jobs", "pipeline.jobs"},
    {"pipeline.job_process"},
    {"webui.translation", "webui.transactions", "webui.servers", "webui.keys"},
    {"webui.http", "webui.template_filters"},
    {"webui.telemetry"},
    {"webui.accounts"},
    {"webui.organizations"},
    {"webui.jobs"},
    {"webui.speech", "webui.webhooks", "webui.upload_limits"},
    {"webui.trainer"},
    {"webui.listening"},
    {"webui.library"},
    {"webui.recordings.models"},
    {"webui.recordings.transcribing"},
    {"webui.recordings.reading"},
    {"webui.recordings.editing", "webui.recordings.sharing", "webui.recordings.uploading"},
    {"webui.recordings.live"},
    {"webui.recordings"},
    {"webui.organization_management"},
    {"webui.account_data"},
    {"webui.account_pages"},
    {"webui.api"},
    {"webui.watching"},
    {"webui.compatibility"},
    {"webui"},
    {"benchmark"},
    {"command_line"},
    {"tools"},
    {"main"},
    {"lab"},
)
LAYER_OF = {package: number for number, layer in enumerate(LAYERS) for package in layer}

OWNED = {
    *(package.split(".")[0] for package in LAYER_OF),
    "main.py",
}  # first parts of the paths of the product's Python files
MAX_FILE_BYTES = 4_000_000  # bytes
SHIPPED_WEIGHTS = 25_000_000  # bytes, of one file under model/shipped: the largest is a negative set
# Home folders, written so that this line does not match.
MACHINE_PATH = re.compile(r"(?<![\w.:/-])/(?:work|root|home/\w+|Users/\w+)/\w|\b[A-Z]:\\Users\\")


def python_files() -> list[Path]:
    """Return the Python files of the product, without the tests."""
    return [
        path for path in repository_files() if path.suffix == ".py" and path.relative_to(REPOSITORY).parts[0] in OWNED
    ]


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


def imported_modules(source: str, known: Collection[str]) -> Iterator[tuple[int, str]]:
    """Return (line, module) of every absolute import of ``known`` modules, including those inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            module = next((part for part in (name, name.rpartition(".")[0]) if part in known), "")
            if module:
                yield node.lineno, module


def package_of(module: str) -> str:
    """Return the package, room or module that has a layer; "" for ``pipeline`` itself, which is empty."""
    while module and module not in LAYER_OF:
        module = module.rpartition(".")[0]
    return module


def forbidden_imports(module: str, source: str, known: Collection[str]) -> list[str]:
    own = package_of(module)
    return [
        f"line {line}: {own} imports {imported}"
        for line, imported in imported_modules(source, known)
        if package_of(imported) not in ("", own) and LAYER_OF[package_of(imported)] >= LAYER_OF[own]
    ]


def circles(imports: Mapping[str, Collection[str]]) -> list[set[str]]:
    """Return groups of modules that import each other: strongly connected components of two or more."""

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        waiting = [start]
        while waiting:
            new = set(imports.get(waiting.pop(), ())) - found
            found |= new
            waiting += new
        return found

    after = {module: reached(module) for module in imports}
    groups = [frozenset(m for m in after if m in after[start] and start in after[m]) for start in after]
    return [set(group) for group in dict.fromkeys(groups) if len(group) > 1]


def product() -> dict[str, str]:
    """Return the source of each module, without migrations."""
    return {module_of(path): path.read_text() for path in python_files() if "migrations" not in path.parts}


def test_imports_go_one_way() -> None:
    sources = product()
    found = [
        f"{module}, {problem}" for module in sources for problem in forbidden_imports(module, sources[module], sources)
    ]
    assert not found, "\n".join(found)


def test_modules_form_no_import_cycle() -> None:
    sources = product()
    imports = {module: {name for _, name in imported_modules(source, sources)} for module, source in sources.items()}
    assert not circles(imports)


def test_no_other_package_imports_webui_compatibility() -> None:
    room, sources = "webui.compatibility", product()  # webui.urls and the settings refer to it by a string
    others = [module for module in sources if not module.startswith(room)]
    assert not [
        (module, line, name)
        for module in others
        for line, name in imported_modules(sources[module], sources)
        if name.startswith(room)
    ]


def test_only_tests_import_tests_and_the_lab_their_support() -> None:
    imports = re.compile(r"^\s*(?:from|import) (tests\b(?:\.support)?)", re.M)
    allowed = {module: {"tests.support"} if package_of(module) == "lab" else set() for module in product()}
    assert not [module for module, source in product().items() if set(imports.findall(source)) - allowed[module]]


def test_tests_of_the_product_do_not_import_the_lab() -> None:
    # Exempt are the modules that write the shipped files, which the product only reads.
    imports = re.compile(r"^\s*(?:from|import) lab\b(?!\.weights)", re.M)
    tests = [path for path in repository_files() if path.suffix == ".py" and path.is_relative_to(REPOSITORY / "tests")]
    product_tests = [path for path in tests if not path.is_relative_to(REPOSITORY / "tests" / "lab")]
    assert not [path for path in product_tests if imports.search(path.read_text())]


def test_one_module_spells_the_paths_of_a_run() -> None:
    spelled = re.compile(r'data[^/\n]* / "(?:jobs|models)"')
    its_own = {"pipeline.training.workspace.run_folder", "pipeline.job_process"}  # the second: a file of any job
    assert not [module for module, source in product().items() if module not in its_own and spelled.search(source)]


def test_every_file_has_a_layer() -> None:
    homeless = [module for module in product() if not package_of(module)]
    assert homeless == ["pipeline"]


KNOWN = {
    "core.errors", "db", "db.records", "model", "model.train", "audio_augmentation.noise", "audio_generation.registry",
    "webui", "command_line", "pipeline", "pipeline.corpora.importing", "pipeline.training.planning.plan",
    "pipeline.jobs", "pipeline.recordings.files.media", "webui.accounts.models", "webui.recordings.models",
    "webui.recordings.views",
}  # fmt: skip


@pytest.mark.parametrize(
    ("module", "source", "count"),
    [
        ("db.db_api", "from core.errors import HarkError", 0),
        ("db.db_api", "import db.records", 0),
        ("db.db_api", "from model import train", 1),
        ("db.db_api", "import audio_augmentation.noise", 1),
        ("model.export", "def f():\n    from audio_generation.registry import engines", 1),
        ("pipeline.training.run", "import model.train, pipeline.corpora.importing, webui, pipeline.jobs", 2),
        ("pipeline.training.run", "from pipeline.recordings.files.media import probe", 1),
        ("pipeline.recordings.jobs", "from pipeline.training.planning import plan", 0),
        ("pipeline.training.configuration.devices", "from pipeline.training.planning import plan", 1),
        ("pipeline.training.run", "from pipeline.training.planning import plan", 0),
        ("core.errors", "import numpy, pipeline.training.planning.plan", 1),
        ("main", "import webui, command_line, pipeline", 0),
        ("webui.jobs.quota", "from webui.accounts.models import User", 0),
        ("webui.recordings.sharing.links", "from webui.recordings import models, views", 1),
    ],
)
def test_the_import_rule_finds_forbidden_imports(module: str, source: str, count: int) -> None:
    assert len(forbidden_imports(module, source, KNOWN)) == count


def test_an_import_cycle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": set(), "f": {"a"}}) == [{"a", "b", "c"}]
    assert not circles({"a": {"b", "c"}, "b": {"c"}, "c": set()})


def test_the_runtime_needs_only_numpy_and_onnxruntime() -> None:
    program = """
import importlib, pkgutil, sys
import model.runtime
for module in pkgutil.walk_packages(model.runtime.__path__, "model.runtime."):
    importlib.import_module(module.name)
print(*sorted({"torch", "django", "onnx", "pandas", "scipy", "matplotlib"} & set(sys.modules)))
"""
    assert output_of(program) == ""


def test_no_file_contains_a_machine_specific_path() -> None:
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


def test_no_file_is_too_large() -> None:
    large = [
        f"{path.relative_to(REPOSITORY)}: {path.stat().st_size:,} bytes"
        for path in repository_files()
        if path.stat().st_size > (SHIPPED_WEIGHTS if path.parent.name == "shipped" else MAX_FILE_BYTES)
    ]
    assert not large, "\n".join(large)


def test_templates_have_short_lines() -> None:
    long = [
        f"{path.relative_to(REPOSITORY)}:{n}"
        for path in (REPOSITORY / "webui" / "templates").rglob("*.html")
        for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > 160
    ]
    assert not long, (long, "a long sentence goes into {% blocktranslate trimmed %}")


def run_tool(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=REPOSITORY, capture_output=True, text=True, timeout=600
    )
    if f"No module named {arguments[0]}" in done.stderr:
        pytest.skip(f"{arguments[0]} is not installed (requirements-dev.txt)")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_ruff_reports_no_problem() -> None:
    run_tool("ruff", "check", "--output-format=concise", ".")


def test_files_are_formatted_by_ruff() -> None:
    run_tool("ruff", "format", "--check", ".")


def test_codespell_reports_no_misspelling() -> None:
    run_tool("codespell_lib", *(str(path.relative_to(REPOSITORY)) for path in repository_files()))


def test_mypy_reports_no_error() -> None:
    # File by file, so that the engines' environments (internals/venv) are skipped.
    run_tool("mypy", *(str(path.relative_to(REPOSITORY)) for path in python_files()))


def architecture() -> tuple[list[list[str]], str]:
    """Return the rows of the table of folders in docs/architecture.md, and the rest of the page."""
    page = (REPOSITORY / "docs" / "architecture.md").read_text()
    table = page[page.index("## Folders") : page.index("## To add X")]
    return [row.split("|")[1:4] for row in table.splitlines() if row.startswith("| `")], page.replace(table, "")


def test_the_map_lists_exactly_the_code_folders() -> None:
    folders = {path.relative_to(REPOSITORY).parent for path in python_files() if path.name != "__init__.py"}
    code = {f"{folder.as_posix()}/" for folder in folders if folder.parts}
    named = [name for row in architecture()[0] for name in re.findall(r"`([^`]+/)`", row[0])]
    assert not [folder for folder in code if not any(fnmatchcase(folder, name) for name in named)]
    assert not [name for name in named if not any(fnmatchcase(folder, name) for folder in code)]


def test_the_map_names_files_and_functions_that_exist() -> None:
    rows, rest = architecture()
    files = [row[0].split("`")[1] + name for row in rows for name in re.findall(r"`([^`]+)`", row[2])]
    files += re.findall(r"`((?!jobs/)[a-z_]+/[\w/]+\.(?:py|sql|html|md))`", rest)
    gone = [name for name in files if not (REPOSITORY / name).is_file()]
    for path, functions in re.findall(r"`([\w/]+\.py)`((?:,? `\w+`)+)", rest):
        source = (REPOSITORY / path).read_text()
        gone += [f"{path} {name}" for name in re.findall(r"\w+", functions) if f"\ndef {name}(" not in source]
    assert not gone, gone
