"""Runs forget recordings that have left the library."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from core.errors import HarkError
from core.lock import held
from db.db_api import Library
from pipeline.recordings.library_clips import remove_from_library
from pipeline.training.clips.removed_recordings import forget_in_run
from pipeline.training.workspace.run_folder import RunFolder
from tests.support.choir import new_clip

GONE, STAYS = "0f8fad5b-d9cb-469f-a165-70867728950e", "7c9e6679-7425-40de-944b-e07fc1f90ae7"
HEAD = ("clip_id", "engine", "speaker", "text", "corpus")
ROWS = (
    ("1", "corpus", f"{GONE}-S1", "the secret project", f"recording-{GONE}"),
    ("2", "mined", GONE, "hey compass", f"recording-{GONE}"),
    ("3", "corpus", f"{STAYS}-S1", "of another recording", f"recording-{STAYS}"),
    ("4", "corpus", GONE, "a corpus that names its speakers so", "voices"),
)


def make_run(data: Path, name: str, finished: bool) -> Path:
    folder, models = data / "jobs" / name, data / "models" / name
    (folder / "features").mkdir(parents=True)
    models.mkdir(parents=True)
    with (folder / "clips.csv").open("w", newline="") as table:
        csv.writer(table).writerows([HEAD, *ROWS])
    (folder / "features" / "segments.csv").write_text("the secret project")
    (folder / "best.pt").touch()
    (models / "report.json").write_text(json.dumps({"by_speaker": [f"{GONE}-S1", f"{STAYS}-S1"]}))
    if finished:
        (folder / "result.json").write_text("{}")
    return folder


def library_of(data: Path) -> None:
    with Library(data) as library:
        library.add_clips([new_clip("x", source=f"recording-{one}:0-900") for one in (GONE, STAYS)])


def test_a_finished_run_retains_no_words_of_a_removed_recording(tmp_path: Path) -> None:
    library_of(tmp_path)
    folder = make_run(tmp_path, "done", finished=True)
    assert remove_from_library(tmp_path, GONE) == 1
    with (folder / "clips.csv").open(newline="") as table:
        assert [tuple(row) for row in csv.reader(table)] == [
            HEAD, ("1", "corpus", "", "", ""), ("2", "mined", "", "", ""), ROWS[2], ROWS[3]
        ]  # fmt: skip
    assert json.loads((tmp_path / "models/done/report.json").read_text()) == {"by_speaker": ["", f"{STAYS}-S1"]}
    assert not (folder / "features").exists()


def test_a_stopped_run_rebuilds_its_tables(tmp_path: Path) -> None:
    library_of(tmp_path)
    folder = make_run(tmp_path, "stopped", finished=False)
    (folder / "plan.json").touch()
    remove_from_library(tmp_path, GONE)
    assert {path.name for path in folder.iterdir()} == {"lock", "plan.json"}


def test_a_running_run_removes_the_recording_at_its_end(tmp_path: Path) -> None:
    library_of(tmp_path)
    folder = make_run(tmp_path, "going", finished=True)
    with held(folder / "lock", lambda holder: HarkError(holder, "", "")):
        remove_from_library(tmp_path, GONE)
        assert (folder / "features").is_dir(), "the run still reads the tables"
        with Library(tmp_path) as library:
            forget_in_run(RunFolder(tmp_path, folder.name), library)
    assert "secret" not in (folder / "clips.csv").read_text()
