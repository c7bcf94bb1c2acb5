"""Settings: their rules, the files that hold them, and the names of earlier systems."""
