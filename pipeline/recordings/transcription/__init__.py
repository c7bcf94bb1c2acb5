"""Recordings to text: engines of recognition with one contract, pieces at pauses, whole files and streams."""
