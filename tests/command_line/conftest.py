"""The command line in a process of its own, and a small bundle for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command_line_samples import REPOSITORY, Cli, Run, Shown


@pytest.fixture
def hark(tmp_path: Path) -> Run:
    """Run ``python main.py ARGUMENTS`` in an empty folder with an empty data folder. Stdin is not a terminal."""

    def run(*arguments: str, data: Path | None = None, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "HARK_DATA": str(data or tmp_path / "data")}
        done = subprocess.run(
            [sys.executable, str(REPOSITORY / "main.py"), *arguments],
            cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip
        assert "Traceback" not in done.stderr + done.stdout, done.stderr
        return done

    return run


@pytest.fixture
def cli(capsys: Shown, data_dir: Path) -> Cli:
    """Run the command line in the test's own process and data folder, for stubs and for speed."""
    return Cli(capsys)


@pytest.fixture
def before_the_portal(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """Functions that ``serve`` calls instead of preparing the portal, before it stops."""
    from core.errors import HarkError

    calls: list[Callable[[], None]] = []

    def ready() -> None:
        for call in calls:
            call()
        raise HarkError("No further.", "This test ends here.", "Nothing.")

    monkeypatch.setattr("command_line.serve.ready", ready)
    return calls


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete bundle with an untrained model."""
    import torch

    from model.tiny_crnn import TinyCRNN
    from tests.support.small_crnn import small_crnn
    from tests.support.untrained_bundle import bundle_of

    torch.manual_seed(0)
    thresholds = [{"fa_per_day": 1.0, "threshold": 0.999}, {"fa_per_day": 100.0, "threshold": 0.001}]
    folder = tmp_path_factory.mktemp("bundle") / "hey-compass"
    model = TinyCRNN(small_crnn(0.6)).eval()
    bundle_of(folder, model, "hey compass", 0.0, thresholds=thresholds, default_fa_per_day=1.0)
    return Path(shutil.make_archive(str(folder), "zip", folder))
