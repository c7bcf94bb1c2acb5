"""Scoring of phrases without a trained detector."""
