"""The choices for a run, checked and completed."""
