"""A run's clips, from the speech engines and cut out of recordings, and the examples built from them."""
