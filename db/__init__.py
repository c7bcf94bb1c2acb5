"""The clip library: every clip that Hark made or imported, with its transcript and alignments."""
