"""Detectors: features, networks, training data and training, metrics, export, and the runtime."""
