"""Hark's own acoustic models: their data, training and use."""
