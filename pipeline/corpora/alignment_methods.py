"""The two methods by which words are placed in recordings, and what each is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import HarkError

if TYPE_CHECKING:
    from model.asr.emissions import Aligner

VITERBI, CTC_SEGMENTATION = "viterbi", "ctc-segmentation"
METHODS = {
    VITERBI: "Hark's own: faster, surer of what is right, and always there",
    CTC_SEGMENTATION: "the package of that name: its places are as good; to compare with other tools that use it",
}


def check_method(method: str) -> None:
    """Raise HarkError where there is no such method, or it cannot be used here."""
    if method not in METHODS:
        raise HarkError(
            f"There is no method {method[:40]!r} of alignment.", f"Hark has {', '.join(METHODS)}.", "Name one."
        )
    if method == CTC_SEGMENTATION:
        package()


def alignment_name(aligner: Aligner, method: str = VITERBI) -> str:
    """What the library calls the alignments of an aligner by a method, so that those of two methods never mix."""
    return aligner.name if method == VITERBI else f"{aligner.name}-{method}"


def package() -> Any:
    """The package ctc-segmentation. Raises HarkError where it is not installed."""
    try:
        import ctc_segmentation
    except ImportError as error:
        raise HarkError(
            "This method of alignment cannot be used.",
            f"The package ctc-segmentation is missing ({error}).",
            f"Use the method {VITERBI}, or install a C compiler and run: python -m pip install ctc-segmentation.",
        ) from error
    return ctc_segmentation
