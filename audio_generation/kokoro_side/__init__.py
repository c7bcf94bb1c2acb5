"""Kokoro (Apache-2.0): a small neural model with many voices that can be blended; phonemes by espeak-ng (GPL-3)."""
