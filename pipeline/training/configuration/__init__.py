"""What a user chooses for a run, checked and completed."""
