"""Audio effects: NumPy in, NumPy out. Audio is mono float32 [samples] at 16 kHz in [-1, 1]. Randomness is passed in.

There is one module per kind of effect; ``augment`` chains them, and ``compose`` builds longer streams. Effects that
preserve the length also preserve alignment: filters are zero-phase, reverberation starts at the direct path, and codec
delay is removed.
"""
