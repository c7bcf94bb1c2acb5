"""Running of trained detectors: on files, over Wyoming, in a browser."""
