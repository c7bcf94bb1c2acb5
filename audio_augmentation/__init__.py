"""Audio effects: NumPy in, NumPy out. Audio is mono float32 [samples] at 16 kHz in [-1, 1]; randomness is passed in.

One module for each kind of effect; ``augment`` chains them, ``compose`` builds longer streams. Effects that preserve
the length also preserve alignment: a sound stays at its sample (filters are zero-phase, reverberation starts at the
direct path, codec delay is removed).
"""
