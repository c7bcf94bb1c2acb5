"""One contract for every registered engine. An engine that is not ready must say why and how to enable it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import numpy as np
import pytest

from audio_generation.engine import Engine, FailedRequest, GeneratedClip, SpeechRequest, speaks
from audio_generation.registry import default_engines, engine_named, engines
from core.audio_file import read_audio
from core.data_folder import REPOSITORY
from core.errors import HarkError
from tests.support.fake_engine import Fake
from tests.support.programs import output_of

ALL = {**engines(), Fake.name: Fake()}
TEXTS = ("hey compass", "turn off the kitchen lights, please!", "Six.")


def ready(name: str) -> Engine:
    engine = ALL[name]
    readiness = engine.available()
    if not readiness.ok:
        pytest.skip(f"{name} is not ready here: {readiness.why} ({readiness.how_to_enable})")
    if engine.paid:
        pytest.skip(f"{name} costs money and was not asked for")
    if not engine.voices("en"):
        pytest.skip(f"{name} has no English voice here")
    return engine


@pytest.mark.parametrize("name", list(ALL))
def test_an_engine_reports_its_name_and_readiness(name: str) -> None:
    engine = ALL[name]
    assert engine.name == name and engine.licence
    readiness = engine.available()
    if not readiness.ok:
        assert readiness.why and readiness.how_to_enable
        assert engine.voices("en") == []
        with pytest.raises(HarkError) as caught:
            engine_named(name)
        assert caught.value.what_to_do == readiness.how_to_enable


@pytest.mark.parametrize("name", list(ALL))
def test_voices_belong_to_the_engine_and_speak_the_language(name: str) -> None:
    engine = ready(name)
    voices = engine.voices("en")
    assert len({voice.name for voice in voices}) == len(voices) > 0
    for voice in voices:
        assert voice.engine == name and speaks(voice.language, "en")
        assert voice.speaker and voice.licence and voice.model
    if name != "fake":
        assert engine.voices("zz") == []
        assert engine.languages() == {voice.language for voice in engine.voices("")} >= {v.language for v in voices}


@pytest.mark.parametrize("name", list(ALL))
def test_requests_are_answered_in_order_with_audio_or_a_reason(name: str, tmp_path: Path) -> None:
    engine = ready(name)
    if not engine.by_default and name not in ("fake", "splice"):
        pytest.skip(f"{name} is too slow to speak in this test")
    rng = np.random.default_rng(0)
    voices = [engine.voices("en")[i] for i in rng.integers(0, len(engine.voices("en")), len(TEXTS))]
    requests = [
        SpeechRequest(f"request/{number} ü", text, voice.name, "en", engine.draw_settings(voice, rng))
        for number, (text, voice) in enumerate(zip(TEXTS, voices))
    ]
    requests.insert(1, SpeechRequest("no voice", "hello", "no such voice", "en", {}))
    results = list(engine.synthesize(requests, tmp_path))
    assert [result.request_id for result in results] == [request.request_id for request in requests]
    assert isinstance(results[1], FailedRequest) and "no such voice" in results[1].why
    for request, result in zip(requests, results):
        if request.request_id == "no voice":
            continue
        assert isinstance(result, GeneratedClip), result
        assert result.path.parent == tmp_path.resolve() and result.path.is_file()
        assert (result.text, result.voice, dict(result.settings)) == (request.text, request.voice, request.settings)
        assert result.model_name and result.speaker and result.licence
        audio = read_audio(result.path)
        assert audio.shape == (pytest.approx(result.duration_s * 16_000, abs=2),)
        assert 0.005 < float(np.sqrt(np.mean(audio**2))) < 0.7
        assert 0.1 < result.duration_s < 0.5 * len(request.text)


@pytest.mark.parametrize("name", list(ALL))
def test_settings_are_natural_and_seeded_and_change_the_audio(name: str, tmp_path: Path) -> None:
    engine = ready(name)
    if not engine.by_default and name not in ("fake", "splice"):
        pytest.skip(f"{name} is too slow to speak in this test")
    voice = engine.voices("en")[0]
    drawn = [engine.draw_settings(voice, np.random.default_rng(seed)) for seed in (1, 1, 2, 3)]
    assert drawn[0] == drawn[1] != drawn[2]
    requests = [SpeechRequest(str(n), "hey compass", voice.name, "en", settings) for n, settings in enumerate(drawn)]
    clips = list(engine.synthesize(requests, tmp_path))
    sounds = [read_audio(clip.path) for clip in clips if isinstance(clip, GeneratedClip)]
    assert len(sounds) == 4
    assert not any(np.array_equal(sounds[0], other) for other in sounds[2:])


@pytest.mark.parametrize("name", [name for name in ALL if name != "fake"])
def test_a_worker_runs_without_harks_dependencies(name: str) -> None:
    """Workers run in interpreters without Hark's dependencies, and no GPL code enters Hark's own process."""
    tree = ast.parse((REPOSITORY / "audio_generation" / f"{name}_side" / "worker.py").read_text(encoding="utf-8"))
    at_start = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {alias.name for node in at_start if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module or "" for node in at_start if isinstance(node, ast.ImportFrom)}
    others = {module for module in modules if module.partition(".")[0] not in sys.stdlib_module_names}
    # These need the standard library only.
    assert "core.worker_protocol" in others <= {"core.worker_protocol", "core.child_process", "core.espeak"}
    assert not any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree))


GPL_CHECK = """
import sys
from pathlib import Path
from audio_generation.registry import default_engines
for engine in default_engines().values():
    assert engine.voices("en")
assert not {"piper", "espeakng_loader", "misaki", "phonemizer"} & set(sys.modules)
maps = Path("/proc/self/maps")
assert not maps.exists() or "espeak" not in maps.read_text()
"""


def test_gpl_code_is_not_loaded_into_the_calling_process() -> None:
    output_of(GPL_CHECK)


def test_paid_engines_are_never_used_by_default() -> None:
    assert not any(engine.paid for engine in default_engines().values())


def test_an_unknown_engine_is_rejected_with_a_list_of_engines() -> None:
    with pytest.raises(HarkError, match="espeak"):
        engine_named("nosuch")
