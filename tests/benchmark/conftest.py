"""The stand-in engine of the pipeline's tests speaks in these, too."""

from tests.pipeline.conftest import make_choir

__all__ = ["make_choir"]
