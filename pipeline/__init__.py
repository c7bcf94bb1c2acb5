"""Hark's work on speech and detectors, one folder per field, without Django."""
