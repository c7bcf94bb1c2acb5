"""Measurement of detectors: test figures, the report, its sentences and verdict, comparisons of versions."""
