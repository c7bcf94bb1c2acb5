"""The shipped real speech without the phrase, which sets thresholds and measures false alarms."""
