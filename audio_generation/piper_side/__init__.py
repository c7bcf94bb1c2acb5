"""Piper (GPL-3): neural voices as ONNX files, with all their speakers, in its own process."""
