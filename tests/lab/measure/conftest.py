"""The fixtures of training."""

from tests.pipeline.conftest import make_choir, new_clip, tiny_effort

__all__ = ["make_choir", "new_clip", "tiny_effort"]
