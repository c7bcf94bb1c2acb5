"""Festival (BSD-like): Edinburgh's synthesizer, through a ``festival --pipe`` that runs as long as its worker."""
