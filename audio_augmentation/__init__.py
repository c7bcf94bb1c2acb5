"""Changing audio: NumPy in, NumPy out. Audio is mono float32 [samples] at 16 kHz in [-1, 1]; randomness is passed in.

One module a kind of change; ``augment`` chains them, ``compose`` builds longer streams. Whatever returns audio of the
same length keeps it aligned: a sound stays at its sample (filters are zero-phase, reverberation starts at the direct
path, codec delay is taken out).
"""
