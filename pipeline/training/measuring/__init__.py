"""Thresholds, figures of the test, and comparisons of versions."""
