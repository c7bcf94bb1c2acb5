"""Festival (BSD-like): Edinburgh's synthesizer, through one ``festival --pipe`` that lives as long as its worker."""
