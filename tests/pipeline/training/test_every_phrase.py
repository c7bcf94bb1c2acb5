"""Two hundred phrases through every stage of a run: each ends with a bundle, or is refused immediately."""

from __future__ import annotations

import io
import itertools
import json
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import model.examples
from core.errors import HarkError
from core.events import Event, Reporter
from model.examples import SoundSources
from model.large.encoder_backbone import encoder_path
from pipeline.training.configuration.devices import OWN_FORMAT, SMALL
from pipeline.training.configuration.efforts import EFFORTS, BucketSize
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.negatives import negative_set, negative_speech
from pipeline.training.negatives.negative_set import NEGATIVE_SET, STATE_FRAMES
from pipeline.training.negatives.negative_speech import NEGATIVE_SPEECH
from pipeline.training.planning.plan import ready_engines
from pipeline.training.recipes import standard
from pipeline.training.recipes.prepared import prepare
from pipeline.training.run import run_training
from tests.support.tiny_run import FEW_ROOMS

# By shape: one word, one syllable, several words, names, numbers, digits, apostrophes, capitals, rare letters,
# homophones, words in no dictionary, repetitions, common phrases, punctuation, long words, clusters, vowels.
ENGLISH = """
compass; computer; athena; snowdrop; jupiter; telephone; marmalade; orchestra; volunteer; abracadabra
go; stop; on; sphinx; strength; thirst; lamp; spa; yacht; eye; oh; ma; judge; rhythm
hey compass; quiet harbour; okay lamp; sunny window; hello kitchen; wake up; lights off; open sesame; next song
turn it off; good night house; what time is it; where are you; read me this; leave me alone; set alarm; call home
please open the door now; could you call my mother please; the quick brown fox jumps over; take photo; go home
hey jarvis smith; george; mister o'neill; siobhan; hermione; ok björn; zoë; hey xavier; aoife; nguyen
number nine; one two three; forty two; nineteen eighty four; seven of nine; double oh seven; zero zero
channel 5; r2d2; route 66; 3; area 51; 007; apollo 13; 1000; gate 4b; model 3
it's me; don't panic; rock 'n' roll; o'clock; y'all listen; let's go; who's there; can't stop
HEY COMPASS TWO; NASA; iPhone; USB stick; McDonald; DJ Mike; BBC radio; OK Google Home; TV on
xylophone; quizzical jazz; zzyzx; phlegm; psychic; gnocchi; czar; kyoto; quetzal; hajj
their; hey right; no; to; ice cream; see you; i see; four candles; whether; wood
hey qorvexia; blixtrod lamp; open flumbax; zindrake; hey wuggle; kitchen splonkit; my trelb
knock knock; bye bye; no no no; tick tock tick tock; choo choo; hello hello; ha ha ha
and the; of course; in the; it is; you know; thank you; i am; yes; okay; hello
hey, compass!; stop.; go-kart; e-mail; ready? set? go!; half-life; self-service; co-op; vis-a-vis
antidisestablishmentarianism; responsibilities; incomprehensibly; uncharacteristically
sixths; strengths; twelfths; asks; scripts; glimpsed; exchange; squelched; fifths
aeolian; oui oui; eerie; iowa; ohio; hawaii; audio; area; idea; euouae
bonjour; guten tag; hola amigo; ciao bella; sayonara; namaste; shalom; aloha; merci; danke
"""
OTHERS = {
    "de": "hallo kompass; licht an; grüß gott; straße; fünf; achtung bitte",
    "fr": "bonjour maison; ça va; éteins la lumière; où es-tu",
    "es": "hola casa; buenos días; mañana",
    "it": "ciao casa; accendi la luce",
    "pl": "cześć dom; źdźbło",
    "zh": "小爱同学; 你好",
    "ru": "привет дом",
    "tr": "merhaba ev",
}
UNUSABLE = ("", "x", "🙂🙂", "..", "%$#@", "a" * 300, "http://example.com/x?y=1", "\x00", "один два")
SIZES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("standard", ()),
    ("large", ()),
    ("standard", OWN_FORMAT),
    ("large", (*OWN_FORMAT, SMALL)),
)
RUNS = 4  # runs in each test, one of each size
ALWAYS = (24,)  # first runs of the tests that need no marker


def cases() -> list[tuple[str, str, str, tuple[str, ...]]]:
    """Return phrase, language, size and devices of each run."""
    english = [phrase.strip() for row in ENGLISH.strip().splitlines() for phrase in row.split(";")]
    found = [(phrase, "en", *size) for phrase, size in zip([*english, *UNUSABLE], itertools.cycle(SIZES))]
    for language, row in OTHERS.items():
        found += [
            (phrase.strip(), language, "standard", OWN_FORMAT[: n % 2]) for n, phrase in enumerate(row.split(";"))
        ]
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One data folder for all, as for a user who trains one phrase after the other."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def little_speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Use some minutes of the shipped real speech."""
    path = tmp_path_factory.mktemp("speech") / "negative-speech.zip"
    with zipfile.ZipFile(NEGATIVE_SPEECH) as whole, zipfile.ZipFile(path, "w") as part:
        table = json.loads(whole.read("table.json"))[::80]
        part.writestr("table.json", json.dumps(table))
        for name in ("about.json", *(row["file"] for row in table)):
            part.writestr(name, whole.read(name))
    return path


@pytest.fixture(scope="module")
def little_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some minutes of the negative set that ships for large detectors."""
    path = tmp_path_factory.mktemp("set") / "negative-set.zip"
    with zipfile.ZipFile(NEGATIVE_SET) as whole, zipfile.ZipFile(path, "w") as part:
        table = json.loads(whole.read("table.json"))
        counts = np.array([row["frames"] for row in table])
        of_frame = np.repeat(np.arange(len(table)), counts)
        of_state = np.repeat(np.arange(len(table)), -(-counts // STATE_FRAMES))
        for name in whole.namelist():
            if name == "table.json":
                part.writestr(name, json.dumps(table[::80]))
            elif name in ("frames.npy", "states/codes.npy"):
                array, chosen = np.load(io.BytesIO(whole.read(name))), io.BytesIO()
                np.save(chosen, array[:, of_frame % 80 == 0] if name == "frames.npy" else array[of_state % 80 == 0])
                part.writestr(name, chosen.getvalue())
            else:
                part.writestr(name, whole.read(name))
    return path


@pytest.fixture
def smallest(little_speech: Path, little_set: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An effort with every real stage that takes a second."""
    few = (BucketSize(2, 4), BucketSize(6, 1), BucketSize(3, 1), BucketSize(9, 1))
    effort = replace(
        EFFORTS["quick"], name="smallest", positive=few[0], confusable=few[1], inbetween=few[2], plain_negative=few[3],
        small_buckets=few, test_clips=8, negative_hours=0.01, speech_hours=0.01, steps=10, network_steps=10,
        device_steps=10, batch_size=8, variants=1, growth=2,
    )  # fmt: skip
    monkeypatch.setitem(EFFORTS, effort.name, effort)
    monkeypatch.setattr(standard, "VARIANTS", 1)
    monkeypatch.setattr(SoundSources.__init__, "__defaults__", FEW_ROOMS)
    monkeypatch.setattr(negative_speech, "NEGATIVE_SPEECH", little_speech)
    monkeypatch.setattr(negative_set, "NEGATIVE_SET", little_set)
    # Starting processes takes longer than making a hundred examples, and pytest already runs one on each core.
    monkeypatch.setattr(model.examples, "usable_cores", lambda: 1)
    return effort.name


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "first",
    [pytest.param(n, marks=[] if n in ALWAYS else [pytest.mark.soak]) for n in range(0, len(cases()), RUNS)],
)
def test_every_phrase_gives_a_bundle_or_is_rejected(first: int, smallest: str, data: Path) -> None:
    engines = tuple(sorted({"espeak", "flite", "splice"} & set(ready_engines((), "en")[0])))
    faults = []
    for seed, (phrase, language, size, devices) in list(enumerate(cases()))[first : first + RUNS]:
        if size == "large" and encoder_path() is None:
            size = "standard"
        speaks = engines if language == "en" else ("espeak",)
        run = RunConfig(phrase, language, smallest, seed, size, devices=devices, engines=speaks, hold_out="none")
        started, outcome = time.monotonic(), "a bundle"
        spoken: list[Event] = []
        try:
            result = run_training(prepare(run), data, Reporter(spoken.append))
            with zipfile.ZipFile(result["bundle"]) as bundle:
                assert bundle.testzip() is None and json.loads(bundle.read("report.json"))["phrase"]
        except HarkError as error:
            outcome = f"refused: {error}"
            if any(event.get("name") == "synthesize" for event in spoken) or not (error.why and error.what_to_do):
                faults.append((phrase, outcome))
        except Exception as error:
            outcome = f"a fault: {error!r}"
            faults.append((phrase, outcome))
        row = (repr(phrase), language, size, " ".join(devices), outcome, f"{time.monotonic() - started:.1f} s")
        print(*row, sep=" | ", flush=True)
    assert not faults
