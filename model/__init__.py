"""The detector: features, TinyCRNN, its data, training, measures, export and run time."""
