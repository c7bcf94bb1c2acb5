"""The acoustic model, which maps speech to characters and phones by CTC: training, decoding and emissions."""
