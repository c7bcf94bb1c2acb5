"""Texts of positives and of all kinds of negatives for a keyphrase; text only, no audio."""
