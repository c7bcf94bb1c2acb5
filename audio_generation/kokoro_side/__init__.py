"""Kokoro (Apache-2.0): one small neural model with many voices that can be blended; phonemes by espeak-ng (GPL-3)."""
