"""Streamed transcription by server-sent events in the format of OpenAI's audio API."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from django.db import connection
from django.http import HttpResponse, StreamingHttpResponse

from core.errors import HarkError
from pipeline.recordings.transcripts.transcript import Transcript
from webui.compatibility.transcribing import text_of, transcribe_upload
from webui.http.errors import broken, status_of

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.2


def stream(shape: Callable[[HarkError, int], HttpResponse], **arguments: Any) -> StreamingHttpResponse:
    """Stream :func:`transcribe_upload`: ``transcript.text.delta`` for each chunk, finally ``transcript.text.done``.

    The response begins with the first words. An error before them is raised, as without streaming; a later one becomes
    an event in the format of ``shape``.
    """
    transcription = _Transcription(arguments)
    first = transcription.wait()
    response = StreamingHttpResponse(
        _events(transcription, first, shape), content_type="text/event-stream; charset=utf-8"
    )
    response["X-Accel-Buffering"] = "no"  # otherwise nginx buffers the whole response
    return response


class _Transcription:
    """A transcription in its own thread. Its chunks are read as they are finished."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.done: Future[Transcript] = Future()
        self._progress: Path | None = None
        self._file: IO[bytes] | None = None  # open, so that it remains readable after its folder is removed
        self._rest = b""
        threading.Thread(target=self._transcribe, args=(arguments,), daemon=True).start()

    def _transcribe(self, arguments: dict[str, Any]) -> None:
        try:
            self.done.set_result(transcribe_upload(**arguments, on_progress_file=self._note_progress_file))
        except BaseException as error:  # raised again with the result
            self.done.set_exception(error)
        finally:
            connection.close()

    def _note_progress_file(self, progress: Path) -> None:
        self._progress = progress

    def news(self) -> list[str]:
        """Return the texts of the chunks finished since the last call."""
        if self._file is None:
            if self._progress is None or not self._progress.exists():
                return []
            with suppress(OSError):  # it has just been removed
                self._file = self._progress.open("rb")
        if self._file is None:
            return []
        whole, newline, self._rest = (self._rest + self._file.read()).rpartition(b"\n")
        rows = [json.loads(line) for line in whole.splitlines()] if newline else []
        texts = (" ".join(part["text"].strip() for part in row["segments"]) for row in rows if "segments" in row)
        return [text for text in texts if text]

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def wait(self) -> list[str]:
        """Return the first texts; [] if nothing was recognized. Raises the errors of :func:`transcribe_upload`."""
        while not (texts := self.news()) and not self.done.done():
            wait([self.done], LOOK_EVERY_S)
        if self.done.done() and (error := self.done.exception()) is not None:
            self.close()
            raise error
        return texts


async def _events(
    transcription: _Transcription, texts: list[str], shape: Callable[[HarkError, int], HttpResponse]
) -> AsyncIterator[bytes]:
    sent = ""
    try:
        while True:
            ended = transcription.done.done()
            for text in texts + (transcription.news() if ended else []):
                delta = f" {text}" if sent else text
                sent += delta
                yield _event({"type": "transcript.text.delta", "delta": delta})
            if ended:
                break
            await asyncio.sleep(LOOK_EVERY_S)
            texts = transcription.news()
    finally:
        transcription.close()
    error = transcription.done.exception()
    if error is not None:
        if not isinstance(error, HarkError):
            log.error("a streamed transcription failed", exc_info=error)
            error = broken()
        yield _event({"type": "error", **json.loads(shape(error, status_of(error, 500)).content)})
        return
    text = text_of(transcription.done.result())
    if text != sent and text.startswith(sent):  # send the rest: the file was removed before all chunks were read
        yield _event({"type": "transcript.text.delta", "delta": text[len(sent) :]})
    yield _event({"type": "transcript.text.done", "text": text})


def _event(content: dict[str, Any]) -> bytes:
    return f"event: {content['type']}\ndata: {json.dumps(content, ensure_ascii=False)}\n\n".encode()
