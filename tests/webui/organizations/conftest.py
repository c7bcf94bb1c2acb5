"""An organization with a person of every role, and things that one of them has shared with it."""

from __future__ import annotations

import pytest

from tests.support.organization_house import House, make_house
from webui.accounts.models import User


@pytest.fixture
def house(owner: User) -> House:
    """The house, with the installation's owner, who is in no organization."""
    return make_house()
