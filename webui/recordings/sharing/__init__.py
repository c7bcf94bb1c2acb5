"""Links that show a recording to anyone, and its use for training."""
