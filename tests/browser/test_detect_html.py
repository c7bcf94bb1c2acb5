"""detect.html: the same decisions as detect.py, and detection from the microphone of a real browser."""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from core.data_folder import REPOSITORY, data_folder
from core.errors import HarkError
from model.large.encoder_backbone import encoder_path
from model.runtime.detector import REARM, Bundle, Detector, Trigger, smooth_scores
from pipeline.serving.browser import unpack_for_browser, web_runtime
from pipeline.serving.wakes import WakeWatch
from pipeline.training.packing.bundle import programs
from tests.support.portal_driver import chromium_running
from tests.support.untrained_bundle import keyword_hmm_bundle, spoken

DETECT_JS = REPOSITORY / "model" / "runtime" / "detect.js"
PHRASE = "hey compass"
WAIT_MS = 90_000
CACHE = data_folder()  # onnxruntime-web is fetched once, not in each test's own data folder


def in_node(program: str, data: Any) -> Any:
    """Return a program's output as JSON; ``data`` and the exports of detect.js are defined there."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")
    script = f"{DETECT_JS.read_text()}\nconst data = {json.dumps(data)};\n{program}"
    done = subprocess.run([node, "--input-type=module", "-"], input=script, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def wandering_scores(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return scores that rise, stay and fall as a detector's do, including the ends of the range."""
    levels = np.cumsum(rng.normal(0, 1.5, count)) * 0.7
    levels = np.where(rng.random(count) < 0.3, np.roll(levels, 1), levels) + 12 * (rng.random(count) < 0.03)
    levels -= 0.8 * (levels - np.median(levels)) * (rng.random(count) < 0.1)
    scores = 1 / (1 + np.exp(-levels + levels.mean()))
    scores[rng.random(count) < 0.02] = rng.choice([0.0, 1.0])
    return scores.astype(np.float32)


def test_the_page_makes_the_same_decisions_as_detect_py() -> None:
    rng = np.random.default_rng(0)
    cases = []
    expected = []
    for number in range(60):
        raw = wandering_scores(rng, 400)
        threshold = float(rng.choice([raw[7], 0.0, 0.5, rng.random(), 1.0]))
        refractory = int(rng.integers(0, 30))
        parts = np.split(raw, np.sort(rng.integers(0, len(raw), 5)))
        smoothing = 1 + number % 3
        before = rng.random(smoothing - 1).astype(np.float32)
        cases.append(
            {
                "parts": [part.tolist() for part in parts], "threshold": threshold, "refractory": refractory,
                "before": before.tolist(),
            }
        )  # fmt: skip
        trigger = Trigger(threshold, refractory)
        past, scores, fired = before, [], []
        for part in parts:
            smooth = smooth_scores(part, past, smoothing)
            past = np.concatenate([past, part])[len(part) :]
            scores.append(smooth)
            start = trigger.frames
            fired += [start + index for index in trigger.fired(smooth)]
        expected.append({"scores": np.concatenate(scores).tolist(), "fired": fired})
    program = """
    const results = data.map(({ parts, threshold, refractory, before }) => {
      const trigger = new Trigger(threshold, refractory);
      const result = { scores: [], fired: [] };
      for (const part of parts) {
        const scores = smoothScores(part, before);
        const all = [...before, ...part];
        before = all.slice(all.length - before.length);
        const start = trigger.frames;
        for (const index of trigger.fired(scores)) result.fired.push(start + index);
        result.scores.push(...scores);
      }
      return result;
    });
    console.log(JSON.stringify({ results, REARM }));
    """
    answer = in_node(program, cases)
    assert answer["REARM"] == REARM
    assert answer["results"] == expected
    assert sum(len(one["fired"]) for one in expected) > 300, "the cases contain many detections"


def test_the_page_interpolates_thresholds_like_detect_py() -> None:
    table = [{"fa_per_day": r, "threshold": t} for r, t in ((12.0, 0.6), (1.0, 0.93), (2.0, 0.9), (48.0, 0.0))]
    bundle = Bundle.__new__(Bundle)
    bundle.manifest = {"thresholds": table, "default_fa_per_day": 12.0}
    rates = [1.0, 1.5, 2.0, 5.0, 12.0, 30.0, 48.0]
    program = "console.log(JSON.stringify(data.rates.map((rate) => thresholdFor(data, rate))));"
    found = in_node(program, {"thresholds": table, "rates": rates})
    assert found == pytest.approx([bundle.threshold(rate) for rate in rates], rel=1e-9)
    (single,) = in_node(program, {"thresholds": table[:1], "rates": [12.0]})
    assert single == pytest.approx(0.6)
    program = """
    const refused = data.rates.map((rate) => {
      try { return thresholdFor(data, rate); } catch (error) { return error.message; }
    });
    console.log(JSON.stringify([...refused, thresholdFor({ ...data, default_fa_per_day: 12 })]));
    """
    *refused, usual = in_node(program, {"thresholds": table, "rates": [0.99, 0, 48.1]})
    assert refused == ["the bundle was calibrated for 1 to 48 false alarms per day"] * 3 and usual == pytest.approx(0.6)


@pytest.mark.parametrize("rate", [48_000, 44_100, 16_000, 8_000])
def test_a_microphone_of_any_rate_is_resampled_to_16_khz(rate: int) -> None:
    """Tones within the band of 16 kHz pass unchanged, however the sound is cut into pieces; higher ones are removed."""
    seconds = 0.5
    time = np.arange(int(seconds * rate)) / rate
    heard = 0.3 * np.sin(2 * np.pi * 440 * time) + 0.2 * np.sin(2 * np.pi * 3_000 * time)
    beyond = 0.3 * np.sin(2 * np.pi * 11_000 * time)
    program = """
    const results = data.streams.map((stream) => {
      const resampler = new Resampler(data.rate, 16000);
      const result = [];
      for (let start = 0; start < stream.length; start += data.piece) {
        result.push(...resampler.process(Float32Array.from(stream.slice(start, start + data.piece))));
      }
      return result;
    });
    console.log(JSON.stringify(results));
    """
    streams = [(heard + (beyond if rate > 32_000 else 0)).tolist()]
    (found,) = in_node(program, {"rate": rate, "piece": 128, "streams": streams})
    assert in_node(program, {"rate": rate, "piece": 1_000, "streams": streams})[0] == pytest.approx(found, abs=1e-9)
    places = np.arange(len(found)) / 16_000
    wanted = 0.3 * np.sin(2 * np.pi * 440 * places) + 0.2 * np.sin(2 * np.pi * 3_000 * places)
    assert len(found) == pytest.approx(seconds * 16_000, abs=40)
    middle = slice(200, len(found) - 200)
    assert np.abs(np.asarray(found)[middle] - wanted[middle]).max() < 0.01


def test_the_page_sends_the_same_activations_as_wyoming() -> None:
    """From the same scores, the page and the portal's own client find the same activations and near misses."""
    rng = np.random.default_rng(1)
    threshold, chunk = 0.6, 1_280
    scores = 1 / (1 + np.exp(6 - 8 * (rng.random(600) < 0.04)))
    scores[rng.random(600) < 0.03] = 0.5
    samples = rng.random((600, chunk)).astype(np.float32)
    trigger, watch = Trigger(threshold, 30), WakeWatch(threshold, 0.08)
    expected = []
    for block, score in zip(samples, scores.astype(np.float32)):
        hits = trigger.detections(np.array([score]), 0.08)
        expected += [[w.kind, len(w.audio), float(w.audio[-1])] for w in watch.process(block, np.array([score]), hits)]
    assert {kind for kind, *_ in expected} == {"wake", "near_miss"}
    program = """
    const watch = new WakeWatch(data.threshold, { score_period_s: 0.08, sample_rate: 16000 });
    const trigger = new Trigger(data.threshold, 30);
    const found = [];
    data.scores.forEach((score, i) => {
      const block = new Float32Array(1280).fill(0);
      block[1279] = data.last[i];
      const hits = trigger.fired([score]).map(() => ({ score }));
      const wake = watch.process(block, [score], hits);
      if (wake) found.push([wake.kind, wake.audio.length, wake.audio.at(-1)]);
    });
    const refused = await sendWake({ kind: "wake", score: 1, audio: new Float32Array(9) }, 16000, data.dead, "x");
    const riff = new TextDecoder().decode(wavOf(new Float32Array(9), 16000).slice(0, 4));
    console.log(JSON.stringify({ found, refused, riff }));
    """
    last = samples[:, -1].tolist()
    data = {"scores": scores.astype(np.float32).tolist(), "last": last, "threshold": threshold}
    answer = in_node(program, {**data, "dead": "http://127.0.0.1:9/wakes"})
    assert answer["found"] == expected and answer["riff"] == "RIFF"
    assert "cannot be reached" in answer["refused"]


def test_sending_is_off_by_default() -> None:
    page = programs()["detect.html"].decode()
    assert '<input id="send" type="checkbox" autocomplete="off">' in page and "unless you turn sending on" in page


def test_the_page_loads_nothing_from_other_sites() -> None:
    page, script = (programs()[name].decode() for name in ("detect.html", "detect.js"))
    assert len(page) < 4_000 and "<script type" in page
    for handler in ("onclick", "onload", "onchange", "oninput", "javascript:"):
        assert handler not in page
    assert "://" not in (page + script).replace("http://localhost", ""), "it loads nothing from other sites"
    assert "eval(" not in script and "innerHTML" not in script


# In a browser.


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of an untrained phrase, unpacked with onnxruntime-web."""
    try:
        web_runtime(CACHE)
    except HarkError as error:
        pytest.skip(f"{error.what} {error.why}")
    folder = tmp_path_factory.mktemp("web")
    bundle = keyword_hmm_bundle(folder / "bundle", PHRASE, "standard", threshold=0.3)
    unpack_for_browser(bundle, folder / "page", CACHE)
    return folder / "page"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


def serve(folder: Path) -> http.server.ThreadingHTTPServer:
    """Serve a folder like ``python -m http.server``."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture(scope="module")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The browser's microphone input, repeated: the phrase, quiet, other words."""
    path = tmp_path_factory.mktemp("sound") / "microphone.wav"
    audio = np.concatenate([spoken(PHRASE, 1.0, 1.5), spoken("a lovely day in the park", 0.5, 1.5)])
    soundfile.write(path, audio, 16_000, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def browser(microphone: Path) -> Iterator[Any]:
    with chromium_running(microphone) as chromium:
        yield chromium


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that reaches only this machine, and whose scripts must not fail."""
    page = browser.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))

    def only_here(route: Any) -> None:
        if "//127.0.0.1:" in route.request.url:
            route.continue_()
        else:
            problems.append(route.request.url)
            route.abort()

    page.route("**/*", only_here)
    yield page
    page.close()
    assert not problems


def open_page(page: Any, folder: Path, state: str = "ready") -> None:
    server = serve(folder)
    page.goto(f"http://127.0.0.1:{server.server_port}/detect.html")
    page.wait_for_function(f"document.body.dataset.state === '{state}'", timeout=WAIT_MS)


def detections(page: Any, where: str) -> list[dict[str, str]]:
    """Return the detections in order of time."""
    items = page.eval_on_selector_all("#detections li", "all => all.map(one => ({...one.dataset}))")
    return [item for item in reversed(items) if item["where"] == where]


def test_the_phrase_is_detected_at_the_microphone(page: Any, served: Path, microphone: Path) -> None:
    open_page(page, served)
    assert page.inner_text("#phrase") == PHRASE
    page.click("#listen")
    page.wait_for_function("document.body.dataset.state === 'listening'", timeout=WAIT_MS)
    # The file plays in a loop, and a loaded machine may lose some of it: twice is enough.
    page.wait_for_function("document.querySelectorAll('#detections li').length >= 2", timeout=WAIT_MS)
    page.click("#listen")
    page.wait_for_function("document.body.dataset.state === 'ready'", timeout=WAIT_MS)
    first, second = (float(hit["time"]) for hit in detections(page, "microphone")[:2])
    loop = soundfile.info(microphone).duration
    rounds = (second - first) / loop
    assert rounds == pytest.approx(round(rounds), abs=0.15) and round(rounds) >= 1, "no detection outside of the phrase"


@pytest.mark.parametrize("model", ["model.onnx", "model.int8.onnx"])
def test_a_recording_gets_the_same_scores_as_in_detect_py(
    page: Any, served: Path, microphone: Path, model: str
) -> None:
    check_same_detections(page, served, microphone, model)


@pytest.mark.skipif(encoder_path() is None, reason="the package moonshine-voice is not installed")
def test_a_large_detector_gives_the_same_scores_as_detect_py(
    page: Any, served: Path, microphone: Path, tmp_path: Path
) -> None:
    """onnxruntime-web supports the graph's 8-bit encoder and decoder, loops and branches."""
    bundle = keyword_hmm_bundle(tmp_path / "bundle", PHRASE, "large", threshold=0.3)
    unpack_for_browser(bundle, tmp_path / "page", CACHE)
    # It has one model, so the choice makes no difference. WebAssembly rounds 8-bit products differently.
    check_same_detections(page, tmp_path / "page", microphone, "model.int8.onnx", 0.02)


def check_same_detections(page: Any, served: Path, microphone: Path, model: str, tolerance: float = 1e-3) -> None:
    """Check that the page finds in a recording what detect.py finds, once, and with the same score."""
    open_page(page, served)
    if model != "model.onnx":
        page.select_option("#model", model)
        page.wait_for_function("document.body.dataset.state === 'ready'", timeout=WAIT_MS)
    page.set_input_files("#file", microphone)
    page.wait_for_function("document.getElementById('status').textContent.includes('detected')", timeout=WAIT_MS)
    detector = Detector(served, int8=model != "model.onnx")
    audio = soundfile.read(microphone, dtype="float32")[0]
    expected = [hit for scores in detector.score_recording([audio]) for hit in detector.detections(scores)]
    found = detections(page, microphone.name)
    assert [float(hit["time"]) for hit in found] == pytest.approx([hit.time_s for hit in expected]) and len(found) == 1
    assert [float(hit["score"]) for hit in found] == pytest.approx([hit.score for hit in expected], abs=tolerance)


def test_a_missing_part_is_reported(page: Any, browser: Any, served: Path, tmp_path: Path) -> None:
    names = {
        "ort": "onnxruntime-web is missing",
        "model.onnx": "model.onnx is missing",
        "manifest.json": "manifest.json",
    }
    for name, message in names.items():
        folder = tmp_path / name
        shutil.copytree(served, folder)
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
        open_page(page, folder, "failed")
        assert message in page.inner_text("#problem") and page.is_disabled("#listen")
    folder = tmp_path / "damaged"
    shutil.copytree(served, folder)
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-1] + b"x")
    open_page(page, folder, "failed")
    assert "digest" in page.inner_text("#problem")
    from_disk = browser.new_page()
    from_disk.goto((served / "detect.html").as_uri())  # where browsers load no modules
    assert "python -m http.server" in from_disk.inner_text("#problem") and from_disk.is_disabled("#listen")
    from_disk.close()
