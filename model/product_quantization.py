"""Product quantization: vectors encoded as a few bytes each.

Jégou and others, "Product Quantization for Nearest Neighbor Search" (2011), after a rotation that gives each part an
equal share of the variance (Ge and others, "Optimized Product Quantization", 2013).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CENTROIDS = 256  # centroids per part, so a code is one byte
ROUNDS = 15  # iterations of k-means


@dataclass(frozen=True)
class ProductQuantizer:
    """Encodes vectors as bytes.

    Attributes:
        mean: [width].
        rotation: [width, width], orthogonal; consecutive columns form the parts.
        books: [parts, 256, width / parts], the centroids of each part.
    """

    mean: np.ndarray
    rotation: np.ndarray
    books: np.ndarray

    @staticmethod
    def fitted(samples: np.ndarray, parts: int, seed: int) -> ProductQuantizer:
        """Fit to samples [n, width]; ``width`` must be a multiple of ``parts``, and ``n`` at least 256."""
        from scipy.cluster.vq import kmeans2

        width = samples.shape[1]
        mean = samples.mean(axis=0)
        variances, vectors = np.linalg.eigh(np.cov(samples - mean, rowvar=False))
        shares = [0.0] * parts  # logarithm of the product of variances so far
        dealt: list[list[int]] = [[] for _ in range(parts)]
        for direction in np.argsort(variances)[::-1]:
            part = min((p for p in range(parts) if len(dealt[p]) < width // parts), key=shares.__getitem__)
            dealt[part].append(int(direction))
            shares[part] += float(np.log(max(variances[direction], 1e-9) / max(variances.min(), 1e-9)))
        rotation = vectors[:, [direction for part in dealt for direction in part]].astype(np.float32)
        turned = np.split((samples - mean) @ rotation, parts, axis=1)
        books = [kmeans2(part, CENTROIDS, ROUNDS, minit="points", seed=seed)[0] for part in turned]
        return ProductQuantizer(mean.astype(np.float32), rotation, np.stack(books).astype(np.float32))

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """Encode vectors [n, width] as codes [n, parts], bytes."""
        from scipy.cluster.vq import vq

        turned = np.split((vectors - self.mean) @ self.rotation, len(self.books), axis=1)
        return np.stack([vq(part, book)[0] for part, book in zip(turned, self.books)], axis=1).astype(np.uint8)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Decode codes [n, parts] to vectors [n, width]."""
        parts = [book[code] for book, code in zip(self.books, codes.T)]
        vectors: np.ndarray = np.concatenate(parts, axis=1) @ self.rotation.T + self.mean
        return vectors

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the quantizer's arrays, compact, as its keyword arguments."""
        return {"mean": self.mean, "rotation": self.rotation.astype(np.float16), "books": self.books.astype(np.float16)}
