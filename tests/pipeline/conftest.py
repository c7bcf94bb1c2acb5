"""The fixtures of training."""

from tests.support.choir import choirs, make_choir, new_clip, tiny_effort

__all__ = ["choirs", "make_choir", "new_clip", "tiny_effort"]
