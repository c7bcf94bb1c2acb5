"""Kokoro-82M in 8 bits (Apache-2.0), as the package index carries it: five voices, and blends of them."""
