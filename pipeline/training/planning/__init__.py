"""The plan of a run: its clips, voices and splits."""
