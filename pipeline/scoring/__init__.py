"""Scores of a phrase without training."""
