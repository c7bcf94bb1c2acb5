"""The HTTP status of an error."""

from __future__ import annotations

import pickle

import pytest

from core.data_folder import StorageFull
from core.errors import HarkError
from core.http import HttpError
from pipeline.speech_service.client import ServiceBusy
from webui.http.errors import StatusError, problem, status_of

SENTENCES = ("It failed.", "It was full.", "Try again.")


def test_the_class_of_an_error_gives_the_status_of_the_response() -> None:
    assert status_of(StorageFull(*SENTENCES)) == problem(StorageFull(*SENTENCES)).status_code == 507
    assert (status_of(HarkError(*SENTENCES)), status_of(HarkError(*SENTENCES), 500)) == (422, 500)
    assert status_of(StatusError(429, *SENTENCES)) == 429
    busy = problem(pickle.loads(pickle.dumps(ServiceBusy(*SENTENCES))))
    assert (busy.status_code, busy["Retry-After"]) == (503, "30")


@pytest.mark.parametrize(("wait_s", "header"), [(5.0, "5"), (0.2, "1"), (12, "12"), (0.0, None), (None, None)])
def test_retry_after_has_whole_seconds(wait_s: float | None, header: str | None) -> None:
    error = HttpError(*SENTENCES)
    error.wait_s = wait_s
    assert problem(error).get("Retry-After") == header


def test_the_status_of_another_server_is_not_that_of_the_response() -> None:
    error = HttpError(*SENTENCES)
    assert problem(error).status_code == problem(pickle.loads(pickle.dumps(error))).status_code == 422
