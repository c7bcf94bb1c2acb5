"""Confinement of code that opens untrusted files, and what it decodes: audio and JSON."""
