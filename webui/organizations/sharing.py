"""What a page about a thing says of who shares it, and what the reader may do."""

from __future__ import annotations

from typing import Any

from webui.accounts.models import User
from webui.organizations import services
from webui.organizations.services import Thing


def sharing_of(thing: Thing, user: User) -> dict[str, Any]:
    """``own``: it is the reader's; ``may_change``; ``may_withdraw``; ``share_with``: organizations to choose from."""
    own = thing.user_id == user.pk
    organization = thing.organization
    membership = None if organization is None else services.membership_of(user, organization)
    return {
        "own": own,
        "may_change": own or (membership is not None and membership.changes),
        "may_withdraw": organization is not None and (own or (membership is not None and membership.manages)),
        "share_with": list(services.to_share_with(user)) if own else [],
        "organization": organization,
    }
