"""Detectors of size standard: a keyword HMM on a shipped backbone, and a network that learns the phrase."""
