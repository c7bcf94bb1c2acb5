"""The making of the shipped weights and data."""
