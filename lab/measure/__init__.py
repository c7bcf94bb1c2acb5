"""Measurements whose figures are in the documentation."""
