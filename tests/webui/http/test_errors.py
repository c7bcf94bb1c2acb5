"""The HTTP status of an error."""

from __future__ import annotations

import pickle

from core.data_folder import StorageFull
from core.errors import HarkError
from core.http import HttpError
from webui.http.errors import StatusError, problem, status_of

SENTENCES = ("It failed.", "It was full.", "Try again.")


def test_the_class_of_an_error_gives_the_status_of_the_response() -> None:
    assert status_of(StorageFull(*SENTENCES)) == problem(StorageFull(*SENTENCES)).status_code == 507
    assert (status_of(HarkError(*SENTENCES)), status_of(HarkError(*SENTENCES), 500)) == (422, 500)
    assert status_of(StatusError(429, *SENTENCES)) == 429


def test_the_status_of_another_server_is_not_that_of_the_response() -> None:
    error = HttpError(*SENTENCES)
    assert problem(error).status_code == problem(pickle.loads(pickle.dumps(error))).status_code == 422
