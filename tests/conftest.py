"""Fixtures for all tests."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from db.db_api import Library
from tests.support.library_server import LibraryServer
from tests.support.long_tests import LIST
from tests.support.mounting import mount
from tests.support.servers import NEEDED, postgresql

# As the speech service has it: with threads of torch that spin while they wait, a test took 172 s on two busy cores
# instead of 8.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["HARK_SETTINGS_FILE"] = ""  # no .env of this machine reaches the tests
os.environ["HARK_NO_DOWNLOAD"] = "1"  # no run of the tests installs voices
# In memory where there is enough of it: on a disk, thousands of small databases wait for it to have written them.
MEMORY = Path("/dev/shm")
if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 4 << 30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


# Where a clip library may be.
ENGINES = (
    "sqlite",
    pytest.param("postgresql", marks=[pytest.mark.topology, pytest.mark.slow(reason="starts PostgreSQL")]),
)

# What takes the tests of a file their time, where they are not quick: `./hark test -m quick` leaves them out.
NOT_QUICK = {
    "starts Hark's command line or portal, or builds the site": """
        command_line/test_application command_line/test_backup command_line/test_detect command_line/test_doctor
        command_line/test_engines command_line/test_library command_line/test_mine command_line/test_record
        command_line/test_summarizer command_line/test_test command_line/test_train
        command_line/test_transcribe
        test_launcher tools/test_docs_site
        webui/accounts/test_owner_links webui/test_http_connection webui/test_rate_limits webui/test_setup
    """,
    "starts workers, jobs or a service": """
        audio_generation/test_embedded_engines audio_generation/test_engine_contract
        audio_generation/test_environments audio_generation/test_packaged_voices
        audio_generation/test_splice_engine
        audio_generation/test_worker_failures db/test_db_processes pipeline/recordings/test_speech_service
        pipeline/serving/test_wyoming pipeline/training/test_synthesis webui/jobs/test_supervise
        webui/library/test_import
    """,
    "trains, or computes with torch or an encoder": """
        benchmark/test_listening_together benchmark/test_wakeword model/test_asr_train model/test_checkpoint
        model/test_encoder_detector model/test_gpu
        model/test_hostile_models model/test_keyword_hmm model/test_metrics model/test_rescoring
        model/test_second_pass pipeline/training/test_devices
        model/test_summarizer model/test_train model/test_backbone_detector pipeline/acoustic/test_training
        pipeline/training/test_calibration pipeline/training/test_comparison pipeline/training/test_evaluation
        pipeline/training/test_keyword_scoring pipeline/training/test_mining pipeline/training/test_negative_set
        pipeline/training/test_retraining pipeline/training/test_run pipeline/training/test_bundle
        pipeline/training/test_report pipeline/corpora/test_alignment
        webui/listening/test_listening webui/library/test_record
    """,
    "recognizes, summarizes or tells speakers apart": """
        pipeline/recordings/diarization/test_diarization pipeline/recordings/test_llm
        pipeline/recordings/test_question_answering pipeline/recordings/test_summarization
        pipeline/recordings/transcription/test_hosted_recognition
        pipeline/recordings/transcription/test_moonshine webui/audio/test_recording_search
        pipeline/recordings/transcription/test_transcription_streams
        pipeline/recordings/transcription/test_transcription_whisper webui/audio/test_recording_job
    """,
    "decodes many files": """
        audio_augmentation/test_augment core/test_audio_file pipeline/corpora/test_hostile_corpora
        pipeline/corpora/test_importing pipeline/recordings/test_media pipeline/recordings/test_media_zoo
        webui/audio/test_correct_segment webui/audio/test_recording_page
        webui/audio/test_recording_uploads webui/audio/test_recordings_index webui/audio/test_speakers
        webui/audio/test_summarize_again
    """,
    "pronounces thousands of texts": """
        phrase_augmentation/test_confusables phrase_augmentation/test_texts phrase_augmentation/test_vocabulary
        pipeline/training/test_advice pipeline/training/test_examples pipeline/training/test_plan
    """,
    "asks every page or operation": """
        webui/api/test_documentation webui/api/test_idempotency webui/api/test_operations webui/api/test_sockets
        webui/api/test_webhooks webui/compatibility/test_atr_system webui/compatibility/test_meeting_system
        webui/compatibility/test_openai_client webui/test_every_page webui/trainer/test_new_detector
        webui/trainer/test_compare webui/trainer/test_detector_address
        webui/trainer/test_version_files webui/trainer/test_version_page
    """,
}


# Files of minutes, which begin first: none is waited for at the end.
LONGEST = (
    "pipeline/training/test_every_phrase.py", "browser/test_portal.py", "pipeline/training/test_run.py",
    "command_line/test_whole_run.py",
    "browser/test_recordings_in_browser.py",
)  # fmt: skip

LAB = Path(__file__).parent / "lab"  # ./hark test lab
TOPOLOGY = "test_topology.py"  # runs only where its marker is asked for, as all that has one of these
ASKED_FOR = ("devices", "soak")


def pytest_configure(config: pytest.Config) -> None:
    """Fail instead of skipping without servers when the topology is requested."""
    if "topology" in config.option.markexpr.split():
        os.environ[NEEDED] = "1"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the tests of the lab to a command that names them."""
    if collection_path != LAB:
        return None
    named = ((config.invocation_params.dir / one.split("::")[0]).resolve() for one in config.args)
    return None if any(path.is_relative_to(LAB) for path in named) else True


def pytest_collection_finish() -> None:
    """Freeze imported and collected objects, so that garbage collections need not traverse them."""
    gc.freeze()
    gc.set_threshold(20_000, 50, 50)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark quick and long tests, begin with the longest, and leave out those that must be requested."""
    here = Path(__file__).parent
    for item in items:
        marker = "topology" if item.path.name == TOPOLOGY else next(filter(item.get_closest_marker, ASKED_FOR), None)
        if marker is not None and marker not in config.option.markexpr:
            item.add_marker(pytest.mark.skip(reason=f"takes minutes: ./hark test -m {marker}"))
    items.sort(key=lambda item: str(item.path.relative_to(here)) not in LONGEST)
    others = {f"{name}.py" for names in NOT_QUICK.values() for name in names.split()}
    long = set(LIST.read_text().split())
    for item in items:
        if f"{item.path.relative_to(here)}::{item.name.split('[')[0]}" in long:
            item.add_marker(pytest.mark.long)
        slow = item.get_closest_marker("slow") or item.get_closest_marker("long")
        if str(item.path.relative_to(here)) not in others and not slow:
            item.add_marker(pytest.mark.quick)


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Restore signal handlers after each test: the command line ends with signals ignored, for later children too."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep a portal's database in a file, as outside of tests: in memory, threads do not wait for others' writes."""
    if connection.vendor == "sqlite":
        connection.settings_dict["TEST"]["NAME"] = tmp_path_factory.mktemp("database") / "portal.sqlite3"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real audio outside of the repository: ``../shared/data``, or the folder that HARK_SHARED names."""
    repository = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("HARK_SHARED") or repository.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no shared audio at {folder} (HARK_SHARED names another folder)")
    return folder


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's own empty data folder, which ``core.data_folder`` returns."""
    monkeypatch.setenv("HARK_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A database of PostgreSQL; each test's library has a schema of its own in it."""
    with postgresql() as url:
        yield url


@pytest.fixture(params=ENGINES[1:])
def server(request: pytest.FixtureRequest) -> LibraryServer:
    """The server for libraries."""
    return LibraryServer(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def on_server(server: LibraryServer, monkeypatch: pytest.MonkeyPatch) -> LibraryServer:
    """Make new libraries on that server."""
    monkeypatch.setenv("DATABASE_URL", server.url)
    return server


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The database of new libraries."""
    if request.param != "sqlite":
        monkeypatch.setenv("DATABASE_URL", request.getfixturevalue("postgresql_url"))
    return str(request.param)


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder with room for 1 MB, or as many as the test's parameter."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mount("-t", "tmpfs", "-o", f"size={getattr(request, 'param', 1)}m", "tmpfs", str(folder)):
        pytest.skip("mounting a tmpfs is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    """An empty clip library."""
    with Library(tmp_path / "data") as opened:
        yield opened
