"""``mine``, ``try`` and ``asr``."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from core.audio_file import write_audio
from core.data_folder import REPOSITORY
from db.db_api import Library
from model.asr.network import shipped_recognizer
from model.large.encoder_backbone import encoder_path
from model.weights import save_weights
from tests.support.command_line_samples import Cli
from tests.support.spoken_words import by_espeak

SENTENCE = "please open the big window before seven"


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of the sentence, with its transcript next to it."""
    folder = tmp_path_factory.mktemp("corpus")
    write_audio(folder / "a.wav", np.pad(by_espeak(SENTENCE), 8000))
    line = {"audio_filepath": "a.wav", "text": SENTENCE, "speaker": "ann", "duration": 3.0}
    (folder / "manifest.jsonl").write_text(json.dumps(line) + "\n")
    (folder / "LICENSE").write_text("CC0 1.0")
    return folder


def test_an_imported_corpus_can_be_mined_immediately(cli: Cli, spoken: Path, data_dir: Path) -> None:
    cli("library", "import", str(spoken))
    target = data_dir / "out"
    result = cli.json("mine", "big window", "--export", str(target))
    assert (result["recordings"], result["looked_into"], result["sampled"]) == (1, 1, False)
    (cut,) = result["clips"]
    assert cut["text"] == "big window" and Path(cut["file"]).is_file() and cut["confidence"] > 0.2
    (line,) = (target / "manifest.jsonl").read_text().splitlines()
    row = json.loads(line)
    assert (target / row["audio_filepath"]).is_file() and row["speaker"] == "ann"
    again = cli.json("mine", "big window")
    assert [row["clip_id"] for row in again["clips"]] == [cut["clip_id"]]
    assert "big window" in cli("mine", "big window")
    assert cli.json("mine", "small door")["clips"] == []
    with Library(data_dir) as library:
        assert library.stats().slices == 1


def test_the_mining_method_can_be_chosen(cli: Cli, spoken: Path, data_dir: Path) -> None:
    pytest.importorskip("ctc_segmentation")
    cli("library", "import", str(spoken))
    cuts = {}
    for method in ("viterbi", "ctc-segmentation"):
        (cuts[method],) = cli.json("mine", "big window", "--method", method)["clips"]
    own, other = cuts["viterbi"], cuts["ctc-segmentation"]
    assert own["clip_id"] != other["clip_id"], "each method has its own clips"
    assert other["start_s"] == pytest.approx(own["start_s"], abs=0.1)
    assert other["end_s"] == pytest.approx(own["end_s"], abs=0.1)
    with Library(data_dir) as library:
        made_by = [clip.settings["aligner"] for clip in library.clips([own["clip_id"], other["clip_id"]])]
    assert made_by[1] == f"{made_by[0]}-ctc-segmentation"
    cli("mine", "big window", "--method", "guess", code=2)


def test_word_forms_of_other_languages_are_rejected(cli: Cli) -> None:
    assert "English" in cli.refused("mine", "grosses fenster", "--word-forms", "--language", "de")["what"]


def test_mined_clips_are_played(cli: Cli, spoken: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cli("library", "import", str(spoken))
    program, played = tmp_path / "programs" / "play", tmp_path / "played"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >>{played}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    cli("mine", "window", "--play")
    (line,) = played.read_text().splitlines()
    assert line.startswith("-q ") and line.endswith(".flac")
    program.unlink()
    cli("mine", "window", "--play", code=2)
    assert "--export" in cli.err


def test_a_phrase_is_found_without_training(cli: Cli, spoken: Path) -> None:
    wav = str(spoken / "a.wav")
    result = cli.json("try", "big window", "--wav", wav)
    (hit,) = result["detections"]
    assert 0.5 < hit["start_s"] < hit["end_s"] < 3.5 and hit["score"] > 0.1 and result["seconds"] < 60
    assert cli.json("try", "purple elephant", "--wav", wav)["detections"] == []
    assert result["model"].startswith("moonshine") == (encoder_path() is not None)
    by_recognizer = cli.json("try", "big window", "--wav", wav, "--recognizer")
    assert by_recognizer["model"].startswith("recognizer-")
    assert "detected once" in cli("try", "big window", "--wav", wav)


def test_confusables_in_texts_and_recordings_are_shown(cli: Cli, spoken: Path) -> None:
    cli("library", "import", str(spoken))
    result = cli.json("confusables", "big winter", "--texts", "12")
    scores = [row["score"] for row in result["texts"]]
    assert len(scores) == 13 and scores == sorted(scores, reverse=True) and scores[-1] < 0.3
    assert result["texts"][0]["text"] == "big winter" and scores[0] > 0.4
    place = result["recordings"][0]
    assert place["text"] == SENTENCE and 0.5 < place["start_s"] < 3.5, "the words “big window” in the sentence"
    said = cli.json("confusables", "big window", "--texts", "3")
    assert said["recordings"] == [], "the phrase itself is not a confusable"
    cli("confusables", "big winter", "--texts", "3")
    assert "scored by Hark's recognizer" in cli.out
    assert "Synthesizing “big winter” and 3 similar texts" in cli.err
    heard = re.search(r"Searching ([\d.e-]+) h of the library's recordings", cli.err)
    assert heard is not None and float(heard[1]) < 0.1, "the recording is a few seconds long"
    cli("confusables", "big window", "--texts", "3")
    assert "Searching" not in cli.err, "no recording is left to search"
    cli("confusables", "big winter", "--texts", "3", "--hours", "0")


def test_words_are_recognized_and_aligned(cli: Cli, spoken: Path) -> None:
    wav = str(spoken / "a.wav")
    (found,) = cli.json("asr", "recognize", wav)["files"]
    words = found["text"].split()
    assert len(set(words) & set(SENTENCE.split())) >= 4
    assert [unit["label"] for unit in found["words"]] == words
    aligned = cli.json("asr", "align", wav, SENTENCE)
    assert [unit["label"] for unit in aligned["words"]] == SENTENCE.split() and aligned["confidence"] > 0.3
    (spoken / "text.txt").write_text(SENTENCE)
    assert cli.json("asr", "align", wav, str(spoken / "text.txt")) == aligned


def test_user_weights_are_used(cli: Cli, spoken: Path, data_dir: Path) -> None:
    wav, own = str(spoken / "a.wav"), str(data_dir / "own.safetensors")
    recognizer, about = shipped_recognizer()
    changed = copy.deepcopy(recognizer)
    with torch.no_grad():
        changed.phones.bias[0] += 0.5
    save_weights(changed, Path(own), about)
    shipped = cli.json("asr", "align", wav, SENTENCE)
    aligned = cli.json("asr", "align", wav, SENTENCE, "--weights", own)
    assert aligned["aligner"] != shipped["aligner"]
    assert cli.json("asr", "recognize", wav, "--weights", own)["files"][0]["text"]
    cli("library", "import", str(spoken))
    (cut,) = cli.json("mine", "big window", "--weights", own)["clips"]
    with Library(data_dir) as library:
        assert library.clips([cut["clip_id"]])[0].settings["aligner"] == aligned["aligner"]


def test_speakers_of_the_library_become_voices(cli: Cli, spoken: Path) -> None:
    cli("library", "import", str(spoken))
    assert cli.json("library", "voices") == {"people": []}, "no speaker has enough speech"
    assert "No speaker in the library has 2 minutes" in cli("library", "voices")


@pytest.mark.parametrize(
    "words",
    [
        ["mine", "big window"],
        ["mine", "🦜"],
        ["mine", "x y", "--most", "0"],
        ["try", "big window", "--wav", "nothing.wav"],
        ["try", "...", "--wav", "{wav}"],
        ["asr"],
        ["asr", "recognize", "nothing.wav"],
        ["asr", "align", "{wav}", "he asked nobody for food on his ship although nothing was left"],
        ["asr", "align", "{wav}", "привет"],
        ["asr", "align", "{wav}", "hello", "--weights", "nowhere"],
        ["asr", "recognize", "{wav}", "--weights", str(REPOSITORY / "model/shipped/backbone-standard.safetensors")],
        ["asr", "train", "{wav}", "--batch_size", "0"],
        ["asr", "train", "{wav}", "--epochs", "-1"],
        ["asr", "train", "{wav}", "--subset", "1.5"],
    ],
)
def test_invalid_requests_are_rejected(cli: Cli, spoken: Path, words: list[str]) -> None:
    cli.refused(*(word.format(wav=spoken / "a.wav") for word in words))
