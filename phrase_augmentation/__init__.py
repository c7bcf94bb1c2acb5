"""Texts to synthesize for a keyphrase: positives, and every kind of negatives."""
