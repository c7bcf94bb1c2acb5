"""espeak-ng (GPL-3): formant synthesis in about a hundred languages, through ctypes in its own process."""
