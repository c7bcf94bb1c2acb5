"""Product quantization: vectors are restored approximately, and more bytes restore them better."""

from __future__ import annotations

import numpy as np
import pytest

from model.product_quantization import ProductQuantizer


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    rng = np.random.default_rng(0)
    # Few directions have most of the variance, as an encoder's states have.
    return (rng.standard_normal((3000, 24)) * np.geomspace(5, 0.05, 24) @ rng.standard_normal((24, 24)) + 3.0).astype(
        np.float32
    )


def lost(vectors: np.ndarray, parts: int) -> float:
    made = ProductQuantizer.fitted(vectors[:2000], parts, 1)
    codes = made.encode(vectors[2000:])
    assert codes.dtype == np.uint8 and codes.shape == (1000, parts)
    return float(np.square(made.decode(codes) - vectors[2000:]).sum() / np.square(vectors[2000:] - 3.0).sum())


def test_more_bytes_reduce_the_quantization_error(vectors: np.ndarray) -> None:
    two, eight = lost(vectors, 2), lost(vectors, 8)
    assert eight < 0.02 < two < 0.35


def test_stored_codes_decode_to_the_same_vectors(vectors: np.ndarray) -> None:
    made = ProductQuantizer.fitted(vectors, 4, 1)
    again = ProductQuantizer(**{name: array.astype(np.float32) for name, array in made.arrays().items()})
    codes = made.encode(vectors[:50])
    np.testing.assert_allclose(again.decode(codes), made.decode(codes), atol=0.05)
    np.testing.assert_allclose(made.rotation.T @ made.rotation, np.eye(24), atol=1e-4)
    twice = ProductQuantizer.fitted(vectors, 4, 1)
    np.testing.assert_array_equal(twice.books, made.books)
