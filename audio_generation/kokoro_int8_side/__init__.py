"""Kokoro-82M in 8 bits (Apache-2.0), from the package index, with the styles of its 54 voices."""
