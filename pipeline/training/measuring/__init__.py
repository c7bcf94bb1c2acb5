"""Detectors on a test: figures, the report, its sentences and verdict, versions compared."""
