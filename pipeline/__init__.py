"""What a run does, in order. No Django in here."""
