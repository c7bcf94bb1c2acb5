"""Detectors on a test: figures, the report, its sentences and verdict, comparisons of versions."""
