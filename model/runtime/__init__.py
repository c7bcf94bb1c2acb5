"""What runs a finished bundle: NumPy and onnxruntime, nothing else."""
