"""The runtime of a finished bundle; needs NumPy and onnxruntime only."""
