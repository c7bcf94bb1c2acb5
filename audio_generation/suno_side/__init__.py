"""Suno's Bark (MIT): a generative model of speech and noises, very slow without a GPU, so used only when named."""
