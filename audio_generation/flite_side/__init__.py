"""flite (BSD-like): CMU's small English voices, through libflite in a persistent worker or the flite program."""
