"""Detectors of size large: a keyword HMM on the phones of a speech recognizer's encoder."""
