"""A test double that is an engine like the others: vowel-like sound from the text, and every way an engine can fail."""
