"""Audio effects on NumPy arrays: mono float32 [samples] at 16 kHz in [-1, 1].

Each kind of effect has a module; ``augment`` chains them, and ``compose`` builds longer streams. Random effects take a
generator. Effects that preserve the length also preserve alignment: filters are zero-phase, reverberation starts at the
direct path, and codec delay is removed.
"""
