"""Measurements for the documents."""
