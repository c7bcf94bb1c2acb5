"""Kokoro-82M in 8 bits (Apache-2.0), as the package index carries it, with the styles of its 54 voices."""
