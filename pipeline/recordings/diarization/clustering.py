"""Clustering of a recording's windows by voice, and the number of voices."""

from __future__ import annotations

import numpy as np

# Tuned on conversations mixed from librispeech-test-clean-a and on pyannote's trn* and dev*.
FINE_SIMILARITY = 0.70  # windows of one voice have a cosine of about 0.75, so initial groups are as fine as voices
FINER = (0.75, 0.80, 0.85)
MIN_WINDOWS = 4  # minimum windows; a smaller initial group is a mixture of two voices, or a noise
# A person has at least this fraction of the windows, or MAX_MIN_WINDOWS (10 s of speech) if that is less. With a lower
# minimum, one person more often counts as two; with a higher one, people who speak little are lost.
MIN_WINDOW_FRACTION = 0.04
MAX_MIN_WINDOWS = 25
SAME_VOICE = 0.87  # minimum similarity (see `_Likeness`) of two groups that are one voice
MAX_SPEAKERS = 8
FAR_S = 1.7  # seconds; nearer windows share audio, so their similarity is not evidence
MAX_WINDOWS = 4000  # maximum compared with each other (64 MB per matrix); of more, every n-th is used


def unit(vectors: np.ndarray) -> np.ndarray:
    """Scale vectors [..., n] to length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def voices(embeddings: np.ndarray, times_s: np.ndarray, speakers: int | None = None) -> np.ndarray:
    """Find the voices of windows; return unit-norm centroids [voices, dimensions], at least one.

    ``embeddings`` [windows, dimensions] have unit norm; ``times_s`` are the middles of the windows.
    """
    every = -(-len(embeddings) // MAX_WINDOWS)
    embeddings, times_s = embeddings[::every].astype(np.float32), times_s[::every]
    likeness = _Likeness(embeddings, times_s)
    if speakers is not None:
        labels = _exactly(embeddings, likeness, max(1, speakers))
    else:
        labels = _estimated(embeddings, likeness)
    return centroids(embeddings, labels)


def centroids(embeddings: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the mean direction [labels, dimensions] of the windows with each occurring label."""
    return unit(np.stack([embeddings[labels == label].mean(axis=0) for label in np.unique(labels)]))


def _exactly(embeddings: np.ndarray, likeness: _Likeness, speakers: int) -> np.ndarray:
    fewest = min(MIN_WINDOWS, max(1, len(embeddings) // (4 * speakers)))
    for similarity in (FINE_SIMILARITY, *FINER):  # voices in one room or on one line are more similar
        labels = _without_small(embeddings, _groups(embeddings, similarity), fewest)
        if len(np.unique(labels)) >= speakers:
            break
    else:
        labels = _groups(embeddings, number=min(speakers, len(embeddings)))
    while len(np.unique(labels)) > speakers:
        labels = _merged(labels, likeness, -np.inf)
    return labels


def _estimated(embeddings: np.ndarray, likeness: _Likeness) -> np.ndarray:
    labels = _without_small(embeddings, _groups(embeddings), MIN_WINDOWS)
    smallest = max(MIN_WINDOWS, min(MIN_WINDOW_FRACTION * len(embeddings), MAX_MIN_WINDOWS))
    while True:
        before = labels
        least = SAME_VOICE if len(np.unique(labels)) <= MAX_SPEAKERS else -np.inf
        labels = _merged(labels, likeness, least)
        if labels is before:
            counts = {label: int((labels == label).sum()) for label in np.unique(labels)}
            if len(counts) == 1 or min(counts.values()) >= smallest:
                return labels
            rarest = min(counts, key=lambda label: counts[label])
            labels = np.where(labels == rarest, -1, labels)
        labels = _nearest(embeddings, labels)


def _groups(embeddings: np.ndarray, similarity: float = FINE_SIMILARITY, number: int | None = None) -> np.ndarray:
    if len(embeddings) < 2:
        return np.zeros(len(embeddings), int)
    from sklearn.cluster import AgglomerativeClustering

    distance = None if number else 1 - similarity
    method = AgglomerativeClustering(number, metric="cosine", linkage="average", distance_threshold=distance)
    return np.asarray(method.fit_predict(embeddings))


def _without_small(embeddings: np.ndarray, labels: np.ndarray, min_windows: int) -> np.ndarray:
    counts = np.bincount(labels)
    large = counts >= min(min_windows, counts.max())
    return _nearest(embeddings, np.where(large[labels], labels, -1))


def _nearest(embeddings: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return each window's nearest group, numbered from 0. Windows labelled -1 do not have a group yet."""
    labelled = labels >= 0
    return (embeddings @ centroids(embeddings[labelled], labels[labelled]).T).argmax(axis=1)


def _merged(labels: np.ndarray, likeness: _Likeness, min_likeness: float) -> np.ndarray:
    """Merge the two most similar groups; return ``labels`` itself if no two have the similarity ``min_likeness``."""
    names, matrix = likeness.between(labels)
    if len(names) < 2:
        return labels
    np.fill_diagonal(matrix, -np.inf)
    one, other = np.unravel_index(int(matrix.argmax()), matrix.shape)
    return labels if matrix[one, other] < min_likeness else np.where(labels == names[other], names[one], labels)


class _Likeness:
    """Similarity of groups of windows: the mean cosine between two groups, relative to those within each.

    It is 1 for two groups of the same voice, regardless of the effect of room, microphone and noise on all cosines of a
    recording. The cosine of their centroids would depend on the number of windows in each.
    """

    def __init__(self, embeddings: np.ndarray, times_s: np.ndarray) -> None:
        self.far = (np.abs(times_s[:, None] - times_s[None]) > FAR_S).astype(np.float32)
        self.cosines = (embeddings @ embeddings.T) * self.far

    def between(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the groups' labels and their similarity [groups, groups]."""
        names, numbers = np.unique(labels, return_inverse=True)
        member = np.eye(len(names), dtype=np.float32)[numbers]
        pairs = member.T @ self.far @ member
        means = (member.T @ self.cosines @ member) / np.maximum(pairs, 1)
        within, known = np.diag(means), np.diag(pairs) > 0
        # A group without windows far from each other has no similarity within, so it gets the mean of the others.
        within = np.where(known, within, within[known].mean() if known.any() else FINE_SIMILARITY)
        scale = np.sqrt(np.maximum(np.outer(within, within), 1e-6))
        return names, means / scale
