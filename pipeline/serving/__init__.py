"""Trained detectors in use: on files, over Wyoming, in a browser."""
