"""The acoustic model: speech to characters and phones by CTC, its training, decoding and emissions."""
