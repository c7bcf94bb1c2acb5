"""Hark's own acoustic models: training data, training and use."""
