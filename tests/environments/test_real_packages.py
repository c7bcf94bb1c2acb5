"""The real packages in the environments of ``./hark engines enable``, with models of random weights.

Skipped unless HARK_ENGINES_ENV names a folder with these environments: they are large, and no test makes them.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_generation.engine import Engine, GeneratedClip, SpeechRequest
from audio_generation.hibari_side.hibari import Hibari
from audio_generation.kokoro_int8_side.kokoro_int8 import KokoroInt8
from audio_generation.piper_side.piper import Piper
from core import environments
from core.audio_file import read_audio
from pipeline.corpora import peoples_speech
from tests.support.sounds import noise

HERE = Path(__file__).parent
NOISE = noise(8.0)


def python_of(name: str) -> str:
    if not os.environ.get("HARK_ENGINES_ENV") or not environments.is_enabled(name):
        pytest.skip(f"the environment {name} is not made: HARK_ENGINES_ENV=FOLDER ./hark engines enable {name}")
    return str(environments.interpreter(name))


def run(python: str, *arguments: str) -> None:
    subprocess.run([python, "-W", "ignore", *arguments], check=True, capture_output=True, text=True)


def test_funasr_recognizes_speech(data_dir: Path) -> None:
    from pipeline.recordings.transcription.funasr_engine import FunAsr, own_folder

    own_folder().mkdir(parents=True)
    run(python_of("funasr"), str(HERE / "tiny_paraformer.py"), str(own_folder() / "paraformer-zh"))
    engine = FunAsr()
    assert engine.available().ok
    try:
        (segment,) = engine.recognize(NOISE, "zh")
    finally:
        engine.close()
    assert segment.language == "zh" and set(segment.text) <= set("你好今天我们 ")
    starts = [word.start_s for word in segment.words]
    assert len(starts) > 3 and starts == sorted(starts) and segment.words[-1].end_s <= 8


def test_pyannote_distinguishes_speakers(tmp_path: Path, data_dir: Path) -> None:
    from pipeline.recordings.diarization import pyannote_engine

    python = python_of("pyannote")
    assert not pyannote_engine.readiness().ok
    pyannote_engine.own_folder().parent.mkdir(parents=True)
    run(python, str(HERE / "tiny_pyannote.py"), str(pyannote_engine.own_folder()))
    assert pyannote_engine.readiness().ok
    soundfile.write(tmp_path / "a.flac", NOISE, 16_000)
    found = pyannote_engine.diarize_pyannote(tmp_path / "a.flac", 2)
    assert found.method == "pyannote" and found.versions["pyannote.audio"].startswith("4.")
    assert found.turns and set(found.speakers) <= {"S1", "S2"} and found.turns[-1].end_s <= 8.1


@pytest.mark.parametrize("engine", [Hibari(), KokoroInt8(), Piper()], ids=lambda engine: engine.name)
def test_packaged_neural_voices_speak(engine: Engine, tmp_path: Path, data_dir: Path) -> None:
    from pipeline.scoring.keyword_scoring import intelligible

    python_of(engine.name)
    voices = engine.voices("en")
    assert engine.available().ok and voices
    chosen = [voices[number * len(voices) // 4] for number in range(4)]
    settings = [engine.draw_settings(voice, np.random.default_rng(0)) for voice in chosen]
    requests = [
        SpeechRequest(f"{number}", "hey compass", voice.name, "en", drawn)
        for number, (voice, drawn) in enumerate(zip([*chosen, chosen[3]], [*settings, settings[3]]))
    ]
    try:
        clips = list(engine.synthesize(requests, tmp_path))
    finally:
        engine.close()
    audios = [read_audio(clip.path) for clip in clips if isinstance(clip, GeneratedClip)]
    assert len(audios) == 5, clips
    assert sorted(intelligible(audio, "hey compass") for audio in audios)[1] > 0.3
    if engine.name != "piper":  # Piper's network draws its own noise
        assert np.array_equal(audios[3], audios[4])


def test_the_peoples_speech_is_imported(tmp_path: Path, data_dir: Path) -> None:
    python = python_of("tps")
    soundfile.write(tmp_path / "a.flac", NOISE[:16_000], 16_000)
    make = """
import pyarrow, pyarrow.parquet, sys
sound = open(sys.argv[1] + "/a.flac", "rb").read()
rows = [{"id": f"talk/{n}", "audio": {"bytes": sound, "path": "x"}, "text": f"number {n}"} for n in range(70)]
pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sys.argv[1] + "/train-0.parquet")
"""
    run(python, "-c", make, str(tmp_path))
    rows = list(peoples_speech.rows(lambda name: name == "talk/3", tmp_path))
    assert [row.identifier for row in rows] == [f"talk/{n}" for n in range(70) if n != 3]
    assert rows[0].text == "number 0" and rows[0].licence == "CC-BY"
    assert rows[0].audio is not None and np.abs(rows[0].audio - NOISE[:16_000]).max() < 1e-3
