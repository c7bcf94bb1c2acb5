"""What Hark does, by room; see each room. No Django in here."""
