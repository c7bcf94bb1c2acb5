"""Recordings to text: recognition engines with one contract, pieces cut at pauses, whole files and streams."""
