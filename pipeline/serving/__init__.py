"""Detectors at work: in files, over Wyoming, in a browser."""
