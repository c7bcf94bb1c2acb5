"""The training, decoding and emissions of the acoustic model. It maps speech to characters and phones by CTC."""
