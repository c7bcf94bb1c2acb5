"""The fixtures of training."""

from tests.support.choir import make_choir, new_clip, tiny_effort

__all__ = ["make_choir", "new_clip", "tiny_effort"]
