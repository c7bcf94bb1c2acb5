"""Detectors in the Wyoming protocol, tested with its own client."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncClient, AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.wake import Detect, Detection, NotDetected

from core.data_folder import REPOSITORY
from core.errors import HarkError
from model.runtime import detector as run_time
from model.runtime.detector import Detector
from pipeline.serving.wyoming import MonoAudio, Stream, open_wake_words, serve, server_at
from tests.support.hostile_bundles import loop_bundle
from tests.support.processes import free_port
from tests.support.untrained_bundle import keyword_hmm_bundle, spoken

RATE = 16_000
WAIT_S = 60.0
NAMES = ("hey compass", "smart mirror")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two phrases on the shipped backbone, which needs no training for them."""
    folder = tmp_path_factory.mktemp("bundles")
    return [keyword_hmm_bundle(folder / phrase.replace(" ", "-"), phrase, threshold=0.1) for phrase in NAMES]


@pytest.fixture(scope="module")
def detectors(bundles: list[Path]) -> dict[str, Detector]:
    return open_wake_words(bundles)


def speech_of(*phrases: str) -> np.ndarray:
    return np.concatenate([spoken(phrase) for phrase in phrases])


# A stream.


def test_a_stream_gives_the_detections_of_each_detector(bundles: list[Path], detectors: dict[str, Detector]) -> None:
    audio = speech_of("hey compass", "nothing of the kind", "smart mirror", "hey compass")
    stream, other = Stream(detectors), Stream(detectors)
    found = []
    for block in np.split(audio, [100, 5_000, 40_000]):
        found += stream.process(block)
        other.process(np.zeros(7_000, np.float32))  # which does not affect the first one
    found += stream.finish()
    alone = {name: Detector(bundle) for name, bundle in zip(("hey_compass", "smart_mirror"), bundles)}
    expected = [
        (name, hit.time_s, hit.score)
        for name, detector in alone.items()
        for scores in detector.score_recording([audio])
        for hit in detector.detections(scores)
    ]
    assert found == sorted(expected, key=lambda heard: heard[1])
    assert [heard.name for heard in found] == ["hey_compass", "smart_mirror", "hey_compass"]
    assert other.finish() == []


# The protocol.


def in_a_loop(work: Coroutine[Any, Any, None]) -> None:
    """Run ``asyncio.run`` in a separate thread: while a test's browser is open, this one already has a loop."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()


@asynccontextmanager
async def serving(detectors: dict[str, Detector], uri: str) -> AsyncIterator[None]:
    stopping, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(serve(uri, detectors, stopping, ready.set))
    try:
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({task, waiting}, timeout=WAIT_S, return_when=asyncio.FIRST_COMPLETED)
        assert ready.is_set(), task
        yield
    finally:
        stopping.set()
        await asyncio.wait_for(task, WAIT_S)


def with_client(
    detectors: dict[str, Detector], talk: Callable[[AsyncClient], Awaitable[None]], more: Sequence[Callable] = ()
) -> None:
    """Run a server, and clients that talk to it simultaneously."""

    async def run() -> None:
        port = free_port()

        async def one(conversation: Callable) -> None:
            async with AsyncTcpClient("127.0.0.1", port) as client:
                await asyncio.wait_for(conversation(client), WAIT_S)

        async with serving(detectors, f"tcp://127.0.0.1:{port}"):
            await asyncio.gather(*(one(conversation) for conversation in (talk, *more)))

    in_a_loop(run())


async def send(
    client: AsyncClient, audio: np.ndarray, rate: int = RATE, stamped: bool = True, stop: bool = True
) -> None:
    """Send a recording in chunks of 50 ms, as a satellite does."""
    await client.write_event(AudioStart(rate=rate, width=2, channels=1).event())
    size = rate // 20
    for start in range(0, len(audio), size):
        pcm = (np.clip(audio[start : start + size], -1, 1) * 32767).astype("<i2").tobytes()
        at = start * 1000 // rate if stamped else None
        await client.write_event(AudioChunk(rate=rate, width=2, channels=1, audio=pcm, timestamp=at).event())
    if stop:
        await client.write_event(AudioStop().event())


async def answers(client: AsyncClient, until: type = NotDetected) -> list[Event]:
    found = []
    while True:
        event = await client.read_event()
        assert event is not None, found
        found.append(event)
        if until.is_type(event.type):
            return found


async def heard(client: AsyncClient, audio: np.ndarray, rate: int = RATE, stamped: bool = True) -> list[Detection]:
    """Return the detections in a recording."""
    await send(client, audio, rate, stamped)
    await client.write_event(Describe().event())  # its answer comes last
    events = await answers(client, Info)
    found = [Detection.from_event(event) for event in events if Detection.is_type(event.type)]
    assert any(NotDetected.is_type(event.type) for event in events) == (not found)
    return found


def test_describe_lists_the_wake_words(detectors: dict[str, Detector]) -> None:
    async def talk(client: AsyncClient) -> None:
        await client.write_event(Describe().event())
        event = await client.read_event()
        assert event is not None and Info.is_type(event.type)
        (program,) = Info.from_event(event).wake
        assert program.name == "hark" and program.installed and program.attribution.name == "Hark"
        assert [(model.name, model.phrase) for model in program.models] == [
            ("hey_compass", "hey compass"), ("smart_mirror", "smart mirror"),
        ]  # fmt: skip
        for model in program.models:
            assert model.installed and model.languages == ["en"] and model.version and model.attribution.name == "Hark"

    with_client(detectors, talk)


def test_an_untrained_phrase_is_detected_at_its_time(detectors: dict[str, Detector]) -> None:
    audio = speech_of("a lovely day in the park", "hey compass", "a lovely day in the park")
    end_ms = 1000 * (len(spoken("a lovely day in the park")) + len(spoken("hey compass")) - RATE) / RATE

    async def talk(client: AsyncClient) -> None:
        for stamped in (True, False):  # the same without the client's own timestamps
            (found,) = await heard(client, audio, stamped=stamped)
            assert found.name == "hey_compass" and found.timestamp is not None
            assert end_ms - 300 <= found.timestamp <= end_ms + 500
        assert await heard(client, speech_of("a lovely day in the park")) == []

    with_client(detectors, talk)


def test_a_client_like_home_assistant_gets_its_detection(detectors: dict[str, Detector]) -> None:
    """Home Assistant names one wake word, reads while it sends, and hangs up at the first detection."""

    async def talk(client: AsyncClient) -> None:
        await client.write_event(Detect(names=["smart_mirror"]).event())
        sending = asyncio.create_task(send(client, speech_of("hey compass", "smart mirror"), stop=False))
        event = await client.read_event()
        assert event is not None and Detection.from_event(event).name == "smart_mirror"
        await sending

    with_client(detectors, talk)


def test_names_select_the_wake_words(detectors: dict[str, Detector]) -> None:
    async def talk(client: AsyncClient) -> None:
        audio = speech_of("hey compass", "smart mirror")
        for names, expected in (
            (["hey_compass"], ["hey_compass"]),
            (["Smart Mirror", "no such word"], ["smart_mirror"]),
            (None, ["hey_compass", "smart_mirror"]),
            ([], ["hey_compass", "smart_mirror"]),
        ):
            await client.write_event(Detect(names=names).event())
            assert [one.name for one in await heard(client, audio)] == expected
        await client.write_event(Detect(names=["no such word"]).event())
        event = await client.read_event()
        assert event is not None and "hey_compass, smart_mirror" in Error.from_event(event).text
        assert await heard(client, audio) == []

    with_client(detectors, talk)


def test_clients_do_not_affect_each_other(detectors: dict[str, Detector]) -> None:
    def hears(*phrases: str) -> Callable[[AsyncClient], Awaitable[None]]:
        async def talk(client: AsyncClient) -> None:
            for _ in range(2):  # nor does a stream affect the next one
                found = await heard(client, speech_of(*phrases, "a lovely day"))
                assert [one.name for one in found] == [phrase.replace(" ", "_") for phrase in phrases]

        return talk

    with_client(detectors, hears("hey compass"), [hears(), hears("smart mirror", "hey compass"), hears("smart mirror")])


@pytest.mark.parametrize(
    ("rate", "width", "channels"), [(48_000, 2, 2), (44_100, 4, 1), (22_050, 2, 1), (16_000, 4, 3)]
)
def test_other_audio_formats_are_converted(
    detectors: dict[str, Detector], rate: int, width: int, channels: int
) -> None:
    audio = soxr.resample(speech_of("hey compass"), RATE, rate).clip(-1, 1)
    full = 2 ** (8 * width - 1) - 1
    frames = np.repeat((audio.astype(np.float64) * full).astype(f"<i{width}")[:, None], channels, axis=1)

    async def talk(client: AsyncClient) -> None:
        await client.write_event(AudioStart(rate=rate, width=width, channels=channels).event())
        for block in np.array_split(frames, 37):
            chunk = AudioChunk(rate=rate, width=width, channels=channels, audio=block.tobytes())
            await client.write_event(chunk.event())
        await client.write_event(AudioStop().event())
        event = await client.read_event()
        assert event is not None and Detection.is_type(event.type)

    with_client(detectors, talk)


def test_detections_in_a_long_chunk_have_their_own_times(detectors: dict[str, Detector]) -> None:
    phrases = ("hey compass", "a lovely day in the park", "smart mirror")
    audio = speech_of(*phrases)
    ends = np.cumsum([1000 * len(spoken(phrase)) / RATE for phrase in phrases])[[0, 2]] - 1000
    pcm = (audio * 32767).astype("<i2").tobytes()

    async def talk(client: AsyncClient) -> None:
        for timestamp in (None, 7_000):
            await client.write_event(AudioChunk(RATE, 2, 1, pcm, timestamp=timestamp).event())
            await client.write_event(AudioStop().event())
            for name, end_ms in zip(("hey_compass", "smart_mirror"), ends + (timestamp or 0), strict=True):
                event = await client.read_event()
                assert event is not None
                found = Detection.from_event(event)
                assert found.name == name and found.timestamp is not None
                assert end_ms - 700 <= found.timestamp <= end_ms + 500

    with_client(detectors, talk)


def test_chunks_may_end_within_a_sample() -> None:
    values = np.arange(-3000, 3000, dtype="<i2")
    audio, pcm = MonoAudio(), values.tobytes()
    parts = [audio.take(AudioChunk(RATE, 2, 1, pcm[start : start + 333])) for start in range(0, len(pcm), 333)]
    assert (np.concatenate(parts) == values / np.float32(32768)).all()


def test_a_phrase_at_the_very_end_is_detected(detectors: dict[str, Detector]) -> None:
    async def talk(client: AsyncClient) -> None:
        audio = spoken("hey compass", tail_s=0.0)
        assert [one.name for one in await heard(client, audio)] == ["hey_compass"]

    with_client(detectors, talk)


@pytest.mark.parametrize(
    "event",
    [
        Event("audio-chunk", {}, b"\0\0"),
        Event("audio-chunk", {"rate": 16_000, "width": 7, "channels": 1}, b"\0\0"),
        Event("audio-chunk", {"rate": 0, "width": 2, "channels": 1}, b"\0\0"),
        Event("audio-chunk", {"rate": "much", "width": 2, "channels": 1}, b"\0\0"),
        Event("audio-start", {"rate": 16_000, "width": 2, "channels": 1, "timestamp": "late"}),
        Event("detect", {"names": 7}),
    ],
)
def test_an_invalid_client_gets_an_error_and_does_not_affect_others(
    detectors: dict[str, Detector], event: Event
) -> None:
    async def odd(client: AsyncClient) -> None:
        await client.write_event(event)
        answer = await client.read_event()
        assert answer is not None and Error.is_type(answer.type) and event.type in Error.from_event(answer).text
        assert await client.read_event() is None, "the connection is closed"

    async def good(client: AsyncClient) -> None:
        assert len(await heard(client, speech_of("hey compass"))) == 1

    with_client(detectors, odd, [good])


def test_a_model_that_never_ends_is_stopped_and_its_client_informed(
    bundles: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_time, "CALL_S", 1.0)
    hostile = loop_bundle(tmp_path / "hostile", from_level=0.5)
    detectors = {"hostile": Detector(hostile), "hey_compass": Detector(bundles[0])}

    async def talk(client: AsyncClient) -> None:
        await client.write_event(Detect(names=["hostile"]).event())
        await send(client, np.full(RATE // 5, 0.7, np.float32))
        answer = await client.read_event()
        assert answer is not None and Error.from_event(answer).code == "model-failed"
        assert "more than" in Error.from_event(answer).text
        assert await client.read_event() is None

    async def good(client: AsyncClient) -> None:
        await client.write_event(Detect(names=["hey_compass"]).event())
        assert len(await heard(client, speech_of("hey compass"))) == 1

    with_client(detectors, talk, [good])


def test_invalid_bytes_close_the_connection_and_unknown_events_do_not(detectors: dict[str, Detector]) -> None:
    async def noisy(client: AsyncClient) -> None:
        client._writer.write(b"GET / HTTP/1.1\r\n\r\n")  # type: ignore[union-attr]
        assert await client.read_event() is None

    async def listy(client: AsyncClient) -> None:
        client._writer.write(b"[1, 2]\n")  # type: ignore[union-attr]
        assert await client.read_event() is None

    async def newer(client: AsyncClient) -> None:
        await client.write_event(Event("something-of-next-year", {"a": 1}))
        assert len(await heard(client, speech_of("hey compass"))) == 1

    with_client(detectors, newer, [noisy, listy])


def test_a_unix_socket_is_served_but_a_file_is_not_replaced(detectors: dict[str, Detector], tmp_path: Path) -> None:
    path = tmp_path / "hark.sock"
    uri = f"unix://{path}"

    async def run() -> None:
        async with serving(detectors, uri):
            async with AsyncClient.from_uri(uri) as client:
                assert len(await asyncio.wait_for(heard(client, speech_of("hey compass")), WAIT_S)) == 1
            with pytest.raises(HarkError, match="Another program already listens there"):
                server_at(uri)

    in_a_loop(run())
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "left.sock"))
    left.close()
    server_at(f"unix://{tmp_path / 'left.sock'}")  # a socket that a killed server left
    path.write_text("a letter")
    with pytest.raises(HarkError, match="not a socket"):
        server_at(uri)
    assert path.read_text() == "a letter"


@pytest.mark.parametrize(
    "uri", ["", "http://x", "tcp://127.0.0.1", "tcp://x:99999", "tcp://x:0", "unix://", "unix://a/b"]
)
def test_invalid_uris_are_rejected(uri: str) -> None:
    with pytest.raises(HarkError, match="not a URI"):
        server_at(uri)


def test_a_port_in_use_is_reported(detectors: dict[str, Detector]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(HarkError, match="already"):
            in_a_loop(serve(f"tcp://127.0.0.1:{taken.getsockname()[1]}", detectors, asyncio.Event()))


# The command.


def test_detectors_of_the_same_phrase_get_distinct_names(bundles: list[Path], tmp_path: Path) -> None:
    table = [{"fa_per_day": 0.5, "threshold": 0.8}, {"fa_per_day": 12.0, "threshold": 0.2}]
    other = keyword_hmm_bundle(tmp_path / "other", "hey compass", thresholds=table)
    found = open_wake_words([bundles[0], other], fa_per_day=12.0)
    assert list(found) == ["hey_compass", "hey_compass_2"]
    assert found["hey_compass_2"].threshold == pytest.approx(0.2)
    assert open_wake_words([other])["hey_compass"].threshold == pytest.approx(0.8)


def test_missing_and_invalid_bundles_are_rejected(bundles: list[Path], tmp_path: Path) -> None:
    with pytest.raises(HarkError, match="cannot be found"):
        open_wake_words([bundles[0], tmp_path / "missing.zip"])
    (tmp_path / "odd.zip").write_bytes(b"no zip")
    with pytest.raises(HarkError):
        open_wake_words([tmp_path / "odd.zip"])


@contextmanager
def command(*arguments: str, stdin: int = subprocess.DEVNULL) -> Iterator[subprocess.Popen]:
    """Run the command; end it if it has not ended."""
    with subprocess.Popen(
        [sys.executable, "main.py", "wyoming", *arguments], cwd=REPOSITORY, stdin=stdin, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_a_signal(bundles: list[Path], number: signal.Signals) -> None:
    port = free_port()
    with command("--json", "--uri", f"tcp://127.0.0.1:{port}", *map(str, bundles)) as process:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        assert line["wake_words"] == {"hey_compass": "hey compass", "smart_mirror": "smart mirror"}

        async def talk() -> None:
            async with asyncio.timeout(WAIT_S), AsyncTcpClient("127.0.0.1", port) as client:
                assert len(await heard(client, speech_of("hey compass"))) == 1
                process.send_signal(number)  # while a client is there
                assert await client.read_event() is None

        in_a_loop(talk())
        out, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 130 and not out and b"Traceback" not in err and b"never retrieved" not in err, err
    assert b"Listening on" in err and b"hey_compass  score" in err


def test_the_command_serves_over_stdin_and_stdout(bundles: list[Path], tmp_path: Path) -> None:
    with command("--uri", "stdio://", str(bundles[0]), stdin=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b'{"type": "describe"}\n')
        process.stdin.flush()
        header = json.loads(process.stdout.readline())
        info = json.loads(process.stdout.read(header["data_length"]))
        assert info["wake"][0]["models"][0]["phrase"] == "hey compass"
        out, err = process.communicate(timeout=WAIT_S)  # which closes stdin
    assert process.returncode == 0 and not out and b"Traceback" not in err, err


def test_the_command_explains_errors(bundles: list[Path], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for arguments, message in (
            ((str(tmp_path / "none.zip"),), "cannot be found"),
            ((str(bundles[0]), "--uri", f"tcp://127.0.0.1:{taken.getsockname()[1]}"), "cannot listen"),
            ((str(bundles[0]), "--uri", "stdio://"), "cannot listen"),  # stdin is not a pipe
            ((str(bundles[0]), "--uri", "stdio://", "--json"), "cannot be combined"),
        ):
            with command(*arguments) as process:
                _, err = process.communicate(timeout=WAIT_S)
            text = err.decode()
            assert process.returncode == 2 and message in text and "What to do:" in text, text
            assert "Traceback" not in text
