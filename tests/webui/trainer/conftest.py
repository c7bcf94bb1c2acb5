"""A version of a detector."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.detector_versions import make_version
from webui.accounts.models import User
from webui.trainer.models import Version


@pytest.fixture
def version(owner: User, portal: Path) -> Version:
    """The first version of a detector of the owner's."""
    return make_version(owner, portal)
