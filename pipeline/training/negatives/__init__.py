"""Real speech without the phrase, as it ships: thresholds and false alarms come from it."""
