"""Piper (GPL-3): neural voices as ONNX files, every speaker of each, in a process of its own."""
