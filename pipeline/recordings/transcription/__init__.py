"""Transcription: recognition engines with one interface, chunks cut at pauses, whole files, and streams."""
