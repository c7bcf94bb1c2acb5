"""Scores of phrases that no detector was trained for."""
