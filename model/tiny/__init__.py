"""TinyCRNN: the network as a program that needs PyTorch alone, and the detector that Hark trains."""
