"""Emissions and alignments of clips."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import HarkError
from db.db_api import Library
from db.records import AlignedUnit, ClipQuery
from tests.support.library_clips import new_clip


def test_emissions_and_alignments_are_stored_per_model(library: Library) -> None:
    first, second = library.add_clips([new_clip("hey compass", 1), new_clip("hey", 2)])
    matrix = np.log(np.random.default_rng(0).dirichlet(np.ones(40), 25)).astype(np.float32)
    library.alignments.add_emissions("ctc-1", [(first, matrix)])
    stored = library.alignments.emission(first, "ctc-1")
    assert stored is not None and stored.dtype == np.float16 and np.abs(stored - matrix).max() < 0.01
    assert library.alignments.emission(second, "ctc-1") is None
    assert library.alignments.with_emission("ctc-1", [first, second]) == {first}
    packed = np.arange(32, dtype=np.uint8).reshape(2, 16)
    library.alignments.add_emissions("packed", [(second, packed)])
    again = library.alignments.emission(second, "packed")
    assert again is not None and again.dtype == np.uint8 and (again == packed).all(), "as its maker packed it"
    with pytest.raises(ValueError):
        library.alignments.add_emissions("../x", [(first, matrix)])
    with pytest.raises(HarkError):
        library.alignments.add_emissions("ctc-1", [(999, matrix)])

    words = [AlignedUnit("word", "hey", 0.1, 0.3, 0.9), AlignedUnit("word", "compass", 0.3, 0.8, 0.8)]
    phones = [AlignedUnit("phone", "h", 0.1, 0.15, 0.7)]
    library.alignments.replace("ctc-1", {first: words + phones, second: [AlignedUnit("word", "hey", 0.0, 0.2, 0.95)]})
    assert library.alignments.units(first, "ctc-1", "word") == words
    assert library.alignments.units(first, "ctc-1", "phone") == phones
    library.alignments.replace("ctc-1", {first: phones})
    assert library.alignments.units(first, "ctc-1", "word") == []
    assert library.alignments.aligned("ctc-1", [first, second]) == {first, second}
    library.alignments.replace("ctc-2", {second: phones})
    assert [clip.id for clip in library.iter_clips(ClipQuery(aligned_by="ctc-2"))] == [second]
