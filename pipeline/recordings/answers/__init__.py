"""Answers to questions about recordings."""
