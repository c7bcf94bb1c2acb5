"""A run's clips, from the speech engines and out of recordings, and the examples that are built of them."""
