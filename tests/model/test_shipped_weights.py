"""What is said about the weights that ship."""

from __future__ import annotations

import pytest

from model.shipped_weights import BACKBONE, FOLDER, HEAD, MICRO_NETWORK, RECOGNIZER, VERIFIER, load_weights


@pytest.mark.parametrize("file", [BACKBONE, HEAD, MICRO_NETWORK, VERIFIER, RECOGNIZER])
def test_each_names_the_licence_of_all_that_it_learned_from(file: str) -> None:
    about = load_weights(FOLDER / file)[1]
    assert about["training_corpora"] and set(about["training_corpora"]) <= set(about["licences"])
