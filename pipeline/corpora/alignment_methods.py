"""The two methods of aligning words to recordings, and their uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import HarkError, no_such
from core.worded import worded

if TYPE_CHECKING:
    from model.asr.emissions import Aligner

VITERBI, CTC_SEGMENTATION = "viterbi", "ctc-segmentation"
METHODS = {
    VITERBI: "Hark's own: faster, more confident where it is right, and always available",
    CTC_SEGMENTATION: "the package of that name: equally accurate; for comparison with other tools",
}


def check_method(method: str) -> None:
    """Raise HarkError if the method does not exist or cannot be used here."""
    if method not in METHODS:
        raise no_such(worded("alignment method"), method, METHODS)
    if method == CTC_SEGMENTATION:
        package()


def alignment_name(aligner: Aligner, method: str = VITERBI) -> str:
    """Return the name of an aligner's alignments in the library, different for each method."""
    return aligner.name if method == VITERBI else f"{aligner.name}-{method}"


def package() -> Any:
    """Import the package ctc-segmentation. Raises HarkError if it is not installed."""
    try:
        import ctc_segmentation
    except ImportError as error:
        raise HarkError(
            worded("This alignment method cannot be used."),
            worded("The package ctc-segmentation is missing (%(error)s).", error=str(error)),
            worded(
                "Use the method %(viterbi)s, or install a C compiler and run: python -m pip install ctc-segmentation.",
                viterbi=VITERBI,
            ),
        ) from error
    return ctc_segmentation
