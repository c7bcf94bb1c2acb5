"""A run's clips, synthesized and mined, and the examples built from them."""
